"""The protocol of a number: all that it takes to get it again, or to know why another one differs."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from lcot import __version__
from lcot.metrics import accuracy_names, extractor

_PACKAGE = Path(__file__).parents[1]
_PATHS = (
    "way through the problem's graph (arXiv 2412.06769, section 5) of the text that counts; behind hidden steps it is"
    " the rest of a way that begins with as many unseen edges, or with any number where the curriculum fixes none"
)

_PAIRS = (
    "pair_accuracy: share of problems of which both questions, with different answers, are answered rightly; a question"
    " whose other one was not asked (unpaired) is in no pair"
)

FLOPS = (
    "operations of a question alone, two for each weight that a column is multiplied by and each pair of columns that"
    " attend: its columns once, thoughts in every round, text with a cache, an assistant's part; no look-ups and norms,"
    " and nothing that a mask hides"
)
"""How they are counted (:mod:`lcot.reasoning.flops`)."""

_PADDING = (
    "thoughts looked at padding, as in published code: the number depends on batch size and order of the questions"
)


def protocol(
    before_answer: str,
    command: str | None,
    extractors: Sequence[str] = ("string",),
    decoding: Mapping[str, Any] | None = None,
    paths: bool = False,
    padding: Mapping[str, Any] | None = None,
    last_step: str = "keep",
    pairs: bool = False,
    flops: bool = False,
) -> dict[str, object]:
    """How answers were counted, and by which code.

    Args:
        before_answer: What stands before an answer.
        command: The command line, if there was one.
        extractors: Names of the extractors: first that of ``accuracy``, then those of ``accuracy_NAME``.
        decoding: How answers were written and chosen (:meth:`lcot.modules.voting.Voting.described`); greedily, one to a
            question, if not given.
        paths: Whether categories of paths were counted as well.
        padding: How padding was looked at, and with how many questions at once; ``None`` where it was not.
        last_step: Whether the last step of each chain was kept in the data.
        pairs: Whether questions came in pairs.
        flops: Whether operations were counted.

    Returns:
        Plain values, for a report. ``extractor`` is that of ``accuracy``, name and description; ``further_extractors``
        has the others by the names of their metrics. ``averages`` says what the metrics are means over.

    Raises:
        UserError: If there is no such extractor.
    """
    decoding = {"temperature": 0.0, "votes": 1, "runs": 1, **(decoding or {})}
    said = {metric: extractor(name).described(before_answer) for metric, name in accuracy_names(extractors).items()}
    return {
        "extractor": said.pop("accuracy"),
        "further_extractors": said,
        "tokens": "generated tokens without eos; thoughts apart",
        "decoding": decoding,
        "averages": averages(decoding["votes"], decoding["runs"]),
        **({"paths": _PATHS} if paths else {}),
        **({"pairs": _PAIRS} if pairs else {}),
        **({"flops": FLOPS} if flops else {}),
        **({"padding": {**padding, "note": _PADDING}} if padding is not None else {}),
        **({"last_step": "left out of every chain"} if last_step == "drop" else {}),
        "command": command,
        "commit": commit(),
        "versions": {
            "lcot": __version__,
            "python": platform.python_version(),
            **{name: version(name) for name in ("torch", "transformers", "lightning")},
        },
    }


def averages(votes: int, runs: int) -> str:
    """What the metrics of an evaluation are means over, in words.

    Args:
        votes: Answers to a question in each run.
        runs: Repetitions under other seeds.
    """
    answers = f"all {votes * runs} answers to each question" if votes * runs > 1 else "the answers to all questions"
    said = [f"tokens, thoughts, seconds and answered (the share that could be extracted): over {answers}"]
    if votes > 1:
        said.append(
            f"accuracy: of the answer that most of {votes} votes agree on; of as many the first, and never one that"
            " could not be extracted beside one that could"
        )
    if runs > 1:
        said.append(f"accuracy: mean over {runs} runs; accuracy_std: their sample standard deviation (n - 1)")
    return "; ".join(said)


def commit(package: Path = _PACKAGE) -> str | None:
    """The commit of the package's files, with ``-dirty`` behind it if they were changed since.

    Args:
        package: The folder of the package.

    Returns:
        ``None`` if the package does not come from a checkout: a repository around the environment that it is installed
        in is somebody else's.
    """
    here = ["git", "-C", str(package)]
    try:
        for question in (["ls-files", "--error-unmatch", "__init__.py"], ["rev-parse", "HEAD"]):
            asked = subprocess.run([*here, *question], capture_output=True, text=True, timeout=10, check=True)
        changed = subprocess.run([*here, "diff", "--quiet", "HEAD", "--", "."], capture_output=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return asked.stdout.strip() + ("-dirty" if changed.returncode else "")

"""What an evaluation gave, as a comparison sees it: its figures, and how they were counted."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lcot.runs.by_question import ByQuestion
from lcot.runs.evaluations import decoding
from lcot.runs.files import Report

Split = Literal["test", "val"]

ONE_ANSWER = "one answer to a question"
"""What :attr:`Result.protocol` says of the voting where there is none."""

MASKED = "masked"
"""What it says of padding where nothing looked at it."""

_DEVIATION = "_std"

_SHARES = ("accuracy", "pair_accuracy", "answered")
"""What the names of metrics begin with that are shares of the questions."""


@dataclass(frozen=True, slots=True)
class Result:
    """What an evaluation gave, and how it was counted.

    Attributes:
        metrics: ``accuracy`` and ``accuracy_NAME`` in [0, 1], and ``pair_accuracy`` likewise where questions come in
            pairs, means over runs; ``tokens``, ``thoughts`` and ``seconds`` of an answer, and the share of those that
            could be extracted (``answered``).
        deviations: Sample standard deviations over runs, of accuracies by their names; empty for a single run.
        runs: How often all questions were answered, under other seeds of sampling.
        votes: Answers to a question in each run, of which one counts.
        split: Name of the split.
        examples: How many were answered.
        of: How many there are in the split.
        data_hash: Of all questions and answers of the split.
        protocol: What must be equal for two results to stand side by side, by name; plain values.
        further: What each ``accuracy_NAME`` means.
        command: The command line that evaluated.
        commit: Of the code that evaluated.
        settings: The sections ``model``, ``data``, ``curriculum`` and ``trainer`` of the evaluation.
        batch_size: Questions that were answered at once.
        device: On what.
        trained_steps: Optimizer steps behind the weights that were evaluated.
        run_steps: Those behind the run then.
        run_begun: When that run had begun.
        checkpoint_chosen: Whether it is of another checkpoint than that which is taken when none is named.
        by_question: Which questions were answered right; ``None`` if it was made by a version that kept no record.
    """

    metrics: dict[str, float]
    deviations: dict[str, float]
    runs: int
    votes: int
    split: str
    examples: int
    of: int
    data_hash: str
    protocol: dict[str, Any]
    further: dict[str, Any]
    command: str | None
    commit: str | None
    settings: dict[str, Any]
    batch_size: int | None
    device: str | None
    trained_steps: int | None
    run_steps: int | None
    run_begun: str | None
    checkpoint_chosen: bool = False
    by_question: ByQuestion | None = None


def read_result(report: Report, config: Mapping[str, Any], split: Split) -> Result:
    """Read a report.

    Args:
        report: ``test.json`` or ``validate.json``.
        config: The run's settings, for what the report does not tell.
        split: Whose result it is.

    Raises:
        DataError: If something in it cannot be used.
    """
    metrics = {
        name.removeprefix(f"{split}/"): number
        for name in report.part("metrics")
        if name.startswith(f"{split}/") and (number := report.number(f"metrics.{name}", *_bounds(name))) is not None
    }
    examples, of, data_hash = report.count("split.examples"), report.count("split.of"), report.text("split.data_hash")
    needed: dict[str, Any] = {"split.examples": examples, "split.of": of, "split.data_hash": data_hash}
    needed |= {name: report.part(name) or None for name in ("model", "data", "curriculum")}
    for name, found in {f"metrics.{split}/accuracy": metrics.get("accuracy"), **needed}.items():
        if found is None:
            raise report.refuse(name, None)
    assert examples is not None and of is not None and data_hash is not None
    settings = {name: report.part(name) for name in ("model", "data", "curriculum")}
    settings["trainer"] = {**config["trainer"], **report.part("trainer")}
    answering = report.part("model.init_args")
    chosen = report.flag("checkpoint_chosen")
    votes, runs = (report.count(f"protocol.decoding.{name}") or 1 for name in ("votes", "runs"))
    return Result(
        metrics={name: number for name, number in metrics.items() if not name.endswith(_DEVIATION)},
        deviations={
            name.removesuffix(_DEVIATION): number for name, number in metrics.items() if name.endswith(_DEVIATION)
        },
        runs=runs,
        votes=votes,
        split=report.text("split.name") or split,
        examples=examples,
        of=of,
        data_hash=data_hash,
        protocol={
            "extractor": report.anything("protocol.extractor"),
            "definition of tokens": report.anything("protocol.tokens"),
            "decoding": decoding(answering.get("sampling")),
            "voting": _voting(votes, runs),
            "checkpoint": _checkpoint(report.text("checkpoint"), chosen),
            "padding": _padding(report.part("protocol.padding")),
            "precision": _precision(report.part("trainer").get("precision")),
            "code format": report.count("format"),
        },
        further=report.part("protocol.further_extractors"),
        command=report.text("protocol.command"),
        commit=report.text("protocol.commit"),
        settings=settings,
        batch_size=report.count("batch_size"),
        device=report.text("device"),
        trained_steps=report.count("trained_steps"),
        run_steps=report.count("run_steps"),
        run_begun=report.text("run_begun"),
        checkpoint_chosen=chosen,
        by_question=_by_question(report, metrics["accuracy"], examples, of, runs),
    )


def _by_question(report: Report, accuracy: float, examples: int, of: int, runs: int) -> ByQuestion | None:
    found = ByQuestion.read(report, of)
    if found is not None:
        share = sum(run.bit_count() for run in found.right) / max(1, examples * len(found.right))
        # Accuracies are kept in float32.
        if len(found.right) != runs or found.asked.bit_count() != examples or not abs(share - accuracy) <= 1e-6:
            raise report.refuse("by_question", report.part("by_question"))
    return found


def _bounds(name: str) -> tuple[float, float]:
    """The smallest and the largest value that a metric can have: a loss of one's own may be negative."""
    metric = name.partition("/")[2]
    if metric.startswith(_SHARES):
        return 0.0, 1.0
    return (-math.inf if metric == "loss" else 0.0), math.inf


def _voting(votes: int, runs: int) -> str:
    """In words."""
    said = [f"majority of {votes} votes"] if votes > 1 else []
    said += [f"mean over {runs} runs"] if runs > 1 else []
    return ", ".join(said) or ONE_ANSWER


def _padding(seen: Mapping[str, Any]) -> Any:
    """How padding was looked at; of these results, none is like another that had other rows beside it."""
    return {name: value for name, value in seen.items() if name != "note"} or MASKED


def _checkpoint(path: str | None, chosen: bool) -> str | None:
    """Which of a run's checkpoints was evaluated: the one that was best in the last stage, the last one, or a file.

    Args:
        path: Of the file.
        chosen: Whether it is another one than that which is taken when none is named.
    """
    if path is None:
        return None
    name = Path(path).name
    return "best" if name.startswith("best-") and not chosen else "last" if name == "last.ckpt" else name


def _precision(setting: object) -> str:
    """The trainer's precision by one name; what was not set is float32."""
    return "32-true" if setting in (None, 32, "32") else str(setting)

"""``lcot analyze``: what the thoughts of a run hold, measured and drawn, with a report to look through.

Nothing heavy is imported before the options are read, so a wrong one is answered at once.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lcot.cli.measuring import check_run, loaded, own_place, parsed, run_measuring, run_options, say
from lcot.cli.options import OptionParser
from lcot.errors import UserError
from lcot.settings import cut

if TYPE_CHECKING:
    from lcot.datamodules.base import ReasoningDataModule
    from lcot.reasoning.curriculum import Curriculum

_DESCRIPTION = """\
What the thoughts of a run hold: answers and ways through the graph after k = 0, 1, … forced thoughts, probabilities of
concepts, what the output head shows of each thought, where thoughts lie and what they attend to. All of it is written
to RUN/analysis as tables (Parquet, JSON) and figures (PNG, SVG), with report.html, one page that needs no network. What
lcot probe has found out about the same checkpoint becomes a section of it.
What is asked with other options than the run's own goes into a folder of its own, such as RUN/analysis-thoughts-0_2.

  lcot analyze runs/prosqa                                  the run's test questions, k up to its largest number
  lcot analyze runs/prosqa --data prosqa_test.json          questions of a file in the format of the run's data
  lcot analyze runs/prosqa --thoughts 0 2 4 --limit 100     some numbers of thoughts, some questions

Every --data.SETTING=VALUE is passed on to the run's data, as in lcot test.
"""


def parser() -> OptionParser:
    """The options of ``lcot analyze``."""
    made = run_options("analyze", _DESCRIPTION)
    made.add_argument(
        "--thoughts", nargs="+", metavar="K", help="numbers of thoughts, or all: 0 up to the run's largest (default)"
    )
    made.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="where to write (default: RUN/analysis, or RUN/analysis-OPTIONS)",
    )
    made.add_argument(
        "--questions", type=int, default=40, metavar="N", help="questions to choose from in the report (default: 40)"
    )
    return made


def run_analyze(words: Sequence[str]) -> None:
    """Run the command (:func:`~lcot.cli.measuring.run_measuring`).

    Args:
        words: The command line behind ``analyze``.
    """
    run_measuring(words, _parse, _check, analyze)


def analyze(
    data: ReasoningDataModule,
    schedule: Curriculum,
    chosen: argparse.Namespace,
    used: Mapping[str, Any],
    words: Sequence[str] = (),
) -> None:
    """Measure a run and write its analysis.

    Args:
        data: Gives the questions.
        schedule: What the run was trained with.
        chosen: The options.
        used: The settings of the run, with those that were passed on.
        words: The command line behind ``analyze``.

    Raises:
        UserError: If a number of thoughts cannot be, or something cannot be read or written.
    """
    from lcot.analysis.folder import replaced
    from lcot.analysis.measure import PARTS
    from lcot.analysis.write import write_analysis

    counts = None if chosen.thoughts is None or "all" in chosen.thoughts else list(map(int, chosen.thoughts))
    subject, about, told = loaded("analyze", data, schedule, chosen, words, lambda *_: counts)
    asked = None if counts is None else "_".join(chosen.thoughts)
    target = chosen.out or own_place("analysis", chosen, used, {"thoughts": asked})
    with replaced(target) as folder:
        measured = write_analysis(
            subject, about, told, folder, questions=chosen.questions, probe=chosen.run / "probe", say=say
        )
    for what, why in measured.missing.items():
        say(f"not measured: {PARTS[what]}: {why}")
    for what, why in measured.left_out.items():
        say(f"{PARTS[what]}: {why}")
    say(f"written: {target / 'report.html'}")


def _parse(words: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """The options, and the settings that are passed on.

    Raises:
        UserError: If an option is unknown or cannot be.
    """
    chosen, passed = parsed(parser(), words, {"questions": 1})
    for word in chosen.thoughts or ():
        if word != "all" and (not word.isdecimal() or len(word) > 9):
            raise UserError(f"a number of thoughts is {cut(word)!r}", where="--thoughts", fix="use 0, 1, …, or all")
    if chosen.thoughts and "all" in chosen.thoughts and len(chosen.thoughts) > 1:
        raise UserError("--thoughts has all beside numbers", fix="use one or the other")
    return chosen, passed


def _check(chosen: argparse.Namespace) -> None:
    check_run(chosen, "matplotlib", "pyarrow", what="an analysis", where="lcot analyze")

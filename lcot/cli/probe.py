"""``lcot probe``: whether a run's thoughts do anything, by changing them and looking at what is answered.

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

if TYPE_CHECKING:
    from lcot.api import Solver
    from lcot.datamodules.base import ReasoningDataModule
    from lcot.reasoning.curriculum import Curriculum

_DESCRIPTION = """\
Whether the thoughts of a run do anything. Each question is answered once as ever, and again behind thoughts that were
changed: set to zero or to their mean, replaced by noise or by those of another question, put in another order, scaled,
or hidden from the text; all of them, one alone, and from one on, where the others are as they were or, behind one that
was changed, thought anew. What follows is written to RUN/probe as tables (Parquet, JSON) and figures (PNG, SVG), and
told in a few lines; report.html is one page that needs no network. What is asked with other options than the run's own
goes into a folder of its own.

  lcot probe runs/prosqa                                       the run's test questions, all interventions
  lcot probe runs/prosqa --limit 300                           the first 300
  lcot probe runs/prosqa --interventions zero other_gold scaled=-1

interventions: zero, mean, noise (of the same norm), covariance (noise of their mean and covariance), same_gold and
other_gold (thoughts of another question with as many steps, with the same answer or another one), pair (of the other
question about the same facts, with --data.ask=both), reverse, shuffle, first (repeated), hidden (from the text, by a
mask), scaled=FACTOR

Every --data.SETTING=VALUE is passed on to the run's data, as in lcot test.
"""


def parser() -> OptionParser:
    """The options of ``lcot probe``."""
    made = run_options("probe", _DESCRIPTION)
    made.add_argument("--thoughts", metavar="K", help="number of thoughts (default: the run's own)")
    made.add_argument("--interventions", nargs="+", metavar="NAME", help="which (default: all that apply)")
    made.add_argument(
        "--scopes",
        nargs="+",
        choices=("all", "one", "from"),
        metavar="SCOPE",
        help="all: all thoughts; one: each alone; from: each and all behind it (default: all one from)",
    )
    made.add_argument("--seed", type=int, default=0, metavar="N", help="keys noise, orders and donors (default: 0)")
    made.add_argument(
        "--out", type=Path, metavar="DIR", help="where to write (default: RUN/probe, or RUN/probe-OPTIONS)"
    )
    return made


def run_probe(words: Sequence[str]) -> None:
    """Run the command (:func:`~lcot.cli.measuring.run_measuring`).

    Args:
        words: The command line behind ``probe``.
    """
    run_measuring(words, _parse, _check, probe)


def probe(
    data: ReasoningDataModule,
    schedule: Curriculum,
    chosen: argparse.Namespace,
    used: Mapping[str, Any],
    words: Sequence[str] = (),
) -> None:
    """Change a run's thoughts and write what follows.

    Args:
        data: Gives the questions.
        schedule: What the run was trained with.
        chosen: The options.
        used: The settings of the run, with those that were passed on.
        words: The command line behind ``probe``.

    Raises:
        UserError: If the run has no thoughts, or not so many, an intervention does not apply, or something cannot be
            read or written.
    """
    from lcot.analysis.causal import MARK, write_probe
    from lcot.analysis.edits import SCOPES, edit_of
    from lcot.analysis.folder import replaced

    names, scopes = chosen.interventions, chosen.scopes
    for name in names or ():
        edit_of(name)  # a wrong one is told before anything is loaded
    wanted = None if chosen.thoughts is None else int(chosen.thoughts)
    subject, about, told = loaded(
        "probe", data, schedule, chosen, words, lambda solver, clock: [_number(solver, clock, wanted)]
    )
    options = {
        "thoughts": wanted,
        "interventions": "_".join(names) if names else None,
        "scopes": "_".join(scopes) if scopes else None,
        "seed": chosen.seed or None,
    }
    target = chosen.out or own_place("probe", chosen, used, options)
    with replaced(target, MARK, "a probe") as folder:
        found = write_probe(
            subject, about, told, folder, names=names, scopes=scopes or SCOPES, seed=chosen.seed, say=say
        )
    for line in found.findings:
        say(line)
    for what, why in found.missing.items():
        say(f"not done: {'total effects' if what == 'total' else what}: {why}")
    if found.ties:
        say(f"{found.ties:,} texts behind the run's own thoughts were a tie, and came out otherwise when given back")
    say(f"written: {target / 'report.html'} ({found.seconds:.0f} s)")


def _number(solver: Solver, schedule: Curriculum, wanted: int | None) -> int:
    """The number of thoughts.

    Raises:
        UserError: If the run has not so many, or does not say how many it has.
    """
    from lcot.analysis.runs import all_counts

    most = max(all_counts(solver, schedule))
    if wanted is not None and wanted > most:
        raise UserError(
            f"thoughts is {wanted}, and this run has {f'at most {most}' if most else 'none'}",
            where="--thoughts",
            why="there is nothing to be said of thoughts that it never learned",
            fix=f"use at most {most}" if most else "give a run with continuous or soft thoughts, or pauses",
        )
    if wanted is None and most and not solver.thoughts:
        raise UserError(
            "this run ends its thoughts itself, and no number is given",
            where="--thoughts",
            why="thoughts are changed place by place, and each question would have others",
            fix=f"give a number up to {most}",
        )
    return solver.thoughts if wanted is None else wanted


def _parse(words: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """The options, and the settings that are passed on.

    Raises:
        UserError: If an option is unknown or cannot be.
    """
    chosen, passed = parsed(parser(), words, {})
    if chosen.thoughts is not None and (not chosen.thoughts.isdecimal() or len(chosen.thoughts) > 9):
        raise UserError(
            f"the number of thoughts is {chosen.thoughts!r}", where="--thoughts", fix="use a number, such as 4"
        )
    return chosen, passed


def _check(chosen: argparse.Namespace) -> None:
    check_run(chosen, "matplotlib", "pyarrow", what="a probe", where="lcot probe")

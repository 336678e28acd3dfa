"""``lcot compare``: run folders, or methods and seeds that are run first, beside one another."""

from __future__ import annotations

import argparse
import shlex
import shutil
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from lcot.cli.options import OptionParser, file_to_write
from lcot.compare.launch import Launcher
from lcot.compare.pairs_text import to_csv as pairs_to_csv
from lcot.compare.plan import Todo, make_tasks
from lcot.compare.render import WIDTH, to_csv, to_markdown, to_terminal
from lcot.compare.slurm import array_script
from lcot.compare.table import Comparison, compare
from lcot.errors import UserError
from lcot.runs.configs import resolved
from lcot.runs.files import write_whole
from lcot.runs.run import Run, find_runs, is_run, read_results

_DESCRIPTION = """\
A table of methods: accuracy ± standard deviation over seeds, tokens, thoughts, seconds, and what training cost.
Runs that differ in nothing but seed and name are one row. Rows that were counted in different ways (extractor, tokens,
split, questions) get tables of their own. Methods that differ in one factor (fed-back states or pauses, a curriculum or
none, …) are set against each other seed by seed on the same questions.

  lcot compare runs/*                                  the runs that are there
  lcot compare -c prosqa --methods coconut cot no_cot --seeds 0 1 2
                                                       make those that are missing first; stopped ones are continued

Every other --SETTING=VALUE is passed on to the runs that are made, as in lcot fit.
"""


def parser() -> OptionParser:
    """The options of ``lcot compare``."""
    usage = "[RUN …] [-c CONFIG … --methods NAME … --seeds N … [--SETTING=VALUE …]] [options]"
    made = OptionParser("compare", usage, _DESCRIPTION)
    made.add_argument("runs", nargs="*", type=Path, metavar="RUN", help="run folders, or a folder that holds some")
    made.add_argument(
        "--split",
        choices=("test", "val"),
        default="test",
        help="whose results: of test, or of validate (default: test)",
    )
    files = made.add_argument_group("files to write")
    files.add_argument("--markdown", type=file_to_write, metavar="FILE", help="the tables as Markdown")
    files.add_argument(
        "--csv", type=file_to_write, metavar="FILE", help="every number that is known, a line for each row"
    )
    files.add_argument(
        "--pairs",
        type=file_to_write,
        metavar="FILE",
        help="methods that differ in one factor and all others, two by two on the same questions, as CSV",
    )
    files.add_argument(
        "--plot", type=file_to_write, metavar="FILE", help="accuracy against tokens + thoughts, as .png, .svg or .pdf"
    )
    files.add_argument(
        "--paths",
        type=file_to_write,
        metavar="FILE",
        help="which ways answers took through the graphs of their problems: shares as stacked bars, as .png, .svg or"
        " .pdf",
    )
    launch = made.add_argument_group("runs to make first")
    launch.add_argument("-c", "--config", action="append", metavar="CONFIG", help="config of a data set, as for fit")
    launch.add_argument("--methods", nargs="+", metavar="NAME", help="names of methods (see lcot configs), or files")
    launch.add_argument("--seeds", nargs="+", type=_seed, metavar="N", help="seeds of each method (default: 0)")
    launch.add_argument("--runs_dir", type=Path, metavar="DIR", help="folder of the runs METHOD-SEED (default: runs)")
    launch.add_argument("--jobs", type=int, metavar="N", help="runs at a time (default: 1; tasks with --slurm: all)")
    launch.add_argument(
        "--slurm",
        type=file_to_write,
        metavar="FILE",
        help="write a script for sbatch, a task a run, and run nothing",
    )
    return made


def _seed(text: str) -> int:
    """A seed of the command line."""
    try:
        return int(text)
    except ValueError:
        hint = ": separate seeds by spaces" if "," in text else ""
        raise argparse.ArgumentTypeError(f"invalid int value: {text!r}{hint}") from None


def run_compare(words: Sequence[str]) -> int:
    """Do it.

    Args:
        words: The command line behind ``compare``.

    Returns:
        The exit code: 0, or 1 if a run could not be made, or 130 if that was interrupted.

    Raises:
        UserError: If it cannot be done as it was asked for.
    """
    chosen, settings = _parse(words)
    for option in ("plot", "paths"):
        if getattr(chosen, option) is not None:
            from lcot.compare.plot import check_plot

            check_plot(getattr(chosen, option), f"--{option}")
    paths = find_runs(chosen.runs)
    for path in paths:
        read_results(path, chosen.split)  # what is broken is told before hours of training
    code, wanted = 0, dict[Path, Run]()
    if chosen.config:
        seeds, runs_dir = chosen.seeds or [0], chosen.runs_dir or Path("runs")
        tasks = make_tasks(list(map(resolved, chosen.config)), chosen.methods, seeds, runs_dir, settings)
        launcher = Launcher(chosen.jobs or 1)
        todos, failures = launcher.plan(tasks, chosen.split)
        if chosen.slurm is not None:
            _write_script(chosen, todos)
        else:
            try:
                failures += launcher.make(todos)
            except KeyboardInterrupt:
                return 128 + signal.SIGINT  # what there was to say has been said
            failed = {name for failure in failures for name in failure.names}
            made = [task for task in tasks if task.name not in failed]
            wanted = {task.folder: launcher.made(task, chosen.split) for task in made if is_run(task.folder)}
        for failure in failures:
            said = "".join(f"\n    {line}" for line in failure.said.splitlines())
            sys.stderr.write(f"lcot: failed: {', '.join(failure.names)}: {failure.what}{said}\n")
        code = 1 if failures else 0
    if chosen.slurm is None:
        runs = [run for path in paths for run in read_results(path, chosen.split)]
        there = {path.resolve() for path in paths}
        runs += [run for folder, run in wanted.items() if folder.resolve() not in there]
        _show(compare(runs, chosen.split), chosen)
    return code


def _write_script(chosen: argparse.Namespace, todos: Sequence[Todo]) -> None:
    if not any(todo.commands for todo in todos):
        print("every run has its result: there is nothing to submit")
        return
    with _writing("slurm", chosen.slurm):
        write_whole(chosen.slurm, array_script(todos, chosen.jobs))
    print(f"sbatch {shlex.quote(str(chosen.slurm))}")


def _show(comparison: Comparison, chosen: argparse.Namespace) -> None:
    width = shutil.get_terminal_size((WIDTH, 24)).columns if sys.stdout.isatty() else WIDTH
    to_terminal(comparison, Console(file=sys.stdout, width=width, emoji=False))
    texts: dict[str, Callable[[Comparison], str]] = {"markdown": to_markdown, "csv": to_csv, "pairs": pairs_to_csv}
    for option, made in texts.items():
        target: Path | None = getattr(chosen, option)
        if target is not None:
            with _writing(option, target):
                write_whole(target, made(comparison))
    if chosen.plot is not None:
        from lcot.compare.plot import to_plot

        with _writing("plot", chosen.plot):
            drawn = to_plot(comparison, chosen.plot)
        if not drawn:
            sys.stderr.write(f"lcot: {chosen.plot} was not written: there is no result to draw\n")
    if chosen.paths is not None:
        from lcot.compare.paths import to_paths

        with _writing("paths", chosen.paths):
            drawn = to_paths(comparison, chosen.paths)
        if not drawn:
            sys.stderr.write(
                f"lcot: {chosen.paths} was not written: no result has categories of paths, which problems with a graph"
                " have\n"
            )


@contextmanager
def _writing(option: str, target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as err:
        raise UserError(
            f"{str(target)!r} cannot be written", where=f"--{option}", why=err.strerror, fix="give another file"
        ) from err


def _parse(words: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """What was asked for, and the settings that are passed on.

    Raises:
        UserError: If an option is unknown, has no effect, or nothing is asked for.
    """
    made = parser()
    chosen, others = made.parse_known_args(words)
    # argparse takes folders up to the first option only.
    chosen.runs += [Path(word) for word in others if not word.startswith("-")]
    settings = [word for word in others if word.startswith("-")]
    for word in settings:
        name, equals, _ = word.partition("=")
        if not name.startswith("--") or not equals:
            near = made.nearest(name)
            fix = f"did you mean {near!r}?" if near else f"a setting that runs are to have is written {name}=VALUE"
            raise UserError(f"lcot compare has no option {name!r}", fix=fix)
    if not chosen.config:
        given = {"methods": chosen.methods, "seeds": chosen.seeds, "runs_dir": chosen.runs_dir, "jobs": chosen.jobs}
        idle = [f"--{name}" for name, value in {**given, "slurm": chosen.slurm}.items() if value is not None]
        if idle or settings:
            first = [*idle, *settings][0]
            near = made.nearest(first) if not idle else None
            raise UserError(
                f"{first} has no effect without -c",
                why="it is about runs that are made first",
                fix=f"did you mean {near!r}?" if near else "add -c CONFIG and --methods, or leave it out",
            )
        if not chosen.runs:
            raise UserError(
                "there is nothing to compare",
                fix="give run folders, such as runs/*, or -c CONFIG --methods NAME … --seeds N …; see --help",
            )
    elif not chosen.methods:
        raise UserError("-c without --methods", why="there is nothing to run", fix="add --methods coconut cot no_cot")
    elif chosen.slurm is not None:
        idle = [
            f"--{name}" for name in ("markdown", "csv", "pairs", "plot", "paths") if getattr(chosen, name) is not None
        ]
        idle += ["run folders"] if chosen.runs else []
        if idle:
            raise UserError(
                f"--slurm beside {idle[0]}", why="it runs nothing, so there is no table", fix="leave one of them out"
            )
    if chosen.jobs is not None and chosen.jobs < 1:
        raise UserError(f"jobs is {chosen.jobs}", where="--jobs", fix="use 1 or more")
    return chosen, settings

"""What ``lcot analyze`` and ``lcot probe`` share: a run, its questions, and a folder of its own for what is found.

Nothing heavy is imported before the options are read, so a wrong one is answered at once.
"""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from lcot.cli.options import OptionParser
from lcot.cli.read import read_settings
from lcot.errors import UserError, needs
from lcot.settings import Settings, refuse
from lcot.signals import leaving_when_told

if TYPE_CHECKING:
    from lcot.analysis.report import About
    from lcot.analysis.subject import Examples, Subject
    from lcot.api import Solver
    from lcot.datamodules.base import ReasoningDataModule, Split
    from lcot.reasoning.curriculum import Curriculum

Act = Callable[["ReasoningDataModule", "Curriculum", argparse.Namespace, Mapping[str, Any], Sequence[str]], None]
"""What a command does, given the data, the schedule, the options, the settings in use, and the words behind it."""

_PASSED = ("--data.", "--threads", "--seed_everything")


def run_options(command: str, description: str) -> OptionParser:
    """The options of a command that asks a run questions.

    Args:
        command: Its name.
        description: What it is for, as it is to be printed.
    """
    made = OptionParser(command, "RUN [options] [--data.SETTING=VALUE …]", description)
    made.add_argument("run", type=Path, metavar="RUN", help="the run's folder")
    made.add_argument("--data", type=Path, metavar="FILE", help="a file of questions instead of those of a split")
    made.add_argument("--split", choices=("test", "val"), help="whose questions (default: test)")
    made.add_argument("--limit", type=int, metavar="N", help="the first N questions only")
    made.add_argument("--checkpoint", metavar="NAME", help="a file of RUN/checkpoints (default: the best one)")
    made.add_argument(
        "--batch_size", type=int, default=64, metavar="N", help="rows that are read at once; no result changes with it"
    )
    made.add_argument(
        "--code", action="append", default=[], metavar="FILE", help="a file whose classes the run's config may name"
    )
    made.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, … (default: a GPU if there is one)")
    return made


def parsed(made: OptionParser, words: Sequence[str], least: Mapping[str, int]) -> tuple[argparse.Namespace, list[str]]:
    """The options, and the settings that are passed on.

    Args:
        made: The options of the command.
        words: The command line behind it.
        least: The smallest value of each number.

    Raises:
        UserError: If an option is unknown or cannot be.
    """
    chosen, passed = made.parse_known_args(words)
    for word in passed:
        name, equals, _ = word.partition("=")
        if not equals or not name.startswith(_PASSED):
            near = made.nearest(name)
            raise UserError(
                f"{made.prog} has no option {name!r}",
                why="only settings of the data are passed on, as --data.SETTING=VALUE",
                fix=f"did you mean {near!r}?" if near else f"see {made.prog} --help",
            )
    for option, smallest in {"limit": 1, "batch_size": 1, **least}.items():
        value = getattr(chosen, option)
        if value is not None and value < smallest:
            raise UserError(f"{option} is {value}", where=f"--{option}", fix=f"use {smallest} or more")
    if chosen.data is not None and chosen.split is not None:
        raise UserError("--data and --split", why="both say which questions are asked", fix="give one of them")
    return chosen, passed


def run_measuring(
    words: Sequence[str],
    parse: Callable[[Sequence[str]], tuple[argparse.Namespace, list[str]]],
    check: Callable[[argparse.Namespace], None],
    act: Act,
) -> None:
    """Run the command; what cannot be used ends in one block on stderr and exit code 2, and leaves nothing behind.

    SIGTERM, SIGHUP and Ctrl-C leave nothing behind either, and end it with 128 and their number.

    Args:
        words: The command line behind the command.
        parse: Gives the options, and the settings that are passed on.
        check: Refuses what can be seen without anything heavy.
        act: What it does.
    """
    settings = Settings()
    try:
        chosen, passed = parse(words)
        check(chosen)
        code = [f"--code={file}" for file in chosen.code]
        line = ["test", "-c", str(chosen.run / "config.yaml"), *code, *passed]
        settings = read_settings(line)
        from lcot.cli.commands import ReasoningCLI, run
        from lcot.cli.plain import yaml_safe
        from lcot.cli.threads import set_threads

        class Measuring(ReasoningCLI):
            """Makes data and curriculum only: no trainer, no model that is untrained, no run folder."""

            def before_instantiate_classes(self) -> None:
                own = self.check_settings()
                set_threads(own.threads)
                _point_to(own.data.init_args, chosen)
                self.used = yaml_safe(own)

            def instantiate_trainer(self, **kwargs: Any) -> Any:
                return None

            def _run_subcommand(self, subcommand: str) -> None:
                clock = self.config_init[subcommand].curriculum
                self.datamodule.trainer = SimpleNamespace(callbacks=[clock])
                act(self.datamodule, clock.schedule, chosen, self.used, words)

        with leaving_when_told():
            run(line, settings, Measuring)
    except UserError as err:
        refuse(err, settings)
    except KeyboardInterrupt:
        sys.stderr.write("lcot: interrupted; nothing was written\n")
        raise SystemExit(128 + signal.SIGINT) from None


def own_place(begins: str, chosen: argparse.Namespace, used: Mapping[str, Any], options: Mapping[str, Any]) -> Path:
    """The folder of a result in its run: one of another protocol than the run's own replaces none of that.

    Args:
        begins: What the folder of the run's own protocol is called.
        chosen: The options.
        used: The settings of the run, with those that were passed on.
        options: Further ones that change the result, by their names; those that were not given are ``None``.
    """
    from lcot.modules.stored import pick_checkpoint
    from lcot.runs.evaluations import named
    from lcot.runs.settings import read_config

    own = read_config(chosen.run / "config.yaml", fix="copy the run's own config.yaml")
    file = pick_checkpoint(chosen.run, chosen.checkpoint)
    checkpoint = None if file == pick_checkpoint(chosen.run) else file.name
    given = {"split": chosen.split if chosen.split == "val" else None, **options, "limit": chosen.limit}
    name, said = named(begins, own, used, chosen.split or "test", checkpoint, given)
    if said:
        say(f"it goes to {chosen.run / name}, for this is not as the run has it: {said}")
    return Path(chosen.run / name)


def loaded(
    command: str,
    data: ReasoningDataModule,
    schedule: Curriculum,
    chosen: argparse.Namespace,
    words: Sequence[str],
    counts: Callable[[Solver, Curriculum], Sequence[int] | None],
) -> tuple[Subject, About, dict[str, object]]:
    """A run that is to be measured: what is asked, what a report says of it, and the protocol.

    What a reader must know of it goes to stderr.

    Args:
        command: Its name.
        data: Gives the questions.
        schedule: What the run was trained with.
        chosen: The options.
        words: The command line behind the command.
        counts: The numbers of thoughts that are wanted; all up to the run's largest one if ``None``.

    Raises:
        UserError: If a number of thoughts cannot be, or something cannot be read.
    """
    from lcot.analysis.report import About
    from lcot.analysis.runs import listed, stage_of, subject_of, warnings_of
    from lcot.api import load
    from lcot.modules.stored import pick_checkpoint, read_checkpoint
    from lcot.runs.protocol import protocol
    from lcot.runs.settings import read_config

    solver = load(chosen.run, device=_device(chosen.device), checkpoint=chosen.checkpoint)
    file = pick_checkpoint(chosen.run, chosen.checkpoint)
    subject = subject_of(solver, schedule, _examples(data, chosen), counts(solver, schedule), chosen.batch_size)
    module, stage = solver.module, stage_of(solver, schedule)
    trained = sorted(schedule.numbers_trained(stage))
    warnings = tuple(warnings_of(solver, schedule, subject.counts, concepts=command == "analyze"))
    for line in warnings:
        sys.stderr.write(f"lcot: warning: {line}\n")
    told = protocol(module.text.before_answer, shlex.join(["lcot", command, *words]), module.extractors[:1])
    versions: Any = told["versions"]
    about = About(
        name=chosen.run.resolve().name,
        own=solver.thoughts if solver.thoughts in subject.counts else subject.counts[-1],
        trained=frozenset(trained) if trained else None,
        data=f"questions of {chosen.data}" if chosen.data else f"questions of the {chosen.split or 'test'} split",
        warnings=warnings,
        facts={
            "command": str(told["command"]),
            "checkpoint": f"{file}, of stage {stage}, {read_checkpoint(file, weights=False)['global_step']:,} steps",
            "thoughts": f"{solver.kind}; {solver.thoughts} are the run's own, and {listed(trained)} were trained"
            if trained
            else f"{solver.kind}; as many as the run thinks are enough, up to {module.free_thoughts}",
            "answers": f"{told['extractor']}; greedy decoding, at most {module.max_new_tokens} tokens",
            "commit": str(told["commit"] or "none: the package does not come from a checkout"),
            "versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
        },
        config=read_config(chosen.run / "config.yaml", fix="copy the run's own config.yaml"),
    )
    return subject, about, told


def _examples(data: ReasoningDataModule, chosen: argparse.Namespace) -> Examples:
    """The questions that are asked for; those that ``test`` would drop as too long are left out here too."""
    split: Split = chosen.split or "test"
    if data.too_long == "drop" and data.max_length is not None:
        data.setup({"test": "test", "val": "validate"}[split])
        source = data.source(split)
        return lambda: (source.example(index, 0) for index in range(len(source))[: chosen.limit])
    read = data.examples(split)
    return lambda: islice(read(), chosen.limit)


def _point_to(options: Any, chosen: argparse.Namespace) -> None:
    """Make a run's data those that are asked for.

    Raises:
        UserError: If the data set reads no file.
    """
    saved = chosen.run / "tokenizer"
    if saved.is_dir() and options.get("tokenizer") == "words":
        options.tokenizer = str(saved)
    if chosen.data is None:
        return
    if "test_path" not in options:
        raise UserError(
            f"--data is {str(chosen.data)!r}, and the run's data set reads no file",
            where="--data",
            why="its questions are all generated",
            fix="leave it out",
        )
    if options.get("path") is not None:  # one file for all splits
        options.path = None
    options.test_path = str(chosen.data)


def check_run(chosen: argparse.Namespace, *packages: str, what: str, where: str) -> None:
    """Refuse what can be seen without anything heavy.

    Args:
        chosen: The options.
        packages: What the command needs beyond a plain install.
        what: What it makes, in words.
        where: The command.

    Raises:
        UserError: If there is no run or no such file, or a package is not there.
    """
    needs("analysis", *packages, what=what, where=where)
    run: Path = chosen.run
    if not (run / "config.yaml").is_file():
        beside = sorted(file.parent.name for file in run.parent.glob("*/config.yaml"))
        exported = (run / "lcot.json").is_file()
        raise UserError(
            f"there is no run at {str(run)!r}",
            why="it is an exported model, and only a run knows its data and curriculum"
            if exported
            else f"runs there: {', '.join(beside)}"
            if beside
            else "a run is a folder with a config.yaml",
            fix="give the folder of a run, such as runs/prosqa",
        )
    if not any((run / "checkpoints").glob("*.ckpt")):
        raise UserError(
            f"the run {str(run)!r} has no checkpoint",
            why="it was stopped before its first one, or has never been trained, as baselines that train nothing are",
            fix="give a run that was trained",
        )
    if chosen.data is not None and not chosen.data.is_file():
        raise UserError(
            f"there is no file {str(chosen.data)!r}", where="--data", fix="give a file in the format of the run's data"
        )


def _device(name: str) -> str:
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        # Probabilities are added up in float64, which Apple's GPUs do not have.
        torch.empty(0, device=name, dtype=torch.float64)
    except (RuntimeError, AssertionError, TypeError) as err:
        raise UserError(
            f"the device is {name!r}", where="--device", why=str(err).splitlines()[0], fix="use cpu, or leave it out"
        ) from err
    return name


def say(line: str) -> None:
    """Print a line at once."""
    print(line, flush=True)

"""``lcot analyze``: what the thoughts of a run hold, measured and drawn, with a report to look through.

Nothing heavy is imported before the options are read, so a wrong one is answered at once.
"""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from lcot.cli.options import OptionParser
from lcot.cli.read import read_settings
from lcot.errors import UserError, needs
from lcot.settings import Settings, cut, refuse
from lcot.signals import leaving_when_told

if TYPE_CHECKING:
    from lcot.analysis.subject import Examples
    from lcot.datamodules.base import ReasoningDataModule, Split
    from lcot.reasoning.curriculum import Curriculum

_DESCRIPTION = """\
What the thoughts of a run hold: answers and ways through the graph after k = 0, 1, … forced thoughts, probabilities of
concepts, what the output head shows of each thought, where thoughts lie and what they attend to. All of it is written
to RUN/analysis as tables (Parquet, JSON) and figures (PNG, SVG), with report.html, one page that needs no network.
What is asked with other options than the run's own goes into a folder of its own, such as RUN/analysis-thoughts-0_2.

  lcot analyze runs/prosqa                                  the run's test questions, k up to its largest number
  lcot analyze runs/prosqa --data prosqa_test.json          questions of a file in the format of the run's data
  lcot analyze runs/prosqa --thoughts 0 2 4 --limit 100     some numbers of thoughts, some questions

Every --data.SETTING=VALUE is passed on to the run's data, as in lcot test.
"""
_PASSED = ("--data.", "--threads", "--seed_everything")


def parser() -> OptionParser:
    """The options of ``lcot analyze``."""
    made = OptionParser("analyze", "RUN [options] [--data.SETTING=VALUE …]", _DESCRIPTION)
    made.add_argument("run", type=Path, metavar="RUN", help="the run's folder")
    made.add_argument("--data", type=Path, metavar="FILE", help="a file of questions instead of those of a split")
    made.add_argument("--split", choices=("test", "val"), help="whose questions (default: test)")
    made.add_argument(
        "--thoughts", nargs="+", metavar="K", help="numbers of thoughts, or all: 0 up to the run's largest (default)"
    )
    made.add_argument("--limit", type=int, metavar="N", help="the first N questions only")
    made.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="where to write (default: RUN/analysis, or RUN/analysis-OPTIONS)",
    )
    made.add_argument("--checkpoint", metavar="NAME", help="a file of RUN/checkpoints (default: the best one)")
    made.add_argument(
        "--questions", type=int, default=40, metavar="N", help="questions to choose from in the report (default: 40)"
    )
    made.add_argument(
        "--batch_size", type=int, default=64, metavar="N", help="rows that are read at once; no result changes with it"
    )
    made.add_argument(
        "--code", action="append", default=[], metavar="FILE", help="a file whose classes the run's config may name"
    )
    made.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, … (default: a GPU if there is one)")
    return made


def run_analyze(words: Sequence[str]) -> None:
    """Run the command; what cannot be used ends in one block on stderr and exit code 2, and leaves nothing behind.

    SIGTERM, SIGHUP and Ctrl-C leave nothing behind either, and end it with 128 and their number.

    Args:
        words: The command line behind ``analyze``.
    """
    settings = Settings()
    try:
        chosen, passed = _parse(words)
        _check(chosen)
        code = [f"--code={file}" for file in chosen.code]
        line = ["test", "-c", str(chosen.run / "config.yaml"), *code, *passed]
        settings = read_settings(line)
        from lcot.cli.commands import ReasoningCLI, run
        from lcot.cli.plain import yaml_safe
        from lcot.cli.threads import set_threads

        class Analyze(ReasoningCLI):
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
                analyze(self.datamodule, clock.schedule, chosen, self.used, words)

        with leaving_when_told():
            run(line, settings, Analyze)
    except UserError as err:
        refuse(err, settings)
    except KeyboardInterrupt:
        sys.stderr.write("lcot: interrupted; nothing was written\n")
        raise SystemExit(128 + signal.SIGINT) from None


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
    from lcot.analysis.report import About
    from lcot.analysis.runs import listed, stage_of, subject_of, warnings_of
    from lcot.analysis.write import write_analysis
    from lcot.api import load
    from lcot.modules.stored import pick_checkpoint, read_checkpoint
    from lcot.runs.protocol import protocol
    from lcot.runs.settings import read_config

    solver = load(chosen.run, device=_device(chosen.device), checkpoint=chosen.checkpoint)
    file = pick_checkpoint(chosen.run, chosen.checkpoint)
    counts = None if chosen.thoughts is None or "all" in chosen.thoughts else list(map(int, chosen.thoughts))
    subject = subject_of(solver, schedule, _examples(data, chosen), counts, chosen.batch_size)
    module, stage = solver.module, stage_of(solver, schedule)
    trained = sorted(schedule.numbers_trained(stage))
    warnings = tuple(warnings_of(solver, schedule, subject.counts))
    for line in warnings:
        sys.stderr.write(f"lcot: warning: {line}\n")
    told = protocol(module.text.before_answer, shlex.join(["lcot", "analyze", *words]), module.extractors[:1])
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
    target = chosen.out or _own_place(chosen, used)
    with replaced(target) as folder:
        measured = write_analysis(subject, about, told, folder, questions=chosen.questions, say=_say)
    for what, why in measured.missing.items():
        _say(f"not measured: {PARTS[what]}: {why}")
    for what, why in measured.left_out.items():
        _say(f"{PARTS[what]}: {why}")
    _say(f"written: {target / 'report.html'}")


def _own_place(chosen: argparse.Namespace, used: Mapping[str, Any]) -> Path:
    """The folder of an analysis in its run: one of another protocol than the run's own replaces none of that."""
    from lcot.modules.stored import pick_checkpoint
    from lcot.runs.evaluations import named
    from lcot.runs.settings import read_config

    own = read_config(chosen.run / "config.yaml", fix="copy the run's own config.yaml")
    file = pick_checkpoint(chosen.run, chosen.checkpoint)
    checkpoint = None if file == pick_checkpoint(chosen.run) else file.name
    asked = None if chosen.thoughts is None or "all" in chosen.thoughts else "_".join(chosen.thoughts)
    options = {"split": chosen.split if chosen.split == "val" else None, "thoughts": asked, "limit": chosen.limit}
    name, said = named("analysis", own, used, chosen.split or "test", checkpoint, options)
    if said:
        _say(f"it goes to {chosen.run / name}, for this is not as the run has it: {said}")
    return Path(chosen.run / name)


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


def _parse(words: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """The options, and the settings that are passed on.

    Raises:
        UserError: If an option is unknown or cannot be.
    """
    made = parser()
    chosen, passed = made.parse_known_args(words)
    for word in passed:
        name, equals, _ = word.partition("=")
        if not equals or not name.startswith(_PASSED):
            near = made.nearest(name)
            raise UserError(
                f"lcot analyze has no option {name!r}",
                why="only settings of the data are passed on, as --data.SETTING=VALUE",
                fix=f"did you mean {near!r}?" if near else "see lcot analyze --help",
            )
    for option, value, least in (
        ("limit", chosen.limit, 1),
        ("questions", chosen.questions, 1),
        ("batch_size", chosen.batch_size, 1),
    ):
        if value is not None and value < least:
            raise UserError(f"{option} is {value}", where=f"--{option}", fix=f"use {least} or more")
    for word in chosen.thoughts or ():
        if word != "all" and (not word.isdecimal() or len(word) > 9):
            raise UserError(f"a number of thoughts is {cut(word)!r}", where="--thoughts", fix="use 0, 1, …, or all")
    if chosen.thoughts and "all" in chosen.thoughts and len(chosen.thoughts) > 1:
        raise UserError("--thoughts has all beside numbers", fix="use one or the other")
    if chosen.data is not None and chosen.split is not None:
        raise UserError("--data and --split", why="both say which questions are asked", fix="give one of them")
    return chosen, passed


def _check(chosen: argparse.Namespace) -> None:
    """Refuse what can be seen without anything heavy.

    Raises:
        UserError: If there is no run, no such file, or the target must not be written to.
    """
    needs("analysis", "matplotlib", "pyarrow", what="an analysis", where="lcot analyze")
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


def _say(line: str) -> None:
    print(line, flush=True)

"""A run's folder as a comparison sees it: its settings, its result, its cost."""

from __future__ import annotations

import re
import shlex
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lcot.errors import UserError
from lcot.runs.evaluations import other_files
from lcot.runs.files import Report
from lcot.runs.results import Result, Split, read_result
from lcot.runs.settings import Flat, method_settings, read_config
from lcot.settings import UNTRAINED

COMMAND = {"test": "test", "val": "validate"}
"""The command that evaluates a split; its result is in ``<command>.json``."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What training cost; ``None`` for what nobody wrote down.

    Attributes:
        steps: Optimizer steps behind the last weights.
        examples: Training examples behind them.
        wall: Seconds between the first batch and the last, over all starts.
        cpu: CPU seconds, of all processes.
        memory: Peak of resident memory in bytes; on a GPU, of its memory.
        device: Name of the device, with the number of threads on a CPU.
        world: Processes that trained together.
        parameters: Of the whole model.
        trainable: Those that were trained.
        finished: Whether training came to its end.
        ended_by: Who ended it before, in words.
        begun: When it began.
        commits: Of the code that trained.
    """

    steps: int | None = None
    examples: int | None = None
    wall: float | None = None
    cpu: float | None = None
    memory: int | None = None
    device: str | None = None
    world: int = 1
    parameters: int | None = None
    trainable: int | None = None
    finished: bool | None = None
    ended_by: str | None = None
    begun: str | None = None
    commits: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Run:
    """One run.

    Attributes:
        path: Its folder.
        name: The folder's name.
        seed: ``seed_everything``; ``None`` where that is no number.
        config: All settings, as written in the folder.
        settings: Those that make its method.
        result: What its evaluation gave; ``None`` if there was none yet.
        cost: What training cost.
        other: The file of the result, if that is of another protocol than the run's own.
    """

    path: Path
    name: str
    seed: int | None
    config: dict[str, Any]
    settings: Flat
    result: Result | None
    cost: Cost = field(default_factory=Cost)
    other: Path | None = None

    @property
    def stem(self) -> str:
        """The name without the seed at its end."""
        return self.name.removesuffix(f"-{self.seed}") or self.name

    @property
    def outdated(self) -> bool:
        """Whether it was trained on, or begun anew, after its evaluation."""
        if self.result is None or self.result.run_steps is None or self.cost.steps is None:
            return False
        return self.result.run_steps < self.cost.steps or self.result.run_begun != self.cost.begun

    @property
    def steps(self) -> int | None:
        """Optimizer steps of its training; those behind the checkpoint where one was chosen."""
        if self.result is not None and self.result.checkpoint_chosen:
            return self.result.trained_steps
        return self.cost.steps

    @property
    def untrained(self) -> bool:
        """Whether its models are evaluated as they are, because its method trains nothing."""
        return bool(self.config.get("ckpt_path") == UNTRAINED)

    def command(self, word: str) -> str:
        """A command line that works on this run, from the current folder."""
        words = ["lcot", word, "-c", str(self.path / "config.yaml")]
        home = Path(str(self.config.get("runs_dir", "runs"))) / str(self.config.get("name", ""))
        if home.resolve() != self.path.resolve():  # moved, copied, or seen from another folder
            words += [f"--runs_dir={self.path.parent}", f"--name={self.name}"]
        return shlex.join(words)

    def next_command(self, split: Split) -> str:
        """What to do to get the result that is missing: train to the end, unless that was not wanted, or evaluate."""
        if self.untrained:
            return self.command(COMMAND[split])
        if (self.cost.finished is False and self.cost.ended_by is None) or not list(
            (self.path / "checkpoints").glob("*.ckpt")
        ):
            return self.command("fit") + " --resume=true"
        return self.command(COMMAND[split])


def is_run(path: Path) -> bool:
    """Whether a folder is that of a run."""
    return (path / "config.yaml").is_file()


def find_runs(paths: list[Path]) -> list[Path]:
    """The run folders among some paths: each path is one, or holds some.

    Args:
        paths: Folders; log files beside runs are passed over, so that ``runs/*`` can be given. So are folders that hold
            none, with one line each, beside others: a training that was killed before its first step leaves such a one.

    Raises:
        UserError: If a path is no folder, or none holds a run.
    """
    found: dict[Path, Path] = {}
    empty: list[UserError] = []
    for path in paths:
        if path.suffix == ".log" and path.is_file():
            continue
        inside = [path] if is_run(path) else sorted(file.parent for file in path.glob("*/config.yaml"))
        if not inside:
            beside = sorted(file.parent.name for file in path.parent.glob("*/config.yaml"))
            missing = UserError(
                f"there is no run at {str(path)!r}",
                why=f"runs there: {', '.join(beside)}" if beside else "a run is a folder with a config.yaml",
                fix="give run folders, such as runs/coconut-0, or a folder that holds some",
            )
            if not path.is_dir():
                raise missing
            empty.append(missing)
        for folder in inside:
            found.setdefault(folder.resolve(), folder)
    if empty and not found:
        raise empty[0]
    for missing in empty:
        sys.stderr.write(f"lcot: {missing.what}: it is left out\n")
    return list(found.values())


def read_results(path: Path, split: Split = "test") -> list[Run]:
    """Read a run's folder once for each of its results: by its own protocol, then by others.

    Args:
        path: The folder.
        split: Whose results.

    Returns:
        At least one; the first has no result if there is none.

    Raises:
        DataError: If a file of it is broken.
    """
    own = read_run(path, split)
    others = [read_run(path, split, file) for file in other_files(path, COMMAND[split])]
    return [own, *others] if own.result is not None or not others else others


def read_run(path: Path, split: Split = "test", other: Path | None = None) -> Run:
    """Read a run's folder.

    Args:
        path: The folder.
        split: Whose result.
        other: The file of the result, if it is not that of the run's own protocol.

    Raises:
        DataError: If a file of it is broken.
    """
    config = read_config(last_config(path), fix="restore it from a copy, or leave this run out")
    seed = config.get("seed_everything")
    cost = _cost(path)
    file, report = other or path / f"{COMMAND[split]}.json", None
    if file.is_file():
        again = f"make it again: lcot {COMMAND[split]} -c {path / 'config.yaml'}"
        report = Report(file, fix=again if other is None else "make it again, or delete it")
        seed = report.anything("seed") if report.anything("seed") is not None else seed
        if not (seed is None or (isinstance(seed, int) and 0 <= seed < 2**32)):  # the seeds that there are
            raise report.refuse("seed", seed)
    return Run(
        path=path,
        name=path.resolve().name,
        seed=seed if type(seed) is int else None,
        config=config,
        settings={
            **method_settings(config, report),
            "trainer.processes": cost.world,
            # A model as it is, and the same one trained, are two methods.
            "ckpt_path": UNTRAINED if config.get("ckpt_path") == UNTRAINED else None,
        },
        result=None if report is None else read_result(report, config, split),
        cost=cost,
        other=other,
    )


def last_config(path: Path) -> Path:
    """The settings of the last start: they say how far it went, where it was continued with more epochs."""
    numbered = {int(found[1]): file for file in path.glob("config.resume*.yaml")
                if (found := re.fullmatch(r"config\.resume(\d+)\.yaml", file.name))}  # fmt: skip
    return numbered[max(numbered)] if numbered else path / "config.yaml"


def _cost(path: Path) -> Cost:
    if not (path / "fit.json").is_file():
        return Cost()  # of models as they are
    report = Report(path / "fit.json", fix="restore it from a copy, or delete it: the table then shows no cost")
    threads, device = report.count("threads"), report.text("device")
    cost = Cost(
        steps=report.count("optimizer_steps"),
        examples=report.count("examples"),
        wall=report.number("wall_seconds"),
        cpu=report.number("cpu_seconds"),
        memory=report.count("peak_memory_bytes.cuda") or report.count("peak_memory_bytes.rss"),
        device=f"{device}, {threads} thread{'s' * (threads != 1)}" if device and threads else device,
        world=report.count("world_size") or 1,
        parameters=report.count("parameters"),
        trainable=report.count("trainable_parameters"),
        finished=report.flag("finished"),
        ended_by=report.text("ended_by"),
        begun=report.text("begun"),
        commits=report.texts("commits"),
    )
    if report.anything("finished") is None:
        raise report.refuse("finished", None)
    return cost

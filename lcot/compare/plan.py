"""Which runs a comparison needs: methods × seeds, the words that start each, and what is still to be done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from lcot.errors import UserError
from lcot.runs.configs import METHODS, as_typed, carried, find, shown_path
from lcot.runs.results import Split
from lcot.runs.run import COMMAND, Run, read_results, read_run
from lcot.runs.settings import ANSWERING, differences, evaluation_settings, method_settings, shown
from lcot.settings import UNTRAINED

# The comparison sets these itself.
_OWN = {
    "config": "give -c",
    "name": "runs are named METHOD-SEED",
    "seed_everything": "give --seeds",
    "resume": "runs that were stopped are continued anyway",
    "ckpt_path": "fit and test would both take it; train with lcot fit, then compare the run folders",
}


@dataclass(frozen=True, slots=True)
class Task:
    """One run to be made.

    Attributes:
        method: Name of the method.
        seed: ``seed_everything``.
        configs: The data set's configs, then the method's.
        runs_dir: Folder of all runs.
        settings: Further settings, ``--NAME=VALUE``.
    """

    method: str
    seed: int
    configs: tuple[Path, ...]
    runs_dir: Path
    settings: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Name of the run."""
        return f"{self.method}-{self.seed}"

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return self.runs_dir / self.name

    @property
    def log(self) -> Path:
        """What its commands print."""
        return self.runs_dir / f"{self.name}.log"

    def words(self, command: str) -> list[str]:
        """A command line without the program; ``fit`` continues what was stopped."""
        configs = [word for config in self.configs for word in ("-c", as_typed(config))]
        own = [f"--seed_everything={self.seed}", f"--name={self.name}", f"--runs_dir={self.runs_dir}"]
        quiet = "--trainer.enable_progress_bar"
        if not any(setting.startswith(f"{quiet}=") for setting in self.settings):
            own.append(f"{quiet}=false")  # nobody looks at it in a log
        return [command, *configs, *own, *(["--resume=true"] if command == "fit" else []), *self.settings]


@dataclass(frozen=True, slots=True)
class Todo:
    """What is missing of a run.

    Attributes:
        task: The run.
        fit: Whether it has to be trained, or continued.
        evaluate: The command that evaluates it; ``None`` if its result is there.
    """

    task: Task
    fit: bool
    evaluate: str | None

    @property
    def commands(self) -> list[str]:
        """Commands to run, in order."""
        return [*(["fit"] if self.fit else []), *([self.evaluate] if self.evaluate else [])]


def make_tasks(
    configs: Sequence[Path], methods: Sequence[str], seeds: Sequence[int], runs_dir: Path, settings: Sequence[str]
) -> list[Task]:
    """Every method with every seed, method by method.

    Args:
        configs: Of the data set, as for ``fit``.
        methods: Names of methods, or paths of configs.
        seeds: One run each.
        runs_dir: Folder of all runs.
        settings: Passed on to every run; the runs say what is wrong with them.

    Raises:
        UserError: If there is no such method, one is named twice, or a setting is the comparison's own.
    """
    for setting in settings:
        name = setting[2:].partition("=")[0]
        if name in _OWN:
            raise UserError(f"{setting} cannot be passed on", where=f"--{name}", why=_OWN[name], fix="leave it out")
    files = [_method_file(method, configs) for method in methods]
    tasks = [Task(file.stem, seed, (*configs, file), runs_dir, tuple(settings)) for file in files for seed in seeds]
    names = [task.name for task in tasks]
    twice = next((name for place, name in enumerate(names) if name in names[:place]), None)
    if twice is not None:
        raise UserError(f"there would be two runs {twice}", where="--methods and --seeds", fix="name each once")
    return tasks


def what_to_do(task: Task, split: Split, asked: Mapping[str, Any] | None) -> Todo:
    """Find out what is missing of a run.

    Args:
        task: The run.
        split: Whose result is wanted.
        asked: All settings that the task's words amount to; needed for a run that :func:`is_trained`.

    Raises:
        DataError: If a file of the run is broken.
    """
    if asked is None:
        return Todo(task, not trains_nothing(task), COMMAND[split])
    run = read_run(task.folder, split)
    changed = changes(run, asked)
    untrained = trains_nothing(task)
    result = wanted_result(task, split, asked)
    # A folder that holds a run of the other kind is one that the command refuses.
    stale = result is None or result.outdated or untrained != run.untrained
    # Fit continues a run that is to go on for longer, and says what is wrong with other changes.
    return Todo(task, bool(changed) and not untrained, COMMAND[split] if stale or changed else None)


def wanted_result(task: Task, split: Split, asked: Mapping[str, Any] | None) -> Run | None:
    """The run with the result that was asked for, among those of its own and of other protocols.

    Args:
        task: The run.
        split: Whose result is wanted.
        asked: All settings that the task's words amount to; ``None`` if they were not looked up, for a run that was
            made by these words.

    Returns:
        ``None`` if there is no such result.

    Raises:
        DataError: If a file of the run is broken.
    """
    for run in read_results(task.folder, split):
        if run.result is None or (asked is None and run.other is not None):
            continue
        if run.result.checkpoint_chosen:
            continue
        if asked is None:
            return run
        sides = (evaluation_settings(sections, split) for sections in (run.result.settings, asked))
        if not differences(*sides):
            return run
    return None


def is_trained(task: Task) -> bool:
    """Whether the run came to its end, as far as its folder tells; one that has no training came there as it began."""
    if not (task.folder / "config.yaml").is_file():
        return False
    return trains_nothing(task) or read_run(task.folder).cost.finished is True


def trains_nothing(task: Task) -> bool:
    """Whether the last of a task's configs that says something about it asks for models as they are."""
    return bool(asked_for(task, "ckpt_path") == UNTRAINED)


def asked_for(task: Task, key: str, default: Any = None) -> Any:
    """A setting as the last of a task's words about it has it, without what reading all of them would take.

    Args:
        task: The run.
        key: Such as ``trainer.devices``.
        default: What it is where nothing is said about it.
    """
    for setting in reversed(task.settings):
        if setting.startswith(f"--{key}="):
            return yaml.safe_load(setting.partition("=")[2])
    *groups, last = key.split(".")
    for config in reversed(task.configs):
        with suppress(OSError, yaml.YAMLError):  # fit says what is wrong with it
            read = yaml.safe_load(config.read_text(encoding="utf-8"))
            for group in groups:
                read = read.get(group) if isinstance(read, dict) else None
            if isinstance(read, dict) and last in read:
                return read[last]
    return default


def changes(run: Run, asked: Mapping[str, Any]) -> list[str]:
    """What a run was trained with, and was not asked for, in words."""
    wanted, had = method_settings(asked), method_settings(run.config)
    keys = [key for key in differences(had, wanted) if key not in ANSWERING]
    return [f"{shown(had, key)} then, {shown(wanted, key)} now" for key in keys]


def _method_file(method: str, configs: Sequence[Path]) -> Path:
    """The config of a method: beside the data set's configs, in ``configs/methods`` here, or one that lcot carries."""
    if method.endswith((".yaml", ".yml")):
        return Path(method)  # if it is not there, fit says so
    if "," in method:
        raise UserError(f"there is no method {method!r}", where="--methods", fix="separate methods by spaces")
    near = [parent / METHODS for config in configs for parent in list(config.parents)[:2]]
    folders = [folder for folder in (*near, Path("configs") / METHODS) if folder.resolve() != carried() / METHODS]
    found = [file for folder in folders if (file := folder / f"{method}.yaml").is_file()]
    own = find(f"{METHODS}/{method}") or find(method)
    if found:
        return found[0]
    if own is not None:
        return shown_path(own)
    known = [file.stem for folder in (*folders, carried() / METHODS) for file in folder.glob("*.yaml")]
    raise UserError.unknown("method", method, dict.fromkeys(known), where="--methods")

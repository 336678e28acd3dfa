"""Runs that begin where other runs ended: each seed with a run of its own, and still they are one method."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from lcot.compare.rows import Row
from lcot.errors import DataError
from lcot.runs.run import Run, read_run
from lcot.runs.settings import ANSWERING, differences

# Settings beside model.….path that may lead into the folder of another run.
_TOKENIZERS = ("data.tokenizer", "data.dialogue.assistant")

_MOST = 8
"""Runs that may have begun with one another; more of them would be a circle."""

_READ = "which differ in nothing but their seed"
_NAMED = "which differ in their seed only, if their names are right: their settings could not be read"


def method_differences(left: Run, right: Run) -> list[str]:
    """In which settings two runs are of different methods.

    Two settings are the same if each leads to another run, and those differ in nothing but their seed. Where they
    cannot be read their names decide: each ends in the seed of the run that begins with it.

    Args:
        left: One of them.
        right: The other.
    """
    return [key for key in differences(left.settings, right.settings) if _likeness(key, left, right, 0) is None]


def origins(row: Row) -> Iterator[str]:
    """For each setting in which the seeds of a row begin with other runs: which, and how they are known to be alike."""
    first, *others = row.runs
    for key in filter(_leads_to_runs, first.settings):
        paths = [str(run.settings.get(key)) for run in row.runs]
        if len(set(paths)) > 1:
            found = {_likeness(key, first, run, 0) for run in others if run.settings.get(key) != paths[0]}
            name = key.removeprefix("model.").removeprefix("data.")
            yield (
                f"{row.label}: each seed has a {name} of its own, {', '.join(dict.fromkeys(paths))},"
                f" {_READ if found == {_READ} else _NAMED}"
            )


def _likeness(key: str, left: Run, right: Run, depth: int) -> str | None:
    """How it is known that a setting leads to runs that differ in their seed only; ``None`` if they do not."""
    values = left.settings.get(key), right.settings.get(key)
    if not _leads_to_runs(key) or not all(isinstance(value, str) for value in values):
        return None
    paths = Path(str(values[0])), Path(str(values[1]))
    mine, other = _origin(paths[0], left), _origin(paths[1], right)
    if mine is None or other is None:
        stems = _without_seed(paths[0], left), _without_seed(paths[1], right)
        return _NAMED if stems[0] is not None and stems[0] == stems[1] else None
    if mine[1] != other[1] or depth >= _MOST:
        return None
    # How their own answers were written, when they were tested, is nothing to the run that begins with them.
    keys = set(differences(mine[0].settings, other[0].settings)) - set(ANSWERING)
    return _READ if all(_likeness(key, mine[0], other[0], depth + 1) for key in keys) else None


def _leads_to_runs(key: str) -> bool:
    return key in _TOKENIZERS or (key.startswith("model.") and key.endswith(".path"))


def _origin(path: Path, run: Run) -> tuple[Run, tuple[str, ...]] | None:
    """The run whose folder a path leads to or into, and the way from there; ``None`` if there is none to be read."""
    path = path.expanduser()
    for base in (Path(), _started_in(run)):
        for folder in (path, *list(path.parents)[:2]):
            if folder.name and (base / folder / "config.yaml").is_file():
                try:
                    return read_run(base / folder), path.parts[len(folder.parts) :]
                except DataError:
                    return None
    return None


def _started_in(run: Run) -> Path:
    """The folder that a run's relative paths are meant from, as far as its own folder tells."""
    here = run.path.resolve()
    home = Path(str(run.config.get("runs_dir", "runs"))) / str(run.config.get("name", ""))
    return Path(*here.parts[: -len(home.parts)]) if here.parts[-len(home.parts) :] == home.parts else Path()


def _without_seed(path: Path, run: Run) -> list[str] | None:
    """The parts of a path without the run's seed at the end of one; ``None`` if it is at the end of none."""
    parts = [part.removesuffix(f"-{run.seed}") for part in path.parts]
    return parts if parts != list(path.parts) else None

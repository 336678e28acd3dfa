"""Whose word a setting is.

What the user types, and what the user's own configs say, is the user's word. What lies in a run's folder may be
another's: its config and its checkpoints name classes of installed packages only, or of a file that the user names with
``--code``, and the Hub is not asked for what they alone name.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from lcot.errors import UserError
from lcot.modules.own import DOTTED, KNOWN, installed, load_code, naming
from lcot.settings import Setting, Settings, only_cached

OPTION = "--code"

_KEPT = ("checkpoints", "tokenizer", "fit.json")
"""What lies beside the config of a run."""


@contextmanager
def trusted(args: Sequence[str], settings: Settings) -> Iterator[list[str]]:
    """Run a command within what its words may do.

    Args:
        args: The command line.
        settings: What is set in it.

    Yields:
        The command line without the files that are named as code, which are imported.

    Raises:
        UserError: If a run's config names a class that it may not, or a file of code cannot be imported.
    """
    words, files = without_code(args)
    theirs = [setting for setting in settings.found if setting.config and run_around(Path(setting.config)) is not None]
    others = [setting for setting in settings.found if setting not in theirs]
    if any(setting.key == "code" for setting in settings.found if setting.config):
        raise UserError("a config names code", where="code", fix=f"name the file yourself: {OPTION} FILE.py")
    loaded = {load_code(file, _dotted(settings.found)) for file in files}
    if not theirs:
        yield words
        return
    allowed = KNOWN | loaded | {name.partition(".")[0] for name in _dotted(others)}
    allowed |= installed({name.partition(".")[0] for name in _dotted(theirs)} - allowed)
    _check(theirs, allowed)
    with naming(allowed), only_cached(_hub(theirs) - _hub(others)):
        yield words


def without_code(args: Sequence[str]) -> tuple[list[str], list[str]]:
    """Take the files that are named as code out of a command line.

    Raises:
        UserError: If none is named.
    """
    rest: list[str] = []
    files: list[str] = []
    left = iter(args)
    for word in left:
        name, equals, value = word.partition("=")
        if name != OPTION:
            rest.append(word)
            continue
        file = value if equals else next(left, "")
        if not file or file.startswith("-"):
            raise UserError(f"{OPTION} without a file", where="the command line", fix=f"write {OPTION} FILE.py")
        files.append(file)
    return rest, files


def run_around(config: Path) -> Path | None:
    """The folder of a run that a config lies in; ``None`` if it lies in none."""
    folders = list(config.resolve().parents)[:3]
    return next((place for place in folders if _is_run(place)), None)


def _is_run(folder: Path) -> bool:
    return (folder / "config.yaml").is_file() and any((folder / name).exists() for name in _KEPT)


def _check(theirs: Sequence[Setting], allowed: Collection[str]) -> None:
    for setting in theirs:
        name = setting.value
        inside = any(name == one or name.startswith(f"{one}.") for one in allowed)
        if setting.key.rpartition(".")[2] != "class_path" or not DOTTED.fullmatch(name) or inside:
            continue
        parts = name.split(".")[:-1]
        near = Path(*parts).with_suffix(".py")
        raise UserError(
            f"the run's config names {name}, which no installed package has",
            where=setting.key,
            why="a run's folder may be another's: of what it names, nothing is imported but installed packages and"
            " files that you name",
            fix=f"if you trust its file, name it: {OPTION} {near if near.is_file() else f'{parts[-1]}.py'}",
        )


def _hub(settings: Sequence[Setting]) -> set[str]:
    """All values that could be names of the Hub; those of data sets without what stands around their names."""
    return {setting.value.removeprefix("hub:").partition(":")[0] for setting in settings if setting.value}


def _dotted(settings: Sequence[Setting]) -> set[str]:
    """All values that could name a class."""
    return {setting.value for setting in settings if DOTTED.fullmatch(setting.value)}

"""The configs that lcot carries: which there are, and which one a name means.

A clone has them in ``configs/`` at its top, an installed package within itself. A name is a path in there without
``.yaml``: ``prosqa``, ``methods/cot``. Without its folder it means the one at the top, else the method of that name,
else the only one there is. Nothing heavy is imported here, so a wrong name is answered at once.
"""

from __future__ import annotations

import difflib
import os
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from lcot.errors import UserError
from lcot.settings import cut, process_rank

METHODS = "methods"
"""The folder of what is laid over a data set's config."""

_PACKAGE = Path(__file__).parents[1]
_OPTIONS = ("-c", "--config")


def carried() -> Path:
    """The folder of the configs."""
    inside = _PACKAGE / "configs"
    return inside if inside.is_dir() else _PACKAGE.parent / "configs"


def names() -> list[str]:
    """The names of all configs: those at the top first, then folder by folder."""
    files = [path.relative_to(carried()) for path in carried().rglob("*.yaml")]
    return [path.with_suffix("").as_posix() for path in sorted(files, key=lambda path: (len(path.parts), path))]


def find(name: str) -> Path | None:
    """The config of a name; ``None`` if there is none.

    Raises:
        UserError: If several have this name.
    """
    known = names()
    found = [which for which in (name, f"{METHODS}/{name}") if which in known][:1]
    found = found or [which for which in known if which.rpartition("/")[2] == name]
    if len(found) > 1:
        raise UserError(f"there are {len(found)} configs {name!r}", where="-c", fix=f"give one: {', '.join(found)}")
    return carried() / f"{found[0]}.yaml" if found else None


def resolved(word: str) -> Path:
    """The file that ``-c`` names; a file of that path comes before a config that lcot carries.

    A word that is neither comes back as it is: who reads it knows best what is wrong with a path.

    Raises:
        UserError: If it is no path, and no config's name; or one that a run's folder here has too.
    """
    path, own = Path(word), find(word)
    if os.path.isfile(path):  # pathlib raises where a name is too long
        if own is not None:
            _say(f"-c {word} is the file {word!r} of this folder; lcot carries a config of that name too ({own})")
        return path
    if own is not None:
        if (path / "config.yaml").is_file():
            raise UserError(
                f"{word!r} is a run's folder here, and a config that lcot carries",
                where="-c",
                fix=f"write -c {path / 'config.yaml'} for the run, or -c {shown_path(own)} for the other",
            )
        beside = next((name for name in (f"{word}.yaml", f"{word}.yml") if Path(name).is_file()), None)
        if path.is_dir() or (beside is not None and not Path(beside).samefile(own)):
            other = f"the folder {word!r} is no config" if beside is None else f"for the file here write -c {beside}"
            _say(f"-c {word} is the config that lcot carries ({shown_path(own)}); {other}")
        return shown_path(own)
    siblings = os.listdir(path.parent) if os.path.isdir(path.parent) else []
    if os.path.exists(path) or difflib.get_close_matches(path.name, siblings, n=1):
        return path
    raise _unknown(word)


def with_paths(words: Sequence[str]) -> list[str]:
    """A command line whose configs are files.

    Raises:
        UserError: As :func:`resolved` does.
    """
    return list(_with_paths(words))


def _with_paths(words: Sequence[str]) -> Iterator[str]:
    left = iter(words)
    for word in left:
        option, equals, value = word.partition("=")
        if option not in _OPTIONS:
            yield word
        elif equals:
            yield f"{option}={_file(value)}"
        else:
            yield word
            yield from (_file(value) for value in [next(left, None)] if value is not None)


def _file(value: str) -> str:
    return value if not value or value.startswith("-") or "://" in value else str(resolved(value))


def as_typed(path: Path) -> str:
    """A config as a command line names it that is to work elsewhere too: by its name if lcot carries it."""
    if not path.is_absolute() or not path.is_relative_to(carried()):
        return str(path)
    name = path.relative_to(carried()).with_suffix("").as_posix()
    return str(path) if Path(name).exists() else name


def summary(path: Path) -> str:
    """What a config is, in the first sentence of the comment at its head."""
    head: list[str] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#") or line.startswith("# python -m lcot"):
            break
        head.append(line.lstrip("# "))
    return re.split(r"(?<=\.)\s(?=[A-Z])", " ".join(head), maxsplit=1)[0]


def shown_path(path: Path) -> Path:
    """Short where it stands below the current folder, as in a clone."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def _unknown(word: str) -> UserError:
    bare = re.sub(r"^(\./)?configs/|\.ya?ml$", "", word)
    known = names()
    own = find(bare)
    if own is not None:
        fix = f"write -c {own.relative_to(carried()).with_suffix('').as_posix()}: lcot carries that config"
    else:
        near = [name for name in known for part in (name, name.rpartition("/")[2]) if part in _near(bare, known)]
        fix = (
            f"did you mean -c {near[0]}?" if near else "check the path, or see lcot configs for those that lcot carries"
        )
    folder = Path(word).parent
    why = None if os.path.isdir(folder) else f"there is no folder {cut(str(folder))!r} either"
    return UserError(f"there is no config {cut(word)!r}", where="-c", why=why, fix=fix)


def _near(word: str, known: Sequence[str]) -> list[str]:
    return difflib.get_close_matches(word, {*known, *(name.rpartition("/")[2] for name in known)}, n=1)


def _say(line: str) -> None:
    if process_rank() == "0":
        sys.stderr.write(f"lcot: {line}\n")

"""Files that are whole or not there, and reading them with a place in the message. Nothing heavy is imported here."""

from __future__ import annotations

import errno
import fcntl
import json
import math
import os
import platform
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path
from typing import Any

import yaml

from lcot.errors import DataError

_MOST, _DEEPEST = 100_000, 50
"""How many values a run's settings may hold, and how deeply nested."""


LOCK = ".lock"
"""The file in a run's folder that the process holds which trains it."""


def write_whole(target: Path, text: str) -> None:
    """Write a file in one move, so that it is never half there.

    Raises:
        OSError: If it cannot be written, with its name; what was there before is as it was.
    """
    with whole(target) as part:
        part.write_text(text, encoding="utf-8")


@contextmanager
def whole(target: Path) -> Iterator[Path]:
    """A file or an empty name beside a target, which takes the target's place at the end; on an error nothing is left.

    Its name is this process's own, so that two that write the same file do not write into one another's. What one that
    was killed left there goes first.

    Args:
        target: A file, or a folder that is not there by the end of the block.

    Yields:
        Where to write.

    Raises:
        OSError: If it cannot be written, with the target's name.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        tidy(target)
        part = beside(target)
        remove(part)
        try:
            yield part
            os.replace(part, target)
        except BaseException:
            remove(part)
            raise
    except OSError as err:
        if err.filename in (None, str(beside(target))):
            err.filename = str(target)
        raise


def beside(target: Path, word: str = "part") -> Path:
    """The name of what stands in for a file or folder while it is written, by this process of this machine."""
    return target.with_name(f"{_begun(target, word)}{os.getpid()}")


def tidy(target: Path, word: str = "part") -> None:
    """Remove what stands in for a file or folder of a process that is no more."""
    for part in left_over(target, word):
        remove(part)


def left_over(target: Path, word: str = "part") -> list[Path]:
    """What stands in for a file or folder, of processes of this machine that are no more."""
    begun = _begun(target, word)
    found = [(part, part.name.removeprefix(begun)) for part in target.parent.glob(f"{escape(begun)}*")]
    return [part for part, number in found if number.isdecimal() and not _is_there(int(number))]


def remove(path: Path) -> None:
    """Remove a file, or a folder with all that is in it, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(FileNotFoundError, NotADirectoryError):
            path.unlink()


@contextmanager
def locked(file: Path, seconds: float = 0.0) -> Iterator[bool]:
    """Be the only one that holds a file, which is there as long as somebody does.

    The system forgets the lock with its process, so one that was killed is in nobody's way. Where the file system has
    no locks, everybody holds it.

    Args:
        file: Where; in a folder that is there.
        seconds: How long to wait for another one.

    Yields:
        Whether it is held.
    """
    until = time.monotonic() + seconds
    while True:
        with file.open("ab") as held:
            try:
                # Not flock(): data-loader workers would inherit it, and they outlive a killed run by seconds.
                fcntl.lockf(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as err:
                taken = err.errno in (errno.EACCES, errno.EAGAIN)
            else:
                taken = False
                with suppress(OSError):
                    # Another one may have removed the file between opening and locking it.
                    if not file.exists() or os.fstat(held.fileno()).st_ino != file.stat().st_ino:
                        continue
            if not taken:
                try:
                    yield True
                finally:
                    file.unlink(missing_ok=True)
                return
        if time.monotonic() >= until:
            yield False
            return
        time.sleep(0.05)


def _begun(target: Path, word: str) -> str:
    """What the names of this machine's stand-ins for a target begin with; the number of a process ends them."""
    return f".{target.name}.{word}-{platform.node()}-"


def _is_there(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


class Report:
    """A JSON report of a run, whose fields are checked when they are asked for.

    Args:
        file: Where it is.
        fix: What to do if it cannot be used.

    Raises:
        DataError: If it cannot be read, or is no JSON object.
    """

    def __init__(self, file: Path, fix: str) -> None:
        self.file = file
        self.fix = fix
        self._values = read_json(file, fix)

    def part(self, name: str) -> dict[str, Any]:
        """An object; empty if it is null or not there."""
        return self._field(name, dict) or {}

    def number(self, name: str, least: float = 0.0, most: float = math.inf) -> float | None:
        """A number from ``least`` to ``most``, or NaN; ``None`` if it is null or not there."""
        found = self._field(name, (int, float))
        if found is not None and (found < least or found > most):
            raise self.refuse(name, found)
        return None if found is None else float(found)

    def count(self, name: str) -> int | None:
        """A whole number, 0 or more; ``None`` if it is null or not there."""
        found: int | None = self._field(name, int)
        if found is not None and not 0 <= found <= sys.maxsize:
            raise self.refuse(name, found)
        return found

    def flag(self, name: str) -> bool:
        """Yes or no; no if it is null or not there."""
        return bool(self._field(name, bool))

    def texts(self, name: str) -> tuple[str, ...]:
        """Strings; none if it is null or not there, and nulls among them are left out."""
        found: list[Any] = [one for one in self._field(name, list) or [] if one is not None]
        if not all(isinstance(one, str) for one in found):
            raise self.refuse(name, found)
        return tuple(found)

    def text(self, name: str) -> str | None:
        """A string; ``None`` if it is null or not there."""
        found: str | None = self._field(name, str)
        return found

    def anything(self, name: str) -> Any:
        """A field as it stands; ``None`` if it is not there."""
        value: Any = self._values
        for key in name.split("."):
            value = value.get(key) if isinstance(value, dict) else None
        return value

    def refuse(self, name: str, found: object) -> DataError:
        """An error about a field."""
        return DataError(
            f"{str(self.file)!r} has no {name!r} that can be used",
            where=f"{self.file}, {name}",
            why="it is missing" if found is None else f"it is {json.dumps(found)[:60]}",
            fix=self.fix,
        )

    def _field(self, name: str, kind: type | tuple[type, ...]) -> Any:
        value = self.anything(name)
        if value is not None and (not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool)):
            raise self.refuse(name, value)
        return value


def read_json(file: Path, fix: str) -> dict[str, Any]:
    """Read a report of a run.

    Args:
        file: Where it is.
        fix: What to do if it cannot be used.

    Raises:
        DataError: If it cannot be read, or is no JSON object.
    """
    text = _text(file)
    try:
        found = json.loads(text, object_pairs_hook=_once)
    except json.JSONDecodeError as err:
        place = f"{file}, line {err.lineno}, column {err.colno}"
        raise DataError(f"{str(file)!r} is not valid JSON", where=place, why=err.msg, fix=fix) from err
    except (ValueError, RecursionError) as err:  # numbers that are too long, lists in lists in lists
        raise DataError(f"{str(file)!r} cannot be read", why=_line(err), fix=fix) from err
    return _mapping(found, file, fix)


def read_yaml(file: Path, fix: str) -> dict[str, Any]:
    """Read the settings of a run.

    Args:
        file: Where they are.
        fix: What to do if they cannot be used.

    Raises:
        DataError: If they cannot be read, or are no YAML mapping.
    """
    text = _text(file)
    try:
        found = yaml.load(text, Loader=_Once)
    except yaml.YAMLError as err:
        mark = getattr(err, "problem_mark", None)
        place = f"{file}, line {mark.line + 1}, column {mark.column + 1}" if mark else str(file)
        why = str(getattr(err, "problem", None) or err).splitlines()[0]
        raise DataError(f"{str(file)!r} is not valid YAML", where=place, why=why, fix=fix) from err
    except (ValueError, RecursionError, TypeError) as err:  # also dates and keys that cannot be
        raise DataError(f"{str(file)!r} cannot be read", why=_line(err), fix=fix) from err
    if _size(found) > _MOST:
        why = "it is nested too deeply, an alias (*name) stands within what it stands for, or aliases multiply"
        raise DataError(f"{str(file)!r} cannot be used", why=why, fix=fix)
    return _mapping(found, file, fix)


class _Once(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # one of two classes
    """Reads YAML in which no key of a mapping stands twice; YAML would silently take the second one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """A mapping, as the loader of PyYAML makes it."""
        names = [name.value for name, _ in node.value if isinstance(name, yaml.ScalarNode)]
        again = next((name for place, name in enumerate(names) if name in names[:place]), None)
        if again is not None:
            raise yaml.constructor.ConstructorError(None, None, f"{again!r} stands there twice", node.start_mark)
        made: dict[Any, Any] = super().construct_mapping(node, deep)
        return made


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of a JSON text in which no key stands twice."""
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in made if names.count(name) > 1)!r} stands there twice")
    return made


def _size(found: object, depth: int = 0) -> int:
    """How many values there are, aliases written out; above the most as soon as that is sure."""
    inner = found.values() if isinstance(found, dict) else found if isinstance(found, list) else ()
    count = 1 if depth < _DEEPEST else _MOST + 1
    for one in inner:
        if count > _MOST:
            break
        count += _size(one, depth + 1)
    return count


def _line(err: BaseException) -> str:
    return (str(err).strip() or type(err).__name__).splitlines()[0]


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError as err:
        raise DataError(f"{str(file)!r} cannot be read", why=err.strerror) from err
    except UnicodeDecodeError as err:
        why = f"it is not UTF-8 text: {err.reason} at byte {err.start}"
        raise DataError(f"{str(file)!r} cannot be read", why=why) from err


def _mapping(found: object, file: Path, fix: str) -> dict[str, Any]:
    if not isinstance(found, dict):
        raise DataError(f"{str(file)!r} holds no object", why=f"its outermost value is {type(found).__name__}", fix=fix)
    return found

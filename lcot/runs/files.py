"""Files that are whole or not there, and reading them with a place in the message. Nothing heavy is imported here."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import yaml

from lcot.errors import DataError


def write_whole(target: Path, text: str) -> None:
    """Write a file in one move, so that it is never half there."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_suffix(target.suffix + ".part")
    try:
        part.write_text(text, encoding="utf-8")
        os.replace(part, target)
    except OSError:
        part.unlink(missing_ok=True)
        raise


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

    def number(self, name: str) -> float | None:
        """A number; ``None`` if it is null or not there."""
        found = self._field(name, (int, float))
        return None if found is None else float(found)

    def count(self, name: str) -> int | None:
        """A whole number; ``None`` if it is null or not there."""
        found: int | None = self._field(name, int)
        return found

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
    try:
        found = json.loads(_text(file))
    except json.JSONDecodeError as err:
        place = f"{file}, line {err.lineno}, column {err.colno}"
        raise DataError(f"{str(file)!r} is not valid JSON", where=place, why=err.msg, fix=fix) from err
    return _mapping(found, file, fix)


def read_yaml(file: Path, fix: str) -> dict[str, Any]:
    """Read the settings of a run.

    Args:
        file: Where they are.
        fix: What to do if they cannot be used.

    Raises:
        DataError: If they cannot be read, or are no YAML mapping.
    """
    try:
        found = yaml.load(_text(file), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.YAMLError as err:
        mark = getattr(err, "problem_mark", None)
        place = f"{file}, line {mark.line + 1}, column {mark.column + 1}" if mark else str(file)
        why = str(getattr(err, "problem", None) or err).splitlines()[0]
        raise DataError(f"{str(file)!r} is not valid YAML", where=place, why=why, fix=fix) from err
    return _mapping(found, file, fix)


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

"""Null where a setting wants a value: the parser lets it pass, or makes the text "None" of it."""

from __future__ import annotations

import importlib
import inspect
import typing
from collections.abc import Sequence
from dataclasses import is_dataclass
from typing import Any

from lcot.cli.parts import check_whole
from lcot.errors import UserError
from lcot.settings import Settings, cut
from lcot.signatures import parameters

_NULLS = ("", "~", "null", "Null", "NULL", "None")
"""What YAML takes for null, and what the parser writes for it where a text is wanted."""


def refuse_null(settings: Any, given: Settings) -> None:
    """Refuse null where a class wants a value.

    Args:
        settings: What the parser made.
        given: What the user set.

    Raises:
        UserError: If there is one.
    """
    for section, chosen in (
        ("model", settings.model),
        ("data", settings.data),
        ("curriculum.schedule", settings.curriculum.schedule),
    ):
        check_whole(section, chosen.class_path)
        package, _, name = chosen.class_path.rpartition(".")
        made = getattr(importlib.import_module(package), name)
        known = parameters(made)
        for key, value in chosen.init_args.items():
            first, *inner = key.split(".")
            hint = known[first].annotation if first in known else Any
            for name in inner:
                hint = _field(hint, name)
            group = any(is_dataclass(each) for each in (hint, *typing.get_args(hint)))
            if group and isinstance(value, list | int | float | str):
                raise UserError(
                    f"{section}.{key} is {cut(str(value))!r}",
                    where=f"{section}.{key}",
                    why="it is a group of settings",
                    fix="write its settings below it, or leave it out",
                )
            _check(f"{section}.{key}", value, hint)
    for found in given.found:
        if found.value in _NULLS and _value(settings, found.key.split(".")) == "None":
            raise UserError(f"{found.key} is null", where=found.place, fix="give a text, or leave it out")


def _check(key: str, value: Any, hint: Any) -> None:
    """Refuse null for a value of a type without it."""
    if value is None and hint is not Any and type(None) not in typing.get_args(hint):
        kind = hint.__name__ if inspect.isclass(hint) else str(hint)
        raise UserError(f"{key} is null", where=key, fix=f"give a value ({kind}), or leave it out")


def _field(hint: Any, name: str) -> Any:
    """The type of a field of a group of settings."""
    group = next((each for each in (hint, *typing.get_args(hint)) if is_dataclass(each)), None)
    try:
        return Any if group is None else typing.get_type_hints(group).get(name, Any)
    except NameError:  # a class of one's own, whose types are imported for the type checker alone
        return Any


def _value(settings: Any, parts: Sequence[str]) -> Any:
    """The value of a setting whose key leaves out ``init_args``; ``None`` if there is none."""
    for part in parts:
        if not hasattr(settings, "get"):
            return None
        found = settings.get(part)
        settings = (settings.get("init_args") or {}).get(part) if found is None else found
    return settings

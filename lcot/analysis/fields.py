"""What the fields of a record hold, as its class documents them: for whoever reads its rows in a file."""

from __future__ import annotations

import re
from dataclasses import fields
from types import NoneType
from typing import Any, get_args, get_type_hints

from lcot.analysis.tables import Column

_ATTRIBUTE = re.compile(r"^ {8}(\w+): (.+(?:\n {12,}.+)*)", re.MULTILINE)
_CODE = re.compile(r"(?::\w+:)?`+([^`]+)`+")
_TYPES: dict[Any, str] = {bool: "bool", int: "int64", float: "double", str: "string"}


def fields_of(kind: type) -> dict[str, str]:
    """The documented attributes of a record, without the marks of code."""
    attributes = (kind.__doc__ or "").partition("Attributes:\n")[2]
    return {name: _CODE.sub(r"\1", " ".join(what.split())) for name, what in _ATTRIBUTE.findall(attributes)}


def columns_of(kind: type) -> tuple[Column, ...]:
    """The columns of a table whose rows are records of plain values."""
    told, hints = fields_of(kind), get_type_hints(kind)
    return tuple(Column(one.name, _plain(hints[one.name]), told[one.name].rstrip(".")) for one in fields(kind))


def _plain(hint: Any) -> str:
    """The type of a column whose values are of a kind, of one or ``None``, or words of a list."""
    (held,) = {type(one) if isinstance(one, str) else one for one in get_args(hint) or (hint,)} - {NoneType}
    return _TYPES[held] if held in _TYPES else _plain(held)

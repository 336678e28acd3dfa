"""Columns of records: as their fields are documented, of the types that they have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pytest

from lcot.analysis.fields import columns_of, fields_of
from lcot.analysis.tables import Column


@dataclass
class Record:
    """One.

    Attributes:
        name: What it is called.
        count: How many; see
            :class:`Record`.
        share: Their share; ``None`` if there are none.
        kind: Which.
        true: Whether it is.
    """

    name: str
    count: int
    share: float | None
    kind: Literal["a", "b"] | None
    true: bool


def test_columns() -> None:
    assert columns_of(Record) == (
        Column("name", "string", "What it is called"),
        Column("count", "int64", "How many; see Record"),
        Column("share", "double", "Their share; None if there are none"),
        Column("kind", "string", "Which"),
        Column("true", "bool", "Whether it is"),
    )
    assert list(fields_of(Record)) == ["name", "count", "share", "kind", "true"]


def test_what_is_not_documented_has_no_column() -> None:
    @dataclass
    class Bare:
        """One."""

        name: str

    with pytest.raises(KeyError):
        columns_of(Bare)

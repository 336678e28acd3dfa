"""What a class can be given."""

from __future__ import annotations

from typing import Any

from lcot.datamodules import ProsQA
from lcot.signatures import parameters


class Base:
    """Takes two settings."""

    def __init__(self, size: int = 3, name: str | None = None) -> None:
        self.size, self.name = size, name


class Passing(Base):
    """Names one of them anew, and passes the other on."""

    def __init__(self, extra: float, size: int = 5, **options: Any) -> None:
        super().__init__(size=size, **options)
        self.extra = extra


class Closed(Base):
    """Passes nothing on."""

    def __init__(self, extra: float) -> None:
        super().__init__()
        self.extra = extra


def test_what_is_passed_on_counts_and_the_nearest_default_wins() -> None:
    found = parameters(Passing)
    assert list(found) == ["extra", "size", "name"]
    assert found["size"].default == 5 and found["name"].annotation == (str | None)


def test_what_is_not_passed_on_does_not_count() -> None:
    assert list(parameters(Closed)) == ["extra"]


def test_data_modules_take_the_settings_of_all_data_modules() -> None:
    found = parameters(ProsQA)
    assert found["batch_size"].annotation is int and found["symbols"].default == 55

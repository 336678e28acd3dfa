"""Checks of options that several data sets have: sizes, choices, paths."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from lcot.errors import UserError


def split_sizes(train: int, val: int, test: int) -> dict[str, int]:
    """The sizes of generated splits, that of ``predict`` among them.

    Raises:
        UserError: If one is below 1.
    """
    check_least(1, train_size=train, val_size=val, test_size=test)
    return {"train": train, "val": val, "test": test, "predict": test}


def check_least(least: int, **numbers: int | None) -> None:
    """Refuse options that are too small; ``None`` is not.

    Raises:
        UserError: If one is.
    """
    for name, value in numbers.items():
        if value is not None and value < least:
            raise UserError(f"{name} is {value}", where=f"data.{name}", fix=f"use {least} or more")


def check_choice(name: str, value: object, known: Collection[str]) -> None:
    """Refuse a value that is none of those known.

    Raises:
        UserError: If it is not.
    """
    if value not in known:
        raise UserError.unknown(name, str(value), known, where=f"data.{name}")


def check_one_path(path: str | None, paths: Mapping[str, str | None], fix: str) -> None:
    """Refuse one file for all splits together with a file for one of them.

    Args:
        path: The one for all.
        paths: Those of the splits.
        fix: What to do.

    Raises:
        UserError: If both are given.
    """
    given = [f"data.{split}_path" for split, own in paths.items() if own is not None]
    if path is not None and given:
        raise UserError(
            f"path and {given[0].removeprefix('data.')} are both given",
            where=", ".join(["data.path", *given]),
            why="path is cut into all three splits",
            fix=fix,
        )

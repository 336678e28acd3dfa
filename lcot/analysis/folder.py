"""A folder that is whole or not there: an existing one is replaced when the new one is complete, and not before."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lcot.errors import UserError
from lcot.runs.files import beside, left_over, locked, remove, tidy

MARK = "measurements.json"
"""The file that shows a folder to be an analysis."""


def check_target(target: Path, mark: str = MARK, what: str = "an analysis") -> None:
    """Refuse a folder that must not be replaced.

    Args:
        target: The folder.
        mark: The file that shows it to be of the kind that may be replaced.
        what: That kind, in words.

    Raises:
        UserError: If it is a file, or holds anything else.
    """
    if target.is_dir() and not (target / mark).is_file() and any(target.iterdir()):
        raise UserError(
            f"{str(target)!r} holds other files",
            where="--out",
            why="the folder would be replaced whole",
            fix=f"give a folder that is new, empty, or {what}",
        )
    if target.exists() and not target.is_dir():
        raise UserError(f"{str(target)!r} is a file", where="--out", fix="give a folder")


@contextmanager
def replaced(target: Path, mark: str = MARK, what: str = "an analysis") -> Iterator[Path]:
    """A folder to write into, which takes the place of another one at the end; on an error nothing is left of it.

    What a process that was killed on this machine left behind goes first.

    Args:
        target: Its place. What is there stays until then.
        mark: As in :func:`check_target`.
        what: As in :func:`check_target`.

    Yields:
        An empty folder beside it.

    Raises:
        UserError: If nothing can be written there, or it holds anything else.
    """
    check_target(target, mark, what)
    asked, target = target, target.absolute()
    _restore(target)
    tidy(target)
    part, old = beside(target), beside(target, "old")
    new = [folder for folder in target.parents if not folder.exists()]
    try:
        try:
            remove(part)
            part.mkdir(parents=True)
            (part / "probe").write_bytes(b"\0" * 4096)
            (part / "probe").unlink()
        except OSError as err:
            raise UserError(
                f"nothing can be written to {str(asked)!r}",
                where="--out",
                why=err.strerror or str(err),
                fix="give a folder with write access and free space",
            ) from err
        yield part
        # Of two that end at once, one waits for the other to have moved its own.
        with locked(target.with_name(f".{target.name}.lock"), seconds=60):
            if target.exists():
                target.replace(old)
            part.replace(target)
        remove(old)
    except BaseException:
        remove(part)
        if old.exists() and not target.exists():
            old.replace(target)
        for folder in new:
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()
        raise


def _restore(target: Path) -> None:
    """Put back what a process that is no more had moved away, and remove it where something else is there by now."""
    for old in left_over(target, "old"):
        if target.exists():
            remove(old)
        else:
            old.replace(target)

"""A folder that is whole or not there: an existing one is replaced when the new one is complete, and not before."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from glob import escape
from pathlib import Path

from lcot.errors import UserError

MARK = "measurements.json"
"""The file that shows a folder to be an analysis."""


def check_target(target: Path) -> None:
    """Refuse a folder that must not be replaced.

    Raises:
        UserError: If it is a file, or holds anything but an analysis.
    """
    if target.is_dir() and not (target / MARK).is_file() and any(target.iterdir()):
        raise UserError(
            f"{str(target)!r} holds other files",
            where="--out",
            why="the folder would be replaced whole",
            fix="give a folder that is new, empty, or an analysis",
        )
    if target.exists() and not target.is_dir():
        raise UserError(f"{str(target)!r} is a file", where="--out", fix="give a folder")


@contextmanager
def replaced(target: Path) -> Iterator[Path]:
    """A folder to write into, which takes the place of another one at the end; on an error nothing is left of it.

    What a process that was killed on this machine left behind goes first.

    Args:
        target: Its place. What is there stays until then.

    Yields:
        An empty folder beside it.

    Raises:
        UserError: If nothing can be written there, or it holds anything but an analysis.
    """
    check_target(target)
    asked, target = target, target.absolute()
    _tidy(target)
    part, old = (target.with_name(f"{_begun(target, word)}{os.getpid()}") for word in ("part", "old"))
    new = [folder for folder in target.parents if not folder.exists()]
    try:
        try:
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
        if target.exists():
            target.replace(old)
        part.replace(target)
        shutil.rmtree(old, ignore_errors=True)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        if old.exists() and not target.exists():
            old.replace(target)
        for folder in new:
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()
        raise


def _begun(target: Path, word: str) -> str:
    """What the names of this machine's folders beside a target begin with; the number of a process ends them."""
    return f".{target.name}.{word}-{platform.node()}-"


def _tidy(target: Path) -> None:
    """Remove what processes left that are no more, and put back what one of them had moved away."""
    for word in ("old", "part"):
        begun = _begun(target, word)
        for folder in target.parent.glob(f".{escape(target.name)}.{word}-*"):
            number = folder.name.removeprefix(begun)
            if not number.isdecimal() or _is_there(int(number)):
                continue
            if word == "old" and not target.exists():
                folder.replace(target)
            else:
                shutil.rmtree(folder, ignore_errors=True)


def _is_there(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True

"""A small disk for tests: a file system in memory that takes so many bytes, and more when it is told to."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_UNFINISHED = ("part", ".probe", ".tmp", "partial", ".lock", "tmp.")
"""What names of files that are being written have in them."""


class Disk:
    """A mounted file system.

    Args:
        place: Where it is mounted.
    """

    def __init__(self, place: Path) -> None:
        self.place = place

    def resize(self, size: int) -> None:
        """Have it take so many bytes in all."""
        subprocess.run(["mount", "-o", f"remount,size={size}", str(self.place)], check=True)

    def used(self) -> int:
        """Bytes that are taken."""
        return sum(file.stat().st_blocks * 512 for file in self.place.rglob("*"))

    def unfinished(self) -> list[str]:
        """Files that are not whole, by their names."""
        paths = [path.relative_to(self.place).as_posix() for path in self.place.rglob("*")]
        return [path for path in paths if any(word in path.rpartition("/")[2] for word in _UNFINISHED)]


@contextmanager
def small_disk(place: Path, size: int) -> Iterator[Disk]:
    """Mount one; the test is skipped where that is not allowed."""
    place.mkdir()
    try:
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)], capture_output=True)
    except FileNotFoundError:
        pytest.skip("there is no mount command")
    if done.returncode:
        pytest.skip(f"mounting is not allowed here: {done.stderr.decode().strip()}")
    try:
        yield Disk(place)
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)

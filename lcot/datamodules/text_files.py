"""Opening text files: what is none is said before anything is read, and never waited for."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from lcot.errors import DataError, shown

# What a file that is no text of ours begins with, what it is, and what to do.
_UNPACK = "unpack it, and give the file that comes out"
_UTF_8 = "save it as UTF-8"
_BEGINNINGS = (
    (b"version https://git-lfs.github.com/spec/", "a Git LFS pointer, not the file itself", "git lfs pull"),
    (b"\x1f\x8b", "compressed (gzip)", _UNPACK),
    (b"PK\x03\x04", "compressed (zip)", _UNPACK),
    (b"BZh", "compressed (bzip2)", _UNPACK),
    (b"\xfd7zXZ\x00", "compressed (xz)", _UNPACK),
    (b"\x28\xb5\x2f\xfd", "compressed (zstandard)", _UNPACK),
    (b"PAR1", "a Parquet table, not text", "put it into a folder and give that as hub:FOLDER, or convert it to .jsonl"),
    (b"\xff\xfe", "UTF-16 text", _UTF_8),
    (b"\xfe\xff", "UTF-16 text", _UTF_8),
    (b"<!doctype html", "a web page", "download the file itself (of a repository: its raw form)"),
    (b"<html", "a web page", "download the file itself (of a repository: its raw form)"),
)


def check_file(path: str | Path, endings: Sequence[str] = (), kinds: str = "give a file") -> Path:
    """Make sure that a file is there, holds text, and has a name that says what it is.

    Args:
        path: The file; ``~`` is the home folder.
        endings: What its name may end in; anything if there is none.
        kinds: Which files can be given, for messages.

    Returns:
        The file.

    Raises:
        DataError: If it is missing, empty, a folder, a pipe or device, of another kind, or begins as no text does.
    """
    try:
        file = Path(path).expanduser()
        _check_place(file, endings, kinds)
        with file.open("rb") as stream:
            beginning = stream.read(512)
    except (OSError, RuntimeError) as error:  # a name that is too long, a folder that is closed; nobody's home folder
        raise DataError(
            "the file cannot be read", where=shown(str(path), 200), why=getattr(error, "strerror", None) or str(error)
        ) from error
    for known, what, fix in _BEGINNINGS:
        if beginning.lstrip(b"\xef\xbb\xbf \r\n").lower().startswith(known.lower()):
            raise DataError(f"the file is {what}", where=str(file), fix=fix)
    if b"\x00" in beginning:
        fix = "save it as UTF-8 text, or download it again"
        raise DataError("the file holds NUL bytes", where=str(file), why="no text does, but UTF-16 in bytes", fix=fix)
    if endings and file.suffix not in endings:
        raise DataError(f"files ending in {file.suffix!r} cannot be read", where=str(file), fix=kinds)
    return file


def _check_place(file: Path, endings: Sequence[str], kinds: str) -> None:
    if file.is_dir():
        inside = sorted(one.name for one in file.iterdir() if one.is_file() and (not endings or one.suffix in endings))
        raise DataError(
            "a folder was given where a file is needed",
            where=str(file),
            fix=f"give one of its files: {', '.join(inside[:8])}" if inside else kinds,
        )
    if not file.exists():
        siblings = [one.name for one in file.parent.iterdir()] if file.parent.is_dir() else []
        near = difflib.get_close_matches(file.name, siblings, n=1)
        raise DataError(
            "there is no such file",
            where=str(file),
            why=None if file.parent.is_dir() else f"there is no folder {str(file.parent)!r} either",
            fix=f"did you mean {str(file.parent / near[0])!r}?" if near else "check the path",
        )
    if not file.is_file():
        why = "it is read more than once, and nothing says that it will ever end"
        raise DataError("a pipe or device was given where a file is needed", where=str(file), why=why, fix=kinds)
    if file.stat().st_size == 0:
        raise DataError("the file is empty", where=str(file), fix="check that it was written or downloaded completely")


@contextmanager
def opened(file: Path) -> Iterator[TextIO]:
    """A text file, to be read in the block.

    Raises:
        DataError: If it cannot be read, or is not UTF-8.
    """
    try:
        with file.open(encoding="utf-8-sig") as stream:
            yield stream
    except UnicodeDecodeError as error:
        with file.open("rb") as lines:
            for _ in _decoded(file, lines):
                pass
        raise DataError("the file is not UTF-8 text", where=str(file), why=error.reason, fix=_UTF_8) from error
    except OSError as error:
        raise DataError("the file cannot be read", where=str(file), why=error.strerror) from error


def read_lines(path: str | Path) -> Iterator[tuple[int, str]]:
    """Read the lines of a UTF-8 file that are not blank, one at a time, without white space at their ends.

    Args:
        path: The file; ``~`` is the home folder.

    Returns:
        Line number from 1, and text. The path is checked at once, the lines when they are reached.

    Raises:
        DataError: If there is no such file, it is empty or cannot be read, or a line is not UTF-8 or holds NUL.
    """
    file = check_file(path)

    def lines() -> Iterator[tuple[int, str]]:
        try:
            with file.open("rb") as stream:  # as bytes: their lines end where the file's lines do, and nowhere else
                yield from _decoded(file, stream)
        except OSError as error:
            raise DataError("the file cannot be read", where=str(file), why=error.strerror) from error

    return lines()


def _decoded(file: Path, stream: Iterator[bytes]) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(stream, start=1):
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
        except UnicodeDecodeError as error:
            raise DataError(
                "the file is not UTF-8 text",
                where=f"{file}, line {number}, byte {error.start + 1}",
                why=error.reason,
                fix=_UTF_8,
            ) from error
        if "\x00" in text:
            raise DataError("a NUL character stands in the text", where=f"{file}, line {number}", fix="take it out")
        if text:
            yield number, text

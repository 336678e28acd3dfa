"""Reading text files of one problem a line, ``question||steps #### answer``, with the place of every fault."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from pathlib import Path

from lcot.errors import DataError

ENDS_QUESTION = "||"
ENDS_STEPS = "####"
_FORM = f"a line is question{ENDS_QUESTION}steps {ENDS_STEPS} answer"


def read_arithmetic_lines(path: str | Path) -> Iterator[tuple[int, str, str, str]]:
    """Read a file in the text format of iCoT (arXiv 2405.14838): GSM8k-Aug, multiplication.

    The file is streamed. Blank lines and a byte order mark are passed over; white space around question, steps and
    answer is taken off.

    Args:
        path: The file; ``~`` is the home folder.

    Returns:
        Line number from 1, question, steps as one text, and answer, in the file's order. The steps may be empty, as
        they are for some problems of GSM8k-Aug. The path is checked at once, the lines when they are reached.

    Raises:
        DataError: If there is no such file, it is empty, not UTF-8 or holds no problem, or a line lacks a separator or
            has it twice, or a blank question or answer. The message names file, line and field.
    """
    file = check_file(path)
    return _problems(file)


def read_lines(path: str | Path) -> Iterator[tuple[int, str]]:
    """Read the lines of a UTF-8 file that are not blank, one at a time, without white space at their ends.

    Args:
        path: The file; ``~`` is the home folder.

    Returns:
        Line number from 1, and text. The path is checked at once, the lines when they are reached.

    Raises:
        DataError: If there is no such file, it is empty or cannot be read, or a line is not UTF-8.
    """
    file = check_file(path)
    return _lines(file)


def check_file(path: str | Path, endings: Sequence[str] = (), kinds: str = "give a file") -> Path:
    """Make sure that a file is there, is not empty, and has a name that says what it is.

    Args:
        path: The file; ``~`` is the home folder.
        endings: What its name may end in; anything if there is none.
        kinds: Which files can be given, for messages.

    Returns:
        The file.

    Raises:
        DataError: If it is missing, empty, a folder, or of another kind.
    """
    file = Path(path).expanduser()
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
    if endings and file.suffix not in endings:
        raise DataError(f"files ending in {file.suffix!r} cannot be read", where=str(file), fix=kinds)
    if file.stat().st_size == 0:
        raise DataError("the file is empty", where=str(file), fix="check that it was written or downloaded completely")
    return file


def _problems(file: Path) -> Iterator[tuple[int, str, str, str]]:
    found = False
    for number, line in _lines(file):
        where = f"{file}, line {number}"
        question, rest = _halves(line, ENDS_QUESTION, "between question and steps", where)
        steps, answer = _halves(rest, ENDS_STEPS, "between steps and answer", where)
        for field, text in (("question", question), ("answer", answer)):
            if not text:
                raise DataError(f"the {field} is blank", where=where, fix=_FORM)
        if answer.startswith("#"):
            raise DataError(f"more than four # stand before the answer {answer!r}", where=where, fix=_FORM)
        found = True
        yield number, question, steps, answer
    if not found:
        raise DataError("the file holds no problem", where=str(file), fix="give a file with at least one")


def _halves(text: str, separator: str, place: str, where: str) -> tuple[str, str]:
    parts = text.split(separator)
    if len(parts) == 1:
        raise DataError(f"there is no {separator} {place}", where=where, why=f"the line has {_short(text)}", fix=_FORM)
    if len(parts) > 2:
        raise DataError(
            f"{separator} stands {len(parts) - 1} times {place}",
            where=where,
            why="it cannot be told which of them separates the two",
            fix=f"leave one; {_FORM}",
        )
    return parts[0].strip(), parts[1].strip()


def _lines(file: Path) -> Iterator[tuple[int, str]]:
    try:
        with file.open("rb") as stream:  # as bytes: their lines end where the file's lines do, and nowhere else
            for number, line in enumerate(stream, start=1):
                text = line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
                if text:
                    yield number, text
    except UnicodeDecodeError as error:
        raise DataError(
            "the file is not UTF-8 text",
            where=f"{file}, line {number}, byte {error.start + 1}",
            why=error.reason,
            fix="save as UTF-8",
        ) from error
    except OSError as error:
        raise DataError("the file cannot be read", where=str(file), why=error.strerror) from error


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:57]}…")

"""Reading text files of one problem a line, ``question||steps #### answer``, with the place of every fault."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from lcot.datamodules.text_files import read_lines
from lcot.errors import DataError, shown

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
    return _problems(path, read_lines(path))


def _problems(path: str | Path, lines: Iterator[tuple[int, str]]) -> Iterator[tuple[int, str, str, str]]:
    file = Path(path).expanduser()
    found = False
    for number, line in lines:
        where = f"{file}, line {number}"
        question, rest = _halves(line, ENDS_QUESTION, "between question and steps", where)
        steps, answer = _halves(rest, ENDS_STEPS, "between steps and answer", where)
        for field, text in (("question", question), ("answer", answer)):
            if not text:
                raise DataError(f"the {field} is blank", where=where, fix=_FORM)
        if answer.startswith("#"):
            raise DataError(f"more than four # stand before the answer {shown(answer)}", where=where, fix=_FORM)
        found = True
        yield number, question, steps, answer
    if not found:
        raise DataError("the file holds no problem", where=str(file), fix="give a file with at least one")


def _halves(text: str, separator: str, place: str, where: str) -> tuple[str, str]:
    parts = text.split(separator)
    if len(parts) == 1:
        raise DataError(f"there is no {separator} {place}", where=where, why=f"the line has {shown(text)}", fix=_FORM)
    if len(parts) > 2:
        raise DataError(
            f"{separator} stands {len(parts) - 1} times {place}",
            where=where,
            why="it cannot be told which of them separates the two",
            fix=f"leave one; {_FORM}",
        )
    return parts[0].strip(), parts[1].strip()

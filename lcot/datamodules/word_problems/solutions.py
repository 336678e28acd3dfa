"""What records of several data sets have in common: whole solutions, options with letters."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from lcot.datamodules.word_problems.text_records import ENDS_STEPS
from lcot.errors import DataError, shown

# The calculator's marks of GSM8K: <<48/2=24>>.
MARK = re.compile(r"<<.*?>>")
LETTERS = "ABCDEF"
_OPTION = re.compile(r"\s*\(?\s*([A-Za-z])\s*\)\s*(.*?)\s*", re.DOTALL)


def split_solution(value: Mapping[str, object], where: str) -> tuple[str, str] | None:
    """A whole solution in the field ``answer`` (lines, and ``#### 18`` at their end) in its two parts.

    Args:
        value: The record.
        where: File and position of it, for messages.

    Returns:
        The lines, and the answer; ``None`` where the record has steps of its own, or an answer that is no text.

    Raises:
        DataError: If ``####`` is missing from the answer, or stands in it more than once.
    """
    written = value.get("answer")
    if "steps" in value or not isinstance(written, str):
        return None
    parts = written.split(ENDS_STEPS)
    if len(parts) != 2:
        raise DataError(
            f'field "answer" has {len(parts) - 1} times {ENDS_STEPS}, and there is no field "steps"',
            where=where,
            why=f"the record has {', '.join(map(repr, value))}",
            fix=f'give steps as a list, or the whole solution as "answer", with {ENDS_STEPS} before the result',
        )
    solution, answer = parts
    return solution, answer.strip()


def marks_of(solution: str, where: str) -> list[str]:
    """The calculator's marks of a solution, such as ``<<48/2=24>>``, in their order.

    Args:
        solution: The lines.
        where: File and position of the record, for messages.

    Raises:
        DataError: If one is damaged: it, or one beside it, would not be read as a step.
    """
    damage = damaged_mark(solution)
    if damage is not None:
        raise DataError(
            f"a calculator mark is damaged: {shown(damage)}",
            where=where,
            why="a mark is <<48/2=24>>; each is a step, and this one would be lost",
            fix="close it, or take it out",
        )
    return MARK.findall(solution)


def damaged_mark(solution: str) -> str | None:
    """The line with the first mark that is not opened or not closed; ``None`` if there is none."""
    for line in solution.splitlines():
        rest = MARK.sub("", line)
        if "<<" in rest or ">>" in rest or any("<<" in mark[2:] for mark in MARK.findall(line)):
            return line.strip()
    return None


def text_field(value: Mapping[str, object], key: str, where: str, *, blank: bool = False) -> str:
    """The text of a field, without white space around it.

    Raises:
        DataError: If it is missing, no text, or blank where it may not be.
    """
    found = value.get(key)
    if not isinstance(found, str) or not (blank or found.strip()):
        what = "missing" if key not in value else "blank" if isinstance(found, str) else "no text"
        raise DataError(f'field "{key}" is {what}', where=where, why=f"the record has {', '.join(map(repr, value))}")
    return found.strip()


def lettered(options: object, where: str) -> dict[str, str]:
    """Options such as ``A)21`` or ``(A) 21`` by their letters.

    Args:
        options: What the field holds.
        where: File and position of the record, for messages.

    Raises:
        DataError: If they are no list of two to six such texts, or their letters are not A, B, C in this order.
    """
    if not isinstance(options, list) or not 2 <= len(options) <= len(LETTERS):
        found = f"has {len(options)} entries" if isinstance(options, list) else "is no list"
        raise DataError(f'field "options" {found}', where=where, fix="give two to six, such as 'A)21'")
    by_letter: dict[str, str] = {}
    for letter, option in zip(LETTERS, options, strict=False):
        parts = _OPTION.fullmatch(option) if isinstance(option, str) else None
        if parts is None or parts[1].upper() != letter:
            raise DataError(
                f'field "options"[{len(by_letter)}] is {shown(option)}', where=where, fix=f"begin it with '{letter})'"
            )
        by_letter[letter] = " ".join(parts[2].split())
    return by_letter


def with_options(question: str, options: Mapping[str, str]) -> str:
    """A question and its options, as BIG-Bench Hard writes them: a line *Options:*, and a line *(A) 21* for each."""
    return "\n".join([question, "Options:", *(f"({letter}) {text}" for letter, text in options.items())])


def options_of(question: str) -> dict[str, str]:
    """The options that a question's text ends with, by their letters; empty if it has none.

    They are lines such as ``(A) 21`` or ``A)21``, one behind another.
    """
    found: dict[str, str] = {}
    for line in question.splitlines():
        option = re.fullmatch(r"\s*\(?([A-F])\)\s*(.*?)\s*", line)
        if option is None or option[1] != LETTERS[len(found) : len(found) + 1]:
            found = {}
        if option is not None and option[1] == LETTERS[len(found) : len(found) + 1]:
            found[option[1]] = option[2]
    return found if len(found) > 1 else {}


def check_letter(answer: object, options: Sequence[str], field: str, where: str) -> str:
    """The bare letter of an answer such as ``C`` or ``(C)``.

    Args:
        answer: What the field holds.
        options: The letters there are.
        field: Its name, for messages.
        where: File and position of the record, for messages.

    Raises:
        DataError: If it is no letter, or none of the options.
    """
    found = re.fullmatch(r"\s*\(?([A-F])\)?\s*", answer) if isinstance(answer, str) else None
    if found is None:
        raise DataError(
            f'field "{field}" is {shown(answer)}', where=where, fix="give the letter of an option, such as 'C'"
        )
    if found[1] not in options:
        raise DataError(f'field "{field}" is {found[1]!r}', where=where, why=f"the options are {', '.join(options)}")
    return found[1]

"""Reading files of reasoning examples, one record at a time, with the place of every fault."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, TextIO

from lcot.datamodules.json_text import JsonText
from lcot.datamodules.text_files import check_file, opened
from lcot.errors import DataError, shown
from lcot.reasoning.example import ReasoningExample, parse_example

_OTHER_VALUES = {"": "nothing but white space", "{": "an object", '"': "a string"}
_KINDS = "give a .json file (a list of objects) or a .jsonl file (an object on each line)"
_ONE_VALUE = "a .jsonl file has one object on each line; name a file that is one JSON value .json"


def read_examples(path: str | Path, *, need_steps: bool = True) -> Iterator[ReasoningExample]:
    """Read the examples of a ``.json`` file (a list of objects) or a ``.jsonl`` file (an object on each line).

    The file is streamed: memory holds one record at a time, and the ids seen so far. A record without an id gets its
    place in the file, counted from 0, as published ProsQA and GSM8k-Aug need it. A byte order mark and, in JSON Lines,
    blank lines are passed over.

    Args:
        path: The file; ``~`` is the home folder.
        need_steps: Whether a record without any reasoning step is an error.

    Returns:
        The examples in the file's order. The path is checked at once, the records when they are reached.

    Raises:
        DataError: If there is no such file, it is empty, not UTF-8 or not valid JSON, its outermost value is no list,
            it holds no record, a record is faulty, or two share an id. The message names file, line and record (from
            1).
    """
    return parse_records(read_records(path), need_steps=need_steps)


class Record(NamedTuple):
    """A record, whatever it holds, and where it stands.

    Attributes:
        value: What the parser made of it.
        where: Its source and its place there, for messages.
        place: Its place alone.
    """

    value: object
    where: str
    place: str


def read_records(path: str | Path) -> Iterator[Record]:
    """Read the records of a ``.json`` or ``.jsonl`` file as they are, streamed like :func:`read_examples`.

    Args:
        path: The file; ``~`` is the home folder.

    Returns:
        The records in the file's order. The path is checked at once, the records when they are reached.

    Raises:
        DataError: As for :func:`read_examples`, except for what is in a record.
    """
    file = check_file(path, (".json", ".jsonl"), _KINDS)
    return opened_records(file, _json_lines if file.suffix == ".jsonl" else _json_list)


def opened_records(file: Path, values: Callable[[Path, TextIO], Iterable[tuple[int, object]]]) -> Iterator[Record]:
    """The records of a text file.

    Args:
        file: The file.
        values: Gives each record, with the line that it begins in.

    Raises:
        DataError: If the file cannot be read, or holds no record.
    """
    number = 0
    with opened(file) as stream:
        for number, (line, value) in enumerate(values(file, stream), start=1):
            yield Record(value, f"{file}, line {line}, record {number}", f"line {line}")
    if number == 0:
        raise DataError("the file holds no record", where=str(file), fix="give a file with at least one example")


def parse_records(records: Iterable[Record], *, need_steps: bool = True) -> Iterator[ReasoningExample]:
    """Check records of question, steps and answer, and make them examples.

    Args:
        records: The records. One without an id gets its place among them, counted from 0.
        need_steps: Whether a record without any reasoning step is an error.

    Returns:
        The examples in the same order, each checked when it is reached.

    Raises:
        DataError: If a record is faulty, or two share an id.
    """
    places: dict[str, str] = {}
    for index, record in enumerate(records):
        example = parse_example(record.value, where=record.where, default_id=str(index), need_steps=need_steps)
        if example.id in places:
            raise DataError(
                f"the id {shown(example.id)} is used twice",
                where=record.where,
                why=f"{places[example.id]} has it too (a record without an id gets its place, from 0)",
                fix="give every record an id of its own, or none at all",
            )
        places[example.id] = record.place
        yield example


def _json_lines(file: Path, stream: TextIO) -> Iterator[tuple[int, object]]:
    for number, line in enumerate(stream, start=1):
        line = line.rstrip()
        if not line:
            continue
        if number == 1 and line in ("[", "{"):
            raise DataError(f"the first line is {line!r} alone", where=f"{file}, line 1, column 2", fix=_ONE_VALUE)
        text = JsonText(file, stream, line, number, complete=True)
        record = text.value()
        text.end("object")
        if number == 1 and isinstance(record, list):
            raise DataError("the first line is a list, not an object", where=f"{file}, line 1", fix=_ONE_VALUE)
        yield number, record


def _json_list(file: Path, stream: TextIO) -> Iterator[tuple[int, object]]:
    text = JsonText(file, stream)
    opening = text.peek()
    if opening != "[":
        raise DataError(
            f"the file holds {_OTHER_VALUES.get(opening, 'no list')}, not a list of objects",
            where=f"{file}, line {text.line}",
            fix="name a file with one object on each line .jsonl" if opening == "{" else "write [{…}, {…}]",
        )
    yield from text.listed()
    text.end("list")

"""Reading files of reasoning examples, one record at a time, with the place of every fault."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, NoReturn, TextIO

from lcot.datamodules.word_problems.text_records import check_file
from lcot.errors import DataError
from lcot.reasoning.example import ReasoningExample, parse_example

_CHUNK = 1 << 16
# A cut-off literal, number or \u escape is reported this close to the end of the text at hand, or as an open string.
_CUT = 16
_DECODER = json.JSONDecoder()
_SPACE = re.compile(r"[ \t\n\r]*")
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
        raise DataError(
            "the file is not UTF-8 text",
            where=f"{file}{_undecodable_line(file)}",
            why=error.reason,
            fix="save as UTF-8",
        ) from error
    except OSError as error:
        raise DataError("the file cannot be read", where=str(file), why=error.strerror) from error


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
                f"the id {example.id!r} is used twice",
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
        try:
            record: object = json.loads(line)
        except (json.JSONDecodeError, RecursionError) as error:
            many = number == 1 and line in ("[", "{")
            refuse_json(file, JsonText(stream, line, number), error, _ONE_VALUE if many else None)
        if number == 1 and isinstance(record, list):
            raise DataError("the first line is a list, not an object", where=f"{file}, line 1", fix=_ONE_VALUE)
        yield number, record


class JsonText:
    """A stream of text with a place in it.

    Args:
        stream: Where more text comes from.
        buffer: The text at hand.
        line: The line of its first character, from 1.
    """

    def __init__(self, stream: TextIO, buffer: str = "", line: int = 1) -> None:
        self.stream = stream
        self.buffer = buffer
        self.at = 0
        self.line, self.column = line, 1
        self.complete = False

    def more(self) -> None:
        """Read on; each time at least as much as is held, so that long records cost linear time."""
        chunk = self.stream.read(max(_CHUNK, len(self.buffer) - self.at))
        self.complete = not chunk
        self.buffer, self.at = self.buffer[self.at :] + chunk, 0

    def place(self, position: int) -> tuple[int, int]:
        """Line and column, from 1, of a position in the buffer that is not consumed yet."""
        newlines = self.buffer.count("\n", self.at, position)
        if newlines:
            return self.line + newlines, position - self.buffer.rindex("\n", self.at, position)
        return self.line, self.column + position - self.at

    def advance(self, position: int) -> None:
        """Consume the text before a position."""
        self.line, self.column = self.place(position)
        self.at = position

    def peek(self) -> str:
        """The next character that is no white space, which is consumed; an empty string at the end."""
        while True:
            space = _SPACE.match(self.buffer, self.at)
            self.advance(space.end() if space else self.at)
            if self.at < len(self.buffer) or self.complete:
                return self.buffer[self.at : self.at + 1]
            self.more()


def _json_list(file: Path, stream: TextIO) -> Iterator[tuple[int, object]]:
    text = JsonText(stream)
    opening = text.peek()
    if opening != "[":
        raise DataError(
            f"the file holds {_OTHER_VALUES.get(opening, 'no list')}, not a list of objects",
            where=f"{file}, line {text.line}",
            fix="name a file with one object on each line .jsonl" if opening == "{" else "write [{…}, {…}]",
        )
    yield from listed_values(file, text)
    refuse_more(file, text)


def listed_values(file: Path, text: JsonText) -> Iterator[tuple[int, object]]:
    """The values of a list, from its bracket on, each with the line that it begins in.

    Raises:
        DataError: If it is not valid JSON.
    """
    text.advance(text.at + 1)
    separator = text.peek()
    if separator == "]":
        text.advance(text.at + 1)
    while separator != "]":
        text.peek()
        line = text.line
        yield line, next_value(file, text)
        separator = text.peek()
        if separator not in (",", "]"):
            refuse_json(file, text, json.JSONDecodeError("Expecting ',' or ']'", text.buffer, text.at))
        text.advance(text.at + 1)


def refuse_more(file: Path, text: JsonText) -> None:
    """Refuse a file that goes on behind its list.

    Raises:
        DataError: If it does.
    """
    if text.peek():
        refuse_json(file, text, json.JSONDecodeError("Extra text after the list", text.buffer, text.at))


def next_value(file: Path, text: JsonText) -> object:
    """Decode one value, reading on as far as it goes.

    Raises:
        DataError: If it is not valid JSON.
    """
    while True:
        try:
            value, end = _DECODER.raw_decode(text.buffer, text.at)
        except (json.JSONDecodeError, RecursionError) as error:
            cut = isinstance(error, json.JSONDecodeError) and (
                error.msg.startswith("Unterminated string") or error.pos > len(text.buffer) - _CUT
            )
            if text.complete or not cut:
                refuse_json(file, text, error)
            text.more()
        else:
            text.advance(end)
            return value


def refuse_json(
    file: Path, text: JsonText, error: json.JSONDecodeError | RecursionError, fix: str | None = None
) -> NoReturn:
    """Say where a file stops being JSON.

    Raises:
        DataError: Always.
    """
    if isinstance(error, RecursionError):
        raise DataError("the file's values are nested too deeply", where=f"{file}, line {text.line}") from error
    line, column = text.place(error.pos)
    if error.msg.startswith("Unterminated string") or error.pos >= len(text.buffer.rstrip()):
        fix = fix or "the text ends too early: was it written or downloaded completely?"
    raise DataError(
        "the file is not valid JSON", where=f"{file}, line {line}, column {column}", why=error.msg, fix=fix
    ) from error


def _undecodable_line(file: Path) -> str:
    """The place of the first byte that is not UTF-8, to be put behind a file's name."""
    with file.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                return f", line {number}, byte {error.start + 1}"
    return ""  # not reached for a file that failed to decode as a whole

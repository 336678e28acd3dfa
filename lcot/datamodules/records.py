"""Reading files of reasoning examples, one record at a time, with the place of every fault."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn, TextIO

from lcot.errors import DataError
from lcot.reasoning.example import ReasoningExample, parse_example

_CHUNK = 1 << 16
# A cut-off literal, number or \u escape is reported this close to the end of the text at hand, or as an open string.
_CUT = 16
_DECODER = json.JSONDecoder()
_SPACE = re.compile(r"[ \t\n\r]*")
_OTHER_VALUES = {"": "nothing but white space", "{": "an object", '"': "a string"}
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
    file = Path(path).expanduser()
    _check_path(file)
    return _checked(file, need_steps)


def _checked(file: Path, need_steps: bool) -> Iterator[ReasoningExample]:
    lines: dict[str, int] = {}
    try:
        with file.open(encoding="utf-8-sig") as stream:
            records = _json_lines(file, stream) if file.suffix == ".jsonl" else _json_list(file, stream)
            for index, (line, record) in enumerate(records):
                where = f"{file}, line {line}, record {index + 1}"
                example = parse_example(record, where=where, default_id=str(index), need_steps=need_steps)
                if example.id in lines:
                    raise DataError(
                        f"the id {example.id!r} is used twice",
                        where=where,
                        why=f"line {lines[example.id]} has it too (a record without an id gets its place, from 0)",
                        fix="give every record an id of its own, or none at all",
                    )
                lines[example.id] = line
                yield example
    except UnicodeDecodeError as error:
        raise DataError(
            "the file is not UTF-8 text",
            where=f"{file}{_undecodable_line(file)}",
            why=error.reason,
            fix="save as UTF-8",
        ) from error
    except OSError as error:
        raise DataError("the file cannot be read", where=str(file), why=error.strerror) from error
    if not lines:
        raise DataError("the file holds no record", where=str(file), fix="give a file with at least one example")


def _check_path(file: Path) -> None:
    if file.is_dir():
        inside = sorted(path.name for path in file.iterdir() if path.suffix in (".json", ".jsonl"))
        raise DataError(
            "a folder was given where a file is needed",
            where=str(file),
            fix=f"give one of its files: {', '.join(inside[:8])}" if inside else "give a .json or .jsonl file",
        )
    if not file.exists():
        siblings = [path.name for path in file.parent.iterdir()] if file.parent.is_dir() else []
        near = difflib.get_close_matches(file.name, siblings, n=1)
        raise DataError(
            "there is no such file",
            where=str(file),
            why=None if file.parent.is_dir() else f"there is no folder {str(file.parent)!r} either",
            fix=f"did you mean {str(file.parent / near[0])!r}?" if near else "check the path",
        )
    if file.suffix not in (".json", ".jsonl"):
        raise DataError(
            f"files ending in {file.suffix!r} cannot be read",
            where=str(file),
            fix="give a .json file (a list of objects) or a .jsonl file (an object on each line)",
        )
    if file.stat().st_size == 0:
        raise DataError("the file is empty", where=str(file), fix="check that it was written or downloaded completely")


def _json_lines(file: Path, stream: TextIO) -> Iterator[tuple[int, object]]:
    for number, line in enumerate(stream, start=1):
        line = line.rstrip()
        if not line:
            continue
        try:
            record: object = json.loads(line)
        except (json.JSONDecodeError, RecursionError) as error:
            many = number == 1 and line in ("[", "{")
            _refuse(file, _Text(stream, line, number), error, _ONE_VALUE if many else None)
        if number == 1 and isinstance(record, list):
            raise DataError("the first line is a list, not an object", where=f"{file}, line 1", fix=_ONE_VALUE)
        yield number, record


class _Text:
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
    text = _Text(stream)
    opening = text.peek()
    if opening != "[":
        raise DataError(
            f"the file holds {_OTHER_VALUES.get(opening, 'no list')}, not a list of objects",
            where=f"{file}, line {text.line}",
            fix="name a file with one object on each line .jsonl" if opening == "{" else "write [{…}, {…}]",
        )
    text.advance(text.at + 1)
    separator = text.peek()
    if separator == "]":
        text.advance(text.at + 1)
    while separator != "]":
        text.peek()
        line = text.line
        yield line, _next_value(file, text)
        separator = text.peek()
        if separator not in (",", "]"):
            _refuse(file, text, json.JSONDecodeError("Expecting ',' or ']'", text.buffer, text.at))
        text.advance(text.at + 1)
    if text.peek():
        _refuse(file, text, json.JSONDecodeError("Extra text after the list", text.buffer, text.at))


def _next_value(file: Path, text: _Text) -> object:
    while True:
        try:
            value, end = _DECODER.raw_decode(text.buffer, text.at)
        except (json.JSONDecodeError, RecursionError) as error:
            cut = isinstance(error, json.JSONDecodeError) and (
                error.msg.startswith("Unterminated string") or error.pos > len(text.buffer) - _CUT
            )
            if text.complete or not cut:
                _refuse(file, text, error)
            text.more()
        else:
            text.advance(end)
            return value


def _refuse(file: Path, text: _Text, error: json.JSONDecodeError | RecursionError, fix: str | None = None) -> NoReturn:
    if isinstance(error, RecursionError):
        raise DataError("the file's values are nested too deeply", where=f"{file}, line {text.line}") from error
    line, column = text.place(error.pos)
    if error.msg.startswith("Unterminated string") or error.pos >= len(text.buffer.rstrip()):
        fix = fix or "the text ends too early: was it written or downloaded completely?"
    raise DataError(
        "the file is not valid JSON", where=f"{file}, line {line}, column {column}", why=error.msg, fix=fix
    ) from error


def _undecodable_line(file: Path) -> str:
    with file.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                return f", line {number}, byte {error.start + 1}"
    return ""  # not reached for a file that failed to decode as a whole

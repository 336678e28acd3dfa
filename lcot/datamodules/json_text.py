"""JSON as a stream: one value at a time, with the place of every fault, and nothing that JSON leaves undecided.

A key that stands twice in an object, NaN and Infinity, numbers that are too large, halves of surrogate pairs, NUL and
bottomless nesting are refused: a parser would take the last of two keys without a word, and the others break whatever
comes after it.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn, TextIO

from lcot.errors import DataError, shown

_CHUNK = 1 << 16
# A cut-off literal, number or \u escape is reported this close to the end of the text at hand, or as an open string.
_CUT = 16
_SPACE = re.compile(r"[ \t\n\r]+")
DEEPEST = 50
"""Lists and objects within each other, at most."""


class _Fault(Exception):
    """What is wrong with a value that is JSON for a parser: what, why, what to do."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for place, key in enumerate(keys) if key in keys[:place])
        raise _Fault(f"the key {shown(twice)} stands twice in one object", "one of the two would be lost", "leave one")
    return made


def _fraction(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise _Fault(f"the number {shown(text)} is too large", "it would be infinity", "write it as a string")
    return number


def _constant(name: str) -> NoReturn:
    raise _Fault(f"{name} is no number", "JSON has none of that name", "write null, a string, or leave the field out")


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_float=_fraction, parse_constant=_constant)


class JsonText:
    """A file's text with a place in it.

    Args:
        file: The file, for messages.
        stream: Where more text comes from.
        buffer: The text at hand.
        line: The line of its first character, from 1.
        complete: Whether nothing more is to be read.
    """

    def __init__(self, file: Path, stream: TextIO, buffer: str = "", line: int = 1, complete: bool = False) -> None:
        self.file = file
        self.stream = stream
        self.buffer = buffer
        self.at = 0
        self.line, self.column = line, 1
        self.complete = complete

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
            if space:
                self.advance(space.end())
            if self.at < len(self.buffer) or self.complete:
                return self.buffer[self.at : self.at + 1]
            self.more()

    def take(self, expected: str, message: str | None = None) -> str:
        """Consume the next character that is no white space, if it is one of those expected.

        Raises:
            DataError: If it is another one.
        """
        found = self.peek()
        if not found or found not in expected:
            self.refuse(message or f"Expecting {' or '.join(map(repr, expected))}")
        self.advance(self.at + 1)
        return found

    def value(self) -> object:
        """Decode one value, reading on as far as it goes.

        Raises:
            DataError: If it is not valid JSON, or holds what cannot be used.
        """
        self.peek()
        while True:
            try:
                value, end = _DECODER.raw_decode(self.buffer, self.at)
                if end < len(self.buffer) or self.complete or self.buffer[end - 1] in '}]"':
                    _check(value, self.buffer[self.at : end])
                    self.advance(end)
                    return value
            except (json.JSONDecodeError, RecursionError, _Fault) as error:
                cut = isinstance(error, json.JSONDecodeError) and (
                    error.msg.startswith("Unterminated string") or error.pos > len(self.buffer) - _CUT
                )
                if self.complete or not cut:
                    self.refuse_for(error)
            except ValueError:
                self.refuse_for(_TOO_LONG)
            self.more()

    def listed(self) -> Iterator[tuple[int, object]]:
        """The values of a list, from its bracket on, each with the line that it begins in.

        Raises:
            DataError: If it is not valid JSON.
        """
        self.take("[")
        separator = self.take("]") if self.peek() == "]" else ","
        while separator != "]":
            self.peek()
            line = self.line
            yield line, self.value()
            separator = self.take(",]", "Expecting ',' or ']'")

    def entries(self) -> Iterator[tuple[int, str]]:
        """The keys of an object, from its brace on, each with its line; whoever asks reads the value behind each.

        Raises:
            DataError: If it is not valid JSON, or a key stands in it twice.
        """
        self.take("{")
        lines: dict[str, int] = {}
        separator = self.take("}") if self.peek() == "}" else ","
        while separator != "}":
            if self.peek() != '"':
                self.refuse("Expecting property name enclosed in double quotes")
            line, name = self.line, str(self.value())
            if name in lines:
                raise DataError(
                    f"the name {shown(name)} is used twice",
                    where=f"{self.file}, line {line}",
                    why=f"line {lines[name]} has it too",
                    fix="rename one",
                )
            lines[name] = line
            self.take(":")
            yield line, name
            separator = self.take(",}")

    def end(self, behind: str) -> None:
        """Refuse a file that goes on.

        Args:
            behind: What it should end with, for messages.

        Raises:
            DataError: If it does.
        """
        if self.peek():
            self.refuse(f"Extra text after the {behind}")

    def refuse(self, message: str, fix: str | None = None) -> NoReturn:
        """Say that the file stops being JSON at this place.

        Raises:
            DataError: Always.
        """
        self.refuse_for(json.JSONDecodeError(message, self.buffer, self.at), fix)

    def refuse_for(self, error: json.JSONDecodeError | RecursionError | _Fault, fix: str | None = None) -> NoReturn:
        """Say where a file stops being JSON that can be used.

        Raises:
            DataError: Always.
        """
        if not isinstance(error, json.JSONDecodeError):
            what, why, instead = error.args if isinstance(error, _Fault) else _TOO_DEEP.args
            raise DataError(what, where=f"{self.file}, line {self.line}", why=why, fix=instead) from error
        line, column = self.place(error.pos)
        if error.msg.startswith("Unterminated string") or error.pos >= len(self.buffer.rstrip()):
            fix = fix or "the text ends too early: was it written or downloaded completely?"
        where = f"{self.file}, line {line}, column {column}"
        raise DataError("the file is not valid JSON", where=where, why=error.msg, fix=fix) from error


_TOO_DEEP = _Fault(
    "the file's values are nested too deeply", f"there are more than {DEEPEST} of them in each other", "flatten them"
)


def _check(value: object, written: str) -> None:
    """Refuse texts that cannot be written to a file again, or hold NUL, and bottomless nesting.

    Raises:
        _Fault: If there is one.
    """
    if "\\u" not in written and written.count("[") + written.count("{") <= DEEPEST:
        return  # such characters need an escape, and nesting needs brackets: hardly any record has to be searched
    level: list[Any] = [value]
    for depth in range(DEEPEST + 1):
        texts = [one for one in level if isinstance(one, str)]
        level = [
            inner
            for one in level
            if isinstance(one, list | dict)
            for inner in (one if isinstance(one, list) else (*one, *one.values()))
        ]
        for text in texts:
            if "\x00" in text:
                raise _Fault(f"a NUL character stands in {shown(text)}", None, "take it out")
            if not text.isascii() and (half := _HALF.search(text)):
                raise _Fault(
                    f"half of a surrogate pair stands in {shown(text)}",
                    f"{half[0].encode('unicode_escape').decode()} alone is no character, and no file can hold it",
                    "write the whole character, or take it out",
                )
        if not level:
            return
        if depth == DEEPEST:
            raise _TOO_DEEP


_TOO_LONG = _Fault(
    "a number has more than 4,300 digits", "Python reads none that is longer", "write it as a string, or shorten it"
)
_HALF = re.compile("[\ud800-\udfff]")

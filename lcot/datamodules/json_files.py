"""Reading JSON as it is published: a list, an object on each line, or a list in an object, whatever the ending says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TextIO

from lcot.datamodules.hub import PREFIX, HubPath, read_hub
from lcot.datamodules.records import (
    JsonText,
    Record,
    listed_values,
    next_value,
    opened_records,
    refuse_json,
    refuse_more,
)
from lcot.datamodules.word_problems.text_records import check_file

_KINDS = f"give a .json or .jsonl file (a list of objects, or objects one after another), or {PREFIX}NAME"


def published_records(path: str, split: str, within: str | None = None) -> Iterator[Record]:
    """The records of a file or of a Hub data set, as they are.

    The published files of some data sets are called ``.json`` and hold an object on each line, or the other way round:
    here the first sign of the text decides.

    Args:
        path: A ``.json`` or ``.jsonl`` file, or ``hub:NAME[:CONFIG[:SPLIT]]``.
        split: The split of a Hub data set where the path does not name one.
        within: The key of the list where the file is one object that holds it.

    Returns:
        The records in their order. The path is checked at once, the records when they are reached.

    Raises:
        DataError: If they cannot be had: there is no such file, it is empty, not UTF-8 or not valid JSON, or holds no
            record.
    """
    if path.startswith(PREFIX):
        return read_hub(HubPath.parse(path, split))
    return opened_records(check_file(path, (".json", ".jsonl"), _KINDS), partial(_values, within=within))


def _values(file: Path, stream: TextIO, within: str | None) -> Iterator[tuple[int, object]]:
    """Every record, with the line that it begins in."""
    text = JsonText(stream)
    if text.peek() == "[":
        yield from listed_values(file, text)
        refuse_more(file, text)
        return
    if within is not None:
        if _find(file, text, within):
            yield from listed_values(file, text)
            return  # what else the object holds is no record
        stream.seek(0)
        text = JsonText(stream)
    while text.peek():
        line = text.line
        yield line, next_value(file, text)


def _find(file: Path, text: JsonText, key: str) -> bool:
    """Go to the list under a key of an object, if there is one."""
    separator = "{"
    while text.peek() == separator:
        _consume(file, text, separator)
        if text.peek() != '"':
            return False
        found = next_value(file, text)
        _consume(file, text, ":")
        if text.peek() == "[" and found == key:
            return True
        next_value(file, text)
        separator = ","
    return False


def _consume(file: Path, text: JsonText, sign: str) -> None:
    if text.peek() != sign:
        refuse_json(file, text, json.JSONDecodeError(f"Expecting {sign!r}", text.buffer, text.at))
    text.advance(text.at + 1)

"""Reading JSON as it is published: a list, an object on each line, or a list in an object, whatever the ending says."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TextIO

from lcot.datamodules.hub import PREFIX, HubPath, read_hub
from lcot.datamodules.json_text import JsonText
from lcot.datamodules.records import Record, opened_records
from lcot.datamodules.text_files import check_file

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
    text = JsonText(file, stream)
    if text.peek() == "[":
        yield from text.listed()
        text.end("list")
        return
    if within is not None and text.peek() == "{":
        found = False
        for _, name in text.entries():
            if name == within and text.peek() == "[":
                found = True
                yield from text.listed()
            else:
                text.value()  # what else the object holds is no record
        if found:
            text.end("object")
            return
        stream.seek(0)
        text = JsonText(file, stream)
    while text.peek():
        line = text.line
        yield line, text.value()

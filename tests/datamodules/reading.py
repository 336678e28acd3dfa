"""What tests of data sets that come from files share: small files, whole sources, answers read from gold text."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from lcot.datamodules import ReasoningDataModule
from lcot.datamodules.base import Split
from lcot.metrics import extractor
from lcot.reasoning.example import ReasoningExample
from tests.places import SHARED

DATA = SHARED
"""Copies of published files, which are no part of this project."""


def write(folder: Path, name: str, content: str) -> str:
    """Write a file, and say where."""
    path = folder / name
    path.write_text(content, encoding="utf-8")
    return str(path)


def json_list(folder: Path, *records: Any, name: str = "records.json") -> str:
    """Write a file with a list."""
    return write(folder, name, json.dumps(records, ensure_ascii=False, indent=1))


def json_lines(folder: Path, *records: Any, name: str = "records.jsonl") -> str:
    """Write a file with a record on each line."""
    return write(folder, name, "".join(json.dumps(record) + "\n" for record in records))


def whole(data: ReasoningDataModule, split: Split) -> list[ReasoningExample]:
    """All examples of a split, as epoch 0 sees them."""
    source = data.make_source(split)
    return [source.example(index, 0) for index in range(len(source))]


def misread(examples: Iterable[ReasoningExample], name: str, form: str) -> list[str]:
    """The gold answers that an extractor does not read from the text that a model is to write.

    Args:
        examples: The examples.
        name: The extractor.
        form: How an answer is written behind the steps, with ``ANSWER`` in its place.
    """
    reader = extractor(name)
    return [
        example.answer
        for example in examples
        if not reader.equal(
            reader.extract("\n".join([*example.steps, form.replace("ANSWER", example.answer)]), "### "), example.answer
        )
    ]


def steps_of(examples: Sequence[ReasoningExample]) -> list[int]:
    """How many examples have 0, 1, 2, … steps."""
    counts = [len(example.steps) for example in examples]
    return [counts.count(number) for number in range(max(counts) + 1)]

"""Anyone's own problems: a file of question, steps and answer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lcot.datamodules.files import FileReasoning, records_of
from lcot.datamodules.records import Record, parse_records
from lcot.reasoning.example import ReasoningExample


class JSONReasoning(FileReasoning):
    """Any problems with written reasoning: ``{"question": "…", "steps": ["…", "…"], "answer": "…"}``.

    A path is a ``.json`` file (a list of such objects), a ``.jsonl`` file (one on each line) or a Hub data set with
    these columns. An answer may be a whole number, which is taken as text. Other fields are kept in the example's
    ``facts``. An ``id`` names it in predictions and messages; it is its place, from 0, if it has none.

    Args:
        train_path: What to train on; it also makes the words of ``tokenizer: words``.
        val_path: What to validate on.
        test_path: What to test on, and what ``predict`` answers.
        need_steps: Refuse a record whose list of steps is empty. Without steps there is nothing that a curriculum could
            hide, and CoT would learn to answer at once; No-CoT needs none.
        options: Those of :class:`~lcot.datamodules.base.ReasoningDataModule`. Answers that are numbers are best read
            by the extractor ``number``.

    Raises:
        UserError: If an option is out of range.
    """

    def __init__(
        self,
        train_path: str | None = None,
        val_path: str | None = None,
        test_path: str | None = None,
        need_steps: bool = True,
        **options: Any,
    ) -> None:
        super().__init__(train_path, val_path, test_path, **options)
        self.need_steps = need_steps

    def read(self, path: str, split: str) -> Iterator[ReasoningExample]:
        """The records of a path, each checked.

        Raises:
            DataError: If it cannot be read, or a record is faulty.
        """
        return parse_records(map(_in_words, records_of(path, split)), need_steps=self.need_steps)


def _in_words(record: Record) -> Record:
    """The record with an answer that is a whole number as text; others can be written in several ways."""
    value: Any = record.value
    if isinstance(value, dict) and type(value.get("answer")) is int:
        return record._replace(value={**value, "answer": str(value["answer"])})
    return record

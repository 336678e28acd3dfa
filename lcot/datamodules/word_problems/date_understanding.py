"""Date Understanding (BIG-bench, arXiv 2206.04615; in BIG-Bench Hard, 2210.09261): which date is meant."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, ClassVar

from lcot.datamodules.base import Split
from lcot.datamodules.files import FileReasoning
from lcot.datamodules.json_files import published_records
from lcot.datamodules.records import Record, parse_records
from lcot.datamodules.rows import Source
from lcot.datamodules.word_problems.solutions import check_letter, options_of, text_field
from lcot.errors import DataError, UserError
from lcot.reasoning.example import ReasoningExample


class DateUnderstanding(FileReasoning):
    """Date Understanding, from a file or the Hub: questions to test on, and nothing to train on.

    It is there for transfer: a model that was trained on another data set, such as AQuA, is asked for the letter of a
    date. ``validate``, ``test`` and ``predict`` all take ``test_path``; ``fit`` is an error.

    What a path may be:

    - the ``.json`` file of BIG-Bench Hard, an object with the list ``examples``, or the Hub's
      ``hub:lukaemon/bbh:date_understanding``: input (the question, and its options from *(A)* on) and target (*(B)*);
    - a file of question, with its options, and answer, the bare letter.

    The options are part of the question's text. The published questions have no steps. The answer is the bare letter,
    read as such (``choice``).

    Args:
        test_path: The questions.
        options: Those of :class:`~lcot.datamodules.base.ReasoningDataModule`. A tokenizer has to be named, or to come
            with the checkpoint: there is no training data that ``words`` could be made of.

    Raises:
        UserError: If an option is out of range.
    """

    task: ClassVar[str] = "choice"
    default_extractors: ClassVar[tuple[str, ...]] = ("choice",)
    softcot_official: ClassVar[str | None] = "softcot_official_choice"

    def __init__(self, test_path: str | None = None, **options: Any) -> None:
        super().__init__(None, test_path, test_path, **options)

    def read(self, path: str, split: str) -> Iterator[ReasoningExample]:
        """The questions of a path, none left out.

        Raises:
            DataError: If it cannot be read, or a record is faulty.
        """
        # The Hub has a test split alone, whichever is evaluated.
        records = published_records(path, "test", within="examples")
        return parse_records((record._replace(value=_without_steps(record)) for record in records), need_steps=False)

    def make_source(self, split: Split) -> Source:
        """Read the file.

        Raises:
            UserError: If it was not given, or training data is asked for.
            DataError: If it cannot be read.
        """
        if split == "train":
            raise _nothing_to_train_on()
        return super().make_source("test")

    def vocabulary(self) -> Iterable[str]:
        """None: it would be that of the training data.

        Raises:
            UserError: Always.
        """
        raise _nothing_to_train_on()


def _nothing_to_train_on() -> UserError:
    return UserError(
        "Date Understanding has no training data",
        where="data.class_path",
        why="its questions test a model that was trained on another data set",
        fix="train with another config, such as -c aqua, and test that run:"
        " lcot test -c date_understanding --ckpt_path=runs/aqua/checkpoints/last.ckpt"
        " (lcot show: --split test --data.tokenizer=runs/aqua/tokenizer)",
    )


def _without_steps(record: Record) -> object:
    """A record of any form as one of question and answer; what is no record is left to the parser."""
    value: Any = record.value
    if not isinstance(value, dict):
        return value
    published = "input" in value or "target" in value
    asked, said = ("input", "target") if published else ("question", "answer")
    question = text_field(value, asked, record.where)
    options = options_of(question)
    if not options:
        raise DataError(
            f'field "{asked}" ends in no options', where=record.where, fix="end it in lines such as '(A) 12/25/1937'"
        )
    if said not in value:
        raise DataError(
            f'field "{said}" is missing', where=record.where, why=f"the record has {', '.join(map(repr, value))}"
        )
    answer = check_letter(value[said], list(options), said, record.where)
    rest = {key: one for key, one in value.items() if key not in (asked, said)}
    return {"steps": [], **rest, "question": question, "options": options, "answer": answer}

"""CommonsenseQA-CoT (arXiv 1811.00937, chains of arXiv 2502.21074): everyday questions with five options."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from lcot.datamodules.files import FileReasoning
from lcot.datamodules.json_files import published_records
from lcot.datamodules.records import Record, parse_records
from lcot.datamodules.word_problems.chains import ChainSteps, check_chain, with_chain
from lcot.datamodules.word_problems.solutions import check_letter
from lcot.reasoning.example import ReasoningExample

_LETTERS = "ABCDE"


class CommonsenseQA(FileReasoning):
    """CommonsenseQA with written chains, from files or the Hub; nothing is generated.

    A path is a file or a Hub data set of question, cot and answer, as CODI trains on
    (``hub:zen-E/CommonsenseQA-GPT4omini``, whose splits are ``train`` and ``validation``), or of question, steps and
    answer. The question holds its options, and is taken as it stands; the answer is the letter of one, and is read by
    the extractor ``choice``.

    Args:
        train_path: What to train on; it also makes the words of ``tokenizer: words``.
        val_path: What to validate on.
        test_path: What to test on, and what ``predict`` answers: with a Hub name of two splits, name the second
            (``hub:zen-E/CommonsenseQA-GPT4omini::validation``, as published figures do).
        chain: What is a step of a chain in the field ``cot``: its ``sentences``, its ``lines``, or the ``whole`` text.
        options: Those of :class:`~lcot.datamodules.base.ReasoningDataModule`.

    Raises:
        UserError: If an option is out of range.
    """

    task: ClassVar[str] = "choice"
    default_extractors: ClassVar[tuple[str, ...]] = ("choice",)
    chain_fix: ClassVar[str] = 'give the chain as "cot", a text, or as "steps", a list of strings'

    def __init__(
        self,
        train_path: str | None = None,
        val_path: str | None = None,
        test_path: str | None = None,
        chain: ChainSteps = "sentences",
        **options: Any,
    ) -> None:
        super().__init__(train_path, val_path, test_path, **options)
        check_chain(chain)
        self.chain: ChainSteps = chain

    def read(self, path: str, split: str) -> Iterator[ReasoningExample]:
        """The questions of a path, none left out.

        Raises:
            DataError: If it cannot be read, or a record is faulty.
        """
        records = (record._replace(value=self._with_steps(record)) for record in published_records(path, split))
        return parse_records(records, need_steps=False)

    def _with_steps(self, record: Record) -> object:
        """A record as one of question, steps and answer; what is no record is left to the parser."""
        value: Any = record.value
        if not isinstance(value, dict) or "answer" not in value:
            return value
        value = {**value, "answer": check_letter(value["answer"], _LETTERS, "answer", record.where)}
        return with_chain(value, self.chain, record.where) if "cot" in value and "steps" not in value else value

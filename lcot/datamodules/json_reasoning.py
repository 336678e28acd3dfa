"""Anyone's own problems: a file of question, steps and answer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from lcot.datamodules.files import FileReasoning, records_of
from lcot.datamodules.records import parse_records
from lcot.reasoning.example import ReasoningExample
from lcot.reasoning.layout import TextFormat


class JSONReasoning(FileReasoning):
    """Any problems with written reasoning: ``{"question": "…", "steps": ["…", "…"], "answer": "…"}``.

    A path is a ``.json`` file (a list of such objects), a ``.jsonl`` file (one on each line) or a Hub data set with
    these columns. Other fields are kept in the example's ``facts``. An ``id`` names it in predictions and messages; it
    is its place, from 0, if it has none.

    Args:
        train_path: What to train on; it also makes the words of ``tokenizer: words``.
        val_path: What to validate on.
        test_path: What to test on, and what ``predict`` answers.
        need_steps: Refuse a record whose list of steps is empty. Without steps there is nothing that a curriculum could
            hide, and CoT would learn to answer at once; No-CoT needs none.
        tokenizer: ``words`` builds one from the training data, for models from scratch; otherwise the name or folder of
            a Hugging Face tokenizer, that of the model.
        batch_size: Rows of one batch on one rank; an optimizer step takes ``accumulate_grad_batches`` of them.
        eval_batch_size: Rows of a batch in validation, test and prediction; ``None`` for ``batch_size``.
        num_workers: Data-loader processes.
        max_length: Longest row in tokens; ``None`` for no limit.
        too_long: What to do with longer examples: ``error`` or ``drop``.
        group_by_length: Let rows of similar length share a batch.
        text: How question, steps and answer are joined.
        seed: Keys the order of rows and the curriculum's draws; ``None`` for ``seed_everything``.
        extractors: How answers are read: that of ``accuracy`` first, then those of ``accuracy_NAME``; ``None`` for
            ``[string]``. Answers that are numbers are best read by ``number``.

    Raises:
        UserError: If an option is out of range.
    """

    def __init__(
        self,
        train_path: str | None = None,
        val_path: str | None = None,
        test_path: str | None = None,
        need_steps: bool = True,
        tokenizer: str = "words",
        batch_size: int = 32,
        eval_batch_size: int | None = None,
        num_workers: int = 0,
        max_length: int | None = None,
        too_long: Literal["error", "drop"] = "error",
        group_by_length: bool = True,
        text: TextFormat | None = None,
        seed: int | None = None,
        extractors: list[str] | None = None,
    ) -> None:
        super().__init__(
            train_path,
            val_path,
            test_path,
            tokenizer,
            batch_size,
            eval_batch_size,
            num_workers,
            max_length,
            too_long,
            group_by_length,
            text,
            seed,
            extractors,
        )
        self.need_steps = need_steps

    def read(self, path: str, split: str) -> Iterator[ReasoningExample]:
        """The records of a path, each checked.

        Raises:
            DataError: If it cannot be read, or a record is faulty.
        """
        return parse_records(records_of(path, split), need_steps=self.need_steps)

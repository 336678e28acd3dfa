"""How long rows become in any stage of a curriculum: measured before anything is trained."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from lcot.datamodules.rows import Source, Subset
from lcot.errors import DataError, shown
from lcot.metrics import extractor
from lcot.reasoning.curriculum import Curriculum, Stage
from lcot.reasoning.example import ReasoningExample
from lcot.reasoning.layout import Layout, LayoutBuilder

_log = logging.getLogger("lcot")

CHUNK = 1024
"""Examples that are tokenized in one call."""


@dataclass(slots=True)
class Longest:
    """Tokens of the longest of each, over all examples and stages so far.

    Attributes:
        row: A row with its text.
        prompt: What inference starts from.
        head: What stands before the first thought.
        rest: What a prompt has from its first thought on.
        assistant: What an assistant reads.
    """

    row: int = 0
    prompt: int = 0
    head: int = 0
    rest: int = 0
    assistant: int = 0

    def check(self, context: int, new_tokens: int, window: int | None = None) -> None:
        """Make sure that the longest row, and the longest prompt with its answer, fit a model.

        Args:
            context: Longest row that the model can take.
            new_tokens: Longest text behind a prompt.
            window: Number of columns that its layers see; all of them if not given. First thoughts stand in one column,
                and new text begins in one column: between them each row has room for the longest rest of all.

        Raises:
            DataError: If one does not.
        """
        new = f"with {new_tokens} new tokens"
        found = [("row", self.row), (f"prompt {new}", self.prompt + new_tokens)]
        if window is not None and window <= context:
            found.append((f"question, and the longest rest of a prompt {new},", self.head + self.rest + new_tokens))
        for what, length in found:
            if length > context:
                raise DataError(
                    f"the longest {what} takes {length} positions, and the model has {context}",
                    where="the data and model.backbone",
                    fix="use a model with a longer context, lower model.max_new_tokens, or set data.max_length with"
                    " data.too_long 'drop'",
                )

    def check_assistant(self, context: int, new_tokens: int) -> None:
        """Make sure that what an assistant reads, and may write behind it, fits it.

        Raises:
            DataError: If it does not.
        """
        length = self.assistant + new_tokens
        if self.assistant and length > context:
            raise DataError(
                f"the assistant's longest row takes {length} positions, and it has {context}",
                where="the data and model.assistant",
                fix="use an assistant with a longer context, or set data.max_length with data.too_long 'drop'",
            )


def measure(
    source: Source,
    builder: LayoutBuilder,
    curriculum: Curriculum,
    split: str,
    *,
    too_long: Literal["error", "drop"],
    longest: Longest,
    check: Callable[[ReasoningExample], None] | None = None,
) -> tuple[Source, list[int]]:
    """Measure all examples of a split, as epoch 0 sees them.

    Args:
        source: The examples.
        builder: Lays them out; its limits are what is too long.
        curriculum: Says in which stages.
        split: Name of the split.
        too_long: What to do with what is.
        longest: Raised to the largest numbers of this split.
        check: Refuses examples for other reasons.

    Returns:
        The examples that are left, and for each the number of tokens before its first thought.

    Raises:
        DataError: If a row is too long, or none is left.
    """
    lengths: list[int] = []
    kept: list[int] = []
    stages: dict[int, set[Stage]] = {}  # by number of steps
    limits = builder.max_length, builder.max_assistant_length
    for start in range(0, len(source), CHUNK):
        examples = [source.example(index, 0) for index in range(start, min(start + CHUNK, len(source)))]
        for place, (example, pieces) in enumerate(zip(examples, builder.encode(examples), strict=True)):
            if check is not None:
                check(example)
            steps = len(example.steps)
            if steps not in stages:
                stages[steps] = all_stages(curriculum, steps, split)
            row, prompt = builder.longest(pieces, stages[steps])
            read = builder.longest_assistant(pieces, stages[steps])
            if too_long == "error":
                builder.check_length(row, example)
                builder.check_length(read, example, assistant=True)
            elif any(limit is not None and size > limit for size, limit in zip((row, read), limits, strict=True)):
                continue
            longest.row, longest.prompt = max(longest.row, row), max(longest.prompt, prompt)
            longest.assistant = max(longest.assistant, read)
            kept.append(start + place)
            first = curriculum.resolve(0, steps) if split == "train" else curriculum.evaluate(0, steps)
            head = builder.prompt(pieces, first.thoughts).head
            longest.head, longest.rest = max(longest.head, head), max(longest.rest, prompt - head)
            lengths.append(head)
    if not kept:
        raise DataError(f"no example of the {split} split is left", where="data.max_length and data.too_long")
    if len(kept) == len(source):
        return source, lengths
    dropped = len(source) - len(kept)
    _log.warning("%d of %d %s examples are over data.max_length and were dropped", dropped, len(source), split)
    return Subset(source, kept), lengths


def gold_check(
    builder: LayoutBuilder, marker: str, extractors: Sequence[str], split: str
) -> Callable[[ReasoningExample], None] | None:
    """What refuses an answer that would be counted as wrong even if a model wrote it to the letter.

    Args:
        builder: Knows how the answer is written.
        marker: What stands before an answer, for extractors that look for it.
        extractors: Their names.
        split: Name of the split; answers of others than ``val`` and ``test`` are not counted.
    """
    if split not in ("val", "test"):
        return None
    # Mistakes of a published protocol are part of its numbers: what it misreads counts as wrong.
    readers = [reader for reader in map(extractor, extractors) if not reader.flawed]

    def check(example: ReasoningExample) -> None:
        written, gold = builder.answer_text(example), example.answer
        for reader in readers:
            read = reader.extract(written, marker)
            found = None if read is None else shown(read)
            if not reader.equal(read, gold):
                raise DataError(
                    f"the extractor {reader.name!r} reads {found} where the gold answer is {shown(gold)}",
                    where=f"data.extractors, and example {shown(example.id)} of the {split} data",
                    why=f"every output would be counted as wrong ({reader.described(marker)})",
                    fix="choose extractors that fit the answers, or correct the record",
                )

    return check


def assistant_rows(source: Source, builder: LayoutBuilder, curriculum: Curriculum, split: str) -> Iterator[Layout]:
    """All that an assistant reads for a split, as epoch 0 sees it: in order, one row for each number of thoughts."""
    for start in range(0, len(source), CHUNK):
        examples = [source.example(index, 0) for index in range(start, min(start + CHUNK, len(source)))]
        for example, pieces in zip(examples, builder.encode(examples), strict=True):
            counts = {stage.thoughts for stage in all_stages(curriculum, len(example.steps), split)}
            rows = (builder.assistant_row(pieces, count) for count in sorted(counts))
            yield from (row for row in rows if row is not None)


def all_stages(curriculum: Curriculum, num_steps: int, split: str) -> set[Stage]:
    """What an example with a number of steps can look like.

    Stages that are drawn at random (``mix_support``) are among these, or are beyond the last one and leave out more
    text with the same thoughts.
    """
    form = curriculum.resolve if split == "train" else curriculum.evaluate
    return {form(stage, num_steps) for stage in range(curriculum.last_stage + 1)}

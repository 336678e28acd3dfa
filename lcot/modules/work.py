"""What it takes to think about questions, in operations (:mod:`lcot.reasoning.flops`)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import nn
from transformers import PreTrainedModel

from lcot.reasoning.batch import ThoughtBatch
from lcot.reasoning.feeds import Feed
from lcot.reasoning.flops import Shape, linear
from lcot.reasoning.think import Thinking
from lcot.reasoning.thinker import Thinker


@dataclass(frozen=True, slots=True)
class Columns:
    """Real columns of a row, padding apart.

    Attributes:
        before: Those before the first thought.
        prompt: Those of the prompt, thoughts among them.
        thoughts: How many of them are thoughts.
    """

    before: int
    prompt: int
    thoughts: int

    @classmethod
    def of(cls, rows: Thinking | ThoughtBatch) -> list[Columns]:
        """Those of each row."""
        real = rows.attention_mask
        own = real & (torch.arange(real.shape[1], device=real.device) < rows.prompt_ends[:, None])
        found = torch.stack([own[:, : rows.first].sum(dim=1), own.sum(dim=1), rows.thoughts])
        return [cls(*row) for row in found.T.tolist()]


def thinking_flops(
    shape: Shape,
    rows: Iterable[Columns],
    thinker: Thinker | None,
    feed: Feed | None,
    model: PreTrainedModel,
    stop: int = 0,
    most: int = 0,
) -> list[int] | None:
    """What reading the prompts and making their thoughts takes, row by row.

    Args:
        shape: Of the language model.
        rows: Their columns.
        thinker: How thoughts come about; ``None`` for one after another.
        feed: What makes them of states; ``None`` for the states themselves.
        model: The language model.
        stop: What it takes to ask, before a thought, whether it is enough.
        most: Number of thoughts at which nobody asks any more; 0 where nobody ever asks.

    Returns:
        ``None`` if the thinker does not say how often it reads.
    """
    found = []
    for row in rows:
        again = (0, row.thoughts) if thinker is None else thinker.rereads(row.thoughts)
        if again is None:
            return None
        times, made = again
        work = shape.read(row.prompt) + times * shape.read(row.thoughts, row.before)
        work += made * (feed.flops(model) if feed is not None else 0)
        found.append(work + stop * min(row.thoughts + 1, most))
    return found


def soft_flops(
    shape: Shape, asked: Shape | None, batch: ThoughtBatch, thinking: Thinking, projection: nn.Module | None
) -> list[int]:
    """What reading prompts with given thoughts takes, and what the assistant takes to make them, kept ones included.

    Each row's paths share what they have in common: the prompt before the thoughts, and the assistant's question. The
    first of them counts it.

    Args:
        shape: Of the language model.
        asked: Of the assistant; ``None`` if none makes the thoughts.
        batch: B rows, and the assistant's.
        thinking: Of B · M rows, each row's paths one behind another.
        projection: Makes thoughts of the assistant's states; ``None`` if there are none.
    """
    paths = len(thinking.thoughts) // len(batch)
    rows = Columns.of(thinking)
    questions = Columns.of(batch.assistant) if asked is not None and batch.assistant is not None else None
    found = []
    for number, row in enumerate(rows):
        first = number % paths == 0
        work = shape.read(row.prompt) - (0 if first else shape.read(row.before))
        if asked is not None and questions is not None and row.thoughts:
            question = questions[number // paths]
            work += asked.read(question.prompt) - (0 if first else asked.read(question.before))
            work += row.thoughts * (linear(projection) if projection is not None else 0)
        found.append(work)
    return found


def words_flops(
    shape: Shape, asked: Shape, batch: ThoughtBatch, thinking: Thinking, words: Iterable[list[int]]
) -> list[int]:
    """What reading prompts takes, with words of the assistant in them, and what it takes to write these.

    Args:
        shape: Of the language model.
        asked: Of the assistant.
        batch: B rows, and the assistant's.
        thinking: Of the rows with the words.
        words: What the assistant wrote, without eos.
    """
    assert batch.assistant is not None
    questions, found = Columns.of(batch.assistant), []
    for row, question, text in zip(Columns.of(thinking), questions, words, strict=True):
        tokens = min(len(text) + 1, question.thoughts)  # with eos, if there was room for it
        written = asked.read(question.before) + asked.write(tokens, question.before) if tokens else 0
        found.append(shape.read(row.prompt) + written)
    return found

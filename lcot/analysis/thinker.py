"""A model that can be made to think k thoughts about any question: what all measurements start from.

Letters in shapes: B rows, k thoughts, P the column of the first thoughts, D hidden width.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Protocol, Self, TypeVar

import torch
from torch import Tensor
from transformers import PreTrainedModel

from lcot.errors import UserError
from lcot.modules.limits import context_length
from lcot.modules.softcot import SoftCoT
from lcot.reasoning.batch import ThoughtBatch, collate
from lcot.reasoning.example import ReasoningExample
from lcot.reasoning.layout import IGNORE, EncodedExample, Layout, LayoutBuilder
from lcot.reasoning.think import Thinking, think

T = TypeVar("T")


class Thinks(Protocol):
    """How a module thinks (:meth:`lcot.modules.base.ReasoningModule.think`)."""

    def __call__(self, batch: ThoughtBatch, *, keep_cache: bool = False) -> Thinking:
        """Run all passes over a batch."""
        ...


@dataclass(frozen=True, slots=True)
class Thoughts:
    """The thoughts of a batch of B rows, k each.

    Attributes:
        batch: The rows; all heads are in line, so thought i (from 0) stands in column ``batch.first + i`` of each.
        thinking: The record of the passes.
        inputs: ``(B, k, D)`` what the model read at the places of the thoughts: fed-back states (before the final norm
            where these are fed back), the learned pause, or the given vectors.
        states: ``(B, k, D)`` what the output head makes of each thought. A continuous thought is a state behind the
            final norm, and this is it. Pauses and soft thoughts are inputs; their states are those at their places.
        vectors: ``(B, k, D)`` what distances are measured between: ``inputs``, and for pauses, whose inputs are all the
            same, their states.
    """

    batch: ThoughtBatch
    thinking: Thinking
    inputs: Tensor
    states: Tensor
    vectors: Tensor


@dataclass(frozen=True)
class Thinker:
    """A model with what it takes to ask it.

    Attributes:
        model: The language model. It is measured in evaluation mode, whatever mode it is in.
        builder: Lays questions out; says what the thoughts are and where the markers stand.
        thinks: Runs all passes over a batch, as the module does that answers; sequential Coconut if not given.
        max_rows: Largest number of rows that the model reads at once; memory grows with it, and results do not change.

    Raises:
        UserError: If ``max_rows`` is below 1.
    """

    model: PreTrainedModel
    builder: LayoutBuilder
    thinks: Thinks | None = None
    max_rows: int = 64

    def __post_init__(self) -> None:
        if self.max_rows < 1:
            raise UserError(f"max_rows is {self.max_rows}", fix="use 1 or more")

    @classmethod
    def of(cls, solver: Any, max_rows: int = 64) -> Self:
        """The thinker of a loaded run.

        Args:
            solver: What :func:`lcot.load` returns.
            max_rows: As in the class.

        Raises:
            UserError: If the model reads words in the place of thoughts, which are written anew for each question.
        """
        return cls.by(solver.module, solver.builder, max_rows)

    @classmethod
    def by(cls, module: Any, builder: LayoutBuilder, max_rows: int = 64) -> Self:
        """The thinker of a module: it thinks as the module does when it answers, whatever class that is of.

        Args:
            module: With its language model.
            builder: Lays questions out.
            max_rows: As in the class.

        Raises:
            UserError: If the model reads words in the place of thoughts, which are written anew for each question.
        """
        if isinstance(module, SoftCoT) and module.thoughts == "words":
            raise UserError(
                "this run's assistant writes words, and no thoughts",
                why="what the language model reads is then text like any other, and nothing here measures it",
                fix="use a run with continuous or soft thoughts, pauses, or none",
            )
        return cls(module.model, builder, module.think, max_rows)

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.model.device

    def rows(
        self, encoded: Sequence[EncodedExample], k: int, leads: Sequence[Sequence[int]] | None = None, room: int = 0
    ) -> list[Layout]:
        """Prompts with k thoughts.

        Args:
            encoded: The questions.
            k: Number of thoughts.
            leads: Ids that the text begins with, one list a question; they count as part of the prompt.
            room: Number of positions that are needed behind the prompt.

        Raises:
            UserError: If k is negative, above 0 without thoughts, or more than the model's context can take.
        """
        check_thoughts(self.builder, k)
        limit, rows = context_length(self.model), []
        for number, question in enumerate(encoded):
            prompt = self.builder.prompt(question, k)
            lead = list(leads[number]) if leads is not None else []
            needed = prompt.prompt + len(lead) + room
            if limit is not None and needed > limit:
                raise UserError(
                    f"{k} thoughts need {needed} positions, and the model has {limit}",
                    where="number of thoughts k",
                    why=f"a question takes {prompt.prompt - k}, and what is read or written behind {len(lead) + room}",
                    fix=f"use at most {limit - needed + k}" if limit - needed + k >= 0 else "shorten the question",
                )
            ids = prompt.ids + lead
            rows.append(replace(prompt, ids=ids, labels=[IGNORE] * len(ids), prompt=len(ids)))
        return rows

    def batch(self, rows: Sequence[Layout]) -> ThoughtBatch:
        """Rows side by side on the model's device, their heads in line."""
        made = collate(rows, self.builder.special.pad, align=True, assistant_pad=self.builder.assistant_pad)
        return made.to(self.device)

    def think(self, rows: Sequence[Layout], *, keep_cache: bool = False) -> Thoughts:
        """Run the passes over rows with the same number of thoughts; call it within :func:`measuring`."""
        batch = self.batch(rows)
        k = max(batch.max_thoughts, int(batch.pauses.max()))
        if self.thinks is not None:
            thinking = self.thinks(batch, keep_cache=keep_cache)
        elif self.builder.kind != "soft":
            thinking = think(self.model, batch, keep_cache=keep_cache)
        else:
            raise UserError(
                "the thoughts are soft, and nothing makes them",
                where="Thinker.thinks",
                fix="give the method of the module that does, such as SoftCoT.think",
            )
        states = thinking.states[:, 1 : 1 + k]
        if self.builder.kind == "pause" or not k or thinking.fed is None:
            inputs = self.model.get_input_embeddings()(batch.input_ids[:, batch.first : batch.first + k])
            return Thoughts(batch, thinking, inputs, states, states)
        inputs = thinking.fed[:, :k]
        if thinking.sources is not None:  # a thought says what the state says that it was made of
            states = thinking.sources[:, :k]
        return Thoughts(batch, thinking, inputs, states, inputs)


def check_thoughts(builder: LayoutBuilder, k: int) -> None:
    """Refuse a number of thoughts that there cannot be.

    Raises:
        UserError: If it is negative, or above 0 where a method has no thoughts.
    """
    if k < 0:
        raise UserError(f"the number of thoughts is {k}", where="number of thoughts k", fix="use 0 or more")
    if k and builder.kind == "none":
        raise UserError(
            f"the number of thoughts is {k}, and this model has none",
            where="number of thoughts k",
            why="it was trained with the kind of thought 'none', as CoT, No-CoT and iCoT are",
            fix="use 0, or a run with continuous thoughts or pauses",
        )


def chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Consecutive items in lists of a size, the last one shorter; nothing beyond the current list is read."""
    source = iter(items)
    while chunk := list(islice(source, size)):
        yield chunk


@contextmanager
def measuring(model: PreTrainedModel) -> Iterator[None]:
    """Evaluation mode without gradients; afterwards every module is in the mode that it was in."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()  # type: ignore[no-untyped-call]
    try:
        with torch.no_grad():
            yield
    finally:
        for module, mode in modes:
            module.training = mode


def encoded_chunks(
    thinker: Thinker, examples: Iterable[ReasoningExample]
) -> Iterator[tuple[list[ReasoningExample], list[EncodedExample]]]:
    """Examples, as many at a time as the thinker reads at once, with their token ids."""
    for chunk in chunks(examples, thinker.max_rows):
        yield chunk, thinker.builder.encode(chunk)

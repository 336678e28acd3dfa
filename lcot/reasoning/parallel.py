"""Thoughts that are computed side by side, again and again: every pass reads all of them at once.

With P the column of the first thoughts, N their largest number in the batch and T the number of rounds, there are T + 1
passes over one key-value cache. Before the first round each thought is the embedding of its own token; a round reads
all thoughts of the round before:

- :class:`Jacobi` (PCCoT, arXiv 2506.18582): thought i is made of the state *before* it, as in sequential thinking, one
  round late. The state at bot is right from the start, so after t rounds t + 1 thoughts are; N rounds give what N
  sequential passes give.
- :class:`Looped` (LOTUS, arXiv 2606.31779): thought i is made of the state at its *own* place.

The text stands behind the thoughts of the last round and shares its pass. A row with fewer than N thoughts has ordinary
tokens in the later columns, which every round reads again and only the last one counts.

Letters in shapes: B rows, L columns, D hidden width, N thoughts.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor
from transformers import Cache, PreTrainedModel

from lcot.errors import UserError
from lcot.reasoning.batch import ThoughtBatch
from lcot.reasoning.cache import attends_to_all, growing_cache, rewind
from lcot.reasoning.feeds import Feed
from lcot.reasoning.given import Given
from lcot.reasoning.think import Passes, Thinking, refuse_dropped_cache
from lcot.reasoning.thinker import Thinker


@dataclass(slots=True)
class Rounds:
    """What happened in the rounds.

    Attributes:
        fed: T tensors ``(B, N, D)``: the inputs at the places of the thoughts, in rounds 1 … T.
        states: T + 1 tensors ``(B, N + 1, D)``: last hidden states at column P - 1 and at the thoughts, round 0 first.
    """

    fed: list[Tensor] = field(default_factory=list)
    states: list[Tensor] = field(default_factory=list)


@dataclass(frozen=True)
class Parallel(Thinker):
    """Thinks in rounds.

    Args:
        rounds: T, how often the thoughts are computed anew; 0 leaves them what their tokens are, as pauses would be.

    Raises:
        UserError: If there are fewer than 0 rounds.
    """

    rounds: int

    def __post_init__(self) -> None:
        if self.rounds < 0:
            raise UserError(f"rounds is {self.rounds}", where="model.thinker.rounds", fix="use 0 or more")

    @abstractmethod
    def renewed(self, feed: Feed, states: Tensor, places: Tensor, model: PreTrainedModel, former: Tensor) -> Tensor:
        """Inputs ``(B, N, D)`` at the places of the thoughts, for the round that begins.

        Args:
            feed: Makes inputs of states.
            states: ``(B, N + 1, D)`` at column P - 1 and at the thoughts, of the round before.
            places: ``(B, N, D)`` embeddings of the tokens that stand there.
            model: The language model.
            former: ``(B, N, D)`` inputs of the round before; ``places`` themselves in the first.
        """

    @abstractmethod
    def sources(self, states: Tensor) -> Tensor:
        """The states ``(B, N, D)`` that thoughts are made of, among those ``(B, N + 1, D)`` of the round before."""

    def enough(self, thoughts: int) -> int:
        """Rounds behind which nothing changes any more, for rows with up to so many thoughts."""
        return self.rounds

    def turns(self, batch: ThoughtBatch) -> Tensor | None:
        """``(B, N)``, or ``(B, 1)``: rounds in which each thought is made anew; ``None`` if all are in all of them."""
        return None

    def rereads(self, thoughts: int) -> tuple[int, int]:
        """Once a round, in which all of them are made."""
        rounds = min(self.rounds, self.enough(thoughts)) if thoughts else 0
        return rounds, rounds * thoughts

    def settings(self) -> dict[str, Any]:
        """What it was made with, as plain values."""
        return asdict(self)

    def __call__(
        self,
        model: PreTrainedModel,
        batch: ThoughtBatch,
        feed: Feed,
        *,
        keep_cache: bool = False,
        checkpointing: bool = False,
        rounds: Rounds | None = None,
        layers_at: Tensor | None = None,
        passes: Callable[..., Passes] = Passes,
    ) -> Thinking:
        """Run all passes over a batch.

        Args:
            model: A causal language model with a cache. Gradients flow through every round.
            batch: B rows with aligned first thoughts.
            feed: Makes inputs of states.
            keep_cache: Keep keys and values, to decode from them.
            checkpointing: As in :func:`~lcot.reasoning.think.think`.
            rounds: Filled with what is read and computed in each round, where an objective or an analysis asks for it.
            layers_at: ``(B,)`` columns of the batch at which the states of all layers are kept in the last pass.
            passes: Makes what runs them.

        Returns:
            The record that :func:`~lcot.reasoning.think.think` returns. With gradients its columns are not those of the
            batch: the cache holds the thoughts of all rounds one behind another, those of former rounds masked.

        Raises:
            UserError: If the model has layers that do not keep all columns (windows under flash attention), or gradient
                checkpointing is on, under which transformers drops the cache.
        """
        head, length, most = batch.first, batch.input_ids.shape[1], batch.max_thoughts
        last = min(self.rounds, self.enough(most)) if most else 0
        embeddings = model.get_input_embeddings()(batch.input_ids)
        prompt, places, text = embeddings.split([head, most, length - head - most], dim=1)
        if not last:
            cache = self._cache(model, length) if keep_cache else None
            whole = passes(model, batch.attention_mask, batch.position_ids, cache, checkpointing, layers_at)
            states = whole(embeddings, 0, length, length - head + 1)
            if rounds is not None:
                rounds.states.append(states[:, : most + 1])
            return Thinking.of(batch, states, cache, fed=places if most else None, layers=whole.layers)
        recorded = torch.is_grad_enabled()
        # With gradients, former rounds stay in the cache, for the backward pass reads their keys and values; without,
        # each round is written over the one before.
        copies = last if recorded else 0
        cache = self._cache(model, length + copies * most)
        mask = _repeated(batch.attention_mask, head, most, copies)
        positions = _repeated(batch.position_ids, head, most, copies)
        forward = passes(model, mask, positions, cache, checkpointing)
        states = forward(torch.cat([prompt, places], dim=1), 0, head + most, most + 1)
        bot = states[:, :1]  # nothing that it reads ever changes
        is_thought = (torch.arange(most, device=states.device) < batch.thoughts[:, None])[..., None]
        inputs, start, turns = places, head, self.turns(batch)
        for number in range(1, last + 1):
            if rounds is not None:
                rounds.states.append(states)
            fed = self.renewed(feed, states, places, model, inputs).to(places.dtype)
            going = is_thought if turns is None else is_thought & (number <= turns[..., None])
            inputs = torch.where(going, fed, inputs)
            if recorded:
                mask = mask.clone()  # the one before may be kept for the backward pass
                mask[:, start : start + most] = False
                forward.attention_mask = mask
                start += most
            else:
                rewind(cache, head)
            sources = states[:, : most + 1]
            read = torch.cat([inputs, text], dim=1) if number == last else inputs
            if number == last and layers_at is not None:
                forward.layers_at = torch.where(layers_at < head, -1, layers_at + (start - head))
            states = torch.cat([bot, forward(read, start, start + read.shape[1])], dim=1)
            if rounds is not None:
                rounds.fed.append(inputs)
        if rounds is not None:
            rounds.states.append(states[:, : most + 1])
        return Thinking(
            states=states,
            first=start,
            cache=cache if keep_cache else None,
            attention_mask=mask,
            position_ids=forward.position_ids,
            prompt_ends=batch.prompt_ends + (start - head),
            thoughts=batch.thoughts,
            fed=inputs,
            sources=self.sources(sources),
            layers=forward.layers,
        )

    def _cache(self, model: PreTrainedModel, columns: int) -> Cache:
        refuse_dropped_cache(model)
        cache = growing_cache(model.config, columns)
        if not attends_to_all(cache):
            raise UserError(
                f"thoughts in rounds, and a {model.config.model_type} model",
                where="model.thinker",
                why="some of its layers do not keep the keys of all columns, to be computed anew",
                fix="use sequential thoughts, attention 'sdpa' or 'eager', or a model whose layers see all columns",
            )
        return cache


@dataclass(frozen=True)
class Jacobi(Parallel):
    """Each thought is made of the state before it, as it was one round earlier (PCCoT, arXiv 2506.18582).

    Args:
        rounds: T; 3 in all published runs. As many as there are thoughts give what sequential thinking gives.
    """

    rounds: int = 3

    def renewed(self, feed: Feed, states: Tensor, places: Tensor, model: PreTrainedModel, former: Tensor) -> Tensor:
        """What the feed makes of the states before the thoughts; the first one is right after one round, and stays."""
        if former is places:
            fed: Tensor = feed(states[:, :-1], places, model)
            return fed
        return torch.cat([former[:, :1], feed(states[:, 1:-1], places[:, 1:], model)], dim=1)

    def rereads(self, thoughts: int) -> tuple[int, int]:
        """Once a round; the first thought is made in the first round alone."""
        rounds, made = super().rereads(thoughts)
        return rounds, made - max(0, rounds - 1)

    def sources(self, states: Tensor) -> Tensor:
        """The states before the thoughts."""
        return states[:, :-1]

    def enough(self, thoughts: int) -> int:
        """As many as there are thoughts."""
        return thoughts


@dataclass(frozen=True)
class Looped(Parallel):
    """Each thought is made of the state at its own place (LOTUS, arXiv 2606.31779).

    Args:
        rounds: R, or the largest number of rounds where ``per_step`` is given.
        per_step: Thoughts a round, if rows have as many rounds as this goes into their thoughts: one for each hidden
            step, as in all published runs. A row that is through keeps its thoughts in later rounds. ``None`` for R
            rounds whatever the thoughts.
        freeze: Whether the thoughts of step k are made of their states in round k for the last time, so that what was
            read off them in turn stays as it is.

    Raises:
        UserError: If a number is out of range, or thoughts are to freeze step by step without ``per_step``.
    """

    rounds: int = 6
    per_step: int | None = None
    freeze: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.per_step is not None and self.per_step < 1:
            raise UserError(f"per_step is {self.per_step}", where="model.thinker.per_step", fix="use 1 or more")
        if self.freeze and self.per_step is None:
            raise UserError(
                "freeze is true, and per_step is not given",
                where="model.thinker",
                why="thoughts freeze step by step, and it would not be known which are a step's",
                fix="set per_step to the curriculum's thoughts a step, or freeze to false",
            )

    def settings(self) -> dict[str, Any]:
        """What it was made with; ``freeze`` where it is on."""
        return {name: value for name, value in asdict(self).items() if name != "freeze" or value}

    def enough(self, thoughts: int) -> int:
        """One for each step that so many thoughts stand for."""
        return self.rounds if self.per_step is None else -(-thoughts // self.per_step)

    def turns(self, batch: ThoughtBatch) -> Tensor | None:
        """As many as steps stand behind a row's thoughts; with ``freeze``, those of step k up to round k + 1."""
        if self.per_step is None:
            return None
        steps = (batch.thoughts + self.per_step - 1).div(self.per_step, rounding_mode="floor")[:, None]
        if not self.freeze:
            return steps
        numbers = torch.arange(batch.max_thoughts, device=steps.device).div(self.per_step, rounding_mode="floor") + 1
        return torch.minimum(steps, numbers + 1)

    def renewed(self, feed: Feed, states: Tensor, places: Tensor, model: PreTrainedModel, former: Tensor) -> Tensor:
        """What the feed makes of the states at the thoughts."""
        fed: Tensor = feed(states[:, 1:], places, model)
        return fed

    def sources(self, states: Tensor) -> Tensor:
        """The states at the thoughts."""
        return states[:, 1:]


def _repeated(columns: Tensor, head: int, most: int, times: int) -> Tensor:
    """Per-column values ``(B, L)``, with those of the thoughts as many times more."""
    thoughts, text = columns[:, head : head + most], columns[:, head + most :]
    return torch.cat([columns[:, :head], *[thoughts] * (1 + times), text], dim=1)


THINKERS: dict[str, type[Thinker]] = {thinker.__name__: thinker for thinker in (Jacobi, Looped, Given)}
"""Those of this package, by name."""

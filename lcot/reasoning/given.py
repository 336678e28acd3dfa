"""Thoughts that training knows beforehand, since they are made of the text, and answering makes one after another.

In training all thoughts are read in one pass, as text is. When a question is asked the feed (a
:class:`~lcot.reasoning.heads.Head`) makes each thought of the state before it, and says when thinking ends.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from lcot.errors import UserError
from lcot.reasoning.batch import ThoughtBatch
from lcot.reasoning.cache import growing_cache
from lcot.reasoning.decode import Sampling
from lcot.reasoning.feeds import Feed
from lcot.reasoning.heads import Head
from lcot.reasoning.keyed import keyed_seed, normal
from lcot.reasoning.spans import SPANS, span_tokens
from lcot.reasoning.think import Passes, Thinking, refuse_dropped_cache, think
from lcot.reasoning.thinker import Thinker
from lcot.reasoning.until import think_until


@dataclass(frozen=True)
class Given(Thinker):
    """Reads thoughts that are made of the written chain; when answering, those that the feed makes of its own.

    Args:
        max_thoughts: Most thoughts about a question; a row that has not ended them by then goes on to its answer.

    Raises:
        UserError: If it is below 1.
    """

    max_thoughts: int = 64

    def __post_init__(self) -> None:
        if self.max_thoughts < 1:
            raise UserError(
                f"max_thoughts is {self.max_thoughts}", where="model.thinker.max_thoughts", fix="use 1 or more"
            )

    def settings(self) -> dict[str, Any]:
        """The bound."""
        return asdict(self)

    def rereads(self, thoughts: int) -> tuple[int, int]:
        """Each is made once, and read once."""
        return 0, thoughts

    def __call__(
        self,
        model: PreTrainedModel,
        batch: ThoughtBatch,
        feed: Feed,
        *,
        keep_cache: bool = False,
        checkpointing: bool = False,
        rounds: Any = None,
        layers_at: Tensor | None = None,
    ) -> Thinking:
        """Run all passes over a batch: one, where rows have their spans beside them.

        Rows without spans are thought about one thought after another, as many as they have places for: so whoever
        measures thoughts can ask for any number. What is masked is padding alone, in both cases.

        Args:
            model: A causal language model with a cache. Gradients flow through every pass.
            batch: B rows with aligned first thoughts.
            feed: A head, where rows have spans.
            keep_cache: Keep keys and values, to decode from them.
            checkpointing: As in :func:`~lcot.reasoning.think.think`.
            rounds: No effect.
            layers_at: ``(B,)`` columns at which the states of all layers are kept; -1 for none.
        """
        if SPANS not in batch.views:
            return think(
                model, batch, keep_cache=keep_cache, checkpointing=checkpointing, feed=feed, layers_at=layers_at
            )
        assert isinstance(feed, Head)
        head, most, length = batch.first, batch.max_thoughts, batch.input_ids.shape[1]
        embed = model.get_input_embeddings()
        prompt, places, text = embed(batch.input_ids).split([head, most, length - head - most], dim=1)
        ids, there = span_tokens(batch)
        is_thought = torch.arange(most, device=places.device) < batch.thoughts[:, None]
        inputs = places
        if most:
            inputs = torch.where(is_thought[..., None], feed.given(embed(ids), there).to(places.dtype), places)
        if keep_cache:
            refuse_dropped_cache(model)
        cache = growing_cache(model.config, length) if keep_cache else None
        forward = Passes(model, batch.attention_mask, batch.position_ids, cache, checkpointing, layers_at)
        two = head > 1
        states = forward(torch.cat([prompt, inputs, text], dim=1), 0, length, length - head + 1 + two)
        before, fed = states[:, 0] if two else None, inputs if most else None
        return Thinking.of(batch, states[:, two:], cache, fed=fed, before=before, layers=forward.layers)

    def freely(
        self,
        model: PreTrainedModel,
        prompts: ThoughtBatch,
        feed: Head,
        eot: int,
        sampling: Sampling | None = None,
    ) -> Thinking:
        """Think until the head says that it is enough, row by row.

        Args:
            model: The language model.
            prompts: Rows that end with bot.
            feed: The head.
            eot: Token id of ``<eot>``.
            sampling: Whether thoughts are drawn, and how; those that the head expects if not given.
        """
        noise: Callable[[int], Tensor] | None = None
        if sampling is not None and sampling.thoughts:
            noise = question_noise(prompts, sampling.seed, model.config.hidden_size, sampling.thoughts)

        def made(states: Tensor, number: int) -> Tensor:
            drawn = None if noise is None else noise(number)[:, None].to(states.device)
            return feed.following(states, model, drawn)

        def stop(states: Tensor, number: int) -> Tensor:
            return feed.stops(states, model, eot)

        return think_until(model, prompts, stop, self.max_thoughts, eot, made=made)


def question_noise(prompts: ThoughtBatch, seed: int, width: int, factor: float) -> Callable[[int], Tensor]:
    """Normal numbers for the thoughts about questions: those of a question are the same in any batch and data set.

    Args:
        prompts: B rows that end with bot.
        seed: Keys the numbers, together with a row's tokens and the number of the thought.
        width: D, how many a thought has.
        factor: Multiplies them.

    Returns:
        What gives the numbers ``(B, D)`` of all rows' thoughts of a number.
    """
    rows = zip(prompts.input_ids.cpu(), prompts.attention_mask.cpu(), strict=True)
    keys = [keyed_seed("thoughts", seed, *ids[mask].tolist()) for ids, mask in rows]

    def numbers(thought: int) -> Tensor:
        return factor * torch.stack([normal(width, key, thought) for key in keys])

    return numbers

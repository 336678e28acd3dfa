"""Spans of the chain as targets: what the head that makes the thoughts is to expect.

The state before a thought is asked for the thought's span: all its tokens at once (C-MTP, arXiv 2607.16972).

Letters in shapes: B rows, N thoughts, S tokens of the longest span, s tokens that a head gives, D hidden width.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import PreTrainedModel

from lcot.modules.objectives.base import Objective, Scene
from lcot.reasoning.batch import ThoughtBatch
from lcot.reasoning.heads import Head, SpanHead
from lcot.reasoning.layout import IGNORE
from lcot.reasoning.spans import SPANS, span_tokens
from lcot.reasoning.think import output_head
from lcot.reasoning.tokens import SpecialTokens


class SpanTokens(Objective):
    """Cross-entropy in nats of the tokens of each span, which the head gives at the state before it.

    The state at bot is asked for the first span, that at each thought for the next. Behind the last span the first slot
    is asked for eot, unless it is one of the text's labels, as behind spans of one token.

    Args:
        weight: Multiplies the mean over all these tokens.
    """

    views: ClassVar[tuple[str, ...]] = (SPANS,)
    of_thoughts: ClassVar[bool] = True
    head: ClassVar[type[Head] | None] = SpanHead

    def __init__(self, weight: float = 1.0) -> None:
        super().__init__(weight)
        self._eot = -1

    def build(self, model: PreTrainedModel, special: SpecialTokens) -> None:
        """Note what ends thoughts."""
        self._eot = special.eot

    def count(self, batch: ThoughtBatch) -> Tensor:
        """Tokens of spans, and an eot behind those of each row that has some."""
        return span_tokens(batch)[1].sum()[None] + self._ends(batch).sum()

    def forward(self, scene: Scene) -> Tensor:
        """The summed cross-entropy."""
        assert isinstance(scene.feed, SpanHead)
        batch, thinking = scene.batch, scene.thinking
        ids, there = span_tokens(batch)
        rows, number, slot = there.nonzero(as_tuple=True)
        ends = self._ends(batch).nonzero()[:, 0]
        last = torch.zeros_like(ends)
        # One state a span, read by all of its slots.
        slots = scene.feed.slots(thinking.states[:, : batch.max_thoughts + 1])
        read = slots[torch.cat([rows, ends]), torch.cat([number, batch.thoughts[ends]]), torch.cat([slot, last])]
        targets = torch.cat([ids[rows, number, slot], torch.full_like(ends, self._eot)])
        # Its slots are what the output head reads as it is.
        logits = output_head(scene.model)(read).float()
        return F.cross_entropy(logits, targets, reduction="sum")[None]

    def _ends(self, batch: ThoughtBatch) -> Tensor:
        """``(B,)`` bool: rows whose last thought is asked for eot here, since the text does not ask for it."""
        asked = batch.labels.gather(1, batch.prompt_ends[:, None] - 1)[:, 0]
        return (batch.thoughts > 0) & (asked == IGNORE)

"""Heads: feeds that were taught what the next span of the chain is.

In training a thought is made of the tokens of its span (:meth:`Head.given`). When a question is asked nobody knows
them, and the thought is what the head expects, of the state before it.

Letters in shapes: B rows, n thoughts, S tokens of the longest span, s tokens of every span, D hidden width.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from lcot.errors import UserError
from lcot.reasoning.feeds import Feed
from lcot.reasoning.think import output_head


class Head(Feed, ABC):
    """Makes thoughts of spans in training, and of states when answering."""

    samples: bool = False
    """Whether thoughts are drawn when answering."""

    def tokens_of_span(self) -> int | None:
        """How many tokens every span must have; ``None`` for any number."""
        return None

    @abstractmethod
    def given(self, embedded: Tensor, there: Tensor) -> Tensor:
        """The thoughts ``(B, n, D)`` that stand for spans.

        Args:
            embedded: ``(B, n, S, D)`` input embeddings of their tokens.
            there: ``(B, n, S)`` bool: which tokens there are. A place without any is no thought.
        """

    @abstractmethod
    def stops(self, states: Tensor, model: PreTrainedModel, eot: int) -> Tensor:
        """``(B,)`` bool: whether thinking ends behind states ``(B, D)``."""

    def following(self, states: Tensor, model: PreTrainedModel, noise: Tensor | None) -> Tensor:
        """The thoughts ``(B, 1, D)`` behind states ``(B, 1, D)`` when answering.

        Args:
            states: Behind the model's final norm.
            model: The language model.
            noise: ``(B, 1, D)`` standard normal numbers, for a head that draws; ``None`` for what it expects.
        """
        made: Tensor = self(states, states, model)
        return made


class SpanHead(Head):
    """Linear, GELU, Linear: the s tokens of the next span, all at once (C-MTP, arXiv 2607.16972).

    Its s outputs are read by the model's output head. The first one is what text is read of as well: the model writes
    through this head. A thought is the mean of the embeddings of the s tokens, through which no gradient flows. One eot
    among the s tokens ends thinking.

    Args:
        span: s, tokens of a span.
        width: Width between the two linear layers; that of the model if not given.

    Raises:
        UserError: If one is below 1.
    """

    def __init__(self, span: int = 2, width: int | None = None) -> None:
        super().__init__()
        for name, value in (("span", span), ("width", width)):
            if value is not None and value < 1:
                raise UserError(f"{name} is {value}", where=f"model.feed.{name}", fix="use 1 or more")
        self.span, self.width = span, width
        self.layers: nn.Sequential | None = None

    def settings(self) -> dict[str, Any]:
        """Tokens of a span, and the width."""
        return {"span": self.span, "width": self.width}

    def tokens_of_span(self) -> int:
        """S."""
        return self.span

    def build(self, model: PreTrainedModel) -> None:
        """Make the layers."""
        wide = model.config.hidden_size
        inner = self.width or wide
        self.layers = nn.Sequential(nn.Linear(wide, inner), nn.GELU(), nn.Linear(inner, wide * self.span))

    def slots(self, states: Tensor) -> Tensor:
        """What the output head reads for each of s tokens: ``(…, s, D)`` of states ``(…, D)``."""
        assert self.layers is not None, "build() makes the layers"
        made: Tensor = self.layers(states)
        return made.view(*made.shape[:-1], self.span, -1)

    def spoken(self, states: Tensor) -> Tensor:
        """The first slot."""
        return self.slots(states)[..., 0, :]

    def tokens(self, states: Tensor, model: PreTrainedModel) -> Tensor:
        """The most probable tokens ``(…, s)`` of the next span."""
        found: Tensor = output_head(model)(self.slots(states)).argmax(dim=-1)
        return found

    def forward(self, states: Tensor, places: Tensor, model: PreTrainedModel) -> Tensor:
        """The mean embeddings of the most probable spans."""
        made: Tensor = model.get_input_embeddings()(self.tokens(states, model)).mean(dim=-2)
        return made

    def given(self, embedded: Tensor, there: Tensor) -> Tensor:
        """The mean embeddings, without a gradient."""
        return _summed(embedded.detach(), there) / there.sum(dim=-1, keepdim=True).clamp(min=1)

    def stops(self, states: Tensor, model: PreTrainedModel, eot: int) -> Tensor:
        """Whether eot is among the most probable tokens."""
        return (self.tokens(states, model) == eot).any(dim=-1)


def _summed(embedded: Tensor, there: Tensor) -> Tensor:
    return torch.where(there[..., None], embedded, 0).sum(dim=-2)


HEADS: dict[str, type[Head]] = {head.__name__: head for head in (SpanHead,)}
"""Those of this package, by name."""

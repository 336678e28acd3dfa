"""Heads: feeds that were taught what the next span of the chain is.

In training a thought is made of the tokens of its span (:meth:`Head.given`). When a question is asked nobody knows
them, and the thought is what the head expects, of the state before it.

Letters in shapes: B rows, n thoughts, S tokens of the longest span, s tokens of every span, D hidden width.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Literal, get_args

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from lcot.errors import UserError
from lcot.reasoning.feeds import Feed, embedding_scale, embedding_table
from lcot.reasoning.flops import linear
from lcot.reasoning.think import output_head

SpanScale = Literal["sqrt", "mean"]


class Head(Feed, ABC):
    """Makes thoughts of spans in training, and of states when answering."""

    draws: ClassVar[bool] = False
    """Whether it can draw thoughts when answering, and not only say which one it expects."""

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

    def stop_flops(self, model: PreTrainedModel) -> int:
        """Operations of :meth:`stops` for one state; those of the output head.

        Args:
            model: The language model.
        """
        return linear(output_head(model))

    def following(self, states: Tensor, model: PreTrainedModel, noise: Tensor | None) -> Tensor:
        """The thoughts ``(B, 1, D)`` behind states ``(B, 1, D)`` when answering.

        Args:
            states: Behind the model's final norm.
            model: The language model.
            noise: ``(B, 1, D)`` normal numbers, for a head that draws; ``None`` for the thoughts that it expects.
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

    def flops(self, model: PreTrainedModel) -> int:
        """The layers, and the output head for each slot."""
        return linear(self) + self.span * linear(output_head(model))

    def stop_flops(self, model: PreTrainedModel) -> int:
        """As many: the tokens are found anew."""
        return self.flops(model)

    def spoken_flops(self) -> int:
        """The layers."""
        return linear(self)

    def stops(self, states: Tensor, model: PreTrainedModel, eot: int) -> Tensor:
        """Whether eot is among the most probable tokens."""
        return (self.tokens(states, model) == eot).any(dim=-1)


class LatentHead(Head):
    """Linear, GELU, Linear, LayerNorm; mean and deviation of the next thought (CoLaR, arXiv 2505.16552).

    A thought is the sum of the embeddings of a span's m tokens over √m, so that it is as long as one embedding whatever
    m is; gradients flow through it. The head's normal distribution is of thoughts over the embeddings' own deviation.
    Thinking ends where the output head says eot.

    Args:
        width: Width of the layers; that of the model if not given.
        std: The embeddings' deviation; measured when the layers are made, over all values of the table, if not given,
            which for a model from scratch is before it has learnt anything: give a number then. The released code has
            one for each model: 0.12 for GPT-2, 0.018 and 0.008 for Llama 1B and 8B.
        scale: What the sum is divided by: √m (``sqrt``), or m itself (``mean``).

    Raises:
        UserError: If a number is out of range, or the scale unknown.
    """

    draws: ClassVar[bool] = True
    std: Tensor

    def __init__(self, width: int | None = None, std: float | None = None, scale: SpanScale = "sqrt") -> None:
        super().__init__()
        if width is not None and width < 1:
            raise UserError(f"width is {width}", where="model.feed.width", fix="use 1 or more, or leave it out")
        if std is not None and std <= 0:
            raise UserError(f"std is {std}", where="model.feed.std", fix="use more than 0, or leave it out")
        if scale not in get_args(SpanScale):
            raise UserError.unknown("scale", str(scale), get_args(SpanScale), where="model.feed.scale")
        self.width, self.own_std, self.scale = width, std, scale
        self.register_buffer("std", torch.ones(()))
        self.layers: nn.Sequential | None = None
        self.mean: nn.Linear | None = None
        self.log_std: nn.Linear | None = None

    def settings(self) -> dict[str, Any]:
        """Width, deviation and scale."""
        return {"width": self.width, "std": self.own_std, "scale": self.scale}

    @torch.no_grad()
    def build(self, model: PreTrainedModel) -> None:
        """Make the layers, and measure the embeddings."""
        wide = model.config.hidden_size
        inner = self.width or wide
        self.layers = nn.Sequential(nn.Linear(wide, inner), nn.GELU(), nn.Linear(inner, inner), nn.LayerNorm(inner))
        self.mean, self.log_std = nn.Linear(inner, wide), nn.Linear(inner, wide)
        measured = embedding_scale(model).float() * embedding_table(model).float().std()
        self.std = measured if self.own_std is None else torch.full_like(measured, self.own_std)

    def expected(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """Means and logarithms of deviations ``(…, D)`` of what follows states ``(…, D)``, over :attr:`std`."""
        assert self.layers is not None and self.mean is not None and self.log_std is not None, "build() makes them"
        inner = self.layers(states)
        return self.mean(inner), self.log_std(inner)

    def forward(self, states: Tensor, places: Tensor, model: PreTrainedModel) -> Tensor:
        """The means."""
        return self.expected(states)[0] * self.std

    def following(self, states: Tensor, model: PreTrainedModel, noise: Tensor | None) -> Tensor:
        """The means, or what the normal numbers make of them."""
        mean, log_std = self.expected(states)
        return (mean if noise is None else mean + log_std.exp() * noise.to(mean.dtype)) * self.std

    def given(self, embedded: Tensor, there: Tensor) -> Tensor:
        """The sums over √m, or over m."""
        count = there.sum(dim=-1, keepdim=True).to(embedded.dtype)
        root = count.sqrt() if self.scale == "sqrt" else count
        # The small number is the released code's. It leaves the embedding of a lone token as it is.
        return _summed(embedded, there) / torch.where(count > 1, root + 1e-5, 1.0)

    def stops(self, states: Tensor, model: PreTrainedModel, eot: int) -> Tensor:
        """Whether eot is the most probable token."""
        said: Tensor = output_head(model)(states)
        return said.argmax(dim=-1) == eot


def _summed(embedded: Tensor, there: Tensor) -> Tensor:
    return torch.where(there[..., None], embedded, 0).sum(dim=-2)


HEADS: dict[str, type[Head]] = {head.__name__: head for head in (SpanHead, LatentHead)}
"""Those of this package, by name."""

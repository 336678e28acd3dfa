"""Feeds: what a state becomes before it is read again, as the input embedding of the next thought.

A feed of one's own is a class of a few lines:

    class Halved(Feed):
        def forward(self, states, places, model):
            return states / 2

Letters in shapes: B rows, n thoughts, D hidden width, V vocabulary.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from lcot.errors import UserError
from lcot.reasoning.flops import linear


class Feed(nn.Module, ABC):
    """Makes input embeddings of states."""

    def build(self, model: PreTrainedModel) -> None:
        """Make what depends on the model: parameters of its width, numbers that are read off it. Called once.

        Args:
            model: The language model that thinks. It is not kept: it is given to :meth:`forward` as well.
        """

    def settings(self) -> dict[str, Any]:
        """What it was made with, as plain values: a checkpoint notes it, so that the feed can be made again."""
        return {}

    def spoken(self, states: Tensor) -> Tensor:
        """What the output head reads of states ``(…, D)`` where text is written or thoughts are read; themselves."""
        return states

    def flops(self, model: PreTrainedModel) -> int:
        """Operations for one thought that is made of a state (:mod:`lcot.reasoning.flops`); those of linear layers.

        Args:
            model: The language model.
        """
        return linear(self)

    def spoken_flops(self) -> int:
        """Operations of :meth:`spoken` for one state."""
        return 0

    @abstractmethod
    def forward(self, states: Tensor, places: Tensor, model: PreTrainedModel) -> Tensor:
        """Input embeddings ``(B, n, D)``.

        Args:
            states: ``(B, n, D)`` last hidden states, behind the model's final norm.
            places: ``(B, n, D)`` embeddings of the tokens that stand where the thoughts are read.
            model: The language model.
        """


class Identity(Feed):
    """The state as it is: Coconut (arXiv 2412.06769), PCCoT (arXiv 2506.18582) without a projection."""

    def forward(self, states: Tensor, places: Tensor, model: PreTrainedModel) -> Tensor:
        """The states."""
        return states


class Add(Feed):
    """The state, added to the embedding of the place's own token: LOTUS (arXiv 2606.31779)."""

    def forward(self, states: Tensor, places: Tensor, model: PreTrainedModel) -> Tensor:
        """The sums."""
        return places + states.to(places.dtype)


class Projection(Feed):
    """Linear, GELU, Linear, LayerNorm: CODI (arXiv 2502.21074).

    Args:
        width: Width between the two linear layers; that of the model if not given.
        norm: Whether a LayerNorm stands at the end.
        dropout: Share of the states' values that are dropped in training, before the first layer.

    Raises:
        UserError: If a width is below 1, or a share is not one.
    """

    def __init__(self, width: int | None = None, norm: bool = True, dropout: float = 0.0) -> None:
        super().__init__()
        if width is not None and width < 1:
            raise UserError(f"width is {width}", where="model.feed.width", fix="use 1 or more, or leave it out")
        if not 0 <= dropout < 1:
            raise UserError(f"dropout is {dropout}", where="model.feed.dropout", fix="use at least 0 and less than 1")
        self.width, self.norm, self.dropout = width, norm, dropout
        self.layers: nn.Sequential | None = None

    def settings(self) -> dict[str, Any]:
        """Width, norm and dropout."""
        return {"width": self.width, "norm": self.norm, "dropout": self.dropout}

    def build(self, model: PreTrainedModel) -> None:
        """Make the layers."""
        wide = model.config.hidden_size
        inner = self.width or wide
        layers = [nn.Dropout(self.dropout), nn.Linear(wide, inner), nn.GELU(), nn.Linear(inner, wide)]
        self.layers = nn.Sequential(*layers, *([nn.LayerNorm(wide)] if self.norm else []))

    def forward(self, states: Tensor, places: Tensor, model: PreTrainedModel) -> Tensor:
        """The projected states."""
        assert self.layers is not None, "build() makes the layers"
        projected: Tensor = self.layers(states)
        return projected


class Rescale(Feed):
    """The state, as long as the model's input embeddings are on average.

    States behind a final norm are many times as long as what the model was trained to read. The mean length is read off
    the embeddings when the feed is built, with the factor that some models (Gemma) multiply theirs by.
    """

    length: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("length", torch.ones(()))

    @torch.no_grad()
    def build(self, model: PreTrainedModel) -> None:
        """Measure the embeddings."""
        self.length = embedding_length(model)

    def forward(self, states: Tensor, places: Tensor, model: PreTrainedModel) -> Tensor:
        """The states in their own direction."""
        long = states.float()
        scaled: Tensor = long * (self.length / long.norm(dim=-1, keepdim=True).clamp(min=1e-12))
        return scaled.to(states.dtype)


class Expectation(Feed):
    """The mean of all input embeddings, each weighted by the probability that the output head gives its token.

    Args:
        temperature: Divides the logits; below 1, the most probable tokens count for more.

    Raises:
        UserError: If the temperature is not above 0.
    """

    def __init__(self, temperature: float = 1.0) -> None:
        super().__init__()
        if temperature <= 0:
            raise UserError(f"temperature is {temperature}", where="model.feed.temperature", fix="use more than 0")
        self.temperature = temperature

    def settings(self) -> dict[str, Any]:
        """The temperature."""
        return {"temperature": self.temperature}

    def flops(self, model: PreTrainedModel) -> int:
        """The output head, and the mean over the known embeddings."""
        head, table = model.get_output_embeddings(), embedding_table(model)  # type: ignore[no-untyped-call]
        return linear(head) + 2 * min(linear(head) // (2 * table.shape[1]), len(table)) * table.shape[1]

    def forward(self, states: Tensor, places: Tensor, model: PreTrainedModel) -> Tensor:
        """The expected embeddings."""
        head = model.get_output_embeddings()  # type: ignore[no-untyped-call]
        chances: Tensor = (head(states).float() / self.temperature).softmax(dim=-1)
        table = embedding_table(model)
        # Rows beyond the head's (or the other way round) belong to no token that could be expected.
        known = min(chances.shape[-1], len(table))
        mixed = chances[..., :known].to(table.dtype) @ table[:known]
        scaled: Tensor = mixed * embedding_scale(model).to(mixed.dtype)
        return scaled


def embedding_table(model: PreTrainedModel) -> Tensor:
    """The model's input embeddings ``(V, D)``, as they are stored."""
    table = model.get_input_embeddings().weight
    assert isinstance(table, Tensor)
    return table


def embedding_scale(model: PreTrainedModel) -> Tensor:
    """What the model multiplies its stored input embeddings by, within the layer that looks them up: 1 for most."""
    return scale_of(model.get_input_embeddings())


def scale_of(layer: nn.Module) -> Tensor:
    """The same of the layer itself."""
    assert isinstance(layer.weight, Tensor)
    return torch.as_tensor(getattr(layer, "embed_scale", 1.0), device=layer.weight.device)


@torch.no_grad()
def embedding_length(model: PreTrainedModel) -> Tensor:
    """Mean length of the model's input embeddings, with the factor that it multiplies them by."""
    length: Tensor = embedding_scale(model).float() * embedding_table(model).float().norm(dim=-1).mean()
    return length


FEEDS: dict[str, type[Feed]] = {feed.__name__: feed for feed in (Identity, Add, Projection, Rescale, Expectation)}
"""Those of this package, by name."""

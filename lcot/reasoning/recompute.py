"""Activation checkpointing with thoughts: layers keep their inputs, and compute the rest again in the backward pass.

transformers' own switch drops the key-value cache, since a layer that runs again would append its columns once more,
and it works in training mode only, in which a frozen model never is. Here keys and values are kept: later passes read
them in any case. A layer that runs again is handed the very columns that it saw the first time, whatever has been
appended since. Dropout draws again what it drew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from torch import Tensor
from torch.utils.checkpoint import checkpoint
from transformers import Cache, PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

from lcot.errors import UserError
from lcot.reasoning.cache import GrowingCache, Seen


@contextmanager
def recomputed(model: PreTrainedModel, cache: Cache | None) -> Iterator[None]:
    """Let the passes that run meanwhile keep what enters each layer only. No effect on any value.

    The layers' forward is put aside, not their call: what others hook to a layer (FSDP2 above all) runs once.

    Args:
        model: The language model.
        cache: What the passes read and write: a :class:`~lcot.reasoning.cache.GrowingCache`, or ``None``.

    Raises:
        UserError: If the model is not made of layers that can be computed by themselves.
    """
    assert cache is None or isinstance(cache, GrowingCache), "only this cache knows what a layer has seen"
    layers = recomputable_layers(model)
    for layer in layers:
        layer.forward = partial(_checkpointed, layer.forward, cache)
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward  # what the class has is seen again


def recomputable_layers(model: PreTrainedModel) -> list[GradientCheckpointingLayer]:
    """The layers that can be computed by themselves.

    Raises:
        UserError: If there is none.
    """
    layers = [layer for layer in model.modules() if isinstance(layer, GradientCheckpointingLayer)]
    if not layers:
        raise UserError(
            f"activation checkpointing of a {model.config.model_type} model",
            where="model.activation_checkpointing",
            why="transformers does not say which of its layers can be computed by themselves",
            fix="set it to false",
        )
    return layers


def _checkpointed(forward: Callable[..., Any], cache: GrowingCache | None, *args: Any, **kwargs: Any) -> Any:
    if cache is None:
        return checkpoint(forward, *args, use_reentrant=False, **kwargs)
    # What is kept for the backward pass must not hold the cache, whose tensors hold the graph: nobody would free it.
    kept = [_CACHE if arg is cache else arg for arg in args]
    named: dict[str, Any] = {name: _CACHE if arg is cache else arg for name, arg in kwargs.items()}
    return checkpoint(_Remembering(forward, cache), *kept, use_reentrant=False, **named)


_CACHE = object()
"""Stands among a layer's arguments where the cache was."""


class _Remembering:
    """A layer's forward in one pass, which can be called again.

    Args:
        forward: The layer's.
        cache: What it appends to the first time.
    """

    def __init__(self, forward: Callable[..., Any], cache: GrowingCache) -> None:
        self.forward = forward
        self.cache: GrowingCache | None = cache
        self.seen: Seen = []

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.cache is None:
            return self._run(_Again(self.seen), args, kwargs)
        cache, self.cache = self.cache, None
        with cache.recorded(self.seen):
            return self._run(cache, args, kwargs)

    def _run(self, cache: object, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        given = [cache if arg is _CACHE else arg for arg in args]
        return self.forward(*given, **{name: cache if arg is _CACHE else arg for name, arg in kwargs.items()})


class _Again:
    """In the place of a cache: hands out what was recorded, and appends nothing."""

    def __init__(self, seen: Seen) -> None:
        self.seen = iter(seen)

    def update(self, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        return next(self.seen)

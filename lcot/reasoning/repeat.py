"""Several texts from one thinking: it is paid for once, however many are written from it.

Decoding consumes a cache, so each text is written from a copy of it.

Letters in shapes: R rows, H heads of the keys, K columns, D hidden width.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

from torch import Tensor
from transformers import Cache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from lcot.errors import UserError
from lcot.reasoning.buffers import FixedCache
from lcot.reasoning.cache import GrowingLayer
from lcot.reasoning.compiled import OneColumn
from lcot.reasoning.think import Thinking

_PLAIN = (DynamicLayer, DynamicSlidingWindowLayer)
"""Kinds of transformers' own layers that replace their tensors, and never write into them."""


class Copies:
    """Makes copies of a thinking.

    Args:
        thinking: Of R rows, with its cache kept; nothing else may use the cache from now on. That of compiled passes is
            taken out of their buffers, which every copy is given in turn: decode one before the next is made.

    Raises:
        UserError: If a layer's cache is of a kind that cannot be copied.
    """

    def __init__(self, thinking: Thinking) -> None:
        assert thinking.cache is not None, "think(..., keep_cache=True) before copying"
        self.thinking = thinking
        self._cache = thinking.cache
        self._fixed = _taken_out(thinking.cache) if isinstance(thinking.cache, FixedCache) else None
        kinds = {type(layer) for layer in self._cache.layers} if self._fixed is None else set()
        unknown = sorted(kind.__name__ for kind in kinds - {GrowingLayer, *_PLAIN})
        if unknown:
            raise UserError(
                f"several texts from one thinking, and layers whose cache is a {unknown[0]}",
                where="model.voting",
                why="it is not known how to copy it",
                fix="use samples 1 and runs 1, or another backbone",
            )

    def make(self, times: int = 1) -> Thinking:
        """All rows, several times.

        Args:
            times: How often; the first R rows are one copy, the next R the second.

        Returns:
            A thinking of ``times`` · R rows, to be decoded. A single copy of a growing cache takes no memory before
            text is added to it.
        """

        def wide(tensor: Tensor) -> Tensor:
            return tensor if times == 1 else tensor.repeat(times, *[1] * (tensor.ndim - 1))

        found = self.thinking
        return replace(
            found,
            states=wide(found.states),
            cache=self._copy(times),
            attention_mask=wide(found.attention_mask),
            position_ids=wide(found.position_ids),
            prompt_ends=wide(found.prompt_ends),
            thoughts=wide(found.thoughts),
            continues_at=None if found.continues_at is None else wide(found.continues_at),
        )

    def _copy(self, times: int) -> Cache:
        if self._fixed is not None:
            assert isinstance(self._cache, FixedCache) and isinstance(self._cache.one_column, OneColumn)
            again = self._cache.one_column.cache(self.thinking.attention_mask.shape[1])
            for layer, (keys, values) in zip(again.fixed, self._fixed, strict=True):
                layer.update(keys.repeat(times, 1, 1, 1), values.repeat(times, 1, 1, 1))
            return again
        made = copy.copy(self._cache)
        made.layers = [_copy_of(layer, times) for layer in self._cache.layers]
        return made


def _taken_out(cache: FixedCache) -> list[tuple[Tensor, Tensor]]:
    """Keys and values ``(R, H, K, D / H)`` of each layer, in memory of their own."""
    found = []
    for layer in cache.fixed:
        assert layer.keys is not None and layer.values is not None
        found.append((layer.keys.clone(), layer.values.clone()))
    return found


def _copy_of(layer: Any, times: int) -> DynamicLayer:
    """A layer of its own; a growing one begins without buffers, and so leaves those of the other alone."""
    made: DynamicLayer = GrowingLayer() if isinstance(layer, GrowingLayer) else copy.copy(layer)
    made.dtype, made.device, made.is_initialized = layer.dtype, layer.device, layer.is_initialized
    made.keys, made.values = layer.keys, layer.values
    if times > 1:
        made.keys, made.values = layer.keys.repeat(times, 1, 1, 1), layer.values.repeat(times, 1, 1, 1)
    return made

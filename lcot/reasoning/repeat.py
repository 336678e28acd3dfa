"""Several texts from one thinking: it is paid for once, however many are written from it.

Decoding consumes a cache, so each text is written from a copy of it.

Letters in shapes: R rows, H heads of the keys, K columns, D hidden width.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor
from transformers import Cache, PreTrainedModel
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from lcot.errors import UserError
from lcot.reasoning.buffers import FixedCache
from lcot.reasoning.cache import GrowingLayer
from lcot.reasoning.compiled import OneColumn
from lcot.reasoning.decode import Draws, Sampling, decode
from lcot.reasoning.think import Thinking

_PLAIN = (DynamicLayer, DynamicSlidingWindowLayer)
"""Kinds of transformers' own layers that replace their tensors, and never write into them."""


def decode_copies(
    model: PreTrainedModel,
    thinking: Thinking,
    copies: Sequence[Sequence[Draws]],
    *,
    rows: int,
    max_new_tokens: int,
    eos: int,
    sampling: Sampling,
) -> list[list[list[int]]]:
    """Write several texts a row.

    Args:
        model: The model that did the thinking.
        thinking: Its record of R rows, with the cache kept; the cache is consumed.
        copies: For each text of a row, the R rows' random draws.
        rows: How many rows may be written at once; a whole copy is in any case.
        max_new_tokens: Upper bound of new tokens a row.
        eos: Ends a row.
        sampling: How tokens are chosen; draws have seeds of their own.

    Returns:
        For each copy, the R lists of new token ids that :func:`~lcot.reasoning.decode.decode` would give it alone.

    Raises:
        UserError: If there is more than one copy, and the cache is of a kind that cannot be copied.
    """
    made = Copies(thinking) if len(copies) > 1 else None
    together = max(1, rows // len(thinking.thoughts))
    texts: list[list[list[int]]] = []
    for start in range(0, len(copies), together):
        group = copies[start : start + together]
        again = thinking if made is None else made.make(len(group))
        draws = [row for each in group for row in each]
        found = decode(model, again, max_new_tokens=max_new_tokens, eos=eos, sampling=sampling, draws=draws)
        size = len(found) // len(group)
        texts += [found[place * size : (place + 1) * size] for place in range(len(group))]
    return texts


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

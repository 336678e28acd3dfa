"""A key-value cache that is written in place, in training as well.

transformers' ``DynamicCache`` copies all keys and values for every column that is appended, and in training each copy
is kept for the backward pass: N thoughts store the question's keys and values N + 1 times. Here all columns of a layer
live in one buffer, and appending writes behind the columns that are in use, which no earlier pass has seen.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor
from transformers import Cache, DynamicCache, PreTrainedConfig
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from lcot.reasoning.windows import Windows, windows_of

Seen = list[tuple[Tensor, Tensor]]
"""Keys and values that a layer was handed, one pair an update."""


def growing_cache(config: PreTrainedConfig, columns: int) -> GrowingCache:
    """An empty cache for a model.

    Args:
        config: The model's configuration. Layers with full attention are written in place, and those with a window
            where masks keep it (:mod:`~lcot.reasoning.windows`); those of other kinds (linear attention, windows under
            flash attention) are transformers' own.
        columns: The number of columns that will be needed. Each pass beyond copies the cache, as ``DynamicCache`` does.
    """
    cache = GrowingCache(config=config)
    cache.windows = windows_of(config)
    kept = (DynamicLayer,) if cache.windows is None else (DynamicLayer, DynamicSlidingWindowLayer)
    cache.layers = [GrowingLayer() if type(layer) in kept else layer for layer in cache.layers]
    reserve(cache, columns)
    return cache


def reserve(cache: Cache, columns: int) -> None:
    """Say how many columns a cache is going to hold; without effect on layers that are not written in place."""
    for layer in cache.layers:
        if isinstance(layer, GrowingLayer):
            layer.columns = max(layer.columns, columns)


def attends_to_all(cache: Cache) -> bool:
    """Whether every layer is written in place, and so keeps all columns, which a mask can then choose from."""
    return all(isinstance(layer, GrowingLayer) for layer in cache.layers)


def keys_and_values(cache: Cache | None) -> list[tuple[Tensor, Tensor]]:
    """Keys and values of each layer, ``(B, H, L, D / H)`` with their graph, as attention reads them.

    Keys of models with rotary positions are turned already.

    Args:
        cache: One whose layers are all written in place (:func:`attends_to_all`).
    """
    assert cache is not None
    pairs = []
    for layer in cache.layers:
        assert isinstance(layer, GrowingLayer) and layer.keys is not None and layer.values is not None
        pairs.append((layer.keys, layer.values))
    return pairs


class GrowingCache(DynamicCache):
    """A cache that can note what it hands out, for passes that are computed again.

    Attributes:
        windows: Those of the model's layers, if masks are to keep them; every layer then holds all columns.
    """

    windows: Windows | None = None
    _seen: Seen | None = None

    @contextmanager
    def recorded(self, seen: Seen) -> Iterator[None]:
        """Add what is handed out meanwhile to a list, without its graph."""
        self._seen = seen
        try:
            yield
        finally:
            self._seen = None

    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Append columns to a layer; returns keys and values of all of its columns."""
        keys, values = super().update(key_states, value_states, layer_idx, *args, **kwargs)
        if self._seen is not None:
            # Autograd saves a tensor or not by whether it wants a gradient, and is to save the same ones again.
            self._seen.append((_apart(keys), _apart(values)))
        return keys, values


def _apart(view: Tensor) -> Tensor:
    return view.detach().requires_grad_(view.requires_grad)


def rewind(cache: Cache, columns: int) -> None:
    """Forget all columns behind the first ones, so that they are written anew in the same buffers.

    Only without gradients: a backward pass would read what is written later.

    Args:
        cache: One whose layers are all written in place (:func:`attends_to_all`).
        columns: How many stay.
    """
    for layer in cache.layers:
        assert isinstance(layer, GrowingLayer)
        layer.rewind(columns)


def move(cache: Cache, column: int, room: int) -> None:
    """Copy all columns to buffers of their own, where as many stand before the next one as are wanted.

    Only without gradients, as for :func:`rewind`.

    Args:
        cache: One whose layers are all written in place (:func:`attends_to_all`).
        column: The number of columns from now on: the first ones are dropped, or zeros are put in front of them.
        room: Number of columns that the new buffers have.
    """
    for layer in cache.layers:
        assert isinstance(layer, GrowingLayer)
        layer.move(column, room)


def put(cache: Cache, places: Tensor, column: int, source: Cache, rows: Tensor, begin: int, end: int) -> None:
    """Write rows of another cache over the last columns of some places, in buffers that :func:`move` has made.

    Args:
        cache: One whose layers are all written in place (:func:`attends_to_all`), of K columns.
        places: ``(R,)`` where the rows go.
        column: Where they begin; they end in the last of the K columns.
        source: Likewise.
        rows: ``(R,)`` rows of it.
        begin: Their first column there.
        end: The one behind their last, ``begin + K - column``.
    """
    for layer, other in zip(cache.layers, source.layers, strict=True):
        assert isinstance(layer, GrowingLayer) and layer.keys is not None and layer.values is not None
        assert isinstance(other, GrowingLayer) and other.keys is not None and other.values is not None
        layer.keys[places, :, column:] = other.keys[rows, :, begin:end]
        layer.values[places, :, column:] = other.values[rows, :, begin:end]


class GrowingLayer(DynamicLayer):
    """Keys and values of one layer, in one buffer each.

    Attributes:
        keys: ``(B, H, K, D / H)`` of the K columns so far, as a view of the buffer.
        values: Likewise.
        columns: Number of columns that a new buffer gets at least.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.columns = 0
        self._buffers: list[_Buffer] = []

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Append columns.

        Args:
            key_states: ``(B, H, k, D / H)`` keys of k new columns.
            value_states: Likewise.
            args: No effect.
            kwargs: No effect.

        Returns:
            Keys and values ``(B, H, K + k, D / H)`` of all columns.
        """
        if not self.is_initialized:
            self.dtype, self.device = key_states.dtype, key_states.device
            self.keys, self.values = key_states[..., :0, :], value_states[..., :0, :]
            self.is_initialized = True
        assert self.keys is not None and self.values is not None
        held, new = (self.keys, self.values), (key_states, value_states)
        # Whatever else changed the cache (crop, a choice of rows, another order) left other tensors behind. Their
        # columns are copied, and the old buffer, which a backward pass may still read, is never written again.
        usable = bool(self._buffers) and all(
            buffer.view is view and buffer.has_room(piece)
            for buffer, view, piece in zip(self._buffers, held, new, strict=True)
        )
        if not usable:
            self._buffers = [_Buffer(view, self.columns) for view in held]
        self.keys, self.values = (buffer.append(piece) for buffer, piece in zip(self._buffers, new, strict=True))
        return self.keys, self.values

    def rewind(self, columns: int) -> None:
        """Keep the first columns alone; see :func:`rewind`."""
        assert self.keys is not None and self.values is not None and not self.keys.requires_grad
        self.keys, self.values = self.keys[..., :columns, :], self.values[..., :columns, :]
        for buffer, view in zip(self._buffers, (self.keys, self.values), strict=True):
            buffer.view, buffer.pieces = view, [view]

    def move(self, column: int, room: int) -> None:
        """Copy the last columns to new buffers; see :func:`move`."""
        assert self.keys is not None and self.values is not None and not self.keys.requires_grad
        self._buffers = [_Buffer(view, room) for view in (self.keys, self.values)]
        self.keys, self.values = (buffer.move(column) for buffer in self._buffers)

    def reset(self) -> None:
        """Forget all columns."""
        super().reset()
        self._buffers = []


class _Buffer:
    """Keys or values of one layer.

    Args:
        held: ``(B, H, K, D / H)`` columns to begin with.
        columns: Number of columns that there is to be room for.
    """

    def __init__(self, held: Tensor, columns: int) -> None:
        self.columns = columns
        self.view = held
        self.data: Tensor | None = None
        # What was appended, for autograd. Each view depends on all of it directly: a chain of views would add gradients
        # of all columns out of place once more in every pass.
        self.pieces = [held] if held.shape[-2] else []

    def has_room(self, new: Tensor) -> bool:
        """Whether more columns can be written."""
        return self.data is None or self.view.shape[-2] + new.shape[-2] <= self.data.shape[-2]

    def move(self, column: int) -> Tensor:
        """Copy the columns to where so many stand before the next one, zeros in front; returns a view of them all."""
        kept = min(column, self.view.shape[-2])
        data = self.view.new_empty(*self.view.shape[:-2], max(self.columns, column), self.view.shape[-1])
        data[..., : column - kept, :] = 0.0  # what is masked has weight 0, and must be finite
        data[..., column - kept : column, :] = self.view[..., self.view.shape[-2] - kept :, :]
        self.data, self.view = data, data[..., :column, :]
        self.pieces = [self.view]
        return self.view

    def append(self, new: Tensor) -> Tensor:
        """Write columns ``(B, H, k, D / H)`` behind the others; returns a view ``(B, H, K + k, D / H)`` of all."""
        held = self.view.shape[-2]
        if self.data is None:
            stop = held + new.shape[-2]
            self.data = new.new_empty(*new.shape[:-2], max(self.columns, stop), new.shape[-1])
            self.data[..., :held, :] = self.view.detach()
        self.view = cast(Tensor, _Append.apply(self, *self.pieces, new))  # type: ignore[no-untyped-call]
        if self.view.requires_grad:
            self.pieces.append(cast(Tensor, _Place.apply(new)))  # type: ignore[no-untyped-call]
        else:
            self.pieces = [self.view]
        return self.view


class _Append(torch.autograd.Function):
    """The concatenation of pieces, of which all but the last are in the buffer already."""

    @staticmethod
    def forward(ctx: Any, buffer: _Buffer, *pieces: Tensor) -> Tensor:
        # .data, unlike detach(), has a version counter of its own: passes that saved the columns so far for their
        # backward are not told of this write, since it leaves those columns as they were.
        assert buffer.data is not None
        data = buffer.data.data
        ctx.sizes = [piece.shape[-2] for piece in pieces]
        stop = sum(ctx.sizes)
        data[..., stop - ctx.sizes[-1] : stop, :] = pieces[-1]
        return data[..., :stop, :]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        return None, *torch.split(gradient, ctx.sizes, dim=-2)


class _Place(torch.autograd.Function):
    """Stands for a piece that is in the buffer already: its shape and its gradient, without its values' memory."""

    @staticmethod
    def forward(ctx: Any, piece: Tensor) -> Tensor:
        return piece.new_zeros(()).expand(piece.shape)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient

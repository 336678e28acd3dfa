"""Keys and values in buffers of few shapes, whose addresses stay: what compiled passes of one column need.

Rows and columns are rounded up, so that shapes are few: powers of two, for columns from 64 on and with one size halfway
between. Rows that have left the batch keep their places until a quarter of them would do.

Letters in shapes: B rows and C columns of a buffer, R rows and K columns in use, H heads of the keys, D hidden width.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from transformers import Cache
from transformers.cache_utils import DynamicLayer

from lcot.errors import UserError


class Pool:
    """Tensors that are kept from batch to batch, since a CUDA graph is bound to their addresses.

    Those of each size that has occurred stay in memory.

    Attributes:
        turn: Number of the batch that has them.
    """

    def __init__(self) -> None:
        self.turn = 0
        self._tensors: dict[tuple[object, ...], Tensor] = {}

    def tensor(self, name: str, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
        """The tensor of this name and kind: always the same one, zero when it is new."""
        key = (name, shape, dtype, device)
        if key not in self._tensors:
            # Validation runs in inference mode, and what is made there could not be written outside of it.
            with torch.inference_mode(False):
                self._tensors[key] = torch.zeros(shape, dtype=dtype, device=device)
            torch._dynamo.mark_static_address(self._tensors[key], guard=False)
        return self._tensors[key]


class FixedCache(Cache):
    """A cache for eager passes over any number of columns, and for compiled ones over one.

    Args:
        pool: Where the buffers are.
        layers: Number of layers.
        columns: Number of columns that there is to be room for.
        one_column: Runs a compiled pass: see :meth:`lcot.reasoning.compiled.OneColumn.__call__`.
    """

    def __init__(self, pool: Pool, layers: int, columns: int, one_column: Callable[..., Tensor]) -> None:
        self.fixed = [FixedLayer(pool, number, columns) for number in range(layers)]
        self.one_column = one_column
        super().__init__(layers=[*self.fixed])

    def run(self, inputs: Tensor, mask: Tensor, positions: Tensor) -> Tensor:
        """Run the column behind those in use.

        Args:
            inputs: ``(R, 1, D)`` embeddings.
            mask: ``(R, K + 1)`` bool: the columns that each row attends to.
            positions: ``(R, 1)``.

        Returns:
            Last hidden states ``(R, 1, D)``.
        """
        columns = mask.shape[1]
        whole = [(keys.reserve(columns), values.reserve(columns)) for keys, values in (f.buffers for f in self.fixed)]
        states = self.one_column(inputs, mask, positions, whole)
        for layer in self.fixed:
            for buffer in layer.buffers:
                buffer.columns = columns
        return states


class FixedLayer(DynamicLayer):
    """Keys and values of one layer, ``(R, H, K, D / H)``; whatever else is put in their place is copied there.

    Args:
        pool: Where the buffers are.
        number: Which layer.
        columns: Number of columns that there is to be room for.
    """

    def __init__(self, pool: Pool, number: int, columns: int) -> None:
        self.buffers = (_Buffer(pool, f"keys {number}", columns), _Buffer(pool, f"values {number}", columns))
        super().__init__()  # type: ignore[no-untyped-call]

    @property
    def keys(self) -> Tensor | None:
        """The keys in use."""
        return self.buffers[0].view

    @keys.setter
    def keys(self, held: Tensor | None) -> None:
        self.buffers[0].hold(held)

    @property
    def values(self) -> Tensor | None:
        """The values in use."""
        return self.buffers[1].view

    @values.setter
    def values(self, held: Tensor | None) -> None:
        self.buffers[1].hold(held)

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Append columns.

        Args:
            key_states: ``(R, H, k, D / H)`` keys of k new columns.
            value_states: Likewise.
            args: No effect.
            kwargs: No effect.

        Returns:
            Keys and values ``(R, H, K + k, D / H)`` of all columns.
        """
        self.dtype, self.device, self.is_initialized = key_states.dtype, key_states.device, True
        return self.buffers[0].append(key_states), self.buffers[1].append(value_states)


class _Buffer:
    """Keys or values of one layer, ``(B, H, C, D / H)``, of which the first rows and columns are in use.

    In those rows all other columns are finite: a masked column has weight 0, and 0 times infinity would spoil the row.
    """

    def __init__(self, pool: Pool, name: str, room: int) -> None:
        self.pool = pool
        self.name = name
        self.room = room
        self.turn = pool.turn
        self.data: Tensor | None = None
        self.rows = self.columns = 0

    @property
    def view(self) -> Tensor | None:
        """What is in use."""
        return None if self.data is None else self.data[: self.rows, :, : self.columns]

    def append(self, new: Tensor) -> Tensor:
        """Write columns behind those in use; returns all."""
        if self.data is None:
            self.hold(new)
        else:
            held = self.columns
            self.reserve(held + new.shape[-2])[: self.rows, :, held : held + new.shape[-2]] = new
            self.columns += new.shape[-2]
        view = self.view
        assert view is not None
        return view

    def reserve(self, columns: int) -> Tensor:
        """The buffer, after a move to a larger one if it has fewer columns."""
        self._check_turn()
        assert self.data is not None, "a pass over one column comes after one over many"
        if columns > self.data.shape[-2]:
            self.room = columns
            self.hold(self.view)
        return self.data

    def hold(self, held: Tensor | None) -> None:
        """Put this in the place of all that was in use."""
        if held is None:
            self.data = None
            self.rows = self.columns = 0
            return
        self._check_turn()
        rows, heads, columns, width = held.shape
        size = _power(rows)
        if self.data is not None:
            held = held.clone()  # it may be part of the buffer that is to be written
            if size <= self.data.shape[0] < 4 * size:
                size = self.data.shape[0]
        shape = (size, heads, _columns(max(columns, self.room)), width)
        self.data = self.pool.tensor(self.name, shape, held.dtype, held.device)
        self.data.zero_()
        self.data[:rows, :, :columns] = held
        self.rows, self.columns = rows, columns

    def _check_turn(self) -> None:
        if self.turn != self.pool.turn:
            raise UserError(
                "the keys and values of this batch are gone",
                why="compiled one-column passes have one set of buffers, and another batch has been given it",
                fix="write the text of a batch before the next one is thought about, or give each a OneColumn",
            )


def _power(number: int) -> int:
    """The smallest power of two that is not below."""
    return 1 << (number - 1).bit_length()


def _columns(number: int) -> int:
    """The smallest of 64, 96, 128, 192, 256, … that is not below."""
    power = max(64, _power(number))
    return power * 3 // 4 if 64 < number <= power * 3 // 4 else power

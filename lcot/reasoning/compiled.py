"""One-column passes of few shapes, compiled: for inference where launching a pass takes longer than computing it.

A thought or a written token is a pass over a single column: some fifteen small kernels a layer, and on a GPU the launch
of each may take longer than its work. With a growing cache the keys have another shape in every pass, so that nothing
can be prepared. Here keys and values stand in buffers of fixed size, the column to be written is a tensor, and columns
behind it are masked. All one-column passes of a batch then have one shape, are compiled once for it
(:func:`torch.compile`), and are recorded as one CUDA graph where there is CUDA. Passes over many columns stay eager:
they have another shape in every batch, and enough work to hide their launches.

Rows and columns are rounded up, so that shapes are few: powers of two, for columns from 64 on and with one size halfway
between. Rows that have left the batch keep their places until a quarter of them would do.

Training stays eager. A buffer that is written again must not be one that a backward pass still reads, and each pass
would need recorded memory of its own for what its backward pass reads, as many times as there are thoughts.

Checked on CPUs: texts are those of the eager passes, each shape is compiled once as a single graph, and the default
backend has been timed there (``docs/results.md``). Nothing here has run on a GPU yet, CUDA graphs least of all;
``python -m benchmarks.decode --device cuda --dtype bfloat16 --compile --check`` is the check and the measurement, and
``TORCH_LOGS=perf_hints`` says if torch leaves a graph unrecorded.

Letters in shapes: B rows and C columns of the buffers, D hidden width, H heads of the keys, K columns in use.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from textwrap import shorten
from typing import Any

import torch
from torch import Tensor
from transformers import Cache, DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer

from lcot.errors import UserError

Backend = str | Callable[..., Any]
Buffers = list[tuple[Tensor, Tensor]]

_MOST_SHAPES = 64
"""Shapes that may be compiled; torch's own limit of 8 is for code whose shapes follow no plan."""


class OneColumn:
    """The backbone over one column: buffers for it, and the compiled pass.

    The buffers are kept from batch to batch, since a CUDA graph is bound to their addresses. So there is one batch at a
    time: :meth:`cache` takes them away from the batch before. Those of each size that has occurred stay in memory.

    Args:
        model: The language model. Its weights may change between passes, in place.
        room: Number of columns to keep free behind those of a batch, for text. More text is written all the same, after
            one move to larger buffers.
        backend: What :func:`torch.compile` is to use.

    Attributes:
        shapes: What has been compiled: rows and columns of the buffers, and whatever else changes the graph.

    Raises:
        UserError: If the model cannot be run in this way: its layers do not all attend to all columns (sliding windows,
            linear attention), its attention is not ``sdpa`` (the only one that takes a mask as it is), or its rotary
            frequencies depend on the length.
    """

    def __init__(self, model: PreTrainedModel, room: int, backend: Backend = "inductor") -> None:
        _refuse_other_models(model)
        self.model = model
        self.room = room
        self.turn = 0
        self.shapes: set[tuple[object, ...]] = set()
        self._tensors: dict[tuple[object, ...], Tensor] = {}
        # Without CUDA this mode is the default one.
        mode = "reduce-overhead" if backend == "inductor" else None
        self._compiled = torch.compile(self._run, backend=backend, mode=mode, fullgraph=True, dynamic=False)

    def cache(self, columns: int) -> FixedCache:
        """An empty cache over the buffers.

        Args:
            columns: Number of columns of the batch, without its new text.

        Raises:
            UserError: If gradients are recorded.
        """
        if torch.is_grad_enabled():
            raise UserError(
                "compiled one-column passes while gradients are recorded",
                where="compiled_decoding",
                why="their buffers are written over, and a backward pass would read what is there by then",
                fix="use torch.no_grad(), or train without them",
            )
        self.turn += 1
        return FixedCache(self, columns + self.room)

    def tensor(self, name: str, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
        """The tensor of this name and kind: always the same one, zero when it is new."""
        key = (name, shape, dtype, device)
        if key not in self._tensors:
            # Validation runs in inference mode, and what is made there could not be written outside of it.
            with torch.inference_mode(False):
                self._tensors[key] = torch.zeros(shape, dtype=dtype, device=device)
            torch._dynamo.mark_static_address(self._tensors[key], guard=False)
        return self._tensors[key]

    def __call__(self, inputs: Tensor, mask: Tensor, positions: Tensor, buffers: Buffers) -> Tensor:
        """Run one column.

        Args:
            inputs: ``(R, 1, D)`` embeddings of R ≤ B rows.
            mask: ``(R, K)`` bool: the columns that each row attends to, of which the last is the one that is run.
            positions: ``(R, 1)``.
            buffers: Keys and values of each layer, ``(B, H, C, D / H)``, K ≤ C. Their column K - 1 is written.

        Returns:
            Last hidden states ``(R, 1, D)``, in memory of their own.

        Raises:
            UserError: If the pass cannot be compiled.
        """
        rows, columns = mask.shape
        size, _, room, _ = buffers[0][0].shape
        device = inputs.device
        given = (
            self.tensor("inputs", (size, *inputs.shape[1:]), inputs.dtype, device),
            self.tensor("mask", (size, room), torch.bool, device),
            self.tensor("positions", (size, 1), torch.long, device),
            self.tensor("column", (1,), torch.long, device),
        )
        with torch.inference_mode(False), torch.no_grad():
            # Rows from R on are computed as well, from whatever is there; no row knows of another.
            given[0][:rows] = inputs
            given[1][:rows, :columns] = mask
            given[2][:rows] = positions
            given[3].fill_(columns - 1)
            torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
            # The graph's own output is written over by the next pass.
            return self._call(*given, buffers)[:rows].clone()

    def _call(self, inputs: Tensor, mask: Tensor, positions: Tensor, column: Tensor, buffers: Buffers) -> Tensor:
        # Values have the type that autocast gives them.
        shape = (*mask.shape, inputs.dtype, buffers[0][1].dtype, inputs.device, self.model.training)
        known = shape in self.shapes
        self.shapes.add(shape)
        try:
            with nullcontext() if known else torch._dynamo.config.patch(cache_size_limit=_MOST_SHAPES):
                states: Tensor = self._compiled(inputs, mask, positions, column, buffers)
                return states
        except torch._dynamo.exc.TorchDynamoException as err:
            raise UserError(
                f"the one-column pass of this {self.model.config.model_type} model cannot be compiled",
                where="compiled_decoding",
                why=shorten(str(err).strip().split("\n\n")[0], 300),
                fix="set it to false; answers are the same without it",
            ) from err

    def _run(self, inputs: Tensor, mask: Tensor, positions: Tensor, column: Tensor, buffers: Buffers) -> Tensor:
        seen = mask & (torch.arange(mask.shape[1], device=mask.device) <= column)
        output = self.model.base_model(
            inputs_embeds=inputs,
            attention_mask=seen[:, None, None],
            position_ids=positions,
            past_key_values=Cache(layers=[_Written(keys, values, column) for keys, values in buffers]),
            use_cache=True,
        )
        states: Tensor = output.last_hidden_state
        return states


class FixedCache(Cache):
    """A cache for eager passes over any number of columns, and for compiled ones over one.

    Args:
        passes: Where the buffers are kept.
        columns: Number of columns that there is to be room for.
    """

    def __init__(self, passes: OneColumn, columns: int) -> None:
        self.passes = passes
        self.fixed = [FixedLayer(passes, number, columns) for number in range(passes.model.config.num_hidden_layers)]
        super().__init__(layers=[*self.fixed])

    def run(self, inputs: Tensor, mask: Tensor, positions: Tensor) -> Tensor:
        """Last hidden states of one column behind those in use; see :meth:`OneColumn.__call__`."""
        columns = mask.shape[1]
        buffers = [(layer.buffers[0].reserve(columns), layer.buffers[1].reserve(columns)) for layer in self.fixed]
        states = self.passes(inputs, mask, positions, buffers)
        for layer in self.fixed:
            for buffer in layer.buffers:
                buffer.columns = columns
        return states


class FixedLayer(DynamicLayer):
    """Keys and values of one layer, ``(R, H, K, D / H)``; whatever else is put in their place is copied there.

    Args:
        passes: Where the buffers are kept.
        number: Which layer.
        columns: Number of columns that there is to be room for.
    """

    def __init__(self, passes: OneColumn, number: int, columns: int) -> None:
        self.buffers = (_Buffer(passes, f"keys {number}", columns), _Buffer(passes, f"values {number}", columns))
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

    Everything else is finite: a masked column has weight 0, and 0 times infinity would still spoil the row.
    """

    def __init__(self, passes: OneColumn, name: str, room: int) -> None:
        self.passes = passes
        self.name = name
        self.room = room
        self.turn = passes.turn
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
        self.data = self.passes.tensor(self.name, shape, held.dtype, held.device)
        self.data.zero_()
        self.data[:rows, :, :columns] = held
        self.rows, self.columns = rows, columns

    def _check_turn(self) -> None:
        if self.turn != self.passes.turn:
            raise UserError(
                "the keys and values of this batch are gone",
                why="compiled one-column passes have one set of buffers, and another batch has been given it",
                fix="write the text of a batch before the next one is thought about, or give each a OneColumn",
            )


class _Written(DynamicLayer):
    """One layer within the compiled pass: writes one column of whole buffers."""

    def __init__(self, keys: Tensor, values: Tensor, column: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.keys, self.values, self.column = keys, values, column
        self.is_initialized = True

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        assert self.keys is not None and self.values is not None
        self.keys.index_copy_(2, self.column, key_states)
        self.values.index_copy_(2, self.column, value_states)
        return self.keys, self.values


def _power(number: int) -> int:
    """The smallest power of two that is not below."""
    return 1 << (number - 1).bit_length()


def _columns(number: int) -> int:
    """The smallest of 64, 96, 128, 192, 256, … that is not below."""
    power = max(64, _power(number))
    return power * 3 // 4 if 64 < number <= power * 3 // 4 else power


def _refuse_other_models(model: PreTrainedModel) -> None:
    layers = DynamicCache(config=model.config).layers
    attention = model.config._attn_implementation
    rope = getattr(model.config, "rope_parameters", None) or {}
    if any(type(layer) is not DynamicLayer for layer in layers):
        why = "some of its layers do not attend to all columns, and their caches are of other kinds"
    elif attention != "sdpa":
        why = f"its attention is {attention!r}, and only 'sdpa' takes the mask of a buffer as it is"
    elif "dynamic" in str(rope.get("rope_type")):
        why = "its rotary frequencies depend on the length of a row, which a fixed graph cannot know"
    else:
        return
    raise UserError(
        f"one-column passes of this {model.config.model_type} model cannot be compiled",
        where="compiled_decoding",
        why=why,
        fix="set it to false; answers are the same without it",
    )

"""One-column passes of few shapes, compiled: for inference where launching a pass takes longer than computing it.

A thought or a written token is a pass over a single column: a dozen or more small kernels a layer, and on a GPU the
launch of each may take longer than its work. With a growing cache the keys have another shape in every pass, so that
nothing can be prepared. Here keys and values stand in buffers of fixed size (:mod:`lcot.reasoning.buffers`), the column
to be written is a tensor, and columns behind it are masked. All one-column passes of a batch then have one shape, are
compiled once for it (:func:`torch.compile`), and are recorded as one CUDA graph where there is CUDA. Passes over many
columns stay eager: they have another shape in every batch, and more work for each launch.

Training stays eager. A buffer that is written again must not be one that a backward pass still reads, and each pass
would need recorded memory of its own for what its backward pass reads, as many times as there are thoughts.

Checked on CPUs: texts are those of the eager passes, each shape is compiled once and as a single graph, no value is
read back, and every tensor that a graph writes has a fixed address, which is what torch asks of a CUDA graph. Timed on
one busy CPU core, eager / compiled seconds of ``benchmarks/decode.py``: 0.98 in its own setting, 1.03 with two short
rows, 1.51 with a model of width 64 in bfloat16; compiling took half a minute a shape. **Nothing here has run on a
GPU**, CUDA graphs least of all: ``python -m benchmarks.decode --device cuda --dtype bfloat16 --compile`` is the
measurement (in float32 with ``--check`` also the check), and ``TORCH_LOGS=perf_hints`` says if torch leaves a graph
unrecorded.

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
from lcot.reasoning.buffers import FixedCache, Pool

Backend = str | Callable[..., Any]
Buffers = list[tuple[Tensor, Tensor]]

_MOST_SHAPES = 256
"""Shapes that may be compiled; torch's own limit of 8 is for code whose shapes follow no plan."""


class OneColumn:
    """The compiled pass of a model over one column, and the buffers that it reads and writes.

    There is one batch at a time: :meth:`cache` takes the buffers away from the batch before.

    Args:
        model: The language model. Its weights may change between passes, in place.
        room: Number of columns to keep free behind those of a batch, for text. More text is written all the same, after
            one move to larger buffers.
        backend: What :func:`torch.compile` is to use.

    Attributes:
        pool: The buffers.
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
        self.pool = Pool()
        self.shapes: set[tuple[object, ...]] = set()
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
        self.pool.turn += 1
        return FixedCache(self.pool, self.model.config.num_hidden_layers, columns + self.room, self)

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
            self.pool.tensor("inputs", (size, *inputs.shape[1:]), inputs.dtype, device),
            self.pool.tensor("mask", (size, room), torch.bool, device),
            self.pool.tensor("positions", (size, 1), torch.long, device),
            self.pool.tensor("column", (1,), torch.long, device),
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
        try:
            with nullcontext() if known else torch._dynamo.config.patch(cache_size_limit=_MOST_SHAPES):
                states: Tensor = self._compiled(inputs, mask, positions, column, buffers)
        except torch._dynamo.exc.TorchDynamoException as err:
            raise UserError(
                f"the one-column pass of this {self.model.config.model_type} model cannot be compiled",
                where="compiled_decoding",
                why=shorten(str(err).strip().split("\n\n")[0], 300),
                fix="set it to false; answers are the same without it",
            ) from err
        self.shapes.add(shape)
        return states

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

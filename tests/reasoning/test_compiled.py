"""Compiled one-column passes against eager ones: the buffers without a compiler, then what the compiler is given."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.fx import GraphModule
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import PreTrainedModel
from transformers.cache_utils import DynamicLayer

from lcot.errors import UserError
from lcot.reasoning.batch import ThoughtBatch, collate, heads
from lcot.reasoning.buffers import FixedCache, FixedLayer, Pool
from lcot.reasoning.compiled import OneColumn
from lcot.reasoning.decode import Sampling, decode
from lcot.reasoning.layout import EncodedExample, Layout
from lcot.reasoning.think import Passes, Thinking, think
from lcot.reasoning.until import think_until
from tests.models import SPECIAL, random_examples, tiny_model
from tests.reasoning.support import ALL, MIXED, builder, layouts
from tests.reasoning.test_decode import NEVER, countdown, prompts

SAMPLING = Sampling(temperature=0.8, top_k=20, top_p=0.95, seed=3)


class Graphs(list[GraphModule]):
    """A backend that runs graphs as they are and keeps them to be looked at."""

    def __call__(self, graph: GraphModule, inputs: Sequence[Tensor]) -> Callable[..., Any]:
        self.append(graph)
        return graph.forward


def uncompiled(model: PreTrainedModel, room: int = 10) -> OneColumn:
    """The same passes over the same buffers, without a compiler; hundreds of times faster to make."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "compile", lambda function, **settings: function)
        return OneColumn(model, room)


def texts(
    model: PreTrainedModel,
    batch: ThoughtBatch,
    passes: OneColumn | None,
    length: int = 10,
    eos: int = SPECIAL.eos,
    sampling: Sampling | None = None,
    mode: AbstractContextManager[Any] | None = None,
) -> list[list[int]]:
    """Think and decode one batch."""
    with mode or torch.no_grad():
        thinking = think(model, batch, keep_cache=True, compiled=passes)
        return decode(model, thinking, max_new_tokens=length, eos=eos, sampling=sampling, index=batch.index)


def poison(passes: OneColumn, value: float) -> None:
    """Fill all buffers; in the mask, everything but 0 is true."""
    for tensor in passes.pool._tensors.values():
        if tensor.dtype != torch.long:
            tensor.fill_(value)


class TestText:
    """Token for token what eager passes write."""

    @pytest.mark.parametrize("make", [prompts, layouts])
    @pytest.mark.parametrize("sampling", [None, SAMPLING], ids=["greedy", "sampled"])
    @pytest.mark.parametrize("eos", [SPECIAL.eos, NEVER], ids=["eos", "all tokens"])
    def test_is_the_same(
        self, model: PreTrainedModel, make: Callable[[], list[Layout]], sampling: Sampling | None, eos: int
    ) -> None:
        passes, rows = uncompiled(model), make()
        for chosen in (rows, rows[:3], rows[5:6], rows + rows):
            batch = collate(chosen, SPECIAL.pad)
            expected = texts(model, batch, None, eos=eos, sampling=sampling)
            assert texts(model, batch, passes, eos=eos, sampling=sampling) == expected
        assert {shape[0] for shape in passes.shapes} >= {8, 4, 1, 16}

    @pytest.mark.parametrize(
        ("kind", "stepwise"), [("none", None), ("pause", None), ("pause", True), ("continuous", False)]
    )
    def test_of_other_kinds_of_thoughts(self, model: PreTrainedModel, kind: Any, stepwise: bool | None) -> None:
        batch = collate(layouts(kind=kind, stepwise_passes=stepwise), SPECIAL.pad)
        assert texts(model, batch, uncompiled(model)) == texts(model, batch, None)

    def test_of_a_prompt_of_one_column(self, model: PreTrainedModel) -> None:
        row = builder("none").prompt(EncodedExample([9], [], [1]), 0)
        batch = collate([row, row], SPECIAL.pad)
        assert batch.input_ids.shape[1] == 1
        assert texts(model, batch, uncompiled(model)) == texts(model, batch, None)

    @pytest.mark.parametrize("room", [0, 7, 70])
    def test_longer_than_its_room(self, model: PreTrainedModel, room: int) -> None:
        passes, batch = uncompiled(model, room), collate(prompts(), SPECIAL.pad)
        assert texts(model, batch, passes, 70, NEVER) == texts(model, batch, None, 70, NEVER)
        assert {shape[1] for shape in passes.shapes} == ({96} if room == 70 else {64, 96})

    def test_of_rows_that_think_as_long_as_they_like(self, model: PreTrainedModel) -> None:
        start = heads(collate([builder().prompt(row, 0) for row in random_examples(5)], SPECIAL.pad), SPECIAL.pad)
        stops, written = torch.tensor([0, 2, ALL, 1, 3]), []
        for passes in (None, uncompiled(model)):
            with torch.no_grad():
                free = think_until(model, start, lambda states, n: stops <= n, 4, SPECIAL.eot, compiled=passes)
            written.append(decode(model, free, max_new_tokens=8, eos=SPECIAL.eos))
            assert free.thoughts.tolist() == [0, 2, 4, 1, 3]
        assert written[0] == written[1]

    def test_rows_leave_in_quarters(self) -> None:
        model, last = countdown(), [9, 20, 4, 5, 11, 7, 16, 3, 10, 6]
        rows = layouts([(0, 0)] * 10, "none", [EncodedExample([9, word], [[8]], [1]) for word in last])
        passes, batch = uncompiled(model), collate(rows, SPECIAL.pad)
        assert texts(model, batch, passes, 30) == [list(range(word - 1, 0, -1)) for word in last]
        # Ten rows have 16 places; the five that are left first keep them, then two need no more than 2, then one has 2.
        assert {shape[0] for shape in passes.shapes} == {16, 2}

    def test_under_inference_mode_and_not(self) -> None:
        model = tiny_model()
        passes, batch = uncompiled(model), collate(layouts(), SPECIAL.pad)
        expected = texts(model, batch, None)
        for mode in (torch.inference_mode(), torch.no_grad(), torch.inference_mode()):
            assert texts(model, batch, passes, mode=mode) == expected

    def test_in_mixed_precision(self, model: PreTrainedModel) -> None:
        batch, passes = collate(layouts(), SPECIAL.pad), uncompiled(model)
        with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
            expected = think(model, batch).states
            assert (think(model, batch, compiled=passes).states - expected).norm() < 0.02 * expected.norm()


class TestStates:
    """What a pass computes, and what it must not see."""

    def run(self, model: PreTrainedModel, passes: OneColumn | None, spoil: float | None = None) -> Tensor:
        """States of the prompts and of six fixed tokens behind them, with rows left out half way."""
        batch = collate(prompts(), SPECIAL.pad)
        with torch.no_grad():
            thinking = think(model, batch, keep_cache=True, compiled=passes)
            rows, length = batch.input_ids.shape
            mask = torch.cat([batch.attention_mask, torch.ones(rows, 6, dtype=torch.bool)], dim=1)
            positions = torch.cat([batch.position_ids, batch.position_ids[:, -1:] + torch.arange(1, 7)], dim=1)
            kept, states, cache = torch.arange(rows), [thinking.states[:, -1]], thinking.cache
            for column in range(length, length + 6):
                if column == length + 3:
                    assert cache is not None
                    kept = torch.tensor([6, 1])
                    cache.batch_select_indices(kept)
                if spoil is not None and isinstance(cache, FixedCache):
                    self.spoil(cache, spoil)
                inputs = model.get_input_embeddings()(kept[:, None] + column)
                states.append(Passes(model, mask[kept], positions[kept], cache)(inputs, column, column + 1)[:, 0])
        return torch.cat(states)

    def spoil(self, cache: FixedCache, value: float) -> None:
        """Write into everything that is not in use."""
        for layer in cache.fixed:
            for buffer in layer.buffers:
                assert buffer.data is not None
                buffer.data[buffer.rows :] = value
                buffer.data[:, :, buffer.columns :] = value

    def test_are_those_of_eager_passes(self, model: PreTrainedModel) -> None:
        assert torch.allclose(self.run(model, uncompiled(model)), self.run(model, None), atol=2e-5)

    def test_in_bfloat16(self, model: PreTrainedModel) -> None:
        half = tiny_model(model.config.model_type).to(torch.bfloat16)  # type: ignore[arg-type]
        exact = self.run(model, None)
        errors = [(self.run(half, passes) - exact).norm() / exact.norm() for passes in (None, uncompiled(half))]
        assert 0 < errors[1] < 1.5 * errors[0] < 0.1

    def test_text_in_bfloat16(self) -> None:
        # A model for which no two tokens are about equally likely.
        model = countdown().to(torch.bfloat16)  # type: ignore[arg-type]
        rows = layouts([(0, 0)] * 4, "none", [EncodedExample([9, word], [[8]], [1]) for word in (9, 30, 12, 5)])
        batch = collate(rows, SPECIAL.pad)
        assert texts(model, batch, uncompiled(model), 30) == texts(model, batch, None, 30)

    def test_columns_and_rows_not_in_use_change_nothing(self, model: PreTrainedModel) -> None:
        expected = self.run(model, uncompiled(model))
        assert torch.equal(self.run(model, uncompiled(model), spoil=1e4), expected)

    @pytest.mark.parametrize("value", [float("nan"), float("inf")])
    def test_what_an_earlier_batch_left_changes_nothing(self, model: PreTrainedModel, value: float) -> None:
        passes = uncompiled(model)
        expected = self.run(model, passes)
        poison(passes, value)
        assert torch.equal(self.run(model, passes), expected)


class TestLayer:
    """A layer of fixed buffers does what transformers' own does."""

    @pytest.mark.parametrize(
        "change",
        [
            lambda layer: None,
            lambda layer: layer.crop(-2),
            lambda layer: layer.batch_select_indices(torch.tensor([4, 0, 3])),
            lambda layer: layer.reorder_cache(torch.tensor([4, 3, 2, 1, 0])),
            lambda layer: layer.batch_repeat_interleave(2),
            lambda layer: layer.reset(),
        ],
        ids=["none", "crop", "choice", "order", "repeat", "reset"],
    )
    @pytest.mark.parametrize("columns", [0, 90])
    def test_equals_concatenation(self, change: Callable[[DynamicLayer], None], columns: int) -> None:
        fixed = FixedLayer(Pool(), 0, columns)
        plain = DynamicLayer()  # type: ignore[no-untyped-call]
        draw = torch.Generator().manual_seed(0)
        for size in (60, 1, 3, 1, 70):
            rows = 5 if fixed.keys is None else fixed.keys.shape[0]
            keys, values = torch.randn(2, rows, 2, size, 4, generator=draw)
            found, expected = fixed.update(keys, values), plain.update(keys, values)
            assert torch.equal(found[0], expected[0]) and torch.equal(found[1], expected[1])
            assert fixed.get_seq_length() == plain.get_seq_length()
            if size == 3:
                change(fixed)
                change(plain)


class TestCompiler:
    """What torch.compile is given: one whole graph for each shape, which a CUDA graph could hold."""

    def test_one_graph(self, model: PreTrainedModel) -> None:
        graphs, batch = Graphs(), collate(layouts(), SPECIAL.pad)
        passes = OneColumn(model, 10, graphs)
        for rows in (batch, batch.select(range(7, -1, -1))):
            assert texts(model, rows, passes, eos=NEVER) == texts(model, rows, None, eos=NEVER)
        assert len(graphs) == 1
        for node in graphs[0].graph.find_nodes(op="placeholder"):
            # A recorded graph writes to fixed addresses; torch does not record one that writes elsewhere.
            static = node.meta["tensor_dict"].get("_dynamo_static_input_type")
            assert static or isinstance(node.meta["example_value"], torch.nn.Parameter), node

    def test_one_graph_for_each_shape(self) -> None:
        model = tiny_model("gpt2")
        graphs = Graphs()
        passes, batch = OneColumn(model, 10, graphs), collate(layouts([*MIXED, (0, 3)]), SPECIAL.pad)
        expected = texts(model, batch, None, eos=NEVER)
        with torch._dynamo.config.patch(recompile_limit=1):  # a second shape would be refused
            assert texts(model, batch, passes, eos=NEVER) == expected
            with torch.inference_mode():  # another batch of the same shape
                assert texts(model, batch.select(range(8, -1, -1)), passes, eos=NEVER) == expected[::-1]
            assert len(graphs) == 1
            small = batch.select([3, 1])
            assert texts(model, small, passes, eos=NEVER) == [expected[3], expected[1]]
        assert len(graphs) == len(passes.shapes) == 2

    def test_nothing_is_read_back_or_put_elsewhere(self, model: PreTrainedModel) -> None:
        # Values on the meta device do not exist, so a pass that looks at one fails.
        somewhere = tiny_model(model.config.model_type).to("meta")  # type: ignore[arg-type]
        passes, config = uncompiled(somewhere), somewhere.config
        width = getattr(config, "head_dim", config.hidden_size // config.num_attention_heads)
        count = getattr(config, "num_key_value_heads", config.num_attention_heads)
        devices: set[str] = set()

        class Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
            def __torch_dispatch__(self, op: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
                result = op(*args, **(kwargs or {}))
                devices.update(item.device.type for item in (result,) if isinstance(item, Tensor))
                return result

        with torch.device("meta"), torch.no_grad():
            buffers = [(torch.zeros(4, count, 64, width), torch.zeros(4, count, 64, width)) for _ in range(2)]
            inputs = torch.zeros(3, 1, config.hidden_size)
            mask, positions = torch.ones(3, 9, dtype=torch.bool), torch.zeros(3, 1, dtype=torch.long)
        with Watch():  # type: ignore[no-untyped-call]
            assert passes(inputs, mask, positions, buffers).shape == inputs.shape
        assert devices == {"meta"}

    def test_functional_graphs(self) -> None:
        model, batch = tiny_model("qwen3"), collate(layouts(), SPECIAL.pad)
        assert texts(model, batch, OneColumn(model, 10, "aot_eager"), eos=NEVER) == texts(model, batch, None, eos=NEVER)

    @pytest.mark.slow  # a minute: real code for each shape
    @pytest.mark.timeout(900)
    @pytest.mark.skipif(shutil.which("g++") is None, reason="the default backend needs a C++ compiler")
    def test_default_backend(self, model: PreTrainedModel) -> None:
        passes = OneColumn(model, 10)
        for sampling in (None, SAMPLING):
            for rows in (layouts(), prompts()[2:4]):
                batch = collate(rows, SPECIAL.pad)
                expected = texts(model, batch, None, eos=NEVER, sampling=sampling)
                assert texts(model, batch, passes, eos=NEVER, sampling=sampling) == expected
        assert len(passes.shapes) == 2

    def test_a_backend_that_fails(self) -> None:
        def broken(graph: GraphModule, inputs: Sequence[Tensor]) -> Callable[..., Any]:
            raise RuntimeError("no compiler is installed")

        model = tiny_model()
        with pytest.raises(UserError, match="cannot be compiled") as caught:
            texts(model, collate(layouts(), SPECIAL.pad), OneColumn(model, 10, broken))
        assert "no compiler is installed" in str(caught.value) and "compiled_decoding" in str(caught.value)


class TestRefusals:
    """What cannot be right is an error."""

    @pytest.mark.parametrize(
        ("change", "why"),
        [
            ({"use_sliding_window": True, "sliding_window": 4, "max_window_layers": 1}, "all columns"),
            ({"attn_implementation": "eager"}, "'eager'"),
            ({"rope_parameters": {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}}, "length of a row"),
        ],
        ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
    )
    def test_models(self, change: dict[str, Any], why: str) -> None:
        attention = change.pop("attn_implementation", "sdpa")
        model = tiny_model("qwen2", **change)
        model.set_attn_implementation(attention)
        with pytest.raises(UserError, match=why):
            OneColumn(model, 10)

    def test_another_model(self) -> None:
        passes, batch = uncompiled(tiny_model(seed=1)), collate(layouts(), SPECIAL.pad)
        with pytest.raises(UserError, match="another model"):
            texts(tiny_model(), batch, passes)

    @pytest.mark.parametrize("free", [False, True])
    def test_gradients(self, free: bool) -> None:
        model = tiny_model()
        batch = collate(prompts(), SPECIAL.pad)
        with pytest.raises(UserError, match="gradients"):
            if free:
                start = heads(batch, SPECIAL.pad)
                think_until(
                    model, start, lambda states, n: states[:, 0] > 0, 2, SPECIAL.eot, compiled=uncompiled(model)
                )
            else:
                think(model, batch, compiled=uncompiled(model))

    @pytest.mark.parametrize("thought", [0, 2])
    def test_a_batch_whose_buffers_hold_another(self, thought: int) -> None:
        model = tiny_model()
        passes, batch = uncompiled(model), collate(prompts([(0, thought)]), SPECIAL.pad)
        with torch.no_grad():
            first: Thinking = think(model, batch, keep_cache=True, compiled=passes)
            second = think(model, batch, keep_cache=True, compiled=passes)
        with pytest.raises(UserError, match="are gone"):
            decode(model, first, max_new_tokens=3, eos=NEVER)
        assert decode(model, second, max_new_tokens=3, eos=NEVER) == texts(model, batch, None, 3, NEVER)

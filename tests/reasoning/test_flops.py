"""A model's shape against what torch counts while it runs."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from lcot.modules.lora import LoRA, add_lora
from lcot.reasoning.feeds import Expectation, Feed, Identity, Projection
from lcot.reasoning.flops import Shape, linear
from lcot.reasoning.heads import LatentHead, SpanHead
from tests.models import ARCHITECTURES, VOCABULARY, tiny_model


def eager(model: PreTrainedModel) -> PreTrainedModel:
    """With attention in the open, whose products torch counts."""
    model.set_attn_implementation("eager")
    model.train(False)
    return model


def counted(model: PreTrainedModel, columns: int, head: bool = False) -> int:
    """What torch counts for a row of so many columns, each of which is computed with all others."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        run = model if head else model.base_model
        run(input_ids=torch.ones(1, columns, dtype=torch.long), use_cache=False)
    return int(counter.get_total_flops())


def beyond(shape: Shape, columns: int) -> int:
    """Attention to the columns that a causal mask hides, which are computed all the same."""
    return shape.pair * columns * (columns - 1) // 2


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_row(architecture: str) -> None:
    model = eager(tiny_model(architecture))
    shape = Shape.of(model)
    assert shape is not None
    for columns in (1, 2, 13):
        assert counted(model, columns) == shape.read(columns) + beyond(shape, columns)
    assert counted(model, 5, head=True) == shape.read(5) + beyond(shape, 5) + 5 * shape.head
    assert shape.head == 2 * 32 * VOCABULARY


def test_by_hand() -> None:
    """GPT-2 of width 32: four matrices of a block are 12 · 32² weights, and attention 4 · 32 a pair, in two blocks."""
    shape = Shape.of(tiny_model("gpt2"))
    assert shape == Shape(column=2 * 2 * 12 * 32**2, pair=2 * 4 * 32, head=2 * 32 * 64)
    assert shape.read(3) == 3 * shape.column + 6 * shape.pair
    assert shape.read(2, before=3) == shape.read(5) - shape.read(3)
    assert shape.write(3, before=5) == 3 * shape.head + shape.read(2, before=5)
    assert shape.write(0, before=5) == 0


@pytest.mark.parametrize("architecture", ["gpt2", "llama"])
def test_lora_and_rows_of_its_own(architecture: str) -> None:
    pytest.importorskip("peft")
    model = tiny_model(architecture)
    plain = Shape.of(model)
    targets = ("c_attn",) if architecture == "gpt2" else ("q_proj", "v_proj")
    add_lora(model, LoRA(rank=2, alpha=4, targets=targets, dropout=0.0), tokens=[3, 5])
    shape = Shape.of(eager(model))
    assert plain is not None and shape is not None
    assert shape.column > plain.column and shape.pair == plain.pair and shape.head == plain.head + 2 * 2 * 32
    assert counted(model, 7, head=True) == shape.read(7) + beyond(shape, 7) + 7 * shape.head


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("mixtral", {"num_local_experts": 4, "num_key_value_heads": 2}),
        ("qwen3_next", {"num_key_value_heads": 2, "head_dim": 8}),
        ("mamba", {}),
        ("deepseek_v3", {"num_key_value_heads": 4, "n_routed_experts": 4}),
    ],
)
def test_models_of_other_kinds_are_not_known(kind: str, changes: dict[str, Any]) -> None:
    small = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = AutoConfig.for_model(kind, **{**small, "vocab_size": 64, **changes})
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)  # type: ignore[no-untyped-call]
    assert Shape.of(model) is None


@pytest.mark.parametrize("feed", [Identity(), Projection(width=48), Expectation(), LatentHead(), SpanHead(3)])
def test_a_thought(feed: Feed) -> None:
    model = tiny_model("llama")
    feed.build(model)
    state = torch.zeros(1, 1, 32)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        feed(state, state, model)
    assert counter.get_total_flops() == feed.flops(model)
    with torch.no_grad(), FlopCounterMode(display=False) as spoken:
        feed.spoken(state)
    assert spoken.get_total_flops() == feed.spoken_flops()
    if isinstance(feed, LatentHead | SpanHead):
        with torch.no_grad(), FlopCounterMode(display=False) as stops:
            feed.stops(state[:, 0], model, 3)
        assert stops.get_total_flops() == feed.stop_flops(model)


def test_tables_are_looked_up() -> None:
    module = nn.ModuleList([nn.Embedding(9, 4), nn.Linear(4, 5), nn.LayerNorm(5)])
    assert linear(module) == 2 * 4 * 5

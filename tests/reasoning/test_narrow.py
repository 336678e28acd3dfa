"""A last layer that computes what is read of it: values, keys and gradients are those of the whole layer."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from peft import LoraConfig, inject_adapter_in_model
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from lcot.reasoning import narrow, think
from lcot.reasoning.cache import growing_cache
from lcot.reasoning.narrow import can_be_narrowed, narrowed
from lcot.reasoning.think import Passes

TYPES = ("gpt2", "llama", "qwen2", "qwen3")
B, L, D = 3, 9, 32


def model_of(kind: str, attention: str = "sdpa") -> PreTrainedModel:
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"hidden_size": D, "num_attention_heads": 4, "num_hidden_layers": 2, "vocab_size": 20}
    if kind != "gpt2":
        sizes |= {"intermediate_size": 48, "num_key_value_heads": 2, "head_dim": 8}
    config = AutoConfig.for_model(kind, max_position_embeddings=32, **sizes)
    model: PreTrainedModel = AutoModelForCausalLM.from_config(config, attn_implementation=attention)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))
    model.train(False)
    return model


def passed(
    model: PreTrainedModel, inputs: Tensor, keep: int, cached: bool, padded: bool
) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """The kept states, keys and values of all layers, and gradients of all that there are gradients of."""
    mask = torch.ones(B, L, dtype=torch.bool)
    if padded:
        mask[1, :3] = False
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    cache = growing_cache(model.config, L) if cached else None
    given = inputs.clone().requires_grad_()
    states = Passes(model, mask, positions, cache)(given, 0, L, keep)
    layers: list[Any] = list(cache.layers) if cache is not None else []
    held: list[Tensor] = [part for layer in layers for part in (layer.keys, layer.values)]
    loss = (states * torch.linspace(-1, 1, D)).sum() + sum((part**2 * mask[:, None, :, None]).sum() for part in held)
    model.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    assert given.grad is not None
    gradients = [given.grad * mask[..., None], *(one.grad for one in model.parameters() if one.grad is not None)]
    return states.detach(), [part.detach() * mask[:, None, :, None] for part in held], gradients


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("keep", [1, 4])
@pytest.mark.parametrize("cached", [True, False])
@pytest.mark.parametrize("padded", [True, False])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_nothing_changes(
    kind: str, keep: int, cached: bool, padded: bool, attention: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, inputs = model_of(kind, attention), torch.randn(B, L, D, generator=torch.Generator().manual_seed(1))
    assert can_be_narrowed(model)
    few = passed(model, inputs, keep, cached, padded)
    monkeypatch.setattr(think, "can_be_narrowed", lambda _: False)
    whole = passed(model, inputs, keep, cached, padded)
    assert few[0].shape == (B, keep, D)
    for mine, full in zip((few[0], *few[1], *few[2]), (whole[0], *whole[1], *whole[2]), strict=True):
        assert torch.allclose(mine, full, rtol=1e-4, atol=1e-4 * float(full.abs().max()))


@pytest.mark.parametrize("kind", TYPES)
def test_nothing_else_is_computed(kind: str) -> None:
    model, seen = model_of(kind), []
    layer, _ = narrow._last(model)

    def counted(states: Tensor) -> Tensor:
        seen.append(states.shape[1])
        result: Tensor = type(layer.mlp).forward(layer.mlp, states)
        return result

    layer.mlp.forward = counted
    inputs = torch.randn(B, L, D)
    mask = torch.ones(B, L, dtype=torch.bool)
    for keep in (1, 4, L, None):
        Passes(model, mask, mask.cumsum(1) - 1, None)(inputs, 0, L, keep)
    assert seen == [1, 4, L, L]
    assert "forward" not in vars(layer)


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_beside_lora(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of(kind)
    target = ["c_attn"] if kind == "gpt2" else ["q_proj", "k_proj", "v_proj"]
    inject_adapter_in_model(LoraConfig(r=2, target_modules=target, init_lora_weights=False), model)
    inputs = torch.randn(B, L, D)
    few = passed(model, inputs, 1, True, True)
    monkeypatch.setattr(think, "can_be_narrowed", lambda _: False)
    whole = passed(model, inputs, 1, True, True)
    assert len(few[2]) == len(whole[2]) > 4
    for mine, full in zip((few[0], *few[1], *few[2]), (whole[0], *whole[1], *whole[2]), strict=True):
        assert torch.allclose(mine, full, rtol=1e-4, atol=1e-4 * float(full.abs().max()))


def test_who_looks_at_a_layer_sees_all_of_it() -> None:
    model = model_of("llama")
    layer, norm = narrow._last(model)
    for module in (layer, layer.self_attn, norm):
        handle = module.register_forward_hook(lambda *_: None)
        assert not can_be_narrowed(model)
        handle.remove()
    assert can_be_narrowed(model)


def test_an_error_leaves_the_model_as_it_was() -> None:
    model = model_of("qwen3")
    layer, norm = narrow._last(model)
    with pytest.raises(RuntimeError, match="broken"), narrowed(model, 1):
        raise RuntimeError("broken")
    assert "forward" not in vars(layer) and "forward" not in vars(norm)


def test_other_types_are_read_whole() -> None:
    torch.manual_seed(0)
    config = AutoConfig.for_model("mistral", hidden_size=D, intermediate_size=48, num_attention_heads=4,
        num_key_value_heads=2, num_hidden_layers=2, vocab_size=20, sliding_window=None)  # fmt: skip
    model: PreTrainedModel = AutoModelForCausalLM.from_config(config)  # type: ignore[no-untyped-call]
    mask, inputs = torch.ones(B, L, dtype=torch.bool), torch.randn(B, L, D)
    assert not can_be_narrowed(model)
    states = Passes(model, mask, mask.cumsum(1) - 1, None)(inputs, 0, L, 2)
    assert torch.equal(states, Passes(model, mask, mask.cumsum(1) - 1, None)(inputs, 0, L)[:, -2:])

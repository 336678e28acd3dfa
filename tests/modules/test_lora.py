"""LoRA in a model: what is trained, its gradients, the passes over it, and merging it away."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, PreTrainedModel
from transformers.pytorch_utils import Conv1D

from lcot.errors import UserError
from lcot.modules.frozen import weights_hash
from lcot.modules.lora import LoRA, add_lora, merge, merged
from lcot.modules.probe import check_model
from lcot.reasoning.batch import collate
from lcot.reasoning.compiled import OneColumn
from lcot.reasoning.decode import decode
from lcot.reasoning.think import output_head, supervised_loss, think
from tests.models import ARCHITECTURES, SPECIAL, random_examples, tiny_model
from tests.oracle import cut, naive_generate, naive_loss
from tests.reasoning.support import assert_same_gradients, builder, layouts, loss_and_gradients

TARGETS = {"gpt2": ("c_attn", "c_fc"), "qwen3": ("q_proj", "o_proj")}
TOKENS = [SPECIAL.bot, SPECIAL.eot, SPECIAL.latent, SPECIAL.pause]


def settings(architecture: str, **changes: Any) -> LoRA:
    """Rank 4, without dropout."""
    targets = TARGETS.get(architecture, ("q_proj", "v_proj"))
    return LoRA(**{"rank": 4, "alpha": 6, "targets": targets, "dropout": 0.0, **changes})


def with_lora(architecture: str, learned: bool = True, dtype: torch.dtype = torch.float32) -> PreTrainedModel:
    """A tiny model with LoRA and trained rows; ``learned`` fills what begins as zero."""
    model = tiny_model(architecture)
    nn.Module.to(model, dtype)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(7)
        add_lora(model, settings(architecture), TOKENS)
        for name, parameter in model.named_parameters():
            if learned and ".lora_B." in name:
                parameter.add_(torch.randn_like(parameter), alpha=0.2)
            if learned and name.endswith(".rows"):
                parameter.add_(torch.randn_like(parameter), alpha=0.1)
    return model


def adapters(model: PreTrainedModel) -> Iterator[tuple[str, Any]]:
    """The layers with thin matrices, by name."""
    return ((name, layer) for name, layer in model.named_modules() if hasattr(layer, "lora_A"))


def mean_loss(model: PreTrainedModel, checkpointing: bool = False) -> Tensor:
    batch = collate(layouts(), SPECIAL.pad)
    summed, count = supervised_loss(model, batch, think(model, batch, checkpointing=checkpointing))
    return summed / count


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_thin_matrices_and_rows_are_trained_in_float32_and_nothing_else(architecture: str, dtype: torch.dtype) -> None:
    model = with_lora(architecture, learned=False, dtype=dtype)
    trained = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    rows = [name for name in trained if name.endswith(".rows")]
    assert len(rows) == (1 if model.config.tie_word_embeddings else 2)
    matrices = [name for name in trained if ".lora_A." in name or ".lora_B." in name]
    assert len(matrices) == 2 * 2 * len(settings(architecture).targets)  # two blocks, two matrices each
    assert sorted([*rows, *matrices]) == sorted(trained)
    assert {parameter.dtype for parameter in trained.values()} == {torch.float32}
    assert {parameter.dtype for name, parameter in model.named_parameters() if name not in trained} == {dtype}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_before_training_it_is_the_model_that_it_was(architecture: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = torch.arange(6, 64)[None]
    plain = tiny_model(architecture)
    expected = plain(ids).logits
    model = with_lora(architecture, learned=False)
    torch.testing.assert_close(model(ids).logits, expected, rtol=1e-5, atol=1e-5)
    assert type(model) is type(plain) and type(model.base_model) is type(plain.base_model)
    monkeypatch.setattr("lcot.modules.probe.PROVEN", ())
    check_model(model)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_passes_equal_the_definition(architecture: str) -> None:
    model, rows = with_lora(architecture), layouts()
    loss, gradients = loss_and_gradients(model, mean_loss(model))
    expected_loss, expected = loss_and_gradients(model, naive_loss(model, [cut(row) for row in rows]))
    assert loss == pytest.approx(expected_loss, abs=1e-5)
    assert gradients.keys() == {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert_same_gradients(gradients, expected)


@pytest.mark.parametrize("architecture", ["gpt2", "llama"])
def test_gradients_are_those_of_the_whole_weights_seen_through_the_thin_ones(architecture: str) -> None:
    # W + s B A: the gradients of A and B are s Bᵀ G and s G Aᵀ, where G is that of W in a plain model.
    model, plain = with_lora(architecture), with_lora(architecture)
    merge(plain)
    loss, gradients = loss_and_gradients(model, mean_loss(model))
    expected, whole = loss_and_gradients(plain, mean_loss(plain))
    assert loss == pytest.approx(expected, abs=1e-5)
    seen: dict[str, Tensor] = {}
    scale = 6 / 4
    for name, layer in adapters(model):
        gradient = whole[f"{name}.weight"]
        gradient = gradient.T if isinstance(layer.get_base_layer(), Conv1D) else gradient
        first, second = layer.lora_A["default"].weight, layer.lora_B["default"].weight
        seen[f"{name}.lora_A.default.weight"] = scale * second.T @ gradient
        seen[f"{name}.lora_B.default.weight"] = scale * gradient @ first.T
    for name in gradients:
        if name.endswith(".rows"):
            seen[name] = whole[name.replace(".rows", ".weight")][TOKENS]
    assert_same_gradients(gradients, seen)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_layers_may_be_computed_again(architecture: str) -> None:
    model = with_lora(architecture)
    for layer in (module for _, module in adapters(model)):
        layer.lora_dropout["default"] = nn.Dropout(0.2)
    found = []
    for checkpointing in (False, True):
        torch.manual_seed(0)
        found.append(loss_and_gradients(model, mean_loss(model, checkpointing)))
    (loss, gradients), (again, others) = found
    assert again == loss and others.keys() == gradients.keys()
    assert all((others[name] - own).norm() <= 1e-5 * own.norm() for name, own in gradients.items())


def test_bfloat16_weights_beside_float32_ones_train() -> None:
    model = with_lora("llama", dtype=torch.bfloat16)
    exact, _ = loss_and_gradients(with_lora("llama"), mean_loss(with_lora("llama")))
    batch = collate(layouts(), SPECIAL.pad)
    thinking = think(model, batch, keep_cache=True)
    assert thinking.states.dtype == torch.bfloat16 and thinking.cache is not None
    assert {layer.keys.dtype for layer in thinking.cache.layers} == {torch.bfloat16}  # type: ignore[union-attr]
    loss, gradients = loss_and_gradients(model, mean_loss(model))
    assert loss == pytest.approx(exact, rel=0.1)
    assert all(gradient.dtype == torch.float32 and gradient.norm() > 1e-3 for gradient in gradients.values())
    before = weights_hash(model)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.mul_(1 + 1e-4)  # below what bfloat16 can tell apart
    assert weights_hash(model) != before


def test_decoding_equals_the_definition(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda function, **options: function)  # what is compiled, uncompiled
    model = with_lora("llama")
    model.train(False)
    prompts = [builder().prompt(example, 2) for example in random_examples(3)]
    batch = collate(prompts, SPECIAL.pad)
    expected = [naive_generate(model, cut(prompt), 6, SPECIAL.eos) for prompt in prompts]
    for compiled in (None, OneColumn(model, room=6)):
        with torch.no_grad():
            thinking = think(model, batch, keep_cache=True, compiled=compiled)
            assert decode(model, thinking, max_new_tokens=6, eos=SPECIAL.eos) == expected


def test_dropout_is_on_in_training_only() -> None:
    model = tiny_model()
    add_lora(model, settings("llama", dropout=0.5), TOKENS)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".lora_B." in name:
                parameter.fill_(0.1)
        ids = torch.arange(6, 40)[None]
        torch.manual_seed(0)
        assert not torch.equal(model(ids).logits, model(ids).logits)
        model.train(False)
        assert torch.equal(model(ids).logits, model(ids).logits)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_merged_it_is_a_plain_model_for_a_while(architecture: str, tmp_path: Path) -> None:
    model = with_lora(architecture)
    model.train(False)
    ids = torch.arange(0, 64)[None]
    expected, before = model(ids).logits, weights_hash(model)
    modules = dict(model.named_modules())
    with merged(model):
        torch.testing.assert_close(model(ids).logits, expected, rtol=1e-4, atol=1e-4)
        assert model.state_dict().keys() == tiny_model(architecture).state_dict().keys()
        model.save_pretrained(tmp_path)
    assert weights_hash(model) == before and dict(model.named_modules()) == modules
    assert torch.equal(model(ids).logits, expected)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path)
    torch.testing.assert_close(loaded(ids).logits, expected, rtol=1e-4, atol=1e-4)
    embedding = loaded.get_input_embeddings()
    assert (output_head(loaded).weight is embedding.weight) == model.config.tie_word_embeddings


def test_merged_for_good_all_is_trained() -> None:
    model = with_lora("gpt2")
    expected = mean_loss(model)
    merge(model)
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert not list(adapters(model)) and not hasattr(model, "peft_config")
    torch.testing.assert_close(mean_loss(model), expected)


def test_a_model_without_it_stays_as_it_is() -> None:
    model = tiny_model()
    before = weights_hash(model)
    with merged(model):
        assert weights_hash(model) == before


def test_a_merged_weight_is_rounded_once() -> None:
    model = with_lora("llama", dtype=torch.bfloat16)
    name, layer = next(adapters(model))
    product = layer.lora_B["default"].weight @ layer.lora_A["default"].weight * (6 / 4)
    expected = (layer.get_base_layer().weight.float() + product).bfloat16()
    merge(model)
    assert torch.equal(model.get_parameter(f"{name}.weight"), expected)


@pytest.mark.parametrize(
    ("architecture", "targets", "known"),
    [
        ("gpt2", ("c_attn", "q_proj"), "c_attn, c_fc, c_proj"),
        ("llama", ("q_proj", "lm_head"), "down_proj, gate_proj, k_proj, o_proj, q_proj, up_proj, v_proj"),
        ("llama", ("proj",), "down_proj"),
        ("llama", ("embed_tokens",), "down_proj"),
    ],
)
def test_targets_that_are_not_there(architecture: str, targets: tuple[str, ...], known: str) -> None:
    model = tiny_model(architecture)
    before = weights_hash(model)
    with pytest.raises(UserError, match=f"no linear layer of the model is named {targets[-1]}") as caught:
        add_lora(model, settings(architecture, targets=targets), TOKENS)
    assert known in str(caught.value) and f"a {architecture} model" in str(caught.value)
    assert weights_hash(model) == before and all(parameter.requires_grad for parameter in model.parameters())


def test_targets_may_be_longer_names() -> None:
    model = tiny_model()
    add_lora(model, settings("llama", targets=("layers.1.self_attn.q_proj",)))
    assert [name for name, _ in adapters(model)] == ["model.layers.1.self_attn.q_proj"]
    assert isinstance(model.get_input_embeddings(), nn.Embedding)  # no rows were asked for


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"rank": 0}, "rank 0"),
        ({"alpha": 0}, "alpha 0"),
        ({"dropout": 1.0}, r"dropout 1\.0"),
        ({"targets": ()}, r"targets is \(\)"),
        ({"targets": "q_proj"}, "targets is 'q_proj'"),
    ],
)
def test_numbers_out_of_range(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=says) as caught:
        LoRA(**changes)
    assert "model.backbone.lora" in str(caught.value)


def test_defaults_are_published_ones_and_lists_are_as_good_as_tuples() -> None:
    assert LoRA().described() == {"rank": 16, "alpha": 32, "targets": ["q_proj", "v_proj"], "dropout": 0.1}
    assert LoRA(**LoRA().described()) == LoRA()


def test_without_peft(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(UserError, match="needs the package peft") as caught:
        add_lora(tiny_model(), settings("llama"))
    assert "pip install 'lcot[lora]'" in str(caught.value)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_all_linear_layers_get_matrices_whatever_they_are_called(architecture: str) -> None:
    model, named = tiny_model(architecture), tiny_model(architecture)
    names = {
        name.rpartition(".")[2]
        for name, layer in named.named_modules()
        if isinstance(layer, nn.Linear | Conv1D) and layer is not output_head(named)
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        add_lora(model, settings(architecture, targets=("all-linear",)))
        torch.manual_seed(0)
        add_lora(named, settings(architecture, targets=tuple(sorted(names))))
    assert dict(adapters(model)).keys() == dict(adapters(named)).keys() and len(names) >= 3
    assert weights_hash(model) == weights_hash(named)

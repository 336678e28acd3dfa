"""Backbones: from scratch, from a folder, and the questions asked about both."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, PreTrainedTokenizerBase

from lcot.datamodules.tokenizers import build_word_tokenizer
from lcot.errors import CheckpointError, UserError
from lcot.modules.backbone import Backbone, rebuild
from lcot.modules.limits import context_length
from lcot.modules.lora import LoRA
from lcot.reasoning.tokens import SpecialTokens, add_thought_tokens

TINY: dict[str, Any] = {
    "model_type": "llama",
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "max_position_embeddings": 64,
}


@pytest.fixture
def words() -> tuple[PreTrainedTokenizerBase, SpecialTokens]:
    tokenizer = build_word_tokenizer(["one two three."])
    return tokenizer, add_thought_tokens(tokenizer)


def test_a_revision_of_the_hub_is_noted_by_its_commit(
    words: tuple[PreTrainedTokenizerBase, SpecialTokens], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Backbone(config=TINY).build(*words, seed=1).save_pretrained(tmp_path)
    inner, asked = AutoModelForCausalLM.from_pretrained, []

    def from_pretrained(name: str, revision: str, **options: Any) -> Any:
        asked.append((name, revision))
        made: Any = inner(tmp_path, **options)
        made[0].config._commit_hash = "c0ffee"
        return made

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", from_pretrained)
    for revision in (None, "v2"):
        backbone = Backbone(path="some/model", revision=revision)
        weights = backbone.frozen_weights(backbone.build(*words, seed=1))
        assert (weights.path, weights.revision, weights.dtype) == ("some/model", "c0ffee", "float32")
    assert asked == [("some/model", "main"), ("some/model", "v2")]


def test_a_model_from_scratch_fits_the_tokenizer(words: tuple[PreTrainedTokenizerBase, SpecialTokens]) -> None:
    tokenizer, special = words
    model = Backbone(config=TINY).build(tokenizer, special, seed=1)
    assert model.config.vocab_size == len(tokenizer)
    assert (model.config.eos_token_id, model.config.pad_token_id) == (special.eos, special.pad)
    assert model.training and context_length(model) == 64


def test_weights_are_keyed_by_the_seed_and_leave_the_generator_alone(
    words: tuple[PreTrainedTokenizerBase, SpecialTokens],
) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one, same, other = (Backbone(config=TINY).build(*words, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    name, weight = next(iter(one.named_parameters()))
    assert torch.equal(weight, dict(same.named_parameters())[name])
    assert not torch.equal(weight, dict(other.named_parameters())[name])


def test_a_saved_model_comes_back_with_new_rows(
    words: tuple[PreTrainedTokenizerBase, SpecialTokens], tmp_path: Path
) -> None:
    plain = build_word_tokenizer(["one two three."])
    old = Backbone(config=TINY).build(plain, SpecialTokens(0, 0, 0, 0, 0, 1), seed=1)
    old.save_pretrained(tmp_path)
    tokenizer, special = words
    assert len(tokenizer) == len(plain) + 4
    model = Backbone(path=str(tmp_path), new_tokens="copy:one").build(tokenizer, special, seed=1)
    embedding = model.get_input_embeddings().weight
    assert isinstance(embedding, torch.Tensor)
    copied = embedding[tokenizer.encode("one")[0]]
    assert all(torch.equal(embedding[row], copied) for row in special.added)
    assert model.training, "pretrained models arrive in evaluation mode"


def test_the_home_folder_may_be_a_tilde(
    words: tuple[PreTrainedTokenizerBase, SpecialTokens], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    saved = Backbone(config=TINY).build(*words, seed=1)
    saved.save_pretrained(tmp_path / "models")
    words[0].save_pretrained(tmp_path / "models")
    backbone = Backbone(path="~/models")
    backbone.check_tokenizer("words", words[0])
    model = backbone.build(*words, seed=0)
    kept, found = saved.state_dict(), model.state_dict()
    layers = [name for name in kept if ".layers." in name]  # rows of added tokens are drawn anew
    assert layers and all(torch.equal(found[name], kept[name]) for name in layers)
    assert backbone.frozen_weights(model).path == str(tmp_path / "models")


def test_a_checkpoint_s_description_makes_the_same_model(
    words: tuple[PreTrainedTokenizerBase, SpecialTokens],
) -> None:
    model = Backbone(config=TINY).build(*words, seed=1)
    again = rebuild(model.config.to_json_string(use_diff=False), "float32", "sdpa")
    again.load_state_dict(model.state_dict())
    ids = torch.tensor([[5, 6, 7]])
    assert torch.equal(model(ids).logits, again(ids).logits)


@pytest.mark.parametrize(
    ("backbone", "words_of_it"),
    [
        ({}, "neither of model.backbone.path and model.backbone.config"),
        ({"path": "x", "config": TINY}, "both of model.backbone.path and model.backbone.config"),
        ({"config": {**TINY, "model_type": "lama"}}, "did you mean 'llama'"),
        ({"config": {**TINY, "hiden_size": 8}}, "did you mean 'hidden_size'"),
        ({"config": {**TINY, "vocab_size": 8}}, "the tokenizer decides it"),
        ({"config": {**TINY, "hidden_act": "silo"}}, "unknown activation 'silo'"),
        ({"path": "/nowhere/at/all"}, "could not be loaded"),
        ({"config": TINY, "revision": "main"}, "only models on the Hub have revisions"),
        ({"path": ".", "revision": "main"}, "only models on the Hub have revisions"),
        ({"config": TINY, "lora": LoRA()}, "those of a model from scratch are random"),
    ],
)
def test_what_cannot_be_built_says_why(
    backbone: dict[str, Any], words_of_it: str, words: tuple[PreTrainedTokenizerBase, SpecialTokens]
) -> None:
    with pytest.raises(UserError) as caught:
        Backbone(**backbone).build(*words, seed=0)
    assert words_of_it in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "changes", "told"),
    [
        ("granite", {"logits_scaling": 8.0}, "logits_scaling 8.0"),
        ("cohere", {"logit_scale": 0.0625}, "logit_scale 0.0625"),
        ("cohere", {"logit_scale": 1.0 + 1e-5}, "logit_scale"),  # too close to 1 for three states to show it
        ("gemma2", {"head_dim": 8, "num_key_value_heads": 2}, "final_logit_softcapping 30.0"),
    ],
)
def test_models_that_change_their_logits_are_refused(
    kind: str, changes: dict[str, Any], told: str, words: tuple[PreTrainedTokenizerBase, SpecialTokens]
) -> None:
    with pytest.raises(UserError, match="change their logits behind the output head") as caught:
        Backbone(config={**TINY, "model_type": kind, **changes}, attention="eager").build(*words, seed=0)
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("granite", {"logits_scaling": 1.0, "residual_multiplier": 1.0, "attention_multiplier": 0.35}),
        ("cohere", {"logit_scale": 1.0}),
        ("gemma2", {"head_dim": 8, "num_key_value_heads": 2, "final_logit_softcapping": None}),
    ],
)
def test_the_same_models_without_it_are_fine(
    kind: str, changes: dict[str, Any], words: tuple[PreTrainedTokenizerBase, SpecialTokens]
) -> None:
    assert (
        Backbone(config={**TINY, "model_type": kind, **changes}, attention="eager")
        .build(*words, seed=0)
        .config.model_type
        == kind
    )


def test_a_pretrained_model_does_not_get_the_words_of_the_data(
    words: tuple[PreTrainedTokenizerBase, SpecialTokens], tmp_path: Path
) -> None:
    tokenizer, special = words
    backbone = Backbone(path=str(tmp_path))
    Backbone(config=TINY).build(tokenizer, special, seed=1).save_pretrained(tmp_path)
    with pytest.raises(UserError, match="numbered by the data") as caught:
        backbone.check_tokenizer("words", tokenizer)
    assert f"set data.tokenizer to {str(tmp_path)!r}" in str(caught.value)
    backbone.check_tokenizer(str(tmp_path), tokenizer)
    build_word_tokenizer(["one two four."]).save_pretrained(tmp_path)
    with pytest.raises(UserError, match="numbered by the data"):
        backbone.check_tokenizer("words", tokenizer)
    tokenizer.save_pretrained(tmp_path)
    backbone.check_tokenizer("words", tokenizer)


def test_a_window_that_counts_columns_limits_the_context(words: tuple[PreTrainedTokenizerBase, SpecialTokens]) -> None:
    mistral = {**TINY, "model_type": "mistral", "num_key_value_heads": 2, "sliding_window": 24}
    assert context_length(Backbone(config=mistral).build(*words, seed=0)) == TINY["max_position_embeddings"]
    local: dict[str, Any] = {"num_heads": 4, "num_layers": 2, "attention_types": [[["global", "local"], 1]]}
    neo = {"model_type": "gpt_neo", "hidden_size": 32, "window_size": 48, **local}
    assert context_length(Backbone(config=neo, attention="eager").build(*words, seed=0)) == 48


def test_weights_do_not_depend_on_where_they_are_to_be(words: tuple[PreTrainedTokenizerBase, SpecialTokens]) -> None:
    """Lightning makes models within the device of the run, whose generator draws other numbers."""
    plain = Backbone(config=TINY).build(*words, seed=0)
    with torch.device("meta"):
        there = Backbone(config=TINY).build(*words, seed=0)
    for one, other in zip(plain.parameters(), there.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"model_type": "qwen3", "num_key_value_heads": 3}, "must match"),
        ({"model_type": "qwen2", "num_attention_heads": 6}, "must match"),
        ({"model_type": "mistral", "num_key_value_heads": 8}, "must match"),
        ({"model_type": "gemma", "num_attention_heads": 6}, "must match"),
        ({"num_attention_heads": 0}, "zero"),
        ({"num_key_value_heads": 0}, "zero"),
        ({"model_type": "mistral", "hidden_size": 0}, "negative power"),
    ],
    ids=str,
)
def test_sizes_that_do_not_fit_are_refused_when_it_is_made(
    fields: dict[str, Any], why: str, words: tuple[PreTrainedTokenizerBase, SpecialTokens]
) -> None:
    usual = {**TINY, "hidden_size": 32, "num_attention_heads": 4, "num_key_value_heads": 4}
    with pytest.raises(UserError, match=r"sizes do not fit each other|model can be made") as caught:
        Backbone(config={**usual, **fields}).build(*words, seed=1)
    assert caught.value.where == "model.backbone.config" and why in str(caught.value.why)


def test_a_model_that_takes_two_tokens_is_no_such_fault(words: tuple[PreTrainedTokenizerBase, SpecialTokens]) -> None:
    model = Backbone(config={"model_type": "gpt2", "n_embd": 8, "n_head": 2, "n_layer": 1, "n_positions": 2})
    assert model.build(*words, seed=1).training


@pytest.mark.parametrize("path", ["./modle", "{}/modle", "a/b/c"])
def test_a_folder_that_is_not_there_is_said_before_its_tokenizer(
    path: str, words: tuple[PreTrainedTokenizerBase, SpecialTokens], tmp_path: Path
) -> None:
    (tmp_path / "model").mkdir()
    with pytest.raises(UserError, match=r"there is no folder .* to load a model") as caught:
        Backbone(path=path.format(tmp_path)).check_tokenizer("words", words[0])
    assert "model" in str(caught.value.why) or "{}" not in path
    with pytest.raises(UserError, match="would read words that were numbered"):
        Backbone(path="some/model").check_tokenizer("words", words[0])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"model_type": []}, r"of a model of type \[\]"),
        ({"hidden_act": "../.."}, "unknown activation"),
        ({"hidden_size": None}, "hidden_size"),
        ({"hidden_size": 10**7}, "no weight is wider than"),
        ({"num_hidden_layers": 10**7}, "the files hold 1 layer\n"),
    ],
)
def test_a_checkpoint_s_description_of_no_model_is_refused_before_one_is_made(
    words: tuple[PreTrainedTokenizerBase, SpecialTokens], change: dict[str, Any], says: str
) -> None:
    model = Backbone(config=TINY).build(*words, seed=1)
    fields = json.loads(model.config.to_json_string(use_diff=False))
    with pytest.raises(CheckpointError) as caught:
        rebuild(json.dumps({**fields, **change}), "float32", "sdpa", model.state_dict())
    assert re.search(says, str(caught.value))

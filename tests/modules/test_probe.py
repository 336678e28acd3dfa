"""Decoders whose states depend on padding or on the passes are found out; all others go through."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from lcot.errors import UserError
from lcot.modules import probe
from lcot.modules.probe import PROVEN, check_model
from lcot.reasoning.batch import collate
from lcot.reasoning.decode import decode
from lcot.reasoning.think import think
from tests.models import SPECIAL, tiny_model
from tests.oracle import cut, naive_generate
from tests.reasoning.support import layouts

USUAL = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 64,
}
RIGHT: dict[str, dict[str, Any]] = {
    "mistral": {**USUAL, "sliding_window": 64},
    "mixtral": {**USUAL, "num_local_experts": 2},
    "qwen3_moe": {**USUAL, "moe_intermediate_size": 32, "num_experts": 4, "num_experts_per_tok": 2},
    "gemma": {**USUAL, "head_dim": 8},
    "gemma3_text": {**USUAL, "head_dim": 8, "sliding_window": 64},
    "gpt_neox": {key: value for key, value in USUAL.items() if key != "num_key_value_heads"},
    "gptj": {"n_embd": 32, "n_layer": 2, "n_head": 4, "rotary_dim": 4},
    "bloom": {"hidden_size": 32, "n_layer": 2, "n_head": 4},
    "opt": {"hidden_size": 32, "num_attention_heads": 4, "ffn_dim": 64, "word_embed_proj_dim": 32},
    "olmo2": USUAL,
    "phi": USUAL,
}
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "mpt": ({"d_model": 32, "n_heads": 4, "n_layers": 2}, "masked columns before it"),
    "rwkv": (
        {"hidden_size": 32, "num_hidden_layers": 2, "attention_hidden_size": 32},
        "others in a batch of 24 columns",
    ),
    "lfm2": ({**USUAL, "layer_types": ["conv", "full_attention"]}, "layers of kind conv"),
    "bamba": (
        {**USUAL, "attn_layer_indices": [1], "mamba_n_heads": 4, "mamba_d_head": 16, "mamba_d_state": 8},
        "layers of kind linear_attention",
    ),
    "mamba": ({"hidden_size": 32, "num_hidden_layers": 2, "state_size": 8}, "layers of kind linear_attention"),
    "bart": (
        {"d_model": 32, "decoder_layers": 2, "encoder_layers": 1, "decoder_attention_heads": 4, "decoder_ffn_dim": 64},
        "IndexError",
    ),
}


def made(
    kind: str, fields: dict[str, Any], spread: float = 0.02, dtype: torch.dtype = torch.float32
) -> PreTrainedModel:
    """A random model of a type, with the smallest weights that anybody starts from: differences are small as well."""
    torch.manual_seed(0)
    usual = {"vocab_size": 64, "max_position_embeddings": 128, "initializer_range": spread, "pad_token_id": 0}
    config = AutoConfig.for_model(kind, **{**usual, "bos_token_id": 1, "eos_token_id": 1, **fields})
    model: PreTrainedModel = AutoModelForCausalLM.from_config(config, dtype=dtype)  # type: ignore[no-untyped-call]
    return model


@pytest.mark.parametrize("kind", sorted(RIGHT))
def test_decoders_that_attend_go_through(kind: str) -> None:
    model = made(kind, RIGHT[kind]).train()
    check_model(model)
    assert model.training


@pytest.mark.parametrize("kind", sorted(PROVEN))
def test_so_would_those_that_are_not_asked(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "PROVEN", ())
    check_model(tiny_model(kind))


@pytest.mark.parametrize("kind", sorted(WRONG))
def test_others_are_refused(kind: str) -> None:
    fields, why = WRONG[kind]
    with pytest.raises(UserError, match=r"models cannot be (run in padded batches|driven by embeddings)") as refusal:
        check_model(made(kind, fields).train())
    assert why in str(refusal.value) and kind in str(refusal.value)


@pytest.mark.parametrize(("kind", "fields"), [("mpt", WRONG["mpt"][0]), ("gemma", RIGHT["gemma"])])
def test_what_is_refused_does_write_other_texts(kind: str, fields: dict[str, Any]) -> None:
    model = made(kind, fields, spread=0.2).train(False)
    rows = layouts()
    thinking = think(model, collate(rows, SPECIAL.pad), keep_cache=True)
    texts = decode(model, thinking, max_new_tokens=6, eos=SPECIAL.eos)
    assert (texts == [naive_generate(model, cut(row), 6, SPECIAL.eos) for row in rows]) == (kind in RIGHT)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_rounding_is_not_taken_for_it(dtype: torch.dtype) -> None:
    for kind in ("mistral", "gemma3_text", "qwen3_moe"):
        check_model(made(kind, RIGHT[kind], spread=0.2, dtype=dtype))


class Shift(nn.Module):
    """Adds a part of the column before: a convolution of width 2."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, hidden: Tensor) -> Tensor:
        """Of ``(B, L, D)``."""
        inner: Tensor = self.inner(hidden)
        return inner + 0.1 * torch.cat([torch.zeros_like(hidden[:, :1]), hidden[:, :-1]], dim=1)


def test_a_layer_that_looks_back_by_columns_is_found_out_in_any_type() -> None:
    model = made("mistral", RIGHT["mistral"])
    backbone: Any = model.base_model
    layer = backbone.layers[0]
    layer.mlp = Shift(layer.mlp)
    with pytest.raises(UserError, match="cannot be run in padded batches"):
        check_model(model)

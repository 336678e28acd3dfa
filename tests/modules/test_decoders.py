"""Every decoder that transformers knows of, made tiny: refused by the probe, or right in any batch.

python -m pytest -m slow -rs tests/modules/test_decoders.py  says which are refused, and why.
"""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig, PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
from transformers.utils import logging

from lcot.errors import UserError
from lcot.modules.limits import context_length, window_length
from lcot.modules.probe import check_model
from lcot.reasoning.batch import collate
from lcot.reasoning.decode import decode
from lcot.reasoning.layout import IGNORE, Layout
from lcot.reasoning.think import output_head, supervised_loss, think
from tests.reasoning.support import loss_and_gradients, row_losses

SIZES = {
    64: "vocab_size intermediate_size n_inner ffn_dim decoder_ffn_dim encoder_ffn_dim ffn_hidden_size"
    " dense_intermediate_size intermediate_size_mlp hidden_dim max_position_embeddings n_positions seq_length"
    " max_seq_len n_ctx",
    32: "hidden_size n_embd d_model embedding_size emb_dim word_embed_proj_dim attention_hidden_size"
    " moe_intermediate_size shared_expert_intermediate_size expert_intermediate_size lru_width",
    # Lengths at which a model begins to compute otherwise.
    24: "sliding_window window_size attention_chunk_size index_topk keep_window_size floor_scale qk_head_dim",
    16: "q_lora_rank kv_lora_rank v_head_dim qk_nope_head_dim o_lora_rank index_head_dim mamba_d_head",
    8: "head_dim global_head_dim swa_head_dim swa_v_head_dim qk_rope_head_dim linear_key_head_dim linear_value_head_dim"
    " state_size mamba_d_state",
    4: "num_attention_heads n_head n_heads num_heads num_hidden_layers n_layer n_layers num_layers decoder_layers"
    " encoder_layers decoder_attention_heads encoder_attention_heads swa_num_attention_heads rotary_dim num_experts"
    " num_local_experts n_routed_experts moe_num_experts mamba_n_heads linear_num_value_heads linear_num_key_heads"
    " index_n_heads",
    2: "num_key_value_heads n_head_kv num_kv_heads swa_num_key_value_heads num_experts_per_tok moe_topk moe_k"
    " moe_top_k",
    1: "n_shared_experts num_shared_experts moe_num_shared_experts n_group topk_group first_k_dense_replace"
    " bos_token_id eos_token_id",
    0: "pad_token_id",
}
DROPOUT = (
    "attn_pdrop embd_pdrop resid_pdrop dropout attention_dropout hidden_dropout activation_dropout"
    " resid_dropout embed_dropout residual_dropout attention_probs_dropout_prob hidden_dropout_prob embedding_dropout"
)
TINY = {name: size for size, names in SIZES.items() for name in names.split()} | dict.fromkeys(DROPOUT.split(), 0.0)
ROPE = {"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0}}
OWN: dict[str, dict[str, Any]] = {
    "hunyuan_v1_dense": {"head_dim": 8, **ROPE},
    "hunyuan_v1_moe": {"head_dim": 8, **ROPE},
    "ministral": {"head_dim": 8, **ROPE},
    "nemotron": {"num_key_value_heads": 2},
}
LARGEST = 3_000_000


def shrunk(config: PretrainedConfig) -> dict[str, Any]:
    """Small values for all fields of a type that are known to be sizes."""
    fields = config.to_dict()
    found: dict[str, Any] = {
        name: TINY[name] for name, own in fields.items() if name in TINY and own is not None and type(own) is not list
    }
    if "qk_nope_head_dim" in found:  # keys and values have as many heads, of another size
        found.pop("head_dim", None)
        found["num_key_value_heads"] = found["num_attention_heads"]
    parts = {name: part for name, part in vars(config).items() if isinstance(part, PretrainedConfig)}
    return {**found, **{name: {"model_type": part.model_type, **shrunk(part)} for name, part in parts.items()}}


def made(kind: str) -> PreTrainedModel:
    """A tiny model of a type, which attends sharply.

    Raises:
        Exception: Of many kinds, if it cannot be made out of sizes.
    """
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    config = AutoConfig.for_model(kind, **{**shrunk(AutoConfig.for_model(kind)), **OWN.get(kind, {})})
    with torch.device("meta"):
        size = AutoModelForCausalLM.from_config(config).num_parameters()  # type: ignore[no-untyped-call]
    if size > LARGEST:
        raise ValueError(f"{size:,} parameters")
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        model: PreTrainedModel = AutoModelForCausalLM.from_config(config)  # type: ignore[no-untyped-call]
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0, 0.1)
    return model


def rows(sizes: list[tuple[int, int, int]]) -> list[Layout]:
    """Rows of random words, by (question, thoughts, text)."""
    draw = random.Random(0)
    found = []
    for question, thoughts, text in sizes:
        ids = [draw.randrange(6, 60) for _ in range(question + thoughts + text)]
        labels = [IGNORE] * (question + thoughts) + ids[question + thoughts :]
        prompt = question + thoughts
        found.append(Layout(ids, labels, head=question, thoughts=thoughts, prompt=prompt, stepped=thoughts))
    return found


def losses(model: PreTrainedModel, given: list[Layout]) -> Tensor:
    batch = collate(given, 0)
    return torch.tensor(row_losses(model, batch, think(model, batch)))


def defined(model: PreTrainedModel, row: Layout) -> float:
    """The row's loss, everything read again for each thought."""

    def run(inputs: Tensor) -> Tensor:
        mask = torch.ones(inputs.shape[:2], dtype=torch.long)
        states: Tensor = model.base_model(inputs_embeds=inputs, attention_mask=mask, use_cache=False).last_hidden_state
        return states

    embedded = model.get_input_embeddings()(torch.tensor([row.ids]))
    inputs = embedded[:, : row.head]
    for _ in range(row.thoughts):
        inputs = torch.cat([inputs, run(inputs)[:, -1:]], dim=1)
    states = run(torch.cat([inputs, embedded[:, row.prompt :]], dim=1))[0, row.prompt - 1 : -1]
    text = torch.tensor(row.ids[row.prompt :])
    return F.cross_entropy(output_head(model)(states).float(), text, reduction="sum").item()


@pytest.mark.slow
@pytest.mark.parametrize("kind", sorted(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES))
def test_refused_or_right_in_any_batch(kind: str) -> None:
    try:
        model = made(kind)
    except Exception as err:
        pytest.skip(f"not made: {type(err).__name__}: {str(err).strip().partition(chr(10))[0][:80]}")
    try:
        check_model(model)
    except UserError as err:
        pytest.skip(f"refused: {err.why}")
    longest, half = min(context_length(model) or 64, 64), min(context_length(model) or 64, 64) // 2
    given = rows([(4, 2, longest - 6), (longest - 4, 2, 2), (half, 3, half - 3), (3, 1, 3), (5, 0, longest - 5)])
    model.train(False)
    with torch.no_grad():
        alone = torch.cat([losses(model, [row]) for row in given])
        torch.testing.assert_close(losses(model, given), alone, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(alone, torch.tensor([defined(model, row) for row in given]), rtol=1e-5, atol=1e-5)
        asked = rows([(half if window_length(model) else longest - 13, 1, 0), (2, 6, 0), (5, 0, 0), (3, 2, 0)])
        texts = [
            decode(model, think(model, collate(part, 0), keep_cache=True), max_new_tokens=5, eos=-1)
            for part in (asked, *([row] for row in asked))
        ]
        assert texts[0] == [text for part in texts[1:] for text in part]
    batch, found = collate(given, 0), []
    for checkpointing in (False, True):
        try:
            total, _ = supervised_loss(model, batch, think(model, batch, checkpointing=checkpointing))
        except UserError as err:
            assert "activation checkpointing" in str(err)
            return
        found.append(loss_and_gradients(model, total))
    (loss, gradients), (again, others) = found
    assert again == loss and gradients.keys() == others.keys()
    assert all((others[name] - own).norm() <= 1e-5 * own.norm() + 1e-6 for name, own in gradients.items())

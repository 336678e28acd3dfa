"""A tiny GGUF file, as llama.cpp's own converter writes one: a Llama of two layers with a byte-level tokenizer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from gguf import GGMLQuantizationType, GGUFWriter, TokenType, quants
from tokenizers import pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM

TEMPLATE = (
    "{% for one in messages %}<|user|>{{ one['content'] }}{% endfor %}{% if add_generation_prompt %}<|bot|>{% endif %}"
)
_NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}


def words() -> tuple[list[str], list[str]]:
    """A byte-level vocabulary, and its merges."""
    merges = ["Ġ t", "h e", "Ġt he", "i s"]
    special = ["<|end|>", "<|user|>", "<|bot|>"]
    return special + sorted(pre_tokenizers.ByteLevel.alphabet()) + [one.replace(" ", "") for one in merges], merges


def tiny_llama(seed: int = 0) -> LlamaForCausalLM:
    """The model that the file is of."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(words()[0]), hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=512, rms_norm_eps=1e-5, tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    model.train(False)
    return model


def write_gguf(
    file: Path,
    kind: str = "Q8_0",
    model: LlamaForCausalLM | None = None,
    architecture: str = "llama",
    without: str = "",
) -> dict[str, torch.Tensor]:
    """Write a file.

    Args:
        file: Its place.
        kind: How matrices are stored.
        model: The model; :func:`tiny_llama` if not given.
        architecture: What the file says that it is of.
        without: A weight that is left out, by its name in transformers.

    Returns:
        The numbers that the file's weights stand for, by their names in transformers.
    """
    model = model or tiny_llama()
    config, (tokens, merges) = model.config, words()
    writer: Any = GGUFWriter(file, architecture)
    for value, add in (
        (config.max_position_embeddings, writer.add_context_length),
        (config.hidden_size, writer.add_embedding_length),
        (config.num_hidden_layers, writer.add_block_count),
        (config.intermediate_size, writer.add_feed_forward_length),
        (config.num_attention_heads, writer.add_head_count),
        (config.num_key_value_heads, writer.add_head_count_kv),
        (config.hidden_size // config.num_attention_heads, writer.add_rope_dimension_count),
        (config.rms_norm_eps, writer.add_layer_norm_rms_eps),
        (10000.0, writer.add_rope_freq_base),
        (len(tokens), writer.add_vocab_size),
        ("gpt2", writer.add_tokenizer_model),
        ("default", writer.add_tokenizer_pre),
        (tokens, writer.add_token_list),
        ([TokenType.CONTROL] * 3 + [TokenType.NORMAL] * (len(tokens) - 3), writer.add_token_types),
        (merges, writer.add_token_merges),
        (0, writer.add_eos_token_id),
        (0, writer.add_bos_token_id),
        (0, writer.add_pad_token_id),
        (TEMPLATE, writer.add_chat_template),
    ):
        add(value)
    stored = GGMLQuantizationType[kind]
    meant = {}
    for name, weight in model.state_dict().items():
        if name in ("lm_head.weight", without):  # the former is the embeddings themselves
            continue
        array = weight.float().numpy()
        heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}.get(name.split(".")[-2])
        if heads:  # llama.cpp turns neighbouring pairs, transformers halves
            array = array.reshape(heads, 2, -1, array.shape[1]).swapaxes(1, 2).reshape(array.shape)
        own = stored if array.ndim == 2 else GGMLQuantizationType.F32
        packed = quants.quantize(np.ascontiguousarray(array), own)
        numbers = quants.dequantize(packed, own)
        if heads:
            numbers = numbers.reshape(heads, -1, 2, array.shape[1]).swapaxes(1, 2).reshape(array.shape)
        meant[name] = torch.from_numpy(np.array(numbers, dtype=np.float32))
        writer.add_tensor(_named(name), packed, raw_dtype=own)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return meant


def _named(name: str) -> str:
    outer = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight"}
    if name in outer:
        return outer[name]
    _, _, layer, *inner, kind = name.split(".")
    return f"blk.{layer}.{_NAMES['.'.join(inner)]}.{kind}"

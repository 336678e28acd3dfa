#!/usr/bin/env bash
# transformers 5.23.0 with gguf 0.19.0 (torch 2.13.0): a GGUF file of plain float32 numbers counts as a quantised model.
#
# A llama of one layer, written by gguf's own writer with every tensor in F32, is loaded with from_pretrained(…,
# gguf_file=…). All its parameters are ordinary float32 ones, and nothing in the file was ever quantised. Expected: a
# model like any other. Seen: save_pretrained and half refuse it as quantised. Loaded with
# GgufConfig(dequantize=True), for which there is nothing to do, both work.
# The script fails if this changes.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/python" -m pip install --quiet torch==2.13.0 2>/dev/null
"$place/venv/bin/python" -m pip install --quiet transformers==5.23.0 gguf==0.19.0 accelerate==1.15.0
cd "$place"
venv/bin/python - <<'PYTHON' 2>/dev/null
import numpy as np
import torch
from gguf import GGUFWriter
from transformers import AutoModelForCausalLM, GgufConfig

writer, width = GGUFWriter("plain.gguf", "llama"), 32
for add, value in (
    (writer.add_context_length, 64), (writer.add_embedding_length, width), (writer.add_block_count, 1),
    (writer.add_feed_forward_length, width), (writer.add_head_count, 2), (writer.add_head_count_kv, 2),
    (writer.add_layer_norm_rms_eps, 1e-5), (writer.add_rope_freq_base, 10000.0), (writer.add_vocab_size, 16),
    (writer.add_token_list, [f"word{number}" for number in range(16)]),
):  # fmt: skip
    add(value)
shapes = {"token_embd": (16, width), "output_norm": (width,), "blk.0.attn_norm": (width,), "blk.0.ffn_norm": (width,)}
for name in ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"):
    shapes[f"blk.0.{name}"] = (width, width)
for name, shape in shapes.items():
    writer.add_tensor(f"{name}.weight", np.random.default_rng(0).standard_normal(shape, dtype=np.float32))
writer.write_header_to_file()
writer.write_kv_data_to_file()
writer.write_tensors_to_file()
writer.close()


def tried(**how):
    model, said = AutoModelForCausalLM.from_pretrained(".", gguf_file="plain.gguf", dtype=torch.float32, **how), {}
    kinds = {(type(one), one.dtype) for one in model.parameters()}
    assert kinds == {(torch.nn.Parameter, torch.float32)}, kinds
    for name, act in (("save_pretrained", lambda: model.save_pretrained("saved")), ("half", model.half)):
        try:
            act()
            said[name] = "works"
        except ValueError as err:
            said[name] = "refused as quantised" if "quantized" in str(err) else str(err)
    return said


as_it_is, dequantised = tried(), tried(quantization_config=GgufConfig(dequantize=True))
print("as it is:", as_it_is)
print("with dequantize=True:", dequantised)
assert set(as_it_is.values()) == {"refused as quantised"}, "it has changed: plain numbers are plain"
assert set(dequantised.values()) == {"works"}, "it has changed: dequantize=True does not help"
PYTHON
echo "as described: a GGUF file without any quantised tensor counts as quantised"

#!/usr/bin/env bash
# lightning 2.6.6 with transformers 5.23.0 (torch 2.13.0): `precision="bf16-true"` rounds rotary frequencies.
#
# transformers keeps a Llama model's `inv_freq` in float32 when it is loaded in bfloat16, since positions are multiplied by
# it. Lightning's plug-in for bf16-true converts the module with .to(bfloat16), buffers included. Expected: the same
# frequencies either way. Seen: after Lightning's conversion they are bfloat16, up to 0.4 % off, and at position 2,000 an
# angle is off by 0.87 radians.
# The script fails if this changes.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/python" -m pip install --quiet torch==2.13.0 2>/dev/null
"$place/venv/bin/python" -m pip install --quiet lightning==2.6.6 transformers==5.23.0
cd "$place"
venv/bin/python - <<'PYTHON' 2>/dev/null
import torch
from lightning.pytorch.plugins.precision import HalfPrecision
from transformers import LlamaConfig, LlamaForCausalLM

config = LlamaConfig(
    vocab_size=32, hidden_size=64, intermediate_size=64, num_hidden_layers=1, num_attention_heads=1, num_key_value_heads=1
)
LlamaForCausalLM(config).save_pretrained("model")
loaded = LlamaForCausalLM.from_pretrained("model", dtype=torch.bfloat16).model.rotary_emb.inv_freq
converted = HalfPrecision("bf16-true").convert_module(LlamaForCausalLM(config)).model.rotary_emb.inv_freq
apart = ((converted.float() - loaded.float()).abs() / loaded.float()).max().item()
angle = (2000 * (converted.float() - loaded.float())).abs().max().item()
print(f"loaded: {loaded.dtype}; converted: {converted.dtype}, {100 * apart:.2f} % off, {angle:.2f} radians at position 2,000")
assert loaded.dtype == torch.float32, f"it has changed: {loaded.dtype}"
assert converted.dtype == torch.bfloat16 and apart > 1e-3 and angle > 0.5, "it has changed"
PYTHON
echo "as described: the frequencies are rounded"

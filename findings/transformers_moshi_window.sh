#!/usr/bin/env bash
# transformers 5.23.0 (torch 2.13.0): Moshi's language model has a sliding window in its cache, and none in its mask.
#
# Moshi's text decoder with random weights and a window of 8, default attention (sdpa). Its mask is that of plain causal
# attention: with one layer, what the 24th token says changes with the 1st, 23 positions before it. Its cache is made of
# the configuration, which names a window, and keeps the last 7 columns. Expected: one answer with a cache and without,
# as all other models with windows give. Seen: from the window on logits differ by more than their deviation, and greedy
# text with use_cache true is another than with use_cache false.
# The script fails if this changes.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/python" -m pip install --quiet torch==2.13.0 2>/dev/null
"$place/venv/bin/python" -m pip install --quiet transformers==5.23.0
cd "$place"
venv/bin/python - <<'PYTHON' 2>/dev/null
import torch
from transformers import AutoConfig, AutoModelForCausalLM


def made(layers):
    config = AutoConfig.for_model(
        "moshi", vocab_size=64, hidden_size=32, ffn_dim=64, num_hidden_layers=layers, num_attention_heads=4,
        num_key_value_heads=2, head_dim=8, max_position_embeddings=64, sliding_window=8, initializer_range=0.3,
    )
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config).eval()


torch.manual_seed(1)
ids = torch.randint(3, 60, (1, 24))
other = ids.clone()
other[0, 0] = 61
with torch.no_grad():
    one = made(1)
    here, there = (one(input_ids=row, use_cache=False).logits[0, -1] for row in (ids, other))
    seen = ((here - there).abs().max() / here.std()).item()
    model = made(2)
    whole = model(input_ids=ids, use_cache=False).logits[0, -1]
    before = model(input_ids=ids[:, :23], use_cache=True).past_key_values
    last = model(input_ids=ids[:, 23:], past_key_values=before, use_cache=True).logits[0, -1]
    apart = ((whole - last).abs().max() / whole.std()).item()
    texts = [model.generate(input_ids=ids, max_new_tokens=10, do_sample=False, use_cache=kept) for kept in (True, False)]
print(f"the 1st token moves the 24th by {seen:.1f} deviations; with a cache logits are off by {apart:.1f}")
assert seen > 0.01, "it has changed: the mask has the window"
assert apart > 0.1, "it has changed: the cache keeps what the mask lets through"
assert not torch.equal(*texts), "it has changed: the texts are the same"
PYTHON
echo "as described: the cache forgets what the mask still looks at"

#!/usr/bin/env bash
# transformers 5.23.0 (torch 2.13.0): masked columns use up a sliding window, so a batch's second turn forgets tokens.
#
# Mistral's architecture with random weights and a window of 8. Two conversations share a cache: a first turn of 4 tokens
# each, then second turns of 4 and of 8 tokens, the shorter one padded in front, attention_mask and position_ids given.
# The shorter conversation has 8 tokens in all, so that its last token may look at each of them. Expected: the logits
# that the 8 tokens give alone. Seen: the window counts columns, the four masked ones too, and the last token no longer
# sees the first turn: the logits are off by several standard deviations. With full attention they are the same.
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
from transformers import DynamicCache, MistralConfig, MistralForCausalLM


def apart(window):
    torch.manual_seed(0)
    config = MistralConfig(
        vocab_size=50, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, head_dim=16, sliding_window=window, initializer_range=0.2,
    )
    model = MistralForCausalLM(config).eval()
    ids = torch.randint(3, 50, (2, 12))
    second = torch.cat([torch.zeros(4, dtype=torch.long), ids[0, 4:8]])
    mask = torch.ones(2, 12, dtype=torch.long)
    mask[0, 4:8] = 0
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    cache = DynamicCache(config=config)
    with torch.no_grad():
        alone = model(ids[:1, :8]).logits[0, -1]
        model(ids[:, :4], attention_mask=mask[:, :4], position_ids=positions[:, :4], past_key_values=cache)
        turn = torch.stack([second, ids[1, 4:]])
        both = model(turn, attention_mask=mask, position_ids=positions[:, 4:], past_key_values=cache).logits[0, -1]
    return ((alone - both).abs().max() / alone.std()).item()


full, window = apart(None), apart(8)
print(f"off by {full:.0e} standard deviations with full attention, by {window:.1f} with a window of 8")
assert full < 1e-4, "full attention differs too: something else has changed"
assert window > 0.1, "it has changed: masked columns are not counted"
PYTHON
echo "as described: masked columns use up the window"

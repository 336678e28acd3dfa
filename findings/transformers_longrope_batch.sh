#!/usr/bin/env bash
# transformers 5.23.0 (torch 2.13.0): with `longrope` a row's text depends on how long the other rows of its batch are.
#
# Phi-3's architecture with random weights: short factors up to 16 positions, long ones beyond. A prompt of 10 tokens is
# continued greedily alone, left-padded to 24 columns alone, and left-padded beside a prompt of 24 tokens. Expected: the
# same text, since all of its own positions are below 16. Seen: padding alone changes nothing (1e-6), but beside the long
# row the whole batch gets the long factors: the next token's logits differ by 3, three times their standard deviation,
# and other tokens are written. Accuracies of such models so depend on the batch.
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
from transformers import Phi3Config, Phi3ForCausalLM

torch.manual_seed(0)
rope = {
    "rope_type": "longrope", "rope_theta": 10_000.0, "original_max_position_embeddings": 16,
    "short_factor": [1.0] * 8, "long_factor": [4.0] * 8,
}
config = Phi3Config(
    vocab_size=50, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
    num_key_value_heads=2, max_position_embeddings=64, original_max_position_embeddings=16, rope_parameters=rope,
    pad_token_id=0, bos_token_id=1, eos_token_id=2, initializer_range=0.2,
)
model = Phi3ForCausalLM(config).eval()
short, long = torch.randint(3, 50, (1, 10)), torch.randint(3, 50, (1, 24))
padded = torch.cat([torch.zeros(1, 14, dtype=torch.long), short], dim=1)


def ask(ids):
    mask = (ids != 0).long()
    with torch.no_grad():
        said = model(ids, attention_mask=mask, position_ids=(mask.cumsum(-1) - 1).clamp(min=0)).logits[0, -1]
    text = model.generate(ids, attention_mask=mask, max_new_tokens=5, do_sample=False)[0, ids.shape[1]:]
    return said, text.tolist()


alone, text = ask(short)
padding, padding_text = ask(padded)
beside, beside_text = ask(torch.cat([padded, long]))
print(f"alone {text}, padded {padding_text}, beside a long row {beside_text}")
apart = (alone - beside).abs().max().item()
print(f"logits: padded {(alone - padding).abs().max().item():.0e} off, beside a long row {apart:.1f} ({alone.std():.1f} sd)")
assert padding_text == text and (alone - padding).abs().max() < 1e-4, "padding alone matters: something else has changed"
assert beside_text != text and apart > 0.1, "it has changed: the row does not depend on its batch mate"
PYTHON
echo "as described: a longer batch mate changes the text"

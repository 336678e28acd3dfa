"""Whether a chat model's zero-shot texts are those of transformers' ``generate``, question by question.

    python -m lcot predict -c gsm8k -c chat --model.backbone.path=MODEL --data.test_path=test.jsonl --name=zero
    python -m benchmarks.chat_texts MODEL runs/zero/predictions.jsonl --prompt=chat/math --tokens=512

``generate`` gets each question by itself, in the words of the prompt and in the tokenizer's own chat template, and
chooses greedily. Where two texts part, the distance is printed between the two largest logits there: rounding alone
decides between tokens that are as good as equal.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from lcot.reasoning.prompts import Prompt, fill, load_prompt

TIE = 1e-3
"""Logits that differ by less are as good as equal in float32."""


class Written(NamedTuple):
    """What ``generate`` wrote.

    Attributes:
        text: Without the end.
        ids: Its tokens.
        gaps: By how much the chosen logit was above the next one, token by token.
    """

    text: str
    ids: list[int]
    gaps: list[float]


@torch.no_grad()
def generated(model: Any, tokenizer: Any, turn: str, prompt: Prompt, tokens: int) -> Written:
    """The text of one question.

    Args:
        model: A model of transformers, with its own ``generation_config``.
        tokenizer: Its tokenizer, with its own template.
        turn: What the user says.
        prompt: Pins the template's variables, and stands in for a template that is not there.
        tokens: The longest text.
    """
    messages = [{"role": "user", "content": turn}]
    own, pinned = tokenizer.chat_template is not None, dict(prompt.template or {})
    if not own:
        pinned["chat_template"] = prompt.fallback
    asked = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False, **pinned)
    ids = tokenizer(asked, add_special_tokens=not own, return_tensors="pt")["input_ids"]
    found = model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=tokens,
        do_sample=False,
        output_logits=True,
        return_dict_in_generate=True,
    )
    written = found.sequences[0, ids.shape[1] :].tolist()
    best = [logits[0].float().topk(2).values for logits in found.logits]
    named = model.generation_config.eos_token_id
    ends = set(named if isinstance(named, list) else [named])
    text = tokenizer.decode([token for token in written if token not in ends])
    return Written(text, written, [float(two[0] - two[1]) for two in best])


def parting(tokenizer: Any, written: Written, text: str) -> tuple[int, float]:
    """Where a text leaves what ``generate`` wrote: number of the token, and by how much it was chosen."""
    places = range(len(written.ids))
    at = next((n for n in places if not text.startswith(tokenizer.decode(written.ids[: n + 1]))), len(written.ids) - 1)
    return at, written.gaps[at]


def main(argv: Sequence[str] | None = None) -> int:
    """Compare, and say how many are equal; 1 if a text differs where there was no tie."""
    parser = argparse.ArgumentParser("chat_texts", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("model", help="a Hugging Face folder with a chat template")
    parser.add_argument("predictions", type=Path, help="what lcot predict wrote")
    parser.add_argument("--prompt", default="chat/math", help="the prompt that it was written with")
    parser.add_argument("--tokens", type=int, default=512, help="its max_new_tokens")
    chosen = parser.parse_args(argv)
    prompt = load_prompt(chosen.prompt)
    tokenizer = AutoTokenizer.from_pretrained(chosen.model)
    model = AutoModelForCausalLM.from_pretrained(chosen.model, dtype=torch.float32)
    rows = [json.loads(line) for line in chosen.predictions.read_text(encoding="utf-8").splitlines()]
    equal = ties = 0
    for number, row in enumerate(rows):
        turn = fill(prompt.user_turn(None, problem=True), question=row["question"].strip())
        written = generated(model, tokenizer, turn, prompt, chosen.tokens)
        if row["output"] == written.text:
            equal += 1
            continue
        at, gap = parting(tokenizer, written, row["output"])
        ties += gap < TIE
        print(f"question {number}: parts at token {at} of {len(written.ids)}, where two logits are {gap:.1e} apart")
    print(f"{equal} of {len(rows)} texts are equal; {ties} part at a tie, {len(rows) - equal - ties} elsewhere")
    return int(equal + ties < len(rows))


if __name__ == "__main__":
    raise SystemExit(main())

r"""Stand-ins for chat models' tokenizers: one token a byte, a family's special tokens and turns.

The templates are written for these tests; what they render has the form that Llama 3.x, Qwen2.5 and Qwen3 models were
tuned on: who opens and closes a turn with which token, what stands before the first one, where a newline follows.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Literal

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

Family = Literal["llama3", "qwen25", "qwen3"]
FAMILIES: tuple[Family, ...] = ("llama3", "qwen25", "qwen3")

SLOT = "▢"
"""How the tests write a placeholder."""

_LLAMA3 = """\
{{- bos_token }}
{%- if date_string is not defined %}
    {%- set date_string = strftime_now("%d %b %Y") %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}
{{- "Cutting Knowledge Date: December 2023\\n" }}
{{- "Today Date: " + date_string + "\\n\\n<|eot_id|>" }}
{%- for message in messages %}
    {{- "<|start_header_id|>" + message["role"] + "<|end_header_id|>\\n\\n" }}
    {{- message["content"] | trim + "<|eot_id|>" }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- "<|start_header_id|>assistant<|end_header_id|>\\n\\n" }}
{%- endif %}"""

_QWEN25 = """\
{%- if messages[0]["role"] != "system" %}
    {{- "<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n" }}
{%- endif %}
{%- for message in messages %}
    {{- "<|im_start|>" + message.role + "\\n" + message.content + "<|im_end|>\\n" }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- "<|im_start|>assistant\\n" }}
{%- endif %}"""

_QWEN3 = """\
{%- for message in messages %}
    {{- "<|im_start|>" + message.role + "\\n" }}
    {%- if message.role == "assistant" and loop.last %}
        {{- "<think>\\n\\n</think>\\n\\n" }}
    {%- endif %}
    {{- message.content + "<|im_end|>\\n" }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- "<|im_start|>assistant\\n" }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- "<think>\\n\\n</think>\\n\\n" }}
    {%- endif %}
{%- endif %}"""

_QWEN_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|box_start|>", "<|box_end|>")
_QWEN_ROLES = {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}
_STAND_INS: dict[str, tuple[str, tuple[str, ...], dict[str, str]]] = {
    "llama3": (
        _LLAMA3,
        ("<|begin_of_text|>", "<|end_of_text|>", "<|reserved_special_token_0|>", "<|reserved_special_token_1|>",
         "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
        {"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>", "pad_token": "<|end_of_text|>"},
    ),
    "qwen25": (_QWEN25, _QWEN_TOKENS, _QWEN_ROLES),
    "qwen3": (_QWEN3, (*_QWEN_TOKENS, "<think>", "</think>"), _QWEN_ROLES),
}  # fmt: skip
PLACEHOLDERS = {"llama3": "<|end_of_text|>", "qwen25": "<|endoftext|>", "qwen3": "<|endoftext|>"}
"""What holds the place of a thought in each family."""

_NAMES = re.compile(rf"(<\|\w+\|>|</?think>|{SLOT})")


def chat_tokenizer(family: Family, template: str | None = "", merges: Sequence[tuple[str, str]] = ()) -> Any:
    """A tokenizer of a family.

    Args:
        family: Whose special tokens and template.
        template: Another template; ``None`` for none, as base models have.
        merges: Pairs of pieces that are one token; a space is ``Ġ``, a newline ``Ċ``.
    """
    own, special, roles = _STAND_INS[family]
    tokens = [*sorted(pre_tokenizers.ByteLevel.alphabet()), *("".join(pair) for pair in merges)]
    tokenizer = Tokenizer(models.BPE(vocab={token: place for place, token in enumerate(tokens)}, merges=list(merges)))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    # As in Qwen3, <think> is a token of its own, but none that decoding could leave out.
    tokenizer.add_tokens([AddedToken(name, special="|" in name, normalized=False) for name in special])
    made = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer, **roles, clean_up_tokenization_spaces=False
    )
    made.chat_template = own if template == "" else template
    return made


def opening_every_text(tokenizer: Any, token: str) -> Any:
    """A tokenizer that writes a token before every text, as that of Llama does with its BOS."""
    opening = processors.TemplateProcessing(
        single=f"{token} $A", special_tokens=[(token, tokenizer.convert_tokens_to_ids(token))]
    )
    tokenizer.backend_tokenizer.post_processor = opening
    return tokenizer


def spelled(tokenizer: Any, family: Family, text: str) -> list[int]:
    """Ids of a text, byte by byte; names of special tokens and :data:`SLOT` are one id each."""
    ids: dict[str, int] = tokenizer.get_vocab()
    spell = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    found = []
    for part in _NAMES.split(text):
        if part == SLOT:
            found.append(ids[PLACEHOLDERS[family]])
        elif part in ids:
            found.append(ids[part])
        elif part:
            found += [ids[byte] for byte in spell.pre_tokenize_str(part)[0][0]]
    return found

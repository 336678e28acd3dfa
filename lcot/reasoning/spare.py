"""The tokens of a prompt that is written for any family of models: chosen by a rule from what a tokenizer has.

- ``{end}`` ends a turn: the first special token that the chat template writes behind an answer; the tokenizer's end of
  text where it writes none, or there is no template.
- ``{spare}`` is a token that the model has no use for in a dialogue, a different one in each place. Those that lcot
  added come first, then what calls itself reserved or unused, then special tokens that are made for texts of another
  kind (``<repo_name>``). What has a role, stands in the template, or is about turns, images or sounds is none. Without
  two for the marks around thoughts there are no marks; a placeholder is then the end of text.

Nothing is ever added. The choice follows from the tokenizer alone, so whoever loads a run makes it again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from transformers import PreTrainedTokenizerBase

from lcot.reasoning.prompts import Prompt
from lcot.reasoning.template import render

END, SPARE = "{end}", "{spare}"

_OWN = ("<|start-latent|>", "<|end-latent|>", "<|latent|>")
_ROLES = ("bos_token", "eos_token", "unk_token", "pad_token", "sep_token", "cls_token", "mask_token")
_RESERVED = re.compile(
    r"[<\[>|]+[^\s<>]*(?:reserved|unused|extra|dummy|control|special|place.?holder)[^\s<>]*\d[^\s<>]*[>\]<|]+",
    re.IGNORECASE,
)
_OF_DIALOGUES = re.compile(
    r"user|assistant|system|tool|function|turn|message|header|think|im_|inst|text|bo[st]|eo[stm]|begin|pad|unk|mask|cls"
    r"|image|img|vision|audio|video|modal",
    re.IGNORECASE,
)
_ANSWER = "\uf8f0answer\uf8f1"


def settled(prompt: Prompt, tokenizer: PreTrainedTokenizerBase) -> Prompt:
    """A prompt all of whose tokens are named.

    Args:
        prompt: It may leave some to the rules above.
        tokenizer: The tokenizer that has them.

    Raises:
        UserError: If its chat template cannot be used.
    """
    end = turn_end(tokenizer, prompt) if prompt.end == END else prompt.end
    spare = spare_tokens(tokenizer, end)
    bot, eot, placeholder = prompt.bot, prompt.eot, prompt.placeholder
    pair = [next(spare, None) if token == SPARE else token for token in (bot, eot)]
    if SPARE in (bot, eot):
        bot, eot = pair if None not in pair else (None, None)
    if placeholder == SPARE:
        placeholder = next(spare, None)
    return replace(prompt, placeholder=placeholder, bot=bot, eot=eot, end=end)


def turn_end(tokenizer: PreTrainedTokenizerBase, prompt: Prompt) -> str | None:
    """What ends an answer; ``None`` for the tokenizer's end of text.

    Raises:
        UserError: As :func:`settled` does.
    """
    _, written, behind = render(tokenizer, prompt, [("user", "?"), ("assistant", _ANSWER)]).rpartition(_ANSWER)
    special = {entry.content for entry in tokenizer.added_tokens_decoder.values() if entry.special}
    found = [token for token in special if written and token in behind]
    return min(found, key=lambda token: (behind.index(token), -len(token)), default=None)


def spare_tokens(tokenizer: PreTrainedTokenizerBase, end: str | None = None) -> Iterator[str]:
    """Tokens that a model has no use for in a dialogue, the best first.

    Args:
        tokenizer: The tokenizer.
        end: What ends a turn.
    """
    used = {getattr(tokenizer, role, None) for role in _ROLES} | {end}
    template = str(tokenizer.chat_template or "")
    known = tokenizer.get_vocab()
    special = [entry.content for _, entry in sorted(tokenizer.added_tokens_decoder.items()) if entry.special]
    ordered = [token for token in _OWN if token in known]
    ordered += sorted(filter(_RESERVED.fullmatch, known), key=known.__getitem__)
    ordered += [token for token in special if not _OF_DIALOGUES.search(token)]
    for token in dict.fromkeys(ordered):
        if token not in used and token not in template:
            yield token

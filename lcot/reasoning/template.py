"""A prompt's turns as a tokenizer's chat template writes them, or as plain text where it has none."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase

from lcot.errors import UserError
from lcot.reasoning.prompts import Prompt

_TODAY = re.compile(r"""strftime_now\(\s*(['"])(.*?)\1\s*\)""")


def opens_rows(tokenizer: PreTrainedTokenizerBase, prompt: Prompt) -> bool:
    """Whether a rendered prompt has no beginning of its own, so that the tokenizer's BOS opens its rows."""
    return prompt.template is None or (prompt.fallback is not None and not tokenizer.chat_template)


def render(
    tokenizer: PreTrainedTokenizerBase, prompt: Prompt, turns: Sequence[tuple[str, str]], header: bool = False
) -> str:
    """Write turns.

    Args:
        tokenizer: Its template is used, unless the prompt wants none.
        prompt: Pins the template's variables.
        turns: Role and text of each.
        header: Whether the beginning of the answering turn follows (the template's generation prompt).

    Raises:
        UserError: If there is no template, and the prompt says not what stands for it; or the template fails.
    """
    if prompt.template is None:
        return "".join(text for _, text in turns)
    name = tokenizer.name_or_path
    # A text is no function: a template that asks for today's date fails unless one is pinned.
    variables: dict[str, Any] = {"strftime_now": "pinned", **prompt.template}
    if isinstance(tokenizer.chat_template, str):
        variables["chat_template"] = _dated(tokenizer.chat_template, prompt.template.get("date_string"))
    elif not tokenizer.chat_template:
        if prompt.fallback is None:
            raise UserError(
                f"the tokenizer {name!r} has no chat template",
                where=f"data.tokenizer or data.dialogue.assistant, with the prompt {prompt.name!r}",
                why="the prompt consists of turns, and only the model's own template knows how it was taught them",
                fix="use a model that was tuned on dialogues, or a prompt that needs no template, such as plain/math",
            )
        variables["chat_template"] = prompt.fallback
    messages = [{"role": role, "content": text} for role, text in turns]
    try:
        rendered = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=header, **variables)
    except (TemplateError, TypeError, ValueError) as err:
        dated = "strftime_now" in str(tokenizer.chat_template)
        pinned = "; if it asks for today's date, pin that in the prompt file: template: {date_string: 26 Jul 2024}"
        raise UserError(
            f"the chat template of {name!r} cannot write the prompt {prompt.name!r}",
            where="data.tokenizer and data.dialogue",
            why=str(err).strip().splitlines()[0] if str(err).strip() else type(err).__name__,
            fix=f"use a prompt of this family of models{pinned if dated else ''}",
        ) from err
    assert isinstance(rendered, str)
    return rendered


def _dated(template: str, pinned: object) -> str:
    """A template that asks for today's date, which would change all rows by tomorrow, with the pinned one in its place.

    Without one the template stays as it is. transformers passes no function on, so none can be pinned.
    """
    try:
        date = datetime.strptime(str(pinned), "%d %b %Y")
    except ValueError:
        return template
    return _TODAY.sub(lambda found: repr(date.strftime(found[2])), template)

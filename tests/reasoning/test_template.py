"""Turns as templates write them, and as plain text for tokenizers that have none."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lcot.errors import UserError
from lcot.reasoning.prompts import load_prompt
from lcot.reasoning.template import opens_rows, render
from tests.chat import FAMILIES, Family, chat_tokenizer

ANY = load_prompt("chat/math")
TURNS = [("user", "Why?"), ("assistant", "So.")]
DATED = '{{ strftime_now("%Y-%m-%d") }} {{ messages[0].content }}'


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("header", [False, True])
def test_a_prompt_for_any_family_is_written_as_that_of_the_family(family: Family, header: bool) -> None:
    tokenizer = chat_tokenizer(family)
    assert not opens_rows(tokenizer, ANY)
    assert render(tokenizer, ANY, TURNS, header) == render(tokenizer, load_prompt(f"{family}/gsm8k"), TURNS, header)


def test_without_a_template_turns_stand_one_behind_another() -> None:
    tokenizer = chat_tokenizer("qwen25", None)
    assert render(tokenizer, ANY, TURNS) == "Why?\n\nSo.\n\n"
    assert render(tokenizer, ANY, TURNS[:1], header=True) == "Why?\n\nSolution:\n"
    assert opens_rows(tokenizer, ANY), "no template has written a beginning"


def test_a_prompt_of_a_family_wants_its_template() -> None:
    with pytest.raises(UserError, match="has no chat template"):
        render(chat_tokenizer("qwen25", None), load_prompt("qwen25/gsm8k"), TURNS)


def test_todays_date_is_the_pinned_one_or_none() -> None:
    tokenizer = chat_tokenizer("qwen25", DATED)
    assert render(tokenizer, ANY, TURNS) == "2024-07-26 Why?"
    with pytest.raises(UserError, match="date_string: 26 Jul 2024"):
        render(tokenizer, replace(ANY, template={}), TURNS)

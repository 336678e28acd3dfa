"""The tokens that a prompt for any family gets, worked out on paper for tokenizers of several kinds."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tokenizers import AddedToken

from lcot.reasoning.prompts import Prompt, load_prompt
from lcot.reasoning.spare import settled, spare_tokens, turn_end
from lcot.reasoning.tokens import add_thought_tokens, prompt_tokens
from tests.chat import FAMILIES, Family, chat_tokenizer

ANY = load_prompt("chat/math")

TURNS = "{% for one in messages %}[{{ one.role }}] {{ one.content }}{{ END }}{% endfor %}"
"""A template; what it ends a turn with is put in the place of the last words in braces."""


def made(*special: str, template: str | None = None, plain: tuple[str, ...] = ()) -> Any:
    """A tokenizer with some special tokens, and others that are none, beside ``<|endoftext|>``."""
    tokenizer = chat_tokenizer("qwen25", template)
    tokenizer.add_tokens([AddedToken(name, special=True, normalized=False) for name in special])
    tokenizer.add_tokens([AddedToken(name, special=False, normalized=False) for name in plain])
    return tokenizer


def chosen(tokenizer: Any, prompt: Prompt = ANY) -> tuple[str | None, ...]:
    """The marks, the placeholder, and the end of a turn."""
    own = settled(prompt, tokenizer)
    return own.bot, own.eot, own.placeholder, own.end


@pytest.mark.parametrize(
    ("family", "expected"),
    [
        ("llama3", ("<|reserved_special_token_0|>", "<|reserved_special_token_1|>", None, "<|eot_id|>")),
        ("qwen25", ("<|box_start|>", "<|box_end|>", None, "<|im_end|>")),
        ("qwen3", ("<|box_start|>", "<|box_end|>", None, "<|im_end|>")),
    ],
)
def test_the_published_families(family: Family, expected: tuple[str | None, ...]) -> None:
    tokenizer = chat_tokenizer(family)
    assert chosen(tokenizer) == expected
    special = prompt_tokens(tokenizer, ANY)
    found = tokenizer.convert_ids_to_tokens([special.bot, special.eot, special.eos])
    assert found == [*expected[:2], expected[3]]
    assert special.latent == special.pause == tokenizer.eos_token_id


def test_what_is_reserved_comes_before_what_is_made_for_other_texts() -> None:
    tokenizer = made("<repo_name>", "<unused3>", "<|reserved_7|>", "[control_4]", ">>UNUSED_9<<")
    tokens = list(spare_tokens(tokenizer))
    assert tokens[:5] == ["<unused3>", "<|reserved_7|>", "[control_4]", ">>UNUSED_9<<", "<|box_start|>"]
    assert tokens[-1] == "<repo_name>"


def test_a_reserved_token_need_not_be_special_but_one_for_other_texts_must() -> None:
    assert list(spare_tokens(made(plain=("<unused0>", "<repo_name>", "unused1")))) == [
        "<unused0>",
        "<|box_start|>",
        "<|box_end|>",
    ]


def test_nothing_is_taken_that_dialogues_or_pictures_are_made_of() -> None:
    others = ("<|user|>", "<end_of_turn>", "<|image_pad|>", "<think>", "<tool_call>", "<|audio_bos|>", "<|vision_9|>")
    assert list(spare_tokens(made(*others))) == ["<|box_start|>", "<|box_end|>"]


def test_nothing_is_taken_that_has_a_role_or_that_the_template_names() -> None:
    tokenizer = made("<repo_name>", "<gh_stars>", template=TURNS.replace("{{ END }}", "<|box_end|>"))
    tokenizer.bos_token = "<gh_stars>"
    assert chosen(tokenizer) == ("<|box_start|>", "<repo_name>", None, "<|box_end|>")


def test_where_there_is_no_pair_there_are_no_marks_and_what_is_left_holds_the_places() -> None:
    tokenizer = made(template=TURNS.replace("{{ END }}", "<|box_end|>"))
    assert chosen(tokenizer) == (None, None, None, "<|box_end|>")
    special = prompt_tokens(tokenizer, ANY)
    assert (special.bot, special.eot, special.latent) == (-1, -1, tokenizer.eos_token_id)


def test_tokens_of_ones_own_come_first() -> None:
    tokenizer = made("<unused0>", "<unused1>")
    add_thought_tokens(tokenizer)
    assert chosen(tokenizer)[:3] == ("<|start-latent|>", "<|end-latent|>", "<|latent|>")


def test_a_prompt_may_name_some_itself() -> None:
    tokenizer = made("<unused0>", "<unused1>", "<unused2>")
    own = replace(ANY, bot="<|box_start|>", eot=None, placeholder=None, end="<|endoftext|>")
    assert settled(own, tokenizer) == own
    assert chosen(tokenizer, replace(ANY, eot="<|box_end|>"))[:3] == ("<unused0>", "<|box_end|>", "<unused1>")


@pytest.mark.parametrize(
    ("ending", "expected"),
    [
        ("<|box_end|>\n<|box_start|>", "<|box_end|>"),
        ("\n\n<|box_end|>", "<|box_end|>"),
        ("{{ eos_token }}", "<|im_end|>"),
        ("\n", None),
    ],
)
def test_a_turn_ends_with_the_first_special_token_behind_an_answer(ending: str, expected: str | None) -> None:
    tokenizer = made(template=TURNS.replace("{{ END }}", ending))
    assert turn_end(tokenizer, ANY) == expected
    if expected is None:
        assert prompt_tokens(tokenizer, ANY).eos == tokenizer.eos_token_id


def test_a_template_that_drops_answers_says_nothing_of_their_end() -> None:
    assert turn_end(made(template="{{ messages[0].content }}<|box_end|>"), ANY) is None


def test_without_a_template_a_text_ends_as_all_texts_do() -> None:
    assert turn_end(made(template=None), ANY) is None


@pytest.mark.parametrize("family", FAMILIES)
def test_published_prompts_are_what_they_were(family: Family) -> None:
    prompt = load_prompt(f"{family}/gsm8k")
    assert settled(prompt, chat_tokenizer(family)) == prompt

"""What stands around the pieces of an example."""

from __future__ import annotations

import pytest

from lcot.datamodules.tokenizers import load_tokenizer
from lcot.errors import UserError
from lcot.reasoning.curriculum import Stage
from lcot.reasoning.example import ReasoningExample
from lcot.reasoning.layout import LayoutBuilder
from lcot.reasoning.text import TextFormat
from lcot.reasoning.tokens import add_thought_tokens
from tests.places import SHARED

EXAMPLE = ReasoningExample("How many?", ("<<1+1=2>>", "<<2*3=6>>", "<<6-1=5>>"), "5", "one")
CODI = TextFormat(after_question="", after_step="", before_answer="The answer is: ", between_steps=" ")


def test_each_step_ends_alike() -> None:
    assert list(TextFormat(after_step=";").pieces(EXAMPLE)) == [
        *("How many?\n", "<<1+1=2>>;", "<<2*3=6>>;", "<<6-1=5>>;", "### 5")
    ]


def test_a_chain_in_one_line() -> None:
    text = TextFormat(after_question="", after_step=".\n", before_answer="A: ", between_steps=". ")
    assert list(text.pieces(EXAMPLE)) == ["How many?", "<<1+1=2>>", ". <<2*3=6>>", ". <<6-1=5>>.\n", "A: 5"]
    assert [text.around_step(place, place == 2) for place in range(3)] == [("", ""), (". ", ""), (". ", ".\n")]
    assert list(text.parts()) == ["", ". ", ".\n", "A: "]


def test_an_answer_needs_a_mark() -> None:
    with pytest.raises(UserError, match="before_answer is ' '"):
        TextFormat(before_answer=" ")


@pytest.mark.skipif(not (SHARED / "gpt2_tokenizer").is_dir(), reason="needs GPT-2's vocabulary")
def test_pieces_of_codi_are_the_tokens_of_its_whole_text() -> None:
    """The release tokenizes question, chain and answer each as a whole; the answer begins behind the colon."""
    tokenizer = load_tokenizer(SHARED / "gpt2_tokenizer")
    build = LayoutBuilder(tokenizer, add_thought_tokens(tokenizer), "continuous", CODI)
    (encoded,) = build.encode([EXAMPLE])
    teacher = build.views(encoded, Stage(3, 6), ["teacher"])["teacher"]
    whole = ["How many?", "<<1+1=2>> <<2*3=6>> <<6-1=5>>", "The answer is: 5"]
    assert teacher.ids[:-1] == [token for ids in tokenizer(whole)["input_ids"] for token in ids]
    (place,) = teacher.places["answer"]
    assert tokenizer.decode(teacher.ids[place - 1 : place + 1]) == ": 5"
    alone = build.encode_step(EXAMPLE.steps[1], 1)
    assert alone == encoded.steps[1] and tokenizer.decode(alone) == " <<2*3=6>>"

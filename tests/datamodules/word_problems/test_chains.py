"""Where a step of a chain ends that stands in one text."""

from __future__ import annotations

import pytest

from lcot.datamodules.word_problems.chains import ChainSteps, at_periods, check_chain, sentences_of, with_chain
from lcot.errors import DataError, UserError

TEXT = "Mr. J. R. Hill has 3.5 kg. Is that much? Yes.\nIn the U.S. it is."


@pytest.mark.parametrize(
    ("chain", "steps"),
    [
        ("sentences", ["Mr.", "J. R. Hill has 3.5 kg.", "Is that much?", "Yes.", "In the U.S. it is."]),
        ("lines", TEXT.splitlines()),
        ("whole", [TEXT]),
    ],
)
def test_three_ways(chain: ChainSteps, steps: list[str]) -> None:
    record: dict[str, object] = {"question": "Q", "cot": f" {TEXT}\n", "answer": "A"}
    assert with_chain(record, chain, "here") == {"question": "Q", "answer": "A", "steps": steps}


def test_initials_end_no_sentence() -> None:
    assert sentences_of("Born in the U.S. He was 5. So yes.") == ["Born in the U.S. He was 5.", "So yes."]


def test_the_released_cut_of_gsm8k_aug_nl() -> None:
    """Its parts, joined by a period and a space as released, are the text again."""
    text = "Dr. Hill sells 3.5 kg. Is that 2 * 3.5 = 7? He gets $7."
    parts = at_periods(text)
    assert parts == ["Dr.", "Hill sells 3.5 kg.", "Is that 2 * 3.5 = 7? He gets $7."]
    assert " ".join(parts) == ". ".join(text.split(". ")) == text
    assert at_periods("One. . Two") == ["One.", "Two"] and at_periods(" ") == []


@pytest.mark.parametrize(("cot", "said"), [(None, "no text"), (" ", "blank"), (["a"], "no text")])
def test_a_chain_that_is_none(cot: object, said: str) -> None:
    with pytest.raises(DataError, match=f'field "cot" is {said}'):
        with_chain({"question": "Q", "cot": cot}, "lines", "here")


def test_a_way_that_there_is_not() -> None:
    with pytest.raises(UserError, match="unknown chain 'line'"):
        check_chain("line")

"""The extractors ``choice`` and ``yes_no``, and where the protocol of the released SoftCoT code reads other things."""

from __future__ import annotations

import pytest

from lcot.metrics import EXTRACTORS
from lcot.metrics.choices import choice_meaning
from lcot.metrics.yes_or_no import yes_no_meaning
from tests.metrics.adversarial_aqua import OUTPUTS as AQUA
from tests.metrics.adversarial_dates import OUTPUTS as DATES
from tests.metrics.adversarial_strategyqa import OUTPUTS as STRATEGYQA

CHOICE, OFFICIAL_CHOICE = EXTRACTORS["choice"], EXTRACTORS["softcot_official_choice"]
YES_NO, OFFICIAL_YES_NO = EXTRACTORS["yes_no"], EXTRACTORS["softcot_official_yes_no"]


@pytest.mark.parametrize(("output", "letter", "official"), [*AQUA, *DATES])
def test_adversarial_letters(output: str, letter: str | None, official: str | None) -> None:
    assert CHOICE.extract(output, "### ") == letter
    assert OFFICIAL_CHOICE.extract(output, "### ") == official
    for gold in "ABCDEF":
        assert CHOICE.equal(letter, gold) is (letter == gold)
        assert OFFICIAL_CHOICE.equal(official, gold) is (official == gold)


@pytest.mark.parametrize(("output", "word", "official"), STRATEGYQA)
def test_adversarial_conclusions(output: str, word: str | None, official: str | None) -> None:
    assert YES_NO.extract(output, "### ") == word
    assert OFFICIAL_YES_NO.extract(output, "### ") == official
    for gold in ("Yes", "No"):
        assert YES_NO.equal(word, gold) is (word == gold.lower())
        assert OFFICIAL_YES_NO.equal(official, gold) is (official == gold.lower())


def test_there_are_forty_for_each_data_set() -> None:
    for outputs in (AQUA, DATES, STRATEGYQA):
        assert len({output for output, *_ in outputs}) == len(outputs) >= 40


def test_where_the_released_code_is_wrong() -> None:
    """It reads another letter or word than is meant, or one where none is."""
    for outputs in (AQUA, DATES, STRATEGYQA):
        others = [(right, theirs) for _, right, theirs in outputs if right != theirs]
        assert len(others) >= 15
        assert any(right and theirs for right, theirs in others) and any(not right for right, _ in others)


@pytest.mark.parametrize(
    ("answer", "letter"),
    [("C", "C"), ("(C)", "C"), ("C.", "C"), ("c", "C"), ("C) 18", "C"), ("18", None), ("", None), ("Cat", None),
     ("A, B", None), ("G", None), ("C because", "C"), ("A train", None)],
)  # fmt: skip
def test_what_a_letter_means(answer: str, letter: str | None) -> None:
    assert choice_meaning(answer) == letter


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        ("Yes", "yes"),
        ("no", "no"),
        ("**No**.", "no"),
        (" YES ", "yes"),
        ("true", None),
        ("yes and no", None),
        ("", None),
    ],
)
def test_what_a_word_means(answer: str, word: str | None) -> None:
    assert yes_no_meaning(answer) == word


def test_long_outputs_cost_little() -> None:
    texts = ["answer is " * 5_000, "the answer is (" * 3_000, "(A) or " * 5_000, "no " * 10_000, "(A)\n" * 5_000]
    for text in (*texts, "yes or no " * 5_000, "A" * 50_000, "*" * 50_000, "\n" * 20_000):
        CHOICE.extract(text, "###")
        YES_NO.extract(text, "###")

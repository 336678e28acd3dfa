r"""The extractor ``boxed``, and where the protocol of the released SoftCoT code reads something else."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest

from lcot.metrics import EXTRACTORS
from lcot.metrics.boxed import box, boxed_meaning, readable
from tests.metrics.adversarial_asdiv import OUTPUTS as ASDIV
from tests.metrics.adversarial_gsm8k import OUTPUTS as GSM8K

BOXED, OFFICIAL = EXTRACTORS["boxed"], EXTRACTORS["softcot_official_number"]


@pytest.mark.parametrize(("output", "gold", "answer", "right", "official"), [*GSM8K, *ASDIV])
def test_adversarial_outputs(output: str, gold: str, answer: str | None, right: bool, official: str | None) -> None:
    assert BOXED.extract(output, "### ") == answer
    assert BOXED.equal(answer, gold) is right
    assert OFFICIAL.extract(output, "### ") == official


def test_there_are_forty_for_each_data_set() -> None:
    for outputs in (GSM8K, ASDIV):
        assert len({output for output, *_ in outputs}) >= 40 <= len(outputs)


def test_where_the_released_code_is_wrong() -> None:
    """It calls a third of these other than right, in both directions."""
    table = [(right, OFFICIAL.equal(official, gold)) for _, gold, _, right, official in [*GSM8K, *ASDIV]]
    assert sum(right and not theirs for right, theirs in table) >= 25
    assert sum(theirs and not right for right, theirs in table) >= 5
    # No gold answer below zero, or with more than two places, is ever met.
    for gold in ("-5", "0.395"):
        assert not OFFICIAL.equal(OFFICIAL.extract(rf"$\boxed{{{gold}}}$", ""), gold)
        assert BOXED.equal(BOXED.extract(rf"$\boxed{{{gold}}}$", ""), gold)


@pytest.mark.parametrize(
    ("text", "inside"),
    [
        (r"\boxed{a{b}c}", "a{b}c"),
        (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
        (r"{\boxed{1}", "1"),
        (r"}\boxed{1}}", "1"),
        (r"\boxed{1} \boxed{2", "1"),
        (r"\boxed{\text{a \boxed{b}} c}", "b"),
        (r"\boxed" + "\n{1}", "1"),
        (r"\boxed[1]", None),
    ],
)
def test_braces_balance(text: str, inside: str | None) -> None:
    assert box(text) == inside


@pytest.mark.parametrize(
    ("tex", "text"),
    [
        (r"\text{Mrs.\ Hilt}", "Mrs. Hilt"),
        (r"\mathrm{18\,cm}", "18 cm"),
        (r"\left(\frac{1}{2}\right)", "(1/2)"),
        (r"\$18~\text{per day}", "18 per day"),
        (r"\textbf{(C)}\ 18", "(C) 18"),
        (r"18\quad\text{apples}", "18 apples"),
        (r"5\pi", "5π"),
        (r"\displaystyle 18", "18"),
        ("**18**", "18"),
    ],
)
def test_markup_is_taken_off(tex: str, text: str) -> None:
    assert readable(tex) == text


@pytest.mark.parametrize(
    ("answer", "meaning"),
    [
        ("18", Decimal(18)),
        ("$1,234.50", Decimal("1234.5")),
        ("18 apples", Decimal(18)),
        ("-(1/3)", Fraction(-1, 3)),
        ("-2 1/2", Fraction(-5, 2)),
        ("total: 18", Decimal(18)),
        ("the sum is 18", Decimal(18)),
        ("about 18", "about18"),
        ("2x", Decimal(2)),  # an unknown unit
        ("2x + 3", "2x+3"),
        ("5π", "5π"),
        ("(C)", "c"),
        ("[1, 2)", "[1,2)"),
        ("A; B.", "a,b"),
        ("", None),
        (" . ", None),
    ],
)
def test_what_an_answer_means(answer: str, meaning: object) -> None:
    assert boxed_meaning(answer) == meaning


def test_a_gold_answer_that_is_text_is_met_by_text_alone() -> None:
    assert BOXED.equal("5:6", "5:6") and not BOXED.equal("5", "5:6") and not BOXED.equal("5:6", "5")
    assert not BOXED.equal(None, "5")


def test_boxes_of_any_depth_and_number_cost_little() -> None:
    for text in (r"\boxed{" * 20_000, r"\boxed{" * 5_000 + "1" + "}" * 5_000, r"\text{" * 5_000, r"\frac" * 20_000):
        read = BOXED.extract(text, "###")
        assert read in (None, "1")
    assert BOXED.extract(r"\boxed{" + "9" * 10_000 + " 1/2}", "###") is not None
    assert BOXED.equal(r"9" * 10_000, "9" * 10_000) and not BOXED.equal("9" * 10_000, "9")

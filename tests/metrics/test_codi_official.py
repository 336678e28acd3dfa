"""The released CODI code reads the last number of an output, and compares floats."""

from __future__ import annotations

import pytest

from lcot.metrics import EXTRACTORS

OFFICIAL = EXTRACTORS["codi_official_number"]


@pytest.mark.parametrize(
    ("output", "read"),
    [
        ("The answer is: 18", "18"),
        ("The answer is: 18.", "18."),
        ("The answer is: -1,234.50", "-1234.50"),
        ("18 apples, 2 of them red", "2"),
        ("so 20-5", "-5"),  # a hyphen is a sign
        ("1/2", "2"),
        ("1e3", "3"),
        (".5", "5"),
        ("none", None),
    ],
)
def test_what_is_read(output: str, read: str | None) -> None:
    assert OFFICIAL.extract(output, "The answer is: ") == read


@pytest.mark.parametrize(
    ("answer", "gold", "equal"),
    [
        ("18.0", "18", True),
        ("18.", "18", True),
        ("007", "7", True),
        ("1234", "1,234", True),
        ("18", "She has 18.\n#### 18", True),
        ("61.22", "61.220000000000006", False),
        ("61.220000000000006", "61.220000000000006", True),
        # Equal as 64-bit floats, and not in value.
        ("9007199254740993", "9007199254740992", True),
        ("0.1000000000000000055", "0.1", True),
        # In the release both of these would be infinite, and equal.
        ("1" * 400, "none", False),
        (None, "none", False),
    ],
)
def test_what_is_equal(answer: str | None, gold: str, equal: bool) -> None:
    assert OFFICIAL.equal(answer, gold) is equal


def test_a_report_says_so() -> None:
    said = OFFICIAL.described("The answer is: ")
    assert said.startswith("codi_official_number: last ") and said.endswith("equal as a 64-bit float")

"""Numbers that differ in one digit, and products that are asked for both ways."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from lcot.datamodules import Multiplication
from lcot.datamodules.digits import changed
from lcot.datamodules.multiplication import generate, split_of
from lcot.errors import UserError
from tests.datamodules.test_multiplication import LINE, SMALL, pairs


def test_all_that_differ_in_one_digit() -> None:
    found = list(changed((25, 134), (2, 3), random.Random(0)))
    by_hand = [
        (first, second)
        for first in range(10, 100)
        for second in range(100, 1000)
        if sum(one != other for one, other in zip(f"{first}{second}", "25134", strict=True)) == 1
    ]
    assert len(found) == len(set(found)) == 9 + 8 + 9 + 9 + 8 and sorted(found) == by_hand
    assert found != sorted(found) and list(changed((25, 134), (2, 3), random.Random(1))) != found


def test_a_single_digit_never_becomes_zero() -> None:
    assert sorted(changed((7, 1), (1, 1), random.Random(0))) == sorted(
        [*((first, 1) for first in range(1, 10) if first != 7), *((7, second) for second in range(2, 10))]
    )


def test_leading_zeros_are_digits_too() -> None:
    assert (17, 5) in set(changed((7, 5), (2, 1), random.Random(0)))


def test_each_product_and_one_with_another_digit() -> None:
    data = Multiplication(**{**SMALL, "digits": (3, 3)}, ask="both")
    trained = set(pairs(data.make_source("train"), 0))
    for split in ("val", "test"):
        source = data.make_source(split)
        examples = [source.example(index, 0) for index in range(len(source))]
        found = list(pairs(source))
        assert len(examples) == 2 * SMALL[f"{split}_size"] == len(set(found))
        assert not trained & set(found) and all(split_of(*pair) == split for pair in found)
        for number, (own, other) in enumerate(zip(examples[::2], examples[1::2], strict=True)):
            assert (own.id, other.id, own.pair, other.pair) == (
                *(f"{split}-{number}", f"{split}-{number}-other", f"{split}-{number}", f"{split}-{number}"),
            )
            differ = sum(one != two for one, two in zip(own.question, other.question, strict=True))
            assert differ == 1 and own.answer != other.answer
    assert generate((3, 3), 1, "val", 20, paired=True)[:14] == generate((3, 3), 1, "val", 7, paired=True)
    alone = {example.question for example in generate((3, 3), 1, "val", 30)}
    firsts = [example.question for example in generate((3, 3), 1, "val", 20, paired=True)[::2]]
    assert sum(question in alone for question in firsts) >= 15, "those that have such a neighbour are the same"


def test_products_of_a_file_have_no_other(tmp_path: Path) -> None:
    file = tmp_path / "val.txt"
    file.write_text(LINE)
    data = Multiplication(**SMALL, val_path=str(file), train_path=str(file), ask="both")
    assert len(data.make_source("train")) == 1 and len(data.make_source("test")) == 80
    with pytest.raises(UserError, match="ask is 'both', and the val products are read from a file"):
        data.make_source("val")
    with pytest.raises(UserError, match="unknown ask 'either'"):
        Multiplication(**SMALL, ask="either")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="no further product of the test split"):
        Multiplication(digits=(1, 1), test_size=4, ask="both").make_source("test")

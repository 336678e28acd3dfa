"""Extraction of answers, and sums that survive any sharing out."""

from __future__ import annotations

import math

import pytest
import torch

from lcot.errors import UserError
from lcot.metrics import AnswerAccuracy, Average, extract_answer, is_correct


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("### Tom is a lempus.", "Tom is a lempus."),
        ("Tom is a x.\n### Tom is a lempus.", "Tom is a lempus."),
        ("### 1 ### 2", "2"),  # the last marker counts
        ("### 1,234", "1234"),
        ("###7", "7"),
        ("  ###   -3 \n", "-3"),
        ("no marker at all", None),
        ("", None),
        ("###", None),
        ("### \n", None),
        ("## 5", None),
        ("### a\nb", "a\nb"),
    ],
)
def test_extraction(text: str, answer: str | None) -> None:
    assert extract_answer(text) == answer


def test_another_marker_is_found_and_the_default_one_is_not() -> None:
    assert extract_answer("The answer is: 12", "The answer is: ") == "12"
    assert extract_answer("### 12", "The answer is: ") is None


@pytest.mark.parametrize(
    ("answer", "gold", "right"),
    [("18", "18", True), ("18.0", "18", False), (None, "", False), ("1234", "1,234", True), ("x", " x ", True)],
)
def test_equality_is_of_strings(answer: str | None, gold: str, right: bool) -> None:
    assert is_correct(answer, gold) is right


def test_accuracy_counts_examples_not_batches() -> None:
    metric = AnswerAccuracy()
    metric.update(["a"], ["a"])
    metric.update([None, "b", "c"], ["a", "b", "x"])
    assert metric.compute() == 0.5
    assert int(metric.total) == 4


def test_uneven_shares_add_up() -> None:
    # 3 examples on one rank, 1 on the other: the mean of means would be 0.5 · (1/3 + 1) = 0.67.
    left, right = AnswerAccuracy(), AnswerAccuracy()
    left.update(["a", None, None], ["a", "a", "a"])
    right.update(["a"], ["a"])
    left.correct += right.correct
    left.total += right.total
    assert left.compute() == 0.5


def test_average_is_weighted_by_count() -> None:
    metric = Average()
    metric.update(torch.tensor(10.0), 10)
    metric.update(6.0, 2)
    assert float(metric.compute()) == pytest.approx(16 / 12)


def test_small_values_are_not_lost_beside_a_large_sum() -> None:
    metric = Average()
    metric.update(2.0**26, 1)
    for _ in range(1000):
        metric.update(0.25, 1)
    assert metric.summed.item() + metric.rest.item() == 2.0**26 + 250
    assert {state.dtype for state in (metric.summed, metric.rest, metric.count)} == {torch.float32, torch.long}


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_what_is_not_finite_stays_so(value: float) -> None:
    metric = Average()
    metric.update(1.0, 1)
    metric.update(value, 1)
    metric.update(1.0, 1)
    assert str(float(metric.compute())) == str(value)


def test_nothing_counted_is_not_a_number() -> None:
    assert math.isnan(float(Average().compute())) and math.isnan(float(AnswerAccuracy().compute()))


def test_the_extractor_decides_what_is_right() -> None:
    string, number = AnswerAccuracy(), AnswerAccuracy("number")
    for metric in (string, number):
        metric.update(["18.0", "18", None], ["18", "18", "18"])
    assert string.compute() == pytest.approx(1 / 3) and number.compute() == pytest.approx(2 / 3)
    with pytest.raises(UserError, match="unknown extractor 'numbers'"):
        AnswerAccuracy("numbers")


def test_a_mean_is_exact_in_a_module_of_another_type() -> None:
    metric = Average().to(torch.bfloat16)
    for _ in range(3):
        metric.update(1000.25, 1)
    assert metric.compute() == 1000.25

"""Means over thoughts, and how well a first-order estimate agrees with what was lost, counted by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from lcot.analysis.effects import Answered
from lcot.analysis.fields import fields_of
from lcot.analysis.weights import Weighed, WeightRow, WeightTable
from tests.analysis.test_effects import PLAIN

ONE = Weighed(question=0, id="q", thought=1, gradient=1.0, attention=0.25, previous=None, moved=0.0)


def lost(question: int, nats: float, thought: int | None = 1, **changes: str) -> Answered:
    given = {"scope": "all" if thought is None else "one", **changes}
    return Answered(**{**PLAIN, "question": question, "thought": thought, "text_change": -nats, **given})


def test_means() -> None:
    table = WeightTable()
    for question, gradient in enumerate((1.0, 2.0)):
        table.weigh(replace(ONE, question=question, gradient=gradient))
        table.weigh(Weighed(question, "q", 2, 2 * gradient, None, 0.5 * gradient, gradient))
    first, second = table.rows()
    assert first == WeightRow(1, 2, 1.5, None, 0.25, None, 0.0)
    assert second == WeightRow(2, 2, 3.0, None, None, 0.75, 1.5)


def test_agreement_is_the_correlation_with_what_zero_costs() -> None:
    table, gradients, losses = WeightTable(), [1.0, 2.0, 4.0, 3.0], [0.5, 2.5, 2.0, 3.0]
    for question, (gradient, nats) in enumerate(zip(gradients, losses, strict=True)):
        table.weigh(replace(ONE, question=question, gradient=gradient))
        table.weigh(replace(ONE, question=question, thought=2, gradient=7.0))
        for one in (
            lost(question, nats),
            lost(question, 5.0, thought=2),
            lost(question, 9.0, thought=None),
            lost(question, 9.0, intervention="mean"),
            lost(question, 9.0, effect="total"),
        ):
            table.answered(one)
    first, second = table.rows()
    expected = torch.corrcoef(torch.tensor([gradients, losses]))[0, 1].item()
    assert first.agreement == pytest.approx(expected)
    assert second.agreement is None  # the same for all


def test_of_a_single_thought_all_is_one() -> None:
    table = WeightTable()
    for question, value in enumerate((1.0, 2.0, 3.0)):
        table.weigh(replace(ONE, question=question, gradient=value))
        table.answered(lost(question, 2 * value, thought=None))
    assert table.rows()[0].agreement == pytest.approx(1.0)


@pytest.mark.parametrize("kind", [Weighed, WeightRow])
def test_every_field_is_described(kind: type) -> None:
    assert list(fields_of(kind)) == list(kind.__dataclass_fields__)  # type: ignore[attr-defined]
    assert all(what and "`" not in what for what in fields_of(kind).values())

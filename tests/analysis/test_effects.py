"""Shares and tests over answers that are counted by hand."""

from __future__ import annotations

from typing import Any

import pytest

from lcot.analysis.effects import Answered, EffectRow, EffectTable
from lcot.analysis.fields import fields_of
from lcot.metrics.statistics import mcnemar, wilson

PLAIN: dict[str, Any] = {
    "question": 0, "id": "q", "pair": "", "steps": 1, "intervention": "zero", "scope": "one", "thought": 2,
    "effect": "direct",
    "donor": None, "text": "", "answer": None, "gold": "7", "correct": False, "correct_before": True, "changed": True,
    "to_donor": None, "to_donor_gold": None, "text_log": -3.0, "answer_log": -2.0, "text_change": -1.0,
    "answer_change": -0.5,
}  # fmt: skip


def row(answers: list[dict[str, Any]], place: int = 0) -> EffectRow:
    table = EffectTable()
    for changes in answers:
        table.add(Answered(**{**PLAIN, **changes}))
    return table.rows()[place]


def test_on_paper() -> None:
    found = row(
        [
            {"to_donor": True, "to_donor_gold": False},
            {"to_donor": False, "to_donor_gold": True, "answer_change": None},
            {"correct": True, "correct_before": False, "text_change": 4.0},
            {"correct": True, "changed": False, "to_donor": False},
        ]
    )
    assert (found.intervention, found.scope, found.thought, found.effect, found.steps) == (
        "zero",
        "one",
        2,
        "direct",
        None,
    )
    assert (found.questions, found.correct, found.accuracy, found.before) == (4, 2, 0.5, 0.75)
    assert (found.low, found.high) == wilson(2, 4)
    assert (found.lost, found.gained, found.p) == (2, 1, mcnemar(2, 1))
    assert (found.changed, found.changed_low, found.changed_high) == (0.75, *wilson(3, 4))
    assert (found.donors, found.to_donor, found.to_donor_low) == (3, 1 / 3, wilson(1, 3)[0])
    assert found.to_donor_gold == 0.5
    assert (found.text_change, found.answer_change) == (0.25, -0.5)


def test_what_there_is_none_of() -> None:
    found = row([{"answer_change": None}])
    assert (found.donors, found.to_donor, found.to_donor_low, found.to_donor_high) == (0, None, None, None)
    assert found.to_donor_gold is None and found.answer_change is None


def test_pairs() -> None:
    """Three pairs, of which one is not whole; the two of a pair need not stand side by side, nor have as many steps."""
    answers: list[dict[str, Any]] = [
        {"pair": "a", "correct": True},
        {"pair": "b", "correct": True, "correct_before": False},
        {"pair": "a", "correct": True, "steps": 2},
        {"pair": "c", "correct": True},
        {"pair": "b", "correct": False},
        {"correct": True},
    ]
    found = row(answers)
    assert (found.pairs, found.pair_accuracy, found.pair_before) == (2, 0.5, 0.5)
    assert (row(answers, 1).pairs, row(answers, 1).pair_accuracy) == (0, None)


def test_rows_by_intervention_and_steps() -> None:
    table = EffectTable()
    for name, steps in (("none", 2), ("zero", 2), ("none", 1), ("zero", 1), ("none", 2), ("zero", 2)):
        table.add(Answered(**{**PLAIN, "intervention": name, "steps": steps}))
    assert [(one.intervention, one.steps, one.questions) for one in table.rows()] == [
        ("none", None, 3), ("none", 1, 1), ("none", 2, 2), ("zero", None, 3), ("zero", 1, 1), ("zero", 2, 2),
    ]  # fmt: skip


@pytest.mark.parametrize("kind", [Answered, EffectRow])
def test_every_field_is_described(kind: type) -> None:
    assert list(fields_of(kind)) == list(kind.__dataclass_fields__)  # type: ignore[attr-defined]
    assert all(what and "`" not in what for what in fields_of(kind).values())

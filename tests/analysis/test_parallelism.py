"""Cumulative values by percentile, added up by hand."""

from __future__ import annotations

import dataclasses
import json
import random
import sys
import tracemalloc
from itertools import repeat

import pytest

from lcot.analysis import Candidate, ConceptValues, Parallelism, Thinker, concept_values
from lcot.analysis.parallelism import parallelism
from tests.analysis.machine import OX, builder_of, machine, worked_tokenizer
from tests.problems import worked


def record(*values: float, k: int = 1, steps: int = 3, off: float = 0.0) -> ConceptValues:
    """A question with a frontier of these values, and one node with a value off it."""
    candidates = [Candidate(node, "x", True, False, 0, 0, 1, value, value) for node, value in enumerate(values)]
    candidates.append(Candidate(99, "y", False, True, 0, 0, 1, off, off))
    return ConceptValues("q", k, k, steps, k, "", tuple(candidates))


def test_lines_of_three_questions() -> None:
    # tops 0.5 0.8 0.9, 0.2 0.4 0.6, 0.9 0.9 0.9: each line is sorted by itself
    found = parallelism(
        [record(0.1, 0.5, 0.3), record(0.2, 0.2, 0.2, 0.1), record(0.9, off=0.05)], percentiles=(0, 25, 50, 100)
    )
    assert len(found) == 1
    (lines,) = found
    assert (lines.thoughts, lines.questions, lines.percentiles) == (1, 3, (0, 25, 50, 100))
    assert lines.top1 == pytest.approx((0.2, 0.35, 0.5, 0.9))
    assert lines.top2 == pytest.approx((0.4, 0.6, 0.8, 0.9))
    assert lines.top3 == pytest.approx((0.6, 0.75, 0.9, 0.9))
    assert lines.means == pytest.approx((1.6 / 3, 2.1 / 3, 2.4 / 3))
    assert lines.gaps == pytest.approx((0.5 / 3, 0.3 / 3))


def test_numbers_of_thoughts_have_lines_of_their_own() -> None:
    found = parallelism([record(0.3, k=2), record(0.5), record(0.7, k=2)])
    assert [(lines.thoughts, lines.questions) for lines in found] == [(1, 1), (2, 2)]
    assert len(found[0].percentiles) == len(found[0].top1) == 101
    assert set(found[0].top1) == {0.5}
    assert (found[1].top1[0], found[1].top1[50], found[1].top1[100]) == pytest.approx((0.3, 0.5, 0.7))


def test_questions_without_a_step_left_do_not_count() -> None:
    answered = record(0.01, k=3)
    assert parallelism([answered]) == []
    assert [lines.questions for lines in parallelism([answered], pending_only=False)] == [1]


def test_a_question_without_candidates_adds_nothing() -> None:
    (lines,) = parallelism([record(off=0.4)], (50,))
    assert (lines.top1, lines.top3) == ((0.0,), (0.0,))


def test_of_many_questions_only_counts_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = random.Random(0)
    records = [record(*(draw.random() ** 3 / 2 for _ in range(4))) for _ in range(400)]
    records += [record(0.0, 0.0), record(1.0), record(1.0, 1.0, 1.0)]  # both ends; names that begin with one another
    (exact,) = parallelism(records)
    monkeypatch.setattr(sys.modules[parallelism.__module__], "EXACT", 100)
    (counted,) = parallelism(records)
    for name in ("top1", "top2", "top3"):
        assert getattr(counted, name) == pytest.approx(getattr(exact, name), abs=1e-4)
        assert getattr(counted, name) != getattr(exact, name)
    assert (counted.questions, counted.means, counted.gaps) == (exact.questions, exact.means, exact.gaps)


def test_memory_does_not_grow_with_the_number_of_questions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[parallelism.__module__], "EXACT", 100)
    peaks = []
    for count in (1_000, 20_000):
        tracemalloc.start()
        try:
            (lines,) = parallelism(repeat(record(0.5, 0.2), count))
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
        assert lines.questions == count
    assert peaks[1] - peaks[0] < 10_000 and peaks[1] < 2_000_000


def test_on_the_machine() -> None:
    tokenizer = worked_tokenizer()
    thinker = Thinker(machine(tokenizer), builder_of(tokenizer))
    values = [found for k in (1, 2) for found in concept_values(thinker, [worked("compact", OX)], k)]
    first, second = parallelism(values, (50,))
    assert first.means == pytest.approx((0.6, 0.7, 0.78), abs=1e-5)
    assert second.means == pytest.approx((0.9, 0.95, 0.95), abs=1e-5)
    assert second.gaps[0] < first.gaps[0]  # it narrows down
    stored = json.loads(json.dumps(dataclasses.asdict(first)))
    assert set(stored) == {field.name for field in dataclasses.fields(Parallelism)}

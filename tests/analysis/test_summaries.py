"""Tables of many questions, counted by hand."""

from __future__ import annotations

from typing import Any

import pytest

from lcot.analysis.lens import LensToken, ShownResult, ThoughtLens
from lcot.analysis.summaries import (
    LensTable,
    ResultTable,
    accuracy_table,
    path_table,
    shown_first,
)
from lcot.reasoning.example import ReasoningExample
from tests.problems import worked

EXAMPLE = worked("compact")


def row(thoughts: int, steps: int, correct: bool, tokens: int, category: str | None = None) -> dict[str, Any]:
    return {"thoughts": thoughts, "steps": steps, "correct": correct, "tokens": tokens, "category": category}


def lens(thought: int, token: str, *results: ShownResult) -> ThoughtLens:
    return ThoughtLens("worked", 3, thought, (LensToken(token, 7, 0.5),), (), results)


class TestAccuracy:
    """By number of thoughts, and by number of steps."""

    def test_counts(self) -> None:
        rows = [row(1, 2, True, 4), row(0, 2, True, 6), row(0, 3, False, 8), row(0, 3, True, 7)]
        found = {(one.thoughts, one.steps): one for one in accuracy_table(rows)}
        assert list(found) == [(0, None), (0, 2), (0, 3), (1, None), (1, 2)]
        assert (found[0, None].questions, found[0, None].correct, found[0, None].tokens) == (3, 2, 7.0)
        assert found[0, None].accuracy == pytest.approx(2 / 3)
        assert (found[0, 3].accuracy, found[0, 3].questions) == (0.5, 2)
        assert [one.pair_accuracy for one in found.values()] == [None] * 5

    def test_pairs_stand_one_behind_the_other(self) -> None:
        rights = {"a": (True, True), "b": (True, False), "c": (True, True), "d": (True,)}
        asked = [(right, name) for name, pair in rights.items() for right in pair]
        rows = [
            {**row(k, place % 2, right and k == 0, 1), "pair": name}
            for k in (0, 1)
            for place, (right, name) in enumerate(asked)
        ]
        found = {(one.thoughts, one.steps): one.pair_accuracy for one in accuracy_table(rows)}
        assert found[0, None] == pytest.approx(2 / 3) and found[1, None] == 0.0
        assert found[0, 0] is None and found[0, 1] is None


def test_shares_of_ways() -> None:
    rows = [row(2, 3, True, 1, "correct_path"), row(2, 3, True, 1, "hallucination"), row(2, 3, True, 1, None)]
    (found,) = path_table([*rows, row(2, 3, False, 1, "correct_path")])
    assert (found.thoughts, found.questions) == (2, 3)
    assert found.shares["correct_path"] == pytest.approx(2 / 3)
    assert sum(found.shares.values()) == pytest.approx(1)
    assert path_table([row(2, 3, True, 1)]) == []


class TestLens:
    """The most probable token beside the graph."""

    @pytest.mark.parametrize(
        ("token", "depth", "shown"),
        [
            ("lempus", 1, "optimal"),
            (" lempus", 1, "optimal"),  # with the space before it
            ("rompus", 1, "frontier"),
            ("lempus", 2, "frontier"),  # by the detour
            ("impus", 2, "optimal"),
            ("wumpus", 1, "concept"),
            ("Alex", 1, "concept"),
            ("### ", 1, "other"),
            ("", 1, "other"),
            ("lem", 1, "optimal"),  # the beginning of a name
            ("l", 1, "other"),  # too little to tell
        ],
    )
    def test_what_it_is(self, token: str, depth: int, shown: str) -> None:
        assert shown_first(EXAMPLE, lens(1, token), depth) == shown

    def test_a_dead_end_behind_the_target_is_on_no_way(self) -> None:
        facts = {
            "idx_to_symbol": ["Tom", "apus", "topus", "bepus", "capus"],
            "edges": [[0, 1], [1, 2], [1, 3], [3, 4]],
            "root": 0,
            "target": 2,
            "neg_target": 4,
        }
        example = ReasoningExample("Tom?", ("x",), "topus", "dead", facts)
        shown = [shown_first(example, lens(depth, "capus"), depth) for depth in (2, 3, 4)]
        assert shown == ["concept", "frontier", "concept"]

    def test_shares(self) -> None:
        table = LensTable()
        for token in ("lempus", "rompus", "lempus", "###"):
            table.add(EXAMPLE, lens(1, token))
        table.add(EXAMPLE, lens(2, "impus"))
        first, second = table.rows()
        assert (first.thought, first.questions) == (1, 4)
        assert first.shares == {"optimal": 0.5, "frontier": 0.25, "concept": 0.0, "other": 0.25}
        assert (second.thought, second.shares["optimal"]) == (2, 1.0)

    def test_two_thoughts_a_step(self) -> None:
        table = LensTable(thoughts_per_step=2)
        for thought in (1, 2, 3):
            table.add(EXAMPLE, lens(thought, "impus"))
        assert [row.shares["optimal"] for row in table.rows()] == [0.0, 0.0, 1.0]


def test_intermediate_results() -> None:
    table = ResultTable()
    for rank, chance in ((1, 0.5), (10, 0.1), (11, 0.0)):
        table.add(lens(2, "9", ShownResult("equation", 1, "9", True, chance, rank)))
    (found,) = table.rows()
    assert (found.thoughts, found.thought, found.kind, found.step, found.results) == (3, 2, "equation", 1, 3)
    assert (found.first, found.ten, found.probability) == pytest.approx((1 / 3, 2 / 3, 0.2))

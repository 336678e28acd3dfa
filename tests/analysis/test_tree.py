"""Values on the graph, and by height: a graph and a machine that are worked out on paper."""

from __future__ import annotations

import dataclasses
import json

import pytest

from lcot.analysis import (
    ConceptValues,
    HeightRow,
    Thinker,
    concept_values,
    frontiers,
    height_table,
    search_tree,
)
from lcot.analysis.tree import reached
from lcot.errors import DataError, UserError
from lcot.reasoning.example import ReasoningExample
from tests.analysis.machine import OX, builder_of, machine, worked_tokenizer
from tests.problems import ALEX, IMPUS, LEMPUS, ROMPUS, TOM, WUMPUS, YUMPUS, ZUMPUS, worked

EXAMPLE = worked("compact", OX)
TOKENIZER = worked_tokenizer()


def measured(*thoughts: int, scored: str = "frontier") -> list[ConceptValues]:
    thinker = Thinker(machine(TOKENIZER), builder_of(TOKENIZER))
    return [
        found
        for k in thoughts
        for found in concept_values(thinker, [EXAMPLE], k, scored=scored)  # type: ignore[arg-type]
    ]


class TestSearchTree:
    """One problem."""

    def test_values_are_written_on_nodes(self) -> None:
        tree = search_tree(EXAMPLE, measured(2, 0, 1))
        assert (tree.id, tree.steps, tree.thoughts, tree.depths) == ("worked", 3, (0, 1, 2), (1, 2, 3))
        assert tree.edges[0] == (TOM, LEMPUS)
        by_name = {node.name: node for node in tree.nodes}
        assert by_name["lempus"].values == pytest.approx((0.5, 0.1, None), abs=1e-5)
        assert by_name["impus"].values[0] is None
        assert by_name["impus"].values[1:] == pytest.approx((0.6, 0.05), abs=1e-5)
        assert by_name["lempus"].frontier == (True, True, False)
        assert by_name["Tom"].values == (None, None, None)

    def test_what_is_said_of_nodes(self) -> None:
        tree = search_tree(EXAMPLE, measured(0))
        roles = {node.name: node.role for node in tree.nodes if node.role}
        assert roles == {"Tom": "root", "wumpus": "target", "yumpus": "neg_target"}
        rompus = tree.nodes[ROMPUS]
        assert (rompus.node, rompus.depth, rompus.height, rompus.leads) == (ROMPUS, 1, 1, True)
        assert search_tree(EXAMPLE, measured(0), height="longest").nodes[ROMPUS].height == 3
        assert (tree.nodes[ZUMPUS].leads, tree.nodes[ALEX].depth) == (False, -1)

    def test_what_is_left_of_one(self) -> None:
        assert search_tree(EXAMPLE, measured(0, 1)).other == pytest.approx((0.2, 0.22), abs=1e-5)
        whole = search_tree(EXAMPLE, measured(0, 1, scored="all"))
        assert whole.other == pytest.approx((0.2 - 0.1 * 0.4, 0.12), abs=1e-5)
        assert whole.nodes[YUMPUS].values == pytest.approx((0.0, 0.0), abs=1e-5)
        assert whole.nodes[YUMPUS].frontier == (False, False)

    def test_it_is_plain(self) -> None:
        stored = json.loads(json.dumps(dataclasses.asdict(search_tree(EXAMPLE, measured(0)))))
        assert stored["nodes"][IMPUS]["name"] == "impus"

    def test_values_of_something_else_are_refused(self) -> None:
        stranger = dataclasses.replace(measured(0)[0], id="other")
        with pytest.raises(UserError, match="values of question 'other'"):
            search_tree(EXAMPLE, [stranger])
        with pytest.raises(UserError, match="two records of one number of thoughts"):
            search_tree(EXAMPLE, measured(0, 0))
        with pytest.raises(UserError, match="unknown height 'tall'"):
            search_tree(EXAMPLE, [], height="tall")  # type: ignore[arg-type]


def test_the_part_that_the_root_reaches() -> None:
    whole = search_tree(EXAMPLE, measured(0, 1, scored="all"))
    part = reached(whole)
    names = [node.name for node in whole.nodes]
    assert (
        [node.name for node in part.nodes]
        == [node.name for node in whole.nodes if node.depth >= 0 or node.role == "neg_target"]
        != names
    )
    assert [node.node for node in part.nodes] == list(range(len(part.nodes)))
    by_name = {(part.nodes[start].name, part.nodes[end].name) for start, end in part.edges}
    kept = {node.name for node in part.nodes}
    assert by_name == {(names[start], names[end]) for start, end in whole.edges if {names[start], names[end]} <= kept}
    for node in part.nodes:
        assert dataclasses.replace(node, node=names.index(node.name)) == whole.nodes[names.index(node.name)]
    assert (part.other, part.thoughts) == (whole.other, whole.thoughts)


def test_frontiers_up_to_the_target() -> None:
    assert frontiers(EXAMPLE) == ((TOM,), (LEMPUS, ROMPUS), (LEMPUS, IMPUS, ZUMPUS), (IMPUS, WUMPUS))
    assert frontiers(EXAMPLE, "distance") == ((TOM,), (LEMPUS, ROMPUS), (IMPUS, ZUMPUS), (WUMPUS,))
    with pytest.raises(DataError, match="carries no graph"):
        frontiers(ReasoningExample("1 + 1?", (), "2", "sum"))


class TestHeightTable:
    """Means over candidates."""

    def test_on_paper(self) -> None:
        rows = height_table(measured(1, 0))
        expected = [
            (0, 1, True, 1, 0.3),  # rompus
            (0, 2, True, 1, 0.5),  # lempus
            (1, 0, False, 1, 0.08),  # ox
            (1, 1, True, 1, 0.6),  # impus
            (1, 2, True, 1, 0.1),  # lempus again
        ]
        assert [(row.thoughts, row.height, row.leads, row.count) for row in rows] == [row[:4] for row in expected]
        assert [row.mean for row in rows] == pytest.approx([row[4] for row in expected], abs=1e-5)
        assert [row.std for row in rows] == pytest.approx([0.0] * 5)

    def test_to_the_farthest_leaf(self) -> None:
        rows = height_table(measured(0), height="longest")
        assert [(row.height, row.leads) for row in rows] == [(2, True), (3, True)]
        assert [row.mean for row in rows] == pytest.approx([0.5, 0.3], abs=1e-5)

    def test_means_and_deviations_over_questions(self) -> None:
        base = measured(0)[0]
        lempus = next(one for one in base.candidates if one.name == "lempus")
        made = [
            dataclasses.replace(base, candidates=(dataclasses.replace(lempus, value=value),))
            for value in (0.2, 0.4, 0.9)
        ]
        (row,) = height_table(iter(made))
        assert row.count == 3 and row.mean == pytest.approx(0.5)
        assert row.std == pytest.approx(((0.09 + 0.01 + 0.16) / 3) ** 0.5)

    def test_nodes_off_the_frontier_do_not_count(self) -> None:
        rows, others = height_table(measured(0, scored="all")), height_table(measured(0))
        assert [dataclasses.astuple(row) for row in rows] == [pytest.approx(dataclasses.astuple(row)) for row in others]

    def test_questions_without_a_step_left_do_not_count(self) -> None:
        assert height_table(measured(3)) == []
        (row,) = height_table(measured(3), pending_only=False)
        assert row == HeightRow(3, 0, True, 1, pytest.approx(0.0, abs=1e-9), 0.0)  # type: ignore[arg-type]

    def test_settings(self) -> None:
        with pytest.raises(UserError, match="unknown height 'tall'"):
            height_table([], height="tall")  # type: ignore[arg-type]

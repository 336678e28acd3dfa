"""Graphs out of facts: depths, frontiers and heights of a graph that is drawn in :mod:`tests.problems`."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lcot.datamodules.graphs.generator import GraphSpec
from lcot.datamodules.graphs.splits import generate
from lcot.datamodules.graphs.text import draw_names, render
from lcot.datamodules.ontologies.text import read_facts
from lcot.errors import DataError
from lcot.metrics.problem_graph import ProblemGraph, has_graph, problem_graph
from lcot.reasoning.example import ReasoningExample
from lcot.reasoning.keyed import keyed_random
from tests.problems import (
    ALEX,
    IMPUS,
    LEMPUS,
    NAMES,
    PROOF,
    ROMPUS,
    TOM,
    WUMPUS,
    YUMPUS,
    ZUMPUS,
    worked,
)

GRAPH = problem_graph(worked("prose"))


def test_what_the_facts_say() -> None:
    assert (GRAPH.names, GRAPH.root, GRAPH.target, GRAPH.neg_target) == (NAMES, TOM, WUMPUS, YUMPUS)
    assert GRAPH.steps == 3
    assert GRAPH.numbers["impus"] == IMPUS
    assert (TOM, LEMPUS) in GRAPH.links and (LEMPUS, TOM) not in GRAPH.links


def test_depths() -> None:
    by_name = dict(zip(NAMES, GRAPH.depths, strict=True))
    assert by_name == {
        "Tom": 0,
        "Alex": -1,
        "lempus": 1,
        "rompus": 1,
        "impus": 2,
        "wumpus": 3,
        "yumpus": -1,
        "zumpus": 2,
    }
    ahead = dict(zip(NAMES, GRAPH.to_target, strict=True))
    assert ahead == {
        "Tom": 3,
        "Alex": 4,
        "lempus": 2,
        "rompus": 3,
        "impus": 1,
        "wumpus": 0,
        "yumpus": -1,
        "zumpus": -1,
    }


def test_frontiers_of_walks_meet_a_node_again_behind_a_detour() -> None:
    walks = [GRAPH.frontier(depth) for depth in range(6)]
    assert walks == [(TOM,), (LEMPUS, ROMPUS), (LEMPUS, IMPUS, ZUMPUS), (IMPUS, WUMPUS), (WUMPUS,), ()]
    distances = [GRAPH.frontier(depth, by="distance") for depth in range(5)]
    assert distances == [(TOM,), (LEMPUS, ROMPUS), (IMPUS, ZUMPUS), (WUMPUS,), ()]


def test_heights_to_the_nearest_and_to_the_farthest_leaf() -> None:
    shortest, longest = GRAPH.heights(), GRAPH.heights("longest")
    found = {name: (shortest[node], longest[node]) for node, name in enumerate(NAMES)}
    assert found == {
        "Tom": (2, 4),
        "Alex": (1, 4),
        "lempus": (2, 2),
        "rompus": (1, 3),
        "impus": (1, 1),
        "wumpus": (0, 0),
        "yumpus": (0, 0),
        "zumpus": (0, 0),
    }


def test_a_cycle_has_no_farthest_leaf_and_a_closed_one_no_leaf_at_all() -> None:
    # 0 → 1 ⇄ 2 → 3, and 4 ⇄ 5
    graph = ProblemGraph(tuple("abcdef"), ((0, 1), (1, 2), (2, 1), (2, 3), (4, 5), (5, 4)), 0, 3)
    assert graph.heights() == (3, 2, 1, 0, None, None)
    assert graph.heights("longest") == (None, None, None, 0, None, None)
    assert graph.frontier(4) == (2,)


def test_depths_agree_with_those_of_the_generator() -> None:
    spec = GraphSpec(nodes=(10, 14), hops=(2, 4), symbols=24)
    for number, problem in enumerate(generate(spec, 0, "val", 20)):
        names = draw_names(spec, problem, keyed_random("names", number))
        graph = problem_graph(render(problem, names, keyed_random("facts", number), "compact", example_id="x"))
        assert list(graph.depths) == problem.distances(problem.root)
        assert graph.steps == len(problem.shortest_path()) - 1


class TestProofs:
    """The graph of a problem of ProntoQA."""

    def test_entity_concepts_and_properties_are_nodes(self) -> None:
        graph = problem_graph(PROOF)
        assert graph.names[graph.root] == "Max"
        assert graph.names[graph.target] == "not hot"
        assert graph.neg_target is None
        assert graph.steps == 4
        named = {(graph.names[start], graph.names[end]) for start, end in graph.edges}
        assert named == {
            ("Max", "impus"),
            ("impus", "jompus"),
            ("jompus", "tumpus"),
            ("jompus", "wumpus"),
            ("tumpus", "numpus"),
            ("tumpus", "loud"),
            ("numpus", "not hot"),
            ("wumpus", "not hot"),
            ("yumpus", "hot"),
        }

    def test_facts_as_the_data_module_reads_them(self) -> None:
        facts = read_facts(PROOF.question, PROOF.steps)
        assert facts is not None
        graph = problem_graph(replace(PROOF, facts=facts))
        assert graph.steps == 4
        assert [graph.names[node] for node in graph.children[graph.root]] == ["impus", "yumpus"]

    def test_a_true_query_is_the_target_itself(self) -> None:
        turned = replace(PROOF, answer="True", facts={**PROOF.facts, "query": ["hot", False]})
        assert problem_graph(turned).target == problem_graph(PROOF).target


class TestRefusals:
    """Facts that hold no graph."""

    def test_no_graph(self) -> None:
        plain = ReasoningExample("1 + 1?", ("1 + 1 = 2",), "2", "sum")
        assert not has_graph(plain)
        with pytest.raises(DataError, match="carries no graph") as refusal:
            problem_graph(plain)
        assert "idx_to_symbol" in str(refusal.value)

    @pytest.mark.parametrize(
        ("change", "fault"),
        [
            ({"edges": [[0, 99]]}, "nodes"),
            ({"root": "Tom"}, "nodes"),
            ({"idx_to_symbol": ["Tom", "Tom"]}, "names and edges"),
            ({"edges": [[0]]}, "names and edges"),
            ({"edges": None}, "names and edges"),
            ({"idx_to_symbol": [1, 2]}, "names and edges"),
            ({"pad_steps": "4"}, "pad_steps"),
            ({"amounts": [1]}, "amounts"),
            ({"amounts": ["1"] * len(NAMES)}, "amounts"),
        ],
    )
    def test_a_graph_that_cannot_be_read(self, change: dict[str, object], fault: str) -> None:
        example = worked("prose")
        broken = replace(example, facts={**example.facts, **change})
        assert has_graph(broken)
        with pytest.raises(DataError, match=f"a graph whose {fault} cannot be read"):
            problem_graph(broken)

    def test_a_target_out_of_reach(self) -> None:
        example = worked("prose")
        with pytest.raises(DataError, match="a target that its root does not reach"):
            problem_graph(replace(example, facts={**example.facts, "target": ALEX}))
        assert ROMPUS not in GRAPH.frontier(3)

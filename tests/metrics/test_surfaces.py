"""Surfaces read backwards: what a question states and what a path says."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import pytest

from lcot.datamodules.graphs.generator import GraphSpec
from lcot.datamodules.graphs.splits import generate
from lcot.datamodules.graphs.text import Style, draw_names, render
from lcot.errors import DataError, UserError
from lcot.metrics.problem_graph import problem_graph
from lcot.metrics.surfaces import (
    UNKNOWN,
    Move,
    graph_and_surface,
    printed_answer,
    printed_moves,
    stated_facts,
    surface_of,
)
from lcot.reasoning.keyed import keyed_random
from tests.problems import EDGES, IMPUS, LEMPUS, NAMES, PROOF, TOM, WUMPUS, worked

GRAPH = problem_graph(worked("prose"))
STYLES = get_args(Style)


@pytest.mark.parametrize("style", STYLES)
def test_a_style_is_known_by_the_end_of_its_question(style: Style) -> None:
    assert surface_of(worked(style), GRAPH) == style


def test_either_option_may_come_first() -> None:
    spec = GraphSpec(nodes=(8, 10), hops=(1, 3), symbols=16)
    for number, problem in enumerate(generate(spec, 0, "val", 12)):
        names = draw_names(spec, problem, keyed_random("names", number))
        for style in STYLES:
            example = render(problem, names, keyed_random("facts", number), style, example_id="x")
            assert surface_of(example, problem_graph(example)) == style


def test_a_proof_is_known_by_its_facts() -> None:
    assert surface_of(PROOF, problem_graph(PROOF)) == "proof"


def test_an_unknown_surface_can_be_named() -> None:
    example = replace(worked("prose"), question="Tom is a lempus. What is Tom?")
    with pytest.raises(UserError, match="no surface that is known"):
        surface_of(example, GRAPH)
    assert graph_and_surface(example, "prose")[1] == "prose"
    with pytest.raises(UserError, match="unknown surface 'verse'"):
        graph_and_surface(example, "verse")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "moves"),
    [
        ("", []),
        (" \n", []),
        ("Tom is a lempus.\nEvery lempus is a impus.\n", [Move(TOM, LEMPUS), Move(LEMPUS, IMPUS)]),
        ("Tom is a lempus.Every lempus is an impus.", [Move(TOM, LEMPUS), Move(LEMPUS, IMPUS)]),
        ("Every lempus is a blah.", [Move(LEMPUS, UNKNOWN)]),
        ("Every lempus is a", None),
        ("Tom is a lempus. So", None),
        ("Tom likes lempus.", None),
    ],
)
def test_moves_in_prose(text: str, moves: list[Move] | None) -> None:
    assert printed_moves(text, GRAPH, "prose") == moves


@pytest.mark.parametrize(
    ("text", "moves"),
    [
        ("", []),
        ("lempus impus wumpus", [Move(None, LEMPUS), Move(None, IMPUS), Move(None, WUMPUS)]),
        (" lempus\nimpus\n", [Move(None, LEMPUS), Move(None, IMPUS)]),
        ("lempusimpus", [Move(None, UNKNOWN)]),
        ("lempus.", None),
        ("lempus |", None),
    ],
)
def test_moves_in_compact_and_symbolic_text(text: str, moves: list[Move] | None) -> None:
    assert printed_moves(text, GRAPH, "compact") == moves
    assert printed_moves(text, GRAPH, "symbolic") == moves


def test_names_of_several_words() -> None:
    names = (*NAMES[:2], "big lempus", "rompus", "big impus", *NAMES[5:])
    graph = problem_graph(worked("prose", names))
    assert printed_moves("Tom is a big lempus. Every big lempus is a big impus.", graph, "prose") == [
        Move(TOM, LEMPUS),
        Move(LEMPUS, IMPUS),
    ]
    assert printed_moves("big lempus big impus", graph, "compact") == [Move(None, LEMPUS), Move(None, IMPUS)]


def test_moves_in_proofs() -> None:
    graph = problem_graph(PROOF)
    number = graph.numbers
    text = "Max is an impus. Each impus is a jompus. Max is a jompus. Jompuses are wumpuses. Max is not hot."
    assert printed_moves(text, graph, "proof") == [
        Move(None, number["impus"], restates=True),
        Move(number["impus"], number["jompus"]),
        Move(None, number["jompus"], restates=True),
        Move(number["jompus"], number["wumpus"]),
        Move(None, number["not hot"], restates=True),
    ]
    assert printed_moves("Rex is an impus.", graph, "proof") == [Move(UNKNOWN, number["impus"], restates=True)]
    assert printed_moves("Max is an impus. Max runs.", graph, "proof") is None
    assert printed_moves("Max is an impus", graph, "proof") is None


@pytest.mark.parametrize(
    ("text", "surface", "answer"),
    [
        (" Tom is a wumpus.", "prose", "wumpus"),
        ("Tom is a wumpus", "prose", "wumpus"),
        ("wumpus", "prose", None),
        ("", "prose", None),
        (" wumpus\n", "compact", "wumpus"),
        ("wumpus lempus", "compact", None),
        ("False", "proof", "False"),
        ("false", "proof", None),
    ],
)
def test_answers(text: str, surface: str, answer: str | None) -> None:
    assert printed_answer(text, GRAPH, surface) == answer  # type: ignore[arg-type]


@pytest.mark.parametrize("style", STYLES)
def test_facts_are_found_where_they_stand(style: Style) -> None:
    example = worked(style)
    facts = stated_facts(example, GRAPH, style)
    assert tuple(fact.edge for fact in facts) == EDGES
    texts = [example.question[fact.start : fact.stop] for fact in facts]
    first = {"prose": "Tom is a lempus.", "compact": "Tom lempus.", "symbolic": "Tom lempus|"}
    third = {"prose": "Every lempus is a impus.", "compact": "lempus impus.", "symbolic": "lempus impus|"}
    assert (texts[0], texts[2]) == (first[style], third[style])


def test_facts_of_a_proof() -> None:
    graph = problem_graph(PROOF)
    facts = stated_facts(PROOF, graph, "proof")
    assert len(facts) == len(graph.edges)  # "Max is a yumpus" is not among its facts, nor is the query
    assert PROOF.question[facts[-1].start : facts[-1].stop] == "Max is an impus."


def test_a_question_that_leaves_out_an_edge_is_refused() -> None:
    example = worked("compact")
    shorter = replace(example, question=example.question.replace("Tom lempus. ", "", 1))
    with pytest.raises(DataError, match="states 7 of its graph's 8 edges"):
        stated_facts(shorter, GRAPH, "compact")

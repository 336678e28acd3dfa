"""ProsQA about one ontology that is never told."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest

from lcot.datamodules.graphs.closed_prosqa import ClosedProsQA, ClosedSource, Ontology, draw_ontology, problems_of
from lcot.datamodules.graphs.generator import CONCEPTS, Problem
from lcot.datamodules.rows import Source
from lcot.errors import UserError
from lcot.metrics import judge
from lcot.metrics.problem_graph import problem_graph
from lcot.reasoning.example import ReasoningExample

#     a → c → d      a, b are kinds of nothing else's; d and e are leaves
#     b → c, b → e
SMALL = Ontology(("a", "b", "c", "d", "e"), ((0, 2), (1, 2), (1, 4), (2, 3)))


def splits(**options: Any) -> dict[str, Source]:
    """The sources of a small data set."""
    data = ClosedProsQA(symbols=40, train_size=300, val_size=60, test_size=100, **options)
    return {split: data.make_source(split) for split in ("train", "val", "test", "predict")}


def examples(source: Source, epoch: int = 0) -> list[ReasoningExample]:
    """All examples of an epoch."""
    return [source.example(index, epoch) for index in range(len(source))]


def known(example: ReasoningExample) -> dict[str, Any]:
    """What the example knows about itself."""
    return dict(example.facts)


def asked(example: ReasoningExample) -> tuple[object, ...]:
    """What a question is about, whoever it is asked of."""
    facts = known(example)
    return example.steps[0], *(facts["idx_to_symbol"][facts[key]] for key in ("target", "neg_target"))


def test_problems_of_a_small_ontology_by_hand() -> None:
    """From a: d in 3 edges, and e is out of reach. From b both leaves are reached. From c: d in 2. e: in 1; not d."""
    found = problems_of(SMALL, (1, 4))
    assert {(p.edges[0][1], p.target, p.neg_target) for p in found} == {(0, 3, 4), (2, 3, 4), (3, 3, 4), (4, 4, 3)}
    assert [p.shortest_path() for p in problems_of(SMALL, (3, 3))] == [(5, 0, 2, 3)]
    assert all(p.entities == {0, 1, 5} or p.edges[0][1] in (0, 1) for p in found)


def test_text_of_a_small_ontology() -> None:
    (problem,) = problems_of(SMALL, (3, 3))
    source = ClosedSource(SMALL, [problem], 50, ["Tom"], 4, False, "test", 0)
    texts = {source.example(index, 0).question for index in range(50)}
    assert texts == {"Tom a. d or e? Tom", "Tom a. e or d? Tom"}
    assert source.example(0, 0).steps == ("a", "c", "d", "d") and source.example(0, 0).answer == "d"
    assert ClosedSource(SMALL, [problem], 1, ["Tom"], 0, False, "test", 0).example(0, 0).steps == ("a", "c", "d")


def test_an_ontology_has_all_names_and_no_circle() -> None:
    for seed in range(20):
        made = draw_ontology(CONCEPTS, 1.4, random.Random(seed))
        assert sorted(made.names) == sorted(CONCEPTS)
        assert all(parent < child for parent, child in made.edges) and len(set(made.edges)) == len(made.edges)
        parents = [sum(child == node for _, child in made.edges) for node in range(len(made.names))]
        assert set(parents[:9]) == {0} and set(parents[9:]) <= {1, 2} and 2 in parents


def test_every_answer_follows_from_the_ontology() -> None:
    source = splits()["train"]
    for example in examples(source):
        facts = known(example)
        names = facts["idx_to_symbol"]
        edges = {(names[a], names[b]) for a, b in facts["edges"]}
        person = example.question.split()[-1]
        chain = (person, *example.steps)
        assert all(pair in edges for pair in itertools.pairwise(chain))
        assert example.steps[-1] == example.answer and 2 <= len(example.steps) <= 4
        told, options = example.question.split(". ")
        assert told == f"{person} {example.steps[0]}" and example.answer in options
        graph = Problem(
            tuple(map(tuple, facts["edges"])), len(names), *(facts[k] for k in ("root", "target", "neg_target"))
        )
        assert graph.distances(graph.root)[graph.neg_target] == -1


def test_no_problem_is_in_two_splits_and_all_ask_of_one_ontology() -> None:
    made = splits()
    about = {split: {asked(example) for example in examples(source)} for split, source in made.items()}
    assert not about["train"] & about["test"] and not about["train"] & about["val"] and not about["val"] & about["test"]
    assert about["predict"] == about["test"] and len(about["train"]) > 100
    edges = set()
    for example in itertools.chain(*map(examples, made.values())):
        facts = known(example)
        names = facts["idx_to_symbol"]
        edges.add(tuple((names[a], names[b]) for a, b in facts["edges"][1:]))  # all but the person's
    assert len(edges) == 1


def test_the_ontology_is_that_of_its_number_whatever_the_seed() -> None:
    same = [examples(splits(seed=seed)["train"]) for seed in (0, 1)]
    assert same[0] == same[1]
    assert examples(splits(ontology=1)["train"]) != same[0]


def test_redrawing_changes_persons_and_options_of_training_alone() -> None:
    made = splits(redraw="all")
    assert made["train"].redraws and not made["test"].redraws
    one, two = examples(made["train"], 0), examples(made["train"], 1)
    assert one != two and [asked(example) for example in one] == [asked(example) for example in two]
    assert examples(made["test"], 0) == examples(made["test"], 1)


@pytest.mark.parametrize("pad_steps", [0, 3, 6])
def test_gold_texts_are_shortest_paths_however_they_are_filled_up(pad_steps: int) -> None:
    for example in examples(splits(pad_steps=pad_steps)["test"]):
        assert len(example.steps) >= pad_steps and problem_graph(example).pad_steps == pad_steps
        for hidden in range(len(example.steps) + 1):
            text = " ".join(example.steps[hidden:]) + f"### {example.answer}"
            category = judge(text, example, hidden)
            assert category == ("correct_path" if hidden < len(example.steps) else "correct_label"), (hidden, text)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"parents": 3.0}, "parents is 3.0"),
        ({"pad_steps": -1}, "pad_steps is -1"),
        ({"redraw": "order"}, "redraw"),
        ({"symbols": 12}, "problems"),
        ({"train_size": 0}, "train_size is 0"),
    ],
)
def test_mistakes(options: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=says):
        ClosedProsQA(**options)

"""Splits of generated graphs: no leaks, no copies, whatever the nodes are called."""

from __future__ import annotations

import itertools
import random
import re
from collections import Counter
from typing import Any

import pytest

from lcot.datamodules.graphs.generator import GraphSpec, Problem, draw_problem
from lcot.datamodules.graphs.splits import GraphSplit, canonical_key, generate, split_of
from lcot.errors import UserError

SMALL = GraphSpec(nodes=(10, 10), hops=(2, 3), symbols=16)


def relabelled(problem: Problem, rng: random.Random) -> Problem:
    """The same problem with other numbers and another order of edges."""
    new = rng.sample(range(problem.num_nodes), problem.num_nodes)
    edges = [(new[parent], new[child]) for parent, child in problem.edges]
    rng.shuffle(edges)
    asked = (new[node] for node in (problem.root, problem.target, problem.neg_target))
    return Problem(tuple(edges), problem.num_nodes, *asked)


def exact_form(problem: Problem, marks: bool) -> tuple[Any, ...]:
    """The smallest description over all numberings: equal exactly for isomorphic problems."""
    asked = (problem.root, problem.target, problem.neg_target) if marks else ()
    return problem.num_nodes, min(
        (sorted((new[parent], new[child]) for parent, child in problem.edges), [new[node] for node in asked])
        for new in itertools.permutations(range(problem.num_nodes))
    )


def test_the_key_ignores_numbers_and_order() -> None:
    rng = random.Random(1)
    for spec in (SMALL, GraphSpec.published()):
        for _ in range(100):
            problem = draw_problem(spec, rng)
            other = relabelled(problem, rng)
            assert canonical_key(problem) == canonical_key(other)
            assert canonical_key(problem, marks=False) == canonical_key(other, marks=False)
            assert split_of(problem) == split_of(other)


@pytest.mark.parametrize("marks", [True, False])
def test_the_key_agrees_with_a_search_over_all_numberings(marks: bool) -> None:
    rng = random.Random(2)
    spec = GraphSpec(nodes=(4, 7), hops=(1, 3))
    drawn = [draw_problem(spec, rng) for _ in range(150)]
    problems = [relabelled(problem, rng) for problem in drawn if problem.num_nodes <= 6]
    pairs = {(repr(exact_form(problem, marks)), canonical_key(problem, marks=marks)) for problem in problems}
    # One key a shape and one shape a key: the second is luck in general, but holds for graphs this small.
    assert len(pairs) == len({form for form, _ in pairs}) == len({key for _, key in pairs}) > 20


def test_the_key_sees_what_is_asked() -> None:
    edges = ((0, 2), (0, 3), (1, 4), (4, 5))
    near, far = Problem(edges, 6, 0, 2, 5), Problem(edges, 6, 1, 5, 2)
    assert canonical_key(near) != canonical_key(far)
    assert canonical_key(near, marks=False) == canonical_key(far, marks=False)
    assert canonical_key(near) == canonical_key(Problem(edges, 6, 0, 3, 5))  # nodes 2 and 3 can be exchanged


def test_no_graph_is_in_two_splits_whatever_seed_and_size() -> None:
    splits: dict[GraphSplit, int] = {"train": 500, "val": 60, "test": 60}
    for marks in (True, False):
        keys: dict[str, set[int]] = {}
        for seed, (split, count) in enumerate(splits.items()):
            for spec in (SMALL, GraphSpec(nodes=(8, 12), hops=(1, 4), symbols=16)):
                problems = generate(spec, seed, split, count)
                assert len(problems) == count
                assert {split_of(problem) for problem in problems} == {split}
                keys.setdefault(split, set()).update(canonical_key(problem, marks=marks) for problem in problems)
        assert not keys["train"] & keys["test"]
        assert not keys["train"] & keys["val"]
        assert not keys["val"] & keys["test"]


def test_small_graphs_are_disjoint_by_exact_search() -> None:
    spec = GraphSpec(nodes=(6, 6), hops=(1, 3))
    train = {repr(exact_form(problem, marks=False)) for problem in generate(spec, 0, "train", 80)}
    held_out: tuple[GraphSplit, ...] = ("val", "test")
    for split in held_out:
        assert not train & {repr(exact_form(problem, marks=False)) for problem in generate(spec, 0, split, 5)}


@pytest.mark.parametrize("split", ["val", "test"])
def test_no_problem_is_asked_twice(split: GraphSplit) -> None:
    spec = GraphSpec(nodes=(6, 6), hops=(1, 3))
    problems = generate(spec, 0, split, 5)
    assert len({repr(exact_form(problem, marks=True)) for problem in problems}) == 5
    assert len({canonical_key(problem) for problem in generate(SMALL, 0, split, 300)}) == 300


def test_training_may_repeat_a_problem() -> None:
    problems = generate(GraphSpec(nodes=(6, 6), hops=(1, 3)), 0, "train", 300)
    assert 10 < len({canonical_key(problem) for problem in problems}) < 200


def test_more_problems_than_there_are_shapes() -> None:
    spec = GraphSpec(nodes=(6, 6), hops=(1, 3))
    with pytest.raises(UserError, match="no further graph of the val split") as caught:
        generate(spec, 0, "val", 300)
    found = int(re.findall(r"few shapes, and (\d+) of 300 problems were found", str(caught.value))[0])
    assert caught.value.fix == f"raise nodes, or lower val_size to {found}"
    assert len(generate(spec, 0, "val", found)) == found


def test_one_graph_in_sixteen_goes_to_each_held_out_split() -> None:
    rng = random.Random(3)
    shares = Counter(split_of(draw_problem(GraphSpec.published(), rng)) for _ in range(1600))
    assert shares["test"] == pytest.approx(100, abs=35)
    assert shares["val"] == pytest.approx(100, abs=35)


def test_generation_depends_on_its_arguments_alone() -> None:
    random.seed(5)
    state = random.getstate()
    problems = generate(SMALL, 7, "train", 30)
    assert random.getstate() == state
    assert generate(SMALL, 7, "train", 10) == problems[:10]
    assert generate(SMALL, 8, "train", 30) != problems
    assert generate(GraphSpec(nodes=(10, 10), hops=(2, 3), symbols=17), 7, "train", 30) != problems
    # Written down so that another release or platform cannot quietly train on other data.
    assert problems[0] == Problem(((0, 5), (0, 6), (1, 2), (2, 3), (2, 9), (3, 4), (3, 7), (3, 8)), 10, 1, 4, 6)
    other_root = generate(GraphSpec(nodes=(10, 10), hops=(2, 3), symbols=16, root="first"), 7, "train", 30)
    assert other_root != problems and {problem.root for problem in other_root} == {0}


def test_a_split_that_no_graph_belongs_to_is_named() -> None:
    # Four nodes leave a single shape, so two of the three splits stay empty.
    spec = GraphSpec(nodes=(4, 4), hops=(1, 1))
    splits: tuple[GraphSplit, ...] = ("train", "val", "test")
    empty = [split for split in splits if split != split_of(draw_problem(spec, random.Random(0)))]
    with pytest.raises(UserError, match=f"no further graph of the {empty[0]} split"):
        generate(spec, 0, empty[0], 1)


def test_what_leaves_few_shapes_is_named() -> None:
    spec = GraphSpec(nodes=(9, 9), hops=(1, 3), symbols=6)
    with pytest.raises(UserError, match="the graphs needed more entity or concept names") as caught:
        generate(spec, 0, "val", 300)
    assert caught.value.where == "symbols" and str(caught.value.fix).startswith("raise symbols")

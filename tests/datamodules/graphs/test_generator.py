"""ProsQA's generator: the published statistics."""

from __future__ import annotations

import itertools
import json
import math
import random
from collections import Counter
from collections.abc import Callable, Iterable
from statistics import mean, pstdev

import pytest

from lcot.datamodules.graphs import generator
from lcot.datamodules.graphs.generator import GraphSpec, Problem, Root, draw_problem
from lcot.errors import UserError
from tests.places import SHARED

PUBLISHED = SHARED / "prosqa" / "prosqa_valid.json"
SMALL = GraphSpec(nodes=(10, 10), hops=(2, 3), symbols=16)


def shares(name: str, first: int, *counts: int) -> dict[str, tuple[float, float]]:
    """Bands for shares of the 800 published graphs: three standard errors of 1,500 drawn ones against them."""
    found = {f"{name} = {first + place}": count / 800 for place, count in enumerate(counts)}
    return {key: (share, 3 * math.sqrt(share * (1 - share) * (1 / 1500 + 1 / 800))) for key, share in found.items()}


# Statistic → (value over the 800 published validation and test graphs, half the width of its band).
BANDS = {
    "nodes, mean": (22.8, 0.3),
    "nodes, sd": (2.0, 0.15),
    "edges, mean": (36.05, 0.8),
    **shares("nodes", 20, 53, 97, 142, 155, 149, 98, 47),
    **shares("entities", 2, 461, 253, 68, 16),
    **shares("target depth", 3, 326, 350, 105, 19),
    **shares("option depth", 1, 159, 417, 201, 21),
    **shares("root", 1, 512),
    **{f"in-degree = {n}": (share, 0.012) for n, share in enumerate((0.03, 0.48, 0.30, 0.13, 0.04))},
    "shortest paths, mean": (1.59, 0.15),
    "root out-degree, mean": (2.95, 0.2),
    # The rest was measured on the 300 validation graphs only.
    "leaves, mean": (7.4, 0.4),
    "reached from both, mean": (1.29, 0.25),
    "from both, out-degree": (0.14, 0.08),
}


def statistics(problems: Iterable[Problem]) -> dict[str, float]:
    """Every statistic of ``BANDS``; shares are of graphs, for in-degrees of nodes other than 0 and 1."""
    seen: dict[str, list[float]] = {}
    for problem in problems:
        degrees = Counter(child for _, child in problem.edges)
        out = Counter(parent for parent, _ in problem.edges)
        near, far = problem.distances(problem.root), problem.distances(1 - problem.root)
        ways = {problem.root: 1}
        for parent, child in sorted(problem.edges):  # numbers rise along edges
            if parent in ways and near[child] == near[parent] + 1:
                ways[child] = ways.get(child, 0) + ways[parent]
        both = [node for node in range(problem.num_nodes) if near[node] >= 0 and far[node] >= 0]
        values: dict[str, Iterable[float]] = {
            "nodes": [problem.num_nodes],
            "edges": [len(problem.edges)],
            "in-degree": [degrees[node] for node in range(2, problem.num_nodes)],
            "entities": [len(problem.entities)],
            "target depth": [near[problem.target]],
            "option depth": [far[problem.neg_target]],
            "shortest paths": [ways[problem.target]],
            "root out-degree": [out[problem.root]],
            "root": [problem.root],
            "leaves": [sum(not out[node] for node in range(problem.num_nodes))],
            "reached from both": [len(both)],
            "from both, out": [out[node] for node in both],
        }
        for name, numbers in values.items():
            seen.setdefault(name, []).extend(numbers)
    found = {"nodes, sd": pstdev(seen["nodes"]), "from both, out-degree": mean(seen["from both, out"])}
    for name in BANDS:
        if name.endswith(", mean"):
            found[name] = mean(seen[name.removesuffix(", mean")])
        elif " = " in name:
            kind, value = name.split(" = ")
            found[name] = mean(number == int(value) for number in seen[kind])
    return found


def outside(found: dict[str, float]) -> list[str]:
    return [
        f"{n}: {found[n]:.3f}, not {value:.3f} ± {half}"
        for n, (value, half) in BANDS.items()
        if abs(found[n] - value) > half
    ]


def check_published_rules(problem: Problem) -> None:
    children = {parent for parent, _ in problem.edges}
    near, far = problem.distances(problem.root), problem.distances(1 - problem.root)
    exclusive = [node for node in range(problem.num_nodes) if near[node] > 0 > far[node] and node not in children]
    others = [node for node in range(problem.num_nodes) if far[node] > 0 > near[node] and node not in children]
    assert all(parent < child for parent, child in problem.edges)
    assert len(set(problem.edges)) == len(problem.edges)
    assert set(itertools.chain(*problem.edges)) == set(range(problem.num_nodes))
    assert problem.root in (0, 1)
    assert problem.target in exclusive
    assert near[problem.target] == max(near[node] for node in exclusive) >= max(far[node] for node in others)
    assert problem.neg_target in others


@pytest.fixture(scope="module")
def sample() -> list[Problem]:
    rng = random.Random(20)
    return [draw_problem(GraphSpec.published(), rng) for _ in range(1500)]


@pytest.fixture(scope="module")
def published() -> list[Problem]:
    if not PUBLISHED.is_file():
        pytest.skip("needs prosqa_valid.json of published ProsQA")
    return [
        Problem(
            tuple((parent, child) for parent, child in record["edges"]),
            len(record["idx_to_symbol"]),
            record["root"],
            record["target"],
            record["neg_target"],
        )
        for record in json.loads(PUBLISHED.read_text(encoding="utf-8"))
    ]


def test_statistics_are_those_of_the_published_graphs(sample: list[Problem]) -> None:
    assert not outside(statistics(sample))
    assert 12 <= min(problem.num_nodes for problem in sample) <= max(problem.num_nodes for problem in sample) <= 28


def test_the_published_file_lies_in_the_same_bands(published: list[Problem]) -> None:
    assert len(published) == 300
    assert not outside(statistics(published))


def test_generator_and_published_file_agree_next_to_each_other(sample: list[Problem], published: list[Problem]) -> None:
    ours, theirs = statistics(sample), statistics(published)
    assert not [
        f"{n}: {ours[n]:.3f} {theirs[n]:.3f}" for n, (_, half) in BANDS.items() if abs(ours[n] - theirs[n]) > half
    ]


def test_problems_keep_the_rules_of_the_published_ones(sample: list[Problem], published: list[Problem]) -> None:
    for problem in (*sample[:300], *published):
        check_published_rules(problem)


@pytest.mark.parametrize(
    ("rule", "value", "broken"),
    [
        ("_SECOND_SIDE", 0.35 / 0.65, "root = 1"),
        ("_DEPTH_PULL", 0.0, "target depth = 3"),
        ("_FIRST_SIDE", 0.1, "entities = 2"),
    ],
)
def test_other_rules_leave_the_bands(monkeypatch: pytest.MonkeyPatch, rule: str, value: float, broken: str) -> None:
    monkeypatch.setattr(generator, rule, value)
    rng = random.Random(20)
    missed = outside(statistics(draw_problem(GraphSpec.published(), rng) for _ in range(600)))
    assert any(line.startswith(broken) for line in missed), missed


def test_the_papers_root_is_node_0() -> None:
    spec = GraphSpec(nodes=(10, 10), hops=(2, 3), symbols=16, root="first")
    rng = random.Random(5)
    problems = [draw_problem(spec, rng) for _ in range(200)]
    assert {problem.root for problem in problems} == {0}
    for problem in problems:
        near, far = problem.distances(0), problem.distances(1)
        parents = {parent for parent, _ in problem.edges}
        assert near[problem.target] == max(
            near[node] for node in range(problem.num_nodes) if near[node] > 0 > far[node] and node not in parents
        )
    # In some of them the other node's leaf is the deeper one: the published rule would have started there.
    assert any(problem.distances(1)[problem.neg_target] > problem.distances(0)[problem.target] for problem in problems)


@pytest.mark.parametrize(
    ("make", "where", "words"),
    [
        (lambda: GraphSpec((9, 6), (1, 2)), "nodes", "(9, 6)"),
        (lambda: GraphSpec((3, 6), (1, 2)), "nodes", "two roots need a leaf each"),
        (lambda: GraphSpec((6, 6), (0, 2)), "hops", "(0, 2)"),
        (lambda: GraphSpec((6, 6), (4, 5)), "hops, nodes", "lower hops to at most 3, or raise nodes to 7"),
        (lambda: GraphSpec((6, 6), (1, 2), 56), "symbols", "from 4 to 55"),
        (lambda: GraphSpec((6, 6), (1, 2), 16, 0.0), "parents", "above 0"),
        (lambda: GraphSpec((6, 6), (1, 2), root="last"), "root", "known: deeper, first"),  # type: ignore[arg-type]
        (lambda: GraphSpec((6, 6.5), (1, 2)), "nodes", "whole numbers"),  # type: ignore[arg-type]
        (lambda: draw_problem(GraphSpec((12, 12), (9, 9)), random.Random(0)), "hops", "no graph with nodes=(12, 12)"),
        (lambda: GraphSpec((28, 28), (3, 6), 10), "symbols, nodes", "lower nodes to at most"),
        (lambda: GraphSpec((6, 120), (1, 4), 16), "symbols, nodes", "there are 11 concept names"),
        (lambda: GraphSpec((6, 12), (1, 4), 4), "symbols, nodes", "raise symbols"),
        (lambda: GraphSpec((6, 100_000), (1, 4)), "symbols, nodes", "lower nodes to at most"),
        (lambda: draw_problem(GraphSpec((6, 6), (1, 3), 16, 0.001), random.Random(0)), "nodes", "raise nodes"),
    ],
)
def test_impossible_settings_are_named(make: Callable[[], object], where: str, words: str) -> None:
    with pytest.raises(UserError) as caught:
        make()
    assert caught.value.where == where
    assert words in str(caught.value)


def test_the_largest_graphs_that_names_are_said_to_be_enough_for_are_drawn() -> None:
    with pytest.raises(UserError) as caught:
        GraphSpec((6, 120), (1, 4), 16)
    most = int(str(caught.value.fix).rpartition(" ")[2])
    GraphSpec((6, most), (1, 4), 16)
    with pytest.raises(UserError):
        GraphSpec((6, most + 1), (1, 4), 16)
    # The share that decides is that of drawn graphs.
    rng = random.Random(0)
    sizes = [generator._draw_graph(12, 1.5, rng) for _ in range(2000)]
    few = sum(len({child for _, child in edges}) <= 6 for _, edges in sizes) / 2000
    assert few == pytest.approx(generator._share_within(10, 1.5, 6), abs=0.03)


def test_names_that_are_hardly_ever_enough_are_told_by_the_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generator, "RAREST", 0.0)
    with pytest.raises(UserError, match="the graphs needed more entity or concept names") as caught:
        draw_problem(GraphSpec((28, 28), (3, 6), 10), random.Random(0))
    assert caught.value.where == "symbols" and str(caught.value.fix).startswith("raise symbols")


# 0 → 2 → 4, 1 → 3 → 5, 1 → 2, 6 → 5: from 0 to 4. 1 reaches both options, so 6 alone can be asked about 5.
SHARED_WAY = Problem(((0, 2), (1, 2), (1, 3), (2, 4), (3, 5), (6, 5)), 7, 0, 4, 5)


def test_the_other_question_worked_by_hand() -> None:
    other = SHARED_WAY.other_question()
    assert other == Problem(SHARED_WAY.edges, 7, 6, 5, 4)
    assert other.shortest_path() == (6, 5) and SHARED_WAY.shortest_path() == (0, 2, 4)
    assert Problem(SHARED_WAY.edges[:-1], 6, 0, 4, 5).other_question() is None
    # Of several roots it is that of the smallest number.
    assert Problem((*SHARED_WAY.edges, (7, 3)), 8, 0, 4, 5).other_question() == Problem(
        (*SHARED_WAY.edges, (7, 3)), 8, 6, 5, 4
    )


@pytest.mark.parametrize("root", ["deeper", "first"])
def test_drawn_graphs_are_asked_the_other_way_from_the_other_of_the_two_first_nodes(root: Root) -> None:
    spec, rng = GraphSpec(nodes=(6, 12), hops=(1, 4), symbols=20, root=root), random.Random(1)
    for _ in range(300):
        problem = draw_problem(spec, rng)
        other = problem.other_question()
        assert other is not None and (other.target, other.neg_target) == (problem.neg_target, problem.target)
        reached = {other.root}  # by the slow way
        for _ in range(problem.num_nodes):
            reached |= {child for parent, child in problem.edges if parent in reached}
        assert other.root == 1 - problem.root and other.target in reached and other.neg_target not in reached
        path = other.shortest_path()
        assert len(path) - 1 == other.distances(other.root)[other.target] >= 1
        assert set(itertools.pairwise(path)) <= set(problem.edges)
        again = other.other_question()
        assert again is not None and (again.target, again.root) == (problem.target, problem.root)


@pytest.mark.parametrize("root", ["deeper", "first"])
def test_options_of_one_level(root: Root) -> None:
    """Both are as far from the root that reaches them, each length as often; asked either way, a graph is as hard."""
    spec, rng = GraphSpec(nodes=(10, 16), hops=(1, 3), symbols=24, root=root, rival="level"), random.Random(2)
    hops: Counter[int] = Counter()
    roots: Counter[int] = Counter()
    for _ in range(600):
        problem = draw_problem(spec, rng)
        other = problem.other_question()
        assert other is not None and other.root == 1 - problem.root
        near, far = problem.distances(problem.root), other.distances(other.root)
        assert near[problem.target] == far[other.target] == len(other.shortest_path()) - 1
        assert near[other.target] == far[problem.target] == -1
        hops[near[problem.target]] += 1
        roots[problem.root] += 1
    assert set(hops) == {1, 2, 3} and all(160 < count < 240 for count in hops.values())  # 200, and 3.5 deviations
    assert roots[0] == 600 if root == "first" else 250 < roots[0] < 350


def test_two_ways_of_one_length_need_nodes() -> None:
    assert GraphSpec(nodes=(8, 8), hops=(3, 3), rival="level").hops == (3, 3)
    with pytest.raises(UserError, match="hops ends at 4, and nodes at 9") as caught:
        GraphSpec(nodes=(8, 9), hops=(1, 4), rival="level")
    assert caught.value.fix == "lower hops to at most 3, or raise nodes to 10"
    with pytest.raises(UserError, match="unknown rival 'leaves'"):
        GraphSpec(nodes=(8, 9), hops=(1, 4), rival="leaves")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="the options were nearer or farther"):
        draw_problem(GraphSpec(nodes=(12, 12), hops=(5, 5), parents=1.0, rival="level"), random.Random(0))

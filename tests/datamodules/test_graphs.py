"""ProsQA's generator: the published statistics, splits without leaks, and the text it writes."""

from __future__ import annotations

import itertools
import json
import random
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import mean, pstdev
from typing import Any

import pytest

from lcot.datamodules import graphs
from lcot.datamodules.graphs import (
    CONCEPTS,
    ENTITIES,
    GraphSpec,
    GraphSplit,
    Problem,
    Style,
    canonical_key,
    draw_names,
    draw_problem,
    generate,
    render,
    split_of,
    surface_texts,
)
from lcot.datamodules.tokenizers import build_word_tokenizer
from lcot.errors import UserError

PUBLISHED = Path(__file__).parents[2].parent / "shared" / "data" / "prosqa" / "prosqa_valid.json"
SMALL = GraphSpec(nodes=(10, 10), hops=(2, 3), symbols=16)

# Statistic → (value over the 800 published validation and test graphs, half the width of its band). The bands hold
# three standard errors of a sample of 1,500 against one of 800; those of the depths and the roots cover 300 as well.
BANDS = {
    "nodes, mean": (22.8, 0.3),
    "nodes, sd": (2.0, 0.15),
    **{
        f"nodes = {n}": (count / 800, 0.05)
        for n, count in zip(range(20, 27), (53, 97, 142, 155, 149, 98, 47), strict=True)
    },
    "edges, mean": (36.05, 0.8),
    **{f"in-degree = {n}": (share, 0.015) for n, share in enumerate((0.03, 0.48, 0.30, 0.13, 0.04, 0.01))},
    **{f"entities = {n}": (count / 800, 0.06) for n, count in zip(range(2, 6), (461, 253, 68, 16), strict=True)},
    **{f"target depth = {n}": (count / 800, 0.06) for n, count in zip(range(3, 7), (326, 350, 105, 19), strict=True)},
    **{f"option depth = {n}": (count / 800, 0.06) for n, count in zip(range(1, 5), (159, 417, 201, 21), strict=True)},
    "shortest paths, mean": (1.59, 0.15),
    "root out-degree, mean": (2.95, 0.2),
    "root is node 1": (0.64, 0.06),
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
    found = {"nodes, sd": pstdev(seen["nodes"]), "root is node 1": mean(seen["root"])}
    found["from both, out-degree"] = mean(seen["from both, out"])
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
        pytest.skip("needs the published prosqa_valid.json under ../shared/data/prosqa")
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
        ("_SECOND_SIDE", 0.35 / 0.65, "root is node 1"),
        ("_DEPTH_PULL", 0.0, "target depth = 3"),
        ("_FIRST_SIDE", 0.1, "entities = 2"),
    ],
)
def test_other_rules_leave_the_bands(monkeypatch: pytest.MonkeyPatch, rule: str, value: float, broken: str) -> None:
    monkeypatch.setattr(graphs, rule, value)
    rng = random.Random(20)
    missed = outside(statistics(draw_problem(GraphSpec.published(), rng) for _ in range(600)))
    assert any(line.startswith(broken) for line in missed), missed


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
        assert not train & {repr(exact_form(problem, marks=False)) for problem in generate(spec, 0, split, 10)}


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


@pytest.mark.parametrize(
    ("make", "where", "words"),
    [
        (lambda: GraphSpec((9, 6), (1, 2)), "nodes", "(9, 6)"),
        (lambda: GraphSpec((3, 6), (1, 2)), "nodes", "two roots need a leaf each"),
        (lambda: GraphSpec((6, 6), (0, 2)), "hops", "(0, 2)"),
        (lambda: GraphSpec((6, 6), (4, 5)), "hops, nodes", "lower hops to at most 3, or raise nodes to 7"),
        (lambda: GraphSpec((6, 6), (1, 2), 56), "symbols", "from 4 to 55"),
        (lambda: GraphSpec((6, 6), (1, 2), 16, 0.0), "parents", "above 0"),
        (lambda: GraphSpec((6, 6.5), (1, 2)), "nodes", "whole numbers"),  # type: ignore[arg-type]
        (lambda: draw_problem(GraphSpec((12, 12), (9, 9)), random.Random(0)), "hops", "no graph with nodes=(12, 12)"),
        (lambda: draw_problem(GraphSpec((28, 28), (3, 6), 10), random.Random(0)), "symbols", "raise symbols"),
        (lambda: draw_problem(GraphSpec((6, 6), (1, 3), 16, 0.001), random.Random(0)), "nodes", "raise nodes"),
    ],
)
def test_impossible_settings_are_named(make: Callable[[], object], where: str, words: str) -> None:
    with pytest.raises(UserError) as caught:
        make()
    assert caught.value.where == where
    assert words in str(caught.value)


def test_a_split_that_no_graph_belongs_to_is_named() -> None:
    # Four nodes leave a single shape, so two of the three splits stay empty.
    spec = GraphSpec(nodes=(4, 4), hops=(1, 1))
    splits: tuple[GraphSplit, ...] = ("train", "val", "test")
    empty = [split for split in splits if split != split_of(draw_problem(spec, random.Random(0)))]
    with pytest.raises(UserError, match=f"no graph of the {empty[0]} split"):
        generate(spec, 0, empty[0], 1)


def test_names_are_few_and_fit_their_nodes() -> None:
    assert (len(ENTITIES), len(CONCEPTS)) == (17, 38)
    assert (len(SMALL.entity_names), len(SMALL.concept_names)) == (5, 11)
    rng = random.Random(4)
    for problem in generate(SMALL, 0, "train", 50):
        names = draw_names(SMALL, problem, rng)
        assert len(set(names)) == problem.num_nodes
        assert {node for node, name in enumerate(names) if name in SMALL.entity_names} == problem.entities
        assert set(names) <= {*SMALL.entity_names, *SMALL.concept_names}


class InOrder(random.Random):
    """Shuffles nothing and flips no options."""

    def shuffle(self, x: Any) -> None:
        """Leave the list as it is."""

    def random(self) -> float:
        """Heads."""
        return 0.9


# 0 → 2 → 4 → 5, 1 → 3, 0 → 3 and the parentless 6 → 4: three entities, and a detour 2 → 3 that shortest paths avoid.
WORKED = Problem(((0, 2), (0, 3), (1, 3), (1, 6), (2, 4), (4, 5), (7, 4)), 8, 0, 5, 6)
NAMES = ("Tom", "Alex", "lempus", "rompus", "impus", "wumpus", "yumpus", "Eva")


def test_prose_worked_by_hand() -> None:
    example = render(WORKED, NAMES, InOrder(), "prose", example_id="one")
    assert example.question == (
        "Tom is a lempus. Tom is a rompus. Alex is a rompus. Alex is a yumpus. Every lempus is a impus. "
        "Every impus is a wumpus. Eva is a impus. Is Tom a wumpus or yumpus?"
    )
    assert example.steps == ("Tom is a lempus.", "Every lempus is a impus.", "Every impus is a wumpus.")
    assert example.answer == "Tom is a wumpus."
    assert example.id == "one"
    assert example.facts == {
        "idx_to_symbol": list(NAMES),
        "edges": [[0, 2], [0, 3], [1, 3], [1, 6], [2, 4], [4, 5], [7, 4]],
        "root": 0,
        "target": 5,
        "neg_target": 6,
    }
    assert json.loads(json.dumps(example.facts)) == example.facts


def test_compact_worked_by_hand_and_in_tokens() -> None:
    example = render(WORKED, NAMES, InOrder(), "compact", example_id="one")
    assert example.question == (
        "Tom lempus. Tom rompus. Alex rompus. Alex yumpus. lempus impus. impus wumpus. Eva impus. "
        "Tom: wumpus or yumpus?"
    )
    assert (example.steps, example.answer) == (("lempus.", "impus.", "wumpus."), "wumpus.")
    tokenizer = build_word_tokenizer(surface_texts(GraphSpec.published(), "compact"))
    ids = tokenizer.encode(example.question + "\n")
    assert len(ids) == 3 * len(WORKED.edges) + 6
    lempus = ids[1]
    assert [place for place, token in enumerate(ids) if token == lempus] == [1, 12]
    assert [len(tokenizer.encode(step + "\n")) for step in example.steps] == [2, 2, 2]
    assert tokenizer.encode("lempus.\n")[0] == tokenizer.encode("### lempus.")[1] == lempus


@pytest.mark.parametrize("style", ["prose", "compact"])
def test_every_text_is_covered_by_the_words_of_its_style(style: Style) -> None:
    tokenizer = build_word_tokenizer(surface_texts(SMALL, style))
    octets = {tokenizer.get_vocab()[f"<0x{octet:02X}>"] for octet in range(256)}
    rng = random.Random(6)
    questions, options = set(), Counter[bool]()
    for problem in generate(SMALL, 1, "train", 100):
        example = render(problem, draw_names(SMALL, problem, rng), rng, style, example_id="x")
        for text in (example.question + "\n", *(step + "\n" for step in example.steps), "### " + example.answer):
            ids = tokenizer.encode(text)
            assert not octets.intersection(ids), text
            assert tokenizer.decode(ids) == text
        questions.add(example.question)
        symbols: Any = example.facts["idx_to_symbol"]
        options[example.question.endswith(f" or {symbols[problem.target]}?")] += 1
        assert len(example.steps) == problem.distances(problem.root)[problem.target]
    assert len(questions) == 100
    assert options[True] == pytest.approx(50, abs=16)


def test_render_refuses_an_unknown_style_and_wrong_names() -> None:
    with pytest.raises(UserError, match="unknown style 'prosa'"):
        render(WORKED, NAMES, InOrder(), "prosa", example_id="x")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="8 nodes need as many different names"):
        render(WORKED, (*NAMES[:-1], "Tom"), InOrder(), "prose", example_id="x")


def test_a_published_record_is_written_as_published() -> None:
    if not PUBLISHED.is_file():
        pytest.skip("needs the published prosqa_valid.json under ../shared/data/prosqa")
    for record in json.loads(PUBLISHED.read_text(encoding="utf-8")):
        edges = tuple((parent, child) for parent, child in record["edges"])
        asked = (record["root"], record["target"], record["neg_target"])
        problem = Problem(edges, len(record["idx_to_symbol"]), *asked)
        example = render(problem, record["idx_to_symbol"], random.Random(0), "prose", example_id="x")
        facts, question = record["question"].rsplit(". ", 1)
        ours, asks = example.question.rsplit(". ", 1)
        assert sorted(ours.split(". ")) == sorted(facts.split(". "))
        assert sorted(asks.rstrip("?").split()) == sorted(question.rstrip("?").split())
        assert example.answer == record["answer"]
        assert len(example.steps) == len(record["steps"])
        assert set(example.steps) <= set(example.question.replace(". ", ".|").split("|"))
        assert {key: example.facts[key] for key in example.facts} == {key: record[key] for key in example.facts}

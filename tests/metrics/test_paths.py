"""Categories of paths: by hand, on gold texts, and against their definition on arbitrary ones."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator
from dataclasses import replace
from typing import get_args

import pytest
import torch

from lcot.datamodules.graphs.generator import GraphSpec
from lcot.datamodules.graphs.splits import generate
from lcot.datamodules.graphs.text import Style, draw_names, render
from lcot.datamodules.ontologies.records import read_problems
from lcot.datamodules.records import read_examples
from lcot.errors import DataError, UserError
from lcot.metrics import CATEGORIES, Category, PathCategories, judge
from lcot.metrics.problem_graph import ProblemGraph, problem_graph
from lcot.reasoning.example import ReasoningExample
from lcot.reasoning.keyed import keyed_random
from tests.places import SHARED
from tests.problems import PROOF, worked

DATA = SHARED
PROSE, COMPACT, SYMBOLIC = worked("prose"), worked("compact"), worked("symbolic")


@pytest.mark.parametrize(
    ("text", "category"),
    [
        ("Tom is a lempus.\nEvery lempus is a impus.\nEvery impus is a wumpus.\n### Tom is a wumpus.", "correct_path"),
        # the steps decide, not the answer
        ("Tom is a lempus.\nEvery lempus is a impus.\nEvery impus is a wumpus.\n### Tom is a yumpus.", "correct_path"),
        ("Tom is a lempus.\nEvery lempus is a impus.\nEvery impus is a wumpus.", "correct_path"),
        (
            "Tom is a rompus.\nEvery rompus is a lempus.\nEvery lempus is a impus.\nEvery impus is a wumpus.\n### x",
            "longer_path",
        ),
        ("Tom is a impus.\nEvery impus is a wumpus.\n### Tom is a wumpus.", "hallucination"),  # no such edge
        ("Tom is a lempus.\nEvery rompus is a zumpus.\n### Tom is a wumpus.", "hallucination"),  # do not join
        ("Tom is a lempus.\nTom is a lempus.\n### Tom is a wumpus.", "hallucination"),
        ("Alex is a yumpus.\n### Tom is a yumpus.", "hallucination"),  # does not start at the root
        ("Every lempus is a impus.\nEvery impus is a wumpus.\n### Tom is a wumpus.", "hallucination"),
        ("Tom is a blah.\n### Tom is a wumpus.", "hallucination"),
        ("Tom is a rompus.\nEvery rompus is a zumpus.\n### Tom is a wumpus.", "wrong_target"),
        ("Tom is a lempus.\n### Tom is a wumpus.", "wrong_target"),
        ("### Tom is a wumpus.", "correct_label"),
        ("\n###Tom is a wumpus", "correct_label"),
        ("### Tom is a yumpus. ### Tom is a wumpus.", "correct_label"),  # the last marker counts
        ("### Tom is a yumpus.", "incorrect_label"),
        ("### Tom is a blah.", "incorrect_label"),
        ("### Tom", "unparseable"),
        ("###", "unparseable"),
        ("", "unparseable"),
        ("Tom is a lempus.\nEvery lem", "unparseable"),  # cut off
        ("so be it ### Tom is a wumpus.", "unparseable"),
    ],
)
def test_whole_paths_in_prose(text: str, category: Category) -> None:
    assert judge(text, PROSE) == category


@pytest.mark.parametrize(
    ("hidden", "text", "exact", "any_length"),
    [
        (1, "Every lempus is a impus.\nEvery impus is a wumpus.", "correct_path", "correct_path"),
        (1, "Every rompus is a lempus.\nEvery lempus is a impus.\nEvery impus is a wumpus.", "longer_path", None),
        (1, "Every impus is a wumpus.", "hallucination", "correct_path"),  # two edges from Tom, not one
        (1, "Every rompus is a zumpus.", "wrong_target", "wrong_target"),
        (1, "Every yumpus is a wumpus.", "hallucination", "hallucination"),  # out of reach
        (1, "Every blah is a wumpus.", "hallucination", "hallucination"),
        (1, "Tom is a lempus.\nEvery lempus is a impus.\nEvery impus is a wumpus.", "hallucination", "correct_path"),
        (2, "Every impus is a wumpus.", "correct_path", "correct_path"),
        (2, "Every lempus is a impus.\nEvery impus is a wumpus.", "longer_path", "correct_path"),  # by the detour
        (3, "Every impus is a wumpus.", "longer_path", "correct_path"),
        (4, "Every impus is a wumpus.", "hallucination", "correct_path"),
        (3, "### Tom is a wumpus.", "correct_label", "correct_label"),
        (6, "### Tom is a zumpus.", "incorrect_label", "incorrect_label"),
    ],
)
def test_partial_paths_in_prose(hidden: int, text: str, exact: Category, any_length: Category | None) -> None:
    assert judge(text, PROSE, hidden) == exact
    assert judge(text, PROSE, hidden, prefix="any") == (any_length or exact)


@pytest.mark.parametrize(
    ("hidden", "text", "exact", "any_length"),
    [
        (0, "lempus impus wumpus### wumpus", "correct_path", None),
        (0, "rompus lempus impus wumpus### wumpus", "longer_path", None),
        (0, "impus wumpus### wumpus", "hallucination", None),
        (0, "lempus lempus impus wumpus### wumpus", "hallucination", None),
        (0, "rompus zumpus### wumpus", "wrong_target", None),
        (0, "### wumpus", "correct_label", None),
        (0, "### yumpus", "incorrect_label", None),
        (0, "### wumpus wumpus", "unparseable", None),
        (0, "lempus. ### wumpus", "unparseable", None),
        (1, "impus wumpus### wumpus", "correct_path", None),
        (1, "lempus impus wumpus### wumpus", "longer_path", "correct_path"),
        (1, "zumpus### wumpus", "wrong_target", None),
        (1, "wumpus### wumpus", "hallucination", "correct_path"),
        (1, "rompus lempus", "hallucination", "wrong_target"),
        (1, "Tom lempus impus wumpus### wumpus", "hallucination", None),  # no edge ends at Tom
        (2, "wumpus### wumpus", "correct_path", None),
        (3, "wumpus### wumpus", "longer_path", "correct_path"),
        (4, "wumpus### wumpus", "hallucination", "correct_path"),
    ],
)
def test_paths_in_compact_text(hidden: int, text: str, exact: Category, any_length: Category | None) -> None:
    assert judge(text, COMPACT, hidden) == exact
    assert judge(text, COMPACT, hidden, prefix="any") == (any_length or exact)
    assert judge(text.replace("###", "="), SYMBOLIC, hidden, marker="= ") == exact


@pytest.mark.parametrize(
    ("hidden", "text", "exact", "any_length"),
    [
        # Texts have five steps at least; the shortest way has three: lempus impus wumpus.
        (0, "lempus impus wumpus wumpus wumpus### wumpus", "correct_path", None),
        (0, "lempus impus wumpus wumpus### wumpus", "correct_path", None),  # filled up too little
        (0, "lempus impus wumpus### wumpus", "correct_path", None),
        (0, "lempus impus wumpus wumpus wumpus wumpus### wumpus", "hallucination", None),  # too much
        (0, "rompus lempus impus wumpus wumpus### wumpus", "longer_path", None),
        (0, "lempus lempus impus wumpus wumpus### wumpus", "hallucination", None),  # only the target fills up
        (0, "rompus zumpus zumpus zumpus zumpus### zumpus", "hallucination", None),
        (0, "wumpus wumpus wumpus wumpus wumpus### wumpus", "hallucination", None),
        (1, "impus wumpus wumpus wumpus### wumpus", "correct_path", None),
        (2, "wumpus wumpus wumpus### wumpus", "correct_path", None),
        (2, "impus wumpus wumpus### wumpus", "longer_path", "correct_path"),
        (3, "wumpus wumpus### wumpus", "correct_path", None),
        (4, "wumpus### wumpus", "correct_path", None),
        (4, "wumpus wumpus### wumpus", "hallucination", "correct_path"),
        (4, "zumpus### wumpus", "hallucination", "wrong_target"),
        (5, "wumpus### wumpus", "hallucination", "correct_path"),  # there is no sixth step
        (5, "### wumpus", "correct_label", None),
    ],
)
def test_shorter_paths_may_be_filled_up(hidden: int, text: str, exact: Category, any_length: Category | None) -> None:
    padded = replace(COMPACT, facts={**COMPACT.facts, "pad_steps": 5})
    assert judge(text, padded, hidden) == exact
    assert judge(text, padded, hidden, prefix="any") == (any_length or exact)
    if "wumpus wumpus" in text:
        assert judge(text, COMPACT, hidden) == "hallucination"


@pytest.mark.parametrize(
    ("hidden", "text", "category"),
    [
        (0, "Max is an impus. Each impus is a jompus. Max is a jompus. Jompuses are wumpuses. Max is a wumpus. "
            "Wumpuses are not hot. Max is not hot. ### False", "correct_path"),
        (0, "Max is an impus. Each impus is a jompus. Jompuses are tumpuses. Max is a tumpus. Tumpuses are numpuses. "
            "Numpuses are not hot. ### True", "longer_path"),
        (0, "Max is an impus. Max is a wumpus. Wumpuses are not hot. ### False", "hallucination"),
        (0, "Max is an impus. Jompuses are wumpuses. ### False", "hallucination"),
        (0, "Rex is an impus. ### False", "hallucination"),
        (0, "Each impus is a jompus. ### False", "hallucination"),
        (0, "Max is an impus. Each impus is a jompus. Every jompus is a tumpus. Tumpuses are loud. ### False",
         "wrong_target"),
        (0, "### False", "correct_label"),
        (0, "### True", "incorrect_label"),
        (0, "### hot", "unparseable"),
        (0, "Max runs. ### False", "unparseable"),
        (1, "Max is a jompus. Jompuses are wumpuses.\nMax is a wumpus. Wumpuses are not hot.\nMax is not hot.\n"
            "### False", "correct_path"),
        (1, "Jompuses are wumpuses. Wumpuses are not hot. ### False", "correct_path"),
        (1, "Max is a tumpus. Tumpuses are numpuses. Numpuses are not hot. ### False", "hallucination"),
        (2, "Max is a tumpus. Tumpuses are numpuses. Numpuses are not hot. ### False", "longer_path"),
        (3, "Max is not hot.\n### False", "correct_path"),
        (4, "Max is not hot.\n### False", "longer_path"),
        (4, "### False", "correct_label"),
    ],
)  # fmt: skip
def test_proofs(hidden: int, text: str, category: Category) -> None:
    assert judge(text, PROOF, hidden) == category


def gold(example: ReasoningExample, hidden: int, marker: str) -> str:
    """What training has a model write behind hidden steps."""
    return "".join(f"{step}\n" for step in example.steps[hidden:]) + marker + example.answer


def assert_gold_is_right(example: ReasoningExample, marker: str = "### ") -> None:
    """A correct path from every step on, and a correct label behind the last."""
    for hidden in range(len(example.steps)):
        assert judge(gold(example, hidden, marker), example, hidden, marker=marker) == "correct_path", (example, hidden)
    assert judge(gold(example, len(example.steps), marker), example, len(example.steps), marker=marker) == (
        "correct_label"
    )


@pytest.mark.parametrize("style", get_args(Style))
def test_gold_texts_of_generated_problems(style: Style) -> None:
    spec = GraphSpec(nodes=(10, 14), hops=(2, 4), symbols=24)
    for number, problem in enumerate(generate(spec, 0, "val", 20)):
        names = draw_names(spec, problem, keyed_random("names", number))
        assert_gold_is_right(render(problem, names, keyed_random("facts", number), style, example_id="x"))


@pytest.mark.skipif(not DATA.is_dir(), reason="the published files are not part of the project")
def test_gold_texts_of_published_problems() -> None:
    for example in read_examples(DATA / "prosqa" / "prosqa_valid.json"):
        assert_gold_is_right(example)
    for example in itertools.islice(read_problems(DATA / "prontoqa" / "5hop_0shot_random.json"), 100):
        assert_gold_is_right(example)


def walks(graph: ProblemGraph, length: int) -> Iterator[tuple[int, ...]]:
    """All ways of some edges from the root."""
    if length == 0:
        yield (graph.root,)
        return
    for walk in walks(graph, length - 1):
        yield from ((*walk, end) for start, end in graph.edges if start == walk[-1])


def by_definition(graph: ProblemGraph, nodes: list[int], hidden: int, prefixes: list[int]) -> Category:
    """The category of printed nodes, of which the first is one that an edge leads to, by trying all unseen ways."""
    found: list[Category] = []
    for length in prefixes:
        for walk in walks(graph, length):
            whole = [*walk, *nodes]
            edges = list(itertools.pairwise(whole))
            if all(edge in graph.edges for edge in edges):
                if whole[-1] != graph.target:
                    found.append("wrong_target")
                else:
                    found.append("correct_path" if len(edges) == graph.steps else "longer_path")
    order: list[Category] = ["correct_path", "longer_path", "wrong_target"]
    return min(found, key=order.index, default="hallucination")


def test_arbitrary_paths_against_the_definition() -> None:
    spec, draw = GraphSpec(nodes=(7, 10), hops=(2, 3), symbols=16), random.Random(3)
    seen = set()
    for number, problem in enumerate(generate(spec, 1, "val", 12)):
        names = draw_names(spec, problem, keyed_random("names", number))
        compact, prose = (
            render(problem, names, keyed_random("facts", number), style, example_id="x")
            for style in ("compact", "prose")
        )
        graph = problem_graph(compact)
        for _ in range(60):
            hidden = draw.randrange(4)
            node: int | None = draw.choice(graph.frontier(draw.randrange(1, 3)) or (graph.root,))
            nodes: list[int] = []
            while node is not None and len(nodes) < 4:
                nodes.append(node)
                real = graph.children[node] if draw.random() < 0.9 else range(len(names))
                node = draw.choice(list(real)) if real else None
            text = " ".join(names[one] for one in nodes) + "### x"
            expected = by_definition(graph, nodes, hidden, [hidden])
            assert judge(text, compact, hidden) == expected
            anywhere = by_definition(graph, nodes, hidden, list(range(len(names))) if hidden else [0])
            assert judge(text, compact, hidden, prefix="any") == anywhere
            seen |= {expected, anywhere}
            if len(nodes) > 1:  # in prose the first node is where the hidden steps ended
                said = "".join(f"Every {names[a]} is a {names[b]}." for a, b in itertools.pairwise(nodes))
                if hidden:
                    entered = by_definition(graph, nodes, hidden, [hidden - 1])
                else:
                    begins = nodes[0] == graph.root
                    entered = by_definition(graph, nodes[1:], 0, [0]) if begins else "hallucination"
                assert judge(said, prose, hidden) == entered
    assert seen == {"correct_path", "longer_path", "wrong_target", "hallucination"}


class TestMetric:
    """Shares over any number of batches and ranks."""

    def test_counts_on_paper(self) -> None:
        metric = PathCategories()
        with pytest.warns(UserWarning, match="before the ``update`` method"):
            assert all(math.isnan(share) for share in metric.compute().values())
        metric.reset()
        metric.update(["lempus impus wumpus###", "### wumpus", "", "zumpus###"], [COMPACT] * 4, [0, 0, 1, 1])
        metric.update(["### wumpus"], [COMPACT], 3)
        shares = {name: float(share) for name, share in metric.compute().items()}
        assert tuple(shares) == CATEGORIES
        assert shares == pytest.approx(
            {
                "correct_path": 0.2,
                "longer_path": 0.0,
                "hallucination": 0.0,
                "wrong_target": 0.2,
                "correct_label": 0.4,
                "incorrect_label": 0.0,
                "unparseable": 0.2,
            }
        )
        metric.reset()
        assert int(metric.counts.sum()) == 0

    def test_ranks_add_up(self) -> None:
        ranks = [PathCategories(marker="="), PathCategories(marker="=")]
        ranks[0].update(["= wumpus"] * 3, [SYMBOLIC] * 3, 0)
        ranks[1].update(["= yumpus"], [SYMBOLIC], 0)
        reduce = ranks[0]._reductions["counts"]
        assert callable(reduce)
        ranks[0].counts = reduce(torch.stack([rank.counts for rank in ranks]))
        assert float(ranks[0].compute()["correct_label"]) == 0.75

    def test_each_text_has_its_example(self) -> None:
        with pytest.raises(ValueError, match="zip"):
            PathCategories().update(["### wumpus"], [COMPACT, COMPACT], 0)


class TestRefusals:
    """What cannot be judged."""

    def test_settings_out_of_range(self) -> None:
        with pytest.raises(UserError, match="hidden is -1"):
            judge("", COMPACT, -1)
        with pytest.raises(UserError, match="unknown prefix 'some'"):
            judge("", COMPACT, prefix="some")  # type: ignore[arg-type]
        with pytest.raises(UserError, match="unknown prefix 'some'"):
            PathCategories(prefix="some")  # type: ignore[arg-type]

    def test_no_graph(self) -> None:
        with pytest.raises(DataError, match="carries no graph"):
            judge("### 2", ReasoningExample("1 + 1?", ("1 + 1 = 2",), "2", "sum"))

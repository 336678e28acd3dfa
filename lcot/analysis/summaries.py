"""What many questions say together: accuracy and ways by number of thoughts, and what the lens shows first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from lcot.analysis.lens import ThoughtLens
from lcot.metrics.paths import CATEGORIES
from lcot.metrics.problem_graph import problem_graph
from lcot.metrics.statistics import wilson
from lcot.reasoning.example import ReasoningExample

Shown = Literal["optimal", "frontier", "concept", "other"]
"""What the most probable token under the lens is: a node on a shortest way to the target, at the depth of the step that
the thought stands for; another node at this depth; another node of the graph; or no node."""

SHOWN: tuple[Shown, ...] = get_args(Shown)
"""All of these, in the order in which they are plotted."""


@dataclass(frozen=True, slots=True)
class AccuracyRow:
    """Answers after one number of thoughts.

    Attributes:
        thoughts: k.
        steps: Number of written steps of the questions; ``None`` for all questions.
        questions: How many there are.
        correct: How many of them were answered correctly.
        accuracy: Their share.
        low: Lower end of its 95 % interval (Wilson).
        high: Upper end.
        tokens: Mean number of written tokens.
        pair_accuracy: Share of pairs of questions with both answers right, in the row of all questions; ``None`` where
            there are none, and by number of steps, which the two of a pair need not share.
    """

    thoughts: int
    steps: int | None
    questions: int
    correct: int
    accuracy: float
    low: float
    high: float
    tokens: float
    pair_accuracy: float | None = None


@dataclass(frozen=True, slots=True)
class PathRow:
    """The ways of the texts after one number of thoughts.

    Attributes:
        thoughts: k.
        questions: How many there are.
        shares: The share of each category.
    """

    thoughts: int
    questions: int
    shares: dict[str, float]


@dataclass(frozen=True, slots=True)
class LensRow:
    """What the lens shows first of one thought.

    Attributes:
        thoughts: k.
        thought: Which of them this is, from 1.
        questions: How many there are.
        shares: The share of each of :data:`SHOWN`.
    """

    thoughts: int
    thought: int
    questions: int
    shares: dict[str, float]


@dataclass(frozen=True, slots=True)
class ResultRow:
    """One intermediate result of arithmetic under the lens, over all questions.

    Attributes:
        thoughts: k.
        thought: Which of them is looked at, from 1.
        kind: What it is the result of.
        step: Number of the step that computes it, from 1.
        results: How many there are.
        first: Share of those whose token is the most probable one.
        ten: Share of those whose token is among the ten most probable ones.
        probability: Mean probability of their tokens.
    """

    thoughts: int
    thought: int
    kind: str
    step: int
    results: int
    first: float
    ten: float
    probability: float


def accuracy_table(rows: Iterable[Mapping[str, Any]]) -> list[AccuracyRow]:
    """Accuracy by number of thoughts, and by number of steps within it.

    Args:
        rows: Of the table ``outcomes``; the two of a pair stand one behind the other.

    Returns:
        For each k the row of all questions, then one for each number of steps.
    """
    sums: dict[tuple[int, int], tuple[int, int, int]] = {}
    pairs: dict[int, list[bool]] = {}
    last: Mapping[str, Any] = {}
    for row in rows:
        if row.get("pair") and all(row[name] == last.get(name) for name in ("pair", "thoughts")):
            pairs.setdefault(row["thoughts"], []).append(row["correct"] and last["correct"])
        last = row
        for steps in (-1, row["steps"]):
            count, correct, tokens = sums.get((row["thoughts"], steps), (0, 0, 0))
            sums[row["thoughts"], steps] = count + 1, correct + row["correct"], tokens + row["tokens"]
    found = []
    for (k, steps), (count, correct, tokens) in sorted(sums.items()):
        shares = (correct / count, *wilson(correct, count), tokens / count)
        both = sum(pairs[k]) / len(pairs[k]) if steps < 0 and k in pairs else None
        found.append(AccuracyRow(k, steps if steps >= 0 else None, count, correct, *shares, both))
    return found


def path_table(rows: Iterable[Mapping[str, Any]]) -> list[PathRow]:
    """Shares of the categories by number of thoughts; questions without a graph are left out.

    Args:
        rows: Of the table ``outcomes``.
    """
    counts: dict[int, Counter[str]] = {}
    for row in rows:
        if row["category"] is not None:
            counts.setdefault(row["thoughts"], Counter())[row["category"]] += 1
    return [
        PathRow(k, found.total(), {category: found[category] / found.total() for category in CATEGORIES})
        for k, found in sorted(counts.items())
    ]


class LensTable:
    """Counts what the lens shows first, thought by thought, of problems with a graph.

    Args:
        thoughts_per_step: Number of thoughts that stand for one step.
    """

    def __init__(self, thoughts_per_step: int = 1) -> None:
        self._per_step = thoughts_per_step
        self._counts: dict[tuple[int, int], Counter[Shown]] = {}

    def add(self, example: ReasoningExample, lens: ThoughtLens) -> None:
        """Count a thought.

        Raises:
            DataError: If the example carries no graph.
        """
        depth = (lens.thought - 1) // self._per_step + 1
        found = self._counts.setdefault((lens.thoughts, lens.thought), Counter())
        found[shown_first(example, lens, depth)] += 1

    def rows(self) -> list[LensRow]:
        """The shares so far."""
        return [
            LensRow(k, thought, found.total(), {what: found[what] / found.total() for what in SHOWN})
            for (k, thought), found in sorted(self._counts.items())
        ]


def shown_first(example: ReasoningExample, lens: ThoughtLens, depth: int) -> Shown:
    """What the most probable token of a thought is.

    A token stands for each node whose name begins with it, if it has two letters or is the whole name.

    Args:
        example: The problem.
        lens: The thought.
        depth: Number of edges from the root that the step has come which the thought stands for.

    Raises:
        DataError: If the example carries no graph.
    """
    graph = problem_graph(example)
    token = lens.top[0].token.strip() if lens.top else ""
    nodes = [
        node for node, name in enumerate(graph.names) if name == token or (len(token) > 1 and name.startswith(token))
    ]
    if not graph.on_the_way(depth).isdisjoint(nodes):
        return "optimal"
    frontier = not set(graph.frontier(depth)).isdisjoint(nodes)
    return "frontier" if frontier else "concept" if nodes else "other"


class ResultTable:
    """Counts how well intermediate results are seen under the lens."""

    def __init__(self) -> None:
        self._sums: dict[tuple[int, int, str, int], tuple[int, int, int, float]] = {}

    def add(self, lens: ThoughtLens) -> None:
        """Count the results of a thought."""
        for one in lens.results:
            key = lens.thoughts, lens.thought, one.kind, one.step
            count, first, ten, chance = self._sums.get(key, (0, 0, 0, 0.0))
            self._sums[key] = count + 1, first + (one.rank <= 1), ten + (one.rank <= 10), chance + one.probability

    def rows(self) -> list[ResultRow]:
        """The means so far, by thought, kind and step."""
        return [
            ResultRow(*key, count, first / count, ten / count, chance / count)
            for key, (count, first, ten, chance) in sorted(self._sums.items())
        ]


def as_text(name: str) -> str:
    """A category, or another name of the code, as it is written for people."""
    return name.replace("_", " ")

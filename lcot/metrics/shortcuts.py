"""Rules that choose between the two options of a graph without the search that is asked for.

Most of them never look at who is asked about: the shape of the graph gives the answer away. What such a rule reaches
on a data set is no sign of reasoning. Asked from two roots (``data.ask: both``) a graph has opposite answers, of which
none of these rules gets both right. Rules that look a few facts far get those pairs right whose ways are that short.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Self

import torch

from lcot.errors import UserError
from lcot.metrics.problem_graph import ProblemGraph, has_graph, problem_graph
from lcot.metrics.surfaces import facts_of, surface_of
from lcot.reasoning.example import ReasoningExample

Rule = Callable[[ProblemGraph], int | None]
"""Names one of the two options of a graph; ``None`` where it cannot tell them apart."""

TRAITS = ("nearest", "longest", "parents", "ancestors")
"""What can be said of an option, whoever is asked about: its distance from the nearest node without parents, the
longest way to it from any of these (0 behind a cycle), its number of parents, and that of all nodes that lead to it."""

_STEPS = 30
_RIDGE = 1e-3
_TIE = 1e-9


@dataclass(frozen=True, slots=True)
class Score:
    """What a rule reaches.

    Attributes:
        questions: Number of questions.
        accuracy: Share of right answers; where the rule cannot tell it takes either option, with equal chances.
        pairs: Number of pairs of questions.
        pair_accuracy: Share of pairs with both answers right, where the rule takes the same option both times that it
            cannot tell; ``None`` without pairs.
    """

    questions: int
    accuracy: float
    pairs: int
    pair_accuracy: float | None


def has_options(example: ReasoningExample) -> bool:
    """Whether a question states a graph, and asks for one of two of its nodes."""
    if not has_graph(example):
        return False
    graph = problem_graph(example)
    if graph.neg_target is None:
        return False
    try:
        stated = facts_of(example.question, graph, surface_of(example, graph))
    except UserError:
        return False
    return graph.links <= {fact.edge for fact in stated}


def deeper(graph: ProblemGraph) -> int | None:
    """The option that lies deeper below the nearest node without parents."""
    right, wrong = (graph.levels[option] for option in _options(graph))
    return _larger(graph, right - wrong)


def looking(facts: int) -> Rule:
    """A rule that knows who is asked about, and looks so many facts far from there; then it is :func:`deeper`."""

    def look(graph: ProblemGraph) -> int | None:
        near = [option for option in _options(graph) if 0 <= graph.depths[option] <= facts]
        return near[0] if len(near) == 1 else deeper(graph)

    return look


@dataclass(frozen=True)
class Linear:
    """The option with the larger weighted sum of :data:`TRAITS`.

    Attributes:
        weights: One a trait.
    """

    weights: tuple[float, ...]

    @classmethod
    def fit(cls, graphs: Iterable[ProblemGraph]) -> Self:
        """Weights by logistic regression: those under which the right options are most probable.

        Args:
            graphs: Of questions whose answers are known.

        Raises:
            UserError: If there is none.
        """
        rows = [differences(graph) for graph in graphs]
        if not rows:
            raise UserError("there is no question to fit weights on", fix="give at least one with a graph")
        found = torch.tensor(rows, dtype=torch.float64)
        scale = found.square().mean(0).sqrt().clamp(min=_TIE)
        found /= scale
        weights = torch.zeros(len(TRAITS), dtype=torch.float64)
        ridge = _RIDGE * torch.eye(len(TRAITS), dtype=torch.float64)  # where weights could tell all options apart
        for _ in range(_STEPS):  # Newton's, of a convex function
            wrong = torch.sigmoid(-found @ weights)
            gradient = (wrong[:, None] * found).mean(0) - ridge @ weights
            curvature = (found * (wrong * (1 - wrong))[:, None]).T @ found / len(found) + ridge
            weights += torch.linalg.solve(curvature, gradient)
        return cls(tuple((weights / scale).tolist()))

    def __call__(self, graph: ProblemGraph) -> int | None:
        """The option; ``None`` where both have the same sum."""
        difference = sum(w * by for w, by in zip(self.weights, differences(graph), strict=True))
        return _larger(graph, difference)


def differences(graph: ProblemGraph) -> tuple[int, ...]:
    """By how much the right option has more of each of :data:`TRAITS` than the wrong one."""
    turned = tuple((end, start) for start, end in graph.edges)
    longest = replace(graph, edges=turned).heights("longest")

    def of(option: int) -> tuple[int, ...]:
        leading = sum(far > 0 for far in graph.above(option))
        return graph.levels[option], longest[option] or 0, len(graph.parents[option]), leading

    right, wrong = map(of, _options(graph))
    return tuple(one - other for one, other in zip(right, wrong, strict=True))


def scores(rules: Mapping[str, Rule], examples: Iterable[ReasoningExample]) -> dict[str, Score]:
    """What rules reach on questions.

    Args:
        rules: By name.
        examples: Questions with graphs and two options; the two of a pair stand one behind the other.
    """
    questions, pairs, last = 0, 0, ""
    right, both, before = (dict.fromkeys(rules, 0.0) for _ in range(3))
    for example in examples:
        graph = problem_graph(example)
        share = {name: _share(rule(graph), graph.target) for name, rule in rules.items()}
        paired = bool(example.pair) and example.pair == last
        for name, one in share.items():
            right[name] += one
            # Of two that it cannot tell, the same option is right once.
            both[name] += paired * one * before[name] * (one + before[name] > 1)
        questions, pairs, before, last = questions + 1, pairs + paired, share, example.pair
    if not questions:
        raise UserError("there is no question to try rules on", fix="give at least one with a graph")
    return {
        name: Score(questions, right[name] / questions, pairs, both[name] / pairs if pairs else None) for name in rules
    }


def _share(named: int | None, target: int) -> float:
    return 0.5 if named is None else float(named == target)


def _options(graph: ProblemGraph) -> tuple[int, int]:
    assert graph.neg_target is not None
    return graph.target, graph.neg_target


def _larger(graph: ProblemGraph, difference: float) -> int | None:
    """The right option where its lead is positive, the wrong one where it is negative."""
    return None if abs(difference) <= _TIE else _options(graph)[int(difference < 0)]

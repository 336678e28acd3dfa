"""The problem's graph with the model's values written on it, and what these values are worth by height.

The finding that they are compared with (arXiv 2412.06769, section 5): near the leaves a model tells nodes that lead to
the target from nodes that do not, and far from them it does not yet, which is why it helps to think before deciding.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

from lcot.analysis.concepts import ConceptValues
from lcot.errors import UserError
from lcot.metrics.problem_graph import Frontier, Height, problem_graph
from lcot.reasoning.example import ReasoningExample

Role = Literal["root", "target", "neg_target", ""]


@dataclass(frozen=True, slots=True)
class TreeNode:
    """A node of a search tree.

    Attributes:
        node: Its number.
        name: Its name.
        role: What the question makes of it; empty for most.
        depth: Distance from the root, -1 if it cannot be reached.
        height: Distance to a leaf; ``None`` if there is none.
        leads: Whether it is the target, or the target can be reached from it.
        values: Its value after each number of thoughts of the tree; ``None`` where it was not scored.
        frontier: Whether it is what a real path would name next, after each number of thoughts.
    """

    node: int
    name: str
    role: Role
    depth: int
    height: int | None
    leads: bool
    values: tuple[float | None, ...]
    frontier: tuple[bool, ...]


@dataclass(frozen=True, slots=True)
class SearchTree:
    """A problem's graph with the values of its nodes.

    Attributes:
        id: The question's.
        question: Its text.
        steps: Number of steps of its shortest path.
        thoughts: The numbers of thoughts, in ascending order.
        depths: The depth of the frontier after each of them.
        leads: The text that is forced before a name after each of them.
        other: What is left of 1 after each of them: the probability of all that was not scored.
        nodes: All nodes, in the order of their numbers.
        edges: (from, to) pairs of nodes.
    """

    id: str
    question: str
    steps: int
    thoughts: tuple[int, ...]
    depths: tuple[int, ...]
    leads: tuple[str, ...]
    other: tuple[float, ...]
    nodes: tuple[TreeNode, ...]
    edges: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class HeightRow:
    """The values of all candidates of one kind.

    Attributes:
        thoughts: k.
        height: Their distance to a leaf.
        leads: Whether the target can be reached from them.
        count: How many there are.
        mean: Mean of their values.
        std: Standard deviation of their values (of this population).
    """

    thoughts: int
    height: int
    leads: bool
    count: int
    mean: float
    std: float


def search_tree(
    example: ReasoningExample, values: Sequence[ConceptValues], *, height: Height = "shortest"
) -> SearchTree:
    """Write values on a problem's graph.

    Args:
        example: The problem.
        values: Its records, one a number of thoughts, in any order.
        height: Which leaf heights are measured to.

    Raises:
        UserError: If ``height`` is unknown, or a record is of another question, or two are of the same k.
        DataError: If the example carries no graph.
    """
    _check_height(height)
    graph, records = problem_graph(example), sorted(values, key=lambda record: record.thoughts)
    strangers = [record.id for record in records if record.id != example.id]
    if strangers or len({record.thoughts for record in records}) < len(records):
        raise UserError(
            f"values of question {strangers[0]!r}" if strangers else "two records of one number of thoughts",
            where=f"search tree of question {example.id!r}",
            fix="give one record of this question for each number of thoughts",
        )
    scored = [{one.node: one for one in record.candidates} for record in records]
    heights = graph.heights(height)
    roles: dict[int | None, Role] = {graph.neg_target: "neg_target", graph.target: "target", graph.root: "root"}
    nodes = tuple(
        TreeNode(
            node=node,
            name=name,
            role=roles.get(node, ""),
            depth=graph.depths[node],
            height=heights[node],
            leads=graph.to_target[node] >= 0,
            values=tuple(found[node].value if node in found else None for found in scored),
            frontier=tuple(node in found and found[node].frontier for found in scored),
        )
        for node, name in enumerate(graph.names)
    )
    return SearchTree(
        id=example.id,
        question=example.question,
        steps=graph.steps,
        thoughts=tuple(record.thoughts for record in records),
        depths=tuple(record.depth for record in records),
        leads=tuple(record.lead for record in records),
        other=tuple(1 - math.fsum(one.value for one in record.candidates) for record in records),
        nodes=nodes,
        edges=graph.edges,
    )


def reached(tree: SearchTree) -> SearchTree:
    """The part of a tree that the root reaches, with the wrong option wherever it is; nodes get new numbers."""
    kept = [node for node in tree.nodes if node.depth >= 0 or node.role == "neg_target"]
    numbers = {node.node: number for number, node in enumerate(kept)}
    edges = tuple((numbers[start], numbers[end]) for start, end in tree.edges if {start, end} <= numbers.keys())
    return replace(tree, nodes=tuple(replace(node, node=numbers[node.node]) for node in kept), edges=edges)


def frontiers(example: ReasoningExample, by: Frontier = "walk") -> tuple[tuple[int, ...], ...]:
    """The nodes at each depth, from the root on, up to the depth of the target.

    Raises:
        DataError: If the example carries no graph.
    """
    graph = problem_graph(example)
    return tuple(graph.frontier(depth, by) for depth in range(graph.steps + 1))


def height_table(
    values: Iterable[ConceptValues], *, height: Height = "shortest", pending_only: bool = True
) -> list[HeightRow]:
    """The model's values by height of the node, for nodes that lead to the target and nodes that do not.

    Only candidates of the frontier count.

    Args:
        values: Records of :func:`~lcot.analysis.concepts.concept_values`, of any numbers of thoughts; only sums are
            kept.
        height: Which leaf heights are measured to.
        pending_only: Leave out questions without a step that could be named.

    Returns:
        Rows by number of thoughts, height, and those that do not lead to the target first; none for what never occurs.

    Raises:
        UserError: If ``height`` is unknown.
    """
    _check_height(height)
    sums: dict[tuple[int, int, bool], tuple[int, float, float]] = {}
    for record in values:
        if pending_only and not record.pending:
            continue
        for one in record.candidates:
            far = one.height if height == "shortest" else one.longest
            if one.frontier and far is not None:
                count, mean, squares = sums.get((record.thoughts, far, one.leads), (0, 0.0, 0.0))
                # Welford's update: sums of squares would lose what small values differ by.
                step = one.value - mean
                mean += step / (count + 1)
                sums[record.thoughts, far, one.leads] = (count + 1, mean, squares + step * (one.value - mean))
    return [
        HeightRow(k, far, leads, count, mean, math.sqrt(max(squares, 0.0) / count))
        for (k, far, leads), (count, mean, squares) in sorted(sums.items())
    ]


def _check_height(height: Height) -> None:
    if height not in get_args(Height):
        raise UserError.unknown("height", str(height), get_args(Height))

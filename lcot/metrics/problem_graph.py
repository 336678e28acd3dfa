"""The graph of a problem, as its example's facts hold it: what paths and concept probabilities are judged by.

ProsQA's graph is that of the published files. In ProntoQA the entity, the concepts and the stated properties are nodes
("hot" and "not hot" are two), every fact and rule is an edge, the entity is the root, and the target is what the answer
says of it. In word problems of sums the people are nodes, and who is compared with whom is an edge.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from lcot.errors import DataError, shown
from lcot.reasoning.example import ReasoningExample

Frontier = Literal["walk", "distance"]
"""Which nodes are k steps from the root: those that a walk of exactly k edges ends at (a node may be on several
frontiers), or those that no shorter one reaches."""

Height = Literal["shortest", "longest"]
"""The distance from a node to a leaf: the nearest one (text and third version of arXiv 2412.06769), or the farthest
one (the caption of its first version)."""

_FIELDS = ("idx_to_symbol", "edges", "root", "target", "neg_target")
_ONTOLOGY = frozenset({"entity", "members", "edges", "properties", "query"})


@dataclass(frozen=True)
class ProblemGraph:
    """A directed graph with names, and what is asked about it.

    Attributes:
        names: One a node.
        edges: (from, to) pairs of nodes.
        root: Where the reasoning starts.
        target: Where it is to end; the root reaches it.
        neg_target: The wrong option; ``None`` where a question has none.
        amounts: What each node comes to, where every edge is a sum; empty elsewhere.
        pad_steps: Number of steps that a text has at least: a shorter path is filled up with the target's name, which
            is no edge; 0 where texts end with their paths.
    """

    names: tuple[str, ...]
    edges: tuple[tuple[int, int], ...]
    root: int
    target: int
    neg_target: int | None = None
    pad_steps: int = 0
    amounts: tuple[int, ...] = ()

    @cached_property
    def numbers(self) -> Mapping[str, int]:
        """Each name's node."""
        return {name: node for node, name in enumerate(self.names)}

    @cached_property
    def links(self) -> frozenset[tuple[int, int]]:
        """The edges, to look one up."""
        return frozenset(self.edges)

    @cached_property
    def children(self) -> tuple[tuple[int, ...], ...]:
        """The children of each node, in the order of the edges."""
        return self._ends(self.edges)

    @cached_property
    def parents(self) -> tuple[tuple[int, ...], ...]:
        """The parents of each node, in the order of the edges."""
        return self._ends((child, parent) for parent, child in self.edges)

    @cached_property
    def depths(self) -> tuple[int, ...]:
        """Number of edges from the root to each node along the shortest way, -1 where there is none."""
        return _distances(self.children, [self.root])

    @cached_property
    def to_target(self) -> tuple[int, ...]:
        """Number of edges from each node to the target along the shortest way, -1 where there is none."""
        return self.above(self.target)

    @cached_property
    def levels(self) -> tuple[int, ...]:
        """Number of edges to each node from the nearest node without parents, -1 where no such node leads to it."""
        return _distances(self.children, [node for node, parents in enumerate(self.parents) if not parents])

    @property
    def steps(self) -> int:
        """Number of edges of the shortest way from root to target."""
        return self.depths[self.target]

    def above(self, node: int) -> tuple[int, ...]:
        """Number of edges from each node to this one along the shortest way, -1 where there is none."""
        return _distances(self.parents, [node])

    def frontier(self, depth: int, by: Frontier = "walk") -> tuple[int, ...]:
        """The nodes at a depth, in ascending order.

        Args:
            depth: Number of edges from the root; 0 for the root alone.
            by: How it is counted.
        """
        if by == "distance":
            return tuple(node for node, far in enumerate(self.depths) if far == depth)
        reached = {self.root}
        for _ in range(depth):
            reached = {child for node in reached for child in self.children[node]}
        return tuple(sorted(reached))

    def on_the_way(self, depth: int) -> frozenset[int]:
        """The nodes of the shortest ways from root to target at a depth; none behind the target.

        Args:
            depth: Number of edges from the root; 0 for the root alone.
        """
        left = self.steps - depth
        if depth < 0 or left < 0:  # -1 marks nodes that lead nowhere
            return frozenset()
        places = zip(self.depths, self.to_target, strict=True)
        return frozenset(node for node, place in enumerate(places) if place == (depth, left))

    def heights(self, height: Height = "shortest") -> tuple[int | None, ...]:
        """Each node's height; 0 for a leaf, ``None`` where a cycle leaves it without one.

        Args:
            height: Which leaf is meant.
        """
        leaves = [node for node, children in enumerate(self.children) if not children]
        if height == "shortest":
            return tuple(far if far >= 0 else None for far in _distances(self.parents, leaves))
        found: list[int | None] = [None] * len(self.names)
        waiting = [len(children) for children in self.children]
        for leaf in leaves:
            found[leaf] = 0
        for node in leaves:  # grows while it is read: a node follows when all of its children are known
            for parent in self.parents[node]:
                found[parent] = max(found[parent] or 0, (found[node] or 0) + 1)
                waiting[parent] -= 1
                if not waiting[parent]:
                    leaves.append(parent)
        return tuple(far if not left else None for far, left in zip(found, waiting, strict=True))

    def _ends(self, edges: Iterable[tuple[int, int]]) -> tuple[tuple[int, ...], ...]:
        ends: list[list[int]] = [[] for _ in self.names]
        for start, end in edges:
            ends[start].append(end)
        return tuple(map(tuple, ends))


def problem_graph(example: ReasoningExample) -> ProblemGraph:
    """The graph in an example's facts.

    Raises:
        DataError: If there is none, or its root does not reach its target.
    """
    facts: dict[str, Any] = dict(example.facts)
    if facts.keys() >= set(_FIELDS):
        graph = _of_options(example, facts)
    elif facts.keys() >= _ONTOLOGY:
        graph = _of_ontology(example, facts)
    else:
        missing = [key for key in _FIELDS if key not in facts]
        raise DataError(
            f"example {shown(example.id)} carries no graph",
            where=f"question: {shown(example.question)}",
            why=f"its facts lack {', '.join(missing)}; paths and concepts are judged by a graph",
            fix="use ProsQA, ProntoQA, or a file whose records have " + ", ".join(_FIELDS),
        )
    if graph.steps < 0:
        raise DataError(
            f"example {shown(example.id)} has a target that its root does not reach",
            where=f"root {graph.names[graph.root]!r}, target {graph.names[graph.target]!r}",
            why="a path is judged by the shortest way between them",
            fix="correct or remove the record",
        )
    return graph


def has_graph(example: ReasoningExample) -> bool:
    """Whether an example's facts are those of a problem with a graph; a faulty one counts as well."""
    return any(fields <= example.facts.keys() for fields in (set(_FIELDS), _ONTOLOGY))


def _of_options(example: ReasoningExample, facts: dict[str, Any]) -> ProblemGraph:
    names, edges, *asked = (facts[key] for key in _FIELDS)
    padded, amounts = facts.get("pad_steps", 0), facts.get("amounts", [])
    fits = isinstance(names, list) and isinstance(edges, list) and all(isinstance(name, str) for name in names)
    nodes = range(len(names)) if fits else range(0)
    pairs = [edge for edge in edges if isinstance(edge, list | tuple) and len(edge) == 2] if fits else []
    if not fits or len(pairs) < len(edges) or len({*names}) < len(names):
        fault = "names and edges"
    elif any(
        type(node) is not int or node not in nodes for node in [*asked, *(node for edge in edges for node in edge)]
    ):
        fault = "nodes"
    elif type(padded) is not int:
        fault = "pad_steps"
    elif not isinstance(amounts, list) or len(amounts) not in (0, len(names)) or {*map(type, amounts)} - {int}:
        fault = "amounts"
    else:
        root, target, other = asked
        links = tuple((start, end) for start, end in edges)
        return ProblemGraph(tuple(names), links, root, target, other, padded, tuple(amounts))
    raise DataError(
        f"example {shown(example.id)} has a graph whose {fault} cannot be read",
        where=f"fields {', '.join(_FIELDS)}",
        fix="give a list of different names, a list of pairs of their places, and three places (pad_steps is a number, "
        "amounts are one for each name)",
    )


def _of_ontology(example: ReasoningExample, facts: dict[str, Any]) -> ProblemGraph:
    entity, (adjective, holds) = facts["entity"], facts["query"]
    said = [
        *((entity, concept) for concept in facts["members"]),
        *((concept, parent) for concept, parent in facts["edges"]),
        *((concept, quality(word, positive)) for concept, word, positive in facts["properties"]),
    ]
    target = quality(adjective, holds == (example.answer == "True"))
    names = tuple(dict.fromkeys([entity, *(name for edge in said for name in edge), target]))
    number = {name: node for node, name in enumerate(names)}
    edges = tuple((number[start], number[end]) for start, end in said)
    return ProblemGraph(names, edges, number[entity], number[target])


def quality(adjective: str, holds: bool) -> str:
    """The name of the node of a property."""
    return adjective if holds else f"not {adjective}"


def _distances(ends: tuple[tuple[int, ...], ...], sources: list[int]) -> tuple[int, ...]:
    """Number of edges from the nearest source to each node, -1 where there is no way."""
    distances = [-1] * len(ends)
    for source in sources:
        distances[source] = 0
    queue = list(sources)
    for node in queue:  # grows while it is read
        for end in ends[node]:
            if distances[end] < 0:
                distances[end] = distances[node] + 1
                queue.append(end)
    return tuple(distances)

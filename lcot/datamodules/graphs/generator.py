"""ProsQA's graphs: what they look like, and drawing them.

The construction follows Algorithm 1 of the Coconut paper (arXiv 2412.06769, appendix A). The paper leaves choices open,
and its listing taken literally misses the published graphs. These rules are *ours*, and with them every statistic that
was measured on the published files is met (``tests/datamodules/test_graphs.py`` holds the bands):

- 28 nodes are drawn, always; those that end without any edge are dropped and the rest numbered anew (14 to 28 remain).
- The listing's two thresholds .35 and .7 are compared with two separate draws: a new node takes its parents among the
  descendants of node 0 with probability .35, of node 1 with .65 x .7 = .455, among all nodes with .195. So node 1's
  side is the larger one, and node 1 the root of most problems.
- A node that descends from neither root can be a parent by the third kind of draw only. The listing lets the first two
  choose it as well, which gives four times as many entities as were published.
- The depth in the weights 1.5 x depth + 1 is the distance from the one root that a node descends from; nodes that
  descend from both or neither count as depth 0. Otherwise nodes that descend from both have twice as many children.
- The root is the node of {0, 1} whose deepest leaf out of the other's reach is deeper (a coin decides ties), the target
  is that leaf, the other option any leaf that only the other node reaches; graphs outside the hops are redrawn.
"""

from __future__ import annotations

import math
import random
from bisect import bisect
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, Self, get_args

from lcot.errors import UserError

Root = Literal["deeper", "first"]
Rival = Literal["leaf", "level"]

ENTITIES: tuple[str, ...] = tuple(
    "Alex Bob Carol Davis Eva Fae Gabriel Jack Max Oliver Polly Rex Sally Sam Stella Tom Wren".split()
)
"""The 17 names of published ProsQA for nodes without parents."""

CONCEPTS: tuple[str, ...] = tuple(
    "bompus boompus brimpus chorpus dumpus felpus fompus gerpus gorpus grimpus gwompus hilpus impus jelpus jompus "
    "kerpus lempus lorpus numpus quimpus rempus rompus rorpus scrompus shumpus sterpus storpus terpus timpus tumpus "
    "vumpus worpus wumpus yerpus yimpus yumpus zhorpus zumpus".split()
)
"""The 38 names of published ProsQA for all other nodes."""

TRIES = 5_000
"""How many graphs are drawn in vain before a specification is given up."""

RAREST = 1e-3
"""Share of the largest graphs that names must be enough for; below it, redrawing takes minutes and none is seen."""

_FIRST_SIDE, _SECOND_SIDE = 0.35, 0.7
_DEPTH_PULL = 1.5


@dataclass(frozen=True)
class GraphSpec:
    """What the graphs of a data set look like.

    Attributes:
        nodes: Smallest and largest number of nodes that are drawn, uniformly, before nodes without any edge are dropped
            (15 % of 10, 19 % of 28 on average).
        hops: Smallest and largest distance from root to target, in edges: the number of reasoning steps.
        symbols: How many names are in play, 17 in 55 of them for entities as in the published data. Graphs that need
            more are redrawn.
        parents: Mean of the Poisson draw of a node's number of parents.
        root: ``deeper``: the one of nodes 0 and 1 whose deepest leaf of its own is deeper, as in the published files;
            ``first``: node 0, as the paper's text reads.
        rival: ``leaf``: the target is the root's deepest leaf of its own, the other option any leaf that only the other
            one of nodes 0 and 1 reaches, as in the published files. ``level``: each option is any node that one of
            these alone reaches, both at the same distance, drawn evenly from ``hops``; a coin decides the root.
    """

    nodes: tuple[int, int]
    hops: tuple[int, int]
    symbols: int = len(ENTITIES) + len(CONCEPTS)
    parents: float = 1.5
    root: Root = "deeper"
    rival: Rival = "leaf"

    def __post_init__(self) -> None:
        largest = len(ENTITIES) + len(CONCEPTS)
        symbols_fit = type(self.symbols) is int and 4 <= self.symbols <= largest
        for name, fits, fix in (
            (
                "nodes",
                _is_range(self.nodes, 4),
                "give (fewest, most), whole numbers from 4: two roots need a leaf each",
            ),
            ("hops", _is_range(self.hops, 1), "give (fewest, most), whole numbers from 1"),
            ("symbols", symbols_fit, f"give a whole number from 4 to {largest}"),
            ("parents", 0 < self.parents <= 8, "give a number above 0, at most 8"),
        ):
            if not fits:
                raise UserError(f"{name} is {getattr(self, name)!r}", where=name, fix=fix)
        if self.root not in get_args(Root):
            raise UserError.unknown("root", str(self.root), get_args(Root), where="root")
        if self.rival not in get_args(Rival):
            raise UserError.unknown("rival", str(self.rival), get_args(Rival), where="rival")
        for name in ("nodes", "hops"):  # lists come from stored settings; the fields key the draws as text
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if self.rival == "level" and self.hops[1] > self.nodes[1] // 2 - 1:
            raise UserError(
                f"hops ends at {self.hops[1]}, and nodes at {self.nodes[1]}",
                where="hops, nodes",
                why="with rival 'level' there are two ways of so many hops, of n + 1 nodes each",
                fix=f"lower hops to at most {self.nodes[1] // 2 - 1}, or raise nodes to {2 * self.hops[1] + 2}",
            )
        if self.hops[0] > self.nodes[1] - 3:
            raise UserError(
                f"hops starts at {self.hops[0]}, but nodes ends at {self.nodes[1]}",
                where="hops, nodes",
                why="a way of n hops takes n + 1 nodes, and the other root and its leaf two more",
                fix=f"lower hops to at most {self.nodes[1] - 3}, or raise nodes to {self.hops[0] + 3}",
            )
        concepts = len(self.concept_names)
        if _share_within(self.nodes[1] - 2, self.parents, concepts) < RAREST:
            most = self.nodes[1]
            while most > 4 and _share_within(most - 2, self.parents, concepts) < RAREST:
                most -= 1
            raise UserError(
                f"symbols is {self.symbols}, and nodes ends at {self.nodes[1]}",
                where="symbols, nodes",
                why=f"there are {concepts} concept names, hardly any graph of that size has so few concepts, and all"
                " others would be drawn anew",
                fix=f"raise symbols, or lower nodes to at most {most}",
            )

    @classmethod
    def published(cls) -> Self:
        """The size of published ProsQA (17,886 / 300 / 500 problems of 23 nodes and 36 edges on average)."""
        return cls(nodes=(28, 28), hops=(3, 6))

    @property
    def entity_names(self) -> tuple[str, ...]:
        """The names that nodes without parents can get."""
        share = round(self.symbols * len(ENTITIES) / (len(ENTITIES) + len(CONCEPTS)))
        return ENTITIES[: max(2, share)]

    @property
    def concept_names(self) -> tuple[str, ...]:
        """The names that all other nodes can get."""
        return CONCEPTS[: self.symbols - len(self.entity_names)]


@dataclass(frozen=True, slots=True)
class Problem:
    """A directed graph without cycles and the question asked about it: which of two nodes does the root reach?

    Attributes:
        edges: (from, to) pairs: "every *from* is a *to*".
        num_nodes: Nodes are numbered from 0; every one has an edge.
        root: Where the question starts; a node without parents.
        target: The option that the root reaches.
        neg_target: The option that it does not reach.
    """

    edges: tuple[tuple[int, int], ...]
    num_nodes: int
    root: int
    target: int
    neg_target: int

    @property
    def entities(self) -> frozenset[int]:
        """The nodes without parents, which carry the names of persons."""
        return frozenset(range(self.num_nodes)).difference(child for _, child in self.edges)

    def distances(self, source: int) -> list[int]:
        """Number of edges from ``source`` to each node along the shortest way, -1 where there is none."""
        return _distances(children_of(self.num_nodes, self.edges), source)

    def other_question(self) -> Problem | None:
        """The same graph asked with the opposite answer: from another root, which reaches the other option alone.

        Returns:
            The problem of the smallest node without parents that reaches ``neg_target`` and not ``target``, with these
            two exchanged; ``None`` if there is no such node. In drawn graphs it is the other one of nodes 0 and 1.
        """
        turned = children_of(self.num_nodes, [(child, parent) for parent, child in self.edges])
        right, wrong = (_distances(turned, option) for option in (self.neg_target, self.target))
        roots = (node for node in sorted(self.entities) if right[node] > 0 and wrong[node] < 0)
        root = next(roots, None)
        return None if root is None else Problem(self.edges, self.num_nodes, root, self.neg_target, self.target)

    def shortest_path(self) -> tuple[int, ...]:
        """The nodes from root to target along a shortest way; of several the one with the smallest numbers first."""
        to_target = _distances(
            children_of(self.num_nodes, [(child, parent) for parent, child in self.edges]), self.target
        )
        children = children_of(self.num_nodes, self.edges)
        path = [self.root]
        while path[-1] != self.target:
            path.append(min(node for node in children[path[-1]] if to_target[node] == to_target[path[-1]] - 1))
        return tuple(path)


def draw_problem(spec: GraphSpec, rng: random.Random, rejected: Counter[str] | None = None) -> Problem:
    """Draw one problem.

    Args:
        spec: What the graph looks like.
        rng: Every random choice comes from it.
        rejected: Counts the graphs that are drawn in vain, by the option that stands against them.

    Returns:
        A problem whose edges lead from lower to higher numbers and whose root is node 0 or 1.

    Raises:
        UserError: If none of 5,000 graphs fits the specification; it names the option that stands against it.
    """
    faults: Counter[str] = Counter()
    # Drawn once: long ways are rare, and would be rarer among graphs that are drawn until they have one of any length.
    hops = rng.randint(*spec.hops) if spec.rival == "level" else None
    for _ in range(TRIES):
        problem = _attempt(spec, rng, hops)
        if isinstance(problem, Problem):
            return problem
        faults[problem] += 1
        if rejected is not None:
            rejected[problem] += 1
    option, why, fix = commonest(faults)
    raise UserError(
        f"no graph with nodes={spec.nodes}, hops={spec.hops}, symbols={spec.symbols} in {TRIES:,} draws",
        where=option,
        why=why,
        fix=fix,
    )


def commonest(rejected: Counter[str]) -> tuple[str, str, str]:
    """What stood against most graphs: the option, why, and what to do.

    Args:
        rejected: As :func:`draw_problem` counts.
    """
    option, times = rejected.most_common(1)[0]
    why, fix = {
        "nodes": ("the graphs were too small to give both roots a leaf of their own", "raise nodes"),
        "hops": ("the options were nearer or farther", "widen hops, or raise nodes for longer ways"),
        "symbols": ("the graphs needed more entity or concept names", "raise symbols, or lower nodes"),
    }[option]
    return option, f"{why} ({times:,} times)", fix


def _attempt(spec: GraphSpec, rng: random.Random, hops: int | None) -> Problem | str:
    """One draw: a problem, with options at a distance if one is given, or the name of the option that rejects it."""
    size, edges = _draw_graph(rng.randint(*spec.nodes), spec.parents, rng)
    children = children_of(size, edges)
    depths = [_distances(children, 0), _distances(children, 1)]
    ends = [node for node in range(size) if hops is not None or not children[node]]
    leaves = [[node for node in ends if depths[side][node] > 0 and depths[1 - side][node] < 0] for side in (0, 1)]
    if not (leaves[0] and leaves[1]):
        return "nodes"
    if hops is not None:  # of these, as far away; they need not be leaves
        leaves = [[node for node in leaves[side] if depths[side][node] == hops] for side in (0, 1)]
        if not (leaves[0] and leaves[1]):
            return "hops"
    deepest = [max(depths[side][node] for node in leaves[side]) for side in (0, 1)]
    if spec.root == "first":
        root = 0
    else:
        root = rng.randrange(2) if deepest[0] == deepest[1] else int(deepest[1] > deepest[0])
    if not spec.hops[0] <= deepest[root] <= spec.hops[1]:
        return "hops"
    target = rng.choice([node for node in leaves[root] if depths[root][node] == deepest[root]])
    problem = Problem(tuple(edges), size, root, target, rng.choice(leaves[1 - root]))
    entities = len(problem.entities)
    if entities > len(spec.entity_names) or size - entities > len(spec.concept_names):
        return "symbols"
    return problem


def _draw_graph(size: int, parents: float, rng: random.Random) -> tuple[int, list[tuple[int, int]]]:
    """Algorithm 1 for ``size`` nodes: the number of nodes with an edge, and the edges between them, renumbered."""
    # A label's bits say which of the nodes 0 and 1 a node descends from.
    labels, weights = [1, 2], [1.0, 1.0]
    sides: dict[int, list[int]] = {1: [0], 2: [1]}
    edges: list[tuple[int, int]] = []
    poisson = _poisson_table(parents)
    for node in range(2, size):
        wanted = bisect(poisson, rng.random())
        if rng.random() <= _FIRST_SIDE:
            candidates = sides[1].copy()
        elif rng.random() <= _SECOND_SIDE:
            candidates = sides[2].copy()
        else:
            candidates = list(range(node))
        label, weight = 0, math.inf
        for _ in range(min(wanted, len(candidates))):
            # Without replacement: the chosen one leaves the candidates.
            (parent,) = rng.choices(candidates, [weights[candidate] for candidate in candidates])
            candidates.remove(parent)
            edges.append((parent, node))
            label |= labels[parent]
            if labels[parent]:
                weight = min(weight, weights[parent] + _DEPTH_PULL)
        labels.append(label)
        weights.append(weight if label in sides else 1.0)
        if label in sides:
            sides[label].append(node)
    number = {node: index for index, node in enumerate(sorted({0, 1}.union(*edges)))}
    return len(number), sorted((number[parent], number[child]) for parent, child in edges)


def _share_within(size: int, parents: float, most: int) -> float:
    """Share of graphs in which at most so many of ``size`` nodes get parents: a binomial distribution."""
    some, none = math.log(-math.expm1(-parents)), -parents
    ways = [math.lgamma(count + 1) + math.lgamma(size - count + 1) for count in range(min(most, size) + 1)]
    first = math.lgamma(size + 1)
    return sum(math.exp(first - way + count * some + (size - count) * none) for count, way in enumerate(ways))


def _is_range(value: object, least: int) -> bool:
    if not isinstance(value, tuple | list) or len(value) != 2 or any(type(bound) is not int for bound in value):
        return False
    return bool(least <= value[0] <= value[1])


@lru_cache(maxsize=32)
def _poisson_table(mean: float) -> tuple[float, ...]:
    """Cumulative probabilities of 0, 1, 2, ...; the last one is close enough to 1."""
    terms = [math.exp(-mean)]
    for number in range(1, 40):
        terms.append(terms[-1] * mean / number)
    return tuple(sum(terms[: index + 1]) for index in range(len(terms)))


def children_of(size: int, edges: Sequence[tuple[int, int]]) -> list[list[int]]:
    """The children of each of ``size`` nodes, in the order of the edges."""
    children: list[list[int]] = [[] for _ in range(size)]
    for parent, child in edges:
        children[parent].append(child)
    return children


def _distances(children: list[list[int]], source: int) -> list[int]:
    distances = [-1] * len(children)
    distances[source] = 0
    queue = [source]
    for node in queue:  # grows while it is read
        for child in children[node]:
            if distances[child] < 0:
                distances[child] = distances[node] + 1
                queue.append(child)
    return distances

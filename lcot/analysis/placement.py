"""Where the nodes of a search tree stand on paper: in columns by depth, in each of them near their neighbours."""

from __future__ import annotations

from collections.abc import Sequence

from lcot.analysis.tree import SearchTree

Place = tuple[float, float]


def node_places(tree: SearchTree, sweeps: int = 8) -> list[Place]:
    """A place for each node, with edges that mostly lead from left to right and seldom cross.

    Nodes that the root reaches stand in columns by their depth. Others stand below them, one column before what they
    lead to, or behind what leads to them. Within a column nodes are sorted by the mean place of their neighbours, to
    and fro (the barycentre heuristic of Sugiyama, Tagawa and Toda, 1981).

    Args:
        tree: The nodes and edges.
        sweeps: How often all columns are sorted.

    Returns:
        ``(x, y)`` for each node: x is the number of its column, y grows upwards, and neighbours in a column are 1
        apart; columns are centred on 0.
    """
    neighbours: list[list[int]] = [[] for _ in tree.nodes]
    for start, end in tree.edges:
        neighbours[start].append(end)
        neighbours[end].append(start)
    column = columns(tree)
    found = sorted(set(column))
    rows = [[node for node, own in enumerate(column) if own == number] for number in found]
    rank = {node: place - (len(row) - 1) / 2 for row in rows for place, node in enumerate(row)}
    for sweep in range(sweeps):
        for row in rows if sweep % 2 == 0 else rows[::-1]:
            before = dict(rank)

            def wish(node: int, before: dict[int, float] = before) -> tuple[bool, float, int]:
                near = [before[other] for other in neighbours[node] if column[other] != column[node]]
                return tree.nodes[node].depth < 0, sum(near) / len(near) if near else before[node], node

            row.sort(key=wish)
            rank.update({node: place - (len(row) - 1) / 2 for place, node in enumerate(row)})
    return [(float(column[node]), 0.0 - rank[node]) for node in range(len(tree.nodes))]


def columns(tree: SearchTree) -> list[int]:
    """The column of each node, from 0: its depth, where it has one, behind as many columns as others need before it."""
    column: list[int | None] = [node.depth if node.depth >= 0 else None for node in tree.nodes]
    while None in column:
        changed = False
        for start, end in tree.edges:
            far, near = column[end], column[start]
            if near is None and far is not None:
                column[start], changed = far - 1, True
            elif far is None and near is not None:
                column[end], changed = near + 1, True
        if not changed:  # a part that has nothing to do with the rest begins at the left
            column[column.index(None)] = 0
    found = [own for own in column if own is not None]
    return [own - min(found) for own in found]


def shortest_way(tree: SearchTree) -> set[tuple[int, int]]:
    """The edges that lie on a shortest way from the root to the target."""
    depth = [node.depth for node in tree.nodes]
    target = next(node.node for node in tree.nodes if node.role == "target")
    way, ends = set(), {target}
    while ends:
        into = {(start, end) for start, end in tree.edges if end in ends and depth[start] == depth[end] - 1 >= 0}
        way |= into
        ends = {start for start, _ in into}
    return way


def crossings(tree: SearchTree, places: Sequence[Place]) -> int:
    """Number of pairs of edges between the same two columns that cross."""
    spans = sorted((places[a][0], places[b][0], places[a][1], places[b][1]) for a, b in tree.edges)
    return sum(
        one[:2] == other[:2] and (one[2] - other[2]) * (one[3] - other[3]) < 0
        for number, one in enumerate(spans)
        for other in spans[number + 1 :]
    )

"""Where nodes stand: in the column of their depth, apart from one another, with few crossings."""

from __future__ import annotations

from itertools import pairwise

from lcot.analysis import SearchTree, search_tree
from lcot.analysis.placement import columns, crossings, node_places, shortest_way
from lcot.datamodules.graphs.generator import Problem
from lcot.datamodules.graphs.text import render
from tests.analysis.support import problems
from tests.problems import ALEX, IMPUS, LEMPUS, NAMES, ROMPUS, TOM, WUMPUS, YUMPUS, ZUMPUS, InOrder, worked

TREE = search_tree(worked("compact"), [])


def tree_of(edges: tuple[tuple[int, int], ...], nodes: int) -> SearchTree:
    problem = Problem(edges, nodes, 0, edges[0][1], nodes - 1)
    return search_tree(render(problem, NAMES[:nodes], InOrder(), "compact", example_id="x"), [])


def test_columns_are_depths() -> None:
    found = columns(TREE)
    assert [found[node] for node in (TOM, LEMPUS, ROMPUS, IMPUS, ZUMPUS, WUMPUS)] == [0, 1, 1, 2, 2, 3]


def test_what_the_root_does_not_reach_stands_by_what_it_leads_to() -> None:
    found = columns(TREE)
    assert (found[ALEX], found[YUMPUS]) == (0, 1)
    # A chain beside everything else begins at the left.
    assert columns(tree_of(((0, 1), (2, 3), (3, 4)), 5)) == [0, 1, 0, 1, 2]
    # One that leads to what the root reaches makes room before the root.
    assert columns(tree_of(((0, 1), (2, 3), (3, 4), (4, 1)), 6)) == [2, 3, 0, 1, 2, 2]


def test_no_two_nodes_in_one_place() -> None:
    for example in problems("compact", 20):
        places = node_places(search_tree(example, []))
        assert len(set(places)) == len(places)
        for x in {x for x, _ in places}:
            column = sorted(y for other, y in places if other == x)
            assert all(high - low == 1 for low, high in pairwise(column))
            assert sum(column) == 0


def test_sorting_leaves_fewer_crossings() -> None:
    # Three parallel edges that are listed crosswise.
    tree = tree_of(((0, 1), (0, 2), (0, 3), (1, 6), (2, 5), (3, 4)), 8)
    assert crossings(tree, node_places(tree, sweeps=0)) == 3
    assert crossings(tree, node_places(tree)) == 0
    trees = [search_tree(example, []) for example in problems("compact", 30)]
    before, after = (sum(crossings(tree, node_places(tree, sweeps)) for tree in trees) for sweeps in (0, 8))
    assert after < before


def test_what_cannot_be_reached_stands_beneath() -> None:
    places = node_places(TREE)
    assert places[ALEX][1] < places[TOM][1]
    assert places[YUMPUS][1] < min(places[LEMPUS][1], places[ROMPUS][1])


def test_the_shortest_ways() -> None:
    assert shortest_way(TREE) == {(TOM, LEMPUS), (LEMPUS, IMPUS), (IMPUS, WUMPUS)}
    both = tree_of(((0, 4), (0, 1), (0, 2), (1, 3), (2, 3), (3, 4)), 6)
    assert shortest_way(both) == {(0, 4)}

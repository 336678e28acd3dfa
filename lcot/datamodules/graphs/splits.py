"""ProsQA's splits: telling graphs apart whatever their nodes are called, and drawing some that no other split holds."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal

from lcot.datamodules.graphs.generator import TRIES, GraphSpec, Problem, children_of, commonest, draw_problem
from lcot.errors import UserError
from lcot.reasoning.keyed import keyed_random, keyed_seed

GraphSplit = Literal["train", "val", "test"]


def canonical_key(problem: Problem, *, marks: bool = True) -> int:
    """A number that does not depend on how the nodes are numbered, named or listed.

    Isomorphic problems always share their key; others hardly ever do. Nodes are told apart by the colours of their
    parents and children until nothing changes; what is described then depends on colours alone.

    Args:
        problem: The graph and its question.
        marks: Whether root, target and other option must correspond too; False compares the graphs alone.

    Returns:
        A 63-bit number, the same on every machine.
    """
    size, nodes = problem.num_nodes, range(problem.num_nodes)
    children = children_of(size, problem.edges)
    parents = children_of(size, [(child, parent) for parent, child in problem.edges])
    asked = {problem.root: 1, problem.target: 2, problem.neg_target: 3} if marks else {}
    colours = _ranks([(asked.get(node, 0), len(children[node]), len(parents[node])) for node in nodes])
    for _ in range(size):
        around = [[sorted([colours[other] for other in near[node]]) for near in (children, parents)] for node in nodes]
        refined = _ranks([(colour, *map(tuple, sides)) for colour, sides in zip(colours, around, strict=True)])
        if max(refined) == max(colours):
            break
        colours = refined
    described = (
        sorted(colours),
        sorted([(colours[parent], colours[child]) for parent, child in problem.edges]),
        sorted([(mark, colours[node]) for node, mark in asked.items()]),
    )
    return int.from_bytes(hashlib.blake2b(repr(described).encode(), digest_size=8).digest(), "big") >> 1


def split_of(problem: Problem) -> GraphSplit:
    """The split that a graph belongs to, whatever is asked about it: one in 16 to test, one in 16 to validation."""
    sixteenth = keyed_seed("graph split", canonical_key(problem, marks=False)) % 16
    if sixteenth > 1:
        return "train"
    return "val" if sixteenth else "test"


def generate(spec: GraphSpec, seed: int, split: GraphSplit, count: int) -> list[Problem]:
    """The first ``count`` problems of a split.

    No graph is in two splits, not even renamed, whatever the seeds, sizes and specifications: its own shape decides
    where it belongs. Validation and test hold no problem twice, renamed or not: few shapes make up most of the small
    graphs, and an accuracy over copies would be one over a handful of problems. Training may repeat a problem. A
    smaller count gives the beginning of what a larger one gives.

    Args:
        spec: What the graphs look like.
        seed: Another seed gives other problems.
        split: ``train``, ``val`` or ``test``.
        count: How many.

    Returns:
        The problems, in the order they were drawn.

    Raises:
        UserError: If the specification gives no problem, or not enough of them for this split.
    """
    other = [choice for choice, usual in ((spec.root, "deeper"), (spec.rival, "leaf")) if choice != usual]
    key = (spec.nodes, spec.hops, spec.symbols, float(spec.parents), *other)
    rng = keyed_random("graphs", *key, seed, split)
    problems: list[Problem] = []
    seen: set[int] = set()
    misses, drawn, rejected = 0, 0, Counter[str]()
    while len(problems) < count:
        problem, drawn = draw_problem(spec, rng, rejected), drawn + 1
        form = canonical_key(problem) if split != "train" else len(problems)
        if split_of(problem) == split and form not in seen:
            problems.append(problem)
            seen.add(form)
            misses = 0
        elif (misses := misses + 1) == TRIES:
            where, why, fix = "nodes", "graphs this small have few shapes", "raise nodes"
            # Where most graphs are rejected before they get here, those that are left are small for that reason.
            if rejected["symbols"] + rejected["hops"] > drawn:
                where, why, fix = commonest(rejected)
            raise UserError(
                f"no further graph of the {split} split with nodes={spec.nodes}, hops={spec.hops} in {TRIES:,} draws",
                where=where,
                why=f"{why}, and {len(problems)} of {count} problems were found",
                fix=fix + (f", or lower {split}_size to {len(problems)}" if problems else ""),
            )
    return problems


def _ranks(signatures: Sequence[tuple[Any, ...]]) -> list[int]:
    """Each signature's place among the different ones; depends on their values, never on their order."""
    place = {signature: rank for rank, signature in enumerate(sorted(set(signatures)))}
    return [place[signature] for signature in signatures]

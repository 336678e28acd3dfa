"""Which way a written answer took through its problem's graph (arXiv 2412.06769, section 5).

The categories of an output are those of the paper:

    correct_path      every printed edge exists, each starts where the one before ends, the last ends at the target, and
                      the whole way is as long as the shortest one
    longer_path       likewise, on a longer way
    hallucination     a printed edge does not exist, or two do not join, or no real edges lead to the first one
    wrong_target      a real way that ends elsewhere
    correct_label     no step is printed, and the answer names the target
    incorrect_label   no step is printed, and the answer names something else
    unparseable       anything that is not of these forms; the paper does not say where it counts such outputs

After k hidden steps only the rest of a path is printed. It is a real one if some unseen way from the root can complete
it: of exactly k edges, one a hidden step, or of any length. The whole is then the unseen way and the printed part.

Where texts have a smallest number of steps (``pad_steps`` in the facts), the target is named again behind a shorter
path. Up to that number it is no edge, nor is it a mistake.

Where steps are printed they alone decide, not the answer behind them: whether that is right is the accuracy.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor
from torchmetrics import Metric

from lcot.errors import UserError
from lcot.metrics.problem_graph import ProblemGraph
from lcot.metrics.surfaces import Move, Surface, graph_and_surface, printed_answer, printed_moves
from lcot.reasoning.example import ReasoningExample

Category = Literal[
    "correct_path",
    "longer_path",
    "hallucination",
    "wrong_target",
    "correct_label",
    "incorrect_label",
    "unparseable",
]

CATEGORIES: tuple[Category, ...] = get_args(Category)
"""All categories, in the order in which they are counted and plotted."""

Prefix = Literal["exact", "any"]
"""How long the unseen way is: as many edges as there are hidden steps, or any number (the shortest one counts)."""


def judge(
    text: str,
    example: ReasoningExample,
    hidden: int = 0,
    *,
    marker: str = "###",
    surface: Surface | None = None,
    prefix: Prefix = "exact",
) -> Category:
    """The category of one output.

    ProntoQA's proofs are judged likewise: what is said of the entity is where the path stands, the rule in between is
    the edge, and the target is the property that is asked about, with its sign. Their labels are True and False.
    An equation of a problem of sums is an edge if it is the one that leads to its person; labels are numbers.

    Args:
        text: What the model wrote (not the question).
        example: The problem, whose facts hold its graph.
        hidden: Number of steps that thoughts stood for: k with one thought a step. With 0 a path starts at the root.
        marker: What stands before the answer; white space around it does not count.
        surface: How the problem is put into words; recognised from the question if not given.
        prefix: How long the way is that the hidden steps stand for. No effect with ``hidden`` 0.

    Raises:
        DataError: If the example carries no graph.
        UserError: If ``hidden`` is negative, ``prefix`` or ``surface`` unknown, or the surface is not recognised.
    """
    if hidden < 0:
        raise UserError(f"hidden is {hidden}", fix="use 0 or more")
    if prefix not in get_args(Prefix):
        raise UserError.unknown("prefix", str(prefix), get_args(Prefix))
    graph, surface = graph_and_surface(example, surface)
    steps, answer = _parts(text, marker.strip())
    moves = printed_moves(steps, graph, surface)
    if moves is None:
        return "unparseable"
    if moves:
        return _path(moves, graph, surface, hidden, prefix)
    found = printed_answer(answer, graph, surface)
    if found is None:
        return "unparseable"
    right = example.answer if surface in ("proof", "sums") else graph.names[graph.target]
    return "correct_label" if found == right else "incorrect_label"


class PathCategories(Metric):
    """Shares of the categories; every example counts once on any number of ranks.

    Counts are kept and added up over ranks, never shares.

    Args:
        marker: What stands before an answer.
        surface: As in :func:`judge`.
        prefix: As in :func:`judge`.
    """

    full_state_update = False
    counts: Tensor

    def __init__(self, marker: str = "###", surface: Surface | None = None, prefix: Prefix = "exact") -> None:
        super().__init__()
        if prefix not in get_args(Prefix):
            raise UserError.unknown("prefix", str(prefix), get_args(Prefix))
        self.marker = marker
        self.surface: Surface | None = surface
        self.prefix: Prefix = prefix
        self.add_state("counts", torch.zeros(len(CATEGORIES), dtype=torch.long), dist_reduce_fx="sum")

    def update(self, texts: Sequence[str], examples: Sequence[ReasoningExample], hidden: int | Sequence[int]) -> None:
        """Count a batch of outputs.

        Args:
            texts: What the model wrote, one an example.
            examples: The problems.
            hidden: Number of steps that thoughts stood for, one for all or one each.
        """
        each = [hidden] * len(texts) if isinstance(hidden, int) else hidden
        for text, example, steps in zip(texts, examples, each, strict=True):
            found = judge(text, example, steps, marker=self.marker, surface=self.surface, prefix=self.prefix)
            self.counts[CATEGORIES.index(found)] += 1

    def compute(self) -> dict[str, Tensor]:
        """The share of each category in [0, 1]; NaN before any example."""
        total = self.counts.sum()
        shares = self.counts / total if total else torch.full((len(CATEGORIES),), float("nan"))
        return dict(zip(CATEGORIES, shares, strict=True))


def _parts(text: str, marker: str) -> tuple[str, str]:
    """Steps and answer: what stands before the first marker, and behind the last one, as answers are extracted."""
    steps, found, _ = text.partition(marker)
    return steps, text.rpartition(marker)[2] if found else ""


def _path(moves: Sequence[Move], graph: ProblemGraph, surface: Surface, hidden: int, prefix: Prefix) -> Category:
    """The category of a printed path of at least one move."""
    written = 0  # steps so far, the unseen ones among them
    if hidden == 0:
        here, length = graph.root, 0
    else:
        here, length = _entry(moves[0], graph, surface, hidden, prefix)
        if length < 0:
            return "hallucination"
        named = moves[0].source is None
        written = length if prefix == "any" else hidden + named
        if named:
            moves = moves[1:]  # it named the entry itself
    for number, move in enumerate(moves, start=written + 1):
        if move.source is None and here == move.end == graph.target and number <= graph.pad_steps:
            continue
        if move.restates and move.source is None and move.end == here:
            continue
        if move.source not in (None, here) or (here, move.end) not in graph.links:
            return "hallucination"
        here, length = move.end, length + 1
    if here != graph.target:
        return "wrong_target"
    return "correct_path" if length == graph.steps else "longer_path"


def _entry(first: Move, graph: ProblemGraph, surface: Surface, hidden: int, prefix: Prefix) -> tuple[int, int]:
    """Where a partial path sets in, and the length of the unseen way to there; -1 if there is no such way.

    A step of ProsQA's prose begins with the node that the hidden steps led to. In all other surfaces the first thing
    that is named is one edge farther on.
    """
    node = first.end if first.source is None else first.source
    length = hidden if surface == "prose" else hidden + 1
    if node == graph.target and graph.steps < length <= graph.pad_steps:
        return node, graph.steps  # the unseen way was there already, and was filled up
    if prefix == "exact":
        return node, length if node in graph.frontier(length) else -1
    leads_nowhere = node < 0 or (surface != "prose" and node == graph.root)  # no edge ends there
    return node, -1 if leads_nowhere else graph.depths[node]

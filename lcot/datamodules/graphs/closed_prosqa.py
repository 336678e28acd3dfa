"""ProsQA about one ontology that is never told: a model has to know it, not to read it.

A question of ProsQA (arXiv 2412.06769, appendix A) brings its facts along. Here all questions are about the same
concepts, and of the facts only the first is told, what the person is:

    Tom terpus. lempus or scrompus? Tom   →   terpus fompus lempus### lempus

A small model learns such an ontology in a minute. It is a specialist whose knowledge a larger model, trained on
questions with facts, does not have (configs/softcot_prosqa.yaml).
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from lcot.datamodules.base import ReasoningDataModule, Split
from lcot.datamodules.graphs.generator import GraphSpec, Problem, children_of
from lcot.datamodules.graphs.text import graph_facts, surface_texts
from lcot.datamodules.options import check_choice, split_sizes
from lcot.datamodules.rows import Source
from lcot.errors import UserError
from lcot.reasoning.example import ReasoningExample
from lcot.reasoning.keyed import keyed_random

_SHARES = {"train": (0.0, 0.7), "val": (0.7, 0.8), "test": (0.8, 1.0), "predict": (0.8, 1.0)}
"""Which share of an ontology's problems is whose; no problem is in two splits."""


@dataclass(frozen=True, slots=True)
class Ontology:
    """Concepts, and which of them are which.

    Attributes:
        names: The concepts' names by number.
        edges: ``(x, y)`` for "every x is a y"; x is the smaller number.
    """

    names: tuple[str, ...]
    edges: tuple[tuple[int, int], ...]


def draw_ontology(names: Sequence[str], parents: float, draw: random.Random) -> Ontology:
    """An ontology of all names.

    A quarter of the concepts come first and are kinds of nothing else's; each later one gets a concept before it as its
    parent, and with probability ``parents - 1`` a second one.
    """
    order = draw.sample(list(names), len(names))
    edges = []
    for node in range(max(2, len(order) // 4), len(order)):
        count = min(node, 2 if draw.random() < parents - 1 else 1)
        edges += [(parent, node) for parent in sorted(draw.sample(range(node), count))]
    return Ontology(tuple(order), tuple(edges))


def problems_of(ontology: Ontology, hops: tuple[int, int]) -> list[Problem]:
    """All questions that an ontology allows, each as a graph with the person as one more node, which is the root.

    Args:
        ontology: What the person's concept leads to.
        hops: Shortest and longest chain from the person to the target, in edges.
    """
    size = len(ontology.names)
    leaves = [node for node, below in enumerate(children_of(size, ontology.edges)) if not below]
    found = []
    for start in range(size):
        edges = ((size, start), *ontology.edges)
        far = Problem(edges, size + 1, size, start, start).distances(size)
        near = [leaf for leaf in leaves if hops[0] <= far[leaf] <= hops[1]]
        others = [leaf for leaf in leaves if far[leaf] < 0]
        found += [Problem(edges, size + 1, size, *options) for options in itertools.product(near, others)]
    return found


class ClosedSource:
    """Problems of one ontology, told without its facts.

    Args:
        ontology: What they are about.
        problems: Those of the split.
        size: Number of questions; each is about a problem in turn, by another person and with the options in either
            order.
        persons: Names of persons.
        pad_steps: Steps that are written at least: the target again behind a shorter chain.
        redraw: Whether persons and options change from epoch to epoch.
        prefix: Begins the examples' ids.
        seed: Keys the draws.
    """

    def __init__(
        self,
        ontology: Ontology,
        problems: Sequence[Problem],
        size: int,
        persons: Sequence[str],
        pad_steps: int,
        redraw: bool,
        prefix: str,
        seed: int,
    ) -> None:
        self.ontology = ontology
        self.problems = problems
        self.size = size
        self.persons = persons
        self.pad_steps = pad_steps
        self.redraws = redraw
        self.prefix = prefix
        self.seed = seed

    def __len__(self) -> int:
        return self.size

    def example(self, index: int, epoch: int) -> ReasoningExample:
        """The question as it is seen in an epoch."""
        draw = keyed_random("closed", self.seed, self.prefix, epoch if self.redraws else 0, index)
        problem = self.problems[index % len(self.problems)]
        names = (*self.ontology.names, draw.choice(list(self.persons)))
        options = [names[problem.target], names[problem.neg_target]]
        if draw.random() < 0.5:
            options.reverse()
        chain = [names[node] for node in problem.shortest_path()[1:]]
        person, answer = names[problem.root], names[problem.target]
        known = graph_facts(problem, names) | ({"pad_steps": self.pad_steps} if self.pad_steps else {})
        return ReasoningExample(
            f"{person} {chain[0]}. {options[0]} or {options[1]}? {person}",
            (*chain, *[answer] * (self.pad_steps - len(chain))),
            answer,
            f"{self.prefix}-{index}",
            known,
        )


class ClosedProsQA(ReasoningDataModule):
    """ProsQA about one ontology that is never told, in the compact style.

    Args:
        ontology: Number of the ontology: the same concepts and facts for every run, whatever its seed.
        hops: Shortest and longest chain from the person to the target; one hop would be what the question tells.
        symbols: Number of names in play, persons and concepts; all concepts are in the ontology.
        parents: Mean number of parents of a concept that has any, from 1 to 2.
        pad_steps: Steps that are written at least: the target again behind a shorter chain, so that the n-th of this
            many words always means something; paths are judged accordingly. 0 for the chains as they are.
        train_size: Training questions. There are fewer different problems; persons and the order of options differ.
        val_size: Validation questions, about problems that are in no other split.
        test_size: Test questions likewise, also those that ``predict`` answers.
        redraw: Whether persons and options of *training* questions are drawn anew at each visit (``all``) or not.
        options: Those of :class:`~lcot.datamodules.base.ReasoningDataModule`.

    Raises:
        UserError: If an option is out of range, or the ontology has too few problems.
    """

    def __init__(
        self,
        ontology: int = 0,
        hops: tuple[int, int] = (2, 4),
        symbols: int = 55,
        parents: float = 1.4,
        pad_steps: int = 0,
        train_size: int = 2000,
        val_size: int = 200,
        test_size: int = 1000,
        redraw: Literal["none", "all"] = "none",
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.spec = GraphSpec(nodes=(8, 8), hops=hops, symbols=symbols)
        self.sizes = split_sizes(train_size, val_size, test_size)
        if not 1 <= parents <= 2 or pad_steps < 0:
            raise UserError(
                f"parents is {parents}, pad_steps is {pad_steps}",
                where="data.parents, data.pad_steps",
                fix="parents is between 1 and 2, pad_steps 0 or more",
            )
        check_choice("redraw", redraw, ["none", "all"])
        self.pad_steps = pad_steps
        self.redraw = redraw
        self.number = ontology
        draw = keyed_random("ontology", ontology)
        self.ontology = draw_ontology(self.spec.concept_names, parents, draw)
        self.problems = problems_of(self.ontology, hops)
        draw.shuffle(self.problems)
        if len(self.problems) < 20:
            raise UserError(
                f"ontology {ontology} has {len(self.problems)} problems",
                where="data.symbols, data.hops",
                why="a split would hold next to nothing",
                fix="use more symbols, or other hops",
            )

    def make_source(self, split: Split) -> Source:
        """The split's share of the ontology's problems."""
        low, high = (round(share * len(self.problems)) for share in _SHARES[split])
        return ClosedSource(
            self.ontology,
            self.problems[low:high],
            self.sizes[split],
            self.spec.entity_names,
            self.pad_steps,
            split == "train" and self.redraw == "all",
            "test" if split == "predict" else split,
            self.number,
        )

    def vocabulary(self) -> Iterable[str]:
        """All 55 published names, whatever ``symbols`` is, with the marks of the compact style."""
        yield from surface_texts(GraphSpec.published(), "compact")
        yield from self.text.parts()

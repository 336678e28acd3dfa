"""A problem that is small enough to be judged by eye, and its texts.

Tom ──→ lempus ──→ impus ──→ wumpus       the target, three steps away
 └────→ rompus ──→ lempus                 a detour of one step
        rompus ──→ zumpus                 a dead end
Alex ─→ rompus, Alex ─→ yumpus            out of reach; yumpus is the other option
"""

from __future__ import annotations

import random
from typing import Any

from lcot.datamodules.graphs.generator import Problem
from lcot.datamodules.graphs.text import Style, render
from lcot.reasoning.example import ReasoningExample

NAMES = ("Tom", "Alex", "lempus", "rompus", "impus", "wumpus", "yumpus", "zumpus")
TOM, ALEX, LEMPUS, ROMPUS, IMPUS, WUMPUS, YUMPUS, ZUMPUS = range(8)
EDGES = (
    (TOM, LEMPUS),
    (TOM, ROMPUS),
    (LEMPUS, IMPUS),
    (IMPUS, WUMPUS),
    (ROMPUS, LEMPUS),
    (ROMPUS, ZUMPUS),
    (ALEX, ROMPUS),
    (ALEX, YUMPUS),
)
PROBLEM = Problem(EDGES, len(NAMES), TOM, WUMPUS, YUMPUS)


class InOrder(random.Random):
    """Shuffles nothing and flips no options."""

    def shuffle(self, x: Any) -> None:
        """Leave the list as it is."""

    def random(self) -> float:
        """Heads."""
        return 0.9


def worked(style: Style, names: tuple[str, ...] = NAMES, example_id: str = "worked") -> ReasoningExample:
    """The problem in one of the styles, its facts in the order above."""
    return render(PROBLEM, names, InOrder(), style, example_id=example_id)


PROOF = ReasoningExample(
    question=(
        "Each impus is a jompus. Every jompus is a tumpus. Tumpuses are numpuses. Jompuses are wumpuses. "
        "Numpuses are not hot. Wumpuses are not hot. Each yumpus is hot. Tumpuses are loud. Max is a yumpus. "
        "Max is an impus. True or false: Max is hot."
    ),
    steps=(
        "Max is an impus. Each impus is a jompus.",
        "Max is a jompus. Jompuses are wumpuses.",
        "Max is a wumpus. Wumpuses are not hot.",
        "Max is not hot.",
    ),
    answer="False",
    id="proof",
    facts={
        "entity": "Max",
        "members": ["impus"],
        "edges": [["impus", "jompus"], ["jompus", "tumpus"], ["jompus", "wumpus"], ["tumpus", "numpus"]],
        "properties": [
            ["numpus", "hot", False],
            ["tumpus", "loud", True],
            ["wumpus", "hot", False],
            ["yumpus", "hot", True],
        ],
        "query": ["hot", True],
        "chain": ["impus", "jompus", "wumpus"],
    },
)
"""A problem of ProntoQA's form with two ways to its target, "not hot": of four edges, and of five by tumpus and numpus.

Its question also says that Max is a yumpus, which its facts leave out, so that the target alone is in reach.
"""

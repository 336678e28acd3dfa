"""Problems about which two questions can be asked, each with another answer: which of them are, and how they are named.

A guess from a problem's shape that never looks at what is asked gets at most one of the two right.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

from lcot.reasoning.example import ReasoningExample
from lcot.reasoning.keyed import keyed_random

EITHER, BOTH = "either", "both"
"""What a data set's ``ask`` may be, beside its name for a problem's own question."""


class Twofold(Protocol):
    """Problems by number, with two questions about each; see :class:`~lcot.datamodules.rows.Source`."""

    def __len__(self) -> int:
        """Number of problems."""
        ...

    def question(self, index: int, epoch: int, other: bool) -> ReasoningExample:
        """A question about a problem as it is seen in an epoch; a pure function of its arguments.

        Args:
            index: Number of the problem.
            epoch: Counted from 0.
            other: Whether it is the other one, and not the problem's own.
        """
        ...

    @property
    def redraws(self) -> bool:
        """Whether a problem differs from epoch to epoch."""
        ...


class Asked:
    """The questions that are asked about problems.

    Args:
        problems: The problems.
        ask: ``either`` asks one of the two questions about a problem, drawn anew in each epoch where problems are
            redrawn; ``both`` asks its own and then the other one, which make a pair; anything else its own.
        seed: Keys the draws together with epoch and index.
        prefix: Likewise; the split's name.
    """

    def __init__(self, problems: Twofold, ask: str, seed: int, prefix: str) -> None:
        self.problems = problems
        self.ask = ask
        self.redraws = problems.redraws
        self._key = (seed, prefix)

    def __len__(self) -> int:
        return len(self.problems) * (2 if self.ask == BOTH else 1)

    def example(self, index: int, epoch: int) -> ReasoningExample:
        """The question as it is seen in an epoch."""
        number, place = divmod(index, 2) if self.ask == BOTH else (index, 0)
        other = self.which(number, epoch)[place]
        return self.named(self.problems.question(number, epoch, other), other)

    def which(self, index: int, epoch: int) -> tuple[bool, ...]:
        """The questions that are asked about a problem in an epoch: whether it is the other one, of each."""
        if self.ask == EITHER:
            return (keyed_random("ask", *self._key, epoch if self.redraws else 0, index).random() < 0.5,)
        return (False, True) if self.ask == BOTH else (False,)

    def named(self, example: ReasoningExample, other: bool) -> ReasoningExample:
        """A question under a name of its own and, where both are asked, with that of the pair."""
        name = f"{example.id}-other" if other else example.id
        return replace(example, id=name, pair=example.id if self.ask == BOTH else "")

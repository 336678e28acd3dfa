"""What is measured: a model, questions, and what stands behind so many thoughts about one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from lcot.analysis.thinker import Thinker
from lcot.metrics.paths import Prefix
from lcot.reasoning.example import ReasoningExample

Examples = Callable[[], Iterator[ReasoningExample]]
"""Reads the questions from the first one on, each time that it is called."""


@dataclass(frozen=True)
class Subject:
    """What is measured.

    Attributes:
        thinker: The model.
        examples: The questions.
        counts: The numbers of thoughts, in ascending order.
        hidden: The number of steps that text goes on behind after k thoughts; ``None`` where training fixes none.
        thoughts_per_step: Number of thoughts that stand for one step.
        whole: Whether training left no step behind k thoughts, however many there are.
        left_out: The number of steps that the right text behind k thoughts leaves out, of a question with so many.
        reader: Name of the extractor that reads answers.
        max_new_tokens: Longest text.
    """

    thinker: Thinker
    examples: Examples
    counts: tuple[int, ...]
    hidden: Callable[[int], int | None]
    thoughts_per_step: int = 1
    whole: Callable[[int], bool] = lambda k: False
    left_out: Callable[[int, int], int] = lambda k, steps: steps
    reader: str = "string"
    max_new_tokens: int = 128

    def behind(self, k: int) -> int:
        """The number of steps that concepts are read out behind: one a thought where training fixes none."""
        found = self.hidden(k)
        return k if found is None else found

    def way(self, k: int) -> tuple[int, Prefix]:
        """How a path is judged: the number of unseen steps, and whether that is exact."""
        found = self.hidden(k)
        return (1, "any") if found is None else (found, "exact")

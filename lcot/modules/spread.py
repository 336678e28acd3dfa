"""Whether vectors depend on the question: how far they lie from their mean over questions.

Letters in shapes: N places, D width.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

ENOUGH = 2048
"""Questions that are looked at, at most."""

LITTLE = 0.05
"""A deviation below this is next to none: what reads such vectors is told the same whatever is asked."""


class Spread:
    """Root mean square distance of vectors from the mean of their place, divided by their root mean square length.

    0 where all questions have the same vectors, 1 where these have nothing in common.

    Attributes:
        questions: How many were added.
    """

    def __init__(self) -> None:
        self.questions = 0
        self._squares = 0.0
        self._sums: list[Tensor] = []
        self._counts: list[int] = []

    def add(self, vectors: Tensor) -> None:
        """Take in the vectors ``(N, D)`` of a question."""
        own = vectors.detach().to("cpu", torch.float64)
        self.questions += 1
        self._squares += float(own.square().sum())
        for place, vector in enumerate(own):
            if place == len(self._sums):
                self._sums.append(torch.zeros_like(vector))
                self._counts.append(0)
            self._sums[place] += vector
            self._counts[place] += 1

    def value(self) -> float | None:
        """The deviation; ``None`` with fewer than two questions, or where all vectors are zero."""
        if self.questions < 2 or not self._squares:
            return None
        held = sum(float(total.square().sum()) / n for total, n in zip(self._sums, self._counts, strict=True))
        return math.sqrt(max(0.0, self._squares - held) / self._squares)

    def told(self) -> str:
        """The same in words."""
        value = self.value()
        assert value is not None
        said = (
            f"the assistant's states deviate by {100 * value:.1f} % of their length from their mean over"
            f" {self.questions:,} questions"
        )
        if value >= LITTLE:
            return said
        return (
            f"{said}: they hardly depend on what is asked, and soft thoughts are then no more than a learned prompt;"
            " try another placeholder (tokens: placeholder in a prompt file, data.dialogue.prompt)"
        )

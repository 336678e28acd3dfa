"""How many next concepts a model holds open at once (arXiv 2412.06769, section 5, the figure on parallelism).

For each question the values of its most probable one, two and three candidates are added up. Each sum is plotted
against the percentile of questions: the lines of a model that holds several concepts lie apart, and those of one that
has decided lie together.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate

from lcot.analysis.concepts import ConceptValues

PERCENTILES: tuple[float, ...] = tuple(range(0, 101))
"""Where the lines are read: 0, 1, … 100."""

EXACT = 20_000
"""Up to so many questions percentiles are exact; of more, only how many fall into each bin is kept."""

BINS = 10_000
"""Bins from 0 to 1. A value read from them is at most half a bin off, 0.00005."""


@dataclass(frozen=True, slots=True)
class Parallelism:
    """The lines of one number of thoughts.

    Attributes:
        thoughts: k.
        questions: Number of questions.
        percentiles: Where the lines are read, in percent of the questions.
        top1: Value of the best candidate at these percentiles; each line is sorted by itself. Exact up to 20,000
            questions, and within 0.00005 for more.
        top2: Sum of the two best.
        top3: Sum of the three best.
        means: Means of the three over questions.
        gaps: Means of top2 - top1 and top3 - top2: what a second and a third candidate add.
    """

    thoughts: int
    questions: int
    percentiles: tuple[float, ...]
    top1: tuple[float, ...]
    top2: tuple[float, ...]
    top3: tuple[float, ...]
    means: tuple[float, float, float]
    gaps: tuple[float, float]


def parallelism(
    values: Iterable[ConceptValues], percentiles: Sequence[float] = PERCENTILES, *, pending_only: bool = True
) -> list[Parallelism]:
    """Cumulative values of the best candidates by percentile of questions.

    Only candidates of the frontier count. Between two questions the lines are linear, as quantiles are.

    Args:
        values: Records of :func:`~lcot.analysis.concepts.concept_values`, of any numbers of thoughts. Less than 1 MB is
            kept of each number, however many there are.
        percentiles: Where the lines are read.
        pending_only: Leave out questions without a step that could be named.

    Returns:
        One record for each number of thoughts, in ascending order.
    """
    sums: dict[int, tuple[_Line, _Line, _Line]] = {}
    for record in values:
        if record.pending or not pending_only:
            best = [one.value for one in record.frontier()[:3]]
            lines = sums.setdefault(record.thoughts, (_Line(1), _Line(2), _Line(3)))
            for most, line in enumerate(lines, start=1):
                line.add(sum(best[:most]))
    return [_lines(k, sums[k], tuple(percentiles)) for k in sorted(sums)]


class _Line:
    """Values in any order, of which quantiles are asked.

    Args:
        most: What they can be at most; one concept has at most 1.
    """

    def __init__(self, most: int) -> None:
        self.count, self.total = 0, 0.0
        self._last = most * BINS - 1
        self._values = array("d")
        self._bins: array[int] | None = None

    def add(self, value: float) -> None:
        self.count += 1
        self.total += value
        if self._bins is None and self.count > EXACT:
            self._bins = array("q", bytes(8 * (self._last + 1)))
            for former in self._values:
                self._bins[self._bin(former)] += 1
            self._values = array("d")
        if self._bins is None:
            self._values.append(value)
        else:
            self._bins[self._bin(value)] += 1

    def quantiles(self, percentiles: Sequence[float]) -> tuple[float, ...]:
        """The values at these percentiles."""
        ordered = sorted(self._values)
        upto = array("q", accumulate(self._bins or ()))

        def at(rank: int) -> float:
            return (bisect_right(upto, rank) + 0.5) / BINS if upto else ordered[rank]

        found = []
        for percent in percentiles:
            place = percent / 100 * (self.count - 1)
            below = min(int(place), self.count - 1)
            low, high = at(below), at(min(below + 1, self.count - 1))
            found.append(low + (place - below) * (high - low))
        return tuple(found)

    def _bin(self, value: float) -> int:
        return min(int(value * BINS), self._last)


def _lines(k: int, lines: tuple[_Line, _Line, _Line], percentiles: tuple[float, ...]) -> Parallelism:
    one, two, three = (line.total / line.count for line in lines)
    top1, top2, top3 = (line.quantiles(percentiles) for line in lines)
    return Parallelism(k, lines[0].count, percentiles, top1, top2, top3, (one, two, three), (two - one, three - two))

"""How many next concepts a model holds open at once (arXiv 2412.06769, section 5, the figure on parallelism).

For each question the values of its most probable one, two and three candidates are added up. Each sum is plotted
against the percentile of questions: the lines of a model that holds several concepts lie apart, and those of one that
has decided lie together.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lcot.analysis.concepts import ConceptValues

PERCENTILES: tuple[float, ...] = tuple(range(0, 101))
"""Where the lines are read: 0, 1, … 100."""


@dataclass(frozen=True, slots=True)
class Parallelism:
    """The lines of one number of thoughts.

    Attributes:
        thoughts: k.
        questions: Number of questions.
        percentiles: Where the lines are read, in percent of the questions.
        top1: Value of the best candidate at these percentiles; each line is sorted by itself.
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
        values: Records of :func:`~lcot.analysis.concepts.concept_values`, of any numbers of thoughts; three numbers are
            kept of each.
        percentiles: Where the lines are read.
        pending_only: Leave out questions without a step that could be named.

    Returns:
        One record for each number of thoughts, in ascending order.
    """
    sums: dict[int, list[tuple[float, float, float]]] = {}
    for record in values:
        if record.pending or not pending_only:
            best = [one.value for one in record.frontier()[:3]]
            sums.setdefault(record.thoughts, []).append((sum(best[:1]), sum(best[:2]), sum(best)))
    return [_lines(k, sums[k], tuple(percentiles)) for k in sorted(sums)]


def _lines(k: int, sums: Sequence[tuple[float, float, float]], percentiles: tuple[float, ...]) -> Parallelism:
    columns = [sorted(column) for column in zip(*sums, strict=True)]
    means = [math.fsum(column) / len(sums) for column in columns]
    top1, top2, top3 = (tuple(_quantile(column, percent) for percent in percentiles) for column in columns)
    return Parallelism(
        k,
        len(sums),
        percentiles,
        top1,
        top2,
        top3,
        (means[0], means[1], means[2]),
        (means[1] - means[0], means[2] - means[1]),
    )


def _quantile(ordered: Sequence[float], percent: float) -> float:
    place = percent / 100 * (len(ordered) - 1)
    below = min(int(place), len(ordered) - 1)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])

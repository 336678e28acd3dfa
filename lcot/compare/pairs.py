"""Matched pairs: methods that differ in one factor, compared question by question, seed by seed.

Two runs are set against each other only where they were asked the same questions (by their hash) with the same seed
behind as many steps of training. Whatever keeps them apart is told.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from lcot.compare.factors import Factors, factors
from lcot.compare.rows import Row, brief
from lcot.metrics.statistics import mcnemar, paired_difference, sign_flips
from lcot.runs.run import Run


@dataclass(frozen=True, slots=True)
class Line:
    """What two runs, or all runs of two methods together, got right of the same questions.

    Attributes:
        seed: Theirs; ``None`` for several together.
        questions: How many different ones there are.
        answers: How often they were answered by each method: once a seed and run of the voting.
        right_a: Right answers of the first.
        right_b: Right answers of the second.
        only_a: How often only the first was right.
        only_b: How often only the second was.
        low: Lower end of the 95 % interval of the difference of their accuracies.
        high: Upper end.
        p: Of McNemar's exact test; where questions were asked several times, their answers change sides together.
    """

    seed: int | None
    questions: int
    answers: int
    right_a: int
    right_b: int
    only_a: int
    only_b: int
    low: float
    high: float
    p: float


@dataclass(frozen=True, slots=True)
class Pair:
    """Two methods, and their runs of the same seeds.

    Attributes:
        left: The first.
        right: The second.
        factors: What they differ in, in words.
        lines: One a seed, and behind several one of all together; none if no runs can be set against each other.
        apart: Why others cannot, in words.
        unrecorded: Runs that could be set against each other, if they had kept which questions they got right.
    """

    left: Row
    right: Row
    factors: tuple[str, ...]
    lines: tuple[Line, ...]
    apart: tuple[str, ...]
    unrecorded: tuple[Run, ...]

    @property
    def matched(self) -> bool:
        """Whether they differ in one factor alone."""
        return len(self.factors) == 1


def pairs(rows: Sequence[Row]) -> tuple[Pair, ...]:
    """The pairs among the rows of a table whose methods alone differ: those that differ in one factor come first."""
    found = [(left, right, factors(left.runs[0], right.runs[0])) for left, right in combinations(rows, 2)]
    made = [_pair(left, right, what) for left, right, what in found if what.alike and what.named]
    return tuple(sorted(made, key=lambda pair: not pair.matched))


def _pair(left: Row, right: Row, what: Factors) -> Pair:
    mine, other = ({run.seed: run for run in row.runs if run.seed is not None} for row in (left, right))
    seeds = sorted(mine.keys() & other.keys())
    apart = [] if seeds else ["no seed is known to be that of both"]
    both: list[tuple[Run, Run]] = []
    unrecorded: list[Run] = []
    for one, another in ((mine[seed], other[seed]) for seed in seeds):
        lacking = [run for run in (one, another) if run.result is not None and run.result.by_question is None]
        if (why := _unlike(one, another)) is not None:
            apart.append(f"seed {one.seed}: {why}")
        elif lacking:
            unrecorded += lacking
        else:
            both.append((one, another))
    lines = [_line([runs]) for runs in both] + ([_line(both)] if len(both) > 1 else [])
    return Pair(left, right, what.named, tuple(lines), tuple(apart), tuple(unrecorded))


def _unlike(left: Run, right: Run) -> str | None:
    """Why two runs of one seed cannot be set against each other; ``None`` if nothing keeps them apart."""
    one, other = left.result, right.result
    assert one is not None and other is not None
    if one.data_hash != other.data_hash:
        return f"other questions, data hash {brief(one.data_hash)} and {brief(other.data_hash)}"
    if left.steps != right.steps and not left.untrained and not right.untrained:
        steps = ("an unknown number of" if run.steps is None else f"{run.steps:,}" for run in (left, right))
        return f"{' and '.join(steps)} optimizer steps"
    asked = [result.by_question.asked for result in (one, other) if result.by_question is not None]
    return "other questions of the same data (limit_test_batches)" if len(set(asked)) > 1 else None


def _line(runs: Sequence[tuple[Run, Run]]) -> Line:
    asked: dict[str, int] = {}
    counts: Counter[str] = Counter()
    net: Counter[tuple[str, int]] = Counter()  # of each question, how much more often the first was right
    for left, right in runs:
        assert left.result is not None and right.result is not None
        one, other = left.result.by_question, right.result.by_question
        assert one is not None and other is not None
        asked[left.result.data_hash] = one.asked
        for mine, others in zip(one.right, other.right, strict=True):
            only = {"only_a": mine & ~others, "only_b": others & ~mine}
            for name, bits in {"right_a": mine, "right_b": others, **only}.items():
                counts[name] += bits.bit_count()
            for sign, bits in zip((1, -1), only.values(), strict=True):
                for place in one.places(bits):
                    net[left.result.data_hash, place] += sign
            counts["answers"] += one.asked.bit_count()
    only_a, only_b, answers = counts["only_a"], counts["only_b"], counts["answers"]
    questions = sum(bits.bit_count() for bits in asked.values())
    effect = _design_effect(list(net.values()), only_a + only_b, questions, answers)
    low, high = paired_difference(only_a / effect, only_b / effect, answers / effect)
    return Line(
        seed=runs[0][0].seed if len(runs) == 1 else None,
        questions=questions,
        answers=answers,
        right_a=counts["right_a"],
        right_b=counts["right_b"],
        only_a=only_a,
        only_b=only_b,
        low=low,
        high=high,
        p=mcnemar(only_a, only_b) if answers == questions else sign_flips(net.values()),
    )


def _design_effect(net: Sequence[int], differing: int, questions: int, answers: int) -> float:
    """How much more a difference varies than if answers to one question had nothing to do with each other.

    Counts are divided by it (Rao and Scott, A simple method for the analysis of clustered binary data, Biometrics 48
    (1992)). It is 1 where each question was asked once, and how often it was asked where all answers to it are alike.
    """
    together = sum(one * one for one in net) - sum(net) ** 2 / questions
    apart = differing - sum(net) ** 2 / answers
    return min(max(1.0, together / apart if apart > 0 else math.inf), answers / questions)

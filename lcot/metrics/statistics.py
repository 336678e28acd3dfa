"""How sure a share of right answers is, and the difference of two shares on the same questions."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable

import numpy as np

Z = 1.959964
"""The normal quantile of a two-sided 95 % interval."""


def wilson(right: int, count: int, z: float = Z) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson's), which stays within 0 and 1.

    Args:
        right: How many there are of what is counted.
        count: Of how many, at least one.
        z: Normal quantile of another level.
    """
    share, spread = right / count, z * z / count
    middle = share + spread / 2
    half = z * math.sqrt(share * (1 - share) / count + spread / (4 * count))
    # Rounding could put the ends of 0 % and 100 % on the wrong side of these.
    return min(share, max(0.0, (middle - half) / (1 + spread))), max(share, min(1.0, (middle + half) / (1 + spread)))


def mcnemar(only_a: int, only_b: int) -> float:
    """The exact two-sided p-value of McNemar's test: twice the smaller tail of a fair coin, at most 1.

    Questions that both get right, or both wrong, say nothing about a difference and do not enter.

    Args:
        only_a: Questions that only the first gets right.
        only_b: Those that only the second gets right.
    """
    count, fewer = only_a + only_b, min(only_a, only_b)
    # From the largest term down by ratios, until nothing more is added: exact binomials have as many digits as coins.
    term = total = _chance(fewer, count)
    for heads in range(fewer, 0, -1):
        term *= heads / (count - heads + 1)
        if total + term == total:
            break
        total += term
    return min(1.0, 2 * total)


def sign_flips(sums: Iterable[int]) -> float:
    """The exact two-sided p-value of a sum of whole numbers whose signs are tossed, each with a fair coin.

    It is McNemar's test where some questions were asked more than once, by runs of several seeds: answers to one
    question hang together, so all differences of a question change sides at once. Where each is 1 or -1 it is
    :func:`mcnemar`.

    Args:
        sums: Of each question, how much more often the first got it right than the second.
    """
    found = [one for one in sums if one]
    chances = np.ones(1)  # of the sums from -n to n
    for size, count in Counter(map(abs, found)).items():
        # Beyond ten standard deviations there is less than double precision could add.
        fewest = max(0, count // 2 - math.ceil(5 * math.sqrt(count)))
        heads = range(fewest, count - fewest + 1)
        coins = np.zeros(2 * size * (len(heads) - 1) + 1)
        coins[:: 2 * size] = [_chance(head, count) for head in heads]
        chances = np.convolve(chances, coins)
    away = np.abs(np.arange(len(chances)) - len(chances) // 2)
    return min(1.0, float(chances[away >= abs(sum(found))].sum()))


def paired_difference(only_a: float, only_b: float, count: float, z: float = Z) -> tuple[float, float]:
    """The 95 % interval of the difference of two shares on the same questions, first minus second (Tango's score).

    It holds the differences that the score test does not refuse, stays within -1 and 1, and needs no correction where
    nobody differs: T. Tango, Equivalence test and confidence interval for the difference in proportions for the
    paired-sample design, Statistics in Medicine 17 (1998), 891-908, equations 24 to 26. It is that of the asymptotic
    test; :func:`mcnemar` is exact and a little slower to see a difference, so near 5 % the two may disagree.

    Args:
        only_a: Questions that only the first gets right. Where answers hang together, counts are divided by their
            design effect, and are no whole numbers.
        only_b: Those that only the second gets right.
        count: All questions, those on which both agree among them; at least one.
        z: Normal quantile of another level.
    """

    def score(difference: float) -> float:
        slope = (2 * count - only_a + only_b) * difference - only_a - only_b
        root = math.sqrt(max(0.0, slope * slope + 8 * count * only_b * difference * (1 - difference)))
        likely = (root - slope) / (4 * count)  # the likeliest share of those that only b gets right
        variance = count * (2 * likely + difference * (1 - difference))
        away = only_a - only_b - count * difference
        return away / math.sqrt(variance) if variance > 0 else math.copysign(math.inf, away) if away else 0.0

    measured = (only_a - only_b) / count
    return _border(lambda d: score(d) > z, -1.0, measured), _border(lambda d: score(d) >= -z, measured, 1.0)


def _chance(heads: int, count: int) -> float:
    """Of so many heads among so many fair coins."""
    chosen = math.lgamma(count + 1) - math.lgamma(heads + 1) - math.lgamma(count - heads + 1)
    return math.exp(chosen - count * math.log(2))


def _border(holds: Callable[[float], bool], low: float, high: float) -> float:
    """Where something ends that holds below."""
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return (low + high) / 2

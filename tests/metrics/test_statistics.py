"""Intervals and tests against published examples, exact fractions and worked ones."""

from __future__ import annotations

import math
import random
from fractions import Fraction
from itertools import product

import pytest

from lcot.metrics.statistics import mcnemar, paired_difference, sign_flips, wilson


class TestWilson:
    """The interval of one share."""

    def test_worked_example(self) -> None:
        """Newcombe, Statistics in Medicine 17 (1998), table I, method 3."""
        assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
        assert wilson(15, 148) == pytest.approx((0.0624, 0.1605), abs=5e-5)
        assert wilson(0, 20)[0] == 0.0 and wilson(0, 20)[1] == pytest.approx(0.1611, abs=5e-5)
        assert wilson(29, 29)[1] == 1.0


class TestMcNemar:
    """The test of two answers to the same questions."""

    def test_by_hand(self) -> None:
        """Of eight coins, seven or more on one side: 2 × (1 + 8) / 256; of ten, 2 × (1 + 10 + 45) / 1,024."""
        assert mcnemar(1, 7) == pytest.approx(18 / 256, rel=1e-12)
        assert mcnemar(8, 2) == pytest.approx(112 / 1024, rel=1e-12)

    def test_published(self) -> None:
        """Complete response before and after consolidation (Cavo 2012), as R's contingencytables prints it."""
        assert mcnemar(6, 16) == pytest.approx(0.052479, abs=5e-7)

    def test_nobody_differs(self) -> None:
        assert mcnemar(0, 0) == 1.0
        assert mcnemar(5, 5) == 1.0

    @pytest.mark.parametrize(("a", "b"), [(0, 1), (0, 9), (3, 4), (20, 41), (130, 170), (900, 1100), (1500, 1500)])
    def test_equals_exact_fractions(self, a: int, b: int) -> None:
        tail = Fraction(sum(math.comb(a + b, heads) for heads in range(min(a, b) + 1)), 2 ** (a + b))
        assert mcnemar(a, b) == mcnemar(b, a) == pytest.approx(float(min(Fraction(1), 2 * tail)), rel=1e-10)

    def test_counts_of_any_size(self) -> None:
        """The normal approximation with continuity's correction is near for many; what is too small to say is 0."""
        a, b = 499_000, 501_000
        assert mcnemar(a, b) == pytest.approx(math.erfc((b - a - 1) / math.sqrt(2 * (a + b))), rel=1e-4)
        assert mcnemar(0, 1_000_000) == 0.0


class TestSignFlips:
    """The test of questions that were asked several times."""

    def test_by_hand(self) -> None:
        """Of the eight sums ±3 ±1 ±1, 5 and -5 are as far from 0 as 5, and four more as far as 3."""
        assert sign_flips([3, 1, 1]) == pytest.approx(2 / 8, rel=1e-12)
        assert sign_flips([3, 1, -1, 0]) == pytest.approx(6 / 8, rel=1e-12)
        assert sign_flips([]) == sign_flips([0]) == 1.0 == pytest.approx(sign_flips([2, -2]), rel=1e-12)

    @pytest.mark.parametrize("seed", range(6))
    def test_equals_all_tosses(self, seed: int) -> None:
        draw = random.Random(seed)
        sums = [draw.choice([-3, -2, -1, -1, 0, 1, 1, 1, 2]) for _ in range(12)]
        tosses = [
            sum(sign * one for sign, one in zip(signs, sums, strict=True)) for signs in product((1, -1), repeat=12)
        ]
        share = sum(abs(toss) >= abs(sum(sums)) for toss in tosses) / len(tosses)
        assert sign_flips(sums) == pytest.approx(share, rel=1e-12)

    @pytest.mark.parametrize(("a", "b"), [(1, 0), (1, 7), (8, 2), (30, 51), (999, 1000), (10_100, 9_900)])
    def test_is_mcnemars_where_each_was_asked_once(self, a: int, b: int) -> None:
        assert sign_flips([1] * a + [-1] * b) == pytest.approx(mcnemar(a, b), rel=1e-9)

    def test_the_same_twice_is_no_evidence(self) -> None:
        assert sign_flips([2] * 8 + [-2] * 2) == pytest.approx(mcnemar(8, 2), rel=1e-12)
        assert mcnemar(16, 4) < mcnemar(8, 2) / 5


class TestPairedDifference:
    """The interval of a difference on the same questions."""

    def test_published(self) -> None:
        """Cavo 2012 again, with the interval that contingencytables prints for it (Tango's asymptotic score)."""
        assert paired_difference(6, 16, 161) == pytest.approx((-0.1240, -0.0054), abs=5e-5)

    def test_mirrored(self) -> None:
        low, high = paired_difference(3, 11, 40)
        assert paired_difference(11, 3, 40) == pytest.approx((-high, -low), abs=1e-12)

    def test_nobody_differs(self) -> None:
        """The test that is turned round is then count × d² / (d - d²) of a share d: z² / (z² + count)."""
        end = 1.959964**2 / (1.959964**2 + 300)
        assert paired_difference(0, 0, 300) == pytest.approx((-end, end), abs=1e-12)

    def test_everybody_differs(self) -> None:
        low, high = paired_difference(12, 0, 12)
        assert high == pytest.approx(1.0, abs=1e-12) and 0 < low < 1
        low, high = paired_difference(0, 1, 1)
        assert low == pytest.approx(-1.0, abs=1e-12) and -1 < high < 1

    @pytest.mark.parametrize(("a", "b", "count"), [(1, 7, 21), (48, 41, 549), (0, 3, 50), (20, 40, 160), (0, 0, 7)])
    def test_ends_are_where_the_score_test_turns(self, a: int, b: int, count: int) -> None:
        """The likelihood under a difference, maximised by brute force over a grid: both ends lie at |z| = 1.96."""
        for end in paired_difference(a, b, count):
            assert abs(_score_by_search(a, b, count, end)) == pytest.approx(1.959964, abs=2e-3)


def _score_by_search(a: int, b: int, count: int, difference: float) -> float:
    """Tango's statistic with the likeliest share of "only b" found by looking at very many."""

    def likelihood(only_b: float) -> float:
        shares = (only_b + difference, only_b, 1 - 2 * only_b - difference)
        return sum(
            (n * math.log(share) if share > 0 else -math.inf)
            for n, share in zip((a, b, count - a - b), shares, strict=True)
            if n
        )

    low, high, steps = max(0.0, -difference), (1 - difference) / 2, 2000
    for _ in range(4):
        tried = [low + (high - low) * step / steps for step in range(steps + 1)]
        best = max(range(steps + 1), key=lambda place: likelihood(tried[place]))
        low, high = tried[max(0, best - 1)], tried[min(steps, best + 1)]
    only_b = (low + high) / 2
    variance = (2 * only_b + difference - difference**2) * count
    return (a - b - count * difference) / math.sqrt(variance)

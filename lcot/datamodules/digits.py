"""Pairs of numbers that differ from others in one digit."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random


def changed(numbers: tuple[int, int], digits: tuple[int, int], rng: Random) -> Iterator[tuple[int, int]]:
    """All pairs of numbers that differ from two given ones in one digit of one of them, in a drawn order.

    Args:
        numbers: The two numbers.
        digits: How many digits each has; none of them gets a zero as its first one.
        rng: Draws the order.
    """
    places = [(which, place) for which, count in enumerate(digits) for place in range(count)]
    choices = [(which, place, digit) for which, place in places for digit in range(10)]
    rng.shuffle(choices)
    for which, place, digit in choices:
        before = numbers[which] // 10**place % 10
        if digit != before and (digit or place < digits[which] - 1):
            number = numbers[which] + (digit - before) * 10**place
            yield (number, numbers[1]) if which == 0 else (numbers[0], number)

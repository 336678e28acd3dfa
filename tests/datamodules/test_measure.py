"""What fits a model: its positions row by row, and its windows column by column."""

from __future__ import annotations

import pytest

from lcot.datamodules.measure import Longest
from lcot.errors import DataError


def test_positions_are_each_row_s_own() -> None:
    longest = Longest(row=30, prompt=20, head=18, rest=10)
    longest.check(30, 10)
    with pytest.raises(DataError, match="longest row takes 30 positions, and the model has 29"):
        longest.check(29, 9)
    with pytest.raises(DataError, match="prompt with 11 new tokens takes 31"):
        longest.check(30, 11)


def test_a_window_sees_the_columns_that_batch_mates_take() -> None:
    # A row of a question of 18 waits for another's rest of 10 before both are answered.
    longest = Longest(row=30, prompt=20, head=18, rest=10)
    longest.check(38, 10, window=38)
    with pytest.raises(DataError, match=r"the longest rest of a prompt with 10 new tokens, takes 38 .* has 37"):
        longest.check(37, 10, window=37)

"""iCoT's schedule against the paper's formulas and the released code's counting."""

from __future__ import annotations

import math
import random
from collections import Counter
from typing import Any

import pytest

from lcot.errors import UserError
from lcot.reasoning.curriculum import Stage
from lcot.reasoning.keyed import keyed_random
from lcot.reasoning.tokenwise import Tokenwise


def removed(schedule: Tokenwise, epochs: int, batches: int) -> list[int]:
    """Tokens that are left out of each batch, over several epochs."""
    return [schedule.stage_at(epoch, batch, batches) for epoch in range(epochs) for batch in range(batches)]


class TestSchedule:
    """s(t): how many tokens are gone."""

    def test_linear_within_epochs(self) -> None:
        # 8 tokens an epoch of 16 batches: one more every other batch.
        assert removed(Tokenwise(8, 39), 2, 16) == [batch // 2 for batch in range(32)]

    def test_where_an_epoch_divides_evenly_the_released_counting_is_met(self) -> None:
        """One more token each round(batches / Δ) batches, counted on through the epochs."""
        batches, delta = 40, 8
        every = round(batches / delta)
        assert removed(Tokenwise(delta, 10**6), 5, batches) == [step // every for step in range(5 * batches)]

    def test_less_than_a_token_an_epoch(self) -> None:
        schedule = Tokenwise(0.25, 4, first_epochs=2)
        assert [schedule.stage_at(epoch) for epoch in range(20)] == [0] * 6 + [1] * 4 + [2] * 4 + [3] * 4 + [4] * 2
        assert schedule.stage_at(5, 9, 10) == 0 and schedule.stage_at(6, 0, 10) == 1

    def test_decimal_fractions_are_exact(self) -> None:
        # In binary, 0.29 x 100 is a little less than 29.
        assert Tokenwise(0.29, 1000).stage_at(100) == 29
        assert removed(Tokenwise(0.1, 1000), 31, 1)[::10] == [0, 1, 2, 3]

    def test_beyond_the_bound_all_is_gone_for_good(self) -> None:
        schedule = Tokenwise(8, 39)
        assert schedule.last_stage == 39
        assert [schedule.stage_at(epoch) for epoch in (4, 5, 6, 400)] == [32, 39, 39, 39]
        assert schedule.resolve(38, 7) == Stage(0, 0, tokens=38)
        assert schedule.resolve(39, 7) == Stage(7, 0)

    def test_the_first_epochs_keep_the_chain(self) -> None:
        assert removed(Tokenwise(2, 9, first_epochs=3), 5, 2) == [0, 0, 0, 0, 0, 0, 0, 1, 2, 3]

    def test_sides(self) -> None:
        assert Tokenwise(side="left").resolve(5, 3) == Stage(0, 0, tokens=5)
        assert Tokenwise(side="right").resolve(5, 3) == Stage(0, 0, tokens=-5)
        assert Tokenwise(side="right", smoothing=1e-9).sample(5, 3, random.Random(0)) == Stage(0, 0, tokens=-104)

    def test_reach(self) -> None:
        Tokenwise(8, 40).check_reach(6)
        with pytest.raises(UserError) as caught:
            Tokenwise(8, 40).check_reach(5)
        assert "ends after 5 epochs" in str(caught.value) and "after 5\n" in str(caught.value)
        with pytest.raises(UserError, match="would go after 20"):
            Tokenwise(0.25, 4, first_epochs=4).check_reach(20)


class TestSmoothing:
    """o ~ P(o) ∝ exp(-λ·o), the tail on 99."""

    @staticmethod
    def extra(smoothing: float | None, count: int = 4000) -> Counter[int]:
        """How often each number of tokens is left out beyond the schedule's 10."""
        schedule = Tokenwise(8, 1000, smoothing=smoothing)
        draws = [schedule.sample(10, 3, keyed_random("stage", 0, 0, index)) for index in range(count)]
        assert all(stage.hidden == stage.thoughts == 0 for stage in draws)
        return Counter(stage.tokens - 10 for stage in draws)

    @pytest.mark.parametrize("rate", [0.5, 1.0, 4.0])
    def test_distribution(self, rate: float) -> None:
        seen = self.extra(rate)
        for extra in range(4):
            expected = (1 - math.exp(-rate)) * math.exp(-rate * extra)
            assert seen[extra] / 4000 == pytest.approx(expected, abs=0.03)

    def test_the_tail_lies_on_99(self) -> None:
        seen = self.extra(0.01)
        assert max(seen) == 99
        assert seen[99] / 4000 == pytest.approx(math.exp(-0.99), abs=0.03)

    def test_off_draws_nothing(self) -> None:
        draw = random.Random(0)
        state = draw.getstate()
        assert Tokenwise(smoothing=None).sample(3, 2, draw) == Stage(0, 0, tokens=3)
        assert draw.getstate() == state

    def test_it_never_makes_the_rest_go_at_once_and_spares_validation(self) -> None:
        schedule = Tokenwise(8, 12, smoothing=0.01)
        assert all(schedule.sample(11, 3, keyed_random("stage", index)).hidden == 0 for index in range(50))
        assert schedule.sample(12, 3, random.Random(0)) == Stage(3, 0)
        assert schedule.evaluate(11, 3) == Stage(0, 0, tokens=11)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"tokens_per_epoch": 0.0}, ["tokens_per_epoch is 0.0", "above 0"]),
        ({"tokens_per_epoch": math.inf}, ["tokens_per_epoch is inf"]),
        ({"remove_all_beyond": 0}, ["remove_all_beyond is 0", "1 or more"]),
        ({"first_epochs": -1}, ["first_epochs is -1"]),
        ({"smoothing": 0.0}, ["smoothing is 0.0", "null for none"]),
        ({"side": "middle"}, ["unknown side 'middle'", "left, right"]),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_bad_settings(settings: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        Tokenwise(**settings)
    for part in words:
        assert part in str(caught.value)

"""Another number of thoughts than the schedule's own."""

from __future__ import annotations

import random

import pytest

from lcot.errors import UserError
from lcot.reasoning.curriculum import Fixed, Stage
from lcot.reasoning.forced import Forced
from lcot.reasoning.stepwise import Stepwise


def test_inference_takes_k_thoughts_and_all_else_stays() -> None:
    schedule = Stepwise(epochs_per_stage=2, max_stage=3, thoughts_per_step=2, mix_probability=0.5)
    forced = Forced(schedule, 5)
    assert [forced.thoughts_at_inference(stage) for stage in range(5)] == [5] * 5
    assert forced.evaluate(2, 4) == Stage(2, 5) and schedule.evaluate(2, 4) == Stage(2, 4)
    assert (forced.last_stage, forced.stage_at(3), forced.resolve(1, 4)) == (4, 1, Stage(1, 2))
    assert forced.sample(3, 4, random.Random(1)) == schedule.sample(3, 4, random.Random(1))
    assert (forced.kind, forced.markers, forced.stepwise_passes) == ("continuous", "always", True)


def test_none_at_all_may_be_forced() -> None:
    assert Forced(Fixed(thoughts=4, kind="pause"), 0).evaluate(0, 3) == Stage(3, 0)
    assert Forced(Fixed(hidden="none"), 0).thoughts_at_inference(0) == 0


@pytest.mark.parametrize(
    ("schedule", "stage", "numbers"),
    [
        (Fixed(thoughts=4, kind="pause"), 0, {4}),
        (Fixed(thoughts=32, kind="soft", inference_thoughts=4), 0, {32}),
        (Stepwise(max_stage=3, thoughts_per_step=2), 2, {4}),
        (Stepwise(max_stage=3, mix_probability=0.3, mix_support="seen"), 2, {0, 1, 2}),
        (Stepwise(max_stage=3, mix_probability=0.3, mix_support="all"), 1, {0, 1, 2, 3}),
        (Stepwise(max_stage=3, mix_probability=[0.0, 0.5, 0.0], mix_support="seen"), 3, {3}),
    ],
)
def test_numbers_that_a_model_has_seen(schedule: Fixed | Stepwise, stage: int, numbers: set[int]) -> None:
    assert schedule.numbers_trained(stage) == numbers
    assert Forced(schedule, 9).numbers_trained(stage) == numbers


def test_numbers_that_cannot_be() -> None:
    with pytest.raises(UserError, match="eval_thoughts is -1"):
        Forced(Fixed(thoughts=1, kind="pause"), -1)
    with pytest.raises(UserError, match="kind of thought is 'none'"):
        Forced(Fixed(hidden="none"), 2)

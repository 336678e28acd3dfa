"""What all schedules share, and the one that never moves."""

from __future__ import annotations

import random
from typing import Any

import pytest

from lcot.errors import UserError
from lcot.reasoning.curriculum import Curriculum, Fixed, Passes, Stage, ThoughtKind


@pytest.mark.parametrize(
    ("kind", "passes", "stepwise"),
    [
        ("continuous", "auto", True),
        ("continuous", "multiple", True),
        ("continuous", "single", False),
        ("pause", "auto", False),
        ("pause", "single", False),
        ("pause", "multiple", True),
    ],
)
def test_two_settings_make_the_four_way_control(kind: ThoughtKind, passes: Passes, stepwise: bool) -> None:
    assert Fixed("all", 2, kind, passes=passes).stepwise_passes == stepwise


def test_a_stage_in_words() -> None:
    assert Fixed("all", 1, "continuous").describe(0) == "stage 0 of 0, 1 thought"
    assert Fixed("all", 3, "pause").describe(0) == "stage 0 of 0, 3 thoughts"


class TestFixed:
    """One stage at all epochs."""

    @pytest.mark.parametrize(
        ("schedule", "expected"),
        [
            pytest.param(Fixed("none"), Stage(0, 0), id="CoT"),
            pytest.param(Fixed("all"), Stage(4, 0), id="No-CoT"),
            pytest.param(Fixed("all", 6, "pause"), Stage(4, 6), id="pause token"),
            pytest.param(Fixed("all", 6, "continuous"), Stage(4, 6), id="w/o curriculum"),
        ],
    )
    def test_methods(self, schedule: Curriculum, expected: Stage) -> None:
        assert {schedule.stage_at(epoch) for epoch in range(50)} == {0}
        assert schedule.last_stage == 0
        assert schedule.resolve(0, 4) == schedule.evaluate(0, 4) == expected
        assert schedule.sample(0, 4, random.Random(0)) == expected
        assert schedule.thoughts_at_inference(0) == expected.thoughts
        schedule.check_reach(1)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"hidden": "al"}, ["unknown choice of hidden steps 'al'", "did you mean 'all'?"]),
        ({"thoughts": -1}, ["thoughts is -1", "0 or more"]),
        ({"thoughts": 6}, ["thoughts is 6", "'none'", "'continuous' or 'pause'"]),
        ({"passes": "many"}, ["unknown number of passes 'many'", "auto, multiple, single"]),
        ({"kind": "pauses"}, ["unknown kind of thought 'pauses'", "did you mean 'pause'?"]),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_bad_fixed_settings(settings: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        Fixed(**settings)
    for part in words:
        assert part in str(caught.value)

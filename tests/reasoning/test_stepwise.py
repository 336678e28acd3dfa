"""The published schedules, as tables."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest

from lcot.errors import UserError
from lcot.reasoning.curriculum import Stage, ThoughtKind
from lcot.reasoning.keyed import keyed_random
from lcot.reasoning.stepwise import Stepwise

PROSQA = Stepwise(epochs_per_stage=5, max_stage=6)
"""Also ProntoQA's: 50 epochs in all."""

GSM = Stepwise(epochs_per_stage=3, max_stage=3, thoughts_per_step=2)
"""25 epochs in all, of which the first three are the CoT run."""


class TestPublished:
    """facebookresearch/coconut's configurations: (hidden steps, thoughts) of an example with so many steps."""

    @pytest.mark.parametrize(
        ("epochs", "stage", "by_steps"),
        [
            (range(0, 3), 0, {1: (0, 0), 2: (0, 0), 3: (0, 0), 4: (0, 0), 8: (0, 0)}),
            (range(3, 6), 1, {1: (1, 2), 2: (1, 2), 3: (1, 2), 4: (1, 2), 8: (1, 2)}),
            (range(6, 9), 2, {1: (1, 4), 2: (2, 4), 3: (2, 4), 4: (2, 4), 8: (2, 4)}),
            (range(9, 12), 3, {1: (1, 6), 2: (2, 6), 3: (3, 6), 4: (3, 6), 8: (3, 6)}),
            (range(12, 25), 4, {1: (1, 6), 2: (2, 6), 3: (3, 6), 4: (4, 6), 8: (8, 6)}),
        ],
    )
    def test_gsm8k(self, epochs: range, stage: int, by_steps: dict[int, tuple[int, int]]) -> None:
        assert [GSM.stage_at(epoch) for epoch in epochs] == [stage] * len(epochs)
        for steps, expected in by_steps.items():
            assert GSM.resolve(stage, steps) == Stage(*expected)
        assert GSM.thoughts_at_inference(stage) == min(2 * stage, 6)

    @pytest.mark.parametrize(
        ("epochs", "hidden"),
        [(range(5 * stage, 5 * stage + 5), stage) for stage in range(7)] + [(range(35, 50), 6)],
    )
    def test_prosqa(self, epochs: range, hidden: int) -> None:
        for epoch in epochs:
            stage = PROSQA.stage_at(epoch)
            for steps in range(1, 7):  # no chain is longer, so the extra stage looks like stage 6
                assert PROSQA.resolve(stage, steps) == Stage(min(hidden, steps), hidden)
            assert PROSQA.thoughts_at_inference(stage) == hidden

    def test_last_stage(self) -> None:
        assert (GSM.last_stage, PROSQA.last_stage) == (4, 7)
        assert GSM.stage_at(10_000) == 4
        assert GSM.resolve(4, 8) == Stage(8, 6)


class TestStepwise:
    """Its settings, one by one."""

    def test_steps_are_hidden_one_by_one_up_to_the_whole_chain(self) -> None:
        assert [Stepwise(max_stage=2).resolve(stage, 4) for stage in range(4)] == [
            Stage(0, 0),
            Stage(1, 1),
            Stage(2, 2),
            Stage(4, 2),
        ]

    @pytest.mark.parametrize("kind", ["continuous", "pause"])
    @pytest.mark.parametrize("thoughts_per_step", [0, 1, 3])
    def test_thoughts_per_step(self, thoughts_per_step: int, kind: ThoughtKind) -> None:
        schedule = Stepwise(max_stage=3, thoughts_per_step=thoughts_per_step, kind=kind)
        assert [schedule.resolve(stage, 9).thoughts for stage in range(5)] == [
            thoughts_per_step * factor for factor in (0, 1, 2, 3, 3)
        ]
        assert schedule.kind == kind

    def test_without_padding_short_chains_get_fewer_thoughts(self) -> None:
        schedule = Stepwise(max_stage=4, thoughts_per_step=2, pad_to_max=False)
        assert [schedule.resolve(stage, 3) for stage in range(6)] == [
            Stage(0, 0),
            Stage(1, 2),
            Stage(2, 4),
            Stage(3, 6),
            Stage(3, 6),
            Stage(3, 6),
        ]
        assert schedule.resolve(5, 9) == Stage(9, 8)
        # The number of steps of an unanswered question is unknown.
        assert [schedule.thoughts_at_inference(stage) for stage in range(6)] == [0, 2, 4, 6, 8, 8]
        assert schedule.evaluate(5, 3) == Stage(3, 8)

    def test_a_list_of_epochs(self) -> None:
        schedule = Stepwise(epochs_per_stage=[2, 1, 3], max_stage=2)
        assert [schedule.stage_at(epoch) for epoch in range(9)] == [0, 0, 1, 2, 2, 2, 2, 2, 2]
        assert schedule.last_stage == 2

    def test_a_list_of_epochs_with_the_extra_stage(self) -> None:
        schedule = Stepwise(epochs_per_stage=[2, 1, 3, 1], max_stage=2)
        assert [schedule.stage_at(epoch) for epoch in range(9)] == [0, 0, 1, 2, 2, 2, 3, 3, 3]
        assert schedule.last_stage == 3

    def test_a_number_is_a_list_of_that_number(self) -> None:
        one, many = Stepwise(epochs_per_stage=3, max_stage=2), Stepwise(epochs_per_stage=[3, 3, 3, 3], max_stage=2)
        assert [one.stage_at(epoch) for epoch in range(15)] == [many.stage_at(epoch) for epoch in range(15)]

    def test_a_first_stage_of_its_own(self) -> None:
        """The published GSM8K runs: their stage 0 is the CoT run, so they begin with stage 1 at their epoch 0."""
        later = Stepwise(epochs_per_stage=3, max_stage=3, thoughts_per_step=2, first_stage=1)
        assert [later.stage_at(epoch) for epoch in range(22)] == [GSM.stage_at(epoch) for epoch in range(3, 25)]
        assert later.last_stage == GSM.last_stage == 4
        listed = Stepwise(epochs_per_stage=[2, 1], max_stage=3, first_stage=2)
        assert [listed.stage_at(epoch) for epoch in range(5)] == [2, 2, 3, 3, 3]
        with pytest.raises(UserError, match="would start at epoch 2"):
            listed.check_reach(2)

    def test_only_the_next_step_is_written(self) -> None:
        schedule = Stepwise(max_stage=2, written="next")
        assert schedule.resolve(1, 4) == Stage(1, 1, only_next=True)
        assert schedule.evaluate(2, 2) == Stage(2, 2, only_next=True)

    def test_no_stage_but_the_first(self) -> None:
        schedule = Stepwise(epochs_per_stage=[1], max_stage=0)
        assert [schedule.stage_at(epoch) for epoch in range(3)] == [0, 0, 0]
        assert schedule.resolve(0, 4) == Stage(0, 0)

    def test_evaluation_hides_like_training(self) -> None:
        schedule = Stepwise(max_stage=3, mix_probability=1.0)
        for stage in range(5):
            for steps in range(6):
                assert schedule.evaluate(stage, steps) == schedule.resolve(stage, steps)


class TestMixing:
    """Stages drawn anew for each example and epoch."""

    @staticmethod
    def draws(schedule: Stepwise, stage: int, steps: int, count: int = 3000) -> Counter[Stage]:
        """How often each stage comes out, over keyed draws as the data set makes them."""
        return Counter(schedule.sample(stage, steps, keyed_random("stage", 0, 1, index)) for index in range(count))

    def test_off(self) -> None:
        draw = random.Random(0)
        state = draw.getstate()
        assert {Stepwise().sample(2, 4, draw) for _ in range(100)} == {Stage(2, 2)}
        assert draw.getstate() == state

    def test_support_all_reaches_every_number_of_steps(self) -> None:
        seen = self.draws(Stepwise(max_stage=3, mix_probability=1.0), stage=1, steps=5)
        assert set(seen) == {Stage(0, 0), Stage(1, 1), Stage(2, 2), Stage(3, 3), Stage(5, 3)}
        # A draw of 4 or 5 is beyond max_stage and hides the whole chain.
        expected = {Stage(0, 0): 1 / 6, Stage(1, 1): 1 / 6, Stage(2, 2): 1 / 6, Stage(3, 3): 1 / 6, Stage(5, 3): 2 / 6}
        assert {stage: count / 3000 for stage, count in seen.items()} == pytest.approx(expected, abs=0.035)

    def test_support_seen_stays_within_the_current_stage(self) -> None:
        seen = self.draws(Stepwise(mix_probability=1.0, mix_support="seen"), stage=2, steps=5)
        assert {stage: count / 3000 for stage, count in seen.items()} == pytest.approx(
            {Stage(0, 0): 1 / 3, Stage(1, 1): 1 / 3, Stage(2, 2): 1 / 3}, abs=0.035
        )

    def test_weights_that_grow_with_the_stage(self) -> None:
        seen = self.draws(Stepwise(mix_probability=1.0, mix_support="seen", mix_weights="linear"), stage=2, steps=5)
        assert {stage: count / 3000 for stage, count in seen.items()} == pytest.approx(
            {Stage(0, 0): 1 / 6, Stage(1, 1): 2 / 6, Stage(2, 2): 3 / 6}, abs=0.035
        )

    def test_probability(self) -> None:
        seen = self.draws(Stepwise(mix_probability=0.3), stage=6, steps=3)
        assert set(seen) == {Stage(0, 0), Stage(1, 1), Stage(2, 2), Stage(3, 3), Stage(3, 6)}
        assert seen[Stage(3, 6)] / 3000 == pytest.approx(0.7, abs=0.035)

    def test_a_list_gives_each_stage_its_own_probability_and_the_last_one_holds(self) -> None:
        schedule = Stepwise(max_stage=3, mix_probability=[0.0, 1.0, 0.5], mix_support="seen")
        assert set(self.draws(schedule, stage=0, steps=3)) == {Stage(0, 0)}
        assert self.draws(schedule, stage=1, steps=3)[Stage(0, 0)] / 3000 == pytest.approx(1 / 2, abs=0.035)
        for stage in (2, 3):
            kept = self.draws(schedule, stage=stage, steps=3)[Stage(stage, stage)] / 3000
            assert kept == pytest.approx(0.5 + 0.5 / (stage + 1), abs=0.035)

    def test_the_same_key_draws_the_same_stage(self) -> None:
        schedule = Stepwise(mix_probability=0.5)
        keys = [(epoch, index) for epoch in range(3) for index in range(40)]
        first = [schedule.sample(3, 6, keyed_random("stage", 7, *key)) for key in keys]
        again = [schedule.sample(3, 6, keyed_random("stage", 7, *key)) for key in reversed(keys)]
        assert again[::-1] == first
        assert first[:40] != first[40:80]


class TestReach:
    """Training that would end too soon."""

    @pytest.mark.parametrize(("schedule", "start"), [(PROSQA, 30), (GSM, 9), (Stepwise([2, 1, 3], 2), 3)])
    def test_the_last_regular_stage_must_start(self, schedule: Stepwise, start: int) -> None:
        schedule.check_reach(start + 1)
        with pytest.raises(UserError) as caught:
            schedule.check_reach(start)
        message = str(caught.value)
        assert f"training ends after {start} epochs" in message
        assert f"stage {schedule.max_stage} would start at epoch {start}" in message
        assert f"train for more than {start} epochs" in message

    def test_names_the_stages_that_are_lost(self) -> None:
        with pytest.raises(UserError) as caught:
            PROSQA.check_reach(12)  # epochs 10 and 11 are in stage 2
        assert "never see stages 3 to 6" in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"max_stage": -1}, ["max_stage is -1", "0 or more"]),
        ({"epochs_per_stage": 0}, ["epochs_per_stage is 0", "at least one epoch"]),
        ({"epochs_per_stage": []}, ["epochs_per_stage is []"]),
        ({"epochs_per_stage": [3, 0, 3], "max_stage": 2}, ["epochs_per_stage is [3, 0, 3]", "at least one epoch"]),
        (
            {"epochs_per_stage": [3, 3], "max_stage": 2},
            ["names 2 stages, and max_stage is 2", "3 stages, 0 to 2", "give 3 or 4 numbers"],
        ),
        ({"epochs_per_stage": [1] * 5, "max_stage": 2}, ["names 5 stages", "give 3 or 4 numbers"]),
        ({"mix_probability": [0.1] * 9, "max_stage": 2}, ["at most 4, one for each stage"]),
        ({"mix_probability": 1.2}, ["mix_probability is 1.2", "between 0 and 1"]),
        ({"mix_probability": -0.1}, ["mix_probability is -0.1"]),
        ({"mix_support": "sene"}, ["unknown mix_support 'sene'", "all, seen", "did you mean 'seen'?"]),
        ({"mix_weights": "flat"}, ["unknown mix_weights 'flat'", "linear, uniform"]),
        ({"written": "last"}, ["unknown written 'last'", "all, next"]),
        ({"first_stage": 7}, ["first_stage is 7, and max_stage is 6", "Fixed"]),
        ({"first_stage": -1}, ["first_stage is -1"]),
        (
            {"epochs_per_stage": [1] * 4, "max_stage": 2, "first_stage": 1},
            ["names 4 stages", "2 stages, 1 to 2", "give 2 or 3 numbers"],
        ),
        ({"thoughts_per_step": -2}, ["thoughts_per_step is -2", "0 or more"]),
        ({"thoughts_per_step": 1, "kind": "none"}, ["thoughts_per_step is 1", "'none'", "no effect", "to 0"]),
        ({"kind": "continous"}, ["unknown kind of thought 'continous'", "did you mean 'continuous'?"]),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_bad_stepwise_settings(settings: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        Stepwise(**settings)
    for part in words:
        assert part in str(caught.value)

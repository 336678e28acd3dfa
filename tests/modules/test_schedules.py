"""The warm-up, stable, decay schedule."""

from __future__ import annotations

import io
import logging
import math
from typing import Any

import pytest
import torch
from transformers import get_cosine_schedule_with_warmup

from lcot.errors import UserError
from lcot.modules.schedules import WarmupStableDecay


def rates(steps: int, **options: Any) -> list[float]:
    """The rate of each step of a run with a full rate of 1."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = WarmupStableDecay(optimizer, total_steps=steps, **options)
    found = []
    for _ in range(steps):
        found.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        schedule.step()
    return found


def test_constant_by_default() -> None:
    assert rates(4) == [1.0] * 4


def test_warm_up_rises_in_equal_steps_and_never_wastes_one() -> None:
    assert rates(6, warmup_steps=3) == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]


def test_linear_decay_over_the_last_share() -> None:
    assert rates(8, decay=0.5, floor=0.2) == pytest.approx([1, 1, 1, 1, 1, 0.8, 0.6, 0.4])


def test_cosine_decay() -> None:
    expected = [1 - (1 - math.cos(math.pi * step / 4)) / 2 for step in range(4)]
    assert rates(8, decay=0.5, shape="cosine") == pytest.approx([1, 1, 1, 1, *expected])


def test_a_cosine_behind_a_share_of_warm_up_is_that_of_transformers() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs, expected = get_cosine_schedule_with_warmup(optimizer, 2, 40), []
    for _ in range(40):
        expected.append(theirs.get_last_lr()[0])
        optimizer.step()
        theirs.step()
    found = rates(40, warmup=0.05, decay=0.95, shape="cosine")
    assert found[2:] == pytest.approx(expected[2:]) and found[:2] == pytest.approx([1 / 3, 2 / 3])
    late = schedule_of(40, warmup=0.05, decay=0.95, shape="cosine")
    assert late.warmup_steps == 2
    assert late.get_last_lr() == [late.optimizer.param_groups[0]["lr"]] == pytest.approx([1 / 3])
    assert schedule_of(1, warmup=0.05).warmup_steps == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"warmup": 0.1, "warmup_steps": 3}, "both say how long the warm-up is"),
        ({"warmup": 0.1, "decay": 1.0}, "lower decay to 0.9"),
    ],
)
def test_shares_that_do_not_go_together(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        rates(4, **options)
    with pytest.raises(UserError, match="a share of the run, and the run has no end"):
        schedule_of(math.inf, warmup=0.1)


@pytest.mark.parametrize(
    "options", [{"warmup": 1.0}, {"warmup_steps": -1}, {"decay": 1.5}, {"decay": -0.1}, {"floor": 2.0}, {"floor": -0.1}]
)
def test_numbers_out_of_range(options: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="warmup_steps"):
        rates(4, **options)


def schedule_of(steps: float, **options: Any) -> WarmupStableDecay:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = WarmupStableDecay(optimizer, **options)
    schedule.set_total(steps)
    return schedule


def test_a_warm_up_longer_than_the_run() -> None:
    with pytest.raises(UserError, match="takes 5 steps, and the run has 5"):
        schedule_of(5, warmup_steps=5)


def test_a_run_without_an_end_cannot_decay() -> None:
    with pytest.raises(UserError, match="no end"):
        schedule_of(math.inf, decay=0.5)
    assert schedule_of(math.inf, warmup_steps=2).total_steps is None


def through_a_file(state: dict[str, Any]) -> dict[str, Any]:
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    loaded: dict[str, Any] = torch.load(file, weights_only=True)
    return loaded


def test_state_goes_through_a_file_without_code_and_continues() -> None:
    saved, fresh = (schedule_of(10, warmup_steps=2, decay=0.5) for _ in range(2))
    for _ in range(7):
        saved.optimizer.step()
        saved.step()
    fresh.load_state_dict(through_a_file(saved.state_dict()))
    for _ in range(3):
        for schedule in (saved, fresh):
            schedule.optimizer.step()
            schedule.step()
        assert fresh.get_last_lr() == saved.get_last_lr()


def test_a_plan_that_changed_is_told_and_followed(caplog: pytest.LogCaptureFixture) -> None:
    saved, longer = schedule_of(10, decay=0.5), schedule_of(20, decay=0.5)
    with caplog.at_level(logging.WARNING, "lcot"):
        longer.load_state_dict(through_a_file(saved.state_dict()))
    assert "planned for 10 steps, this one for 20" in caplog.text
    assert longer.total_steps == 20
    assert longer.factor(9) == 1.0

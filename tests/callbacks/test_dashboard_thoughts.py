"""Means over pairs of neighbours and kept norms, against values by hand."""

from __future__ import annotations

import math

import pytest
import torch

from lcot.callbacks.dashboard_thoughts import ThoughtWatch


def test_neighbours_and_norms() -> None:
    watch = ThoughtWatch()
    thoughts = torch.tensor([[[3.0, 4.0], [3.0, 4.0], [0.0, 1.0]], [[1.0, 0.0], [0.0, 2.0], [9.0, 9.0]]])
    watch.see(thoughts, torch.tensor([[True, True, True], [True, True, False]]))
    # Three pairs: the same one twice, (3, 4) and (0, 1), (1, 0) and (0, 2).
    expected = {"distance": (0 + math.hypot(3, 3) + math.sqrt(5)) / 3, "cosine": (1 + 4 / 5 + 0) / 3}
    assert watch.means() == pytest.approx(expected)
    assert watch.means() == {}, "they are handed out once"
    assert watch.norms().tolist() == pytest.approx([5, 5, 1, 1, 2])
    assert len(watch.norms()) == 0


def test_batches_weigh_by_their_pairs() -> None:
    watch = ThoughtWatch()
    for row, pairs in (([0.0, 1.0], 1), ([0.0, 4.0, 8.0, 12.0], 3)):
        watch.see(torch.tensor(row)[None, :, None], torch.ones(1, pairs + 1, dtype=torch.bool))
    assert watch.means()["distance"] == pytest.approx((1 + 3 * 4) / 4)


def test_single_thoughts_have_no_neighbours() -> None:
    watch = ThoughtWatch()
    watch.see(torch.ones(4, 1, 3), torch.ones(4, 1, dtype=torch.bool))
    watch.see(torch.ones(4, 2, 3), torch.tensor([[True, False]] * 4))
    assert watch.means() == {} and len(watch.norms()) == 8


def test_lower_precision_is_read_as_float32() -> None:
    watch = ThoughtWatch()
    watch.see(torch.full((1, 2, 4096), 16.0, dtype=torch.float16), torch.ones(1, 2, dtype=torch.bool))
    assert watch.norms().tolist() == [1024, 1024] and watch.means() == pytest.approx({"distance": 0, "cosine": 1})


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_of_many_norms_every_second_is_kept_and_then_every_fourth(size: int) -> None:
    watch, number = ThoughtWatch(), 0
    while number < 20_000:
        values = torch.arange(number, number + size, dtype=torch.float32)
        watch.see(values[:, None, None], torch.ones(size, 1, dtype=torch.bool))
        number += size
    kept = watch.norms()
    assert 2048 < len(kept) <= 4096
    assert kept.tolist() == list(range(0, number, 8))


def test_a_saved_state_goes_on_where_it_was() -> None:
    torch.manual_seed(0)
    batches = [torch.randn(50, 3, 4) for _ in range(60)]
    whole, first, second = ThoughtWatch(), ThoughtWatch(), ThoughtWatch()
    for number, batch in enumerate(batches):
        there = torch.ones(50, 3, dtype=torch.bool)
        whole.see(batch, there)
        (first if number < 41 else second).see(batch, there)
        if number == 40:
            second.load_state_dict(first.state_dict())
    assert torch.equal(whole.norms(), second.norms())
    second.load_state_dict({})
    assert len(second.norms()) == 0

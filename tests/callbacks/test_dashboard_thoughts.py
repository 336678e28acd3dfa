"""Means over pairs of neighbours and kept norms, against values by hand."""

from __future__ import annotations

import math

import pytest
import torch

from lcot.callbacks.dashboard_thoughts import ThoughtWatch, trouble


def test_neighbours_and_norms() -> None:
    watch = ThoughtWatch()
    thoughts = torch.tensor([[[3.0, 4.0], [3.0, 4.0], [0.0, 1.0]], [[1.0, 0.0], [0.0, 2.0], [9.0, 9.0]]])
    watch.see(thoughts, torch.tensor([[True, True, True], [True, True, False]]))
    # Three pairs: the same one twice, (3, 4) and (0, 1), (1, 0) and (0, 2).
    expected = {"distance": (0 + math.hypot(3, 3) + math.sqrt(5)) / 3, "cosine": (1 + 4 / 5 + 0) / 3}
    expected |= {"norm": (5 + 5 + 1 + 1 + 2) / 5}
    # Places 0 and 1 have two rows, (3, 4) and (1, 0), (3, 4) and (0, 2), each half their difference from the
    # mean; one of the two is free. Place 2 has one row.
    around = 2 * ((2 * 1**2 + 2 * 2**2) + (2 * 1.5**2 + 2 * 1**2))
    expected |= {"deviation": math.sqrt(around / (25 + 1 + 25 + 4))}
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
    means = watch.means()
    assert "cosine" not in means and "distance" not in means and means["norm"] == pytest.approx(math.sqrt(3))
    assert means["deviation"] == 0 and len(watch.norms()) == 8


def test_lower_precision_is_read_as_float32() -> None:
    watch = ThoughtWatch()
    watch.see(torch.full((1, 2, 4096), 16.0, dtype=torch.float16), torch.ones(1, 2, dtype=torch.bool))
    assert watch.norms().tolist() == [1024, 1024] and watch.means() == pytest.approx(
        {"distance": 0, "cosine": 1, "norm": 1024}
    )


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


def test_the_deviation_is_that_of_many_questions_whatever_the_batch() -> None:
    torch.manual_seed(0)
    rows = 3 + torch.randn(40_000, 2, 4)  # variance 1 around a mean of 3: 1 / sqrt(1 + 9)
    for size in (2, 8, 1000):
        watch = ThoughtWatch()
        for batch in torch.split(rows, size):
            watch.see(batch, torch.ones(len(batch), 2, dtype=torch.bool))
        assert watch.means()["deviation"] == pytest.approx(10**-0.5, rel=0.01)


def test_trouble_is_told_in_words() -> None:
    assert trouble({}) == [] == trouble({"cosine": 0.98, "deviation": 0.06, "distance": 1.0, "norm": 2.0})
    (stuck,) = trouble({"cosine": 0.9997, "deviation": 0.5})
    assert "cosine 0.9997" in stuck and "further thoughts add nothing" in stuck
    (same,) = trouble({"deviation": 0.018})
    assert "1.8 %" in same and "hardly depend on what is asked" in same

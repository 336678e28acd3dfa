"""How much vectors depend on the question."""

from __future__ import annotations

import pytest
import torch

from lcot.modules.spread import LITTLE, Spread


def spread(*vectors: torch.Tensor) -> Spread:
    made = Spread()
    for one in vectors:
        made.add(one)
    return made


def test_worked_by_hand() -> None:
    # One place: (3, 4) and (3, -4) lie 4 from their mean (3, 0), and are 5 long.
    assert spread(torch.tensor([[3.0, 4.0]]), torch.tensor([[3.0, -4.0]])).value() == pytest.approx(4 / 5)


def test_the_definition() -> None:
    vectors = torch.randn(50, 3, 8, generator=torch.Generator().manual_seed(0)) + torch.tensor(2.0)
    apart = (vectors - vectors.mean(dim=0)).square().sum() / vectors.square().sum()
    assert spread(*vectors).value() == pytest.approx(float(apart.sqrt()), rel=1e-6)


def test_places_have_means_of_their_own() -> None:
    same = torch.randn(4, 8, generator=torch.Generator().manual_seed(0))
    assert spread(same, same, same).value() == pytest.approx(0.0, abs=1e-6)  # although its places differ


def test_questions_with_fewer_places() -> None:
    long, short = torch.tensor([[1.0, 0.0], [5.0, 0.0]]), torch.tensor([[3.0, 0.0]])
    # Means: 2 and 5; distances 1, 1 and 0.
    assert spread(long, short).value() == pytest.approx((2 / (1 + 25 + 9)) ** 0.5)


def test_where_nothing_can_be_said() -> None:
    assert Spread().value() is None and spread(torch.ones(2, 3)).value() is None
    assert spread(torch.zeros(2, 3), torch.zeros(2, 3)).value() is None


def test_its_words() -> None:
    base = torch.ones(1, 100)
    near = spread(*(base + 0.01 * one for one in torch.eye(100)[:, None]))
    value = near.value()
    assert value is not None and value < LITTLE
    assert "over 100 questions: they hardly depend on what is asked" in near.told()
    assert spread(base, -base).told().startswith("the assistant's states deviate by 100.0 % of their length")

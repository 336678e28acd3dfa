"""Which of the two questions about a problem are asked, and under which names."""

from __future__ import annotations

from collections import Counter

import pytest

from lcot.datamodules.pairs import Asked
from lcot.reasoning.example import ReasoningExample


class Sums:
    """Problem i of epoch e: is i + e even, and is it odd?"""

    def __init__(self, size: int, redraws: bool) -> None:
        self.size = size
        self.redraws = redraws

    def __len__(self) -> int:
        return self.size

    def question(self, index: int, epoch: int, other: bool) -> ReasoningExample:
        """One of the two."""
        epoch = epoch if self.redraws else 0
        asked, answer = ("odd" if other else "even"), str(((index + epoch) % 2 == 0) is not other)
        return ReasoningExample(f"{index} + {epoch} {asked}?", (), answer, f"sum-{index}")


def test_both_stand_one_behind_the_other_as_a_pair() -> None:
    asked = Asked(Sums(3, redraws=True), "both", 0, "val")
    found = [asked.example(index, 1) for index in range(len(asked))]
    assert [example.id for example in found] == [
        *("sum-0", "sum-0-other", "sum-1", "sum-1-other", "sum-2", "sum-2-other")
    ]
    assert [example.pair for example in found] == ["sum-0", "sum-0", "sum-1", "sum-1", "sum-2", "sum-2"]
    assert [example.question for example in found[2:4]] == ["1 + 1 even?", "1 + 1 odd?"]
    assert [example.answer for example in found] == ["False", "True", "True", "False", "False", "True"]


@pytest.mark.parametrize("redraws", [False, True])
def test_one_of_them_is_drawn_by_seed_epoch_and_number(redraws: bool) -> None:
    problems = Sums(400, redraws)
    asked = Asked(problems, "either", 7, "train")
    epochs = [[asked.which(index, epoch) for index in range(400)] for epoch in range(3)]
    assert len(asked) == 400 and asked.redraws is redraws
    assert (epochs[0] == epochs[1]) is not redraws and (epochs[1] == epochs[2]) is not redraws
    assert 150 < Counter(epochs[0])[(True,)] < 250
    for index, (other,) in enumerate(epochs[2]):
        example = asked.example(index, 2)
        assert example.id == f"sum-{index}" + "-other" * other and example.pair == ""
        assert example.question == problems.question(index, 2, other).question
    assert epochs[2] == [Asked(problems, "either", 7, "train").which(index, 2) for index in range(400)]
    others = (Asked(problems, "either", 8, "train"), Asked(problems, "either", 7, "val"))
    assert all([other.which(index, 2) for index in range(400)] != epochs[2] for other in others)


def test_otherwise_problems_are_as_they_are() -> None:
    problems = Sums(3, redraws=False)
    asked = Asked(problems, "deeper", 0, "val")
    assert [asked.example(index, 0) for index in range(len(asked))] == [
        problems.question(index, 0, False) for index in range(3)
    ]

"""Pair accuracy: counted by hand, however pairs are shared out over batches and ranks."""

from __future__ import annotations

import random

import pytest
import torch

from lcot.metrics import Pairs, pair_name


def test_counted_by_hand() -> None:
    metric = Pairs()
    assert metric.compute().tolist() == [0, 0, 0]
    metric.reset()
    metric.update([True, True, False, True, True], ["a", "b", "b", "", "a"])
    metric.update([], [])
    metric.update([True, True, False], ["c", "d", "e"])
    metric.update([True], ["c"])
    # a and c have both right, b one; d and e are alone, and one question is of no pair.
    assert metric.compute().tolist() == [2, 3, 2]
    metric.reset()
    assert metric.compute().tolist() == [0, 0, 0]


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_any_share_of_batches_and_ranks_counts_the_same(ranks: int) -> None:
    draw = random.Random(ranks)
    questions = [(draw.random() < 0.7, f"pair-{number // 2}") for number in range(60)] + [(True, ""), (True, "pair-99")]
    rights = [[right for right, name in questions if name == f"pair-{number}"] for number in range(30)]
    draw.shuffle(questions)
    metrics = [Pairs() for _ in range(ranks)]
    for rank, metric in enumerate(metrics):
        own = questions[rank::ranks]
        for start in range(0, len(own), 7):
            right, names = zip(*own[start : start + 7], strict=True)
            metric.update(right, names)
    parts = [torch.cat(list(metric.seen)) for metric in metrics]
    metrics[0].seen = torch.cat(parts)  # as ranks gather it
    assert metrics[0].compute().tolist() == [sum(map(all, rights)), 30, 1]


def test_names() -> None:
    assert [pair_name(name) for name in ("accuracy", "accuracy_number")] == ["pair_accuracy", "pair_accuracy_number"]

"""What is counted of several votes and runs, and that sums of ranks are all that is needed."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import pytest
import torch

from lcot.metrics import AnswerAccuracy, Average
from lcot.modules.evaluation import Answers, Evaluation, Votes

EOS = 1
GOLDS = ["1", "2", "3", "4"]
# Three runs of two votes: of the majorities 3, 2 and 1 of four are right.
TEXTS = [
    [["### 1", "### 2", "### 3", "no"], ["### 7", "### 8", "### 9", "no"]],
    [["### 1", "### 2", "no", "### 5"], ["### 1", "no", "### 9", "### 4"]],
    [["no", "### 9", "### 9", "no"], ["### 1", "### 9", "### 3", "no"]],
]


def votes(rows: Sequence[int]) -> Votes:
    """Vote v of run r has r + v tokens of text and an eos, and as many thoughts as its question's place."""
    return Votes(
        tuple(
            tuple(
                Answers([[5] * (run + vote) + [EOS] for _ in rows], torch.tensor(rows), 0.125 * len(rows))
                for vote in range(2)
            )
            for run in range(3)
        )
    )


def counted(rows: Sequence[int], runs: int = 3) -> Evaluation:
    """Some of the questions, counted."""
    evaluation = Evaluation(["string", "last_number"], runs)
    chosen = [[[vote[row] for row in rows] for vote in run] for run in TEXTS[:runs]]
    found = Votes(votes(rows).runs[:runs])
    evaluation.count(chosen, [GOLDS[row] for row in rows], "###", found, EOS)
    return evaluation


def test_means_over_runs_and_over_all_answers() -> None:
    means = counted(range(4)).means()
    assert means["accuracy"] == pytest.approx(0.5)
    assert means["accuracy_std"] == pytest.approx(statistics.stdev([0.75, 0.5, 0.25]))
    assert means["accuracy_last_number"] == means["accuracy"]
    assert means["accuracy_last_number_std"] == means["accuracy_std"]
    assert means["tokens"] == pytest.approx((0 + 1 + 1 + 2 + 2 + 3) / 6)
    assert means["thoughts"] == pytest.approx(1.5) and means["seconds"] == pytest.approx(0.125)
    assert means["answered"] == pytest.approx(17 / 24) and "loss" not in means


def test_one_run_has_no_deviation() -> None:
    means = counted(range(4), runs=1).means()
    assert means["accuracy"] == pytest.approx(0.75) and means["answered"] == pytest.approx(6 / 8)
    assert not any(name.endswith("_std") for name in means)


def test_shares_of_ranks_add_up() -> None:
    whole, left, right = counted(range(4)), counted([0]), counted([1, 2, 3])
    for mine, other in zip(left.values(), right.values(), strict=True):
        if isinstance(mine, AnswerAccuracy) and isinstance(other, AnswerAccuracy):
            mine.correct += other.correct
            mine.total += other.total
        elif isinstance(mine, Average) and isinstance(other, Average):
            mine.summed += other.summed
            mine.count += other.count
    assert left.examples() == whole.examples() == 4
    expected = whole.means()
    for name, value in left.means().items():
        assert value == pytest.approx(float(expected[name])), name


def test_a_reset_forgets_everything() -> None:
    evaluation = counted([0, 1])
    states = [(evaluation.begun, int(evaluation.examples()))]
    evaluation.reset()
    states.append((evaluation.begun, int(evaluation.examples())))
    assert states == [(True, 2), (False, 0)]
    evaluation.count([[["### 4"]]] * 3, ["4"], "###", Votes(tuple(run[:1] for run in votes([0]).runs)), EOS)
    assert evaluation.means()["accuracy"] == 1.0 and evaluation.means()["answered"] == 1.0


def test_pairs_beside_each_accuracy() -> None:
    """Of the pairs (1, 2) and (3, 4) both are right in run 0 for one pair, and the second one lacks a question."""
    evaluation = Evaluation(["string", "last_number"], 3)
    names = ["a", "a", "b", ""]
    evaluation.count(TEXTS, GOLDS, "###", votes(range(4)), EOS, pairs=names)
    means = evaluation.means()
    assert means["pair_accuracy"] == pytest.approx(2 / 3)  # runs 0 and 1
    assert means["pair_accuracy_std"] == pytest.approx(statistics.stdev([1, 1, 0]))
    assert means["pair_accuracy_last_number"] == means["pair_accuracy"]
    assert means["pairs"] == means["unpaired"] == 1
    evaluation.reset()
    evaluation.count(TEXTS, GOLDS, "###", votes(range(4)), EOS, pairs=["a", "a", "b", "b"])
    means = evaluation.means()
    assert means["pairs"] == 2 and "unpaired" not in means and means["pair_accuracy"] == pytest.approx((1 + 1 + 0) / 6)


def test_without_pairs_none_are_reported() -> None:
    assert not any("pair" in name for name in counted(range(4)).means())
    evaluation = Evaluation(["string"])
    evaluation.count([[["### 1"]]], ["1"], "###", Votes((votes([0]).runs[0][:1],)), EOS, pairs=["a"])
    means = evaluation.means()
    assert "pair_accuracy" not in means and means["pairs"] == 0 and means["unpaired"] == 1

"""Matched pairs by hand: who is set against whom, on which questions, and what comes of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lcot.compare.pairs import Pair
from lcot.compare.table import Comparison, compare
from lcot.metrics.statistics import mcnemar, paired_difference, sign_flips
from lcot.runs.run import read_results
from tests.compare.folders import COT, answered, write_run

PAUSES = {"curriculum.schedule.init_args.kind": "pause"}
A, B = "xxxxxxxx........xx..", "x.......x.......xx.."
"""Eight alone and one both, then one alone and seven neither, then two both and two neither."""


def compared(folder: Path) -> Comparison:
    """All results of a folder's runs."""
    return compare([run for path in sorted(folder.iterdir()) for run in read_results(path)])


def paired(folder: Path) -> Pair:
    """The one pair."""
    (found,) = compared(folder).tables[0].pairs
    return found


def both(folder: Path, seed: int, left: dict[str, Any], right: dict[str, Any], **changes: Any) -> None:
    """A Coconut run beside one of pauses."""
    write_run(folder, f"coconut-{seed}", seed, report={**left, **changes})
    write_run(folder, f"pauses-{seed}", seed, config=PAUSES, report={**right, **changes})


def test_by_hand(tmp_path: Path) -> None:
    both(tmp_path, 0, answered(A), answered(B))
    pair = paired(tmp_path)
    (line,) = pair.lines
    assert pair.factors == ("fed-back states or pauses",) and pair.matched and not pair.apart
    assert (line.seed, line.questions, line.answers, line.right_a, line.right_b) == (0, 20, 20, 10, 4)
    assert (line.only_a, line.only_b) == (7, 1)
    assert line.p == pytest.approx(2 * (1 + 8) / 2**8, rel=1e-12)  # one head or none of eight, or the other side
    assert (line.low, line.high) == paired_difference(7, 1, 20)


def test_seeds_with_questions_of_their_own_are_put_together(tmp_path: Path) -> None:
    both(tmp_path, 0, answered(A), answered(B))
    both(tmp_path, 1, answered(B), answered(B))
    first, second, both_of_them = paired(tmp_path).lines
    assert (first.seed, second.seed, both_of_them.seed) == (0, 1, None)
    assert second.p == 1.0 and second.only_a == second.only_b == 0
    assert (both_of_them.questions, both_of_them.answers, both_of_them.right_a) == (40, 40, 14)
    assert both_of_them.p == mcnemar(7, 1)
    assert (both_of_them.low, both_of_them.high) == pytest.approx(paired_difference(7, 1, 40))


def test_seeds_that_were_asked_the_same(tmp_path: Path) -> None:
    """Twice the same answers are no more evidence than once: the design effect is 2."""
    same = {"split.data_hash": "f" * 32}
    for seed in (0, 1):
        both(tmp_path, seed, answered(A), answered(B), **same)
    once, _, twice = paired(tmp_path).lines
    assert (twice.questions, twice.answers, twice.only_a, twice.only_b) == (20, 40, 14, 2)
    assert twice.p == pytest.approx(once.p) and twice.p > mcnemar(14, 2)
    assert (twice.low, twice.high) == pytest.approx((once.low, once.high))


def test_design_effect_by_hand(tmp_path: Path) -> None:
    """Four questions, each asked by two seeds: net 2, 1, 0 (both ways) and 0 (alike).

    Between questions 2² + 1² - 3²/4 = 2.75; were all eight answers apart, 5 - 3²/8 = 3.875: less, so counts stay.
    """
    same = {"split.data_hash": "f" * 32}
    both(tmp_path, 0, answered("xxxx"), answered("...x"), **same)
    both(tmp_path, 1, answered("x..."), answered("..x."), **same)
    line = paired(tmp_path).lines[-1]
    assert (line.only_a, line.only_b, line.answers) == (4, 1, 8)
    assert (line.low, line.high) == pytest.approx(paired_difference(4, 1, 8))
    assert line.p == sign_flips([2, 1]) == pytest.approx(1 / 2)


def test_runs_of_sampling_are_repetitions(tmp_path: Path) -> None:
    both(tmp_path, 0, answered(A, A), answered(B, B))
    (line,) = paired(tmp_path).lines
    assert (line.questions, line.answers, line.only_a) == (20, 40, 14)
    assert line.p == pytest.approx(mcnemar(7, 1))


def test_other_steps_are_not_paired(tmp_path: Path) -> None:
    write_run(tmp_path, "coconut-0", report=answered(A))
    write_run(tmp_path, "pauses-0", config=PAUSES, report=answered(B), cost={"optimizer_steps": 400})
    pair = paired(tmp_path)
    assert pair.lines == () and pair.apart == ("seed 0: 800 and 400 optimizer steps",)


def test_some_of_the_questions_are_those_that_were_asked(tmp_path: Path) -> None:
    both(tmp_path, 0, answered(A, of=30), answered(B, of=30))
    assert paired(tmp_path).lines[0].questions == 20
    late = answered("." * 10 + B, of=30)
    late["by_question"]["asked"] = f"{(1 << 20) - 1:030b}"
    late |= {"by_question": {"asked": f"{((1 << 20) - 1) << 2:08x}", "right": [late["by_question"]["right"][0]]}}
    late |= {"split.examples": 20, "metrics.test/accuracy": 4 / 20}
    write_run(tmp_path / "late", "coconut-0", report=answered(A, of=30))
    write_run(tmp_path / "late", "pauses-0", config=PAUSES, report=late)
    assert paired(tmp_path / "late").apart == ("seed 0: other questions of the same data (limit_test_batches)",)


def test_other_questions_are_another_table(tmp_path: Path) -> None:
    write_run(tmp_path, "coconut-0", report=answered(A))
    write_run(tmp_path, "pauses-0", config=PAUSES, report={**answered(B), "split.data_hash": "a" * 32})
    one, other = compared(tmp_path).tables
    assert one.pairs == other.pairs == ()
    assert "questions of seed 0: data hash aaaaaaaaaaaa, not 000000000000" in other.apart


def test_seeds_of_one_alone(tmp_path: Path) -> None:
    write_run(tmp_path, "coconut-0", 0, report=answered(A))
    write_run(tmp_path, "pauses-1", 1, config=PAUSES, report=answered(B))
    assert paired(tmp_path).apart == ("no seed is known to be that of both",)


def test_results_without_a_record(tmp_path: Path) -> None:
    both(tmp_path, 0, answered(A), answered(B))
    both(tmp_path, 1, answered(A), {**answered(B), "by_question": None})
    pair = paired(tmp_path)
    assert [line.seed for line in pair.lines] == [0] and [run.name for run in pair.unrecorded] == ["pauses-1"]


def test_methods_that_differ_in_more_come_last(tmp_path: Path) -> None:
    write_run(tmp_path, "coconut-0", report=answered(A))
    write_run(tmp_path, "cot-0", config=COT, report=answered(B))
    write_run(tmp_path, "pauses-0", config=PAUSES, report=answered(B))
    write_run(tmp_path, "wide-0", config={**PAUSES, "trainer.gradient_clip_val": 1.0}, report=answered(B))
    found = compared(tmp_path).tables[0].pairs
    assert [(pair.left.label, pair.right.label, len(pair.factors)) for pair in found] == [
        ("coconut", "pauses", 1), ("pauses", "wide", 1), ("coconut", "cot", 3), ("cot", "pauses", 3),
    ]  # fmt: skip

"""What a run's thoughts stand for, which numbers of them are measured, and what a reader is warned of."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from lcot.analysis import Thinker
from lcot.analysis.runs import all_counts, listed, stage_of, subject_of, warnings_of
from lcot.errors import UserError
from lcot.reasoning.curriculum import Curriculum, Fixed
from lcot.reasoning.forced import Forced
from lcot.reasoning.spanwise import Spanwise
from lcot.reasoning.stepwise import Stepwise
from lcot.reasoning.tokenwise import Tokenwise
from tests.analysis.machine import builder_of, machine, worked_tokenizer
from tests.problems import worked

TOKENIZER = worked_tokenizer()


def solver(kind: Any = "continuous", thoughts: int = 3, stage: int | None = None, **module: Any) -> Any:
    """A loaded run, as far as it is asked."""
    plain = {
        "model": machine(TOKENIZER),
        "think": None,
        "trained_stage": stage,
        "halting": None,
        "ends_thoughts": False,
        "extractors": ("string",),
        "max_new_tokens": 7,
        "sampling": SimpleNamespace(temperature=0.0, thoughts=0.0),
    }
    return SimpleNamespace(
        module=SimpleNamespace(**{**plain, **module}),
        builder=builder_of(TOKENIZER, kind),
        kind=kind,
        thoughts=thoughts,
    )


@pytest.mark.parametrize(
    ("run", "schedule", "counts"),
    [
        (solver(stage=3), Stepwise(epochs_per_stage=1, max_stage=3), (0, 1, 2, 3)),
        (solver(stage=2, thoughts=4), Stepwise(epochs_per_stage=1, max_stage=3, thoughts_per_step=2), (0, 1, 2, 3, 4)),
        (solver(stage=1, thoughts=1), Stepwise(epochs_per_stage=1, max_stage=3, mix_probability=0.2), (0, 1, 2, 3)),
        (solver("pause", 6), Fixed("all", 6, "pause"), tuple(range(7))),
        (solver("none", 0), Fixed("none"), (0,)),
        (solver("none", 0), Tokenwise(), (0,)),
        (solver("soft", 4), Fixed("none", 4, "soft"), (4,)),
    ],
)
def test_all_numbers(run: Any, schedule: Curriculum, counts: tuple[int, ...]) -> None:
    assert tuple(all_counts(run, schedule)) == counts


def test_what_is_measured() -> None:
    schedule = Stepwise(epochs_per_stage=1, max_stage=2, thoughts_per_step=2)
    found = subject_of(solver(stage=2, thoughts=4), schedule, lambda: iter([worked("compact")]), [4, 0, 4], max_rows=5)
    assert (found.counts, found.thoughts_per_step, found.max_new_tokens, found.reader) == ((0, 4), 2, 7, "string")
    assert [found.behind(k) for k in range(5)] == [0, 0, 1, 1, 2]
    assert isinstance(found.thinker, Thinker) and found.thinker.max_rows == 5
    assert next(found.examples()).id == "worked"


def test_after_the_last_stage_every_step_is_hidden() -> None:
    schedule = Stepwise(epochs_per_stage=1, max_stage=2, thoughts_per_step=2)
    for clock in (schedule, Forced(schedule, 3)):
        last, before = (subject_of(solver(stage=stage, thoughts=4), clock, lambda: iter([])) for stage in (3, 2))
        assert [last.whole(k) for k in range(6)] == [False, False, False, False, True, True]
        assert not any(before.whole(k) for k in range(6))
    without = subject_of(solver("none", 0, 3), Stepwise(1, 2, 0, "none"), lambda: iter([]))
    assert without.whole(0)
    assert not subject_of(solver("soft", 4), Fixed("none", 4, "soft"), lambda: iter([])).whole(4)


def test_thoughts_that_stand_for_no_steps() -> None:
    found = subject_of(solver("soft", 4), Fixed("none", 4, "soft"), lambda: iter([]))
    assert (found.behind(4), found.way(4)) == (0, (0, "exact"))
    assert all(place // found.thoughts_per_step == 0 for place in range(5))
    hidden = subject_of(solver("pause", 2), Fixed("all", 2, "pause"), lambda: iter([]))
    assert (hidden.behind(2), hidden.way(2)) == (2, (1, "any"))
    without = subject_of(solver("none", 0, 2), Stepwise(1, 2, 0, "none"), lambda: iter([]))
    assert (without.counts, without.behind(0), without.thoughts_per_step) == ((0,), 2, 1)


def test_soft_thoughts_have_one_number() -> None:
    with pytest.raises(UserError, match="thoughts is 0, 4, and this run has 4 soft thoughts"):
        subject_of(solver("soft", 4), Fixed("none", 4, "soft"), lambda: iter([]), [0, 4])


def test_the_stage() -> None:
    schedule = Stepwise(epochs_per_stage=1, max_stage=2)
    assert [stage_of(solver(stage=stage), schedule) for stage in (0, 2, 9, None)] == [0, 2, 3, 3]


class TestWarnings:
    """A line for each thing that a reader must know."""

    def test_numbers_that_training_never_saw(self) -> None:
        schedule = Stepwise(epochs_per_stage=1, max_stage=3)
        (line,) = warnings_of(solver(stage=3), schedule, range(4))
        assert line.startswith("training's last stage never saw k = 0 … 2 (it saw 3)") and "coconut_mixed" in line
        first, _ = warnings_of(solver("pause", 6), Fixed("all", 6, "pause"), [5, 6])
        assert list(warnings_of(solver("pause", 6), Fixed("all", 6, "pause"), [5, 6], concepts=False)) == [first]
        assert "never saw k = 5 (it saw 6)" in first and "coconut_mixed" not in first
        assert list(warnings_of(solver(stage=3), schedule, [3])) == []
        mixed = Stepwise(epochs_per_stage=1, max_stage=3, mix_probability=0.1)
        assert list(warnings_of(solver(stage=3), mixed, range(4))) == []
        (line,) = warnings_of(solver(stage=3), mixed, range(6))
        assert "never saw k = 4, 5 (it saw 0 … 3)" in line

    def test_what_is_done_otherwise_than_in_a_test(self) -> None:
        schedule = Stepwise(epochs_per_stage=1, max_stage=3)
        (line,) = warnings_of(solver(stage=3, halting=object(), ends_thoughts=True), schedule, [3])
        assert "ends its thoughts with a classifier" in line
        (line,) = warnings_of(solver(stage=3, sampling=SimpleNamespace(temperature=0.7, thoughts=0.0)), schedule, [3])
        assert "samples its answers" in line
        (line,) = warnings_of(solver(stage=3, sampling=SimpleNamespace(temperature=0.0, thoughts=1.0)), schedule, [3])
        assert "draws its thoughts" in line

    def test_spans_have_any_number_of_thoughts(self) -> None:
        run = solver(thoughts=0, stage=0, ends_thoughts=True, free_thoughts=3)
        assert tuple(all_counts(run, Spanwise(2))) == (0, 1, 2, 3)
        ends, steps = warnings_of(run, Spanwise(2), range(4))
        assert "ends its thoughts with its head" in ends and "does not say how many steps" in steps

    def test_steps_that_training_does_not_fix(self) -> None:
        (line,) = warnings_of(solver("pause", 6), Fixed("all", 6, "pause"), [6])
        assert "does not say how many steps a thought stands for" in line
        assert list(warnings_of(solver("none", 0), Fixed("all"), [0])) == []


def test_numbers_in_words() -> None:
    assert [listed(numbers) for numbers in ([2], [0, 1], [0, 1, 2], [0, 2, 3])] == ["2", "0, 1", "0 … 2", "0, 2, 3"]

"""Factors by settings: what names hide, what follows from something else, and what is a difference of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lcot.compare.factors import factors
from lcot.runs.run import Run, read_run
from tests.compare.folders import write_run, write_untrained

SCHEDULE = "curriculum.schedule"
DISTILLATION = {"class_path": "lcot.modules.objectives.Distillation", "init_args": {"weight": 1.0, "deviation": "row"}}
TEACHER = {"class_path": "lcot.modules.objectives.TeacherText", "init_args": {"weight": 1.0}}
JACOBI = {"class_path": "lcot.reasoning.Jacobi", "init_args": {"rounds": 3}}
PROJECTION = {"class_path": "lcot.reasoning.Projection", "init_args": {"width": None, "norm": True, "dropout": 0.0}}


def stepwise(**given: Any) -> dict[str, Any]:
    """Coconut's schedule, and changes to it."""
    own = {"max_stage": 4, "thoughts_per_step": 1, "kind": "continuous", "markers": "never", "passes": "auto"}
    return {SCHEDULE: {"class_path": "lcot.reasoning.Stepwise", "init_args": {**own, **given}}}


def fixed(**given: Any) -> dict[str, Any]:
    """A schedule of one stage, and changes to it."""
    own = {"hidden": "all", "thoughts": 4, "kind": "continuous", "markers": "never", "passes": "auto"}
    made = {**own, "inference_thoughts": None, **given}
    return {SCHEDULE: {"class_path": "lcot.reasoning.Fixed", "init_args": made}}


def objectives(**given: Any) -> dict[str, Any]:
    """What is learnt beside the text."""
    return {"model.init_args.objectives": given}


COCONUT, PAUSES = stepwise(), stepwise(kind="pause")
NO_THOUGHTS = stepwise(kind="none", thoughts_per_step=0)
NO_CURRICULUM, PAUSE = fixed(), fixed(kind="pause")
NO_COT = fixed(kind="none", thoughts=0, markers="always")
COT = fixed(kind="none", thoughts=0, hidden="none")
ICOT = {
    SCHEDULE: {"class_path": "lcot.reasoning.Tokenwise", "init_args": {"tokens_per_epoch": 0.25}},
    "curriculum.reset_optimizer": "stage",
}
CODI = {**fixed(thoughts=6), **objectives(teacher=TEACHER, distillation=DISTILLATION)}


def both(folder: Path, left: dict[str, Any], right: dict[str, Any]) -> tuple[Run, Run]:
    """Two runs."""
    return (
        read_run(write_run(folder, "left-0", config=left)),
        read_run(write_run(folder, "right-0", config=right)),
    )


@pytest.mark.parametrize(
    ("left", "right", "says"),
    [
        (COCONUT, PAUSES, "fed-back states or pauses"),
        (NO_CURRICULUM, PAUSE, "fed-back states or pauses"),
        (COCONUT, NO_THOUGHTS, "fed-back states or no thoughts"),
        (NO_CURRICULUM, NO_COT, "fed-back states or no thoughts"),  # markers stand around thoughts alone
        (NO_COT, PAUSE, "no thoughts or pauses"),
        (COCONUT, NO_CURRICULUM, "Stepwise curriculum or none"),
        (PAUSE, PAUSES, "no curriculum or Stepwise"),
        (NO_THOUGHTS, NO_COT, "Stepwise curriculum or none"),
        (ICOT, NO_COT, "Tokenwise curriculum or none"),  # with one stage nothing is reset
        (ICOT, NO_THOUGHTS, "Tokenwise or Stepwise curriculum"),
        (COT, NO_COT, "written steps or hidden steps"),
        (COCONUT, stepwise(passes="single"), "a pass for each thought or one pass for all thoughts"),
        (PAUSES, stepwise(kind="pause", passes="multiple"), "one pass for all thoughts or a pass for each thought"),
        (COCONUT, stepwise(passes="single", kind="pause"), "fed-back states or pauses"),
        (COCONUT, stepwise(thoughts_per_step=2), "4 thoughts or 8 thoughts"),
        (fixed(thoughts=6), fixed(thoughts=6, inference_thoughts=2), "6 thoughts or 2 thoughts after training with 6"),
        (COCONUT, {**COCONUT, "curriculum.eval_thoughts": 2}, "4 thoughts or 2 thoughts after training with 4"),
        (COCONUT, stepwise(markers="always"), "markers never or markers always"),
        (COCONUT, stepwise(mix_probability=0.3), "mix_probability=its default or mix_probability=0.3"),
        (CODI, {**CODI, **objectives(teacher=TEACHER)}, "with objective distillation or without"),
        (fixed(thoughts=6), {**CODI, **objectives(teacher=TEACHER)}, "without objective teacher or with"),
        (NO_CURRICULUM, {**NO_CURRICULUM, "model.init_args.thinker": JACOBI},
         "one thought after another or Jacobi (rounds=3)"),
        (NO_CURRICULUM, {**NO_CURRICULUM, "model.init_args.feed": PROJECTION},
         "the state as it is or Projection (dropout=0.0, norm=True)"),
        (COCONUT, {**COCONUT, "model.class_path": "mine.Better"}, "Coconut or Better"),
        (COCONUT, {**COCONUT, "data.init_args.batch_size": 32}, "batch_size=64 or batch_size=32"),
    ],
)  # fmt: skip
def test_one_factor(tmp_path: Path, left: dict[str, Any], right: dict[str, Any], says: str) -> None:
    found = factors(*both(tmp_path, left, right))
    assert found.named == (says,) and found.alike


def test_a_weight_of_nothing_is_no_objective(tmp_path: Path) -> None:
    idle = {**DISTILLATION, "init_args": {"weight": 0.0, "deviation": "row"}}
    left, right = both(tmp_path, CODI, {**CODI, **objectives(teacher=TEACHER, distillation=idle)})
    assert factors(left, right).named == ("with objective distillation or without",)
    other = {**DISTILLATION, "init_args": {"weight": 20.0, "deviation": "row"}}
    run = read_run(write_run(tmp_path, "other-0", config={**CODI, **objectives(teacher=TEACHER, distillation=other)}))
    assert factors(left, run).named == ("distillation of weight=1.0 or distillation of weight=20.0",)


def test_several_factors_are_told_one_by_one(tmp_path: Path) -> None:
    found = factors(*both(tmp_path, COCONUT, COT))
    assert found.alike and found.named == (
        "fed-back states or no thoughts", "hidden steps or written steps", "Stepwise curriculum or none",
    )  # fmt: skip
    # Feeds and thinkers make thoughts of states: beside pauses they say nothing of their own.
    codi = {**CODI, "model.init_args.feed": PROJECTION, "model.init_args.thinker": JACOBI}
    left, right = both(tmp_path / "pause", codi, fixed(kind="pause", thoughts=6))
    assert factors(left, right).named == (
        "fed-back states or pauses", "with objective distillation or without", "with objective teacher or without",
    )  # fmt: skip


def test_other_settings_beside_the_method(tmp_path: Path) -> None:
    changes = {"data.init_args.batch_size": 32}
    assert not factors(*both(tmp_path / "a", COCONUT, {**PAUSES, **changes})).alike
    assert not factors(*both(tmp_path / "b", COCONUT, {**COCONUT, **changes, "trainer.max_epochs": 8})).alike


def test_nothing_that_has_an_effect(tmp_path: Path) -> None:
    left, right = both(tmp_path, NO_COT, {**fixed(kind="none", thoughts=0), "curriculum.reset_optimizer": "stage"})
    assert factors(left, right).named == () and factors(left, right).alike


def test_what_stands_at_the_places_of_soft_thoughts(tmp_path: Path) -> None:
    soft = {**fixed(kind="soft"), "model.class_path": "lcot.modules.SoftCoT"}
    made = [
        read_run(write_run(tmp_path, "projected-0", config={**soft, "model.init_args.thoughts": "projected"})),
        read_run(write_untrained(tmp_path, "zeros-0", config={**soft, "model.init_args.thoughts": "zeros"})),
    ]
    found = factors(*made)
    assert found.named == ("projected or zeros",) and found.alike  # though one of them was trained

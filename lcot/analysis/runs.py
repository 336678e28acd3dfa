"""A trained run as something to measure: which numbers of thoughts, what they stand for, what a reader must know."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from lcot.analysis.subject import Examples, Subject
from lcot.analysis.thinker import Thinker
from lcot.errors import UserError
from lcot.modules.softcot import SoftCoT
from lcot.reasoning.curriculum import Curriculum
from lcot.reasoning.spanwise import Spanwise

if TYPE_CHECKING:
    from lcot.api import Solver


def stage_of(solver: Solver, schedule: Curriculum) -> int:
    """The stage that the loaded checkpoint was trained in."""
    trained = solver.module.trained_stage
    return schedule.last_stage if trained is None else min(trained, schedule.last_stage)


def subject_of(
    solver: Solver,
    schedule: Curriculum,
    examples: Examples,
    counts: Sequence[int] | None = None,
    max_rows: int = 64,
) -> Subject:
    """What is to be measured.

    Args:
        solver: The loaded run.
        schedule: What it was trained with.
        examples: The questions.
        counts: The numbers of thoughts; all up to the run's largest one if not given.
        max_rows: Rows that the model reads at once.

    Raises:
        UserError: If a number of thoughts cannot be, or the run has none that could be measured.
    """
    stage, per_step = stage_of(solver, schedule), max(getattr(schedule, "thoughts_per_step", 1), 1)
    chosen = tuple(sorted(set(all_counts(solver, schedule) if counts is None else counts)))
    if solver.kind == "soft":
        if chosen != (solver.thoughts,):
            raise UserError(
                f"thoughts is {', '.join(map(str, chosen))}, and this run has {solver.thoughts} soft thoughts",
                where="--thoughts",
                why="they are made for the whole question, and none stands for a step that could be left out",
                fix=f"leave it out, or use {solver.thoughts}",
            )
        per_step = solver.thoughts + 1  # so many that none stands for a step
    return Subject(
        thinker=Thinker.of(solver, max_rows),
        examples=examples,
        counts=chosen,
        hidden=lambda k: schedule.hidden_behind(stage, k),
        thoughts_per_step=per_step,
        whole=lambda k: schedule.hides_all(stage, k),
        left_out=lambda k, steps: _left_out(schedule, stage, k, steps),
        reader=solver.module.extractors[0],
        max_new_tokens=solver.module.max_new_tokens,
    )


def _left_out(schedule: Curriculum, stage: int, k: int, steps: int) -> int:
    """How many of a question's steps the right text behind k thoughts leaves out."""
    if schedule.hides_all(stage, k):
        return steps
    behind = schedule.hidden_behind(stage, k)
    return min(steps, schedule.resolve(stage, steps).hidden if behind is None else behind)


def all_counts(solver: Solver, schedule: Curriculum) -> range:
    """The numbers of thoughts from 0 to the largest of a run; of soft thoughts its own alone."""
    if solver.kind == "soft":
        return range(solver.thoughts, solver.thoughts + 1)
    if solver.kind == "none":
        return range(1)
    free = solver.module.free_thoughts if isinstance(schedule, Spanwise) else 0
    return range(max([solver.thoughts, free, *schedule.numbers_trained(stage_of(solver, schedule))]) + 1)


def warnings_of(solver: Solver, schedule: Curriculum, counts: Sequence[int], concepts: bool = True) -> Iterator[str]:
    """What a reader of the numbers must know, a line each.

    Args:
        solver: The loaded run.
        schedule: What it was trained with.
        counts: The numbers of thoughts.
        concepts: Whether concepts are read out, and paths are judged, behind so many steps.
    """
    module, trained = solver.module, schedule.numbers_trained(stage_of(solver, schedule))
    mixed = "; -c coconut_mixed trains a model that has seen all"
    new = sorted(set(counts) - trained)
    if new and not isinstance(schedule, Spanwise):
        yield (
            f"training's last stage never saw k = {listed(new)} (it saw {listed(sorted(trained))}): after so many"
            " thoughts the model may answer at once or write nonsense, whatever its thoughts hold"
            f"{mixed if solver.kind == 'continuous' else ''}"
        )
    if not isinstance(module, SoftCoT) and module.ends_thoughts:
        by = "a classifier" if module.halting is not None else "its head"
        yield f"this run ends its thoughts with {by}, which is not asked here: k thoughts are forced"
    if isinstance(module, SoftCoT) and module.thought_paths > 1:
        yield f"of the {module.thought_paths} paths of this run's thoughts the first one is read"
    if module.sampling.temperature:
        yield "this run samples its answers; here they are written greedily"
    if module.sampling.thoughts:
        yield "this run draws its thoughts; here they are those that its head expects"
    if concepts and solver.kind != "none" and schedule.hidden_behind(stage_of(solver, schedule), 1) is None:
        yield (
            "the curriculum does not say how many steps a thought stands for: concepts are read out as if each stood"
            " for one, and a path may set in behind any number of unseen steps"
        )


def listed(numbers: Sequence[int]) -> str:
    """Numbers in words; three or more in a row as a range."""
    if len(numbers) > 2 and list(numbers) == list(range(numbers[0], numbers[-1] + 1)):
        return f"{numbers[0]} … {numbers[-1]}"
    return ", ".join(map(str, numbers))

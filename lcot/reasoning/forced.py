"""Another number of thoughts than a model was trained with (arXiv 2412.06769, section 5.1)."""

from __future__ import annotations

import random

from lcot.errors import UserError
from lcot.reasoning.curriculum import Curriculum, Stage


class Forced(Curriculum):
    """A schedule whose questions are thought about k times at inference, whatever the stage.

    With k thoughts the question is followed by bot, k thoughts and eot, and the model writes on from there: the steps
    behind the k-th, if each of its thoughts stands for one step. All else is as the schedule has it.

    Args:
        schedule: What the model was trained with.
        thoughts: k.

    Raises:
        UserError: If k is negative, or the schedule has no thoughts.
    """

    def __init__(self, schedule: Curriculum, thoughts: int) -> None:
        super().__init__(schedule.kind, schedule.markers)
        if thoughts < 0:
            raise UserError(f"eval_thoughts is {thoughts}", where="curriculum.eval_thoughts", fix="use 0 or more")
        if thoughts and schedule.kind == "none":
            raise UserError(
                f"eval_thoughts is {thoughts}, and the kind of thought is 'none'",
                where="curriculum.eval_thoughts, curriculum.schedule.kind",
                why="this method has no thoughts",
                fix="leave eval_thoughts out",
            )
        self.schedule = schedule
        self.thoughts = thoughts
        self.stepwise_passes = schedule.stepwise_passes

    @property
    def last_stage(self) -> int:
        """That of the schedule."""
        return self.schedule.last_stage

    def stage_at(self, epoch: int, batch: int = 0, batches: int = 1) -> int:
        """That of the schedule."""
        return self.schedule.stage_at(epoch, batch, batches)

    def resolve(self, stage: int, num_steps: int) -> Stage:
        """That of the schedule."""
        return self.schedule.resolve(stage, num_steps)

    def sample(self, stage: int, num_steps: int, draw: random.Random) -> Stage:
        """That of the schedule."""
        return self.schedule.sample(stage, num_steps, draw)

    def numbers_trained(self, stage: int) -> set[int]:
        """Those of the schedule."""
        return self.schedule.numbers_trained(stage)

    def thoughts_at_inference(self, stage: int) -> int:
        """k, at every stage."""
        return self.thoughts

    def hidden_behind(self, stage: int, thoughts: int) -> int | None:
        """That of the schedule."""
        return self.schedule.hidden_behind(stage, thoughts)

    def hides_all(self, stage: int, thoughts: int) -> bool:
        """That of the schedule."""
        return self.schedule.hides_all(stage, thoughts)

"""Learning-rate schedules that learn the length of a run from its trainer."""

from __future__ import annotations

import math
from typing import Literal

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from lcot.errors import UserError


class WarmupStableDecay(LambdaLR):
    """Linear warm-up, a constant stretch, and a final decay, stepped once an optimizer step.

    Args:
        optimizer: Whose rates are scheduled.
        warmup_steps: Steps from 0 to the full rate.
        decay: Share of all steps, at the end, over which the rate falls.
        shape: How it falls.
        floor: The last rate, as a share of the full one.
        total_steps: Length of the run; ``None`` takes it from the trainer.

    Raises:
        UserError: If a number is out of range.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        warmup_steps: int = 0,
        decay: float = 0.0,
        shape: Literal["linear", "cosine"] = "linear",
        floor: float = 0.0,
        total_steps: int | None = None,
    ) -> None:
        if warmup_steps < 0 or not 0 <= decay <= 1 or not 0 <= floor <= 1:
            raise UserError(
                f"warmup_steps {warmup_steps}, decay {decay}, floor {floor}",
                where="model.lr_scheduler",
                fix="warmup_steps is 0 or more; decay and floor are shares between 0 and 1",
            )
        self.warmup_steps = warmup_steps
        self.decay = decay
        self.shape = shape
        self.floor = floor
        self.total_steps = total_steps
        super().__init__(optimizer, self.factor)

    def set_total(self, steps: int) -> None:
        """Fix the length of the run.

        Raises:
            UserError: If the warm-up would not end before the run does.
        """
        if self.warmup_steps >= steps:
            raise UserError(
                f"the warm-up takes {self.warmup_steps} steps, and the run has {steps}",
                where="model.lr_scheduler warmup_steps",
                fix="shorten the warm-up or train longer",
            )
        self.total_steps = steps

    def factor(self, step: int) -> float:
        """Share of the full rate at a step, counted from 0."""
        if step < self.warmup_steps:
            return (step + 1) / (self.warmup_steps + 1)
        if self.total_steps is None or not self.decay:
            return 1.0
        start = self.total_steps * (1 - self.decay)
        done = min(max((step - start) / max(1.0, self.total_steps - start), 0.0), 1.0)
        fall = done if self.shape == "linear" else (1 - math.cos(math.pi * done)) / 2
        return 1.0 - (1.0 - self.floor) * fall

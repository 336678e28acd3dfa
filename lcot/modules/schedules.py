"""Learning-rate schedules that learn the length of a run from its trainer."""

from __future__ import annotations

import logging
import math
from typing import Any, Literal

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from lcot.errors import UserError

_log = logging.getLogger("lcot")


class WarmupStableDecay(LambdaLR):
    """Linear warm-up, a constant stretch, and a final decay, stepped once an optimizer step.

    Args:
        optimizer: Whose rates are scheduled.
        warmup_steps: Steps from 0 to the full rate.
        decay: Share of all steps, at the end, over which the rate falls.
        shape: How it falls.
        floor: The last rate, as a share of the full one.
        total_steps: Length of the run; ``None`` takes it from the trainer.
        warmup: Share of all steps from 0 to the full rate, in the place of ``warmup_steps``. With a decay over all the
            rest, shape ``cosine``, this is transformers' ``cosine`` with a ``warmup_ratio``, but for the first step,
            whose rate is not 0 here.

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
        warmup: float = 0.0,
    ) -> None:
        if warmup_steps < 0 or not 0 <= decay <= 1 or not 0 <= floor <= 1 or not 0 <= warmup < 1:
            raise UserError(
                f"warmup_steps {warmup_steps}, warmup {warmup}, decay {decay}, floor {floor}",
                where="model.lr_scheduler",
                fix="warmup_steps is 0 or more; warmup, decay and floor are shares between 0 and 1",
            )
        if (warmup_steps and warmup) or warmup + decay > 1 + 1e-9:
            raise UserError(
                f"warmup is {warmup}, and {f'warmup_steps {warmup_steps}' if warmup_steps else f'decay {decay}'}",
                where="model.lr_scheduler",
                why="both say how long the warm-up is" if warmup_steps else "the rate would fall before it has risen",
                fix="leave one of them out" if warmup_steps else f"lower decay to {1 - warmup:g}",
            )
        self.warmup = warmup
        self.warmup_steps = warmup_steps
        self.decay = decay
        self.shape = shape
        self.floor = floor
        self.total_steps = total_steps
        if total_steps is not None:
            self._share_out(total_steps)
        super().__init__(optimizer, self.factor)

    def set_total(self, steps: float) -> None:
        """Fix the length of the run; infinite for one without an end.

        Raises:
            UserError: If the warm-up would not end before the run does, or a run without an end has a decay.
        """
        if self.decay and math.isinf(steps):
            raise UserError(
                "the learning rate decays at the end of the run, and the run has no end",
                where="model.lr_scheduler decay and trainer.max_epochs",
                fix="set trainer.max_epochs, or decay to 0",
            )
        if self.warmup:
            self._share_out(steps)
        if self.warmup_steps >= steps:
            raise UserError(
                f"the warm-up takes {self.warmup_steps} steps, and the run has {steps}",
                where="model.lr_scheduler warmup_steps",
                fix="shorten the warm-up, train longer, or do without a schedule: --model.lr_scheduler=null",
            )
        self.total_steps = None if math.isinf(steps) else int(steps)
        if self.warmup and self.last_epoch == 0:  # the first rate was set before the length of the run was known
            self._last_lr = [base * self.factor(0) for base in self.base_lrs]
            for group, rate in zip(self.optimizer.param_groups, self._last_lr, strict=True):
                group["lr"] = rate

    def _share_out(self, steps: float) -> None:
        if self.warmup and math.isinf(steps):
            raise UserError(
                "the warm-up is a share of the run, and the run has no end",
                where="model.lr_scheduler warmup and trainer.max_epochs",
                fix="set trainer.max_epochs, or warmup_steps",
            )
        if self.warmup:
            self.warmup_steps = min(math.ceil(self.warmup * steps), int(steps) - 1)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue at a saved step. The settings are this run's own, and a plan that changed is told."""
        planned = state_dict.get("total_steps")
        if self.decay and planned is not None and planned != self.total_steps:
            _log.warning(
                "the saved run was planned for %s steps, this one for %s; the learning rate follows the new plan",
                planned,
                self.total_steps,
            )
        own = ("warmup_steps", "warmup", "decay", "shape", "floor", "total_steps")
        super().load_state_dict({**state_dict, **{name: getattr(self, name) for name in own}})

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

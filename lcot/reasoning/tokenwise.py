"""iCoT's curriculum: the written chain is taken away token by token (Deng et al., arXiv 2405.14838)."""

from __future__ import annotations

import math
import random
from fractions import Fraction
from typing import ClassVar, Literal

from lcot.errors import UserError
from lcot.reasoning.curriculum import Curriculum, Stage

_MOST_EXTRA = 99
"""Largest number of tokens that smoothing adds; the tail of its distribution lies on it."""


class Tokenwise(Curriculum):
    """Stepwise internalization: stage s leaves out s tokens of the chain, and there are no thoughts.

    The number of tokens grows linearly with the batches trained on, s(t) = floor(Δ·t/T) with T batches in an epoch
    (arXiv 2405.14838, section 3; the released code rounds T/Δ to whole batches, anew in each epoch). Once s reaches
    ``remove_all_beyond``, the whole chain is left out of every example, however long it is.

    Args:
        tokens_per_epoch: Δ, the number of tokens that each epoch takes away; less than 1 for several epochs a token.
        remove_all_beyond: s at which the rest goes at once; at most the longest chain, in tokens.
        first_epochs: Epochs with the whole chain, before the first token goes.
        smoothing: λ of removal smoothing: an example in training loses o more tokens than s, with P(o) ∝ exp(-λ·o) and
            the tail beyond 99 on 99, drawn anew in each epoch. ``None`` for none. Never applied in validation, where
            the released code applies it.
        side: Whether tokens go from the ``left`` end of the chain or from the ``right`` (the paper's ablation).

    Raises:
        UserError: If a number is out of range.
    """

    keeps_stages: ClassVar[bool] = False

    def __init__(
        self,
        tokens_per_epoch: float = 8.0,
        remove_all_beyond: int = 39,
        first_epochs: int = 0,
        smoothing: float | None = 4.0,
        side: Literal["left", "right"] = "left",
    ) -> None:
        super().__init__(kind="none")
        if side not in ("left", "right"):
            raise UserError.unknown("side", str(side), ["left", "right"], where="curriculum side")
        for name, value, fits, fix in (
            ("tokens_per_epoch", tokens_per_epoch, 0 < tokens_per_epoch < math.inf, "use a number above 0"),
            ("remove_all_beyond", remove_all_beyond, remove_all_beyond >= 1, "use 1 or more"),
            ("first_epochs", first_epochs, first_epochs >= 0, "use 0 or more"),
            ("smoothing", smoothing, smoothing is None or smoothing > 0, "use a number above 0, or null for none"),
        ):
            if not fits:
                raise UserError(f"{name} is {value}", where=f"curriculum {name}", fix=fix)
        # The decimal number that was written: a product with its binary neighbour may fall just short of a token.
        self.tokens_per_epoch = Fraction(str(tokens_per_epoch))
        self.remove_all_beyond = remove_all_beyond
        self.first_epochs = first_epochs
        self.smoothing = smoothing
        self.side = side

    @property
    def last_stage(self) -> int:
        """``remove_all_beyond``: nothing of the chain is left."""
        return self.remove_all_beyond

    def stage_at(self, epoch: int, batch: int = 0, batches: int = 1) -> int:
        """The number of tokens that are left out of a batch."""
        passed = max(Fraction(0), epoch - self.first_epochs + Fraction(batch, batches))
        return min(math.floor(self.tokens_per_epoch * passed), self.last_stage)

    def resolve(self, stage: int, num_steps: int) -> Stage:
        """Leave out ``stage`` tokens, or all steps from ``remove_all_beyond`` on."""
        if stage >= self.remove_all_beyond:
            return Stage(num_steps, 0)
        return Stage(0, 0, tokens=stage if self.side == "left" else -stage)

    def sample(self, stage: int, num_steps: int, draw: random.Random) -> Stage:
        """With ``smoothing``, leave out some tokens more; they never make the rest go at once."""
        if self.smoothing is None or stage >= self.remove_all_beyond:
            return self.resolve(stage, num_steps)
        # The inverse of the distribution function 1 - exp(-λ(o + 1)); random() is never 1.
        tokens = stage + min(_MOST_EXTRA, math.floor(-math.log(1.0 - draw.random()) / self.smoothing))
        return Stage(0, 0, tokens=tokens if self.side == "left" else -tokens)

    def thoughts_at_inference(self, stage: int) -> int:
        """None: the chain is not replaced."""
        return 0

    def hidden_behind(self, stage: int, thoughts: int) -> int | None:
        """No whole number of steps, unless the chain's beginning is left."""
        return 0 if stage == 0 or self.side == "right" else None

    def describe(self, stage: int) -> str:
        """The number of tokens, for the console."""
        rest = "all" if stage >= self.last_stage else str(stage)
        return f"{rest} tokens of the chain left out (beyond {self.last_stage} all)"

    def check_reach(self, max_epochs: int) -> None:
        """Make sure that training gets to where the whole chain is left out.

        Raises:
            UserError: If ``max_epochs`` is too small for it.
        """
        needed = self.first_epochs + self.remove_all_beyond / self.tokens_per_epoch
        if max_epochs <= needed:
            raise UserError(
                f"training ends after {max_epochs} epochs, and the last token would go after {float(needed):g}",
                where="trainer.max_epochs and curriculum tokens_per_epoch",
                why="the model would never see a question without its chain",
                fix=f"train for more than {math.floor(needed)} epochs, or raise tokens_per_epoch",
            )

"""Ending thoughts by a classifier that is trained beside the text and asked at each state (Coconut's second option)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lcot.errors import UserError
from lcot.reasoning.batch import ThoughtBatch
from lcot.reasoning.layout import IGNORE
from lcot.reasoning.think import Thinking


@dataclass(frozen=True)
class Halting:
    """A binary classifier on the latest state decides when to leave latent mode (the paper's second option).

    Attributes:
        weight: Weight of the classifier's loss beside the language-model loss.
        threshold: Probability of stopping above which a row stops.
        max_thoughts: Upper bound at inference.
    """

    weight: float = 1.0
    threshold: float = 0.5
    max_thoughts: int = 16

    def __post_init__(self) -> None:
        if self.weight <= 0 or not 0 < self.threshold < 1 or self.max_thoughts < 0:
            raise UserError(
                f"weight {self.weight}, threshold {self.threshold}, max_thoughts {self.max_thoughts}",
                where="model.halting",
                fix="weight is above 0, threshold between 0 and 1, max_thoughts 0 or more",
            )


def halting_loss(halt: nn.Linear, batch: ThoughtBatch, thinking: Thinking) -> tuple[Tensor, Tensor]:
    """Binary cross-entropy at bot and at each thought: stop at the last one, go on before.

    Args:
        halt: The classifier.
        batch: B rows.
        thinking: Their passes.

    Returns:
        Each row's mean over its states, times its supervised tokens, summed: the caller divides by all tokens, and a
        row so counts the same whatever rows it shares a batch or a rank with. And the share of right decisions.
    """
    device = thinking.states.device
    if not batch.marked:
        # Every trainable parameter must take part in every loss, or DDP waits for it at the next step.
        idle = sum(parameter.sum() for parameter in halt.parameters()) * 0.0
        return torch.as_tensor(idle), torch.ones((), device=device)
    if batch.max_thoughts:
        number = torch.arange(batch.max_thoughts + 1, device=device)
        states = thinking.states[:, : batch.max_thoughts + 1]
        asked = number <= batch.thoughts[:, None]
        target = (number == batch.thoughts[:, None]).to(states.dtype)
    else:  # heads are not in line, and eot follows bot
        states = thinking.state_at(batch.prompt_ends - 2)[:, None]
        target = torch.ones_like(states[..., 0])
        asked = target.bool()
    logits = halt(states.to(halt.weight.dtype))[..., 0]
    losses = F.binary_cross_entropy_with_logits(logits, target, reduction="none") * asked
    tokens = (batch.labels != IGNORE).sum(dim=1)
    loss = (losses.sum(dim=1) / asked.sum(dim=1) * tokens).sum()
    right = ((logits > 0) == target.bool())[asked].float().mean()
    return loss, right

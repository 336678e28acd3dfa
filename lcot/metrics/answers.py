"""Whether answers are right, and what they cost."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from lcot.metrics.extractors import EXTRACTORS
from lcot.metrics.extractors import extractor as find_extractor


def extract_answer(text: str, marker: str = "###") -> str | None:
    """The text behind the last marker, without commas: the extractor ``string``, that of the released Coconut code.

    Args:
        text: What the model wrote (not the question, which may contain the marker itself).
        marker: What stands before an answer.

    Returns:
        The answer, stripped; ``None`` if the marker was never written or nothing follows it.
    """
    return EXTRACTORS["string"].extract(text, marker)


def is_correct(answer: str | None, gold: str) -> bool:
    """Exact equality of strings, commas aside; an answer that could not be extracted is wrong."""
    return EXTRACTORS["string"].equal(answer, gold)


class AnswerAccuracy(Metric):
    """Share of right answers; every example counts once on any number of ranks.

    Sums are kept and added up over ranks, never means: means of unequal shares are not the mean.

    Args:
        extractor: Name of the extractor that says which answers are equal.

    Attributes:
        last: Of each answer of the last batch, whether it was right.

    Raises:
        UserError: If there is no such extractor.
    """

    full_state_update = False
    correct: Tensor
    total: Tensor

    def __init__(self, extractor: str = "string") -> None:
        super().__init__()
        self.extractor = find_extractor(extractor)
        self.last: list[bool] = []
        self.add_state("correct", torch.tensor(0, dtype=torch.long), dist_reduce_fx="sum")
        self.add_state("total", torch.tensor(0, dtype=torch.long), dist_reduce_fx="sum")

    def update(self, answers: Sequence[str | None], golds: Sequence[str]) -> None:
        """Count a batch of answers, extracted with this metric's extractor, against the gold ones."""
        self.last = [self.extractor.equal(answer, gold) for answer, gold in zip(answers, golds, strict=True)]
        self.correct += sum(self.last)
        self.total += len(golds)

    def compute(self) -> Tensor:
        """Accuracy in [0, 1]; NaN before any example."""
        return self.correct.float() / self.total if self.total else torch.tensor(float("nan"))


class Average(Metric):
    """Sum over total, added up over ranks: a token-weighted loss, tokens per answer, seconds per question.

    The sum is kept in two float32 numbers, the second of which holds what the first has no digits for: not every device
    knows float64. They stay so in a module whose weights get another type.
    """

    full_state_update = False
    summed: Tensor
    rest: Tensor
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name in ("summed", "rest"):
            self.add_state(name, torch.zeros((), dtype=torch.float32), dist_reduce_fx="sum")
        self.add_state("count", torch.tensor(0, dtype=torch.long), dist_reduce_fx="sum")

    def update(self, value: Tensor | float, count: int) -> None:
        """Add a sum over ``count`` things."""
        whole = self.summed.item() + self.rest.item() + float(value)
        self.summed = torch.full_like(self.summed, whole)
        kept = self.summed.item()
        self.rest = torch.full_like(self.rest, whole - kept if math.isfinite(kept) else 0.0)
        self.count += count

    def compute(self) -> Tensor:
        """The mean; NaN if nothing was counted."""
        total = self.summed.item() + self.rest.item()
        mean = total / int(self.count) if self.count else float("nan")
        return torch.tensor(mean, dtype=torch.float32, device=self.count.device)

    def _apply(self, fn: Callable[[Tensor], Tensor], exclude_state: Sequence[str] = "") -> nn.Module:
        """Move."""
        return super()._apply(lambda tensor: fn(tensor).to(tensor.dtype), exclude_state)

"""Pair accuracy: whether both questions about one problem are answered rightly, and not one of them by a guess."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torchmetrics import Metric

from lcot.reasoning.keyed import keyed_seed


class Pairs(Metric):
    """Counts pairs of questions; the two of a pair may be in different batches, and on different ranks.

    What is kept of a question is a hash of its pair's name, and whether its answer is right.
    """

    full_state_update = False
    seen: list[Tensor] | Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("seen", [], dist_reduce_fx="cat")

    def update(self, right: Sequence[bool], pairs: Sequence[str]) -> None:
        """Count a batch of answers.

        Args:
            right: Whether each is right.
            pairs: The name of each question's pair; empty for a question that stands alone and is not counted.
        """
        rows = [(keyed_seed(pair), answered) for answered, pair in zip(right, pairs, strict=True) if pair]
        assert isinstance(self.seen, list)
        self.seen.append(torch.tensor(rows, dtype=torch.long, device=self.device).reshape(-1, 2))

    def compute(self) -> Tensor:
        """``(3,)``: pairs with both answers right, whole pairs, and questions whose other one was not counted."""
        # One tensor where it was gathered from several ranks.
        kept = [self.seen] if isinstance(self.seen, Tensor) else self.seen
        found: dict[int, list[int]] = {}
        for pair, right in (row for part in kept for row in part.tolist()):
            found.setdefault(pair, []).append(right)
        whole = [answered for answered in found.values() if len(answered) == 2]
        single = sum(len(answered) for answered in found.values() if len(answered) != 2)
        return torch.tensor([sum(map(all, whole)), len(whole), single])

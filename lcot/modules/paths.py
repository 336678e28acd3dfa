"""Several soft thoughts of one question (SoftCoT++, arXiv 2505.11484)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lcot.errors import UserError


@dataclass(frozen=True)
class Paths:
    """Each path has a placeholder of its own, which the assistant reads in the place of all its placeholders.

    Attributes:
        count: Number of paths M; each gives one answer, and the majority counts.
        learned: Whether the placeholders' embeddings are trained, by way of the frozen assistant. The published code
            cuts that gradient off by mistake: there they stay as drawn, and the projection does all the work.
        contrast: Weight of the contrastive loss beside the language-model loss, which is a sum over paths.
        scale: Multiplies similarities in it.
        dropout: Share of values that one of its two views loses in training.
    """

    count: int = 10
    learned: bool = True
    contrast: float = 1.0
    scale: float = 20.0
    dropout: float = 0.5

    def __post_init__(self) -> None:
        if self.count < 2 or self.contrast < 0 or self.scale <= 0 or not 0 <= self.dropout < 1:
            raise UserError(
                f"count {self.count}, contrast {self.contrast}, scale {self.scale}, dropout {self.dropout}",
                where="model.paths",
                fix="count is 2 or more (null for one path), contrast 0 or more, scale above 0, dropout from 0 below 1",
            )

    def draw(self, table: Tensor, scale: Tensor) -> Tensor:
        """Placeholders ``(M, D)`` to begin with, from the global generator: as different from one another as words are.

        Args:
            table: ``(V, D)`` input embeddings of the assistant, as they are stored.
            scale: What it multiplies them by when it reads them.
        """
        words = table.detach().float().cpu()
        drawn = torch.randn(self.count, words.shape[1]) * words.std(dim=0) + words.mean(dim=0)
        return drawn * scale.cpu()

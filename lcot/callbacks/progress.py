"""Progress bars that show what matters: stage, loss, accuracy."""

from __future__ import annotations

from typing import Any

import lightning as L
from lightning.pytorch.callbacks import RichProgressBar


class ReasoningProgressBar(RichProgressBar):
    """Rich bars without the version number, and with metrics under short names.

    Args:
        refresh_rate: Batches between two refreshes.
        leave: Keep a finished epoch's bar on the screen.
    """

    def __init__(self, refresh_rate: int = 5, leave: bool = False) -> None:
        super().__init__(refresh_rate=refresh_rate, leave=leave)

    def get_metrics(self, trainer: L.Trainer, pl_module: L.LightningModule) -> dict[str, Any]:
        """The metrics behind the bar."""
        shown = super().get_metrics(trainer, pl_module)
        names = {"curriculum/stage": "stage", "train/loss_step": "loss", "val/accuracy": "val accuracy"}
        return {
            names[key]: f"{value:.0f}" if key == "curriculum/stage" else value
            for key, value in shown.items()
            if key in names
        }

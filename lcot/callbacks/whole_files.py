"""Checkpoints that are whole, and whose weights are numbers."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.fabric.plugins import TorchCheckpointIO
from torch.distributed.tensor import DTensor

from lcot.errors import UserError


class WholeFiles(TorchCheckpointIO):
    """Writes beside the target and moves it there: a killed process leaves the former file whole.

    Lightning writes to the system's folder for temporary files and moves from there, which is a copy, in pieces, if
    that is on another file system; it also holds a second copy of everything in memory.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Save a checkpoint to a local file.

        Raises:
            OSError: If it cannot be written, with its name; the former file is as it was.
        """
        if storage_options is not None:
            raise TypeError("WholeFiles takes no storage_options")
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(target.name + ".part")
        try:
            with part.open("wb") as file:
                _save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, target)
        except BaseException as err:
            part.unlink(missing_ok=True)
            if isinstance(err, OSError):
                err.filename = str(target)
            raise


def check_finite(trainer: L.Trainer) -> None:
    """Refuse to write weights that are no numbers over those that were, on all ranks alike.

    A loss that is none ends training before its step. A gradient can be none where the loss still is one; then the
    weights show it first.

    Raises:
        UserError: If one of the trained weights is NaN or infinite.
    """
    weights = [weight.detach() for weight in trainer.lightning_module.parameters() if weight.requires_grad]
    # Of a weight that is shared out, this process's piece, which may be empty: then all decide together.
    pieces = [weight.to_local() if isinstance(weight, DTensor) else weight for weight in weights]
    pieces = [piece for piece in pieces if piece.numel()]
    largest = torch.nn.utils.get_total_norm(pieces, math.inf) if pieces else torch.zeros(())
    if not trainer.strategy.reduce_boolean_decision(not math.isfinite(float(largest)), all=False):
        return
    raise UserError(
        "some of the weights are NaN or infinite",
        where=f"epoch {trainer.current_epoch}, step {trainer.global_step}",
        why="a step since the last checkpoint made them so; that checkpoint is untouched",
        fix="go on from it with --ckpt_path and another --name: lower the learning rate, or clip gradients"
        " (trainer.gradient_clip_val)",
    )


def _save(checkpoint: dict[str, Any], file: Any) -> None:
    """As ``torch.save`` does; of a full disk its writer says that it stands at the wrong place."""
    try:
        torch.save(checkpoint, file)
    except RuntimeError as err:
        if isinstance(err.__context__, OSError):
            raise err.__context__ from None
        raise

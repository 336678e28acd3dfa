"""Event files read back, and runs that write them within this process."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
from lightning.pytorch.loggers import TensorBoardLogger
from numpy.typing import NDArray
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lcot.callbacks import Dashboard
from lcot.reasoning.curriculum import Curriculum
from tests.training import tiny_data, tiny_module, tiny_trainer

OFF: dict[str, Any] = {
    "questions": 0,
    "curves": False,
    "custom_scalars": False,
    "thoughts": False,
    "tree": "never",
    "hparams": False,
}
"""Settings of a dashboard that shows nothing."""


def read(folder: Path) -> EventAccumulator:
    """All events of a folder."""
    kinds = ("scalars", "tensors", "images", "histograms")
    events = EventAccumulator(str(folder), size_guidance=dict.fromkeys(kinds, 0))
    events.Reload()
    return events


def scalars(board: EventAccumulator, tag: str) -> dict[int, float]:
    """Step → value."""
    return {event.step: event.value for event in board.Scalars(tag)}


def tags(board: EventAccumulator) -> set[str]:
    """The names of all that was written."""
    return {tag for found in board.Tags().values() if isinstance(found, list) for tag in found}


def image(board: EventAccumulator, tag: str, place: int = -1) -> NDArray[np.uint8]:
    """An image as bytes ``(height, width, 3)``."""
    return np.asarray(Image.open(io.BytesIO(board.Images(tag)[place].encoded_image_string)))


def trained(
    folder: Path, curriculum: Curriculum, dashboard: Dashboard | None, data: Any = None, **changes: Any
) -> tuple[EventAccumulator, Any, L.Trainer]:
    """Train a tiny module with a board in a folder, and read it back."""
    L.seed_everything(0, verbose=False)
    module = tiny_module()
    logger = TensorBoardLogger(str(folder), name="", version="", default_hp_metric=False)
    callbacks = [dashboard] if dashboard is not None else []
    options = {"logger": logger, "log_every_n_steps": 1, **changes}
    trainer = tiny_trainer(folder, curriculum, *callbacks, **options)
    trainer.fit(module, datamodule=data if data is not None else tiny_data())
    return read(folder), module, trainer

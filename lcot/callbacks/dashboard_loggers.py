"""Words and pictures for whichever loggers take them: TensorBoard, W&B and MLflow by their own ways."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import lightning as L
import numpy as np
from lightning.pytorch.loggers import Logger, MLFlowLogger, TensorBoardLogger
from numpy.typing import NDArray

from lcot.callbacks.dashboard_words import words_in_markdown


def find_board(trainer: L.Trainer) -> TensorBoardLogger | None:
    """TensorBoard's logger; ``None`` on all ranks but the first, and where there is none."""
    return next((logger for logger in loggers(trainer) if isinstance(logger, TensorBoardLogger)), None)


def loggers(trainer: L.Trainer) -> list[Logger]:
    """All loggers; none on all ranks but the first."""
    return list(trainer.loggers) if trainer.is_global_zero else []


def showing(trainer: L.Trainer) -> list[Logger]:
    """The loggers that take words and pictures: those named here, and others with methods as W&B's logger has them."""
    return [
        logger
        for logger in loggers(trainer)
        if isinstance(logger, TensorBoardLogger | MLFlowLogger)
        or all(callable(getattr(logger, name, None)) for name in ("log_text", "log_image"))
    ]


def show_words(logger: Any, records: Sequence[Mapping[str, Any]], stage: int, epoch: int, step: int) -> None:
    """What was written about some questions.

    Args:
        logger: One of :func:`showing`.
        records: As predictions have them.
        stage: The stage they were written in.
        epoch: The epoch that is over, by which TensorBoard and MLflow number them.
        step: Optimizer steps so far, less one: a logger with one axis for all wants no other.
    """
    if isinstance(logger, TensorBoardLogger):
        logger.experiment.add_text("answers", words_in_markdown(records, stage), epoch)
    elif isinstance(logger, MLFlowLogger):
        text = words_in_markdown(records, stage)
        logger.experiment.log_text(logger.run_id, text, f"answers/epoch{epoch:03d}.md")
    else:
        columns = ["stage", "question", "thoughts", "output", "gold", "correct"]
        rows = [[stage, *(record[name] for name in columns[1:])] for record in records]
        logger.log_text("answers", columns=columns, data=rows, step=step)


def show_picture(logger: Any, name: str, picture: NDArray[np.uint8], epoch: int, step: int) -> None:
    """A picture, ``(height, width, 3)``.

    Args:
        logger: One of :func:`showing`.
        name: What it is.
        picture: Its pixels.
        epoch: As for words.
        step: Likewise.
    """
    if isinstance(logger, TensorBoardLogger):
        logger.experiment.add_image(name, picture, epoch, dataformats="HWC")
    elif isinstance(logger, MLFlowLogger):
        logger.experiment.log_image(logger.run_id, picture, f"{name}/epoch{epoch:03d}.png")
    else:
        logger.log_image(name, [picture], step=step)

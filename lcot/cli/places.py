"""Where a command's answers and curves go: into the run's folder, by names that replace nothing of another protocol."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import CSVLogger

from lcot.callbacks.predictions import check_replaced
from lcot.runs.folder import RunFolder
from lcot.runs.logs import keep_csv
from lcot.settings import UNTRAINED

_log = logging.getLogger("lcot")


def place_predictions(settings: Any, folder: RunFolder, used: Mapping[str, Any]) -> None:
    """Name the file of answers, unless the user has.

    Args:
        settings: The parsed settings of ``predict``; changed in place.
        folder: The run's.
        used: The settings as they were given.

    Raises:
        UserError: If the user's file holds something else.
    """
    if settings.predictions.path is not None:
        check_replaced(Path(settings.predictions.path))
        return
    limit = settings.trainer.limit_predict_batches
    limit = None if isinstance(limit, float) and limit == 1.0 else limit  # 1 is one batch
    used = {**used, "ckpt_path": UNTRAINED if settings.ckpt_path is None else settings.ckpt_path}
    name, said, _ = folder.result("predictions", used, "test", limit)
    settings.predictions.path = str(folder.path / f"{name}.jsonl")
    if said:
        _log.info("answers go to %s, for this is not as the run has it: %s", settings.predictions.path, said)


def keep_logs(loggers: Iterable[Any], step: int | None) -> None:
    """Keep what loggers would delete as they start.

    Args:
        loggers: Of a trainer that has not started.
        step: Steps behind a training that continues; ``None`` for one that begins.
    """
    for logger in loggers:
        if isinstance(logger, CSVLogger):
            keep_csv(logger, step)

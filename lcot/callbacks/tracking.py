"""What every logger is told beside the curves: what a run is, and what a test of it gave."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import CSVLogger, Logger, MLFlowLogger, TensorBoardLogger

from lcot.callbacks.dashboard_hparams import hyperparameters
from lcot.datamodules.base import ReasoningDataModule
from lcot.reasoning.curriculum import find_clock
from lcot.reasoning.forced import Forced
from lcot.reasoning.keyed import run_seed
from lcot.runs.logs import keep_csv


class Tracking(Callback):
    """Tells loggers other than TensorBoard, which has pages of its own, by the interface that all of Lightning's have.

    Args:
        name: The run's.
        group: What it is one of, whatever its seed.
        tested: Loggers of the run that are told of a test's results; the trainer has none then, for a point at step 0
            has no place in a run's curves.
        step: Optimizer steps of the weights that are tested.
    """

    def __init__(self, name: str, group: str, tested: Sequence[Logger] = (), step: int = 0) -> None:
        self.name, self.group = name, group
        self.tested, self.step = list(tested), step

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Tell what is trained, and how, in plain values."""
        data: Any = getattr(trainer, "datamodule", None)
        clock = find_clock(getattr(trainer, "callbacks", []))
        schedule = clock.schedule if clock is not None else None
        data = data if isinstance(data, ReasoningDataModule) else None
        values = hyperparameters(trainer, pl_module, data, schedule, run_seed())
        for logger in trainer.loggers:
            fixed = isinstance(logger, MLFlowLogger) and trainer.global_step  # of a run that goes on, told already
            if not isinstance(logger, TensorBoardLogger) and not fixed:
                logger.log_hyperparams({"run": self.name, "group": self.group, **values})

    def on_test_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Tell what the test gave, at the step of the weights; not that of another stage or number of thoughts."""
        clock = find_clock(getattr(trainer, "callbacks", []))
        forced = clock is not None and isinstance(clock.schedule, Forced)
        forced = forced or getattr(clock, "eval_stage", None) is not None
        if forced or not trainer.is_global_zero or getattr(trainer, "fast_dev_run", False):
            return
        found = {name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith("test/")}
        found = {name: value for name, value in found.items() if math.isfinite(value)}
        for logger in self.tested:
            if isinstance(logger, CSVLogger):
                keep_csv(logger, 2**62)  # all that is there
            logger.log_metrics(found, step=max(0, self.step - 1))  # as those of the last validation are
            logger.save()
            logger.finalize("success")

"""Checkpoints: the last state, always; the best one, per stage."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Checkpoint, ModelCheckpoint
from lightning.pytorch.utilities.exceptions import SIGTERMException

from lcot.errors import UserError
from lcot.reasoning.curriculum import find_clock


class LastCheckpoint(Checkpoint):
    """``last.ckpt``: written at the end of each epoch, every few steps or minutes, and when the job is told to stop.

    It looks at no metric. (Lightning's ``save_last`` beside a monitored metric refreshes the file only when that metric
    improved, so a killed run could lose all epochs since.) Files are replaced atomically.

    Args:
        dirpath: The run's ``checkpoints`` folder; the command line fills it in.
        every_n_steps: Also write within an epoch, after that many optimizer steps; 0 for no.
        every_n_minutes: Also write within an epoch, after that many minutes; 0 for no.

    Raises:
        UserError: If an interval is negative.
    """

    def __init__(self, dirpath: str | None = None, every_n_steps: int = 0, every_n_minutes: float = 0.0) -> None:
        if every_n_steps < 0 or every_n_minutes < 0:
            raise UserError("a negative interval", where="last_checkpoint", fix="use 0 to switch it off")
        self.dirpath = dirpath
        self.every_n_steps = every_n_steps
        self.every_n_minutes = every_n_minutes
        self._saved_at = time.monotonic()

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Write within the epoch if it is time."""
        # A checkpoint behind the last batch would lose the validation and all epoch-end hooks that follow it.
        if trainer.fit_loop.epoch_loop.batch_progress.is_last_batch:
            return
        due = bool(self.every_n_steps) and trainer.global_step % self.every_n_steps == 0
        if self.every_n_minutes and not due:
            # Clocks of ranks differ, and saving is something that they do together: rank 0 decides.
            waited = time.monotonic() - self._saved_at
            due = trainer.strategy.broadcast(waited >= 60 * self.every_n_minutes)
        if due and trainer.global_step:
            self._save(trainer)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write at the end of each epoch."""
        self._save(trainer)

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Write when the job is told to stop (SIGTERM): Lightning raises that between two batches, on all ranks."""
        fitting = trainer.state.fn == "fit" and trainer.global_step > 0
        if isinstance(exception, SIGTERMException) and fitting and not trainer.validating:
            self._save(trainer)

    def _save(self, trainer: L.Trainer) -> None:
        if getattr(trainer, "fast_dev_run", False):
            return
        folder = Path(self.dirpath or Path(trainer.default_root_dir) / "checkpoints")
        trainer.save_checkpoint(folder / "last.ckpt")
        self._saved_at = time.monotonic()


class BestCheckpoint(ModelCheckpoint):
    """The best checkpoint of each stage, by a validation metric.

    The record starts anew with each stage: otherwise an easy early stage (full chains of thought) would own "best" for
    good, and the released code's advice is indeed to pick among the epochs of the final stage only.

    Args:
        dirpath: The run's ``checkpoints`` folder; the command line fills it in.
        monitor: The metric.
        mode: Whether large or small values are good.
        keep: How many checkpoints of each stage to keep.
    """

    def __init__(
        self, dirpath: str | None = None, monitor: str = "val/accuracy", mode: str = "max", keep: int = 1
    ) -> None:
        super().__init__(
            dirpath=dirpath,
            filename="best-stage{curriculum/stage:.0f}-epoch{epoch:03d}",
            monitor=monitor,
            mode=mode,
            save_top_k=keep,
            auto_insert_metric_name=False,
            save_on_train_epoch_end=True,
        )
        self._stage: int | None = None

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Forget the former stage's record, then save as usual."""
        clock = find_clock(getattr(trainer, "callbacks", []))
        if clock is not None:
            stage = clock.schedule.stage_at(trainer.current_epoch)
            if stage != self._stage:
                self._forget()
            self._stage = stage
        if self.monitor in trainer.callback_metrics:
            super().on_train_epoch_end(trainer, pl_module)

    def state_dict(self) -> dict[str, Any]:
        """The record and its stage, in types that ``weights_only`` loading accepts."""
        return {**super().state_dict(), "stage": self._stage}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the record."""
        self._stage = state_dict.get("stage")
        super().load_state_dict(state_dict)

    def _forget(self) -> None:
        self.best_k_models = {}
        self.kth_best_model_path = ""
        self.best_model_path = ""
        self.best_model_score = None
        self.current_score = None
        self.kth_value = torch.tensor(float("-inf" if self.mode == "max" else "inf"))

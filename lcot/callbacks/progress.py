"""A progress bar of one line: the whole training, what is left of it, and what matters of the present epoch."""

from __future__ import annotations

import math
import time
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import RichProgressBar
from lightning.pytorch.callbacks.progress.rich_progress import CustomBarColumn
from rich.progress import ProgressColumn, Task, TaskID, TextColumn
from rich.table import Column
from rich.text import Text

_SHOWN = {"curriculum/stage": "stage", "train/loss_step": "loss", "val/accuracy": "acc"}
_BESIDE = 73
"""Columns that the line takes beside its bar, at most."""


class ReasoningProgressBar(RichProgressBar):
    """Rich bars that fit a terminal of 80 columns; that of ``fit`` covers all epochs, with what is left of them.

    Where the number of epochs is open, it covers the present one. Validations between epochs are counted in words, and
    their time is part of what is left.

    Args:
        refresh_rate: Refreshes a second, at most.
        leave: Keep a line for each finished epoch on the screen.
    """

    def __init__(self, refresh_rate: int = 5, leave: bool = False) -> None:
        super().__init__(refresh_rate=refresh_rate, leave=leave)
        self._before = 0  # batches of the epochs that are over
        self._began: tuple[float, int] | None = None  # when, and with how many batches, this process began to train

    def configure_columns(self, trainer: L.Trainer) -> list[Any]:
        """What the line holds before its metrics."""
        assert self._console is not None
        width = max(6, min(40, self._console.width - _BESIDE))
        return [
            TextColumn("{task.description}", table_column=_column()),
            CustomBarColumn(
                bar_width=width,
                complete_style=self.theme.progress_bar,
                finished_style=self.theme.progress_bar_finished,
                pulse_style=self.theme.progress_bar_pulse,
            ),
            _Share(table_column=_column()),
            _Left(self, table_column=_column()),
        ]

    def get_metrics(self, trainer: L.Trainer, pl_module: L.LightningModule) -> dict[str, Any]:
        """The metrics behind the bar."""
        found = super().get_metrics(trainer, pl_module)
        return {name: _brief(key, found[key]) for key, name in _SHOWN.items() if key in found}

    def left(self, task: Task) -> float | None:
        """Seconds that a task will take; those of training include its validations."""
        if task.id != self.train_progress_bar_id or self._began is None or task.total is None:
            return task.time_remaining
        when, first = self._began
        done, total = task.completed - first, task.total - task.completed
        return (time.monotonic() - when) / done * total if done > 0 and math.isfinite(total) else None

    # -- one line ---------------------------------------------------------------------------------------------------

    def _init_progress(self, trainer: L.Trainer) -> None:
        super()._init_progress(trainer)
        if self._metric_component is not None:
            self._metric_component._table_column = _column()

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Go on with the same bar."""
        if self.is_disabled:
            return
        if self.train_progress_bar_id is not None and (self._leave or not self._is_whole()):
            self._stop_progress()
            self._init_progress(trainer)
        if self.train_progress_bar_id is None:
            self._initialize_train_progress_bar_id()
        self._describe(self._get_train_description(trainer.current_epoch))

    def on_validation_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Within ``fit`` there is no bar for it."""
        if trainer.state.fn == "fit":
            self.has_dataloader_changed(dataloader_idx)  # which counts that loader's batches from now on
        else:
            super().on_validation_batch_start(trainer, pl_module, batch, batch_idx, dataloader_idx)

    def on_validation_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Count it where the epoch stands."""
        if trainer.state.fn == "fit":
            self._describe(f"validating {batch_idx + 1}/{self.total_val_batches_current_dataloader}")
        else:
            super().on_validation_batch_end(trainer, pl_module, outputs, batch, batch_idx, dataloader_idx)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Show what it gave."""
        super().on_validation_end(trainer, pl_module)
        if trainer.state.fn == "fit":
            self._describe(self._get_train_description(trainer.current_epoch))

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Leave the line as it is: what follows is written below it."""
        self._stop_progress()

    def _is_whole(self) -> bool:
        """Whether the bar covers all epochs."""
        epochs = self.trainer.max_epochs
        return epochs is not None and epochs > 0 and math.isfinite(self.total_train_batches)

    def _initialize_train_progress_bar_id(self) -> None:
        batches = self.total_train_batches
        whole = self._is_whole()
        self._before = int(self.trainer.current_epoch * batches) if whole else 0
        done = self._before + self.trainer.fit_loop.epoch_loop.batch_progress.current.ready
        assert self.progress is not None
        self.train_progress_bar_id = self.progress.add_task(
            self._get_train_description(self.trainer.current_epoch),
            total=batches * (self.trainer.max_epochs or 1) if whole else batches,
            completed=done,
        )
        self._began = (time.monotonic(), done)

    def _update(self, progress_bar_id: TaskID | None, current: int, visible: bool = True, hard: bool = False) -> None:
        if progress_bar_id is not None and progress_bar_id == self.train_progress_bar_id and self._is_whole():
            current += int(self.trainer.current_epoch * self.total_train_batches)
        super()._update(progress_bar_id, current, visible, hard)

    def _describe(self, text: str) -> None:
        if self.progress is not None and self.train_progress_bar_id is not None:
            self.progress.update(self.train_progress_bar_id, description=text)
            self.refresh()

    def _get_train_description(self, current_epoch: int) -> str:
        epochs = self.trainer.max_epochs
        last = f"/{epochs - 1}" if epochs is not None and epochs > 0 else ""
        return f"{f'epoch {current_epoch}{last}':<{len('validating 1/1')}}"


class _Share(ProgressColumn):
    """How much is done, in per cent."""

    def render(self, task: Task) -> Text:
        known = task.total is not None and math.isfinite(task.total)
        return Text(f"{int(task.percentage):>3} %" if known else f"{int(task.completed)}")


class _Left(ProgressColumn):
    """What is left, in time."""

    max_refresh = 0.5

    def __init__(self, bar: ReasoningProgressBar, **further: Any) -> None:
        super().__init__(**further)
        self._bar = bar

    def render(self, task: Task) -> Text:
        left = self._bar.left(task)
        return Text(f"{clock(left) if left is not None else '-:--':>5} left", style="dim")


def clock(seconds: float) -> str:
    """``6:40``, or ``1:06:40``."""
    hours, rest = divmod(round(seconds), 3600)
    minutes, rest = divmod(rest, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _brief(key: str, value: Any) -> str:
    if key == "curriculum/stage":
        return f"{value:.0f}"
    return f"{100 * value:.1f} %" if key == "val/accuracy" else f"{value:.3f}"


def _column() -> Column:
    return Column(no_wrap=True, overflow="ellipsis")

"""Which files are written, what they hold, and that none is ever half there."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch

from lcot.callbacks import BestCheckpoint, LastCheckpoint
from lcot.errors import UserError
from tests.training import stages, tiny_data, tiny_module, tiny_trainer


class Steps(L.Callback):
    """What last.ckpt holds behind each batch and after each epoch."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "last.ckpt"
        self.found: list[int] = []

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        saved = torch.load(self.file, weights_only=True)["global_step"] if self.file.exists() else 0
        self.found.append(saved)


@pytest.mark.parametrize(
    ("every", "accumulate", "found"),
    [
        (0, 1, [0, 0, 0, 3, 3, 3, 6, 6, 6]),
        # A third batch is the last of its epoch: its checkpoint follows validation.
        (1, 1, [0, 1, 2, 3, 4, 5, 6, 7, 8]),
        (2, 1, [0, 0, 2, 3, 4, 4, 6, 6, 8]),
        # Two batches a step, and one for the third: nothing is written between batches that belong together.
        (1, 2, [0, 0, 1, 2, 2, 3, 4, 4, 5]),
    ],
)
def test_when_last_is_written(tmp_path: Path, every: int, accumulate: int, found: list[int]) -> None:
    watch = Steps(tmp_path)
    last = LastCheckpoint(str(tmp_path), every_n_steps=every)
    trainer = tiny_trainer(tmp_path, stages(), watch, last, accumulate_grad_batches=accumulate)
    trainer.fit(tiny_module(), datamodule=tiny_data())
    assert watch.found == found


def test_last_by_the_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    watch, now = Steps(tmp_path), [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])

    class Clock(L.Callback):
        def on_train_batch_start(
            self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
        ) -> None:
            now[0] += 40

    last = LastCheckpoint(str(tmp_path), every_n_minutes=1)
    trainer = tiny_trainer(tmp_path, stages(max_stage=0), watch, Clock(), last, max_epochs=1)
    trainer.fit(tiny_module(), datamodule=tiny_data())
    assert watch.found == [0, 0, 2]


def test_a_trial_run_writes_nothing(tmp_path: Path) -> None:
    callbacks = BestCheckpoint(str(tmp_path)), LastCheckpoint(str(tmp_path), every_n_steps=1)
    tiny_trainer(tmp_path, stages(), *callbacks, fast_dev_run=True).fit(tiny_module(), datamodule=tiny_data())
    assert not list(tmp_path.glob("*.ckpt"))


@pytest.mark.parametrize("interval", [{"every_n_steps": -1}, {"every_n_minutes": -0.5}])
def test_negative_intervals(interval: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="negative"):
        LastCheckpoint(**interval)

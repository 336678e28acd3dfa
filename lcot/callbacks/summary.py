"""What ``fit`` says before it begins and when it is over: one block each."""

from __future__ import annotations

import logging
import math
import os
import shlex
import time
from collections.abc import Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import TensorBoardLogger

from lcot.datamodules.base import ReasoningDataModule
from lcot.errors import DataError
from lcot.modules.own import code_of
from lcot.reasoning.curriculum import StageClock, find_clock
from lcot.runs.endings import whole_epochs
from lcot.runs.files import read_json
from lcot.runs.folder import RunFolder
from lcot.runs.record import device_name

_log = logging.getLogger("lcot")

BOARD = "http://localhost:6006/#custom_scalars&_smoothingWeight=0"
"""TensorBoard's page of a run's curves, unsmoothed: a stage's first values are what one looks for."""

_STAGES = 8
"""Stages of which the accuracy is listed; of more, the last ones."""


class RunSummary(Callback):
    """Tells what is trained on what, how long it will take, and afterwards what came out and where it is.

    Args:
        folder: The run's folder.
    """

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder
        self._best: dict[int, float] = {}
        self._began: tuple[float, int] | None = None  # when this process began to train, and with which epoch

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """The block before the first step."""
        self._began = (time.monotonic(), trainer.current_epoch)
        trial = bool(getattr(trainer, "fast_dev_run", False))
        rows = {
            "model": _model(pl_module),
            **_data(trainer),
            "stages": _stages(trainer),
            "device": _device(trainer),
        }
        where = "a trial that writes nothing" if trial else f"in {self.folder.path}"
        _say(f"training {self.folder.path.name}, {where}", rows)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Remember the stage's best accuracy."""
        found = trainer.callback_metrics.get("val/accuracy")
        if trainer.sanity_checking or trainer.state.fn != "fit" or found is None:
            return
        clock = find_clock(getattr(trainer, "callbacks", []))
        stage = clock.final_stage(trainer.current_epoch) if clock is not None else 0
        self._best[stage] = max(self._best.get(stage, 0.0), float(found))

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """After the first whole epoch of this start, how long the others will take."""
        if self._began is None or trainer.max_epochs is None or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        when, first = self._began
        left = trainer.max_epochs - trainer.current_epoch - 1
        if trainer.current_epoch == first and left > 0:
            took = time.monotonic() - when
            more = " or more" if _lengthens(trainer) else ""
            _log.info("the first epoch took %s: about %s%s for the other %d", span(took), span(took * left), more, left)

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """The block when all is written; none if there was nothing to train."""
        if self._began is None:
            return
        if trainer.fast_dev_run:  # type: ignore[attr-defined]
            batches = f"{trainer.global_step} step{'s' * (trainer.global_step != 1)} of training in the last stage"
            _log.info("the trial went well: %s, and a validation; nothing was kept", batches)
            return
        epochs = whole_epochs(trainer)
        planned = trainer.max_epochs or -1
        of = f" of {planned}" if epochs < planned else ""
        head = f"{'stopped after' if of else 'done:'} {epochs}{of} epochs, {trainer.global_step:,} steps"
        rows = {"best": self._accuracies(), "cost": self._cost()}
        if trainer.is_global_zero:
            rows |= {
                "checkpoint": _checkpoint(self.folder),
                "next": shlex.join(["lcot", "test", "-c", str(self.folder.config), *_code(trainer, pl_module)]),
            }
            if any(isinstance(logger, TensorBoardLogger) for logger in trainer.loggers):
                rows["curves"] = f"tensorboard --logdir {shlex.quote(str(self.folder.path.parent))}"
                rows[""] = BOARD
        _say(head, rows)

    def state_dict(self) -> dict[str, Any]:
        """The stages' best accuracies, for a run that is continued."""
        return {"best": {str(stage): value for stage, value in self._best.items()}}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take them up."""
        self._best = {int(stage): value for stage, value in state_dict.get("best", {}).items()}

    def _accuracies(self) -> str:
        found = sorted(self._best.items())[-_STAGES:]
        if not found:
            return ""
        shown = ", ".join(f"{100 * value:.1f}" for _, value in found)
        stages = f", stages {found[0][0]} to {found[-1][0]}" if len(found) > 1 else ""
        return f"{shown} % in validation{stages}"

    def _cost(self) -> str:
        try:
            record: Mapping[str, Any] = read_json(self.folder.cost, fix="")
        except DataError:
            return ""
        seconds, peaks = record.get("wall_seconds"), record.get("peak_memory_bytes") or {}
        parts = [] if seconds is None else [f"{span(seconds)} of training"]
        names = {"rss": "memory", "cuda": "GPU memory"}
        used = [(peaks[name] / 2**20, words) for name, words in names.items() if peaks.get(name)]
        parts += [f"at most {size:,.0f} MiB of {words}" for size, words in used]
        return ", ".join(parts)


def span(seconds: float) -> str:
    """``48 s``, ``9 min``, ``2 h 5 min``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def _code(trainer: L.Trainer, pl_module: L.LightningModule) -> list[str]:
    """How a command names the files of classes of one's own: a run's config alone has none imported."""
    clock = find_clock(getattr(trainer, "callbacks", []))
    made = [pl_module, trainer.datamodule, clock and clock.schedule, *trainer.optimizers]  # type: ignore[attr-defined]
    others = [*getattr(trainer, "callbacks", []), *trainer.loggers]
    return [f"--code={file}" for file in code_of(one for one in (*made, *others) if one is not None)]


def _say(head: str, rows: Mapping[str, str]) -> None:
    _log.info("\n".join([head, *(f"  {name:<11} {text}" for name, text in rows.items() if text)]))


def _model(module: L.LightningModule) -> str:
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in module.parameters()]
    trained = sum(size for size, wanted in sizes if wanted)
    frozen = sum(size for size, wanted in sizes if not wanted)
    config = getattr(getattr(module, "model", None), "config", None)
    kind = f" of {config.model_type}" if config is not None else ""
    return f"{type(module).__name__}{kind}, {trained:,} parameters trained, {frozen:,} frozen"


def _data(trainer: L.Trainer) -> dict[str, str]:
    data: Any = getattr(trainer, "datamodule", None)
    if not isinstance(data, ReasoningDataModule):
        return {"data": type(data).__name__}
    counts = [len(data.source(split)) for split in ("train", "val")]
    batches, ranks = trainer.num_training_batches, trainer.world_size
    each = f" on each of {ranks} processes" if ranks > 1 else ""
    return {
        "data": f"{type(data).__name__}, {counts[0]:,} examples and {counts[1]:,} for validation",
        "an epoch": f"{batches:,} batches of {data.batch_size}{each}" if math.isfinite(batches) else "",
    }


def _stages(trainer: L.Trainer) -> str:
    clock, epochs = find_clock(getattr(trainer, "callbacks", [])), trainer.max_epochs or -1
    if clock is None:
        return f"{epochs} epochs"
    if epochs < 0:
        return f"{clock.schedule.last_stage + 1}, and no last epoch"
    runs = [(stage, len(list(group))) for stage, group in groupby(range(epochs), clock.final_stage)]
    if len(runs) == 1:
        return f"1, {epochs} epoch{'s' * (epochs != 1)}"
    listed = ", ".join(str(count) for _, count in runs) if len(runs) <= _STAGES else f"{runs[0][1]}, …, {runs[-1][1]}"
    return f"{len(runs)} in {epochs} epochs ({listed})"


def _device(trainer: L.Trainer) -> str:
    device: torch.device = trainer.strategy.root_device
    threads = torch.get_num_threads()
    parts = [f"{trainer.world_size} x " * (trainer.world_size > 1) + f"{device.type} ({device_name(device)})"]
    parts += [f"{threads} thread{'s' * (threads != 1)}"] if device.type == "cpu" else []
    return ", ".join([*parts, f"precision {trainer.precision}"])


def _checkpoint(folder: RunFolder) -> str:
    path = folder.own_checkpoint()
    return "" if path is None else os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)


def _lengthens(trainer: L.Trainer) -> bool:
    clock: StageClock | None = find_clock(getattr(trainer, "callbacks", []))
    return clock is not None and clock.schedule.last_stage > 0 and clock.schedule.kind == "continuous"

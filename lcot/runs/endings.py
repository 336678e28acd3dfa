"""How a training ends before its schedule does: what has to be known then, and who asked for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import EarlyStopping, Timer

from lcot.reasoning.curriculum import find_clock


def is_cut(trainer: L.Trainer) -> bool:
    """Whether the epoch that ends has more batches: ``max_time``, or somebody's ``trainer.should_stop``, ended it.

    Such an epoch is none. It goes on where it was left, and what is measured of it so far is no epoch's.
    """
    progress = trainer.fit_loop.epoch_loop.batch_progress
    return not progress.is_last_batch and 0 < progress.current.ready < trainer.num_training_batches


def whole_epochs(trainer: L.Trainer) -> int:
    """How many epochs training has done: one that was cut is none, though Lightning counts it."""
    epochs: Any = trainer.fit_loop.epoch_progress.current
    return int(epochs.processed) - (is_cut(trainer) and epochs.processed == epochs.ready)


def is_between_steps(trainer: L.Trainer) -> bool:
    """Whether gradients of accumulated batches wait for their step: no checkpoint holds them."""
    ready = trainer.fit_loop.epoch_loop.batch_progress.current.ready
    return is_cut(trainer) and ready % trainer.accumulate_grad_batches != 0


def put_back(loop: dict[str, Any]) -> None:
    """Make the progress of an epoch that was cut that behind its last batch, where Lightning counts it as over.

    Args:
        loop: The state of the trainer's fit loop, as a checkpoint holds it; changed in place.
    """
    epochs, batches = loop["epoch_progress"], loop["epoch_loop.batch_progress"]
    if epochs["current"]["processed"] == epochs["current"]["ready"]:
        for counted in (epochs["total"], epochs["current"]):
            counted["processed"] -= 1
        for counted in (batches["total"], batches["current"]):
            counted["completed"] = counted["processed"] - 1
        loop["epoch_loop.state_dict"]["_batches_that_stepped"] -= 1


def has_ended(trainer: L.Trainer) -> bool:
    """Whether training came to the end of its schedule; one without a number of epochs ends in its last stage."""
    epochs = whole_epochs(trainer)
    if is_cut(trainer):
        return False
    if trainer.max_epochs is None or trainer.max_epochs < 0:
        clock = find_clock(getattr(trainer, "callbacks", []))
        return clock is None or clock.final_stage(max(0, epochs - 1)) >= clock.schedule.last_stage
    return epochs >= trainer.max_epochs


def how_it_ended(trainer: L.Trainer) -> dict[str, Any]:
    """``finished``, and ``ended_by``: who ended it before, in words."""
    finished = has_ended(trainer)
    return {"finished": finished, "ended_by": None if finished else ended_by(trainer)}


def ended_by(trainer: L.Trainer) -> str:
    """Who ended a training before its schedule did, and where, in words."""
    clock = find_clock(getattr(trainer, "callbacks", []))
    epochs = whole_epochs(trainer)
    planned = f" of {trainer.max_epochs}" if trainer.max_epochs and trainer.max_epochs > 0 else ""
    said = f"{_asker(trainer)} after {epochs}{planned} epochs and {trainer.global_step:,} steps"
    if clock is not None:
        stage = clock.final_stage(max(0, epochs - (not is_cut(trainer))))
        said += f", in stage {stage} of {clock.schedule.last_stage}"
    return said


def ended_before(trainer: L.Trainer, patience: Mapping[EarlyStopping, int]) -> bool:
    """Whether a training that continues had been ended by an early stopping, which would have it end now too.

    Args:
        trainer: With the states of its callbacks restored; Lightning restores the patience too, over what is set.
        patience: The one that is set, which counts.
    """
    ended = False
    for callback, wanted in patience.items():
        out_of_patience = 0 < callback.wait_count >= callback.patience
        callback.patience = wanted
        if out_of_patience and callback.wait_count < wanted:
            callback.stopped_epoch = 0
        ended = ended or _has_stopped(callback)
    return ended


def shortened(trainer: L.Trainer) -> Iterator[str]:
    """What to say as training starts about settings that make it shorter than its data and its schedule are."""
    if getattr(trainer, "fast_dev_run", False):
        return  # it is what was asked for
    clock = find_clock(getattr(trainer, "callbacks", []))
    loader: Any = trainer.train_dataloader
    if trainer.num_training_batches < len(loader):
        batches = f"{trainer.num_training_batches} of {len(loader)}"
        yield f"limit_train_batches is {trainer.limit_train_batches}: an epoch has {batches} batches"
    limit = trainer.limit_val_batches
    if limit and (isinstance(limit, int) or limit < 1.0):
        yield f"limit_val_batches is {limit}: checkpoints are chosen by a part of the questions"
    if clock is None or trainer.max_epochs is None or trainer.max_epochs < 1:
        return
    stages = [clock.final_stage(epoch) for epoch in range(trainer.max_epochs)]
    if stages[-1] < clock.schedule.last_stage:
        yield f"max_epochs is {trainer.max_epochs}: training ends in stage {stages[-1]} of {clock.schedule.last_stage}"
    planned, given = clock.schedule.epochs_planned(stages[-1]), stages.count(stages[-1])
    if planned is not None and given < planned:
        yield f"max_epochs is {trainer.max_epochs}: stage {stages[-1]} gets {given} of its {planned} epochs"
    every, validated = trainer.check_val_every_n_epoch, trainer.limit_val_batches != 0
    if every is not None:
        validated = validated and stages[-1] in stages[every - 1 :: every]
    if not validated:
        why = f"check_val_every_n_epoch is {every}" if trainer.limit_val_batches else "limit_val_batches is 0"
        yield f"{why}: no epoch of stage {stages[-1]}, the last one, is validated, so last.ckpt will be taken"


def _asker(trainer: L.Trainer) -> str:
    callbacks = getattr(trainer, "callbacks", [])
    for callback in callbacks:
        if isinstance(callback, Timer) and (left := callback.time_remaining()) is not None and left <= 0:
            return "max_time"
    stopping = next((callback for callback in callbacks if _has_stopped(callback)), None)
    return type(stopping).__name__ if stopping is not None else "trainer.should_stop"


def _has_stopped(callback: object) -> bool:
    if not isinstance(callback, EarlyStopping):
        return False
    return callback.stopped_epoch > 0 or 0 < callback.wait_count >= callback.patience

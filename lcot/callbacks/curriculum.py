"""The curriculum's place in a run: it tells the stage of an epoch, and does what a change of stage entails."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, Literal

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.trainer.states import TrainerFn

from lcot.errors import UserError
from lcot.modules.base import ReasoningModule
from lcot.reasoning.curriculum import Curriculum, StageClock
from lcot.reasoning.dialogue import Dialogue
from lcot.reasoning.forced import Forced

_log = logging.getLogger("lcot")


class CurriculumCallback(Callback, StageClock):
    """Owns the schedule.

    Samplers pull epoch and stage from here when they start an epoch; nothing is ever pushed into a loader, so resumed
    runs, prefetching workers and ranks agree (the loops' own counters lag behind at that moment after a resume).

    Args:
        schedule: The curriculum.
        reset_optimizer: When the optimizer forgets its moments: ``stage`` (the paper), ``epoch`` (the released code),
            or ``none``. The learning-rate schedule goes on.
        eval_stage: Stage for validate, test and predict; ``None`` for the stage of the loaded checkpoint, or the last
            one without a checkpoint. No effect in fit, which validates in the stage it trains.
        eval_thoughts: Number of thoughts for validate, test and predict, whatever the stage; ``None`` for the stage's
            own. A model that was not trained with this number (stages that are mixed see several,
            -c coconut_mixed) answers at once or writes nonsense; one line says so. No effect in fit.

    Raises:
        UserError: If ``reset_optimizer`` is unknown, ``eval_stage`` does not exist, or ``eval_thoughts`` is impossible.
    """

    def __init__(
        self,
        schedule: Curriculum,
        reset_optimizer: Literal["none", "stage", "epoch"] = "stage",
        eval_stage: int | None = None,
        eval_thoughts: int | None = None,
    ) -> None:
        if reset_optimizer not in ("none", "stage", "epoch"):
            raise UserError.unknown("reset_optimizer", str(reset_optimizer), ["none", "stage", "epoch"])
        if eval_stage is not None and not 0 <= eval_stage <= schedule.last_stage:
            raise UserError(
                f"eval_stage is {eval_stage}",
                where="curriculum.eval_stage",
                why=f"the schedule has stages 0 to {schedule.last_stage}",
            )
        self.schedule = schedule
        self._forced = Forced(schedule, eval_thoughts) if eval_thoughts is not None else None
        self.eval_thoughts = eval_thoughts
        self.reset_optimizer = reset_optimizer
        self.eval_stage = eval_stage
        self._trainer: L.Trainer | None = None

    # -- StageClock -------------------------------------------------------------------------------------------------

    def epoch(self) -> int:
        """The number of finished epochs: right at any moment, where ``current_epoch`` lags while data is set up."""
        assert self._trainer is not None
        return int(self._trainer.fit_loop.epoch_progress.current.processed)  # type: ignore[attr-defined]

    def stage(self) -> int:
        """The stage of the epoch in fit; otherwise ``eval_stage``, or the checkpoint's, or the last."""
        trainer = self._trainer
        assert trainer is not None
        if trainer.state.fn == TrainerFn.FITTING:
            return self.final_stage(self.epoch())
        trained = getattr(trainer.lightning_module, "trained_stage", None)
        for choice in (self.eval_stage, trained):
            if choice is not None:
                return int(choice)
        return self.schedule.last_stage

    def training_stages(self) -> Callable[[int], int]:
        """The schedule's stages in the epoch that is about to be read."""
        epoch, batches = self.epoch(), self._batches_of_epoch()
        return lambda batch: self._stage_at(epoch, batch, batches)

    def final_stage(self, epoch: int) -> int:
        """The stage that an epoch ends in."""
        batches = self._batches_of_epoch()
        return self._stage_at(epoch, batches - 1, batches)

    def _stage_at(self, epoch: int, batch: int = 0, batches: int = 1) -> int:
        """The schedule's stage; in a trial (``trainer.fast_dev_run``) the last one, which has all that others have."""
        if getattr(self._trainer, "fast_dev_run", False):
            return self.schedule.last_stage
        return self.schedule.stage_at(epoch, batch, batches)

    def batches(self) -> int:
        """The number of batches of this epoch that are over, asked when the first of the others is fetched."""
        assert self._trainer is not None
        return int(self._trainer.fit_loop.epoch_loop.batch_progress.current.ready)

    # -- hooks ------------------------------------------------------------------------------------------------------

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Remember the trainer, and refuse a run that would end before the curriculum does.

        Raises:
            UserError: If it would, or if a classifier was asked for where there are no continuous thoughts.
        """
        self._trainer = trainer
        if stage != "fit" and self._forced is not None and self.schedule is not self._forced:
            if getattr(pl_module, "ends_thoughts", False):
                by = "halting" if getattr(pl_module, "halting", None) is not None else "thinker"
                raise UserError(
                    f"eval_thoughts is {self.eval_thoughts}, and model.{by} is set",
                    where=f"curriculum.eval_thoughts, model.{by}",
                    why=f"the {'classifier' if by == 'halting' else 'head'} decides how many thoughts there are",
                    fix="leave eval_thoughts out",
                )
            self.schedule = self._forced
        plain = self.schedule.kind == "continuous" and self.schedule.markers == "always"
        plain = plain and self.schedule.stepwise_passes
        if getattr(pl_module, "halting", None) is not None and not plain:
            raise UserError(
                f"model.halting is set with thoughts of kind {self.schedule.kind!r}, markers {self.schedule.markers!r}"
                f" and passes {'multiple' if self.schedule.stepwise_passes else 'single'!r}",
                where="model.halting and curriculum.schedule",
                why="the classifier decides at <bot> and at each continuous thought whether <eot> comes next",
                fix="set model.halting to null, or kind to 'continuous', markers to 'always' and passes to 'auto'",
            )
        if stage == "fit" and trainer.max_epochs and trainer.max_epochs > 0 and not getattr(trainer, "fast_dev_run", 0):
            self.schedule.check_reach(trainer.max_epochs)

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Warn of a number of thoughts that the model has never seen."""
        self._warn_of_new_numbers(trainer)

    def on_test_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Likewise."""
        self._warn_of_new_numbers(trainer)

    def on_predict_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Likewise."""
        self._warn_of_new_numbers(trainer)

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Reset the optimizer where asked for, and say which stage begins.

        The decision is a function of the epoch alone, so an epoch that a resumed run starts is treated as it was, or
        would have been, in an uninterrupted one. An epoch that is resumed in its middle does not come through here.
        """
        epoch = trainer.current_epoch
        stage = self._stage_at(epoch)
        changed = epoch > 0 and stage != self.final_stage(epoch - 1)
        if epoch == 0 or stage != self._stage_at(epoch - 1):
            _log.info("epoch %d: %s", epoch, self.schedule.describe(stage))
        if epoch > 0 and (self.reset_optimizer == "epoch" or (changed and self.reset_optimizer == "stage")):
            _reset(trainer)

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Log the stage beside the losses of its steps; reset the optimizer where it changes within an epoch."""
        epoch, batches = trainer.current_epoch, self._batches_of_epoch()
        stage = self._stage_at(epoch, batch_idx, batches)
        before = self._stage_at(epoch, max(0, batch_idx - 1), batches)
        if stage != before and self.reset_optimizer == "stage":
            _reset(trainer)
        pl_module.log("curriculum/stage", float(stage), prog_bar=True, on_step=True, on_epoch=False)
        thoughts = float(self.schedule.thoughts_at_inference(stage))
        pl_module.log("curriculum/thoughts", thoughts, on_step=True, on_epoch=False)

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Write down the stage, what inference does in it, and in whose words models are asked."""
        stage = self.final_stage(trainer.current_epoch)
        if trainer.state.fn != TrainerFn.FITTING and isinstance(pl_module, ReasoningModule):
            stage = pl_module.trained_stage if pl_module.trained_stage is not None else self.schedule.last_stage
        dialogue = getattr(getattr(trainer, "datamodule", None), "dialogue", None)
        entry = checkpoint.setdefault("lcot", {})
        entry.update(asked_by(self.schedule, stage, dialogue), world_size=trainer.world_size, threads=_threads(trainer))

    def on_load_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Refuse to go on with another number of processes, and tell of another number of threads.

        ``batch_size`` is that of one process, and the place in an epoch is counted in batches: with more or fewer of
        them, other rows would share an optimizer step, and within an epoch some would be left out or come twice.

        Raises:
            UserError: If the number is another one.
        """
        world = checkpoint.get("lcot", {}).get("world_size")
        if trainer.state.fn == TrainerFn.FITTING and world is not None and world != trainer.world_size:
            raise UserError(
                f"the checkpoint was trained with {world} processes, and there are {trainer.world_size} now",
                where="trainer.devices and trainer.num_nodes",
                why="other rows would share a step, and within an epoch some would be left out or come twice",
                fix=f"go on with {world}, or start another run with --name",
            )
        before, now = checkpoint.get("lcot", {}).get("threads"), _threads(trainer)
        if trainer.state.fn == TrainerFn.FITTING and None not in (before, now) and before != now:
            if trainer.is_global_zero:
                _log.warning(
                    "lcot: warning: the run had %s threads, and has %s now: sums are rounded in another order, so it"
                    " will not end in the same bits; --threads=%s",
                    before,
                    now,
                    before,
                )

    def _warn_of_new_numbers(self, trainer: L.Trainer) -> None:
        if trainer.state.fn == TrainerFn.FITTING or not isinstance(self.schedule, Forced):
            return
        known = self.schedule.numbers_trained(self.stage())
        if self.schedule.thoughts not in known and trainer.is_global_zero:
            _log.warning(
                "%d thoughts are new to this model: training ended with %s; see lcot configs coconut_mixed for"
                " one that knows several",
                self.schedule.thoughts,
                " or ".join(map(str, sorted(known))),
            )

    def _batches_of_epoch(self) -> int:
        assert self._trainer is not None
        batches = self._trainer.num_training_batches
        # Not known yet in a validation before the first epoch.
        return max(1, int(batches)) if math.isfinite(batches) else 1


def asked_by(schedule: Curriculum, stage: int, dialogue: Dialogue | None) -> dict[str, Any]:
    """What a checkpoint says of how its model is asked.

    Args:
        schedule: The curriculum.
        stage: The stage that it was trained to.
        dialogue: In whose words.
    """
    return {
        "stage": stage,
        "kind": schedule.kind,
        "markers": schedule.markers,
        "stepwise_passes": schedule.stepwise_passes,
        "lead": getattr(schedule, "lead", ""),
        "thoughts": schedule.thoughts_at_inference(stage),
        "dialogue": asdict(dialogue) if dialogue is not None else None,
    }


def _threads(trainer: L.Trainer) -> int | None:
    """Threads of a CPU's operators; ``None`` on another device, whose sums do not depend on them."""
    return torch.get_num_threads() if trainer.strategy.root_device.type == "cpu" else None


def _reset(trainer: L.Trainer) -> None:
    for optimizer in trainer.optimizers:
        optimizer.state.clear()

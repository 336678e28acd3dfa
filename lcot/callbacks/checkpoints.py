"""Checkpoints: the last state, always; the best one, per stage."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NoReturn

import lightning as L
import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.pytorch.callbacks import Checkpoint, ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities.exceptions import SIGTERMException

from lcot.errors import UserError
from lcot.metrics import CATEGORIES, EXTRACTORS, Category, accuracy_names
from lcot.metrics.problem_graph import has_graph
from lcot.modules.judging import SHARES
from lcot.reasoning.curriculum import find_clock
from lcot.signals import PatientInterrupt

_log = logging.getLogger("lcot")

_GOOD: tuple[Category, ...] = ("correct_path", "correct_label")

METRICS: dict[str, Literal["min", "max"]] = {
    "val/accuracy": "max",
    **dict.fromkeys((f"val/accuracy_{name}" for name in EXTRACTORS), "max"),
    "val/loss": "min",
    "val/tokens": "min",
    "val/thoughts": "min",
    "val/seconds": "min",
    "val/answered": "max",
    **{f"val/{SHARES[category]}": "max" if category in _GOOD else "min" for category in CATEGORIES},
}
"""What validation can report, and whether small or large values are good. ``accuracy_NAME`` is there if
``data.extractors`` names it behind the first, ``path_NAME`` if problems have graphs."""


class WholeFiles(TorchCheckpointIO):
    """Writes beside the target and moves it there: a killed process leaves the former file whole.

    Lightning writes to the system's folder for temporary files and moves from there, which is a copy, in pieces, if
    that is on another file system; it also holds a second copy of everything in memory.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Save a checkpoint to a local file."""
        if storage_options is not None:
            raise TypeError("WholeFiles takes no storage_options")
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(target.name + ".part")
        with part.open("wb") as file:
            torch.save(checkpoint, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, target)


class LastCheckpoint(Checkpoint):
    """``last.ckpt``: written at the end of each epoch, every few steps or minutes, and when the job is told to stop.

    It looks at no metric. (Lightning's ``save_last`` beside a monitored metric refreshes the file only when that metric
    improved, so a killed run could lose all epochs since.) The file is replaced in one move: a process that is killed
    while it writes leaves the former one whole.

    On SIGTERM, and on the command line's first Ctrl-C, all ranks finish the batch they are at, write the file together
    and end with ``SIGTERMException``, whose ``code`` is the signal's number. A validation that is broken off so is done
    again, from its first example, when the run continues. Under SLURM the signal to requeue (SIGUSR1) waits in the same
    way for the end of a batch; then Lightning requeues the job.

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
        self._saved_at = 0.0
        self._told_to_stop = False
        self._told_by: int = signal.SIGTERM
        self._told_to_requeue = False
        self._stopping = False
        self._requeue: Any = None
        self._common_batches = 0

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Have files written whole, and go behind all other callbacks: the file holds what they do as an epoch ends."""
        if type(trainer.strategy.checkpoint_io) is TorchCheckpointIO:
            trainer.strategy.checkpoint_io = WholeFiles()
        callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]
        # A new list: Lightning is walking over the old one.
        trainer.callbacks = sorted(callbacks, key=lambda callback: callback is self)  # type: ignore[attr-defined]

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the clock, and take the signals over; the trainer puts the former handlers back when it is done.

        Lightning's own handlers talk to the other ranks from within whatever they are doing, which deadlocks; that for
        SIGTERM stops between two accumulated batches, whose gradients no checkpoint holds, and that for SIGUSR1 saves
        in the middle of a step.
        """
        self._saved_at = time.monotonic()
        self._told_to_stop = bool(trainer.received_sigterm)
        self._told_by = signal.SIGTERM
        self._stopping = False
        if threading.current_thread() is not threading.main_thread():
            return
        signal.signal(signal.SIGTERM, self._note)
        self._answer_interrupts(self._note)
        if SLURMEnvironment.detect() and callable(handler := signal.getsignal(signal.SIGUSR1)):
            self._requeue = handler
            signal.signal(signal.SIGUSR1, self._note)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Write within the epoch if it is time."""
        # A checkpoint behind the last batch would lose the validation and all epoch-end hooks that follow it; one
        # between accumulated batches would lose their gradients.
        if trainer.fit_loop.epoch_loop.batch_progress.is_last_batch:
            return
        if (batch_idx + 1) % trainer.accumulate_grad_batches:
            return
        stop = self._agree(trainer, self._told_to_stop)
        due = bool(self.every_n_steps) and trainer.global_step % self.every_n_steps == 0
        if self.every_n_minutes and not due:
            # Clocks of ranks differ, and saving is something that they do together: rank 0 decides.
            waited = time.monotonic() - self._saved_at
            due = trainer.strategy.broadcast(waited >= 60 * self.every_n_minutes)
        requeue = self._requeue is not None and self._agree(trainer, self._told_to_requeue)
        if due or stop or requeue:
            self._save(trainer)
        if requeue:
            self._told_to_requeue = False
            self._requeue(signal.SIGUSR1, None)
        self._stopping = stop

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Stop, now that the last batch's curves are written too."""
        if self._stopping:
            self._stop(trainer)

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Learn how many batches every rank has: some have one more, and only together can they decide to stop."""
        batches = torch.tensor(float(sum(_listed(trainer.num_val_batches))), device=trainer.strategy.root_device)
        self._common_batches = int(torch.as_tensor(trainer.strategy.reduce(batches, reduce_op="min")))

    def on_validation_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Break the validation of a run off if the job is told to stop: it may well take longer than we are given."""
        if trainer.state.fn != "fit" or trainer.sanity_checking or batch_idx >= self._common_batches:
            return
        if self._agree(trainer, self._told_to_stop):
            self._save(trainer)
            self._stop(trainer)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write at the end of each epoch."""
        self._save(trainer)
        if self._agree(trainer, self._told_to_stop):
            self._stop(trainer)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """From now on there is nothing to save."""
        self._answer_interrupts(None)

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Likewise."""
        self._answer_interrupts(None)

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Have a validation that was begun, or is due, done from its first batch when the run continues.

        Lightning would leave out one that is due, and count only some examples of one that was begun.
        """
        begun = {"ready": 1, "started": 1, "processed": 0, "completed": 0}
        progress = checkpoint["loops"]["fit_loop"]["epoch_loop.val_loop.batch_progress"]
        progress.update(total=dict(begun), current=dict(begun), is_last_batch=False)

    def _note(self, signum: int, frame: object) -> None:
        if signum == signal.SIGUSR1:
            self._told_to_requeue = True
        else:
            self._told_to_stop, self._told_by = True, signum

    def _answer_interrupts(self, ask: Callable[[int, object], object] | None) -> None:
        handler = signal.getsignal(signal.SIGINT)
        if isinstance(handler, PatientInterrupt):
            handler.ask = ask

    def _stop(self, trainer: L.Trainer) -> NoReturn:
        if not getattr(trainer, "fast_dev_run", False):
            _log.info("saved %s: epoch %d, step %d", self._file(trainer), trainer.current_epoch, trainer.global_step)
        raise SIGTERMException(self._told_by)

    def _agree(self, trainer: L.Trainer, mine: bool) -> bool:
        return bool(trainer.strategy.reduce_boolean_decision(mine, all=False))

    def _file(self, trainer: L.Trainer) -> Path:
        return Path(self.dirpath or Path(trainer.default_root_dir) / "checkpoints") / "last.ckpt"

    def _save(self, trainer: L.Trainer) -> None:
        if getattr(trainer, "fast_dev_run", False):
            return
        trainer.save_checkpoint(self._file(trainer), weights_only=False)
        self._saved_at = time.monotonic()
        # A run that goes on from here must not lack the curves up to here.
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.experiment.flush()


class BestCheckpoint(ModelCheckpoint):
    """The best checkpoint of each stage, by a validation metric.

    The record starts anew with each stage: otherwise an easy early stage (full chains of thought) would own "best" for
    good, and the released code's advice is indeed to pick among the epochs of the final stage only. Under a schedule
    that moves with every epoch (iCoT) those of former stages are deleted.

    Args:
        dirpath: The run's ``checkpoints`` folder; the command line fills it in.
        monitor: The metric.
        mode: Whether large (``max``) or small values (``min``) are good; ``None`` knows it of validation's metrics.
        keep: How many checkpoints of each stage to keep.

    Raises:
        UserError: If ``mode`` would keep the worst, or is needed: for a metric that is not validation's own.
    """

    def __init__(
        self,
        dirpath: str | None = None,
        monitor: str = "val/accuracy",
        mode: Literal["min", "max"] | None = None,
        keep: int = 1,
    ) -> None:
        known = METRICS.get(monitor)
        if known is not None and mode not in (None, known):
            raise UserError(
                f"mode is {mode!r}",
                where="best_checkpoint.mode",
                why=f"it would keep the checkpoints with the worst {monitor}",
                fix=f"leave it out, or use {known!r}",
            )
        mode = mode or known
        if mode is None:
            raise UserError(
                f"mode is not set, and {monitor!r} is no metric of validation",
                where="best_checkpoint.mode",
                fix="say whether large values are good ('max') or small ones ('min')",
            )
        super().__init__(
            dirpath=dirpath,
            filename="best-stage0-epoch{epoch:03d}",
            monitor=monitor,
            mode=mode,
            save_top_k=keep,
            auto_insert_metric_name=False,
            save_on_train_epoch_end=True,
            enable_version_counter=False,  # an epoch that is done again after a kill replaces its file
        )
        self._stage: int | None = None
        self._validated = False
        self._former: list[str] = []  # best ones of former stages, to be removed

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Make sure that an accuracy by a certain extractor, or a category of paths, is one that the data set reports.

        Raises:
            UserError: If it does not: no checkpoint would ever be the best.
        """
        super().setup(trainer, pl_module, stage)
        data: Any = getattr(trainer, "datamodule", None)
        if stage == "fit" and data is not None and str(self.monitor).startswith("val/path_"):
            examples = data.source("val")
            if not any(has_graph(examples.example(index, 0)) for index in range(len(examples))):
                raise UserError(
                    f"{self.monitor} is not reported",
                    where="best_checkpoint.monitor",
                    why="the validation examples carry no graph that a path could be judged by",
                    fix="monitor val/accuracy",
                )
        extractors = getattr(data, "extractors", None)
        if stage != "fit" or extractors is None or not str(self.monitor).startswith("val/accuracy"):
            return
        reported = [f"val/{name}" for name in accuracy_names(extractors)]
        if self.monitor not in reported:
            raise UserError(
                f"{self.monitor} is not reported",
                where="best_checkpoint.monitor",
                why=f"data.extractors is [{', '.join(extractors)}], which gives {', '.join(reported)}",
                fix="monitor one of these, or name the extractor in data.extractors behind the first",
            )

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Remember that this epoch has a metric of its own."""
        self._validated = not trainer.sanity_checking

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Forget the former stage's record, then save as usual."""
        clock = find_clock(getattr(trainer, "callbacks", []))
        if clock is not None:
            stage = clock.final_stage(trainer.current_epoch)
            if stage != self._stage:
                if not clock.schedule.keeps_stages:
                    self._former += self.best_k_models
                self._forget()
            self._stage = stage
            self.filename = f"best-stage{stage}-epoch{{epoch:03d}}"
        # Metrics outlive their epoch: in one without validation, this would be the value of another epoch or stage.
        validated, self._validated = self._validated, False
        if self.monitor in trainer.callback_metrics and (validated or not str(self.monitor).startswith("val/")):
            super().on_train_epoch_end(trainer, pl_module)
        if self.best_k_models:  # only now that a new one is written
            for path in self._former:
                trainer.strategy.remove_checkpoint(path)
            self._former = []

    def state_dict(self) -> dict[str, Any]:
        """The record, its stage and its direction, in types that ``weights_only`` loading accepts."""
        return {**super().state_dict(), "stage": self._stage, "mode": self.mode, "former": list(self._former)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the record; of a run whose folder was moved or copied, as far as its files are there."""
        self._stage = state_dict.get("stage")
        # By name in this run's own folder: a run that was copied must not remove files of the one that it comes from.
        own = [Path(self.dirpath or "") / Path(path).name for path in state_dict.get("former", [])]
        self._former = [str(path) for path in own if path.is_file()]
        if self.dirpath is not None and state_dict.get("dirpath") != self.dirpath:
            state_dict = {**state_dict, **self._moved(state_dict["best_k_models"], self.dirpath)}
        super().load_state_dict(state_dict)

    def _moved(self, recorded: dict[str, Any], folder: Any) -> dict[str, Any]:
        files = {str(Path(folder) / Path(path).name): score for path, score in recorded.items()}
        files = {path: score for path, score in files.items() if Path(path).exists()}
        ranked = sorted(files, key=lambda path: float(files[path]), reverse=self.mode == "max")
        best, worst = (ranked[0], ranked[-1]) if ranked else ("", "")
        return {
            "dirpath": folder,
            "best_k_models": files,
            "best_model_path": best,
            "best_model_score": files.get(best),
            "kth_best_model_path": worst,
            "kth_value": files.get(worst, torch.tensor(float("-inf" if self.mode == "max" else "inf"))),
            "last_model_path": "",
        }

    def _forget(self) -> None:
        self.best_k_models = {}
        self.kth_best_model_path = ""
        self.best_model_path = ""
        self.best_model_score = None
        self.current_score = None
        self.kth_value = torch.tensor(float("-inf" if self.mode == "max" else "inf"))


def _listed(value: Any) -> list[float]:
    return value if isinstance(value, list) else [value]

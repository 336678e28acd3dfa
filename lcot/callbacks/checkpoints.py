"""The last state of a training: written so that it is whole at any moment, and asked for by signals."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import lightning as L
import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.pytorch.callbacks import Checkpoint, EarlyStopping
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities.exceptions import SIGTERMException

from lcot.callbacks.whole_files import WholeFiles, check_finite
from lcot.errors import UserError
from lcot.runs.endings import ended_before, is_between_steps, is_cut, put_back
from lcot.signals import PatientInterrupt, is_heard, let_go, terminals

_log = logging.getLogger("lcot")


class LastCheckpoint(Checkpoint):
    """``last.ckpt``: written at the end of each epoch, every few steps or minutes, and when the job is told to stop.

    It looks at no metric. (Lightning's ``save_last`` beside a monitored metric refreshes the file only when that metric
    improved, so a killed run could lose all epochs since.) The file is replaced in one move: a process that is killed
    while it writes leaves the former one whole.

    On SIGTERM, on SIGHUP (a terminal that is closed), and on the command line's first Ctrl-C, all ranks finish the
    batch they are at, write the file together and end with ``SIGTERMException``, whose ``code`` is the signal's number.
    A validation that is broken off so is done again, from its first example, when the run continues. Under SLURM the
    signal to requeue (SIGUSR1) waits in the same way for the end of a batch; then Lightning requeues the job.

    Where ``max_time`` or a callback's ``trainer.should_stop`` ends training within an epoch, the file holds the state
    there, so that a run that continues does the rest of that epoch. It ends behind a whole optimizer step: a stop that
    is asked for between accumulated batches waits for it.

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
        self._terminals: list[int] = []
        self._stopping = False
        self._ends = False  # somebody has set trainer.should_stop, and its step is not over
        self._saved_cut = False
        self._patience: dict[EarlyStopping, int] = {}
        self._requeue: Any = None
        self._common_batches = 0

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Have files written whole, and go behind all other callbacks: the file holds what they do as an epoch ends."""
        if type(trainer.strategy.checkpoint_io) is TorchCheckpointIO:
            trainer.strategy.checkpoint_io = WholeFiles()
        callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]
        self._patience = {one: one.patience for one in callbacks if isinstance(one, EarlyStopping)}
        # A new list: Lightning is walking over the old one.
        trainer.callbacks = sorted(callbacks, key=lambda callback: callback is self)  # type: ignore[attr-defined]

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """End at once a run that an early stopping had ended: each time that it continues it would train an epoch."""
        if ended_before(trainer, self._patience):
            trainer.should_stop = True

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the clock, and take the signals over; the trainer puts the former handlers back when it is done.

        Lightning's own handlers talk to the other ranks from within whatever they are doing, which deadlocks; that for
        SIGTERM stops between two accumulated batches, whose gradients no checkpoint holds, and that for SIGUSR1 saves
        in the middle of a step.
        """
        self._saved_at = time.monotonic()
        self._told_to_stop = bool(trainer.received_sigterm)
        self._told_by = signal.SIGTERM
        self._stopping = self._ends = self._saved_cut = False
        if threading.current_thread() is not threading.main_thread():
            return
        self._terminals = terminals()
        signal.signal(signal.SIGTERM, self._note)
        # One that is ignored stays so: who starts a training with nohup wants it to outlive the terminal.
        if is_heard(signal.SIGHUP):
            signal.signal(signal.SIGHUP, self._note)
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
            self._ends, trainer.should_stop = self._ends or trainer.should_stop, False
            return
        stop = self._agree(trainer, self._told_to_stop or self._ends or trainer.should_stop)
        if stop and not self._agree(trainer, self._told_to_stop):
            stop, trainer.should_stop = False, True
        # Now, for what callbacks hold will be that of the epoch's end.
        self._saved_cut = trainer.should_stop and trainer.fit_loop.epoch_loop.done
        due = bool(self.every_n_steps) and trainer.global_step % self.every_n_steps == 0
        if self.every_n_minutes and not due:
            # Clocks of ranks differ, and saving is something that they do together: rank 0 decides.
            waited = time.monotonic() - self._saved_at
            due = trainer.strategy.broadcast(waited >= 60 * self.every_n_minutes)
        requeue = self._requeue is not None and self._agree(trainer, self._told_to_requeue)
        if due or stop or requeue or self._saved_cut:
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
        """Write at the end of each epoch; in the middle of one that was cut, unless that has been done."""
        if is_between_steps(trainer):
            _log.warning("stopped between accumulated batches: a run that continues does so from its last checkpoint")
        elif not self._saved_cut:
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
        if is_cut(trainer):
            put_back(checkpoint["loops"]["fit_loop"])

    def _note(self, signum: int, frame: object) -> None:
        if signum == signal.SIGUSR1:
            self._told_to_requeue = True
        else:
            let_go(self._terminals)
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
        check_finite(trainer)
        trainer.save_checkpoint(self._file(trainer), weights_only=False)
        self._saved_at = time.monotonic()
        # A run that goes on from here must not lack the curves up to here.
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.experiment.flush()


def _listed(value: Any) -> list[float]:
    return value if isinstance(value, list) else [value]

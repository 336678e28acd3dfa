"""What a run writes down so that it can be compared: what it cost, and which examples it was tested on."""

from __future__ import annotations

import hashlib
import json
import logging
import platform
import resource
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback

from lcot.datamodules.rows import Source
from lcot.errors import DataError
from lcot.runs.endings import how_it_ended, whole_epochs
from lcot.runs.files import read_json, write_whole
from lcot.runs.logs import places
from lcot.runs.protocol import commit

_log = logging.getLogger("lcot")

COST_FORMAT = 1
"""Version of ``fit.json``."""


def data_hash(source: Source) -> str:
    """A hash of every question and answer of a split, in the order of the data.

    It is that of the examples and not of what a loader makes of them, so batches, workers and ranks do not matter.
    Written steps are left out: another form of them (equations or sentences) asks the same questions of a model.

    Args:
        source: All examples of the split, as epoch 0 sees them.

    Returns:
        32 hexadecimal digits.
    """
    found = hashlib.blake2b(digest_size=16)
    for index in range(len(source)):
        example = source.example(index, 0)
        found.update(json.dumps([example.question, example.answer]).encode() + b"\n")
    return found.hexdigest()


def device_name(device: torch.device) -> str:
    """A device in words: ``NVIDIA H200``, or the processor's name."""
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    if device.type != "cpu":
        return device.type
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine() or "CPU"


class CostRecorder(Callback):
    """Keeps ``fit.json`` of a run: what its training has cost so far, over all times that it was continued.

    The file is written at the end of each epoch, when training ends, and when it is stopped. What a killed process did
    behind the last of these is lost to the record. Seconds are those between the first batch and the last, validation
    included, and not those of imports and of making the data. Steps, epochs and examples belong to the weights: they
    come from the trainer and the checkpoint: what is done again after a kill counts once there, and twice in seconds.

    Args:
        file: ``fit.json`` in the run's folder.
        command: The command line.
        group: What the run is one of, whatever its seed.
    """

    def __init__(self, file: Path, command: str | None = None, group: str | None = None) -> None:
        self._file = file
        self._command = command
        self._group = group
        self._examples: int | None = 0  # of all ranks, up to the last epoch's end; None if the checkpoint knows it not
        self._rows = 0  # of this rank, since then
        self._before: dict[str, Any] = {}  # the record of the starts before this one
        self._cpu = 0.0  # of all ranks, up to the last epoch's end
        self._cpu_from = self._wall_from = 0.0
        self._facts: dict[str, Any] | None = None

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the clocks, behind what was recorded before."""
        if getattr(trainer, "fast_dev_run", False):
            return
        step = trainer.global_step
        nothing: dict[str, Any] = {"wall_seconds": 0.0, "cpu_seconds": 0.0}
        self._before = self._recorded() if step and trainer.is_global_zero else nothing
        parameters = list(pl_module.parameters())
        device: torch.device = trainer.strategy.root_device
        commits = [*self._before.get("commits", []), commit()]
        self._facts = {
            "format": COST_FORMAT,
            "begun": self._before.get("begun", datetime.now(UTC).isoformat()),
            "starts": self._before.get("starts", 0) + 1,
            "world_size": trainer.world_size,
            "device": device_name(device),
            "threads": torch.get_num_threads() if device.type == "cpu" else None,
            "parameters": sum(parameter.numel() for parameter in parameters),
            "trainable_parameters": sum(parameter.numel() for parameter in parameters if parameter.requires_grad),
            "commits": [one for one in dict.fromkeys(commits) if one is not None],  # an installed package has none
            "command": self._command,
            "group": self._before.get("group", self._group),
            "loggers": places(trainer.loggers),
        }
        self._cpu = 0.0
        self._cpu_from, self._wall_from = time.process_time(), time.monotonic()
        # A finished run that is extended is none until it comes to its new end.
        self._write(trainer, finished=False)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count rows."""
        self._rows += len(batch)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Add up over ranks, and write."""
        if self._facts is None:
            return
        now = time.process_time()
        mine = torch.tensor([self._rows, now - self._cpu_from], dtype=torch.float64)
        if trainer.world_size > 1:
            mine = torch.as_tensor(trainer.strategy.reduce(mine.to(trainer.strategy.root_device), reduce_op="sum"))
        rows, seconds = mine.tolist()
        if self._examples is not None:
            self._examples += round(rows)
        self._rows, self._cpu, self._cpu_from = 0, self._cpu + seconds, now
        self._write(trainer, finished=False)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write that it came to its end, or who ended it before."""
        self._write(trainer, **how_it_ended(trainer))

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write that it had ended, where a process was killed between its last checkpoint and saying so."""
        trial = getattr(trainer, "fast_dev_run", False)
        if self._facts is None and trainer.is_global_zero and not trial and trainer.fit_loop.done:
            recorded = self._recorded()
            if recorded.get("finished") is False and recorded.get("ended_by") is None:
                write_whole(self._file, json.dumps({**recorded, **how_it_ended(trainer)}, indent=2) + "\n")

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Write what a run cost that was stopped, or broke off."""
        with suppress(OSError):  # a full disk is told by the exception
            self._write(trainer, finished=False)

    @property
    def started(self) -> bool:
        """Whether training has begun."""
        return self._facts is not None

    def state_dict(self) -> dict[str, Any]:
        """Examples so far: those up to the last epoch's end, and this rank's rows since."""
        return {"examples": self._examples, "rows": self._rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the count. Ranks take rank 0's rows of a broken epoch: an odd batch may make a difference of one."""
        self._examples, self._rows = state_dict["examples"], state_dict["rows"]

    def on_load_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Count nothing on from a checkpoint that does not say how many examples are behind it."""
        if self.state_key not in checkpoint.get("callbacks", {}):
            self._examples = None

    def _write(self, trainer: L.Trainer, finished: bool, ended_by: str | None = None) -> None:
        facts = self._facts
        if facts is None or not trainer.is_global_zero:
            return
        cuda = trainer.strategy.root_device.type == "cuda"
        cpu = self._cpu + time.process_time() - self._cpu_from
        peaks = {"rss": _peak_rss(), "cuda": torch.cuda.max_memory_allocated() if cuda else None}
        before = self._before.get("peak_memory_bytes", {})
        examples = None if self._examples is None else self._examples + self._rows * trainer.world_size
        report = {
            "format": facts["format"],
            "finished": finished,
            "ended_by": ended_by,
            "optimizer_steps": trainer.global_step,
            "epochs": whole_epochs(trainer),
            "examples": examples,
            "wall_seconds": self._in_all("wall_seconds", time.monotonic() - self._wall_from),
            "cpu_seconds": self._in_all("cpu_seconds", cpu),
            "peak_memory_bytes": {
                name: max(filter(None, (peak, before.get(name))), default=None) for name, peak in peaks.items()
            },
            **{name: value for name, value in facts.items() if name != "format"},
        }
        write_whole(self._file, json.dumps(report, indent=2) + "\n")

    def _in_all(self, name: str, now: float) -> float | None:
        """Seconds of all starts; ``None`` where nobody knows those before."""
        before: float | None = self._before.get(name)
        return None if before is None else round(before + now, 3)

    def _recorded(self) -> dict[str, Any]:
        """The former record; nothing where there is none that can be read, as behind the checkpoint of another run."""
        if not self._file.is_file():
            return {}
        kinds: dict[str, Any] = dict.fromkeys(("wall_seconds", "cpu_seconds"), int | float | None)
        kinds |= {"begun": str, "starts": int, "commits": list, "peak_memory_bytes": dict}
        try:
            found = read_json(self._file, fix="")
            wrong = [name for name, kind in kinds.items() if not isinstance(found.get(name), kind)]
            if wrong:
                raise DataError(f"{str(self._file)!r} has no {wrong[0]!r} that could be added to")
        except DataError as err:
            _log.warning("lcot: warning: %s; what training cost before is lost to the record", err.what)
            return {}
        return found


def _peak_rss() -> int:
    """Largest resident set of this process so far, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024

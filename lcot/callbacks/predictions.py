"""Answers in a file: one JSON object a line, in the order of the data, from any number of ranks."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import BasePredictionWriter

_log = logging.getLogger("lcot")


class PredictionWriter(BasePredictionWriter):
    """Writes what ``predict`` returns as JSONL.

    Every rank writes a part of its own while it goes; at the end rank 0 puts the parts together in the order of the
    data and replaces the file in one move, so a file under the final name is always whole. A trial run
    (``fast_dev_run``) writes nothing.

    Args:
        path: The file; the command line fills in ``predictions.jsonl`` of the run's folder.
    """

    def __init__(self, path: str | None = None) -> None:
        super().__init__(write_interval="batch")
        self.path = path

    def on_predict_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start this rank's part."""
        if _is_trial(trainer):
            return
        self._part(trainer).parent.mkdir(parents=True, exist_ok=True)
        self._part(trainer).write_text("")

    def write_on_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        prediction: Any,
        batch_indices: Sequence[int] | None,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int,
    ) -> None:
        """Add a batch's records to this rank's part."""
        if _is_trial(trainer):
            return
        with self._part(trainer).open("a", encoding="utf-8") as file:
            file.writelines(_line(record) for record in prediction)

    def on_predict_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Merge the parts."""
        trainer.strategy.barrier()
        if not trainer.is_global_zero or _is_trial(trainer):
            return
        parts = [self._part(trainer, rank) for rank in range(trainer.world_size)]
        lines = [line for part in parts for line in part.read_text(encoding="utf-8").split("\n") if line]
        lines.sort(key=lambda line: int(json.loads(line)["index"]))
        whole = self._target(trainer).with_suffix(".tmp")
        whole.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
        os.replace(whole, self._target(trainer))
        for part in parts:
            part.unlink()
        _log.info("written to %s: %s answers", self._target(trainer), f"{len(lines):,}")

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Remove this rank's part; an older file under the final name stays as it is."""
        if trainer.state.fn == "predict":
            self._part(trainer).unlink(missing_ok=True)
            self._target(trainer).with_suffix(".tmp").unlink(missing_ok=True)

    def _target(self, trainer: L.Trainer) -> Path:
        return Path(self.path or Path(trainer.default_root_dir) / "predictions.jsonl")

    def _part(self, trainer: L.Trainer, rank: int | None = None) -> Path:
        rank = trainer.global_rank if rank is None else rank
        return self._target(trainer).with_suffix(f".part{rank}")


def _line(record: Any) -> str:
    """A record as one line, for whatever a reader takes for the end of one: JSON itself escapes only those of ASCII."""
    text = json.dumps(record, ensure_ascii=False)
    return text.replace("\x85", "\\u0085").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029") + "\n"


def _is_trial(trainer: L.Trainer) -> bool:
    return bool(getattr(trainer, "fast_dev_run", False))

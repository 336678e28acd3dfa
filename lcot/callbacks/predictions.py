"""Answers in a file: one JSON object a line, in the order of the data, from any number of ranks."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import BasePredictionWriter

from lcot.errors import UserError
from lcot.runs.files import beside, remove, tidy, write_whole

_log = logging.getLogger("lcot")

_WORD = "answers"
"""What the folder of parts is called beside the file."""


class PredictionWriter(BasePredictionWriter):
    """Writes what ``predict`` returns as JSONL.

    Every rank writes a part of its own while it goes, into a folder beside the file that this command alone knows; at
    the end rank 0 puts the parts together in the order of the data and replaces the file in one move, so a file under
    the final name is always whole. A trial run (``fast_dev_run``) writes nothing.

    Args:
        path: The file; the command line fills in ``predictions.jsonl`` of the run's folder.
    """

    def __init__(self, path: str | None = None) -> None:
        super().__init__(write_interval="batch")
        self.path = path
        self._parts: Path | None = None

    def on_predict_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the parts.

        Raises:
            UserError: If the ranks do not see one folder: what some of them write could not be put together.
        """
        if _is_trial(trainer):
            return
        target = self._target(trainer)
        if trainer.is_global_zero:
            target.parent.mkdir(parents=True, exist_ok=True)
            tidy(target, _WORD)
            remove(beside(target, _WORD))
            beside(target, _WORD).mkdir()
        self._parts = Path(trainer.strategy.broadcast(str(beside(target, _WORD).absolute())))
        if trainer.strategy.reduce_boolean_decision(not self._parts.is_dir(), all=False):
            raise UserError(
                f"not every process sees {str(self._parts.parent)!r}",
                where="predictions.path and trainer.num_nodes",
                why="each writes its part of the answers there, and one of them puts the parts together",
                fix="give a folder that all nodes share, or predict on one node",
            )
        self._part(trainer.global_rank).touch()

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
        with self._part(trainer.global_rank).open("a", encoding="utf-8") as file:
            file.writelines(_line(record) for record in prediction)

    def on_predict_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Merge the parts."""
        trainer.strategy.barrier()
        if not trainer.is_global_zero or _is_trial(trainer):
            return
        parts = [self._part(rank) for rank in range(trainer.world_size)]
        lines = [line for part in parts for line in part.read_text(encoding="utf-8").split("\n") if line]
        lines.sort(key=lambda line: int(json.loads(line)["index"]))
        self._remove(trainer)
        write_whole(self._target(trainer), "".join(line + "\n" for line in lines))
        _log.info("written to %s: %s answers", self._target(trainer), f"{len(lines):,}")

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Remove the parts; an older file under the final name stays as it is."""
        if trainer.state.fn == "predict":
            self._remove(trainer)

    def _remove(self, trainer: L.Trainer) -> None:
        if self._parts is not None and trainer.is_global_zero:
            remove(self._parts)
            self._parts = None

    def _target(self, trainer: L.Trainer) -> Path:
        return Path(self.path or Path(trainer.default_root_dir) / "predictions.jsonl")

    def _part(self, rank: int) -> Path:
        assert self._parts is not None, "predicting has begun"
        return self._parts / f"{rank}.jsonl"


def check_replaced(target: Path) -> None:
    """Refuse to write predictions over what are none.

    Raises:
        UserError: If it is a folder, or a file that holds anything else.
    """
    if target.is_dir():
        raise UserError(f"{str(target)!r} is a folder", where="predictions.path", fix="give a file in it")
    if target.is_file() and not _holds_predictions(target):
        raise UserError(
            f"{str(target)!r} holds something else",
            where="predictions.path",
            why="it would be replaced, and it is no file of predictions",
            fix="give a file that is not there, or one of predictions",
        )


def _holds_predictions(file: Path) -> bool:
    with file.open("rb") as written:
        first = written.readline(1 << 20)
    try:
        record = json.loads(first)
    except (ValueError, RecursionError):
        return not first
    return isinstance(record, dict) and {"index", "question", "output", "answer"} <= record.keys()


def _line(record: Any) -> str:
    """A record as one line, for whatever a reader takes for the end of one: JSON itself escapes only those of ASCII."""
    text = json.dumps(record, ensure_ascii=False)
    return text.replace("\x85", "\\u0085").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029") + "\n"


def _is_trial(trainer: L.Trainer) -> bool:
    return bool(getattr(trainer, "fast_dev_run", False))

"""TensorBoard: epoch-indexed curves and the model's words, beside what the module logs by step."""

from __future__ import annotations

from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import TensorBoardLogger

from lcot.errors import UserError
from lcot.modules.base import ReasoningModule
from lcot.reasoning.batch import ThoughtBatch
from lcot.reasoning.curriculum import find_clock


class Dashboard(Callback):
    """What a researcher opens TensorBoard for.

    - ``by_epoch/*``: validation's and training's means with the epoch as the axis, where stages are easiest to see
      (of learning rate and gradient norm, the epoch's last value);
    - ``answers``: the same few validation questions after every epoch, with what the model wrote in that stage.

    Only rank 0 writes.

    Args:
        questions: How many validation questions to show; 0 for none.
    """

    def __init__(self, questions: int = 5) -> None:
        if questions < 0:
            raise UserError(f"questions is {questions}", where="dashboard.questions", fix="use 0 or more")
        self.questions = questions
        self._shown: ThoughtBatch | None = None

    def on_validation_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Take rows of all lengths from the first batch; validation's order never changes, so they stay the same."""
        if batch_idx == 0 and self.questions and isinstance(batch, ThoughtBatch):
            shown = min(self.questions, len(batch))
            self._shown = batch.select([place * len(batch) // shown for place in range(shown)])

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write the epoch's means and words."""
        board = next((logger for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)), None)
        if board is None or not trainer.is_global_zero:
            self._shown = None
            return
        epoch = trainer.current_epoch
        means = {
            f"by_epoch/{name.removesuffix('_epoch')}": float(value)
            for name, value in trainer.callback_metrics.items()
            if name.startswith("val/") or name.endswith("_epoch") or name in ("train/lr", "train/grad_norm")
        }
        clock = find_clock(getattr(trainer, "callbacks", []))
        stage = clock.final_stage(epoch) if clock is not None else 0
        board.log_metrics({**means, "by_epoch/curriculum/stage": stage}, step=epoch)
        if self._shown is not None and isinstance(pl_module, ReasoningModule):
            board.experiment.add_text("answers", self._words(pl_module, self._shown, stage), epoch)
        self._shown = None

    def _words(self, module: ReasoningModule, batch: ThoughtBatch, stage: int) -> str:
        """A Markdown list of questions and what the model writes."""
        modes = [(part, part.training) for part in module.modules()]
        module.eval()
        records = module.records(batch, module.answer(batch))
        for part, training in modes:  # one by one: a frozen part may have been in evaluation mode
            part.training = training
        # A list, not a table: TensorBoard breaks the words of narrow columns.
        rows = [
            f"- {_line(record['question'])}<br>**{record['thoughts']} thoughts →** {_line(record['output'])}"
            f" *({'right' if record['correct'] else 'wrong'}; gold: {_line(record['gold'])})*"
            for record in records
        ]
        return "\n".join([f"Stage {stage}", "", *rows])


def _line(text: str) -> str:
    return text.replace("\n", " ⏎ ")

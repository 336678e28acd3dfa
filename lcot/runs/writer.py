"""What a command writes into its run's folder: config and tokenizer, costs of training, metrics of an evaluation."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning as L
import torch

from lcot.modules.description import FORMAT
from lcot.modules.stored import read_checkpoint, without_best
from lcot.runs.by_question import Marks
from lcot.runs.endings import ended_by, has_ended, shortened
from lcot.runs.evaluations import same_method
from lcot.runs.files import write_whole
from lcot.runs.folder import RunFolder
from lcot.runs.needs import tight
from lcot.runs.protocol import protocol
from lcot.runs.record import CostRecorder, data_hash, device_name
from lcot.settings import UNTRAINED, cut

_log = logging.getLogger("lcot")

KEPT = 20
"""The first questions, whose texts a report keeps, as far as rank 0 has them; ``predict`` writes all."""

FEW = 0.5
"""A share of texts with an answer below this is told, with some that have none."""

_OF_TEXTS = ("id", "question", "gold", "output", "answer", "correct")
_GO_ON = "to go on, take the limit away or raise it, with --resume=true"


class RunFiles(CostRecorder):
    """Writes config and tokenizer when training starts, its cost, and the metrics of validate and test when they end.

    Where a method trains nothing, config and tokenizer are written when its evaluation ends.

    Args:
        folder: The run's folder.
        settings: The parsed settings.
        command: The command line.
        shown: Whether the metrics are printed too.
        group: What the run is one of, whatever its seed.
    """

    def __init__(
        self,
        folder: RunFolder,
        settings: Mapping[str, Any],
        command: str | None = None,
        shown: bool = True,
        group: str | None = None,
    ) -> None:
        super().__init__(folder.cost, command, group)
        self.shown = shown
        self.folder = folder
        self.settings = settings
        self.command = command
        self._outdated: list[str] = []
        self._marks: Marks | None = None  # of this rank's questions, then of all
        self._texts: dict[int, dict[str, Any]] = {}  # by number of the question

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Save what is needed to use the run without this command. All that can be refused has been refused by now."""
        if trainer.is_global_zero and not getattr(trainer, "fast_dev_run", False):
            data: Any = trainer.datamodule  # type: ignore[attr-defined]
            for line in tight(trainer, pl_module, self.folder.checkpoints):
                _log.warning("lcot: warning: %s", line)
            self.folder.begin(self.settings, data.tokenizer)
        super().on_train_start(trainer, pl_module)
        self._outdated = self.folder.results()
        for line in shortened(trainer):
            _log.info("%s", line)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Say what will be taken for the run, if that is not the best of a whole training."""
        super().on_train_end(trainer, pl_module)
        if getattr(trainer, "fast_dev_run", False):
            return
        if self._outdated:
            _log.info("of the weights before this training, and outdated now: %s", ", ".join(self._outdated))
        if not has_ended(trainer):
            _log.info("training ended before its schedule: %s; %s", ended_by(trainer), _GO_ON)
        if trainer.is_global_zero and (said := without_best(self.folder.path)) is not None:
            _log.info("%s", said)

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Say why nothing was trained, where somebody had ended the run for good."""
        super().on_fit_end(trainer, pl_module)
        if trainer.should_stop and not self.started:
            _log.info("nothing was trained, for the run was ended: %s; %s", ended_by(trainer), _GO_ON)

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Forget what was noted in an evaluation that was broken off."""
        self._marks, self._texts = None, {}

    def on_test_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Forget what was noted in an evaluation that was broken off."""
        self._marks, self._texts = None, {}

    def on_validation_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, *place: int
    ) -> None:
        """Note which questions of ``validate`` were answered right, and what was written to the first ones."""
        self._mark(trainer, "val", outputs, batch)
        self._keep_texts(trainer, pl_module, outputs, batch)

    def on_test_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, *place: int
    ) -> None:
        """Note which questions of ``test`` were answered right, and what was written to the first ones."""
        self._mark(trainer, "test", outputs, batch)
        self._keep_texts(trainer, pl_module, outputs, batch)

    def _mark(self, trainer: L.Trainer, split: str, outputs: Any, batch: Any) -> None:
        # A step of one's own may hand out nothing.
        if trainer.state.fn == "fit" or not isinstance(outputs, dict) or "right" not in outputs:
            return
        if self._marks is None:
            data: Any = trainer.datamodule  # type: ignore[attr-defined]
            self._marks = Marks(len(data.source(split)), len(outputs["right"]))
        self._marks.add(batch.index.tolist(), outputs["right"])

    def _keep_texts(self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any) -> None:
        asked = isinstance(outputs, dict) and "answers" in outputs and trainer.state.fn != "fit"
        if not asked or not trainer.is_global_zero or int(batch.index.min()) >= KEPT:
            return
        module: Any = pl_module
        for record in module.records(batch, outputs["answers"]):
            if record["index"] < KEPT:
                self._texts[record["index"]] = {name: record[name] for name in _OF_TEXTS}

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Put the marks of all ranks together."""
        self._gather(trainer)

    def on_test_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Put the marks of all ranks together."""
        self._gather(trainer)

    def _gather(self, trainer: L.Trainer) -> None:
        if self._marks is None or trainer.world_size == 1:
            return
        for marks in self._marks.bits:  # each question is one rank's: bits add up without a carry
            mine = torch.tensor(list(marks), dtype=torch.long, device=trainer.strategy.root_device)
            marks[:] = bytes(torch.as_tensor(trainer.strategy.reduce(mine, reduce_op="sum")).tolist())

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Save the metrics of ``validate``."""
        self._save_metrics(trainer, pl_module, "validate")

    def on_test_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Save the metrics of ``test``."""
        self._save_metrics(trainer, pl_module, "test")

    def on_predict_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Save what predictions need to be understood, where no training has written it."""
        if trainer.is_global_zero and not getattr(trainer, "fast_dev_run", False):
            self._save_untrained(trainer)

    def _save_untrained(self, trainer: L.Trainer) -> None:
        own = self.folder.own_settings()
        known = own is not None and all(same_method(own, self.settings, split) for split in ("val", "test"))
        if self.settings.get("ckpt_path") == UNTRAINED and not known:
            self.folder.save_config(self.settings)
            self.folder.save_tokenizer(trainer.datamodule.tokenizer)  # type: ignore[attr-defined]

    def _save_metrics(self, trainer: L.Trainer, pl_module: L.LightningModule, function: str) -> None:
        if trainer.state.fn != function or not trainer.is_global_zero:
            return
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        split = {"validate": "val", "test": "test"}[function]
        if self.shown:
            print("\n".join(readable(metrics, split)))
        if getattr(trainer, "fast_dev_run", False):
            return
        self._save_untrained(trainer)
        name, other, chosen = self.folder.result(function, self.settings, split)
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        module: Any = pl_module
        source = data.source(split)  # every rank has all of it
        texts = [self._texts[index] for index in sorted(self._texts)]
        if (share := metrics.get(f"{split}/answered", 1.0)) < FEW and texts:
            _log.warning("%s", unanswered(share, data.extractors[0], texts))
        trainer_settings = self.settings.get("trainer") or {}
        padding = getattr(module, "padding", None)
        report = {
            "metrics": metrics,
            "split": {
                "name": split,
                "examples": int(metrics[f"{split}/examples"]),
                "of": len(source),
                "data_hash": data_hash(source),
            },
            "protocol": protocol(
                data.text.before_answer,
                self.command,
                data.extractors,
                module.decoding(split),
                paths=any(name.startswith(f"{split}/path_") for name in metrics),
                padding=None if padding is None else {**padding, "batch_size": data.eval_batch_size},
                last_step=data.last_step,
                pairs=f"{split}/pairs" in metrics,
                flops=f"{split}/flops" in metrics,
            ),
            "format": FORMAT,
            "checkpoint": self.settings.get("ckpt_path"),
            "checkpoint_chosen": chosen,
            **self._training(),
            "batch_size": data.eval_batch_size,
            "world_size": trainer.world_size,
            "device": device_name(trainer.strategy.root_device),
            "model": self.settings.get("model"),
            "data": self.settings.get("data"),
            "curriculum": self.settings.get("curriculum"),
            "trainer": {name: trainer_settings.get(name) for name in ("precision", f"limit_{split}_batches")},
            "seed": self.settings.get("seed_everything"),
            "by_question": self._marks.described() if self._marks is not None else None,
            "texts": texts,
        }
        target = self.folder.path / f"{name}.json"
        write_whole(target, json.dumps(report, indent=2, default=str) + "\n")
        if other:
            _log.info("written to %s, for this is not as the run has it: %s", target, other)
        else:
            _log.info("written to %s", target)

    def _training(self) -> dict[str, Any]:
        """What is behind the weights; and behind the run so far, for an evaluation before its last step is outdated."""
        path, run = self.settings.get("ckpt_path"), self.folder.recorded()
        saved = {} if path in (None, UNTRAINED) else read_checkpoint(Path(str(path)), weights=False)
        return {
            "trained_steps": saved.get("global_step"),
            "stage": saved["lcot"]["stage"] if saved else None,
            "run_steps": run.get("optimizer_steps"),
            "run_begun": run.get("begun"),
        }


def unanswered(share: float, extractor: str, texts: Sequence[Mapping[str, Any]]) -> str:
    """What is said where few texts hold an answer, with three of those that hold none.

    Args:
        share: How many do, of all.
        extractor: Name of what reads answers.
        texts: Records of some questions.
    """
    shown = [repr(cut(str(one["output"]), 300)) for one in texts if one["answer"] is None][:3]
    return "\n  ".join(
        [
            f"lcot: warning: {100 * share:.1f} % of the texts hold an answer that the extractor {extractor!r} can read;"
            " see data.extractors, text.before_answer and model.max_new_tokens. Some that hold none:",
            *shown,
        ]
    )


def readable(metrics: Mapping[str, float], split: str) -> list[str]:
    """What an evaluation gave, one line for each metric: shares in per cent, counts whole.

    Args:
        metrics: By names such as ``test/accuracy``; those of other splits are left out.
        split: ``val`` or ``test``.
    """
    found = {name.removeprefix(f"{split}/"): number for name, number in metrics.items() if name.startswith(f"{split}/")}
    count = found.pop("examples", None)
    rows = {"questions": f"{count:,.0f}"} if count is not None else {}
    rows |= {name: _readable(name, number) for name, number in found.items()}
    width = max(map(len, rows), default=0)
    return [f"{split} {name:<{width}}  {text}" for name, text in rows.items()]


def _readable(name: str, number: float) -> str:
    if name.startswith(("accuracy", "pair_accuracy", "answered", "path_")):
        return f"{100 * number:.1f} %"
    if name in ("tokens", "thoughts"):
        return f"{number:.1f}"
    return f"{number:.4g}"

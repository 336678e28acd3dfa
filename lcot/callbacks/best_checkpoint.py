"""The best checkpoint of each stage, by a metric of validation."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import lightning as L
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from lcot.callbacks.whole_files import check_finite
from lcot.errors import UserError
from lcot.metrics import CATEGORIES, EXTRACTORS, Category, accuracy_names
from lcot.metrics.problem_graph import has_graph
from lcot.modules.judging import SHARES
from lcot.reasoning.curriculum import find_clock
from lcot.runs.endings import is_cut

_GOOD: tuple[Category, ...] = ("correct_path", "correct_label")

METRICS: dict[str, Literal["min", "max"]] = {
    "val/accuracy": "max",
    **dict.fromkeys((f"val/accuracy_{name}" for name in EXTRACTORS), "max"),
    "val/pair_accuracy": "max",
    **dict.fromkeys((f"val/pair_accuracy_{name}" for name in EXTRACTORS), "max"),
    "val/loss": "min",
    "val/tokens": "min",
    "val/thoughts": "min",
    "val/seconds": "min",
    "val/answered": "max",
    **{f"val/{SHARES[category]}": "max" if category in _GOOD else "min" for category in CATEGORIES},
}
"""What validation can report, and whether small or large values are good. ``accuracy_NAME`` is there if
``data.extractors`` names it behind the first, ``pair_accuracy`` if questions come in pairs (``data.ask`` is ``both``),
``path_NAME`` if problems have graphs."""


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
        weights_only: Whether they hold what it takes to use the model, and nothing of the training: no state of the
            optimizer, which is twice as large with Adam. A run is continued from ``last.ckpt``, which holds all.

    Raises:
        UserError: If ``mode`` would keep the worst, or is needed: for a metric that is not validation's own.
    """

    def __init__(
        self,
        dirpath: str | None = None,
        monitor: str = "val/accuracy",
        mode: Literal["min", "max"] | None = None,
        keep: int = 1,
        weights_only: bool = True,
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
        self.weights_only = weights_only
        self._writing = False
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
        monitor = str(self.monitor).removeprefix("val/pair_").removeprefix("val/")
        if stage != "fit" or extractors is None or not monitor.startswith("accuracy"):
            return
        if str(self.monitor).startswith("val/pair_") and not data.source("val").example(0, 0).pair:
            raise UserError(
                f"{self.monitor} is not reported",
                where="best_checkpoint.monitor",
                why="the validation questions come in no pairs",
                fix="set data.ask to 'both', or monitor val/accuracy",
            )
        kind = "val/pair_" if str(self.monitor).startswith("val/pair_") else "val/"
        reported = [f"{kind}{name}" for name in accuracy_names(extractors)]
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
        if is_cut(trainer):
            return  # a run that continues would not know this one
        if self.monitor in trainer.callback_metrics and (validated or not str(self.monitor).startswith("val/")):
            super().on_train_epoch_end(trainer, pl_module)
        if self.best_k_models:  # only now that a new one is written
            for path in self._former:
                trainer.strategy.remove_checkpoint(path)
            self._former = []

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Leave the training out of a checkpoint of this callback's own, up to the score that tells the best."""
        # Lightning's own way to save weights only would not ask the curriculum for the stage.
        if self._writing and self.weights_only:
            checkpoint["callbacks"] = {self.state_key: self.state_dict()}
            for part in ("optimizer_states", "lr_schedulers"):
                del checkpoint[part]

    def _save_checkpoint(self, trainer: L.Trainer, filepath: str) -> None:
        check_finite(trainer)
        self._writing = True
        try:
            super()._save_checkpoint(trainer, filepath)
        finally:
            self._writing = False

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

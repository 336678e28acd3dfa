"""TensorBoard: what a researcher wants to see at a glance, beside what the module logs by step."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from statistics import fmean
from typing import Any, Literal, get_args

import lightning as L
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import TensorBoardLogger
from torch.distributed.tensor import DTensor

from lcot.callbacks.dashboard_hparams import final_metrics, hyperparameters, write_session, write_test
from lcot.callbacks.dashboard_layout import Shown, layout
from lcot.callbacks.dashboard_loggers import find_board, loggers, show_picture, show_words, showing
from lcot.callbacks.dashboard_thoughts import ThoughtWatch, trouble
from lcot.callbacks.dashboard_tree import TreeView, find_view
from lcot.callbacks.dashboard_words import pick_rows
from lcot.datamodules.base import ReasoningDataModule
from lcot.errors import UserError
from lcot.metrics import accuracy_names, pair_name
from lcot.metrics.problem_graph import has_graph
from lcot.modules.base import ReasoningModule
from lcot.modules.sharding import gathered
from lcot.reasoning.batch import ThoughtBatch
from lcot.reasoning.curriculum import StageClock, find_clock
from lcot.reasoning.feeds import embedding_length, embedding_table
from lcot.reasoning.forced import Forced
from lcot.reasoning.keyed import run_seed

_log = logging.getLogger("lcot")

Trees = Literal["stage", "validation", "never"]

_ASIDE = ("val/seconds", "val/flops", "val/examples", "val/answered")
"""Metrics that say nothing about a stage."""

_BINS = 30
"""Of a histogram: as many as TensorBoard shows."""


class Dashboard(Callback):
    """What a researcher opens TensorBoard for.

    - ``by_epoch/*``: validation's and training's means with the epoch as the axis, where stages are easiest to see (of
      learning rate and gradient norm, the epoch's last value); ``by_stage/*``: validation's means at the end of each
      stage, with the stage as the axis; ``stage_changes/*``: the loss of each stage by the steps since it began.
    - ``answers``: the same few validation questions after every validation, with what the model wrote in that stage.
    - *Custom scalars*: the curves in the order of the questions they answer: accuracy by stage, loss around stage
      changes, tokens against accuracy, the health of the thoughts, and which ways answers take.
    - ``thoughts/*`` at the steps that are logged: distance and cosine between neighbouring thoughts, deviation between
      questions (:class:`~lcot.callbacks.dashboard_thoughts.ThoughtWatch`), and ``embeddings``, their length divided by
      that of the input embeddings, which is what a pretrained model is used to read.
      ``thought_norms/*``: histograms of their norms, one name a stage, one histogram an epoch. At the end of a stage, a
      warning if its last epoch's thoughts have become all the same.
    - ``search_tree``: the graph of one validation question with the probability of each concept as the next one, after
      each number of thoughts. Where problems have graphs, and thoughts stand for steps.
    - *HParams*: the run in plain values with what it reached at the end of training and, from ``lcot test``, in test.

    Curves by epoch and stage, custom scalars, histograms and *HParams* are TensorBoard's; words and pictures go to
    every logger that takes them (:mod:`lcot.callbacks.dashboard_loggers`), and ``thoughts/*`` to all.

    Only rank 0 writes, and thoughts are those of its rows. Weights are the same with all this and without it.

    Args:
        questions: How many validation questions to show; 0 for none.
        curves: Write ``by_epoch``, ``by_stage`` and ``stage_changes``.
        custom_scalars: Lay the curves out on the page of this name.
        thoughts: Look at the thoughts of the steps that are logged.
        tree: Draw the search tree at the end of each ``stage``, after each epoch with a ``validation`` (which takes a
            third of a second or so), or ``never``.
        tree_question: Number of the validation question whose tree is drawn; ``None`` for one that is worth it.
        hparams: Write the run's row of the page *HParams*.

    Raises:
        UserError: If ``questions`` or ``tree_question`` is negative, ``tree`` unknown, or a question is to be drawn and
            no tree is.
    """

    def __init__(
        self,
        questions: int = 5,
        curves: bool = True,
        custom_scalars: bool = True,
        thoughts: bool = True,
        tree: Trees = "stage",
        tree_question: int | None = None,
        hparams: bool = True,
    ) -> None:
        if questions < 0:
            raise UserError(f"questions is {questions}", where="dashboard.questions", fix="use 0 or more")
        if tree not in get_args(Trees):
            raise UserError.unknown("choice of trees", str(tree), get_args(Trees), where="dashboard.tree")
        if tree_question is not None and (tree_question < 0 or tree == "never"):
            raise UserError(
                f"tree_question is {tree_question}" + (", and tree is 'never'" if tree == "never" else ""),
                where="dashboard.tree_question",
                fix="leave it out" if tree == "never" else "use 0 or more",
            )
        self.questions = questions
        self.curves = curves
        self.custom_scalars = custom_scalars
        self.thoughts = thoughts
        self.tree = tree
        self.tree_question = tree_question
        self.hparams = hparams
        self._watch = ThoughtWatch()
        self._means: list[dict[str, float]] = []
        self._embedding: float | None = None
        self._view: TreeView | None = None
        self._draws = False
        self._records: list[dict[str, Any]] | None = None
        self._validated = False
        self._step = 0

    # -- before training --------------------------------------------------------------------------------------------

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Choose the question whose tree is drawn.

        Raises:
            UserError: If the one that is wanted cannot be.
        """
        data, clock = _data(trainer), _clock(trainer)
        self._view = None
        if stage == "fit" and self.tree != "never" and data is not None and clock is not None:
            self._view = find_view(data.source("val"), clock.schedule, self.tree_question)
        self._draws = self._view is not None

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Lay out the page of custom scalars; a run that goes on may do so in another folder."""
        board = find_board(trainer)
        if board is not None and self.custom_scalars:
            board.experiment.add_custom_scalars(layout(self._shown(trainer)))

    def _shown(self, trainer: L.Trainer) -> Shown:
        clock, data = _clock(trainer), _data(trainer)
        schedule = clock.schedule if clock is not None else None
        fed = schedule is not None and schedule.kind in ("continuous", "soft")
        # Where training fixes no number there are as many as the chains make.
        most = max(schedule.numbers_trained(schedule.last_stage), default=2) if schedule is not None else 0
        names = tuple(accuracy_names(data.extractors)) if data is not None else ("accuracy",)
        first = data.source("val").example(0, 0) if data is not None else None
        return Shown(
            epochs=self.curves,
            accuracies=names,
            pair_accuracies=tuple(map(pair_name, names)) if first is not None and first.pair else (),
            stages=schedule is not None and schedule.last_stage > 0,
            thoughts=fed and most > 0,
            watched=self.thoughts and fed and most > 0,
            pairs=self.thoughts and fed and most > 1,
            graphs=first is not None and has_graph(first),
        )

    # -- steps ------------------------------------------------------------------------------------------------------

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Look on where this step will be logged."""
        self._step = trainer.global_step
        every = max(1, trainer.log_every_n_steps)  # type: ignore[attr-defined]
        if isinstance(pl_module, ReasoningModule):
            due = self.thoughts and (self._step + 1) % every == 0 and bool(loggers(trainer))
            pl_module.watch = self._watch.see if due else None
            self._embedding = _embedding_length(pl_module) if due else None

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Write what was seen, and how the loss goes on in this stage."""
        every = max(1, trainer.log_every_n_steps)  # type: ignore[attr-defined]
        if trainer.global_step == self._step or trainer.global_step % every:
            return  # gradients are being accumulated, or this step is not logged
        means = self._watch.means()
        norm, length = means.pop("norm", None), self._embedding
        if norm is not None and length:
            means["embeddings"] = norm / length
        self._means.append(means)
        found = {f"thoughts/{name}": value for name, value in means.items()}
        for logger in loggers(trainer) if found else []:
            logger.log_metrics(found, step=self._step)
        board = find_board(trainer)
        if board is None:
            return
        began = self._stage_began(trainer) if self.curves else None
        loss = trainer.callback_metrics.get("train/loss_step") if began is not None else None
        if began is not None and loss is not None:
            board.log_metrics({f"stage_changes/stage_{began[0]}": float(loss)}, step=self._step - began[1])

    def _stage_began(self, trainer: L.Trainer) -> tuple[int, int] | None:
        """The stage, and the step that it began at; ``None`` without stages that last."""
        clock = _clock(trainer)
        if clock is None or not clock.schedule.last_stage or not clock.schedule.keeps_stages:
            return None
        if not math.isfinite(trainer.num_training_batches):
            return None
        epoch = trainer.current_epoch
        stage = clock.final_stage(epoch)
        while epoch and clock.final_stage(epoch - 1) == stage:
            epoch -= 1
        steps = math.ceil(trainer.num_training_batches / trainer.accumulate_grad_batches)
        return stage, epoch * steps

    # -- validation -------------------------------------------------------------------------------------------------

    def on_validation_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep the answers of rows of all lengths, out of the first batch: its order never changes, nor do they."""
        if batch_idx or not self.questions or trainer.sanity_checking or not showing(trainer):
            return
        if isinstance(batch, ThoughtBatch) and isinstance(pl_module, ReasoningModule) and outputs is not None:
            self._records = pl_module.records(*pick_rows(batch, outputs["answers"], self.questions))

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Remember that this epoch has metrics of its own."""
        self._validated = not trainer.sanity_checking

    # -- epochs -----------------------------------------------------------------------------------------------------

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write the epoch's means, words, norms and tree."""
        validated, self._validated = self._validated, False
        records, self._records = self._records, None
        board, shown = find_board(trainer), showing(trainer)
        norms = self._watch.norms()
        epoch, clock = trainer.current_epoch, _clock(trainer)
        stage = clock.final_stage(epoch) if clock is not None else 0
        over = trainer.should_stop or epoch + 1 == trainer.max_epochs
        ends = clock is not None and (over or clock.final_stage(epoch + 1) != stage)
        if self._draws and (ends or (validated and self.tree == "validation")):
            with gathered(trainer):  # by all processes; the first draws
                self._draw(trainer, pl_module, stage)
        if self.curves and board is not None:
            self._write_means(trainer, board, stage, validated, ends)
        for logger in shown if records is not None else []:
            show_words(logger, records or [], stage, epoch, trainer.global_step - 1)
        means, self._means = self._means, []
        for words in trouble(_averaged(means)) if ends or over else []:
            _log.warning("at the end of stage %d, %s", stage, words)
        if len(norms) and board is not None:
            board.experiment.add_histogram(f"thought_norms/stage_{stage}", norms, epoch, bins=_BINS)

    def _draw(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: int) -> None:
        shown = showing(trainer)
        if not shown or self._view is None:
            return
        image = self._view.image(pl_module, _data(trainer), stage, trainer.current_epoch)
        if image is None:
            self._view = None
            return
        for logger in shown:
            show_picture(logger, "search_tree", image, trainer.current_epoch, trainer.global_step - 1)

    def _write_means(
        self, trainer: L.Trainer, board: TensorBoardLogger, stage: int, validated: bool, ends: bool
    ) -> None:
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        means = {
            f"by_epoch/{name.removesuffix('_epoch')}": value
            for name, value in metrics.items()
            # Metrics outlive their epoch: in one without validation, these would be the values of another one.
            if (name.startswith("val/") and validated)
            or (name.startswith("train/") and name.endswith("_epoch"))
            or name in ("train/lr", "train/grad_norm")
        }
        board.log_metrics({**means, "by_epoch/curriculum/stage": stage}, step=trainer.current_epoch)
        if ends and validated:
            kept = {name: value for name, value in metrics.items() if name.startswith("val/") and name not in _ASIDE}
            board.log_metrics({f"by_stage/{name}": value for name, value in kept.items()}, step=stage)

    # -- ends -------------------------------------------------------------------------------------------------------

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write what the run is and what it reached."""
        board, reached = find_board(trainer), final_metrics(trainer.callback_metrics, "val")
        if board is None or not self.hparams or not reached:
            return
        clock, data = _clock(trainer), _data(trainer)
        schedule = clock.schedule if clock is not None else None
        values = hyperparameters(trainer, pl_module, data, schedule, run_seed())
        write_session(board.experiment, values, tuple(data.extractors) if data is not None else ("string",))
        board.log_metrics(reached, step=trainer.global_step)

    def on_test_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write what the test gave, beside the run's curves; not that of another stage or number of thoughts."""
        clock = _clock(trainer)
        forced = clock is not None and isinstance(clock.schedule, Forced)
        forced = forced or getattr(clock, "eval_stage", None) is not None
        if self.hparams and trainer.is_global_zero and not forced and not getattr(trainer, "fast_dev_run", False):
            write_test(Path(trainer.default_root_dir), final_metrics(trainer.callback_metrics, "test"))

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Look on no longer."""
        if isinstance(pl_module, ReasoningModule):
            pl_module.watch = None

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Look on no longer."""
        if isinstance(pl_module, ReasoningModule):
            pl_module.watch = None

    # -- what a checkpoint keeps ------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """The norms of a histogram that is not written yet."""
        return {"norms": self._watch.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take them up."""
        self._watch.load_state_dict(state_dict.get("norms", {}))


def _embedding_length(module: ReasoningModule) -> float | None:
    """What thoughts are compared with; of a model in pieces it is left out."""
    if module.model is None or isinstance(embedding_table(module.model), DTensor):
        return None
    return float(embedding_length(module.model))


def _averaged(means: list[dict[str, float]]) -> dict[str, float]:
    """The mean of each name, over those that have it."""
    names = {name for own in means for name in own}
    return {name: fmean(own[name] for own in means if name in own) for name in names}


def _data(trainer: L.Trainer) -> ReasoningDataModule | None:
    data = getattr(trainer, "datamodule", None)
    return data if isinstance(data, ReasoningDataModule) else None


def _clock(trainer: L.Trainer) -> StageClock | None:
    return find_clock(getattr(trainer, "callbacks", []))

"""What all modules share: loss over all ranks, optimizers, checkpoints that know what they hold."""

from __future__ import annotations

import logging
import math
import re
from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, ClassVar, Literal, get_args

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor
from torch.distributed.tensor import DTensor
from transformers import PreTrainedModel

from lcot.errors import UserError
from lcot.modules.answering import AnsweringModule
from lcot.modules.backbone import Backbone
from lcot.modules.description import FORMAT, check_fits, vocabulary_hash
from lcot.modules.evaluation import Votes
from lcot.modules.frozen import PartlyTrained
from lcot.modules.limits import context_length, window_length
from lcot.modules.optimizers import ParameterGroup, check_rates, make_optimizer
from lcot.modules.own import own_class
from lcot.modules.schedules import WarmupStableDecay
from lcot.modules.sharding import check_sharding
from lcot.modules.terms import TEXT, Term, divided, mean_of, numbers_of, taken_apart
from lcot.modules.voting import Voting
from lcot.reasoning.batch import ThoughtBatch
from lcot.reasoning.curriculum import Curriculum, ThoughtKind
from lcot.reasoning.decode import Sampling
from lcot.reasoning.keyed import keyed_seed, run_seed
from lcot.reasoning.layout import IGNORE

_log = logging.getLogger("lcot")

LossAverage = Literal["tokens", "batches"]


class ReasoningModule(AnsweringModule, PartlyTrained):
    """A language model that is trained and evaluated on :class:`~lcot.reasoning.batch.ThoughtBatch`.

    The language model is made in ``configure_model``, when the tokenizer of the trainer's data module is known.

    Args:
        backbone: Which decoder.
        optimizer: Makes the optimizer from the trainable parameters.
        lr_scheduler: Makes the learning-rate schedule, stepped after each optimizer step; ``None`` keeps the rate.
        max_new_tokens: Longest text that is generated for an answer.
        sampling: How tokens are chosen in validation, test and prediction; greedy if not given.
        loss_average: What the training loss is a mean over: ``tokens``, all supervised ones of an optimizer step alike,
            on any number of processes; or ``batches``, where each process's batch has a token mean of its own and all
            means count the same, as in the released Coconut code and its published numbers.
        voting: How many texts a question gets in test and prediction, and which answer counts; one if not given.
        parameter_groups: Parameters with rates, weight decay or an optimizer of their own; all are trained alike if not
            given.
    """

    kinds: ClassVar[tuple[ThoughtKind, ...]] = ("continuous", "pause", "none")
    """Kinds of thoughts that the method can think."""

    def __init__(
        self,
        backbone: Backbone,
        optimizer: OptimizerCallable,
        lr_scheduler: LRSchedulerCallable | None,
        max_new_tokens: int,
        sampling: Sampling | None,
        loss_average: LossAverage = "tokens",
        voting: Voting | None = None,
        parameter_groups: list[ParameterGroup] | None = None,
    ) -> None:
        super().__init__(max_new_tokens, sampling, voting)
        if loss_average not in get_args(LossAverage):
            raise UserError.unknown(
                "loss_average", str(loss_average), get_args(LossAverage), where="model.loss_average"
            )
        self.loss_average: LossAverage = loss_average
        self.backbone = backbone
        self.optimizer = optimizer
        self.lr_scheduler = lr_scheduler
        self.parameter_groups = parameter_groups or []
        self.trained_stage: int | None = None
        """The stage of the loaded checkpoint; ``None`` for a model that was not loaded."""
        self.watch: Callable[[Tensor, Tensor], None] | None = None
        """Looks on while a training loss is computed: gets a batch's thoughts ``(B, N, D)``, without a graph, and which
        of these places hold one, ``(B, N)`` bool. Nobody if not set."""
        self._told = False

    @property
    def free_thoughts(self) -> int:
        """Thoughts that inference may add to those of the curriculum."""
        return 0

    @property
    def draws_thoughts(self) -> bool:
        """Whether thoughts can be drawn at random when answering."""
        return False

    # -- what a method defines ------------------------------------------------------------------------------------

    @abstractmethod
    def loss(self, batch: ThoughtBatch) -> tuple[Tensor, int, dict[str, Tensor]]:
        """Loss summed over supervised tokens, their number, and scalars worth logging."""

    @property
    def views(self) -> tuple[str, ...]:
        """Rows of an example that training reads beside the main one (:class:`~lcot.reasoning.layout.Layout`)."""
        return ()

    def terms(self, batch: ThoughtBatch) -> tuple[dict[str, Term], dict[str, Tensor]]:
        """The terms of the training loss by name, and scalars worth logging; :meth:`loss` alone, if not overridden."""
        summed, tokens, extras = self.loss(batch)
        return {TEXT: Term(summed[None], torch.tensor([tokens]))}, extras

    def counts(self, batch: ThoughtBatch) -> dict[str, Tensor]:
        """The counts of :meth:`terms`, read off a batch before anything is computed.

        An optimizer step that takes several batches divides each term by the counts of all of them.
        """
        return {TEXT: (batch.labels != IGNORE).sum()[None]}

    # -- set-up -----------------------------------------------------------------------------------------------------

    def configure_model(self) -> None:
        """Make the language model for the data module's tokenizer; does nothing if there is one already.

        Raises:
            UserError: If the trainer's strategy cannot train it, there is no data module, or the curriculum's thoughts
                are of a kind that the method has not.
        """
        if self._trainer is not None:
            check_sharding(self.trainer.strategy, self.trainer.precision)
        if self.model is None:
            data = getattr(self.trainer, "datamodule", None)
            if data is None:
                raise UserError(
                    "the trainer has no data module, so the model does not know its tokenizer",
                    fix="pass trainer.fit(model, datamodule=…), or call model.attach(…) and set model.model",
                )
            self.check_schedule(data.clock().schedule)
            self.attach(data.set_up_tokenizer(), data.special, data.text, data.extractors)
            assert self.tokenizer is not None and self.special is not None
            self.backbone.check_tokenizer(data.tokenizer_name, self.tokenizer)
            model = self.build_model(run_seed())
            limit = context_length(model)
            if limit is not None:
                data.check_context(limit, self.free_thoughts + self.max_new_tokens, window_length(model))

    def check_schedule(self, schedule: Curriculum) -> None:
        """Refuse a curriculum that the method cannot follow.

        Raises:
            UserError: If its thoughts are of a kind that the method has not, or to be drawn where nothing draws any.
        """
        if self.sampling.thoughts and not self.draws_thoughts:
            raise UserError(
                f"thoughts are to be drawn (thoughts {self.sampling.thoughts}), and this model's are what they are",
                where="model.sampling.thoughts",
                why="only a head that expects many thoughts, such as LatentHead, can draw one of them",
                fix="leave it out",
            )
        kind = schedule.kind
        if kind not in self.kinds:
            raise UserError(
                f"the kind of thought is {kind!r}, and the model is {type(self).__name__}",
                where="curriculum.schedule.kind and model",
                why=f"its thoughts are of kind {' or '.join(map(repr, self.kinds))}",
                fix="choose one of these, or another model",
            )

    def build_model(self, seed: int) -> PreTrainedModel:
        """Make the language model for the tokenizer that was attached, and note where its frozen weights come from.

        Args:
            seed: Keys the weights that are drawn.
        """
        assert self.tokenizer is not None and self.special is not None
        self.model = self.backbone.build(self.tokenizer, self.special, seed)
        if self.backbone.lora is not None:
            self.frozen["model"] = self.backbone.frozen_weights(self.model)
        return self.model

    def configure_optimizers(self) -> Any:
        """Optimizer over the trainable parameters, and the schedule if there is one.

        Raises:
            UserError: If there is nothing to train, or the optimizer cannot be made.
        """
        if not any(parameter.requires_grad for parameter in self.parameters()):
            raise UserError(
                "there is nothing to train",
                where="model",
                why="all weights are frozen",
                fix="validate, test or predict with it, or train something: model.backbone.lora, or all of a backbone",
            )
        optimizer = make_optimizer(self, self.optimizer, self.parameter_groups)
        _check_eps(optimizer)
        # The weights of a run may be those of a small model from scratch.
        released = self.backbone.path is not None and self.backbone.run() is None
        if released and self.backbone.lora is None and self.model is not None and self.trainer.is_global_zero:
            check_rates(optimizer, self.model.parameters())
        if self.lr_scheduler is None:
            return optimizer
        scheduler = self.lr_scheduler(optimizer)
        trial = bool(getattr(self.trainer, "fast_dev_run", False))  # too short for any plan
        if isinstance(scheduler, WarmupStableDecay) and scheduler.total_steps is None and not trial:
            scheduler.set_total(self.trainer.estimated_stepping_batches)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def on_fit_start(self) -> None:
        """Switch dropout on: pretrained models arrive in evaluation mode."""
        assert self.model is not None
        self.model.train()

    def on_train_epoch_start(self) -> None:
        """Say once if a schedule has brought the learning rate to nothing, and there are epochs to be trained."""
        groups = [group for optimizer in self.trainer.optimizers for group in optimizer.param_groups]
        fallen = [group for group in groups if group["lr"] < 1e-6 * group.get("initial_lr", 0.0)]
        if fallen and self.current_epoch and not self._told and self.trainer.is_global_zero:
            self._told = True
            _log.warning(
                "the learning rate is %.1e at the start of epoch %d, below a millionth of what it was (%.1e): hardly"
                " anything is learnt from here on; model.lr_scheduler is stepped after each optimizer step, not once an"
                " epoch",
                fallen[0]["lr"],
                self.current_epoch,
                fallen[0]["initial_lr"],
            )

    # -- steps ------------------------------------------------------------------------------------------------------

    def on_train_batch_start(self, batch: ThoughtBatch, batch_idx: int) -> None:
        """Key this step's randomness (dropout), so that a resumed run draws what an uninterrupted one would have."""
        torch.manual_seed(keyed_seed("step", run_seed(), self.current_epoch, batch_idx, self.global_rank))

    def training_step(self, batch: ThoughtBatch, batch_idx: int) -> Tensor:
        """One loss: each term's mean over what it counts in all ranks' rows, or each rank's own (``loss_average``).

        Over all ranks, with ``trainer.accumulate_grad_batches`` the gradient is that of the means over all accumulated
        batches, whatever their sizes; what is logged is each batch's own mean.

        Raises:
            UserError: If the loss is not finite; no step is taken.
        """
        terms, extras = self.terms(batch)
        window = self._window(batch, terms)
        numbers = numbers_of(terms, window)
        if self.trainer.world_size > 1:
            mine = numbers.to(self.device)
            numbers = torch.as_tensor(self.trainer.strategy.reduce(mine, reduce_op="sum")).cpu()
        found = taken_apart(terms, numbers)
        means = {name: mean_of(sums, counts).item() for name, (sums, counts, _) in found.items()}
        mean = sum(term.weight * means[name] for name, term in terms.items())
        if not math.isfinite(mean):
            self._stop_on_bad_loss(mean, batch_idx)
        self.log("train/loss", mean, prog_bar=True, on_step=True, on_epoch=True, batch_size=len(batch))
        for name, value in (*extras.items(), *(means.items() if len(means) > 1 else ())):
            self.log(f"train/{name}", value, on_step=True, on_epoch=True, batch_size=len(batch))
        if self.loss_average == "batches":
            return divided(terms, {name: term.counts for name, term in terms.items()}, 1.0)
        # DDP averages gradients over ranks, and Lightning over the batches of an optimizer step.
        factor = float(self.trainer.world_size * self.trainer.accumulate_grad_batches)
        return divided(terms, {name: counts for name, (_, _, counts) in found.items()}, factor)

    def _window(self, batch: ThoughtBatch, terms: Mapping[str, Term]) -> dict[str, Tensor]:
        """This rank's counts of all batches of the optimizer step that a batch belongs to."""
        mates = batch.window.batches if batch.window is not None else (batch,)
        if self.trainer.accumulate_grad_batches > 1 and batch.window is None and self.loss_average == "tokens":
            raise UserError(
                "batches are accumulated, and a batch does not say which ones it shares its optimizer step with",
                where="trainer.accumulate_grad_batches",
                why="each term of the loss is divided by what all of them count",
                fix="load the data with lcot's data modules, or set model.loss_average to 'batches'",
            )
        if len(mates) == 1:
            return {name: term.counts for name, term in terms.items()}
        counted = [self.counts(mate) for mate in mates]
        return {name: torch.stack([counts[name].cpu() for counts in counted]).sum(dim=0) for name in terms}

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Log the learning rate, and the global gradient norm before clipping, in the steps that reach the logger."""
        every = max(1, self.trainer.log_every_n_steps)  # type: ignore[attr-defined]
        if (self.trainer.global_step + 1) % every == 0:
            for number, group in enumerate(optimizer.param_groups):
                self.log("train/lr" if not number else f"train/lr/{_tag(group['name'])}", float(group["lr"]))
            gradients = [parameter.grad for parameter in self.parameters() if parameter.grad is not None]
            norm = torch.nn.utils.get_total_norm(gradients)
            self.log("train/grad_norm", norm.full_tensor() if isinstance(norm, DTensor) else norm)

    def validation_step(self, batch: ThoughtBatch, batch_idx: int) -> dict[str, Any]:
        """Teacher-forced loss and generated answers of a batch.

        Returns:
            The answers, under ``answers``: callbacks that show some of them need not have them written once more. Under
            ``right``, of the one run which questions were answered right.
        """
        summed, tokens, _ = self.loss(batch)
        self.evaluation("val").average("loss").update(summed, tokens)
        answers = self.answer(batch)
        return {"answers": answers, "right": self._count("val", batch, Votes.single(answers))}

    # -- checkpoints ------------------------------------------------------------------------------------------------

    def describe(self) -> dict[str, Any]:
        """What a checkpoint must know to be rebuilt without its config, in plain values (``weights_only`` loads it)."""
        assert self.model is not None and self.tokenizer is not None
        return {
            "format": FORMAT,
            "module": type(self).__name__,
            "class": own_class(type(self)),
            "backbone": self.model.config.to_json_string(use_diff=False),
            "dtype": self.backbone.dtype,
            "attention": self.backbone.attention,
            "lora": self.backbone.lora.described() if self.backbone.lora is not None else None,
            "frozen": {name: asdict(weights) for name, weights in self.frozen.items()},
            "vocabulary": vocabulary_hash(self.tokenizer),
            "text": asdict(self.text),
            "extractors": list(self.extractors),
            "max_new_tokens": self.max_new_tokens,
            "sampling": asdict(self.sampling),
        }

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what is trained, and add the description under ``lcot``."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["lcot"] = {**checkpoint.get("lcot", {}), **self.describe()}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Check that a checkpoint fits this module, and remember the stage it was trained to.

        Raises:
            CheckpointError: If it is of another framework, method, model or tokenizer, or beside other frozen weights.
        """
        saved = check_fits(checkpoint, self.describe())
        self.trained_stage = saved["stage"]

    # -- helpers ----------------------------------------------------------------------------------------------------

    def _show_thoughts(self, thoughts: Tensor, there: Tensor) -> None:
        """Show the thoughts of a batch to :attr:`watch`, while there is training."""
        if self.watch is not None and self.training:
            self.watch(thoughts.detach(), there)

    def _stop_on_bad_loss(self, loss: float, batch_idx: int) -> None:
        rates = [group["lr"] for optimizer in self.trainer.optimizers for group in optimizer.param_groups]
        raise UserError(
            f"the training loss is {loss}",
            where=f"epoch {self.current_epoch}, batch {batch_idx}, learning rate {max(rates, default=0.0):.2e}",
            why="the step was not taken; the weights of the last checkpoint are untouched",
            fix="lower the learning rate, clip gradients (trainer.gradient_clip_val), or look at this batch's data",
        )


def _check_eps(optimizer: torch.optim.Optimizer) -> None:
    """Refuse an optimizer that divides by zero: in float16, most squares of gradients are 0, and so is a small eps."""
    for group in optimizer.param_groups:
        eps = group.get("eps")
        if isinstance(eps, float) and any(
            own.dtype == torch.float16 and torch.tensor(eps, dtype=own.dtype) == 0 for own in group["params"]
        ):
            raise UserError(
                f"the optimizer's eps is {eps:g}, and the weights are float16",
                where="model.optimizer.eps, trainer.precision",
                why="float16 has no number between 0 and 6e-8: the first step would divide by zero",
                fix="set eps to 1e-4, or trainer.precision to bf16-true or bf16-mixed",
            )


def _tag(name: str) -> str:
    """A name as all loggers take it."""
    return re.sub(r"[^\w.+-]+", "_", name)

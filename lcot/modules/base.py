"""What all modules share: loss over all ranks, validation by generation, checkpoints that know what they hold."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Literal, get_args

import lightning as L
import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from lcot.errors import UserError
from lcot.metrics import accuracy_names, extractor
from lcot.modules.backbone import Backbone, context_length
from lcot.modules.description import FORMAT, check_fits, vocabulary_hash
from lcot.modules.evaluation import Answers, Evaluation
from lcot.modules.schedules import WarmupStableDecay
from lcot.reasoning.batch import ThoughtBatch
from lcot.reasoning.decode import Sampling
from lcot.reasoning.keyed import keyed_seed, run_seed
from lcot.reasoning.layout import TextFormat
from lcot.reasoning.tokens import SpecialTokens

LossAverage = Literal["tokens", "batches"]


class ReasoningModule(L.LightningModule):
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
    """

    model: PreTrainedModel | None

    def __init__(
        self,
        backbone: Backbone,
        optimizer: OptimizerCallable,
        lr_scheduler: LRSchedulerCallable | None,
        max_new_tokens: int,
        sampling: Sampling | None,
        loss_average: LossAverage = "tokens",
    ) -> None:
        super().__init__()
        if max_new_tokens < 1:
            raise UserError(f"max_new_tokens is {max_new_tokens}", where="model.max_new_tokens", fix="use 1 or more")
        if loss_average not in get_args(LossAverage):
            raise UserError.unknown(
                "loss_average", str(loss_average), get_args(LossAverage), where="model.loss_average"
            )
        self.loss_average: LossAverage = loss_average
        self.backbone = backbone
        self.optimizer = optimizer
        self.lr_scheduler = lr_scheduler
        self.max_new_tokens = max_new_tokens
        self.sampling = sampling or Sampling()
        self.model = None
        self.tokenizer: PreTrainedTokenizerBase | None = None
        self.special: SpecialTokens | None = None
        self.text = TextFormat()
        self.extractors: tuple[str, ...] = ("string",)
        self.trained_stage: int | None = None
        """The stage of the loaded checkpoint; ``None`` for a model that was not loaded."""
        self._first_tokens = self._tokens = 0.0
        self.configure_metrics()

    @property
    def free_thoughts(self) -> int:
        """Thoughts that inference may add to those of the curriculum."""
        return 0

    # -- what a method defines ------------------------------------------------------------------------------------

    @abstractmethod
    def loss(self, batch: ThoughtBatch) -> tuple[Tensor, int, dict[str, Tensor]]:
        """Loss summed over supervised tokens, their number, and scalars worth logging."""

    @abstractmethod
    def answer(self, batch: ThoughtBatch) -> Answers:
        """Think and write for every row of a batch."""

    # -- set-up -----------------------------------------------------------------------------------------------------

    def attach(
        self,
        tokenizer: PreTrainedTokenizerBase,
        special: SpecialTokens,
        text: TextFormat,
        extractors: Sequence[str] = ("string",),
    ) -> None:
        """Tell the module what its ids mean, and how answers are read from its texts.

        Args:
            tokenizer: With the thought tokens.
            special: Their ids.
            text: How question, steps and answer are joined.
            extractors: Names of extractors: first that of ``accuracy``, then those of ``accuracy_NAME``.

        Raises:
            UserError: If there is no such extractor.
        """
        self.tokenizer, self.special, self.text = tokenizer, special, text
        self._read_answers_by(extractors)

    def setup(self, stage: str) -> None:
        """Read answers as the trainer's data module says, also where the model came from an earlier run."""
        data = getattr(self.trainer, "datamodule", None)
        if data is not None:
            self._read_answers_by(data.extractors)

    def configure_model(self) -> None:
        """Make the language model for the data module's tokenizer; does nothing if there is one already."""
        if self.model is None:
            data = getattr(self.trainer, "datamodule", None)
            if data is None:
                raise UserError(
                    "the trainer has no data module, so the model does not know its tokenizer",
                    fix="pass trainer.fit(model, datamodule=…), or call model.attach(…) and set model.model",
                )
            self.attach(data.set_up_tokenizer(), data.special, data.text, data.extractors)
            assert self.tokenizer is not None and self.special is not None
            self.backbone.check_tokenizer(data.tokenizer_name, self.tokenizer)
            self.model = self.backbone.build(self.tokenizer, self.special, run_seed())
            limit = context_length(self.model)
            if limit is not None:
                data.check_context(limit, self.free_thoughts + self.max_new_tokens)

    def configure_metrics(self) -> None:
        """Metrics of validation and test, none counted."""
        self.evaluations = nn.ModuleDict({split: Evaluation(self.extractors) for split in ("val", "test")})

    def evaluation(self, split: str) -> Evaluation:
        """The metrics of ``val`` or ``test``."""
        found = self.evaluations[split]
        assert isinstance(found, Evaluation)
        return found

    def configure_optimizers(self) -> Any:
        """Optimizer over the trainable parameters, and the schedule if there is one."""
        try:
            optimizer = self.optimizer([parameter for parameter in self.parameters() if parameter.requires_grad])
        except ValueError as err:
            raise UserError("the optimizer cannot be made", where="model.optimizer", why=str(err)) from err
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

    # -- steps ------------------------------------------------------------------------------------------------------

    def on_train_batch_start(self, batch: ThoughtBatch, batch_idx: int) -> None:
        """Key this step's randomness (dropout), so that a resumed run draws what an uninterrupted one would have."""
        torch.manual_seed(keyed_seed("step", run_seed(), self.current_epoch, batch_idx, self.global_rank))

    def training_step(self, batch: ThoughtBatch, batch_idx: int) -> Tensor:
        """One loss: the mean over the supervised tokens of all ranks' rows, or each rank's own (``loss_average``).

        Over tokens, with ``trainer.accumulate_grad_batches`` the gradient is that of the mean over all tokens of the
        accumulated batches, whatever their sizes; what is logged is each batch's own mean.

        Raises:
            UserError: If the loss is not finite; no step is taken.
        """
        summed, tokens, extras = self.loss(batch)
        # DDP averages gradients over ranks; scaling by world / all tokens turns that into one token mean.
        totals = torch.stack([summed.detach().double(), summed.new_tensor(tokens).double()])
        if self.trainer.world_size > 1:
            totals = self.trainer.strategy.reduce(totals, reduce_op="sum")
        mean = float(totals[0] / totals[1])
        if not torch.isfinite(totals[0]):
            self._stop_on_bad_loss(mean, batch_idx)
        self.log("train/loss", mean, prog_bar=True, on_step=True, on_epoch=True, batch_size=len(batch))
        for name, value in extras.items():
            self.log(f"train/{name}", value, on_step=True, on_epoch=True, batch_size=len(batch))
        if batch_idx % self.trainer.accumulate_grad_batches == 0:
            self._first_tokens, self._tokens = float(totals[1]), 0.0
        self._tokens += float(totals[1])
        if self.loss_average == "batches":
            return summed / tokens
        return summed * (self.trainer.world_size / self._first_tokens)

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Make accumulated gradients exact; log the learning rate, and the global gradient norm before clipping.

        Logging happens in the steps that reach the logger.
        """
        # Lightning has divided by the number of batches, and training_step by the first one's tokens.
        factor = self.trainer.accumulate_grad_batches * self._first_tokens / self._tokens
        if factor != 1.0 and self.loss_average == "tokens":
            for parameter in self.parameters():
                if parameter.grad is not None:
                    parameter.grad.mul_(factor)
        every = max(1, self.trainer.log_every_n_steps)  # type: ignore[attr-defined]
        if (self.trainer.global_step + 1) % every == 0:
            self.log("train/lr", float(optimizer.param_groups[0]["lr"]))
            gradients = [parameter.grad for parameter in self.parameters() if parameter.grad is not None]
            self.log("train/grad_norm", torch.nn.utils.get_total_norm(gradients))

    def validation_step(self, batch: ThoughtBatch, batch_idx: int) -> None:
        """Teacher-forced loss and generated answers of a batch."""
        summed, tokens, _ = self.loss(batch)
        self.evaluation("val").average("loss").update(summed, tokens)
        self._count("val", batch, self.answer(batch))

    def test_step(self, batch: ThoughtBatch, batch_idx: int) -> None:
        """Generated answers of a batch."""
        self._count("test", batch, self.answer(batch))

    def predict_step(self, batch: ThoughtBatch, batch_idx: int) -> list[dict[str, Any]]:
        """One record a question: see :meth:`records`."""
        return self.records(batch, self.answer(batch))

    def on_validation_epoch_start(self) -> None:
        """Forget what a sanity check, or a validation that was broken off, has counted."""
        self.evaluation("val").reset()

    def on_test_epoch_start(self) -> None:
        """Forget what a test that was broken off has counted."""
        self.evaluation("test").reset()

    def on_validation_epoch_end(self) -> None:
        """Log validation's means over all ranks."""
        self._log_means("val")

    def on_test_epoch_end(self) -> None:
        """Log test's means over all ranks."""
        self._log_means("test")

    def records(self, batch: ThoughtBatch, answers: Answers) -> list[dict[str, Any]]:
        """Questions with what was written, as plain values.

        ``tokens`` counts generated tokens without eos, ``thoughts`` what stands between the markers; ``seconds`` is the
        batch's wall time divided by its rows; ``answer`` is ``None`` where none could be extracted. ``steps`` is the
        number of steps of the gold reasoning, to see how accuracy falls with longer chains. ``answer`` and ``correct``
        are those of the first extractor; each further one has a ``correct_NAME``.
        """
        rows = []
        first, *further = map(extractor, self.extractors)
        marker = self.text.before_answer
        assert self.special is not None
        texts, written = self.decode_texts(answers), answers.written(self.special.eos)
        seconds = answers.seconds / len(batch)
        for place, (example, text) in enumerate(zip(batch.examples, texts, strict=True)):
            answer = first.extract(text, marker)
            rows.append(
                {
                    "index": int(batch.index[place]),
                    "id": example.id,
                    "question": example.question,
                    "gold": example.answer,
                    "steps": len(example.steps),
                    "output": text,
                    "answer": answer,
                    "correct": first.equal(answer, example.answer),
                    **{
                        f"correct_{other.name}": other.equal(other.extract(text, marker), example.answer)
                        for other in further
                    },
                    "thoughts": int(answers.thoughts[place]),
                    "tokens": written[place],
                    "seconds": round(seconds, 6),
                }
            )
        return rows

    def decode_texts(self, answers: Answers) -> list[str]:
        """The written text of each row, without eos."""
        assert self.tokenizer is not None and self.special is not None
        eos = self.special.eos
        return [str(self.tokenizer.decode([token for token in row if token != eos])) for row in answers.tokens]

    # -- checkpoints ------------------------------------------------------------------------------------------------

    def describe(self) -> dict[str, Any]:
        """What a checkpoint must know to be rebuilt without its config, in plain values (``weights_only`` loads it)."""
        assert self.model is not None and self.tokenizer is not None
        return {
            "format": FORMAT,
            "module": type(self).__name__,
            "backbone": self.model.config.to_json_string(use_diff=False),
            "dtype": self.backbone.dtype,
            "attention": self.backbone.attention,
            "vocabulary": vocabulary_hash(self.tokenizer),
            "text": asdict(self.text),
            "extractors": list(self.extractors),
            "max_new_tokens": self.max_new_tokens,
            "sampling": asdict(self.sampling),
        }

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the description under ``lcot``."""
        checkpoint["lcot"] = {**checkpoint.get("lcot", {}), **self.describe()}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Check that a checkpoint fits this module, and remember the stage it was trained to.

        Raises:
            CheckpointError: If it is of another framework, method, model or tokenizer.
        """
        saved = check_fits(checkpoint, self.describe())
        self.trained_stage = saved.get("stage")

    # -- helpers ----------------------------------------------------------------------------------------------------

    def _read_answers_by(self, extractors: Sequence[str]) -> None:
        if tuple(extractors) != self.extractors:
            accuracy_names(extractors)
            self.extractors = tuple(extractors)
            self.configure_metrics()

    def _count(self, split: str, batch: ThoughtBatch, answers: Answers) -> None:
        assert self.special is not None
        golds = [example.answer for example in batch.examples]
        texts, marker = self.decode_texts(answers), self.text.before_answer
        self.evaluation(split).count(texts, golds, marker, answers, self.special.eos)

    def _log_means(self, split: str) -> None:
        evaluation = self.evaluation(split)
        # A resumed run replays this hook for an epoch without batches; nothing was counted then.
        if self.trainer.sanity_checking or not evaluation.begun:
            return
        for name, value in evaluation.means().items():
            self.log(f"{split}/{name}", value, prog_bar=name == "accuracy", rank_zero_only=False)
        examples = self.trainer.strategy.reduce(evaluation.examples(), reduce_op="sum")
        self.log(f"{split}/examples", torch.as_tensor(examples).float())
        evaluation.reset()

    def _stop_on_bad_loss(self, loss: float, batch_idx: int) -> None:
        rates = [group["lr"] for optimizer in self.trainer.optimizers for group in optimizer.param_groups]
        raise UserError(
            f"the training loss is {loss}",
            where=f"epoch {self.current_epoch}, batch {batch_idx}, learning rate {max(rates, default=0.0):.2e}",
            why="the step was not taken; the weights of the last checkpoint are untouched",
            fix="lower the learning rate, clip gradients (trainer.gradient_clip_val), or look at this batch's data",
        )

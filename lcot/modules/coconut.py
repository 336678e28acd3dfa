"""Coconut: the last hidden state is the next input embedding (Hao et al., arXiv 2412.06769)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, get_args

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn
from torch.nn import functional as F

from lcot.errors import CheckpointError, UserError
from lcot.modules.backbone import Backbone
from lcot.modules.base import LossAverage, ReasoningModule
from lcot.modules.optimizers import ParameterGroup
from lcot.modules.sharding import is_sharded
from lcot.modules.voting import Voting
from lcot.reasoning.batch import ThoughtBatch, heads
from lcot.reasoning.compiled import OneColumn
from lcot.reasoning.decode import Sampling
from lcot.reasoning.layout import IGNORE
from lcot.reasoning.recompute import recomputable_layers
from lcot.reasoning.think import Recycle, Thinking, supervised_loss, think, think_until


@dataclass(frozen=True)
class Halting:
    """A binary classifier on the latest state decides when to leave latent mode (the paper's second option).

    Attributes:
        weight: Weight of the classifier's loss beside the language-model loss.
        threshold: Probability of stopping above which a row stops.
        max_thoughts: Upper bound at inference.
    """

    weight: float = 1.0
    threshold: float = 0.5
    max_thoughts: int = 16

    def __post_init__(self) -> None:
        if self.weight <= 0 or not 0 < self.threshold < 1 or self.max_thoughts < 0:
            raise UserError(
                f"weight {self.weight}, threshold {self.threshold}, max_thoughts {self.max_thoughts}",
                where="model.halting",
                fix="weight is above 0, threshold between 0 and 1, max_thoughts 0 or more",
            )


class Coconut(ReasoningModule):
    """A decoder that thinks in its own hidden states, and every baseline with another curriculum.

    Which method this is depends on the curriculum alone: without thoughts it is CoT or No-CoT, with pauses the
    pause-token model. Defaults of the optimizer are those of the paper (AdamW, 1e-4, weight decay 0.01).

    Args:
        backbone: Which decoder; all its weights are trained, unless it has LoRA.
        optimizer: Makes the optimizer from the parameters.
        lr_scheduler: Makes the learning-rate schedule, stepped after each optimizer step; ``None`` keeps the rate.
        max_new_tokens: Longest text that is generated for an answer.
        sampling: How tokens are chosen in validation, test and prediction; greedy if not given.
        halting: A classifier that ends the thoughts; ``None`` for the curriculum's fixed number, as in all published
            runs.
        loss_average: What the training loss is a mean over: ``tokens`` of an optimizer step, or ``batches``, each with
            a token mean of its own, as in the released code and its published numbers.
        recycle: Which state is fed back as a thought: that behind the model's final norm (``post_norm``), as in the
            released code and its published numbers, or the one before it (``pre_norm``).
        compiled_decoding: Compile the passes of single thoughts and tokens when answering, and record them as CUDA
            graphs where there is CUDA (see :mod:`lcot.reasoning.compiled`, which also says what was measured). Answers
            are the same up to rounding; each new size of a batch is compiled first, which its ``seconds`` include.
            Training is as before.
        voting: How many texts a question gets in test and prediction, and which answer counts; one if not given.
        activation_checkpointing: Keep what enters each layer, its keys and its values for the backward pass, and
            compute the rest once more: less memory, more time, the same gradients.
        parameter_groups: Parameters with rates, weight decay or an optimizer of their own; all are trained alike if not
            given.
    """

    def __init__(
        self,
        backbone: Backbone,
        optimizer: OptimizerCallable = lambda parameters: torch.optim.AdamW(parameters, lr=1e-4, weight_decay=0.01),
        lr_scheduler: LRSchedulerCallable | None = None,
        max_new_tokens: int = 128,
        sampling: Sampling | None = None,
        halting: Halting | None = None,
        loss_average: LossAverage = "tokens",
        recycle: Recycle = "post_norm",
        compiled_decoding: bool = False,
        voting: Voting | None = None,
        activation_checkpointing: bool = False,
        parameter_groups: list[ParameterGroup] | None = None,
    ) -> None:
        super().__init__(
            backbone, optimizer, lr_scheduler, max_new_tokens, sampling, loss_average, voting, parameter_groups
        )
        self.activation_checkpointing = activation_checkpointing
        if recycle not in get_args(Recycle):
            raise UserError.unknown("recycle", str(recycle), get_args(Recycle), where="model.recycle")
        if recycle == "pre_norm" and compiled_decoding:
            raise UserError(
                "recycle is 'pre_norm', and compiled_decoding is true",
                where="model.recycle, model.compiled_decoding",
                why="compiled passes end with the norm",
                fix="set compiled_decoding to false",
            )
        self.recycle: Recycle = recycle
        self.compiled_decoding = compiled_decoding
        self._one_column: OneColumn | None = None
        self.halting = halting
        self.halt: nn.Linear | None = None

    def configure_model(self) -> None:
        """Make the decoder and, if asked for, the classifier.

        Raises:
            UserError: If decoding is to be compiled, or layers are to be computed again, and this decoder's cannot be.
        """
        super().configure_model()
        assert self.model is not None
        if self.activation_checkpointing:
            recomputable_layers(self.model)
        if self.compiled_decoding and is_sharded(self._trainer):
            raise UserError(
                "compiled_decoding is true, and the model is shared out among processes",
                where="model.compiled_decoding, trainer.strategy",
                why="a compiled pass reads weights that stay where they are",
                fix="set compiled_decoding to false",
            )
        self._compiled_passes()
        if self.halting is not None and self.halt is None:
            self.halt = nn.Linear(self.model.config.hidden_size, 1)
            nn.init.zeros_(self.halt.weight)
            nn.init.zeros_(self.halt.bias)

    @property
    def free_thoughts(self) -> int:
        """With a classifier, as many as it is allowed."""
        return self.halting.max_thoughts if self.halting is not None else 0

    def loss(self, batch: ThoughtBatch) -> tuple[Tensor, int, dict[str, Tensor]]:
        """Cross-entropy summed over supervised tokens; with a classifier, its weighted loss is added.

        Returns:
            The sum, the number of supervised tokens, and ``thought_norm`` (mean L2 norm of the thoughts' states, behind
            the final norm) where the batch has thoughts.
        """
        assert self.model is not None
        thinking = think(self.model, batch, recycle=self.recycle, checkpointing=self.activation_checkpointing)
        summed, tokens = supervised_loss(self.model, batch, thinking)
        extras: dict[str, Tensor] = {}
        slots = torch.arange(batch.max_thoughts, device=self.device) < batch.thoughts[:, None]
        if batch.max_thoughts:  # continuous ones
            # Each thought is the state before it; in a single pass all of them are the one at bot.
            fed = thinking.states[:, : batch.max_thoughts if batch.stepped else 1]
            norms = fed.detach().float().norm(dim=-1).expand(-1, batch.max_thoughts)
            extras["thought_norm"] = (norms * slots).sum() / slots.sum()
            self._show_thoughts(fed.expand(-1, batch.max_thoughts, -1), slots)
        if self.halt is not None:
            halting, right = self._halting_loss(batch, thinking)
            extras["halt_accuracy"] = right
            summed = summed + self.halting_weight * halting
        return summed, tokens, extras

    def thinkings(self, batch: ThoughtBatch, paths: int) -> Iterator[Thinking]:
        """Think the fixed number of thoughts, or as many as the classifier says; there is one path."""
        assert self.model is not None
        if self.halt is None or not batch.marked:
            yield think(self.model, batch, keep_cache=True, compiled=self._compiled_passes(), recycle=self.recycle)
        else:
            yield self._think_freely(batch)

    def describe(self) -> dict[str, Any]:
        """As every module does, the classifier's settings, and which state is fed back."""
        halting = asdict(self.halting) if self.halting is not None else None
        return {**super().describe(), "halting": halting, "recycle": self.recycle}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Check also that both or neither have a classifier.

        Raises:
            CheckpointError: If only one has, other states are fed back, or anything else does not fit.
        """
        super().on_load_checkpoint(checkpoint)
        recycled = checkpoint["lcot"]["recycle"]
        if recycled != self.recycle:
            raise CheckpointError(
                f"the checkpoint's thoughts are states of kind {recycled!r}, and the config has {self.recycle!r}",
                where="model.recycle",
                fix="use the config.yaml of the checkpoint's run",
            )
        theirs, mine = ("halt.weight" in checkpoint["state_dict"], self.halting is not None)
        if theirs != mine:
            words = {True: "a classifier that ends the thoughts", False: "no classifier"}
            raise CheckpointError(
                f"the checkpoint has {words[theirs]}, and the config has {words[mine]}",
                where="model.halting",
                fix="use the config.yaml of the checkpoint's run",
            )

    @property
    def halting_weight(self) -> float:
        """Weight of the classifier's loss; 0 without one."""
        return self.halting.weight if self.halting is not None else 0.0

    def _halting_loss(self, batch: ThoughtBatch, thinking: Thinking) -> tuple[Tensor, Tensor]:
        """Binary cross-entropy at bot and at each thought: stop at the last one, go on before.

        Returns:
            Each row's mean over its states, times its supervised tokens, summed: the caller divides by all tokens, and
            a row so counts the same whatever rows it shares a batch or a rank with. And the share of right decisions.
        """
        assert self.halt is not None
        if not batch.marked:
            # Every trainable parameter must take part in every loss, or DDP waits for it at the next step.
            idle = sum(parameter.sum() for parameter in self.halt.parameters()) * 0.0
            return torch.as_tensor(idle), torch.ones((), device=self.device)
        if batch.max_thoughts:
            number = torch.arange(batch.max_thoughts + 1, device=self.device)
            states = thinking.states[:, : batch.max_thoughts + 1]
            asked = number <= batch.thoughts[:, None]
            target = (number == batch.thoughts[:, None]).float()
        else:  # heads are not in line, and eot follows bot
            states = thinking.state_at(batch.prompt_ends - 2)[:, None]
            target = torch.ones_like(states[..., 0], dtype=torch.float32)
            asked = target.bool()
        logits = self.halt(states.to(self.halt.weight.dtype))[..., 0].float()
        losses = F.binary_cross_entropy_with_logits(logits, target, reduction="none") * asked
        tokens = (batch.labels != IGNORE).sum(dim=1)
        loss = (losses.sum(dim=1) / asked.sum(dim=1) * tokens).sum()
        right = ((logits > 0) == target.bool())[asked].float().mean()
        return loss, right

    def _think_freely(self, batch: ThoughtBatch) -> Thinking:
        assert self.model is not None and self.special is not None and self.halting is not None
        classifier, threshold = self.halt, self.halting.threshold
        assert classifier is not None

        def stop(states: Tensor, thoughts: int) -> Tensor:
            chance: Tensor = classifier(states.to(classifier.weight.dtype))[:, 0].sigmoid()
            return chance > threshold

        prompts = heads(batch, self.special.pad)
        most, compiled = self.halting.max_thoughts, self._compiled_passes()
        return think_until(self.model, prompts, stop, most, self.special.eot, compiled=compiled, recycle=self.recycle)

    def _compiled_passes(self) -> OneColumn | None:
        if not self.compiled_decoding:
            return None
        assert self.model is not None
        if self._one_column is None or self._one_column.model is not self.model:
            self._one_column = OneColumn(self.model, room=self.max_new_tokens)
        return self._one_column

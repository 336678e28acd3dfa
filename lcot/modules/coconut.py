"""Coconut: the last hidden state is the next input embedding (Hao et al., arXiv 2412.06769)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from functools import partial
from typing import Any, get_args

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn

from lcot.errors import UserError
from lcot.modules.backbone import Backbone
from lcot.modules.base import LossAverage, ReasoningModule
from lcot.modules.coconut_checks import check_saved, check_spans, check_thoughts, check_together
from lcot.modules.halting import Halting, halting_loss
from lcot.modules.objectives.base import Objective
from lcot.modules.objectives.learning import Objectives
from lcot.modules.optimizers import ParameterGroup
from lcot.modules.parts import described_part
from lcot.modules.sharding import is_sharded
from lcot.modules.teacher import LoadedTeacher, Teacher, check_same_teacher, teacher_for
from lcot.modules.terms import TEXT, Term
from lcot.modules.voting import Voting
from lcot.modules.work import Columns, thinking_flops
from lcot.reasoning.batch import ThoughtBatch, heads
from lcot.reasoning.compiled import OneColumn
from lcot.reasoning.curriculum import Curriculum
from lcot.reasoning.decode import Sampling
from lcot.reasoning.feeds import Feed, Identity
from lcot.reasoning.flops import Shape, linear
from lcot.reasoning.given import Given
from lcot.reasoning.heads import Head
from lcot.reasoning.keyed import keyed_seed, run_seed
from lcot.reasoning.parallel import Rounds
from lcot.reasoning.recompute import recomputable_layers
from lcot.reasoning.think import Recycle, Thinking, supervised_loss, think
from lcot.reasoning.thinker import Thinker
from lcot.reasoning.unmasked import Unmasked
from lcot.reasoning.until import think_until

_log = logging.getLogger("lcot")


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
        thinker: How thoughts come about: in rounds over all of them at once (``Jacobi``, ``Looped``), or made of the
            written chain in training (``Given``); one after another if not given.
        feed: What a state becomes before it is read as a thought (``Projection``, ``Add``, ``Rescale``,
            ``Expectation``, the heads ``SpanHead`` and ``LatentHead``, or a class of one's own); itself if not given.
        objectives: What is learnt beside the text, by names under which the means are logged; ``text`` itself may be
            given a weight.
        teacher: A frozen model that reads the written chains for those objectives that learn from a teacher; the model
            itself, as it is at that moment, if not given.
        unmasked: Let thoughts look at the padding on their left, as the released code of CODI and PCCoT does
            (:mod:`lcot.reasoning.unmasked`): results then depend on batch mates, in training, validation and test.
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
        thinker: Thinker | None = None,
        feed: Feed | None = None,
        objectives: dict[str, Objective] | None = None,
        teacher: Teacher | None = None,
        unmasked: Unmasked | None = None,
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
        self.thinker = thinker
        self.feed = feed
        self.objectives = Objectives(objectives or {})
        self.unmasked = unmasked
        self.teacher = teacher
        self.taught_by: LoadedTeacher | None = None
        self._built = False
        check_together(self)
        if self.objectives.wanted and type(self).loss is not Coconut.loss:
            raise UserError(
                f"{type(self).__name__} has a loss() of its own, and there are objectives",
                where="model.objectives",
                why="the objectives would not be learnt",
                fix="write what it adds as an objective, or leave model.objectives out",
            )

    @property
    def views(self) -> tuple[str, ...]:
        """Those that the objectives read."""
        return self.objectives.views

    def configure_model(self) -> None:
        """Make the decoder and, if asked for, the classifier, the feed, and what objectives train.

        Raises:
            UserError: If decoding is to be compiled, or layers are to be computed again, and this decoder's cannot be;
                or if there is nothing to a thinker, a feed or an objective, since there are no continuous thoughts.
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
        parts = {
            "thinker": self.thinker,
            "feed": self.feed,
            "objectives": self.objectives.wanted or None,
            "unmasked": self.unmasked,
        }
        given = [f"model.{name}" for name, part in parts.items() if part is not None]
        if given and is_sharded(self._trainer):
            raise UserError(
                f"{' and '.join(name.partition('.')[2] for name in given)} given, and the model is shared out among"
                " processes",
                where=f"{', '.join(given)}, trainer.strategy",
                why="processes agree on sequential passes only",
                fix="use --trainer.strategy=ddp",
            )
        if not self._built:
            assert self.special is not None
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(keyed_seed("feed", run_seed()))
                if self.feed is not None:
                    self.feed.build(self.model)
            self.objectives.build(self.model, self.special, run_seed())
            if self.unmasked is not None and (self._trainer is None or self.trainer.is_global_zero):
                _log.warning("thoughts look at padding (model.unmasked), as published: results depend on batch mates")
            self._built = True
        self._compiled_passes()
        if self.teacher is not None and self.taught_by is None:
            self.taught_by = teacher_for(self, self.teacher)
        if self.halting is not None and self.halt is None:
            self.halt = nn.Linear(self.model.config.hidden_size, 1)
            nn.init.zeros_(self.halt.weight)
            nn.init.zeros_(self.halt.bias)

    @property
    def ends_thoughts(self) -> bool:
        """Whether the model itself says when thinking ends: by a classifier, or by the head that makes the thoughts."""
        return self.halting is not None or isinstance(self.thinker, Given)

    @property
    def free_thoughts(self) -> int:
        """Where the model ends them itself, as many as it is allowed."""
        if isinstance(self.thinker, Given):
            return self.thinker.max_thoughts
        return self.halting.max_thoughts if self.halting is not None else 0

    @property
    def draws_thoughts(self) -> bool:
        """Whether the feed is a head that can."""
        return isinstance(self.feed, Head) and self.feed.draws

    def loss(self, batch: ThoughtBatch) -> tuple[Tensor, int, dict[str, Tensor]]:
        """Cross-entropy summed over supervised tokens; with a classifier, its weighted loss is added.

        Returns:
            The sum, the number of supervised tokens, and ``thought_norm`` (mean L2 norm of what is read as
            thoughts) where the batch has thoughts.
        """
        return self._text_loss(batch, self.think(batch))

    def terms(self, batch: ThoughtBatch) -> tuple[dict[str, Term], dict[str, Tensor]]:
        """The text's loss and the objectives', out of one thinking."""
        if not self.objectives.wanted:
            terms, extras = super().terms(batch)
            return {TEXT: replace(terms[TEXT], weight=self.objectives.text_weight)}, extras
        assert self.model is not None
        teacher = self.taught_by.on(self.device) if self.taught_by is not None else None
        scene = self.objectives.look(self.model, batch, self.think, self.activation_checkpointing, teacher)
        scene.feed = self.feed
        summed, tokens, extras = self._text_loss(batch, scene.thinking)
        text = Term(summed[None], torch.tensor([tokens]), self.objectives.text_weight)
        return {TEXT: text, **self.objectives.terms(scene)}, extras

    def counts(self, batch: ThoughtBatch) -> dict[str, Tensor]:
        """Supervised tokens, and what the objectives count."""
        return {**super().counts(batch), **self.objectives.counts(batch)}

    def think(
        self,
        batch: ThoughtBatch,
        *,
        keep_cache: bool = False,
        rounds: Rounds | None = None,
        layers_at: Tensor | None = None,
    ) -> Thinking:
        """Run all passes over a batch: in training, for answers, and for whoever measures thoughts.

        Args:
            batch: B rows.
            keep_cache: Keep keys and values, to decode from them.
            rounds: Filled with what happens in each round, where thoughts come in rounds.
            layers_at: ``(B,)`` columns at which the states of all layers are kept; -1 for none.
        """
        assert self.model is not None
        options: dict[str, Any] = {
            "keep_cache": keep_cache,
            "checkpointing": self.activation_checkpointing,
            "layers_at": layers_at,
        }
        thinks: Callable[..., Thinking]
        if self.thinker is not None:
            thinks = partial(self.thinker, self.model, feed=self.feed or Identity(), rounds=rounds, **options)
        else:
            compiled = self._compiled_passes() if keep_cache and not torch.is_grad_enabled() else None
            thinks = partial(think, self.model, compiled=compiled, recycle=self.recycle, feed=self.feed, **options)
        if self.unmasked is not None:
            thinking = self.unmasked.think(thinks, self.model, batch, rounds=self.thinker is not None)
        else:
            thinking = thinks(batch)
        return thinking if self.feed is None else replace(thinking, spoken=self.feed.spoken)

    def _text_loss(self, batch: ThoughtBatch, thinking: Thinking) -> tuple[Tensor, int, dict[str, Tensor]]:
        assert self.model is not None
        summed, tokens = supervised_loss(self.model, batch, thinking)
        extras: dict[str, Tensor] = {}
        slots = torch.arange(batch.max_thoughts, device=self.device) < batch.thoughts[:, None]
        if batch.max_thoughts:  # continuous ones
            assert thinking.fed is not None
            fed = thinking.fed[:, : batch.max_thoughts]
            extras["thought_norm"] = (fed.detach().float().norm(dim=-1) * slots).sum() / slots.sum()
            self._show_thoughts(fed, slots)
        if self.feed is not None and thinking.sources is None:  # no thoughts, or no round in which they are made
            # Every trainable parameter must take part in every loss, or DDP waits for it at the next step.
            summed = summed + sum(parameter.sum() * 0.0 for parameter in self.feed.parameters())
        if self.halt is not None:
            halting, right = halting_loss(self.halt, batch, thinking)
            extras["halt_accuracy"] = right
            summed = summed + self.halting_weight * halting
        return summed, tokens, extras

    def thinkings(self, batch: ThoughtBatch, paths: int) -> Iterator[Thinking]:
        """Think the fixed number of thoughts, or as many as classifier or head say; there is one path."""
        assert self.model is not None
        if not self.ends_thoughts or not batch.marked:
            yield self.think(batch, keep_cache=True)
        else:
            yield self._think_freely(batch)

    def thinking_flops(self, batch: ThoughtBatch, thinking: Thinking, shape: Shape) -> list[int] | None:
        """Prompts, and thoughts by way of the thinker and the feed; unknown for a class that thinks in its own way."""
        own = (Coconut.think, Coconut.thinkings, Coconut._think_freely)
        if self.model is None or (type(self).think, type(self).thinkings, type(self)._think_freely) != own:
            return None
        stop = linear(self.halt) if self.halt is not None else 0
        if isinstance(self.thinker, Given) and isinstance(self.feed, Head):
            stop = self.feed.stop_flops(self.model)
        most = self.free_thoughts if batch.marked else 0  # nobody asks where their number is given
        return thinking_flops(shape, Columns.of(thinking), self.thinker, self.feed, self.model, stop, most)

    @property
    def spoken_flops(self) -> int:
        """Those of a head that text is written through."""
        return self.feed.spoken_flops() if self.feed is not None else 0

    def describe(self) -> dict[str, Any]:
        """As every module does, the classifier's settings, which state is fed back and how, and the thinker."""
        return {
            **super().describe(),
            "halting": asdict(self.halting) if self.halting is not None else None,
            "recycle": self.recycle,
            "thinker": described_part(self.thinker),
            "feed": described_part(self.feed),
            "teacher": asdict(self.taught_by.weights) if self.taught_by is not None else None,
            "unmasked": asdict(self.unmasked) if self.unmasked is not None else None,
        }

    @property
    def padding(self) -> dict[str, Any] | None:
        """How padding is looked at, in plain values, for a report; ``None`` where it is not, as it should be."""
        if self.unmasked is None:
            return None
        text = self.thinker is None if self.unmasked.text is None else self.unmasked.text
        seen = "thoughts and text" if text else "thoughts"
        return {"seen by": seen, "holds": self.unmasked.pads, "attention": self.backbone.attention}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Check also that both or neither have a classifier.

        Raises:
            CheckpointError: If only one has, other states are fed back, or anything else does not fit.
        """
        super().on_load_checkpoint(checkpoint)
        saved, halts = checkpoint["lcot"], "halt.weight" in checkpoint["state_dict"]
        check_saved(saved, self.recycle, {"thinker": self.thinker, "feed": self.feed}, halts, self.halting is not None)
        check_same_teacher(self, saved.get("teacher"))

    @property
    def halting_weight(self) -> float:
        """Weight of the classifier's loss; 0 without one."""
        return self.halting.weight if self.halting is not None else 0.0

    def check_schedule(self, schedule: Curriculum) -> None:
        """Check also that there are continuous thoughts where there are settings for them, and as many a step.

        Raises:
            UserError: If there is nothing to a thinker, a feed or an objective, or they count otherwise.
        """
        super().check_schedule(schedule)
        check_thoughts(schedule, self.thinker, self.feed, self.objectives.wanted, self.unmasked)
        check_spans(self, schedule)

    def _think_freely(self, batch: ThoughtBatch) -> Thinking:
        assert self.model is not None and self.special is not None
        prompts = heads(batch, self.special.pad)
        if isinstance(self.thinker, Given):
            assert isinstance(self.feed, Head)
            thinking = self.thinker.freely(self.model, prompts, self.feed, self.special.eot, self.sampling)
            return replace(thinking, spoken=self.feed.spoken)
        assert self.halting is not None
        classifier, threshold = self.halt, self.halting.threshold
        assert classifier is not None

        def stop(states: Tensor, thoughts: int) -> Tensor:
            chance: Tensor = classifier(states.to(classifier.weight.dtype))[:, 0].sigmoid()
            return chance > threshold

        most, compiled = self.halting.max_thoughts, self._compiled_passes()
        return think_until(self.model, prompts, stop, most, self.special.eot, compiled=compiled, recycle=self.recycle)

    def _compiled_passes(self) -> OneColumn | None:
        if not self.compiled_decoding:
            return None
        assert self.model is not None
        if self._one_column is None or self._one_column.model is not self.model:
            self._one_column = OneColumn(self.model, room=self.max_new_tokens)
        return self._one_column

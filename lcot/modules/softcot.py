"""SoftCoT: a frozen language model reads what a small frozen assistant made of the question (arXiv 2502.12134)."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from lcot.modules.assistant import Assistant, assistants_settings, prepared
from lcot.modules.backbone import Backbone
from lcot.modules.base import LossAverage, ReasoningModule
from lcot.modules.description import config_hash
from lcot.modules.frozen import freeze
from lcot.modules.hints import with_words
from lcot.modules.limits import context_length
from lcot.modules.optimizers import ParameterGroup
from lcot.modules.paths import Paths
from lcot.modules.projection import Projection
from lcot.modules.sharding import is_sharded
from lcot.modules.softcot_checks import (
    ASKING,
    Thoughts,
    check_alike,
    check_choices,
    check_reach,
    check_run,
    check_saved,
)
from lcot.modules.states import StateStore, default_folder
from lcot.modules.voting import Voting
from lcot.modules.work import soft_flops, words_flops
from lcot.reasoning.batch import ThoughtBatch
from lcot.reasoning.curriculum import ThoughtKind
from lcot.reasoning.decode import Sampling
from lcot.reasoning.dialogue import DialogueBuilder
from lcot.reasoning.feeds import embedding_scale, embedding_table
from lcot.reasoning.flops import Shape
from lcot.reasoning.keyed import keyed_seed, run_seed
from lcot.reasoning.layout import IGNORE
from lcot.reasoning.recompute import recomputable_layers
from lcot.reasoning.soft import contrast, repeat_rows, states_at_slots, think_given
from lcot.reasoning.think import Thinking, supervised_loss
from lcot.reasoning.tokens import SpecialTokens

__all__ = ["Paths", "SoftCoT", "Thoughts"]


class SoftCoT(ReasoningModule):
    """A frozen language model with soft thoughts in its prompt, and a trained projection that makes them.

    The assistant reads the question and N placeholders; its last hidden states there, through one linear map, take the
    places of N placeholders in the language model's prompt, which then reasons in words. The curriculum says how many
    (``Fixed`` with kind ``soft``), the data module's ``dialogue`` how both are asked. Defaults are the published ones.

    Args:
        backbone: The language model; frozen, unless it has LoRA.
        assistant: The assistant; frozen, unless it has LoRA.
        optimizer: Makes the optimizer from the trainable parameters.
        lr_scheduler: Makes the learning-rate schedule, stepped after each optimizer step; ``None`` keeps the rate.
        max_new_tokens: Longest text that is generated for an answer.
        sampling: How tokens are chosen in validation, test and prediction; greedy if not given.
        voting: How many texts a question gets in test and prediction, and which answer counts; one of each path if not
            given.
        loss_average: What the training loss is a mean over, ``tokens`` or ``batches``.
        thoughts: What stands at the places of the thoughts: the method itself, a baseline, or a control.
        paths: Several thoughts a question (SoftCoT++); ``None`` for one.
        states: Folder in which the assistant's states are kept between runs; ``auto`` for one of the user's cache
            that belongs to the assistant, ``None`` to keep them in memory. No effect with paths, or where the assistant
            is trained: it then reads the questions in every step.
        activation_checkpointing: Compute the layers that have a graph once more in the backward pass instead of keeping
            what they computed.
        parameter_groups: Parameters with rates, weight decay or an optimizer of their own; all are trained alike if not
            given.

    Raises:
        UserError: If these do not fit one another.
    """

    kinds: ClassVar[tuple[ThoughtKind, ...]] = ("soft", "none")

    def __init__(
        self,
        backbone: Backbone,
        assistant: Backbone | None = None,
        optimizer: OptimizerCallable = lambda parameters: torch.optim.AdamW(parameters, lr=2e-5, weight_decay=0.0),
        lr_scheduler: LRSchedulerCallable | None = None,
        max_new_tokens: int = 1024,
        sampling: Sampling | None = None,
        voting: Voting | None = None,
        loss_average: LossAverage = "tokens",
        thoughts: Thoughts = "projected",
        paths: Paths | None = None,
        states: str | None = "auto",
        activation_checkpointing: bool = False,
        parameter_groups: list[ParameterGroup] | None = None,
    ) -> None:
        super().__init__(
            backbone, optimizer, lr_scheduler, max_new_tokens, sampling, loss_average, voting, parameter_groups
        )
        check_choices(backbone, assistant, thoughts, paths)
        self.thoughts: Thoughts = thoughts
        self.asked = assistant if thoughts in ASKING else None
        self.paths = paths
        self.states_folder = states
        self.activation_checkpointing = activation_checkpointing
        self.assistant_model: Any = None
        self.assistant: Assistant | None = None
        self.projection: Projection | None = None
        self.placeholders: nn.Parameter | None = None
        self.builder: DialogueBuilder | None = None
        """Lays out the rows in which words take the place of thoughts."""
        self._redrawn = False
        self.deviations: dict[str, float] = {}
        """How far the assistant's states lie from their mean over the questions of each split that they are had of."""

    # -- set-up -----------------------------------------------------------------------------------------------------

    def configure_model(self) -> None:
        """Make both models, freeze them, and make the projection.

        Raises:
            UserError: If a model cannot be had, or does not fit its tokenizer or the trainer.
        """
        data: Any = getattr(self.trainer, "datamodule", None)
        if data is not None:
            check_run(self.trainer.precision, self.asked is not None, data.dialogue)
        super().configure_model()
        assert self.model is not None
        if self.activation_checkpointing:
            recomputable_layers(self.model)
        if self.asked is None or self.assistant_model is not None:
            return
        tokenizer, special = data.assistant_tokenizer, data.assistant_special
        with assistants_settings():
            self.asked.check_tokenizer(data.dialogue.assistant or data.tokenizer_name, tokenizer)
            limit = context_length(self.build_assistant(tokenizer, special, data.dialogue.tasks, run_seed()))
        if limit is not None:
            data.check_assistant_context(limit)
        if self.thoughts == "words":
            self.builder = data.builder()

    def build_model(self, seed: int) -> PreTrainedModel:
        """Make the language model, and freeze it."""
        model = super().build_model(seed)
        if self.backbone.lora is None:
            freeze(model)
            self.frozen["model"] = self.backbone.frozen_weights(model)
        return model

    def build_assistant(
        self, tokenizer: PreTrainedTokenizerBase, special: SpecialTokens, tasks: list[str], seed: int
    ) -> PreTrainedModel:
        """Make the assistant, freeze it, and make the projection between it and the language model.

        Args:
            tokenizer: The assistant's.
            special: Its tokens.
            tasks: Tasks that have a projection each.
            seed: Keys the weights that are drawn.
        """
        assert self.asked is not None
        model = self.asked.build(tokenizer, special, seed)
        if self.asked.lora is None:
            freeze(model)
        self.frozen["assistant_model"] = weights = self.asked.frozen_weights(model)
        self.assistant_model = model
        if self.thoughts != "words":
            self._make_projection(model.config.hidden_size, tasks, seed)
        config = config_hash(model.config.to_json_string(use_diff=False))
        how = {"config": config, "dtype": self.asked.dtype, "attention": self.asked.attention}
        about = {"assistant": weights.fingerprint, **how}
        folder = default_folder("-".join(about.values())) if self.states_folder == "auto" else self.states_folder
        kept = folder is not None and self._reads_once and self.projection is not None
        store = StateStore(Path(str(folder)).expanduser() if kept else None, about)
        self.assistant = Assistant(model, store, special.pad, tokenizer, special.eos)
        return model

    @property
    def _reads_once(self) -> bool:
        """Whether the assistant's states never change."""
        assert self.asked is not None
        return self.asked.lora is None and self.paths is None

    def _make_projection(self, states: int, tasks: list[str], seed: int) -> None:
        assert self.model is not None
        learned = self.thoughts == "projected"
        with torch.random.fork_rng(devices=[]), torch.device("cpu"):
            torch.manual_seed(keyed_seed("projection", seed))
            embed: Any = self.model.get_input_embeddings()
            self.projection = Projection(states, embed.weight.shape[1], tasks).requires_grad_(learned)
            if self.paths is not None:
                drawn = self.paths.draw(embedding_table(self.assistant_model), embedding_scale(self.assistant_model))
                self.placeholders = nn.Parameter(drawn, requires_grad=learned and self.paths.learned)

    def on_fit_start(self) -> None:
        """Keep frozen models in evaluation mode, and compute the assistant's states up front.

        Raises:
            UserError: If no row has thoughts that the projection could learn from; or only some rows have, and the
                models are shared out among processes.
        """
        assert self.model is not None
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
        if self.thoughts == "projected":
            check_reach(data.clock().schedule)
        sharded = is_sharded(self.trainer)
        if sharded:
            check_alike(data.clock().schedule)
        self.model.train(self.backbone.lora is not None)
        parts = [self.model]
        if self.asked is not None:
            self.assistant_model.train(self.asked.lora is not None)
            parts.append(self.assistant_model)
        # Lightning warns of modules in evaluation mode. Were there others than these, it would count more of them.
        frozen = sum(not module.training for part in parts for module in part.modules())
        warnings.filterwarnings("ignore", message=rf"Found {frozen} module\(s\) in eval mode at the start of training")
        # In a trial nothing is prepared, and processes that share the assistant out must all read, or none.
        trial = bool(getattr(self.trainer, "fast_dev_run", False))
        self._redrawn = data.redraws("train") or (sharded and trial)
        self._prepare("train", "val")

    def on_validation_start(self) -> None:
        """Compute the assistant's states up front, where validation is not part of training."""
        if self.trainer.state.fn == "validate":
            self._prepare("val")

    def on_test_start(self) -> None:
        """Compute the assistant's states up front."""
        self._prepare("test")

    def on_predict_start(self) -> None:
        """Compute the assistant's states up front."""
        self._prepare("predict")

    def _prepare(self, *splits: str) -> None:
        trial = bool(getattr(self.trainer, "fast_dev_run", False))  # reads a few rows only
        if self.assistant is None or self.projection is None or not self._reads_once or trial:
            return
        self.deviations |= prepared(self.assistant, self.trainer, self.device, splits)

    def _log_means(self, split: str) -> None:
        super()._log_means(split)
        if split in self.deviations and not self.trainer.sanity_checking:
            self.log(f"{split}/soft_deviation", self.deviations[split])

    # -- thoughts ---------------------------------------------------------------------------------------------------

    def soft_thoughts(self, batch: ThoughtBatch, paths: int | None = None) -> Tensor:
        """The vectors that take the places of the thoughts.

        Args:
            batch: B rows with N places each, and the assistant's rows.
            paths: How many of each row's paths are wanted, M; all if not given.

        Returns:
            ``(B * M, N, D)``, the M paths of a row one behind another.
        """
        assert self.model is not None
        slots, paths = batch.max_thoughts, self.thought_paths if paths is None else paths
        if self.projection is None or not slots:
            embed = self.model.get_input_embeddings()
            tokens: Tensor = embed(batch.input_ids[:, batch.first : batch.first + slots])
            tokens = tokens.repeat_interleave(paths, dim=0)
            return torch.zeros_like(tokens) if self.thoughts == "zeros" else tokens
        assert self.assistant is not None and self.asked is not None and batch.assistant is not None
        if not self._reads_once:
            own = self.placeholders[:paths] if self.placeholders is not None else None
            frozen, checkpointing = self.asked.lora is None, self.activation_checkpointing
            states = states_at_slots(
                self.assistant.model, batch.assistant, own, frozen=frozen, checkpointing=checkpointing
            )
        elif self.training and self._redrawn:
            # Whatever the store holds by chance, rows share a batch as they always do.
            states = self.assistant.read(batch.assistant)
        else:
            states = self.assistant.states(batch.assistant)
        tasks = batch.tasks.repeat_interleave(paths) if batch.tasks is not None else None
        projected: Tensor = self.projection(states, tasks)
        return projected

    def loss(self, batch: ThoughtBatch) -> tuple[Tensor, int, dict[str, Tensor]]:
        """Cross-entropy summed over the target's tokens and over paths; with paths, plus their contrastive loss.

        Returns:
            The sum, the number of supervised tokens of the rows (each counted once, however many paths there are), and
            ``thought_norm`` (mean L2 norm of the soft thoughts), with paths also ``contrast`` (its loss in nats).
        """
        assert self.model is not None
        if self.thoughts == "words":
            batch = self._with_words(batch)
        thoughts = self.soft_thoughts(batch)
        frozen, checkpointing = self.backbone.lora is None, self.activation_checkpointing
        thinking = think_given(self.model, batch, thoughts, frozen=frozen, checkpointing=checkpointing)
        paths = len(thoughts) // len(batch)
        wide = repeat_rows(batch, paths)
        summed, read = supervised_loss(self.model, wide, thinking)
        if not batch.max_thoughts:
            return summed + self._idle(), read // paths, {}
        slots = torch.arange(batch.max_thoughts, device=thoughts.device) < wide.thoughts[:, None]
        extras = {"thought_norm": thoughts.detach().float().norm(dim=-1)[slots].mean()}
        self._show_thoughts(thoughts, slots)
        if self.paths is not None:
            own = torch.where(slots[..., None], thoughts, 0.0).view(len(batch), paths, *thoughts.shape[1:])
            apart = contrast(own, self.paths.scale, self.paths.dropout if self.training else 0.0)
            there = batch.thoughts > 0  # without thoughts nothing is alike
            extras["contrast"] = apart.detach()[there].mean()
            # By its own tokens, since the caller divides by those of all rows: each row counts the same in any batch.
            counted = (batch.labels != IGNORE).sum(dim=1) * there
            summed = summed + self.paths.contrast * (apart * counted).sum()
        return summed, read // paths, extras

    @property
    def thought_paths(self) -> int:
        """The number of paths."""
        return self.paths.count if self.paths is not None else 1

    def thinkings(self, batch: ThoughtBatch, paths: int) -> Iterator[Thinking]:
        """Read the prompts with their thoughts, each prompt once for all its paths."""
        yield self.think(batch, keep_cache=True, paths=paths)

    def think(self, batch: ThoughtBatch, *, keep_cache: bool = False, paths: int = 1) -> Thinking:
        """Read prompts with the thoughts that the assistant makes of them.

        Args:
            batch: B rows.
            keep_cache: Keep keys and values, to decode from them.
            paths: How many of the paths, which stand one behind another for each row.
        """
        assert self.model is not None
        if self.thoughts == "words":
            batch = self._with_words(batch)
        return think_given(self.model, batch, self.soft_thoughts(batch, paths), keep_cache=keep_cache)

    def thinking_flops(self, batch: ThoughtBatch, thinking: Thinking, shape: Shape) -> list[int] | None:
        """Prompts, and what the assistant does for the thoughts; unknown for a class that thinks in its own way."""
        asked = Shape.of(self.assistant.model) if self.assistant is not None else None
        if type(self).think is not SoftCoT.think or (asked is None) != (self.assistant is None):
            return None
        if asked is not None and self.thoughts == "words" and batch.assistant is not None:
            assert self.assistant is not None
            return words_flops(shape, asked, batch, thinking, self.assistant.write(batch.assistant))
        return soft_flops(shape, asked, batch, thinking, self.projection)

    def _idle(self) -> Tensor:
        """Zero, made of all that makes thoughts: several processes would wait for what takes no part in a loss."""
        makers = (own for name, own in self.named_parameters() if own.requires_grad and not name.startswith("model."))
        return sum((parameter.sum() * 0.0 for parameter in makers), torch.zeros((), device=self.device))

    def _with_words(self, batch: ThoughtBatch) -> ThoughtBatch:
        """The rows with what the assistant writes in the place of the thoughts."""
        if batch.assistant is None:
            return batch
        assert self.model is not None and self.special is not None and self.assistant is not None
        assert self.builder is not None
        self.builder.max_length = context_length(self.model)
        return with_words(batch, self.assistant.words(batch.assistant), self.builder, self.special.pad)

    # -- checkpoints ------------------------------------------------------------------------------------------------

    def describe(self) -> dict[str, Any]:
        """As every module does, and what makes the thoughts."""
        asked = None
        if self.asked is not None:
            lora = self.asked.lora.described() if self.asked.lora is not None else None
            config = self.assistant_model.config.to_json_string(use_diff=False)
            asked = {"attention": self.asked.attention, "lora": lora, "config": config}
        return {
            **super().describe(),
            "soft_thoughts": self.thoughts,
            "paths": asdict(self.paths) if self.paths is not None else None,
            "tasks": list(self.projection.tasks) if self.projection is not None else [],
            "states": self.projection.width if self.projection is not None else None,
            "assistant": asked,
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Check also that the projection was trained for the same.

        Raises:
            CheckpointError: If it was trained on other thoughts, paths, tasks or widths, or anything else does not fit.
        """
        super().on_load_checkpoint(checkpoint)
        check_saved(checkpoint["lcot"], self.describe())

"""The frame of all data modules: source → rows → batches, for any stage of a curriculum."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Iterable
from typing import Any, ClassVar, Literal

import lightning as L
from torch.utils.data import DataLoader
from transformers import PreTrainedTokenizerBase

from lcot.datamodules.rows import Collator, RowForm, Source, StageDataset, Subset
from lcot.datamodules.sampler import Position, ResumableLoader, Share, StageBatchSampler
from lcot.datamodules.tokenizers import build_word_tokenizer, load_tokenizer
from lcot.errors import DataError, UserError
from lcot.metrics import accuracy_names, extractor
from lcot.reasoning.curriculum import Curriculum, Stage, StageClock, find_clock
from lcot.reasoning.example import ReasoningExample
from lcot.reasoning.keyed import run_seed
from lcot.reasoning.layout import LayoutBuilder, TextFormat
from lcot.reasoning.tokens import SpecialTokens, add_thought_tokens

_log = logging.getLogger("lcot")

Split = Literal["train", "val", "test", "predict"]


class ReasoningDataModule(L.LightningDataModule):
    """Tokenizer, rows and loaders for any source of examples; a data set only says where its examples come from.

    Args:
        tokenizer: ``words`` builds a lossless word-level tokenizer from the data's own vocabulary; otherwise the name
            or the folder of a Hugging Face tokenizer.
        batch_size: Rows of one batch on one rank; an optimizer step takes ``accumulate_grad_batches`` of them.
        eval_batch_size: Rows of a batch in validation, test and prediction; ``None`` for ``batch_size``.
        num_workers: Data-loader processes.
        max_length: Longest row in tokens; ``None`` for no limit. Keep it within the model's context.
        too_long: What to do with longer examples: stop with an error, or drop them and say how many.
        group_by_length: Let rows of similar length share a batch (an epoch still visits every row once).
        text: How question, steps and answer are joined; ``None`` for the data set's way.
        seed: Keys generated data, the order of rows and the curriculum's draws; ``None`` for ``seed_everything``.
        extractors: How answers are read from what a model writes (names of :data:`lcot.metrics.EXTRACTORS`). The first
            is the one that ``accuracy`` means, every further one is reported beside it as ``accuracy_NAME``; ``None``
            for those of the data set.

    Raises:
        UserError: If a number is out of range, or an extractor unknown, named twice, or missing.
    """

    default_extractors: ClassVar[tuple[str, ...]] = ("string",)
    """What ``extractors`` is where it is not given."""

    default_text: ClassVar[TextFormat] = TextFormat()
    """What ``text`` is where it is not given."""

    def __init__(
        self,
        tokenizer: str = "words",
        batch_size: int = 32,
        eval_batch_size: int | None = None,
        num_workers: int = 0,
        max_length: int | None = None,
        too_long: Literal["error", "drop"] = "error",
        group_by_length: bool = True,
        text: TextFormat | None = None,
        seed: int | None = None,
        extractors: list[str] | None = None,
    ) -> None:
        super().__init__()
        for name, value, least in (
            ("batch_size", batch_size, 1),
            ("eval_batch_size", eval_batch_size, 1),
            ("num_workers", num_workers, 0),
        ):
            if value is not None and value < least:
                raise UserError(f"{name} is {value}", where=f"data.{name}", fix=f"use {least} or more")
        self.tokenizer_name = tokenizer
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size if eval_batch_size is not None else batch_size
        self.num_workers = num_workers
        self.max_length = max_length
        self.too_long = too_long
        self.group_by_length = group_by_length
        self.text = text or self.default_text
        self.seed = seed
        self.extractors = self.default_extractors if extractors is None else tuple(extractors)
        accuracy_names(self.extractors)  # refuses what cannot be reported
        self.tokenizer: PreTrainedTokenizerBase | None = None
        self.special: SpecialTokens | None = None
        self._sources: dict[str, Source] = {}
        self._lengths: dict[str, list[int]] = {}
        self._longest = {"row": 0, "prompt": 0}
        self._context: int | None = None

    @abstractmethod
    def make_source(self, split: Split) -> Source:
        """The examples of a split; called once a process.

        Raises:
            DataError: If they cannot be had.
        """

    @abstractmethod
    def vocabulary(self) -> Iterable[str]:
        """Texts with every word of the data, for ``tokenizer: words``."""

    def setup(self, stage: str) -> None:
        """Make tokenizer and sources, and check every row's length, at every stage, before anything is trained.

        Examples that are redrawn at each visit are measured as epoch 0 sees them: other names may take more tokens of a
        subword tokenizer. Rows are therefore checked again when they are made, and one that is too long by then (for
        ``max_length`` or the model's context) is an error that names it, whatever ``too_long`` says.
        """
        self.set_up_tokenizer()
        splits: dict[str, list[Split]] = {
            "fit": ["train", "val"],
            "validate": ["val"],
            "test": ["test"],
            "predict": ["predict"],
        }
        for split in splits[stage]:
            if split not in self._sources:
                self._sources[split] = self._measured(split, self.make_source(split))

    def source(self, split: Split) -> Source:
        """The examples of a split that was set up, without those that were dropped; the same on every rank."""
        return self._sources[split]

    def set_up_tokenizer(self) -> PreTrainedTokenizerBase:
        """Build or load the tokenizer and give it the thought tokens."""
        if self.tokenizer is None:
            words = self.tokenizer_name == "words"
            self.tokenizer = build_word_tokenizer(self.vocabulary()) if words else load_tokenizer(self.tokenizer_name)
            self.special = add_thought_tokens(self.tokenizer)
        return self.tokenizer

    def train_dataloader(self) -> DataLoader[Any]:
        """Keyed, length-grouped batches; the stage is asked for at the start of each epoch."""
        return self._loader("train", "train", self.batch_size)

    def val_dataloader(self) -> DataLoader[Any]:
        """Every example once over all ranks, with its text, for loss and generated answers."""
        return self._loader("val", "val", self.eval_batch_size)

    def test_dataloader(self) -> DataLoader[Any]:
        """Every example once over all ranks, questions and thoughts only."""
        return self._loader("test", "prompt", self.eval_batch_size)

    def predict_dataloader(self) -> DataLoader[Any]:
        """As in test."""
        return self._loader("predict", "prompt", self.eval_batch_size)

    def builder(self) -> LayoutBuilder:
        """The layouts of this run's tokenizer and kind of thoughts."""
        tokenizer = self.set_up_tokenizer()
        assert self.special is not None
        schedule = self.clock().schedule
        return LayoutBuilder(
            tokenizer,
            self.special,
            schedule.kind,
            self.text,
            self.max_length,
            markers=schedule.markers,
            stepwise_passes=schedule.stepwise_passes,
        )

    def check_context(self, context: int, new_tokens: int) -> None:
        """Make sure that the longest row, and the longest prompt with its answer, fit a model.

        Args:
            context: Number of positions of the model.
            new_tokens: Longest generated text.

        Raises:
            DataError: If one does not fit.
        """
        self._context = context
        for what, length in (
            ("row", self._longest["row"]),
            (f"prompt with {new_tokens} new tokens", self._longest["prompt"] + new_tokens),
        ):
            if length > context:
                raise DataError(
                    f"the longest {what} takes {length} positions, and the model has {context}",
                    where="the data and model.backbone",
                    fix="use a model with a longer context, lower model.max_new_tokens, or set data.max_length with"
                    " data.too_long 'drop'",
                )

    def clock(self) -> StageClock:
        """The trainer's curriculum.

        Raises:
            UserError: If the trainer has none.
        """
        clock = find_clock(getattr(self.trainer, "callbacks", []))
        if clock is not None:
            return clock
        raise UserError(
            "the trainer has no curriculum",
            where="Trainer(callbacks=…)",
            fix="add lcot.callbacks.CurriculumCallback(schedule)",
        )

    def keyed_by(self) -> int:
        """The seed that keys data and order: ``seed``, or else the run's ``seed_everything``."""
        return self.seed if self.seed is not None else run_seed()

    def _measured(self, split: Split, source: Source) -> Source:
        builder, curriculum = self.builder(), self.clock().schedule
        lengths: list[int] = []
        kept: list[int] = []
        stages: dict[int, set[Stage]] = {}  # by number of steps
        for start in range(0, len(source), 1024):
            examples = [source.example(index, 0) for index in range(start, min(start + 1024, len(source)))]
            for place, (example, pieces) in enumerate(zip(examples, builder.encode(examples), strict=True)):
                if split in ("val", "test"):
                    self._check_gold(example, split)
                steps = len(example.steps)
                if steps not in stages:
                    stages[steps] = _all_stages(curriculum, steps, split)
                row, prompt = builder.longest(pieces, stages[steps])
                if self.too_long == "error":
                    builder.check_length(row, example)
                elif self.max_length is not None and row > self.max_length:
                    continue
                self._longest["row"] = max(self._longest["row"], row)
                self._longest["prompt"] = max(self._longest["prompt"], prompt)
                kept.append(start + place)
                lengths.append(builder.prompt(pieces, curriculum.resolve(0, steps).thoughts).head)
        if not kept:
            raise DataError(f"no example of the {split} split is left", where="data.max_length and data.too_long")
        self._lengths[split] = lengths
        if len(kept) == len(source):
            return source
        dropped = len(source) - len(kept)
        _log.warning("%d of %d %s examples are over data.max_length and were dropped", dropped, len(source), split)
        return Subset(source, kept)

    def _check_gold(self, example: ReasoningExample, split: Split) -> None:
        """Refuse an answer that would be counted as wrong even if a model wrote it to the letter."""
        marker, gold = self.text.before_answer, example.answer
        for reader in map(extractor, self.extractors):
            read = reader.extract(marker + gold, marker)
            if not reader.equal(read, gold):
                raise DataError(
                    f"the extractor {reader.name!r} reads {read!r} where the gold answer is {gold!r}",
                    where=f"data.extractors, and example {example.id!r} of the {split} data",
                    why=f"every output would be counted as wrong ({reader.described(marker)})",
                    fix="choose extractors that fit the answers, or correct the record",
                )

    def _loader(self, split: Split, form: RowForm, batch_size: int) -> DataLoader[Any]:
        clock, builder = self.clock(), self.builder()
        share = Share(getattr(self.trainer, "global_rank", 0), getattr(self.trainer, "world_size", 1))
        source = self._sources[split]
        if len(source) < share.world:
            raise UserError(
                f"the {split} split has {len(source)} examples for {share.world} processes",
                where="trainer.devices and the data",
                why="a process without any example would wait for the others forever",
                fix=f"use at most {len(source)} processes, or more data",
            )
        limits = [limit for limit in (self.max_length, self._context) if limit is not None]
        builder.max_length = min(limits, default=None)
        seed = self.keyed_by()
        training = form == "train"

        def position() -> Position:
            if training:
                return Position(clock.epoch(), clock.training_stages(), clock.batches())
            return Position(clock.epoch(), clock.stage())

        sampler = StageBatchSampler(
            self._lengths[split],
            batch_size,
            position=position,
            share=share,
            seed=seed,
            shuffle=training,
            group=50 if self.group_by_length else 1,
        )
        loader = ResumableLoader if training else DataLoader
        return loader(
            StageDataset(source, builder, clock.schedule, seed, form),
            batch_sampler=sampler,
            collate_fn=Collator(builder.special.pad, keep_examples=not training),
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            pin_memory=self.trainer is not None and self.trainer.strategy.root_device.type == "cuda",
        )


def _all_stages(curriculum: Curriculum, num_steps: int, split: Split) -> set[Stage]:
    """What an example with a number of steps can look like.

    Stages that are drawn at random (``mix_support``) are among these, or are beyond the last one and leave out more
    text with the same thoughts.
    """
    form = curriculum.resolve if split == "train" else curriculum.evaluate
    return {form(stage, num_steps) for stage in range(curriculum.last_stage + 1)}

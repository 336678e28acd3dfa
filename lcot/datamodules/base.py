"""The frame of all data modules: source → rows → batches, for any stage of a curriculum."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, ClassVar, Literal, get_args

import lightning as L
from torch.utils.data import DataLoader
from transformers import PreTrainedTokenizerBase

from lcot.datamodules.dialogues import Asking, check_kind, numbers_of_thoughts
from lcot.datamodules.doubts import say_cut, say_shared, with_steps
from lcot.datamodules.measure import Longest, assistant_rows, gold_check, measure
from lcot.datamodules.options import check_choice, check_least
from lcot.datamodules.rows import Collator, RowForm, Source, StageDataset
from lcot.datamodules.sampler import Position, ResumableLoader, Share, StageBatchSampler, WindowLoader, batches_together
from lcot.datamodules.tokenizers import build_word_tokenizer, load_tokenizer
from lcot.errors import UserError
from lcot.metrics import accuracy_names, resolved
from lcot.reasoning.curriculum import StageClock, find_clock
from lcot.reasoning.dialogue import Dialogue
from lcot.reasoning.example import ReasoningExample
from lcot.reasoning.keyed import run_seed
from lcot.reasoning.layout import Layout, LayoutBuilder
from lcot.reasoning.spans import builder_for
from lcot.reasoning.spanwise import Spanwise
from lcot.reasoning.text import TextFormat
from lcot.reasoning.tokens import SpecialTokens, add_thought_tokens, prompt_tokens

Split = Literal["train", "val", "test", "predict"]
LastStep = Literal["keep", "drop"]


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
            for those of the prompt if it names some, else of the data set. ``softcot_official`` is the one that the
            released SoftCoT code has for the data set.
        dialogue: How chat models are asked, and what an assistant is told: a prompt file then writes the rows, and of
            ``text`` only ``before_answer`` counts, for extractors that look for it. ``None`` for rows without a prompt.
        shuffled_thoughts: Give every row the soft thoughts of another question of its split, as a control.
        last_step: ``drop`` leaves the last step out of every chain, as CODI and PCCoT do: it says the answer already.
            An example of one step then has none: its teacher reads question and answer alone, its thoughts say nothing.

    Raises:
        UserError: If a number is out of range, an extractor unknown, named twice, or missing, or the prompt unusable.
    """

    default_extractors: ClassVar[tuple[str, ...]] = ("string",)
    """What ``extractors`` is where it is not given."""

    softcot_official: ClassVar[str | None] = None
    """What ``softcot_official`` stands for in ``extractors``; ``None`` for data that SoftCoT was not published with."""

    task: ClassVar[str] = "steps"
    """Whose words the dialogue's prompt ``chat`` means: ``chat/steps`` and so on."""

    default_text: ClassVar[TextFormat] = TextFormat()
    """What ``text`` is where it is not given."""

    paths: Mapping[str, str | None] = MappingProxyType({})
    """The path of each split that is read from a file or the Hub; ``None`` for others."""

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
        dialogue: Dialogue | None = None,
        shuffled_thoughts: bool = False,
        last_step: LastStep = "keep",
    ) -> None:
        super().__init__()
        check_least(1, batch_size=batch_size, eval_batch_size=eval_batch_size)
        check_least(0, num_workers=num_workers)
        self.tokenizer_name = tokenizer
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size if eval_batch_size is not None else batch_size
        self.num_workers = num_workers
        self.max_length = max_length
        self.too_long = too_long
        self.group_by_length = group_by_length
        self.text = text or self.default_text
        self.seed = seed
        self.dialogue = dialogue.of(self.task) if dialogue is not None else None
        self._asking = Asking(self.dialogue) if self.dialogue is not None else None
        own = self._asking.prompt.extractors if self._asking is not None else None
        named = extractors if extractors is not None else own or self.default_extractors
        self.extractors = resolved(named, self.softcot_official)
        accuracy_names(self.extractors)  # refuses what cannot be reported
        self.tokenizer: PreTrainedTokenizerBase | None = None
        self.special: SpecialTokens | None = None
        self._sources: dict[str, Source] = {}
        self._lengths: dict[str, list[int]] = {}
        self.shuffled_thoughts = shuffled_thoughts
        check_choice("last_step", last_step, get_args(LastStep))
        self.last_step: LastStep = last_step
        self._longest = Longest()
        self._context: int | None = None
        self._assistant_context: int | None = None

    @abstractmethod
    def make_source(self, split: Split) -> Source:
        """The examples of a split; called once a process.

        Raises:
            DataError: If they cannot be had.
        """

    def seen(self, split: Split) -> Source:
        """The examples of a split as rows are made of them: without their last steps where ``last_step`` says so.

        Raises:
            DataError: If they cannot be had, or no training problem has a step left that the method needs.
        """
        source, dropping = self.make_source(split), self.last_step == "drop"
        return with_steps(source, dropping, self.clock().schedule, split, self.views)

    @property
    def views(self) -> tuple[str, ...]:
        """Rows of an example that the trainer's module reads beside the main one."""
        return tuple(getattr(getattr(self.trainer, "lightning_module", None), "views", ()))

    def examples(self, split: Split) -> Callable[[], Iterator[ReasoningExample]]:
        """What reads the examples of a split, as epoch 0 sees them, from the first one on each time that it is called.

        It is for those who need each of them once, and none at the same time as another: files of records are streamed.
        Rows are not measured, and none is dropped.

        Raises:
            DataError: If they cannot be had, now or when they are reached.
        """
        source = self.make_source(split)
        return lambda: (source.example(index, 0) for index in range(len(source)))

    def written(self, split: Split) -> Iterable[ReasoningExample] | None:
        """The examples of a split as its file on this machine has them; ``None`` if it has none.

        Raises:
            DataError: If it cannot be read, now or when they are reached.
        """
        return None

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
                self._sources[split], self._lengths[split] = measure(
                    self.seen(split),
                    self.builder(split),
                    self.clock().schedule,
                    split,
                    too_long=self.too_long,
                    longest=self._longest,
                    check=gold_check(self.builder(split), self.text.before_answer, self.extractors, split),
                )
        if stage != "predict":
            say_shared(self.written, self.paths, "test" if stage == "test" else "val")

    def source(self, split: Split) -> Source:
        """The examples of a split that was set up, without those that were dropped; the same on every rank."""
        return self._sources[split]

    def set_up_tokenizer(self) -> PreTrainedTokenizerBase:
        """Build or load the tokenizer, and give it the thought tokens.

        With a dialogue, one that was loaded is left as it is: its model may be frozen, and the prompt names tokens that
        it has.

        Raises:
            UserError: If it cannot be loaded, or lacks a token that it needs.
        """
        if self.tokenizer is None:
            words, asking = self.tokenizer_name == "words", self._asking
            if words:
                clock = find_clock(getattr(self.trainer, "callbacks", []))
                said = clock.schedule.texts if clock is not None and isinstance(clock.schedule, Spanwise) else ()
                texts = [*self.vocabulary(), *said, *(asking.prompt.texts() if asking is not None else [])]
                tokenizer: PreTrainedTokenizerBase = build_word_tokenizer(texts)
            else:
                tokenizer = load_tokenizer(self.tokenizer_name)
            if words or asking is None:
                self.special = add_thought_tokens(tokenizer)
            if asking is not None:
                self.special = prompt_tokens(tokenizer, asking.prompt)
                asking.say(tokenizer, self.special)
            self.tokenizer = tokenizer
        return self.tokenizer

    @property
    def assistant_tokenizer(self) -> PreTrainedTokenizerBase | None:
        """The tokenizer of the assistant's rows, loaded when it is first wanted; ``None`` without a dialogue."""
        return None if self._asking is None else self._asking.own_tokenizer or self.set_up_tokenizer()

    @property
    def assistant_special(self) -> SpecialTokens | None:
        """The tokens of the assistant's rows; ``None`` without a dialogue."""
        tokenizer = self.assistant_tokenizer
        return None if self._asking is None or tokenizer is None else self._asking.assistant_special(tokenizer)

    @property
    def longest_assistant(self) -> int:
        """Tokens of the longest row that the assistant reads, over all splits that were set up; 0 if it reads none."""
        return self._longest.assistant

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

    def builder(self, split: Split | None = None) -> LayoutBuilder:
        """The layouts of this run's tokenizer and kind of thoughts.

        Args:
            split: Whose rows will be made, where there are soft thoughts: prompts are tokenized for its numbers of
                thoughts. ``None`` for all splits.

        Raises:
            UserError: If the kind of thoughts does not fit the prompt, or there is none for soft ones.
        """
        tokenizer = self.set_up_tokenizer()
        assert self.special is not None
        schedule = self.clock().schedule
        check_kind(schedule, self.dialogue, self.shuffled_thoughts)
        if self._asking is not None:
            counts = numbers_of_thoughts(schedule, split)
            builder: LayoutBuilder = self._asking.builder(tokenizer, self.special, schedule, counts, self.max_length)
            builder.max_assistant_length = self.max_length
        else:
            builder = builder_for(schedule, tokenizer, self.special, self.text, self.max_length)
        if split in (None, "train"):
            builder.further = self.views
        return builder

    def assistant_rows(self, split: Split) -> Iterator[Layout]:
        """All that the assistant will read for a split that was set up, so that its states can be had up front.

        They are the rows of epoch 0, in the order of the split, with the numbers of thoughts of training for ``train``
        and of inference for the others; with several of these, each example has a row for each. Shuffled thoughts are
        made of the same rows.
        """
        return assistant_rows(self.source(split), self.builder(split), self.clock().schedule, split)

    def redraws(self, split: Split) -> bool:
        """Whether the examples of a split that was set up differ from epoch to epoch."""
        return self.source(split).redraws

    def check_context(self, context: int, new_tokens: int, window: int | None = None) -> None:
        """Make sure that the longest row, and the longest prompt with its answer, fit a model.

        Args:
            context: Number of positions of the model.
            new_tokens: Longest generated text.
            window: Number of columns that its layers see; all of them if not given.

        Raises:
            DataError: If one does not fit.
        """
        self._context = context
        self._longest.check(context, new_tokens, window)

    def check_assistant_context(self, context: int, new_tokens: int = 0) -> None:
        """Make sure that the longest row that the assistant reads fits it.

        Args:
            context: Number of positions of the assistant.
            new_tokens: Longest text that it writes behind such a row.

        Raises:
            DataError: If it does not fit.
        """
        self._assistant_context = context - new_tokens
        self._longest.check_assistant(context, new_tokens)

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

    def _loader(self, split: Split, form: RowForm, batch_size: int) -> DataLoader[Any]:
        clock, builder = self.clock(), self.builder(split)
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
        limits = [limit for limit in (self.max_length, self._assistant_context) if limit is not None]
        builder.max_assistant_length = min(limits, default=None)
        if self.shuffled_thoughts and len(source) < 2:
            raise UserError(
                f"shuffled_thoughts is true, and the {split} split has one example",
                where="data.shuffled_thoughts and the data",
                fix="use more data: there is no other question whose thoughts it could get",
            )
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
            as_given=getattr(getattr(self.trainer, "lightning_module", None), "padding", None) is not None,
        )
        say_cut(split, len(source), batch_size * share.world, len(sampler), self.trainer)
        kinds: dict[RowForm, type[DataLoader[Any]]] = {"train": ResumableLoader, "prompt": WindowLoader}
        loader = kinds.get(form, DataLoader)(
            StageDataset(source, builder, clock.schedule, seed, form, self.shuffled_thoughts),
            batch_sampler=sampler,
            collate_fn=Collator(builder.special.pad, not training, builder.assistant_pad),
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            pin_memory=self.trainer is not None and self.trainer.strategy.root_device.type == "cuda",
        )
        if isinstance(loader, WindowLoader):
            loader.together = partial(batches_together, self.trainer, split)
        return loader

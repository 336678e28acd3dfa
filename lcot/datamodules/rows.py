"""Rows by number: where examples come from, and how one becomes a row at a stage."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Literal, Protocol

from torch.utils.data import Dataset

from lcot.datamodules.sampler import RowKey
from lcot.reasoning.batch import ThoughtBatch, collate
from lcot.reasoning.curriculum import Curriculum
from lcot.reasoning.example import ReasoningExample
from lcot.reasoning.keyed import keyed_random
from lcot.reasoning.layout import EncodedExample, Layout, LayoutBuilder

RowForm = Literal["train", "val", "prompt"]


class Source(Protocol):
    """Examples by number. What a visit looks like may depend on the epoch (other symbols, another order of facts)."""

    def __len__(self) -> int:
        """Number of examples."""
        ...

    def example(self, index: int, epoch: int) -> ReasoningExample:
        """The example as it is seen in an epoch; a pure function of its arguments."""
        ...

    @property
    def redraws(self) -> bool:
        """Whether an example differs from epoch to epoch."""
        ...


class ListSource:
    """Examples that never change.

    Args:
        examples: All of them.
    """

    redraws = False

    def __init__(self, examples: Iterable[ReasoningExample]) -> None:
        self._examples = list(examples)

    def __len__(self) -> int:
        return len(self._examples)

    def example(self, index: int, epoch: int) -> ReasoningExample:
        """The example, whatever the epoch."""
        return self._examples[index]


class StageDataset(Dataset[tuple[Layout, int, ReasoningExample]]):
    """Rows by :class:`RowKey`. It holds no state that moves, so workers never fall behind the main process.

    Args:
        source: The examples.
        builder: Lays them out.
        curriculum: Says what a stage means for an example.
        seed: Keys the curriculum's random choices together with epoch and index.
        form: ``train`` applies those choices, and draws the step to be written where an example has alternatives to it;
            ``val`` does not, ``prompt`` leaves out the text behind the thoughts.
        shuffled: Give each row the soft thoughts of another question: a control that leaves them everything but their
            meaning. Which one is drawn anew in each epoch of training, and once for evaluation.
    """

    def __init__(
        self,
        source: Source,
        builder: LayoutBuilder,
        curriculum: Curriculum,
        seed: int,
        form: RowForm,
        shuffled: bool = False,
    ) -> None:
        self.source = source
        self.builder = builder
        self.curriculum = curriculum
        self.seed = seed
        self.form = form
        self.shuffled = shuffled
        self._encoded: dict[int, EncodedExample] = {}

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, key: RowKey) -> tuple[Layout, int, ReasoningExample]:
        return self.__getitems__([key])[0]

    def __getitems__(self, keys: Sequence[RowKey]) -> list[tuple[Layout, int, ReasoningExample]]:
        """One batch's rows at once, which lets the tokenizer work on all of them in one call.

        Raises:
            DataError: If a row is longer than the builder's limit.
        """
        examples = [self.source.example(key.row, key.epoch) for key in keys]
        encoded = self._encode(keys, examples)
        rows = [self._layout(*parts) for parts in zip(keys, examples, encoded, strict=True)]
        if self.shuffled:
            rows = self._with_other_thoughts(keys, rows)
        for row, example in zip(rows, examples, strict=True):  # redrawn texts were measured in epoch 0 only
            self.builder.check_row(row, example)
        return [(row, key.row, example) for row, key, example in zip(rows, keys, examples, strict=True)]

    def _encode(self, keys: Sequence[RowKey], examples: Sequence[ReasoningExample]) -> list[EncodedExample]:
        if self.source.redraws:
            return self.builder.encode(examples)
        fresh = [place for place, key in enumerate(keys) if key.row not in self._encoded]
        for place, pieces in zip(fresh, self.builder.encode([examples[p] for p in fresh]), strict=True):
            self._encoded[keys[place].row] = pieces
        return [self._encoded[key.row] for key in keys]

    def _layout(self, key: RowKey, example: ReasoningExample, pieces: EncodedExample) -> Layout:
        steps = len(example.steps)
        if self.form == "prompt":
            return self.builder.prompt(pieces, self.curriculum.thoughts_at_inference(key.stage))
        if self.form == "val":
            return self.builder.train(pieces, self.curriculum.evaluate(key.stage, steps))
        draw = keyed_random("stage", self.seed, key.epoch, key.row)
        stage = self.curriculum.sample(key.stage, steps, draw)
        if stage.only_next and stage.hidden < len(example.alternatives):
            drawn, last = draw.choice(example.alternatives[stage.hidden]), stage.hidden + 1 == steps
            step = self.builder.encode_step(drawn, stage.hidden, last)
            pieces = replace(pieces, steps=[*pieces.steps[: stage.hidden], step])
        row = self.builder.lesson(pieces, stage)
        return row.with_views(self.builder.views(pieces, stage, self.builder.further)) if self.builder.further else row

    def _with_other_thoughts(self, keys: Sequence[RowKey], rows: Sequence[Layout]) -> list[Layout]:
        others = [key._replace(row=self._partner(key)) for key in keys]
        encoded = self._encode(others, [self.source.example(other.row, other.epoch) for other in others])
        return [self._with_thoughts_of(row, pieces) for row, pieces in zip(rows, encoded, strict=True)]

    def _with_thoughts_of(self, row: Layout, pieces: EncodedExample) -> Layout:
        other = self.builder.assistant_row(pieces, row.assistant.thoughts) if row.assistant else None
        return row if other is None else row.with_views({"assistant": other})

    def _partner(self, key: RowKey) -> int:
        """The question whose thoughts a row gets: any but its own, with equal chances."""
        drawn = keyed_random("partner", self.seed, key.epoch if self.form == "train" else self.form, key.row)
        other = drawn.randrange(len(self.source) - 1)
        return other + (other >= key.row)


class Collator:
    """Rows → :class:`ThoughtBatch`.

    Args:
        pad: Token id for padding.
        keep_examples: Whether batches carry their examples, for metrics and predictions.
        assistant_pad: Token id for padding in the assistant's rows; ``None`` for ``pad``.
    """

    def __init__(self, pad: int, keep_examples: bool, assistant_pad: int | None = None) -> None:
        self.pad = pad
        self.keep_examples = keep_examples
        self.assistant_pad = assistant_pad

    def __call__(self, rows: Sequence[tuple[Layout, int, ReasoningExample]]) -> ThoughtBatch:
        """Pad rows into a batch."""
        layouts, index, examples = zip(*rows, strict=True)
        kept = examples if self.keep_examples else ()
        return collate(layouts, self.pad, index, kept, assistant_pad=self.assistant_pad)


class Subset:
    """Some examples of a source.

    Args:
        source: All examples.
        kept: Numbers of those that are kept.
    """

    def __init__(self, source: Source, kept: list[int]) -> None:
        self._source, self._kept = source, kept
        self.redraws = source.redraws

    def __len__(self) -> int:
        return len(self._kept)

    def example(self, index: int, epoch: int) -> ReasoningExample:
        """The example behind the kept number."""
        return self._source.example(self._kept[index], epoch)


class WithoutLastStep:
    """A source whose examples have all steps but the last; an example of one step has none.

    Args:
        source: The examples with all steps.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self.redraws = source.redraws

    def __len__(self) -> int:
        return len(self._source)

    def example(self, index: int, epoch: int) -> ReasoningExample:
        """The example, shortened."""
        whole = self._source.example(index, epoch)
        return replace(whole, steps=whole.steps[:-1], alternatives=whole.alternatives[:-1])

"""Which rows form which batch: keyed, grouped by length, shared out over ranks, and able to start in the middle."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

from torch.utils.data import DataLoader, Sampler

from lcot.reasoning.batch import ThoughtBatch, Window
from lcot.reasoning.keyed import keyed_random


class RowKey(NamedTuple):
    """All that a data set needs to make one row; nothing else travels to a data-loader worker.

    Attributes:
        epoch: Counted from 0; keys every random choice about the row.
        stage: The curriculum's stage in that epoch.
        row: Position of the example in its source.
    """

    epoch: int
    stage: int
    row: int


class Position(NamedTuple):
    """Where a loader stands when its iteration starts.

    Attributes:
        epoch: Counted from 0.
        stage: The curriculum's stage; a function of the batch's number where it may change within the epoch.
        batches: Batches of this epoch that are over already; more than 0 only where a run continues within an epoch.
    """

    epoch: int
    stage: int | Callable[[int], int]
    batches: int = 0


@dataclass(frozen=True, slots=True)
class Share:
    """One process's part of the work.

    Attributes:
        rank: Number of this process.
        world: Number of processes.
    """

    rank: int = 0
    world: int = 1


class StageBatchSampler(Sampler[list[RowKey]]):
    """Batches of row keys for one rank.

    Every global batch of ``batch_size × world`` rows is formed first and then shared out, so the same rows meet in the
    same optimizer step whatever the number of ranks. The position is asked for when an iteration starts, never stored,
    so there is nothing to restore after a resume.

    Args:
        lengths: Length of each row, in any unit; rows of one batch get similar ones.
        batch_size: Rows of one rank's batch.
        position: Asked at the start of each iteration.
        share: This rank's part.
        seed: Keys the order together with the epoch.
        shuffle: ``True`` for training. ``False``: longest first, every row exactly once over all ranks, the ranks'
            numbers of rows differing by at most one.
        group: How many batches' worth of randomly drawn rows are sorted by length together; 1 keeps rows as drawn.
        as_given: Without ``shuffle``, in the order of the split, where batch mates matter as in published code.
    """

    def __init__(
        self,
        lengths: Sequence[int],
        batch_size: int,
        position: Callable[[], Position],
        share: Share = Share(),
        seed: int = 0,
        shuffle: bool = True,
        group: int = 50,
        as_given: bool = False,
    ) -> None:
        self.lengths = lengths
        self.batch_size = batch_size
        self.position = position
        self.share = share
        self.seed = seed
        self.shuffle = shuffle
        self.group = group
        self.as_given = as_given

    def __len__(self) -> int:
        """Batches of an epoch on this rank: the same in every epoch, and in training on every rank."""
        if self.shuffle:
            full, rest = divmod(len(self.lengths), self.batch_size * self.share.world)
            return full + (rest >= self.share.world)
        return -(-len(range(self.share.rank, len(self.lengths), self.share.world)) // self.batch_size)

    def __iter__(self) -> Iterator[list[RowKey]]:
        epoch, stage, over = self.position()
        batches = self.global_batches(epoch) if self.shuffle else self._in_order()
        for number, batch in enumerate(batches[over:], start=over):
            now = stage if isinstance(stage, int) else stage(number)
            yield [RowKey(epoch, now, index) for index in batch]

    def global_batches(self, epoch: int) -> list[list[int]]:
        """This rank's rows of every batch of an epoch.

        Each row is in the epoch exactly once; only where the last batch has fewer rows than there are ranks, those rows
        sit this epoch out (other ones in the next).
        """
        draw = keyed_random("order", self.seed, epoch)
        order = list(range(len(self.lengths)))
        draw.shuffle(order)
        size = self.batch_size * self.share.world
        # The odd batch is cut off before sorting: taken after it, it would always hold an epoch's longest rows.
        whole = len(order) - len(order) % size
        odd = sorted(order[whole:], key=self._length)
        pool = size * self.group
        batches = []
        for start in range(0, whole, pool):
            near = sorted(order[start : min(start + pool, whole)], key=self._length)
            batches += [near[at : at + size] for at in range(0, len(near), size)]
        if odd:
            batches.append(odd)
        draw.shuffle(batches)
        # Left out only now, so that the other batches come in one order on any number of ranks.
        return [batch[self.share.rank :: self.share.world] for batch in batches if len(batch) >= self.share.world]

    def _in_order(self) -> list[list[int]]:
        rows = range(len(self.lengths))
        whole = list(rows) if self.as_given else sorted(rows, key=self._length, reverse=True)
        order = whole[self.share.rank :: self.share.world]
        return [order[at : at + self.batch_size] for at in range(0, len(order), self.batch_size)]

    def _length(self, index: int) -> int:
        return self.lengths[index]


ANSWERED_TOGETHER = 16
"""Batches of a window in test and prediction: only at its end are there places that nobody takes."""


def batches_together(trainer: Any, split: str) -> tuple[int, float]:
    """How many batches of a split a window has, and how many a trainer asks for."""
    if split == "train":
        return trainer.accumulate_grad_batches, trainer.num_training_batches
    return ANSWERED_TOGETHER, sum(getattr(trainer, f"num_{split}_batches", ()))


class WindowLoader(DataLoader[Any]):
    """A data loader whose batches know one another, some at a time (``ThoughtBatch.window``).

    Attributes:
        together: Says how many batches a window has, and how many batches will be asked for.
    """

    together: Callable[[], tuple[int, float]] = staticmethod(lambda: (1, float("inf")))

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]  # the base class promises its private iterator class
        number, batches = self.begins_at(), super().__iter__()
        size, last = self.together()
        while found := list(islice(batches, int(min(size - number % size, max(1, last - number))))):
            window = Window(tuple(found))
            for batch in found:
                if isinstance(batch, ThoughtBatch):
                    batch.window = window
                yield batch
            number += len(found)

    def begins_at(self) -> int:
        """The number of the first batch."""
        return 0


class ResumableLoader(WindowLoader):
    """A data loader that asks its sampler for nothing before the first batch is wanted; its windows are steps.

    Lightning makes iterators early: for the length of a learning-rate schedule even before a checkpoint is restored. A
    plain loader with workers would then begin to prefetch from the wrong epoch and batch.
    """

    def begins_at(self) -> int:
        """The batches of this epoch that a resumed run has seen."""
        assert isinstance(self.batch_sampler, StageBatchSampler)
        return self.batch_sampler.position().batches

    def state_dict(self) -> dict[str, int]:
        """Nothing: the sampler reads its position from the trainer. By this method Lightning knows that we resume."""
        return {}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Nothing to do, see :meth:`state_dict`."""

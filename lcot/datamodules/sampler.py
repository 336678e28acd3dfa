"""Which rows form which batch: keyed, grouped by length, shared out over ranks, and able to start in the middle."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch.utils.data import DataLoader, Sampler

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
    same optimizer step whatever the number of ranks. Epoch and stage are asked for when an epoch's iteration starts,
    because Lightning's own counters are set too late for prefetching workers after a resume.

    Args:
        lengths: Length of each row, in any unit; rows of one batch get similar ones.
        batch_size: Rows of one rank's batch.
        position: Returns (epoch, stage) at the start of an iteration.
        share: This rank's part.
        seed: Keys the order together with the epoch.
        shuffle: ``True`` for training. ``False``: longest first, every row exactly once over all ranks, the ranks'
            numbers of rows differing by at most one.
        group: How many batches' worth of randomly drawn rows are sorted by length together; 1 keeps rows as drawn.
    """

    def __init__(
        self,
        lengths: Sequence[int],
        batch_size: int,
        position: Callable[[], tuple[int, int]],
        share: Share = Share(),
        seed: int = 0,
        shuffle: bool = True,
        group: int = 50,
    ) -> None:
        self.lengths = lengths
        self.batch_size = batch_size
        self.position = position
        self.share = share
        self.seed = seed
        self.shuffle = shuffle
        self.group = group
        self.skip = 0

    def __len__(self) -> int:
        """Batches of an epoch on this rank: the same in every epoch, and in training on every rank."""
        if self.shuffle:
            full, rest = divmod(len(self.lengths), self.batch_size * self.share.world)
            return full + (rest >= self.share.world)
        return -(-len(range(self.share.rank, len(self.lengths), self.share.world)) // self.batch_size)

    def __iter__(self) -> Iterator[list[RowKey]]:
        epoch, stage = self.position()
        batches = self.global_batches(epoch) if self.shuffle else self._in_order()
        skip, self.skip = self.skip, 0
        for batch in batches[skip:]:
            yield [RowKey(epoch, stage, index) for index in batch]

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
        if len(odd) >= self.share.world:
            batches.append(odd)
        draw.shuffle(batches)
        return [batch[self.share.rank :: self.share.world] for batch in batches]

    def _in_order(self) -> list[list[int]]:
        order = sorted(range(len(self.lengths)), key=self._length, reverse=True)[self.share.rank :: self.share.world]
        return [order[at : at + self.batch_size] for at in range(0, len(order), self.batch_size)]

    def _length(self, index: int) -> int:
        return self.lengths[index]


class ResumableLoader(DataLoader[Any]):
    """A data loader that continues an epoch behind the batches that were already trained on.

    Lightning saves and restores any loader that has these two methods; a plain loader would start the epoch again.
    """

    _yielded = 0

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]  # the base class promises its private iterator class
        sampler = self.batch_sampler
        assert isinstance(sampler, StageBatchSampler)
        self._yielded = sampler.skip
        for batch in super().__iter__():
            self._yielded += 1
            yield batch

    def state_dict(self) -> dict[str, int]:
        """The number of batches of this epoch that were handed out."""
        return {"yielded": self._yielded}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Skip that many batches in the next iteration; a finished epoch starts a new one."""
        sampler = self.batch_sampler
        assert isinstance(sampler, StageBatchSampler)
        sampler.skip = state["yielded"] % max(1, len(sampler))

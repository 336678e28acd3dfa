"""Writing the texts of many batches: rows that end leave, and rows that wait take their places.

A batch that is written by itself goes on until its longest text ends. Where one row writes 20 tokens and another 128,
most places are idle most of the time. Here the next batch is thought about as soon as a place is idle, and its rows
wait until there is one for each. A text is the one that its row would have alone.

Letters in shapes: R rows of a thinking, P places.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from time import perf_counter

import torch
from transformers import PreTrainedModel

from lcot.reasoning.decode import Draws, Sampling, Text, Writer
from lcot.reasoning.repeat import Copies
from lcot.reasoning.think import Thinking


@dataclass(slots=True, eq=False)
class Source:
    """Rows that texts are to be written of.

    Attributes:
        thinking: Of R rows, with its cache kept; the cache is consumed.
        draws: For each text of a row, the R rows' random draws.
        alone: Whether nothing else may be thought about before all of its texts are written.
    """

    thinking: Thinking
    draws: Sequence[Sequence[Draws]]
    alone: bool = False


@dataclass(slots=True, eq=False)
class Written:
    """The texts of a source.

    Attributes:
        texts: For each copy, the R lists of new token ids that :func:`~lcot.reasoning.decode.decode` gives.
        seconds: Wall time of writing them: of each pass, the share of those rows among all that were written in it.
    """

    texts: list[list[list[int]]]
    seconds: float


@dataclass(slots=True, eq=False)
class _Open:
    """A source whose texts are not all written."""

    copies: list[list[_Row]] = field(default_factory=list)
    missing: int = 0
    seconds: float = 0.0

    def close(self) -> Written:
        """What was written."""
        return Written([[row.tokens for row in copy] for copy in self.copies], self.seconds)


@dataclass(slots=True, eq=False, kw_only=True)
class _Row(Text):
    """A text, and what it is written of."""

    row: int
    source: _Open


class _Queue:
    """The rows of one source that wait for a place."""

    def __init__(self, source: Source) -> None:
        self.thinking = source.thinking
        self.open = _Open()
        for draws in source.draws:
            self.open.copies.append([_Row(each, row=row, source=self.open) for row, each in enumerate(draws)])
        self._left = deque(chain.from_iterable(self.open.copies))
        self.open.missing = len(self._left)
        self._copies = Copies(source.thinking) if len(source.draws) > 1 else None

    def __len__(self) -> int:
        return len(self._left)

    @property
    def seated(self) -> bool:
        """Whether some have got one, and the rest must be copied row by row."""
        return len(self._left) % len(self.thinking.thoughts) > 0

    def group(self, places: int) -> tuple[Thinking, list[_Row]]:
        """As many whole copies as there are places for, or one."""
        size = len(self.thinking.thoughts)
        times = min(max(1, places // size), len(self._left) // size)
        thinking = self.thinking if self._copies is None else self._copies.make(times)
        return thinking, self.take(times * size)

    def take(self, number: int) -> list[_Row]:
        """The next ones."""
        return [self._left.popleft() for _ in range(min(number, len(self._left)))]


@torch.no_grad()
def write(
    model: PreTrainedModel,
    sources: Iterable[Source],
    *,
    places: int,
    max_new_tokens: int,
    eos: int,
    sampling: Sampling,
) -> Iterator[Written]:
    """Write texts behind the prompts of many batches.

    Caches that do not keep all columns (linear attention, windows under flash attention) and those of compiled passes
    have no room for rows that come later: their batches are written one after another.

    Args:
        model: The model that did the thinking.
        sources: Asked for the next one when there are idle places and nobody waits for them. So one cache at most is
            held beside that of the places.
        places: How many rows are written at once; a whole copy of a source is, where no other text is being written.
        max_new_tokens: Upper bound of new tokens a row, at least 1.
        eos: Ends a row, as does each of the further ends that the model's configuration names.
        sampling: How tokens are chosen; draws have seeds of their own.

    Yields:
        What was written, in the order of the sources, each as soon as it is complete.

    Raises:
        UserError: If a row is to have several texts, and the cache is of a kind that cannot be copied.
    """
    assert max_new_tokens > 0
    writer = Writer[_Row](model, max_new_tokens, eos, sampling, spare=max(16, max_new_tokens // 2))
    coming, ahead = iter(sources), deque[_Open]()
    queue: _Queue | None = None
    alone = ended = False
    while True:
        while writer.idle or not writer.live:
            if not queue:
                if ended or (writer.live and (alone or not writer.seats)):
                    break
                source = next(coming, None)
                if source is None:
                    ended = True
                    break
                queue, alone = _Queue(source), source.alone
                ahead.append(queue.open)
            start = perf_counter()
            if not writer.live and not queue.seated:
                writer.begin(*queue.group(places))
            elif writer.can_seat(queue.thinking):
                rows = queue.take(writer.idle)
                writer.seat(queue.thinking, [row.row for row in rows], rows)
            else:
                break
            queue.open.seconds += perf_counter() - start
        if not writer.live:
            return
        start, live = perf_counter(), list(writer.live.values())
        # Places that could not be filled just now never will be, before all of them are idle.
        for row in writer.step(shrink=writer.idle > 0 or (ended and not queue)):
            row.source.missing -= 1
        share = (perf_counter() - start) / len(live)
        for row in live:
            row.source.seconds += share
        while ahead and not ahead[0].missing:
            yield ahead.popleft().close()

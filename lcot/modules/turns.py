"""Answers to many batches: each is thought about when there is room for its rows, and written among the others."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lcot.modules.evaluation import Answers, Votes, clock_time
from lcot.modules.voting import Voting
from lcot.reasoning.batch import ThoughtBatch, Window
from lcot.reasoning.decode import Draws
from lcot.reasoning.turnover import Source, Written, write

if TYPE_CHECKING:
    from lcot.modules.answering import AnsweringModule

Price = Callable[[Sequence[Sequence[int]]], list[float]]
"""Operations of each of a thinking's texts."""


@dataclass(slots=True, eq=False)
class _Asked:
    """A batch, and what has been written for it."""

    pauses: Tensor
    seconds: float = 0.0
    missing: int = 0  # thought paths without texts
    runs: list[list[tuple[list[list[int]], Tensor, list[float] | None]]] = field(default_factory=list)

    def votes(self) -> Votes:
        """All of it; each text has an equal share of the time of all."""
        seconds = self.seconds / sum(map(len, self.runs))
        return Votes(tuple(tuple(Answers(texts, count, seconds, cost) for texts, count, cost in r) for r in self.runs))


@dataclass(slots=True, eq=False)
class _Part:
    """Some thought paths of a batch."""

    asked: _Asked
    thoughts: Tensor
    paths: int
    price: Price | None

    def add(self, written: Written, wanted: Sequence[tuple[int, int]]) -> None:
        """Note their texts."""
        asked, paths = self.asked, self.paths
        costs = [None if self.price is None else self.price(texts) for texts in written.texts]
        for path in range(paths):
            thoughts = self.thoughts[path::paths] + asked.pauses
            for (run, _), texts, cost in zip(wanted, written.texts, costs, strict=True):
                asked.runs[run].append((texts[path::paths], thoughts, cost and cost[path::paths]))
        asked.seconds += written.seconds
        asked.missing -= paths


@torch.no_grad()
def answered(
    module: AnsweringModule, batches: Iterable[ThoughtBatch], voting: Voting, paths: int, rows: int
) -> Generator[Votes]:
    """Answer the questions of some batches.

    Args:
        module: Thinks and writes.
        batches: Asked for the next one when there is room.
        voting: How many texts a question gets from each path.
        paths: From how many thought paths.
        rows: How many texts are written at once; as many as a thinking has rows are in any case.

    Yields:
        All votes of all runs of each batch, in their order, as soon as they are complete.
    """
    assert module.model is not None and module.special is not None
    wanted = [(run, sample) for run in range(voting.runs) for sample in range(voting.samples)]
    parts, seed = deque[_Part](), module.sampling.seed
    # A generator of one's own may have changed the model for as long as it waits.
    own = module.thinkings.__module__.partition(".")[0] != "lcot"

    def sources() -> Iterator[Source]:
        for batch in batches:
            asked = _Asked(batch.pauses, missing=paths, runs=[[] for _ in range(voting.runs)])
            index, first, thinkings = batch.index.tolist(), 0, module.thinkings(batch, paths=paths)
            while first < paths:
                start = clock_time(module.device)
                thinking = next(thinkings, None)
                asked.seconds += clock_time(module.device) - start
                held = 0 if thinking is None else len(thinking.thoughts) // len(batch)
                assert thinking is not None and 0 < held <= paths - first, (
                    "thinkings() gives as many paths as it is asked for"
                )
                copies = [
                    [Draws(seed + run, row, first + path, sample) for row in index for path in range(held)]
                    for run, sample in wanted
                ]
                first += held
                price = module.price(batch, thinking, voting.samples)
                parts.append(_Part(asked, thinking.thoughts, held, price))
                yield Source(thinking, copies, alone=own or first < paths)

    writing = write(
        module.model,
        sources(),
        places=rows,
        max_new_tokens=module.max_new_tokens,
        eos=module.special.eos,
        sampling=module.sampling,
    )
    for written in writing:
        part = parts.popleft()
        part.add(written, wanted)
        if not part.asked.missing:
            yield part.asked.votes()


class Turns:
    """The answers to the batches of a window, which a loop asks for one by one.

    Args:
        window: The batches.
        answers: Theirs, in their order.
    """

    def __init__(self, window: Window, answers: Generator[Votes]) -> None:
        self.window = window
        self._answers = answers
        self._next = 0

    def are_at(self, batch: ThoughtBatch) -> bool:
        """Whether a batch is the next one."""
        if batch.window is not self.window or self._next == len(self.window.batches):
            return False
        return self.window.batches[self._next].index.tolist() == batch.index.tolist()

    def take(self) -> Votes:
        """The answers to the next one."""
        self._next += 1
        found = next(self._answers)
        if self._next == len(self.window.batches):
            self._answers.close()  # and its caches with it
        return found

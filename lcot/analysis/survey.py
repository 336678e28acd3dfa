"""Which questions can be part of which measurement: found in one pass over them, before anything is decoded.

Only text is looked at, and the model is not asked. A byte a question is kept, with a bit for each of :data:`NEEDS`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Literal, TypeVar, get_args

from lcot.analysis.attention import token_facts
from lcot.analysis.lens import intermediate_results
from lcot.analysis.readouts import readout, readout_ids
from lcot.analysis.thinker import Thinker, encoded_chunks
from lcot.errors import UserError
from lcot.metrics.problem_graph import has_graph
from lcot.metrics.surfaces import graph_and_surface, stated_facts
from lcot.reasoning.example import ReasoningExample
from lcot.reasoning.layout import EncodedExample

T = TypeVar("T")

Need = Literal["graph", "names", "facts", "results"]
"""What a question may have: a graph that can be read; names of its nodes that are sequences of tokens of their own;
facts whose tokens can be found in it; steps that compute numbers."""

NEEDS: tuple[Need, ...] = get_args(Need)

_NO_GRAPH = ("carries no graph", "carry no graph")
_LACKS: Mapping[Need, tuple[str, str]] = {
    "graph": _NO_GRAPH,
    "names": _NO_GRAPH,
    "facts": _NO_GRAPH,
    "results": ("has no steps that compute numbers", "have no steps that compute numbers"),
}
"""How the most frequent reason is put, of one question and of several."""


class Survey:
    """What the questions have.

    Args:
        thinker: Lays them out.
        hidden: The numbers of steps that concepts are to be read out behind.
        most: Largest number of thoughts.
        room: Number of positions that are needed behind them.

    Attributes:
        count: Number of questions so far.
    """

    def __init__(self, thinker: Thinker, hidden: Iterable[int], most: int, room: int) -> None:
        self.thinker, self.hidden, self.most, self.room = thinker, sorted(set(hidden)), most, room
        self.count = 0
        self._has = bytearray()
        self._digest = hashlib.blake2b(digest_size=16)
        self._faults: dict[Need, str] = {}

    @property
    def data_hash(self) -> str:
        """Of all questions and answers, as in ``test.json``."""
        return self._digest.hexdigest()

    def take(self, examples: Iterable[ReasoningExample]) -> None:
        """Look at questions.

        Raises:
            UserError: If one cannot be laid out, or is too long with its thoughts and what is written behind them.
        """
        for chunk, encoded in encoded_chunks(self.thinker, examples):
            self.thinker.rows(encoded, self.most, room=self.room)
            for example, ids in zip(chunk, encoded, strict=True):
                self._digest.update(json.dumps([example.question, example.answer]).encode() + b"\n")
                self._has.append(sum(1 << NEEDS.index(need) for need in self._look(example, ids)))
                self.count += 1

    def number(self, need: Need) -> int:
        """How many questions have something."""
        return sum(self.has(number, need) for number in range(self.count))

    def has(self, number: int, need: Need) -> bool:
        """Whether a question has something; questions are numbered from 0."""
        return bool(self._has[number] >> NEEDS.index(need) & 1)

    def those(self, need: Need, items: Iterable[T]) -> Iterator[tuple[int, T]]:
        """Of one thing a question those whose question has what is needed, each with the question's number."""
        return ((number, item) for number, item in enumerate(items) if self.has(number, need))

    def lack(self, need: Need) -> str | None:
        """What is told where no question, or not every one, has something; ``None`` if all have it."""
        lacking = self.count - self.number(need)
        if not lacking:
            return None
        fault, many = self._faults.get(need), lacking > 1
        if lacking == self.count:
            return fault or f"these questions {_LACKS[need][1]}"
        out = f"{'are' if many else 'is'} left out"
        why = f"{out}; the first that is faulty: {fault}" if fault else f"{_LACKS[need][many]} and {out}"
        return f"{lacking:,} of {self.count:,} questions {why}"

    def _look(self, example: ReasoningExample, ids: EncodedExample) -> Iterator[Need]:
        """What a question has; the first fault of each kind is kept, to be told."""
        if intermediate_results(example):
            yield "results"
        if not has_graph(example):
            return
        try:
            graph, surface = graph_and_surface(example)
        except UserError as err:
            for need in ("graph", "names", "facts"):
                self._faults.setdefault(need, told(err))
            return
        yield "graph"
        builder = self.thinker.builder
        try:
            forms = [readout(graph, surface, hidden, builder) for hidden in self.hidden]
            # Most differ in their depth alone.
            readout_ids(builder, list({(form.lead, form.names, form.follows): form for form in forms}.values()))
            yield "names"
        except UserError as err:
            self._faults.setdefault("names", told(err))
        try:
            token_facts(self.thinker, example, ids, stated_facts(example, graph, surface))
            yield "facts"
        except UserError as err:
            self._faults.setdefault("facts", told(err))


def told(err: UserError) -> str:
    """An error in one line."""
    return err.what + (f": {err.why}" if err.why else "")

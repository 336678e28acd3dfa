"""Whose thoughts a question is given in the place of its own: another question's.

A donor is drawn by a key among the questions with as many written steps, and with the same right answer or another one.
It is never the question itself, nor one of the same words. Where two questions are asked about the same facts, each is
the donor of the other as well, whatever its steps and its answer are.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Literal, get_args

from lcot.metrics.extractors import Extractor
from lcot.reasoning.example import ReasoningExample
from lcot.reasoning.keyed import keyed_random, keyed_seed

Kind = Literal["same_gold", "other_gold", "pair"]
"""Whether the donor's right answer is the question's own, or the donor is the other question about the same facts."""

KINDS: tuple[Kind, ...] = get_args(Kind)

_TRIES = 32


class Donors:
    """Finds donors among questions; some 70 bytes are kept of each.

    Args:
        seed: Keys the draws, together with the question's number.
        reader: Says which answers are the same.
    """

    def __init__(self, seed: int, reader: Extractor) -> None:
        self.seed, self.reader = seed, reader
        self._asked, self._golds, self._steps, self._others = (array("q") for _ in range(4))
        self._alone: dict[str, int] = {}  # the first ones of pairs, until the second one comes
        self._groups: dict[tuple[int, int | None], array[int]] = {}

    def __len__(self) -> int:
        return len(self._asked)

    def add(self, example: ReasoningExample) -> None:
        """Take a question in, as the next number."""
        meaning = self.reader.meaning(example.answer)
        gold = hash(example.answer if meaning is None else meaning)  # equal for 18 and 18.0
        number, steps = len(self), len(example.steps)
        self._asked.append(keyed_seed("question", example.question))
        self._golds.append(gold)
        self._steps.append(steps)
        self._others.append(-1)
        if example.pair and (other := self._alone.pop(example.pair, None)) is not None:
            self._others[other], self._others[number] = number, other
        elif example.pair:
            self._alone[example.pair] = number
        for group in ((steps, None), (steps, gold)):
            self._groups.setdefault(group, array("q")).append(number)

    def donor(self, number: int, kind: Kind) -> int | None:
        """The number of a question's donor; ``None`` if there is none.

        Args:
            number: The question's.
            kind: Which it is to be.
        """
        if kind == "pair":
            return self._others[number] if self._others[number] >= 0 else None
        steps, gold = self._steps[number], self._golds[number]
        among: Sequence[int] = self._groups[steps, gold if kind == "same_gold" else None]

        def fits(other: int) -> bool:
            return self._asked[other] != self._asked[number] and (self._golds[other] == gold) == (kind == "same_gold")

        draw = keyed_random("donor", self.seed, kind, number)
        for _ in range(_TRIES):  # nearly always enough; what few fit is looked for one by one
            if fits(other := draw.choice(among)):
                return other
        fitting = [other for other in among if fits(other)]
        return draw.choice(fitting) if fitting else None

    def number(self, kind: Kind) -> int:
        """How many questions have a donor."""
        return sum(self.donor(number, kind) is not None for number in range(len(self)))

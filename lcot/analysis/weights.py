"""Second opinions on what each thought is worth, without changing it, and whether thoughts still move.

- Gradient times state: the derivative of the right text's log-probability by a thought, times the thought. To first
  order this is what the text loses when the thought is set to zero, and it is compared with what it really loses.
- The attention that the text pays to a thought: from the place at which the text begins to the last token before its
  end, mean over these places, heads and layers. Attention is no effect: what is looked at need not matter.
- Cosine with the thought before, and distance to the first one: near 1 and 0, thoughts have come to rest.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from lcot.analysis.effects import Answered


@dataclass(frozen=True, slots=True)
class Weighed:
    """One thought of a question.

    Attributes:
        question: The question's number, from 0.
        id: Its id.
        thought: Which of its thoughts this is, from 1.
        gradient: Gradient times state, of the right text's log-probability in nats.
        attention: Share of the text's attention; ``None`` where the model hands out no weights.
        previous: Cosine with the thought before it; ``None`` for the first one.
        moved: Distance to the first thought, as a multiple of that one's length; 0 for the first one itself.
    """

    question: int
    id: str
    thought: int
    gradient: float
    attention: float | None
    previous: float | None
    moved: float


@dataclass(frozen=True, slots=True)
class WeightRow:
    """One of k thoughts, over all questions.

    Attributes:
        thought: Which of them this is, from 1.
        questions: Number of questions.
        gradient: Mean of gradient times state, in nats.
        agreement: Correlation (Pearson) between gradient times state and what the right text loses when this thought
            alone is set to zero; ``None`` where that was not done, or one of them is the same for all.
        attention: Mean share of the text's attention; ``None`` where the model hands out no weights.
        previous: Mean cosine with the thought before it; ``None`` for the first one.
        moved: Mean distance to the first thought, as a multiple of that one's length.
    """

    thought: int
    questions: int
    gradient: float
    agreement: float | None
    attention: float | None
    previous: float | None
    moved: float


@dataclass(slots=True)
class _Sums:
    questions: int = 0
    gradient: float = 0.0
    attention: float | None = 0.0
    previous: float | None = 0.0
    moved: float = 0.0
    pairs: int = 0
    x: float = 0.0
    y: float = 0.0
    xx: float = 0.0
    yy: float = 0.0
    xy: float = 0.0

    def agreement(self) -> float | None:
        if not self.pairs:
            return None
        n = self.pairs
        spread = (self.xx - self.x * self.x / n) * (self.yy - self.y * self.y / n)
        return (self.xy - self.x * self.y / n) / math.sqrt(spread) if spread > 1e-12 else None


class WeightTable:
    """Adds up what thoughts are worth; only sums are kept, and the values of the latest question."""

    def __init__(self) -> None:
        self._sums: dict[int, _Sums] = {}
        self._latest: dict[int, Weighed] = {}

    def weigh(self, one: Weighed) -> None:
        """Count a thought."""
        own = self._sums.setdefault(one.thought, _Sums())
        own.questions += 1
        own.gradient += one.gradient
        own.moved += one.moved
        own.attention = None if own.attention is None or one.attention is None else own.attention + one.attention
        own.previous = None if own.previous is None or one.previous is None else own.previous + one.previous
        self._latest[one.thought] = one

    def answered(self, one: Answered) -> None:
        """Compare with what its question lost, if this is the answer behind one thought that was set to zero."""
        if (one.intervention, one.scope, one.effect) == ("zero", "all", "direct") and len(self._latest) == 1:
            number = 1  # of a single thought
        elif (one.intervention, one.scope, one.effect) == ("zero", "one", "direct") and one.thought is not None:
            number = one.thought
        else:
            return
        weighed = self._latest[number]
        assert weighed.question == one.question, "the thoughts of a question come before its answers"
        sums, x, y = self._sums[number], weighed.gradient, -one.text_change
        sums.pairs += 1
        sums.x, sums.y = sums.x + x, sums.y + y
        sums.xx, sums.yy, sums.xy = sums.xx + x * x, sums.yy + y * y, sums.xy + x * y

    def rows(self) -> list[WeightRow]:
        """The means so far, by thought."""
        return [
            WeightRow(
                thought=thought,
                questions=sums.questions,
                gradient=sums.gradient / sums.questions,
                agreement=sums.agreement(),
                attention=None if sums.attention is None else sums.attention / sums.questions,
                previous=None if sums.previous is None else sums.previous / sums.questions,
                moved=sums.moved / sums.questions,
            )
            for thought, sums in sorted(self._sums.items())
        ]

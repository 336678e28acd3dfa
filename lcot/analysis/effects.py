"""What follows from changed thoughts, over all questions: a row for each intervention, and within it by steps."""

from __future__ import annotations

from dataclasses import dataclass, field

from lcot.analysis.edits import Effect, Scope
from lcot.metrics.statistics import mcnemar, wilson

UNCHANGED = "none"
"""The intervention of rows whose thoughts are the method's own."""


@dataclass(frozen=True, slots=True)
class Answered:
    """One question's answer behind one intervention.

    Attributes:
        question: Its number, from 0.
        id: Its id.
        pair: What it shares with the other question about the same facts; empty for a question that stands alone.
        steps: Number of its written steps.
        intervention: Name of the edit; ``none`` for the method's own thoughts.
        scope: Which thoughts were changed: ``all``, ``one``, or ``from`` one on.
        thought: That one, from 1; ``None`` for all.
        effect: What thoughts behind it were: as before (``direct``), or thought anew (``total``).
        donor: Number of the question whose thoughts these are. Of other interventions, to compare with, that of the
            other question about the same facts or, where there is none, of the donor with another answer. ``None`` if
            there is neither.
        text: All that was written.
        answer: What the extractor reads; ``None`` if there is no answer.
        gold: The right answer.
        correct: Whether the answer is the right one.
        correct_before: Whether the answer behind the method's own thoughts is.
        changed: Whether the answer is another one than that.
        to_donor: Whether it has become what the donor itself is answered; ``None`` without a donor, or where that is
            the answer behind the method's own thoughts already.
        to_donor_gold: Likewise for the donor's right answer.
        text_log: Log-probability, in nats, of the right text: what is left of the steps, the answer, and eos.
        answer_log: That of the answer in it, and eos; ``None`` where its tokens cannot be told from its mark's.
        text_change: What ``text_log`` has gained against the method's own thoughts.
        answer_change: Likewise for ``answer_log``.
    """

    question: int
    id: str
    pair: str
    steps: int
    intervention: str
    scope: Scope
    thought: int | None
    effect: Effect
    donor: int | None
    text: str
    answer: str | None
    gold: str
    correct: bool
    correct_before: bool
    changed: bool
    to_donor: bool | None
    to_donor_gold: bool | None
    text_log: float
    answer_log: float | None
    text_change: float
    answer_change: float | None


@dataclass(frozen=True, slots=True)
class EffectRow:
    """What one intervention does to some questions.

    Attributes:
        intervention: Name of the edit; ``none`` for the method's own thoughts.
        scope: Which thoughts were changed: ``all``, ``one``, or ``from`` one on.
        thought: That one, from 1; ``None`` for all.
        effect: What thoughts behind it were: as before (``direct``), or thought anew (``total``).
        steps: Number of written steps of the questions; ``None`` for all questions.
        questions: How many there are.
        correct: How many of them were answered correctly.
        accuracy: Their share.
        low: Lower end of its 95 % interval (Wilson).
        high: Upper end.
        before: Share of the same questions that are answered correctly behind the method's own thoughts.
        lost: Questions whose answer was right and is wrong.
        gained: Questions whose answer was wrong and is right.
        p: Exact two-sided p-value of McNemar's test for these two.
        pairs: Pairs of questions about the same facts, both of which there are; 0 in rows by steps.
        pair_accuracy: Share of these with both answered correctly; ``None`` if there are none.
        pair_before: That share behind the method's own thoughts.
        changed: Share of questions with another answer than before.
        changed_low: Lower end of its 95 % interval.
        changed_high: Upper end.
        donors: Questions with a donor that is answered otherwise than they were.
        to_donor: Share of these whose answer has become the donor's; ``None`` if there are none.
        to_donor_low: Lower end of its 95 % interval.
        to_donor_high: Upper end.
        to_donor_gold: Share of questions whose answer has become the donor's right answer, of those whose answer it was
            not; ``None`` if there are none.
        text_change: Mean gain of the right text's log-probability, in nats.
        answer_change: That of the right answer in it; ``None`` where it cannot be told apart.
    """

    intervention: str
    scope: Scope
    thought: int | None
    effect: Effect
    steps: int | None
    questions: int
    correct: int
    accuracy: float
    low: float
    high: float
    before: float
    lost: int
    gained: int
    p: float
    pairs: int
    pair_accuracy: float | None
    pair_before: float | None
    changed: float
    changed_low: float
    changed_high: float
    donors: int
    to_donor: float | None
    to_donor_low: float | None
    to_donor_high: float | None
    to_donor_gold: float | None
    text_change: float
    answer_change: float | None


@dataclass(slots=True)
class _Sums:
    questions: int = 0
    correct: int = 0
    before: int = 0
    lost: int = 0
    gained: int = 0
    changed: int = 0
    donors: list[int] = field(default_factory=lambda: [0, 0])
    golds: list[int] = field(default_factory=lambda: [0, 0])
    text: float = 0.0
    answers: int = 0
    answer: float = 0.0
    pairs: list[int] = field(default_factory=lambda: [0, 0, 0])
    alone: dict[str, tuple[bool, bool]] = field(default_factory=dict)

    def add(self, one: Answered) -> None:
        self.questions += 1
        self.correct += one.correct
        self.before += one.correct_before
        self.lost += one.correct_before and not one.correct
        self.gained += one.correct and not one.correct_before
        self.changed += one.changed
        for counts, became in ((self.donors, one.to_donor), (self.golds, one.to_donor_gold)):
            if became is not None:
                counts[0] += 1
                counts[1] += became
        self.text += one.text_change
        if one.answer_change is not None:
            self.answers += 1
            self.answer += one.answer_change

    def add_pair(self, one: Answered) -> None:
        """Count a pair with its second question; its first one is kept until then."""
        right, before = one.correct, one.correct_before
        if one.pair in self.alone:
            first, first_before = self.alone.pop(one.pair)
            for place, counted in enumerate((True, right and first, before and first_before)):
                self.pairs[place] += counted
        else:
            self.alone[one.pair] = right, before


class EffectTable:
    """Adds up what was answered; only sums are kept."""

    def __init__(self) -> None:
        self._sums: dict[tuple[str, Scope, int | None, Effect], dict[int | None, _Sums]] = {}

    def add(self, one: Answered) -> None:
        """Count an answer."""
        own = self._sums.setdefault((one.intervention, one.scope, one.thought, one.effect), {})
        for steps in (None, one.steps):
            own.setdefault(steps, _Sums()).add(one)
        if one.pair:
            own[None].add_pair(one)

    def rows(self) -> list[EffectRow]:
        """For each intervention the row of all questions, then one for each number of steps."""
        return [
            self._row(key, steps, own[steps])
            for key, own in self._sums.items()
            for steps in sorted(own, key=lambda steps: -1 if steps is None else steps)
        ]

    @staticmethod
    def _row(key: tuple[str, Scope, int | None, Effect], steps: int | None, sums: _Sums) -> EffectRow:
        count, (donors, theirs), (others, golds) = sums.questions, sums.donors, sums.golds
        pairs, both, both_before = sums.pairs
        low, high = wilson(sums.correct, count)
        changed_low, changed_high = wilson(sums.changed, count)
        to_low, to_high = wilson(theirs, donors) if donors else (None, None)
        return EffectRow(
            *key,
            steps=steps,
            questions=count,
            correct=sums.correct,
            accuracy=sums.correct / count,
            low=low,
            high=high,
            before=sums.before / count,
            lost=sums.lost,
            gained=sums.gained,
            p=mcnemar(sums.lost, sums.gained),
            pairs=pairs,
            pair_accuracy=both / pairs if pairs else None,
            pair_before=both_before / pairs if pairs else None,
            changed=sums.changed / count,
            changed_low=changed_low,
            changed_high=changed_high,
            donors=donors,
            to_donor=theirs / donors if donors else None,
            to_donor_low=to_low,
            to_donor_high=to_high,
            to_donor_gold=golds / others if others else None,
            text_change=sums.text / count,
            answer_change=sums.answer / sums.answers if sums.answers else None,
        )

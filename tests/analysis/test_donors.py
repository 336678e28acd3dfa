"""Donors fit, are never the question itself, and depend on nothing but the questions and the seed."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

import pytest

from lcot.analysis.donors import Donors, Kind
from lcot.metrics.extractors import extractor
from lcot.reasoning.example import ReasoningExample


def of(examples: Sequence[ReasoningExample], seed: int = 0, reader: str = "number") -> Donors:
    donors = Donors(seed, extractor(reader))
    for example in examples:
        donors.add(example)
    return donors


def asked(number: int, answer: str, steps: int = 1, question: str | None = None) -> ReasoningExample:
    return ReasoningExample(question or f"question {number}", ("step",) * steps, answer, str(number))


def many(count: int) -> list[ReasoningExample]:
    draw = random.Random(0)
    return [asked(number, str(draw.randint(1, 4)), draw.randint(1, 3)) for number in range(count)]


@pytest.mark.parametrize("kind", ["same_gold", "other_gold"])
def test_they_fit(kind: Kind) -> None:
    examples = many(300)
    donors, seen = of(examples), set()
    for number, example in enumerate(examples):
        giver = donors.donor(number, kind)
        assert giver is not None and giver != number
        assert len(examples[giver].steps) == len(example.steps)
        assert (examples[giver].answer == example.answer) == (kind == "same_gold")
        seen.add(giver)
    assert len(seen) > 150 and donors.number(kind) == 300  # not the same few


def test_they_are_keyed() -> None:
    examples = many(50)
    first = [of(examples).donor(number, "other_gold") for number in range(50)]
    again = of(examples)
    assert [again.donor(number, "other_gold") for number in reversed(range(50))][::-1] == first
    assert [of(examples, seed=1).donor(number, "other_gold") for number in range(50)] != first


def test_where_few_fit_they_are_found_all_the_same() -> None:
    examples = [asked(number, "1") for number in range(400)] + [asked(400, "2")]
    donors = of(examples)
    assert {donors.donor(number, "other_gold") for number in range(400)} == {400}
    assert donors.donor(400, "same_gold") is None
    assert (donors.number("same_gold"), donors.number("other_gold")) == (400, 401)


def test_the_same_words_are_the_question_itself() -> None:
    donors = of([asked(0, "1"), asked(1, "1", question="question 0"), asked(2, "1", steps=2)])
    assert [donors.donor(number, "same_gold") for number in range(3)] == [None, None, None]


def test_the_other_question_of_a_pair() -> None:
    pairs = ["", "a", "b", "a", "b", "c"]
    examples = [replace(asked(number, str(number), steps=number), pair=pair) for number, pair in enumerate(pairs)]
    donors = of(examples)
    assert [donors.donor(number, "pair") for number in range(6)] == [None, 3, 4, 1, 2, None]
    assert donors.number("pair") == 4 and donors.number("other_gold") == 0


def test_answers_are_the_same_as_the_extractor_says() -> None:
    examples = [asked(0, "18"), asked(1, "18.0")]
    assert of(examples).donor(0, "same_gold") == 1
    assert of(examples, reader="string").donor(0, "other_gold") == 1

"""Hints behind questions."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from lcot.datamodules.graphs.hints import Hints, chain_words
from lcot.datamodules.graphs.prosqa import ProsQA
from lcot.errors import UserError
from lcot.reasoning.example import ReasoningExample

EXAMPLE = ReasoningExample("Tom a. a b. b c. d e. Tom d. c or e? Tom", ("a", "b", "c"), "c", "x")


def hinted(hints: Hints, count: int = 400) -> list[str]:
    """The question, drawn often."""
    return [hints.apply(EXAMPLE, random.Random(seed)).question for seed in range(count)]


def test_a_right_hint_by_hand() -> None:
    assert set(hinted(Hints(share=1.0, right=1.0, drop_facts=False), 20)) == {f"{EXAMPLE.question} or a b c c?"}
    assert chain_words(EXAMPLE, 2) == ["a", "b"] and chain_words(EXAMPLE, 5) == ["a", "b", "c", "c", "c"]


def test_the_share_has_hints_and_the_rest_is_left_alone() -> None:
    questions = hinted(Hints(share=0.25))
    assert 0.18 < sum(question != EXAMPLE.question for question in questions) / 400 < 0.32


def test_steps_and_answer_stay() -> None:
    made = Hints(share=1.0).apply(EXAMPLE, random.Random(0))
    assert (made.steps, made.answer, made.facts) == (EXAMPLE.steps, EXAMPLE.answer, EXAMPLE.facts)


def test_facts_go_but_what_the_person_is_stays() -> None:
    questions = hinted(Hints(share=1.0, right=1.0))
    facts = [question.split("?")[0].split(". ")[:-1] for question in questions]
    assert all("Tom a" in kept for kept in facts) and {len(kept) for kept in facts} == {1, 2, 3, 4, 5}
    assert 0.4 < sum("b c" in kept for kept in facts) / 400 < 0.6


def test_words_are_wrong_at_most_as_often_as_was_said() -> None:
    words = [question.split(" or ")[2].rstrip("?").split() for question in hinted(Hints(share=1.0, right=0.5))]
    wrong = Counter(word != right for given in words for word, right in zip(given, "abcc", strict=True))
    # Reliability 1 - u² / 2 is 5/6 on average; a wrong word is right by chance in one of five.
    assert 0.09 < wrong[True] / sum(wrong.values()) < 0.18
    assert {word for given in words for word in given} == set("abcde")


def test_training_questions_alone_have_hints_and_they_are_drawn_anew() -> None:
    data = ProsQA(
        nodes=(6, 8), hops=(1, 3), symbols=16, train_size=60, val_size=20, test_size=5, style="compact", hints=Hints()
    )
    train, val = data.make_source("train"), data.make_source("val")
    given = [train.example(index, 0).question.count("?") == 2 for index in range(60)]
    assert 15 < sum(given) < 45
    assert all(val.example(index, 0).question.count("?") == 1 for index in range(20))
    assert given != [train.example(index, 1).question.count("?") == 2 for index in range(60)]
    assert train.redraws
    assert train.example(3, 0) == train.example(3, 0)


def test_mistakes() -> None:
    with pytest.raises(UserError, match=r"share 1\.5"):
        Hints(share=1.5)
    with pytest.raises(UserError, match="hints, and style 'prose'"):
        ProsQA(hints=Hints())

"""Which of several answers counts, and what of voting is refused or reported."""

from __future__ import annotations

from typing import Any

import pytest

from lcot.errors import UserError
from lcot.metrics import extractor
from lcot.modules import Voting
from lcot.modules.voting import Ballot, ballots
from lcot.reasoning.decode import Sampling


@pytest.mark.parametrize(
    ("answers", "chosen"),
    [
        (["a"], 0),
        ([None], 0),
        (["a", "b", "b"], 1),
        (["a", "b", "b", "a"], 0),  # as many: the first seen
        (["b", "a", "c", "a", "b"], 0),
        ([None, "a"], 1),
        ([None, None, None, "a", "b"], 3),  # what could not be extracted never wins
        ([None, "b", None, "a", "a"], 3),
        ([None, None], 0),
        (["1,000", "2", "1000"], 0),  # equal as the extractor sees it
    ],
)
def test_the_majority(answers: list[str | None], chosen: int) -> None:
    ballot = Ballot.of(answers, extractor("string"))
    assert ballot.chosen == chosen and ballot.answer == answers[chosen] and ballot.answers == tuple(answers)


def test_answers_agree_where_the_extractor_says_so() -> None:
    answers = ["2", "18.0", "18", "2", "$18"]
    assert Ballot.of(answers, extractor("number")).answer == "18.0"
    assert Ballot.of(answers, extractor("string")).answer == "2"


def test_votes_are_read_question_by_question() -> None:
    texts = [["so ### 1", "### 4"], ["### 2", "nothing"], ["### 2", "### 5"]]
    found = ballots(texts, extractor("string"), "###")
    assert found == [Ballot(("1", "2", "2"), 1), Ballot(("4", None, "5"), 0)]
    assert ballots(texts, extractor("last_number"), "###")[1] == Ballot(("4", None, "5"), 0)


@pytest.mark.parametrize("settings", [{"samples": 0}, {"runs": 0}, {"samples": -1, "runs": 3}], ids=str)
def test_at_least_one_of_each(settings: dict[str, int]) -> None:
    with pytest.raises(UserError, match=r"model\.voting"):
        Voting(**settings)


def test_greedy_texts_are_not_repeated() -> None:
    Voting().check(Sampling())
    Voting(samples=3, runs=2).check(Sampling(0.1))
    for voting in (Voting(samples=2), Voting(runs=2)):
        with pytest.raises(UserError, match="decoding is greedy") as caught:
            voting.check(Sampling(repetition_penalty=1.1))
        assert "model.sampling.temperature" in str(caught.value)


@pytest.mark.parametrize(
    ("voting", "sampling", "paths", "expected"),
    [
        (Voting(), Sampling(top_k=5, seed=3), 1,
         {"temperature": 0.0, "repetition_penalty": 1.0, "paths": 1, "samples": 1, "votes": 1, "runs": 1}),
        (Voting(), Sampling(seed=2, thoughts=0.5), 1,
         {"temperature": 0.0, "repetition_penalty": 1.0, "thoughts": 0.5, "thoughts_seed": 2,
          "paths": 1, "samples": 1, "votes": 1, "runs": 1}),
        (Voting(10, 5), Sampling(1.0, top_k=50, seed=41), 1,
         {"temperature": 1.0, "top_k": 50, "top_p": 1.0, "repetition_penalty": 1.0, "seeds": [41, 42, 43, 44, 45],
          "paths": 1, "samples": 10, "votes": 10, "runs": 5}),
        (Voting(2), Sampling(0.7, top_p=0.9, repetition_penalty=1.05), 3,
         {"temperature": 0.7, "top_k": 0, "top_p": 0.9, "repetition_penalty": 1.05, "seeds": [0],
          "paths": 3, "samples": 2, "votes": 6, "runs": 1}),
    ],
    ids=["greedy", "drawn thoughts", "runs", "paths"],
)  # fmt: skip
def test_what_a_report_says(voting: Voting, sampling: Sampling, paths: int, expected: dict[str, Any]) -> None:
    assert voting.described(sampling, paths) == expected

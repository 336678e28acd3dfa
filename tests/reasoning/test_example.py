"""Records that hold an example, and records that do not."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from lcot.errors import DataError
from lcot.reasoning.example import ReasoningExample, parse_example

GOOD: dict[str, Any] = {"question": "1 + 2 + 3?", "steps": ["1 + 2 = 3", "3 + 3 = 6"], "answer": "6"}


def parse(record: object, *, need_steps: bool = True) -> ReasoningExample:
    """Parse the third record of a file."""
    return parse_example(record, where="train.json, record 3", default_id="3", need_steps=need_steps)


def test_a_record() -> None:
    assert parse(GOOD) == ReasoningExample("1 + 2 + 3?", ("1 + 2 = 3", "3 + 3 = 6"), "6", "3", {})


def test_text_is_taken_as_it_stands() -> None:
    example = parse({"question": " a\n", "steps": [" b "], "answer": "c "})
    assert (example.question, example.steps, example.answer) == (" a\n", (" b ",), "c ")


@pytest.mark.parametrize(("given", "expected"), [("x7", "x7"), (7, "7"), (0, "0"), ("", "")])
def test_its_own_id(given: object, expected: str) -> None:
    assert parse({**GOOD, "id": given}).id == expected


def test_other_keys_are_facts() -> None:
    facts = {"edges": [[0, 1]], "root": 0, "note": None}
    assert parse({**GOOD, "id": "a", **facts}).facts == facts


def test_no_steps_where_none_are_needed() -> None:
    assert parse({**GOOD, "steps": []}, need_steps=False).steps == ()


def test_examples_do_not_change() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        parse(GOOD).answer = "7"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("record", "words"),
    [
        ("[1]", "a record is a list, not an object"),
        ('"text"', "a record is a string, not an object"),
        ("null", "a record is null, not an object"),
        ("3", "a record is a number, not an object"),
        ("true", "a record is a boolean, not an object"),
        ('{"steps": ["a"], "answer": "b"}', 'field "question" is missing'),
        ("{}", 'field "question" is missing'),
        ('{"question": "q", "steps": ["a"]}', 'field "answer" is missing'),
        ('{"question": "q", "answer": "a"}', 'field "steps" is missing'),
        ('{"question": 3, "steps": ["a"], "answer": "b"}', 'field "question" is a number'),
        ('{"question": "q", "steps": ["a"], "answer": 18}', 'field "answer" is a number'),
        ('{"question": "q", "steps": ["a"], "answer": null}', 'field "answer" is null'),
        ('{"question": "q", "steps": ["a"], "answer": {"value": 3}}', 'field "answer" is an object'),
        ('{"question": " \\n", "steps": ["a"], "answer": "b"}', 'field "question" is blank'),
        ('{"question": "q", "steps": ["a"], "answer": ""}', 'field "answer" is blank'),
        ('{"question": "q", "steps": "a", "answer": "b"}', 'field "steps" is a string'),
        ('{"question": "q", "steps": null, "answer": "b"}', 'field "steps" is null'),
        ('{"question": "q", "steps": [], "answer": "b"}', 'field "steps" is an empty list'),
        ('{"question": "q", "steps": ["a", ""], "answer": "b"}', 'field "steps"[1] is blank'),
        ('{"question": "q", "steps": ["a", "b", 3], "answer": "b"}', 'field "steps"[2] is a number'),
        ('{"question": "q", "steps": [["a"]], "answer": "b"}', 'field "steps"[0] is a list'),
        ('{"question": "q", "steps": ["a"], "answer": "b", "id": 1.5}', 'field "id" is a number'),
        ('{"question": "q", "steps": ["a"], "answer": "b", "id": true}', 'field "id" is a boolean'),
        ('{"question": "q", "steps": ["a"], "answer": "b", "id": null}', 'field "id" is null'),
    ],
)
def test_bad_records(record: str, words: str) -> None:
    with pytest.raises(DataError) as caught:
        parse(json.loads(record))
    message = str(caught.value)
    assert message.splitlines()[0] == words
    assert "where: train.json, record 3" in message


def test_says_what_to_do() -> None:
    with pytest.raises(DataError) as caught:
        parse({**GOOD, "steps": []})
    assert "a curriculum hides written steps" in str(caught.value) and "remove the record" in str(caught.value)
    with pytest.raises(DataError, match="the record has 'Question', 'steps'") as caught:
        parse({"Question": "q", "steps": ["a"]})


@pytest.mark.parametrize("field", ["question", "steps", "answer"])
def test_nul_is_no_text_wherever_a_record_comes_from(field: str) -> None:
    value = ["a", "b\x00c"] if field == "steps" else "b\x00c"
    with pytest.raises(DataError, match="a NUL character stands in") as caught:
        parse({**GOOD, field: value})
    assert caught.value.where == "train.json, record 3"


def test_a_missing_chain_is_told_with_the_fields_that_are_there() -> None:
    with pytest.raises(DataError, match='field "steps" is missing') as caught:
        parse({"question": "1 + 2?", "cot": "1 + 2 = 3", "answer": "3"})
    assert caught.value.why == "the record has 'question', 'cot', 'answer'"

"""ProntoQA files: what is read from either form, and what each kind of broken file is told."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lcot.datamodules.ontologies.records import read_problems
from lcot.errors import DataError
from lcot.metrics import EXTRACTORS
from tests.datamodules.ontologies.files import LISTED, RAW, STEPS, changed, entries
from tests.places import SHARED
from tests.tiny import write_records

PUBLISHED = SHARED / "prontoqa" / "5hop_0shot_random.json"


def test_a_published_record(tmp_path: Path) -> None:
    (example,) = read_problems(entries(tmp_path, RAW))
    assert (example.question, example.steps, example.answer) == (LISTED["question"], STEPS, "False")
    assert example.id == "example1"
    assert example.facts == {
        "entity": "Sam",
        "members": ["gorpus", "rompus"],
        "edges": [["rompus", "wumpus"]],
        "properties": [["impus", "hot", True], ["wumpus", "hot", False]],
        "query": ["hot", True],
        "chain": ["rompus", "wumpus"],
    }


def test_a_preprocessed_record_is_the_same(tmp_path: Path) -> None:
    (raw,) = read_problems(entries(tmp_path, RAW))
    (listed,) = read_problems(write_records(tmp_path / "listed.json", LISTED))
    assert (listed.question, listed.steps, listed.answer) == (raw.question, raw.steps, raw.answer)
    assert listed.facts == raw.facts and listed.id == "0"
    lines = tmp_path / "listed.jsonl"
    lines.write_text(json.dumps({**LISTED, "source": 7}) + "\n")
    (line,) = read_problems(lines)
    assert line.facts == {**raw.facts, "source": 7}


def test_prompt_examples_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "8shot.json"
    entry = {"in_context_example0": {"question": "?"}, "test_example": RAW}
    path.write_text(json.dumps({"example1": entry, "example2": {"test_example": RAW}}))
    assert [example.id for example in read_problems(path)] == ["example1", "example2"]


@pytest.mark.skipif(not PUBLISHED.is_file(), reason="needs 5hop_0shot_random.json of published ProntoQA")
def test_the_published_file_is_read_whole() -> None:
    records = [entry["test_example"] for entry in json.loads(PUBLISHED.read_text(encoding="utf-8")).values()]
    examples = list(read_problems(PUBLISHED))
    assert len(examples) == len(records) == 300
    for number, (example, record) in enumerate(zip(examples, records, strict=True), start=1):
        chain = record["chain_of_thought"]
        assert example.id == f"example{number}"
        assert example.question == f"{record['question']} {record['query']}"
        assert " ".join(example.steps) == " ".join(chain) and len(example.steps) == 6
        assert [step.count(".") for step in example.steps] == [2, 2, 2, 2, 2, 1]
        assert example.answer == record["answer"]
        assert example.facts["chain"] == [sentence.split(" ")[-1][:-1] for sentence in chain[:-1:2]]
        edges, properties = example.facts["edges"], example.facts["properties"]
        assert isinstance(edges, list) and isinstance(properties, list)
        assert (len(edges), len(properties)) == (11, 12)
    assert max(len(example.question.split()) for example in examples) == 117
    string = EXTRACTORS["string"]
    for example in examples:
        written = "\n".join([*example.steps, f"### {example.answer}"])
        answer = string.extract(written, "### ")
        assert answer == example.answer and string.equal(answer, example.answer)


@pytest.mark.parametrize(
    ("record", "words"),
    [
        (changed(question=...), 'field "question" is missing'),
        (changed(question=" "), 'field "question" is blank'),
        (changed(question=3), 'field "question" is a number'),
        (changed(query=...), 'field "query" is missing'),
        (changed(query="Prove: Sam is hot."), 'field "query" is .Prove: Sam is hot..'),
        (changed(query="True or false: "), 'field "query" is .True or false: .'),
        (changed(query=None), 'field "query" is null'),
        (changed(answer=...), 'field "answer" is missing'),
        (changed(answer=True), 'field "answer" is a boolean'),
        (changed(answer="Unknown"), "field \"answer\" is 'Unknown'"),
        (changed(answer="false"), "field \"answer\" is 'false'"),
        (changed(chain_of_thought=...), 'field "chain_of_thought" is missing'),
        (changed(chain_of_thought=[]), 'field "chain_of_thought" is empty'),
        (changed(chain_of_thought=" ".join(RAW["chain_of_thought"])), 'field "chain_of_thought" is not a list'),
        (changed(chain_of_thought=["Sam is a rompus.", " "]), r'field "chain_of_thought"\[1\] is blank'),
        (changed(chain_of_thought=["Sam is a rompus.", 2]), r'field "chain_of_thought"\[1\] is not a string'),
        (changed(chain_of_thought=RAW["chain_of_thought"][:4]), "the proof does not end with what makes"),
        (changed(chain_of_thought=RAW["chain_of_thought"][1:]), "sentence 1 of the proof does not follow"),
        (changed(chain_of_thought=[*RAW["chain_of_thought"][:3], *["Impuses are hot.", "Sam is hot."]]), "sentence 4"),
        (changed(answer="True"), "the proof does not end with what makes 'Sam is hot.' True"),
    ],
)
def test_faulty_records_are_named(tmp_path: Path, record: dict[str, Any], words: str) -> None:
    path = entries(tmp_path, RAW, record)
    line = next(n for n, text in enumerate(path.read_text().splitlines(), start=1) if "example2" in text)
    with pytest.raises(DataError, match=words) as caught:
        list(read_problems(path))
    assert caught.value.where is not None
    assert caught.value.where.startswith(f"{path}, line {line}, entry 'example2'")
    assert caught.value.fix is not None or "is missing" in str(caught.value)


@pytest.mark.parametrize(
    ("record", "words"),
    [
        ({**LISTED, "answer": "no"}, "field \"answer\" is 'no'"),
        (
            {**LISTED, "steps": LISTED["steps"][1:]},
            "sentence 1 of the proof is not in the question: 'Sam is a wumpus.'",
        ),
        ({**LISTED, "answer": "True"}, "the proof does not end"),
        ({**LISTED, "steps": []}, 'field "steps" is an empty list'),
        ({"question": "?", "steps": ["!"]}, 'field "answer" is missing'),
    ],
)
def test_faulty_preprocessed_records_are_named(tmp_path: Path, record: dict[str, Any], words: str) -> None:
    path = write_records(tmp_path / "listed.json", LISTED, record)
    with pytest.raises(DataError, match=words) as caught:
        list(read_problems(path))
    assert caught.value.where is not None
    assert caught.value.where.startswith(f"{path}, line 1, record 2")


@pytest.mark.parametrize(
    ("content", "words", "place"),
    [
        ('{"example1": [1]}', 'has no object "test_example"', "line 1, entry 'example1'"),
        ('{"example1": {"question": "?"}}', 'has no object "test_example"', "line 1, entry 'example1'"),
        ('{"example1":\n {"test_example": 3}}', "has no object", "line 1, entry 'example1'"),
        ("{}", "the file holds no record", ""),
        ("[]", "the file holds no record", ""),
        ('"text"', "holds a string, not a list of objects", "line 1"),
        ('{"example1" 3}', "is not valid JSON", "line 1, column 13"),
        ("{3: {}}", "is not valid JSON", "line 1"),
        ('{"example1": {"test_example": ', "is not valid JSON", "line 1"),
        ("{\n", "is not valid JSON", "line 2"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: str, words: str, place: str) -> None:
    path = tmp_path / "file.json"
    path.write_text(content)
    with pytest.raises(DataError, match=words) as caught:
        list(read_problems(path))
    assert caught.value.where is not None and caught.value.where.startswith(str(path))
    assert place in caught.value.where


def test_damaged_ends_are_found_behind_good_records(tmp_path: Path) -> None:
    good = entries(tmp_path, RAW, RAW).read_text()
    path = tmp_path / "damaged.json"
    for damage, words in (
        (good[:-40], "is not valid JSON"),
        (good + " {}", "Extra text after the object"),
        (good.replace('"example2"', '"example1"'), "the name 'example1' is used twice"),
        (good.replace('"example2"', '"example2" "example3"'), "Expecting ':'"),
        (good.rstrip()[:-1] + ";", "Expecting ',' or '}'"),
    ):
        path.write_text(damage)
        problems = read_problems(path)
        assert next(problems).id == "example1"
        with pytest.raises(DataError, match=words):
            list(problems)


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    path.write_bytes(b'{"example1":\n {"test_example": "\xff"}}')
    with pytest.raises(DataError, match="is not UTF-8 text") as caught:
        list(read_problems(path))
    assert caught.value.where == f"{path}, line 2, byte 20"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda folder: folder / "missing.json", "there is no such file"),
        (lambda folder: folder, "a folder was given"),
        (lambda folder: entries(folder, RAW, name="raw.csv"), "files ending in '.csv' cannot be read"),
    ],
)
def test_the_path_is_checked_at_once(tmp_path: Path, make: Callable[[Path], Path], words: str) -> None:
    with pytest.raises(DataError, match=words):
        read_problems(make(tmp_path))


def test_large_files_are_read_one_record_at_a_time(tmp_path: Path) -> None:
    # The good beginning is handed out although the end, some 200 kB further on, is missing.
    whole = entries(tmp_path, *[RAW] * 400).read_text()
    path = tmp_path / "cut.json"
    path.write_text(whole[:-30])
    problems = read_problems(path)
    assert [next(problems).id for _ in range(399)][-1] == "example399"
    with pytest.raises(DataError, match="is not valid JSON"):
        next(problems)

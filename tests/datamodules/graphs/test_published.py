"""Published ProsQA records: what agrees with its graph is read, and each contradiction is named with its record."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from lcot.datamodules.graphs.published import FIELDS, other_record, read_problems
from lcot.errors import DataError
from tests.datamodules.graphs.test_prosqa import GRAPH
from tests.places import SHARED
from tests.tiny import write_records

PUBLISHED = SHARED / "prosqa" / "prosqa_valid.json"


@pytest.mark.parametrize("rewritten", [False, True])
def test_a_record_that_agrees_with_its_graph(tmp_path: Path, rewritten: bool) -> None:
    (example,) = read_problems(write_records(tmp_path / "a.json", GRAPH), rewritten=rewritten)
    assert example.steps == ("Tom is a cat.", "Every cat is a pet.") and set(example.facts) == set(FIELDS)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"answer": "Tom is a dog."}, "the answer is 'dog', and not 'pet'"),
        ({"answer": "pets"}, "the answer is 'pets', and not 'pet'"),
        ({"steps": ["Tom is a cat."]}, "the steps end at 'cat', and not at 'pet'"),
        ({"steps": ["Every cat is a pet."]}, "step 1 is no way on from 'Tom'"),
        ({"steps": ["Tom is a cat.", "Every dog is a pet."]}, "step 2 is no way on from 'cat'"),
        ({"steps": ["Tom is a pet."]}, "step 1 is no way on from 'Tom'"),
        ({"steps": ["Tom is a cat", "Every cat is a pet."]}, "a step is of another form"),
        ({"edges": [[0, 1], [1, 2], [2, 3]]}, "both options can be reached, 'pet' and 'dog'"),
        ({"edges": [[0, 1], [0, 2], [1, 2]]}, "the question states 2 of 3 edges"),
        ({"edges": [[0, 1], [1, 2], [3, 1]]}, "the question states 2 of 3 edges"),
        ({"edges": [[0, 2]]}, "the question states 0 of 1 edges, and 2 others"),
        ({"neg_target": 1}, "both options can be reached, 'pet' and 'cat'"),
        ({"neg_target": 2}, "both options can be reached, 'pet' and 'pet'"),
        ({"target": 1}, "the question ends in"),
        ({"root": 1}, "the question ends in"),
        ({"question": "Tom is a cat. Every cat is a pet. Is Tom a pet or"}, "the question ends in"),
        ({"question": "What is Tom, a pet or a dog?"}, "the question ends in"),
        ({"idx_to_symbol": ["Tim", "cat", "pet", "dog"]}, "the question ends in"),
        ({"idx_to_symbol": ["Tom", "cow", "pet", "dog"]}, "the question states 0 of 2 edges, and 2 others"),
        ({"question": "Tom is a cat. Is Tom a pet or dog?"}, "the question states 1 of 2 edges"),
    ],
)
@pytest.mark.parametrize("rewritten", [False, True])
def test_a_contradiction_is_named(tmp_path: Path, change: dict[str, Any], words: str, rewritten: bool) -> None:
    path = write_records(tmp_path / "a.json", GRAPH, {**GRAPH, **change})
    read = read_problems(path, rewritten=rewritten)
    assert next(read).id == "0"
    with pytest.raises(DataError) as caught:
        next(read)
    assert caught.value.what.startswith(f"example '1' contradicts its graph: {words}")
    assert caught.value.where == f"{path}, record 2"


@pytest.mark.parametrize("field", FIELDS)
def test_graphs_are_in_all_records_or_in_none(tmp_path: Path, field: str) -> None:
    lost = {key: value for key, value in GRAPH.items() if key != field}
    assert len(list(read_problems(write_records(tmp_path / "none.json", lost, lost), rewritten=False))) == 2
    for first, second, words in ((GRAPH, lost, "lacks"), (lost, GRAPH, "has")):
        path = write_records(tmp_path / "a.json", first, second)
        with pytest.raises(DataError, match=f"example '1' {words} the field '{field}'") as caught:
            list(read_problems(path, rewritten=False))
        assert caught.value.where == f"{path}, record 2"


TWOFOLD: dict[str, Any] = {
    **GRAPH,
    "question": "Tom is a cat. Every cat is a pet. Sam is a cow. Every cow is a dog. Is Tom a pet or dog?",
    "idx_to_symbol": ["Tom", "cat", "pet", "dog", "Sam", "cow"],
    "edges": [[0, 1], [1, 2], [4, 5], [5, 3]],
    "note": "kept",
}
"""A record about whose graph another question can be asked."""


def test_the_other_question_about_a_record(tmp_path: Path) -> None:
    (example,) = read_problems(write_records(tmp_path / "a.json", TWOFOLD), rewritten=False, paired=True)
    other = other_record(example)
    assert other.question == TWOFOLD["question"].replace("Is Tom", "Is Sam")
    assert other.steps == ("Sam is a cow.", "Every cow is a dog.") and other.answer == "Sam is a dog."
    assert other.facts == {**example.facts, "root": 4, "target": 3, "neg_target": 2} and other.facts["note"] == "kept"
    again = other_record(other)
    assert again == example


@pytest.mark.parametrize(("facts", "end"), [("{} {}.", "dog or pet? {}"), ("{} {}|", "? dog pet: {}")])
def test_the_other_question_about_a_record_in_another_style(tmp_path: Path, facts: str, end: str) -> None:
    names, edges = TWOFOLD["idx_to_symbol"], TWOFOLD["edges"]
    stated = " ".join(facts.format(names[start], names[child]) for start, child in edges)
    record = {**TWOFOLD, "question": f"{stated} {end.format('Tom')}", "steps": ["cat", "pet"], "answer": "pet"}
    (example,) = read_problems(write_records(tmp_path / "a.json", record), rewritten=False, paired=True)
    other = other_record(example)
    assert other.question == f"{stated} {end.format('Sam')}"
    assert (other.steps, other.answer) == (("cow", "dog"), "dog")


def test_a_record_without_another_question_is_named(tmp_path: Path) -> None:
    path = write_records(tmp_path / "a.json", TWOFOLD, {**TWOFOLD, **GRAPH})
    read = read_problems(path, rewritten=False, paired=True)
    assert next(read).id == "0"
    with pytest.raises(DataError, match="no other question can be asked about the graph of example '1'") as caught:
        next(read)
    assert caught.value.where == f"{path}, record 2"
    assert caught.value.why == "of its nodes without parents none reaches 'dog' and not 'pet'"
    assert len(list(read_problems(path, rewritten=True))) == 2


def test_other_questions_need_the_graph(tmp_path: Path) -> None:
    bare = {key: value for key, value in TWOFOLD.items() if key != "root"}
    with pytest.raises(DataError, match="has no field 'root'") as caught:
        list(read_problems(write_records(tmp_path / "a.json", bare), rewritten=False, paired=True))
    assert caught.value.fix is not None and "ask 'deeper'" in caught.value.fix


@pytest.mark.skipif(not PUBLISHED.is_file(), reason="needs prosqa_valid.json of published ProsQA")
@pytest.mark.parametrize("rewritten", [False, True])
def test_no_published_record_contradicts_its_graph(rewritten: bool) -> None:
    examples = list(read_problems(PUBLISHED, rewritten=rewritten, paired=True))
    assert len(examples) == 300
    hops = Counter(len(other_record(example).steps) for example in examples)
    assert hops == {1: 63, 2: 158, 3: 72, 4: 7}

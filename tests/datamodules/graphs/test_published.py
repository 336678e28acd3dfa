"""Published ProsQA records: what agrees with its graph is read, and each contradiction is named with its record."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lcot.datamodules.graphs.published import FIELDS, read_problems
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


@pytest.mark.skipif(not PUBLISHED.is_file(), reason="needs prosqa_valid.json of published ProsQA")
@pytest.mark.parametrize("rewritten", [False, True])
def test_no_published_record_contradicts_its_graph(rewritten: bool) -> None:
    assert len(list(read_problems(PUBLISHED, rewritten=rewritten))) == 300

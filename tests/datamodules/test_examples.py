"""Examples for those who need each once: those of the source, and streamed where a file holds them."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from lcot.datamodules import ASDiv, DateUnderstanding, JSONReasoning, ProsQA, ReasoningDataModule
from lcot.datamodules.base import Split
from lcot.datamodules.graphs.text import Style
from lcot.errors import DataError, UserError
from lcot.reasoning.example import ReasoningExample
from tests.datamodules.reading import json_list
from tests.problems import worked
from tests.tiny import RECORD, write_records
from tests.training import tiny_data


def same(data: ReasoningDataModule, split: Split = "test") -> list[ReasoningExample]:
    """All examples, read twice, which are those of the source."""
    read, source = data.examples(split), data.make_source(split)
    found = list(read())
    assert found == list(read()) == [source.example(number, 0) for number in range(len(source))]
    return found


def graphs(folder: Path, count: int) -> str:
    example = worked("prose")
    record: dict[str, Any] = {"question": example.question, "steps": list(example.steps), "answer": example.answer}
    return str(write_records(folder / "graphs.json", *({**record, **example.facts} for _ in range(count))))


def test_generated_graphs() -> None:
    assert [len(same(tiny_data(), split)) for split in ("train", "val", "test", "predict")] == [12, 5, 5, 5]
    assert len(same(tiny_data(redraw="all"), "train")) == 12


@pytest.mark.parametrize("style", ["prose", "compact", "symbolic"])
def test_a_file_of_graphs(tmp_path: Path, style: Style) -> None:
    path = graphs(tmp_path, 3)
    data = ProsQA(style=style, redraw="all", seed=3, train_path=path, val_path=path, test_path=path)
    found = same(data)
    assert len(found) == 3 and len({example.question for example in found}) == (1 if style == "prose" else 3)
    assert same(data, "predict") != [] and same(data, "train") != []


def test_records_are_streamed(tmp_path: Path) -> None:
    file = tmp_path / "many.jsonl"
    file.write_text("\n".join([json.dumps(RECORD)] * 3 + ["{"]), encoding="utf-8")
    for data in (JSONReasoning(test_path=str(file)), JSONReasoning(val_path=str(file))):
        split: Split = "test" if data.paths["test"] else "val"
        assert [one.id for one in islice(data.examples(split)(), 3)] == ["0", "1", "2"]  # the fault is not reached
        with pytest.raises(DataError, match="not valid JSON"):
            list(data.examples(split)())


def test_a_faulty_graph_is_named_when_it_is_reached(tmp_path: Path) -> None:
    records = json.loads(Path(graphs(tmp_path, 2)).read_text(encoding="utf-8"))
    records[1]["root"] = 99
    path = write_records(tmp_path / "bad.json", *records)
    read = ProsQA(style="compact", seed=0, test_path=str(path)).examples("test")()
    assert next(read).id == "test-0"
    with pytest.raises(DataError, match="'root' that is no node") as caught:
        next(read)
    assert caught.value.where is not None and caught.value.where.endswith("bad.json, record 2")


def test_files_that_are_cut_or_have_one_split(tmp_path: Path) -> None:
    question = "Today is 01/02/2003. What is the date tomorrow?\nOptions:\n(A) 02/02/2003\n(B) 01/03/2003"
    path = json_list(tmp_path, {"input": question, "target": "(B)"})
    assert len(same(DateUnderstanding(test_path=path))) == len(same(DateUnderstanding(test_path=path), "val")) == 1
    people = [f"{first}{last}" for first in ("An", "Be", "Cy", "Da", "Ed", "Fa") for last in "abcdefghij"]
    records = [
        {"question": f"{name} has 2 pens and gets 1. How many?", "steps": ["<<2+1=3>>"], "answer": "3"}
        for name in people
    ]
    file = write_records(tmp_path / "problems.json", *records)
    data = ASDiv(path=str(file))
    assert len(same(data, "train")) + len(same(data, "val")) + len(same(data)) == 60


def test_a_path_that_is_not_set() -> None:
    with pytest.raises(UserError, match="test_path is not set"):
        JSONReasoning().examples("test")

"""CommonsenseQA with written chains: question, cot, answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lcot.datamodules import CommonsenseQA
from lcot.errors import DataError, UserError
from tests.datamodules.reading import json_lines
from tests.tiny import lcot, write_config

RECORD = {
    "question": "Where is a fox?\nChoices:\nA: pen\nB: forest\nC: hen house\nD: sea\nE: sky",
    "cot": "Foxes live in the wild. A forest is wild.\nSo the answer is B.",
    "answer": "B",
}


def test_a_record(tmp_path: Path) -> None:
    path = json_lines(tmp_path, RECORD)
    (example,) = CommonsenseQA().read(path, "train")
    assert (example.question, example.answer, example.facts) == (RECORD["question"], "B", {})
    assert example.steps == ("Foxes live in the wild.", "A forest is wild.", "So the answer is B.")
    (whole,) = CommonsenseQA(chain="whole").read(path, "train")
    assert whole.steps == (RECORD["cot"],)
    steps = {"question": "Where?", "steps": ["There."], "answer": "(C)"}
    (example,) = CommonsenseQA().read(json_lines(tmp_path, steps), "train")
    assert (example.steps, example.answer) == (("There.",), "C")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"answer": "F"}, "field \"answer\" is 'F'"),
        ({"answer": "forest"}, "field \"answer\" is 'forest'"),
        ({"answer": None}, 'field "answer" is null'),
        ({"cot": " "}, 'field "cot" is blank'),
        ({"question": " "}, 'field "question" is blank'),
    ],
)
def test_faulty_records(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(DataError, match=said) as caught:
        list(CommonsenseQA().read(json_lines(tmp_path, RECORD, {**RECORD, **changes}), "train"))
    assert caught.value.where is not None and "record 2" in caught.value.where


def test_missing_fields(tmp_path: Path) -> None:
    for name, said in (("answer", 'field "answer" is missing'), ("cot", 'field "steps" is missing')):
        record = {key: one for key, one in RECORD.items() if key != name}
        with pytest.raises(DataError, match=said):
            list(CommonsenseQA().read(json_lines(tmp_path, record), "train"))


def test_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = json_lines(tmp_path, RECORD, RECORD)
    given = {f"{split}_path": path for split in ("train", "val", "test")}
    write_config(tmp_path, {"data": {"class_path": "CommonsenseQA", "init_args": {**given, "batch_size": 2}}})
    for command in ("fit", "test"):
        outcome = lcot(command, "-c", "tiny.yaml")
        assert outcome.code == 0, outcome.err


def test_options_out_of_range() -> None:
    with pytest.raises(UserError, match="unknown chain 'words'"):
        CommonsenseQA(chain="words")  # type: ignore[arg-type]

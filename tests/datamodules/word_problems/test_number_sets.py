"""SVAMP, MultiArith and GSM-Hard as they are published, read by the data module whose models are tested on them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lcot.datamodules import GSM8K
from lcot.errors import DataError
from lcot.metrics import extractor
from tests.datamodules.reading import json_lines
from tests.tiny import lcot, write_config

SVAMP = {
    "ID": "chal-1",
    "Body": "Ann has 8 dogs and  3 cats. ",
    "Question": "How many  more dogs has she?",
    "Equation": "( 8.0 - 3.0 )",
    "Answer": "5.0",
    "Type": "Subtraction",
}
HARD = {"input": "He sells 3 of 61.22. How much?", "code": "def solution(): return 1", "target": 61.220000000000006}


def read(folder: Path, *records: dict[str, Any]) -> list[tuple[str, str]]:
    found = list(GSM8K().read(json_lines(folder, *records), "test"))
    assert all(not example.steps for example in found)
    return [(example.question, example.answer) for example in found]


def test_svamp(tmp_path: Path) -> None:
    joined = "Ann has 8 dogs and 3 cats. How many more dogs has she?"
    assert read(tmp_path, SVAMP) == [(joined, "5")]
    hub = {**SVAMP, "question_concat": "Ann has 8 dogs and  3 cats.  How many more dogs has she?", "Answer": 5.0}
    assert read(tmp_path, hub) == [(joined, "5")]
    (example,) = GSM8K().read(json_lines(tmp_path, SVAMP), "test")
    assert example.id == "chal-1" and example.facts["Equation"] == "( 8.0 - 3.0 )"


def test_multiarith(tmp_path: Path) -> None:
    record = {"question": " How many were  left? ", "final_ans": "1,002"}
    assert read(tmp_path, record, {**record, "final_ans": 7}) == [
        ("How many were left?", "1,002"),
        ("How many were left?", "7"),
    ]


@pytest.mark.parametrize(
    ("target", "answer"),
    [
        (61.220000000000006, "61.220000000000006"),
        (27887856.0, "27887856"),
        (-9867630.0, "-9867630"),
        (1.5e22, "15000000000000000000000"),
        (2.5e-7, "0.00000025"),
        (12, "12"),
    ],
)
def test_numbers_of_gsm_hard(tmp_path: Path, target: float, answer: str) -> None:
    """Every digit of a number is kept, and the number is read back as it was."""
    assert read(tmp_path, {**HARD, "target": target}) == [(HARD["input"], answer)]
    assert float(answer) == target
    for name in ("string", "number", "last_number", "codi_official_number"):
        reader = extractor(name)
        assert reader.equal(reader.extract(f"### {answer}", "### "), answer), name
    written = {"instruction": HARD["input"], "response": f"So it is that.\n#### {target}"}
    assert float(read(tmp_path, written)[0][1]) == target


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ({**HARD, "target": True}, 'field "target" is no number'),
        ({**HARD, "target": None}, 'field "target" is no number'),
        ({**HARD, "input": " "}, 'field "input" is blank'),
        ({**SVAMP, "Answer": " "}, 'field "Answer" is blank'),
        ({**SVAMP, "Body": 3}, 'field "Body" is no text'),
        ({"instruction": "How many?", "response": "1 #### 2 #### 3"}, "give one number behind ####"),
        ({"instruction": "How many?", "response": "So it is ####"}, "give one number behind ####"),
        ({"Body": "Ann has 8 dogs.", "Answer": 8}, 'field "question" is missing'),
        ({"question": "How many?", "final": 8}, 'field "answer" is missing'),
    ],
)
def test_faulty_records(tmp_path: Path, record: dict[str, Any], said: str) -> None:
    with pytest.raises(DataError, match=said) as caught:
        read(tmp_path, record)
    assert caught.value.where is not None and "record 1" in caught.value.where


def test_a_run_is_tested_on_them_by_their_path_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    trained = {"question": "Ann has 8 dogs and 3 cats. How many?", "cot": "<<8+3=11>>", "answer": "#### 11"}
    path = json_lines(tmp_path, trained, trained)
    given = {"train_path": path, "val_path": path, "batch_size": 2, "extractors": ["codi_official_number", "number"]}
    write_config(tmp_path, {"data": {"class_path": "GSM8K", "init_args": given}})
    assert lcot("fit", "-c", "tiny.yaml").code == 0
    path = json_lines(tmp_path, SVAMP, {**SVAMP, "ID": "chal-2"}, name="svamp.jsonl")
    outcome = lcot("test", "-c", "runs/tiny/config.yaml", f"--data.test_path={path}")
    assert outcome.code == 0, outcome.err
    # Training asks for a chain, and these have none.
    outcome = lcot("fit", "-c", "tiny.yaml", f"--data.train_path={path}", "--name=other")
    assert outcome.code == 2 and "none of the 2 train problems has a reasoning step" in outcome.block

"""The Date Understanding data module: every format, the published file whole, and that none of it is trained on."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from lcot.datamodules import DateUnderstanding
from lcot.errors import DataError, UserError
from lcot.reasoning.example import ReasoningExample
from tests.datamodules.reading import DATA, json_lines, json_list, misread, whole, write
from tests.tiny import lcot, write_config

PUBLISHED = DATA / "date_understanding" / "date_understanding.json"
needs_published = pytest.mark.skipif(not PUBLISHED.is_file(), reason="needs date_understanding.json of BIG-Bench Hard")

QUESTION = "Today is 01/02/2003. What is the date tomorrow?\nOptions:\n(A) 02/02/2003\n(B) 01/03/2003\n(C) 01/01/2003"
RECORD = {"input": QUESTION, "target": "(B)"}
OPTIONS = {"A": "02/02/2003", "B": "01/03/2003", "C": "01/01/2003"}


def read(path: str) -> list[ReasoningExample]:
    return whole(DateUnderstanding(test_path=path), "test")


def big_bench(folder: Path, *records: Any, **more: Any) -> str:
    return write(folder, "dates.json", json.dumps({"canary": "none", "examples": records, **more}, indent=1))


def test_a_published_record(tmp_path: Path) -> None:
    for path in (
        big_bench(tmp_path, RECORD),
        big_bench(tmp_path, RECORD, metrics=["exact"], name={"examples": [1]}),
        json_list(tmp_path, RECORD),
        json_lines(tmp_path, RECORD),
    ):
        (example,) = read(path)
        assert example == ReasoningExample(QUESTION, (), "B", "0", {"options": OPTIONS})


def test_questions_and_answers(tmp_path: Path) -> None:
    bare = QUESTION.replace("(A)", "A)").replace("(B)", "B)").replace("(C)", "C)")
    given = ({"question": bare, "answer": "C", "id": "x"}, {"question": QUESTION, "steps": [], "answer": "(A)"})
    first, second = read(json_list(tmp_path, *given))
    assert (first.question, first.answer, first.id, second.answer) == (bare, "C", "x", "A")
    assert first.facts == second.facts == {"options": OPTIONS}
    (reasoned,) = read(json_list(tmp_path, {"question": QUESTION, "steps": ["One day on."], "answer": "B"}))
    assert reasoned.steps == ("One day on.",)


def test_every_command_but_fit_takes_the_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    data = DateUnderstanding(test_path=json_list(tmp_path, RECORD, {**RECORD, "target": "(A)"}))
    assert whole(data, "val") == whole(data, "test") == whole(data, "predict")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "bbh"
    folder.mkdir()
    json_lines(folder, RECORD, name="test.jsonl")
    hub = DateUnderstanding(test_path=f"hub:{folder}")
    assert [len(whole(hub, split)) for split in ("val", "test")] == [1, 1]


def test_published_extractors() -> None:
    assert DateUnderstanding().extractors == ("choice",)
    assert DateUnderstanding(extractors=["softcot_official"]).extractors == ("softcot_official_choice",)


def test_there_is_nothing_to_train_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = DateUnderstanding(test_path=json_list(tmp_path, RECORD))
    for asked in (lambda: data.make_source("train"), data.set_up_tokenizer):
        with pytest.raises(UserError, match="Date Understanding has no training data") as caught:
            asked()
        assert "-c aqua" in str(caught.value) and "--ckpt_path" in str(caught.value)
        assert "--split test --data.tokenizer=runs/aqua/tokenizer" in str(caught.value)
    monkeypatch.chdir(tmp_path)
    write_config(tmp_path, {"data": {"class_path": "DateUnderstanding", "init_args": {"test_path": "records.json"}}})
    outcome = lcot("fit", "-c", "tiny.yaml")
    assert outcome.code == 2 and len(outcome.block.splitlines()) <= 4 and "no training data" in outcome.block
    assert not Path("runs").exists()


def test_the_file_has_to_be_named() -> None:
    with pytest.raises(UserError, match="test_path is not set") as caught:
        DateUnderstanding().make_source("val")
    assert caught.value.where == "data.test_path"
    with pytest.raises(TypeError, match="train_path"):
        DateUnderstanding(train_path="dates.json")


# -- the published file ------------------------------------------------------------------------------------------------


@needs_published
def test_the_published_file_is_read_whole() -> None:
    found = read(str(PUBLISHED))
    records = json.loads(PUBLISHED.read_text(encoding="utf-8"))["examples"]
    assert len(found) == len(records) == 125 and max(len(example.question) for example in found) == 298
    assert Counter(e.answer for e in found) == {"A": 18, "B": 30, "C": 17, "D": 19, "E": 25, "F": 16}
    for example, record in zip(found, records, strict=True):
        options: Any = example.facts["options"]
        assert example.question == record["input"] and f"({example.answer})" == record["target"]
        assert example.steps == () and len(options) in (5, 6) and example.answer in options
        assert all(f"\n({letter}) {date}" in example.question for letter, date in options.items())


@needs_published
@pytest.mark.parametrize("form", ["### ANSWER", r"Therefore, the final answer is: $\boxed{ANSWER}$."])
def test_every_published_answer_is_read(form: str) -> None:
    found = read(str(PUBLISHED))
    assert misread(found, "choice", form) == misread(found, "softcot_official_choice", form) == []


# -- what is refused ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("record", "words"),
    [
        ({"input": "What is the date?", "target": "(B)"}, 'field "input" ends in no options'),
        ({"input": QUESTION + "\nSo?", "target": "(B)"}, 'field "input" ends in no options'),
        ({"input": QUESTION, "target": "(D)"}, "field \"target\" is 'D'"),
        ({"input": QUESTION, "target": "01/03/2003"}, "field \"target\" is '01/03/2003'"),
        ({"input": QUESTION, "target": None}, 'field "target" is null'),
        ({"input": QUESTION}, 'field "target" is missing'),
        ({"target": "(B)"}, 'field "input" is missing'),
        ({"question": " ", "answer": "B"}, 'field "question" is blank'),
        ({"question": QUESTION, "answer": "B", "steps": "One day on."}, 'field "steps" is a string'),
        (3, "a record is a number, not an object"),
    ],
)
def test_faulty_records_are_told_where(tmp_path: Path, record: Any, words: str) -> None:
    path = big_bench(tmp_path, RECORD, record)
    with pytest.raises(DataError, match=words) as caught:
        read(path)
    where = caught.value.where
    assert where is not None and where.startswith(f"{path}, line ") and where.endswith(", record 2")
    assert len(str(caught.value).splitlines()) <= 4

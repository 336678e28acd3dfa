"""Anyone's own file: what is read, what a run on it reports, and what is said where the file is not as it should be."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import lcot as package
from lcot.datamodules import JSONReasoning
from lcot.errors import DataError, UserError
from lcot.metrics import extractor
from tests.metrics.adversarial_json import OUTPUTS
from tests.tiny import RECORD, contents, lcot, write_config, write_records

SUM: dict[str, Any] = {"question": "1 + 1 + 1 =", "steps": ["1 + 1 = 2", "2 + 1 = 3"], "answer": "3"}


@pytest.mark.parametrize("name", ["train.json", "train.jsonl"])
def test_a_file_is_read_as_it_stands(tmp_path: Path, name: str) -> None:
    records = [{**SUM, "id": "three", "level": 2}, RECORD]
    whole = json.dumps(records) if name == "train.json" else "\n".join(map(json.dumps, records))
    (tmp_path / name).write_text(whole)
    source = JSONReasoning(train_path=str(tmp_path / name)).make_source("train")
    assert len(source) == 2 and not source.redraws
    first, second = source.example(0, 0), source.example(1, 5)
    assert (first.question, list(first.steps), first.answer) == (SUM["question"], SUM["steps"], SUM["answer"])
    assert (first.id, dict(first.facts), second.id) == ("three", {"level": 2}, "1")


def test_each_split_has_its_path(tmp_path: Path) -> None:
    paths = {
        f"{split}_path": str(write_records(tmp_path / f"{split}.json", *[SUM] * count))
        for split, count in (("train", 3), ("val", 2), ("test", 1))
    }
    data = JSONReasoning(**paths)  # type: ignore[arg-type]
    sizes = [len(data.make_source(split)) for split in ("train", "val", "test", "predict")]
    assert sizes == [3, 2, 1, 1]


def test_steps_are_needed_unless_they_are_not(tmp_path: Path) -> None:
    path = str(write_records(tmp_path / "train.json", SUM, {**SUM, "steps": []}))
    with pytest.raises(DataError, match='field "steps" is an empty list') as caught:
        JSONReasoning(train_path=path).make_source("train")
    assert caught.value.where == f"{path}, line 1, record 2"
    assert JSONReasoning(train_path=path, need_steps=False).make_source("train").example(1, 0).steps == ()


@pytest.mark.parametrize(("given", "expected"), [(18, "18"), (-3, "-3"), (0, "0")])
def test_an_answer_that_is_a_whole_number_is_text(given: int, expected: str, tmp_path: Path) -> None:
    path = str(write_records(tmp_path / "train.json", {**SUM, "answer": given}))
    assert JSONReasoning(train_path=path).make_source("train").example(0, 0).answer == expected


def test_the_words_are_those_of_training(tmp_path: Path) -> None:
    tokenizer = JSONReasoning(train_path=str(write_records(tmp_path / "a.json", SUM, RECORD))).set_up_tokenizer()
    for text in (f"{SUM['question']}\n", f"{RECORD['steps'][0]}\n", "### 3"):
        ids = tokenizer(text)["input_ids"]
        assert tokenizer.decode(ids) == text and not any(t.startswith("<0x") for t in tokenizer.tokenize(text))


def test_extractors_can_be_chosen() -> None:
    assert JSONReasoning().extractors == ("string",)
    assert JSONReasoning(extractors=["number", "string"]).extractors == ("number", "string")


@pytest.mark.parametrize(("output", "gold", "string", "as_string", "number", "as_number"), OUTPUTS)
def test_adversarial_outputs(
    output: str, gold: str, string: str | None, as_string: bool, number: str | None, as_number: bool
) -> None:
    data = JSONReasoning(extractors=["string", "number"])
    answers = [reader.extract(output, data.text.before_answer) for reader in map(extractor, data.extractors)]
    assert answers == [string, number]
    right = [extractor(name).equal(answer, gold) for name, answer in zip(data.extractors, answers, strict=True)]
    assert right == [as_string, as_number]


def test_there_are_forty_adversarial_outputs() -> None:
    assert len({(output, gold) for output, gold, *_ in OUTPUTS}) == len(OUTPUTS) >= 40


# -- a run -------------------------------------------------------------------------------------------------------------


def config(folder: Path, *records: dict[str, Any], **options: Any) -> Path:
    """A tiny run that trains, validates and tests on the same records."""
    write_records(folder / "all.json", *records)
    paths = {f"{split}_path": "all.json" for split in ("train", "val", "test")}
    return write_config(
        folder, {"data": {"class_path": "JSONReasoning", "init_args": {**paths, "batch_size": 2, **options}}}
    )


def test_a_run_remembers_how_answers_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config(tmp_path, SUM, {**SUM, "answer": "$3.00"}, extractors=["number", "last_number"])
    for command in ("fit", "test", "predict"):
        outcome = lcot(command, "-c", "tiny.yaml")
        assert outcome.code == 0, outcome.err
    report = json.loads(Path("runs/tiny/test.json").read_text())
    assert report["metrics"].keys() >= {"test/accuracy", "test/accuracy_last_number"}
    assert report["protocol"]["extractor"].startswith("number: first number after the last ###")
    assert list(report["protocol"]["further_extractors"]) == ["accuracy_last_number"]
    solver = package.load("runs/tiny")
    assert solver.module.extractors == ("number", "last_number")
    rows = [json.loads(line) for line in Path("runs/tiny/predictions.jsonl").read_text().splitlines()]
    solutions = solver.solve([row["question"] for row in rows])
    assert [solution.answer for solution in solutions] == [row["answer"] for row in rows]


# -- what a newcomer is told -------------------------------------------------------------------------------------------


def text(content: str, name: str = "all.json") -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_text(content)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (text('{"question": "a", "steps": ["b"], "answer": "c"}'), ("an object, not a list", "name a file with one")),
        (text("question,answer\n1+1,2\n"), ("no list, not a list of objects", "line 1", "write [{…}, {…}]")),
        (text(""), ("the file is empty", "all.json")),
        (lambda folder: (folder / "all.json").unlink(), ("there is no such file", "all.json (data.", "tiny.yaml")),
        (text('[{"prompt": "a", "steps": ["b"], "answer": "c"}]'),
         ('field "question" is missing', "line 1, record 1", "the record has 'prompt', 'steps', 'answer'")),
        (text('[{"question": "a", "answer": "c"}]'),
         ('field "steps" is missing', "record 1", "a list of strings, one a reasoning step")),
        (text('[{"question": "a", "steps": "b. c.", "answer": "c"}]'), ('field "steps" is a string', "list of str")),
        (text('[{"question": "a", "steps": ["b"], "answer": 0.5}]'), ('field "answer" is a number', "be a string")),
    ],
)  # fmt: skip
def test_a_file_that_is_not_as_it_should_be(
    change: Callable[[Path], object], says: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config(tmp_path, SUM)
    change(tmp_path)
    before = contents(tmp_path)
    outcome = lcot("fit", "-c", "tiny.yaml")
    assert outcome.code == 2 and len(outcome.block.splitlines()) <= 4
    assert all(words in outcome.block for words in says), outcome.block
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"train_path": None}, ("train_path is not set", "makes no data of its own", "--data.train_path=FILE")),
        ({"extractors": ["numbr"]}, ("unknown extractor 'numbr'", "data.extractors", "did you mean 'number'")),
        ({"extractors": []}, ("extractors names none", "such as [string, number]")),
        ({"extractors": ["number", "number"]}, ("extractors names one twice: number, number",)),
        ({"extractors": ["number"]}, ("the extractor 'number' reads None where the gold answer is 'Tom is a cat.'",
                                      "example '1' of the val data", "choose extractors that fit")),
        ({"train_path": "hub:./nowhere"}, ("there is no folder './nowhere'", "check the path")),
    ],
)  # fmt: skip
def test_options_that_do_not_fit(
    options: dict[str, Any], says: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config(tmp_path, SUM, RECORD, **options)
    outcome = lcot("fit", "-c", "tiny.yaml")
    assert outcome.code == 2 and all(words in outcome.block for words in says), outcome.err
    assert not Path("runs").exists()


def test_a_monitor_that_the_data_set_does_not_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config(tmp_path, SUM)
    outcome = lcot("fit", "-c", "tiny.yaml", "--best_checkpoint.monitor=val/accuracy_number")
    assert outcome.code == 2 and not Path("runs").exists()
    assert "val/accuracy_number is not reported" in outcome.block
    assert "data.extractors is [string], which gives val/accuracy" in outcome.block


def test_the_protocol_of_softcot_is_none_of_this() -> None:
    with pytest.raises(UserError, match="'softcot_official' does not say which of three extractors"):
        JSONReasoning(extractors=["softcot_official"])
    assert JSONReasoning(extractors=["softcot_official_number"]).extractors == ("softcot_official_number",)


def test_a_path_from_python_is_told_too() -> None:
    with pytest.raises(UserError, match="val_path is not set"):
        JSONReasoning(train_path="train.json").make_source("val")

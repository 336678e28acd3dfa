"""The StrategyQA data module: every format of its files, the published one whole, and how one file is cut."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from lcot.datamodules import StrategyQA
from lcot.errors import DataError, UserError
from lcot.reasoning.example import ReasoningExample
from tests.datamodules.reading import DATA, json_lines, json_list, misread, steps_of, whole, write
from tests.stand_ins import STRATEGYQA
from tests.tiny import lcot, write_config
from tests.training import no_thoughts, tiny_module, tiny_trainer

PUBLISHED = DATA / "strategyqa" / "dev.json"
needs_published = pytest.mark.skipif(not PUBLISHED.is_file(), reason="needs StrategyQA's dev.json")

RECORD: dict[str, Any] = {
    "qid": "e0",
    "term": "Owl",
    "description": "Bird",
    "question": "Could an owl read  a book? ",
    "answer": False,
    "facts": ["Owls are birds. ", "Birds cannot read."],
    "decomposition": ["What are owls?"],
    "evidence": [[[["Owl-1"], "operation"]]],
}


def read(path: str, **options: Any) -> list[ReasoningExample]:
    return whole(StrategyQA(train_path=path, **options), "train")


def test_a_published_record(tmp_path: Path) -> None:
    (example,) = read(json_list(tmp_path, RECORD))
    assert example.question == "Could an owl read  a book?" and example.id == "e0"
    assert example.steps == ("Owls are birds.", "Birds cannot read.") and example.answer == "No"
    assert example.facts == {key: RECORD[key] for key in ("term", "description", "decomposition", "evidence")}


@pytest.mark.parametrize(
    ("answer", "said"),
    [(True, "Yes"), (False, "No"), ("yes", "Yes"), ("NO", "No"), ("Yes.", "Yes"), ("true", "Yes"), ("False", "No")],
)
def test_answers_in_any_form(tmp_path: Path, answer: object, said: str) -> None:
    plain = {"question": "Could it?", "steps": ["It could."], "answer": answer}
    for record in (plain, {**RECORD, "answer": answer}):
        assert read(json_lines(tmp_path, record))[0].answer == said


@pytest.mark.parametrize(
    ("facts", "steps"),
    [
        ("Owls are birds. Birds cannot read.", ("Owls are birds.", "Birds cannot read.")),
        ("The U.S. Army has 3.5 tanks. It is J. R. Smith's.", ("The U.S. Army has 3.5 tanks.", "It is J. R. Smith's.")),
        ("Can owls read? No! They cannot", ("Can owls read?", "No!", "They cannot")),
        ('Owls say "hoo." (Not moo.) They fly.', ('Owls say "hoo."', "(Not moo.)", "They fly.")),
        ("Owls are birds", ("Owls are birds",)),
        (" ", ()),
    ],
)
def test_facts_in_one_text(tmp_path: Path, facts: str, steps: tuple[str, ...]) -> None:
    """As the Hub has them."""
    assert read(json_lines(tmp_path, {**RECORD, "facts": facts}))[0].steps == steps


def test_a_hub_data_set_is_read_as_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "strategyqa"
    folder.mkdir()
    hub = {key: RECORD[key] for key in ("qid", "term", "description", "question", "answer")}
    json_lines(folder, {**hub, "facts": "Owls are birds. Birds cannot read."}, name="train.jsonl")
    json_lines(folder, hub | {"facts": "Owls are birds."}, name="test.jsonl")
    data = StrategyQA(train_path=f"hub:{folder}", val_path=f"hub:{folder}::test", test_path=f"hub:{folder}")
    assert whole(data, "train")[0].steps == ("Owls are birds.", "Birds cannot read.")
    assert [len(whole(data, split)) for split in ("val", "test", "predict")] == [1, 1, 1]


def test_published_extractors() -> None:
    assert StrategyQA().extractors == ("yes_no",)
    assert StrategyQA(extractors=["softcot_official", "yes_no"]).extractors == ("softcot_official_yes_no", "yes_no")


# -- one file for all splits -------------------------------------------------------------------------------------------


def cut(tmp_path: Path, count: int = 40, **options: Any) -> dict[str, list[str]]:
    data = StrategyQA(path=json_list(tmp_path, *STRATEGYQA[:count]), **options)
    return {split: [example.id for example in whole(data, split)] for split in ("train", "val", "test", "predict")}


def test_a_file_is_cut_in_its_order(tmp_path: Path) -> None:
    names = [record["qid"] for record in STRATEGYQA]
    parts = cut(tmp_path)
    assert parts == {"train": names[:29], "val": names[29:32], "test": names[32:], "predict": names[32:]}
    assert parts["train"] + parts["val"] + parts["test"] == names


def test_the_published_cut(tmp_path: Path) -> None:
    """80 % and 20 %, with validation on what is tested."""
    names = [record["qid"] for record in STRATEGYQA]
    parts = cut(tmp_path, val_fraction=0)
    assert parts == {"train": names[:32], "val": names[32:], "test": names[32:], "predict": names[32:]}
    sizes = StrategyQA(val_fraction=0).cut([ReasoningExample("", (), "Yes", str(n)) for n in range(2290)])
    assert {split: len(part) for split, part in sizes.items()} == {"train": 1832, "val": 458, "test": 458}
    sizes = StrategyQA().cut([ReasoningExample("", (), "Yes", str(n)) for n in range(2290)])
    assert {split: len(part) for split, part in sizes.items()} == {"train": 1649, "val": 183, "test": 458}


def test_a_file_that_is_too_short_to_be_cut(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the val split has none of the 5 records") as caught:
        cut(tmp_path, 5)
    assert "data.path, and " in str(caught.value)


@pytest.mark.parametrize(
    ("options", "words", "where"),
    [
        ({"path": "a.json", "val_path": "b.json"}, "path and val_path are both given", "data.path, data.val_path"),
        ({"train_fraction": 0}, "train_fraction is 0", "data.train_fraction"),
        ({"train_fraction": 1.0}, "train_fraction is 1.0", "data.train_fraction"),
        ({"val_fraction": -0.1}, "val_fraction is -0.1", "data.val_fraction"),
        ({"val_fraction": 1}, "val_fraction is 1", "data.val_fraction"),
        ({"extractors": ["yesno"]}, "unknown extractor 'yesno'", "data.extractors"),
    ],
)
def test_options_that_do_not_fit(options: dict[str, Any], words: str, where: str) -> None:
    with pytest.raises(UserError, match=words) as caught:
        StrategyQA(**options)
    assert caught.value.where == where


def test_no_file_at_all() -> None:
    with pytest.raises(UserError, match="neither path nor train_path is set") as caught:
        StrategyQA().make_source("train")
    assert "--data.path=FILE" in str(caught.value)
    with pytest.raises(UserError, match="val_path is not set"):
        StrategyQA(train_path="train.json").make_source("val")


# -- the published file ------------------------------------------------------------------------------------------------


@needs_published
def test_the_published_file_is_read_whole() -> None:
    found = read(str(PUBLISHED))
    records = json.loads(PUBLISHED.read_text(encoding="utf-8"))
    assert len(found) == len(records) == 229 and max(len(example.question) for example in found) == 101
    assert steps_of(found) == [0, 0, 128, 72, 23, 6] and Counter(e.answer for e in found) == {"No": 122, "Yes": 107}
    for example, record in zip(found, records, strict=True):
        assert example.id == record["qid"] and example.question == record["question"].strip()
        assert example.answer == ("Yes" if record["answer"] else "No")
        assert [step.split() for step in example.steps] == [fact.split() for fact in record["facts"]]


@needs_published
@pytest.mark.parametrize("form", ["### ANSWER", "Finished reasoning, the answer is: ANSWER."])
def test_every_published_answer_is_read(form: str) -> None:
    found = read(str(PUBLISHED))
    assert misread(found, "yes_no", form) == misread(found, "softcot_official_yes_no", form) == []


# -- a run, and what is refused ----------------------------------------------------------------------------------------


def test_a_run(tmp_path: Path) -> None:
    data = StrategyQA(path=json_list(tmp_path, *STRATEGYQA), batch_size=8, extractors=["yes_no", "softcot_official"])
    trainer = tiny_trainer(tmp_path, no_thoughts(), max_epochs=1)
    trainer.fit(tiny_module(), datamodule=data)
    assert {"val/accuracy", "val/accuracy_softcot_official_yes_no"} <= trainer.callback_metrics.keys()


@pytest.mark.parametrize(
    ("record", "words"),
    [
        ({**RECORD, "answer": "maybe"}, "field \"answer\" is 'maybe'"),
        ({**RECORD, "answer": None}, 'field "answer" is null'),
        ({**RECORD, "answer": 1}, 'field "answer" is a number'),
        ({**RECORD, "answer": " "}, 'field "answer" is blank'),
        ({"qid": "t1", "question": "Could it?"}, 'field "answer" is missing'),  # the published test file
        ({**RECORD, "facts": None}, 'field "facts" is no list'),
        ({**RECORD, "facts": ["Owls are birds.", " "]}, r'field "facts"\[1\] is blank'),
        ({**RECORD, "facts": [1]}, r'field "facts"\[0\] is no string'),
        ({**RECORD, "question": None}, 'field "question" is no text'),
        ({"question": "Could it?", "answer": True}, 'field "steps" is missing'),
        ({**RECORD, "qid": "first"}, "the id 'first' is used twice"),
        ("owl", "a record is a string, not an object"),
    ],
)
def test_faulty_records_are_told_where(tmp_path: Path, record: Any, words: str) -> None:
    path = json_list(tmp_path, {**RECORD, "qid": "first"}, record)
    with pytest.raises(DataError, match=words) as caught:
        read(path)
    assert caught.value.where is not None and ", record 2" in caught.value.where and path in caught.value.where
    assert len(str(caught.value).splitlines()) <= 4


def test_a_faulty_file_is_one_block_on_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, "train.json", json.dumps([RECORD, {**RECORD, "qid": "e1", "facts": "owl"}])[:-20])
    given = {"path": "train.json", "batch_size": 2}
    write_config(tmp_path, {"data": {"class_path": "StrategyQA", "init_args": given}})
    outcome = lcot("fit", "-c", "tiny.yaml")
    assert outcome.code == 2 and len(outcome.block.splitlines()) <= 4 and "not valid JSON" in outcome.block
    assert not Path("runs").exists()


def test_a_chain_that_another_model_wrote(tmp_path: Path) -> None:
    record = {"question": "Could owls read?", "cot": "Owls are birds. Birds cannot read.\nSo no.", "answer": False}
    path = json_lines(tmp_path, record, {**record, "answer": "True"})
    first, second = StrategyQA().read(path, "train")
    assert first.steps == ("Owls are birds.", "Birds cannot read.", "So no.")
    assert (first.answer, second.answer, first.facts) == ("No", "Yes", {})
    (lines, _) = StrategyQA(chain="lines").read(path, "train")
    assert lines.steps == ("Owls are birds. Birds cannot read.", "So no.")
    for cot, said in ((None, "no text"), ("", "blank")):
        with pytest.raises(DataError, match=f'field "cot" is {said}'):
            list(StrategyQA().read(json_lines(tmp_path, {**record, "cot": cot}), "train"))
    with pytest.raises(UserError, match="unknown chain 'facts'"):
        StrategyQA(chain="facts")  # type: ignore[arg-type]

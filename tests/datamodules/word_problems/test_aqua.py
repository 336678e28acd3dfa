"""The AQuA data module: every format of its files, the published one whole, and what is said of faulty records."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lcot.datamodules import AQuA
from lcot.errors import DataError
from lcot.reasoning.example import ReasoningExample
from tests.datamodules.reading import DATA, json_lines, json_list, misread, steps_of, whole, write
from tests.stand_ins import AQUA
from tests.training import no_thoughts, tiny_module, tiny_trainer

PUBLISHED = DATA / "aqua" / "dev.json"
needs_published = pytest.mark.skipif(not PUBLISHED.is_file(), reason="needs AQuA's dev.json")

RECORD: dict[str, Any] = {
    "question": "How far does he get in 2 hours?",
    "options": ["A)6 km", "B)12 km", "C)18 km", "D).5 km", "E)(none of these)"],
    "rationale": "He rides 6 km an hour.\n\n6 * 2 =  12\nAnswer: B",
    "correct": "B",
}
QUESTION = "How far does he get in 2 hours?\nOptions:\n(A) 6 km\n(B) 12 km\n(C) 18 km\n(D) .5 km\n(E) (none of these)"
LINES = ("He rides 6 km an hour.", "6 * 2 = 12")


def read(path: str) -> list[ReasoningExample]:
    return whole(AQuA(train_path=path), "train")


@pytest.mark.parametrize("make", [json_list, json_lines])
@pytest.mark.parametrize("ending", ["json", "jsonl"])
def test_a_published_record(tmp_path: Path, make: Any, ending: str) -> None:
    # Published .json files hold an object on each line; the SoftCoT ones are the other way round.
    (example,) = read(make(tmp_path, RECORD, name=f"train.{ending}"))
    assert (example.question, example.steps, example.answer, example.id) == (QUESTION, LINES, "B", "0")
    assert example.facts == {"options": {"A": "6 km", "B": "12 km", "C": "18 km", "D": ".5 km", "E": "(none of these)"}}


def test_a_tokenized_record(tmp_path: Path) -> None:
    (example,) = read(json_lines(tmp_path, {**RECORD, "options": ["A ) 21", "B ) 21.5", "(C) 22"]}))
    assert example.question.endswith("\nOptions:\n(A) 21\n(B) 21.5\n(C) 22")


def test_whole_solutions_and_steps(tmp_path: Path) -> None:
    plain = QUESTION.replace("Options:\n", "Choose one:\n").replace("(A)", "A)").replace("(B)", "B)")
    plain = plain.replace("(C)", "C)").replace("(D)", "D)").replace("(E)", "E)")
    solution = {"question": plain, "answer": "He rides 6 km an hour.\n6 * 2 = 12\n#### B"}
    steps = {"question": QUESTION, "steps": list(LINES), "answer": "(B)", "id": "ride", "level": 1}
    first, second = read(json_lines(tmp_path, solution, steps))
    assert (first.question, first.steps, first.answer) == (plain, LINES, "B")
    assert (second.steps, second.answer, second.id) == (LINES, "B", "ride")
    assert first.facts == {"options": second.facts["options"]} and second.facts["level"] == 1


@pytest.mark.parametrize(
    ("last", "kept"),
    [
        ("Answer: B", False),
        ("ANSWER:B", False),
        ("The answer is B.", False),
        ("So the correct option is (B).", False),
        ("Hence, option B is the correct answer.", False),
        ("B is the answer.", False),
        ("B", False),
        ("Answer: B) 12 km", False),
        ("Ans - B", False),
        # These say something else, or another letter.
        ("6 * 2 = 12. Answer B", True),
        ("Answer: C", True),
        ("Answer: B) 12 miles", True),
        ("Bob rides.", True),
        ("B = 12", True),
        ("The answer is 12 km.", True),
    ],
)
def test_a_last_line_that_only_states_the_answer(tmp_path: Path, last: str, kept: bool) -> None:
    (example,) = read(json_lines(tmp_path, {**RECORD, "rationale": f"6 * 2 = 12\n{last}"}))
    assert example.steps == ("6 * 2 = 12", *([last] if kept else []))


def test_a_rationale_of_nothing_else_is_kept_without_steps(tmp_path: Path) -> None:
    stated, blank = read(json_lines(tmp_path, {**RECORD, "rationale": "Answer: B"}, {**RECORD, "rationale": " \n"}))
    assert stated.steps == blank.steps == () and stated.answer == "B"


def test_a_hub_data_set_is_read_as_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "aqua_rat"
    folder.mkdir()
    json_lines(folder, RECORD, name="train.jsonl")
    json_lines(folder, RECORD, RECORD, name="validation.jsonl")
    data = AQuA(train_path=f"hub:{folder}", val_path=f"hub:{folder}")
    assert [example.question for example in whole(data, "train")] == [QUESTION] and len(whole(data, "val")) == 2


def test_published_extractors() -> None:
    assert AQuA().extractors == ("choice",)
    assert AQuA(extractors=["boxed", "softcot_official"]).extractors == ("boxed", "softcot_official_choice")


# -- the published file ------------------------------------------------------------------------------------------------


@needs_published
def test_the_published_file_is_read_whole() -> None:
    found = read(str(PUBLISHED))
    with PUBLISHED.open(encoding="utf-8") as file:
        records = [json.loads(line) for line in file]
    assert len(found) == len(records) == 254 and max(len(example.question) for example in found) == 694
    assert steps_of(found) == [0, 22, 46, 51, 40, 32, 21, 13, 11, 7, 7, 1, 0, 1, 0, 1, 0, 1]
    left_out = 0
    for example, record in zip(found, records, strict=True):
        lines = [" ".join(line.split()) for line in record["rationale"].splitlines() if line.strip()]
        assert list(example.steps) == lines[: len(example.steps)] and len(lines) - len(example.steps) <= 1
        left_out += len(lines) - len(example.steps)
        assert example.answer == record["correct"] and example.question.startswith(record["question"].strip())
        listed = example.question.splitlines()[-5:]
        for line, option in zip(listed, record["options"], strict=True):
            letter, _, text = option.partition(")")
            assert line == f"({letter}) {' '.join(text.split())}"
    assert left_out == 226  # the other 28 end in a line that says more, or nothing of the answer


@needs_published
@pytest.mark.parametrize("form", ["### ANSWER", r"Therefore, the final answer is: $\boxed{ANSWER}$."])
def test_every_published_answer_is_read(form: str) -> None:
    found = read(str(PUBLISHED))
    assert misread(found, "choice", form) == misread(found, "softcot_official_choice", form) == []


@needs_published
def test_published_rationales_are_read_as_they_end() -> None:
    """Real text that names the answer in every way there is: no letter is misread, and nearly all are found."""
    from lcot.metrics import extractor

    with PUBLISHED.open(encoding="utf-8") as file:
        records = [json.loads(line) for line in file]
    read_letters = [extractor("choice").extract(record["rationale"], "###") for record in records]
    assert all(letter in (None, record["correct"]) for letter, record in zip(read_letters, records, strict=True))
    assert read_letters.count(None) == 15  # 13 name no letter, two end in "=D" and "12-5=7 C"


# -- a run, and what is refused ----------------------------------------------------------------------------------------


def test_a_run(tmp_path: Path) -> None:
    path = json_lines(tmp_path, *AQUA)
    data = AQuA(train_path=path, val_path=path, batch_size=3, extractors=["choice", "softcot_official"])
    trainer = tiny_trainer(tmp_path, no_thoughts(), max_epochs=1)
    trainer.fit(tiny_module(), datamodule=data)
    assert {"val/accuracy", "val/accuracy_softcot_official_choice"} <= trainer.callback_metrics.keys()


@pytest.mark.parametrize(
    ("record", "words"),
    [
        ({**RECORD, "options": None}, 'field "options" is no list'),
        ({**RECORD, "options": ["A)6"]}, 'field "options" has 1 entries'),
        ({**RECORD, "options": ["A)6", "C)7"]}, r'field "options"\[1\] is \'C\)7\''),
        ({**RECORD, "options": ["A)6", 7]}, r'field "options"\[1\] is 7'),
        ({**RECORD, "options": ["6", "7"]}, r'field "options"\[0\] is \'6\''),
        ({**RECORD, "correct": "F"}, "field \"correct\" is 'F'"),
        ({**RECORD, "correct": "12 km"}, "field \"correct\" is '12 km'"),
        ({**RECORD, "correct": None}, 'field "correct" is null'),
        ({**RECORD, "question": " "}, 'field "question" is blank'),
        ({key: RECORD[key] for key in ("options", "rationale", "correct")}, 'field "question" is missing'),
        ({key: RECORD[key] for key in ("options", "question", "correct")}, 'field "rationale" is missing'),
        ({**RECORD, "rationale": ["6 * 2 = 12"]}, 'field "rationale" is no text'),
        ({"question": "How far?", "answer": "6 * 2 = 12\n#### B"}, 'field "question" ends in no options'),
        ({"question": "How far?", "steps": ["6 * 2 = 12"], "answer": "B"}, 'field "question" ends in no options'),
        ({"question": QUESTION, "answer": "B"}, 'field "answer" has 0 times ####, and there is no field "steps"'),
        ({"question": QUESTION, "answer": "#### 12"}, "field \"answer\" is '12'"),
        ({"question": QUESTION, "steps": [" "], "answer": "B"}, r'field "steps"\[0\] is blank'),
        ({"question": QUESTION, "steps": [], "answer": "F"}, "field \"answer\" is 'F'"),
        ({"question": QUESTION}, 'field "answer" is missing'),
        ([RECORD], "a record is a list, not an object"),
    ],
)
def test_faulty_records_are_told_where(tmp_path: Path, record: Any, words: str) -> None:
    path = json_lines(tmp_path, RECORD, record)
    with pytest.raises(DataError, match=words) as caught:
        read(path)
    assert caught.value.where == f"{path}, line 2, record 2" and len(str(caught.value).splitlines()) <= 4


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not valid JSON") as caught:
        read(write(tmp_path, "cut.json", json.dumps(RECORD) + "\n" + json.dumps(RECORD)[:-9]))
    assert caught.value.where is not None and "cut.json, line 2" in caught.value.where
    with pytest.raises(DataError, match=r"ending in '\.csv' cannot be read"):
        read(write(tmp_path, "train.csv", "a,b"))
    with pytest.raises(DataError, match="the file holds no record"):
        read(write(tmp_path, "none.json", " \n"))

r"""The ASDiv data module: every format of its files, the published one whole, how it is cut, and its copies."""

from __future__ import annotations

import re
from collections import Counter
from fractions import Fraction
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from lcot.datamodules import ASDiv
from lcot.datamodules.word_problems.asdiv import split_of
from lcot.datamodules.word_problems.formulas import Expression
from lcot.errors import DataError, UserError
from lcot.reasoning.example import ReasoningExample
from tests.datamodules.reading import DATA, json_lines, misread, steps_of, whole, write
from tests.stand_ins import ASDIV
from tests.tiny import lcot, write_config
from tests.training import no_thoughts, tiny_module, tiny_trainer

PUBLISHED = DATA / "asdiv" / "ASDiv.xml"
needs_published = pytest.mark.skipif(not PUBLISHED.is_file(), reason="needs ASDiv.xml")

FIELDS = {
    "Body": "Seven red apples and two  green apples are in the basket. ",
    "Question": "How many apples are there?",
    "Solution-Type": "Addition",
    "Answer": "9 (apples)",
    "Formula": "7+2=9",
}
QUESTION = "Seven red apples and two green apples are in the basket. How many apples are there?"


def xml(*problems: dict[str, str], ids: str = "abcdefgh") -> str:
    """A file in the published form, with a line for each element."""
    made = [
        f'<Problem ID="{name}" Grade="1" Source="web">\n'
        + "".join(f"<{key}>{text}</{key}>\n" for key, text in problem.items())
        + "</Problem>\n"
        for name, problem in zip(ids, problems, strict=False)
    ]
    head = '<?xml version="1.0" encoding="UTF-8" ?>\n<Machine-Reading-Corpus-File>\n<ProblemSet>\n'
    return head + "".join(made) + "</ProblemSet>\n</Machine-Reading-Corpus-File>\n"


def read(path: str, **options: Any) -> list[ReasoningExample]:
    return whole(ASDiv(train_path=path, **options), "train")


def one(tmp_path: Path, **changes: str) -> ReasoningExample:
    (example,) = read(write(tmp_path, "ASDiv.xml", xml({**FIELDS, **changes})))
    return example


def test_a_published_problem(tmp_path: Path) -> None:
    example = one(tmp_path)
    assert (example.question, example.steps, example.answer, example.id) == (QUESTION, ("<<7+2=9>>",), "9", "a")
    assert example.facts == {
        "body": FIELDS["Body"].strip(),
        "formula": "7+2=9",
        "solution_type": "Addition",
        "unit": "apples",
        "grade": "1",
        "source": "web",
    }


@pytest.mark.parametrize(
    ("formula", "steps"),
    [
        ("7 + 2 = 9", ["<<7+2=9>>"]),
        ("3+5=8; 8-2=6; ", ["<<3+5=8>>", "<<8-2=6>>"]),
        ("(1 (hour)*60 (min/hour)) = 60 (min)", ["<<(1*60)=60>>"]),
        ("99+99=198 cents", ["<<99+99=198 cents>>"]),
        ("47/6=7 r5", ["<<47/6=7 r5>>"]),
        ("GCD(16,12)=4", ["<<GCD(16,12)=4>>"]),
        ("LCM[5,10]=10; (10/5)+(10/10)=3", ["<<LCM[5,10]=10>>", "<<(10/5)+(10/10)=3>>"]),
        ("x:Amy's books; (x+18)-15=9", ["x:Amy's books", "<<(x+18)-15=9>>"]),
        ("x=y; 180-(x+y)=3x", ["<<x=y>>", "<<180-(x+y)=3x>>"]),
        # No equation: as it stands.
        ("7+43=50; 7:50", ["<<7+43=50>>", "7:50"]),
        ("5, 7, 10,  14", ["5, 7, 10, 14"]),
        ("4+5=9 apples &lt; 10 apples", ["4+5=9 apples < 10 apples"]),
        ("8/20=0.4(Fall) equals 2/5=0.4(Winter)", ["8/20=0.4(Fall) equals 2/5=0.4(Winter)"]),
    ],
)
def test_what_is_made_of_a_formula(tmp_path: Path, formula: str, steps: list[str]) -> None:
    assert list(one(tmp_path, Formula=formula).steps) == steps


@pytest.mark.parametrize(
    ("written", "answer", "unit"),
    [
        ("9 (apples)", "9", "apples"),
        ("9", "9", ""),
        ("14  (seats)", "14", "seats"),
        ("0.395 (kilometers)", "0.395", "kilometers"),
        ("6 (km/hour); 4 (km/hour)", "6; 4", "km/hour"),
        ("8 (ft); 128 (sq. ft)", "8; 128", "ft; sq. ft"),
        ("-(1/3)", "-1/3", ""),
        ("5/2", "5/2", ""),
        ("5:6", "5:6", ""),
        ("3:30 p.m.", "3:30 p.m.", ""),
        ("Mrs. Hilt", "Mrs. Hilt", ""),
        ("February 3rd", "February 3rd", ""),
    ],
)
def test_what_is_made_of_an_answer(tmp_path: Path, written: str, answer: str, unit: str) -> None:
    example = one(tmp_path, Answer=written)
    assert (example.answer, example.facts["unit"]) == (answer, unit)


def test_the_copy_of_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "asdiv"
    folder.mkdir()
    hub = {key.lower().replace("-", "_"): text for key, text in FIELDS.items()}
    json_lines(folder, hub, name="validation.jsonl")
    (example,) = read(f"hub:{folder}::validation")
    assert (example.question, example.steps, example.answer, example.id) == (QUESTION, ("<<7+2=9>>",), "9", "0")


def test_asdiv_aug_and_steps(tmp_path: Path) -> None:
    aug = {"question": QUESTION, "answer": "<<7+2=9>>\n<<9-1=8>>\n####8"}
    steps = {"question": QUESTION, "steps": ["<<7+2=9>>"], "answer": "9"}
    first, second = read(json_lines(tmp_path, aug, steps))
    assert (first.steps, first.answer, first.facts) == (("<<7+2=9>>", "<<9-1=8>>"), "8", {"formula": "7+2=9; 9-1=8"})
    assert (second.steps, second.answer) == (("<<7+2=9>>",), "9")


def test_published_extractors() -> None:
    assert ASDiv().extractors == ("string",)
    assert ASDiv(extractors=["boxed", "softcot_official"]).extractors == ("boxed", "softcot_official_number")


# -- splits, numbers, copies -------------------------------------------------------------------------------------------


def test_a_file_is_cut_by_its_bodies(tmp_path: Path) -> None:
    data = ASDiv(path=write(tmp_path, "ASDiv.xml", ASDIV))
    parts = {split: whole(data, split) for split in ("train", "val", "test", "predict")}
    names = [example.id for split in ("train", "val", "test") for example in parts[split]]
    assert sorted(names) == [f"nluds-{number:04}" for number in range(1, 17)] and parts["predict"] == parts["test"]
    assert all(split_of(example) == split for split in ("train", "val", "test") for example in parts[split])
    first = parts["train"][0]
    other = {**first.facts, "body": str(first.facts["body"]).replace("5", "1,250.5")}
    assert split_of(ReasoningExample("Another question?", (), "1", "x", other)) == "train"


def test_numbers_only(tmp_path: Path) -> None:
    texts = ["9 (apples)", "Mrs. Hilt", "9; 11", "5:6", "3:30 p.m.", "-(1/3)", "1,234.5"]
    path = write(tmp_path, "ASDiv.xml", xml(*({**FIELDS, "Answer": text} for text in texts)))
    assert [example.answer for example in read(path, numbers_only=True)] == ["9", "-1/3", "1,234.5"]
    assert len(read(path)) == 7
    names = write(tmp_path, "names.xml", xml({**FIELDS, "Answer": "Mrs. Hilt"}))
    with pytest.raises(DataError, match="no answer of the train data is a number"):
        read(names, numbers_only=True)


def test_copies_stand_behind_their_problem_in_training_alone(tmp_path: Path) -> None:
    fixed = {**FIELDS, "Formula": "GCD(16,12)=4", "Answer": "4"}
    path = write(tmp_path, "ASDiv.xml", xml(FIELDS, fixed))
    data = ASDiv(train_path=path, val_path=path, augment=3, seed=1)
    found = whole(data, "train")
    assert [example.id for example in found] == ["a", "a-1", "a-2", "a-3", "b"] and len(whole(data, "val")) == 2
    assert found == read(path, augment=3, seed=1) and found != read(path, augment=3, seed=2)
    assert found[:3] == read(path, augment=2, seed=1)[:3]
    tokenizer = data.set_up_tokenizer()
    for example in found:
        assert not any(token.startswith("<0x") for token in tokenizer.tokenize(example.question + "\n"))


def test_how_many_problems_stay_alone_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write(tmp_path, "ASDiv.xml", xml(FIELDS, {**FIELDS, "Formula": "GCD(16,12)=4", "Answer": "4"}))
    with caplog.at_level("INFO", logger="lcot"):
        read(path, augment=2)
    assert "2 training problems were made 4 with other numbers; 1 stay alone, 0 have fewer than 2 copies" in caplog.text


def test_copies_of_nothing(tmp_path: Path) -> None:
    path = json_lines(tmp_path, {"question": QUESTION, "steps": ["7 and 2 are 9"], "answer": "9"})
    with pytest.raises(DataError, match="none of the 1 training problems allows of other numbers") as caught:
        read(path, augment=1)
    assert "data.augment" in str(caught.value.where)


@pytest.mark.parametrize(
    ("options", "words", "where"),
    [
        ({"augment": -1}, "augment is -1", "data.augment"),
        ({"path": "a.xml", "test_path": "b.xml"}, "path and test_path are both given", "data.path, data.test_path"),
    ],
)
def test_options_out_of_range(options: dict[str, Any], words: str, where: str) -> None:
    with pytest.raises(UserError, match=words) as caught:
        ASDiv(**options)
    assert caught.value.where == where


# -- the published file ------------------------------------------------------------------------------------------------


@needs_published
def test_the_published_file_is_read_whole() -> None:
    found = read(str(PUBLISHED))
    problems = list(ElementTree.parse(PUBLISHED).getroot().iter("Problem"))
    assert len(found) == len(problems) == 2305 and max(len(example.question) for example in found) == 454
    assert steps_of(found) == [0, 2037, 150, 27, 88, 3]
    for example, problem in zip(found, problems, strict=True):
        texts = {part.tag: (part.text or "").strip() for part in problem}
        assert example.id == problem.get("ID") and example.facts["formula"] == texts["Formula"]
        assert example.question.split() == f"{texts['Body']} {texts['Question']}".split()
        assert len(example.steps) == sum(bool(part.strip()) for part in texts["Formula"].split(";"))
        answers = [re.sub(r"\s*\([^()]*[A-Za-z][^()]*\)", "", one).strip() for one in texts["Answer"].split(";")]
        assert example.answer == "; ".join(answers).replace("-(1/3)", "-1/3")
    bracketed = [step.startswith("<<") for example in found for step in example.steps]
    assert Counter(bracketed) == {True: 2450, False: 335}


@needs_published
def test_every_published_answer_is_read() -> None:
    found, numeric = read(str(PUBLISHED)), read(str(PUBLISHED), numbers_only=True)
    box = r"Therefore, the final answer is: $\boxed{ANSWER}$."
    assert len(numeric) == 2093
    assert misread(found, "string", "### ANSWER") == misread(found, "boxed", box) == []
    assert misread(numeric, "number", "### ANSWER") == misread(numeric, "boxed", box) == []
    # The released SoftCoT code meets no fraction, no sign and no third decimal place; it was run on other numbers.
    assert misread(numeric, "softcot_official_number", box) == [
        "3.333", "0.395", "5/2", "3/7", "-1/3", "5/2", "7/9", "5/13", "4/7", "25/3", "1/6",
    ]  # fmt: skip


@needs_published
def test_the_published_file_is_cut() -> None:
    data = ASDiv(path=str(PUBLISHED))
    parts = [whole(data, split) for split in ("train", "val", "test")]
    assert [len(part) for part in parts] == [1846, 212, 247]
    bodies = [{str(example.facts["body"]) for example in part} for part in parts]
    assert not (bodies[0] & bodies[1] or bodies[0] & bodies[2] or bodies[1] & bodies[2])


@needs_published
def test_published_problems_are_copied() -> None:
    found = read(str(PUBLISHED), augment=1, seed=0)
    copies = [example for example in found if example.id.endswith("-1")]
    assert len(found) == 2305 + len(copies) and len(copies) == 1511
    originals = {example.id: example for example in found}
    for copy in copies:
        original = originals[copy.id.removesuffix("-1")]
        assert len(copy.steps) == len(original.steps) and copy.question != original.question
        for step in copy.steps:
            left, right = step[2:-2].split("=")
            assert Expression(left).values()[-1] == Fraction(right)
        assert copy.steps[-1].endswith(f"={copy.answer}>>") and float(copy.answer) >= 0
        assert copy.answer.count(".") <= original.answer.count(".")


# -- a run, and what is refused ----------------------------------------------------------------------------------------


def test_a_run(tmp_path: Path) -> None:
    extractors = ["string", "number", "softcot_official"]
    data = ASDiv(path=write(tmp_path, "ASDiv.xml", ASDIV), augment=1, batch_size=8, extractors=extractors)
    trainer = tiny_trainer(tmp_path, no_thoughts(), max_epochs=1)
    trainer.fit(tiny_module(), datamodule=data)
    assert {"val/accuracy", "val/accuracy_softcot_official_number"} <= trainer.callback_metrics.keys()


@pytest.mark.parametrize(
    ("content", "words", "where"),
    [
        (xml(FIELDS, {**FIELDS, "Answer": " "}), 'field "answer" is blank', "line 11, problem 2"),
        (
            xml({key: FIELDS[key] for key in FIELDS if key != "Formula"}),
            'field "formula" is missing',
            "line 4, problem 1",
        ),
        (xml({key: FIELDS[key] for key in FIELDS if key != "Body"}), 'field "body" is missing', "line 4, problem 1"),
        (xml(FIELDS).replace("</Answer>", "</Answer>\n<Answer>8</Answer>"), "<Answer> stands twice", "problem 1"),
        (xml(FIELDS, FIELDS, ids="aa"), "the id 'a' is used twice", "line 11, problem 2"),
        (xml(FIELDS).replace("UTF-8", "QTF-8"), "the file is not valid XML", "line 1"),
        (xml(FIELDS)[:-40], "the file is not valid XML", "line 11, column"),
        (xml(FIELDS).replace("</Body>", "</Boby>"), "the file is not valid XML", "line 5, column"),
        (xml({**FIELDS, "Body": "a & b"}), "the file is not valid XML", "line 5, column"),
        (xml(), "the file holds no problem", "ASDiv.xml"),
        (
            xml(FIELDS).replace("<Mach", '<!DOCTYPE a [<!ENTITY b "c">]>\n<Mach', 1),
            "declares a document type",
            "line 2",
        ),
        (
            xml(FIELDS, FIELDS).replace("<Problem ", "<Problm ", 1).replace("</Problem>", "</Problm>", 1),
            "<Body> stands alone",
            "",
        ),
        (xml(FIELDS, FIELDS).replace("</Problem>\n", "", 1), "<Problem> stands within <Problem>", "problem 1"),
        (
            xml(FIELDS).replace("<Formula>", "<Problem><Formula>").replace("</Formula>", "</Formula></Problem>"),
            "an element <Problem> stands within <Problem>",
            "problem 1",
        ),
        (xml(FIELDS).replace("</Body>", "<Answer>3</Answer></Body>"), "<Answer> stands within <Body>", "problem 1"),
        ("question,answer\n", "the file is not valid XML", "line 1, column 1"),
    ],
)
def test_a_faulty_file(tmp_path: Path, content: str, words: str, where: str) -> None:
    path = write(tmp_path, "ASDiv.xml", content)
    with pytest.raises(DataError, match=words) as caught:
        read(path)
    assert caught.value.where is not None and caught.value.where.startswith(path) and where in caught.value.where
    assert len(str(caught.value).splitlines()) <= 4


def test_markup_in_a_text_is_no_field(tmp_path: Path) -> None:
    path = write(tmp_path, "ASDiv.xml", xml(FIELDS).replace("</Body>", "<b>He <i>is</i> old.</b> Yes.</Body>"))
    (example,) = read(path)
    assert str(example.facts["body"]).endswith("He is old. Yes.")


def test_deep_xml_is_read_or_refused(tmp_path: Path) -> None:
    deep = xml(FIELDS).replace("</Body>", "<b>" * 50_000 + "</b>" * 50_000 + "</Body>")
    assert len(read(write(tmp_path, "ASDiv.xml", deep))) == 1


def test_a_file_of_another_kind(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"ending in '\.csv' cannot be read\n.*\n.*give ASDiv\.xml"):
        read(write(tmp_path, "asdiv.csv", "a,b"))


@pytest.mark.parametrize(
    ("record", "words"),
    [
        ({"question": "How many?", "answer": "9"}, 'field "answer" has 0 times ####, and there is no field "steps"'),
        ({"question": "How many?", "answer": "<<7+2=9>>\n####"}, 'field "answer" is blank'),
        ({"body": "Two.", "question": "How many?", "answer": "2"}, 'field "solution_type" is missing'),
        ({"question": "How many?", "steps": 3, "answer": "2"}, 'field "steps" is a number'),
    ],
)
def test_faulty_records_are_told_where(tmp_path: Path, record: Any, words: str) -> None:
    path = json_lines(tmp_path, {"question": "How many?", "steps": [], "answer": "2"}, record)
    with pytest.raises(DataError, match=words) as caught:
        read(path)
    assert caught.value.where == f"{path}, line 2, record 2"


def test_a_missing_file_is_one_block_on_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, "ASDiv.xml", ASDIV)
    write_config(tmp_path, {"data": {"class_path": "ASDiv", "init_args": {"path": "ASDIV.xml", "batch_size": 2}}})
    outcome = lcot("fit", "-c", "tiny.yaml")
    assert outcome.code == 2 and len(outcome.block.splitlines()) <= 4
    assert "there is no such file" in outcome.block and "ASDiv.xml" in outcome.block and not Path("runs").exists()

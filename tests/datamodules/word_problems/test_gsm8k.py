r"""The GSM8K data module: every format of its files, the published ones whole, and a row written out by hand.

The words of the row are those of ``build_word_tokenizer``: ▁ opens a word, a mark of punctuation takes the white space
behind it along.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from lcot.datamodules import GSM8K, Source
from lcot.datamodules.base import Split
from lcot.datamodules.tokenizers import load_tokenizer
from lcot.errors import DataError, UserError
from lcot.metrics import extractor
from lcot.reasoning.curriculum import Stage
from lcot.reasoning.example import ReasoningExample
from lcot.reasoning.layout import IGNORE, LayoutBuilder
from tests.datamodules.reading import json_lines, write
from tests.places import ROOT
from tests.tiny import contents, lcot, write_config
from tests.training import no_thoughts, tiny_module, tiny_trainer

DATA = ROOT.parent / "shared" / "data"
ORIGINAL, AUGMENTED = DATA / "gsm8k" / "train.jsonl", DATA / "gsm8k_aug" / "valid.txt"
needs_published = pytest.mark.skipif(not DATA.is_dir(), reason="needs GSM8K's train.jsonl and GSM8k-Aug's valid.txt")

LINES = """\
How many eggs?||<<16-3-4=9>> <<9*2=18>> #### 18
How many now?|| #### 9
What is lost?||<<3-1,238=-1235>> #### -1,235
"""
SOLUTION = "She sells 16 - 3 - 4 = <<16-3-4=9>>9 eggs.\nThat makes 9 * 2 = $<<9*2=18>>18.\n\nEvery day.\n#### 18"
STEPS = ("<<16-3-4=9>>", "<<9*2=18>>")


def examples(source: Source) -> list[ReasoningExample]:
    return [source.example(index, 0) for index in range(len(source))]


def read(path: str, split: Split = "train", **options: Any) -> list[ReasoningExample]:
    given: dict[str, Any] = {f"{split}_path": path, **options}
    return examples(GSM8K(**given).make_source(split))


def test_a_line_of_text_is_question_equations_and_answer(tmp_path: Path) -> None:
    first, empty, last = read(write(tmp_path, "train.txt", LINES))
    assert first == ReasoningExample("How many eggs?", STEPS, "18", "0")
    assert (empty.steps, empty.answer, empty.id) == ((), "9", "1")
    assert (last.steps, last.answer) == (("<<3-1,238=-1235>>",), "-1,235")


def test_an_equation_with_spaces_is_one_step(tmp_path: Path) -> None:
    path = write(tmp_path, "train.txt", "How many?||<<16 - 7 = 9>>  $<<9*2=18>> 18 #### 18")
    assert read(path)[0].steps == ("<<16 - 7 = 9>>", "$<<9*2=18>>", "18")


def test_an_original_solution_is_equations_or_lines(tmp_path: Path) -> None:
    path = json_lines(tmp_path, {"question": "How many eggs?", "answer": SOLUTION})
    (equations,), (natural,) = read(path), read(path, chain="natural")
    assert equations == ReasoningExample("How many eggs?", STEPS, "18", "0")
    assert natural.steps == ("She sells 16 - 3 - 4 = 9 eggs.", "That makes 9 * 2 = $18.", "Every day.")
    assert (natural.question, natural.answer) == (equations.question, equations.answer)


SOCRATIC = (
    "How many eggs does she sell? ** She sells 16 - 3 - 4 = <<16-3-4=9>>9 eggs.\n"
    "How much does she make? ** She makes 9 * 2 = $<<9*2=18>>18 (2 ** 3 is no price).\n#### 18"
)


def test_a_socratic_solution_is_the_same_with_questions(tmp_path: Path) -> None:
    path = json_lines(tmp_path, {"question": "How many eggs?", "answer": SOCRATIC})
    (equations,), (natural,), (lines,) = (read(path, chain=chain) for chain in ("equations", "natural", "lines"))
    assert equations == ReasoningExample("How many eggs?", STEPS, "18", "0")
    assert natural.steps == (
        "How many eggs does she sell? She sells 16 - 3 - 4 = 9 eggs.",
        "How much does she make? She makes 9 * 2 = $18 (2 ** 3 is no price).",
    )
    assert lines.steps == tuple(SOCRATIC.splitlines()[:2]) and lines.answer == natural.answer == "18"


def test_lines_stand_as_they_are(tmp_path: Path) -> None:
    path = json_lines(tmp_path, {"question": "How many eggs?", "answer": SOLUTION})
    assert read(path, chain="lines")[0].steps == (
        "She sells 16 - 3 - 4 = <<16-3-4=9>>9 eggs.",
        "That makes 9 * 2 = $<<9*2=18>>18.",
        "Every day.",
    )


def test_a_solution_without_equations_has_no_step(tmp_path: Path) -> None:
    path = json_lines(tmp_path, {"question": "How many eggs?", "answer": "All of them.\n#### 18"})
    assert read(path)[0].steps == () and read(path, chain="natural")[0].steps == ("All of them.",)


@pytest.mark.parametrize("name", ["train.json", "train.jsonl"])
def test_preprocessed_files_have_steps(tmp_path: Path, name: str) -> None:
    # The second record is what the released conversion makes of an empty chain.
    records = [
        {"question": "How many eggs?", "steps": list(STEPS), "answer": "18"},
        {"question": "How many now?", "steps": [""], "answer": "9"},
    ]
    lines = "\n".join(map(json.dumps, records))
    path = write(tmp_path, name, json.dumps(records) if name.endswith(".json") else lines)
    first, empty = read(path)
    assert first == ReasoningExample("How many eggs?", STEPS, "18", "0") and empty.steps == ()
    assert read(path, blank_step=True)[1].steps == ("",)


def test_a_hub_data_set_is_read_as_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "sums"
    folder.mkdir()
    json_lines(folder, {"question": "How many eggs?", "answer": SOLUTION}, name="train.jsonl")
    json_lines(folder, {"question": "How many?", "answer": "None.\n#### 0"}, name="validation.jsonl")
    assert read(f"hub:{folder}")[0].steps == STEPS
    assert read(f"hub:{folder}", chain="natural")[0].steps[0] == "She sells 16 - 3 - 4 = 9 eggs."
    assert read(f"hub:{folder}", split="val")[0].steps == ()
    data = GSM8K(train_path=f"hub:{folder}", val_path=f"hub:{folder}")
    assert [len(data.make_source(split)) for split in ("train", "val")] == [1, 1]
    assert data.make_source("train").example(0, 0).question != data.make_source("val").example(0, 0).question


def test_predictions_are_of_the_test_path(tmp_path: Path) -> None:
    data = GSM8K(test_path=write(tmp_path, "test.txt", LINES))
    assert examples(data.make_source("predict")) == examples(data.make_source("test"))


# -- the published files ----------------------------------------------------------------------------------------------


@needs_published
def test_the_published_text_file_is_read_whole() -> None:
    found = read(str(AUGMENTED))
    assert len(found) == 500 and [example.id for example in found] == [str(number) for number in range(500)]
    assert Counter(len(example.steps) for example in found) == {
        0: 6, 1: 26, 2: 155, 3: 140, 4: 91, 5: 53, 6: 18, 7: 8, 8: 3,
    }  # fmt: skip
    for example, line in zip(found, AUGMENTED.read_text(encoding="utf-8").splitlines(), strict=True):
        # What the released conversion does, a blank step apart.
        question, rest = line.split("||")
        assert example.question == question and example.answer == rest.split("##")[-1].strip()
        assert list(example.steps) == [step for step in rest.split("##")[0].strip().split(" ") if step]
    assert max(len(example.question) for example in found) == 755
    assert [len(example.steps) for example in read(str(AUGMENTED), blank_step=True)].count(1) == 32


@needs_published
def test_the_published_json_lines_are_read_whole() -> None:
    found, natural = read(str(ORIGINAL)), read(str(ORIGINAL), chain="natural")
    assert len(found) == len(natural) == 7473
    assert max(len(example.question) for example in found) == 985
    assert sum(not example.steps for example in found) == 95 and all(example.steps for example in natural)
    with ORIGINAL.open(encoding="utf-8") as file:
        for example, lines, record in zip(found, natural, map(json.loads, file), strict=True):
            solution, _, answer = record["answer"].partition("\n####")
            assert example.question == lines.question == record["question"]
            assert example.answer == lines.answer == answer.strip()
            assert len(example.steps) == solution.count("<<") and not any("<<" in step for step in lines.steps)
            assert all(step in solution for step in example.steps)
            assert len(lines.steps) == sum(bool(line.strip()) for line in solution.split("\n"))


@needs_published
@pytest.mark.parametrize("path", [ORIGINAL, AUGMENTED], ids=["GSM8K", "GSM8k-Aug"])
def test_every_published_answer_is_read_by_every_extractor(path: Path) -> None:
    data = GSM8K(train_path=str(path))
    assert data.extractors == ("string", "number")
    assert GSM8K(extractors=["softcot_official"]).extractors == ("softcot_official_number",)
    marker = data.text.before_answer
    for example in examples(data.make_source("train")):
        text = "".join(step + data.text.after_step for step in example.steps) + marker + example.answer
        for name in (*data.extractors, "last_number"):
            reader = extractor(name)
            assert reader.equal(reader.extract(text, marker), example.answer), (name, text)


@needs_published
def test_words_of_published_problems_are_lossless() -> None:
    data = GSM8K(train_path=str(AUGMENTED))
    tokenizer = data.set_up_tokenizer()
    found = examples(data.make_source("train"))
    texts = [text for example in found for text in (example.question + "\n", *example.steps, f"### {example.answer}")]
    rows = tokenizer(texts)["input_ids"]
    assert [tokenizer.decode(row) for row in rows] == texts
    assert max(len(tokenizer(example.question)["input_ids"]) for example in found) == 163
    # A number that was never seen is spelled, and still whole when it is read back.
    assert tokenizer.decode(tokenizer("<<98761-98765=-4>>")["input_ids"]) == "<<98761-98765=-4>>"


@needs_published
def test_published_problems_take_as_many_tokens_as_reported() -> None:
    folder = DATA / "gpt2_tokenizer"
    if not folder.is_dir():
        pytest.skip("needs GPT-2's vocabulary")
    tokenizer, found = load_tokenizer(folder), read(str(AUGMENTED))
    answers = [len(ids) for ids in tokenizer([f"### {example.answer}" for example in found])["input_ids"]]
    # The paper counts 2.2 tokens for No-CoT on the test split.
    assert 2.0 < sum(answers) / len(answers) < 2.3
    assert max(len(ids) for ids in tokenizer([example.question for example in found])["input_ids"]) == 165


# -- rows --------------------------------------------------------------------------------------------------------------


def rows(tmp_path: Path, number: int, *stages: Stage, **options: Any) -> list[tuple[list[str], list[str | None]]]:
    """Tokens and labels of a problem of :data:`LINES` at some stages, with markers around thoughts only."""
    data = GSM8K(train_path=write(tmp_path, "train.txt", LINES), **options)
    tokenizer = data.set_up_tokenizer()
    assert data.special is not None
    builder = LayoutBuilder(tokenizer, data.special, "continuous", data.text, markers="with_thoughts")
    (pieces,) = builder.encode([data.make_source("train").example(number, 0)])
    made = [builder.train(pieces, stage) for stage in stages]
    return [
        (
            list(map(str, tokenizer.convert_ids_to_tokens(row.ids))),
            [None if label == IGNORE else str(tokenizer.convert_ids_to_tokens(label)) for label in row.labels],
        )
        for row in made
    ]


def test_a_row_by_hand(tmp_path: Path) -> None:
    # 2 thoughts a step: nothing hidden, one equation hidden, all hidden behind 6 thoughts.
    written, one, hidden = rows(tmp_path, 0, Stage(0, 0), Stage(1, 2), Stage(2, 6))
    question = ["▁How", "▁many", "▁eggs", "?\n"]
    first = ["<<", "▁16", "-", "▁3", "-", "▁4", "=", "▁9", ">>\n"]
    second = ["<<", "▁9", "*", "▁2", "=", "▁18", ">>\n"]
    answer = ["### ", "▁18", "<|endoftext|>"]
    bot, eot, thought = "<|start-latent|>", "<|end-latent|>", "<|latent|>"
    assert written == (question + first + second + answer, [None] * 4 + first + second + answer)
    assert one == (
        [*question, bot, thought, thought, eot, *second, *answer],
        [None] * 8 + second + answer,
    )
    assert hidden == ([*question, bot, *[thought] * 6, eot, *answer], [None] * 12 + answer)


def test_a_row_without_steps_by_hand(tmp_path: Path) -> None:
    question, answer = ["▁How", "▁many", "▁now", "?\n"], ["### ", "▁9", "<|endoftext|>"]
    assert rows(tmp_path, 1, Stage(0, 0)) == [(question + answer, [None] * 4 + answer)]
    # As published: one step that is a lone newline.
    blank = rows(tmp_path, 1, Stage(0, 0), blank_step=True)
    assert blank == [([*question, "\n", *answer], [None] * 4 + ["\n", *answer])]


# -- a run -------------------------------------------------------------------------------------------------------------


def config(folder: Path, **options: Any) -> Path:
    write(folder, "train.txt", LINES)
    given = {"train_path": "train.txt", "val_path": "train.txt", "test_path": "train.txt", "batch_size": 2, **options}
    return write_config(folder, {"data": {"class_path": "GSM8K", "init_args": given}})


def test_a_run_reports_both_accuracies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config(tmp_path)
    monitor = "--best_checkpoint.monitor=val/accuracy_number"
    for command in ("fit", "validate", "test", "predict"):
        outcome = lcot(command, "-c", "tiny.yaml", monitor)
        assert outcome.code == 0, outcome.err
    assert list(Path("runs/tiny/checkpoints").glob("best-stage*.ckpt"))
    for command, split in (("validate", "val"), ("test", "test")):
        report = json.loads(Path(f"runs/tiny/{command}.json").read_text())
        assert report["metrics"].keys() >= {f"{split}/accuracy", f"{split}/accuracy_number"}
        assert report["metrics"][f"{split}/examples"] == 3
        said = report["protocol"]
        assert said["extractor"].startswith("string: text after the last ###")
        assert said["further_extractors"] == {
            "accuracy_number": "number: first number after the last ###, equal in value"
        }
    predicted = [json.loads(line) for line in Path("runs/tiny/predictions.jsonl").read_text().splitlines()]
    assert {"correct", "correct_number"} <= predicted[0].keys() and len(predicted) == 3


def test_gold_answers_that_an_extractor_cannot_read_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "val.txt", LINES + "How many?||<<1=1>> #### all\n")
    data = GSM8K(train_path=path, val_path=path, batch_size=2)
    with pytest.raises(DataError, match="the extractor 'number' reads None where the gold answer is 'all'") as caught:
        tiny_trainer(tmp_path, no_thoughts()).fit(tiny_module(), datamodule=data)
    assert "example '3' of the val data" in str(caught.value)
    # Whoever is content with strings may have such answers.
    data = GSM8K(train_path=path, val_path=path, batch_size=2, extractors=["string"])
    tiny_trainer(tmp_path, no_thoughts(), max_epochs=1).fit(tiny_module(), datamodule=data)


@pytest.mark.parametrize("missing", ["train_path", "val_path"])
def test_a_path_that_was_not_given_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    monkeypatch.chdir(tmp_path)
    config(tmp_path, **{missing: None})
    before = contents(tmp_path)
    outcome = lcot("fit", "-c", "tiny.yaml")
    assert outcome.code == 2 and len(outcome.block.splitlines()) <= 4
    assert f"{missing} is not set" in outcome.block and f"--data.{missing}=FILE" in outcome.block
    assert contents(tmp_path) == before


# -- what is refused ---------------------------------------------------------------------------------------------------


NATURAL = {"question": "How many?", "cot": "Ann has 3.5 kg. She buys 2.5. Now she has 6 kg.", "answer": "#### 6"}


def test_sentences_of_gsm8k_aug_nl(tmp_path: Path) -> None:
    (example,) = read(json_lines(tmp_path, NATURAL), chain="sentences")
    assert example.steps == ("Ann has 3.5 kg.", "She buys 2.5.", "Now she has 6 kg.") and example.answer == "6"
    (original,) = read(json_lines(tmp_path, {"question": "How many?", "answer": SOLUTION}), chain="sentences")
    assert original.steps == ("She sells 16 - 3 - 4 = 9 eggs.", "That makes 9 * 2 = $18.", "Every day.")
    (line,) = read(json_lines(tmp_path, NATURAL), chain="natural")
    assert line.steps == (NATURAL["cot"],)


def test_training_problems_that_codi_leaves_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    records = [
        {"question": f"How many are {number}?", "cot": "<<1+1=2>>", "answer": answer}
        for number, answer in enumerate(["#### 2", None, "#### -2", "3", "#### $4"])
    ]
    path = json_lines(tmp_path, *records)
    assert [example.answer for example in read(path, drop_unfit=True)] == ["2", "3"]
    assert f"{path}: 3 problems without an answer that begins with a digit are left out" in caplog.text
    text = write(tmp_path, "train.txt", LINES)
    assert [example.answer for example in read(text, drop_unfit=True)] == ["18", "9"]
    # Nothing is left out of a test, and nothing without the option.
    assert len(read(text, "test", drop_unfit=True)) == len(read(text)) == 3
    for split, dropping in (("test", True), ("train", False)):
        with pytest.raises(DataError, match='field "answer" is no text'):
            read(path, split, drop_unfit=dropping)  # type: ignore[arg-type]


def test_natural_language_where_there_is_none(tmp_path: Path) -> None:
    text = write(tmp_path, "train.txt", LINES)
    steps = json_lines(tmp_path, {"question": "How many?", "steps": ["<<1+1=2>>"], "answer": "2"})
    for path in (text, steps):
        for chain in ("natural", "sentences", "lines"):
            with pytest.raises(DataError, match=f"chain is '{chain}', and the data have steps of their own") as caught:
                read(path, chain=chain)
            assert path in str(caught.value.where)


@pytest.mark.parametrize(
    ("record", "words"),
    [
        ({"question": "How many?", "answer": "18"}, 'field "answer" has 0 times ####, and there is no field "steps"'),
        ({"question": "How many?", "answer": "1\n#### 2\n#### 3"}, 'field "answer" has 2 times ####'),
        ({"question": "How many?", "answer": "1\n#### "}, 'field "answer" is blank'),
        ({"question": " ", "answer": "1\n#### 2"}, 'field "question" is blank'),
        ({"answer": "1\n#### 2"}, 'field "question" is missing'),
        ({"question": "How many?"}, 'field "answer" is missing'),
        ({"question": "How many?", "answer": 18}, 'field "answer" is a number'),
        ({"question": "How many?", "steps": ["", ""], "answer": "18"}, r'field "steps"\[0\] is blank'),
        ({"question": "How many?", "steps": None, "answer": "18"}, 'field "steps" is null'),
    ],
)
def test_faulty_records_are_told_where(tmp_path: Path, record: dict[str, Any], words: str) -> None:
    path = json_lines(tmp_path, {"question": "How many eggs?", "answer": SOLUTION}, record)
    with pytest.raises(DataError, match=words) as caught:
        read(path)
    assert caught.value.where == f"{path}, line 2, record 2"


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_record_whose_chain_is_gone_among_others(tmp_path: Path, place: int) -> None:
    """It would be read as a problem that has none."""
    records = [{"question": f"How many are {n}?", "cot": "<<1+1=2>>", "answer": "#### 2"} for n in range(3)]
    del records[place]["cot"]
    path = json_lines(tmp_path, *records)
    with pytest.raises(DataError, match='field "cot" is missing') as caught:
        read(path)
    assert f"record {place + 1}" in str(caught.value.where)


def test_what_is_no_record(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="a record is a list, not an object"):
        read(write(tmp_path, "train.jsonl", '{"question": "a", "answer": "#### 1"}\n[1]'))
    with pytest.raises(DataError, match="there is no #### between steps and answer"):
        read(write(tmp_path, "train.txt", "How many?||<<1+1=2>>"))
    with pytest.raises(DataError, match=r"ending in '\.csv' cannot be read\n.*\n.*give a \.txt file"):
        read(write(tmp_path, "train.csv", "a,b"))


def test_options_out_of_range() -> None:
    with pytest.raises(UserError, match="unknown chain 'naturel'") as caught:
        GSM8K(chain="naturel")  # type: ignore[arg-type]
    assert caught.value.fix == "did you mean 'natural'?"

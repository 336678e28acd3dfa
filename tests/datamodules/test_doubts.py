"""Chains that are not there, questions in two splits, settings that are larger than the data: refused, or said."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lcot.datamodules import GSM8K, AQuA, ASDiv, JSONReasoning, ListSource, Multiplication, ProsQA, StrategyQA
from lcot.datamodules.doubts import needs_chains, say_cut, say_shared
from lcot.datamodules.files import FileReasoning
from lcot.errors import DataError
from lcot.reasoning.curriculum import Curriculum, Fixed, StageClock
from lcot.reasoning.example import ReasoningExample
from lcot.reasoning.stepwise import Stepwise
from lcot.reasoning.tokenwise import Tokenwise
from tests.datamodules.reading import json_lines, write
from tests.tiny import lcot, write_config
from tests.training import tiny_trainer

QUESTION = "A box holds 4 pens. How many pens are in 3 boxes, if 2 are lost?"
OPTIONS = {"options": ["A)10", "B)12"], "correct": "A"}


class Clock(StageClock):
    """A curriculum for data modules that have no trainer."""

    def __init__(self, schedule: Curriculum) -> None:
        self.schedule = schedule

    def epoch(self) -> int:
        return 0

    def stage(self) -> int:
        return 0

    def training_stages(self) -> Any:
        return lambda batch: 0

    def final_stage(self, epoch: int) -> int:
        return 0


def under(data: Any, schedule: Curriculum, module: object = None) -> Any:
    data.trainer = SimpleNamespace(callbacks=[Clock(schedule)], lightning_module=module)
    return data


def test_which_curricula_need_a_chain() -> None:
    assert needs_chains(Fixed("none")) and needs_chains(Stepwise()) and needs_chains(Tokenwise())
    assert not needs_chains(Fixed("all")) and not needs_chains(Fixed("all", thoughts=6, kind="continuous"))


@pytest.mark.parametrize(
    ("kind", "record", "words"),
    [
        (GSM8K, {"question": QUESTION, "answer": "4*3 = 12, 12-2 = 10\n#### 10"}, "'natural'"),
        (GSM8K, {"question": QUESTION, "chain": ["<<4*3=12>>"], "answer": "#### 10"}, "'question', 'chain', 'answer'"),
        (GSM8K, {"question": QUESTION, "steps": [], "rationale": "x", "answer": "10"}, "'rationale'"),
        (ASDiv, {"question": QUESTION, "answer": "4*3=12\n12-2=10\n####10"}, "<<7+2=9>>"),
        (AQuA, {"question": QUESTION, **OPTIONS, "rationale": "", "cot": "4*3"}, "'cot'"),
        (AQuA, {"question": QUESTION, **OPTIONS, "rationale": "Answer: A"}, "hidden: all"),
        (StrategyQA, {"question": QUESTION, "answer": True, "facts": [], "decomposition": ["x"]}, "'decomposition'"),
        (JSONReasoning, {"question": QUESTION, "steps": [], "proof": "x", "answer": "10"}, "'proof'"),
    ],
)
def test_training_data_without_any_step_are_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: type[FileReasoning], record: Any, words: str
) -> None:
    options: dict[str, Any] = {"need_steps": False} if kind is JSONReasoning else {}
    path = json_lines(tmp_path, record, record)
    data = under(kind(train_path=path, val_path=path, test_path=path, **options), Stepwise())
    with pytest.raises(DataError, match="none of the 2 train problems has a reasoning step") as caught:
        data.make_source("train")
    assert caught.value.where == path and words in str(caught.value)
    # Their questions can still be asked, and methods that never see a chain be trained.
    assert len(data.make_source("test")) == len(data.make_source("val")) == 2
    assert "none of the 2 val problems has a reasoning step" in caplog.text
    assert len(under(kind(train_path=path, **options), Fixed("all")).make_source("train")) == 2


def test_a_hub_data_set_without_any_step_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "aug"
    folder.mkdir()
    json_lines(folder, {"question": QUESTION, "thoughts": "<<4*3=12>>", "answer": "#### 10"}, name="train.jsonl")
    with pytest.raises(DataError, match="none of the 1 train problems") as caught:
        under(GSM8K(train_path=f"hub:{folder}"), Stepwise()).make_source("train")
    assert caught.value.where == f"hub:{folder}" and "'thoughts'" in str(caught.value.why)


def test_blank_steps_are_none(tmp_path: Path) -> None:
    path = write(tmp_path, "train.txt", f"{QUESTION}|| #### 10\n")
    for blank in (False, True):
        with pytest.raises(DataError, match="none of the 1 train problems has a reasoning step"):
            under(GSM8K(train_path=path, blank_step=blank), Stepwise()).make_source("train")


def test_a_file_in_which_some_problems_have_no_step_is_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write(tmp_path, "train.txt", f"{QUESTION}|| #### 10\n{QUESTION}||<<4*3=12>> #### 12\n")
    with caplog.at_level(logging.INFO, "lcot"):
        assert len(under(GSM8K(train_path=path), Stepwise()).make_source("train")) == 2
    assert "1 of 2 train problems have no reasoning step" in caplog.text


@pytest.mark.parametrize("answer", ["#### 10", "10"])
def test_a_chain_in_the_field_cot_is_read(tmp_path: Path, answer: str) -> None:
    first = {"question": QUESTION, "cot": "<<4*3=12>> <<12-2=10>>", "answer": answer, "id": "a"}
    second = {"question": QUESTION, "cot": "There are 12.\nThen there are 10.", "answer": answer}
    (example,) = GSM8K().read(json_lines(tmp_path, first), "train")
    assert (example.steps, example.answer, example.facts) == (("<<4*3=12>>", "<<12-2=10>>"), "10", {})
    (example,) = GSM8K(chain="natural").read(json_lines(tmp_path, second), "train")
    assert (example.steps, example.answer) == (("There are 12.", "Then there are 10."), "10")


def test_the_command_line_says_so(tmp_path: Path) -> None:
    config = Path(__file__).parents[2] / "configs" / "gsm8k.yaml"
    nomarks = {"question": QUESTION, "answer": "There are 4 * 3 = 12.\nOf these 12 - 2 = 10 are left.\n#### 10"}
    paths = [f"--data.{split}_path={json_lines(tmp_path, nomarks, nomarks)}" for split in ("train", "val")]
    outcome = lcot("show", "-c", config, *paths)
    assert outcome.code == 2 and "set data.chain to 'natural'" in outcome.block and len(outcome.block.splitlines()) == 4
    outcome = lcot("show", "-c", config, *paths, "--data.chain=natural")
    assert outcome.code == 0 and "⟦There are 4 * 3 = 12." in outcome.out
    cot = {"question": QUESTION, "cot": "<<4*3=12>> <<12-2=10>>", "answer": "#### 10"}
    Path(tmp_path / "records.jsonl").write_text(json.dumps(cot))
    outcome = lcot("show", "-c", config, *paths)
    assert outcome.code == 0 and "⟦<<4*3=12>>\n<<12-2=10>>\n### 10<|endoftext|>⟧" in outcome.out


@pytest.mark.parametrize(
    "solution",
    [
        "He has <48/2=24>>24.\nThen <<24+1=25>>25.",
        "He has <<48/2=24>24.\nThen <<24+1=25>>25.",
        "He has <<48/2=24>24, then <<24+1=25>>25.",
        "He has <<48/2=24\n>>24, then <<24+1=25>>25.",
        "He has 48/2=24>>24, then <<24+1=25>>25.",
        "He has << <<48/2=24>>24.",
    ],
)
def test_a_damaged_calculator_mark_is_refused(tmp_path: Path, solution: str) -> None:
    good = {"question": QUESTION, "answer": "It is 3 < 4 > 2 <<4*3=12>>12.\n#### 12"}
    path = json_lines(tmp_path, good, {"question": QUESTION, "answer": f"{solution}\n#### 25"})
    for data in (GSM8K(), GSM8K(chain="natural"), ASDiv()):
        read = iter(data.read(path, "train"))
        assert next(read).answer == "12"
        with pytest.raises(DataError, match="a calculator mark is damaged") as caught:
            next(read)
        assert caught.value.where == f"{path}, line 2, record 2"
    assert len(list(GSM8K(chain="lines").read(path, "train"))) == 2  # lines are taken as they stand, marks and all


def test_a_damaged_mark_of_a_text_file_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    good = f"{QUESTION}||<<4*3=12>> <<12-2=10>> #### 10\n"
    path = write(tmp_path, "train.txt", good + good.replace("12>>", "12>") + good.replace("<<12", "<12"))
    steps = [example.steps for example in GSM8K().read(path, "train")]
    assert steps[0] == ("<<4*3=12>>", "<<12-2=10>>") and len(steps[1]) == 1  # two in one
    said = f"{path}, line 2: a calculator mark is not opened or not closed, and is read as other steps; so it is in 2"
    assert said in caplog.text


# -- questions in two splits, and settings that are larger than the data -----------------------------------------------


def problems(folder: Path, name: str, *numbers: int, spaces: str = " ") -> str:
    records = [{"question": f"Is{spaces}{n} odd?", "steps": [f"{n} is so."], "answer": "yes"} for n in numbers]
    return json_lines(folder, *records, name=name)


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "lcot"]


def fit(**options: Any) -> None:
    """Set a data module up as fit does."""
    data = JSONReasoning(batch_size=2, **options)
    trainer = tiny_trainer(Path(), Stepwise(), max_epochs=4)
    data.trainer = trainer
    data.setup("fit")
    data.train_dataloader()
    data.val_dataloader()


def test_the_same_questions_to_train_and_to_validate_on_are_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    train = problems(tmp_path, "train.jsonl", 1, 2, 3)
    fit(train_path=train, val_path=problems(tmp_path, "val.jsonl", 4, 5))
    assert said(caplog) == []
    fit(train_path=train, val_path=train)
    assert said(caplog) == [
        "3 of 3 val questions are training questions too (data.train_path, data.val_path): an accuracy over them tells"
        " what was learnt by heart, and chooses the best checkpoint by it"
    ]
    caplog.clear()
    # The same under another name, with other white space.
    fit(train_path=train, val_path=problems(tmp_path, "copy.jsonl", 5, 3, 2, spaces="\n "))
    assert said(caplog)[0].startswith("2 of 3 val questions are training questions too")


def test_the_same_file_to_test_on_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    train, val = problems(tmp_path, "train.jsonl", 1, 2, 3), problems(tmp_path, "val.jsonl", 4, 5)
    (tmp_path / "link.jsonl").symlink_to(train)
    fit(train_path=train, val_path=val, test_path=str(tmp_path / "link.jsonl"))
    assert said(caplog) == [
        "data.test_path is the file of data.train_path: a test of this run tells what was learnt by heart"
    ]
    caplog.clear()
    for test, lines in ((val, ["data.test_path is the file of data.val_path"]), (train, ["3 of 3 test questions"])):
        data = JSONReasoning(train_path=train, val_path=val, test_path=test)
        data.trainer = tiny_trainer(Path(), Stepwise(), max_epochs=4)
        data.setup("test")
        assert len(said(caplog)) == len(lines) and said(caplog)[0].startswith(lines[0])
        caplog.clear()


def test_a_test_does_without_the_training_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    test = problems(tmp_path, "test.jsonl", 1)
    for train in (str(tmp_path / "gone.jsonl"), "x" * 5000, write(tmp_path, "broken.jsonl", "{")):
        data = JSONReasoning(train_path=train, test_path=test)
        say_shared(data.written, data.paths, "test")
    assert said(caplog) == []


@pytest.mark.parametrize(
    ("data", "shared"),
    [
        (lambda path: ProsQA(train_path=path, val_path=path), 2),
        (lambda path: StrategyQA(path=path), 0),
        (lambda path: ProsQA(val_path=path), 0),
    ],
)
def test_other_data_sets_are_compared_too(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, data: Any, shared: int
) -> None:
    made = data(problems(tmp_path, "a.jsonl", 1, 2))
    say_shared(made.written, made.paths, "val")
    assert [message[:6] for message in said(caplog)] == [f"{shared} of 2"] * bool(shared)


def test_settings_that_are_larger_than_the_data_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    trainer = SimpleNamespace(limit_train_batches=9, accumulate_grad_batches=3, limit_val_batches=1.0, fast_dev_run=0)
    say_cut("train", 3, 4, 2, trainer)
    say_cut("val", 3, 4, 2, trainer)
    assert said(caplog) == [
        "a batch of data.batch_size would have 4 rows, and the train split has 3",
        "trainer.limit_train_batches is 9, and an epoch of the train split has 2",
        "trainer.accumulate_grad_batches is 3, and an epoch of the train split has 2",
    ]
    caplog.clear()
    trainer.limit_val_batches, trainer.fast_dev_run = 3, 9
    say_cut("val", 3, 4, 2, trainer)
    trainer.fast_dev_run = 0
    say_cut("val", 3, 4, 2, trainer)
    assert said(caplog) == ["trainer.limit_val_batches is 3, and an epoch of the val split has 2"]
    caplog.clear()
    fit(train_path=problems(tmp_path, "train.jsonl", 1), val_path=problems(tmp_path, "val.jsonl", 4))
    assert said(caplog) == ["a batch of data.batch_size would have 2 rows, and the train split has 1"]


def test_a_training_set_that_repeats_itself_is_said(caplog: pytest.LogCaptureFixture) -> None:
    ProsQA(nodes=(5, 5), hops=(1, 1), symbols=12, train_size=2000, seed=0).make_source("train")
    Multiplication(digits=(1, 1), train_size=163, seed=0).make_source("train")
    graphs, products = said(caplog)
    assert graphs.startswith("data.train_size is 2,000, and there are ") and "different problems" in graphs
    assert products.startswith("data.train_size is 163, and there are 81 products of such factors: each is trained on")
    caplog.clear()
    ProsQA(train_size=50, seed=0).make_source("train")
    Multiplication(digits=(1, 1), train_size=162, seed=0).make_source("train")
    assert said(caplog) == []


# -- the last step ----------------------------------------------------------------------------------------------------


class Reads:
    """A module that reads the chain beside the main rows."""

    views = ("teacher",)


ONE = {"question": QUESTION, "steps": ["<<4*3=12>>"], "answer": "12"}
TWO = {"question": QUESTION, "steps": ["<<4*3=12>>", "<<12-2=10>>"], "answer": "10"}


def test_the_last_step_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = json_lines(tmp_path, ONE, TWO)
    data = under(GSM8K(train_path=path, val_path=path, test_path=path, last_step="drop"), Stepwise())
    for split in ("train", "val", "test", "predict"):
        source = data.seen(split)
        assert [source.example(index, 0).steps for index in range(len(source))] == [(), ("<<4*3=12>>",)]
    with caplog.at_level(logging.INFO, "lcot"):
        data.seen("train")
    assert "1 of 2 train problems have one step, and none is left (data.last_step is 'drop')" in caplog.text
    kept = under(GSM8K(train_path=path), Stepwise())
    assert kept.seen("train").example(1, 0).steps == tuple(TWO["steps"])


def test_examples_that_are_redrawn_lose_it_too() -> None:
    data = ProsQA(style="symbolic", stage_target="frontier", last_step="drop", redraw="order", seed=1, train_size=8)
    under(data, Stepwise())
    source, whole = data.seen("train"), data.make_source("train")
    assert len(source) == 8 and source.redraws
    for epoch in range(2):
        one, other = source.example(3, epoch), whole.example(3, epoch)
        assert one.steps == other.steps[:-1] and one.alternatives == other.alternatives[:-1]
        assert one.question == other.question


@pytest.mark.parametrize("schedule", [Stepwise(), Fixed("all", thoughts=2, kind="continuous")])
def test_data_that_have_no_step_left_are_refused(tmp_path: Path, schedule: Curriculum) -> None:
    path = json_lines(tmp_path, ONE, ONE)
    data = under(GSM8K(train_path=path, val_path=path, last_step="drop"), schedule, Reads())
    with pytest.raises(DataError, match="none of the 2 train problems has a reasoning step left") as caught:
        data.seen("train")
    assert "data.last_step" in str(caught.value.where) and path in str(caught.value.where)
    assert len(data.seen("val")) == 2
    generated = under(ProsQA(hops=(1, 1), nodes=(5, 7), train_size=4, last_step="drop", seed=1), schedule, Reads())
    with pytest.raises(DataError, match="none of the 4 train problems has a reasoning step left"):
        generated.seen("train")


def test_objectives_that_read_the_chain_need_one(tmp_path: Path) -> None:
    """Even where the curriculum never writes a step."""
    path = json_lines(tmp_path, {"question": QUESTION, "steps": [], "proof": "x", "answer": "12"})
    schedule = Fixed("all", thoughts=2, kind="continuous")
    assert len(under(GSM8K(train_path=path), schedule).make_source("train")) == 1
    data = under(GSM8K(train_path=path), schedule, Reads())
    with pytest.raises(DataError, match="none of the 1 train problems has a reasoning step") as caught:
        data.make_source("train")
    assert "their views: teacher" in str(caught.value.why) and "no objectives" in str(caught.value.fix)


def test_a_source_of_ones_own_needs_one_too(monkeypatch: pytest.MonkeyPatch) -> None:
    example = ReasoningExample("Is it?", (), "yes", "a")
    monkeypatch.setattr(ProsQA, "make_source", lambda data, split: ListSource([example] * 3))
    data = under(ProsQA(seed=1), Fixed("all", thoughts=2, kind="continuous"), Reads())
    with pytest.raises(DataError, match="none of the 3 train problems has a reasoning step") as caught:
        data.seen("train")
    assert "their views: teacher" in str(caught.value.why)
    assert len(data.seen("val")) == len(under(ProsQA(seed=1), Fixed("all")).seen("train")) == 3


def test_a_run_without_last_steps_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_config(tmp_path)
    dropping = ("-c", "tiny.yaml", "--data.last_step=drop")
    kept, shorter = (lcot("show", *words, "--index=1").out for words in (("-c", "tiny.yaml"), dropping))
    assert "without the last step (data.last_step)" in shorter and "last step" not in kept
    written = [out.split("\n── ")[1].partition("⟦")[2].split("\n") for out in (kept, shorter)]
    assert written[1] == [*written[0][:-3], *written[0][-2:]]
    for command in ("fit", "test"):
        outcome = lcot(command, *dropping)
        assert outcome.code == 0, outcome.err
    report = json.loads(Path("runs/tiny/test.json").read_text())
    assert report["protocol"]["last_step"] == "left out of every chain"
    assert lcot("fit", "-c", "tiny.yaml", "--data.last_step=dropped", "--name=no").code == 2

"""A trained run from Python answers as the command line does, and can be handed on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import lcot as package
from lcot.api import Solver
from lcot.errors import CheckpointError, UserError
from tests.tiny import lcot, write_config

LONG = "Tom impus. Max hilpus. impus hilpus. hilpus or impus? Max"


@pytest.fixture(scope="module")
def rows(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, object]]:
    """What ``predict`` wrote for the test questions."""
    file = tmp_path_factory.mktemp("answers") / "predictions.jsonl"
    outcome = lcot("predict", "-c", trained / "config.yaml", "--predictions.path", file, "--runs_dir", trained.parent)
    assert outcome.code == 0, outcome.err
    return [json.loads(line) for line in file.read_text().splitlines()]


@pytest.fixture(scope="module")
def solver(trained: Path) -> Solver:
    """The run's best model."""
    return package.load(trained)


def test_a_run_answers_as_predict_does(solver: Solver, rows: list[dict[str, object]]) -> None:
    solutions = solver.solve([str(row["question"]) for row in rows])
    for solution, row in zip(solutions, rows, strict=True):
        assert solution.question == row["question"]
        assert (solution.text, solution.answer) == (row["output"], row["answer"])
        assert (solution.thoughts, solution.tokens) == (row["thoughts"], row["tokens"])


@pytest.mark.parametrize("batch_size", [1, 2, 7])
def test_the_batch_size_changes_no_answer(solver: Solver, rows: list[dict[str, object]], batch_size: int) -> None:
    questions = [*(str(row["question"]) for row in rows), LONG, LONG]
    assert solver.solve(questions, batch_size) == solver.solve(questions)


def test_a_checkpoint_can_be_named_by_its_file(trained: Path) -> None:
    first = package.load(trained / "checkpoints" / "best-stage0-epoch000.ckpt")
    same = package.load(trained, checkpoint="best-stage0-epoch000.ckpt")
    assert first.thoughts == same.thoughts == 0
    assert first.solve([LONG]) == same.solve([LONG])
    assert package.load(trained, checkpoint="last.ckpt").thoughts == 1


def test_an_exported_model_answers_the_same(solver: Solver, tmp_path: Path, rows: list[dict[str, object]]) -> None:
    folder = solver.save_pretrained(tmp_path / "model")
    questions = [str(row["question"]) for row in rows]
    again = package.load(folder)
    assert again.solve(questions) == solver.solve(questions)
    assert (again.kind, again.thoughts, again.markers) == (solver.kind, solver.thoughts, solver.markers)


def test_an_exported_model_is_one_of_hugging_face(solver: Solver, tmp_path: Path) -> None:
    folder = solver.save_pretrained(tmp_path / "model")
    assert (folder / "model.safetensors").is_file()
    model = AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert solver.module.model is not None
    for name, weight in solver.module.model.state_dict().items():
        assert torch.equal(model.state_dict()[name], weight)
    assert tokenizer.get_vocab() == solver.tokenizer.get_vocab()
    assert tokenizer(LONG)["input_ids"] == solver.tokenizer(LONG)["input_ids"]


def test_an_exported_model_can_be_trained_on(solver: Solver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    solver.save_pretrained(tmp_path / "model")
    monkeypatch.chdir(tmp_path)
    write_config(tmp_path, {"model.init_args.backbone": {"path": "./model"}, "data.init_args.tokenizer": "./model"})
    outcome = lcot("fit", "-c", "tiny.yaml", "--trainer.fast_dev_run=true")
    assert outcome.code == 0, outcome.err


def test_a_run_with_a_classifier(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_config(tmp_path, {"model.init_args.halting": {"max_thoughts": 3}})
    outcome = lcot("fit", "-c", "tiny.yaml")
    assert outcome.code == 0, outcome.err
    assert lcot("predict", "-c", "tiny.yaml").code == 0
    rows = [json.loads(line) for line in Path("runs/tiny/predictions.jsonl").read_text().splitlines()]
    solver = package.load("runs/tiny")
    solutions = solver.solve([row["question"] for row in rows])
    assert [(s.text, s.thoughts) for s in solutions] == [(row["output"], row["thoughts"]) for row in rows]
    assert all(solution.thoughts <= 3 for solution in solutions)
    with pytest.raises(UserError, match="classifier"):
        solver.save_pretrained(tmp_path / "model")
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("method", ["cot", "pause"])
def test_other_methods_answer_as_predict_does(method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_config(tmp_path)
    overlay = Path(__file__).parents[1] / "configs" / "methods" / f"{method}.yaml"
    for command in ("fit", "predict"):
        outcome = lcot(command, "-c", "tiny.yaml", "-c", overlay, "--trainer.max_epochs=1")
        assert outcome.code == 0, outcome.err
    rows = [json.loads(line) for line in Path(f"runs/tiny-{method}/predictions.jsonl").read_text().splitlines()]
    solutions = package.load(f"runs/tiny-{method}").solve([row["question"] for row in rows])
    assert [(s.text, s.thoughts) for s in solutions] == [(row["output"], row["thoughts"]) for row in rows]


def test_questions_are_a_list_of_texts(solver: Solver) -> None:
    assert solver.solve([]) == []
    with pytest.raises(UserError, match="one string"):
        solver.solve(LONG)
    with pytest.raises(UserError, match="question 1 is ' '"):
        solver.solve([LONG, " "])
    with pytest.raises(UserError, match="batch_size is 0"):
        solver.solve([LONG], batch_size=0)


def test_a_question_that_is_too_long_is_refused(solver: Solver) -> None:
    with pytest.raises(UserError, match="positions, and the model has 128"):
        solver.solve([LONG * 12])


def test_a_run_that_is_not_there(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no run at"):
        package.load(trained.parent / "tinny")
    with pytest.raises(UserError, match=r"unknown checkpoint 'best\.ckpt'"):
        package.load(trained, checkpoint="best.ckpt")
    with pytest.raises(CheckpointError, match="there is no checkpoint"):
        package.load(trained / "checkpoints" / "gone.ckpt")


def test_a_checkpoint_without_its_tokenizer(trained: Path, tmp_path: Path) -> None:
    lonely = tmp_path / "last.ckpt"
    shutil.copy(trained / "checkpoints" / "last.ckpt", lonely)
    with pytest.raises(CheckpointError, match="tokenizer"):
        package.load(lonely)

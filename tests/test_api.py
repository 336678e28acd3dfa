"""A trained run from Python answers as the command line does, and can be handed on."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import lcot as package
from lcot.api import Solver
from lcot.datamodules.tokenizers import build_word_tokenizer
from lcot.errors import CheckpointError, UserError
from lcot.modules import Backbone, Coconut
from lcot.reasoning.decode import Sampling
from lcot.reasoning.example import ReasoningExample
from lcot.reasoning.text import TextFormat
from lcot.reasoning.tokens import add_thought_tokens
from tests.models import ARCHITECTURES
from tests.places import ROOT
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


@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_nor_does_it_where_texts_are_drawn(trained: Path, rows: list[dict[str, object]], batch_size: int) -> None:
    drawing = package.load(trained)
    drawing.module.sampling = Sampling(temperature=3.0)
    questions = [*(str(row["question"]) for row in rows), LONG]
    expected = drawing.solve(questions)
    assert drawing.solve(questions, batch_size) == expected != package.load(trained).solve(questions)


def test_a_checkpoint_can_be_named_by_its_file(trained: Path) -> None:
    first = package.load(trained / "checkpoints" / "best-stage0-epoch000.ckpt")
    same = package.load(trained, checkpoint="best-stage0-epoch000.ckpt")
    assert first.thoughts == same.thoughts == 0
    assert first.solve([LONG]) == same.solve([LONG])
    assert package.load(trained, checkpoint="last.ckpt").thoughts == 1


def test_another_number_of_thoughts_can_be_asked_for(solver: Solver, rows: list[dict[str, object]]) -> None:
    question = str(rows[0]["question"])
    assert [solver.solve([question], thoughts=k)[0].thoughts for k in (0, 1, 3)] == [0, 1, 3]
    assert solver.solve([question], thoughts=solver.thoughts) == solver.solve([question])
    with pytest.raises(UserError, match="thoughts is -1"):
        solver.solve([question], thoughts=-1)


def test_an_exported_model_answers_the_same(solver: Solver, tmp_path: Path, rows: list[dict[str, object]]) -> None:
    folder = solver.save_pretrained(tmp_path / "model")
    questions = [str(row["question"]) for row in rows]
    again = package.load(folder)
    assert again.solve(questions) == solver.solve(questions)
    assert (again.kind, again.thoughts, again.markers) == (solver.kind, solver.thoughts, solver.markers)


def untrained(architecture: str) -> Solver:
    """A model of some type with words as tokens, as a run has it before its first step."""
    tokenizer = build_word_tokenizer([LONG])
    module = Coconut(Backbone(config={"model_type": architecture, **ARCHITECTURES[architecture]}), max_new_tokens=5)
    module.attach(tokenizer, add_thought_tokens(tokenizer), TextFormat())
    assert module.special is not None
    module.model = module.backbone.build(tokenizer, module.special, seed=1)
    return Solver(module, "continuous", 2)


@pytest.mark.parametrize("architecture", ["gpt2", "llama", "qwen3"])
def test_what_is_exported_is_read_alike_by_everyone(architecture: str, tmp_path: Path) -> None:
    solver = untrained(architecture)
    folder = solver.save_pretrained(tmp_path / "model")
    text = LONG + "\n### hilpus, <|start-latent|> and words that it never saw"
    assert AutoTokenizer.from_pretrained(folder)(text)["input_ids"] == solver.tokenizer(text)["input_ids"]
    assert package.load(folder).solve([LONG]) == solver.solve([LONG])


def test_what_others_would_read_in_another_way_is_not_exported(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="AutoTokenizer would read texts in another way beside a qwen2 model"):
        untrained("qwen2").save_pretrained(tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_an_older_export_beside_qwen2_is_read_with_its_own_words(tmp_path: Path) -> None:
    solver = untrained("llama")
    folder = solver.save_pretrained(tmp_path / "model")
    qwen2 = untrained("qwen2")
    assert qwen2.module.model is not None
    qwen2.module.model.save_pretrained(folder)
    (folder / "lcot.json").write_text(json.dumps({**json.loads((folder / "lcot.json").read_text()), "files": {}}))
    assert AutoTokenizer.from_pretrained(folder)(LONG)["input_ids"] != solver.tokenizer(LONG)["input_ids"]
    assert package.load(folder).solve([LONG]) == qwen2.solve([LONG])


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


def test_a_run_can_start_from_another(
    solver: Solver, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Backbone(path=str(trained)).build(solver.tokenizer, solver.special, seed=5)
    assert solver.module.model is not None
    for name, weight in solver.module.model.state_dict().items():
        assert torch.equal(model.state_dict()[name], weight), name
    # A tokenizer of the same words that was made anew calls the thought tokens added, and their rows are trained.
    anew = build_word_tokenizer(["Tom"])
    again = Backbone(path=str(trained)).build(solver.tokenizer, add_thought_tokens(anew), seed=5)
    assert all(torch.equal(weight, model.state_dict()[name]) for name, weight in again.state_dict().items())
    monkeypatch.chdir(tmp_path)
    start = {"model.init_args.backbone": {"path": str(trained)}, "curriculum.schedule.init_args.first_stage": 1}
    schedule = {"curriculum.schedule.init_args.epochs_per_stage": 2}
    write_config(tmp_path, {**start, **schedule})
    outcome = lcot("fit", "-c", "tiny.yaml", "--trainer.fast_dev_run=true")  # the same words from the same data
    assert outcome.code == 0, outcome.err
    write_config(tmp_path, {**start, **schedule, "data.init_args.style": "symbolic"})
    refused = lcot("fit", "-c", "tiny.yaml", "--trainer.fast_dev_run=true")
    assert refused.code == 2 and f"the run {str(trained)!r} has another tokenizer" in refused.err
    assert str(trained / "tokenizer") in refused.err


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
    # An answer takes 3 of the 128 positions, and thoughts that the classifier may add take 3 more.
    asked = [LONG + " Max" * number for number in range(128)]
    encoded = solver.builder.encode([ReasoningExample(question, (), "", "") for question in asked])
    lengths = [solver.builder.prompt(pieces, solver.thoughts).prompt for pieces in encoded]
    longest = max(place for place, length in enumerate(lengths) if length + 3 + 3 <= 128)
    assert len(solver.solve([asked[longest]])) == 1
    with pytest.raises(UserError, match="a question needs 129 positions, and the model has 128"):
        solver.solve([asked[longest + 1]])
    with pytest.raises(UserError, match="classifier"):
        solver.save_pretrained(tmp_path / "model")
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("method", ["cot", "pause"])
def test_other_methods_answer_as_predict_does(method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_config(tmp_path)
    overlay = ROOT / "configs" / "methods" / f"{method}.yaml"
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
    assert solver.solve(question for question in (LONG, LONG)) == solver.solve([LONG, LONG])
    nothing: Any = 3
    with pytest.raises(UserError, match=r"solve\(\) got 3"):
        solver.solve(nothing)


@pytest.mark.parametrize("number", ["2", 2.5, True])
def test_numbers_are_whole(solver: Solver, number: Any) -> None:
    with pytest.raises(UserError, match=f"thoughts is {number!r}"):
        solver.solve([LONG], thoughts=number)
    with pytest.raises(UserError, match=f"batch_size is {number!r}"):
        solver.solve([LONG], batch_size=number)


@pytest.mark.parametrize("device", ["cuda:99", "gpu"])
def test_a_device_that_is_not_there(trained: Path, device: str) -> None:
    with pytest.raises(UserError, match=f"the device is '{device}'") as caught:
        package.load(trained, device=device)
    assert caught.value.why and caught.value.fix


def test_files_where_folders_belong(solver: Solver, trained: Path, tmp_path: Path) -> None:
    (tmp_path / "model").touch()
    with pytest.raises(UserError, match="is a file, not a folder"):
        solver.save_pretrained(tmp_path / "model")
    with pytest.raises(UserError, match="is a file, not a run") as caught:
        package.load(trained / "config.yaml")
    assert caught.value.fix == f"give the run's folder: {str(trained)!r}"


def test_a_question_that_is_too_long_is_refused(solver: Solver) -> None:
    with pytest.raises(UserError, match="positions, and the model has 128"):
        solver.solve([LONG * 12])


def test_a_question_that_names_a_thought_token_is_asked_as_it_stands(solver: Solver) -> None:
    first, second = solver.solve([LONG, "Is Tom <|pause|> a hilpus?"])
    assert second.question == "Is Tom <|pause|> a hilpus?" and first == solver.solve([LONG])[0]


def test_a_run_that_is_not_there(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no run at"):
        package.load(trained.parent / "tinny")
    with pytest.raises(UserError, match=r"unknown checkpoint 'best\.ckpt'"):
        package.load(trained, checkpoint="best.ckpt")
    with pytest.raises(CheckpointError, match="there is no checkpoint"):
        package.load(trained / "checkpoints" / "gone.ckpt")


def rewritten(trained: Path, folder: Path, **changes: object) -> Path:
    """A copy of the run whose last checkpoint says something else of itself."""
    run = Path(shutil.copytree(trained, folder / "run"))
    saved = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    saved["lcot"].update(changes)
    torch.save(saved, run / "checkpoints" / "last.ckpt")
    return run


@pytest.mark.parametrize(
    ("change", "says"),
    [({"format": 2}, "written by a newer lcot"), ({"module": "Other"}, "holds a Other, and load")],
)
def test_what_this_version_cannot_load(trained: Path, tmp_path: Path, change: dict[str, object], says: str) -> None:
    run = rewritten(trained, tmp_path, **change)
    with pytest.raises(CheckpointError, match=says):
        package.load(run, checkpoint="last.ckpt")


def test_an_export_of_a_newer_version(solver: Solver, tmp_path: Path) -> None:
    folder = solver.save_pretrained(tmp_path / "model")
    described = json.loads((folder / "lcot.json").read_text())
    (folder / "lcot.json").write_text(json.dumps({**described, "format": 2}))
    with pytest.raises(CheckpointError, match="written by a newer lcot"):
        package.load(folder)


def test_sampling_is_that_of_the_run(trained: Path, tmp_path: Path) -> None:
    sampling = {"temperature": 0.7, "top_k": 3, "top_p": 0.9, "seed": 4, "repetition_penalty": 1.05}
    loaded = package.load(rewritten(trained, tmp_path, sampling=sampling), checkpoint="last.ckpt")
    whole = {**sampling, "thoughts": 0.0}  # what that version did not know counts as its default
    assert asdict(loaded.module.sampling) == whole
    assert asdict(package.load(loaded.save_pretrained(tmp_path / "model")).module.sampling) == whole
    assert package.load(trained).module.sampling == Sampling()


def test_a_checkpoint_without_its_tokenizer(trained: Path, tmp_path: Path) -> None:
    lonely = tmp_path / "last.ckpt"
    shutil.copy(trained / "checkpoints" / "last.ckpt", lonely)
    with pytest.raises(CheckpointError, match="tokenizer"):
        package.load(lonely)


def test_answers_are_read_as_the_run_read_them(trained: Path, tmp_path: Path) -> None:
    run = rewritten(trained, tmp_path, extractors=["last_number", "string"])
    loaded = package.load(run, checkpoint="last.ckpt")
    loaded.module.decode_texts = lambda answers: ["### 7 or $8"]  # type: ignore[method-assign]
    assert loaded.solve([LONG])[0].answer == "8"
    again = package.load(loaded.save_pretrained(tmp_path / "model"))
    assert again.module.extractors == loaded.module.extractors == ("last_number", "string")


@pytest.mark.parametrize("name", ["extractors", "sampling", "markers", "stepwise_passes", "recycle"])
def test_a_description_without_what_it_takes_to_answer_is_refused(trained: Path, tmp_path: Path, name: str) -> None:
    folder = package.load(trained).save_pretrained(tmp_path / "model")
    described = json.loads((folder / "lcot.json").read_text())
    del described[name]
    (folder / "lcot.json").write_text(json.dumps(described))
    with pytest.raises(CheckpointError, match="cannot be used") as caught:
        package.load(folder)
    assert f"{name} is missing" in str(caught.value)

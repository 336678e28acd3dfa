"""A frozen teacher: a run, or a pretrained model, that reads the chains and is never trained, saved or exported."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from transformers import AutoModelForCausalLM, AutoTokenizer

import lcot as package
from lcot.modules.coconut import Coconut
from lcot.modules.frozen import fingerprint
from lcot.modules.objectives.base import Objective
from lcot.modules.objectives.distillation import Distillation, before_answer
from lcot.modules.objectives.keys_values import KeyValueDistillation
from lcot.modules.stored import pick_checkpoint, read_checkpoint
from lcot.modules.teacher import LoadedTeacher, Teacher
from lcot.reasoning.batch import collate
from lcot.reasoning.curriculum import Stage
from lcot.reasoning.layout import Layout
from lcot.reasoning.text import TextFormat
from lcot.reasoning.think import think
from tests.models import SPECIAL, random_examples, tiny_model, word_tokenizer
from tests.places import ROOT
from tests.reasoning.support import builder
from tests.test_resume import in_training
from tests.tiny import lcot, write_config, write_records
from tests.training import tiny_module
from tests.whole_runs import last, run, same_state, settings
from tests.whole_runs import write_config as write_run

LEARNS = (
    "--model.objectives={distillation: {class_path: Distillation}, cache: {class_path: KeyValueDistillation}}",
    "--curriculum.schedule=Fixed",
    "--curriculum.schedule.hidden=all",
    "--curriculum.schedule.kind=continuous",
    "--curriculum.schedule.thoughts=2",
)


SPLITS = ("train", "val", "test")


def fit(folder: Path, name: str, *words: object) -> Any:
    return lcot("fit", "-c", folder / "tiny.yaml", "--name", name, "--runs_dir", folder / "runs", *words)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A config, and the run of its chains of thought."""
    made = tmp_path_factory.mktemp("taught")
    write_config(made, {"model.init_args.backbone.config.max_position_embeddings": 256})
    outcome = fit(made, "cot", "--curriculum.schedule=Fixed")
    assert outcome.code == 0, outcome.err
    return made


@pytest.fixture(scope="module")
def taught(folder: Path) -> Path:
    """The run that it teaches."""
    outcome = fit(folder, "taught", *LEARNS, f"--model.teacher.path={folder / 'runs' / 'cot'}")
    assert outcome.code == 0, outcome.err
    return folder / "runs" / "taught"


def rows(count: int = 4) -> list[Layout]:
    build, made = builder(), []
    for example in random_examples(count, 5, steps=[3]):
        object.__setattr__(example, "mark", 1)
        stage = Stage(3, 2)
        made.append(build.train(example, stage).with_views(build.views(example, stage, ("teacher",))))
    return made


def module_of(objectives: dict[str, Objective]) -> Coconut:
    made = tiny_module(objectives=objectives)
    made.attach(word_tokenizer(["<unk>", "<s>", "</s>", "<pad>"]), SPECIAL, TextFormat())
    made.model = tiny_model("gpt2")
    made.configure_model()
    return made


def test_states_keys_and_values_are_the_teachers() -> None:
    """What is distilled is what the frozen model makes of the row, and no gradient reaches it."""
    module = module_of({"states": Distillation(), "cache": KeyValueDistillation()})
    frozen = tiny_model("gpt2", seed=7)
    teacher = frozen.requires_grad_(False).eval()  # type: ignore[no-untyped-call]
    batch, view = collate(rows(), SPECIAL.pad), collate(rows(), SPECIAL.pad).views["teacher"]
    scene = module.objectives.look(module.model, batch, module.think, False, teacher)  # type: ignore[arg-type]
    read = think(teacher, view, layers_at=before_answer(view))
    assert scene.teacher is not None and torch.equal(scene.teacher.layers, read.layers)  # type: ignore[arg-type]
    itself = module.objectives.look(module.model, batch, module.think, False)  # type: ignore[arg-type]
    for objective in module.objectives.wanted.values():
        assert abs(objective(scene).item() - objective(itself).item()) > 1e-3
    weights = Teacher("somewhere")
    module.taught_by = LoadedTeacher(teacher, weights)  # type: ignore[arg-type]
    terms, _ = module.terms(batch)
    assert terms["states"].sums.item() == module.objectives.wanted["states"](scene).item()
    torch.stack([term.sums.sum() for term in terms.values()]).sum().backward()  # type: ignore[no-untyped-call]
    assert all(parameter.grad is None for parameter in teacher.parameters())
    assert not any("taught" in name for name, _ in module.named_parameters())
    assert not any("taught" in name for name in module.state_dict())


def test_a_checkpoint_notes_the_teacher_and_holds_nothing_of_it(folder: Path, taught: Path) -> None:
    saved = read_checkpoint(pick_checkpoint(taught))
    told = saved["lcot"]["teacher"]
    assert told["path"] == str(folder / "runs" / "cot") and told["dtype"] == "float32"
    assert saved["lcot"]["frozen"] == {}  # the model itself is trained whole
    own = read_checkpoint(pick_checkpoint(folder / "runs" / "cot"))["state_dict"]
    assert saved["state_dict"].keys() == own.keys()
    solver = package.load(folder / "runs" / "cot")
    assert solver.module.model is not None
    assert told["fingerprint"] == fingerprint(solver.module.model.requires_grad_(False))
    assert yaml.safe_load((taught / "config.yaml").read_text())["model"]["init_args"]["teacher"]["path"]


def test_answers_need_no_teacher(folder: Path, taught: Path, tmp_path: Path) -> None:
    away = folder / "runs" / "away"
    (folder / "runs" / "cot").rename(away)
    try:
        outcome = lcot("test", "-c", taught / "config.yaml")
        assert outcome.code == 0, outcome.err
        solver = package.load(taught)
        assert solver.module.taught_by is None
        solver.save_pretrained(tmp_path / "exported")
        assert package.load(tmp_path / "exported").solve(["Is it so?"])
        for command in (["analyze", taught, "--questions", "2"], ["compare", taught]):
            outcome = lcot(*command)
            assert outcome.code == 0, outcome.err
    finally:
        away.rename(folder / "runs" / "cot")
    described = json.loads((tmp_path / "exported" / "lcot.json").read_text())
    assert "teacher" not in described


@pytest.mark.parametrize("method", ["codi", "kava"])
def test_it_takes_the_place_of_the_model_itself(folder: Path, method: str) -> None:
    """The options of docs/ablations.md, behind a method's config."""
    words = ["--model.objectives.teacher.weight=0", f"--model.teacher.path={folder / 'runs' / 'cot'}"]
    config = ["-c", ROOT / "configs" / "methods" / f"{method}.yaml", "--curriculum.schedule.thoughts=4"]
    outcome = fit(folder, "instead", *config, *words, "--trainer.fast_dev_run=true")
    assert outcome.code == 0, outcome.err


def test_a_pretrained_model_teaches(folder: Path, tmp_path: Path) -> None:
    package.load(folder / "runs" / "cot").save_pretrained(tmp_path / "plain")
    (tmp_path / "plain" / "lcot.json").unlink()
    words = [*LEARNS, f"--model.teacher.path={tmp_path / 'plain'}", "--trainer.fast_dev_run=true"]
    outcome = fit(folder, "pretrained", *words)
    assert outcome.code == 0, outcome.err
    (tmp_path / "plain" / "tokenizer.json").unlink()
    outcome = fit(folder, "pretrained", *words)
    assert outcome.code == 2 and "the vocabulary of the teacher" in outcome.block
    assert "data.tokenizer is another" in outcome.block


@pytest.fixture(scope="module")
def others(folder: Path) -> Path:
    """Teachers that do not fit: of other words, of another shape, as a pickle."""
    made = folder / "others"
    package.load(folder / "runs" / "cot").save_pretrained(made / "words")
    (made / "words" / "lcot.json").unlink()
    tokenizer = AutoTokenizer.from_pretrained(made / "words")
    shutil.copytree(made / "words", made / "wide")
    tokenizer.add_tokens(["zebra"])
    tokenizer.save_pretrained(made / "words")
    shape = AutoModelForCausalLM.from_pretrained(made / "wide").config
    shape.num_hidden_layers = 2
    AutoModelForCausalLM.from_config(shape).save_pretrained(made / "wide")  # type: ignore[no-untyped-call]
    (made / "pickle").mkdir()
    shutil.copy(made / "words" / "config.json", made / "pickle")
    (made / "pickle" / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'touch /tmp/never'\ntR.")
    records = [{"question": f"Is {n} odd?", "steps": ["It is."], "answer": str(n)} for n in range(1, 12, 2)]
    data = write_records(folder / "odd.json", *records)
    changes = {"data": {"class_path": "JSONReasoning", "init_args": {f"{one}_path": str(data) for one in SPLITS}}}
    config = write_config(folder, changes, "odd")
    outcome = lcot("fit", "-c", config, "--name", "odd", "--runs_dir", folder / "runs")
    assert outcome.code == 0, outcome.err
    return made


@pytest.mark.parametrize(
    ("teacher", "words", "said"),
    [
        ("runs/cot", ["--model.objectives={t: {class_path: TeacherText}}"], "the objective 't' has the teacher learn"),
        ("runs/cot", ["--model.objectives=null"], "and no objective learns from one"),
        ("runs/odd", [], "a teacher of another vocabulary"),
        ("others/words", [], "a teacher of another vocabulary"),
        ("others/wide", [], "num_hidden_layers 2 ≠ 1"),
        ("others/none", [], "there is no folder"),
        ("others/pickle", [], "its weights are a pickle"),
        ("runs/cot/config.yaml", [], "it is a file"),
        ("runs/cot", ["--model.teacher.revision=main"], "model.teacher.revision is 'main'"),
        ("runs/cot", ["--model.teacher.dtype=int8"], "int8"),
        ("org/never-there", [], "org/never-there"),
    ],
)
def test_what_cannot_teach_is_one_block(
    folder: Path, others: Path, tmp_path: Path, teacher: str, words: list[str], said: str
) -> None:
    place = teacher if teacher.startswith("org") else folder / teacher
    where = ["-c", folder / "tiny.yaml", "--runs_dir", tmp_path / "runs", "--name", "no"]
    outcome = lcot("fit", *where, *LEARNS, f"--model.teacher.path={place}", *words)
    assert outcome.code == 2 and said in outcome.block, outcome.err
    assert "model.backbone.path" not in outcome.block and len(outcome.block.strip().splitlines()) <= 4
    assert not (tmp_path / "runs").exists()


def test_a_teacher_with_a_shorter_context_is_refused(folder: Path) -> None:
    short = ["--model.backbone.config.max_position_embeddings=128", "--trainer.max_epochs=1"]
    outcome = fit(folder, "short", *short, "--curriculum.schedule=Fixed")
    assert outcome.code == 0, outcome.err
    many = ["--curriculum.schedule.thoughts=120", f"--model.teacher.path={folder / 'runs' / 'short'}"]
    outcome = fit(folder, "no", *LEARNS, *many)
    assert outcome.code == 2 and "and the teacher has 128" in outcome.block and "model.teacher" in outcome.block


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("teacher")
    assert run(write_run(folder, short_run())) == 0
    return folder / "runs" / "run"


def short_run(teacher: Path | None = None) -> dict[str, Any]:
    made = settings(batch_size=8, train_size=24)
    if teacher is not None:
        made["model"]["init_args"] |= {
            "teacher": {"path": str(teacher)},
            "objectives": {
                "distillation": {"class_path": "Distillation"},
                "cache": {"class_path": "KeyValueDistillation", "init_args": {"weight": 0.1}},
            },
        }
    made["trainer"]["max_epochs"] = 3
    made["curriculum"]["schedule"]["init_args"]["max_stage"] = 1
    return made


class TestGoingOn:
    """A training that was broken off goes on with the same teacher, to the same bits, or not at all."""

    def test_to_the_same_weights(self, teacher: Path, tmp_path: Path) -> None:
        (tmp_path / "one").mkdir()
        (tmp_path / "other").mkdir()
        one, other = (write_run(tmp_path / name, short_run(teacher)) for name in ("one", "other"))
        assert run(one) == 0
        run(other, sabotage=[in_training(5)])
        assert run(other) == 0
        same_state(last(one), last(other))

    @pytest.mark.distributed
    def test_on_two_processes(self, teacher: Path, tmp_path: Path) -> None:
        assert run(write_run(tmp_path, short_run(teacher)), ranks=2) == 0

    def test_not_with_another_teacher(self, teacher: Path, tmp_path: Path) -> None:
        copy = tmp_path / "copy"
        shutil.copytree(teacher, copy)
        config = write_run(tmp_path, short_run(copy))
        run(config, sabotage=[in_training(5)])
        before = last(config)
        best = pick_checkpoint(copy)
        saved = torch.load(best, weights_only=True)
        saved["state_dict"] = {name: weight + 0.1 for name, weight in saved["state_dict"].items()}
        torch.save(saved, best)
        words = ["fit", "-c", config, "--runs_dir", tmp_path / "runs", "--resume=true"]
        outcome = lcot(*words)
        assert outcome.code == 2 and "the teacher is another one than that of the training" in outcome.block
        assert "its weights have changed since" in outcome.block
        outcome = lcot(*words, "--model.teacher=null")
        assert outcome.code == 2 and "was started with other settings" in outcome.block, outcome.err
        same_state(before, last(config))

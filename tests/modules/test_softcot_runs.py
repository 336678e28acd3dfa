"""Runs of SoftCoT from the command line: what they hold, how they go on, and what they refuse."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors import safe_open

import lcot as package
from lcot.errors import CheckpointError, UserError
from lcot.modules import SoftCoT, assistant
from lcot.modules.backbone import Backbone
from lcot.modules.states import ABOUT, StateStore
from tests import whole_runs
from tests.softcot import ASSISTANT, LLM, LORA, Pair, make_pair, ready, write_model
from tests.tiny import contents, lcot

STEPS = 3
"""Optimizer steps of an epoch."""

KEYS = {"projection.maps.0.weight", "projection.maps.0.bias"}


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """Both models."""
    return make_pair(tmp_path_factory.mktemp("pair"))


def write(folder: Path, config: dict[str, Any], name: str = "soft") -> Path:
    """A config file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def trained(pair: Pair, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run. Copy it before you change it."""
    folder = tmp_path_factory.mktemp("trained")
    before = contents(pair.folder)
    outcome = lcot("fit", "-c", write(folder, pair.settings()), "--runs_dir", folder / "runs")
    assert outcome.code == 0, outcome.err
    assert "eval mode" not in outcome.err and contents(pair.folder) == before
    return folder / "runs" / "soft"


@pytest.fixture
def run(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the run in ``runs/soft``, beside its config; commands start there."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(trained.parent.parent / "soft.yaml", tmp_path)
    return Path(shutil.copytree(trained, tmp_path / "runs" / "soft"))


def refused(*args: object) -> str:
    """The block of a command that must leave everything as it was."""
    before = contents(Path.cwd())
    outcome = lcot(*args)
    assert outcome.code == 2, outcome.err
    assert contents(Path.cwd()) == before
    assert len(outcome.block.splitlines()) <= 5 and "Traceback" not in outcome.err
    return outcome.block


# -- what a run holds -------------------------------------------------------------------------------------------------


def test_checkpoints_hold_the_projection_alone(trained: Path, pair: Pair) -> None:
    frozen = sum((folder / "model.safetensors").stat().st_size for folder in (pair.llm, pair.assistant))
    files = sorted((trained / "checkpoints").glob("*.ckpt"))
    assert files
    for file in files:
        saved = torch.load(file, weights_only=True)
        assert saved["state_dict"].keys() == KEYS
        assert saved["state_dict"]["projection.maps.0.weight"].shape == (32, 24)
        assert file.stat().st_size < frozen / 5
        sources = {name: weights["path"] for name, weights in saved["lcot"]["frozen"].items()}
        assert sources == {"model": str(pair.llm), "assistant_model": str(pair.assistant)}


def test_commands_on_a_run(run: Path) -> None:
    outcome = lcot("fit", "-c", "soft.yaml", "--resume=true", "--trainer.max_epochs=3")
    assert outcome.code == 0, outcome.err
    for command in ("validate", "test", "predict"):
        outcome = lcot(command, "-c", "soft.yaml")
        assert outcome.code == 0, outcome.err
    assert len((run / "predictions.jsonl").read_text().splitlines()) == 5
    report = json.loads((run / "test.json").read_text())
    assert report["metrics"]["test/examples"] == 5 and report["metrics"]["test/thoughts"] == 3


def test_what_is_learned_is_used(run: Path) -> None:
    """Validation's loss is that of the trained projection, not of a new one."""
    losses = []
    for size in (0.0, 0.5):
        for file in (run / "checkpoints").glob("*.ckpt"):
            saved = torch.load(file, weights_only=True)
            saved["state_dict"]["projection.maps.0.weight"] += size
            torch.save(saved, file)
        assert lcot("validate", "-c", "soft.yaml").code == 0
        losses.append(json.loads((run / "validate.json").read_text())["metrics"]["val/loss"])
    assert losses[0] != pytest.approx(losses[1], rel=1e-3)


# -- killed and continued ---------------------------------------------------------------------------------------------


def killed(step: int) -> whole_runs.Sabotage:
    """The process is killed while a training batch is computed."""

    def sabotage() -> None:
        inner = SoftCoT.loss

        def loss(self: SoftCoT, batch: Any) -> Any:
            if self.training and self.trainer.global_step == step:
                whole_runs.die()
            return inner(self, batch)

        whole_runs.replace(SoftCoT, "loss", loss)

    return sabotage


def small_chunks() -> None:
    """States are written to the disk four rows at a time."""
    whole_runs.replace(assistant, "CHUNK", 4)


def killed_while_preparing() -> None:
    """The process is killed when a part of the states is on the disk."""
    inner, calls = StateStore.add, [0]

    def add(self: StateStore, states: Any) -> None:
        calls[0] += 1
        if calls[0] == 3:
            whole_runs.die()
        inner(self, states)

    whole_runs.replace(StateStore, "add", add)


@pytest.mark.parametrize("folder", [False, True])
def test_killed_and_resumed_it_ends_in_the_same_projection(pair: Pair, tmp_path: Path, folder: bool) -> None:
    ends = []
    for name in ("whole", "killed"):
        place = str(tmp_path / name / "states") if folder else None
        config = write(tmp_path / name, pair.settings(model__init_args__states=place), "run")
        every = "--last_checkpoint.every_n_steps=1"
        if name == "killed":
            if folder:
                code = whole_runs.run(config, every, sabotage=[small_chunks, killed_while_preparing])
                assert code == -signal.SIGKILL and len(list(Path(str(place)).glob("*.safetensors"))) == 2
            code = whole_runs.run(config, every, sabotage=[small_chunks, killed(STEPS + 1)])
            assert code == -signal.SIGKILL and whole_runs.last(config)["global_step"] == STEPS + 1
        assert whole_runs.run(config, every, sabotage=[small_chunks]) == 0
        ends.append(whole_runs.last(config))
        if folder:
            files = list(Path(str(place)).glob("*.safetensors"))
            kept = [key for file in files for key in safe_open(file, framework="pt").keys()]  # type: ignore[no-untyped-call]
            assert len(kept) == len(set(kept)) == 15 and (Path(str(place)) / ABOUT).is_file()
    assert ends[0]["global_step"] == 2 * STEPS
    assert whole_runs.same_state(*ends) == []


@pytest.mark.distributed
def test_two_processes_follow_the_curve_of_one(pair: Pair, tmp_path: Path) -> None:
    # A stage without thoughts comes first, rows of two tasks are mixed, and the states are in one folder.
    schedule = {"class_path": "Stepwise", "init_args": {"kind": "soft", "epochs_per_stage": 1, "max_stage": 1}}
    dialogue = {**pair.settings()["data"]["init_args"]["dialogue"], "tasks": ["sums", "rests"]}
    configs = []
    for ranks in (1, 2):
        changes: dict[str, Any] = {"data__init_args__batch_size": 4 // ranks, "data__init_args__dialogue": dialogue}
        changes["model__init_args__states"] = str(tmp_path / str(ranks) / "states")
        config = pair.settings(curriculum__schedule=schedule, **changes)
        configs.append(write(tmp_path / str(ranks), config, "run"))
        assert whole_runs.run(configs[-1], ranks=ranks, sabotage=[small_chunks]) == 0
    losses = [[value for _, value in whole_runs.scalars(config, "train/loss_step")] for config in configs]
    assert len(losses[0]) == 2 * STEPS and losses[1] == pytest.approx(losses[0], rel=1e-5)
    states = [whole_runs.last(config)["state_dict"] for config in configs]
    assert states[0].keys() == states[1].keys() and len(states[0]) == 4
    for name, weight in states[0].items():
        torch.testing.assert_close(states[1][name], weight, rtol=1e-4, atol=1e-5)
    kept = [sorted(file.name for file in (tmp_path / ranks / "states").iterdir()) for ranks in ("1", "2")]
    assert kept[0] == kept[1]


# -- from Python ------------------------------------------------------------------------------------------------------


def answered(run: Path) -> dict[str, tuple[str, str | None]]:
    """What ``predict`` wrote for each question, and the answer that counts."""
    rows = [json.loads(line) for line in (run / "predictions.jsonl").read_text().splitlines()]
    return {row["question"]: (row["output"], row["answer"]) for row in rows}


def test_loaded_it_answers_as_predict_does(run: Path, pair: Pair, tmp_path: Path) -> None:
    assert lcot("predict", "-c", "soft.yaml").code == 0
    expected, solver = answered(run), package.load(run)
    found = solver.solve(list(expected), batch_size=2)
    assert {one.question: (one.text, one.answer) for one in found} == expected
    assert [one.thoughts for one in found] == [3] * 5
    assert [one.thoughts for one in solver.solve(list(expected)[:1], thoughts=0)] == [0]
    again = package.load(solver.save_pretrained(tmp_path / "model"))
    assert again.solve(list(expected), batch_size=2) == found
    with pytest.raises(UserError, match="task is 'sums'"):
        solver.solve(list(expected), task="sums")
    helper: Any = solver.module.assistant_model
    helper.config.max_position_embeddings = 64
    with pytest.raises(UserError, match="and the assistant has 64"):
        solver.solve(list(expected))


def test_with_all_that_may_be_trained(pair: Pair, tmp_path: Path) -> None:
    changes: dict[str, Any] = {"model__init_args__paths": {"count": 3}}
    for part in ("backbone", "assistant"):
        changes[f"model__init_args__{part}__lora"] = LORA.described()
    tasks = {**pair.settings()["data"]["init_args"]["dialogue"], "tasks": ["sums", "rests"]}
    config = write(tmp_path, pair.settings(data__init_args__dialogue=tasks, **changes))
    for command in ("fit", "predict"):
        outcome = lcot(command, "-c", config, "--runs_dir", tmp_path / "runs")
        assert outcome.code == 0, outcome.err
    state = torch.load(tmp_path / "runs/soft/checkpoints/last.ckpt", weights_only=True)["state_dict"]
    kinds = ("projection.", "placeholders", "lora_A", "lora_B")
    assert all(any(kind in name for kind in kinds) for name in state) and len(state) == 4 + 1 + 2 * 8
    expected, solver = answered(tmp_path / "runs/soft"), package.load(tmp_path / "runs/soft")
    for task, remainder in (("sums", 0), ("rests", 1)):
        questions = [question for question in expected if int(question.split()[-1][:-1]) % 2 == remainder]
        found = solver.solve(questions, task=task)
        assert {one.question: (one.text, one.answer) for one in found} == {name: expected[name] for name in questions}
    with pytest.raises(UserError, match="task is None"):
        solver.solve(questions)


def test_models_that_were_moved(run: Path, pair: Pair, tmp_path: Path) -> None:
    expected = package.load(run).solve(["What is 1 with 2?"])
    for file in (run / "checkpoints").glob("*.ckpt"):
        saved = torch.load(file, weights_only=True)
        for weights in saved["lcot"]["frozen"].values():
            weights["path"] = str(tmp_path / "gone")
        saved["lcot"]["dialogue"]["assistant"] = str(tmp_path / "gone")
        torch.save(saved, file)
    with pytest.raises(CheckpointError, match="frozen weights are not where they were") as caught:
        package.load(run, backbone=str(pair.llm))
    assert "model.assistant.path for commands, assistant= for lcot.load" in str(caught.value)
    found = package.load(run, backbone=str(pair.llm), assistant=str(pair.assistant))
    assert found.solve(["What is 1 with 2?"]) == expected
    other = write_model(tmp_path / "other", *ASSISTANT[:2], **{**ASSISTANT[2], "seed": 1})
    with pytest.raises(CheckpointError, match="the frozen weights are others"):
        package.load(run, backbone=str(pair.llm), assistant=str(other))


# -- what does not fit ------------------------------------------------------------------------------------------------


def test_another_model_or_assistant(run: Path, pair: Pair, tmp_path: Path) -> None:
    other, narrow = tmp_path / "other", tmp_path / "narrow"
    write_model(other, *LLM[:2], seed=1)
    write_model(narrow, *ASSISTANT[:2], hidden_size=16, intermediate_size=16)
    said = "the frozen weights are others than those of the training"
    for part, place in (("backbone", other), ("assistant", narrow)):
        block = refused("test", "-c", "soft.yaml", f"--model.{part}.path={place}")
        assert said in block and str(place) in block and f"model.{part}" in block
    assert "then, and is bfloat16 now" in refused("test", "-c", "soft.yaml", "--model.assistant.dtype=bfloat16")


def test_the_same_weights_that_compute_in_another_way(run: Path, pair: Pair, tmp_path: Path) -> None:
    copy = shutil.copytree(pair.assistant, tmp_path / "stretched")
    config = json.loads((copy / "config.json").read_text())
    config["rope_parameters"] = {"rope_type": "default", "rope_theta": 77.0}
    (copy / "config.json").write_text(json.dumps(config))
    block = refused("test", "-c", "soft.yaml", f"--model.assistant.path={copy}")
    assert "trained for another assistant: rope_parameters" in block and "77.0" in block and "model.assistant" in block
    # Nor are states that one of the two made taken for the other's.
    stores = []
    for path in (pair.assistant, copy):
        module, _ = ready(pair, tmp_path, assistant=Backbone(path=str(path)))
        stores.append(module.assistant.store.about)
    assert stores[0]["assistant"] == stores[1]["assistant"] and stores[0]["config"] != stores[1]["config"]


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ("--model.thoughts=random", "projected then, random now"),
        ("--model.paths.count=3", "1 then, 3 now"),
        ("--data.dialogue.tasks=[sums,rests]", "tasks [] then, ['sums', 'rests'] now"),
        ("--model.assistant.lora.rank=4", "frozen then, LoRA of rank 4"),
        ("--model.thoughts=zeros", "frozen then: assistant_model, model; now: model"),
    ],
)
def test_another_way_of_making_thoughts(run: Path, option: str, says: str) -> None:
    assert says in refused("test", "-c", "soft.yaml", option)


def test_a_checkpoint_with_other_keys(run: Path) -> None:
    for file in (run / "checkpoints").glob("*.ckpt"):
        saved = torch.load(file, weights_only=True)
        saved["state_dict"]["projection.maps.1.weight"] = saved["state_dict"].pop("projection.maps.0.bias")
        torch.save(saved, file)
    block = refused("test", "-c", "soft.yaml")
    assert "missing: projection.maps.0.bias; unexpected: projection.maps.1.weight" in block


def test_a_checkpoint_that_does_not_say_what_it_is(run: Path) -> None:
    """Commands and lcot.load refuse it by the same block, and nothing is lost."""
    files = list((run / "checkpoints").glob("*.ckpt"))
    for name, says in (
        ("assistant", "assistant is missing"),
        ("kind", "kind is missing"),
        ("paths", "paths is missing"),
    ):
        for file in files:
            saved = torch.load(file, weights_only=True)
            kept = saved["lcot"].pop(name)
            torch.save(saved, file)
        assert says in refused("test", "-c", "soft.yaml")
        with pytest.raises(CheckpointError, match=says):
            package.load(run)
        for file in files:
            saved = torch.load(file, weights_only=True)
            torch.save({**saved, "lcot": {**saved["lcot"], name: kept}}, file)
    package.load(run)
    saved = torch.load(file, weights_only=True)
    for changes, says in (({"state_dict": None}, "holds no weights"), ({"state_dict": {}}, "missing: projection")):
        torch.save({**saved, **changes}, file)
        with pytest.raises(CheckpointError, match=says):
            package.load(file)


def test_a_folder_of_another_assistant(run: Path) -> None:
    StateStore(Path("states"), {"assistant": "abc"}).add({"k": torch.ones(1, 2)})
    block = refused("test", "-c", "soft.yaml", "--model.states=states")
    assert "states of another assistant" in block and "they are of assistant abc" in block


@pytest.mark.filterwarnings("default::lcot.errors.IgnoredSettingWarning")
@pytest.mark.parametrize(
    ("thoughts", "why"),
    [("zeros", "no assistant makes zeros"), ("words", "the assistant writes words, and no states are kept")],
)
def test_states_where_nobody_is_asked(pair: Pair, tmp_path: Path, thoughts: str, why: str) -> None:
    config = write(tmp_path, pair.settings(model__init_args__thoughts=thoughts))
    outcome = lcot("fit", "-c", config, "--model.states=here", "--runs_dir", tmp_path / "runs")
    assert f"--model.states=here has no effect: {why}" in outcome.err
    assert "there is nothing to train" in outcome.block and not (tmp_path / "runs").exists()


def test_memory_that_is_not_enough(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(error: Exception) -> Callable[..., None]:
        def fail(*_: object, **__: object) -> None:
            raise error

        return fail

    weights, cuda = contents(run / "checkpoints"), "CUDA out of memory. Tried to allocate 2.00 GiB"
    short: Exception = torch.OutOfMemoryError(f"{cuda}. GPU 0 has a total capacity of 9 GiB")
    monkeypatch.setattr("lcot.modules.softcot.supervised_loss", failing(short))
    outcome = lcot("fit", "-c", "soft.yaml", "--resume=true", "--trainer.max_epochs=3")
    assert outcome.code == 2 and "Traceback" not in outcome.err and contents(run / "checkpoints") == weights
    assert "there is not enough memory" in outcome.block and f"{cuda}; what was saved" in outcome.block
    assert "lower data.batch_size" in outcome.block and "activation_checkpointing" in outcome.block
    # That of a CPU has no exception of its own.
    short = RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")
    monkeypatch.setattr("lcot.modules.answering.answered", failing(short))
    assert "lower data.eval_batch_size" in refused("test", "-c", "soft.yaml")
    monkeypatch.setattr("lcot.modules.answering.answered", failing(RuntimeError("something else")))
    with pytest.raises(RuntimeError, match="something else"):
        lcot("test", "-c", "soft.yaml")

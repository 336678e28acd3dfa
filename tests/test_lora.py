"""Runs with LoRA from the command line and from Python: they hold little, and end where they should."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import lcot as package
from lcot.errors import CheckpointError, UserError
from lcot.modules import Backbone
from lcot.modules.frozen import weights_hash
from lcot.modules.stored import pick_checkpoint
from tests import whole_runs
from tests.stand_ins import pretrained
from tests.test_resume import in_training
from tests.tiny import contents, lcot, settings, write_config
from tests.training import tiny_data

WIDE: dict[str, Any] = {"hidden_size": 128, "intermediate_size": 256, "num_key_value_heads": 4}
LORA = {"rank": 2, "alpha": 4, "targets": ["q_proj", "v_proj"], "dropout": 0.1}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pretrained model that knows the words of the tiny data."""
    return pretrained(tmp_path_factory.mktemp("base"), tiny_data().vocabulary(), **WIDE)


def changes(base: Path, **lora: Any) -> dict[str, Any]:
    """What makes the tiny run one with LoRA."""
    backbone = {"path": str(base), "lora": {**LORA, **lora}}
    return {"model.init_args.backbone": backbone, "data.init_args.tokenizer": str(base)}


@pytest.fixture(scope="module")
def tuned(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run. Copy it before you change it."""
    folder = tmp_path_factory.mktemp("tuned")
    optimizer = {"class_path": "torch.optim.AdamW", "init_args": {"lr": 0.1}}
    config = write_config(folder, {**changes(base), "model.init_args.optimizer": optimizer})
    before = contents(base)
    outcome = lcot("fit", "-c", config, "--runs_dir", folder / "runs")
    assert outcome.code == 0, outcome.err
    assert contents(base) == before
    return folder / "runs" / "tiny"


@pytest.fixture
def run(tuned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the run in ``runs/tiny``, beside its config; commands start there."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(tuned.parent.parent / "tiny.yaml", tmp_path)
    return Path(shutil.copytree(tuned, tmp_path / "runs" / "tiny"))


def refused(*args: object) -> str:
    """The block of a command that must leave everything as it was."""
    before = contents(Path.cwd())
    outcome = lcot(*args)
    assert outcome.code == 2, outcome.err
    assert contents(Path.cwd()) == before
    return outcome.block


# -- what a run holds -------------------------------------------------------------------------------------------------


def test_checkpoints_hold_what_was_trained_and_say_what_was_not(tuned: Path, base: Path) -> None:
    weights = (base / "model.safetensors").stat().st_size
    files = sorted((tuned / "checkpoints").glob("*.ckpt"))
    assert [file.name.partition("-")[0] for file in files] == ["best", "best", "last.ckpt"]
    for file in files:
        assert file.stat().st_size < weights / 8
        saved = torch.load(file, weights_only=True)
        kinds = {"lora_A", "lora_B", "rows"}
        assert len(saved["state_dict"]) == 2 * 2 * 2 + 2
        assert all(kinds & set(name.split(".")) for name in saved["state_dict"])
        assert saved["lcot"]["lora"] == LORA
        frozen = saved["lcot"]["frozen"]["model"]
        assert (frozen["path"], frozen["revision"]) == (str(base.resolve()), None)


def test_it_learned_something(tuned: Path) -> None:
    state = torch.load(tuned / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    assert all(weight.any() for name, weight in state.items() if "lora_B" in name)


# -- going on ---------------------------------------------------------------------------------------------------------


def test_killed_and_resumed_it_ends_in_the_same_weights(base: Path, tmp_path: Path) -> None:
    ends = []
    for name in ("whole", "killed"):
        config = whole_runs.settings(tokenizer=str(base))
        config["model"]["init_args"]["backbone"] = {"path": str(base), "lora": LORA}
        config["trainer"]["max_epochs"] = 2
        config["curriculum"]["schedule"]["init_args"]["max_stage"] = 1
        (tmp_path / name).mkdir()
        path = whole_runs.write_config(tmp_path / name, config)
        if name == "killed":  # in the second stage
            code = whole_runs.run(path, "--last_checkpoint.every_n_steps=2", sabotage=[in_training(9)])
            assert code == -signal.SIGKILL and whole_runs.last(path)["global_step"] == 8
        assert whole_runs.run(path, "--last_checkpoint.every_n_steps=2") == 0
        ends.append(whole_runs.last(path))
    assert ends[0]["global_step"] == 2 * whole_runs.STEPS
    assert whole_runs.same_state(*ends) == []


@pytest.mark.distributed
def test_two_processes_follow_the_curve_of_one(base: Path, tmp_path: Path) -> None:
    configs = []
    for ranks in (1, 2):
        config = whole_runs.settings(tokenizer=str(base), batch_size=8 // ranks, train_size=45)
        config["model"]["init_args"]["backbone"] = {"path": str(base), "lora": {**LORA, "dropout": 0.0}}
        config["model"]["init_args"]["optimizer"]["init_args"].update(lr=3e-3, eps=1e-4)
        config["trainer"]["max_epochs"] = 2
        config["curriculum"]["schedule"]["init_args"]["max_stage"] = 1
        (tmp_path / str(ranks)).mkdir()
        configs.append(whole_runs.write_config(tmp_path / str(ranks), config))
        assert whole_runs.run(configs[-1], ranks=ranks) == 0
    losses = [[value for _, value in whole_runs.scalars(config, "train/loss_step")] for config in configs]
    assert len(losses[0]) == 2 * whole_runs.STEPS and losses[1] == pytest.approx(losses[0], rel=1e-4)
    weights, others = (whole_runs.last(config)["state_dict"] for config in configs)
    assert weights.keys() == others.keys()
    for name, weight in weights.items():
        torch.testing.assert_close(others[name], weight, rtol=1e-3, atol=1e-4)


def test_commands_on_a_run(run: Path) -> None:
    outcome = lcot("fit", "-c", "tiny.yaml", "--resume=true", "--trainer.max_epochs=3")
    assert outcome.code == 0, outcome.err
    for command in ("validate", "test", "predict"):
        outcome = lcot(command, "-c", "tiny.yaml")
        assert outcome.code == 0, outcome.err


# -- from Python ------------------------------------------------------------------------------------------------------


def test_loaded_and_exported_it_answers_as_predict_does(run: Path, base: Path, tmp_path: Path) -> None:
    assert lcot("predict", "-c", "tiny.yaml").code == 0
    rows = [json.loads(line) for line in (run / "predictions.jsonl").read_text().splitlines()]
    questions = [row["question"] for row in rows]
    solver = package.load(run)
    assert [solution.text for solution in solver.solve(questions)] == [row["output"] for row in rows]
    assert solver.module.model is not None
    before = weights_hash(solver.module.model)
    folder = solver.save_pretrained(tmp_path / "model")
    assert weights_hash(solver.module.model) == before
    assert package.load(folder).solve(questions) == solver.solve(questions)
    # A plain model, larger than what it began as by the thought tokens only.
    plain, start = (AutoModelForCausalLM.from_pretrained(place) for place in (folder, base))
    assert plain.state_dict().keys() == start.state_dict().keys()
    assert len(AutoTokenizer.from_pretrained(folder)) == plain.config.vocab_size == start.config.vocab_size + 4
    changed = {name for name, w in plain.state_dict().items() if not torch.equal(w[: len(w)], start.state_dict()[name])}
    assert {name.split(".")[-2] for name in changed} == {"q_proj", "v_proj", "embed_tokens", "lm_head"}
    name = "model.embed_tokens.weight"
    assert torch.equal(plain.state_dict()[name][: start.config.vocab_size], start.state_dict()[name])


@pytest.mark.parametrize("lora", [None, LORA], ids=["whole", "lora again"])
def test_another_run_can_start_from_it(tuned: Path, tmp_path: Path, lora: Any) -> None:
    solver = package.load(tuned)
    start = solver.save_pretrained(tmp_path / "model")
    model = Backbone(path=str(tuned)).build(solver.tokenizer, solver.special, seed=3)
    for name, weight in AutoModelForCausalLM.from_pretrained(start).state_dict().items():
        assert torch.equal(model.state_dict()[name], weight), name
    assert all(parameter.requires_grad for parameter in model.parameters())
    backbone = {"path": str(tuned), "lora": lora}
    tokenizer = {"data.init_args.tokenizer": str(tuned / "tokenizer")}
    config = write_config(tmp_path, {"model.init_args.backbone": backbone, **tokenizer})
    outcome = lcot("fit", "-c", config, "--runs_dir", tmp_path / "runs")
    assert outcome.code == 0, outcome.err
    again = package.load(tmp_path / "runs" / "tiny")
    assert len(again.solve(["Tom impus. Max?"])) == 1
    assert bool(again.module.frozen) == bool(lora)
    if lora:
        assert again.module.frozen["model"].path == str(tuned.resolve())


@pytest.mark.parametrize("method", ["lora", "coconut_lora"])
def test_methods_run_over_a_run_of_one_s_own(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(trained, tmp_path / "runs" / "cot")
    # The data's config describes a model from scratch, and the method's is laid over it.
    write_config(tmp_path, {"curriculum": ..., "trainer.max_epochs": 3})
    schedule = ["--curriculum.schedule.epochs_per_stage=1", "--curriculum.schedule.max_stage=1"]
    words = ["-c", "tiny.yaml", "-c", method, *(schedule if method == "coconut_lora" else [])]
    assert "--model.backbone='{path: runs/" in refused("fit", *words, "--model.backbone.path=runs/cot")
    outcome = lcot("fit", *words, "--name", method, "--model.backbone={path: runs/cot, config: null}")
    assert outcome.code == 0, outcome.err
    saved = torch.load(pick_checkpoint(tmp_path / "runs" / method), weights_only=True)
    assert saved["lcot"]["frozen"]["model"]["path"] == str(tmp_path / "runs" / "cot")
    assert saved["lcot"]["lora"]["rank"] == 16
    assert all(".lora_" in name or name.endswith(".rows") for name in saved["state_dict"])
    for command in ("test", "predict"):
        assert lcot(command, "-c", f"runs/{method}/config.yaml").code == 0
    # Its weights are those of that run: trained on, they are others.
    shutil.rmtree(tmp_path / "runs" / "cot")
    write_config(tmp_path, {"seed_everything": 7, "trainer.max_epochs": 2})
    assert lcot("fit", "-c", "tiny.yaml", "--name=cot").code == 0
    assert "are others than those of the training" in refused("test", "-c", f"runs/{method}/config.yaml")


# -- weights that are not what or where they were ----------------------------------------------------------------------


@pytest.fixture
def moved(run: Path, base: Path, tmp_path: Path) -> Path:
    """A place that the run's weights were moved to; they are where they were when the test is over."""
    place = tmp_path / "elsewhere"
    shutil.copytree(base, place)
    config = (run / "config.yaml").read_text()
    for file in (run / "config.yaml", tmp_path / "tiny.yaml"):
        file.write_text(file.read_text().replace(str(base), "./gone"))
    assert "./gone" in (run / "config.yaml").read_text() != config
    for file in (run / "checkpoints").glob("*.ckpt"):
        saved = torch.load(file, weights_only=True)
        saved["lcot"]["frozen"]["model"]["path"] = str(tmp_path / "gone")
        torch.save(saved, file)
    return place


def test_weights_that_are_gone(run: Path, moved: Path) -> None:
    with pytest.raises(CheckpointError, match="frozen weights are not where they were") as caught:
        package.load(run)
    assert str(Path.cwd() / "gone") in str(caught.value) and "backbone=" in str(caught.value)
    here = f"--data.tokenizer={moved}"
    block = refused("test", "-c", "tiny.yaml", here)
    assert "the model './gone' could not be loaded" in block and "model.backbone.path" in block
    assert lcot("test", "-c", "tiny.yaml", here, f"--model.backbone.path={moved}").code == 0
    assert len(package.load(run, backbone=str(moved)).solve(["Tom impus. Max?"])) == 1
    with pytest.raises(CheckpointError, match="frozen weights are not where they were"):
        solver = package.load(run, backbone=str(moved))
        Backbone(path=str(run)).build(solver.tokenizer, solver.special, seed=0)


def test_other_weights(run: Path, base: Path, tmp_path: Path) -> None:
    other = pretrained(tmp_path / "other", tiny_data().vocabulary(), seed=1, **WIDE)
    said = "the frozen weights are others than those of the training"
    block = refused("test", "-c", "tiny.yaml", f"--model.backbone.path={other}")
    assert said in block and f"{str(base.resolve())!r} then, {str(other)!r} now" in block
    with pytest.raises(CheckpointError, match=said):
        package.load(run, backbone=str(other))
    assert "float32 then, and is bfloat16 now" in refused("test", "-c", "tiny.yaml", "--model.backbone.dtype=bfloat16")


def test_other_weights_below_a_run_that_another_starts_from(run: Path, base: Path, tmp_path: Path) -> None:
    solver = package.load(run)
    copied = shutil.copytree(base, tmp_path / "copied")
    for file in (run / "checkpoints").glob("*.ckpt"):
        saved = torch.load(file, weights_only=True)
        saved["lcot"]["frozen"]["model"]["path"] = str(copied)
        torch.save(saved, file)
    Backbone(path=str(run)).build(solver.tokenizer, solver.special, seed=0)
    pretrained(copied, tiny_data().vocabulary(), seed=1, **WIDE)
    with pytest.raises(CheckpointError, match="the frozen weights are others"):
        Backbone(path=str(run)).build(solver.tokenizer, solver.special, seed=0)


# -- settings and checkpoints that do not fit --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ("--model.backbone.lora.rank=3", "LoRA of rank 2, alpha 4, on q_proj, v_proj, and the config LoRA of rank 3"),
        ("--model.backbone.lora.targets=[q_proj]", "and the config LoRA of rank 2, alpha 4, on q_proj"),
    ],
)
def test_another_lora(run: Path, option: str, says: str) -> None:
    assert says in refused("test", "-c", "tiny.yaml", option)


def test_no_lora_any_more(run: Path, base: Path, tmp_path: Path) -> None:
    write_config(tmp_path, {**changes(base), "model.init_args.backbone": {"path": str(base)}})
    assert "and the config no LoRA" in refused("test", "-c", "tiny.yaml")


def test_dropout_matters_to_training_only(run: Path) -> None:
    assert lcot("test", "-c", "tiny.yaml", "--model.backbone.lora.dropout=0.5").code == 0
    assert "lora" in refused(
        "fit", "-c", "tiny.yaml", "--model.backbone.lora.dropout=0.5", "--resume=true", "--trainer.max_epochs=3"
    )


def test_a_checkpoint_with_all_weights(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(trained, tmp_path / "runs" / "tiny")
    write_config(tmp_path, {"model.init_args.backbone": {"path": str(trained), "lora": LORA}})
    assert "the checkpoint has no LoRA, and the config LoRA of rank 2" in refused("test", "-c", "tiny.yaml")
    with pytest.raises(UserError, match="has no frozen weights"):
        package.load(trained, backbone=str(trained))
    # It is what LoRA may begin with, all the same.
    outcome = lcot("fit", "-c", "tiny.yaml", "--name=lora")
    assert outcome.code == 0, outcome.err
    solver = package.load("runs/lora")
    assert solver.module.frozen["model"].path == str(trained.resolve())
    assert len(solver.solve(["Tom impus. Max?"])) == 1


def test_a_checkpoint_that_lacks_a_weight(run: Path) -> None:
    file = pick_checkpoint(run)
    saved = torch.load(file, weights_only=True)
    del saved["state_dict"]["model.model.embed_tokens.rows"]
    saved["state_dict"]["model.model.norm.weight"] = torch.ones(128)
    torch.save(saved, file)
    says = "missing: model.model.embed_tokens.rows; unexpected: model.model.norm.weight"
    assert says in refused("test", "-c", "tiny.yaml")
    with pytest.raises(CheckpointError) as caught:
        package.load(run)
    assert says in str(caught.value)


def test_what_cannot_be_meant(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_config(tmp_path, changes(base, targets=["q_proj", "query"]))
    block = refused("fit", "-c", "tiny.yaml")
    assert "no linear layer of the model is named query" in block and "k_proj" in block
    block = refused("fit", "-c", "tiny.yaml", "--model.backbone.lora.rank=0")
    assert "rank 0" in block and "model.backbone.lora" in block
    block = refused("fit", "-c", "tiny.yaml", "--model.backbone.revision=main")
    assert "only models on the Hub have revisions" in block
    fresh = settings()["model"]["init_args"]["backbone"]["config"]
    write_config(tmp_path, {"model.init_args.backbone": {"config": fresh, "lora": LORA}})
    block = refused("fit", "-c", "tiny.yaml")
    assert "model.backbone.lora with model.backbone.config" in block and "are random" in block
    write_config(tmp_path)
    assert "only models on the Hub" in refused("fit", "-c", "tiny.yaml", "--model.backbone.revision=main")

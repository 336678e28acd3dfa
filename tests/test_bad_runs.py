"""Commands on a run that cannot be done, or break off: they say why in one block, and nothing is lost."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from lightning import Trainer

from lcot.modules import coconut
from lcot.reasoning.think import supervised_loss
from lcot.runs.folder import RunFolder
from tests.tiny import contents, lcot, settings, write_config


@pytest.fixture
def run(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the finished run in ``runs/tiny``; commands start beside it."""
    monkeypatch.chdir(tmp_path)
    write_config(tmp_path)
    return Path(shutil.copytree(trained, tmp_path / "runs" / "tiny"))


def refused(*args: object) -> str:
    """The block of a command that must leave everything as it was."""
    before = contents(Path.cwd())
    outcome = lcot(*args)
    assert outcome.code == 2, outcome.err
    assert contents(Path.cwd()) == before
    assert len(outcome.block.splitlines()) <= 5 and "Traceback" not in outcome.err
    return outcome.block


MORE = ("--resume=true", "--trainer.max_epochs=3")
FIT = ("fit", "-c", "tiny.yaml")


def test_a_second_run_does_not_go_into_the_folder_of_the_first(run: Path) -> None:
    assert "already holds a run" in refused(*FIT)


def test_a_run_goes_on_with_its_own_settings_only(run: Path) -> None:
    block = refused(*FIT, *MORE, "--data.batch_size=4")
    assert "data.batch_size (--data.batch_size=4): 6 then, 4 now" in block and "--name" in block


def test_a_run_does_not_go_on_with_another_method(run: Path) -> None:
    assert "Stepwise then, Fixed now" in refused(*FIT, *MORE, "--curriculum.schedule=Fixed")


def test_a_run_does_not_go_on_with_other_numbers_of_batches_or_processes(run: Path) -> None:
    assert "trainer.limit_train_batches" in refused(*FIT, *MORE, "--trainer.limit_train_batches=1")
    last = run / "checkpoints" / "last.ckpt"
    saved = torch.load(last, weights_only=True)
    assert saved["lcot"]["world_size"] == 1
    saved["lcot"]["world_size"] = 4
    torch.save(saved, last)
    assert "was trained with 4 processes, and there are 1 now" in refused(*FIT, *MORE)
    assert lcot("test", "-c", "tiny.yaml", "--ckpt_path=last").code == 0


def test_a_run_does_not_go_back(run: Path) -> None:
    block = refused(*FIT, "--resume=true", "--trainer.max_epochs=1", "--curriculum.schedule.max_stage=1")
    assert "max_epochs is 1" in block and "2 epochs behind it" in block


@pytest.mark.parametrize("options", [MORE, ("--ckpt_path=runs/tiny/checkpoints/last.ckpt",)])
def test_a_trial_begins_anew_and_says_so(run: Path, options: tuple[str, ...]) -> None:
    before = contents(run)
    outcome = lcot(*FIT, *options, "--trainer.fast_dev_run=true")
    assert outcome.code == 0 and "tries the settings on a model that begins anew" in outcome.err, outcome.err
    assert contents(run) == before
    if options is MORE:  # what could not be continued is no trial of it either
        assert "6 then, 4 now" in refused(*FIT, *MORE, "--data.batch_size=4", "--trainer.fast_dev_run=true")


def test_resuming_and_a_checkpoint_are_two_starts(run: Path) -> None:
    assert "give one" in refused(*FIT, *MORE, f"--ckpt_path={run / 'checkpoints' / 'last.ckpt'}")


@pytest.mark.parametrize("size", [0, 100, 5000])
def test_a_truncated_checkpoint_is_named_beside_the_others(run: Path, size: int) -> None:
    last = run / "checkpoints" / "last.ckpt"
    os.truncate(last, size)
    block = refused(*FIT, *MORE)
    assert "last.ckpt' cannot be read" in block and "best-stage1" in block


def test_a_checkpoint_of_another_framework(run: Path) -> None:
    torch.save({"state_dict": {}}, run / "checkpoints" / "last.ckpt")
    assert "was not written by lcot" in refused(*FIT, *MORE)


def test_a_checkpoint_of_weights_alone(run: Path) -> None:
    saved = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    torch.save({name: saved[name] for name in ("lcot", "state_dict", "epoch", "global_step")}, "weights.ckpt")
    block = refused("fit", "-c", "tiny.yaml", "--name=other", "--ckpt_path=weights.ckpt")
    assert "holds weights, and nothing of the training" in block


@pytest.mark.parametrize("part", ["callbacks", "optimizer_states"])
def test_what_a_checkpoint_says_of_the_training_must_be_of_its_kind(run: Path, part: str) -> None:
    last = run / "checkpoints" / "last.ckpt"
    saved = torch.load(last, weights_only=True)
    other = dict.fromkeys(saved["callbacks"], 3) if part == "callbacks" else [{}]
    torch.save({**saved, part: other}, last)
    assert "the checkpoint cannot be taken up" in refused(*FIT, *MORE)


def test_a_checkpoint_that_would_run_code(run: Path) -> None:
    torch.save({"lcot": Path("x")}, run / "checkpoints" / "last.ckpt")
    assert "cannot be read" in refused("test", "-c", "tiny.yaml", "--ckpt_path=last")


def test_a_checkpoint_of_another_model(run: Path) -> None:
    block = refused("test", "-c", "tiny.yaml", "--model.backbone.config.hidden_size=8")
    assert "another model" in block and "hidden_size 16 ≠ 8" in block


def test_a_new_run_from_a_checkpoint_of_another_model_leaves_no_folder(run: Path) -> None:
    start = f"--ckpt_path={run / 'checkpoints' / 'last.ckpt'}"
    block = refused(*FIT, "--name=new", start, "--trainer.max_epochs=3", "--model.backbone.config.hidden_size=8")
    assert "another model" in block and "hidden_size 16 ≠ 8" in block


def test_a_checkpoint_without_the_classifier_of_the_config(run: Path) -> None:
    block = refused("test", "-c", "tiny.yaml", "--model.halting.weight=1")
    assert "has no classifier, and the config has a classifier" in block and "--model.halting.weight=1" in block


def test_a_checkpoint_of_another_tokenizer(run: Path) -> None:
    shutil.copytree(run / "tokenizer", "other")
    file = Path("other/tokenizer.json")
    described = json.loads(file.read_text())
    described["model"]["vocab"]["another"] = len(described["model"]["vocab"]) + 90
    file.write_text(json.dumps(described))
    assert "another tokenizer" in refused("test", "-c", "tiny.yaml", "--data.tokenizer=./other")


def test_a_checkpoint_of_another_method(run: Path) -> None:
    block = refused("test", "-c", "tiny.yaml", "--curriculum.schedule.kind=pause")
    assert "1 continuous thought between markers" in block and "1 pause thought" in block and "config.yaml" in block


def test_a_checkpoint_of_other_passes(run: Path) -> None:
    single = "--curriculum.schedule.passes=single"
    block = refused("test", "-c", "tiny.yaml", single)
    assert "1 continuous thought between markers" in block and "in a single pass between markers" in block
    block = refused("test", "-c", "tiny.yaml", single, "--curriculum.eval_stage=0")
    assert "continuous thoughts, markers 'always'" in block and "continuous thoughts in a single pass" in block


def test_a_run_of_a_version_that_did_not_know_a_setting(run: Path) -> None:
    config = run / "config.yaml"
    settings = yaml.safe_load(config.read_text())
    del settings["curriculum"]["schedule"]["init_args"]["mix_weights"]
    config.write_text(yaml.safe_dump(settings))
    block = refused(*FIT, *MORE, "--curriculum.schedule.mix_weights=linear")
    assert "curriculum.schedule.mix_weights (" in block and "its default then, 'linear' now" in block
    assert lcot(*FIT, *MORE, "--trainer.fast_dev_run=true").code == 0


def test_how_answers_are_chosen_does_not_matter_to_training(run: Path) -> None:
    config = run / "config.yaml"
    settings = yaml.safe_load(config.read_text())
    del settings["model"]["init_args"]["voting"]
    config.write_text(yaml.safe_dump(settings))
    outcome = lcot(*FIT, *MORE, "--model.voting.samples=3", "--model.sampling.temperature=0.5")
    assert outcome.code == 0, outcome.err


def test_a_checkpoint_of_other_texts(run: Path) -> None:
    block = refused("test", "-c", "tiny.yaml", "--data.text.before_answer=ANSWER: ")
    assert "before_answer '### ' then, 'ANSWER: ' now" in block and "config.yaml" in block
    assert "--data.text.before_answer=ANSWER: " in block


def test_a_checkpoint_of_a_newer_version(run: Path) -> None:
    last = run / "checkpoints" / "last.ckpt"
    saved = torch.load(last, weights_only=True)
    saved["lcot"]["format"] += 1
    torch.save(saved, last)
    assert "written by a newer lcot" in refused(*FIT, *MORE)
    assert "written by a newer lcot" in refused("test", "-c", "tiny.yaml", "--ckpt_path=last")


def test_a_checkpoint_that_is_not_there(run: Path) -> None:
    assert "there is no checkpoint 'nope.ckpt'" in refused("predict", "-c", "tiny.yaml", "--ckpt_path=nope.ckpt")


def test_a_run_that_is_not_there(run: Path) -> None:
    block = refused("validate", "-c", "tiny.yaml", "--name=tinny")
    assert "no run at 'runs/tinny'" in block and "runs there: tiny" in block


def test_a_stage_that_is_not_there(run: Path) -> None:
    assert "eval_stage is 7" in refused("test", "-c", "tiny.yaml", "--curriculum.eval_stage=7")


DAMAGED = {
    "empty": "",
    "scalar": "42\n",
    "list": "- model\n",
    "cut": "model: {class_path: lcot.modules.Coconut, init_args: {backb",
    "no text": b"\xff\xfe\x00",
    "foreign": "services:\n  web: {image: nginx}\n",
    "no data": "model: {class_path: a.B}\ncurriculum: {}\ntrainer: {}\n",
    "a section that is none": "model: 3\ndata: 4\ncurriculum: 5\ntrainer: 6\n",
    "options that are none": "model: {class_path: a.B, init_args: 3}\ndata: {}\ncurriculum: {}\ntrainer: {}\n",
    "deep": "model: " + "[" * 5000 + "]" * 5000,
    "itself": "model: &a {class_path: a.B, init_args: *a}\ndata: *a\ncurriculum: {}\ntrainer: {}\n",
    "a long number": f"seed_everything: {'9' * 5000}\n",
    "no date": "model: 2026-13-45\n",
}


@pytest.mark.parametrize("text", DAMAGED.values(), ids=DAMAGED)
def test_a_config_that_is_damaged_is_named_by_every_command(run: Path, text: str | bytes) -> None:
    config = run / "config.yaml"
    config.write_bytes(text if isinstance(text, bytes) else text.encode())
    for words in ((*FIT, *MORE), *((word, "-c", "tiny.yaml") for word in ("test", "predict")), ("compare", run)):
        assert "config.yaml" in refused(*words)
    for words in (("analyze", run), ("test", "-c", config), (*FIT[:1], "-c", config, "--resume=true")):
        assert refused(*words)


# -- the disk ---------------------------------------------------------------------------------------------------------


def failing(code: int) -> Callable[..., Any]:
    """A function that fails like a system call."""

    def fail(*args: object, **kwargs: object) -> None:
        raise OSError(code, os.strerror(code), "runs/tiny/file")

    return fail


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES, errno.ENOSPC])
def test_a_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    monkeypatch.chdir(tmp_path)
    write_config(tmp_path)
    monkeypatch.setattr(Path, "write_bytes", failing(code))
    block = refused(*FIT)
    assert "nothing can be written to 'runs/tiny'" in block and os.strerror(code) in block


def test_a_file_where_the_folder_should_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_config(tmp_path)
    (tmp_path / "runs").write_text("")
    assert "nothing can be written to 'runs/tiny'" in refused(*FIT)


def test_a_disk_that_fills_up_loses_no_checkpoint(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = contents(run / "checkpoints")
    monkeypatch.setattr(Trainer, "save_checkpoint", failing(errno.ENOSPC))
    outcome = lcot(*FIT, *MORE)
    assert outcome.code == 2
    assert "No space left on device" in outcome.block and "make room, then continue with --resume=true" in outcome.block
    assert contents(run / "checkpoints") == before
    monkeypatch.undo()
    monkeypatch.chdir(run.parent.parent)
    assert lcot(*FIT, *MORE).code == 0


def test_a_file_that_may_not_be_read_is_not_one_that_could_not_be_written(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RunFolder, "start_from", failing(errno.EACCES))
    block = refused(*FIT, *MORE)
    assert "could not be read or written: Permission denied" in block and "allow that, then continue" in block


def test_a_disk_that_fills_up_leaves_the_older_predictions(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    predictions = run / "predictions.jsonl"
    predictions.write_text("older\n")
    monkeypatch.setattr(os, "replace", failing(errno.ENOSPC))
    assert "No space left on device" in refused("predict", "-c", "tiny.yaml")
    assert predictions.read_text() == "older\n"


# -- training ---------------------------------------------------------------------------------------------------------


def poisoned(*args: Any) -> tuple[torch.Tensor, int]:
    """A loss that is not a number."""
    summed, tokens = supervised_loss(*args)
    return summed * float("nan"), tokens


def test_a_loss_that_is_not_a_number_stops_before_the_step(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coconut, "supervised_loss", poisoned)
    before = contents(run / "checkpoints")
    outcome = lcot(*FIT, *MORE)
    assert outcome.code == 2
    assert "the training loss is nan" in outcome.block and "epoch 2, batch 0, learning rate 1.00e-04" in outcome.block
    assert contents(run / "checkpoints") == before


def test_a_run_without_a_checkpoint_starts_anew_with_other_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_config(tmp_path)
    with monkeypatch.context() as patches:
        patches.setattr(coconut, "supervised_loss", poisoned)
        outcome = lcot(*FIT, "--model.optimizer=SGD", "--model.optimizer.lr=7")
    assert outcome.code == 2 and "lower the learning rate" in outcome.block
    assert "start it anew" in refused(*FIT)
    assert lcot(*FIT, "--resume=true").code == 0
    written = yaml.safe_load(Path("runs/tiny/config.yaml").read_text())
    assert written["model"]["init_args"]["optimizer"]["class_path"] == "torch.optim.AdamW"


def test_an_answer_that_cannot_be_extracted_is_counted_as_wrong(run: Path) -> None:
    assert lcot("test", "-c", "tiny.yaml").code == 0
    assert lcot("predict", "-c", "tiny.yaml").code == 0
    rows = [json.loads(line) for line in (run / "predictions.jsonl").read_text().splitlines()]
    metrics = json.loads((run / "test.json").read_text())["metrics"]
    assert any(row["answer"] is None and not row["correct"] for row in rows)
    assert metrics["test/examples"] == len(rows) == settings()["data"]["init_args"]["test_size"]
    assert metrics["test/accuracy"] == sum(row["correct"] for row in rows) / len(rows)


def test_a_fault_of_ours_keeps_its_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_config(tmp_path)

    def fail(*args: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(RunFolder, "start_from", fail)
    before = contents(tmp_path)
    with pytest.raises(ZeroDivisionError):
        lcot(*FIT)
    assert contents(tmp_path) == before

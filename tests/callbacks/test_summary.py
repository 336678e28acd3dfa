"""What ``fit`` says first and last."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lcot.callbacks.summary import BOARD, span
from tests.tiny import lcot, write_config


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_config(tmp_path)
    return tmp_path


def block(text: str, head: str) -> dict[str, str]:
    """The rows of a block by their names."""
    lines = text.partition(head)[2].splitlines()[1:]
    rows = {}
    for line in lines:
        if not line.startswith("  "):
            break
        rows[line[2:13].strip()] = line[14:]
    return rows


def test_a_block_before_the_first_step_and_one_behind_the_last() -> None:
    outcome = lcot("fit", "-c", "tiny.yaml", "--threads=1")
    assert outcome.code == 0, outcome.err
    first = block(outcome.err, "training tiny, in runs/tiny")
    parameters = re.fullmatch(r"Coconut of llama, ([\d,]+) parameters trained, 0 frozen", first["model"])
    assert parameters is not None and int(parameters[1].replace(",", "")) > 100
    assert first["data"] == "ProsQA, 12 examples and 5 for validation" and first["an epoch"] == "2 batches of 6"
    assert first["stages"] == "2 in 2 epochs (1, 1)"
    assert first["device"].startswith("cpu (") and first["device"].endswith("), 1 thread, precision 32-true")
    assert re.search(r"^the first epoch took \d+ s: about \d+ s or more for the other 1$", outcome.err, re.MULTILINE)
    last = block(outcome.err, "done: 2 epochs, 4 steps")
    assert re.fullmatch(r"\d+\.\d, \d+\.\d % in validation, stages 0 to 1", last["best"])
    assert re.fullmatch(r"\d+ s of training, at most [\d,]+ MiB of memory", last["cost"])
    assert Path(last["checkpoint"]).is_file() and "best-stage1" in last["checkpoint"]
    assert last["next"] == "lcot test -c runs/tiny/config.yaml" and last["curves"] == "tensorboard --logdir runs"
    assert last[""] == BOARD
    assert outcome.err.index("training tiny") < outcome.err.index("epoch 0:") < outcome.err.index("done: 2 epochs")
    assert lcot(*last["next"].split()[1:]).code == 0


def test_a_run_that_goes_on_tells_of_all_its_stages() -> None:
    assert lcot("fit", "-c", "tiny.yaml", "--trainer.logger=false").code == 0
    outcome = lcot("fit", "-c", "tiny.yaml", "--resume=true", "--trainer.max_epochs=3", "--trainer.logger=false")
    last = block(outcome.err, "done: 3 epochs, 6 steps")
    assert last["best"].endswith("stages 0 to 1") and "curves" not in last
    assert "for the other" not in outcome.err
    again = lcot("fit", "-c", "tiny.yaml", "--resume=true", "--trainer.max_epochs=3", "--trainer.logger=false")
    assert "done: " not in again.err and "training tiny" not in again.err


def test_a_run_that_is_stopped_says_so() -> None:
    early = (
        "--trainer.callbacks+=EarlyStopping",
        "--trainer.callbacks.monitor=val/loss",
        "--trainer.callbacks.mode=max",
    )
    outcome = lcot("fit", "-c", "tiny.yaml", *early, "--trainer.callbacks.patience=1", "--trainer.max_epochs=9")
    assert "stopped after 2 of 9 epochs, 4 steps\n" in outcome.err, outcome.err


def test_a_trial_says_that_it_writes_nothing() -> None:
    outcome = lcot("fit", "-c", "tiny.yaml", "--trainer.fast_dev_run=true")
    assert outcome.code == 0 and "training tiny, a trial that writes nothing\n" in outcome.err
    assert "done: " not in outcome.err and not Path("runs").exists()


def test_spans() -> None:
    assert [span(seconds) for seconds in (3.2, 89, 95, 600, 7500)] == ["3 s", "89 s", "2 min", "10 min", "2 h 5 min"]


def test_a_trial_goes_through_the_last_stage_and_keeps_nothing(tmp_path: Path) -> None:
    outcome = lcot("fit", "-c", write_config(tmp_path), "--runs_dir", tmp_path / "runs", "--trainer.fast_dev_run=2")
    assert outcome.code == 0, outcome.err
    assert "epoch 0: stage 1 of 1, 1 thought" in outcome.err
    assert (
        "the trial went well: 2 steps of training in the last stage, and a validation; nothing was kept" in outcome.err
    )
    assert "limit_train_batches" not in outcome.err and "max_epochs is" not in outcome.err
    assert not (tmp_path / "runs").exists()

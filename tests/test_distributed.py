"""Several processes train as one does on the same global batch, and count each example exactly once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from lcot.cli.main import STOPPED
from lcot.modules.coconut import Coconut
from lcot.modules.evaluation import Answers
from lcot.reasoning.batch import ThoughtBatch
from tests.test_resume import in_training, in_validation
from tests.whole_runs import Sabotage, free_port, last, replace, run, same_state, scalars, settings, write_config

pytestmark = pytest.mark.distributed

EPOCHS, STEPS, VALIDATED, TESTED = 5, 30, 9, 7
EXACT = 1e-5
"""Largest relative difference of two curves in float32; the sums are taken in another order."""


def config_of(folder: Path, batch_size: int, halting: dict[str, Any] | None = None) -> Path:
    """A run without dropout; 45 rows make five global batches of 8 and an odd one of 5."""
    config = settings(batch_size=batch_size, train_size=45, val_size=VALIDATED, test_size=TESTED, eval_batch_size=4)
    model = config["model"]["init_args"]
    model["backbone"]["config"].update(attn_pdrop=0.0, embd_pdrop=0.0, resid_pdrop=0.0)
    model["halting"] = halting
    # Adam moves weights without a gradient (the biases of keys) by the sign of rounding errors; a larger eps does not.
    model["optimizer"]["init_args"].update(lr=3e-3, eps=1e-4)
    return write_config(folder, config)


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of one process."""
    config = config_of(tmp_path_factory.mktemp("one"), 8)
    assert run(config) == 0
    return config


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run on two processes."""
    config = config_of(tmp_path_factory.mktemp("two"), 4)
    assert run(config, ranks=2) == 0
    return config


def check_same_curves(one: Path, two: Path) -> None:
    """Loss and gradient norm of each step agree, and so do the final weights."""
    for tag in ("train/loss_step", "train/grad_norm"):
        curves = []
        for config in (one, two):
            points = scalars(config, tag)
            assert [step for step, _ in points] == list(range(STEPS))
            curves.append(torch.tensor([value for _, value in points]))
        furthest = float(((curves[0] - curves[1]) / curves[0]).abs().max())
        print(f"{tag}: largest relative difference of {STEPS} steps {furthest:.1e}")
        assert furthest < EXACT
    weights, others = last(one)["state_dict"], last(two)["state_dict"]
    assert weights.keys() == others.keys()
    for name, weight in weights.items():
        torch.testing.assert_close(others[name], weight, rtol=1e-4, atol=1e-5)


def test_two_processes_follow_the_curve_of_one(one: Path, two: Path) -> None:
    check_same_curves(one, two)
    assert [value for _, value in scalars(two, "val/examples")] == [VALIDATED] * EPOCHS


def test_two_processes_with_a_halting_classifier(tmp_path: Path) -> None:
    configs = []
    for name, batch_size in (("one", 8), ("two", 4)):
        (tmp_path / name).mkdir()
        configs.append(config_of(tmp_path / name, batch_size, {"weight": 0.5, "max_thoughts": 4}))
    assert run(configs[0]) == 0
    assert run(configs[1], ranks=2) == 0
    check_same_curves(*configs)


def every_third_right() -> None:
    """Have the rows with an index divisible by 3 answered with their gold answer, and all others with nothing."""
    rightly_answered(lambda index: index % 3 == 0)


def rightly_answered(chosen: Callable[[int], bool]) -> None:
    """Have some rows answered with their gold answer, and all others with nothing."""
    inner = Coconut.answer

    def answer(self: Coconut, batch: ThoughtBatch) -> Answers:
        given = inner(self, batch)
        assert self.tokenizer is not None
        for place, (index, example) in enumerate(zip(batch.index.tolist(), batch.examples, strict=True)):
            text = self.text.before_answer + example.answer if chosen(index) else ""
            given.tokens[place] = self.tokenizer(text)["input_ids"]
        return given

    replace(Coconut, "answer", answer)


def evaluated(config: Path, command: str) -> dict[str, Any]:
    """The report of the last evaluation."""
    files = (config.parent / "runs" / "run").glob(f"{command}*.json")
    report: dict[str, Any] = json.loads(max(files, key=lambda file: file.stat().st_mtime_ns).read_text())
    return report


def results(config: Path, command: str) -> dict[str, float]:
    """The metrics of the last evaluation."""
    metrics: dict[str, float] = evaluated(config, command)["metrics"]
    return metrics


@pytest.mark.parametrize("command", ["validate", "test"])
def test_each_example_counts_once(two: Path, command: str) -> None:
    # A padding sampler would count ten of nine, or eight of seven, and their mean would be wrong.
    assert run(two, command=command, ranks=2, sabotage=[every_third_right]) == 0
    counted = results(two, command)
    kind, size = ("val", VALIDATED) if command == "validate" else ("test", TESTED)
    assert counted[f"{kind}/examples"] == size
    assert counted[f"{kind}/accuracy"] == pytest.approx(3 / size, abs=1e-7)
    marks = [f"{int(digits, 16):b}" for digits in evaluated(two, command)["by_question"]["right"]]
    assert [mark.rstrip("0") for mark in marks] == ["1001001"]


def test_the_questions_of_a_pair_may_be_on_two_ranks(two: Path) -> None:
    """Rows 2 and 3, 6 and 7, 10 and 11 are pairs that are right; of the others every first question is."""
    right = partial(rightly_answered, lambda index: index % 4 != 1)
    assert run(two, "--data.ask=both", command="test", ranks=2, sabotage=[right]) == 0
    counted = results(two, "test")
    assert counted["test/examples"] == 2 * TESTED and counted["test/pairs"] == TESTED
    assert counted["test/pair_accuracy"] == pytest.approx(3 / TESTED, abs=1e-7)
    assert counted["test/accuracy"] == pytest.approx(10 / 14, abs=1e-7) and "test/unpaired" not in counted


def test_each_example_is_predicted_once(one: Path, two: Path) -> None:
    written = []
    for config, ranks in ((one, 1), (two, 2)):
        checkpoint = f"--ckpt_path={one.parent}/runs/run/checkpoints/last.ckpt"
        assert run(config, checkpoint, command="predict", ranks=ranks) == 0
        (file,) = (config.parent / "runs" / "run").glob("predictions*.jsonl")  # of a checkpoint that was named
        lines = file.read_text().splitlines()
        written.append([{**json.loads(line), "seconds": 0} for line in lines])
    assert [row["index"] for row in written[0]] == list(range(TESTED))
    assert written[0] == written[1]


def test_votes_and_runs_are_those_of_one_process(one: Path, two: Path) -> None:
    voting = ["--model.sampling.temperature=1.5", "--model.voting.samples=3", "--model.voting.runs=4"]
    reports = []
    for config, ranks in ((one, 1), (two, 2)):
        checkpoint = f"--ckpt_path={one.parent}/runs/run/checkpoints/last.ckpt"
        assert run(config, checkpoint, *voting, command="test", ranks=ranks) == 0
        found = results(config, "test")
        reports.append({name: value for name, value in found.items() if name != "test/seconds"})
    assert reports[0] == pytest.approx(reports[1], abs=1e-6) and "test/accuracy_std" in reports[0]
    assert reports[0]["test/examples"] == TESTED


def test_fewer_examples_than_processes(two: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(two, "--data.test_size=1", command="test", ranks=2) == 2
    assert "1 examples for 2 processes" in capfd.readouterr().err


def only_on(rank: int, sabotage: Sabotage) -> Sabotage:
    """A signal for one of the processes."""

    def chosen() -> None:
        if os.environ["RANK"] == str(rank):
            sabotage()

    return chosen


def test_stopped_and_killed_ranks(tmp_path: Path, two: Path, capfd: pytest.CaptureFixture[str]) -> None:
    config = config_of(tmp_path, 4)
    # One rank is told, and all stop at the same batch; rank 0 has one validation batch more than rank 1.
    assert run(config, ranks=2, sabotage=[only_on(1, in_training(8, signal.SIGTERM))]) == STOPPED
    assert last(config)["global_step"] == 9
    assert run(config, ranks=2, sabotage=[only_on(0, in_validation(1, signal.SIGTERM, batch=1))]) == STOPPED
    assert last(config)["global_step"] == 12
    capfd.readouterr()
    assert run(config, ranks=2, sabotage=[only_on(1, in_training(20))]) == 2
    said = capfd.readouterr().err
    assert "lcot: error: another process of this run has ended, and this one ends with it" in said
    assert "Traceback" not in said
    assert run(config, ranks=2) == 0
    assert same_state(last(config), last(two)) == []
    assert [value for _, value in scalars(config, "val/examples")] == [VALIDATED] * EPOCHS


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["torchrun", "lightning"])
def test_launchers(tmp_path: Path, two: Path, launcher: str) -> None:
    config = config_of(tmp_path, 4)
    run_by = {"torchrun": ["-m", "torch.distributed.run", "--nproc-per-node=2", f"--master-port={free_port()}"]}
    command = [sys.executable, *run_by.get(launcher, []), "-m", "lcot", "fit", "-c", str(config), "--resume=true"]
    command += ["--runs_dir", str(tmp_path / "runs"), "--trainer.devices=2", "--trainer.strategy=ddp"]
    for stop in (True, False):
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            deadline = time.monotonic() + 60
            while stop and not list(tmp_path.glob("runs/run/checkpoints/last.ckpt")) and time.monotonic() < deadline:
                time.sleep(0.02)
            if stop:
                process.terminate()
            _, said = process.communicate(timeout=60)
        if stop:
            assert process.returncode == STOPPED or launcher == "torchrun", said
            assert 0 < last(config)["global_step"] < STEPS
        else:
            assert process.returncode == 0, said
    assert same_state(last(config), last(two)) == []

"""A run that is killed anywhere and started again ends in the same weights, bit for bit, as one that was not."""

from __future__ import annotations

import fcntl
import json
import os
import random
import signal
import subprocess
import sys
import termios
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from lcot.callbacks import LastCheckpoint
from lcot.callbacks.whole_files import WholeFiles
from lcot.cli.main import INTERRUPTED, STOPPED
from lcot.datamodules import ProsQA
from lcot.modules.coconut import Coconut
from lcot.runs.writer import RunFiles
from tests.whole_runs import STEPS, Sabotage, die, last, replace, run, same_state, scalars, settings, write_config

STAGES = 5


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The last checkpoint of a run that nobody disturbed."""
    config = write_config(tmp_path_factory.mktemp("whole"), settings())
    assert run(config) == 0
    return last(config)


def in_training(step: int, signum: int = signal.SIGKILL) -> Sabotage:
    """The signal comes while a training batch is computed."""

    def sabotage() -> None:
        inner = Coconut.training_step

        def training_step(self: Coconut, batch: Any, batch_idx: int) -> Any:
            if self.trainer.global_step == step:
                die(signum)
            return inner(self, batch, batch_idx)

        replace(Coconut, "training_step", training_step)

    return sabotage


def in_validation(epoch: int, signum: int = signal.SIGKILL, batch: int = 1) -> Sabotage:
    """The signal comes while a validation batch is computed."""

    def sabotage() -> None:
        inner = Coconut.validation_step

        def validation_step(self: Coconut, rows: Any, batch_idx: int) -> None:
            if self.current_epoch == epoch and batch_idx == batch:
                die(signum)
            inner(self, rows, batch_idx)

        replace(Coconut, "validation_step", validation_step)

    return sabotage


def in_write(step: int, name: str) -> Sabotage:
    """The process is killed when half of a checkpoint is on the disk."""

    def sabotage() -> None:
        inner = WholeFiles.save_checkpoint

        def save_checkpoint(self: WholeFiles, checkpoint: dict[str, Any], path: Any, **options: Any) -> None:
            if checkpoint["global_step"] == step and Path(path).name.startswith(name):
                write = torch.save

                def half(content: object, file: Any) -> None:
                    write(content, file)
                    file.truncate(file.tell() // 2)
                    file.flush()
                    die()

                replace(torch, "save", half)
            inner(self, checkpoint, path, **options)

        replace(WholeFiles, "save_checkpoint", save_checkpoint)

    return sabotage


def in_hook(owner: type, name: str, epoch: int) -> Sabotage:
    """The process is killed when a callback is called in an epoch, before it does anything."""

    def sabotage() -> None:
        inner = getattr(owner, name)

        def hook(self: Any, trainer: Any, *args: Any) -> Any:
            if trainer.current_epoch == epoch:
                die()
            return inner(self, trainer, *args)

        replace(owner, name, hook)

    return sabotage


def every_stage(seed: int, extra: int = 0) -> list[Sabotage]:
    """A random step of each stage, ``extra`` more anywhere, a validation and two unfinished files, in order."""
    draw = random.Random(seed)
    steps = [stage * STEPS + draw.randrange(STEPS) for stage in range(STAGES)]
    steps += draw.sample([step for step in range(STAGES * STEPS) if step not in steps], extra)
    points: list[tuple[float, Sabotage]] = [(step, in_training(step)) for step in steps]
    validated, *written = draw.sample(range(STAGES), 3)
    points.append((validated * STEPS + STEPS - 0.5, in_validation(validated)))
    for epoch, name in zip(written, ("best", "last"), strict=True):
        points.append((epoch * STEPS + STEPS - 0.5, in_write((epoch + 1) * STEPS, name)))
    return [sabotage for _, sabotage in sorted(points, key=lambda point: point[0])]


def check_kills(tmp_path: Path, whole: dict[str, Any], sabotages: list[Sabotage], every: int, workers: int) -> None:
    """Kill one run at all those points, one after the other, and compare its end."""
    config = write_config(tmp_path, settings(num_workers=workers))
    option = f"--last_checkpoint.every_n_steps={every}"
    for sabotage in sabotages:
        assert run(config, option, sabotage=[sabotage]) == -signal.SIGKILL
    assert run(config, option) == 0
    assert same_state(last(config), whole) == []
    assert {value for _, value in scalars(config, "val/examples")} == {9}
    # Curves are flushed with each checkpoint; what is logged right behind it may be lost.
    assert len({step for step, _ in scalars(config, "train/loss_step")}) >= STAGES * STEPS - len(sabotages)
    check_best(config)


def check_best(config: Path) -> None:
    """There is one best checkpoint for each stage, as if the run had never been disturbed."""
    names = sorted(file.name for file in (config.parent / "runs" / "run" / "checkpoints").glob("best*"))
    assert names == [f"best-stage{stage}-epoch{stage:03d}.ckpt" for stage in range(STAGES)]


@pytest.mark.parametrize(("every", "workers"), [(2, 0), (0, 2)])
def test_killed_in_every_stage(tmp_path: Path, uninterrupted: dict[str, Any], every: int, workers: int) -> None:
    # Every other point here, the others in the other half of this test; the long one takes all.
    check_kills(tmp_path, uninterrupted, every_stage(seed=0)[workers // 2 :: 2], every, workers)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("every", [0, 1, 3])
def test_killed_at_many_points(tmp_path: Path, uninterrupted: dict[str, Any], every: int, workers: int) -> None:
    check_kills(tmp_path, uninterrupted, every_stage(seed=10 + every, extra=7), every, workers)


def test_killed_between_the_first_best_and_the_first_last(tmp_path: Path, uninterrupted: dict[str, Any]) -> None:
    config = write_config(tmp_path, settings())
    folder = tmp_path / "runs" / "run"
    other = "--seed_everything=5"  # nothing is behind it that its settings could be those of
    assert run(config, other, sabotage=[in_hook(LastCheckpoint, "on_train_epoch_end", 0)]) == -signal.SIGKILL
    assert [file.name for file in (folder / "checkpoints").iterdir()] == ["best-stage0-epoch000.ckpt"]
    assert run(config, sabotage=[in_write(STEPS, "last")]) == -signal.SIGKILL
    assert run(config) == 0
    assert same_state(last(config), uninterrupted) == []
    check_best(config)
    assert [path for path in folder.rglob("*") if "part" in path.name or path.name == ".lock"] == []


def test_killed_between_the_last_checkpoint_and_the_end(tmp_path: Path, uninterrupted: dict[str, Any]) -> None:
    config = write_config(tmp_path, settings())
    assert run(config, sabotage=[in_hook(RunFiles, "on_train_end", STAGES)]) == -signal.SIGKILL
    cost = tmp_path / "runs" / "run" / "fit.json"
    assert json.loads(cost.read_text())["finished"] is False
    assert run(config) == 0
    assert same_state(last(config), uninterrupted) == []
    found = json.loads(cost.read_text())
    assert found["finished"] is True and found["optimizer_steps"] == STAGES * STEPS


def test_sigterm_saves_first(tmp_path: Path, uninterrupted: dict[str, Any], capfd: pytest.CaptureFixture[str]) -> None:
    config = write_config(tmp_path, settings())
    # In the middle of an epoch, in its last batch, and in its validation.
    for sabotage, steps in (
        (in_training(8, signal.SIGTERM), 9),
        (in_training(11, signal.SIGTERM), 12),
        (in_validation(2, signal.SIGTERM), 18),
    ):
        assert run(config, sabotage=[sabotage]) == STOPPED
        assert "--resume=true" in capfd.readouterr().err
        assert last(config)["global_step"] == steps
    assert run(config) == 0
    assert same_state(last(config), uninterrupted) == []
    assert [step for step, _ in scalars(config, "train/loss_step")] == list(range(STAGES * STEPS))
    # The validation that was broken off is done again, whole; no other is.
    assert [value for _, value in scalars(config, "val/examples")] == [9] * STAGES
    check_best(config)


def with_keyboard() -> None:
    """Have Ctrl-C mean what it means in a terminal: what starts the tests may have it ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def twice(signum: int) -> Sabotage:
    """The signal comes twice while a training batch is computed."""

    def sabotage() -> None:
        inner = Coconut.training_step

        def training_step(self: Coconut, batch: Any, batch_idx: int) -> Any:
            if self.trainer.global_step == 15:
                die(signum)
                die(signum)
            return inner(self, batch, batch_idx)

        replace(Coconut, "training_step", training_step)

    return sabotage


@pytest.mark.parametrize("workers", [0, 1])
def test_ctrl_c_saves_first(
    tmp_path: Path, uninterrupted: dict[str, Any], capfd: pytest.CaptureFixture[str], workers: int
) -> None:
    config = write_config(tmp_path, settings(num_workers=workers))
    for sabotage, steps, epoch in ((in_training(8, signal.SIGINT), 9, 1), (in_validation(1, signal.SIGINT), 12, 1)):
        assert run(config, sabotage=[with_keyboard, sabotage]) == INTERRUPTED
        said = capfd.readouterr().err
        assert "lcot: interrupted; the state is saved after this batch" in said
        assert f"last.ckpt: epoch {epoch}, step {steps}\n" in said and "--resume=true continues it" in said
        assert last(config)["global_step"] == steps
    # The second one ends it at once: the weights are those of the last time.
    assert run(config, sabotage=[with_keyboard, twice(signal.SIGINT)]) == INTERRUPTED
    said = capfd.readouterr().err
    assert "continuing from " in said and said.count("last.ckpt: epoch 1, step 12\n") == 1, "where it goes on"
    assert "lcot: interrupted; what was saved before is untouched" in said and "Traceback" not in said
    assert run(config) == 0
    assert same_state(last(config), uninterrupted) == []


def in_a_terminal(master: int, mine: int, step: int) -> Sabotage:
    """The process has a terminal of its own, which is closed while a training batch is computed."""

    def sabotage() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # whoever runs the tests may be under nohup
        os.setsid()
        os.close(master)
        fcntl.ioctl(mine, termios.TIOCSCTTY, 0)
        for number in (1, 2):
            os.dup2(mine, number)
        sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)
        inner = Coconut.training_step

        def training_step(self: Coconut, batch: Any, batch_idx: int) -> Any:
            if self.trainer.global_step == step:
                os.write(mine, b"[close it]")
                deadline = time.monotonic() + 20
                while os.isatty(mine) and time.monotonic() < deadline:
                    time.sleep(0.01)
            return inner(self, batch, batch_idx)

        replace(Coconut, "training_step", training_step)

    return sabotage


def close_when_asked(master: int) -> None:
    """Look at a terminal until a process in it asks to have it closed."""
    shown = b""
    while b"[close it]" not in shown:
        shown += os.read(master, 9999)
    os.close(master)


def test_a_closed_terminal_saves_first(tmp_path: Path, uninterrupted: dict[str, Any]) -> None:
    config = write_config(tmp_path, settings())
    bar = "--trainer.enable_progress_bar=true"
    master, mine = os.openpty()
    threading.Thread(target=close_when_asked, args=(master,), daemon=True).start()
    assert run(config, bar, sabotage=[in_a_terminal(master, mine, 8)]) == 128 + signal.SIGHUP
    os.close(mine)
    assert last(config)["global_step"] == 9
    # Under nohup it is ignored.
    nohup: Sabotage = lambda: replace(sys, "nohup", signal.signal(signal.SIGHUP, signal.SIG_IGN))  # noqa: E731
    assert run(config, sabotage=[nohup, in_training(15, signal.SIGHUP)]) == 0
    assert same_state(last(config), uninterrupted) == []


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_stopped_while_data_is_made(tmp_path: Path, capfd: pytest.CaptureFixture[str], signum: int) -> None:
    config = write_config(tmp_path, settings())

    def while_it_is_made() -> None:
        replace(ProsQA, "make_source", lambda *args: die(signum))

    assert run(config, sabotage=[with_keyboard, while_it_is_made]) == 128 + signum
    assert not (tmp_path / "runs").exists(), "nothing was trained there"
    assert "Traceback" not in capfd.readouterr().err


def test_validation_within_an_epoch_is_not_lost(tmp_path: Path, uninterrupted: dict[str, Any]) -> None:
    config = write_config(tmp_path, settings())
    options = ["--trainer.val_check_interval=2", "--last_checkpoint.every_n_steps=1"]
    assert run(config, *options, sabotage=[in_validation(1, batch=0)]) == -signal.SIGKILL
    assert run(config, *options, sabotage=[in_validation(1, signal.SIGTERM)]) == STOPPED
    assert run(config, *options) == 0
    assert same_state(last(config), uninterrupted) == []
    assert [value for _, value in scalars(config, "val/examples")] == [9] * 3 * STAGES


def test_accumulated_gradients_are_not_lost(tmp_path: Path) -> None:
    options = ["--trainer.accumulate_grad_batches=4", "--last_checkpoint.every_n_steps=1", "--trainer.max_epochs=2"]
    options += ["--curriculum.schedule.init_args.max_stage=1"]
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    configs = []
    for folder in (whole, broken):
        folder.mkdir()
        configs.append(write_config(folder, settings(batch_size=4)))  # 11 batches: 4 + 4 + 3
    assert run(configs[0], *options) == 0
    assert run(configs[1], *options, sabotage=[in_training(1, signal.SIGTERM)]) == STOPPED
    assert run(configs[1], *options) == 0
    assert same_state(last(configs[1]), last(configs[0])) == []


def test_requeue_under_slurm(tmp_path: Path, uninterrupted: dict[str, Any]) -> None:
    config, orders = write_config(tmp_path, settings()), tmp_path / "orders"
    tool = tmp_path / "scontrol"
    tool.write_text(f'#!/bin/sh\necho "$@" >> {orders}\nkill -TERM $PPID\n')
    tool.chmod(0o755)

    def in_a_job() -> None:
        places = dict.fromkeys(("PROCID", "LOCALID", "NODEID"), "0")
        job = {"NTASKS": "1", "JOB_NAME": "train", "JOB_ID": "7", **places}
        os.environ.update({f"SLURM_{name}": value for name, value in job.items()})
        os.environ["PATH"] = f"{tmp_path}:{os.environ['PATH']}"

    # SLURM asks for the requeue, and then ends the job.
    assert run(config, sabotage=[in_a_job, in_training(9, signal.SIGUSR1)]) == STOPPED
    assert orders.read_text() == "requeue 7\n"
    assert last(config)["global_step"] in (10, 11)
    assert run(config, sabotage=[in_a_job]) == 0
    assert same_state(last(config), uninterrupted) == []


@pytest.mark.slow
def test_a_real_process(tmp_path: Path, uninterrupted: dict[str, Any]) -> None:
    config = write_config(tmp_path, settings())
    file = tmp_path / "runs" / "run" / "checkpoints" / "last.ckpt"
    command = [sys.executable, "-m", "lcot", "fit", "-c", str(config), "--runs_dir", str(tmp_path / "runs")]
    with subprocess.Popen([*command, "--resume=true"], stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 60
        while not file.exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        process.terminate()
        _, said = process.communicate(timeout=60)
    assert process.returncode == STOPPED, said
    assert last(config)["global_step"] < STAGES * STEPS
    assert run(config) == 0
    assert same_state(last(config), uninterrupted) == []

"""A training that ends before its schedule says so, and goes on from there to the same weights."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch.callbacks import Timer

import lcot as package
from lcot.modules.coconut import Coconut
from lcot.modules.stored import pick_checkpoint
from lcot.runs.run import read_results
from tests.tiny import contents, lcot
from tests.tiny import write_config as write_tiny
from tests.whole_runs import STEPS, Sabotage, last, replace, run, same_state, scalars, settings, write_config

STAGES = 5


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The config of a run that nobody disturbed."""
    config = write_config(tmp_path_factory.mktemp("whole"), settings())
    assert run(config) == 0
    return config


def record(config: Path) -> dict[str, Any]:
    """``fit.json``."""
    found: dict[str, Any] = json.loads((config.parent / "runs" / "run" / "fit.json").read_text())
    return found


def best(config: Path) -> list[str]:
    """Names of the best checkpoints."""
    return sorted(file.name for file in (config.parent / "runs" / "run" / "checkpoints").glob("best*"))


def asked_to_stop(step: int) -> Sabotage:
    """A module sets ``trainer.should_stop`` in a step."""

    def sabotage() -> None:
        inner = Coconut.training_step

        def training_step(self: Coconut, batch: Any, batch_idx: int) -> Any:
            if self.trainer.global_step == step:
                self.trainer.should_stop = True
            return inner(self, batch, batch_idx)

        replace(Coconut, "training_step", training_step)

    return sabotage


def asked_late(step: int) -> Sabotage:
    """The same behind the hooks of all callbacks: none of them can act before the epoch is over."""

    def sabotage() -> None:
        def on_train_batch_end(self: Coconut, *args: Any) -> None:
            if self.trainer.global_step == step:
                self.trainer.should_stop = True

        replace(Coconut, "on_train_batch_end", on_train_batch_end)

    return sabotage


def out_of_time(step: int) -> Sabotage:
    """``max_time`` is over behind that many steps."""

    def sabotage() -> None:
        inner = Timer._check_time_remaining

        def check(self: Timer, trainer: Any) -> None:
            if trainer.global_step >= step and self._duration == 3600:
                self._offset = 3600
            inner(self, trainer)

        replace(Timer, "_check_time_remaining", check)

    return sabotage


def goes_on(config: Path, whole: Path, *options: str) -> None:
    """The run continues to its end, which is that of one that nobody disturbed."""
    assert run(config, *options) == 0
    assert record(config)["finished"] is True and record(config)["ended_by"] is None
    assert record(config)["optimizer_steps"] == STAGES * STEPS and record(config)["epochs"] == STAGES
    assert same_state(last(config), last(whole)) == [] and best(config) == best(whole)
    steps = [step for step, _ in scalars(config, "train/loss_step")]
    assert steps == list(range(STAGES * STEPS))


@pytest.mark.parametrize("asked", [asked_to_stop, asked_late])
def test_a_stop_that_was_asked_for(tmp_path: Path, uninterrupted: Path, asked: Any) -> None:
    config = write_config(tmp_path, settings())
    # Within an epoch twice, then behind the last batch of one.
    for step, sabotage in ((8, asked(7 + (asked is asked_late))), (16, asked(15 + (asked is asked_late)))):
        assert run(config, sabotage=[sabotage]) == 0
        found = record(config)
        assert (found["finished"], found["optimizer_steps"], found["epochs"]) == (False, step, step // STEPS)
        assert found["ended_by"] == (
            f"trainer.should_stop after {step // STEPS} of 5 epochs and {step} steps, in stage {step // STEPS} of 4"
        )
        assert last(config)["global_step"] == step
    assert run(config, sabotage=[asked(17 + (asked is asked_late))]) == 0
    assert (record(config)["finished"], record(config)["epochs"]) == (False, 3)
    goes_on(config, uninterrupted)


@pytest.mark.distributed
def test_a_stop_that_one_of_two_processes_asked_for(tmp_path: Path) -> None:
    def on_rank_1() -> None:
        if os.environ["RANK"] == "1":
            asked_to_stop(7)()

    configs = []
    for name in ("whole", "stopped"):
        (tmp_path / name).mkdir()
        configs.append(write_config(tmp_path / name, settings(batch_size=4)))
    assert run(configs[0], ranks=2) == 0
    assert run(configs[1], ranks=2, sabotage=[on_rank_1]) == 0
    assert record(configs[1])["optimizer_steps"] == last(configs[1])["global_step"] == 8
    assert run(configs[1], ranks=2) == 0
    assert same_state(last(configs[1]), last(configs[0])) == []


def test_a_stop_between_accumulated_batches_waits_for_their_step(tmp_path: Path) -> None:
    configs = []
    for name in ("whole", "stopped"):
        (tmp_path / name).mkdir()
        configs.append(write_config(tmp_path / name, settings(batch_size=4)))
    options = ("--trainer.accumulate_grad_batches=3",)
    assert run(configs[0], *options) == 0
    assert run(configs[1], *options, sabotage=[asked_to_stop(5)]) == 0
    assert record(configs[1])["optimizer_steps"] == last(configs[1])["global_step"] == 6
    assert run(configs[1], *options, sabotage=[asked_late(9)]) == 0
    assert record(configs[1])["ended_by"].startswith("trainer.should_stop after 2 of 5 epochs")
    assert run(configs[1], *options) == 0
    assert same_state(last(configs[1]), last(configs[0])) == []


def test_the_time_is_over(tmp_path: Path, uninterrupted: Path, capfd: pytest.CaptureFixture[str]) -> None:
    config, time = write_config(tmp_path, settings()), "--trainer.max_time=00:01:00:00"
    assert run(config, time, sabotage=[out_of_time(9)]) == 0
    said = record(config)["ended_by"]
    assert said == "max_time after 1 of 5 epochs and 9 steps, in stage 1 of 4"
    assert f"training ended before its schedule: {said}" in capfd.readouterr().err
    before = last(config)
    assert run(config, time) == 0, "the time counts over all starts"
    assert "nothing was trained" in capfd.readouterr().err
    assert record(config)["ended_by"] == said and same_state(last(config), before) == []
    goes_on(config, uninterrupted, "--trainer.max_time=00:02:00:00")


TINY = ("fit", "-c", "tiny.yaml")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the config of a tiny run of three stages is, one epoch each."""
    monkeypatch.chdir(tmp_path)
    stages = {"curriculum.schedule.init_args": {"epochs_per_stage": 1, "max_stage": 2}}
    write_tiny(tmp_path, {**stages, "data.init_args.hops": [1, 3], "trainer.max_epochs": 3})
    return tmp_path


def test_a_last_stage_that_was_not_validated(here: Path) -> None:
    every = "--trainer.check_val_every_n_epoch=2"
    outcome = lcot(*TINY, every)
    assert outcome.code == 0, outcome.err
    assert "max_epochs is 3: training ends in stage 2 of 3" in outcome.err
    said = "no epoch of stage 2, the last one, is validated, so last.ckpt will be taken"
    assert f"check_val_every_n_epoch is 2: {said}" in outcome.err
    taken = "no checkpoint of stage 2, its last, was validated, so last.ckpt is taken: its best ones are of stage 1"
    assert taken in outcome.err
    run = here / "runs" / "tiny"
    assert [file.name for file in (run / "checkpoints").glob("best*")] == ["best-stage1-epoch001.ckpt"]
    outcome = lcot("test", "-c", run / "config.yaml")
    assert outcome.code == 0 and taken in outcome.err, outcome.err
    report = json.loads((run / "test.json").read_text())
    assert report["checkpoint"].endswith("last.ckpt") and not report["checkpoint_chosen"]
    assert (report["stage"], report["trained_steps"], report["run_steps"]) == (2, 6, 6)
    assert report["metrics"]["test/thoughts"] == 2
    for command in (("predict", "-c", run / "config.yaml"), ("analyze", run, "--limit=1", "--thoughts", "0")):
        outcome = lcot(*command)
        assert outcome.code == 0 and outcome.err.count(taken) == 1, outcome.err
    assert package.load(run).thoughts == 2
    # The checkpoint of a former stage is none of the method's best, and has its own number of steps.
    assert lcot("test", "-c", run / "config.yaml", f"--ckpt_path={run}/checkpoints/best-stage1-epoch001.ckpt").code == 0
    own, other = read_results(run)
    assert own.result is not None and own.result.protocol["checkpoint"] == "last" and own.steps == 6
    assert other.result is not None and other.result.protocol["checkpoint"] == "best-stage1-epoch001.ckpt"
    assert (other.result.trained_steps, other.steps, other.outdated) == (4, 4, False)


def test_without_validation_the_last_checkpoint_is_taken(here: Path) -> None:
    outcome = lcot(*TINY, "--trainer.limit_val_batches=0")
    assert outcome.code == 0, outcome.err
    assert "limit_val_batches is 0: no epoch of stage 2" in outcome.err
    assert pick_checkpoint(here / "runs" / "tiny").name == "last.ckpt"


def test_settings_that_make_a_run_shorter_are_told(here: Path) -> None:
    options = ("--trainer.limit_train_batches=1", "--trainer.limit_val_batches=0.5")
    write_tiny(here, {"curriculum.schedule.init_args": {"epochs_per_stage": [1, 3], "max_stage": 1}}, "short")
    outcome = lcot("fit", "-c", "tiny.yaml", "-c", "short.yaml", "--name=tiny", *options, "--data.eval_batch_size=1")
    assert outcome.code == 0, outcome.err
    assert "limit_train_batches is 1: an epoch has 1 of 2 batches" in outcome.err
    assert "limit_val_batches is 0.5: checkpoints are chosen by a part of the questions" in outcome.err
    assert "max_epochs is 2: stage 1 gets 1 of its 3 epochs" in outcome.err
    assert json.loads((here / "runs" / "tiny" / "fit.json").read_text())["finished"] is True


STOPPING = ("--trainer.callbacks+=EarlyStopping", "--trainer.callbacks.monitor=val/accuracy",
            "--trainer.callbacks.patience=0", "--trainer.callbacks.mode=max")  # fmt: skip


def test_an_early_stopping_is_no_end_and_stays_one(here: Path) -> None:
    outcome = lcot(*TINY, "--trainer.max_epochs=8", *STOPPING)
    assert outcome.code == 0, outcome.err
    run = here / "runs" / "tiny"
    found = json.loads((run / "fit.json").read_text())
    done = found["epochs"]
    assert 1 < done < 8 and (found["finished"], found["optimizer_steps"]) == (False, 2 * done)
    assert found["ended_by"] == (
        f"EarlyStopping after {done} of 8 epochs and {2 * done} steps, in stage {min(3, done - 1)} of 3"
    )
    before = contents(run)
    outcome = lcot(*TINY, "--trainer.max_epochs=8", *STOPPING, "--resume=true")
    assert outcome.code == 0 and f"nothing was trained, for the run was ended: {found['ended_by']}" in outcome.err
    assert contents(run) == before
    assert lcot("test", "-c", run / "config.yaml").code == 0
    outcome = lcot("compare", run)
    assert f"tiny did not train to the end of its schedule: {found['ended_by']}" in " ".join(outcome.out.split())
    # Without it the run goes on, and its test is outdated.
    assert lcot("predict", "-c", run / "config.yaml").code == 0
    outcome = lcot(*TINY, "--trainer.max_epochs=8", "--resume=true")
    assert outcome.code == 0, outcome.err
    assert "of the weights before this training, and outdated now: predictions.jsonl, test.json" in outcome.err
    assert json.loads((run / "fit.json").read_text())["finished"] is True
    (own,) = read_results(run)
    assert own.outdated and own.cost.ended_by is None and own.cost.steps == 16


def test_more_patience_counts(here: Path) -> None:
    assert lcot(*TINY, "--trainer.max_epochs=8", *STOPPING).code == 0
    record = here / "runs" / "tiny" / "fit.json"
    done = json.loads(record.read_text())["epochs"]
    more = [option.replace("patience=0", "patience=50") for option in STOPPING]
    outcome = lcot(*TINY, "--trainer.max_epochs=8", *more, "--resume=true")
    assert outcome.code == 0 and "nothing was trained" not in outcome.err, outcome.err
    found = json.loads(record.read_text())
    assert done < found["epochs"] == 8 and (found["finished"], found["ended_by"]) == (True, None)


def test_a_test_of_a_run_that_was_begun_anew_is_outdated(here: Path) -> None:
    run = here / "runs" / "tiny"
    assert lcot(*TINY).code == 0
    assert lcot("test", "-c", run / "config.yaml").code == 0
    assert not read_results(run)[0].outdated
    for file in (run / "checkpoints").iterdir():
        file.unlink()
    assert lcot(*TINY, "--resume=true", "--model.optimizer=SGD", "--model.optimizer.lr=1").code == 0
    assert read_results(run)[0].outdated
    assert "tiny was evaluated before it was begun anew: lcot test" in " ".join(lcot("compare", run).out.split())

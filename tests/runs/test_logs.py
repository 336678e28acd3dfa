"""A run that continues keeps what its loggers wrote, and goes on in the same place."""

from __future__ import annotations

import csv
import json
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from jsonargparse import Namespace
from lightning.pytorch.loggers import CSVLogger

from lcot.cli.main import STOPPED
from lcot.runs.logs import go_on, keep_csv, places
from tests.test_resume import in_training
from tests.tiny import lcot
from tests.tiny import write_config as write_tiny
from tests.whole_runs import STEPS, run, settings, write_config

LOGGER = "--trainer.logger=CSVLogger"


def rows(folder: Path) -> list[dict[str, str]]:
    """What ``metrics.csv`` holds."""
    with (folder / "metrics.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def validated(folder: Path) -> list[int]:
    """The epochs that have a validation."""
    return [int(row["epoch"]) for row in rows(folder) if row["val/accuracy"]]


def test_a_run_with_more_epochs_keeps_its_metrics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_tiny(tmp_path, {"trainer.log_every_n_steps": 1})
    folder = Path("runs/tiny")
    assert lcot("fit", "-c", "tiny.yaml", LOGGER).code == 0
    before = rows(folder)
    more = ("fit", "-c", "tiny.yaml", LOGGER, "--resume=true", "--trainer.max_epochs=4")
    assert lcot(*more).code == 0
    found = rows(folder)
    assert validated(folder) == [0, 1, 2, 3]
    assert [{key: row[key] for key in before[0]} for row in found[: len(before)]] == before
    losses = [int(row["step"]) for row in found if row["train/loss_step"]]
    assert losses == list(range(8)) and not list(folder.glob("*.kept.csv"))


def test_what_is_done_again_behind_a_kill_stands_there_once(tmp_path: Path) -> None:
    config, folder = write_config(tmp_path, settings()), tmp_path / "runs" / "run"
    every = "--last_checkpoint.every_n_steps=4"
    assert run(config, LOGGER, every, sabotage=[in_training(9)]) == -signal.SIGKILL
    assert [int(row["step"]) for row in rows(folder) if row["train/loss_step"]][-1] == 8
    assert run(config, LOGGER, every, sabotage=[in_training(21, signal.SIGTERM)]) == STOPPED
    assert run(config, LOGGER, every) == 0
    steps = Counter(int(row["step"]) for row in rows(folder) if row["train/loss_step"])
    assert set(steps.values()) == {1} and set(range(5 * STEPS)) - set(steps) <= {7}
    assert validated(folder) == [0, 1, 2, 3, 4]


def test_a_run_that_begins_anew_puts_the_former_file_aside(tmp_path: Path) -> None:
    file = tmp_path / "metrics.csv"
    for text in ("one", "two"):
        file.write_text(text)
        keep_csv(CSVLogger(tmp_path, name="", version=""), None)
        assert not file.exists()
    assert [(tmp_path / f"metrics.{number}.csv").read_text() for number in (1, 2)] == ["one", "two"]


def test_a_kill_while_the_file_is_put_aside_loses_nothing(tmp_path: Path) -> None:
    (tmp_path / "metrics.kept.csv").write_text("a,step\n1,0\n2,1\n")
    logger = CSVLogger(tmp_path, name="", version="")
    keep_csv(logger, 1)
    logger.log_metrics({"b": 3.0}, step=1)
    logger.save()
    assert (tmp_path / "metrics.csv").read_text().splitlines() == ["a,b,step", "1,,0", ",3.0,1"]


class WandbLogger:
    """Stands in for the one of a package that tests do without."""

    version = "abc123"


def chosen(name: str, **given: Any) -> Namespace:
    """A logger's parsed settings."""
    options = Namespace(**given)  # type: ignore[no-untyped-call]
    return Namespace(class_path=f"lightning.pytorch.loggers.{name}", init_args=options)  # type: ignore[no-untyped-call]


def test_loggers_go_on_where_they_were(tmp_path: Path) -> None:
    former = places([WandbLogger(), CSVLogger(tmp_path, name="", version="")])
    assert former == {"WandbLogger": "abc123"}
    for logger, place, found in (
        (chosen("WandbLogger", id=None), "id", "abc123"),
        (chosen("WandbLogger", id="mine"), "id", "mine"),
        (chosen("MLFlowLogger", run_id=None), "run_id", None),
    ):
        go_on(logger, former)
        assert logger.init_args[place] == found


def test_a_folder_with_a_number_is_the_same_one_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    logger = {"class_path": "CSVLogger", "init_args": {"save_dir": "logs", "name": "mine", "version": None}}
    write_tiny(tmp_path, {"trainer.logger": logger})
    assert lcot("fit", "-c", "tiny.yaml").code == 0
    assert json.loads(Path("runs/tiny/fit.json").read_text())["loggers"] == {"CSVLogger": 0}
    outcome = lcot("fit", "-c", "tiny.yaml", "--resume=true", "--trainer.max_epochs=3")
    assert outcome.code == 0, outcome.err
    assert [path.name for path in Path("logs/mine").iterdir()] == ["version_0"]
    assert validated(Path("logs/mine/version_0")) == [0, 1, 2]

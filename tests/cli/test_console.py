"""Metrics as people read them."""

from __future__ import annotations

import io
import logging
import shutil
import sys
from pathlib import Path

import pytest

from lcot.cli.console import quiet_the_console
from lcot.runs.writer import readable
from tests.tiny import lcot


def test_shares_counts_and_means() -> None:
    metrics = {
        "test/accuracy": 0.9900000095367432,
        "test/accuracy_std": 0.0049,
        "test/path_correct": 1.0,
        "test/tokens": 2.0,
        "test/seconds": 0.00046512,
        "test/examples": 1000.0,
        "val/loss": 1.0,
    }
    assert readable(metrics, "test") == [
        "test questions     1,000",
        "test accuracy      99.0 %",
        "test accuracy_std  0.5 %",
        "test path_correct  100.0 %",
        "test tokens        2.0",
        "test seconds       0.0004651",
    ]


@pytest.mark.parametrize(
    ("command", "written"),
    [("test", "test.json"), ("validate", "validate.json"), ("predict", "predictions.jsonl: 5 answers")],
)
def test_evaluations_say_where_they_wrote(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, written: str
) -> None:
    path = shutil.copytree(trained, tmp_path / "tiny")
    outcome = lcot(command, "-c", path / "config.yaml")
    assert outcome.code == 0, outcome.err
    assert f"written to {path}/{written}\n" in outcome.err
    assert "DataLoader 0" not in outcome.out and ("accuracy" in outcome.out) == (command != "predict")
    quiet = lcot("test", "-c", path / "config.yaml", "--verbose=false")
    assert quiet.code == 0 and not quiet.out


@pytest.mark.parametrize("name", ["lcot", "lightning.pytorch.trainer", "lightning.fabric.utilities.seed"])
def test_messages_go_to_what_stderr_is_at_that_moment(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bar that is being drawn stands in for stderr; what is written past it breaks the bar."""
    quiet_the_console()
    monkeypatch.setattr(sys, "stderr", bar := io.StringIO())
    logging.getLogger(name).warning("a message")
    assert bar.getvalue().count("a message") == 1

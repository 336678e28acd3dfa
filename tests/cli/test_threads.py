"""A run that continues has the threads that it had, and says so where it has others."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.tiny import lcot, write_config

FIT = ("fit", "-c", "tiny.yaml")
SAID = "the run had 2 threads, and has 1 now"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A run with two threads; the tests' own number is put back."""
    before = torch.get_num_threads()
    monkeypatch.chdir(tmp_path)
    write_config(tmp_path)
    assert lcot(*FIT, "--threads=2").code == 0
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def more(epochs: int, *options: str) -> str:
    """Continue the run; what is said."""
    outcome = lcot(*FIT, "--resume=true", f"--trainer.max_epochs={epochs}", *options)
    assert outcome.code == 0, outcome.err
    return outcome.err


def test_it_is_in_the_record_and_in_the_checkpoint() -> None:
    assert json.loads(Path("runs/tiny/fit.json").read_text())["threads"] == 2
    assert torch.load("runs/tiny/checkpoints/last.ckpt", weights_only=True)["lcot"]["threads"] == 2


def test_a_run_that_continues_takes_its_own_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    assert "threads, and has" not in more(3) and torch.get_num_threads() == 2


def test_another_number_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    assert more(3, "--threads=1").count(f"lcot: warning: {SAID}") == 1
    assert json.loads(Path("runs/tiny/fit.json").read_text())["threads"] == 1
    assert "threads, and has" not in more(4, "--threads=1")


def test_a_machine_with_fewer_cores_keeps_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    assert SAID in more(3) and torch.get_num_threads() == 1


def test_evaluation_does_not_mind() -> None:
    outcome = lcot("test", "-c", "tiny.yaml")
    assert outcome.code == 0 and SAID not in outcome.err

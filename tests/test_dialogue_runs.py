"""Runs that write their rows from a prompt file: trained, tested, continued, and not mistaken for others."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import lcot as package
from lcot.errors import CheckpointError
from tests.tiny import lcot, write_config

CHAT = {
    "data.init_args.dialogue": {"prompt": "plain/prosqa"},
    "curriculum.schedule": {"class_path": "Fixed", "init_args": {"hidden": "none", "kind": "none"}},
}
COCONUT = {"markers": "never", "epochs_per_stage": [1, 1], "max_stage": 1}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to run in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_run_remembers_its_prompt(here: Path) -> None:
    write_config(here, CHAT)
    outcome = lcot("fit", "-c", "tiny.yaml")
    assert outcome.code == 0, outcome.err
    saved = torch.load("runs/tiny/checkpoints/last.ckpt", weights_only=True)["lcot"]
    assert saved["dialogue"]["prompt"] == "plain/prosqa"
    assert lcot("test", "-c", "runs/tiny/config.yaml").code == 0
    refused = lcot("test", "-c", "runs/tiny/config.yaml", "--data.dialogue.end_of_turn=dropped")
    assert refused.code == 2
    assert "end_of_turn 'supervised' then, 'dropped' now" in refused.block and "data.dialogue" in refused.block
    # Without a prompt it would be asked in another way.
    with pytest.raises(CheckpointError, match="was trained on the prompt 'plain/prosqa'"):
        package.load("runs/tiny")


def test_coconut_with_a_prompt(here: Path) -> None:
    schedule = {"curriculum.schedule": {"class_path": "Stepwise", "init_args": COCONUT}}
    write_config(here, {**CHAT, **schedule})
    outcome = lcot("fit", "-c", "tiny.yaml")
    assert outcome.code == 0, outcome.err


@pytest.mark.filterwarnings("default::lcot.errors.IgnoredSettingWarning")
@pytest.mark.parametrize(
    ("setting", "why"),
    [
        ("--data.text.after_step=;", "a prompt file writes the rows"),
        ("--data.dialogue.assistant=somewhere", "an assistant is asked for soft thoughts only"),
    ],
)
def test_settings_without_effect_are_told(setting: str, why: str, here: Path) -> None:
    write_config(here, CHAT)
    outcome = lcot("fit", "-c", "tiny.yaml", setting, "--trainer.fast_dev_run=true")
    assert outcome.code == 0, outcome.err
    assert f"{setting} has no effect: {why}" in outcome.err


def test_another_number_of_thoughts_may_be_asked_for(here: Path) -> None:
    pauses = {"class_path": "Fixed", "init_args": {"hidden": "none", "kind": "pause", "thoughts": 2}}
    write_config(here, {"curriculum.schedule": pauses})
    assert lcot("fit", "-c", "tiny.yaml").code == 0
    config = "runs/tiny/config.yaml"
    assert lcot("test", "-c", config, "--curriculum.schedule.thoughts=1").code == 2
    assert lcot("test", "-c", config, "--curriculum.schedule.inference_thoughts=1").code == 0

"""Runs that write their rows from a prompt file: trained, tested, continued, and not mistaken for others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import lcot as package
from lcot.errors import UserError
from lcot.reasoning.example import ReasoningExample
from tests.tiny import lcot, write_config

QUESTION = ReasoningExample("Tom impus. Max hilpus. impus hilpus. hilpus or impus? Max", (), "", "own")

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


PAUSES = {"class_path": "Fixed", "init_args": {"hidden": "all", "kind": "pause", "thoughts": 2, "markers": "never"}}
SCHEDULES = {
    "none": CHAT["curriculum.schedule"],
    "continuous": {"class_path": "Stepwise", "init_args": COCONUT},
    "single pass": {"class_path": "Stepwise", "init_args": {**COCONUT, "passes": "single"}},
    "pause": PAUSES,
}


@pytest.mark.parametrize(
    "kind", [kind if kind == "continuous" else pytest.param(kind, marks=pytest.mark.slow) for kind in SCHEDULES]
)
def test_a_run_with_a_prompt_answers_and_is_analysed_as_any_other(here: Path, kind: str) -> None:
    write_config(here, {**CHAT, "curriculum.schedule": SCHEDULES[kind]})
    assert (outcome := lcot("fit", "-c", "tiny.yaml")).code == 0, outcome.err
    predicted = lcot("predict", "-c", "runs/tiny/config.yaml", "--predictions.path", "rows.jsonl")
    assert predicted.code == 0, predicted.err
    rows = [json.loads(line) for line in Path("rows.jsonl").read_text(encoding="utf-8").splitlines()]
    solver = package.load("runs/tiny")
    solutions = solver.solve([row["question"] for row in rows])
    assert [one.text for one in solutions] == [row["output"] for row in rows] != [""] * len(rows)
    assert [one.thoughts for one in solutions] == [row["thoughts"] for row in rows]
    # The prompt is asked for, and not another way to join the texts.
    (ids,) = (solver.builder.prompt(one, 0).ids for one in solver.builder.encode([QUESTION]))
    assert solver.tokenizer.decode(ids) == QUESTION.question
    analysed = lcot("analyze", "runs/tiny")
    assert analysed.code == 0, analysed.err
    found = json.loads(Path("runs/tiny/analysis/measurements.json").read_text(encoding="utf-8"))
    assert found["summary"]["heights"] and ("lens" in found["summary"]) == (kind != "none")
    accuracy = next(
        row["accuracy"]
        for row in found["summary"]["accuracy"]
        if row["thoughts"] == solver.thoughts and row["steps"] is None
    )
    assert accuracy == pytest.approx(sum(row["correct"] for row in rows) / len(rows))


def test_a_prompt_that_is_gone(here: Path) -> None:
    Path("own.yaml").write_text("extends: plain/prosqa\n", encoding="utf-8")
    write_config(here, {**CHAT, "data.init_args.dialogue": {"prompt": "own.yaml"}})
    assert lcot("fit", "-c", "tiny.yaml").code == 0
    assert package.load("runs/tiny").solve([QUESTION.question])[0].question == QUESTION.question
    Path("own.yaml").unlink()
    with pytest.raises(UserError, match=r"own\.yaml"):
        package.load("runs/tiny")


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

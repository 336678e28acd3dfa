"""Models that nothing was trained in answer from Python as the command line lets them answer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

import lcot as package
from lcot.errors import CheckpointError, UserError
from lcot.runs.untrained import is_released, is_untrained
from tests.stand_ins import chat_model, softcot_models
from tests.tiny import lcot, write_config

CPU = "--trainer.accelerator=cpu"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to run in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def predicted(*words: object) -> list[dict[str, Any]]:
    """What a command that trains nothing wrote into the run ``zero``."""
    outcome = lcot("predict", *words, "--ckpt_path=none", "--name=zero", CPU)
    assert outcome.code == 0, outcome.err
    lines = Path("runs/zero/predictions.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def asked_again(rows: list[dict[str, Any]]) -> list[tuple[str, str | None, int]]:
    """What the run answers when it is loaded."""
    assert is_untrained(Path("runs/zero")) and not is_released(Path("runs/zero"))
    solutions = package.load("runs/zero").solve([row["question"] for row in rows])
    return [(one.text, one.answer, one.thoughts) for one in solutions]


def expected(rows: list[dict[str, Any]]) -> list[tuple[str, str | None, int]]:
    """The same of what was written."""
    return [(row["output"], row["answer"], row["thoughts"]) for row in rows]


@pytest.mark.parametrize("seed", [0, 3])
def test_a_model_from_scratch_that_thinks(here: Path, seed: int) -> None:
    write_config(here)
    rows = predicted("-c", "tiny.yaml", f"--seed_everything={seed}")
    assert rows[0]["thoughts"] == 1
    assert asked_again(rows) == expected(rows)


@pytest.mark.parametrize("method", ["zero_shot_cot", "cot_unk", "softcot_zeros", "softcot_random", "assist_cot"])
def test_models_of_softcot(here: Path, method: str) -> None:
    softcot_models(here)
    small = [f"--data.{split}_size=4" for split in ("train", "val", "test")]
    rows = predicted("-c", "softcot_prosqa", "-c", method, *small, "--model.max_new_tokens=5", "--seed_everything=3")
    assert asked_again(rows) == expected(rows)


def test_what_cannot_be_asked_is_refused(here: Path) -> None:
    write_config(here)
    predicted("-c", "tiny.yaml")
    with pytest.raises(UserError, match="prompt is 'chat/math'"):
        package.load("runs/zero", prompt="chat/math")
    with pytest.raises(UserError, match="backbone is 'elsewhere'"):
        package.load("runs/zero", backbone="elsewhere")
    config = Path("runs/zero/config.yaml")
    settings = yaml.safe_load(config.read_text(encoding="utf-8"))
    settings["model"]["class_path"] = "somebodys.Method"
    config.write_text(yaml.safe_dump(settings), encoding="utf-8")
    with pytest.raises(CheckpointError, match="cannot be made as it made them"):
        package.load("runs/zero")


def test_a_model_is_told_from_a_run(here: Path, trained: Path) -> None:
    model = chat_model(here / "model")
    assert is_released(model) and is_released(here / "model.gguf") and not is_untrained(model)
    assert not is_released(trained) and not is_untrained(trained)
    with pytest.raises(UserError, match="prompt is 'chat/math'"):
        package.load(trained, prompt="chat/math")
    (solution,) = package.load(model).solve(["How many?"], batch_size=1)
    assert solution.thoughts == 0 and solution.tokens <= 512

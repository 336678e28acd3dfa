"""Settings that do nothing are told, those of the command line only."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.places import ROOT
from tests.stand_ins import PRONTOQA
from tests.tiny import RECORD, lcot, write_config, write_records

FIT = ("fit", "-c", "tiny.yaml")
TRIAL = ("--trainer.fast_dev_run=true", "--trainer.accelerator=cpu")


@pytest.mark.filterwarnings("default::lcot.errors.IgnoredSettingWarning")
@pytest.mark.parametrize(
    ("given", "why"),
    [
        (["--model.sampling.top_k=3"], "greedy"),
        (["--curriculum.eval_stage=1"], "fit validates in the stage that it trains"),
        (["--model.backbone.new_tokens=random"], "from scratch"),
        (["--curriculum.schedule.mix_support=seen"], "mix_probability is 0"),
        (["--data.too_long=drop"], "data.max_length is not set"),
        (["--data.train_size=6", "--data.train_path=train.json", "--data.style=prose"], "read whole"),
        (["--data.parents=1", "--data.train_path=train.json", "--data.val_path=train.json", "--data.style=prose"],
         "all examples are read from files"),
        (["--model.lr_scheduler=WarmupStableDecay", "--model.lr_scheduler.floor=0.1"], "decay 0"),
        (["--curriculum.schedule.epochs_per_stage=[1, 2]"], "trainer.max_epochs, 2, and the sum is 3"),
        (["--curriculum.schedule=Fixed", "--curriculum.schedule.hidden=none", "--dashboard.tree=validation"],
         "thoughts that stand for steps"),
        (["--curriculum.schedule=Fixed", "--curriculum.schedule.hidden=none", "--dashboard.thoughts=true"],
         "there are no thoughts"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_a_setting_without_effect_is_told_in_one_line(
    given: list[str], why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_config(tmp_path)
    write_records(tmp_path / "train.json", RECORD)
    outcome = lcot(*FIT, *given, "--trainer.fast_dev_run=true")
    assert outcome.code == 0, outcome.err
    (line,) = [line for line in outcome.err.splitlines() if "has no effect" in line]
    assert line.startswith("lcot: warning: ") and why in line
    assert given[-1] in line or given[0] in line


@pytest.mark.filterwarnings("default::lcot.errors.IgnoredSettingWarning")
@pytest.mark.parametrize(("command", "moot"), [("validate", "hparams"), ("test", "questions"), ("predict", "tree")])
def test_evaluations_have_no_curves(trained: Path, command: str, moot: str) -> None:
    value = {"hparams": "false", "questions": "3", "tree": "never"}[moot]
    words = ["-c", trained / "config.yaml", f"--runs_dir={trained.parent}", *TRIAL, f"--dashboard.{moot}={value}"]
    outcome = lcot(command, *words)
    assert outcome.code == 0, outcome.err
    assert f"--dashboard.{moot}={value} has no effect: {command}" in outcome.err


@pytest.mark.filterwarnings("default::lcot.errors.IgnoredSettingWarning")
def test_validation_has_no_votes_and_no_training(trained: Path) -> None:
    words = ["-c", trained / "config.yaml", f"--runs_dir={trained.parent}", *TRIAL, "--model.sampling.temperature=1"]
    words += ["--data.train_ask=either"]
    for command, told in (("validate", True), ("test", False)):
        outcome = lcot(command, *words, "--model.voting.runs=2")
        assert outcome.code == 0, outcome.err
        assert ("--model.voting.runs=2 has no effect: validation takes one text" in outcome.err) == told
        assert f"--data.train_ask=either has no effect: {command} trains nothing" in outcome.err


@pytest.mark.filterwarnings("default::lcot.errors.IgnoredSettingWarning")
@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["-c", "CONFIGS/prontoqa.yaml", "--data.path=FILE", "--data.concepts=12"], "all examples are read from files"),
        (["-c", "CONFIGS/multiplication.yaml", "--data.train_path=FILE", "--data.redraw=all"], "read as it stands"),
        (["-c", "CONFIGS/prosqa.yaml", "--data.stage_target=frontier"], "writes all remaining steps"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_settings_of_a_generator_beside_a_file(words: list[str], why: str, tmp_path: Path) -> None:
    pronto, product = tmp_path / "pronto.json", tmp_path / "product.txt"
    pronto.write_text(json.dumps(PRONTOQA), encoding="utf-8")
    product.write_text("0 1 * 0 2||0 0 0 + 0 0 2 0 #### 0 0 2 0\n", encoding="utf-8")
    file = pronto if "CONFIGS/prontoqa.yaml" in words else product
    words = [word.replace("CONFIGS", str(ROOT / "configs")).replace("FILE", str(file)) for word in words]
    sizes = [f"--data.{split}_size=2" for split in ("train", "val", "test")]
    if "mult" in words[1]:  # the file is its training data
        sizes = sizes[1:]
    outcome = lcot(
        "fit", *words, *sizes, "--data.digits=[2,2]" if "mult" in words[1] else "--data.batch_size=2", *TRIAL
    )
    assert outcome.code == 0, outcome.err
    assert [line for line in outcome.err.splitlines() if "has no effect" in line and why in line]


@pytest.mark.filterwarnings("default::lcot.errors.IgnoredSettingWarning")
def test_a_method_laid_over_a_data_set_is_not_warned_about(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_config(tmp_path)
    cot = ROOT / "configs" / "methods" / "cot.yaml"
    quiet = lcot(*FIT, "-c", cot, "--trainer.fast_dev_run=true")
    assert quiet.code == 0 and "has no effect" not in quiet.err
    outcome = lcot(*FIT, "-c", cot, "--curriculum.schedule.markers=never", "--trainer.fast_dev_run=true")
    assert outcome.code == 0 and "no thoughts (kind 'none')" in outcome.err

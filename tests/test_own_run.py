"""A run's own config leads to that run, wherever its folder is by now, and whatever has its former place."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml

from tests.tiny import contents, lcot, write_config


@pytest.fixture
def original(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The finished run as ``runs/tiny``, which its config says too; commands start beside ``runs``."""
    monkeypatch.chdir(tmp_path)
    write_config(tmp_path)
    run = Path(shutil.copytree(trained, tmp_path / "runs" / "tiny")).relative_to(tmp_path)
    text = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(text.replace(str(trained.parent), "runs"))
    return run


@pytest.fixture
def copied(original: Path) -> Path:
    """A copy of it in another folder."""
    return Path(shutil.copytree(original, "copies/mine"))


def done(*words: object) -> str:
    """What a command says that must succeed."""
    outcome = lcot(*words)
    assert outcome.code == 0, outcome.err
    return outcome.err


@pytest.mark.parametrize(
    ("command", "file"), [("test", "test.json"), ("validate", "validate.json"), ("predict", "predictions.jsonl")]
)
@pytest.mark.parametrize("laid_over", [False, True])
def test_a_copy_is_what_is_evaluated(original: Path, copied: Path, command: str, file: str, laid_over: bool) -> None:
    before = contents(Path())
    Path("more.yaml").write_text("data: {init_args: {eval_batch_size: 2}}\n")
    done(command, "-c", copied / "config.yaml", *(["-c", "more.yaml"] if laid_over else []))
    new = set(contents(Path())) - set(before) - {"more.yaml"}
    assert {name for name in new if "tfevents" not in name} == {f"copies/mine/{file}"}
    assert all(name.startswith("copies/mine/") for name in new)
    if command != "predict":
        checkpoint = json.loads((copied / file).read_text())["checkpoint"]
        assert checkpoint == "copies/mine/checkpoints/best-stage1-epoch001.ckpt"


def test_from_within_its_folder(original: Path, copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = contents(original)
    monkeypatch.chdir(copied)
    done("test", "-c", "config.yaml")
    assert Path("test.json").is_file() and not Path("runs").exists()
    monkeypatch.chdir("../..")
    assert contents(original) == before


def test_a_renamed_run_is_found(original: Path) -> None:
    renamed = original.rename("runs/other")
    done("test", "-c", renamed / "config.yaml")
    assert (renamed / "test.json").is_file() and not Path("runs/tiny").exists()


def test_a_copy_is_what_is_continued(original: Path, copied: Path) -> None:
    before = contents(original)
    said = done("fit", "-c", copied / "config.yaml", "--resume=true", "--trainer.max_epochs=3")
    assert "continuing from copies/mine/checkpoints/last.ckpt: epoch 2, step 4" in said
    assert contents(original) == before
    saved = torch.load(copied / "checkpoints" / "last.ckpt", weights_only=True)
    assert saved["global_step"] == 6
    written = yaml.safe_load((copied / "config.resume1.yaml").read_text())
    assert (written["runs_dir"], written["name"]) == ("copies", "mine")
    # What it was continued with is a config of the same run.
    done("test", "-c", copied / "config.resume1.yaml")
    assert (copied / "test.json").is_file() and contents(original) == before


def test_a_method_over_a_run_is_refused_where_it_would_mix_with_it(original: Path, copied: Path) -> None:
    Path("cot.yaml").write_text("curriculum: {schedule: {class_path: Fixed, init_args: {hidden: none, kind: none}}}\n")
    before = contents(Path())
    outcome = lcot("fit", "-c", copied / "config.yaml", "-c", "cot.yaml")
    assert outcome.code == 2 and "'copies/mine' already holds a run" in outcome.block
    outcome = lcot("fit", "-c", copied / "config.yaml", "-c", "cot.yaml", "--resume=true", "--trainer.max_epochs=3")
    assert outcome.code == 2 and "'copies/mine' was started with other settings" in outcome.block
    assert contents(Path()) == before


@pytest.mark.parametrize("given", [["--name=new"], ["-c", "named.yaml"]])
def test_a_name_that_was_given_counts(original: Path, copied: Path, given: list[str]) -> None:
    Path("named.yaml").write_text("name: new\n")
    before = contents(copied), contents(original)
    done("fit", "-c", copied / "config.yaml", *given, "--trainer.max_epochs=2")
    assert Path("runs/new/checkpoints/last.ckpt").is_file()
    assert (contents(copied), contents(original)) == before


def test_a_config_that_lies_beside_no_run_is_none(original: Path) -> None:
    Path("kept").mkdir()
    shutil.copy(original / "config.yaml", "kept/config.yaml")
    done("test", "-c", "kept/config.yaml")
    assert (original / "test.json").is_file() and len(list(Path("kept").iterdir())) == 1

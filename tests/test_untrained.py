"""Methods that train nothing (``ckpt_path: none``): their models are evaluated as they are."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from transformers import AutoModelForCausalLM

from lcot.datamodules.tokenizers import load_tokenizer
from lcot.modules.answering import AnsweringModule
from tests.stand_ins import pretrained
from tests.tiny import contents, lcot, settings, write_config
from tests.training import tiny_data

NONE = "--ckpt_path=none"
WRITTEN = {"test": "test.json", "validate": "validate.json", "predict": "predictions.jsonl"}
COT = {"curriculum.schedule": {"class_path": "Fixed", "init_args": {"hidden": "none", "kind": "none"}}}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a config and nothing else; commands start there."""
    monkeypatch.chdir(tmp_path)
    write_config(tmp_path)
    return tmp_path


def done(*words: object) -> None:
    """A command that must succeed."""
    outcome = lcot(*words)
    assert outcome.code == 0, outcome.err


def refused(*words: object) -> str:
    """The block of a command that must leave everything as it was."""
    before = contents(Path.cwd())
    outcome = lcot(*words)
    assert outcome.code == 2, outcome.err
    assert contents(Path.cwd()) == before
    assert len(outcome.block.splitlines()) <= 5 and "Traceback" not in outcome.err
    return outcome.block


def names(folder: Path) -> set[str]:
    """What is in a run's folder."""
    return {path.name for path in folder.iterdir()}


def read(file: str) -> Any:
    """A report or a config of the run."""
    return yaml.safe_load((Path("runs/tiny") / file).read_text(encoding="utf-8"))


@pytest.mark.parametrize("command", WRITTEN)
def test_what_is_written(here: Path, command: str) -> None:
    done(command, "-c", "tiny.yaml", NONE)
    run = here / "runs" / "tiny"
    assert names(run) == {"config.yaml", "tokenizer", WRITTEN[command]}
    assert read("config.yaml")["ckpt_path"] == "none"
    assert (run / "tokenizer" / "tokenizer.json").is_file()
    # The folder says all that it takes to do the same again.
    before = contents(run)
    done(command, "-c", run / "config.yaml")
    changed = {file for file, content in contents(run).items() if content != before[file]}
    assert changed <= {WRITTEN[command]}, "times differ"


def test_what_the_report_says(here: Path) -> None:
    write_config(here, {"ckpt_path": "none"})
    done("test", "-c", "tiny.yaml")
    report = read("test.json")
    assert report["checkpoint"] == "none" and report["trained_steps"] is None
    assert report["metrics"]["test/examples"] == settings()["data"]["init_args"]["test_size"]
    assert report["metrics"]["test/thoughts"] == 1, "that of the last stage"
    done("validate", "-c", "tiny.yaml")
    assert names(here / "runs" / "tiny") == {"config.yaml", "tokenizer", "test.json", "validate.json"}


def test_a_pretrained_model_answers_as_it_is(here: Path) -> None:
    model = pretrained(here / "model", tiny_data().vocabulary())
    text = {"after_question": "", "after_step": "", "before_answer": "### "}
    known = {"model.init_args.backbone": {"path": str(model)}, "data.init_args.tokenizer": str(model)}
    write_config(here, {**COT, **known, "data.init_args.text": text})
    before = contents(model)
    done("predict", "-c", "tiny.yaml", NONE)
    rows = [json.loads(line) for line in Path("runs/tiny/predictions.jsonl").read_text().splitlines()]
    assert rows and [row["output"] for row in rows] == [greedy(model, row["question"]) for row in rows]
    assert contents(model) == before


def greedy(model: Path, question: str) -> str:
    """What a model writes by itself, re-reading all of it for each token."""
    tokenizer, network = load_tokenizer(model), AutoModelForCausalLM.from_pretrained(model)
    ids: list[int] = tokenizer(question)["input_ids"]
    start = len(ids)
    while len(ids) - start < 3 and ids[-1] != tokenizer.eos_token_id:
        ids.append(int(network(torch.tensor([ids])).logits[0, -1].argmax()))
    return str(tokenizer.decode([token for token in ids[start:] if token != tokenizer.eos_token_id]))


def test_a_trial_writes_nothing(here: Path) -> None:
    before = contents(here)
    for command in WRITTEN:
        done(command, "-c", "tiny.yaml", NONE, "--trainer.fast_dev_run=true")
    assert contents(here) == before


@pytest.mark.parametrize("command", WRITTEN)
def test_what_breaks_off_leaves_nothing(here: Path, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object) -> None:
        raise ZeroDivisionError

    for name in ("answer", "answers_in_turn"):
        monkeypatch.setattr(AnsweringModule, name, fail)
    before = contents(here)
    with pytest.raises(ZeroDivisionError):
        lcot(command, "-c", "tiny.yaml", NONE)
    assert contents(here) == before


# -- refusals ---------------------------------------------------------------------------------------------------------


def test_it_is_nothing_to_train(here: Path) -> None:
    block = refused("fit", "-c", "tiny.yaml", NONE)
    assert "this method trains nothing" in block and "use validate, test or predict" in block and NONE in block
    config = write_config(here, {"ckpt_path": "none"})
    last = len(config.read_text().splitlines())
    block = refused("fit", "-c", "tiny.yaml", "--trainer.fast_dev_run=true")
    assert "this method trains nothing" in block and f"(tiny.yaml, line {last})" in block
    assert "train" in refused("fit", "-c", "tiny.yaml", "--resume=true")


@pytest.mark.parametrize("command", WRITTEN)
def test_a_trained_runs_folder_is_none_for_it(here: Path, trained: Path, command: str) -> None:
    shutil.copytree(trained, here / "runs" / "tiny")
    block = refused(command, "-c", "tiny.yaml", NONE)
    assert "'runs/tiny' holds a run that was trained" in block and "give another --name" in block
    done(command, "-c", "tiny.yaml", NONE, "--name=other")


@pytest.mark.parametrize("resume", [(), ("--resume=true",)])
def test_its_folder_is_none_for_training(here: Path, resume: tuple[str, ...]) -> None:
    done("test", "-c", "tiny.yaml", NONE)
    block = refused("fit", "-c", "tiny.yaml", *resume)
    assert "holds results of models as they are" in block and "give another --name, or delete the folder" in block
    assert "no run at 'runs/tiny'" in refused("test", "-c", "tiny.yaml")

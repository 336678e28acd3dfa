"""What ``lcot analyze`` refuses, and that it then leaves nothing behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path

import pytest
import yaml

import lcot as api
from lcot.analysis.charts import Chart
from tests.tiny import Outcome, contents, lcot, write_records
from tests.training import tiny_data


@pytest.fixture
def fresh(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the finished run in ``runs/tiny``; commands start beside it."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(trained, tmp_path / "runs" / "tiny")
    return Path("runs/tiny")


def refused(*words: object) -> str:
    """The block of a command that must leave everything as it was."""
    before = contents(Path.cwd())
    outcome: Outcome = lcot("analyze", *words)
    assert outcome.code == 2, outcome.err
    assert contents(Path.cwd()) == before
    assert len(outcome.block.splitlines()) <= 5 and "Traceback" not in outcome.err
    return outcome.block


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "the following arguments are required: RUN"),
        (("runs/tine",), "there is no run at 'runs/tine'"),
        (("runs/tiny", "--thought=1"), "did you mean '--thoughts'?"),
        (("runs/tiny", "--model.max_new_tokens=4"), "only settings of the data are passed on"),
        (("runs/tiny", "--thoughts", "two"), "a number of thoughts is 'two'"),
        (("runs/tiny", "--thoughts", "all", "1"), "all beside numbers"),
        (("runs/tiny", "--thoughts", "500"), "500 thoughts need"),
        (("runs/tiny", "--limit=0"), "limit is 0"),
        (("runs/tiny", "--split=val", "--data=none.json"), "both say which questions are asked"),
        (("runs/tiny", "--data=none.json"), "there is no file 'none.json'"),
        (("runs/tiny", "--split=train"), "invalid choice: 'train'"),
        (("runs/tiny", "--checkpoint=bets.ckpt"), "unknown checkpoint 'bets.ckpt'"),
        (("runs/tiny", "--device=cuda:99"), "the device is 'cuda:99'"),
        (("runs/tiny", "--device=mps"), "the device is 'mps'"),
        (("runs/tiny", "--data.batch_size=0"), "batch_size is 0"),
    ],
)
def test_what_is_refused(fresh: Path, words: tuple[str, ...], says: str) -> None:
    assert says in refused(*words)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "the file is empty"),
        ("[]", "the file holds no record"),
        ("[{]", "not valid JSON"),
        (json.dumps([{"question": "x?", "steps": ["y"], "answer": "z"}]), "has no field 'idx_to_symbol'"),
    ],
)
def test_files_that_cannot_be_used(fresh: Path, text: str, says: str) -> None:
    Path("bad.json").write_text(text, encoding="utf-8")
    assert says in refused(fresh, "--data", "bad.json")


def test_a_checkpoint_of_another_tokenizer(fresh: Path) -> None:
    file = fresh / "tokenizer" / "tokenizer.json"
    described = json.loads(file.read_text(encoding="utf-8"))
    vocabulary = described["model"]["vocab"]
    first, second = [token for token in vocabulary if token.startswith("▁")][:2]
    vocabulary[first], vocabulary[second] = vocabulary[second], vocabulary[first]
    file.write_text(json.dumps(described), encoding="utf-8")
    assert "trained with another tokenizer" in refused(fresh)


def test_folders_that_cannot_be_written(fresh: Path) -> None:
    Path("file").touch()
    assert "nothing can be written to 'file/below'" in refused(fresh, "--out", "file/below")
    assert "'file' is a file" in refused(fresh, "--out", "file")
    assert "holds other files" in refused(fresh, "--out", "runs")


def test_an_exported_model_knows_no_data(fresh: Path) -> None:
    api.load(fresh).save_pretrained("exported")
    assert "it is an exported model" in refused("exported")


def test_a_run_that_trained_nothing(fresh: Path) -> None:
    shutil.rmtree(fresh / "checkpoints")
    assert "has no checkpoint" in (block := refused(fresh)) and "baselines that train nothing" in block


def test_a_fault_in_the_middle_leaves_nothing(fresh: Path) -> None:
    source = tiny_data(nodes=(5, 7), hops=(1, 2)).make_source("test")
    good = [source.example(number, 0) for number in range(2)]
    records = [{"question": e.question, "steps": list(e.steps), "answer": e.answer, **e.facts} for e in good]
    write_records(Path("late.json"), *records, {**records[0], "root": 99})
    assert "'2' has a field 'root' that is no node" in refused(fresh, "--data", "late.json", "--batch_size=1")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)])
def test_being_told_to_stop_leaves_nothing(
    fresh: Path, number: signal.Signals, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = []

    def told(chart: Chart, folder: Path) -> str:
        begun.append(folder.name)
        os.kill(os.getpid(), number)
        signal.sigtimedwait([], 5)
        raise AssertionError("it went on")

    monkeypatch.setattr("lcot.analysis.write.save_chart", told)
    # Whoever started the tests may have it ignored.
    usual = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
    former = signal.signal(number, usual)
    before = contents(Path.cwd())
    try:
        outcome = lcot("analyze", fresh)
    finally:
        signal.signal(number, former)
    assert outcome.code == code and begun[0].startswith(".analysis.part-")
    assert contents(Path.cwd()) == before
    assert "Traceback" not in outcome.err


def test_its_help() -> None:
    assert "usage: lcot analyze RUN" in lcot("analyze", "--help").out
    assert "  analyze   measure what" in lcot("--help").out


def test_a_data_set_without_files(fresh: Path) -> None:
    config = fresh / "config.yaml"
    made = yaml.safe_load(config.read_text(encoding="utf-8"))
    made["data"] = {"class_path": "lcot.datamodules.ClosedProsQA", "init_args": {"batch_size": 4}}
    config.write_text(yaml.safe_dump(made), encoding="utf-8")
    Path("some.json").write_text("[]", encoding="utf-8")
    assert "reads no file" in refused(fresh, "--data", "some.json")

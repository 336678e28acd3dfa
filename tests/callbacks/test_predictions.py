"""Answers of any number of ranks end in one file, which is whole or not there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lcot.callbacks import PredictionWriter
from lcot.errors import UserError
from lcot.runs.files import beside

MODULE: Any = None
"""The writer does not look at the module."""


def rank(number: int, world: int, folder: Path) -> Any:
    """What a callback sees of one process's trainer."""
    return SimpleNamespace(
        global_rank=number,
        world_size=world,
        is_global_zero=number == 0,
        default_root_dir=str(folder),
        strategy=SimpleNamespace(
            barrier=lambda: None,
            broadcast=lambda mine: mine,
            reduce_boolean_decision=lambda mine, all: mine,
        ),
        state=SimpleNamespace(fn="predict"),
    )


def write(writer: PredictionWriter, trainer: Any, *batches: list[int]) -> None:
    """Batches of records with these places in the data."""
    writer.on_predict_start(trainer, MODULE)
    for number, places in enumerate(batches):
        records = [{"index": place, "output": f"impus №{place}\nhilpus"} for place in places]
        writer.write_on_batch_end(trainer, MODULE, records, None, None, number, 0)


@pytest.mark.parametrize("world", [1, 2, 3])
def test_records_stand_in_the_order_of_the_data(tmp_path: Path, world: int) -> None:
    writer = PredictionWriter(str(tmp_path / "new" / "answers.jsonl"))
    trainers = [rank(number, world, tmp_path) for number in range(world)]
    order = [3, 0, 10, 2, 9, 1, 4, 11, 5, 8, 6, 7]  # by length, as batches are; 10 comes behind 9
    for number, trainer in enumerate(trainers):
        mine = order[number::world]
        write(writer, trainer, mine[:2], mine[2:])
    for trainer in reversed(trainers):
        writer.on_predict_end(trainer, MODULE)
    lines = (tmp_path / "new" / "answers.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["index"] for line in lines] == list(range(12))
    assert json.loads(lines[7])["output"] == "impus №7\nhilpus" and "№" in lines[7]
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["answers.jsonl"]


def test_any_text_stands_in_one_line(tmp_path: Path) -> None:
    said = "a\u2028b\u2029c\x85d\x0be\x0cf\x1cg\x1dh\x1ei\r\nj\rk \u00e9\u2713"
    writer, trainer = PredictionWriter(), rank(0, 1, tmp_path)
    writer.on_predict_start(trainer, MODULE)
    writer.write_on_batch_end(
        trainer, MODULE, [{"index": 1, "output": said}, {"index": 0, "output": ""}], None, None, 0, 0
    )
    writer.on_predict_end(trainer, MODULE)
    text = (tmp_path / "predictions.jsonl").read_text(encoding="utf-8")
    assert len(text.splitlines()) == 2 and "\u00e9\u2713" in text
    with (tmp_path / "predictions.jsonl").open(encoding="utf-8") as file:
        assert [json.loads(line)["output"] for line in file] == ["", said]


def test_the_file_is_in_the_folder_of_the_run_if_no_path_is_given(tmp_path: Path) -> None:
    writer = PredictionWriter()
    write(writer, rank(0, 1, tmp_path), [0])
    writer.on_predict_end(rank(0, 1, tmp_path), MODULE)
    assert [path.name for path in tmp_path.iterdir()] == ["predictions.jsonl"]


def test_a_prediction_that_breaks_off_leaves_the_older_file(tmp_path: Path) -> None:
    (tmp_path / "predictions.jsonl").write_text("older\n")
    writer, trainer = PredictionWriter(), rank(0, 1, tmp_path)
    write(writer, trainer, [0])
    writer.on_exception(trainer, MODULE, KeyboardInterrupt())
    assert [path.name for path in tmp_path.iterdir()] == ["predictions.jsonl"]
    assert (tmp_path / "predictions.jsonl").read_text() == "older\n"


def test_a_part_that_a_killed_command_left_is_not_taken_in(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        pass
    part = beside(tmp_path / "predictions.jsonl", "answers")
    stale = part.with_name(part.name.replace(str(os.getpid()), str(gone.pid)))
    stale.mkdir()
    (stale / "0.jsonl").write_text('{"index": 99}\n')
    writer, trainer = PredictionWriter(), rank(0, 1, tmp_path)
    write(writer, trainer, [1, 0])
    writer.on_predict_end(trainer, MODULE)
    lines = (tmp_path / "predictions.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["index"] for line in lines] == [0, 1]
    assert [path.name for path in tmp_path.iterdir()] == ["predictions.jsonl"]


def test_two_commands_at_once_do_not_mix_their_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer, first, second = rank(0, 1, tmp_path), PredictionWriter(), PredictionWriter()
    write(first, trainer, [3, 1])
    with monkeypatch.context() as patches:
        patches.setattr(os, "getpid", os.getppid)
        write(second, trainer, [7, 5])
        first.write_on_batch_end(trainer, MODULE, [{"index": 2, "output": ""}], None, None, 1, 0)
        for writer, found in ((first, [1, 2, 3]), (second, [5, 7])):
            writer.on_predict_end(trainer, MODULE)
            lines = (tmp_path / "predictions.jsonl").read_text(encoding="utf-8").splitlines()
            assert [json.loads(line)["index"] for line in lines] == found
    assert [path.name for path in tmp_path.iterdir()] == ["predictions.jsonl"]


def test_nodes_without_a_shared_folder_are_refused(tmp_path: Path) -> None:
    far = rank(1, 2, tmp_path / "far")
    far.strategy.broadcast = lambda mine: str(tmp_path / "near" / "of rank 0")
    with pytest.raises(UserError, match="not every process sees") as caught:
        PredictionWriter().on_predict_start(far, MODULE)
    assert "a folder that all nodes share" in str(caught.value) and not list(tmp_path.iterdir())


def test_other_commands_have_no_parts(tmp_path: Path) -> None:
    trainer = rank(0, 1, tmp_path)
    trainer.state.fn = "fit"
    beside(tmp_path / "predictions.jsonl", "answers").mkdir()
    PredictionWriter().on_exception(trainer, MODULE, KeyboardInterrupt())
    assert beside(tmp_path / "predictions.jsonl", "answers").exists(), "of a predict that runs beside"

"""One bit a question: what is written is read, from any number of ranks, and what does not add up is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lcot.errors import DataError
from lcot.runs.by_question import ByQuestion, Marks
from lcot.runs.run import read_run
from tests.compare.folders import write_run
from tests.tiny import lcot, write_config

METRICS = {"metrics.test/accuracy": 0.5, "split.examples": 6, "split.of": 7}
WHOLE = {"asked": "de", "right": ["52"]}  # asked 1101 111(0), right 0101 001(0)


def read(folder: Path, by_question: Any, **changes: Any) -> ByQuestion | None:
    """What is read of a report about six of seven questions, half of them answered right."""
    report = {**METRICS, "by_question": by_question, **changes}
    result = read_run(write_run(folder, "coconut-0", report=report)).result
    assert result is not None
    return result.by_question


def test_by_hand(tmp_path: Path) -> None:
    found = read(tmp_path, WHOLE)
    assert found is not None and found.of == 7
    assert found.places(found.asked) == [0, 1, 3, 4, 5, 6]
    assert [found.places(run) for run in found.right] == [[1, 3, 6]]


def test_what_is_marked_is_what_is_read(tmp_path: Path) -> None:
    marks = Marks(7, runs=2)
    marks.add([6, 0, 3], [[True, False, True], [False, False, True]])
    marks.add([5, 1], [[False, True], [True, True]])
    marks.add([4], [[False], [False]])
    accuracy = {"metrics.test/accuracy": 0.5, "protocol.decoding": {"runs": 2}}
    found = read(tmp_path, json.loads(json.dumps(marks.described())), **accuracy)
    assert found is not None and marks.described()["asked"] == "de"
    assert [found.places(run) for run in found.right] == [[1, 3, 6], [1, 3, 5]]


@pytest.mark.parametrize(
    "record",
    [
        {"asked": "de", "right": []},
        {"asked": "de", "right": ["50"]},  # a third
        {"asked": "fe", "right": ["52"]},  # seven were asked
        {"asked": "de", "right": ["70"]},  # right, and was not asked
        {"asked": "df", "right": ["52"]},  # an eighth question
        {"asked": "d", "right": ["5"]},
        {"asked": "dg", "right": ["52"]},
        {"asked": "de", "right": ["52", "52"]},  # two runs, where one was reported
        {"asked": "de"},
        {"asked": 3, "right": ["52"]},
        "de",
    ],
)
def test_what_does_not_add_up(tmp_path: Path, record: Any) -> None:
    with pytest.raises(DataError, match="by_question"):
        read(tmp_path, record)


def test_a_report_of_an_older_version(tmp_path: Path) -> None:
    assert read(tmp_path / "null", None) is None
    path = write_run(tmp_path, "coconut-0")
    assert "by_question" not in json.loads((path / "test.json").read_text())
    result = read_run(path).result
    assert result is not None and result.by_question is None


def test_commands_write_what_predict_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the command line: bit for bit what the predictions call correct, and of some batches only those."""
    monkeypatch.chdir(tmp_path)
    sampled = {"temperature": 2.0}
    config = write_config(tmp_path, {"model.init_args.sampling": sampled, "data.init_args.test_size": 37})
    voted = "--model.voting.runs=2"
    for words in (["fit"], ["test"], ["test", voted], ["predict", voted], ["validate"]):
        outcome = lcot(*words, "-c", config)
        assert outcome.code in (0, None), outcome.err
    folder = tmp_path / "runs" / "tiny"
    (file,) = folder.glob("predictions-*.jsonl")
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    (voting,) = folder.glob("test-*.json")
    own, two = read_run(folder).result, read_run(folder, "test", voting).result
    val = read_run(folder, "val").result
    assert own is not None and own.by_question is not None and two is not None and two.by_question is not None
    runs = [[row["index"] for row in rows if row["samples"][run]["correct"]] for run in (0, 1)]
    assert [two.by_question.places(run) for run in two.by_question.right] == runs
    assert [own.by_question.places(run) for run in own.by_question.right] == runs[:1]
    assert own.by_question.places(own.by_question.asked) == list(range(37))
    assert val is not None and val.by_question is not None and val.by_question.of == 5
    some = ["--trainer.limit_test_batches=2", "--data.eval_batch_size=4"]
    outcome = lcot("test", "-c", config, *some)
    assert outcome.code in (0, None), outcome.err
    (limited,) = {*folder.glob("test-*.json")} - {voting}
    part = read_run(folder, "test", limited).result
    assert part is not None and part.by_question is not None
    asked = part.by_question.places(part.by_question.asked)
    assert len(asked) == 8
    assert part.by_question.places(part.by_question.right[0]) == [place for place in asked if place in runs[0]]

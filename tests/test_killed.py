"""Every command is killed anywhere, by a clock or at a chosen moment, and ends as if nothing had been when repeated."""

from __future__ import annotations

import csv
import os
import random
import re
import shutil
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from lcot.analysis import causal
from lcot.analysis import folder as analysis_folder
from lcot.analysis import write as analysis_write
from lcot.callbacks import BestCheckpoint, LastCheckpoint, PredictionWriter
from lcot.callbacks import predictions as predictions_module
from lcot.cli import compare as compare_cli
from lcot.compare.launch import Launcher
from lcot.runs import record, writer
from lcot.runs.folder import RunFolder
from lcot.runs.writer import RunFiles
from tests.reports import reports
from tests.whole_runs import Sabotage, call, die, differences, last, replace, same_state, settings, write_config

pytestmark = pytest.mark.slow

_TIMES = re.compile("seconds|memory|wall|cpu|hours|minutes|runs|command|starts")

KILLS: list[str] = []
"""Of this session, for the figure."""

SMALL = {"train_size": 20, "val_size": 5, "test_size": 5}
"""Three steps an epoch: kills are many."""


def words_of(command: str, config: Path) -> list[str]:
    """A command line on the run beside a config."""
    run_folder = config.parent / "runs" / "run"
    if command == "fit":
        return ["fit", "-c", str(config), "--runs_dir", str(config.parent / "runs"), "--resume=true"]
    if command in ("analyze", "probe"):
        return [command, str(run_folder), "--device=cpu"]
    return [command, "-c", str(run_folder / "config.yaml")]


def made(place: Path, *commands: str) -> Path:
    """A run that nobody disturbs, and what these commands make of it."""
    place.mkdir(exist_ok=True)
    config = write_config(place, settings(**SMALL))
    for command in ("fit", *commands):
        assert call(words_of(command, config)) == 0
    return config


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All that is expected in the end."""
    return made(tmp_path_factory.mktemp("undisturbed"), "test", "predict", "analyze", "probe")


def before(owner: Any, name: str, count: int = 1) -> Sabotage:
    """The process is killed right before a function is called for that many times."""
    return around(owner, name, count, behind=False)


def behind(owner: Any, name: str, count: int = 1) -> Sabotage:
    """The process is killed right behind it."""
    return around(owner, name, count, behind=True)


def around(owner: Any, name: str, count: int, *, behind: bool) -> Sabotage:
    """Kill the process beside one call of a function."""

    def sabotage() -> None:
        inner, calls = getattr(owner, name), [0]

        def watched(*args: Any, **options: Any) -> Any:
            calls[0] += 1
            if calls[0] == count and not behind:
                die()
            found = inner(*args, **options)
            if calls[0] == count and behind:
                die()
            return found

        replace(owner, name, watched)

    return sabotage


Moment = tuple[str, Sabotage]

FIT: list[Moment] = [
    ("before anything is written", before(RunFolder, "begin")),
    ("behind the tokenizer", behind(RunFolder, "save_tokenizer")),
    ("before config.yaml takes its place", before(os, "replace", 2)),
    ("behind config.yaml", behind(RunFolder, "save_config")),
    ("before the first fit.json", before(record, "write_whole")),
    ("behind the first fit.json", behind(record, "write_whole")),
    ("before the first best", before(BestCheckpoint, "_save_checkpoint")),
    ("behind the first best", behind(BestCheckpoint, "_save_checkpoint")),
    ("before the first last", before(LastCheckpoint, "_save")),
    ("behind the first last", behind(LastCheckpoint, "_save")),
    ("behind the best of a new stage", behind(BestCheckpoint, "_save_checkpoint", 1)),
    ("before the last of a new stage", before(LastCheckpoint, "_save")),
    ("as a file takes its place", before(os, "replace", 3)),
    ("as another takes its place", before(os, "replace", 4)),
    ("behind the last of an epoch", behind(LastCheckpoint, "_save", 1)),
    ("at the end of the last epoch", before(RunFiles, "on_train_end")),
    ("before that it had ended is written", before(RunFiles, "on_fit_end")),
]
"""In this order they are met by one run that is continued again and again."""

EVALUATIONS: dict[str, list[Moment]] = {
    "test": [
        ("before test.json", before(writer, "write_whole")),
        ("as test.json takes its place", before(os, "replace")),
        ("behind test.json", behind(writer, "write_whole")),
    ],
    "predict": [
        ("behind the first answers", behind(PredictionWriter, "write_on_batch_end")),
        ("before the parts are put together", before(PredictionWriter, "on_predict_end")),
        ("before predictions.jsonl", before(predictions_module, "write_whole")),
        ("as predictions.jsonl takes its place", before(os, "replace")),
        ("behind predictions.jsonl", behind(predictions_module, "write_whole")),
    ],
    "probe": [
        ("before anything is changed", before(causal, "write_probe")),
        ("behind the measurements", behind(causal, "write_probe")),
        ("before the folder takes its place", before(analysis_folder, "locked")),
        ("as the older folder is moved away", behind(Path, "replace")),
        ("behind the new one", before(analysis_folder, "remove", 2)),
    ],
    "analyze": [
        ("before it is measured", before(analysis_write, "measure")),
        ("behind the measurements", behind(analysis_write, "measure")),
        ("before the report", before(analysis_write, "write_report")),
        ("before the folder takes its place", before(analysis_folder, "locked")),
        ("as the older folder is moved away", behind(Path, "replace")),
        ("behind the new one", before(analysis_folder, "remove", 2)),
    ],
}


def kill(words: Sequence[str], moment: str, sabotage: Sabotage | None = None, after: float | None = None) -> bool:
    """Kill a command; whether it was killed, and did not come to its end before."""
    code = call(words, [sabotage] if sabotage is not None else [], kill_after=after)
    assert code in (0, -signal.SIGKILL), f"{words[0]}: {moment}"
    if code:
        KILLS.append(f"{words[0]}: {moment}")
    return code != 0


def check_whole(config: Path, undisturbed: Path) -> None:
    """Weights, checkpoints and reports are those of the run that nobody disturbed; nothing is left over."""
    assert same_state(last(config), last(undisturbed)) == []
    names = [
        sorted(file.name for file in (one.parent / "runs/run/checkpoints").iterdir()) for one in (config, undisturbed)
    ]
    assert names[0] == names[1]
    theirs = reports(undisturbed)
    assert {name: theirs[name] for name in reports(config)} == reports(config)
    left = [path.name for path in config.parent.rglob("*") if "part" in path.name or path.name.startswith(".")]
    assert left == []


def test_training_killed_at_chosen_moments(tmp_path: Path, undisturbed: Path) -> None:
    config = write_config(tmp_path, settings(**SMALL))
    for moment, sabotage in FIT:
        assert kill(words_of("fit", config), moment, sabotage), moment
    assert call(words_of("fit", config)) == 0
    check_whole(config, undisturbed)


@pytest.mark.parametrize("every", [0, 1])
def test_training_killed_by_the_clock(tmp_path: Path, undisturbed: Path, every: int) -> None:
    draw, config, killed = random.Random(every), write_config(tmp_path, settings(**SMALL)), 0
    words = [*words_of("fit", config), f"--last_checkpoint.every_n_steps={every}"]
    for _ in range(12):
        ended = not kill(words, "by the clock", after=draw.uniform(0.3, 2.5 if every else 4.0))
        killed += not ended
        if ended:  # a run that is over has nothing left to be killed
            shutil.rmtree(tmp_path / "runs")
    assert killed and call(words) == 0
    check_whole(config, undisturbed)


@pytest.mark.parametrize("command", EVALUATIONS)
def test_readers_killed(tmp_path: Path, undisturbed: Path, command: str) -> None:
    config, draw = made(tmp_path), random.Random(command)
    words = words_of(command, config)
    for moment, sabotage in EVALUATIONS[command]:
        if "older" in moment:
            assert call(words) == 0  # there is one now
        assert kill(words, moment, sabotage), moment
    for _ in range(10):
        kill(words, "by the clock", after=draw.uniform(0.1, 2.0))
    assert call(words) == 0
    check_whole(config, undisturbed)


COMPARED: list[Moment] = [
    ("before anything is started", before(Launcher, "_child")),
    ("as soon as it trains", behind(subprocess, "Popen")),  # which goes on, and is waited for
    ("behind the training", before(Launcher, "_check")),
    ("as soon as it tests", behind(subprocess, "Popen", 2)),  # the first one prints the settings
    ("before the table", before(compare_cli, "write_whole")),
]


def test_a_comparison_killed(tmp_path: Path) -> None:
    rows = []
    for name, moments in (("undisturbed", []), ("killed", COMPARED)):
        place = tmp_path / name
        place.mkdir()
        config, method, table = write_config(place, settings(**SMALL)), place / "short.yaml", place / "table.csv"
        method.write_text("model:\n  init_args:\n    max_new_tokens: 2\n", encoding="utf-8")
        words = ["compare", "-c", str(config), "--methods", str(method), "--runs_dir", str(place / "runs")]
        words += ["--csv", str(table), "--seeds", "3"]
        for moment, sabotage in moments:
            assert kill(words, moment, sabotage), moment
        assert call(words) == 0
        with table.open(encoding="utf-8") as file:
            rows.append([{key: row[key] for key in row if not _TIMES.search(key)} for row in csv.DictReader(file)])
        weights = torch.load(place / "runs" / "short-3" / "checkpoints" / "last.ckpt", weights_only=True)
        rows[-1].append({"weights": weights["state_dict"]})
    assert len(rows[0]) == 2 and rows[0][0]["accuracy_mean"]
    assert differences(rows[0], rows[1]) == []


def test_it_was_as_many_as_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    """Stands behind the others: the figure of them all."""
    with capsys.disabled():
        print(f"\n{len(KILLS)} kills: " + ", ".join(f"{name} {sum(k.startswith(name) for k in KILLS)}" for name in
              ("fit", "test", "predict", "analyze", "probe", "compare")))  # fmt: skip
    assert len(KILLS) >= 60 or os.environ.get("PYTEST_XDIST_WORKER") or len(KILLS) == 0

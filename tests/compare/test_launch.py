"""Runs are made by processes: in order, some at a time, and one that fails or is stopped takes nothing with it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pytest
import yaml

from lcot.compare import launch
from lcot.compare.launch import Launcher
from lcot.compare.plan import Task
from tests.compare.folders import CONFIG, changed, write_run
from tests.places import ROOT
from tests.stand_ins import softcot_models
from tests.tiny import contents, lcot, write_config

METHODS = ROOT / "configs" / "methods"

# Stands for lcot: notes when it begins and ends, and does what the first config says.
_PROGRAM = """
import pathlib, signal, sys, time
note = lambda text: open("notes", "a").write(text + "\\n")
name = next(word[7:] for word in sys.argv if word.startswith("--name="))
if "--print_config" in sys.argv:
    print(pathlib.Path("asked.yaml").read_text())
    sys.exit()
def stop(*args):
    note(f"saved {name}")
    sys.exit(143)
signal.signal(signal.SIGTERM, stop)
note(f"begin {sys.argv[1]} {name}")
print("working")
what = pathlib.Path(sys.argv[3]).read_text().split()
if name in what:
    print("lcot: error: it cannot be done\\n  do:    something else", file=sys.stderr)
    sys.exit(2)
time.sleep(30 if "long" in what else 0.3)
note(f"end {sys.argv[1]} {name}")
"""


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which lcot is :data:`_PROGRAM`; ``do.txt`` names the runs that fail, or says ``long``."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "program.py").write_text(_PROGRAM)
    (tmp_path / "do.txt").write_text("")
    monkeypatch.setattr(launch, "PROGRAM", (sys.executable, "-S", "-u", str(tmp_path / "program.py")))
    return tmp_path


def tasks(*names: str) -> list[Task]:
    pairs = [name.rpartition("-") for name in names]
    return [Task(method, int(seed), (Path("do.txt"),), Path("runs")) for method, _, seed in pairs]


def notes(folder: Path) -> list[str]:
    return (folder / "notes").read_text().splitlines()


def test_one_after_another(program: Path, capfd: pytest.CaptureFixture[str]) -> None:
    launcher = Launcher()
    todos, failures = launcher.plan(tasks("cot-0", "cot-1"), "val")
    assert failures == [] and launcher.make(todos) == []
    words = [("fit", "cot-0"), ("validate", "cot-0"), ("fit", "cot-1"), ("validate", "cot-1")]
    assert notes(program) == [f"{what} {command} {name}" for command, name in words for what in ("begin", "end")]
    log = (program / "runs" / "cot-0.log").read_text().splitlines()
    assert log[0].startswith("$ lcot fit -c do.txt --seed_everything=0 ") and log[1] == "working"
    assert log[2].startswith("$ lcot validate ") and len(log) == 4
    said = capfd.readouterr().err
    assert "cot-0: fit … (log: runs/cot-0.log)" in said and "cot-1: done after 0.0 min" in said


def test_some_at_a_time(program: Path) -> None:
    launcher = Launcher(jobs=2)
    launcher.make(launcher.plan(tasks("a-0", "b-0", "c-0"), "test")[0])
    assert sorted(notes(program)[:2]) == ["begin fit a-0", "begin fit b-0"]
    assert len(notes(program)) == 12


def test_a_failing_run_does_not_stop_the_others(program: Path) -> None:
    (program / "do.txt").write_text("a-0 c-0")
    launcher = Launcher()
    found = launcher.make(launcher.plan(tasks("a-0", "b-0", "c-0"), "test")[0])
    assert [failure.names for failure in found] == [("a-0",), ("c-0",)]
    assert found[0].what == "fit ended with exit code 2; its log is runs/a-0.log"
    assert found[0].said == "lcot: error: it cannot be done\n  do:    something else"
    assert [note for note in notes(program) if note.startswith("end")] == ["end fit b-0", "end test b-0"]


@pytest.fixture
def keyboard() -> Iterator[None]:
    """Ctrl-C means what it means in a terminal: a shell that starts the tests in its background has it ignored."""
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, former)


@pytest.mark.usefixtures("keyboard")
@pytest.mark.parametrize(("number", "error"), [(signal.SIGTERM, SystemExit), (signal.SIGINT, KeyboardInterrupt)])
def test_runs_are_told_to_stop_with_their_comparison(
    program: Path, number: signal.Signals, error: type[BaseException]
) -> None:
    (program / "do.txt").write_text("long")
    launcher = Launcher(jobs=2)
    before = signal.getsignal(signal.SIGTERM)

    def interrupt() -> None:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            if (program / "notes").exists() and len(notes(program)) == 2:
                break
            time.sleep(0.02)
        os.kill(os.getpid(), number)

    thread = threading.Thread(target=interrupt)
    thread.start()
    began = time.monotonic()
    with pytest.raises(error):
        launcher.make(launcher.plan(tasks("a-0", "b-0", "c-0"), "test")[0])
    thread.join()
    assert time.monotonic() - began < 25, "it did not wait for the runs' own end"
    assert sorted(notes(program)[2:]) == ["saved a-0", "saved b-0"], "and no other command was begun"
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_finished_run_is_left_alone_if_it_is_what_was_asked_for(program: Path) -> None:
    (program / "asked.yaml").write_text(yaml.safe_dump(CONFIG))
    write_run(program / "runs", "cot-0")
    before = contents(program)
    launcher = Launcher()
    todos, failures = launcher.plan(tasks("cot-0"), "test")
    assert failures == [] and [todo.commands for todo in todos] == [[]]
    assert launcher.make(todos) == [] and contents(program) == before


def test_a_finished_run_that_stays_something_else_is_a_failure(program: Path) -> None:
    # Fit does not mind another monitor, and has nothing more to do: the run remains what it was.
    (program / "asked.yaml").write_text(yaml.safe_dump(changed(CONFIG, {"best_checkpoint.monitor": "val/loss"})))
    write_run(program / "runs", "cot-0")
    launcher = Launcher()
    (failure,) = launcher.make(launcher.plan(tasks("cot-0"), "test")[0])
    assert failure.what == (
        "'runs/cot-0' holds a run with other settings: monitor=val/accuracy then, monitor=val/loss now"
    )
    assert notes(program) == ["begin fit cot-0", "end fit cot-0"]


def test_settings_that_cannot_be_used_are_told_once_for_a_method(
    program: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in (0, 1):
        write_run(program / "runs", f"cot-{seed}", seed)
    asked = []

    def refuse(self: Launcher, task: Task) -> tuple[None, str]:
        asked.append(task.name)
        return None, "noise\nlcot: error: no such setting\n"

    monkeypatch.setattr(Launcher, "_print_config", refuse)
    todos, (failure,) = Launcher().plan(tasks("cot-0", "no_cot-0", "cot-1"), "test")
    assert [todo.task.name for todo in todos] == ["no_cot-0"] and asked == ["cot-0"]
    assert failure.names == ("cot-0", "cot-1") and failure.said == "lcot: error: no such setting"


# -- the whole of it --------------------------------------------------------------------------------------------------


@pytest.fixture
def within(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Commands run in this process, which spares their imports; those that did."""
    done: list[str] = []

    def child(self: Launcher, task: Task, command: str, log: BinaryIO) -> int:
        done.append(f"{command} {task.name}")
        outcome = lcot(*task.words(command))
        log.write((outcome.out + outcome.err).encode())
        log.flush()
        return outcome.code

    def print_config(self: Launcher, task: Task) -> tuple[str | None, str]:
        outcome = lcot(*task.words("fit"), "--print_config")
        return (outcome.out if outcome.code == 0 else None), outcome.err

    monkeypatch.setattr(Launcher, "_child", child)
    monkeypatch.setattr(Launcher, "_print_config", print_config)
    return done


def test_methods_are_trained_tested_and_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, within: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_config(tmp_path)
    (tmp_path / "configs").symlink_to(METHODS.parent)
    command = ("compare", "-c", "tiny.yaml", "--methods", "cot", "no_cot", "--seeds", "3", "--csv", "all.csv")

    def compared(*more: str) -> list[str]:
        within.clear()
        # Not with lcot(): the commands within would end in its output.
        from lcot.cli.main import main

        main([*command, *more])
        return list(within)

    assert compared("--plot=all.png") == ["fit cot-3", "test cot-3", "fit no_cot-3", "test no_cot-3"]
    shown = capsys.readouterr().out
    assert "seeds: 3 in every row" in shown and "not comparable" not in shown
    assert "cot = Coconut with Fixed, none hidden, no thoughts; no_cot = Coconut with Fixed, all hidden" in " ".join(
        shown.split()
    )
    assert len(Path("all.csv").read_text().splitlines()) == 3 and Path("all.png").is_file()
    hashes = {
        json.loads(Path(f"runs/{name}-3/test.json").read_text())["split"]["data_hash"] for name in ("cot", "no_cot")
    }
    assert len(hashes) == 1
    files = contents(Path("runs"))
    assert compared() == [] and contents(Path("runs")) == files
    assert compared("--trainer.max_epochs=3") == ["fit cot-3", "test cot-3", "fit no_cot-3", "test no_cot-3"]
    assert json.loads(Path("runs/cot-3/fit.json").read_text())["epochs"] == 3
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        compared("--data.batch_size=4")
    assert stop.value.code == 1
    failed = capsys.readouterr()
    assert "lcot: failed: cot-3: fit ended with exit code 2" in failed.err
    assert "data.batch_size (--data.batch_size=4): 6 then, 4 now" in failed.err
    assert "no_cot" not in failed.out, "a run that is not what was asked for is not in the table"


def test_methods_that_train_nothing_are_tested_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, within: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(softcot_models(tmp_path))
    (tmp_path / "configs").symlink_to(METHODS.parent)
    command = ["compare", "-c", "configs/softcot_prosqa.yaml", "--methods", "zero_shot_cot", "softcot", "--seeds", "0"]
    command += [f"--data.{split}_size=4" for split in ("train", "val", "test")]
    command += ["--data.batch_size=2", "--trainer.max_epochs=1", "--model.lr_scheduler.warmup_steps=1"]

    def compared(*more: str) -> list[str]:
        from lcot.cli.main import main

        within.clear()
        main([*command, *more])
        return list(within)

    assert compared() == ["test zero_shot_cot-0", "fit softcot-0", "test softcot-0"]
    shown = " ".join(capsys.readouterr().out.split())
    assert "seeds: 0 in every row" in shown and "Table" not in shown, "both are in one table"
    assert "checkpoint none (models as they are): zero_shot_cot-0; best: softcot-0" in shown
    assert sorted(path.name for path in Path("runs/zero_shot_cot-0").iterdir()) == [
        "config.yaml",
        "test.json",
        "tokenizer",
    ]
    files = contents(Path("runs"))
    assert compared() == [] and contents(Path("runs")) == files
    assert compared("--data.test_size=6") == ["test zero_shot_cot-0", "test softcot-0"]
    # Where another run took its place, it is not taken for what was asked for.
    Path("runs/zero_shot_cot-0/checkpoints").mkdir()
    (Path("runs/zero_shot_cot-0") / "test.json").unlink()
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        compared()
    assert stop.value.code == 1 and "lcot: failed: zero_shot_cot-0: test ended" in capsys.readouterr().err


@pytest.mark.slow
def test_real_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_config(tmp_path)
    outcome = lcot("compare", "-c", "tiny.yaml", "--methods", METHODS / "cot.yaml", "--jobs", "2", "--seeds", 0, 1)
    assert outcome.code == 0, outcome.err
    assert "seeds: 0, 1" in outcome.out and "cot-1: done" in outcome.err
    assert "Loaded model weights" in Path("runs/cot-1.log").read_text()


_TRAINS = """
import pathlib, sys
sys.path.insert(0, sys.argv[1])
from lcot.runs.files import LOCK, locked
with locked(pathlib.Path("runs/cot-0") / LOCK):
    print("holds", flush=True)
    input()
    open("notes", "a").write("the other one ends\\n")
"""
_COMPARES = """
import fcntl, subprocess, sys
with open("runs/cot-0.log", "ab") as log:
    fcntl.flock(log, fcntl.LOCK_EX)
    # Killed itself, it leaves a command behind that has the log.
    does = "input(); open('notes', 'a').write('the other one ends\\\\n')"
    subprocess.Popen([sys.executable, "-c", does], stdout=log)
print("holds", flush=True)
"""


@pytest.mark.parametrize("other", [_TRAINS, _COMPARES])
def test_a_run_that_another_process_makes_is_waited_for(
    program: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], other: str
) -> None:
    monkeypatch.setattr(launch, "_PATIENCE", 0.05)
    (program / "runs" / "cot-0").mkdir(parents=True)
    with subprocess.Popen([sys.executable, "-c", other, str(ROOT)], stdin=-1, stdout=-1) as process:
        assert process.stdout is not None and process.stdin is not None
        process.stdout.readline()
        launcher = Launcher()
        todos, _ = launcher.plan(tasks("cot-0"), "test")
        thread = threading.Thread(target=launcher.make, args=(todos,))
        thread.start()
        said = ""
        while "another process makes it" not in said and thread.is_alive():
            said += capfd.readouterr().err
        assert not (program / "notes").exists()
        process.stdin.write(b"\n")
        process.stdin.close()
        thread.join(60)
    assert notes(program) == [
        "the other one ends",
        "begin fit cot-0",
        "end fit cot-0",
        "begin test cot-0",
        "end test cot-0",
    ]

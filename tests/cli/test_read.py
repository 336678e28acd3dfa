"""What is read before anything heavy: files and values that no parser could take end in one block."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lcot.cli.read import read_settings
from lcot.errors import UserError
from tests.places import ROOT

NINES = "9" * 5000
MANY = "a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
    f"a{n + 1}: &a{n + 1} [{', '.join([f'*a{n}'] * 9)}]\n" for n in range(8)
)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("model: &a {x: *a}\n", ("model.x holds itself", "line 1")),
        ("model: &a [1, [*a]]\n", ("model holds itself", "line 1")),
        (MANY, ("more than 20,000 settings", "aliases")),
        ("model: " + "[" * 60 + "]" * 60, ("nested more than 40 deep", "line 1")),
        ("model: " + "[" * 2000 + "]" * 2000, ("nested more than 40 deep", "brackets")),
        (f"name: x\ndata: {{batch_size: {NINES}}}\n", ("a number of 5,000 digits", "line 2", "no setting takes more")),
        ("data: !!python/name:math.sqrt x\n", ("of the type !!python/name:math.sqrt", "line 1")),
        ("data: =\n", ("of the type !!value", "in quotes")),
        ("name: \"\\ud800\"\n", ("is no text", "line 1")),
        ("name: \"a\\0b\"\n", ("is no text", "line 1")),
        ("data: {[1]: 3}\n", ("the name of a setting is a list", "line 1")),
        ("data: {x: .NaN}\n", (".NaN is no number", "line 1")),
        ("trainer:\n", ("trainer is no group of settings", "line 1", "leave it out")),
        ("trainer: 3\n", ("trainer is '3'", "line 1", "group of settings")),
        ("curriculum: []\n", ("curriculum is no group of settings", "line 1")),
        ("data: {class_path: ProsQA, init_args: }\n", ("init_args of data is no group", "line 1")),
        ("data: {init_args: [3]}\n", ("init_args of data is no group", "line 1")),
        ("data: {x: fifo}\n", ("'fifo' is no file", "line 1", "a pipe")),
    ],
)  # fmt: skip
def test_files_that_cannot_be(
    text: str, says: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo("fifo")
    Path("x.yaml").write_text(text)
    with pytest.raises(UserError) as refusal:
        read_settings(["fit", "-c", "x.yaml"])
    assert all(part in str(refusal.value) for part in says), str(refusal.value)
    assert "x.yaml" in str(refusal.value) and len(str(refusal.value)) < 600


@pytest.mark.parametrize(
    ("option", "says"),
    [
        (f"--data.batch_size={NINES}", "a number of 5,000 digits"),
        (f"--data.nodes=[3, {NINES}]", "a number of 5,000 digits"),
        ("--data.text=&a {x: *a}", "holds itself"),
        ("--data.nodes=" + "[" * 500 + "]" * 500, "nested more than 40 deep"),
        ("--model.optimizer.lr=.nan", ".nan is no number"),
        ("--trainer=3", "trainer is '3'"),
        ("--dashboard=[]", "dashboard is '[]'"),
        ("--model=fifo", "'fifo' is no file"),
        ("--data.train_path=/dev/null", "'/dev/null' is no file"),
    ],
)
def test_options_that_cannot_be(option: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo("fifo")
    with pytest.raises(UserError) as refusal:
        read_settings(["fit", option])
    block = str(refusal.value)
    assert says in block and option[:20].partition("=")[0] in block and len(block) < 600, block


@pytest.mark.parametrize("name", ["fifo", "nothing/x.yaml", "a" * 5000, "\0"])
def test_configs_that_are_no_files(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo("fifo")
    with pytest.raises(UserError, match=r"is no file|there is no config"):
        read_settings(["fit", "-c", name])


def test_what_is_right_stays_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("part.yaml").write_text("max_epochs: 3\n")
    Path("x.yaml").write_text(
        "trainer: part.yaml\ndata: &d {init_args: {train_size: &n 5, val_size: *n}}\nmodel: {init_args: {<<: *d}}\n"
        "dashboard: {}\nname: '99999999999999999999'\nseed_everything: 123456789012345678\n"
    )
    found = read_settings(["fit", "-c", "x.yaml", "--name=99999999999999999999", "--data.text.after_step=Next: x"])
    assert {setting.key: setting.value for setting in found.found if setting.value} == {
        "trainer": "part.yaml",
        "trainer.max_epochs": "3",
        "data.train_size": "5",
        "data.val_size": "5",
        "model.train_size": "5",
        "model.val_size": "5",
        "name": "99999999999999999999",
        "seed_everything": "123456789012345678",
        "data.text.after_step": "Next: x",
    }
    place = found.find("trainer.max_epochs")
    assert place is not None and place.place == "part.yaml, line 1"


def test_a_file_that_names_itself_is_read_once_too_often(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("x.yaml").write_text("trainer: {trainer: 3}\nmodel: x.yaml\n")
    found = read_settings(["fit", "-c", "x.yaml"]).found
    assert [setting.key for setting in found][-1] == "model.model"


def test_bytes_that_are_no_text_end_in_a_block(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "lcot", "fit", b"--name=\xff"], cwd=ROOT, capture_output=True, timeout=60
    )
    assert done.returncode == 2
    assert done.stderr.startswith(b"lcot: error: '--name=\\udcff' is no text")

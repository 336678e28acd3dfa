"""Where a training may go on from, and what a folder holds behind one that was killed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from lcot.errors import UserError
from lcot.runs import folder as module
from lcot.runs.files import beside, locked
from lcot.runs.folder import RunFolder
from tests.tiny import contents


def folder_of(path: Path, *names: str, epochs: int = 1, whole: bool = False) -> RunFolder:
    """A run with checkpoints of these names."""
    folder = RunFolder(path / "run")
    folder.checkpoints.mkdir(parents=True)
    saved: dict[str, Any] = {"state_dict": {}, **({"optimizer_states": []} if whole else {})}
    for name in names:
        torch.save(saved, folder.checkpoints / name)
    folder.cost.write_text(json.dumps({"epochs": epochs}))
    return folder


BEST = "best-stage0-epoch000.ckpt"


@pytest.mark.parametrize("epochs", [0, 1])
def test_the_first_best_alone_is_a_start_that_was_killed_right_behind_it(tmp_path: Path, epochs: int) -> None:
    assert folder_of(tmp_path, BEST, epochs=epochs).start_from(True, {}) is None


@pytest.mark.parametrize(("names", "epochs"), [((BEST,), 2), ((BEST, "best-stage1-epoch004.ckpt"), 1)])
@pytest.mark.parametrize("whole", [False, True])
def test_without_the_last_a_longer_run_is_not_begun_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...], epochs: int, whole: bool
) -> None:
    monkeypatch.setattr(module, "read_checkpoint", lambda file: torch.load(file, weights_only=True))
    folder = folder_of(tmp_path, *names, epochs=epochs, whole=whole)
    with pytest.raises(UserError, match=r"has no last\.ckpt to continue from") as caught:
        folder.start_from(True, {})
    if whole:
        assert f"copy one of its checkpoints there, such as {names[-1]}" in str(caught.value)
    else:
        assert "hold weights, and nothing of the training" in str(caught.value) and "copy" not in str(caught.value)


def test_what_a_killed_training_left_half_written_is_removed(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, BEST)
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        pass
    before = contents(folder.path)
    (folder.checkpoints / "last.ckpt.part").write_text("half")
    (folder.path / "tokenizer.part").mkdir()
    for file in (folder.config, folder.cost):
        part = beside(file)
        part.with_name(part.name.replace(str(os.getpid()), str(gone.pid))).write_text("half")
    with folder.claimed(write=True, alone=True):
        assert {name: hash_ for name, hash_ in contents(folder.path).items() if name != ".lock"} == before
    assert contents(folder.path) == before


def test_of_two_trainings_the_second_is_refused(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, BEST)
    holds = f"import sys; sys.path.insert(0, {str(Path.cwd())!r}); from pathlib import Path\n"
    holds += (
        f"from lcot.runs.files import locked\nwith locked(Path({str(folder.lock)!r})): print(1, flush=True); input()"
    )
    with subprocess.Popen([sys.executable, "-c", holds], stdin=-1, stdout=-1) as other:
        assert other.stdout is not None and other.stdin is not None
        other.stdout.readline()
        with pytest.raises(UserError, match="another process trains in"), folder.claimed(write=True, alone=True):
            raise AssertionError
        assert folder.lock.exists(), "it is the other one's"
        other.stdin.write(b"\n")
        other.stdin.close()
        with locked(folder.lock, seconds=30) as mine:
            assert mine
    assert not folder.lock.exists()

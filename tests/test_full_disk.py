"""A disk that is full, wherever that is met: one block, nothing half-written, and the same command goes on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.disk import Disk, small_disk
from tests.whole_runs import last, run, same_state, settings, write_config

PAGE = 4096
ROOMY = 100 * 2**20


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The config of a finished run."""
    config = write_config(tmp_path_factory.mktemp("whole"), settings())
    assert run(config) == 0
    return config


def check_told(code: int, said: str) -> None:
    """One block, and no traceback before or behind it."""
    assert code == 2, said
    assert said.count("lcot: error: ") == 1 and "Traceback" not in said and "Exception in thread" not in said, said
    assert "No space left on device" in said, said


def filled(disk: Disk, room: int) -> None:
    """Leave so many bytes on it."""
    disk.resize(disk.used() // PAGE * PAGE + room)


def check_fit(tmp_path: Path, whole: Path, capfd: pytest.CaptureFixture[str], size: int) -> str:
    """Train on a disk of so many bytes, then with room; tells which file was met."""
    with small_disk(tmp_path / "disk", ROOMY) as disk:
        config = write_config(disk.place, settings())
        filled(disk, size)
        capfd.readouterr()
        code = run(config)
        said = capfd.readouterr().err
        check_told(code, said)
        assert disk.unfinished() == []
        disk.resize(ROOMY)
        assert run(config) == 0
        assert same_state(last(config), last(whole)) == []
        names = [
            sorted(path.name for path in (one.parent / "runs/run/checkpoints").iterdir()) for one in (config, whole)
        ]
        assert names[0] == names[1] and disk.unfinished() == []
        assert json.loads((disk.place / "runs" / "run" / "fit.json").read_text())["finished"] is True
    return next(line for line in said.splitlines() if "where:" in line)


@pytest.mark.slow
@pytest.mark.parametrize("size", [0, 4, 8, 12, 16, 20, 28, 32, 40, 100, 180, 300, 420, 520, 620, 720])
def test_training_on_a_disk_of_so_many_kilobytes(
    tmp_path: Path, whole: Path, capfd: pytest.CaptureFixture[str], size: int
) -> None:
    print(check_fit(tmp_path, whole, capfd, size * 1024))

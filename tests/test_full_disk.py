"""A disk that is full, wherever that is met: one block, nothing half-written, and the same command goes on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from lcot.runs.files import remove
from tests.disk import Disk, small_disk
from tests.reports import reports
from tests.tiny import contents
from tests.whole_runs import call, last, run, same_state, settings, write_config

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


def test_training_on_a_disk_that_fills_up(tmp_path: Path, whole: Path, capfd: pytest.CaptureFixture[str]) -> None:
    # 30 KB end in the thread that writes TensorBoard's events.
    for size in (30, 300):
        folder = tmp_path / str(size)
        folder.mkdir()
        check_fit(folder, whole, capfd, size * 1024)


@pytest.mark.slow
@pytest.mark.parametrize("size", [0, 4, 8, 12, 16, 20, 24, 28, 32, 36, 40, 100, 180, 300, 420, 520, 620, 720])
def test_training_on_a_disk_of_so_many_kilobytes(
    tmp_path: Path, whole: Path, capfd: pytest.CaptureFixture[str], size: int
) -> None:
    print(size, check_fit(tmp_path, whole, capfd, size * 1024))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Disk, Path]]:
    """A disk with the finished run on it, and its config."""
    with small_disk(tmp_path_factory.mktemp("mounted") / "disk", ROOMY) as disk:
        config = write_config(disk.place, settings())
        assert run(config) == 0
        yield disk, config


def words_of(command: str, config: Path) -> list[str]:
    """A command about the finished run beside a config."""
    folder = config.parent / "runs" / "run"
    if command in ("analyze", "probe"):
        return [command, str(folder), "--device=cpu"]
    if command == "compare":
        return ["compare", str(folder), "--csv", f"{config.parent}/table.csv"]
    return [command, "-c", f"{folder}/config.yaml", "--data.test_size=60"]


ROOMS = {"test": (0, 2), "predict": (0, 2), "analyze": (0, 8, 60, 400, 1000), "probe": (0, 8, 60, 120), "compare": (0,)}
"""In pages, at which a command meets the end of the disk."""


@pytest.mark.slow
@pytest.mark.parametrize(("command", "pages"), [(name, room) for name, rooms in ROOMS.items() for room in rooms])
def test_reading_a_run_on_a_full_disk(
    finished: tuple[Disk, Path], whole: Path, capfd: pytest.CaptureFixture[str], command: str, pages: int
) -> None:
    disk, config = finished
    before = contents(disk.place)
    filled(disk, pages * PAGE)
    capfd.readouterr()
    try:
        code = call(words_of(command, config))
        check_told(code, capfd.readouterr().err)
        # A result that is whole may be there where the curves beside it are not.
        now = contents(disk.place)
        assert {name: hash_ for name, hash_ in now.items() if not name.startswith("runs/run/test")} == before
        disk.resize(ROOMY)
        assert call(words_of(command, config)) == 0 and disk.unfinished() == []
        assert call(words_of(command, whole)) == 0
        assert reports(config) == reports(whole)
    finally:
        disk.resize(ROOMY)
        for one in (config, whole):
            folder = one.parent / "runs" / "run"
            for written in (
                *folder.glob("test*"),
                folder / "predictions.jsonl",
                folder / "analysis",
                folder / "probe",
                one.parent / "table.csv",
                one.parent / "plot.png",
            ):
                remove(written)

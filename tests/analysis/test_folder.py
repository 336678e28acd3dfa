"""A folder takes another one's place when it is complete, and only then."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from lcot.analysis.folder import MARK, replaced
from lcot.errors import UserError
from tests.tiny import contents


def write(target: Path, text: str, fail: bool = False) -> None:
    with replaced(target) as folder:
        (folder / MARK).write_text(text, encoding="utf-8")
        if fail:
            raise RuntimeError("in the middle")


def test_a_new_folder_with_its_parents(tmp_path: Path) -> None:
    write(tmp_path / "a" / "b", "one")
    assert list(contents(tmp_path)) == ["a", "a/b", f"a/b/{MARK}"]


def test_an_analysis_is_replaced_whole(tmp_path: Path) -> None:
    write(tmp_path / "a", "one")
    (tmp_path / "a" / "old.png").touch()
    with replaced(tmp_path / "a") as folder:
        (folder / MARK).write_text("two", encoding="utf-8")
        assert (tmp_path / "a" / MARK).read_text(encoding="utf-8") == "one"  # until the end
    assert list(contents(tmp_path)) == ["a", f"a/{MARK}"]
    assert (tmp_path / "a" / MARK).read_text(encoding="utf-8") == "two"


def test_one_kind_does_not_take_the_place_of_another(tmp_path: Path) -> None:
    write(tmp_path / "a", "one")
    with pytest.raises(UserError, match="holds other files") as err, replaced(tmp_path / "a", "mine.json", "a probe"):
        pass
    assert "give a folder that is new, empty, or a probe" in str(err.value)
    assert list(contents(tmp_path)) == ["a", f"a/{MARK}"]
    with replaced(tmp_path / "b", "mine.json", "a probe") as folder:
        (folder / "mine.json").write_text("one", encoding="utf-8")
    with replaced(tmp_path / "b", "mine.json", "a probe") as folder:
        (folder / "mine.json").write_text("two", encoding="utf-8")
    assert (tmp_path / "b" / "mine.json").read_text(encoding="utf-8") == "two"


def test_a_fault_leaves_everything_as_it_was(tmp_path: Path) -> None:
    write(tmp_path / "a", "one")
    before = contents(tmp_path)
    for target in (tmp_path / "a", tmp_path / "new" / "b"):
        with pytest.raises(RuntimeError, match="in the middle"):
            write(target, "two", fail=True)
    assert contents(tmp_path) == before


def test_an_interruption_too(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), replaced(tmp_path / "a"):
        raise KeyboardInterrupt
    assert not contents(tmp_path)


@pytest.mark.parametrize("name", ["full", "file", "file/below"])
def test_what_is_not_replaced(tmp_path: Path, name: str) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").touch()
    (tmp_path / "file").touch()
    before = contents(tmp_path)
    with pytest.raises(UserError, match=r"holds other files|is a file|nothing can be written"):
        write(tmp_path / name, "two")
    assert contents(tmp_path) == before


def test_an_empty_folder_is_nothing_to_lose(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    write(tmp_path / "a", "one")
    assert (tmp_path / "a" / MARK).is_file()


def left_over(target: Path, word: str, process: int, host: str = platform.node()) -> Path:
    """What a process that was killed leaves."""
    folder = target.with_name(f".{target.name}.{word}-{host}-{process}")
    folder.mkdir()
    (folder / MARK).write_text(word, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def dead() -> int:
    """The number of a process that is no more."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        pass
    return process.pid


def test_what_a_killed_process_left_is_removed(tmp_path: Path, dead: int) -> None:
    write(tmp_path / "a", "one")
    stale = [left_over(tmp_path / "a", word, dead) for word in ("part", "old")]
    kept = [
        left_over(tmp_path / "a", "part", os.getppid()),  # still at work
        left_over(tmp_path / "a", "part", dead, host="elsewhere"),  # nobody knows
        left_over(tmp_path / "b", "part", dead),
    ]
    write(tmp_path / "a", "two")
    assert (tmp_path / "a" / MARK).read_text(encoding="utf-8") == "two"
    assert not any(folder.exists() for folder in stale) and all(folder.exists() for folder in kept)


def test_what_was_killed_while_it_moved_is_put_back(tmp_path: Path, dead: int) -> None:
    left_over(tmp_path / "a", "old", dead)
    with pytest.raises(RuntimeError, match="in the middle"):
        write(tmp_path / "a", "two", fail=True)
    assert list(contents(tmp_path)) == ["a", f"a/{MARK}"]
    assert (tmp_path / "a" / MARK).read_text(encoding="utf-8") == "old"

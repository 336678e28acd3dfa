"""Text files: what is opened, and what each file that is none is told."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lcot.datamodules.text_files import check_file, read_lines
from lcot.errors import DataError

GOOD = "How many?||<<1+1=2>> <<2*2=4>> #### 4"
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n"


def write(folder: Path, content: str | bytes, name: str = "train.txt") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_other_encodings_are_told_with_the_line(tmp_path: Path) -> None:
    path = write(tmp_path, f"{GOOD}\n".encode() + "Müller?||#### 1".encode("latin-1"))
    with pytest.raises(DataError, match="not UTF-8") as caught:
        list(read_lines(path))
    assert caught.value.where == f"{path}, line 2, byte 2"


def test_paths_that_cannot_be_read_are_told_at_once(tmp_path: Path) -> None:
    write(tmp_path, GOOD)
    with pytest.raises(DataError, match="no such file") as caught:
        read_lines(tmp_path / "trian.txt")
    assert caught.value.fix == f"did you mean {str(tmp_path / 'train.txt')!r}?"
    with pytest.raises(DataError, match="there is no folder"):
        read_lines(tmp_path / "nowhere" / "train.txt")
    with pytest.raises(DataError, match=r"a folder was given.*\n.*\n.*train\.txt"):
        read_lines(tmp_path)
    with pytest.raises(DataError, match=r"ending in '\.txt' cannot be read\n.*\n.*give a table"):
        check_file(tmp_path / "train.txt", (".csv",), "give a table")


@pytest.mark.parametrize(
    ("content", "words", "fix"),
    [
        (POINTER, "a Git LFS pointer", "git lfs pull"),
        (b"\x1f\x8b\x08\x00\x00", r"compressed \(gzip\)", "unpack it"),
        (b"PK\x03\x04\x14\x00", r"compressed \(zip\)", "unpack it"),
        (b"BZh91AY", r"compressed \(bzip2\)", "unpack it"),
        (b"\xfd7zXZ\x00", r"compressed \(xz\)", "unpack it"),
        (b"\x28\xb5\x2f\xfd\x24", r"compressed \(zstandard\)", "unpack it"),
        (b"PAR1\x15\x04", "a Parquet table", "hub:FOLDER"),
        (GOOD.encode("utf-16"), "UTF-16 text", "save it as UTF-8"),
        ("\ufeff".encode("utf-16-be") + GOOD.encode("utf-16-be"), "UTF-16 text", "save it as UTF-8"),
        (GOOD.encode("utf-16-le"), "holds NUL bytes", "save it as UTF-8"),
        (b"\n<!DOCTYPE html><html>", "a web page", "download the file itself"),
        (b"<HTML><body>", "a web page", "download the file itself"),
    ],
)
@pytest.mark.parametrize("name", ["train.txt", "train.json", "train.jsonl.gz"])
def test_what_is_no_text_is_told_what_it_is(tmp_path: Path, content: bytes, words: str, fix: str, name: str) -> None:
    path = write(tmp_path, content, name)
    with pytest.raises(DataError, match=words) as caught:
        check_file(path, (".txt", ".json"))
    assert caught.value.where == str(path) and fix in str(caught.value.fix)


def test_nothing_waits_for_a_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "train.txt")
    for path in (tmp_path / "train.txt", Path("/dev/null"), Path("/dev/zero")):
        with pytest.raises(DataError, match="a pipe or device was given where a file is needed"):
            check_file(path)


@pytest.mark.parametrize("path", ["x" * 5000 + ".txt", "~nobody-of-this-name/train.txt", "train\x00.txt"])
def test_names_that_no_file_can_have_are_one_block(path: str) -> None:
    with pytest.raises(DataError, match=r"the file cannot be read|no such file") as caught:
        check_file(path)
    assert len(str(caught.value)) < 500


def test_a_link_that_leads_to_itself_is_one_block(tmp_path: Path) -> None:
    (tmp_path / "train.txt").symlink_to(tmp_path / "train.txt")
    with pytest.raises(DataError, match=r"the file cannot be read|no such file"):
        check_file(tmp_path / "train.txt")


def test_nul_is_told_with_its_line(tmp_path: Path) -> None:
    path = write(tmp_path, f"{GOOD}\n" * 40 + "a\x00b")
    with pytest.raises(DataError, match="a NUL character") as caught:
        list(read_lines(path))
    assert caught.value.where == f"{path}, line 41"

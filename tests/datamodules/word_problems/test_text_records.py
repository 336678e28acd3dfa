"""Text files of one problem a line: what is read, and what each kind of broken line is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from lcot.datamodules.word_problems.text_records import read_arithmetic_lines
from lcot.errors import DataError
from tests.places import SHARED

DATA = SHARED
GSM8K_AUG, PRODUCTS = DATA / "gsm8k_aug" / "valid.txt", DATA / "multiplication" / "4_by_4_valid.txt"
GOOD = "How many?||<<1+1=2>> <<2*2=4>> #### 4"


def write(folder: Path, content: str | bytes, name: str = "train.txt") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize(
    "content",
    [
        GOOD,
        f"{GOOD}\n",
        f"\n  \n{GOOD}\n\n",
        f"{GOOD}\r\n",
        b"\xef\xbb\xbf" + GOOD.encode(),
        "  How many? || <<1+1=2>> <<2*2=4>>####4  ",
    ],
)
def test_white_space_is_no_part_of_a_problem(tmp_path: Path, content: str | bytes) -> None:
    ((number, *problem),) = read_arithmetic_lines(str(write(tmp_path, content)))
    assert problem == ["How many?", "<<1+1=2>> <<2*2=4>>", "4"]
    assert number == (3 if str(content).startswith("\n") else 1)


def test_the_steps_may_be_empty(tmp_path: Path) -> None:
    assert next(read_arithmetic_lines(write(tmp_path, "How many?|| #### 9"))) == (1, "How many?", "", "9")


def test_other_marks_are_text(tmp_path: Path) -> None:
    # A question may name a number with #, and only a line's end ends a line.
    line = "Is #3 | #4\u2028or\x0b5?||a # b #### -1,234.5"
    assert list(read_arithmetic_lines(write(tmp_path, line))) == [(1, "Is #3 | #4\u2028or\x0b5?", "a # b", "-1,234.5")]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("How many? <<1+1=2>> #### 2", "there is no || between question and steps"),
        ("How many?||<<1+1=2>> 2", "there is no #### between steps and answer"),
        ("How many?||<<1+1=2>> ## 2", "there is no #### between steps and answer"),
        ("How #### many?||<<1+1=2>> 2", "there is no #### between steps and answer"),
        ("How||many?||<<1+1=2>> #### 2", r"\|\| stands 2 times between question and steps"),
        ("How many?||<<1+1=2>> #### 2 #### 3", "#### stands 2 times between steps and answer"),
        ("How many?||<<1+1=2>> ##### 2", "more than four # stand before the answer"),
        ("  ||<<1+1=2>> #### 2", "the question is blank"),
        ("How many?||<<1+1=2>> ####  ", "the answer is blank"),
        ('{"question": "How many?", "answer": "2"}', r"there is no \|\|"),
    ],
)
def test_broken_lines_are_told_where(tmp_path: Path, line: str, words: str) -> None:
    path = write(tmp_path, f"{GOOD}\n\n{line}\n{GOOD}\n")
    problems = read_arithmetic_lines(path)
    assert next(problems)[0] == 1  # what stands before the fault is read
    with pytest.raises(DataError, match=words) as caught:
        next(problems)
    assert caught.value.where == f"{path}, line 3"
    assert "question||steps #### answer" in str(caught.value.fix)


def test_files_without_problems_are_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the file is empty"):
        read_arithmetic_lines(write(tmp_path, ""))
    with pytest.raises(DataError, match="holds no problem"):
        list(read_arithmetic_lines(write(tmp_path, "\n \n")))


def test_a_long_file_is_read_line_by_line(tmp_path: Path) -> None:
    problems = read_arithmetic_lines(write(tmp_path, f"{GOOD}\n" * 1000 + "broken"))
    assert [next(problems)[0] for _ in range(1000)] == list(range(1, 1001))
    with pytest.raises(DataError, match=r"there is no \|\|"):
        next(problems)


@pytest.mark.parametrize(
    ("file", "count", "empty", "line"),
    [(GSM8K_AUG, 500, 6, "{}||{} #### {}"), (PRODUCTS, 200, 0, "{}||{} #### {}")],
    ids=["GSM8k-Aug", "products"],
)
def test_published_files_are_read_whole(file: Path, count: int, empty: int, line: str) -> None:
    if not file.is_file():
        pytest.skip(f"needs the published {file.name}")
    problems = list(read_arithmetic_lines(file))
    assert len(problems) == count and sum(not steps for _, _, steps, _ in problems) == empty
    written = [line.format(*problem[1:]).replace("||  ", "|| ") for problem in problems]
    assert written == file.read_text(encoding="utf-8").splitlines()

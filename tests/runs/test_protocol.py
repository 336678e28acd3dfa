"""The protocol of a number names its extractors, and the commit of the package, or none."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from lcot.errors import UserError
from lcot.runs.protocol import averages, commit, protocol


def git(folder: Path, *words: str) -> str:
    """Run git there, as somebody."""
    somebody = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", "-C", str(folder), *somebody, *words], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_the_commit_of_a_checkout(tmp_path: Path) -> None:
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    assert commit(package) is None
    git(tmp_path, "init")
    # An installed package lies in an environment within somebody else's repository.
    assert commit(package) is None
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "one")
    head = git(tmp_path, "rev-parse", "HEAD")
    assert commit(package) == head
    (tmp_path / "notes").write_text("beside the package")
    assert commit(package) == head
    (package / "__init__.py").write_text("changed")
    assert commit(package) == f"{head}-dirty"


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    assert commit(tmp_path / "nowhere") is None


def test_the_extractors_are_named_with_what_they_do() -> None:
    alone = protocol("### ", None)
    assert alone["extractor"] == "string: text after the last ###, commas removed, exact match"
    assert alone["further_extractors"] == {}
    several = protocol("Answer: ", "lcot test", ("number", "string", "last_number"))
    assert several["extractor"] == "number: first number after the last Answer:, equal in value"
    assert several["further_extractors"] == {
        "accuracy_string": "string: text after the last Answer:, commas removed, exact match",
        "accuracy_last_number": "last_number: last number of the whole output, equal in value",
    }
    with pytest.raises(UserError, match="unknown extractor 'strin'"):
        protocol("### ", None, ("strin",))


def test_it_says_how_answers_were_written_and_averaged() -> None:
    alone = protocol("### ", None)
    assert alone["decoding"] == {"temperature": 0.0, "votes": 1, "runs": 1}
    assert alone["averages"] == (
        "tokens, thoughts, seconds and answered (the share that could be extracted): over the answers to all questions"
    )
    told = {"temperature": 0.7, "votes": 10, "runs": 5, "seeds": [41, 42, 43, 44, 45]}
    sampled = protocol("### ", None, decoding=told)
    assert sampled["decoding"] == told
    assert "over all 50 answers to each question" in str(sampled["averages"])
    assert "most of 10 votes" in averages(10, 1) and "runs" not in averages(10, 1)
    assert "mean over 5 runs; accuracy_std" in averages(1, 5) and "votes" not in averages(1, 5)

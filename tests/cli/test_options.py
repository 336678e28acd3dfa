"""Options of commands: what is wrong with them is told in one block."""

from __future__ import annotations

from pathlib import Path

import pytest

from lcot.cli.options import OptionParser
from lcot.errors import UserError
from tests.tiny import lcot


def made() -> OptionParser:
    found = OptionParser("look", "RUN [options]", "What it is for.\n\n  as it stands here")
    found.add_argument("run")
    found.add_argument("-d", "--depth", type=int)
    return found


def test_faults() -> None:
    for words, says in ((["--depth", "1"], "required: run"), (["r", "--depth", "x"], "invalid int value: 'x'")):
        with pytest.raises(UserError, match=says) as refusal:
            made().parse_args(words)
        assert (refusal.value.where, refusal.value.fix) == ("lcot look", "see lcot look --help")


def test_its_help() -> None:
    told = made().format_help()
    assert "usage: lcot look RUN [options]" in told and "\n\n  as it stands here" in told


@pytest.mark.parametrize(
    ("word", "near"), [("--dept", "--depth"), ("--deph=3", "--depth"), ("--nothing", None), ("-d", None)]
)
def test_what_was_probably_meant(word: str, near: str | None) -> None:
    assert made().nearest(word) == near


def test_what_is_passed_on_may_have_spaces() -> None:
    found = made()
    found.add_argument("--methods", nargs="+")
    words = ["runs/a", "--methods", "lora", "cot", "--model.backbone={path: runs/b, config: null}", "runs/c"]
    chosen, others = found.parse_known_args(words)
    assert (chosen.run, chosen.methods) == ("runs/a", ["lora", "cot"])
    assert others == ["--model.backbone={path: runs/b, config: null}", "runs/c"]


@pytest.mark.parametrize("option", ["--markdown", "--csv", "--plot", "--paths", "--slurm"])
@pytest.mark.parametrize("value", ["", ".", "..", "/"])
def test_a_folder_is_no_file_to_write(option: str, value: str) -> None:
    outcome = lcot("compare", "somewhere", f"{option}={value}")
    assert outcome.code == 2 and f"argument {option}: {value!r} is no name of a file to write" in outcome.block


@pytest.mark.parametrize(
    "words",
    [
        ("analyze", "LONG"),
        ("compare", "LONG"),
        *(
            ("compare", "somewhere", f"{option}=LONG")
            for option in ("--markdown", "--csv", "--plot", "--paths", "--slurm")
        ),
        ("compare", "-c", "prosqa", "--methods", "cot", "--runs_dir", "LONG"),
        ("configs", "LONG"),
        ("configs", "prosqa", "--copy", "LONG"),
        ("show", "-c", "LONG"),
        ("fit", "-c", "LONG"),
    ],
    ids=" ".join,
)
def test_a_name_that_no_file_can_have(words: tuple[str, ...]) -> None:
    outcome = lcot(*(word.replace("LONG", "9" * 5000) for word in words))
    assert outcome.code == 2 and "999" in outcome.block and len(outcome.block) < 1000


def test_links_that_lead_in_a_circle(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    for words in (("compare", tmp_path / "a" / "x"), ("analyze", tmp_path / "a" / "x"), ("show", "-c", tmp_path / "a")):
        assert lcot(*words).code == 2

"""Which config a name means, in any folder."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from lcot.errors import UserError
from lcot.runs.configs import as_typed, carried, find, names, resolved, summary, with_paths
from tests.places import ROOT


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_clone_has_them_at_its_top() -> None:
    assert carried() == ROOT / "configs" and len(names()) == len(list(carried().rglob("*.yaml")))
    assert names()[0] == "aqua" and names()[-1].startswith("softcot/")


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("prosqa", "prosqa.yaml"),
        ("cot", "methods/cot.yaml"),
        ("methods/cot", "methods/cot.yaml"),
        ("coconut", "methods/coconut.yaml"),  # a method before softcot/coconut
        ("softcot/coconut", "softcot/coconut.yaml"),
        ("gsm8k_coconut", "paper/gsm8k_coconut.yaml"),
        ("paper/gsm8k_coconut", "paper/gsm8k_coconut.yaml"),
        ("qwen3_8b_aqua", "softcot/qwen3_8b_aqua.yaml"),
    ],
)
def test_a_name_is_a_path_in_there_or_the_end_of_one(name: str, file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert resolved(name) == find(name) == carried() / file
    assert capsys.readouterr().err == ""


def test_a_name_that_two_folders_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(carried(), tmp_path / "configs")
    shutil.copy(tmp_path / "configs" / "paper" / "gsm8k_cot.yaml", tmp_path / "configs" / "softcot")
    monkeypatch.setattr("lcot.runs.configs._PACKAGE", tmp_path / "lcot")
    with pytest.raises(UserError) as caught:
        resolved("gsm8k_cot")
    assert "2 configs" in str(caught.value) and "paper/gsm8k_cot, softcot/gsm8k_cot" in str(caught.value)


def test_short_where_it_stands_below_this_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert resolved("cot") == Path("configs/methods/cot.yaml")


@pytest.mark.parametrize("name", ["cot", "methods/cot", "configs/methods/cot.yaml"])
def test_a_file_comes_first_and_that_is_said(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).touch()
    assert resolved(name) == Path(name)
    said = capsys.readouterr().err
    assert said.count("\n") == (0 if name.endswith(".yaml") else 1)
    assert name.endswith(".yaml") or f"is the file '{name}' of this folder; lcot carries" in said


def test_a_file_of_ones_own_beside_a_name(capsys: pytest.CaptureFixture[str]) -> None:
    """A copy that was edited is not passed over without a word."""
    Path("prosqa.yaml").touch()
    assert resolved("prosqa") == carried() / "prosqa.yaml"
    assert capsys.readouterr().err.endswith("for the file here write -c prosqa.yaml\n")


def test_a_folder_is_no_config(capsys: pytest.CaptureFixture[str]) -> None:
    Path("gsm8k").mkdir()  # somebody's data
    assert resolved("gsm8k") == carried() / "gsm8k.yaml"
    assert "the folder 'gsm8k' is no config" in capsys.readouterr().err


def test_a_runs_folder_is_too_much_like_one() -> None:
    Path("prosqa").mkdir()
    Path("prosqa/config.yaml").touch()
    with pytest.raises(UserError) as caught:
        resolved("prosqa")
    assert "-c prosqa/config.yaml for the run" in str(caught.value)
    assert f"-c {carried() / 'prosqa.yaml'} for the other" in str(caught.value)


def test_one_of_several_processes_speaks(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    Path("prosqa").mkdir()
    monkeypatch.setenv("LOCAL_RANK", "1")
    resolved("prosqa")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("prosqua", "did you mean -c prosqa?"),
        ("metods/cot", "did you mean -c methods/cot?"),
        ("qwen3_8b_aquax", "did you mean -c softcot/qwen3_8b_aqua?"),
        ("configs/prosqa.yaml", "write -c prosqa: lcot carries that config"),
        ("./configs/paper/gsm8k_cot.yaml", "write -c paper/gsm8k_cot:"),
        ("cot.yml", "write -c methods/cot:"),
        ("nowhere/mine.yaml", "see lcot configs for those"),
    ],
)
def test_there_is_no_such_config(word: str, said: str) -> None:
    with pytest.raises(UserError) as caught:
        resolved(word)
    assert f"there is no config {word!r}" in str(caught.value) and said in str(caught.value)
    assert ("there is no folder" in str(caught.value)) == ("/" in word)


def test_a_file_that_is_nearly_named_so_is_suggested_by_who_reads_it() -> None:
    Path("mine.yaml").touch()
    assert resolved("mime.yaml") == Path("mime.yaml")


def test_a_command_line_with_paths() -> None:
    line = ["fit", "-c", "prosqa", "--config=cot", "--name", "cot", "-c", "--x=1", "-c"]
    folder = carried()
    assert with_paths(line) == [
        "fit", "-c", f"{folder}/prosqa.yaml", f"--config={folder}/methods/cot.yaml", "--name", "cot", "-c", "--x=1",
        "-c",
    ]  # fmt: skip


def test_as_it_is_typed_elsewhere() -> None:
    assert as_typed(carried() / "methods" / "cot.yaml") == "methods/cot"
    assert as_typed(Path("methods/mine.yaml")) == "methods/mine.yaml"
    Path("prosqa").touch()
    assert as_typed(carried() / "prosqa.yaml") == str(carried() / "prosqa.yaml")


@pytest.mark.parametrize("name", names())
def test_every_config_says_what_it_is(name: str) -> None:
    text = summary(carried() / f"{name}.yaml")
    assert len(text) > 20 and text.endswith((".", ",")) is not text.endswith(",") and "lcot fit" not in text

"""Files that are not what was written are found out, by checksum, hash or header."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import lcot as package
from lcot.errors import CheckpointError, UserError
from lcot.modules.intact import check_zip, flaw, save_weights
from lcot.modules.stored import pick_checkpoint, read_checkpoint
from tests.tiny import lcot

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:" + 64 * "0" + "\nsize 1000\n"
"""What Git LFS leaves in the place of a file."""


def flip(file: Path, place: int) -> None:
    """Let one bit of a file fall over."""
    whole = bytearray(file.read_bytes())
    whole[place] ^= 16
    file.write_bytes(whole)


def to_pointer(file: Path) -> None:
    """Put Git LFS's pointer in the place of a file."""
    file.write_text(POINTER)


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A copy of a finished run."""
    return Path(shutil.copytree(trained, tmp_path / "run"))


@pytest.fixture
def exported(run: Path, tmp_path: Path) -> Path:
    """What was exported of it."""
    return package.load(run).save_pretrained(tmp_path / "model")


def test_a_flipped_bit_of_a_checkpoints_weights(run: Path) -> None:
    file = pick_checkpoint(run)
    weights = torch.load(file, weights_only=True)["state_dict"]
    longest = max(weights.values(), key=torch.numel).contiguous().view(torch.uint8).reshape(-1).numpy().tobytes()
    place = file.read_bytes().find(longest)
    assert place > 0
    flip(file, place + len(longest) // 2)
    torch.load(file, weights_only=True)  # torch does not see it
    assert read_checkpoint(file, weights=False)["lcot"], "what it says about itself is whole"
    for use in (lambda: read_checkpoint(file), lambda: package.load(run, checkpoint=file.name)):
        with pytest.raises(CheckpointError, match="cannot be read") as caught:
            use()
        assert "CRC" in str(caught.value) and "last.ckpt" in str(caught.value)
    outcome = lcot("test", "-c", run / "config.yaml")
    assert outcome.code == 2 and f"{file.name}' cannot be read" in outcome.block


def test_every_byte_of_a_checkpoint_counts(tmp_path: Path) -> None:
    file = tmp_path / "x.ckpt"
    torch.save({"lcot": {"a": 1}, "state_dict": {"w": torch.arange(8.0)}}, file)
    whole = file.read_bytes()
    assert check_zip(file) is None
    taken, read = [], torch.load(file, weights_only=True)
    for place in range(len(whole)):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        if check_zip(file) is None:
            with contextlib.suppress(RuntimeError):  # torch's own look at the archive
                read = torch.load(file, weights_only=True)
            assert read["lcot"] == {"a": 1} and torch.equal(read["state_dict"]["w"], torch.arange(8.0))
            taken.append(place)
    assert len(taken) < len(whole), "padding and dates mean nothing"
    file.write_bytes(whole)
    to_pointer(file)
    assert "Git LFS pointer" in str(check_zip(file))


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_an_exported_folder_knows_what_was_written(exported: Path, name: str) -> None:
    size = (exported / name).stat().st_size
    flip(exported / name, size - 5)
    with pytest.raises(UserError):
        package.load(exported)
    flip(exported / name, size - 5)
    assert package.load(exported).solve(["Tom impus. Max hilpus. impus hilpus. hilpus or impus? Max"])
    if name == "model.safetensors":
        weights = load_file(exported / name)
        weights["model.norm.weight"] += 1
        save_weights(weights, exported / name, metadata={"format": "pt"})
        with pytest.raises(CheckpointError, match="is not what was written") as caught:
            package.load(exported)
        assert "if the change is meant" in str(caught.value)


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda file: os.truncate(file, 100), "cut short or damaged"),
        (lambda file: os.truncate(file, 0), "it is empty"),
        (to_pointer, "Git LFS pointer"),
        (os.unlink, "it is not there"),
        (lambda file: flip(file, 3), "cut short or damaged"),
    ],
    ids=["cut", "empty", "pointer", "gone", "header"],
)
def test_flaws_have_names(exported: Path, damage: Callable[[Path], Any], says: str) -> None:
    file = exported / "model.safetensors"
    assert flaw(file) is None
    damage(file)
    found = flaw(file)
    assert found is not None and says in found[0]
    with pytest.raises(UserError) as caught:
        package.load(exported)
    assert "model.safetensors" in str(caught.value)


def test_what_is_written_may_be_read_by_others(exported: Path, run: Path) -> None:
    (exported / "plain").touch()
    usual = (exported / "plain").stat().st_mode
    for folder in (exported, run):
        rights = {file.name: file.stat().st_mode for file in folder.rglob("*") if file.is_file()}
        assert rights and {name for name, mode in rights.items() if mode != usual} == set()

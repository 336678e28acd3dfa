"""Files of released weights are read whole or refused, in whatever form and whatever became of them."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
import torch

from lcot.errors import UserError
from lcot.runs.released.files import read_files
from tests.released import saved

TENSORS = {"codi.a": torch.arange(60.0).reshape(5, 12), "prj.1.weight": torch.ones(3, dtype=torch.bfloat16)}


def same(found: dict[str, torch.Tensor]) -> bool:
    return found.keys() == TENSORS.keys() and all(torch.equal(found[name], one) for name, one in TENSORS.items())


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin", "model.pt", "checkpoint_33"])
def test_every_form(tmp_path: Path, name: str) -> None:
    file = saved(tmp_path / "one" / name, TENSORS)
    assert same(read_files([file]).tensors)
    if name != "checkpoint_33":  # found by its name in its folder too
        (tmp_path / "one" / "config.json").write_text('{"model_type": "gpt2"}')
        found = read_files([tmp_path / "one"])
        assert same(found.tensors) and found.beside == {"config.json": {"model_type": "gpt2"}}


def test_pieces_and_wrappers(tmp_path: Path) -> None:
    names = list(TENSORS)
    pieces = {name: f"model-0000{number}-of-00002.safetensors" for number, name in enumerate(names, start=1)}
    for name, piece in pieces.items():
        saved(tmp_path / "shards" / piece, {name: TENSORS[name]})
    (tmp_path / "shards" / "model.safetensors.index.json").write_text(json.dumps({"weight_map": pieces}))
    found = read_files([tmp_path / "shards"])
    assert same(found.tensors) and len(found.paths) == 2
    assert same(read_files([tmp_path / "shards" / piece for piece in pieces.values()]).tensors)
    with pytest.raises(UserError, match="two files hold the tensor"):
        read_files([tmp_path / "shards", tmp_path / "shards" / pieces[names[0]]])
    wrapped = {f"module.{name.replace('.', '._orig_mod.', 1)}": one for name, one in TENSORS.items()}
    torch.save({"state_dict": wrapped, "epoch": 3}, tmp_path / "last.ckpt")
    assert same(read_files([tmp_path / "last.ckpt"]).tensors)
    (tmp_path / "shards" / pieces[names[0]]).unlink()
    with pytest.raises(UserError, match="cannot be read"):
        read_files([tmp_path / "shards"])


def test_safetensors_come_before_pickles(tmp_path: Path) -> None:
    saved(tmp_path / "model.safetensors", TENSORS)
    (tmp_path / "pytorch_model.bin").write_bytes(b"anything")
    assert same(read_files([tmp_path]).tensors)


class Bomb:
    """Runs when it is unpickled."""

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (Path("exploded"),))


def test_no_code_of_a_file_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"codi.a": TENSORS["codi.a"], "extra": Bomb()}, tmp_path / "bomb.bin")
    with pytest.raises(UserError, match="cannot be read as tensors"):
        read_files([tmp_path / "bomb.bin"])
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_damage_is_one_block(tmp_path: Path, name: str) -> None:
    """Cut anywhere, or with bytes of the beginning changed: an error in words, or all that was there."""
    whole = saved(tmp_path / name, TENSORS).read_bytes()
    draw, refused = random.Random(0), 0
    for number in range(80):
        damaged = bytearray(whole[: draw.randrange(len(whole))] if number % 2 else whole)
        for _ in range(number % 2 or draw.randint(1, 4)):
            if damaged:
                damaged[draw.randrange(min(200, len(damaged)))] ^= 1 << draw.randrange(8)
        (tmp_path / name).write_bytes(bytes(damaged))
        try:
            read_files([tmp_path / name])
        except UserError as err:
            refused += 1
            assert str(err) and "Traceback" not in str(err)
    assert refused >= 40


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"weight_map": 3}', '{"weight_map": {"a": 1}}'])
def test_an_index_that_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "model.safetensors.index.json").write_text(text)
    with pytest.raises(UserError):
        read_files([tmp_path])

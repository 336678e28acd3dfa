"""GGUF files: the folder holds what the file's numbers stand for, is made once, and serves wherever a folder does."""

from __future__ import annotations

import errno
import importlib.util
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM, PreTrainedModel

import lcot as api
from lcot.errors import UserError
from lcot.pretrained import gguf
from lcot.pretrained.gguf import convert, folder_of, is_gguf
from tests.pretrained.gguf_file import TEMPLATE, tiny_llama, words, write_gguf
from tests.tiny import contents, lcot, write_config


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "cache"


@pytest.mark.parametrize("kind", ["F32", "F16", "Q8_0", "Q4_1"])
def test_a_folder_holds_what_the_numbers_stand_for(kind: str) -> None:
    meant = write_gguf(Path("tiny.gguf"), kind)
    convert("tiny.gguf", Path("made"))
    found = load_file("made/model.safetensors")
    assert found.keys() == meant.keys()
    assert all(torch.equal(found[name], weight) for name, weight in meant.items())
    model = AutoModelForCausalLM.from_pretrained("made")
    assert isinstance(model, LlamaForCausalLM) and isinstance(model.config.rope_parameters, dict)
    assert model.config.rope_parameters["rope_theta"] == 10000.0
    assert not hasattr(model.config, "quantization_config") and model.dtype == torch.float32
    plain = tiny_llama()
    plain.load_state_dict({**meant, "lm_head.weight": meant["model.embed_tokens.weight"]})
    ids = torch.tensor([[3, 60, 61, 9, 70]])
    assert torch.allclose(model(ids).logits, plain(ids).logits, atol=1e-5)


def test_texts_are_those_of_the_file() -> None:
    write_gguf(Path("tiny.gguf"))
    read: Any = AutoModelForCausalLM.from_pretrained(".", gguf_file="tiny.gguf", dtype=torch.float32)
    folder = folder_of("tiny.gguf")
    made: Any = AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    for asked in ("the cat", "is it", "12 and 30?", "hat"):
        ids = tokenizer(asked, return_tensors="pt").input_ids
        texts = [one.generate(ids, max_new_tokens=12, do_sample=False).tolist() for one in (read, made)]
        assert texts[0] == texts[1] and len(texts[0][0]) > ids.shape[1]


def test_the_tokenizer_comes_along() -> None:
    write_gguf(Path("tiny.gguf"))
    tokenizer = AutoTokenizer.from_pretrained(folder_of("tiny.gguf"))
    assert tokenizer.convert_ids_to_tokens(list(range(len(words()[0])))) == words()[0]
    assert tokenizer.decode(tokenizer("the cat is in").input_ids) == "the cat is in"
    assert tokenizer.chat_template == TEMPLATE and tokenizer.eos_token == "<|end|>"


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_other_precisions(precision: gguf.Precision) -> None:
    meant = write_gguf(Path("tiny.gguf"))
    convert("tiny.gguf", Path("made"), precision)
    dtype = getattr(torch, precision)
    assert all(torch.equal(load_file("made/model.safetensors")[name], one.to(dtype)) for name, one in meant.items())


def test_it_is_converted_once(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    write_gguf(Path("tiny.gguf"))
    folder = folder_of("tiny.gguf")
    assert folder.is_relative_to(cache / "lcot" / "gguf") and folder.name.startswith("tiny-")
    os.renames("tiny.gguf", "elsewhere/tiny.gguf")
    with monkeypatch.context() as never:
        never.setattr(gguf, "convert", None)
        assert folder_of("elsewhere/tiny.gguf") == folder
    write_gguf(Path("tiny.gguf"), model=tiny_llama(seed=1))
    assert folder_of("tiny.gguf") != folder
    assert not list(folder.parent.glob(".*"))


def test_a_run_on_one(tmp_path: Path) -> None:
    write_gguf(tmp_path / "tiny.gguf")
    changes = {
        "model.init_args.backbone": {"path": "tiny.gguf", "lora": {"rank": 2}},
        "data.init_args.tokenizer": "tiny.gguf",
    }
    assert lcot("fit", "-c", write_config(tmp_path, changes), "--trainer.max_epochs=2").code == 0
    outcome = lcot("test", "-c", "runs/tiny/config.yaml")
    assert outcome.code == 0, outcome.err
    solver = api.load("runs/tiny")
    assert solver.tokenizer.chat_template == TEMPLATE
    write_gguf(tmp_path / "tiny.gguf", model=tiny_llama(seed=1))
    outcome = lcot("test", "-c", "runs/tiny/config.yaml")
    assert outcome.code == 2 and "frozen" in outcome.block


def test_the_command(tmp_path: Path) -> None:
    write_gguf(tmp_path / "tiny.gguf")
    outcome = lcot("convert", "tiny.gguf", "made", "--dtype", "bfloat16")
    assert outcome.code == 0 and "--data.tokenizer=made" in outcome.out
    assert AutoModelForCausalLM.from_pretrained("made", dtype="auto").dtype == torch.bfloat16
    before = contents(tmp_path)
    again = lcot("convert", "tiny.gguf", "made")
    assert again.code == 2 and "there is something at 'made' already" in again.block
    assert contents(tmp_path) == before
    assert "FILE.gguf" in lcot("convert", "--help").out


def damaged(how: str) -> None:
    file = Path("tiny.gguf")
    lacks = {"weight": "model.layers.1.mlp.up_proj.weight", "norm": "model.norm.weight"}.get(how, "")
    write_gguf(file, architecture="unheard" if how == "architecture" else "llama", without=lacks)
    whole = file.read_bytes()
    if how == "cut":
        file.write_bytes(whole[: len(whole) // 2])
    elif how == "begin":
        file.write_bytes(whole[:200])
    elif how == "other":
        file.write_bytes(b"PK" + whole)
    elif how == "pointer":
        file.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    elif how == "gone":
        file.rename("other.gguf")


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("cut", "'tiny.gguf' could not be read"),
        ("begin", "'tiny.gguf' could not be read"),
        ("other", "it does not begin as such a file does"),
        ("pointer", "it is a Git LFS pointer"),
        ("architecture", "use a model of a type that transformers reads"),
        ("weight", "it has no model.layers.1.mlp.up_proj.weight, which would be random numbers"),
        ("norm", "it has no model.norm.weight"),
        ("gone", "there are other.gguf"),
    ],
)
def test_what_cannot_be_read(how: str, says: str, tmp_path: Path, cache: Path) -> None:
    damaged(how)
    before = contents(tmp_path)
    outcome = lcot("convert", "tiny.gguf", "made")
    assert outcome.code == 2 and says in outcome.block and len(outcome.block.splitlines()) <= 5
    with pytest.raises(UserError):
        folder_of("tiny.gguf")
    assert {place: one for place, one in contents(tmp_path).items() if not place.startswith("cache")} == before
    assert not [file for file in cache.rglob("*") if file.is_file()]


def test_without_what_reads_it(monkeypatch: pytest.MonkeyPatch) -> None:
    write_gguf(Path("tiny.gguf"))
    found = importlib.util.find_spec
    monkeypatch.setattr("lcot.errors.find_spec", lambda name: None if name == "gguf" else found(name))
    outcome = lcot("convert", "tiny.gguf", "made")
    assert outcome.code == 2 and "[gguf]" in outcome.block


def test_a_full_disk_leaves_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    write_gguf(Path("tiny.gguf"))
    before = contents(tmp_path)

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(PreTrainedModel, "save_pretrained", full)
    outcome = lcot("convert", "tiny.gguf", "made")
    assert outcome.code == 2 and "No space left on device" in outcome.block
    assert contents(tmp_path) == before


def test_names() -> None:
    assert is_gguf("a.gguf") and is_gguf(Path("A.GGUF")) and not is_gguf("gguf") and not is_gguf(None)

"""Pretrained models: whole, or refused in one block that says which file lacks what."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from lcot.errors import UserError
from lcot.modules import Backbone
from lcot.modules.weights import load_pretrained
from tests.modules.test_intact import to_pointer
from tests.softcot import Pair, make_pair
from tests.tiny import Outcome, contents, lcot

Change = Callable[[Path], Any]
WHOLE, INDEX = "model.safetensors", "model.safetensors.index.json"


@pytest.fixture
def pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pair:
    """Two models with tokenizers and data; commands start beside them."""
    monkeypatch.chdir(tmp_path)
    return make_pair(tmp_path)


def config(**fields: Any) -> Change:
    """Set fields of ``config.json``; ``...`` removes one."""

    def change(folder: Path) -> None:
        read = {**json.loads((folder / "config.json").read_text()), **fields}
        (folder / "config.json").write_text(json.dumps({name: one for name, one in read.items() if one is not ...}))

    return change


def tensors(**changes: Any) -> Change:
    """Set weights, their names with ``__`` for dots; ``...`` removes one."""

    def change(folder: Path) -> None:
        read = {**load_file(folder / WHOLE), **{name.replace("__", "."): one for name, one in changes.items()}}
        save_file(
            {name: one for name, one in read.items() if one is not ...}, folder / WHOLE, metadata={"format": "pt"}
        )

    return change


def sharded(change: Change) -> Change:
    """Change a folder whose weights are in several files."""

    def both(folder: Path) -> None:
        AutoModelForCausalLM.from_pretrained(folder).save_pretrained(folder, max_shard_size="20KB")
        (folder / WHOLE).unlink()
        change(folder)

    return both


def shard(folder: Path) -> Path:
    """The second of several files."""
    return sorted(folder.glob("*.safetensors"))[1]


def text(name: str, content: str) -> Change:
    """Write a file."""
    return lambda folder: (folder / name).write_text(content)


def instead(name: str, content: bytes = b"GGUF") -> Change:
    """Put a file in the place of the weights."""

    def change(folder: Path) -> None:
        (folder / WHOLE).unlink()
        (folder / name).write_bytes(content)

    return change


def refused(outcome: Outcome, before: dict[str, str]) -> str:
    """The block of a command that refused and left everything as it was."""
    assert outcome.code == 2 and "Traceback" not in outcome.err, outcome.err
    assert outcome.err.count("lcot: error: ") == 1 and "MISSING" not in outcome.err + outcome.out
    assert contents(Path.cwd()) == before
    return outcome.block


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda folder: to_pointer(folder / WHOLE), "it is a Git LFS pointer, not the file itself"),
        (config(model_type="own", auto_map={"AutoModelForCausalLM": "mod.M"}), "comes with code of its own"),
        (config(num_hidden_layers=3), "num_hidden_layers 3, and the files hold 2 layers"),
        (tensors(lm_head__weight=...), "lm_head.weight: they would be random numbers"),
    ],
    ids=["pointer", "code", "layers", "head"],
)
@pytest.mark.parametrize("part", ["backbone", "assistant"])
def test_the_command_line_says_it_in_one_block(pair: Pair, part: str, change: Change, says: str) -> None:
    llm, folder = pair.llm, pair.llm if part == "backbone" else pair.assistant
    if part == "assistant":
        AutoModelForCausalLM.from_pretrained(llm).save_pretrained(folder)
    (folder / "mod.py").write_text("raise SystemExit('run')")
    settings = pair.settings(data__init_args__tokenizer=str(llm))
    settings["data"]["init_args"]["dialogue"]["assistant"] = str(llm)
    settings["data"]["init_args"]["dialogue"]["assistant_prompt"] = None
    change(folder)
    Path("soft.yaml").write_text(json.dumps(settings))
    block = refused(lcot("fit", "-c", "soft.yaml"), contents(Path.cwd()))
    assert says in block and f"model.{part}.path" in block and str(folder) in block
    assert len(block.splitlines()) <= 4


def test_the_tokenizer_of_a_model_with_code_of_its_own(pair: Pair) -> None:
    config(model_type="own", auto_map={"AutoConfig": "cfg.C"})(pair.llm)
    chosen = json.loads((pair.llm / "tokenizer_config.json").read_text())
    own = {"tokenizer_class": "Own", "auto_map": {"AutoTokenizer": ["own.Own", None]}}
    (pair.llm / "tokenizer_config.json").write_text(json.dumps({**chosen, **own}))
    Path("soft.yaml").write_text(json.dumps(pair.settings()))
    block = refused(lcot("fit", "-c", "soft.yaml"), contents(Path.cwd()))
    assert "the tokenizer" in block and "code of its own" in block and "not run" in block


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda folder: (folder / WHOLE).write_bytes((folder / WHOLE).read_bytes()[:-100]), "cut short or damaged"),
        (text(WHOLE, "<html>not found</html>"), "cut short or damaged"),
        (text(WHOLE, ""), "it is empty"),
        (tensors(model__norm__weight=...), "model.norm.weight: they would be random numbers"),
        (tensors(model__norm__weight=torch.ones(7)), "model.norm.weight: [7] in the file, [32] by config.json"),
        (config(num_hidden_layers=1), "would be left out"),
        (config(hidden_size=64), "other shapes than its config.json says"),
        (config(hidden_size=10**9), "hidden_size 1000000000, and no weight is wider than"),
        (config(num_hidden_layers=10**9), "num_hidden_layers 1000000000, and the files hold 2 layers"),
        (config(hidden_size="x"), "Field 'hidden_size' expected int"),
        (config(hidden_size=None), "Field 'hidden_size' expected int"),
        (config(model_type=...), "names no model_type"),
        (config(model_type=None), "names no model_type"),
        (config(model_type=["llama"]), "names no model_type"),
        (config(model_type="lama"), "no models of type 'lama'"),
        (config(model_type="bert"), "a bert model is no decoder that writes from left to right"),
        (config(model_type="t5"), "a t5 model is no decoder that writes from left to right"),
        (config(quantization_config={"quant_method": "gptq", "bits": 4}), "requires optimum"),
        (text("config.json", "{"), "its config.json is not valid JSON"),
        (text("config.json", "[]"), "its config.json holds no object"),
        (text("config.json", "[" * 100_000), "its config.json is not valid JSON"),
        (lambda folder: to_pointer(folder / "config.json"), "its config.json is a Git LFS pointer"),
        (lambda folder: (folder / "config.json").unlink(), "no config.json"),
        (text("adapter_config.json", '{"base_model_name_or_path": "some/model"}'), "adapter_config.json lies beside"),
        (instead("pytorch_model.bin"), "a pickle can run code"),
        (instead("model.gguf"), "its weights are GGUF, model.gguf"),
        (instead("weights.safetensors"), "rename weights.safetensors"),
        (instead("notes.txt"), f"there is no {WHOLE} in it"),
        (sharded(lambda folder: shard(folder).unlink()), f"it is not there|{INDEX} names it"),
        (sharded(lambda folder: to_pointer(shard(folder))), "Git LFS pointer"),
        (sharded(lambda folder: shard(folder).write_bytes(b"\0" * 64)), "cut short or damaged"),
        (sharded(text(INDEX, "{")), f"its {INDEX} is not valid JSON"),
        (sharded(text(INDEX, "{}")), f"its {INDEX} has no weight_map"),
        (sharded(text(INDEX, '{"weight_map": null}')), f"its {INDEX} has no weight_map"),
        (sharded(text(INDEX, '{"weight_map": {"a": 3}}')), f"its {INDEX} has no weight_map"),
        (sharded(lambda folder: to_pointer(folder / INDEX)), f"its {INDEX} is a Git LFS pointer"),
    ],
)
def test_what_is_not_whole_says_why(pair: Pair, change: Change, says: str) -> None:
    change(pair.llm)
    with pytest.raises(UserError) as caught:
        load_pretrained(str(pair.llm), None, "float32", "sdpa")
    block = str(caught.value)
    assert all(part in block for part in says.split("|")) and str(pair.llm) in block
    assert caught.value.fix and len(block.splitlines()) <= 4


def test_what_is_whole_is_loaded(pair: Pair, caplog: pytest.LogCaptureFixture) -> None:
    plain = load_pretrained(str(pair.llm), None, "float32", "sdpa").state_dict()
    for change in (
        sharded(lambda folder: None),
        config(model_type="llama", auto_map={"AutoModelForCausalLM": "mod.M"}),  # transformers has its own
        text("generation_config.json", "["),
    ):
        change(pair.llm)
        loaded = load_pretrained(str(pair.llm), None, "float32", "sdpa").state_dict()
        assert loaded.keys() == plain.keys() and all(torch.equal(loaded[name], plain[name]) for name in plain)
    assert not caplog.records
    AutoModelForCausalLM.from_pretrained(pair.llm).save_pretrained(pair.llm)
    tensors(score__weight=torch.ones(3))(pair.llm)
    load_pretrained(str(pair.llm), None, "float32", "sdpa")
    assert "has no place for are left out: score.weight" in caplog.text


def test_a_tied_head_needs_no_weights_of_its_own(pair: Pair) -> None:
    assert "lm_head.weight" not in load_file(pair.assistant / WHOLE)
    model = load_pretrained(str(pair.assistant), None, "float32", "sdpa")
    head: Any = model.get_output_embeddings()  # type: ignore[no-untyped-call]
    assert head.weight is model.get_input_embeddings().weight
    config(tie_word_embeddings=False)(pair.assistant)
    with pytest.raises(UserError, match="weights are missing") as caught:
        load_pretrained(str(pair.assistant), None, "float32", "sdpa")
    assert "tie_word_embeddings" in str(caught.value)


def test_a_file_is_no_folder(pair: Pair) -> None:
    with pytest.raises(UserError, match="could not be loaded") as caught:
        Backbone(path=str(pair.llm / WHOLE))._pretrained(None, None)  # type: ignore[arg-type]
    assert "it is a file" in str(caught.value) and f"give its folder: {str(pair.llm)!r}" in str(caught.value)


def test_masked_models_are_no_decoders_from_scratch_either() -> None:
    with pytest.raises(UserError, match="no decoder that writes from left to right"):
        Backbone(config={"model_type": "bert"}).check_config()

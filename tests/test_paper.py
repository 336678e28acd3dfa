"""The published settings, on tiny stand-ins for their models and data: every config of configs/paper trains."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml
from transformers import AutoModelForCausalLM, GPT2Config

from lcot.datamodules.tokenizers import build_word_tokenizer
from tests.models import tiny_model
from tests.places import ROOT
from tests.stand_ins import GSM8K, PRONTOQA, data_options
from tests.tiny import RECORD, Outcome, contents, lcot

PAPER = sorted((ROOT / "configs" / "paper").glob("*.yaml"))
METHODS = ROOT / "configs" / "methods"
PAPERS = (
    "2412.06769",
    "2505.12514",
    "2502.21074",
    "2506.18582",
    "2509.20317",
    "2606.31779",
    "2510.02312",
    "2607.16972",
    "2505.16552",
)
UNDER_COT = ("gsm8k_coconut", "gsm8k_llama3_8b", "prosqa_coconut_mixed", "prosqa_symbolic_coconut")
"""Configs of each kind of curriculum that chains of thought take the place of."""


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a GPT-2 of one layer, a tokenizer that knows ``<<``, and in it one with a Llama."""
    folder = tmp_path_factory.mktemp("gpt2")
    tokenizer = build_word_tokenizer([GSM8K, json.dumps(PRONTOQA), json.dumps(RECORD), "<<"])
    tokenizer.save_pretrained(folder)
    AutoModelForCausalLM.from_config(  # type: ignore[no-untyped-call]
        GPT2Config(vocab_size=len(tokenizer), n_embd=16, n_layer=1, n_head=2, n_positions=512)
    ).save_pretrained(folder)
    llama = folder / "llama"
    tokenizer.save_pretrained(llama)
    tiny_model("llama", vocab_size=len(tokenizer), max_position_embeddings=512).save_pretrained(llama)
    return folder


def stand_ins(config: Path, pretrained: Path, folder: Path) -> list[str]:
    """The options that put something small in the place of a config's model, data and machine."""
    settings = yaml.safe_load(config.read_text(encoding="utf-8"))
    words = ["--trainer.devices=1", "--trainer.accelerator=cpu", "--data.batch_size=2", "--data.num_workers=0"]
    backbone = settings["model"]["init_args"]["backbone"]
    if "q_proj" in backbone.get("lora", {}).get("targets", ()):
        pretrained = pretrained / "llama"
    if "path" in backbone:
        words += [f"--model.backbone.path={pretrained}", f"--data.tokenizer={pretrained}"]
    else:
        words += ["--model.backbone.config.n_embd=16"]
    return words + data_options(settings, folder, published=True)


def trial(config: Path, pretrained: Path, folder: Path, *more: object) -> Outcome:
    """One batch of training and validation."""
    return lcot("fit", "-c", config, *more, *stand_ins(config, pretrained, folder), "--trainer.fast_dev_run=true")


@pytest.mark.parametrize("config", PAPER, ids=lambda path: path.stem)
def test_it_trains(config: Path, pretrained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = trial(config, pretrained, tmp_path)
    assert outcome.code == 0, outcome.err
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("config", [path for path in PAPER if path.stem in UNDER_COT], ids=lambda path: path.stem)
def test_its_chain_of_thought_trains(
    config: Path, pretrained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = trial(config, pretrained, tmp_path, "-c", METHODS / "cot.yaml")
    assert outcome.code == 0, outcome.err


@pytest.mark.parametrize("config", PAPER, ids=lambda path: path.stem)
def test_each_value_has_a_source(config: Path) -> None:
    text = config.read_text(encoding="utf-8")
    assert len(text.splitlines()) < 40
    assert re.search(rf"arXiv ({'|'.join(PAPERS)})", text) or "prosqa_coconut.yaml" in text
    assert text.count("released") + text.count("paper") + text.count("ours") >= 4


def test_coconut_on_gsm8k_starts_from_the_run_of_its_chain_of_thought(
    pretrained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    cot, coconut = (next(path for path in PAPER if path.stem == f"gsm8k_{name}") for name in ("cot", "coconut"))
    quick = ["--trainer.enable_progress_bar=false", "--trainer.logger=false"]
    first = lcot("fit", "-c", cot, *stand_ins(cot, pretrained, tmp_path), "--trainer.max_epochs=1", *quick)
    assert first.code == 0, first.err
    own = [word for word in stand_ins(coconut, pretrained, tmp_path) if str(pretrained) not in word]
    before = contents(tmp_path)
    second = lcot("fit", "-c", coconut, *own, "--trainer.fast_dev_run=true")
    assert second.code == 0, second.err
    assert contents(tmp_path) == before

"""The recorded models of released code, under the names that it gives their tensors, imported as they would be."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

import lcot as package
from lcot.api import Solver
from lcot.reasoning.batch import collate
from lcot.reasoning.feeds import embedding_table
from lcot.reasoning.layout import IGNORE, Layout
from tests.modules.objectives.official import FAMILIES, ORACLE, content, needs_oracle
from tests.places import ROOT
from tests.tiny import lcot, write_config

pytestmark = needs_oracle

ROWS = [0, 1, 2]


def base_of(folder: Path, method: str, family: str) -> Path:
    """A folder with the recorded model's config.json and a tokenizer of its 200 words; eos is 1."""
    vocabulary = {f"w{number}": number for number in range(200)}
    inner = Tokenizer(models.WordLevel(vocabulary, unk_token="w0"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="w1", unk_token="w0")  # type: ignore[no-untyped-call]
    tokenizer.save_pretrained(folder)
    shutil.copyfile(ORACLE / method / family / "config.json", folder / "config.json")
    (folder / "config.json").chmod(0o644)
    return folder


def imported(tmp_path: Path, release: Path, base: Path, method: str, *words: object) -> Solver:
    overlay, place = ROOT / "configs" / "methods" / f"{method}.yaml", ["--name", "one", "--runs_dir", tmp_path / "runs"]
    outcome = lcot("import", release, "-c", write_config(tmp_path), "-c", overlay, "--base", base, *words, *place)
    assert outcome.code == 0, outcome.err
    return package.load(tmp_path / "runs" / "one")


def fed(solver: Solver, questions: list[list[int]], slots: int) -> torch.Tensor:
    """The thoughts about questions of words, in the run's own ids of special tokens."""
    special, rows = solver.special, []
    for question in questions:
        before = [*question, special.bot]
        ids = [*before, *[special.latent] * slots, special.eot]
        rows.append(Layout(ids, [IGNORE] * len(ids), len(before), slots, len(ids), marked=True, stepped=slots))
    with torch.no_grad():
        thoughts = solver.module.think(collate(rows, special.pad)).fed
    assert thoughts is not None
    return thoughts


@pytest.mark.parametrize("family", FAMILIES)
class TestRecorded:
    """Thoughts are those that the released code computed."""

    @pytest.mark.parametrize("adapted", [False, True])
    def test_codi(self, family: str, adapted: bool, tmp_path: Path) -> None:
        folder, found = ORACLE / "codi" / family, content("codi")[family]
        tensors = {f"codi.{name}": one for name, one in load_file(folder / "model.safetensors").items()}
        if adapted:
            thin = load_file(folder / "lora_for_equal_lora_prj_n3.safetensors")
            layers = {name.partition(".lora_")[0] for name in thin}
            inner = {name.removeprefix("codi."): one for name, one in tensors.items()}
            tensors = {f"codi.base_model.model.{name}": one for name, one in inner.items()}
            for layer in layers:
                bare = layer[layer.index("base_model.model.") :]
                for kind in ("weight", "bias"):
                    if (one := tensors.pop(f"codi.{bare}.{kind}", None)) is not None:
                        tensors[f"codi.{bare}.base_layer.{kind}"] = one
            tensors |= {f"codi.{name[name.index('base_model.model.') :]}": one for name, one in thin.items()}
        tensors |= {f"prj.{name}": one for name, one in load_file(folder / "projection.safetensors").items()}
        save_file(tensors, tmp_path / "model.safetensors")
        base = base_of(tmp_path / "base", "codi", family)
        words = ["--model.feed.width=24", "--curriculum.schedule.thoughts=3", "--lora_alpha=8"]
        solver = imported(tmp_path, tmp_path / "model.safetensors", base, "codi", *words)
        name = f"{family}/equal_{'lora_' if adapted else ''}prj_n3"
        theirs = load_file(ORACLE / "codi" / "latents.safetensors")[name]
        questions = [found["sequences"]["encoder_input_ids"][row][:-1] for row in ROWS]
        mine = fed(solver, questions, 3)
        torch.testing.assert_close(mine, theirs[:, :3], rtol=1e-4, atol=1e-4)

    def test_pccot(self, family: str, tmp_path: Path) -> None:
        folder, found, ids = ORACLE / "pccot" / family, content("pccot")[family], content("pccot")["ids"]
        release = tmp_path / "pccot"
        release.mkdir()
        save_file(load_file(folder / "model.safetensors"), release / "model.safetensors")
        config: dict[str, Any] = json.loads((folder / "config.json").read_text())
        kind = {"gpt2": "pccot-gpt2", "llama": "pccot-llama"}[family]
        told = {**config, "model_type": kind, "num_iterations": 3, "pad_token_id": ids["pad"]}
        (release / "config.json").write_text(json.dumps(told))
        names = {f"{name}_token_id": ids[name] for name in ("bot", "eot", "latent")}
        (release / "pccot_args.json").write_text(json.dumps({**names, "num_latent_tokens": 4}))
        base = base_of(tmp_path / "base", "pccot", family)
        solver = imported(tmp_path, release, base, "pccot", "--curriculum.schedule.thoughts=4")
        theirs = load_file(ORACLE / "pccot" / "latents.safetensors")[f"{family}/equal_c4_T3/fed"]
        questions = [found["sequences"]["4"]["question"][row] for row in ROWS]
        torch.testing.assert_close(fed(solver, questions, 4), theirs[:, -1], rtol=1e-4, atol=1e-4)

    def test_cmtp(self, family: str, tmp_path: Path) -> None:
        folder, found, ids = ORACLE / "cmtp" / family, content("cmtp")[family], content("cmtp")["ids"]
        tensors = {f"student.{name}": one for name, one in load_file(folder / "model.safetensors").items()}
        head = load_file(folder / "mtp_head_span2.safetensors")
        save_file(tensors | {f"mtp_projection.{name}": one for name, one in head.items()}, tmp_path / "c.safetensors")
        base = base_of(tmp_path / "base", "cmtp", family)
        words = ["--model.thinker.max_thoughts=16", "--model.max_new_tokens=16"]
        solver = imported(tmp_path, tmp_path / "c.safetensors", base, "cmtp", *words)
        entries = [e for e in found["generated"] if e["how"] == "batch 1" and e["span"] == 2]
        special, rows = solver.special, []
        for entry in entries:
            before = [ids["bos"], *found["examples"][entry["rows"][0]]["question"], special.bot]
            whole = [*before, special.eot]
            rows.append(Layout(whole, [IGNORE] * len(whole), len(before), 0, len(whole), marked=True))
        answers = solver.module.answer(collate(rows, special.pad, align=True))
        assert answers.thoughts.tolist() == [len(entry["think_spans"]) for entry in entries]
        mine = {ids["bot"]: special.bot, ids["eot"]: special.eot, ids["mot"]: special.pause, ids["pad"]: special.pad}
        for row, entry in enumerate(entries):
            room = max(0, entry["max_new"] - len(entry["think_spans"]) - 1)
            assert answers.tokens[row][:room] == [mine.get(token, token) for token in entry["answer_tokens"][0]]

    @pytest.mark.parametrize("method", ["lotus", "simcot_coconut"])
    def test_state_dicts_of_coconut(self, family: str, method: str, tmp_path: Path) -> None:
        folder, found = ORACLE / method / family, content(method)[family]
        tensors = {f"base_causallm.{name}": one for name, one in load_file(folder / "model.safetensors").items()}
        if method == "simcot_coconut":
            extra = load_file(folder / "decoder" / "model.safetensors")
            tensors |= {f"expainable_llm.{name}": one for name, one in extra.items()}
        torch.save(tensors, tmp_path / "checkpoint_1")
        base = base_of(tmp_path / "base", method, family)
        stored = load_file(ORACLE / method / "latents.safetensors")
        tried = 0
        for case in found["cases"]:
            if method == "lotus":
                theirs = stored.get(f"{case['name']}/region_states")
                plain = not {"latent_injection_mode", "freeze_supervised_blocks"} & set(case["options"])
                slots, wanted = case["c"] * min(case["stage"], case["max_latent_stage"]), case["loops"] == 2 and plain
            else:
                theirs, slots, wanted = stored.get(case["name"]), 0, True
                slots = 0 if theirs is None else theirs.shape[1]
            if theirs is None or not wanted or not slots or tried:
                continue
            words = ["--curriculum.schedule.max_stage=1", "--curriculum.schedule.epochs_per_stage=1"]
            rounds = ["--model.thinker={class_path: Looped, init_args: {rounds: 2}}"] if method == "lotus" else []
            config = "lotus" if method == "lotus" else "simcot"
            solver = imported(tmp_path, tmp_path / "checkpoint_1", base, config, *words, *rounds)
            questions = [found["examples"][row]["question"] for row in case["rows"]]
            mine = fed(solver, questions, slots)
            if method == "lotus":  # what is read in the last round: the token's row, and the state of the round before
                assert solver.module.model is not None
                latent = embedding_table(solver.module.model)[solver.special.latent]
                torch.testing.assert_close(mine, latent + theirs[:, -2, 1:], rtol=1e-4, atol=1e-4)
            else:
                torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-4)
            tried += 1
        assert tried

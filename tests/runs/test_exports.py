"""What SoftCoT has trained can be handed on without the weights that it was trained beside."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

import lcot as package
from lcot.api import Solver
from lcot.errors import CheckpointError, UserError
from lcot.modules import Backbone, Paths
from lcot.reasoning.curriculum import Fixed
from lcot.reasoning.example import ReasoningExample
from tests.softcot import LORA, THOUGHTS, Pair, make_pair, ready
from tests.tiny import contents, lcot, write_config

QUESTIONS = [f"What is 1 and {number} with {number + 7}?" for number in range(6)]
TOKENIZER = {"chat_template.jinja", "tokenizer.json", "tokenizer_config.json"}
PROJECTION = {"projection.maps.0.weight", "projection.maps.0.bias"}


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """Both models."""
    return make_pair(tmp_path_factory.mktemp("pair"))


def solver_of(pair: Pair, folder: Path, schedule: Fixed | None = None, **options: Any) -> Solver:
    """A module whose trained parts were moved, as something to ask."""
    module, data = ready(pair, folder, schedule, **options)
    schedule = data.clock().schedule
    return Solver(module, schedule.kind, schedule.thoughts_at_inference(0), schedule.markers, builder=data.builder())


def files(folder: Path) -> set[str]:
    """Names of all files below a folder."""
    return {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}


def test_the_projection_alone(pair: Pair, tmp_path: Path) -> None:
    solver = solver_of(pair, tmp_path)
    folder = solver.save_pretrained(tmp_path / "model")
    beside = {f"assistant_tokenizer/{name}" for name in TOKENIZER}
    own = {"lcot.json", "softcot.safetensors", "prompt.yaml", "assistant_prompt.yaml"}
    assert files(folder) == own | TOKENIZER | beside
    kept = load_file(folder / "softcot.safetensors")
    assert kept.keys() == PROJECTION
    assert torch.equal(kept["projection.maps.0.weight"], solver.module.state_dict()["projection.maps.0.weight"])
    again = package.load(folder)
    assert again.solve(QUESTIONS) == solver.solve(QUESTIONS)
    assert (again.kind, again.thoughts, again.markers) == ("soft", THOUGHTS, "always")
    assert again.solve(QUESTIONS, thoughts=2, batch_size=1) == solver.solve(QUESTIONS, thoughts=2)


def test_all_that_may_be_trained(pair: Pair, tmp_path: Path) -> None:
    options: dict[str, Any] = {"backbone": Backbone(path=str(pair.llm), lora=LORA), "paths": Paths(3)}
    options["data"] = {"dialogue": pair.dialogue(tasks=["sums", "rests"], header="supervised")}
    solver = solver_of(pair, tmp_path, assistant=Backbone(path=str(pair.assistant), lora=LORA), **options)
    folder = solver.save_pretrained(tmp_path / "model")
    maps = {f"projection.maps.{task}.{part}" for task in range(2) for part in ("weight", "bias")}
    assert load_file(folder / "softcot.safetensors").keys() == maps | {"placeholders"}
    again = package.load(folder)
    for task in ("sums", "rests"):
        assert again.solve(QUESTIONS, task=task) == solver.solve(QUESTIONS, task=task)
    for name, weight in solver.module.state_dict().items():
        assert torch.equal(weight, again.module.state_dict()[name]), name
    copied = package.load(again.save_pretrained(tmp_path / "copy"))
    assert copied.solve(QUESTIONS, task="sums") == solver.solve(QUESTIONS, task="sums")


@pytest.mark.parametrize(("part", "place"), [("model", "llm_adapter"), ("assistant_model", "assistant_adapter")])
def test_adapters_are_those_of_peft(pair: Pair, tmp_path: Path, part: str, place: str) -> None:
    tuned: dict[str, Any] = {"backbone": Backbone(path=str(pair.llm), lora=LORA)}
    tuned["assistant"] = Backbone(path=str(pair.assistant), lora=LORA)
    solver = solver_of(pair, tmp_path, **tuned)
    folder = solver.save_pretrained(tmp_path / "model")
    said = json.loads((folder / place / "adapter_config.json").read_text())
    assert said["base_model_name_or_path"] == str(pair.llm if part == "model" else pair.assistant)
    plain = AutoModelForCausalLM.from_pretrained(said["base_model_name_or_path"])
    ids = torch.arange(7)[None]
    with torch.no_grad():
        ours, before = getattr(solver.module, part)(ids).logits, plain(ids).logits
        theirs = PeftModel.from_pretrained(plain, folder / place).eval()(ids).logits
    assert torch.equal(ours, theirs) and not torch.allclose(ours, before, atol=1e-3)
    save_file({"foreign": torch.ones(1)}, folder / place / "adapter_model.safetensors")
    with pytest.raises(CheckpointError, match=f"{place}.* is not what was written"):
        package.load(folder)
    described = json.loads((folder / "lcot.json").read_text())
    del described["files"][f"{place}/adapter_model.safetensors"]  # as the block says
    (folder / "lcot.json").write_text(json.dumps(described))
    with pytest.raises(CheckpointError, match="does not hold what is trained here"):
        package.load(folder)
    (folder / place / "adapter_model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=f"{place}.* cannot be read"):
        package.load(folder)


def test_lora_without_an_assistant(pair: Pair, tmp_path: Path) -> None:
    tuned: dict[str, Any] = {"backbone": Backbone(path=str(pair.llm), lora=LORA), "thoughts": "placeholders"}
    tuned["assistant"] = None
    for dialogue, schedule in ((pair.dialogue(), Fixed("none", 0, "soft")), (None, Fixed("none"))):
        solver = solver_of(pair, tmp_path, schedule, data={"dialogue": dialogue}, **tuned)
        folder = solver.save_pretrained(tmp_path / ("told" if dialogue else "plain"))
        assert (folder / "prompt.yaml").exists() is bool(dialogue)
        # Without a prompt the tokenizer has thought tokens, which are trained.
        rows = set() if dialogue else {"model.model.embed_tokens.rows", "model.lm_head.rows"}
        assert load_file(folder / "softcot.safetensors").keys() == rows
        assert package.load(folder).solve(QUESTIONS) == solver.solve(QUESTIONS)
        with pytest.raises(UserError, match="the run has no assistant"):
            package.load(folder, assistant=str(pair.assistant))


def test_words_need_no_projection(pair: Pair, tmp_path: Path) -> None:
    solver = solver_of(pair, tmp_path, thoughts="words")
    assert package.load(solver.save_pretrained(tmp_path / "model")).solve(QUESTIONS) == solver.solve(QUESTIONS)


def test_only_frozen_weights_are_elsewhere(pair: Pair, tmp_path: Path) -> None:
    """The folder may be moved, and tokenizers and prompts that the run read may go."""
    here = Pair(Path(shutil.copytree(pair.folder, tmp_path / "pair")))
    solver = solver_of(here, tmp_path)
    expected = solver.solve(QUESTIONS)
    folder = solver.save_pretrained(tmp_path / "model").rename(tmp_path / "moved")
    for file in here.folder.rglob("*"):
        if file.suffix in (".yaml", ".jinja") or file.name.startswith("tokenizer"):
            file.unlink()
    assert package.load(folder).solve(QUESTIONS) == expected
    here.llm.rename(tmp_path / "elsewhere")
    with pytest.raises(CheckpointError, match="frozen weights are not where they were"):
        package.load(folder)
    before = contents(folder)
    assert package.load(folder, backbone=str(tmp_path / "elsewhere")).solve(QUESTIONS) == expected
    with pytest.raises(CheckpointError, match="is of another model"):
        package.load(folder, backbone=str(here.assistant))
    assert contents(folder) == before


def test_other_methods_take_their_prompt_along(pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    prompt = Path(shutil.copy(pair.folder / "llama3.yaml", tmp_path))
    dialogue = {"data.init_args.dialogue": {"prompt": "llama3.yaml"}, "data.init_args.tokenizer": str(pair.llm)}
    model = {"model.init_args.backbone": {"path": str(pair.llm), "lora": LORA.described()}}
    pauses = {"hidden": "all", "kind": "pause", "thoughts": 2, "markers": "never"}
    schedule = {"curriculum.schedule": {"class_path": "Fixed", "init_args": pauses}}
    write_config(tmp_path, {**dialogue, **model, **schedule})
    assert (outcome := lcot("fit", "-c", "tiny.yaml")).code == 0, outcome.err
    solver = package.load("runs/tiny")
    folder = solver.save_pretrained("model")
    prompt.unlink()
    assert json.loads((folder / "lcot.json").read_text())["dialogue"]["prompt"] == "prompt.yaml"
    again = package.load(folder.absolute())
    assert again.solve(QUESTIONS) == solver.solve(QUESTIONS)
    (asked,) = again.builder.encode([ReasoningExample(QUESTIONS[0], (), "", "0")])
    assert f"Q: {QUESTIONS[0]}<|eot_id|>" in str(again.tokenizer.decode(asked.question))


def test_a_folder_that_is_damaged(pair: Pair, tmp_path: Path) -> None:
    folder = solver_of(pair, tmp_path).save_pretrained(tmp_path / "model")
    whole = (folder / "lcot.json").read_text()
    described = json.loads(whole)
    for text, says in (
        (whole[:-9], "is not valid JSON"),
        ("[]", "was not written by lcot"),
        (json.dumps({**described, "assistant": None, "kind": "hard"}), "kind is 'hard'"),
        (json.dumps({name: value for name, value in described.items() if name != "tasks"}), "tasks is missing"),
    ):
        (folder / "lcot.json").write_text(text)
        with pytest.raises(CheckpointError) as caught:
            package.load(folder)
        assert says in str(caught.value) and len(str(caught.value).splitlines()) <= 4
    (folder / "lcot.json").write_text(whole)
    for size in (100, 4):
        (folder / "softcot.safetensors").write_bytes((folder / "softcot.safetensors").read_bytes()[:size])
        with pytest.raises(CheckpointError, match="cannot be read"):
            package.load(folder)
    (folder / "softcot.safetensors").unlink()
    with pytest.raises(CheckpointError, match="cannot be read"):
        package.load(folder)


def test_others_may_read_all_of_it(pair: Pair, tmp_path: Path) -> None:
    tuned: dict[str, Any] = {"backbone": Backbone(path=str(pair.llm), lora=LORA)}
    folder = solver_of(pair, tmp_path, **tuned).save_pretrained(tmp_path / "model")
    (folder / "plain").touch()
    rights = {file.name: file.stat().st_mode for file in folder.rglob("*") if file.is_file()}
    assert {"softcot.safetensors", "adapter_model.safetensors"} <= set(rights) and len(set(rights.values())) == 1

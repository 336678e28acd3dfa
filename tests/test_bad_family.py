"""What none of the methods can do is one block each, for every method that it concerns, and nothing is written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.places import ROOT
from tests.tiny import lcot, write_config

CHAINED = ("codi", "pccot", "simcot", "simcot_codi", "lotus")
"""Methods that read the written chain."""
BLOCKS = {"simcot": "objectives.steps", "simcot_codi": "objectives.steps", "lotus": "objectives.places"}
"""Methods whose thoughts stand for steps, and what counts them."""
FIXED = "--curriculum.schedule={class_path: Fixed, init_args: {hidden: all, thoughts: 6, kind: continuous}}"


def refused(folder: Path, method: str, *words: object, config: Path | None = None) -> str:
    """The block that a method's fit ends in."""
    write_config(folder, {"model.init_args.backbone.config.max_position_embeddings": 256})
    own = config or ROOT / "configs" / "methods" / f"{method}.yaml"
    outcome = lcot("fit", "-c", folder / "tiny.yaml", "-c", own, "--name=no", "--runs_dir", folder / "runs", *words)
    assert outcome.code == 2, outcome.out
    assert len(outcome.block.splitlines()) <= 5
    assert not (folder / "runs").exists()
    return outcome.block


@pytest.mark.parametrize("method", CHAINED)
def test_data_without_steps(tmp_path: Path, method: str) -> None:
    records = [{"question": f"What is {n}?", "steps": [], "answer": str(n)} for n in range(6)]
    path = tmp_path / "records.json"
    path.write_text(json.dumps(records), encoding="utf-8")
    paths = {f"{split}_path": str(path) for split in ("train", "val")}
    data = f"--data={json.dumps({'class_path': 'JSONReasoning', 'init_args': {**paths, 'need_steps': False}})}"
    said = refused(tmp_path, method, data)
    assert "none of the 6 train problems has a reasoning step" in said and str(path) in said


@pytest.mark.parametrize("method", CHAINED)
def test_no_thoughts(tmp_path: Path, method: str) -> None:
    none = FIXED.replace("thoughts: 6", "thoughts: 0")
    said = refused(tmp_path, method, none)
    assert "no stage has thoughts" in said


@pytest.mark.parametrize(("method", "part"), BLOCKS.items())
def test_more_blocks_than_thoughts(tmp_path: Path, method: str, part: str) -> None:
    more = [FIXED, f"--model.{part}.per_step=8"]
    more += ["--model.thinker.per_step=8"] if method == "lotus" else []
    said = refused(tmp_path, method, *more)
    assert "per_step is 8, and rows have 6 thoughts" in said


@pytest.mark.parametrize(("method", "part"), BLOCKS.items())
def test_thoughts_that_are_left_over(tmp_path: Path, method: str, part: str) -> None:
    said = refused(tmp_path, method, FIXED, f"--model.{part}.per_step=4")
    assert "per_step is 4, and rows have 6 thoughts" in said


@pytest.mark.parametrize(("method", "part"), BLOCKS.items())
def test_blocks_of_nothing(tmp_path: Path, method: str, part: str) -> None:
    for number in (0, -1):
        assert f"per_step is {number}" in refused(tmp_path, method, f"--model.{part}.per_step={number}")


@pytest.mark.parametrize("method", ["pccot", "lotus"])
def test_rounds_below_none(tmp_path: Path, method: str) -> None:
    assert "rounds is -1" in refused(tmp_path, method, "--model.thinker.rounds=-1")


@pytest.mark.parametrize("method", ["simcot", "simcot_codi"])
@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("{hidden_size: 8}", "the step decoder is 8 wide, and the language model 16"),
        ("{num_attention_heads: 3}", "no step decoder can be made from its config"),
        ("{vocab_size: 7}", "the step decoder is 7 tokens large, and the language model"),
        ("{num_layers_: 1}", "unknown field of a llama model 'num_layers_'"),
    ],
)
def test_a_step_decoder_of_another_shape(tmp_path: Path, method: str, change: str, said: str) -> None:
    assert said in refused(tmp_path, method, f"--model.objectives.steps.config={change}")


def test_more_groups_than_means(tmp_path: Path) -> None:
    many = FIXED.replace("thoughts: 6", "thoughts: 70")
    said = refused(tmp_path, "simcot_codi", many, "--model.objectives.steps.mean=groups")
    assert "mean is 'groups', and rows have 70 groups of thoughts" in said

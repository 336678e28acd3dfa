"""Lightning's precision plugins: what they may change of a batch and of a module, and runs in each of them."""

from __future__ import annotations

import copy
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.plugins.precision.double import DoublePrecision
from lightning.pytorch.plugins.precision.half import HalfPrecision
from torch import Tensor
from transformers import AutoConfig

from lcot.modules import Backbone, Coconut
from lcot.modules.backbone import from_config
from lcot.modules.stored import read_checkpoint
from lcot.reasoning.batch import ThoughtBatch
from tests.stand_ins import pretrained
from tests.tiny import contents, lcot, write_config
from tests.training import stages, tiny_data, tiny_trainer

TYPES = {"bf16-true": torch.bfloat16, "16-true": torch.float16, "64-true": torch.float64}
ADAM = ["--model.optimizer=torch.optim.AdamW", "--model.optimizer.eps=1e-4", "--model.optimizer.lr=0.01"]


def plugin(precision: Any) -> Any:
    return DoublePrecision() if precision == "64-true" else HalfPrecision(precision)


def a_batch(folder: Path) -> ThoughtBatch:
    """Five rows to validate on, with their examples."""
    data = tiny_data(eval_batch_size=5)
    trainer = tiny_trainer(folder, stages())
    module = Coconut(Backbone(config={"model_type": "llama", "hidden_size": 8, "num_attention_heads": 2}))
    trainer.validate(module, data, verbose=False)
    batch: ThoughtBatch = next(iter(data.val_dataloader()))
    return batch


@dataclass(slots=True, eq=False)
class WithVectors(ThoughtBatch):
    """A batch of one's own."""

    vectors: Tensor | None = None


@pytest.mark.parametrize("precision", TYPES)
def test_ids_stay_and_vectors_change(precision: str, tmp_path: Path) -> None:
    batch = a_batch(tmp_path)
    given = {field.name: getattr(batch, field.name) for field in fields(batch)}
    changed = plugin(precision).convert_input(WithVectors(**given, vectors=torch.ones(5, 2)))
    assert type(changed) is WithVectors and changed.vectors is not None
    assert changed.vectors.dtype == TYPES[precision]
    for name, value in given.items():
        same = getattr(changed, name)
        if isinstance(value, Tensor):
            assert same.dtype == value.dtype in (torch.long, torch.bool) and torch.equal(same, value)
        else:
            assert same is value or same == value, name
    assert len(changed.examples) == 5


@pytest.mark.parametrize("precision", TYPES)
def test_a_run(precision: str, tmp_path: Path) -> None:
    config, runs = write_config(tmp_path), tmp_path / "runs"
    options = ("--runs_dir", runs, f"--trainer.precision={precision}", *ADAM)
    outcome = lcot("fit", "-c", config, "--name", "whole", *options)
    assert outcome.code == 0, outcome.err
    saved = read_checkpoint(runs / "whole" / "checkpoints" / "last.ckpt")
    weights = saved["state_dict"]
    assert {tensor.dtype for tensor in weights.values()} == {TYPES[precision]}
    assert all(bool(tensor.isfinite().all()) for tensor in weights.values())
    outcome = lcot("test", "-c", runs / "whole" / "config.yaml")
    assert outcome.code == 0 and "questions             5" in outcome.out, outcome.err


def test_float16_and_an_eps_that_it_does_not_know(tmp_path: Path) -> None:
    config = write_config(tmp_path)
    before = contents(tmp_path)
    outcome = lcot("fit", "-c", config, "--runs_dir", tmp_path / "runs", "--trainer.precision=16-true")
    assert outcome.code == 2 and contents(tmp_path) == before
    assert "eps is 1e-08, and the weights are float16" in outcome.block and "Traceback" not in outcome.err


def test_rotary_frequencies_are_not_rounded() -> None:
    wide: dict[str, Any] = {"model_type": "llama", "hidden_size": 32, "num_attention_heads": 2, "vocab_size": 50}
    module = Coconut(Backbone(config=wide))

    config = AutoConfig.for_model(**wide, num_hidden_layers=1, intermediate_size=16)
    module.model = from_config(config, "float32", "sdpa")
    other = copy.deepcopy(module.model)
    plugin("bf16-true").convert_module(module)
    # As transformers has a model in bfloat16: weights only.
    for parameter in other.parameters():
        parameter.data = parameter.data.bfloat16()
    ids = torch.arange(40)[None]
    positions = ids + 900
    for model in (module.model, other):
        assert next(model.parameters()).dtype == torch.bfloat16
    states = [model(ids, position_ids=positions).logits for model in (module.model, other)]
    assert torch.equal(*states)


def test_lora_trains_in_float32_beside_bfloat16(tmp_path: Path) -> None:
    base = pretrained(tmp_path / "base", tiny_data().vocabulary())
    lora = {"rank": 2, "alpha": 4, "targets": ["q_proj", "v_proj"], "dropout": 0.1}
    changes = {"model.init_args.backbone": {"path": str(base), "lora": lora}, "data.init_args.tokenizer": str(base)}
    config = write_config(tmp_path, changes)
    options = ("-c", config, "--runs_dir", tmp_path / "runs", "--trainer.precision=bf16-true")
    outcome = lcot("fit", *options)
    assert outcome.code == 0, outcome.err
    saved = read_checkpoint(tmp_path / "runs" / "tiny" / "checkpoints" / "last.ckpt")
    assert {tensor.dtype for tensor in saved["state_dict"].values()} == {torch.float32}
    outcome = lcot("test", *options)
    assert outcome.code == 0, outcome.err

"""Frozen weights: told apart by a hash, left out of checkpoints, and checked when those are loaded."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from torch import nn

from lcot.errors import CheckpointError, UserError
from lcot.modules import Backbone, Coconut, Halting, LoRA
from lcot.modules.frozen import (
    SAMPLE,
    FrozenWeights,
    PartlyTrained,
    check_frozen,
    check_names,
    fingerprint,
    freeze,
    weights_hash,
)
from tests.models import tiny_model
from tests.stand_ins import pretrained
from tests.training import stages, tiny_data, tiny_module, tiny_trainer

RANK_2 = LoRA(rank=2, alpha=4, dropout=0.0)


class TestHashes:
    """What changes them, and what does not."""

    def test_every_part_counts(self) -> None:
        model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)).requires_grad_(False)
        found = [fingerprint(model)]
        for name, value in (("0.weight", -1.0), ("0.bias", 5.0), ("1.running_mean", 2.0)):
            with torch.no_grad():
                model.state_dict()[name].view(-1)[-1] = value
            found.append(fingerprint(model))
        found.append(fingerprint(model.double()))
        found.append(fingerprint(nn.Sequential(*model).requires_grad_(False)[:1]))
        assert len(set(found)) == len(found) == 6
        assert all(len(each) == 32 for each in found)

    def test_names_and_shapes_count(self) -> None:
        def holding(**weights: torch.Tensor) -> nn.ParameterDict:
            return nn.ParameterDict({name: nn.Parameter(w, requires_grad=False) for name, w in weights.items()})

        zeros = torch.zeros(2, 3)
        modules = [holding(a=zeros), holding(b=zeros), holding(a=zeros.T), holding(a=zeros, b=zeros)]
        assert len({fingerprint(module) for module in modules}) == 4
        assert fingerprint(holding(b=zeros, a=zeros)) == fingerprint(modules[3])

    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.int64, torch.bool])
    def test_any_type(self, dtype: torch.dtype) -> None:
        module = nn.Module()
        module.register_buffer("table", torch.tensor([[1, 0], [0, 1]], dtype=dtype).T)
        module.register_buffer("number", torch.tensor(1, dtype=dtype))
        before = fingerprint(module), weights_hash(module)
        assert before == (fingerprint(module), weights_hash(module))
        module.get_buffer("number").zero_()
        assert fingerprint(module) != before[0] and weights_hash(module) != before[1]

    def test_what_is_trained_does_not_count(self) -> None:
        model = tiny_model()
        freeze(model)
        model.get_parameter("model.norm.weight").requires_grad_(True)
        before = fingerprint(model), weights_hash(model)
        with torch.no_grad():
            model.get_parameter("model.norm.weight")[0] += 1
        assert fingerprint(model) == before[0] and weights_hash(model) != before[1]

    def test_of_a_large_tensor_a_sample_counts(self) -> None:
        module = nn.Module()
        module.register_buffer("table", torch.zeros(3 * SAMPLE))
        whole = [fingerprint(module)]
        for place in (1, 3 * SAMPLE - 3):  # only the second one is in the sample
            module.get_buffer("table")[place] = 1.0
            whole.append(fingerprint(module))
        assert whole[0] == whole[1] != whole[2]
        module.get_buffer("table")[1] = 0.0
        assert fingerprint(module) == whole[2]
        module.register_buffer("table", torch.zeros(SAMPLE))
        small = weights_hash(module), fingerprint(module)
        module.get_buffer("table")[1] = 1.0
        assert fingerprint(module) != small[1] and weights_hash(module) != small[0]

    def test_a_large_model_takes_no_time(self) -> None:
        module = nn.Module()
        module.register_buffer("table", torch.zeros(1 << 26, dtype=torch.bfloat16))
        start = time.perf_counter()
        fingerprint(module)
        assert time.perf_counter() - start < 1

    def test_freezing(self) -> None:
        model = tiny_model()
        freeze(model)
        assert not model.training and not any(parameter.requires_grad for parameter in model.parameters())


class Two(PartlyTrained):
    """A frozen part, one that is trained, and a frozen parameter that comes from nowhere else."""

    def __init__(self) -> None:
        super().__init__()
        self.model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
        freeze(self.model)
        self.projection = nn.Linear(2, 3)
        self.drawn = nn.Parameter(torch.ones(2), requires_grad=False)
        self.frozen["model"] = FrozenWeights("a/b", "main", "float32", fingerprint(self.model))


class TestPartlyTrained:
    """What a checkpoint holds."""

    def test_what_is_trained_and_what_cannot_be_had_again(self) -> None:
        module = Two()
        checkpoint: dict[str, Any] = {"state_dict": module.state_dict()}
        module.on_save_checkpoint(checkpoint)
        buffers = {f"model.1.{name}" for name in ("running_mean", "running_var", "num_batches_tracked")}
        assert set(checkpoint["state_dict"]) == {"projection.weight", "projection.bias", "drawn", *buffers}
        other = Two()
        other.load_state_dict(checkpoint["state_dict"])
        assert torch.equal(other.projection.weight, module.projection.weight)
        assert not torch.equal(other.model[0].weight, module.model[0].weight)  # type: ignore[arg-type]

    def test_exactly_that(self) -> None:
        module = Two()
        state = {name: module.state_dict()[name] for name in module.trained_names()}
        before = weights_hash(module)
        with pytest.raises(CheckpointError, match="does not hold what is trained") as caught:
            module.load_state_dict({name: w for name, w in state.items() if name != "projection.bias"}, strict=False)
        assert "missing: projection.bias" in str(caught.value)
        with pytest.raises(CheckpointError, match="does not hold") as caught:
            module.load_state_dict({**state, "model.0.weight": torch.zeros(2, 2), "x": torch.zeros(1)})
        assert "unexpected: model.0.weight, x" in str(caught.value)
        with pytest.raises(CheckpointError, match="other shapes") as caught:
            module.load_state_dict({**state, "drawn": torch.zeros(3)})
        assert "drawn" in str(caught.value)
        assert weights_hash(module) == before

    def test_long_lists_are_cut(self) -> None:
        with pytest.raises(CheckpointError, match="does not hold") as caught:
            check_names({}, [f"w{number}" for number in range(9)])
        assert "missing: w0, w1, w2, w3 and 5 more" in str(caught.value)

    def test_all_of_a_module_without_frozen_weights(self) -> None:
        class One(PartlyTrained):
            def __init__(self) -> None:
                super().__init__()
                self.model = nn.Linear(2, 2).requires_grad_(False)

        assert One().trained_names() == ["model.weight", "model.bias"]


def test_frozen_weights_are_compared() -> None:
    then = asdict(FrozenWeights("a/b", "c0ffee", "float32", "1"))
    check_frozen({"model": then}, {"model": {**then, "path": "/else/where", "revision": None}})
    with pytest.raises(CheckpointError, match="the frozen weights are others than those of the training") as caught:
        check_frozen({"model": then}, {"model": {**then, "path": "/b", "revision": None, "fingerprint": "2"}})
    assert "model.backbone: 'a/b' at c0ffee then, '/b' now" in str(caught.value)
    with pytest.raises(CheckpointError, match="frozen weights are others") as caught:
        check_frozen({"model": then}, {"model": {**then, "dtype": "bfloat16", "fingerprint": "2"}})
    assert "their dtype was float32 then, and is bfloat16 now" in str(caught.value)
    with pytest.raises(CheckpointError, match="trained beside frozen weights, and the config trains with all"):
        check_frozen({"model": then}, {})
    with pytest.raises(CheckpointError, match="frozen then: model; now: assistant, model"):
        check_frozen({"model": then}, {"model": then, "assistant": then})


class Weights(L.Callback):
    """Hashes of what is frozen and of all, when training begins, and gradients when it goes on."""

    def __init__(self) -> None:
        self.frozen: list[str] = []
        self.all: list[str] = []
        self.gradients: set[str] = set()

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._note(pl_module)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._note(pl_module)

    def on_before_zero_grad(self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: Any) -> None:
        self.gradients |= {name for name, p in pl_module.named_parameters() if p.grad is not None and p.grad.any()}

    def _note(self, module: L.LightningModule) -> None:
        held = {name: w for name, w in module.named_parameters() if not w.requires_grad}
        self.frozen.append(weights_hash(nn.ParameterDict({name.replace(".", "_"): w for name, w in held.items()})))
        self.all.append(weights_hash(module))


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pretrained model whose tokenizer knows the words of the tiny data."""
    return pretrained(tmp_path_factory.mktemp("base"), tiny_data().vocabulary())


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("halting", [None, Halting(max_thoughts=3)], ids=["fixed", "free"])
def test_training_leaves_frozen_weights_as_they_are(
    base: Path, tmp_path: Path, dtype: Any, halting: Halting | None
) -> None:
    module = tiny_module(backbone=Backbone(path=str(base), lora=RANK_2, dtype=dtype), halting=halting)
    weights = Weights()
    trainer = tiny_trainer(tmp_path, stages(), weights)
    trainer.fit(module, datamodule=tiny_data(tokenizer=str(base)))
    assert weights.frozen[0] == weights.frozen[1] and weights.all[0] != weights.all[1]
    trained = {name for name, parameter in module.named_parameters() if parameter.requires_grad}
    assert weights.gradients == trained and len(trained) == 2 * 2 * 2 + 2 + (2 if halting is not None else 0)
    counted = [len(group["params"]) for group in trainer.optimizers[0].param_groups]
    assert counted == [len(trained)]
    assert module.frozen["model"].path == str(base.resolve())


def test_nothing_to_train_is_refused(base: Path, tmp_path: Path) -> None:
    class Frozen(Coconut):
        def configure_model(self) -> None:
            super().configure_model()
            assert self.model is not None
            freeze(self.model)

    module = Frozen(Backbone(path=str(base)), max_new_tokens=2)
    data = tiny_data(tokenizer=str(base))
    with pytest.raises(UserError, match="nothing to train"):
        tiny_trainer(tmp_path, stages()).fit(module, datamodule=data)
    tiny_trainer(tmp_path, stages()).test(module, datamodule=data, verbose=False)

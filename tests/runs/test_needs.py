"""What training takes is counted right, and told where it is much of what there is."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning as L
import pytest
import torch

from lcot.callbacks import BestCheckpoint, LastCheckpoint
from lcot.runs import needs
from tests.training import sgd, stages, tiny_data, tiny_module, tiny_trainer


class Look(L.Callback):
    """What is told and counted as training starts."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.told, self.disk, self.weights = folder, list[str](), 0, 0

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.told = list(needs.tight(trainer, pl_module, self.folder))
        weights = list(pl_module.parameters())
        self.disk, self.weights = needs.checkpoint_bytes(trainer, weights), 4 * sum(w.numel() for w in weights)


def adam(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.AdamW(parameters, lr=1e-3)


def momentum(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=1e-3, momentum=0.9)


@pytest.mark.parametrize(("optimizer", "states"), [(adam, 2), (momentum, 1), (sgd, 0)])
@pytest.mark.parametrize("weights_only", [True, False])
def test_checkpoints_are_as_large_as_was_said(tmp_path: Path, optimizer: Any, states: int, weights_only: bool) -> None:
    look, best = Look(tmp_path), BestCheckpoint(str(tmp_path), weights_only=weights_only)
    trainer = tiny_trainer(tmp_path, stages(), look, best, LastCheckpoint(str(tmp_path)))
    trainer.fit(tiny_module(optimizer=optimizer), datamodule=tiny_data())
    each = 1 if weights_only else 1 + states
    assert look.disk == look.weights * (2 * (1 + states) + 3 * each)  # last twice, and three stages
    # What stands beside the tensors is some kilobytes a file.
    files = [file.stat().st_size for file in tmp_path.glob("*.ckpt")]
    there = look.disk - look.weights * (1 + states)
    assert len(files) == 4 and there < sum(files) < there + 4 * 45_000


def test_little_is_not_told(tmp_path: Path) -> None:
    look = Look(tmp_path / "not there yet")
    tiny_trainer(tmp_path, stages(max_stage=0), look, max_epochs=1).fit(tiny_module(), datamodule=tiny_data())
    assert look.told == []


@pytest.mark.parametrize(("free", "words"), [(1.6, "are free"), (0.9, "are free: it will not fit")])
def test_much_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: float, words: str) -> None:
    module = tiny_module(optimizer=adam)
    look = Look(tmp_path)
    sizes = {"memory": 0, "disk": 0}
    monkeypatch.setattr(needs, "free_memory", lambda device: sizes["memory"])
    monkeypatch.setattr(shutil, "disk_usage", lambda place: SimpleNamespace(free=sizes["disk"]))

    class Measure(L.Callback):
        def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
            weights = list(pl_module.parameters())
            sizes["memory"] = int(free * 3 * 4 * sum(weight.numel() for weight in weights))  # gradients, two states
            sizes["disk"] = int(free * needs.checkpoint_bytes(trainer, weights))

    tiny_trainer(tmp_path, stages(max_stage=0), Measure(), look, max_epochs=1).fit(module, datamodule=tiny_data())
    memory, disk = look.told
    assert memory.startswith("training takes ") and memory.endswith(words) and "activations" in memory
    assert disk.startswith("checkpoints take ") and disk.endswith(words)


def test_what_is_free_on_this_machine_is_known() -> None:
    free = needs.free_memory(torch.device("cpu"))
    assert free is None or free > 2**20
    assert needs.free_memory(torch.device("meta")) is None

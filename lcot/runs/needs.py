"""What a training is going to take of memory and disk, told before it starts where that is much of what is there."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor

from lcot.reasoning.curriculum import find_clock

_MUCH = 0.5
"""Share of what is free from which on it is told."""


def tight(trainer: L.Trainer, module: L.LightningModule, checkpoints: Path) -> Iterator[str]:
    """Lines about memory and disk, where a training that starts now needs half of what is free, or more.

    Activations are left out: they depend on the longest batch of each stage.

    Args:
        trainer: With its optimizers; the model is where it is trained.
        module: What it trains.
        checkpoints: Where they go, in a folder that is there.
    """
    weights = [parameter for parameter in module.parameters() if parameter.requires_grad]
    states = _state_bytes(trainer.optimizers)
    known = sum(_bytes(value) for optimizer in trainer.optimizers for value in _tensors(optimizer.state))
    memory = (sum(map(_bytes, weights)) + max(0, states - known)) * _sharing(trainer)
    free = free_memory(trainer.strategy.root_device)
    if free is not None and memory > _MUCH * free:
        yield (
            f"training takes {_size(memory)} of memory beside the weights, for gradients and the optimizer's state"
            f" (activations come on top), and {_size(free)} are free{_too_much(memory, free)}"
        )
    disk = max(0, checkpoint_bytes(trainer, weights) - sum(file.stat().st_size for file in checkpoints.glob("*.ckpt")))
    room = shutil.disk_usage(next(place for place in (checkpoints, *checkpoints.parents) if place.exists())).free
    if disk > _MUCH * room:
        yield f"checkpoints take {_size(disk)} of disk, and {_size(room)} are free{_too_much(disk, room)}"


def checkpoint_bytes(trainer: L.Trainer, weights: list[Any]) -> int:
    """Bytes of all checkpoints of a run, with the moment at which ``last.ckpt`` is there twice.

    Args:
        trainer: With its optimizers and callbacks.
        weights: What is trained.
    """
    small: int = sum(weight.numel() * weight.element_size() for weight in weights)
    whole = small + _state_bytes(trainer.optimizers, local=False)
    found: int = 2 * whole
    clock = find_clock(getattr(trainer, "callbacks", []))
    stages = clock.schedule.last_stage + 1 if clock is not None and clock.schedule.keeps_stages else 1
    if trainer.max_epochs and trainer.max_epochs > 0:
        stages = min(stages, trainer.max_epochs)
    for callback in getattr(trainer, "callbacks", []):
        if isinstance(callback, ModelCheckpoint):
            light = getattr(callback, "weights_only", callback.save_weights_only)
            found += max(0, callback.save_top_k) * stages * (small if light else whole)
    return found


def free_memory(device: torch.device) -> int | None:
    """Bytes that are free where a model is trained; ``None`` where nobody knows."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    if device.type != "cpu":
        return None
    free = None
    with suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        free = int(next(line for line in lines if line.startswith("MemAvailable")).split()[1]) * 1024
    with suppress(OSError, ValueError):  # in a container; without a limit it says "max"
        group = Path("/sys/fs/cgroup")
        limit, used = (int((group / f"memory.{name}").read_text(encoding="ascii")) for name in ("max", "current"))
        free = min(limit - used, free if free is not None else limit)
    return free


def _state_bytes(optimizers: list[Any], local: bool = True) -> int:
    """Bytes of the optimizers' states once each weight has one: two numbers with Adam, one with momentum."""
    found = 0
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            numbers = 2 + bool(group.get("amsgrad")) if group.get("betas") else int(bool(group.get("momentum")))
            size = _bytes if local else lambda weight: weight.numel() * weight.element_size()
            found += numbers * sum(map(size, group["params"]))
    return found


def _bytes(tensor: Any) -> int:
    """Of a tensor, or of this process's shard of one."""
    mine: Tensor = tensor.to_local() if hasattr(tensor, "to_local") else tensor
    return mine.numel() * mine.element_size()


def _tensors(state: Any) -> Iterator[Tensor]:
    for values in state.values():
        yield from (value for value in values.values() if isinstance(value, Tensor) and value.dim())


def _sharing(trainer: L.Trainer) -> int:
    """How many processes take their memory from one pool: on a CPU all those of a machine."""
    return trainer.num_devices if trainer.strategy.root_device.type == "cpu" else 1


def _too_much(needed: int, free: int) -> str:
    return ": it will not fit" if needed > free else ""


def _size(count: float) -> str:
    for unit in ("bytes", "KB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"

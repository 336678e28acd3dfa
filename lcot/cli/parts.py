"""Parts that a user may choose for trainer and optimizer: those that cannot work here are refused before data are made.

Lightning's own callbacks are known by name. Optimizers and schedules are tried on a few weights, whoever made them.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator
from typing import Any

import torch

from lcot.errors import UserError
from lcot.modules.base import ReasoningModule

_WRITTEN = "a run writes its config in any case"
_BEFORE = "it would train before the run begins, outside of its curriculum, and a run could not be repeated"
_FROZEN = "what is trained is a setting of the method, and checkpoints are written for that"

CANNOT: dict[str, tuple[str, str]] = {
    "BackboneFinetuning": (_FROZEN, "set model.backbone.lora, or train all of it"),
    "BaseFinetuning": (_FROZEN, "set model.backbone.lora, or train all of it"),
    "BasePredictionWriter": ("it is the base of callbacks that write", "predict writes predictions.jsonl"),
    "BatchSizeFinder": (_BEFORE, "set data.batch_size; a short --trainer.fast_dev_run shows whether it fits"),
    "GradientAccumulationScheduler": (
        "the number of optimizer steps would change by epoch, and learning rates are planned for all of them",
        "set trainer.accumulate_grad_batches to one number",
    ),
    "LambdaCallback": ("it is made of functions, which no config can give", "write a callback of your own"),
    "LearningRateFinder": (_BEFORE, "set model.optimizer.lr, and compare a few runs: --model.optimizer.lr=… --name=…"),
    "ModelPruning": ("weights would have other names, and no command could read its checkpoints", "leave it out"),
    "OnExceptionCheckpoint": ("last.ckpt is kept whole whatever happens", "set last_checkpoint.every_n_steps"),
    "ProgressBar": ("it is the base of progress bars", "leave it out: a run has one"),
    "SaveConfigCallback": (_WRITTEN, "leave it out"),
    "StochasticWeightAveraging": (
        "it trains one epoch more than the curriculum has, with a schedule of its own",
        "use EMAWeightAveraging",
    ),
    "ThroughputMonitor": (
        "it is made of functions, which no config can give",
        "see train/seconds and fit.json, or set trainer.profiler",
    ),
}
"""Callbacks of Lightning that cannot work here: why, and what to do."""


def check_parts(trainer: Any) -> None:
    """Refuse callbacks that cannot work here.

    Args:
        trainer: Its parsed settings.

    Raises:
        UserError: If there is one.
    """
    for path in _paths(trainer.callbacks):
        name = path.rpartition(".")[2]
        if path.startswith(("lightning.", "pytorch_lightning.")) and name in CANNOT:
            why, fix = CANNOT[name]
            raise UserError(f"{name} cannot be used here", where="trainer.callbacks", why=why, fix=fix)


def _paths(chosen: Any) -> Iterator[str]:
    for each in chosen if isinstance(chosen, list) else [chosen]:
        if hasattr(each, "get"):
            yield str(each.get("class_path", ""))


def check_whole(section: str, path: str) -> None:
    """Refuse a class that is the base of others: it says what they must have, and has it not itself.

    Raises:
        UserError: If it is one.
    """
    package, _, name = path.rpartition(".")
    made = getattr(importlib.import_module(package), name)
    open_ends = sorted(key for key, value in inspect.getmembers(made) if getattr(value, "__isabstractmethod__", False))
    if open_ends:
        raise UserError(
            f"{section} has settings, but no class" if name.startswith("Reasoning") else f"{name} is a base of others",
            where=section,
            why=f"{name} has no {', '.join(open_ends)}",
            fix=f"give one that has; see --{section}.help",
        )


def try_optimizer(module: ReasoningModule) -> None:
    """Take a step with optimizer and schedule on a few weights, with gradients as a language model has them.

    What they would write into a checkpoint is asked for as well.

    Raises:
        UserError: If they cannot be made, or cannot step.
    """
    weight = torch.nn.Parameter(torch.ones(2, 2))

    def closure() -> Any:
        weight.grad = None
        loss = weight.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    part, made = "optimizer", "made"
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        try:
            optimizer = module.optimizer([weight])
            part = "schedule"
            scheduler = module.lr_scheduler(optimizer) if module.lr_scheduler is not None else None
            part, made = "optimizer", "used"
            optimizer.step(closure)
            optimizer.state_dict()
            part = "schedule"
            if scheduler is not None:
                scheduler.step()  # what wants a metric cannot be used
                scheduler.state_dict()
        except UserError:
            raise
        except Exception as err:
            section, other = {"optimizer": ("optimizer", "AdamW"), "schedule": ("lr_scheduler", "WarmupStableDecay")}[
                part
            ]
            raise UserError(
                f"the {part} cannot be {made}",
                where=f"model.{section}",
                why=str(err).strip().splitlines()[0] if str(err).strip() else type(err).__name__,
                fix=f"set it otherwise, or use another one, such as {other}",
            ) from err

"""TensorBoard's page "HParams": each run as one row of plain values, with what it reached."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from lcot.metrics import accuracy_names
from lcot.modules.judging import SHARES
from lcot.reasoning.curriculum import Curriculum

Plain = str | float

_NUMBERS = (
    "stages",
    "epochs",
    "thoughts",
    "thoughts_per_step",
    "mix_probability",
    "lr",
    "weight_decay",
    "batch",
    "clip",
    "width",
    "layers",
    "heads",
    "parameters",
    "trained",
    "examples",
    "seed",
)
_WORDS = ("model", "curriculum", "kind", "hidden", "data", "backbone", "optimizer", "precision")

_FIRST = ("curriculum", "kind", "lr", "stages", "thoughts")
"""What tells methods apart. The page shows five columns at first, and prefers those that are said to differ."""

_METRICS = ("pair_accuracy", "loss", "tokens", "thoughts", SHARES["correct_path"])


def hyperparameters(trainer: Any, module: Any, data: Any, schedule: Curriculum | None, seed: int) -> dict[str, Plain]:
    """What was trained, and how, in plain values.

    Args:
        trainer: The trainer; it has its optimizers.
        module: What it trains.
        data: Its data module; ``None`` for none.
        schedule: The curriculum; ``None`` for none.
        seed: That of the run.
    """
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in module.parameters()]
    found: dict[str, Any] = {
        "model": type(module).__name__,
        "epochs": trainer.max_epochs,
        "precision": str(trainer.precision),
        "clip": trainer.gradient_clip_val,
        "parameters": sum(size for size, _ in sizes),
        "trained": sum(size for size, trained in sizes if trained),
        "seed": seed,
        **_of_optimizer(trainer.optimizers),
    }
    if schedule is not None:
        mix = getattr(schedule, "mix_probability", None)
        found |= {
            "curriculum": type(schedule).__name__,
            "kind": schedule.kind,
            "stages": schedule.last_stage + 1,
            "hidden": getattr(schedule, "hidden", None),
            "thoughts": schedule.thoughts_at_inference(schedule.last_stage),
            "thoughts_per_step": getattr(schedule, "thoughts_per_step", None),
            "mix_probability": max(mix) if isinstance(mix, list) else mix,
        }
    if data is not None:
        rows = data.batch_size * trainer.world_size * trainer.accumulate_grad_batches
        found |= {"data": type(data).__name__, "batch": rows, "examples": len(data.source("train"))}
    config = getattr(module.model, "config", None)
    if config is not None:
        names = {"width": "hidden_size", "layers": "num_hidden_layers", "heads": "num_attention_heads"}
        found |= {"backbone": config.model_type, **{name: getattr(config, key, None) for name, key in names.items()}}
    return {name: value for name, value in found.items() if isinstance(value, str | int | float)}


def final_metrics(metrics: Mapping[str, Any], split: str) -> dict[str, float]:
    """What an evaluation reached, by the names of the page: ``hp/accuracy``, ``hp/test_accuracy``.

    Args:
        metrics: As the trainer has them.
        split: ``val`` or ``test``.
    """
    found = {name.removeprefix(f"{split}/"): float(value) for name, value in metrics.items() if name.startswith(split)}
    start = "hp/" if split == "val" else f"hp/{split}_"
    kept = {name: value for name, value in found.items() if _is_kept(name) and math.isfinite(value)}
    return {start + name: value for name, value in kept.items()}


def _is_kept(name: str) -> bool:
    return name in _METRICS or (name.startswith("accuracy") and not name.endswith("_std"))


def write_session(writer: Any, values: Mapping[str, Plain], extractors: tuple[str, ...]) -> None:
    """Write a run's row. Its columns are the same in all runs: TensorBoard takes them from whichever it finds first.

    Args:
        writer: A ``SummaryWriter``.
        values: Of :func:`hyperparameters`.
        extractors: Of the accuracies.
    """
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams import api_pb2 as kinds
    from tensorboard.plugins.hparams import metadata as marks
    from tensorboard.plugins.hparams import plugin_data_pb2 as parts

    assert set(values) <= {*_WORDS, *_NUMBERS}
    typed = dict.fromkeys(_WORDS, kinds.DATA_TYPE_STRING) | dict.fromkeys(_NUMBERS, kinds.DATA_TYPE_FLOAT64)
    infos = [kinds.HParamInfo(name=name, type=kind) for name, kind in typed.items()]
    for info in infos:
        if hasattr(info, "differs"):  # older releases have no such field
            info.differs = info.name in _FIRST
    names = [*accuracy_names(extractors), *_METRICS]
    tags = [f"hp/{name}" for name in names] + [f"hp/test_{name}" for name in names if name != "loss"]
    metrics = [kinds.MetricInfo(name=kinds.MetricName(tag=tag), display_name=tag[3:]) for tag in tags]
    start = parts.SessionStartInfo()
    for name, value in values.items():
        if name in _WORDS:
            start.hparams[name].string_value = str(value)
        else:
            start.hparams[name].number_value = float(value)
    end = parts.SessionEndInfo(status=kinds.STATUS_SUCCESS)
    for tag, content in (
        (marks.EXPERIMENT_TAG, {"experiment": kinds.Experiment(hparam_infos=infos, metric_infos=metrics)}),
        (marks.SESSION_START_INFO_TAG, {"session_start_info": start}),
        (marks.SESSION_END_INFO_TAG, {"session_end_info": end}),
    ):
        about = marks.create_summary_metadata(parts.HParamsPluginData(**content))
        writer._get_file_writer().add_summary(Summary(value=[Summary.Value(tag=tag, metadata=about)]))


def write_test(folder: Path, metrics: Mapping[str, float]) -> bool:
    """Write what a test reached beside the curves of the run that was tested.

    Args:
        folder: The run's.
        metrics: Of :func:`final_metrics`.

    Returns:
        Whether there are curves; a run that kept none gets none now.
    """
    from torch.utils.tensorboard import SummaryWriter

    if not any(folder.glob("events.out.tfevents.*")):
        return False
    with SummaryWriter(str(folder), filename_suffix=".test") as writer:
        for name, value in metrics.items():
            writer.add_scalar(name, value, 0)
    return True


def _of_optimizer(optimizers: list[torch.optim.Optimizer]) -> dict[str, Any]:
    if not optimizers:
        return {}
    group = optimizers[0].param_groups[0]
    # A schedule has moved "lr" by the end of training.
    return {
        "optimizer": type(optimizers[0]).__name__,
        "lr": float(group.get("initial_lr", group["lr"])),
        "weight_decay": float(group.get("weight_decay", 0.0)),
    }

"""Whole runs of the command line on a tiny model: in forked children, which cost no imports and may be killed."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import yaml

from lcot.cli import main

STEPS = 6
"""Optimizer steps of an epoch of :func:`settings`: five full batches and an odd one."""

Sabotage = Callable[[], None]
"""Done in the child before the command line starts: replaces functions so that the process kills itself later."""


def settings(**data: Any) -> dict[str, Any]:
    """A run of five stages, one epoch each, with all that makes resuming hard.

    Dropout, stage mixing, graphs that are redrawn at each visit, a schedule over the whole run, optimizer resets.

    Args:
        data: Changes to the data module's settings.
    """
    return {
        "model": {
            "class_path": "Coconut",
            "init_args": {
                "backbone": {
                    "config": {
                        "model_type": "gpt2",
                        "n_embd": 16,
                        "n_layer": 2,
                        "n_head": 2,
                        "n_positions": 96,
                        "attn_pdrop": 0.1,
                        "embd_pdrop": 0.1,
                        "resid_pdrop": 0.1,
                    }
                },
                "optimizer": {"class_path": "torch.optim.AdamW", "init_args": {"lr": 0.01, "weight_decay": 0.01}},
                "lr_scheduler": {"class_path": "WarmupStableDecay", "init_args": {"warmup_steps": 4, "decay": 0.5}},
                "max_new_tokens": 3,
            },
        },
        "data": {
            "class_path": "ProsQA",
            "init_args": {
                "nodes": [5, 8],
                "hops": [1, 3],
                "symbols": 12,
                "train_size": 44,
                "val_size": 9,
                "test_size": 7,
                "style": "compact",
                "redraw": "all",
                "batch_size": 8,
                "eval_batch_size": 3,
                **data,
            },
        },
        "curriculum": {
            "schedule": {
                "class_path": "Stepwise",
                "init_args": {"epochs_per_stage": 1, "max_stage": 3, "kind": "continuous", "mix_probability": 0.3},
            },
            "reset_optimizer": "stage",
        },
        "dashboard": {"questions": 0},
        "trainer": {
            "max_epochs": 5,
            "gradient_clip_val": 1.0,
            "accelerator": "cpu",
            "log_every_n_steps": 1,
            "enable_progress_bar": False,
        },
    }


def write_config(folder: Path, config: dict[str, Any]) -> Path:
    """``run.yaml`` in a folder."""
    path = folder / "run.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return path


def run(config: Path, *options: str, command: str = "fit", sabotage: Sequence[Sabotage] = (), limit: float = 90) -> int:
    """Run the command line in a child beside the config; ``fit`` resumes if there is something to resume from.

    Returns:
        The exit code; minus the signal's number where one ended the child.
    """
    arguments = [command, "-c", str(config), "--runs_dir", str(config.parent / "runs"), *options]
    arguments += ["--resume=true"] if command == "fit" else []
    child = multiprocessing.get_context("fork").Process(target=_child, args=(arguments, sabotage))
    child.start()
    child.join(limit)
    if child.is_alive():
        child.kill()
        child.join()
        raise TimeoutError(f"{' '.join(arguments)} took more than {limit} seconds")
    assert child.exitcode is not None
    return child.exitcode


def last(config: Path) -> dict[str, Any]:
    """The run's ``last.ckpt``."""
    loaded: dict[str, Any] = torch.load(
        config.parent / "runs" / "run" / "checkpoints" / "last.ckpt", weights_only=True
    )
    return loaded


def differences(left: Any, right: Any, place: str = "") -> list[str]:
    """Where two checkpoints differ, bit for bit."""
    if isinstance(left, torch.Tensor) and isinstance(right, torch.Tensor):
        return [] if left.dtype == right.dtype and torch.equal(left, right) else [place]
    if isinstance(left, dict) and isinstance(right, dict):
        missing = [f"{place}.{key}" for key in left.keys() ^ right.keys()]
        return missing + [d for key in left.keys() & right.keys() for d in differences(left[key], right[key], f"{place}.{key}")]
    if isinstance(left, list | tuple) and isinstance(right, list | tuple) and len(left) == len(right):
        return [d for n, (a, b) in enumerate(zip(left, right, strict=True)) for d in differences(a, b, f"{place}[{n}]")]
    return [] if left == right else [place]


def same_state(left: dict[str, Any], right: dict[str, Any]) -> list[str]:
    """Where weights, optimizer or schedule differ."""
    parts = ("state_dict", "optimizer_states", "lr_schedulers", "global_step", "epoch")
    return [place for part in parts for place in differences(left[part], right[part], part)]


def die(signum: int = signal.SIGKILL) -> None:
    """Send a signal to this process."""
    os.kill(os.getpid(), signum)


def _child(arguments: list[str], sabotage: Sequence[Sabotage]) -> None:
    torch.set_num_threads(1)
    for change in sabotage:
        change()
    main(arguments)

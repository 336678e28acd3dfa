"""Whole runs of the command line on a tiny model: in forked children, which cost no imports and may be killed."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.utils.tensorboard  # this one and those marked are all that is heavy: children do not import it again
import transformers.models.gpt2.modeling_gpt2  # noqa: F401
import yaml
from lightning.fabric.utilities.rank_zero import rank_zero_only
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import lcot.cli.commands  # noqa: F401
from lcot.cli.main import main

STEPS = 6
"""Optimizer steps of an epoch of :func:`settings`: five full batches and an odd one."""

LIMIT = 150
"""Seconds that a run may take."""

GRACE = 20
"""Seconds that others may take to end behind one that failed; then they are killed."""

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
        "dashboard": {"questions": 0, "tree": "never"},
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


def run(
    config: Path,
    *options: str,
    command: str = "fit",
    sabotage: Sequence[Sabotage] = (),
    ranks: int = 1,
    strategy: str = "ddp",
) -> int:
    """Run the command line in children beside the config; ``fit`` resumes if there is something to resume from.

    Several ranks are started as torchrun starts them.

    Returns:
        The exit code of rank 0; minus the signal's number where one ended it.
    """
    arguments = [command, "-c", str(config), "--runs_dir", str(config.parent / "runs"), *options]
    arguments += ["--resume=true"] if command == "fit" else []
    arguments += [f"--trainer.devices={ranks}", f"--trainer.strategy={strategy}"] if ranks > 1 else []
    return call(arguments, sabotage, ranks)


def call(
    arguments: Sequence[str], sabotage: Sequence[Sabotage] = (), ranks: int = 1, kill_after: float | None = None
) -> int:
    """Run any command line in children.

    Args:
        arguments: The words behind ``lcot``.
        sabotage: Done in each child before.
        ranks: How many children.
        kill_after: Seconds after which they are killed; a command that is over by then is not.

    Returns:
        The exit code of rank 0; minus the signal's number where one ended it.
    """
    fork, port = multiprocessing.get_context("fork"), free_port()
    children = [fork.Process(target=_child, args=(arguments, sabotage, rank, ranks, port)) for rank in range(ranks)]
    for child in children:
        child.start()
    began = time.monotonic()
    deadline = began + LIMIT
    # Not join(): it would wait for the data-loader workers of a killed child as well, which live on for some seconds.
    while any(child.exitcode is None for child in children):
        failed = any(child.exitcode for child in children)
        deadline = min(deadline, time.monotonic() + GRACE) if failed else deadline
        if kill_after is not None and time.monotonic() > began + kill_after:
            for child in children:
                child.kill()
        if time.monotonic() > deadline:
            for child in children:
                child.kill()
            if not failed:
                raise TimeoutError(f"{' '.join(arguments)} took more than {LIMIT} seconds")
        time.sleep(0.02)
    code = children[0].exitcode
    assert code is not None
    return code


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def last(config: Path) -> dict[str, Any]:
    """The run's ``last.ckpt``."""
    loaded: dict[str, Any] = torch.load(config.parent / "runs" / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    return loaded


def differences(left: Any, right: Any, place: str = "") -> list[str]:
    """Where two checkpoints differ, bit for bit."""
    if isinstance(left, torch.Tensor) and isinstance(right, torch.Tensor):
        return [] if left.dtype == right.dtype and torch.equal(left, right) else [place]
    if isinstance(left, dict) and isinstance(right, dict):
        missing = [f"{place}.{key}" for key in left.keys() ^ right.keys()]
        return missing + [
            d for key in left.keys() & right.keys() for d in differences(left[key], right[key], f"{place}.{key}")
        ]
    if isinstance(left, list | tuple) and isinstance(right, list | tuple) and len(left) == len(right):
        return [d for n, (a, b) in enumerate(zip(left, right, strict=True)) for d in differences(a, b, f"{place}[{n}]")]
    return [] if left == right else [place]


def same_state(left: dict[str, Any], right: dict[str, Any]) -> list[str]:
    """Where weights, optimizer or schedule differ."""
    parts = ("state_dict", "optimizer_states", "lr_schedulers", "global_step", "epoch")
    return [place for part in parts for place in differences(left[part], right[part], part)]


def replace(owner: Any, name: str, value: object) -> None:
    """Replace an attribute for the rest of this child's life."""
    setattr(owner, name, value)


def die(signum: int = signal.SIGKILL) -> None:
    """Send a signal to this process."""
    os.kill(os.getpid(), signum)


def scalars(config: Path, tag: str) -> list[tuple[int, float]]:
    """Step and value of all that was logged under a name, by all processes of the run."""
    found = []
    for file in sorted((config.parent / "runs" / "run").glob("events.*")):
        events = EventAccumulator(str(file), size_guidance={"scalars": 0})
        events.Reload()
        if tag in events.Tags()["scalars"]:
            found += [(event.step, event.value) for event in events.Scalars(tag)]
    return found


def _child(arguments: Sequence[str], sabotage: Sequence[Sabotage], rank: int, ranks: int, port: int) -> None:
    torch.set_num_threads(1)
    if ranks > 1:
        place = {"RANK": rank, "LOCAL_RANK": rank, "GROUP_RANK": 0, "WORLD_SIZE": ranks, "LOCAL_WORLD_SIZE": ranks}
        meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "TORCHELASTIC_RUN_ID": "test"}
        os.environ.update({name: str(value) for name, value in {**place, **meeting}.items()})
        rank_zero_only.rank = rank  # type: ignore[attr-defined]  # read from the environment when Lightning is imported
    for change in sabotage:
        change()
    main(arguments)

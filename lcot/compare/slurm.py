"""The runs of a comparison as an array job of a cluster's scheduler (SLURM)."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from lcot.compare.launch import PROGRAM
from lcot.compare.plan import Task, Todo, asked_for
from lcot.errors import UserError


def array_script(todos: Sequence[Todo], jobs: int | None = None, folder: Path | None = None) -> str:
    """A script for ``sbatch``: one job for each run, which trains or continues it and then evaluates it.

    It has as many processes as the run has devices: Lightning starts none of its own below ``srun``. A job that the
    scheduler is about to end gets SIGUSR1 first, on which a training saves its state and is queued again; it continues
    where it was.

    Args:
        todos: Runs with something to do.
        jobs: How many of them may run at the same time; ``None`` leaves that to the scheduler.
        folder: Where commands start; the current folder if not given.

    Returns:
        The text of the script.

    Raises:
        UserError: If the number of a run's devices is not known, or is not the same for all.
    """
    here = (folder or Path.cwd()).resolve()
    wanted = [todo for todo in todos if todo.commands]
    nodes, devices, gpus = _machines([todo.task for todo in wanted])
    array = f"0-{len(wanted) - 1}" + (f"%{jobs}" if jobs else "")
    lines = [
        "#!/bin/bash",
        f"#SBATCH --job-name={wanted[0].task.runs_dir.name or 'lcot'}",
        f"#SBATCH --array={array}",
        f"#SBATCH --nodes={nodes}",
        f"#SBATCH --ntasks-per-node={devices}",
        *([f"#SBATCH --gres=gpu:{devices}"] if gpus else []),
        "#SBATCH --requeue",
        "#SBATCH --open-mode=append",
        "#SBATCH --signal=SIGUSR1@120",
        "# Add what your cluster asks for: --partition, --account, --time, --cpus-per-task"
        + ("." if gpus else f", --gres=gpu:{devices}."),
        "# What a run prints is beside its folder, in RUN.log.",
        "set -euo pipefail",
        f"cd {shlex.quote(str(here))}",
        f"lcot=({shlex.join(PROGRAM)})",
        "",
        'case "$SLURM_ARRAY_TASK_ID" in',
    ]
    for number, todo in enumerate(wanted):
        task = todo.task
        lines.append(f"{number})")
        lines.append(f"  mkdir -p {shlex.quote(str(task.runs_dir))}")
        lines.append(f"  exec >> {shlex.quote(str(task.log))} 2>&1")
        lines += [f'  srun "${{lcot[@]}}" {shlex.join(task.words(command))}' for command in todo.commands]
        lines.append("  ;;")
    lines += ['*) echo "there is no task $SLURM_ARRAY_TASK_ID" >&2; exit 2 ;;', "esac"]
    return "\n".join(lines) + "\n"


def _machines(tasks: Sequence[Task]) -> tuple[int, int, bool]:
    """Nodes of a job, processes on each of them, and whether each process was said to have a GPU."""
    found = {}
    for task in tasks:
        count = _count(asked_for(task, "trainer.devices", "auto"), task)
        gpus = asked_for(task, "trainer.accelerator", "auto") in ("gpu", "cuda")
        found[int(asked_for(task, "trainer.num_nodes", 1)), count, gpus] = task
    if len(found) > 1:
        said = [
            f"{task.method} {count}{' GPUs' * gpus} on each of {nodes}" for (nodes, count, gpus), task in found.items()
        ]
        raise UserError(
            f"the runs take different machines: {', '.join(said)} nodes",
            where="trainer.devices, trainer.num_nodes, trainer.accelerator",
            why="the jobs of one script are alike",
            fix="write a script for each, or pass these settings on for all",
        )
    return next(iter(found))


def _count(devices: object, task: Task) -> int:
    """How many devices a setting of the trainer names; the one of a job with ``auto``."""
    text = str(devices).strip("[] ")
    if devices == "auto":
        return 1
    if isinstance(devices, list) or "," in text:
        return len([part for part in text.split(",") if part.strip()])
    if not text.isdecimal() or int(text) < 1:
        raise UserError(
            f"devices is {devices!r} for {task.method}",
            where="trainer.devices",
            why="a job for the scheduler has a number of processes",
            fix="give a number: --trainer.devices=4",
        )
    return int(text)

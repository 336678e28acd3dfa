"""The runs of a comparison as an array job of a cluster's scheduler (SLURM)."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from lcot.compare.launch import PROGRAM
from lcot.compare.plan import Todo


def array_script(todos: Sequence[Todo], jobs: int | None = None, folder: Path | None = None) -> str:
    """A script for ``sbatch``: one task for each run, which trains or continues it and then evaluates it.

    A task that the scheduler is about to end gets SIGUSR1 first, on which a training saves its state and is queued
    again; it continues where it was.

    Args:
        todos: Runs with something to do.
        jobs: How many tasks may run at the same time; ``None`` leaves that to the scheduler.
        folder: Where commands start; the current folder if not given.

    Returns:
        The text of the script.
    """
    here = (folder or Path.cwd()).resolve()
    wanted = [todo for todo in todos if todo.commands]
    array = f"0-{len(wanted) - 1}" + (f"%{jobs}" if jobs else "")
    lines = [
        "#!/bin/bash",
        f"#SBATCH --job-name={wanted[0].task.runs_dir.name or 'lcot'}",
        f"#SBATCH --array={array}",
        "#SBATCH --ntasks=1",
        "#SBATCH --requeue",
        "#SBATCH --open-mode=append",
        "#SBATCH --signal=SIGUSR1@120",
        "# Add what your cluster asks for: --partition, --account, --time, --cpus-per-task, --gres=gpu:1.",
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

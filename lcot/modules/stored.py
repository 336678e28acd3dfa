"""Checkpoints on a disk: which one of a run to take, and how to read it safely."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from lcot.errors import CheckpointError, UserError
from lcot.modules.description import check_described
from lcot.modules.intact import check_zip


def pick_checkpoint(run: Path, name: str | None = None) -> Path:
    """The checkpoint file of a run: the best one of its last stage; ``last.ckpt`` where that stage was not validated.

    Args:
        run: Its folder.
        name: Of another file in it.

    Raises:
        UserError: If the run is no folder, or it or the file is not there.
    """
    folder = run / "checkpoints"
    if run.is_file():
        raise UserError(f"{str(run)!r} is a file, not a run", fix=f"give the run's folder: {str(run.parent)!r}")
    if not folder.is_dir():
        others = sorted(other.name for other in run.parent.glob("*") if (other / "checkpoints").is_dir())
        raise UserError(
            f"no run at {str(run)!r}",
            why=f"runs there: {', '.join(others)}" if others else None,
            fix="train it first with fit, or name another one",
        )
    if name is not None:
        chosen = folder / name
        if not chosen.is_file():
            raise UserError.unknown(
                "checkpoint", name, [file.name for file in folder.glob("*.ckpt")], where=str(folder)
            )
        return chosen
    best = sorted(folder.glob("best-stage*.ckpt"))
    last = folder / "last.ckpt"
    if not best and not last.is_file():
        raise UserError(f"the run at {str(run)!r} has no checkpoint yet", fix="let it finish its first epoch")
    stage = max(map(_stage_of, best), default=-1)
    if not best or stage < _last_stage(last):
        return last
    best = [file for file in best if _stage_of(file) == stage]
    # Of equal ones the first, as in training.
    return max(best, key=best_score) if len(best) > 1 else best[0]


def without_best(run: Path) -> str | None:
    """What to say where ``last.ckpt`` is taken since nothing of the run's last stage was validated; or ``None``."""
    stages = sorted(map(_stage_of, (run / "checkpoints").glob("best-stage*.ckpt")))
    file = run / "checkpoints" / "last.ckpt"
    last = _last_stage(file)
    if last <= max(stages, default=-1) or read_checkpoint(file, weights=False)["lcot"].get("imported"):
        return None  # what others trained has no other checkpoint
    former = f": its best ones are of stage {', '.join(map(str, dict.fromkeys(stages)))}" if stages else ""
    return f"{run}: no checkpoint of stage {last}, its last, was validated, so last.ckpt is taken{former}"


def best_score(file: Path) -> float:
    """What validation gave a checkpoint that was kept as one of the best; larger is better, whatever the metric.

    Raises:
        CheckpointError: If it cannot be read, or was not kept as one of the best.
    """
    states = read_checkpoint(file, weights=False).get("callbacks", {})
    state = next((state for name, state in states.items() if name.startswith("BestCheckpoint")), None)
    if state is None or state.get("current_score") is None:
        raise CheckpointError(f"the checkpoint {str(file)!r} has no score", fix="name the one to load")
    return float(state["current_score"]) * (-1 if state.get("mode") == "min" else 1)


def read_checkpoint(file: Path, weights: bool = True) -> dict[str, Any]:
    """Read a checkpoint without running any code from it (``weights_only``).

    Args:
        file: The file.
        weights: Whether its weights are to be used: all of it is then compared with its checksums, and otherwise all
            but the tensors.

    Raises:
        CheckpointError: If it is missing, damaged, or not of this framework.
    """
    if not file.is_file():
        raise CheckpointError(f"there is no checkpoint {str(file)!r}", fix="give a file of runs/<name>/checkpoints")
    others = ", ".join(sorted(other.name for other in file.parent.glob("*.ckpt") if other != file))
    fix = f"use another checkpoint of this run: {others}" if others else "use another checkpoint"
    damage = check_zip(file, weights)
    if damage is not None:
        raise CheckpointError(f"the checkpoint {str(file)!r} cannot be read", why=damage, fix=fix)
    try:
        # Mapped, not read: most callers want the description only, and a checkpoint may be large.
        saved = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
    except Exception as err:  # whatever a file of another making leads to
        raise CheckpointError(
            f"the checkpoint {str(file)!r} cannot be read",
            why=f"it holds more than tensors and plain values: {(str(err) or type(err).__name__).splitlines()[0]}",
            fix=fix,
        ) from err
    if not isinstance(saved, dict) or "lcot" not in saved:
        raise CheckpointError(f"the checkpoint {str(file)!r} was not written by lcot")
    if not isinstance(saved.get("state_dict"), dict):
        raise CheckpointError(
            f"the checkpoint {str(file)!r} holds no weights", fix="use another checkpoint of this run"
        )
    check_described(saved["lcot"], where=str(file))
    return saved


def _last_stage(file: Path) -> int:
    """The stage of ``last.ckpt``; below all others if there is none that can be read."""
    try:
        return int(read_checkpoint(file, weights=False)["lcot"]["stage"])
    except CheckpointError:
        return -1


def _stage_of(file: Path) -> int:
    digits = file.stem.removeprefix("best-stage").partition("-")[0]
    return int(digits) if digits.isdigit() else -1


def epochs_done(saved: dict[str, Any]) -> int:
    """The epochs of training behind a checkpoint.

    Raises:
        CheckpointError: If it holds weights alone.
    """
    if "loops" not in saved or "optimizer_states" not in saved:
        raise CheckpointError(
            "the checkpoint holds weights, and nothing of the training",
            where="ckpt_path",
            why="optimizer and epoch would begin anew, and the run would not be the one that it goes on with",
            fix="use last.ckpt of its run; or start from its weights with model.backbone.path",
        )
    return int(saved["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"])

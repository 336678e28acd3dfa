"""Whether a config does with a checkpoint what the checkpoint was trained to do."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lcot.errors import UserError
from lcot.reasoning.curriculum import Curriculum, StageClock

_log = logging.getLogger("lcot")


def check_method(saved: Mapping[str, Any], clock: StageClock, data: Any, path: Path) -> None:
    """A checkpoint of another method would think or read in a way that it never learned, without a word.

    A projection of soft thoughts may be tried on a task with another prompt, since the language model beside it reads
    any of them (arXiv 2502.12134 does so with Date Understanding); one line says so.

    Args:
        saved: The checkpoint's description.
        clock: The config's curriculum.
        data: The config's data module.
        path: The checkpoint's file.

    Raises:
        UserError: If the config's curriculum does not do at the checkpoint's stage what training did, or joins texts in
            another way.
    """
    own = f"use the run's own config: -c {path.parent.parent / 'config.yaml'}"
    _check_thoughts(saved, clock, own)
    dialogue = data.dialogue
    for where, before, now in (
        ("data.text", saved["text"], asdict(data.text)),
        ("data.dialogue", saved["dialogue"] or {}, asdict(dialogue) if dialogue is not None else {}),
    ):
        # The assistant's tokenizer may have moved; that it is another one shows in its model.
        names = [name for name in {**before, **now} if before.get(name) != now.get(name) and name != "assistant"]
        changed = [f"{name} {before.get(name)!r} then, {now.get(name)!r} now" for name in names]
        frozen = "model" in saved["frozen"] and not saved["lora"]
        if not names:
            continue
        if saved["kind"] == "soft" and frozen and set(names) <= {"prompt", "assistant_prompt"}:
            _log.warning("transfer: the projection was trained with another prompt (%s)", "; ".join(changed))
            continue
        raise UserError(
            f"the checkpoint was trained on texts that were joined otherwise: {'; '.join(changed)}",
            where=where,
            why="the model would read and write what it never learned, and no answer would be found",
            fix=own,
        )


def _check_thoughts(saved: Mapping[str, Any], clock: StageClock, own: str) -> None:
    schedule = clock.schedule
    stage = min(saved["stage"], schedule.last_stage)
    # With a stage of its own, or a number for inference, another number of thoughts is what was asked for.
    told = (getattr(clock, "eval_stage", None), getattr(clock, "eval_thoughts", None))
    chosen = any(number is not None for number in told) or getattr(schedule, "inference_thoughts", None) is not None
    planned = _planned(schedule, None if chosen else schedule.thoughts_at_inference(stage))
    count = None if chosen else saved["thoughts"]
    trained = _thoughts(count, saved["kind"], saved["markers"], saved["stepwise_passes"])
    if trained != planned:
        raise UserError(
            f"the checkpoint was trained with {trained}, and the config's curriculum gives {planned}",
            where="curriculum.schedule",
            why="the model would think in a way that it never learned",
            fix=own,
        )


def _planned(schedule: Curriculum, count: int | None) -> str:
    return _thoughts(count, schedule.kind, schedule.markers, schedule.stepwise_passes)


def _thoughts(count: int | None, kind: str, markers: str, stepwise: bool) -> str:
    """What inference does before it writes, in words; without its number of thoughts if that is ``None``."""
    if kind == "none":
        return "no thoughts"
    # Pauses are the same in one pass as in many.
    passes = " in a single pass" if kind == "continuous" and not stepwise else ""
    if count is None:
        return f"{kind} thoughts{passes}, markers {markers!r}"
    marked = markers == "always" or (markers == "with_thoughts" and count > 0)
    if not count and not marked:  # as plain CoT, whatever kind later stages have
        return "no thoughts"
    return f"{count} {kind} thought{'s' * (count != 1)}{passes} {'between' if marked else 'without'} markers"

"""A run's folder: what is in it, and whether a command may use it.

runs/<name>/config.yaml             what was run; config.resume1.yaml … for each time it was continued
runs/<name>/checkpoints/            last.ckpt, and the best of each stage
runs/<name>/tokenizer/              the tokenizer with the thought tokens
runs/<name>/events.out.tfevents.*   TensorBoard
runs/<name>/predictions.jsonl       answers, from predict
runs/<name>/validate.json, test.json
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning as L
import yaml
from lightning.pytorch.callbacks import Callback

from lcot.errors import UserError

# What decides the weights of a run; everything else may differ when it is continued.
_DECISIVE = ("seed_everything", "model", "data", "curriculum")
_HARMLESS = ("num_workers", "eval_batch_size", "test_path", "test_size", "eval_stage", "max_new_tokens", "sampling")


class RunFolder:
    """``<runs_dir>/<name>``.

    Args:
        path: The folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._made = False

    @property
    def checkpoints(self) -> Path:
        """Where checkpoints go."""
        return self.path / "checkpoints"

    @property
    def last(self) -> Path:
        """The state to continue from."""
        return self.checkpoints / "last.ckpt"

    @property
    def tokenizer(self) -> Path:
        """The saved tokenizer."""
        return self.path / "tokenizer"

    @property
    def config(self) -> Path:
        """The settings that the run was started with."""
        return self.path / "config.yaml"

    def claim(self, resume: bool, settings: Mapping[str, Any]) -> Path | None:
        """Make sure that ``fit`` may write here.

        Args:
            resume: Whether the user asked to continue.
            settings: The parsed settings of this command.

        Returns:
            The checkpoint to continue from, or ``None`` to start from nothing.

        Raises:
            UserError: If the folder holds a run and ``resume`` is off, if that run had other decisive settings, or if
                nothing can be written.
        """
        if not resume and (self.config.exists() or self.checkpoints.exists()):
            raise UserError(
                f"{str(self.path)!r} already holds a run",
                where="--name",
                why="starting again would mix two runs in one folder",
                fix="add --resume=true to continue it, give another --name, or delete the folder",
            )
        if resume and self.config.exists():
            self._check_same(settings)
        self._made = not self.path.exists()
        try:
            self.checkpoints.mkdir(parents=True, exist_ok=True)
            probe = self.checkpoints / ".probe"
            probe.write_bytes(b"\0" * 4096)
            probe.unlink()
        except OSError as err:
            raise UserError(
                f"nothing can be written to {str(self.path)!r}",
                where="--runs_dir and --name",
                why=err.strerror or str(err),
                fix="choose a folder with write access and free space",
            ) from err
        return self.last if resume and self.last.is_file() else None

    def abandon(self) -> None:
        """Remove what :meth:`claim` made, if training never began."""
        if self._made and not self.config.exists():
            shutil.rmtree(self.path, ignore_errors=True)

    def save_config(self, settings: Mapping[str, Any]) -> None:
        """Write ``config.yaml`` once, then ``config.resumeN.yaml``; never with a checkpoint's path."""
        target, number = self.config, 0
        while target.exists():
            number += 1
            target = self.path / f"config.resume{number}.yaml"
        settings = {key: value for key, value in settings.items() if key not in ("config", "ckpt_path", "resume")}
        write_whole(target, yaml.safe_dump(settings, sort_keys=False, allow_unicode=True))

    def _check_same(self, settings: Mapping[str, Any]) -> None:
        started = yaml.safe_load(self.config.read_text(encoding="utf-8"))
        changes = [change for key in _DECISIVE for change in _changes(key, started.get(key), settings.get(key))]
        if changes:
            raise UserError(
                f"{str(self.path)!r} was started with other settings",
                where="; ".join(changes[:4]),
                why="a run that changes on its way is none that could be repeated",
                fix="use the settings in its config.yaml, or start another run with --name",
            )


class RunFiles(Callback):
    """Writes config and tokenizer when training starts, and the metrics of validate and test when they end.

    Args:
        folder: The run's folder.
        settings: The parsed settings.
    """

    def __init__(self, folder: RunFolder, settings: Mapping[str, Any]) -> None:
        self.folder = folder
        self.settings = settings

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Save what is needed to use the run without this command."""
        if trainer.is_global_zero and not getattr(trainer, "fast_dev_run", False):
            self.folder.save_config(self.settings)
            data: Any = trainer.datamodule  # type: ignore[attr-defined]
            data.tokenizer.save_pretrained(self.folder.tokenizer)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Save the metrics of ``validate``."""
        self._save_metrics(trainer, "validate")

    def on_test_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Save the metrics of ``test``."""
        self._save_metrics(trainer, "test")

    def _save_metrics(self, trainer: L.Trainer, function: str) -> None:
        if trainer.state.fn != function or not trainer.is_global_zero or getattr(trainer, "fast_dev_run", False):
            return
        report = {
            "metrics": {name: float(value) for name, value in trainer.callback_metrics.items()},
            "checkpoint": self.settings.get("ckpt_path"),
            "data": self.settings.get("data"),
            "seed": self.settings.get("seed_everything"),
        }
        write_whole(self.folder.path / f"{function}.json", json.dumps(report, indent=2, default=str) + "\n")


def write_whole(target: Path, text: str) -> None:
    """Write a file in one move, so that it is never half there."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_suffix(target.suffix + ".part")
    part.write_text(text, encoding="utf-8")
    os.replace(part, target)


def _changes(key: str, before: Any, now: Any) -> list[str]:
    if key.rpartition(".")[2] in _HARMLESS or before == now:
        return []
    if isinstance(before, dict) and isinstance(now, dict):
        keys = sorted(set(before) | set(now))
        return [change for name in keys for change in _changes(f"{key}.{name}", before.get(name), now.get(name))]
    return [f"{key}: {before!r} then, {now!r} now"]

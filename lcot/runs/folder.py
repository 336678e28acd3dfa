"""A run's folder: what is in it, and whether a command may use it.

runs/<name>/config.yaml             what was run; config.resume1.yaml … for each time it was continued
runs/<name>/checkpoints/            last.ckpt, and the best of each stage
runs/<name>/tokenizer/              the tokenizer with the thought tokens
runs/<name>/events.out.tfevents.*   TensorBoard
runs/<name>/predictions.jsonl       answers, from predict
runs/<name>/analysis/               what its thoughts hold, from analyze
runs/<name>/validate.json, test.json
runs/<name>/test-eval_thoughts-2.json, predictions-…, analysis-…    of other protocols than the run's own
runs/<name>/fit.json                what training cost, whether it came to its end, and who ended it before
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import yaml
from transformers import PreTrainedTokenizerBase

from lcot.errors import DataError, UserError
from lcot.modules.stored import pick_checkpoint, read_checkpoint
from lcot.runs.evaluations import named
from lcot.runs.files import LOCK, locked, read_json, remove, tidy, write_whole
from lcot.runs.run import last_config
from lcot.runs.settings import decisive_changes, read_config
from lcot.settings import UNTRAINED

_log = logging.getLogger("lcot")

_TOKENIZER_PART = "tokenizer.part"
_RESTORE = "restore it from a copy, or give another --name; checkpoints and results are untouched"


class RunFolder:
    """``<runs_dir>/<name>``.

    Args:
        path: The folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._kept = False

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

    @property
    def lock(self) -> Path:
        """What the process that trains here holds."""
        return self.path / LOCK

    @property
    def cost(self) -> Path:
        """What its training has cost so far."""
        return self.path / "fit.json"

    def start_from(self, resume: bool, settings: Mapping[str, Any]) -> Path | None:
        """Find out whether ``fit`` may train here, without writing anything.

        Args:
            resume: Whether the user asked to continue.
            settings: The parsed settings of this command.

        Returns:
            The checkpoint to continue from, or ``None`` to start from nothing. A run that was stopped before its first
            checkpoint has nothing to continue, so its settings do not matter.

        Raises:
            UserError: If the folder holds a run and ``resume`` is off, if that run had other decisive settings, or if
                there are results of models as they are.
        """
        saved = sorted(self.checkpoints.glob("*.ckpt"))
        if not saved and self._holds_untrained():
            raise UserError(
                f"{str(self.path)!r} holds results of models as they are (ckpt_path {UNTRAINED!r})",
                where="--name",
                why="they would pass for those of the run that is trained there",
                fix="give another --name, or delete the folder",
            )
        if not resume and (self.config.exists() or saved):
            raise UserError(
                f"{str(self.path)!r} already holds a run",
                where="--name",
                why="starting again would mix two runs in one folder",
                fix=f"add --resume=true to {'continue it' if saved else 'start it anew (it has no checkpoint yet)'},"
                " give another --name, or delete the folder",
            )
        if not saved:
            return None
        if not self.last.is_file():
            if self._stopped_in_first_epoch(saved):
                _log.info("%s was stopped before its first last.ckpt; it begins anew", self.path)
                return None
            whole = [file.name for file in saved if "optimizer_states" in read_checkpoint(file)]
            raise UserError(
                f"{str(self.path)!r} has no last.ckpt to continue from",
                where=str(self.checkpoints),
                why=None if whole else "its other checkpoints hold weights, and nothing of the training",
                fix=f"copy one of its checkpoints there, such as {whole[-1]}, or give another --name"
                if whole
                else "give another --name; its weights can be trained on: lcot.load(…).save_pretrained(…), then"
                " model.backbone.path",
            )
        if self.config.exists():
            self._check_same(settings)
        return self.last

    @contextmanager
    def claimed(self, write: bool, alone: bool = False) -> Iterator[None]:
        """Hold the folder while a command runs, and leave it as it was if the command fails before :meth:`keep`.

        Args:
            write: Whether this process writes there at all.
            alone: Whether no other process may claim it so at the same time: two trainings would mix their files.

        Raises:
            UserError: If nothing can be written, or another process trains here.
        """
        if not write:
            yield
            return
        new = [folder for folder in (self.checkpoints, self.path, *self.path.parents) if not folder.exists()]
        with ExitStack() as last:
            # Behind the lock, whose file must be gone first.
            last.callback(self._remove_empty, new)
            self._probe()
            if alone:
                last.enter_context(self._alone())
                self._tidy()
            old = set(self._written(alone))
            try:
                yield
            finally:
                if not self._kept:
                    for path in set(self._written(alone)) - old:
                        remove(path)

    def begin(self, settings: Mapping[str, Any], tokenizer: PreTrainedTokenizerBase) -> None:
        """Write what is needed to use the run, and keep it: a training starts, or goes on.

        Raises:
            OSError: If it cannot be written.
        """
        self.save_tokenizer(tokenizer)
        if not self.last.exists():
            for best in self.checkpoints.glob("best-stage*.ckpt"):
                best.unlink()  # of a start that was killed right behind it, perhaps with other settings
        self.save_config(settings)  # the folder is a run from now on
        self.keep()

    def keep(self) -> None:
        """From now on this run has something that must not be undone."""
        self._kept = True

    def _probe(self) -> None:
        probe = self.path / f".probe{os.getpid()}"
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            try:
                probe.write_bytes(b"\0" * 4096)
            finally:
                probe.unlink(missing_ok=True)
        except OSError as err:
            raise UserError(
                f"nothing can be written to {str(self.path)!r}",
                where="--runs_dir and --name",
                why=err.strerror or str(err),
                fix="choose a folder with write access and free space",
            ) from err

    @contextmanager
    def _alone(self) -> Iterator[None]:
        # A moment's patience: who only asks whether somebody trains here holds the lock for that long.
        with locked(self.lock, seconds=0.5) as mine:
            if not mine:
                raise UserError(
                    f"another process trains in {str(self.path)!r}",
                    where="--name",
                    why="two trainings would mix their files",
                    fix="wait for it, stop it, or give another --name",
                )
            yield

    def _tidy(self) -> None:
        """Remove what a training that was killed while it wrote left behind."""
        for path in (*self.checkpoints.glob("*.part"), self.path / _TOKENIZER_PART):
            remove(path)
        for file in (self.config, self.cost):
            tidy(file)

    def _stopped_in_first_epoch(self, saved: list[Path]) -> bool:
        """Whether there has never been a ``last.ckpt``: the best of an epoch is written right before it."""
        with suppress(DataError):
            epochs = read_json(self.cost, fix="").get("epochs")
            return epochs in (0, 1) and all(file.match("best-stage*-epoch000.ckpt") for file in saved)
        return False

    def _written(self, alone: bool) -> Iterator[Path]:
        """What this process writes before :meth:`keep`, and nothing of another command on the same run."""
        yield from self.path.glob(f"events.out.tfevents.*.{os.getpid()}.*")
        if alone:
            yield from self.path.glob("hparams.yaml")  # the logger's, without a name of its own
            if not self.last.exists():
                yield from self.path.glob(f"{self.tokenizer.name}*")

    def _remove_empty(self, folders: list[Path]) -> None:
        for folder in folders:
            with suppress(OSError):  # not empty: another command has begun a run there
                folder.rmdir()

    def save_config(self, settings: Mapping[str, Any]) -> None:
        """Write ``config.yaml`` for a start, ``config.resumeN.yaml`` to go on; never with the path of a checkpoint."""
        target, number = self.config, 0
        while target.exists() and self.last.exists():
            number += 1
            target = self.path / f"config.resume{number}.yaml"
        left_out = {"config", "resume"} | ({"ckpt_path"} if settings.get("ckpt_path") != UNTRAINED else set())
        settings = {key: value for key, value in settings.items() if key not in left_out}
        write_whole(target, yaml.safe_dump(settings, sort_keys=False, allow_unicode=True))

    def recorded(self) -> dict[str, Any]:
        """What ``fit.json`` says; nothing if there is none that can be read."""
        with suppress(DataError):
            return read_json(self.cost, fix="")
        return {}

    def results(self) -> list[str]:
        """Names of all that was answered or measured with this run's weights."""
        patterns = ("test*.json", "validate*.json", "predictions*.jsonl", "analysis*/measurements.json")
        found = {self.path / file.relative_to(self.path).parts[0] for name in patterns for file in self.path.glob(name)}
        return sorted(path.name for path in found)

    def own_settings(self) -> dict[str, Any] | None:
        """The settings of the run's last start; ``None`` if there are none.

        Raises:
            DataError: If they cannot be used: nobody knows then what is the run's own.
        """
        file = last_config(self.path)
        return read_config(file, fix=_RESTORE) if file.is_file() else None

    def own_checkpoint(self) -> Path | None:
        """The checkpoint that is evaluated when none is named; ``None`` if there is none."""
        with suppress(UserError):
            return pick_checkpoint(self.path)
        return None

    def result(self, begins: str, settings: Mapping[str, Any], split: str, limit: Any = None) -> tuple[str, str, bool]:
        """What a result of an evaluation is called here.

        Args:
            begins: What all results of its command begin with.
            settings: Those of the command, with the path of its checkpoint.
            split: Whose questions.
            limit: How many batches of them, if a setting that ``split`` does not name says so.

        Returns:
            The name without an ending, in words what is not as the run has it, and whether another checkpoint than that
            which is taken when none is named was chosen.
        """
        path, best = settings.get("ckpt_path"), self.own_checkpoint()
        chosen = path not in (None, UNTRAINED) and best is not None and Path(str(path)).resolve() != best.resolve()
        own, options = self.own_settings() or settings, {"limit_predict_batches": limit}
        name, said = named(begins, own, settings, split, Path(str(path)).name if chosen else None, options)
        return name, said, chosen

    def save_tokenizer(self, tokenizer: PreTrainedTokenizerBase) -> None:
        """Write the tokenizer, once: a run that goes on has the same one."""
        if self.tokenizer.is_dir() and self.last.exists():
            return
        part = self.path / _TOKENIZER_PART
        try:
            tokenizer.save_pretrained(part)
            remove(self.tokenizer)
            os.replace(part, self.tokenizer)
        finally:
            remove(part)

    def _holds_untrained(self) -> bool:
        return self.config.is_file() and read_config(self.config, fix=_RESTORE).get("ckpt_path") == UNTRAINED

    def _check_same(self, settings: Mapping[str, Any]) -> None:
        changes = decisive_changes(read_config(self.config, fix=_RESTORE), settings)
        if changes:
            raise UserError(
                f"{str(self.path)!r} was started with other settings",
                where="; ".join(changes[:4]),
                why="a run that changes on its way is none that could be repeated",
                fix="use the settings in its config.yaml, or start another run with --name",
            )

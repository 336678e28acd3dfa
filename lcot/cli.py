"""The command line: ``python -m lcot {fit,validate,test,predict} -c config.yaml [--any.setting=value]``."""

from __future__ import annotations

import difflib
import errno
import logging
import os
import re
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

# Tokenizers' own threads and forked data-loader workers do not go together.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch.callbacks import ProgressBar
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.utilities.exceptions import SIGTERMException

# Imported for their side effect too: configs name these classes without their packages.
from lcot import callbacks, datamodules, modules, reasoning
from lcot.api import pick_checkpoint, read_checkpoint
from lcot.errors import UserError
from lcot.modules.base import ReasoningModule
from lcot.runs import RunFiles, RunFolder

__all__ = ["Parser", "ReasoningCLI", "callbacks", "datamodules", "main", "modules", "reasoning"]

STOPPED = 143
"""Exit code of a run that was told to stop (128 + SIGTERM)."""


class Parser(LightningArgumentParser):
    """Says what is wrong in one block instead of a page of usage, and suggests the nearest option."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Print the block and exit with 2."""
        self.exit(2, f"lcot: error: {explain(message, self._known_options())}\n")

    def _known_options(self) -> list[str]:
        return [option.lstrip("-") for action in self._actions for option in action.option_strings]


def explain(message: str, known: Sequence[str]) -> str:
    """A parser's message as one short block."""
    lines = [line.strip() for line in message.strip().splitlines() if line.strip()]
    text = " ".join(lines[:1]) if lines else "the settings cannot be used"
    details = [re.sub(r"^[-•]\s*", "", line) for line in lines[1:4]]
    block = [text, *(f"  {detail}" for detail in details)]
    named = re.findall(r"--?([\w.]+)|[\"'`]([\w.]+)[\"'`]", message)
    for name in (first or second for first, second in named):
        if name not in known and (near := difflib.get_close_matches(name, known, n=1, cutoff=0.75)):
            block.append(f"  do:    did you mean --{near[0]}?")
            break
    return "\n".join(block)


class ReasoningCLI(LightningCLI):
    """LightningCLI with a curriculum, and with a fixed folder for each run."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the run's name and the callbacks that every run has; each has a section of its own."""
        parser.add_argument(
            "--name", type=str | None, default=None, help="Name of the run; from the configs if not given."
        )
        parser.add_argument("--runs_dir", type=str, default="runs", help="Folder of all runs.")
        parser.add_argument("--resume", type=bool, default=False, help="Continue the run of this name if there is one.")
        parser.add_lightning_class_args(callbacks.CurriculumCallback, "curriculum")
        parser.add_lightning_class_args(callbacks.LastCheckpoint, "last_checkpoint")
        parser.add_lightning_class_args(callbacks.BestCheckpoint, "best_checkpoint")
        parser.add_lightning_class_args(callbacks.Dashboard, "dashboard")
        parser.add_lightning_class_args(callbacks.PredictionWriter, "predictions")

    def _parse_ckpt_path(self) -> None:
        # Lightning would let a checkpoint's hyperparameters override the command line; ours are checked, not merged.
        return

    def _run_subcommand(self, subcommand: str) -> None:
        try:
            super()._run_subcommand(subcommand)
        finally:
            self.folder.abandon()

    def before_instantiate_classes(self) -> None:
        """Find the run's folder, and everything in it that this command reads or writes."""
        settings = self.config[self.subcommand]
        name = settings.name or _name_from(settings.get("config"))
        self.folder = folder = RunFolder(Path(settings.runs_dir) / name)
        settings.name = name
        settings.trainer.default_root_dir = str(folder.path)
        logger: Any = settings.trainer.logger
        if isinstance(logger, type(settings)) and "save_dir" in logger.get("init_args", {}):
            logger.init_args.save_dir = str(folder.path)
        settings.last_checkpoint.dirpath = settings.last_checkpoint.dirpath or str(folder.checkpoints)
        settings.best_checkpoint.dirpath = settings.best_checkpoint.dirpath or str(folder.checkpoints)
        if self.subcommand == "fit":
            self._prepare_fit(settings)
        else:
            self._prepare_evaluation(settings)
        self.settings = yaml_safe(settings)

    def instantiate_trainer(self, **kwargs: Any) -> Any:
        """Add the callback that writes the run's files and, unless the user chose another one, the progress bar."""
        config = self.config_init[self.subcommand].trainer
        chosen = [callback for callback in config.callbacks or [] if isinstance(callback, ProgressBar)]
        if config.enable_progress_bar is not False and not chosen:
            config.callbacks = [*(config.callbacks or []), callbacks.ReasoningProgressBar()]
        config.callbacks = [RunFiles(self.folder, self.settings), *(config.callbacks or [])]
        return super().instantiate_trainer(**kwargs)

    def _prepare_fit(self, settings: Any) -> None:
        if settings.trainer.max_steps not in (-1, None):
            raise UserError(
                f"trainer.max_steps is {settings.trainer.max_steps}",
                why="a curriculum counts epochs, and a run that is cut by steps cannot be continued exactly",
                fix="use trainer.max_epochs",
            )
        if settings.trainer.fast_dev_run or getattr(rank_zero_only, "rank", 0) != 0:
            if settings.resume and self.folder.last.is_file():
                settings.ckpt_path = str(self.folder.last)
            return
        start = self.folder.claim(settings.resume, yaml_safe(settings))
        if start is not None:
            if settings.ckpt_path:
                raise UserError("--ckpt_path and --resume=true", why="both say where to start from", fix="give one")
            settings.ckpt_path = str(start)
        if settings.ckpt_path:
            read_checkpoint(Path(settings.ckpt_path))

    def _prepare_evaluation(self, settings: Any) -> None:
        if settings.ckpt_path is None:
            settings.ckpt_path = str(pick_checkpoint(self.folder.path))
        read_checkpoint(Path(settings.ckpt_path))
        saved = Path(settings.ckpt_path).parent.parent / "tokenizer"
        data = settings.data.init_args
        if saved.is_dir() and data.get("tokenizer") == "words":
            # Words are numbered by the training data; the run's own numbering is the one that its weights know.
            data.tokenizer = str(saved)
        if settings.predictions.path is None:
            settings.predictions.path = str(self.folder.path / "predictions.jsonl")


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line; settings that cannot be used end in one block on stderr and exit code 2."""
    _quiet_the_console()
    warnings.filterwarnings("ignore", message=r".*is deprecated and will be removed", module="jsonargparse")
    options = {"prog": "lcot", "allow_abbrev": False}
    try:
        ReasoningCLI(
            ReasoningModule,
            datamodules.ReasoningDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            parser_class=Parser,
            parser_kwargs={**options, **{command: dict(options) for command in ReasoningCLI.subcommands()}},
            save_config_callback=None,
            seed_everything_default=0,
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,
            trainer_defaults={
                "logger": {
                    "class_path": "lightning.pytorch.loggers.TensorBoardLogger",
                    "init_args": {"save_dir": "runs", "name": "", "version": "", "default_hp_metric": False},
                },
                "num_sanity_val_steps": 0,
                "use_distributed_sampler": False,
                "log_every_n_steps": 20,
                "enable_model_summary": False,
            },
            args=list(args) if args is not None else None,
        )
    except UserError as err:
        _exit(str(err), 2)
    except SIGTERMException:
        _exit("stopped as asked; the state is saved, and the same command with --resume=true continues it", STOPPED)
    except OSError as err:
        if err.errno not in (errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT):
            raise
        where = f"\n  where: {err.filename}" if err.filename else ""
        _exit(f"{err.strerror}{where}\n  why:   what was saved before is untouched\n  do:    make room and continue", 2)


def _quiet_the_console() -> None:
    """Show our own messages, and drop what Lightning says on every start whatever the user does."""
    own = logging.getLogger("lcot")
    own.setLevel(logging.INFO)
    if not own.handlers:
        own.addHandler(logging.StreamHandler())
    for name in ("lightning.pytorch.utilities.rank_zero", "lightning.fabric.utilities.rank_zero"):
        logging.getLogger(name).addFilter(lambda record: "litlogger" not in record.getMessage())
    for message in (".*LeafSpec.*is deprecated", ".*does not have many workers", ".*smaller than the logging interval"):
        warnings.filterwarnings("ignore", message=message)


def yaml_safe(settings: Any) -> Any:
    """Parsed settings as plain values, as they are written to config.yaml."""
    if hasattr(settings, "as_dict"):
        settings = settings.as_dict()
    if isinstance(settings, dict):
        return {str(key): yaml_safe(value) for key, value in settings.items()}
    if isinstance(settings, list | tuple):
        return [yaml_safe(value) for value in settings]
    return settings if isinstance(settings, str | int | float | bool | None) else str(settings)


def _name_from(configs: Any) -> str:
    """Prosqa and methods/cot give ``prosqa-cot``."""
    paths = configs if isinstance(configs, list) else [configs] if configs else []
    stems = [Path(str(path)).stem for path in paths if path is not None]
    if not stems:
        raise UserError("the run has no name", where="--name", fix="give --name, or a config with -c")
    return "-".join(stems)


def _exit(message: str, code: int) -> NoReturn:
    sys.stderr.write(f"lcot: {'error: ' if code == 2 else ''}{message}\n")
    raise SystemExit(code)

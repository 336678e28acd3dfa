"""What the commands do: LightningCLI with a curriculum, a folder for each run, and messages for people."""

from __future__ import annotations

import logging
import shlex
import signal
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jsonargparse import Namespace
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch.callbacks import ProgressBar
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.utilities.exceptions import SIGTERMException

# Imported for their side effect too: configs name these classes without their packages.
from lcot import callbacks, datamodules, modules, reasoning
from lcot.callbacks.summary import RunSummary
from lcot.callbacks.tracking import Tracking
from lcot.cli.checks import (
    check_monitor,
    check_name,
    check_origins,
    check_processes,
    check_trainer,
    ignored_settings,
    memory_error,
    raised_in,
    refusal_in,
    trainer_error,
)
from lcot.cli.console import quiet_the_console
from lcot.cli.explain import explain
from lcot.cli.extras import check_extras
from lcot.cli.follows import follow_models
from lcot.cli.loggers import chosen_loggers, made, place_loggers, tells_of_tests
from lcot.cli.names import group_of, name_from
from lcot.cli.nodes import check_nodes, check_strategy
from lcot.cli.nulls import refuse_null
from lcot.cli.parser import ALL, HELP, Parser, described
from lcot.cli.parts import check_parts, try_optimizer
from lcot.cli.places import keep_logs, place_predictions
from lcot.cli.plain import yaml_safe
from lcot.cli.threads import keep_threads, set_threads
from lcot.cli.trust import trusted
from lcot.errors import IgnoredSettingWarning, UserError
from lcot.modules.base import ReasoningModule
from lcot.modules.softcot_checks import check_assistant
from lcot.modules.stored import epochs_done, pick_checkpoint, read_checkpoint, without_best
from lcot.reasoning.curriculum import find_clock
from lcot.runs.folder import RunFolder
from lcot.runs.method import check_method
from lcot.runs.writer import RunFiles
from lcot.settings import UNTRAINED, Settings, given_run
from lcot.signals import interrupted_patiently, leaving_when_told

__all__ = ["Parser", "ReasoningCLI", "callbacks", "datamodules", "modules", "reasoning", "run"]

_log = logging.getLogger("lcot")


def run(args: Sequence[str], settings: Settings, cli: type[ReasoningCLI] | None = None) -> int | None:
    """Run a command.

    Args:
        args: The command line, its configs as paths, in the order in which it counts.
        settings: What is set in it.
        cli: What does it; :class:`ReasoningCLI` if not given.

    Returns:
        ``None`` if it came to its end; the number of the signal if it was told to stop before.

    Raises:
        KeyboardInterrupt: If it was interrupted, and nothing was saved.
        UserError: If it cannot be done as it was set.
    """
    quiet_the_console()
    Parser.settings = settings
    Parser.everything = ALL in args
    introduced = {command: described(command) for command in ReasoningCLI.subcommands()}
    try:
        with trusted([HELP if word == ALL else word for word in args], settings) as words:
            (cli or ReasoningCLI)(
                ReasoningModule,
                datamodules.ReasoningDataModule,
                subclass_mode_model=True,
                subclass_mode_data=True,
                parser_class=Parser,
                parser_kwargs={"prog": "lcot", "allow_abbrev": False, **introduced},
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
                args=words,
            )
    except SIGTERMException as told:
        return told.code if isinstance(told.code, int) else signal.SIGTERM
    except SystemExit as stop:
        if isinstance(stop.__context__, KeyboardInterrupt):  # the trainer's answer to Ctrl-C
            raise KeyboardInterrupt from stop
        raise
    except MisconfigurationException as err:
        raise trainer_error(err, settings) from err
    except (RuntimeError, ValueError) as err:
        short = memory_error(err, settings.command)
        if short is None and not isinstance(err, UserError) and raised_in("lightning", err):
            short = trainer_error(err, settings)
        if short is None:
            raise
        raise short from err
    return None


class ReasoningCLI(LightningCLI):
    """LightningCLI with a curriculum, and with a fixed folder for each run."""

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """The one that was asked for: building the parsers of the others would take most of the time of a refusal."""
        everything, chosen = LightningCLI.subcommands(), Parser.settings.command
        return {chosen: everything[chosen]} if chosen is not None else everything

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the run's name and the callbacks that every run has; each has a section of its own."""
        parser.add_argument(
            "--name", type=str | None, default=None, help="Name of the run; from the configs if not given."
        )
        parser.add_argument(
            "--threads",
            type=int | None,
            default=None,
            help="Threads of torch's operators on a CPU; its own choice, the machine's cores, if not given. They decide"
            " how sums are rounded, so a run that continues takes the number that it had. Small models want 1: threads"
            " that wait for one another cost them more than they gain, above all on a machine with other work.",
        )
        parser.add_argument("--runs_dir", type=str, default="runs", help="Folder of all runs.")
        parser.add_argument("--resume", type=bool, default=False, help="Continue the run of this name if there is one.")
        parser.add_lightning_class_args(callbacks.CurriculumCallback, "curriculum")
        parser.add_lightning_class_args(callbacks.LastCheckpoint, "last_checkpoint")
        parser.add_lightning_class_args(callbacks.BestCheckpoint, "best_checkpoint")
        parser.add_lightning_class_args(callbacks.Dashboard, "dashboard")
        parser.add_lightning_class_args(callbacks.PredictionWriter, "predictions")

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse, without a warning for those who call this from Python."""
        command, *words = args
        try:
            if any(word.startswith("--print_config") for word in words):
                self.config = parser.parse_args(args)  # prints, and exits
                return
            # By the command's own parser: the one above it would read and check everything once more.
            self.config = Namespace(subcommand=command)  # type: ignore[no-untyped-call]
            self.config[command] = self._subcommand_parsers[command].parse_args(words)
        except Exception as err:
            refusal = refusal_in(err)
            if refusal is None:
                refusal = explain(str(err), self._subcommand_parsers[command]._actions, Parser.settings)
            raise refusal from err

    def _parse_ckpt_path(self) -> None:
        # Lightning would let a checkpoint's hyperparameters override the command line; ours are checked, not merged.
        return

    def _set_seed(self) -> None:
        try:
            super()._set_seed()
        except ValueError as err:
            raise UserError(
                f"the seed is {self.config[self.subcommand].seed_everything}", where="seed_everything", why=str(err)
            ) from err

    def check_settings(self) -> Any:
        """Refuse what the parser lets pass.

        Returns:
            The settings of the command.
        """
        settings = self.config[self.subcommand]
        refuse_null(settings, Parser.settings)
        follow_models(settings, Parser.settings)
        check_parts(settings.trainer)
        check_processes(settings.trainer)
        check_strategy(settings.trainer.strategy, settings.trainer.precision)
        check_monitor(settings.best_checkpoint.monitor)
        check_assistant(settings.model.get("init_args", {}))
        return settings

    def before_instantiate_classes(self) -> None:
        """Check what can be checked now, and find all that this command reads or writes; nothing is written yet."""
        settings = self.check_settings()
        check_extras(settings)
        set_threads(settings.threads)
        own = given_run(Parser.settings)
        if own is not None and own.resolve() != (Path(settings.runs_dir) / (settings.name or "")).resolve():
            here = own if own.name not in ("", "..") else own.resolve()  # -c config.yaml, from within its folder
            settings.runs_dir, settings.name = str(here.parent), here.name
        name = settings.name if settings.name is not None else name_from(settings.get("config"))
        check_name(name, settings.runs_dir)
        self.folder = folder = RunFolder(Path(settings.runs_dir) / name)
        settings.name = name
        # What config.yaml holds must not lead another run into this run's folder, so paths are filled in afterwards.
        self.settings = yaml_safe(settings)
        if settings.weights_only is False:
            raise UserError(
                "weights_only is false",
                where="weights_only",
                why="a checkpoint is read as tensors and plain values only: what else it holds could run code",
                fix="leave it out",
            )
        settings.weights_only = True
        if self.subcommand == "fit":
            self._prepare_fit(settings)
        else:
            self._prepare_evaluation(settings)
        untrained = self.settings["ckpt_path"] == UNTRAINED
        self.settings["ckpt_path"] = UNTRAINED if untrained else settings.ckpt_path
        settings.trainer.default_root_dir = str(folder.path)
        former = folder.recorded() if self._goes_on_at is not None else {}
        self.group = str(former.get("group") or group_of(settings.get("config"), name))
        wanted = [*chosen_loggers(settings.trainer), *self._tested]
        place_loggers(wanted, folder.path, self.group, former.get("loggers"))
        settings.last_checkpoint.dirpath = settings.last_checkpoint.dirpath or str(folder.checkpoints)
        settings.best_checkpoint.dirpath = settings.best_checkpoint.dirpath or str(folder.checkpoints)

    def instantiate_classes(self) -> None:
        """Make the objects; a refusal in a constructor comes out as it is, and not as a failed type check."""
        try:
            super().instantiate_classes()
        except Exception as err:
            refusal = refusal_in(err)
            if refusal is None:
                raise
            raise refusal from err
        if getattr(rank_zero_only, "rank", 0) == 0:
            for line in ignored_settings(Parser.settings, self.config[self.subcommand]):
                warnings.warn(line, IgnoredSettingWarning, stacklevel=2)

    def instantiate_trainer(self, **kwargs: Any) -> Any:
        """Add the callback that writes the run's files and, unless the user chose another one, the progress bar."""
        config = self.config_init[self.subcommand].trainer
        chosen = [callback for callback in config.callbacks or [] if isinstance(callback, ProgressBar)]
        if config.enable_progress_bar is not False and not chosen:
            config.callbacks = [*(config.callbacks or []), callbacks.ReasoningProgressBar()]
        config.callbacks = [
            RunFiles(
                self.folder,
                self.settings,
                shlex.join(["lcot", *Parser.settings.words]),
                shown=self.settings.get("verbose") is not False,
                group=self.group,
            ),
            RunSummary(self.folder),
            Tracking(self.folder.path.name, self.group, made(self._tested, Parser.settings), self._goes_on_at or 0),
            *(config.callbacks or []),
        ]
        try:
            return super().instantiate_trainer(**kwargs)
        except (MisconfigurationException, ValueError, TypeError, RuntimeError, ImportError) as err:
            raise trainer_error(err, Parser.settings) from err

    def _run_subcommand(self, subcommand: str) -> None:
        waiting = check_nodes(self.trainer)
        if waiting is not None and getattr(self.trainer.strategy, "local_rank", 0) == 0:
            sys.stderr.write(f"{waiting}\n")  # on every node, where the log is rank 0's
        dry = bool(self.config[subcommand].trainer.fast_dev_run) or getattr(rank_zero_only, "rank", 0) != 0
        if subcommand != "fit" and self._checkpoint is not None:
            clock = find_clock(getattr(self.trainer, "callbacks", []))
            assert clock is not None
            check_method(self._checkpoint, clock, self.datamodule, Path(self.settings["ckpt_path"]))
        if subcommand == "fit":  # what needs no data is told before they are drawn
            try_optimizer(self.model)
            self.model.backbone.check_config()
            clock, epochs = self.config_init[subcommand].curriculum, self.trainer.max_epochs
            if epochs and epochs > 0 and not dry:
                clock.schedule.check_reach(epochs)
        # A signal while data is made must not leave a folder in which nothing was trained.
        with (
            leaving_when_told(),
            interrupted_patiently(),
            self.folder.claimed(write=not dry, alone=subcommand == "fit"),
        ):
            if subcommand == "fit" and not dry:
                keep_logs(self.trainer.loggers, self._goes_on_at)
            super()._run_subcommand(subcommand)
            if subcommand != "fit":
                self.folder.keep()

    def _prepare_fit(self, settings: Any) -> None:
        self._goes_on_at: int | None = None  # steps
        self._tested: list[Namespace] = []
        check_trainer(settings.trainer)
        check_origins(Parser.settings)
        if settings.ckpt_path == UNTRAINED:
            raise UserError(
                f"ckpt_path is {UNTRAINED!r}",
                where="ckpt_path",
                why="this method trains nothing: it takes the models as they are",
                fix="use validate, test or predict",
            )
        if settings.trainer.fast_dev_run:
            if settings.ckpt_path or (settings.resume and self.folder.start_from(True, self.settings)):
                settings.ckpt_path = None
                _log.info("fast_dev_run tries the settings on a model that begins anew; the run is left as it is")
            return
        if getattr(rank_zero_only, "rank", 0) != 0:
            if settings.resume and self.folder.last.is_file():
                settings.ckpt_path = str(self.folder.last)
                keep_threads(settings.threads, read_checkpoint(self.folder.last, weights=False)["lcot"])
            return
        start = self.folder.start_from(settings.resume, self.settings)
        if start is not None:
            if settings.ckpt_path:
                raise UserError("--ckpt_path and --resume=true", why="both say where to start from", fix="give one")
            settings.ckpt_path = str(start)
        if settings.ckpt_path:
            saved = read_checkpoint(Path(settings.ckpt_path))
            keep_threads(settings.threads, saved["lcot"])
            done, planned = epochs_done(saved), settings.trainer.max_epochs
            if 0 <= planned < done:
                raise UserError(
                    f"max_epochs is {planned}, and {settings.ckpt_path!r} has {done} epochs behind it",
                    where="trainer.max_epochs",
                    fix=f"use {done} or more",
                )
            if planned == done:
                _log.info("all %d epochs are done already; for more of them raise trainer.max_epochs", done)
            else:
                _log.info("continuing from %s: epoch %d, step %d", settings.ckpt_path, done, saved["global_step"])
            self._goes_on_at = saved["global_step"] if start is not None else None

    def _prepare_evaluation(self, settings: Any) -> None:
        self._checkpoint: dict[str, Any] | None = None
        own = self.folder.own_settings()  # what is damaged is told now, and not when all is answered
        self._goes_on_at = None
        self._tested = []
        if settings.ckpt_path == UNTRAINED:
            if self.folder.checkpoints.is_dir():
                raise UserError(
                    f"ckpt_path is {UNTRAINED!r}, and {str(self.folder.path)!r} holds a run that was trained",
                    where="--ckpt_path, --name",
                    why="its results would pass for those of the trained model",
                    fix="give another --name",
                )
            settings.ckpt_path = None
        elif settings.ckpt_path in (None, "best"):
            settings.ckpt_path = str(pick_checkpoint(self.folder.path))
            if (said := without_best(self.folder.path)) is not None:
                _log.info("%s", said)
        elif settings.ckpt_path == "last":
            settings.ckpt_path = str(self.folder.last)
        if settings.ckpt_path is not None:
            read = read_checkpoint(Path(settings.ckpt_path))
            self._checkpoint, self._goes_on_at = read["lcot"], read.get("global_step")
            saved = Path(settings.ckpt_path).parent.parent / "tokenizer"
            data = settings.data.init_args
            given, moved = data.get("tokenizer"), False
            if own is not None and given == (own["data"].get("init_args") or {}).get("tokenizer"):
                moved = Path(str(given)).name == saved.name and not Path(str(given)).exists()
            if saved.is_dir() and (given == "words" or moved):
                # Words are numbered by the training data; the run's own numbering is the one that its weights know. So
                # it is for a run that names its own folder's tokenizer, and was moved.
                data.tokenizer = str(saved)
        # A point at step 0 has no place in the curves of the run.
        if self.subcommand == "test" and not settings.trainer.fast_dev_run:
            self._tested = list(filter(tells_of_tests, chosen_loggers(settings.trainer)))
        settings.trainer.logger = False
        if self.subcommand == "predict":
            settings.return_predictions = False
            place_predictions(settings, self.folder, self.settings)
        else:
            settings.verbose = False  # RunFiles prints the metrics, rounded

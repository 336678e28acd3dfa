"""Loggers of a command: each knows the run by its name and group, and writes into its folder or its store."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jsonargparse import Namespace
from lightning.pytorch.cli import instantiate_class
from lightning.pytorch.loggers import Logger

from lcot.cli.checks import trainer_error
from lcot.runs.logs import go_on
from lcot.settings import Settings

_FILES = ("TensorBoardLogger", "CSVLogger")
_UNSET = (None, "", ".", "runs", "./mlruns", "lightning_logs")
"""What stands for no choice: the default of a logger's class, or that of the command line's own logger."""


def chosen_loggers(trainer: Any) -> list[Namespace]:
    """The parsed settings of every logger.

    Args:
        trainer: The parsed settings of the trainer.
    """
    logger = trainer.logger
    return [one for one in (logger if isinstance(logger, list) else [logger]) if isinstance(one, Namespace)]


def place_loggers(chosen: Sequence[Namespace], folder: Path, group: str, former: Any) -> None:
    """Have loggers know the run, write into its folder, and go on where they did before.

    Args:
        chosen: Parsed settings of loggers; changed in place.
        folder: The run's.
        group: What the run is one of, whatever its seed.
        former: Where they wrote, by their classes; nothing for a run that begins.
    """
    for logger in chosen:
        if logger.get("init_args") is not None:
            go_on(logger, former if isinstance(former, dict) else {})
            name_logger(logger, folder, group)


def name_logger(chosen: Namespace, folder: Path, group: str) -> None:
    """Fill in what the user did not: names, and where a logger writes.

    Those that write files do so in the run's folder, without folders of versions: a run that goes on finds them.
    MLflow's store holds many runs, so all below one folder share it.

    Args:
        chosen: Parsed settings of a logger; changed in place.
        folder: The run's.
        group: What the run is one of, whatever its seed.
    """
    kind = str(chosen.class_path).rpartition(".")[2]
    given = chosen.init_args
    wanted: dict[str, Any] = {"save_dir": str(folder)}
    if kind in _FILES:
        if given.get("save_dir") not in (None, "", "runs"):
            return  # a place of the user's own, with folders by name and version
        wanted |= {"name": "", "version": ""}
    elif kind == "MLFlowLogger":
        store = str(folder.parent / "mlruns")
        wanted = {"save_dir": store, "run_name": folder.name, "experiment_name": group, "tags": {"group": group}}
    else:
        wanted |= {"name": folder.name, "group": group}
    for name, value in wanted.items():
        if name in given and given[name] in _UNSET:
            given[name] = value
    if kind == "WandbLogger":
        given.version = given.version or None
        # A run that goes on, or is tested, adds to what there is under its key.
        given.resume = given.get("resume") or ("allow" if given.get("id") else None)


def made(tested: Sequence[Namespace], settings: Settings) -> list[Logger]:
    """Loggers that are told of a test's results, and of nothing else.

    Raises:
        UserError: If one cannot be made.
    """
    try:
        return [instantiate_class((), chosen.as_dict()) for chosen in tested]
    except Exception as err:
        raise trainer_error(err, settings) from err


def tells_of_tests(chosen: Namespace) -> bool:
    """Whether a logger is told of tests by its own interface: TensorBoard's page of runs has a way of its own."""
    return not str(chosen.class_path).endswith("TensorBoardLogger")

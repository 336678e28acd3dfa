"""Curves of a run that continues: loggers go on where they were, and delete nothing."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import CSVLogger

from lcot.runs.files import whole

_PLACE = {"CSVLogger": "version", "CometLogger": "experiment_key", "MLFlowLogger": "run_id",
          "TensorBoardLogger": "version", "WandbLogger": "id"}  # fmt: skip
"""Which setting has a logger go on in a place that it gave itself, by its class."""


def places(loggers: Iterable[Any]) -> dict[str, str | int]:
    """Where loggers write, by their classes: versions of folders, and keys of runs on a server."""
    return {type(logger).__name__: logger.version for logger in loggers if logger.version not in (None, "")}


def go_on(logger: Any, former: Mapping[str, Any]) -> None:
    """Have a logger go on in the place where it was, unless the user gave one.

    Args:
        logger: Its parsed settings; changed in place.
        former: Of :func:`places`, when the run was last started.
    """
    name = str(logger.class_path).rpartition(".")[2]
    place = _PLACE.get(name)
    if place is not None and name in former and logger.init_args.get(place) is None:
        logger.init_args[place] = former[name]


def keep_csv(logger: CSVLogger, step: int | None) -> None:
    """Have a logger add to ``metrics.csv``, which it would delete as it starts.

    Args:
        logger: One that has not started.
        step: Steps of the training that continues: what was logged behind them is logged once more, so it goes.
            ``None`` for a training that begins anew: the former file then stays beside it under another name.
    """
    file = Path(logger.log_dir) / "metrics.csv"
    aside = file.with_name("metrics.kept.csv")
    if aside.is_file() and not file.is_file():
        os.replace(aside, file)  # of a process that was killed right here
    if not file.is_file():
        return
    if step is None:
        number = next(number for number in range(1, 10**6) if not file.with_name(f"metrics.{number}.csv").exists())
        os.replace(file, file.with_name(f"metrics.{number}.csv"))
        return
    with file.open(encoding="utf-8", newline="") as written:
        reader = csv.DictReader(written)
        rows = [row for row in reader if (row.get("step") or "").isdecimal() and int(row["step"]) < step]
        names = list(reader.fieldnames or ())
    with whole(aside) as part, part.open("w", encoding="utf-8", newline="") as out:
        writer = csv.DictWriter(out, names, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    logger.experiment.metrics_keys = names  # starts it, which deletes the file
    os.replace(aside, file)

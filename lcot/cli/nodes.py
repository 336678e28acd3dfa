"""Several processes: how they may be started, and what they wait for."""

from __future__ import annotations

import os
from typing import Any

from lightning.fabric.plugins.environments.lightning import LightningEnvironment

from lcot.errors import UserError
from lcot.modules.sharding import check_sharding

_MEETING = ("MASTER_ADDR", "MASTER_PORT")


def check_strategy(strategy: Any, precision: Any = None) -> None:
    """Refuse processes that are made out of this one: they would inherit its signals, locks and threads, not its state.

    And refuse what cuts or wraps a model in other ways than ``fsdp2`` (:func:`lcot.modules.sharding.check_sharding`).

    Args:
        strategy: ``trainer.strategy`` as parsed: a name, or a class with its arguments.
        precision: ``trainer.precision``.

    Raises:
        UserError: If processes are to be forked or spawned, or the model is to be cut otherwise.
    """
    options = strategy.get("init_args", {}) if hasattr(strategy, "get") else {}
    method = str(options.get("start_method", "popen")) if options else str(strategy)
    if any(word in method for word in ("spawn", "fork", "notebook")):
        raise UserError(
            f"the strategy is {method!r}",
            where="trainer.strategy",
            why="copies of this process would train without what it has set up: signals, its hold on the run's folder,"
            " and words for people",
            fix="use 'ddp', which starts the same command for each device, or torchrun",
        )
    check_sharding(strategy, precision)


def check_nodes(trainer: Any) -> str | None:
    """What the processes of several nodes wait for.

    Args:
        trainer: The trainer, before anything runs.

    Returns:
        A line for people; ``None`` on one node.

    Raises:
        UserError: If nothing says where the nodes are to meet.
    """
    if trainer.num_nodes < 2:
        return None
    environment = trainer.strategy.cluster_environment
    missing = [name for name in _MEETING if not os.environ.get(name)]
    if isinstance(environment, LightningEnvironment) and missing:
        raise UserError(
            f"num_nodes is {trainer.num_nodes}, and nothing says where the nodes meet",
            where="trainer.num_nodes",
            why=f"{' and '.join(missing)} {'are' if len(missing) > 1 else 'is'} not set, and this is no job of SLURM or"
            " torchrun: each node would wait for the others alone",
            fix="start it with srun or torchrun; or set MASTER_ADDR and MASTER_PORT to a place on the first node, and"
            " NODE_RANK on each",
        )
    timeout = getattr(trainer.strategy, "_timeout", None)
    at_most = f", at most {timeout.total_seconds() / 60:g} minutes" if timeout is not None else ""
    return (
        f"node {environment.node_rank()} of {trainer.num_nodes}: waiting for {trainer.world_size} processes at"
        f" {environment.main_address}:{environment.main_port}{at_most}"
    )

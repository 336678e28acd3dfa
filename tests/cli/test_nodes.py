"""Several processes are started in the ways that work, and say what they wait for."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from lightning.fabric.plugins.environments.lightning import LightningEnvironment

from lcot.cli.nodes import check_nodes, check_strategy
from lcot.errors import UserError
from tests.tiny import contents, lcot, write_config


@pytest.mark.parametrize(
    "strategy",
    [
        "ddp_spawn",
        "ddp_fork",
        "ddp_notebook",
        "ddp_spawn_find_unused_parameters_false",
        {"class_path": "DDPStrategy", "init_args": {"start_method": "fork"}},
    ],
)
def test_copies_of_the_process_are_refused(strategy: Any) -> None:
    with pytest.raises(UserError, match="the strategy is") as caught:
        check_strategy(strategy)
    assert "torchrun" in str(caught.value)


@pytest.mark.parametrize("strategy", ["auto", "ddp", "ddp_find_unused_parameters_true", {"class_path": "DDPStrategy"}])
def test_commands_of_their_own_are_not(strategy: Any) -> None:
    check_strategy(strategy)


@pytest.fixture
def trainer(monkeypatch: pytest.MonkeyPatch) -> Any:
    """What is asked of a trainer on two nodes."""
    for name in ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK"):
        monkeypatch.delenv(name, raising=False)
    strategy = SimpleNamespace(cluster_environment=LightningEnvironment(), _timeout=timedelta(minutes=30))
    return SimpleNamespace(num_nodes=2, world_size=8, strategy=strategy)


def test_one_node_waits_for_nobody(trainer: Any) -> None:
    trainer.num_nodes = 1
    assert check_nodes(trainer) is None


@pytest.mark.parametrize("known", [{}, {"MASTER_ADDR": "here"}, {"MASTER_PORT": "29500"}])
def test_nodes_that_know_no_place_to_meet_are_refused(
    trainer: Any, monkeypatch: pytest.MonkeyPatch, known: dict[str, str]
) -> None:
    for name, value in known.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match="nothing says where the nodes meet") as caught:
        check_nodes(trainer)
    assert all((f"{name} " in str(caught.value.why)) == (name not in known) for name in ("MASTER_ADDR", "MASTER_PORT"))


def test_what_is_waited_for_is_told(trainer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"MASTER_ADDR": "node1", "MASTER_PORT": "29500", "NODE_RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    said = check_nodes(trainer)
    assert said == "node 1 of 2: waiting for 8 processes at node1:29500, at most 30 minutes"


@pytest.mark.parametrize(
    "options", [("--trainer.strategy=ddp_spawn", "--trainer.devices=2"), ("--trainer.num_nodes=2",)]
)
def test_on_the_command_line_nothing_is_written(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK"):
        monkeypatch.delenv(name, raising=False)
    config = write_config(tmp_path)
    before = contents(tmp_path)
    outcome = lcot("fit", "-c", config, *options)
    assert outcome.code == 2 and "lcot: error: " in outcome.err and contents(tmp_path) == before

"""A run in plain values, and what it reached, as TensorBoard's page reads them."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import metadata

from lcot.callbacks import Dashboard
from lcot.callbacks.dashboard_hparams import final_metrics, hyperparameters, write_test
from lcot.reasoning.curriculum import Curriculum
from tests.callbacks.boards import read, scalars, trained
from tests.training import no_thoughts, stages, tiny_data, tiny_module, tiny_trainer


def page(board: EventAccumulator) -> tuple[dict[str, object], list[str], list[str]]:
    """The run's values, and the names of the page's columns: values and metrics."""
    about = {tag: board.SummaryMetadata(tag).plugin_data.content for tag in board.summary_metadata if "hparams" in tag}
    start = metadata.parse_session_start_info_plugin_data(about[metadata.SESSION_START_INFO_TAG])
    columns = metadata.parse_experiment_plugin_data(about[metadata.EXPERIMENT_TAG])
    values = {name: getattr(value, value.WhichOneof("kind")) for name, value in start.hparams.items()}
    return values, [info.name for info in columns.hparam_infos], [info.name.tag for info in columns.metric_infos]


def test_the_row_of_a_run(tmp_path: Path) -> None:
    curriculum = stages(max_stage=1, mix_probability=[0.0, 0.25])
    board, module, _ = trained(tmp_path, curriculum, Dashboard(), accumulate_grad_batches=3, gradient_clip_val=0.5)
    values, columns, metrics = page(board)
    parameters = sum(parameter.numel() for parameter in module.parameters())
    assert values == {
        "model": "Coconut",
        "curriculum": "Stepwise",
        "kind": "continuous",
        "stages": 3,
        "thoughts": 1,
        "thoughts_per_step": 1,
        "mix_probability": 0.25,
        "epochs": 3,
        "data": "ProsQA",
        "examples": 12,
        "batch": 12,
        "backbone": "gpt2",
        "width": 16,
        "layers": 1,
        "heads": 2,
        "parameters": parameters,
        "trained": parameters,
        "optimizer": "AdamW",
        "lr": pytest.approx(1e-4),
        "weight_decay": pytest.approx(0.01),
        "clip": 0.5,
        "precision": "32-true",
        "seed": 0,
    }
    assert set(values) <= set(columns) and {"hidden"} == set(columns) - set(values)
    written = {tag for tag in board.Tags()["scalars"] if tag.startswith("hp/")}
    assert written <= set(metrics) and "hp/test_accuracy" in metrics


def test_columns_are_the_same_in_all_runs(tmp_path: Path) -> None:
    pages = [
        page(trained(tmp_path / kind, curriculum, Dashboard(), max_epochs=2)[0])
        for kind, curriculum in (("coconut", stages()), ("cot", no_thoughts()))
    ]
    (coconut, columns, metrics), (cot, others, same) = pages
    assert columns == others and metrics == same
    assert cot["hidden"] == "none" and "hidden" not in coconut and "thoughts_per_step" not in cot


@pytest.mark.parametrize("curriculum", [stages(), None])
def test_the_learning_rate_is_the_one_that_was_set(tmp_path: Path, curriculum: Curriculum | None) -> None:
    module = tiny_module(
        lr_scheduler=lambda optimizer: torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5**step)
    )
    trainer = tiny_trainer(tmp_path, stages(), max_epochs=2)
    trainer.fit(module, datamodule=tiny_data())
    assert trainer.optimizers[0].param_groups[0]["lr"] < 1e-5
    values = hyperparameters(trainer, module, None, curriculum, seed=3)
    assert values["lr"] == pytest.approx(1e-4) and values["seed"] == 3 and "data" not in values
    assert ("kind" in values) == (curriculum is not None)


def test_names_of_what_was_reached() -> None:
    metrics = {
        "val/accuracy": torch.tensor(0.5),
        "val/accuracy_boxed": 0.25,
        "val/accuracy_std": 0.1,
        "val/path_correct": 1,
        "val/path_longer": 1,
        "val/seconds": 1,
        "val/loss": float("nan"),
        "test/accuracy": 0.75,
        "test/tokens": 2,
        "train/loss": 1,
    }
    assert final_metrics(metrics, "val") == {"hp/accuracy": 0.5, "hp/accuracy_boxed": 0.25, "hp/path_correct": 1.0}
    assert final_metrics(metrics, "test") == {"hp/test_accuracy": 0.75, "hp/test_tokens": 2.0}


def test_a_test_is_written_beside_curves_and_nowhere_else(tmp_path: Path) -> None:
    assert not write_test(tmp_path, {"hp/test_accuracy": 1.0}) and list(tmp_path.iterdir()) == []
    trained(tmp_path / "run", no_thoughts(), Dashboard(), max_epochs=1)
    for accuracy in (0.25, 0.5):
        assert write_test(tmp_path / "run", {"hp/test_accuracy": accuracy})
        time.sleep(1.1)  # files of one second are read in the order of their names, where 10 comes before 9
    assert scalars(read(tmp_path / "run"), "hp/test_accuracy") == {0: 0.5}

"""The best of each stage: which file that is, and what it holds."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

import lightning as L
import pytest
import torch

from lcot.callbacks import BestCheckpoint, LastCheckpoint
from lcot.callbacks.best_checkpoint import METRICS
from lcot.datamodules import JSONReasoning
from lcot.errors import UserError
from lcot.modules.stored import pick_checkpoint
from lcot.reasoning.tokenwise import Tokenwise
from tests.tiny import RECORD, write_records
from tests.training import sgd, stages, tiny_data, tiny_module, tiny_trainer


class Scores(L.Callback):
    """Has validation report given accuracies, one an epoch."""

    def __init__(self, *scores: float) -> None:
        self.scores = scores

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        pl_module.log("score", self.scores[trainer.current_epoch])


def best_files(
    folder: Path, *scores: float, keep: int = 1, mode: Any = "max", **changes: Any
) -> tuple[list[str], BestCheckpoint]:
    """The files that are left after a run of two epochs a stage."""
    best = BestCheckpoint(str(folder), monitor="score", mode=mode, keep=keep)
    schedule = stages(epochs_per_stage=[2, 2])
    trainer = tiny_trainer(folder, schedule, Scores(*scores), best, max_epochs=4, limit_train_batches=1, **changes)
    trainer.fit(tiny_module(optimizer=sgd), datamodule=tiny_data())
    return sorted(file.name for file in folder.glob("*.ckpt")), best


def test_each_stage_has_a_best_of_its_own(tmp_path: Path) -> None:
    # An easy first stage scores higher than the last one ever will.
    files, best = best_files(tmp_path, 0.9, 0.8, 0.2, 0.3)
    assert files == ["best-stage0-epoch000.ckpt", "best-stage1-epoch003.ckpt"]
    assert best.best_model_path.endswith("best-stage1-epoch003.ckpt")
    assert best.best_model_score == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("scores", "mode", "picked"), [((0.3, 0.2), "max", 2), ((0.2, 0.3), "max", 3), ((0.3, 0.2), "min", 3),
                                   ((0.2, 0.2), "max", 2)]
)  # fmt: skip
def test_of_several_the_best_is_picked_by_its_score(
    tmp_path: Path, scores: tuple[float, float], mode: str, picked: int
) -> None:
    files, _ = best_files(tmp_path / "checkpoints", 0.9, 0.8, *scores, keep=2, mode=mode)
    assert len(files) == 4
    for age, file in enumerate(files):  # as after copying: times say nothing
        os.utime(tmp_path / "checkpoints" / file, (1000 - age, 1000 - age))
    assert pick_checkpoint(tmp_path).name == f"best-stage1-epoch00{picked}.ckpt"


@pytest.mark.parametrize(("monitor", "mode"), METRICS.items())
def test_the_direction_of_validation_s_own_metrics_is_known(monitor: str, mode: Literal["min", "max"]) -> None:
    assert BestCheckpoint(monitor=monitor).mode == BestCheckpoint(monitor=monitor, mode=mode).mode == mode
    with pytest.raises(UserError, match="would keep the checkpoints with the worst"):
        BestCheckpoint(monitor=monitor, mode="min" if mode == "max" else "max")
    with pytest.raises(UserError, match="mode is not set"):
        BestCheckpoint(monitor="score")


def test_an_epoch_without_validation_has_no_claim(tmp_path: Path) -> None:
    # Epochs 1 and 3 are validated; epoch 2 still shows the 0.8 of epoch 1, which is of the stage before.
    best = BestCheckpoint(str(tmp_path))
    seen: list[tuple[int, bool]] = []

    class Look(L.Callback):
        def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
            seen.append((trainer.current_epoch, "val/accuracy" in trainer.callback_metrics))

    schedule = stages(epochs_per_stage=[2, 2])
    trainer = tiny_trainer(tmp_path, schedule, Look(), best, max_epochs=4, check_val_every_n_epoch=2)
    trainer.fit(tiny_module(optimizer=sgd), datamodule=tiny_data())
    assert (2, True) in seen
    files = sorted(file.name for file in tmp_path.glob("*.ckpt"))
    assert files == ["best-stage0-epoch001.ckpt", "best-stage1-epoch003.ckpt"]


def test_a_moving_schedule_keeps_the_former_best_until_there_is_another(tmp_path: Path) -> None:
    # A token goes in each epoch; epochs 1 and 3 are validated.
    schedule = Tokenwise(tokens_per_epoch=1, remove_all_beyond=3, smoothing=None)
    files: list[list[str]] = []

    class Look(L.Callback):
        def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
            files.append(sorted(file.name for file in tmp_path.glob("*.ckpt")))

    best = BestCheckpoint(str(tmp_path))
    trainer = tiny_trainer(tmp_path, schedule, best, Look(), max_epochs=5, check_val_every_n_epoch=2)
    trainer.fit(tiny_module(optimizer=sgd), datamodule=tiny_data())
    assert files == [
        [],
        [],
        ["best-stage1-epoch001.ckpt"],
        ["best-stage1-epoch001.ckpt"],
        ["best-stage3-epoch003.ckpt"],
    ]


def test_a_copied_run_leaves_the_files_of_its_origin_alone(tmp_path: Path) -> None:
    for folder in ("origin", "copy"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "old.ckpt").touch()
    former = [str(tmp_path / "origin" / name) for name in ("old.ckpt", "gone.ckpt")]
    copied = BestCheckpoint(str(tmp_path / "copy"))
    copied.load_state_dict({**copied.state_dict(), "former": former})
    assert copied.state_dict()["former"] == [str(tmp_path / "copy" / "old.ckpt")]


def test_shares_of_paths_need_graphs(tmp_path: Path) -> None:
    best = BestCheckpoint(str(tmp_path / "graphs"), monitor="val/path_correct")
    tiny_trainer(tmp_path, stages(), best, max_epochs=2).fit(tiny_module(), datamodule=tiny_data())
    assert best.best_model_path
    path = str(write_records(tmp_path / "data.json", RECORD))
    data = JSONReasoning(train_path=path, val_path=path, test_path=path, batch_size=1)
    best = BestCheckpoint(str(tmp_path / "none"), monitor="val/path_correct")
    with pytest.raises(UserError, match="val/path_correct is not reported") as caught:
        tiny_trainer(tmp_path, stages(), best, max_epochs=2).fit(tiny_module(), datamodule=data)
    assert "carry no graph" in str(caught.value)


def test_pair_accuracy_needs_pairs(tmp_path: Path) -> None:
    best = BestCheckpoint(str(tmp_path / "pairs"), monitor="val/pair_accuracy")
    tiny_trainer(tmp_path, stages(), best, max_epochs=2).fit(tiny_module(), datamodule=tiny_data(ask="both"))
    assert best.best_model_path and best.mode == "max"
    for monitor, ask, words in (
        ("val/pair_accuracy", "either", "come in no pairs"),
        ("val/pair_accuracy_number", "both", "which gives val/pair_accuracy"),
    ):
        best = BestCheckpoint(str(tmp_path / "none"), monitor=monitor)
        with pytest.raises(UserError, match=f"{monitor} is not reported") as caught:
            tiny_trainer(tmp_path, stages(), best, max_epochs=2).fit(tiny_module(), datamodule=tiny_data(ask=ask))
        assert words in str(caught.value)


@pytest.mark.parametrize("weights_only", [True, False])
def test_checkpoints_load_without_code_and_the_best_hold_weights(tmp_path: Path, weights_only: bool) -> None:
    best = BestCheckpoint(str(tmp_path), monitor="val/accuracy", weights_only=weights_only)
    trainer = tiny_trainer(tmp_path, stages(), best, LastCheckpoint(str(tmp_path)))
    trainer.fit(tiny_module(), datamodule=tiny_data())
    last, *others = sorted(tmp_path.glob("*.ckpt"), key=lambda file: file.name != "last.ckpt")
    whole = torch.load(last, weights_only=True)
    assert {"state_dict", "optimizer_states", "lr_schedulers", "loops", "callbacks", "lcot"} <= whole.keys()
    assert len(others) == 3
    for file in others:
        saved = torch.load(file, weights_only=True)
        assert saved["state_dict"].keys() == whole["state_dict"].keys()
        assert saved["lcot"].keys() == whole["lcot"].keys() and f"stage{saved['lcot']['stage']}" in file.name
        if weights_only:
            assert "optimizer_states" not in saved and "lr_schedulers" not in saved
            assert [name.partition("{")[0] for name in saved["callbacks"]] == ["BestCheckpoint"]
        else:
            assert saved.keys() == whole.keys() and saved["callbacks"].keys() == whole["callbacks"].keys()
    # Adam's moments are twice as large as the weights, which are most of the rest.
    assert (others[0].stat().st_size < 0.7 * last.stat().st_size) == weights_only


def test_last_holds_the_record_of_best_whatever_their_order(tmp_path: Path) -> None:
    best, last = BestCheckpoint(str(tmp_path), monitor="score", mode="max"), LastCheckpoint(str(tmp_path))
    tiny_trainer(tmp_path, stages(), last, Scores(0.1, 0.2, 0.3), best).fit(tiny_module(), datamodule=tiny_data())
    saved = torch.load(tmp_path / "last.ckpt", weights_only=True)["callbacks"]
    record = next(state for name, state in saved.items() if name.startswith("BestCheckpoint"))
    assert record["stage"] == 2
    assert record["best_model_score"] == pytest.approx(0.3)

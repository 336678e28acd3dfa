"""The curriculum in a run: stages by epoch, optimizer resets, what is refused, what a checkpoint says."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal

import lightning as L
import pytest
import torch

from lcot.callbacks import BestCheckpoint, CurriculumCallback, LastCheckpoint
from lcot.errors import UserError
from lcot.modules import Halting
from lcot.reasoning.batch import ThoughtBatch
from lcot.reasoning.curriculum import Fixed
from lcot.reasoning.layout import IGNORE
from lcot.reasoning.tokenwise import Tokenwise
from tests.training import no_thoughts, sgd, stages, tiny_data, tiny_module, tiny_trainer

Tokens = dict[tuple[int, int], dict[int, int]]

BATCHES = 3
"""Batches of an epoch of tiny_data."""


class Watch(L.Callback):
    """The thoughts of each batch, the supervised tokens of its rows, and the optimizer's own count of steps before it.

    All by epoch and batch.
    """

    def __init__(self, stop_at: tuple[int, int] | None = None) -> None:
        self.thoughts: dict[tuple[int, int], int] = {}
        self.validated: dict[int, int] = {}
        self.counts: dict[tuple[int, int], int] = {}
        self.tokens: Tokens = {}
        self.stop_at = stop_at

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: ThoughtBatch, batch_idx: int
    ) -> None:
        place = (trainer.current_epoch, batch_idx)
        if place == self.stop_at:
            raise KeyError("stopped")
        states = list(trainer.optimizers[0].state.values())
        self.counts[place] = int(states[0]["step"]) if states else 0
        self.thoughts[place] = batch.max_thoughts
        supervised = (batch.labels != IGNORE).sum(dim=1).tolist()
        self.tokens[place] = dict(zip(batch.index.tolist(), supervised, strict=True))

    def on_validation_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self.validated[trainer.current_epoch] = batch.max_thoughts


def adam(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.AdamW(parameters, lr=1e-3)


@pytest.mark.parametrize(("workers", "stop_at"), [(0, None), (0, (1, 0)), (0, (1, 2)), (2, (1, 0)), (2, (1, 2))])
def test_stages_follow_epochs_fresh_and_resumed(tmp_path: Path, workers: int, stop_at: tuple[int, int] | None) -> None:
    watch, last = Watch(stop_at), LastCheckpoint(str(tmp_path), every_n_steps=1)
    if stop_at is not None:
        with pytest.raises(KeyError):
            tiny_trainer(tmp_path, stages(), watch, last).fit(tiny_module(), datamodule=tiny_data(num_workers=workers))
        watch.stop_at = None
    trainer = tiny_trainer(tmp_path, stages(), watch, LastCheckpoint(str(tmp_path)))
    path = str(tmp_path / "last.ckpt") if stop_at is not None else None
    trainer.fit(tiny_module(), datamodule=tiny_data(num_workers=workers), ckpt_path=path, weights_only=True)
    expected = {(epoch, batch): min(epoch, 1) for epoch in range(3) for batch in range(BATCHES)}
    assert watch.thoughts == expected
    assert watch.validated == {0: 0, 1: 1, 2: 1}


@pytest.mark.parametrize(
    ("mode", "counts"),
    [
        ("none", [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]),
        ("stage", [0, 1, 2, 3, 4, 5, 0, 1, 2, 3, 4, 5]),
        ("epoch", [0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2]),
    ],
)
@pytest.mark.parametrize("resumed", [False, True], ids=["at once", "resumed"])
def test_optimizer_forgets_when_asked_to(
    tmp_path: Path, mode: Literal["none", "stage", "epoch"], counts: list[int], resumed: bool
) -> None:
    watch = Watch()

    def fit(path: str | None = None) -> None:
        schedule = stages(epochs_per_stage=[2, 2])
        trainer = tiny_trainer(
            tmp_path, CurriculumCallback(schedule, mode), watch, LastCheckpoint(str(tmp_path), 1), max_epochs=4
        )
        trainer.fit(tiny_module(optimizer=adam), datamodule=tiny_data(), ckpt_path=path, weights_only=True)

    if resumed:
        # From an epoch's end, where the next one begins with a reset, and from its middle, where no reset may follow.
        for watch.stop_at in ((2, 0), (3, 1)):
            with pytest.raises(KeyError):
                fit(str(tmp_path / "last.ckpt") if watch.stop_at == (3, 1) else None)
        watch.stop_at = None
    fit(str(tmp_path / "last.ckpt") if resumed else None)
    assert [watch.counts[epoch, batch] for epoch in range(4) for batch in range(BATCHES)] == counts


class TestWithinAnEpoch:
    """A schedule that moves from batch to batch: one token every other batch, all gone from the sixth on."""

    STAGES: ClassVar[list[int]] = [0, 0, 1, 1, 2, 2, 3, 3, 3]

    def fit(self, folder: Path, watch: Watch, workers: int = 0, path: str | None = None) -> Tokens:
        """Train three epochs; returns the supervised tokens of each batch's rows."""
        schedule = Tokenwise(tokens_per_epoch=1.5, remove_all_beyond=3, smoothing=None)
        clock = CurriculumCallback(schedule, "stage")
        best = BestCheckpoint(str(folder), monitor="val/loss")
        trainer = tiny_trainer(folder, clock, watch, best, LastCheckpoint(str(folder), every_n_steps=1))
        data = tiny_data(num_workers=workers)
        trainer.fit(tiny_module(optimizer=adam), datamodule=data, ckpt_path=path, weights_only=True)
        return watch.tokens

    def test_each_batch_has_its_own_stage(self, tmp_path: Path) -> None:
        moving, still = self.fit(tmp_path / "a", Watch()), Watch()
        tiny_trainer(tmp_path, no_thoughts(), still).fit(tiny_module(), datamodule=tiny_data())
        for stage, place in zip(self.STAGES, sorted(moving), strict=True):
            for row, whole in still.tokens[place].items():
                chain = whole - 3  # the answer is a mark, a name and eos
                assert whole - moving[place][row] == (min(stage, chain) if stage < 3 else chain)

    def test_the_optimizer_forgets_at_each_change(self, tmp_path: Path) -> None:
        watch = Watch()
        self.fit(tmp_path, watch)
        assert [watch.counts[place] for place in sorted(watch.counts)] == [0, 1, 0, 1, 0, 1, 0, 1, 2]

    @pytest.mark.parametrize("workers", [0, 2])
    def test_resumed_in_the_middle(self, tmp_path: Path, workers: int) -> None:
        whole, watch = Watch(), Watch((1, 1))
        tokens = self.fit(tmp_path / "whole", whole)
        with pytest.raises(KeyError):
            self.fit(tmp_path / "parts", watch, workers)
        watch.stop_at = None
        assert self.fit(tmp_path / "parts", watch, workers, str(tmp_path / "parts" / "last.ckpt")) == tokens
        assert watch.counts == whole.counts
        one, other = (torch.load(tmp_path / name / "last.ckpt", weights_only=True) for name in ("whole", "parts"))
        assert all(torch.equal(weight, other["state_dict"][name]) for name, weight in one["state_dict"].items())

    def test_best_checkpoints_of_former_stages_go(self, tmp_path: Path) -> None:
        self.fit(tmp_path, Watch())
        (best,) = tmp_path.glob("best-*.ckpt")
        assert best.name == "best-stage3-epoch002.ckpt"
        assert torch.load(best, weights_only=True)["lcot"]["stage"] == 3


@pytest.mark.parametrize(("eval_stage", "thoughts"), [(None, 1), (0, 0), (1, 1), (2, 1)])
def test_stage_of_evaluation_without_a_checkpoint(tmp_path: Path, eval_stage: int | None, thoughts: int) -> None:
    clock = CurriculumCallback(stages(), eval_stage=eval_stage)
    (metrics,) = tiny_trainer(tmp_path, clock).test(tiny_module(), datamodule=tiny_data(), verbose=False)
    assert metrics["test/thoughts"] == thoughts


def test_stage_of_evaluation_is_that_of_the_checkpoint(tmp_path: Path) -> None:
    schedule = stages(epochs_per_stage=[2, 1, 1])
    with pytest.raises(KeyError):
        tiny_trainer(tmp_path, schedule, Watch((1, 0)), LastCheckpoint(str(tmp_path)), max_epochs=4).fit(
            tiny_module(), datamodule=tiny_data()
        )
    for eval_stage, thoughts in ((None, 0), (2, 1)):
        trainer = tiny_trainer(tmp_path, CurriculumCallback(schedule, eval_stage=eval_stage))
        path = str(tmp_path / "last.ckpt")
        (metrics,) = trainer.test(tiny_module(), datamodule=tiny_data(), ckpt_path=path, verbose=False)
        assert metrics["test/thoughts"] == thoughts


def test_a_number_of_thoughts_may_be_forced_in_evaluation_only(tmp_path: Path) -> None:
    clock = CurriculumCallback(stages(), eval_thoughts=4)
    tiny_trainer(tmp_path, clock).fit(tiny_module(), datamodule=tiny_data())
    assert clock.schedule.thoughts_at_inference(2) == 1
    (metrics,) = tiny_trainer(tmp_path, clock).test(tiny_module(), datamodule=tiny_data(), verbose=False)
    assert metrics["test/thoughts"] == 4
    with pytest.raises(UserError, match=r"eval_thoughts is 1, and model\.halting is set"):
        tiny_trainer(tmp_path, CurriculumCallback(stages(), eval_thoughts=1)).test(
            tiny_module(halting=Halting()), datamodule=tiny_data()
        )


def test_checkpoint_says_what_inference_does(tmp_path: Path) -> None:
    tiny_trainer(tmp_path, stages(), LastCheckpoint(str(tmp_path))).fit(tiny_module(), datamodule=tiny_data())
    entry = torch.load(tmp_path / "last.ckpt", weights_only=True)["lcot"]
    assert (entry["stage"], entry["kind"], entry["thoughts"], entry["module"]) == (2, "continuous", 1, "Coconut")


def test_refusals(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="unknown reset_optimizer 'stages'"):
        CurriculumCallback(stages(), reset_optimizer="stages")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="eval_stage is 3"):
        CurriculumCallback(stages(), eval_stage=3)
    with pytest.raises(UserError, match="training ends after 1 epochs"):
        tiny_trainer(tmp_path, stages(), max_epochs=1).fit(tiny_module(), datamodule=tiny_data())
    single = Fixed(hidden="all", thoughts=2, kind="continuous", passes="single")
    with pytest.raises(UserError, match="and passes 'single'"):
        tiny_trainer(tmp_path, single).fit(tiny_module(halting=Halting()), datamodule=tiny_data())
    with pytest.raises(UserError, match="halting"):
        tiny_trainer(tmp_path, no_thoughts()).fit(tiny_module(halting=Halting()), datamodule=tiny_data())


def test_pauses_and_fixed_schedules_train_too(tmp_path: Path) -> None:
    watch = Watch()
    schedule = Fixed(hidden="all", thoughts=2, kind="pause")
    trainer = tiny_trainer(tmp_path, schedule, watch, max_epochs=1)
    trainer.fit(tiny_module(optimizer=sgd), datamodule=tiny_data())
    assert set(watch.thoughts.values()) == {0}  # pauses are tokens, not fed-back states
    assert trainer.callback_metrics["val/thoughts"] == 2

"""A checkpoint is whole or not there, and holds numbers."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any, cast

import lightning as L
import pytest
import torch

from lcot.callbacks import BestCheckpoint, LastCheckpoint
from lcot.callbacks.whole_files import WholeFiles
from lcot.errors import UserError
from tests.training import stages, tiny_data, tiny_module, tiny_trainer


def test_a_full_disk_leaves_the_former_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target, writer, write = tmp_path / "some.ckpt", WholeFiles(), torch.save
    writer.save_checkpoint({"weights": torch.ones(3)}, target)

    def half(content: object, file: Any) -> None:
        write(content, file)
        file.truncate(file.tell() // 2)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(torch, "save", half)
    with pytest.raises(OSError, match="No space"):
        writer.save_checkpoint({"weights": torch.zeros(3)}, target)
    assert torch.equal(torch.load(target, weights_only=True)["weights"], torch.ones(3))


class FullDisk:
    """A file that takes some bytes, and no more."""

    def __init__(self, file: Any, room: int) -> None:
        self.file, self.room = file, room

    def write(self, data: Any) -> int:
        self.room -= len(data)
        if self.room < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return int(self.file.write(data))

    def flush(self) -> None:
        self.file.flush()


@pytest.mark.parametrize("room", [0, 100, 700, 2000])
def test_torch_s_own_writer_on_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int) -> None:
    # Its last word is a RuntimeError about a position, behind which the reason is hidden.
    target, write = tmp_path / "some.ckpt", torch.save
    monkeypatch.setattr(torch, "save", lambda content, file: write(content, cast(Any, FullDisk(file, room))))
    with pytest.raises(OSError, match="No space") as caught:
        WholeFiles().save_checkpoint({"a": torch.zeros(500), "b": torch.zeros(500)}, target)
    assert caught.value.filename == str(target) and not list(tmp_path.iterdir())


def test_a_users_own_way_of_writing_is_kept(tmp_path: Path) -> None:
    class Own(WholeFiles):
        """Counts."""

    own = Own()
    trainer = tiny_trainer(tmp_path, stages(), LastCheckpoint(str(tmp_path)), plugins=[own])
    trainer.fit(tiny_module(), datamodule=tiny_data())
    assert trainer.strategy.checkpoint_io is own


class Spoil(L.Callback):
    """Makes a weight something that is no number, behind a step whose loss was one."""

    def __init__(self, step: int, value: float) -> None:
        self.step, self.value = step, value

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.global_step == self.step:
            next(iter(pl_module.parameters())).data.view(-1)[-1] = self.value


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize(("every", "step", "kept"), [(0, 6, 3), (1, 4, 3)])
def test_weights_that_are_no_numbers_replace_no_checkpoint(
    tmp_path: Path, value: float, every: int, step: int, kept: int
) -> None:
    # Three steps an epoch; those of the second begin a stage, whose first best would be whatever it is.
    callbacks = BestCheckpoint(str(tmp_path)), LastCheckpoint(str(tmp_path), every_n_steps=every)
    trainer = tiny_trainer(tmp_path, stages(), Spoil(step, value), *callbacks)
    with pytest.raises(UserError, match="some of the weights are NaN or infinite"):
        trainer.fit(tiny_module(), datamodule=tiny_data())
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["global_step"] == kept
    assert sorted(file.name for file in tmp_path.iterdir()) == ["best-stage0-epoch000.ckpt", "last.ckpt"]

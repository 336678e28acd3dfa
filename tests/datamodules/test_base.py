"""The frame of data modules: splits, lengths, loaders, and rows that depend on nothing but their keys."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import lightning as L
import pytest

from lcot.datamodules.base import ReasoningDataModule, Split
from lcot.datamodules.rows import ListSource, Source, StageDataset
from lcot.datamodules.sampler import RowKey
from lcot.errors import DataError, UserError
from lcot.reasoning.batch import ThoughtBatch
from lcot.reasoning.curriculum import Curriculum
from lcot.reasoning.example import ReasoningExample
from tests.training import no_thoughts, stages, tiny_data, tiny_module, tiny_trainer

WORDS = "zero one two three four five six seven eight nine".split()


def example(number: int) -> ReasoningExample:
    """Question of number + 1 words, one step a word."""
    words = WORDS[: number + 1]
    return ReasoningExample(" ".join(words), tuple(f"{word}." for word in words), words[-1], str(number))


class Counting(ReasoningDataModule):
    """Ten examples of growing length in each split."""

    def make_source(self, split: Split) -> Source:
        return ListSource(example(number) for number in range(10))

    def vocabulary(self) -> Iterable[str]:
        return [" ".join(WORDS), " . ", "### ", "\n"]


def set_up(curriculum: Curriculum, stage: str = "fit", **options: Any) -> Counting:
    """A data module with its trainer, as it is when fit or test begins."""
    data = Counting(**options)
    data.trainer = tiny_trainer(Path(), curriculum)
    data.trainer.state.fn = L.pytorch.trainer.states.TrainerFn(stage)
    tiny_trainer_setup(data.trainer, stage)
    data.setup(stage)
    return data


def tiny_trainer_setup(trainer: L.Trainer, stage: str) -> None:
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        callback.setup(trainer, tiny_module(), stage)


def rows_of(batches: Iterable[ThoughtBatch]) -> list[int]:
    return [row for batch in batches for row in batch.index.tolist()]


@pytest.mark.parametrize("option", [{"batch_size": 0}, {"eval_batch_size": 0}, {"num_workers": -1}])
def test_numbers_out_of_range(option: dict[str, int]) -> None:
    (name,) = option
    with pytest.raises(UserError, match=f"{name} is {option[name]}"):
        Counting(**option)  # type: ignore[arg-type]


def test_every_loader_gives_every_row_once() -> None:
    data = set_up(no_thoughts(), batch_size=4)
    assert sorted(rows_of(data.train_dataloader())) == list(range(10))
    assert rows_of(data.val_dataloader()) == list(range(9, -1, -1))
    assert data.size("train") == 10
    for stage, loader in (("test", "test_dataloader"), ("predict", "predict_dataloader")):
        data = set_up(no_thoughts(), stage, batch_size=4, eval_batch_size=3)
        batches = list(getattr(data, loader)())
        assert [len(batch) for batch in batches] == [3, 3, 3, 1]
        assert all(not (batch.labels >= 0).any() for batch in batches)  # no text behind the prompt to look at
        assert sorted(rows_of(batches)) == list(range(10))


def test_only_evaluation_carries_examples() -> None:
    data = set_up(no_thoughts())
    assert all(batch.examples == () for batch in data.train_dataloader())
    for batch in data.val_dataloader():
        assert [one.id for one in batch.examples] == [str(row) for row in batch.index.tolist()]


def test_too_long_is_an_error_before_training() -> None:
    with pytest.raises(DataError, match="example '4' takes"):
        set_up(no_thoughts(), max_length=17)


def test_too_long_can_be_dropped_and_is_told(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "lcot"):
        data = set_up(no_thoughts(), max_length=17, too_long="drop")
    assert "6 of 10 train examples are over data.max_length and were dropped" in caplog.text
    batches = list(data.train_dataloader())
    assert sorted(rows_of(batches)) == [0, 1, 2, 3]
    assert all(batch.input_ids.shape[1] <= 17 for batch in batches)
    with pytest.raises(DataError, match="no example of the train split is left"):
        set_up(no_thoughts(), max_length=2, too_long="drop")


def test_length_counts_the_stage_that_makes_a_row_longest() -> None:
    # Ten thoughts a step make rows longer in the last stage than the text does in the first.
    set_up(stages(max_stage=2, thoughts_per_step=1), max_length=44)
    with pytest.raises(DataError, match="takes"):
        set_up(stages(max_stage=2, thoughts_per_step=10), max_length=30)


def test_the_model_must_have_room(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"the longest row takes .* positions, and the model has 96"):
        tiny_trainer(tmp_path, no_thoughts()).fit(tiny_module(), datamodule=tiny_data(nodes=(28, 28), symbols=55))
    with pytest.raises(DataError, match="the longest prompt with 90 new tokens"):
        tiny_trainer(tmp_path, no_thoughts()).fit(tiny_module(max_new_tokens=90), datamodule=tiny_data())


def test_a_trainer_without_a_curriculum_is_told(tmp_path: Path) -> None:
    trainer = L.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, default_root_dir=tmp_path)
    with pytest.raises(UserError, match="the trainer has no curriculum"):
        trainer.fit(tiny_module(), datamodule=tiny_data())


@pytest.mark.parametrize("redraw", ["none", "all"])
def test_batches_do_not_depend_on_the_workers(tmp_path: Path, redraw: str) -> None:
    seen: dict[int, list[ThoughtBatch]] = {0: [], 2: []}
    for workers, batches in seen.items():

        class Keep(L.Callback):
            def on_train_batch_start(
                self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int, kept: Any = batches
            ) -> None:
                kept.append(batch)

        data = tiny_data(num_workers=workers, redraw=redraw)
        schedule = stages(mix_probability=0.5)
        tiny_trainer(tmp_path, schedule, Keep(), limit_val_batches=0).fit(tiny_module(), datamodule=data)
    assert len(seen[0]) == len(seen[2]) == 9
    for alone, prefetched in zip(seen[0], seen[2], strict=True):
        assert alone.input_ids.equal(prefetched.input_ids) and alone.labels.equal(prefetched.labels)
        assert alone.index.equal(prefetched.index)


def test_a_row_is_a_function_of_its_key() -> None:
    data = set_up(no_thoughts())
    curriculum = stages(max_stage=3, mix_probability=0.5)
    datasets = [
        StageDataset(ListSource(example(number) for number in range(10)), data.builder(), curriculum, seed, "train")
        for seed in (1, 1, 2)
    ]
    keys = [RowKey(epoch, 2, row) for epoch in range(20) for row in range(10)]
    first, again, other = ([dataset[key][0] for key in keys] for dataset in datasets)
    assert first == again
    assert first != other
    # In one call or one by one, in any order.
    assert [row for row, _, _ in datasets[1].__getitems__(keys[::-1])] == first[::-1]


def test_the_seed_keys_the_order() -> None:
    data, other = (set_up(no_thoughts(), seed=seed, batch_size=2) for seed in (3, 4))
    assert data.keyed_by() == 3
    assert rows_of(data.train_dataloader()) != rows_of(other.train_dataloader())

"""The frame of data modules: splits, lengths, loaders, and rows that depend on nothing but their keys."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning as L
import pytest

from lcot.datamodules.base import ReasoningDataModule, Split
from lcot.datamodules.rows import ListSource, RowForm, Source, StageDataset
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


def set_up(curriculum: Curriculum, stage: str = "fit", kind: type[Counting] = Counting, **options: Any) -> Counting:
    """A data module with its trainer, as it is when fit or test begins."""
    data = kind(**options)
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


def test_extractors_are_those_of_the_data_set_or_of_the_user() -> None:
    class Totals(Counting):
        default_extractors = ("number",)

    assert Counting().extractors == ("string",) and Totals().extractors == ("number",)
    assert Totals(extractors=["string", "last_number"]).extractors == ("string", "last_number")
    with pytest.raises(UserError, match="unknown extractor 'numeral'") as caught:
        Counting(extractors=["string", "numeral"])
    assert caught.value.where == "data.extractors"


@pytest.mark.parametrize(("stage", "refused"), [("fit", True), ("validate", True), ("test", True), ("predict", False)])
def test_a_gold_answer_that_no_output_could_match_is_refused(stage: str, refused: bool) -> None:
    # Questions without a known answer may still be asked with predict.
    if not refused:
        set_up(no_thoughts(), stage, extractors=["string", "number"])
        return
    with pytest.raises(DataError, match="the extractor 'number' reads None where the gold answer is 'zero'") as caught:
        set_up(no_thoughts(), stage, extractors=["string", "number"])
    split = "test" if stage == "test" else "val"
    assert caught.value.where == f"data.extractors, and example '0' of the {split} data"
    assert "number: first number after the last ###" in str(caught.value.why)


def test_a_gold_answer_that_holds_the_marker_is_refused() -> None:
    class Marked(Counting):
        def make_source(self, split: Split) -> Source:
            return ListSource([replace(example(2), answer="1 ### 2")])

    with pytest.raises(DataError, match="the extractor 'string' reads '2' where the gold answer is '1 ### 2'"):
        set_up(no_thoughts(), "test", Marked)


def test_every_loader_gives_every_row_once() -> None:
    data = set_up(no_thoughts(), batch_size=4)
    assert sorted(rows_of(data.train_dataloader())) == list(range(10))
    assert rows_of(data.val_dataloader()) == list(range(9, -1, -1))
    assert len(data.train_dataloader().dataset) == 10  # type: ignore[arg-type]
    for stage, loader in (("test", "test_dataloader"), ("predict", "predict_dataloader")):
        data = set_up(no_thoughts(), stage, batch_size=4, eval_batch_size=3)
        batches = list(getattr(data, loader)())
        assert [len(batch) for batch in batches] == [3, 3, 3, 1]
        assert all(not (batch.labels >= 0).any() for batch in batches)  # no text behind the prompt to look at
        assert sorted(rows_of(batches)) == list(range(10))


def test_only_evaluation_carries_examples() -> None:
    data = set_up(no_thoughts())
    assert all(not batch.examples for batch in data.train_dataloader())
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


def test_length_counts_the_stages_between_the_first_and_the_last() -> None:
    # Example 9 takes 34 tokens in stage 0, 36 in stage 1 (two markers, two thoughts, a step of two tokens gone), and
    # 18 in the last stage.
    between = stages(max_stage=1, thoughts_per_step=2, markers="with_thoughts")
    set_up(between, max_length=36)
    with pytest.raises(DataError, match="example '9' takes 36 tokens, and the limit is 35"):
        set_up(between, max_length=35)
    dropped = set_up(between, max_length=35, too_long="drop")
    assert sorted(rows_of(dropped.train_dataloader())) == list(range(9))


@pytest.mark.parametrize(
    "schedule",
    [
        no_thoughts(),
        stages(max_stage=2, thoughts_per_step=2, markers="with_thoughts"),
        stages(max_stage=2, thoughts_per_step=9, pad_to_max=False),
        stages(max_stage=2, thoughts_per_step=9, epochs_per_stage=[1, 1, 1], mix_probability=0.9),
        stages(max_stage=2, thoughts_per_step=1, pad_to_max=False, mix_probability=0.9, kind="pause", markers="never"),
    ],
)
def test_no_row_of_any_stage_is_longer_than_what_was_measured(schedule: Curriculum) -> None:
    data = set_up(schedule)
    source = ListSource(example(number) for number in range(10))
    forms: tuple[RowForm, ...] = ("train", "val", "prompt")
    datasets = [StageDataset(source, data.builder(), schedule, 0, form) for form in forms]
    keys = [RowKey(epoch, s, row) for epoch in range(5) for s in range(schedule.last_stage + 1) for row in range(10)]
    made = [row for dataset in datasets for row, _, _ in dataset.__getitems__(keys)]
    longest, prompt = max(len(row.ids) for row in made), max(row.prompt for row in made)
    data.check_context(longest, longest - prompt)
    with pytest.raises(DataError, match=f"the longest row takes {longest} positions"):
        data.check_context(longest - 1, 0)
    with pytest.raises(DataError, match="the longest prompt"):
        data.check_context(longest, longest - prompt + 1)


def test_validation_thinks_as_long_for_short_chains() -> None:
    # One step becomes nine thoughts in training; inference does not know the number of steps and thinks for two.
    class Short(Counting):
        def make_source(self, split: Split) -> Source:
            return ListSource([example(0)])

    data = set_up(stages(max_stage=2, thoughts_per_step=9, pad_to_max=False), kind=Short)
    # 2 tokens of question, bot, 18 thoughts, eot, 3 tokens of answer.
    data.check_context(25, 0)
    with pytest.raises(DataError, match="the longest row takes 25 positions"):
        data.check_context(24, 0)


def test_rows_are_grouped_by_their_length_before_the_first_thought() -> None:
    # Batch orders, and with them every published result, depend on these numbers.
    for schedule, head in ((no_thoughts(), 2), (stages(thoughts_per_step=3), 3)):
        data = set_up(schedule)
        assert data.train_dataloader().batch_sampler.lengths == list(range(head, head + 10))  # type: ignore[union-attr]


class Growing(Counting):
    """Questions that grow from visit to visit."""

    def make_source(self, split: Split) -> Source:
        class Longer(ListSource):
            redraws = True

            def example(self, index: int, epoch: int) -> ReasoningExample:
                given = super().example(index, epoch)
                return replace(given, question=" ".join([given.question, *["nine"] * 40 * epoch]))

        return Longer([example(number) for number in range(10)])


@pytest.mark.parametrize(("limit", "options"), [(50, {"max_length": 50, "too_long": "drop"}), (96, {})])
def test_redrawn_texts_that_outgrow_the_limit_are_named(limit: int, options: dict[str, Any], tmp_path: Path) -> None:
    data = Growing(batch_size=4, seed=0, **options)
    trainer = tiny_trainer(tmp_path, no_thoughts(), limit_val_batches=0)
    with pytest.raises(DataError, match=rf"example '\d' takes \d+ tokens, and the limit is {limit}"):
        trainer.fit(tiny_module(), datamodule=data)
    assert trainer.current_epoch == {50: 1, 96: 2}[limit]


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

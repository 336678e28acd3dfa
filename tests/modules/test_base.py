"""What all modules share: the loss of all tokens, exact accumulation, counting in validation, keyed steps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from lcot.datamodules import JSONReasoning
from lcot.errors import UserError
from lcot.modules import Backbone, Coconut, Halting
from lcot.modules.backbone import rebuild
from lcot.modules.base import LossAverage
from lcot.reasoning.batch import ThoughtBatch, Window, collate
from lcot.reasoning.keyed import keyed_seed
from lcot.reasoning.layout import IGNORE, Layout
from tests.tiny import write_records
from tests.training import GPT2, no_thoughts, sgd, stages, tiny_data, tiny_module, tiny_trainer


class Recorder(L.Callback):
    """The gradient of each optimizer step, as it was taken, and what was logged."""

    def __init__(self) -> None:
        self.gradients: list[Tensor] = []
        self.logged: list[dict[str, float]] = []
        self.seeds: list[int] = []
        self.training: set[bool] = set()

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.logged.append({name: float(value) for name, value in trainer.callback_metrics.items()})
        if trainer.global_step > len(self.gradients):
            gradients = [p.grad.flatten() for p in pl_module.parameters() if p.grad is not None]
            self.gradients.append(torch.cat(gradients).clone())

    def on_before_backward(self, trainer: L.Trainer, pl_module: L.LightningModule, loss: Tensor) -> None:
        assert isinstance(pl_module, Coconut) and pl_module.model is not None
        self.seeds.append(torch.initial_seed())
        self.training.add(pl_module.model.training)


class Batches(L.Callback):
    """Keeps the training batches."""

    def __init__(self) -> None:
        self.seen: list[ThoughtBatch] = []

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        self.seen.append(batch)


class _Listed(Dataset[ThoughtBatch]):
    def __init__(self, batches: list[ThoughtBatch]) -> None:
        self.batches = batches

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> ThoughtBatch:
        return self.batches[index]


def rows_of(batch: ThoughtBatch, pad: int) -> list[ThoughtBatch]:
    """A batch of one for each row."""
    alone = []
    for row in range(len(batch)):
        real = batch.attention_mask[row]
        ids, labels = batch.input_ids[row][real].tolist(), batch.labels[row][real].tolist()
        head = next(place for place, label in enumerate(labels) if label != IGNORE)
        alone.append(collate([Layout(ids, labels, head=head, thoughts=0, prompt=head)], pad))
    return alone


def merged(parts: list[ThoughtBatch], pad: int) -> ThoughtBatch:
    layouts = []
    for part in parts:
        layouts.append(Layout(part.input_ids[0].tolist(), part.labels[0].tolist(), part.first, 0, part.first))
    return collate(layouts, pad)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> tuple[Coconut, list[ThoughtBatch]]:
    """A module that has its model and tokenizer, and seven rows of very different numbers of supervised tokens."""
    batches, module, data = Batches(), tiny_module(optimizer=sgd), tiny_data(train_size=7, batch_size=7)
    trainer = tiny_trainer(tmp_path_factory.mktemp("rows"), no_thoughts(), batches, max_epochs=1, limit_val_batches=0)
    trainer.fit(module, datamodule=data)
    assert module.special is not None
    alone = rows_of(batches.seen[0], module.special.pad)
    alone.sort(key=lambda row: int((row.labels != IGNORE).sum()))
    return module, alone


def gradients_of(
    folder: Path, module: Coconut, batches: list[ThoughtBatch], accumulate: int, average: LossAverage = "tokens"
) -> list[Tensor]:
    """The gradient of each optimizer step over given batches, always from the same weights."""
    again = tiny_module(optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.0), loss_average=average)
    assert module.tokenizer is not None and module.special is not None and module.model is not None
    again.attach(module.tokenizer, module.special, module.text)
    again.model = rebuild(module.model.config.to_json_string(use_diff=False), "float32", "sdpa")
    again.model.load_state_dict(module.model.state_dict())
    recorder = Recorder()
    trainer = tiny_trainer(folder, no_thoughts(), recorder, max_epochs=1, accumulate_grad_batches=accumulate)
    for start in range(0, len(batches), accumulate):  # as the data modules' own loader does
        window = Window(tuple(batches[start : start + accumulate]))
        for batch in window.batches:
            batch.window = window
    trainer.fit(again, train_dataloaders=DataLoader(_Listed(batches), batch_size=None))
    return recorder.gradients


def test_accumulation_needs_to_know_what_is_accumulated(
    tmp_path: Path, rows: tuple[Coconut, list[ThoughtBatch]]
) -> None:
    module, (batch, *_) = rows
    again = tiny_module()
    assert module.tokenizer is not None and module.special is not None
    again.attach(module.tokenizer, module.special, module.text)
    again.model = module.model
    trainer = tiny_trainer(tmp_path, no_thoughts(), max_epochs=1, accumulate_grad_batches=2)
    stranger = replace(batch, window=None)
    with pytest.raises(UserError, match="does not say which ones it shares its optimizer step with"):
        trainer.fit(again, train_dataloaders=DataLoader(_Listed([stranger, stranger]), batch_size=None))


def test_accumulated_batches_give_the_gradient_of_one_batch(
    tmp_path: Path, rows: tuple[Coconut, list[ThoughtBatch]]
) -> None:
    module, alone = rows
    assert module.special is not None
    pad = module.special.pad
    # Windows of 4 + 3 single rows, against batches of 4 and of 3; the shortest rows come first.
    accumulated = gradients_of(tmp_path, module, alone, accumulate=4)
    expected = gradients_of(tmp_path, module, [merged(alone[:4], pad), merged(alone[4:], pad)], accumulate=1)
    assert len(accumulated) == len(expected) == 2
    for got, wanted in zip(accumulated, expected, strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-6)


def test_batches_may_count_the_same_whatever_their_sizes(
    tmp_path: Path, rows: tuple[Coconut, list[ThoughtBatch]]
) -> None:
    """As in the released code, where the rest of an epoch is divided by a whole window's number of batches too."""
    module, alone = rows
    single = torch.stack(gradients_of(tmp_path, module, alone, accumulate=1))
    accumulated = gradients_of(tmp_path, module, alone, accumulate=4, average="batches")
    by_tokens = gradients_of(tmp_path, module, alone, accumulate=4)
    assert len(accumulated) == 2
    for got, wanted in zip(accumulated, (single[:4].sum(dim=0) / 4, single[4:].sum(dim=0) / 4), strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-6)
    assert (accumulated[0] - by_tokens[0]).norm() > 1e-3 * by_tokens[0].norm()


def test_loss_is_a_mean_over_tokens_not_over_rows(tmp_path: Path, rows: tuple[Coconut, list[ThoughtBatch]]) -> None:
    module, alone = rows
    assert module.special is not None
    batch = merged(alone, module.special.pad)
    with torch.no_grad():
        summed, tokens, _ = module.loss(batch)
        losses = [module.loss(row) for row in alone]
    assert tokens == sum(count for _, count, _ in losses)
    assert float(summed) == pytest.approx(sum(float(loss) for loss, _, _ in losses), rel=1e-5)
    by_rows = sum(float(loss) / count for loss, count, _ in losses) / len(losses)
    assert abs(float(summed) / tokens - by_rows) > 1e-4


def test_gradient_norm_is_that_before_clipping(tmp_path: Path) -> None:
    recorder, clipped = Recorder(), Recorder()
    for each, changes in ((recorder, {}), (clipped, {"gradient_clip_val": 1e-3})):
        trainer = tiny_trainer(tmp_path, no_thoughts(), each, max_epochs=1, log_every_n_steps=1, **changes)
        trainer.fit(tiny_module(optimizer=sgd), datamodule=tiny_data())
    assert recorder.logged[0]["train/grad_norm"] == pytest.approx(float(recorder.gradients[0].norm()), rel=1e-5)
    assert clipped.logged[0]["train/grad_norm"] == pytest.approx(recorder.logged[0]["train/grad_norm"], rel=1e-6)
    assert float(clipped.gradients[0].norm()) == pytest.approx(1e-3, rel=1e-3)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_stops_before_the_step(tmp_path: Path, bad: float) -> None:
    module = tiny_module(optimizer=sgd)
    before: dict[str, Tensor] = {}

    class Spoil(L.Callback):
        def on_train_batch_start(
            self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
        ) -> None:
            if batch_idx == 1:
                with torch.no_grad():
                    next(module.parameters())[:] = bad
                before.update({name: value.clone() for name, value in module.state_dict().items()})

    with pytest.raises(UserError, match=r"training loss is (nan|inf)") as caught:
        tiny_trainer(tmp_path, no_thoughts(), Spoil()).fit(module, datamodule=tiny_data())
    assert "epoch 0, batch 1, learning rate 1.00e-01" in str(caught.value)
    for name, value in module.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0, equal_nan=True)


def test_dropout_is_on_for_a_pretrained_model(tmp_path: Path) -> None:
    data = tiny_data()
    tokenizer = data.set_up_tokenizer()
    assert data.special is not None
    Backbone(config=GPT2).build(tokenizer, data.special, seed=0).save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    recorder = Recorder()
    module = tiny_module(backbone=Backbone(path=str(tmp_path / "model")), optimizer=sgd)
    # Validation in between switches it off for its time only.
    tiny_trainer(tmp_path, no_thoughts(), recorder, max_epochs=2, val_check_interval=1).fit(module, datamodule=data)
    assert recorder.training == {True}


def test_steps_are_keyed_by_seed_epoch_and_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PL_GLOBAL_SEED", "5")
    recorder = Recorder()
    trainer = tiny_trainer(tmp_path, no_thoughts(), recorder, max_epochs=2)
    trainer.fit(tiny_module(optimizer=sgd), datamodule=tiny_data(seed=6))
    assert recorder.seeds == [keyed_seed("step", 5, epoch, batch, 0) for epoch in range(2) for batch in range(3)]


def test_weights_are_of_the_run_s_seed_and_data_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for run, seed in ((1, 3), (1, 4), (2, 3)):
        monkeypatch.setenv("PL_GLOBAL_SEED", str(run))
        batches, module = Batches(), tiny_module(optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.0))
        trainer = tiny_trainer(tmp_path, no_thoughts(), batches, max_epochs=1, limit_val_batches=0)
        trainer.fit(module, datamodule=tiny_data(seed=seed))
        found.append((next(module.parameters()).detach().clone(), batches.seen[0].input_ids))
    (first, rows), (other_data, other_rows), (other_run, same_rows) = found
    assert torch.equal(first, other_data) and not torch.equal(first, other_run)
    assert torch.equal(rows, same_rows) and not torch.equal(rows, other_rows)


def test_a_sanity_check_is_not_counted(tmp_path: Path) -> None:
    trainer = tiny_trainer(tmp_path, no_thoughts(), max_epochs=1, num_sanity_val_steps=1)
    trainer.fit(tiny_module(optimizer=sgd), datamodule=tiny_data())
    assert trainer.callback_metrics["val/examples"] == 5


def test_validation_means_are_over_examples_and_tokens(tmp_path: Path) -> None:
    results = []
    for size in (5, 2):
        module, data = tiny_module(optimizer=sgd), tiny_data(eval_batch_size=size)
        trainer = tiny_trainer(tmp_path, stages(), max_epochs=3)
        (metrics,) = trainer.validate(module, datamodule=data, verbose=False)
        results.append({name: value for name, value in metrics.items() if name != "val/seconds"})
    assert results[0] == pytest.approx(results[1], rel=1e-5)
    assert results[0]["val/examples"] == 5
    assert results[0]["val/thoughts"] == 1


def test_the_classifier_takes_part_in_every_step(tmp_path: Path) -> None:
    module = tiny_module(optimizer=sgd, halting=Halting())
    tiny_trainer(tmp_path, stages(), max_epochs=3).fit(module, datamodule=tiny_data())
    assert module.halt is not None and module.halt.weight.any()


class Numbers(L.Callback):
    """Has the model write given texts, one after the other, whatever it is asked."""

    def __init__(self, *texts: str) -> None:
        self.texts = texts

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        assert isinstance(pl_module, Coconut)
        pl_module.decode_texts = lambda answers: list(self.texts)  # type: ignore[method-assign]


def sums(folder: Path, **options: Any) -> JSONReasoning:
    """Three questions whose answers are 18."""
    record = {"question": "9 + 9 =", "steps": ["9 + 9 = 18"], "answer": "18"}
    path = str(write_records(folder / "sums.json", record, record, record))
    return JSONReasoning(train_path=path, val_path=path, test_path=path, batch_size=3, **options)


@pytest.mark.parametrize(
    ("extractors", "expected"),
    [
        (None, {"accuracy": 1 / 3}),
        (["number"], {"accuracy": 2 / 3}),
        (["string", "number", "last_number"], {"accuracy": 1 / 3, "accuracy_number": 2 / 3, "accuracy_last_number": 1}),
    ],
)
def test_answers_are_counted_by_each_extractor(
    tmp_path: Path, extractors: list[str] | None, expected: dict[str, float]
) -> None:
    module, data = tiny_module(optimizer=sgd), sums(tmp_path, extractors=extractors)
    texts = Numbers("### 18", "### $18.0", "that is 18")
    trainer = tiny_trainer(tmp_path, no_thoughts(), texts, max_epochs=1)
    trainer.fit(module, datamodule=data)
    for split in ("val", "test"):
        if split == "test":
            trainer.test(module, datamodule=data, verbose=False)
        reported = {
            name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith(f"{split}/acc")
        }
        assert reported == pytest.approx({f"{split}/{name}": value for name, value in expected.items()})
    assert module.describe()["extractors"] == (extractors or ["string"])


def test_records_are_judged_by_the_first_extractor_and_by_each_further_one(tmp_path: Path) -> None:
    module, data = tiny_module(), sums(tmp_path, extractors=["number", "string"])
    trainer = tiny_trainer(tmp_path, no_thoughts(), Numbers("### 18", "### $18.0", "that is 18"))
    (batch,) = trainer.predict(module, datamodule=data) or []
    judged = [(record["answer"], record["correct"], record["correct_string"]) for record in batch]
    assert judged == [("18", True, True), ("18.0", True, False), (None, False, False)]
    assert "correct_number" not in batch[0]


def test_a_module_counts_as_its_latest_data_wants_it(tmp_path: Path) -> None:
    module = tiny_module()
    trainer = tiny_trainer(tmp_path, no_thoughts(), Numbers("### 18", "### $18.0", "that is 18"))
    found = []
    for extractors in (["number", "last_number"], ["string"], ["last_number"]):
        (metrics,) = trainer.test(module, datamodule=sums(tmp_path, extractors=extractors), verbose=False)
        found.append({name: value for name, value in metrics.items() if name.startswith("test/accuracy")})
    assert found[0] == pytest.approx({"test/accuracy": 2 / 3, "test/accuracy_last_number": 1.0})
    assert found[1] == pytest.approx({"test/accuracy": 1 / 3})
    assert found[2] == pytest.approx({"test/accuracy": 1.0})

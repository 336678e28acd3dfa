"""Batches of a test or a prediction, written side by side: the same texts, metrics and records in fewer passes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from lcot.modules import Coconut, Voting
from lcot.modules.evaluation import Answers
from lcot.reasoning.batch import ThoughtBatch
from lcot.reasoning.decode import Sampling
from lcot.reasoning.think import Thinking, output_head
from tests.reasoning.test_decode import batch_sizes
from tests.training import stages, tiny_data, tiny_module, tiny_trainer

SAMPLING = Sampling(1.0, seed=5)


def endings(module: Coconut) -> None:
    """Make the end of a text far more likely than any other token: texts have all lengths."""
    assert module.model is not None and module.special is not None
    eos, head = module.special.eos, output_head(module.model)

    def likelier(layer: torch.nn.Module, inputs: Any, logits: Tensor) -> Tensor:
        return logits + 3.5 * (torch.arange(logits.shape[-1]) == eos)

    head.register_forward_hook(likelier)


class OwnThinkings(Coconut):
    """A method with its own order of thoughts, which may rely on writing one batch at a time."""

    def thinkings(self, batch: ThoughtBatch, paths: int) -> Iterator[Thinking]:
        yield self.think(batch, keep_cache=True)


class OwnAnswer(Coconut):
    """A method that changes what was written."""

    def answer(self, batch: ThoughtBatch) -> Answers:
        return super().answer(batch)


@dataclass
class Found:
    """What came of a test and of a prediction, seconds apart, and the numbers of rows of their passes."""

    metrics: dict[str, float]
    records: list[list[dict[str, Any]]]
    passes: list[int]
    predicted: list[int]
    tokens: list[int]


def evaluate(
    folder: Path,
    together: int,
    size: int = 3,
    kind: type[Coconut] = Coconut,
    voting: Voting | None = None,
    limits: dict[str, int] | None = None,
) -> Found:
    """Test and predict with so many batches side by side."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lcot.datamodules.sampler.ANSWERED_TOGETHER", together)
        trainer = tiny_trainer(folder, stages(), **(limits or {}))
        data, backbone = tiny_data(eval_batch_size=size, test_size=23), tiny_module().backbone
        module = kind(backbone=backbone, max_new_tokens=12, sampling=SAMPLING, voting=voting)
        torch.manual_seed(0)
        trainer.validate(module, datamodule=data, verbose=False)  # makes the weights
        endings(module)
        assert module.model is not None
        metrics: dict[str, float] = {}
        records: list[Any] = []
        test = lambda: metrics.update(trainer.test(module, datamodule=data, verbose=False)[0])  # noqa: E731
        passes = batch_sizes(module.model, test)
        predicted = batch_sizes(module.model, lambda: records.extend(trainer.predict(module, datamodule=data) or []))
        assert metrics.pop("test/seconds") > 0 and module._turns is None
    assert all(record["seconds"] > 0 for batch in records for record in batch)
    return Found(
        metrics,
        [[{**record, "seconds": 0.0} for record in batch] for batch in records],
        passes,
        predicted,
        [record["tokens"] for batch in records for record in batch],
    )


@pytest.mark.parametrize("size", [3, 8])
def test_nothing_but_the_passes_changes(tmp_path: Path, size: int) -> None:
    apart, near = (evaluate(tmp_path, together, size) for together in (1, 16))
    assert len(set(apart.tokens)) > 5
    assert near.records == apart.records and near.metrics == pytest.approx(apart.metrics)
    for found in (apart, near):
        assert found.passes == found.predicted and max(found.passes) == size
    assert len(near.passes) < len(apart.passes)


def test_several_texts_a_question(tmp_path: Path) -> None:
    apart, near = (evaluate(tmp_path, together, 4, voting=Voting(samples=3, runs=2)) for together in (1, 16))
    assert near.records == apart.records and near.metrics == pytest.approx(apart.metrics)
    assert len(near.passes) < len(apart.passes)


@pytest.mark.parametrize("kind", [OwnThinkings, OwnAnswer])
def test_methods_of_ones_own_are_asked_batch_by_batch(tmp_path: Path, kind: type[Coconut]) -> None:
    apart, near = (evaluate(tmp_path, together, kind=kind) for together in (1, 16))
    assert near == apart


def test_batches_that_nobody_asks_for_are_not_thought_about(tmp_path: Path) -> None:
    limits = {"limit_test_batches": 2, "limit_predict_batches": 2}
    few, every = evaluate(tmp_path, 16, limits=limits), evaluate(tmp_path, 16)
    assert few.records == every.records[:2] and few.metrics["test/examples"] == 6
    assert few == evaluate(tmp_path, 2, limits=limits)


def test_a_step_without_its_window(tmp_path: Path) -> None:
    """Whoever calls a step with a batch in the middle of a window, or with one of no loader, gets its answers."""
    trainer, data = tiny_trainer(tmp_path, stages()), tiny_data(eval_batch_size=3, test_size=23)
    module = Coconut(backbone=tiny_module().backbone, max_new_tokens=12, sampling=SAMPLING)
    trainer.test(module, datamodule=data, verbose=False)
    endings(module)
    batches = list(data.test_dataloader())
    assert [len(batch) for batch in batches] == [3] * 7 + [2]
    with torch.no_grad():
        expected = [[answers.tokens for answers in module.answers(batch).every] for batch in batches]
        for order in ([0, 1, 2], [2, 1, 0], [3, 3, 0, 1, 0, 7, 5], [1, 2, 0, 1, 2, 3, 4, 5, 6, 7, 0]):
            found = [[one.tokens for one in module.answers_in_turn(batches[place]).every] for place in order]
            assert found == [expected[place] for place in order]

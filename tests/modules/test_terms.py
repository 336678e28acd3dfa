"""Sums with their own counts: divided by what all ranks and all batches of an optimizer step count."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from lcot.modules.coconut import Coconut
from lcot.modules.objectives.base import Objective, TeacherText, Text
from lcot.modules.objectives.distillation import Distillation
from lcot.modules.objectives.inter_answer import InterAnswer
from lcot.modules.objectives.keys_values import KeyValueDistillation
from lcot.modules.objectives.latents import LatentLoss
from lcot.modules.objectives.spans import SpanTokens
from lcot.modules.objectives.steps import PlaceText, StepDecoder
from lcot.modules.terms import Term, divided, mean_of, numbers_of, taken_apart
from lcot.reasoning.batch import ThoughtBatch, Window, collate
from lcot.reasoning.curriculum import Stage
from lcot.reasoning.feeds import Feed, Projection
from lcot.reasoning.given import Given
from lcot.reasoning.heads import LatentHead, SpanHead
from lcot.reasoning.layout import Layout
from lcot.reasoning.text import TextFormat
from lcot.reasoning.thinker import Thinker
from tests.models import SPECIAL, random_examples, tiny_model, word_tokenizer
from tests.reasoning.support import builder
from tests.reasoning.test_spans import span_builder
from tests.training import tiny_module

PLAN = [(1, 1), (2, 2), (3, 3), (4, 4), (2, 3), (0, 0), (4, 2)]


def test_a_mean_of_groups_leaves_out_those_without_a_count() -> None:
    assert mean_of(torch.tensor([6.0, 0.0, 8.0]), torch.tensor([2, 0, 4])).item() == 2.5
    assert mean_of(torch.tensor([0.0]), torch.tensor([0])).item() == 0.0


def test_worked_example() -> None:
    """Two terms: 6 over 2 with weight 1, and two groups of which the window counts 4 and 0, with weight 0.5."""
    terms = {
        "text": Term(torch.tensor([6.0]), torch.tensor([2])),
        "steps": Term(torch.tensor([8.0, 3.0]), torch.tensor([2, 0]), weight=0.5),
    }
    window = {"text": torch.tensor([2]), "steps": torch.tensor([4, 0])}
    assert divided(terms, window, factor=1.0).item() == 6 / 2 + 0.5 * 8 / 4
    numbers = numbers_of(terms, window)
    assert numbers.tolist() == [6.0, 2.0, 2.0, 8.0, 3.0, 2.0, 0.0, 4.0, 0.0]
    found = taken_apart(terms, 2 * numbers)  # of two ranks alike
    assert [part.tolist() for part in found["steps"]] == [[16.0, 6.0], [4.0, 0.0], [8.0, 0.0]]


def rows(build: Any, plan: list[tuple[int, int]], seed: int) -> list[Any]:
    examples = random_examples(len(plan), seed, steps=[4])
    for example in examples:
        object.__setattr__(example, "mark", 1)
    stages = [Stage(hidden, thoughts) for hidden, thoughts in plan]
    return [
        build.train(one, stage).with_views(build.views(one, stage, ("teacher", "steps")))
        for one, stage in zip(examples, stages, strict=True)
    ]


def module_of(objectives: Mapping[str, Objective], feed: Feed | None = None, thinker: Thinker | None = None) -> Coconut:
    made = tiny_module(objectives=dict(objectives), feed=feed or Projection(), thinker=thinker)
    made.attach(word_tokenizer(["<unk>", "<s>", "</s>", "<pad>"]), SPECIAL, TextFormat())
    made.model = tiny_model("gpt2")
    made.configure_model()
    return made


def gradients(module: Coconut, loss: Tensor) -> dict[str, Tensor]:
    loss.backward()  # type: ignore[no-untyped-call]
    return {name: p.grad.clone() for name, p in module.named_parameters() if p.grad is not None}


@pytest.mark.parametrize(
    "objectives",
    [
        {"teacher": TeacherText(0.5), "distillation": Distillation(2.0), "cache": KeyValueDistillation()},
        {"steps": StepDecoder(mean="tokens"), "places": PlaceText(0.3)},
        {"steps": StepDecoder(mean="rows", missing="answer"), "text": Text(0.7)},
        {"steps": StepDecoder(mean="groups", beyond=True), "places": PlaceText(long_steps="spill", flat=True)},
        {"places": PlaceText(measure="cosine"), "written": InterAnswer(when="last", by="copy")},
        {"distillation": Distillation(at="first", deviation="none"), "written": InterAnswer(when="last", padded=True)},
    ],
    ids=["distilled", "tokens", "rows", "groups", "pointed", "first"],
)
def test_accumulated_batches_are_one_batch(objectives: dict[str, Objective]) -> None:
    """Whatever their sizes, and whatever each term counts; the order and the padding of rows do not matter either."""
    check_accumulation(module_of(objectives), rows(builder(), PLAN, seed=5))


@pytest.mark.parametrize("size", [1, 2, 3])
def test_accumulated_spans_are_one_batch(size: int) -> None:
    """One row has no chain at all, and others chains that do not fill their last span."""
    objectives = {"spans": SpanTokens(0.5), "teacher": TeacherText(), "distillation": Distillation(2.0)}
    module = module_of(objectives, SpanHead(size), Given())
    build, made = span_builder(fill=True), []
    for number, example in enumerate(random_examples(7, 5)):
        object.__setattr__(example, "mark", 1)
        stage = Stage(0 if number == 3 else 9, 0, span=size)
        made.append(build.train(example, stage).with_views(build.views(example, stage, module.views)))
    assert not made[3].thoughts
    check_accumulation(module, made)


@pytest.mark.parametrize("loss", ["mse", "nll"])
def test_accumulated_latents_are_one_batch(loss: Any) -> None:
    """Each row has spans of its own size, tokens that it drew as labels, and noise of its own."""
    module = module_of({"latents": LatentLoss(0.5, loss, entropy=0.1)}, LatentHead(), Given())
    build, made = span_builder(labels="drawn"), []
    for number, example in enumerate(random_examples(7, 5)):
        stage = Stage(0 if number == 3 else 9, 0, span=1 + number % 3, draw=100 + number)
        made.append(build.train(replace(example, steps=[]) if number == 3 else example, stage))
    assert not made[3].thoughts
    check_accumulation(module, made)


def check_accumulation(module: Coconut, made: Sequence[Layout]) -> None:
    """One batch, and the same rows in batches of 1, 4 and 2."""
    whole = collate(made, SPECIAL.pad)
    parts = [collate(made[at], SPECIAL.pad) for at in (slice(0, 1), slice(1, 5), slice(5, 7))]
    window = Window(tuple(parts))

    def loss_of(batch: ThoughtBatch, window: Window | None) -> tuple[Tensor, dict[str, float]]:
        terms, _ = module.terms(batch)
        mates = window.batches if window is not None else (batch,)
        counts = {name: torch.stack([module.counts(one)[name] for one in mates]).sum(dim=0) for name in terms}
        for name, term in terms.items():
            assert torch.equal(term.counts, module.counts(batch)[name]), name
        return divided(terms, counts, 1.0), {name: float(count.sum()) for name, count in counts.items()}

    value, counted = loss_of(whole, None)
    expected = gradients(module, value)
    module.zero_grad()
    total = torch.zeros(())
    for part in parts:
        loss, again = loss_of(part, window)
        assert again == counted
        total = total + loss
    found = gradients(module, total)
    assert total.item() == pytest.approx(value.item(), rel=1e-5)
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-3, atol=1e-5)

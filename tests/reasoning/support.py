"""What the tests of the core share: rows of random words, and gradients to compare."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor
from transformers import PreTrainedModel

from lcot.reasoning.batch import ThoughtBatch, collate
from lcot.reasoning.curriculum import Stage, ThoughtKind
from lcot.reasoning.layout import IGNORE, EncodedExample, Layout, LayoutBuilder
from lcot.reasoning.think import Thinking, supervised_loss
from tests.models import SPECIAL, random_examples, word_tokenizer

ALL = 99
"""More steps than any example has."""

MIXED = [(0, 0), (1, 1), (2, 2), (ALL, 6), (1, 2), (ALL, 0), (2, 4), (0, 3)]
"""(hidden steps, thoughts) of each row: stage 0, c = 1, c = 2, last stage, hidden steps without thoughts (their text
is over before its batch mates have done thinking), and thoughts before a chain that is written in full."""


def builder(kind: ThoughtKind = "continuous", stepwise_passes: bool | None = None) -> LayoutBuilder:
    """Lays out ids; its tokenizer is never asked."""
    tokenizer = word_tokenizer(["<unk>", "<s>", "</s>", "<pad>"])
    return LayoutBuilder(tokenizer, SPECIAL, kind, stepwise_passes=stepwise_passes)


def layouts(
    plan: Sequence[tuple[int, int]] = MIXED,
    kind: ThoughtKind = "continuous",
    examples: Sequence[EncodedExample] | None = None,
    stepwise_passes: bool | None = None,
) -> list[Layout]:
    """Training rows, one for each (hidden steps, thoughts)."""
    examples = random_examples(len(plan)) if examples is None else examples
    build = builder(kind, stepwise_passes)
    return [build.train(row, Stage(*stage)) for row, stage in zip(examples, plan, strict=True)]


def collated(rows: Sequence[list[int]]) -> ThoughtBatch:
    """Plain rows of ids without thoughts, all of them questions."""
    return collate([Layout(row, [IGNORE] * len(row), len(row), 0, len(row)) for row in rows], SPECIAL.pad)


def row_losses(model: PreTrainedModel, batch: ThoughtBatch, thinking: Thinking) -> list[float]:
    """The summed loss of each row of a batch: the labels of all other rows are taken away."""
    losses = []
    for row in range(len(batch)):
        labels = torch.full_like(batch.labels, IGNORE)
        labels[row] = batch.labels[row]
        losses.append(supervised_loss(model, replace(batch, labels=labels), thinking)[0].item())
    return losses


def loss_and_gradients(model: PreTrainedModel, loss: Tensor) -> tuple[float, dict[str, Tensor]]:
    """The loss and the gradient of every parameter."""
    model.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return loss.item(), gradients


def assert_same_gradients(got: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    """Every parameter's gradient agrees to 1e-4 of its norm, and none vanishes."""
    assert got.keys() == expected.keys()
    for name, gradient in expected.items():
        assert gradient.norm() > 1e-3, name
        assert (got[name] - gradient).norm() < 1e-4 * gradient.norm(), name

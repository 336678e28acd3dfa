"""Padding, worked out on paper."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from lcot.errors import UserError
from lcot.reasoning.batch import ThoughtBatch, collate, heads, in_passes
from lcot.reasoning.curriculum import ThoughtKind
from lcot.reasoning.example import ReasoningExample
from lcot.reasoning.layout import IGNORE, EncodedExample, Layout
from lcot.reasoning.think import supervised_loss, think
from tests.models import SPECIAL, random_examples, tiny_model
from tests.reasoning.support import ALL, MIXED, assert_same_gradients, builder, layouts, loss_and_gradients

_ = IGNORE
EXAMPLES = [
    EncodedExample([11, 12], [[21], [22]], [31, 1]),
    EncodedExample([13, 14, 15, 16], [[23]], [32, 1]),
    EncodedExample([17], [[24, 25], [26, 27]], [33, 34, 1]),
]


class TestWithThoughts:
    """Rows at stages 2, 1 and 0, so that the first thought of all rows stands in column 5."""

    batch = collate(layouts([(2, 2), (1, 1), (0, 0)], examples=EXAMPLES), pad=0)

    def test_ids(self) -> None:
        assert self.batch.input_ids.tolist() == [
            [0, 0, 11, 12, 2, 4, 4, 3, 31, 1, 0, 0, 0],
            [13, 14, 15, 16, 2, 4, 3, 32, 1, 0, 0, 0, 0],
            [0, 0, 0, 17, 2, 3, 24, 25, 26, 27, 33, 34, 1],
        ]

    def test_labels(self) -> None:
        assert self.batch.labels.tolist() == [
            [_, _, _, _, _, _, _, _, 31, 1, _, _, _],
            [_, _, _, _, _, _, _, 32, 1, _, _, _, _],
            [_, _, _, _, _, _, 24, 25, 26, 27, 33, 34, 1],
        ]

    def test_mask(self) -> None:
        assert self.batch.attention_mask.dtype == torch.bool
        assert self.batch.attention_mask.long().tolist() == [
            [0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0],
            [1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0],
            [0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1],
        ]

    def test_positions(self) -> None:
        assert self.batch.position_ids.tolist() == [
            [0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 0, 0, 0],
            [0, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 0],
            [0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
        ]

    def test_where_things_are(self) -> None:
        assert (self.batch.first, self.batch.max_thoughts, len(self.batch)) == (5, 2, 3)
        assert self.batch.thoughts.tolist() == [2, 1, 0]
        assert self.batch.prompt_ends.tolist() == [8, 7, 6]
        assert self.batch.index.tolist() == [0, 1, 2]


class TestWithoutThoughts:
    """Rows that need no common column start together, which is narrower."""

    def test_bare_rows(self) -> None:
        batch = collate(layouts([(1, 0), (0, 0), (ALL, 0)], kind="none", examples=EXAMPLES), pad=0)
        assert batch.input_ids.tolist() == [
            [11, 12, 22, 31, 1, 0, 0],
            [13, 14, 15, 16, 23, 32, 1],
            [17, 33, 34, 1, 0, 0, 0],
        ]
        assert batch.labels.tolist() == [
            [_, _, 22, 31, 1, _, _],
            [_, _, _, _, 23, 32, 1],
            [_, 33, 34, 1, _, _, _],
        ]
        assert batch.position_ids.tolist() == [[0, 1, 2, 3, 4, 0, 0], [0, 1, 2, 3, 4, 5, 6], [0, 1, 2, 3, 0, 0, 0]]
        assert batch.attention_mask.sum(dim=1).tolist() == [5, 7, 4]
        assert (batch.first, batch.max_thoughts) == (1, 0)
        assert batch.prompt_ends.tolist() == [2, 4, 1]

    def test_pauses_are_no_thoughts(self) -> None:
        batch = collate(layouts([(2, 2), (1, 1), (ALL, 1)], kind="pause", examples=EXAMPLES), pad=0)
        assert batch.input_ids.tolist() == [
            [11, 12, 2, 5, 5, 3, 31, 1, 0],
            [13, 14, 15, 16, 2, 5, 3, 32, 1],
            [17, 2, 5, 3, 33, 34, 1, 0, 0],
        ]
        assert (batch.first, batch.max_thoughts) == (2, 0)
        assert batch.thoughts.tolist() == [0, 0, 0]
        assert batch.prompt_ends.tolist() == [6, 7, 4]

    def test_stage_zero_has_its_markers(self) -> None:
        batch = collate(layouts([(1, 0), (0, 0)], examples=EXAMPLES[:2]), pad=0)
        assert batch.input_ids.tolist() == [[11, 12, 2, 3, 22, 31, 1, 0, 0], [13, 14, 15, 16, 2, 3, 23, 32, 1]]
        assert batch.first == 3

    def test_aligned_on_demand(self) -> None:
        batch = collate(layouts([(1, 0), (0, 0)], examples=EXAMPLES[:2]), pad=0, align=True)
        assert batch.input_ids.tolist() == [[0, 0, 11, 12, 2, 3, 22, 31, 1], [13, 14, 15, 16, 2, 3, 23, 32, 1]]
        assert (batch.first, batch.prompt_ends.tolist()) == (5, [6, 6])


def test_one_row_needs_no_padding() -> None:
    row = layouts([(1, 2)])[0]
    batch = collate([row], pad=0)
    assert batch.input_ids.tolist() == [row.ids] and batch.labels.tolist() == [row.labels]
    assert batch.attention_mask.all() and batch.position_ids.tolist() == [list(range(len(row.ids)))]
    assert (batch.first, batch.max_thoughts, batch.prompt_ends.tolist()) == (row.head, 2, [row.prompt])


def test_no_label_is_lost_or_lies_before_the_first_thought() -> None:
    rows = layouts()
    batch = collate(rows, pad=0)
    assert [[t for t in row if t != IGNORE] for row in batch.labels.tolist()] == [r.ids[r.prompt :] for r in rows]
    assert batch.labels[:, : batch.first].eq(IGNORE).all()
    assert batch.labels[~batch.attention_mask].eq(IGNORE).all()


def test_the_padding_token_itself_may_be_a_word() -> None:
    rows = [Layout([0, 7, 0], [_, 7, 0], head=1, thoughts=0, prompt=1), Layout([7], [_], head=1, thoughts=0, prompt=1)]
    batch = collate(rows, pad=0)
    assert batch.labels.tolist() == [[_, 7, 0], [_, _, _]]
    assert batch.attention_mask.tolist() == [[True, True, True], [True, False, False]]


def test_what_is_carried_along() -> None:
    examples = [ReasoningExample("q", (), "a", str(number)) for number in range(2)]
    batch = collate(layouts([(0, 1), (0, 0)]), 0, index=[17, 4], examples=examples)
    assert batch.index.tolist() == [17, 4]
    assert batch.marked and batch.pauses.tolist() == [0, 0]
    assert not collate(layouts([(0, 0)], "none"), 0).marked
    assert collate(layouts([(0, 3), (1, 1)], "pause"), 0).pauses.tolist() == [3, 1]
    assert tuple(batch.examples) == tuple(examples)


def test_other_devices() -> None:
    batch = collate(layouts(), 0, examples=[ReasoningExample("q", (), "a", "0")] * len(MIXED))
    moved = batch.to("meta")
    for field in dataclasses.fields(ThoughtBatch):
        before, after = getattr(batch, field.name), getattr(moved, field.name)
        if isinstance(before, torch.Tensor):
            assert (after.device.type, after.shape, after.dtype) == ("meta", before.shape, before.dtype)
            assert before.device.type == "cpu"
        else:
            assert after == before


class TestHeads:
    """Questions up to bot, cut out of a batch."""

    EXPECTED = (
        [[0, 0, 11, 12, 2], [13, 14, 15, 16, 2], [0, 0, 0, 17, 2]],
        [[0, 0, 0, 1, 2], [0, 1, 2, 3, 4], [0, 0, 0, 0, 1]],
    )

    @pytest.mark.parametrize("plan", [[(2, 2), (1, 1), (0, 0)], [(0, 0)] * 3, [(0, 1)] * 3])
    def test_of_training_rows(self, plan: list[tuple[int, int]]) -> None:
        start = heads(collate(layouts(plan, examples=EXAMPLES), 0, index=[5, 6, 7]), 0)
        assert (start.input_ids.tolist(), start.position_ids.tolist()) == self.EXPECTED
        assert start.attention_mask.sum(dim=1).tolist() == [3, 5, 2]
        assert (start.first, start.max_thoughts) == (5, 0)
        assert start.prompt_ends.tolist() == [5, 5, 5]
        assert start.index.tolist() == [5, 6, 7]
        assert start.labels.eq(IGNORE).all()

    def test_of_prompts(self) -> None:
        rows = [builder().prompt(example, number) for number, example in enumerate(EXAMPLES)]
        start = heads(collate(rows, 0), 0)
        assert (start.input_ids.tolist(), start.position_ids.tolist()) == self.EXPECTED


@pytest.mark.parametrize("kind", ["continuous", "pause", "none"])
def test_columns_are_no_more_than_needed(kind: ThoughtKind) -> None:
    rows = layouts(kind=kind, examples=random_examples(8, seed=5))
    batch = collate(rows, SPECIAL.pad)
    if kind == "continuous":
        needed = max(row.head for row in rows) + max(len(row.ids) - row.head for row in rows)
    else:
        needed = max(len(row.ids) for row in rows)
    assert batch.input_ids.shape == (8, needed)


class TestMorePasses:
    """Processes that share a model out read their batches in the same number of passes."""

    @pytest.mark.parametrize("plan", [MIXED, [(0, 0), (1, 1)], [(0, 0), (0, 0)], [(ALL, 0), (ALL, 0)]])
    @pytest.mark.parametrize("passes", [2, 5, 9, 30])
    def test_losses_and_gradients_stay(self, plan: list[tuple[int, int]], passes: int) -> None:
        model = tiny_model("qwen3")
        batch = collate(layouts(plan), pad=SPECIAL.pad)
        found = []
        for read in (batch, in_passes(batch, max(passes, batch.passes))):
            ran: list[int] = []
            handle = model.base_model.register_forward_hook(lambda *_, seen=ran: seen.append(1))
            thinking = think(model, read)
            handle.remove()
            assert len(ran) == read.passes
            found.append(loss_and_gradients(model, supervised_loss(model, read, thinking)[0]))
        assert read.passes == max(passes, batch.passes)
        assert found[0][0] == pytest.approx(found[1][0], rel=1e-5)
        assert_same_gradients(found[1][1], found[0][1])

    def test_thoughts_that_share_a_pass_cannot_be_split(self) -> None:
        batch = collate(layouts([(1, 1), (2, 2)], stepwise_passes=False), pad=SPECIAL.pad)
        assert batch.passes == 2 and in_passes(batch, 2) is batch
        with pytest.raises(UserError, match="batches of 3 passes"):
            in_passes(batch, 3)

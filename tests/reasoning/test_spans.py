"""Rows whose thoughts stand for spans of the chain."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from lcot.errors import UserError
from lcot.reasoning.batch import collate, heads
from lcot.reasoning.curriculum import Stage
from lcot.reasoning.layout import IGNORE, EncodedExample
from lcot.reasoning.spans import SpanBuilder, span_tokens, spans_of
from lcot.reasoning.spanwise import SpanForm
from tests.models import SPECIAL, random_examples, word_tokenizer

WORDS = ["<unk>", "<s>", "</s>", "<pad>", "<l>", "<p>", "fast", "1", "2", "3"]


def span_builder(lead: str = "", **form: Any) -> SpanBuilder:
    return SpanBuilder(word_tokenizer(WORDS), SPECIAL, form=SpanForm(**form), lead=lead)


def test_spans_of_a_chain() -> None:
    assert spans_of([7, 8, 9, 10, 11], 2) == [[7, 8], [9, 10], [11]]
    assert spans_of([7, 8, 9, 10, 11], 2, fill=5) == [[7, 8], [9, 10], [11, 5]]
    assert spans_of([7, 8], 2, fill=5) == [[7, 8]]
    assert spans_of([], 2, fill=5) == []


class TestWorkedExample:
    """Question 20 21, steps 30 31 32 and 33 34, answer 40 (its mark) 41; bot 2, eot 3, latent 4, pause 5, eos 1."""

    example = EncodedExample([20, 21], [[30, 31, 32], [33, 34]], [40, 41, 1], mark=1)
    stage = Stage(2, 0, span=2, draw=7)

    def test_spans_that_are_filled_up(self) -> None:
        row = span_builder(fill=True).train(self.example, self.stage)
        assert row.ids == [20, 21, 2, 4, 4, 4, 3, 40, 41, 1]
        assert row.labels == [IGNORE, IGNORE, 2, IGNORE, IGNORE, IGNORE, IGNORE, 40, 41, 1]
        assert (row.head, row.thoughts, row.prompt, row.stepped, row.marked, row.draw) == (3, 3, 7, 3, True, 7)
        assert row.places == {"answer": (8,)}
        spans = row.views["spans"]
        assert spans.ids == [30, 31, 32, 33, 34, 5] and spans.places == {"spans": (0, 2, 4, 6)}
        assert set(spans.labels) == {IGNORE}

    def test_spans_of_one_token_leave_eot_to_the_text(self) -> None:
        row = span_builder(fill=True).train(self.example, Stage(2, 0, span=1))
        assert row.ids == [20, 21, 2, 4, 4, 4, 4, 4, 3, 40, 41, 1]
        assert row.labels == [IGNORE, IGNORE, 2, *[IGNORE] * 5, 3, 40, 41, 1]

    def test_steps_that_are_not_hidden_are_text(self) -> None:
        row = span_builder(fill=True).train(self.example, Stage(1, 0, span=2))
        assert row.ids == [20, 21, 2, 4, 4, 3, 33, 34, 40, 41, 1] and row.labels[6:] == row.ids[6:]
        assert row.views["spans"].ids == [30, 31, 32, 5] and row.places == {"answer": (9,)}

    def test_no_chain(self) -> None:
        row = span_builder(fill=True).train(EncodedExample([20, 21], [], [40, 41, 1], mark=1), self.stage)
        assert row.ids == [20, 21, 2, 3, 40, 41, 1]
        assert row.labels == [IGNORE, IGNORE, 2, 3, 40, 41, 1]
        assert row.views["spans"].ids == [] and row.views["spans"].places == {"spans": (0,)}

    def test_a_drawn_token_of_each_span(self) -> None:
        build, drawn = span_builder(labels="drawn", opening=False), set()
        for draw in range(40):
            row = build.train(self.example, Stage(2, 0, span=2, draw=draw))
            first, second, last = row.labels[3:6]
            assert row.labels[:3] == [IGNORE] * 3 and row.labels[6:] == [3, 40, 41, 1]
            assert (first in (30, 31)) and (second in (32, 33)) and last == 34
            drawn.add((first, second))
            assert row == build.train(self.example, Stage(2, 0, span=2, draw=draw))
        assert len(drawn) == 4
        assert row.views["spans"].ids == [30, 31, 32, 33, 34]

    def test_the_teachers_row(self) -> None:
        build = span_builder(fill=True)
        row = build.views(self.example, self.stage, ("teacher", "spans"))["teacher"]
        assert row.ids == [20, 21, 2, 30, 31, 32, 33, 34, 5, 3, 40, 41, 1]
        assert row.labels == [IGNORE, IGNORE, *row.ids[2:]] and row.places == {"answer": (11,), "chain": (3, 9, 10)}
        silent = span_builder(fill=True, opening=False).views(self.example, self.stage, ("teacher",))["teacher"]
        assert silent.labels == [IGNORE, IGNORE, IGNORE, *row.ids[3:]]
        plain = span_builder(fill=True, teacher="plain").views(self.example, self.stage, ("teacher",))["teacher"]
        assert plain.ids == [20, 21, 30, 31, 32, 33, 34, 40, 41, 1]

    def test_what_is_said_behind_the_question(self) -> None:
        build = span_builder(lead="fast 3", said="fast {size}")
        assert build.train(self.example, self.stage).ids[:5] == [20, 21, 6, 8, 2]
        assert build.prompt(self.example, 1).ids == [20, 21, 6, 9, 2, 4, 3]

    def test_a_thought_token_cannot_be_said(self) -> None:
        build = span_builder(lead="</s>")
        with pytest.raises(UserError, match="marks thoughts"):
            build.prompt(self.example, 1)


@pytest.mark.parametrize("form", [{"fill": True}, {"fill": False, "said": "fast {size}"}])
@pytest.mark.parametrize("teacher", ["marked", "plain"])
def test_the_longest_row_is_measured_without_laying_it_out(form: dict[str, Any], teacher: str) -> None:
    build = span_builder(lead=form.get("said", "").replace("{size}", "2"), teacher=teacher, **form)
    build.further = ("spans", "teacher")
    for example in random_examples(12, seed=3):
        stages = [Stage(9, 0, span=size) for size in (1, 2, 3)]
        rows = [build.train(example, stage) for stage in stages]
        beside = [build.views(example, stage, ("teacher",))["teacher"] for stage in stages]
        longest = max(len(row.ids) for row in rows), max(len(row.ids) for row in beside)
        row, prompt = build.longest(example, stages)
        assert row >= max(longest) and row - max(longest) <= (2 if teacher == "plain" else 0) + len(build.lead.split())
        assert prompt == len(build.prompt(example, 0).ids)


def test_tokens_of_the_spans_of_a_batch() -> None:
    examples = [
        EncodedExample([20] * 4, [[30, 31, 32]], [40, 1]),
        EncodedExample([20], [], [41, 1]),
        EncodedExample([20], [[33]], [42, 43, 1]),
    ]
    build = span_builder()
    batch = collate([build.train(one, Stage(1, 0, span=2, draw=9)) for one in examples], SPECIAL.pad)
    ids, there = span_tokens(batch)
    assert there.tolist() == [[[True, True], [True, False]], [[False, False]] * 2, [[True, False], [False, False]]]
    assert ids[there].tolist() == [30, 31, 32, 33]
    assert batch.draws is not None and batch.draws.tolist() == [9, 9, 9]
    assert batch.select([2]).draws is not None
    asked = heads(batch, SPECIAL.pad)
    assert [row[mask].tolist() for row, mask in zip(asked.input_ids, asked.attention_mask, strict=True)] == [
        [20, 20, 20, 20, 2],
        [20, 2],
        [20, 2],
    ]


def test_no_row_has_a_span() -> None:
    rows = [span_builder().train(EncodedExample([20], [], [41, 1]), Stage(0, 0, span=2)) for _ in range(2)]
    ids, there = span_tokens(collate(rows, SPECIAL.pad))
    assert ids.shape == there.shape == torch.Size([2, 0, 0])

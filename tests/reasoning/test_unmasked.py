"""The published way looks at padding and at nothing else; where there is none, it is the right way."""

from __future__ import annotations

from functools import partial
from typing import get_args

import pytest
import torch
from transformers import PreTrainedModel

from lcot.errors import UserError
from lcot.reasoning.batch import ThoughtBatch, collate
from lcot.reasoning.feeds import Identity, embedding_table
from lcot.reasoning.parallel import Jacobi
from lcot.reasoning.think import Thinking, think
from lcot.reasoning.unmasked import Pads, Unmasked
from tests.models import SPECIAL, random_examples, tiny_model
from tests.reasoning.support import layouts

RULES: tuple[Pads, ...] = get_args(Pads)
PLAN = [(1, 3)] * 4


def by(way: Unmasked | None, model: PreTrainedModel, batch: ThoughtBatch, rounds: int | None) -> Thinking:
    thinks = partial(think, model) if rounds is None else partial(Jacobi(rounds), model, feed=Identity())
    with torch.no_grad():
        return thinks(batch) if way is None else way.think(thinks, model, batch, rounds=rounds is not None)


def rows(*questions: int) -> ThoughtBatch:
    """Rows whose questions have so many tokens."""
    made = random_examples(len(questions))
    for one, count in zip(made, questions, strict=True):
        one.question[:] = (one.question * 12)[:count]
    return collate(layouts(PLAN[: len(questions)], examples=made), SPECIAL.pad)


@pytest.mark.parametrize("family", ["gpt2", "llama"])
@pytest.mark.parametrize("rounds", [None, 2])
@pytest.mark.parametrize("pads", RULES)
class TestThoughts:
    """For each rule, sequential and in rounds."""

    def test_without_padding_it_is_the_right_way(self, family: str, rounds: int | None, pads: Pads) -> None:
        model, batch = tiny_model(family), rows(5, 5, 5)
        usual, published = by(None, model, batch, rounds), by(Unmasked(pads), model, batch, rounds)
        assert usual.fed is not None and published.fed is not None
        torch.testing.assert_close(published.fed, usual.fed, rtol=1e-4, atol=1e-5)

    def test_with_padding_batch_mates_matter(self, family: str, rounds: int | None, pads: Pads) -> None:
        model, mates = tiny_model(family), [rows(3, 8, 8), rows(3, 11, 11)]
        first = [by(Unmasked(pads), model, batch, rounds).fed for batch in mates]
        usual = [by(None, model, batch, rounds).fed for batch in mates]
        assert first[0] is not None and first[1] is not None and usual[0] is not None and usual[1] is not None
        assert (first[0][0] - first[1][0]).norm() > 1e-2
        torch.testing.assert_close(usual[0][0], usual[1][0], rtol=1e-4, atol=1e-4)

    def test_rules_are_others(self, family: str, rounds: int | None, pads: Pads) -> None:
        model, batch = tiny_model(family), rows(3, 9, 6)
        with torch.no_grad():  # a row of zeros, as it begins, attends uniformly of itself
            embedding_table(model)[SPECIAL.pad] = torch.linspace(-1, 1, 32)
        mine = by(Unmasked(pads), model, batch, rounds).fed
        for other in RULES:
            theirs = by(Unmasked(other), model, batch, rounds).fed
            assert mine is not None and theirs is not None
            assert torch.equal(mine, theirs) == (pads == other)


def test_the_text_looks_at_padding_as_in_the_release_or_as_it_is_told() -> None:
    model, batch = tiny_model(), rows(3, 9)
    left = ~batch.attention_mask[:, : batch.first]
    for rounds, text, seen in ((None, None, True), (2, None, False), (None, False, False), (2, True, True)):
        mask = by(Unmasked("uniform", text), model, batch, rounds).attention_mask[:, : batch.first]
        assert bool(mask[left].all()) == seen and bool(mask[left].any()) == seen


def test_rows_without_thoughts_are_read_as_ever() -> None:
    model, batch = tiny_model(), collate(layouts([(0, 0)] * 3), SPECIAL.pad)
    published = by(Unmasked("ordinary"), model, batch, None)
    assert torch.equal(published.states, by(None, model, batch, None).states)


@pytest.mark.parametrize(
    ("pads", "attention", "able"),
    [
        ("zero", "eager", "'sdpa' or 'flash_attention_2'"),
        ("uniform", "flash_attention_2", "'sdpa' or 'eager'"),
        ("ordinary", "flash_attention_2", "'sdpa' or 'eager'"),
    ],
)
def test_an_attention_that_has_a_rule_of_its_own_is_refused(pads: Pads, attention: str, able: str) -> None:
    with pytest.raises(UserError) as refused:
        Unmasked(pads).check_attention(attention)
    assert able in str(refused.value)


def test_columns_beyond_the_context_are_refused() -> None:
    short = tiny_model("gpt2", max_position_embeddings=14)
    with pytest.raises(UserError, match="columns, and the model 14 positions"):
        by(Unmasked("uniform"), short, rows(3, 11), None)
    with pytest.raises(UserError, match="unknown pads"):
        Unmasked("none")  # type: ignore[arg-type]

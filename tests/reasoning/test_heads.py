"""Heads: what they make of spans and of states."""

from __future__ import annotations

import pytest
import torch

from lcot.errors import UserError
from lcot.reasoning.heads import HEADS, SpanHead
from tests.models import SPECIAL, tiny_model


class TestSpanHead:
    """Linear, GELU, Linear, and the output head for each slot."""

    def test_shapes_and_slots(self) -> None:
        model = tiny_model()
        head = SpanHead(3)
        head.build(model)
        states = torch.randn(2, 4, 32)
        assert head.slots(states).shape == (2, 4, 3, 32)
        assert torch.equal(head.spoken(states), head.slots(states)[:, :, 0])
        assert head.tokens(states, model).shape == (2, 4, 3)
        assert (head.settings(), head.tokens_of_span()) == ({"span": 3, "width": None}, 3)
        assert HEADS["SpanHead"](**head.settings()).settings() == head.settings()

    def test_a_thought_is_the_mean_of_what_is_there(self) -> None:
        embedded = torch.tensor([[[[2.0, 4.0], [4.0, 8.0]], [[3.0, 5.0], [7.0, 7.0]]]], requires_grad=True)
        there = torch.tensor([[[True, True], [True, False]]])
        given = SpanHead().given(embedded, there)
        assert given.tolist() == [[[3.0, 6.0], [3.0, 5.0]]] and not given.requires_grad

    def test_one_eot_ends_thinking(self) -> None:
        model = tiny_model()
        head = SpanHead(2)
        head.build(model)
        tokens = torch.tensor([[7, 8], [SPECIAL.eot, 8], [7, SPECIAL.eot]])
        head.tokens = lambda states, model: tokens  # type: ignore[method-assign]
        assert head.stops(torch.randn(3, 32), model, SPECIAL.eot).tolist() == [False, True, True]

    @pytest.mark.parametrize(("options", "said"), [({"span": 0}, "span is 0"), ({"width": 0}, "width is 0")])
    def test_what_cannot_be(self, options: dict[str, int], said: str) -> None:
        with pytest.raises(UserError, match=said):
            SpanHead(**options)

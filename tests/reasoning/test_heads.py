"""Heads: what they make of spans and of states."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from lcot.errors import UserError
from lcot.reasoning.heads import HEADS, LatentHead, SpanHead
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


class TestLatentHead:
    """A mean and a deviation of the next thought."""

    def head(self, **options: Any) -> LatentHead:
        made = LatentHead(**options)
        made.build(tiny_model())
        return made

    def test_the_deviation_is_that_of_the_embeddings(self) -> None:
        table = tiny_model().get_input_embeddings().weight
        assert isinstance(table, torch.Tensor)
        assert self.head().std.item() == pytest.approx(table.std().item(), rel=1e-6)
        assert self.head(std=0.25).std.item() == 0.25
        assert self.head(std=0.25).settings() == {"width": None, "std": 0.25, "scale": "sqrt"}

    def test_a_thought_is_as_long_as_a_token(self) -> None:
        embedded = torch.tensor([[[[2.0], [4.0]], [[3.0], [7.0]]]], requires_grad=True)
        there = torch.tensor([[[True, True], [True, False]]])
        given = self.head().given(embedded, there)
        assert given.flatten().tolist() == pytest.approx([6 / (2**0.5 + 1e-5), 3.0])
        given.sum().backward()  # type: ignore[no-untyped-call]
        assert embedded.grad is not None and embedded.grad[0, 1, 1].item() == 0 < embedded.grad[0, 0, 0].item()
        assert self.head(scale="mean").given(embedded, there).flatten().tolist() == pytest.approx([6 / 2.00001, 3.0])

    def test_what_it_draws(self) -> None:
        head, model, states = self.head(std=0.5), tiny_model(), torch.randn(2, 1, 32)
        mean, log_std = head.expected(states)
        assert torch.equal(head(states, states, model), mean * 0.5)
        assert torch.equal(head.following(states, model, None), mean * 0.5)
        noise = torch.full((2, 1, 32), 2.0)
        torch.testing.assert_close(head.following(states, model, noise), (mean + 2 * log_std.exp()) * 0.5)

    def test_the_output_head_ends_thinking(self) -> None:
        model, states = tiny_model(), torch.randn(30, 32)
        said = model.get_output_embeddings()(states).argmax(dim=-1)  # type: ignore[no-untyped-call]
        assert self.head().stops(states, model, int(said[4])).tolist() == (said == said[4]).tolist()

    @pytest.mark.parametrize(
        ("options", "said"),
        [({"width": 0}, "width is 0"), ({"std": 0.0}, "std is 0"), ({"scale": "sum"}, "sum")],
    )
    def test_what_cannot_be(self, options: dict[str, Any], said: str) -> None:
        with pytest.raises(UserError, match=said):
            LatentHead(**options)

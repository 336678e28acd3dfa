"""Rows that stop thinking by themselves, against rows that are told their number of thoughts."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

from lcot.reasoning.batch import collate, heads
from lcot.reasoning.decode import decode
from lcot.reasoning.think import think
from lcot.reasoning.until import think_until
from tests.models import SPECIAL, random_examples, tiny_model
from tests.reasoning.support import ALL, builder, loss_and_gradients

MAX = 4


def after(stops: list[int]) -> Callable[[Tensor, int], Tensor]:
    """A rule that stops each row after a number of thoughts."""
    return lambda states, count: torch.tensor(stops) <= count


@pytest.mark.parametrize(
    "stops",
    [
        pytest.param([0, 2, ALL, 1, 3], id="differ"),
        pytest.param([0, 0, 0, 0, 0], id="at once"),
        pytest.param([ALL] * 5, id="never"),
        pytest.param([2, 2, 2, 2, 2], id="together"),
        pytest.param([4, 0, 5, 0, 4], id="at the bound"),
    ],
)
def test_equals_think_with_these_numbers(model: PreTrainedModel, stops: list[int]) -> None:
    examples = random_examples(5)
    numbers = [min(stop, MAX) for stop in stops]
    rows = [builder().prompt(row, n) for row, n in zip(examples, numbers, strict=True)]
    prompts = collate(rows, SPECIAL.pad, align=True)
    counts: list[int] = []

    def rule(states: Tensor, count: int) -> Tensor:
        counts.append(count)
        return torch.tensor(stops) == count  # said once; what is said afterwards about garbage must not matter

    with torch.no_grad():
        given = think(model, prompts, keep_cache=True)
        assert (given.first, prompts.max_thoughts) == (max(len(row.question) + 1 for row in examples), max(numbers))
        free = think_until(model, heads(prompts, SPECIAL.pad), rule, MAX, SPECIAL.eot)
    assert free.thoughts.tolist() == numbers
    assert counts == list(range(min(max(stops) + 1, MAX)))
    for row, number in enumerate(numbers):
        last = slice(0, number + 1)  # bot and the thoughts
        assert torch.allclose(free.states[row, last], given.states[row, last], atol=1e-4)
    assert torch.allclose(
        free.state_at(free.prompt_ends - 1), given.state_at(given.prompt_ends - 1), atol=1e-4
    )  # at eot
    ends = [len(row.question) + 2 + number - 1 for row, number in zip(examples, numbers, strict=True)]
    assert free.position_ids.gather(1, free.prompt_ends[:, None] - 1)[:, 0].tolist() == ends
    assert free.attention_mask.sum(dim=1).tolist() == [end + 1 for end in ends]
    written = decode(model, free, max_new_tokens=8, eos=SPECIAL.eos)
    assert written == decode(model, given, max_new_tokens=8, eos=SPECIAL.eos)


def test_the_rule_sees_bot_and_then_each_thought() -> None:
    model, prompts = tiny_model(), collate([builder().prompt(row, 3) for row in random_examples(3)], SPECIAL.pad)
    seen: list[Tensor] = []

    def rule(states: Tensor, count: int) -> Tensor:
        seen.append(states)
        return torch.zeros(3, dtype=torch.bool)

    with torch.no_grad():
        think_until(model, heads(prompts, SPECIAL.pad), rule, 3, SPECIAL.eot)
        expected = think(model, prompts).states
    assert len(seen) == 3
    assert all(torch.allclose(states, expected[:, n], atol=1e-4) for n, states in enumerate(seen))


def test_a_row_does_not_depend_on_how_long_others_think(model: PreTrainedModel) -> None:
    start = heads(collate([builder().prompt(row, 0) for row in random_examples(2)], SPECIAL.pad), SPECIAL.pad)
    texts = []
    for other in (0, 1, 4):
        with torch.no_grad():
            free = think_until(model, start, after([1, other]), 4, SPECIAL.eot)
        texts.append(decode(model, free, max_new_tokens=8, eos=SPECIAL.eos)[0])
    assert texts[0] == texts[1] == texts[2]


def test_no_room_for_any_thought() -> None:
    model = tiny_model()
    start = heads(collate([builder().prompt(row, 0) for row in random_examples(2)], SPECIAL.pad), SPECIAL.pad)
    free = think_until(model, start, after([ALL, ALL]), 0, SPECIAL.eot)
    assert free.thoughts.tolist() == [0, 0]


def test_gradients_flow(model: PreTrainedModel) -> None:
    rows = [builder().prompt(row, 2) for row in random_examples(3)]
    batch = collate(rows, SPECIAL.pad)
    given = think(model, batch).state_at(batch.prompt_ends - 1)
    _, expected = loss_and_gradients(model, given.square().sum())
    free = think_until(model, heads(batch, SPECIAL.pad), after([2, 2, 2]), MAX, SPECIAL.eot)
    _, gradients = loss_and_gradients(model, free.state_at(free.prompt_ends - 1).square().sum())
    assert gradients.keys() == expected.keys()
    for name, gradient in expected.items():
        assert (gradients[name] - gradient).norm() <= 1e-4 * gradient.norm() + 1e-5, name

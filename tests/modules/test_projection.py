"""The map from an assistant's states to soft thoughts."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from lcot.modules.projection import Projection

TASKS = ("sums", "dates", "riddles")


def states(rows: int = 4, width: int = 5) -> Tensor:
    """``(rows, 3, width)`` random states."""
    return torch.randn(rows, 3, width, generator=torch.Generator().manual_seed(0))


def linear(projection: Projection, number: int = 0) -> nn.Linear:
    """One of its maps."""
    found = projection.maps[number]
    assert isinstance(found, nn.Linear)
    return found


def test_worked_example() -> None:
    projection = Projection(2, 3)
    with torch.no_grad():
        linear(projection).weight.copy_(torch.tensor([[1.0, 2.0], [0.0, -1.0], [3.0, 0.0]]))
        linear(projection).bias.copy_(torch.tensor([0.5, 0.0, -1.0]))
    assert projection(torch.tensor([[[1.0, 1.0], [2.0, 0.0]]])).tolist() == [[[3.5, -1.0, 2.0], [2.5, 0.0, 5.0]]]
    assert projection.width == 2 and projection.tasks == ()


def test_each_task_has_a_map_of_its_own() -> None:
    projection, given, tasks = Projection(5, 7, TASKS), states(), torch.tensor([2, 0, 2, 1])
    assert len(projection.maps) == 3 and projection.tasks == TASKS
    thoughts = projection(given, tasks)
    assert thoughts.shape == (4, 3, 7)
    for row, task in enumerate(tasks.tolist()):
        torch.testing.assert_close(thoughts[row], linear(projection, task)(given[row]))


def test_every_map_takes_part_and_learns_from_its_own_rows_alone() -> None:
    projection, given, tasks = Projection(5, 7, TASKS), states(), torch.tensor([1, 1, 0, 1])
    projection(given, tasks).sum().backward()
    gradients = [linear(projection, number).weight.grad for number in range(3)]
    for number, gradient in enumerate(gradients):
        assert gradient is not None
        expected = given[tasks == number].sum(dim=(0, 1)).expand(7, -1)
        torch.testing.assert_close(gradient, expected)


def test_a_map_that_is_not_asked_cannot_spoil_the_others() -> None:
    projection = Projection(5, 7, TASKS)
    nn.init.constant_(linear(projection, 2).bias, float("inf"))
    assert projection(states(), torch.tensor([0, 1, 0, 1])).isfinite().all()


def test_tasks_have_to_be_told() -> None:
    with pytest.raises(AssertionError, match="which is theirs"):
        Projection(5, 7, TASKS)(states())
    assert Projection(5, 7, TASKS[:1])(states()).shape == (4, 3, 7)  # one of one


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("autocast", [False, True])
def test_it_computes_in_float32_whatever_is_around_it(dtype: torch.dtype, autocast: bool) -> None:
    projection, given = Projection(5, 7, TASKS), states().to(dtype)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        thoughts = projection(given, torch.tensor([2, 0, 2, 1]))
    assert thoughts.dtype == torch.float32
    assert torch.equal(thoughts, projection(given.float(), torch.tensor([2, 0, 2, 1])))
    thoughts.sum().backward()
    assert all(p.dtype == torch.float32 == p.grad.dtype for p in projection.parameters() if p.grad is not None)


def test_it_is_in_float32_whatever_the_default_type_is() -> None:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)  # as the trainer has it while it makes a module in that precision
    try:
        assert {parameter.dtype for parameter in Projection(5, 7).parameters()} == {torch.float32}
    finally:
        torch.set_default_dtype(before)

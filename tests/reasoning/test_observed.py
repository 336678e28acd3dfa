"""What some tokens attend to is what the model's own open attention says, whatever it runs with."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from lcot.errors import UserError
from lcot.reasoning.observed import observed
from lcot.reasoning.think import think
from tests.models import tiny_model
from tests.reasoning.support import collated

COLUMNS, THERE = torch.tensor([[3, 4, 5], [2, 0, 0], [0, 0, 0]]), torch.tensor([[1, 1, 1], [1, 0, 0], [0, 0, 0]]).bool()


def weights_of(model: PreTrainedModel, ids: Tensor) -> Tensor:
    """``(K, H, L, L)`` of one row, in the open."""
    model.set_attn_implementation("eager")
    return torch.cat(model(ids[None], output_attentions=True).attentions)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("architecture", ["gpt2", "llama", "qwen2", "qwen3"])
def test_means_over_the_asked_columns(architecture: str, attention: str) -> None:
    model = tiny_model(architecture)
    model.set_attn_implementation(attention)
    batch = collated([[7, 8, 9, 10, 11, 12, 13], [14, 15, 16], [17, 18]])
    expected = think(model, batch).states
    with observed(model, COLUMNS, THERE, batch.attention_mask) as seen:
        found = think(model, batch, keep_cache=True)
    assert torch.equal(found.states, expected)
    made = torch.stack(seen)
    assert made.shape == (2, 3, 4, 7) and not made.requires_grad
    open_ = tiny_model(architecture)
    for row, asked in enumerate(([3, 4, 5], [2], [])):
        real = int(batch.attention_mask[row].sum())
        whole = weights_of(open_, batch.input_ids[row, :real])
        mean = whole[:, :, asked].mean(dim=2) if asked else torch.zeros(2, 4, real)
        torch.testing.assert_close(made[:, row, :, :real], mean, rtol=1e-5, atol=1e-6)
        assert not made[:, row, :, real:].any()


def test_dropout_is_no_part_of_it() -> None:
    model, batch = tiny_model("gpt2", attn_pdrop=0.5), collated([[7, 8, 9, 10, 11, 12, 13]])
    seen = []
    for _ in range(2):
        with observed(model, COLUMNS[:1], THERE[:1], batch.attention_mask) as found:
            think(model, batch)
        seen.append(found[0])  # of the first layer, whose inputs are the same
    assert torch.equal(*seen)
    torch.testing.assert_close(seen[0].sum(dim=-1), torch.ones(1, 4))


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_everything_is_put_back(attention: str) -> None:
    model, batch = tiny_model(), collated([[7, 8, 9, 10, 11, 12]])
    model.set_attn_implementation(attention)
    before = dict(ALL_ATTENTION_FUNCTIONS)
    with (
        pytest.raises(RuntimeError, match="stop"),
        observed(model, COLUMNS[:1], THERE[:1], batch.attention_mask) as seen,
    ):
        think(tiny_model("llama", seed=1), batch)  # of another model nothing is noted
        assert not seen
        raise RuntimeError("stop")
    assert dict(ALL_ATTENTION_FUNCTIONS) == before


def test_attention_that_transformers_does_not_choose_is_refused() -> None:
    model, batch = tiny_model("gpt2", reorder_and_upcast_attn=True), collated([[7, 8, 9, 10, 11, 12]])
    model.set_attn_implementation("eager")
    with (
        pytest.raises(UserError, match="the attention of a gpt2 model cannot be looked at"),
        observed(model, COLUMNS[:1], THERE[:1], batch.attention_mask),
    ):
        think(model, batch)


def test_the_padding_of_the_batch_does_not_matter() -> None:
    model, made = tiny_model(), []
    for rows in ([[7, 8, 9, 10, 11, 12, 13]], [[7, 8, 9, 10, 11, 12, 13], list(range(6, 40))]):
        batch = collated(rows)
        columns, there = COLUMNS[:1].expand(len(rows), -1), THERE[:1].expand(len(rows), -1)
        with observed(model, columns, there, batch.attention_mask) as seen:
            think(model, batch)
        made.append(torch.stack(seen)[:, 0, :, :7])
    torch.testing.assert_close(*made, rtol=1e-5, atol=1e-7)

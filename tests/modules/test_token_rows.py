"""A few trained rows in a frozen vocabulary: the same model, and the same gradients for those rows alone."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from lcot.errors import UserError
from lcot.modules.token_rows import RowsEmbedding, RowsHead, train_rows
from lcot.reasoning.batch import collate
from lcot.reasoning.feeds import embedding_length, embedding_scale
from lcot.reasoning.think import output_head, supervised_loss, think
from tests.models import ARCHITECTURES, SPECIAL, tiny_model
from tests.reasoning.support import layouts, loss_and_gradients
from tests.reasoning.test_windows import made

IDS = [SPECIAL.bot, SPECIAL.eot, SPECIAL.pause, 33]
"""Not in a row, as in a table that is padded beyond its tokenizer."""


def frozen_with_rows(architecture: str) -> PreTrainedModel:
    """A model of which the rows of :data:`IDS` alone are trained."""
    model = tiny_model(architecture)
    model.requires_grad_(False)
    train_rows(model, IDS)
    return model


def total(model: PreTrainedModel) -> Tensor:
    batch = collate(layouts(), SPECIAL.pad)
    return supervised_loss(model, batch, think(model, batch))[0]


def tables(model: PreTrainedModel) -> tuple[Any, Any]:
    return model.get_input_embeddings(), output_head(model)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_same_loss_and_the_same_gradients_of_the_rows_alone(architecture: str) -> None:
    model, plain = frozen_with_rows(architecture), tiny_model(architecture)
    embedding, head = tables(model)
    loss, gradients = loss_and_gradients(model, total(model))
    expected, all_gradients = loss_and_gradients(plain, total(plain))
    assert loss == pytest.approx(expected, rel=1e-6)
    tied = head.rows is embedding.rows
    assert tied == plain.config.tie_word_embeddings
    assert len(gradients) == (1 if tied else 2)
    for name, gradient in gradients.items():
        # Of tied tables both uses count: as an input and in the softmax.
        whole = all_gradients[name.replace(".rows", ".weight")]
        torch.testing.assert_close(gradient, whole[sorted(IDS)], rtol=1e-4, atol=1e-4)
        assert gradient.norm() > 1e-2


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("architecture", ["gpt2", "llama"])
def test_nothing_is_rounded_but_the_type_stays(architecture: str, dtype: torch.dtype) -> None:
    model, plain = tiny_model(architecture), tiny_model(architecture)
    for each in (model, plain):
        nn.Module.to(each, dtype)
    model.requires_grad_(False)
    train_rows(model, IDS)
    embedding, head = tables(model)
    assert isinstance(embedding, RowsEmbedding) and isinstance(head, RowsHead)
    assert embedding.rows.dtype == torch.float32 and embedding.base_layer.weight.dtype == dtype
    ids = torch.arange(64).reshape(4, 16)
    states: Any = torch.randn(5, 32, generator=torch.Generator().manual_seed(0)).to(dtype)
    layers: list[tuple[Any, Any, Tensor]] = [
        (layer, other, inputs)
        for layer, other, inputs in zip((embedding, head), tables(plain), (ids, states), strict=True)
    ]
    for layer, other, inputs in layers:
        assert torch.equal(layer.weight, other.weight) and layer.weight.dtype == dtype
        assert torch.allclose(layer(inputs), other(inputs), rtol=1e-2, atol=1e-2 if dtype == torch.bfloat16 else 1e-6)
        assert layer(inputs).dtype == dtype
    assert (embedding.num_embeddings, embedding.embedding_dim) == (64, 32)
    assert (head.in_features, head.out_features) == (32, 64)


def test_what_is_frozen_does_not_depend_on_how_the_rows_began() -> None:
    models = [tiny_model(), tiny_model()]
    for value, model in enumerate(models):
        with torch.no_grad():
            for table in tables(model):
                table.weight[IDS] = float(value)
        train_rows(model, IDS)
    for one, other in zip(*map(tables, models), strict=True):
        assert torch.equal(one.base_layer.weight, other.base_layer.weight)
        assert not torch.equal(one.weight, other.weight)


def test_a_bias_of_the_head_counts() -> None:
    model = tiny_model()
    with torch.no_grad():
        head: Any = nn.Linear(32, 64)
        model.set_output_embeddings(head)  # type: ignore[no-untyped-call]
        states = torch.randn(2, 3, 32, generator=torch.Generator().manual_seed(0))
        expected = head(states)
        train_rows(model, IDS)
        assert torch.allclose(output_head(model)(states), expected, atol=1e-6)


def test_no_tokens_change_nothing() -> None:
    model = tiny_model()
    before = tables(model)
    train_rows(model, [])
    assert tables(model) == before


def test_a_step_moves_the_rows_and_nothing_else() -> None:
    model = frozen_with_rows("qwen2")
    embedding, head = tables(model)
    frozen = embedding.base_layer.weight.clone()
    before = embedding.weight.detach().clone()
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    total(model).backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    moved = (embedding.weight != before).any(dim=1).nonzero()[:, 0].tolist()
    assert moved == sorted(IDS)
    assert torch.equal(embedding.base_layer.weight, frozen)
    assert torch.equal(head.weight, embedding.weight)


class Scaled(nn.Embedding):
    """As in Gemma, and more."""

    def forward(self, input: Tensor) -> Tensor:
        """Rows, scaled by a number that nobody is told."""
        return super().forward(input) * 5.0


def test_an_embedding_that_does_more_is_refused() -> None:
    model = tiny_model()
    model.set_input_embeddings(Scaled(64, 32))
    with pytest.raises(UserError, match="rows of new tokens of a llama model cannot be trained") as caught:
        train_rows(model, IDS)
    assert "a Scaled" in str(caught.value)


def test_scaled_embeddings_as_gemma_has_them() -> None:
    """The trained rows are those of the table, and read as all others are: times the root of the width."""
    model, plain = made("gemma3_text"), made("gemma3_text")
    model.requires_grad_(False)
    train_rows(model, IDS)
    assert embedding_scale(model) == embedding_scale(plain) == pytest.approx(math.sqrt(32))
    assert embedding_length(model) == pytest.approx(float(embedding_length(plain)), rel=1e-6)
    ids = torch.arange(64)
    assert torch.equal(model.get_input_embeddings()(ids), plain.get_input_embeddings()(ids))
    loss, gradients = loss_and_gradients(model, total(model))
    expected, all_gradients = loss_and_gradients(plain, total(plain))
    assert loss == pytest.approx(expected, rel=1e-5)
    (gradient,) = gradients.values()
    torch.testing.assert_close(gradient, all_gradients["model.embed_tokens.weight"][sorted(IDS)], rtol=1e-3, atol=1e-3)

"""Feeds, each against its definition, worked by hand where that is possible."""

from __future__ import annotations

import math

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from lcot.errors import UserError
from lcot.reasoning.feeds import Add, Expectation, Feed, Identity, Projection, Rescale
from tests.models import VOCABULARY, tiny_model

STATES = torch.tensor([[[3.0, 4.0], [0.0, 2.0]]])
PLACES = torch.tensor([[[1.0, 1.0], [1.0, -1.0]]])


@pytest.fixture
def model() -> PreTrainedModel:
    return tiny_model("llama")


def table(model: PreTrainedModel) -> torch.Tensor:
    weight = model.get_input_embeddings().weight
    assert isinstance(weight, torch.Tensor)
    return weight


def scaled_model() -> PreTrainedModel:
    """A tiny Gemma 3, which multiplies its embeddings by the root of its width when they are looked up."""
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    sizes["head_dim"] = 8
    config = AutoConfig.for_model("gemma3_text", vocab_size=32, num_key_value_heads=1, **sizes)
    made = AutoModelForCausalLM.from_config(config)  # type: ignore[no-untyped-call]
    assert isinstance(made, PreTrainedModel)
    return made


def test_the_state_itself(model: PreTrainedModel) -> None:
    assert Identity()(STATES, PLACES, model) is STATES


def test_the_place_is_added(model: PreTrainedModel) -> None:
    assert Add()(STATES, PLACES, model).tolist() == [[[4.0, 5.0], [1.0, 1.0]]]


def test_a_projection_by_its_formula(model: PreTrainedModel) -> None:
    feed = Projection(width=5)
    feed.build(model)
    weights = [parameter.detach() for parameter in feed.parameters()]
    states = torch.randn(2, 3, 32, generator=torch.Generator().manual_seed(0))
    inner = states @ weights[0].T + weights[1]
    inner = inner * 0.5 * (1 + torch.erf(inner / math.sqrt(2)))
    outer = inner @ weights[2].T + weights[3]
    centred = outer - outer.mean(-1, keepdim=True)
    expected = centred / (centred.pow(2).mean(-1, keepdim=True) + 1e-5).sqrt() * weights[4] + weights[5]
    torch.testing.assert_close(feed(states, states, model), expected)
    bare = Projection(norm=False)
    bare.build(model)
    assert [tuple(parameter.shape) for parameter in bare.parameters()] == [(32, 32), (32,), (32, 32), (32,)]


@pytest.mark.parametrize("made", [lambda: tiny_model("gpt2"), scaled_model], ids=["gpt2", "gemma3"])
def test_a_rescaled_state_is_as_long_as_embeddings_are(made: object) -> None:
    assert callable(made)
    model = made()
    feed = Rescale()
    feed.build(model)
    embedded = model.get_input_embeddings()(torch.arange(model.config.vocab_size))
    states = torch.randn(2, 3, model.config.hidden_size)
    fed = feed(states, states, model)
    torch.testing.assert_close(fed.norm(dim=-1), embedded.norm(dim=-1).mean().expand(2, 3))
    torch.testing.assert_close(torch.cosine_similarity(fed, states, dim=-1), torch.ones(2, 3))
    assert list(feed.state_dict()) == ["length"]  # a checkpoint knows it: the embeddings change in training


def test_a_state_of_length_0_stays(model: PreTrainedModel) -> None:
    feed = Rescale()
    feed.build(model)
    assert torch.equal(feed(torch.zeros(1, 1, 32), torch.zeros(1, 1, 32), model), torch.zeros(1, 1, 32))


@pytest.mark.parametrize("made", [lambda: tiny_model("llama"), scaled_model], ids=["llama", "gemma3"])
def test_an_expected_embedding_is_the_weighted_sum(made: object) -> None:
    assert callable(made)
    model = made()
    states = torch.randn(1, 2, model.config.hidden_size)
    embedded = model.get_input_embeddings()(torch.arange(model.config.vocab_size))
    for temperature in (1.0, 0.5):
        chances = (model.get_output_embeddings()(states) / temperature).softmax(dim=-1)
        expected = torch.einsum("bnv,vd->bnd", chances, embedded)
        torch.testing.assert_close(Expectation(temperature)(states, states, model), expected)


def test_a_sure_head_gives_its_tokens_embedding(model: PreTrainedModel) -> None:
    head = model.get_output_embeddings()  # type: ignore[no-untyped-call]
    with torch.no_grad():
        head.weight.zero_()
        head.weight[7, 0] = 100.0
    states = torch.zeros(1, 1, 32)
    states[..., 0] = 1.0
    torch.testing.assert_close(Expectation()(states, states, model)[0, 0], table(model)[7])
    assert VOCABULARY > 7


def test_gradients_reach_states_and_the_feed(model: PreTrainedModel) -> None:
    feed = Projection()
    feed.build(model)
    states = torch.randn(1, 2, 32, requires_grad=True)
    feed(states, states.detach(), model).pow(3).sum().backward()
    assert states.grad is not None and states.grad.norm() > 0
    assert all(p.grad is not None and p.grad.norm() > 0 for p in feed.parameters())


def test_one_of_a_users_own(model: PreTrainedModel) -> None:
    class Halved(Feed):
        def forward(self, states: torch.Tensor, places: torch.Tensor, model: PreTrainedModel) -> torch.Tensor:
            return states / 2

    feed = Halved()
    feed.build(model)
    assert feed(STATES, PLACES, model).tolist() == [[[1.5, 2.0], [0.0, 1.0]]]
    assert not list(feed.parameters())


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda: Projection(width=0), "width is 0"),
        (lambda: Projection(dropout=1.0), "dropout is 1.0"),
        (lambda: Expectation(temperature=0.0), "temperature is 0.0"),
    ],
)
def test_what_cannot_be(made: object, said: str) -> None:
    assert callable(made)
    with pytest.raises(UserError, match=said):
        made()

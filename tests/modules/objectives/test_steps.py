"""The step decoder's own parts: what it begins with, and which settings it refuses."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from lcot.errors import UserError
from lcot.modules.objectives.steps import StepDecoder
from tests.models import SPECIAL, tiny_model
from tests.modules.test_lora import with_lora


@pytest.mark.parametrize("architecture", ["gpt2", "llama"])
def test_a_copy_of_the_language_model(architecture: str) -> None:
    model, objective = tiny_model(architecture), StepDecoder(start="copy")
    objective.build(model, SPECIAL)
    assert objective.decoder is not None
    ids = torch.tensor([[6, 7, 8]])
    assert torch.equal(objective.decoder(ids).logits, model(ids).logits)
    with torch.no_grad():
        next(objective.decoder.parameters()).zero_()  # weights of its own
    assert not torch.equal(objective.decoder(ids).logits, model(ids).logits)


@pytest.mark.parametrize("architecture", ["gpt2", "qwen3"])
def test_a_copy_of_a_model_with_lora_is_of_what_it_computes(architecture: str) -> None:
    model, objective = with_lora(architecture), StepDecoder(start="copy")
    objective.build(model, SPECIAL)
    assert objective.decoder is not None
    ids = torch.tensor([[6, SPECIAL.bot, 8]])
    torch.testing.assert_close(objective.decoder(ids).logits, model(ids).logits, rtol=1e-4, atol=1e-5)
    assert all("lora" not in name for name, _ in objective.decoder.named_parameters())


def test_a_copy_of_the_first_layers() -> None:
    model, objective = tiny_model("llama"), StepDecoder(start="copy", config={"num_hidden_layers": 1})
    objective.build(model, SPECIAL)
    assert objective.decoder is not None
    weights, own = model.state_dict(), objective.decoder.state_dict()
    assert own.keys() < weights.keys() and all(torch.equal(weights[name], weight) for name, weight in own.items())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"start": "copy", "config": {"num_hidden_layers": 3}}, "not those of the language model"),
        ({"start": "copy", "config": {"intermediate_size": 16}}, "not those of the language model"),
        ({"config": {"hidden_size": 16}}, "the step decoder is 16 wide, and the language model 32"),
    ],
)
def test_a_decoder_of_another_shape(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        StepDecoder(**options).build(tiny_model("llama"), SPECIAL)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"start": "copied"}, "unknown start 'copied'"),
        ({"per_step": 0}, "per_step is 0"),
        ({"mean": "row"}, "unknown mean 'row'"),
        ({"beyond": True, "per_step": 2}, "beyond is true, and per_step is 2"),
    ],
)
def test_settings_out_of_range(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        StepDecoder(**options)

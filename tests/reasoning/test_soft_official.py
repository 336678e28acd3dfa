"""Soft thoughts against what the released code computes on two tiny models."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, PreTrainedModel

from lcot.reasoning.batch import ThoughtBatch, collate
from lcot.reasoning.decode import decode
from lcot.reasoning.soft import states_at_slots, think_given
from lcot.reasoning.think import supervised_loss
from tests.places import SHARED
from tests.reasoning.test_soft import asking_row, soft_row

OFFICIAL = SHARED / "oracle" / "softcot"
WIDTH = 32


@dataclass
class Pair:
    """The official pair of models with its projection, and what was computed on it."""

    content: dict[str, Any]
    assistant: PreTrainedModel
    llm: PreTrainedModel
    projection: nn.Linear

    def thoughts(self) -> Tensor:
        """Projected states of all examples' assistant rows."""
        count, ids = self.content["num_thoughts"], self.content["ids"]
        rows = [asking_row(example["assistant_before"], count, ids["placeholder"]) for example in self.examples]
        states = states_at_slots(self.assistant, collate(rows, ids["pad"]))
        soft: Tensor = self.projection(states)
        return soft

    def batch(self) -> ThoughtBatch:
        """All examples' LLM rows."""
        count, ids = self.content["num_thoughts"], self.content["ids"]
        marks = (ids["bot"], ids["eot"])
        rows = [soft_row(e["llm_before"], count, e["llm_after"], e["target"], marks) for e in self.examples]
        return collate(rows, ids["pad"])

    @property
    def examples(self) -> list[dict[str, list[int]]]:
        """The examples, as ids."""
        found: list[dict[str, list[int]]] = self.content["examples"]
        return found


@pytest.fixture(scope="module")
def pair() -> Pair:
    """The recorded pair."""
    if not OFFICIAL.is_dir():
        pytest.skip("needs the recorded results of the official code")
    models = []
    for name in ("assistant", "llm"):
        model = AutoModelForCausalLM.from_pretrained(OFFICIAL / name, dtype=torch.float32, local_files_only=True)
        assert isinstance(model, PreTrainedModel)
        model.requires_grad_(False)
        models.append(model)
    weights = load_file(OFFICIAL / "projection.safetensors")
    projection = nn.Linear(32, 48)
    projection.load_state_dict({name.removeprefix("projection."): weight for name, weight in weights.items()})
    content = json.loads((OFFICIAL / "softcot_official.json").read_text(encoding="utf-8"))
    return Pair(content, models[0], models[1], projection)


class TestOfficial:
    """What xuyige/SoftCoT (fa7f537) computed on two tiny models; see the data's own README for how."""

    def test_batch_loss_and_gradients(self, pair: Pair) -> None:
        batch = pair.batch()
        summed, tokens = supervised_loss(pair.llm, batch, think_given(pair.llm, batch, pair.thoughts()))
        loss = summed / tokens
        assert loss.item() == pytest.approx(pair.content["batch_loss"], abs=1e-5)
        gradients = torch.autograd.grad(loss, list(pair.projection.parameters()))
        for name, gradient in zip(("weight", "bias"), gradients, strict=True):
            assert gradient.norm().item() == pytest.approx(pair.content["grad_norms"][name], rel=1e-4)
            assert gradient.sum().item() == pytest.approx(pair.content["grad_sums"][name], rel=1e-4)

    def test_row_losses(self, pair: Pair) -> None:
        batch, thoughts = pair.batch(), pair.thoughts()
        for row, expected in enumerate(pair.content["row_losses"]):
            one = batch.select([row])
            summed, tokens = supervised_loss(pair.llm, one, think_given(pair.llm, one, thoughts[row : row + 1]))
            assert (summed / tokens).item() == pytest.approx(expected, abs=1e-5)

    def test_text(self, pair: Pair) -> None:
        thinking = think_given(pair.llm, pair.batch(), pair.thoughts(), keep_cache=True)
        texts = decode(pair.llm, thinking, max_new_tokens=10, eos=pair.content["ids"]["eos"])
        assert texts == pair.content["generated"]

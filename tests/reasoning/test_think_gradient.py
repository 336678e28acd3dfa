"""Gradients through thoughts, and transformers' own checkpointing, which would lose them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

from lcot.errors import UserError
from lcot.reasoning.batch import collate, heads
from lcot.reasoning.curriculum import Stage
from lcot.reasoning.layout import EncodedExample
from lcot.reasoning.think import supervised_loss, think
from lcot.reasoning.until import think_until
from tests.models import SPECIAL, random_examples, tiny_model
from tests.reasoning.support import (
    ALL,
    builder,
    layouts,
    loss_and_gradients,
)
from tests.reasoning.test_think import checkpoint, mean_loss


class TestGradient:
    """Back-propagation through the thoughts."""

    @staticmethod
    def gradient_at_bot(model: PreTrainedModel, thoughts: int) -> float:
        """Norm of the gradient of one row's bot embedding, as far as it goes through all thoughts.

        Attention is kept from reading bot and all thoughts but the last, so bot can reach the loss in one way alone: as
        the state that becomes the next input, again and again.
        """
        row = builder().train(random_examples(1)[0], Stage(1, thoughts))
        batch = collate([row], SPECIAL.pad)
        visible = batch.attention_mask.clone()
        visible[0, row.head - 1 : row.head + max(thoughts - 1, 0)] = False
        batch = replace(batch, attention_mask=visible)
        total, _ = supervised_loss(model, batch, think(model, batch))
        model.zero_grad()
        total.backward()  # type: ignore[no-untyped-call]
        gradient = model.get_input_embeddings().weight.grad
        assert isinstance(gradient, Tensor)
        return float(gradient[SPECIAL.bot].norm())

    @pytest.mark.parametrize("architecture", ["gpt2", "llama", "qwen2", "qwen3"])
    def test_reaches_bot_through_every_thought(self, architecture: str) -> None:
        model = tiny_model(architecture, tie_word_embeddings=False)  # a tied head would see bot's row in its softmax
        assert self.gradient_at_bot(model, thoughts=0) == 0.0
        assert all(self.gradient_at_bot(model, thoughts) > 1e-2 for thoughts in (1, 2, 4))

    def test_the_latent_token_is_never_read(self) -> None:
        model = tiny_model(tie_word_embeddings=False)
        gradients = loss_and_gradients(model, mean_loss(model, layouts()))[1]
        embedding = gradients["model.embed_tokens.weight"]
        assert embedding[SPECIAL.latent].eq(0).all() and embedding[SPECIAL.pad].eq(0).all()
        assert embedding[SPECIAL.bot].norm() > 1e-2 and embedding[SPECIAL.eot].norm() > 1e-2

    def test_padding_leaves_no_nan(self, model: PreTrainedModel) -> None:
        rows = layouts([(ALL, 1), (0, 1)], examples=[EncodedExample([9], [], [1]), random_examples(8)[2]])
        loss, gradients = loss_and_gradients(model, mean_loss(model, rows))
        assert torch.tensor(loss).isfinite()
        assert all(gradient.isfinite().all() for gradient in gradients.values())


class TestCheckpointing:
    """transformers' own switch would drop the cache; ours is in test_recompute.py."""

    def test_refused_in_training(self) -> None:
        model, batch = tiny_model(), collate(layouts(), SPECIAL.pad)
        checkpoint(model, True)
        with pytest.raises(UserError, match="gradient checkpointing") as caught:
            think(model, batch)
        assert "model.activation_checkpointing" in str(caught.value)
        think(model, collate(layouts([(1, 0), (0, 0)]), SPECIAL.pad))  # no cache that could be lost
        with pytest.raises(UserError, match="gradient checkpointing"):
            think_until(model, heads(batch, SPECIAL.pad), lambda states, count: states[:, 0] > 0, 2, SPECIAL.eot)
        checkpoint(model, False)
        think(model, batch)

    def test_harmless_in_evaluation(self) -> None:
        model, batch = tiny_model(), collate(layouts(), SPECIAL.pad)
        expected = think(model, batch).states
        checkpoint(model, True)
        model.train(False)
        assert torch.equal(think(model, batch).states, expected)

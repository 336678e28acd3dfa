"""Thoughts in rounds against their definitions: losses, gradients, states and texts, in any batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import PreTrainedModel

from lcot.errors import UserError
from lcot.reasoning.batch import collate
from lcot.reasoning.decode import decode
from lcot.reasoning.feeds import Add, Feed, Identity, Projection
from lcot.reasoning.layout import Layout
from lcot.reasoning.parallel import Jacobi, Looped, Parallel, Rounds
from lcot.reasoning.think import Thinking, supervised_loss, think
from tests.family_oracle import in_rounds, last_states, sequential
from tests.models import SPECIAL, tiny_model
from tests.oracle import Problem, cut, embedded, naive_loss
from tests.reasoning.support import MIXED, assert_same_gradients, layouts, loss_and_gradients

THINKERS: dict[str, Callable[[int], Parallel]] = {"jacobi": Jacobi, "looped": Looped}


def feed_of(name: str, model: PreTrainedModel) -> Feed:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        feed: Feed = {"identity": Identity, "add": Add, "projection": Projection}[name]()
        feed.build(model)
    return feed


@pytest.fixture(params=["gpt2", "llama", "qwen2", "qwen3"])
def model(request: pytest.FixtureRequest) -> PreTrainedModel:
    return tiny_model(request.param)


def made(model: PreTrainedModel, row: Layout, feed: Feed, thinker: Parallel) -> list[Tensor]:
    """Inputs of a row in every round, by the definition."""
    own = isinstance(thinker, Looped)
    return in_rounds(model, cut(row), SPECIAL.latent, lambda s, p: feed(s, p, model), thinker.rounds, own)


def text_loss(model: PreTrainedModel, inputs: Tensor, problem: Problem) -> Tensor:
    """Summed cross-entropy of the text behind some inputs."""
    whole = torch.cat([inputs, embedded(model, problem.after + problem.text)], dim=1)
    logits = model(inputs_embeds=whole, use_cache=False).logits[0]
    return F.cross_entropy(logits[-len(problem.text) - 1 : -1], torch.tensor(problem.text), reduction="sum")


@torch.no_grad()
def written(model: PreTrainedModel, inputs: Tensor, problem: Problem, most: int) -> list[int]:
    """The most likely text behind some inputs."""
    inputs, text = torch.cat([inputs, embedded(model, problem.after)], dim=1), list[int]()
    while len(text) < most and text[-1:] != [SPECIAL.eos]:
        text.append(int(model(inputs_embeds=inputs, use_cache=False).logits[0, -1].argmax()))
        inputs = torch.cat([inputs, embedded(model, text[-1:])], dim=1)
    return text


def gradients_with(model: PreTrainedModel, feed: Feed, loss: Tensor) -> tuple[float, dict[str, Tensor]]:
    feed.zero_grad()
    value, found = loss_and_gradients(model, loss)
    found |= {f"feed.{name}": p.grad.clone() for name, p in feed.named_parameters() if p.grad is not None}
    return value, found


class TestDefinition:
    """Rows of all stages in one batch are what each is alone, computed from its start in every round."""

    @pytest.mark.parametrize("rounds", [0, 1, 3])
    @pytest.mark.parametrize(("kind", "name"), [("jacobi", "identity"), ("jacobi", "projection"), ("looped", "add")])
    def test_loss_and_gradients(self, model: PreTrainedModel, kind: str, name: str, rounds: int) -> None:
        thinker, feed, rows = THINKERS[kind](rounds), feed_of(name, model), layouts()
        batch = collate(rows, SPECIAL.pad)
        summed, count = supervised_loss(model, batch, thinker(model, batch, feed))
        value, found = gradients_with(model, feed, summed / count)
        slow = sum((text_loss(model, made(model, row, feed, thinker)[-1], cut(row)) for row in rows), torch.zeros(()))
        expected, gradients = gradients_with(model, feed, slow / count)
        assert value == pytest.approx(expected, abs=1e-5)
        assert_same_gradients(found, gradients)

    @pytest.mark.parametrize(("kind", "name"), [("jacobi", "projection"), ("looped", "add")])
    def test_texts(self, model: PreTrainedModel, kind: str, name: str) -> None:
        thinker, feed, rows = THINKERS[kind](2), feed_of(name, model), layouts()
        batch = collate(rows, SPECIAL.pad)
        with torch.no_grad():
            thinking = thinker(model, batch, feed, keep_cache=True)
            texts = decode(model, thinking, max_new_tokens=8, eos=SPECIAL.eos)
            alone = [written(model, made(model, row, feed, thinker)[-1], cut(row), 8) for row in rows]
        assert texts == alone

    @pytest.mark.parametrize(("kind", "name"), [("jacobi", "projection"), ("looped", "add")])
    @pytest.mark.parametrize("recorded", [True, False])
    def test_every_round_can_be_looked_at(self, kind: str, name: str, recorded: bool) -> None:
        model = tiny_model()
        thinker, feed, rows = THINKERS[kind](3), feed_of(name, model), layouts()
        batch, rounds = collate(rows, SPECIAL.pad), Rounds()
        with torch.set_grad_enabled(recorded):
            thinker(model, batch, feed, rounds=rounds)
        assert (len(rounds.fed), len(rounds.states)) == (3, 4)
        for number, row in enumerate(rows):
            if not row.thoughts:
                continue
            for turn, inputs in enumerate(made(model, row, feed, thinker)):
                states = last_states(model, inputs)[0, row.head - 1 :]
                torch.testing.assert_close(
                    rounds.states[turn][number, : row.thoughts + 1], states, rtol=1e-4, atol=1e-4
                )
                if turn:
                    fed = rounds.fed[turn - 1][number, : row.thoughts]
                    torch.testing.assert_close(fed, inputs[0, row.head :], rtol=1e-4, atol=1e-4)

    @pytest.mark.parametrize("kind", ["jacobi", "looped"])
    def test_with_and_without_gradients_alike(self, kind: str) -> None:
        model, batch = tiny_model("gpt2"), collate(layouts(), SPECIAL.pad)
        thinker, feed = THINKERS[kind](3), Identity()
        kept, free = thinker(model, batch, feed, keep_cache=True), None
        with torch.no_grad():
            free = thinker(model, batch, feed, keep_cache=True)
            torch.testing.assert_close(kept.states, free.states, rtol=1e-4, atol=1e-5)
            assert free.cache is not None and kept.cache is not None
            assert free.cache.get_seq_length() == batch.input_ids.shape[1]  # nothing of former rounds is left
            texts = [decode(model, thinking, max_new_tokens=6, eos=SPECIAL.eos) for thinking in (kept, free)]
        assert texts[0] == texts[1]


class TestSequential:
    """As many Jacobi rounds as thoughts are sequential thinking."""

    @pytest.mark.parametrize("rounds", [6, 9])
    def test_loss_and_gradients(self, model: PreTrainedModel, rounds: int) -> None:
        rows = layouts()
        batch = collate(rows, SPECIAL.pad)
        summed, count = supervised_loss(model, batch, Jacobi(rounds)(model, batch, Identity()))
        value, found = loss_and_gradients(model, summed / count)
        expected, gradients = loss_and_gradients(model, naive_loss(model, [cut(row) for row in rows]))
        assert value == pytest.approx(expected, abs=1e-5)
        assert_same_gradients(found, gradients)

    def test_no_pass_is_made_that_changes_nothing(self) -> None:
        model, batch, rounds = tiny_model(), collate(layouts(), SPECIAL.pad), Rounds()
        Jacobi(50)(model, batch, Identity(), rounds=rounds)
        assert len(rounds.fed) == batch.max_thoughts == 6

    def test_with_a_projection(self) -> None:
        model = tiny_model()
        feed, row = feed_of("projection", model), layouts([(2, 4)])[0]
        rounds = Rounds()
        Jacobi(4)(model, collate([row], SPECIAL.pad), feed, rounds=rounds)
        inputs = sequential(model, cut(row), SPECIAL.latent, lambda s, p: feed(s, p, model))
        torch.testing.assert_close(rounds.fed[-1][0], inputs[0, row.head :], rtol=1e-4, atol=1e-4)


class TestNoRounds:
    """Without rounds the thoughts are their tokens."""

    @pytest.mark.parametrize("kind", ["jacobi", "looped"])
    def test_it_is_one_plain_pass(self, kind: str) -> None:
        model, rows = tiny_model(), layouts()
        batch = collate(rows, SPECIAL.pad)
        states = THINKERS[kind](0)(model, batch, Identity()).states
        plain = model.base_model(  # what any causal language model makes of these tokens
            input_ids=batch.input_ids, attention_mask=batch.attention_mask.long(), position_ids=batch.position_ids
        ).last_hidden_state[:, batch.first - 1 :]
        torch.testing.assert_close(
            states[batch.attention_mask[:, batch.first - 1 :]], plain[batch.attention_mask[:, batch.first - 1 :]]
        )

    @pytest.mark.parametrize("kind", ["jacobi", "looped"])
    def test_rows_without_thoughts_are_what_they_always_are(self, kind: str) -> None:
        model, batch = tiny_model(), collate(layouts([(0, 0), (1, 0)]), SPECIAL.pad)
        got: Thinking = THINKERS[kind](3)(model, batch, Identity())
        torch.testing.assert_close(got.states, think(model, batch).states)


class TestRows:
    """A row's result is its own."""

    @pytest.mark.parametrize("freeze", [False, True])
    @pytest.mark.parametrize(("most", "per_step"), [(6, 1), (3, 2), (2, 2)])
    def test_rounds_of_its_own(self, most: int, per_step: int, freeze: bool) -> None:
        """One a hidden step: rows of all stages share a batch. Thoughts that were read in turn may stay."""
        model, rows, feed = tiny_model(), layouts(), Add()
        batch = collate(rows, SPECIAL.pad)
        summed, count = supervised_loss(model, batch, Looped(most, per_step, freeze)(model, batch, feed))
        value, found = loss_and_gradients(model, summed / count)
        slow = torch.zeros(())
        for row in rows:
            own = min(most, -(-row.thoughts // per_step))
            kept = per_step if freeze else None
            inputs = in_rounds(model, cut(row), SPECIAL.latent, lambda s, p: feed(s, p, model), own, True, kept)
            slow = slow + text_loss(model, inputs[-1], cut(row))
        expected, gradients = loss_and_gradients(model, slow / count)
        assert value == pytest.approx(expected, abs=1e-5)
        assert_same_gradients(found, gradients)

    @pytest.mark.parametrize("kind", ["jacobi", "looped"])
    def test_batch_mates_do_not_matter(self, model: PreTrainedModel, kind: str) -> None:
        thinker, rows = THINKERS[kind](2), layouts()
        batch = collate(rows, SPECIAL.pad)
        with torch.no_grad():
            together = thinker(model, batch, Identity())
            for number, row in enumerate(rows):
                single = collate([row], SPECIAL.pad, align=True)
                alone = thinker(model, single, Identity()).states[0]
                there = together.states[number, : len(alone)]
                torch.testing.assert_close(there[: len(row.ids) - row.head + 1], alone, rtol=1e-4, atol=1e-4)

    def test_eager_attention_too(self) -> None:
        model, batch = tiny_model("llama", attn_implementation="eager"), collate(layouts(), SPECIAL.pad)
        other = tiny_model("llama")
        for thinker in (Jacobi(2), Looped(2)):
            pair = [supervised_loss(m, batch, thinker(m, batch, Identity()))[0].item() for m in (model, other)]
            assert pair[0] == pytest.approx(pair[1], abs=1e-4)


@pytest.mark.parametrize("kind", ["jacobi", "looped"])
def test_layers_that_are_computed_again(kind: str) -> None:
    model, feed, rows = tiny_model("gpt2", resid_pdrop=0.1), feed_of("projection", tiny_model("gpt2")), layouts()
    batch, found = collate(rows, SPECIAL.pad), []
    for checkpointing in (False, True):
        torch.manual_seed(0)
        thinking = THINKERS[kind](3)(model, batch, feed, checkpointing=checkpointing)
        summed, count = supervised_loss(model, batch, thinking)
        found.append(gradients_with(model, feed, summed / count))
    assert found[0][0] == pytest.approx(found[1][0], abs=1e-6)
    assert_same_gradients(found[1][1], found[0][1])


def test_what_cannot_be() -> None:
    with pytest.raises(UserError, match="rounds is -1"):
        Jacobi(-1)
    with pytest.raises(UserError, match="per_step is 0"):
        Looped(2, per_step=0)
    with pytest.raises(UserError, match="freeze is true, and per_step is not given"):
        Looped(2, freeze=True)
    assert Looped(2).settings() == {"rounds": 2, "per_step": None}  # as checkpoints had it before
    assert Looped(2, 1, freeze=True).settings()["freeze"] is True
    windows: dict[str, Any] = {"sliding_window": 4, "use_sliding_window": True, "max_window_layers": 0}
    model = tiny_model("qwen2", layer_types=["sliding_attention"] * 2, **windows)
    model.config._attn_implementation = "flash_attention_2"  # set, and never run
    batch = collate(layouts(MIXED), SPECIAL.pad)
    with pytest.raises(UserError, match="thoughts in rounds, and a qwen2 model"):
        Looped(2)(model, batch, Identity())

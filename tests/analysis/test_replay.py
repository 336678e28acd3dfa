"""What is said behind given thoughts, against the definition: one row, one pass, no cache.

Letters in shapes: B rows, M variants, k thoughts, D hidden width.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

from lcot.analysis import Thinker
from lcot.analysis.attention import eager_attention
from lcot.analysis.replay import Replay
from lcot.analysis.thinker import Thinks, measuring
from lcot.errors import UserError
from lcot.reasoning.batch import ThoughtBatch
from lcot.reasoning.curriculum import Markers, ThoughtKind
from lcot.reasoning.decode import decode
from lcot.reasoning.feeds import Projection
from lcot.reasoning.layout import EncodedExample
from lcot.reasoning.parallel import Jacobi, Looped
from lcot.reasoning.think import Thinking, think
from tests.analysis.machine import builder_of
from tests.analysis.support import naive_log_probability, naive_text, problems, random_setting
from tests.oracle import embedded

K, MOST = 3, 4


def setting(
    architecture: str = "llama", kind: ThoughtKind = "continuous", markers: Markers = "always", rows: int = 3
) -> tuple[Replay, list[EncodedExample], list[tuple[list[int], int | None]]]:
    """A random model, and questions of different lengths with their right texts: answers, behind two tokens of mark."""
    model, tokenizer = random_setting("compact", architecture)
    builder = builder_of(tokenizer, kind, markers=markers)
    encoded = builder.encode(problems("compact", rows))
    assert len({len(one.question) for one in encoded}) > 1
    golds: list[tuple[list[int], int | None]] = [([9, *one.answer], 1) for one in encoded]
    return Replay(Thinker(model, builder), K, MOST), encoded, golds


def variants(replay: Replay, rows: int, count: int, seed: int = 0) -> Tensor:
    """``(rows * count, K, D)`` random thoughts, about as long as states are."""
    width = replay.thinker.model.config.hidden_size
    return 3 * torch.randn(rows * count, K, width, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("architecture", ["gpt2", "llama", "qwen2", "qwen3"])
@pytest.mark.parametrize(("kind", "markers"), [("continuous", "always"), ("continuous", "never"), ("pause", "always")])
def test_all_variants_are_those_of_the_definition(architecture: str, kind: ThoughtKind, markers: Markers) -> None:
    replay, encoded, golds = setting(architecture, kind, markers)
    model, vectors = replay.thinker.model, variants(replay, len(encoded), 4)
    hidden = torch.tensor([[False] * 3, [True, False, False], [True, True, False], [False] * 3]).repeat(3, 1)
    with measuring(model):
        said = replay.said(encoded, golds, vectors, hidden)
        rows = [row for row in replay.thinker.rows(encoded, K) for _ in range(4)]
        for number, (row, one) in enumerate(zip(rows, said, strict=True)):
            unseen = hidden[number].nonzero()[:, 0].tolist()
            ids, start = golds[number // 4]
            eos = replay.thinker.builder.special.eos
            assert one.tokens == naive_text(model, row, vectors[number], MOST, eos, unseen)
            expected = [naive_log_probability(model, row, vectors[number], ids, at, unseen) for at in (0, start or 0)]
            assert [one.text, one.answer] == pytest.approx(expected, abs=1e-4)
    assert len({tuple(one.tokens) for one in said}) > 4  # the vectors make a difference


@pytest.mark.parametrize("markers", ["always", "never"])
def test_what_is_hidden_makes_a_difference(markers: Markers) -> None:
    replay, encoded, golds = setting(markers=markers)
    vectors = variants(replay, 3, 1).repeat_interleave(3, dim=0)
    hidden = torch.tensor([[False, False, False], [True, False, False], [True, True, False]]).repeat(3, 1)
    with measuring(replay.thinker.model):
        said = [one.text for one in replay.said(encoded, golds, vectors, hidden)]
        nothing = [one.text for one in replay.said(encoded, golds, vectors, torch.zeros(9, 3, dtype=torch.bool))]
    assert nothing == pytest.approx([said[3 * (place // 3)] for place in range(9)], abs=1e-4)
    assert min(abs(said[place] - said[place + 1]) for place in (0, 1, 3, 4, 6, 7)) > 1e-3


def test_a_row_depends_on_nothing_else() -> None:
    replay, encoded, golds = setting(rows=4)
    vectors = variants(replay, 4, 5)
    with measuring(replay.thinker.model):
        together = replay.said(encoded, golds, vectors)
        alone = [
            one
            for number, (question, gold) in enumerate(zip(encoded, golds, strict=True))
            for variant in range(5)
            for one in replay.said([question], [gold], vectors[5 * number + variant, None])
        ]
    assert [one.tokens for one in together] == [one.tokens for one in alone]
    assert [one.text for one in together] == pytest.approx([one.text for one in alone], abs=1e-4)


def test_answers_that_cannot_be_told_apart() -> None:
    replay, encoded, golds = setting()
    with measuring(replay.thinker.model):
        said = replay.said(encoded, [(ids, None) for ids, _ in golds], variants(replay, 3, 1))
    assert [one.answer for one in said] == [None] * 3


@pytest.mark.parametrize("architecture", ["gpt2", "llama", "qwen3"])
@pytest.mark.parametrize("markers", ["always", "never"])
def test_gradients_and_attention_are_those_of_one_plain_pass(architecture: str, markers: Markers) -> None:
    replay, encoded, golds = setting(architecture, markers=markers)
    model, own = replay.thinker.model, variants(replay, 3, 1)
    with measuring(model):
        gradients, shares = replay.gradients(encoded, golds, own), replay.attention(encoded, golds, own)
    assert gradients.shape == shares.shape == (3, K)
    rows = replay.thinker.rows(encoded, K)
    model.eval()  # type: ignore[no-untyped-call]
    with eager_attention(model):
        for number, (row, (ids, _)) in enumerate(zip(rows, golds, strict=True)):
            given = own[number].clone().requires_grad_()
            around = [row.ids[: row.head], [*row.ids[row.head + K :], *ids]]
            before, after = (embedded(model, part) for part in around)
            output = model(inputs_embeds=torch.cat([before, given[None], after], dim=1), output_attentions=True)
            said = output.logits[0, row.prompt - 1 : -1].log_softmax(dim=-1)
            said[range(len(ids)), ids].sum().backward()
            assert given.grad is not None
            assert torch.allclose(gradients[number], (given.grad * given.detach()).sum(dim=-1), atol=1e-3)
            looked = torch.stack(
                [layer[0, :, row.prompt - 1 : -1, row.head : row.head + K] for layer in output.attentions]
            )
            assert torch.allclose(shares[number], looked.mean(dim=(0, 1, 2)), atol=1e-5)
    model.zero_grad()


def test_weighing_leaves_no_gradients() -> None:
    replay, encoded, golds = setting()
    with measuring(replay.thinker.model):
        replay.gradients(encoded, golds, variants(replay, 3, 1))
        assert not torch.is_grad_enabled()
    assert all(parameter.grad is None for parameter in replay.thinker.model.parameters())


def test_logits_in_pieces_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    replay, encoded, golds = setting()
    vectors = variants(replay, 3, 2)
    with measuring(replay.thinker.model):
        whole = replay.said(encoded, golds, vectors)
        monkeypatch.setattr("lcot.analysis.replay._LOGITS", 1)  # one position at a time
        pieces = replay.said(encoded, golds, vectors)
    assert [one.text for one in pieces] == pytest.approx([one.text for one in whole], abs=1e-5)


def own_of(replay: Replay, encoded: list[EncodedExample]) -> tuple[Tensor, Tensor, list[list[int]]]:
    """What a method thinks and writes about questions."""
    thinker = replay.thinker
    thoughts = thinker.think(thinker.rows(encoded, K), keep_cache=True)
    state = thoughts.thinking.state_at(thoughts.thinking.prompt_ends - 1)
    eos = thinker.builder.special.eos
    return thoughts.inputs, state, decode(thinker.model, thoughts.thinking, max_new_tokens=MOST, eos=eos)


def feed_of(model: PreTrainedModel) -> Projection:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        feed = Projection(norm=False)
        feed.build(model)
    return feed


METHODS: dict[str, Callable[[PreTrainedModel], Thinks]] = {
    "sequential": lambda model: partial(think, model),
    "before the norm": lambda model: partial(think, model, recycle="pre_norm"),
    "projected": lambda model: partial(think, model, feed=feed_of(model)),
    "jacobi": lambda model: partial(Jacobi(rounds=2), model, feed=feed_of(model)),
    "looped": lambda model: partial(Looped(rounds=2), model, feed=feed_of(model)),
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("markers", ["always", "never"])
def test_a_method_that_gets_its_thoughts_back_says_what_it_said(method: str, markers: Markers) -> None:
    replay, encoded, _ = setting(markers=markers)
    thinker = replace(replay.thinker, thinks=METHODS[method](replay.thinker.model))
    replay = replace(replay, thinker=thinker)
    with measuring(thinker.model):
        own, states, written = own_of(replay, encoded)
        assert list(replay.check(encoded, own, states, written)) == [True] * 3


def test_pauses_get_theirs_back() -> None:
    replay, encoded, _ = setting(kind="pause")
    with measuring(replay.thinker.model):
        own, states, written = own_of(replay, encoded)
        assert list(replay.check(encoded, own, states, written)) == [True] * 3


def test_what_the_head_reads_is_part_of_it() -> None:
    replay, encoded, _ = setting()

    def spoken(states: Tensor) -> Tensor:
        return -states

    def thinks(batch: ThoughtBatch, *, keep_cache: bool = False) -> Thinking:
        return replace(think(replay.thinker.model, batch, keep_cache=keep_cache), spoken=spoken)

    method = replace(replay, thinker=replace(replay.thinker, thinks=thinks))
    with measuring(method.thinker.model):
        own, states, written = own_of(method, encoded)
        assert list(replace(method, spoken=spoken).check(encoded, own, states, written)) == [True] * 3
        with pytest.raises(UserError, match="not answered as it was") as err:
            list(method.check(encoded, own, states, written))
    assert "of the logits' span" in str(err.value)


def test_a_method_whose_text_depends_on_more_is_refused() -> None:
    """Its thoughts are what it says they are, but it looks away from the question's first words behind them."""
    replay, encoded, _ = setting()

    def thinks(batch: ThoughtBatch, *, keep_cache: bool = False) -> Thinking:
        thinking = think(replay.thinker.model, batch, keep_cache=keep_cache)
        seen = batch.attention_mask.clone()
        seen[:, : batch.first - 2] = False
        again = think(replay.thinker.model, replace(batch, attention_mask=seen), keep_cache=keep_cache)
        return replace(again, fed=thinking.fed)

    method = replace(replay, thinker=replace(replay.thinker, thinks=thinks))
    with measuring(method.thinker.model):
        own, states, written = own_of(method, encoded)
        with pytest.raises(UserError, match="not answered as it was") as err:
            list(method.check(encoded, own, states, written))
    assert "depends on more than what stands at the places of its thoughts" in str(err.value)


def test_states_that_are_no_numbers_are_refused() -> None:
    replay, encoded, _ = setting()
    with measuring(replay.thinker.model):
        own, states, written = own_of(replay, encoded)
        with pytest.raises(UserError, match="not answered as it was"):
            list(replay.check(encoded, own * float("nan"), states, written))


def test_a_row_that_is_too_long_is_refused() -> None:
    replay, encoded, _ = setting()
    with pytest.raises(UserError, match="positions, and the model has 192"):
        replay.batch(encoded, [[9] * 200] * 3)

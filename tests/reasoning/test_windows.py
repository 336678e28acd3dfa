"""Layers with windows: rows far beyond a window are what each is alone, read anew with the model's own masks."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicSlidingWindowLayer

from lcot.errors import UserError
from lcot.modules import probe
from lcot.modules.probe import check_model
from lcot.reasoning.batch import collate, heads
from lcot.reasoning.cache import growing_cache
from lcot.reasoning.decode import decode
from lcot.reasoning.feeds import Identity
from lcot.reasoning.layout import IGNORE, Layout
from lcot.reasoning.parallel import Jacobi, Looped, Parallel
from lcot.reasoning.soft import think_given
from lcot.reasoning.think import Passes, supervised_loss, think
from lcot.reasoning.unmasked import Unmasked
from lcot.reasoning.until import think_until
from lcot.reasoning.windows import Windows, attended, windows_of
from tests.family_oracle import in_rounds, last_states
from tests.models import FIRST_WORD, SPECIAL, VOCABULARY
from tests.oracle import cut, embedded, naive_generate, naive_loss
from tests.reasoning.support import assert_same_gradients, loss_and_gradients

WINDOW = 8
USUAL: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 64,
    "initializer_range": 0.3,
    "sliding_window": WINDOW,
    "pad_token_id": SPECIAL.pad,
    "bos_token_id": None,
    "eos_token_id": SPECIAL.eos,
}
SOME = {"layer_types": ["sliding_attention", "full_attention", "sliding_attention"]}
KINDS: dict[str, dict[str, Any]] = {
    "gemma3_text": SOME,  # scaled embeddings, norms around each part, two sorts of rotary frequencies
    "gemma2": {**SOME, "final_logit_softcapping": None},  # capped scores
    "gpt_oss": {
        **SOME,
        "num_local_experts": 4,
        "num_experts_per_tok": 2,
        "initializer_range": 0.15,
    },  # sinks, experts, eager attention only
    "mistral": {},  # all layers slide, and take one mask
    "phi3": {},
    "olmo3": SOME,
    "qwen2": {"use_sliding_window": True, "max_window_layers": 1},
    "qwen3": {"use_sliding_window": True, "max_window_layers": 1},
}
SIZES = [(4, 2, 20), (26, 3, 4), (13, 5, 12), (3, 1, 3), (5, 0, 25), (30, 0, 2)]
"""(question, thoughts, text) of each row; thoughts end before, within and behind texts of others."""


def made(kind: str, **changes: Any) -> PreTrainedModel:
    """A random model whose layers attend sharply, and see the last few positions only."""
    config = AutoConfig.for_model(kind, **{**USUAL, **KINDS[kind], **changes})
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(1)
        model: PreTrainedModel = AutoModelForCausalLM.from_config(config)  # type: ignore[no-untyped-call]
        for name, parameter in model.named_parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
            if "sinks" in name:
                parameter.normal_()
    model.train(False)
    return model


def rows(sizes: list[tuple[int, int, int]]) -> list[Layout]:
    """Rows of random words, by (question, thoughts, text), with eot behind the thoughts."""
    draw = random.Random(0)

    def row(question: int, thoughts: int, text: int) -> Layout:
        ids = [draw.randrange(FIRST_WORD, VOCABULARY) for _ in range(question + thoughts + 1 + text)]
        prompt = question + thoughts + 1
        labels = [IGNORE] * prompt + ids[prompt:]
        return Layout(ids, labels, head=question, thoughts=thoughts, prompt=prompt, stepped=thoughts)

    return [row(*size) for size in sizes]


@pytest.fixture(params=sorted(KINDS))
def model(request: pytest.FixtureRequest) -> PreTrainedModel:
    return made(request.param)


class TestDefinition:
    """Rows of all sizes in one batch, padded left, right and between, against each alone without cache or mask."""

    @pytest.mark.parametrize("checkpointing", [False, True])
    def test_loss_and_gradients(self, model: PreTrainedModel, checkpointing: bool) -> None:
        given = rows(SIZES)
        batch = collate(given, SPECIAL.pad)
        total, count = supervised_loss(model, batch, think(model, batch, checkpointing=checkpointing))
        loss, found = loss_and_gradients(model, total / count)
        expected, slow = loss_and_gradients(model, naive_loss(model, map(cut, given)))
        assert loss == pytest.approx(expected, abs=2e-5)
        used = {name: own for name, own in slow.items() if own.norm() > 1e-3}  # a sink's bias, a key's bias: none
        assert len(used) > 0.8 * len(slow)
        assert_same_gradients({name: found[name] for name in used}, used)

    def test_texts(self, model: PreTrainedModel) -> None:
        given = rows(SIZES)
        thinking = think(model, collate(given, SPECIAL.pad), keep_cache=True)  # gold texts are gaps when text is new
        expected = [naive_generate(model, cut(row), 14, SPECIAL.eos) for row in given]
        ends = expected[1][4]  # some word that is written, so that rows end at different times
        expected = [naive_generate(model, cut(row), 14, ends) for row in given]
        assert len({len(text) for text in expected}) > 1
        with torch.no_grad():
            assert decode(model, thinking, max_new_tokens=14, eos=ends) == expected

    def test_without_thoughts_or_a_cache(self, model: PreTrainedModel) -> None:
        given = rows([(3, 0, 30), (20, 0, 4), (30, 0, 1)])
        batch = collate(given, SPECIAL.pad)
        with torch.no_grad():
            total, count = supervised_loss(model, batch, think(model, batch))
            assert (total / count).item() == pytest.approx(naive_loss(model, map(cut, given)).item(), abs=2e-5)

    @pytest.mark.parametrize("thinker", [Jacobi(2), Looped(2)], ids=["Jacobi", "Looped"])
    def test_thoughts_in_rounds(self, model: PreTrainedModel, thinker: Parallel) -> None:
        given = rows(SIZES)
        batch, own = collate(given, SPECIAL.pad), isinstance(thinker, Looped)
        batch.input_ids[:, batch.first : batch.first + batch.max_thoughts].masked_fill_(
            torch.arange(batch.max_thoughts) < batch.thoughts[:, None], SPECIAL.latent
        )

        def slow(row: Layout) -> Tensor:
            problem = cut(row)
            inputs = in_rounds(model, problem, SPECIAL.latent, lambda states, _: states, thinker.rounds, own)[-1]
            inputs = torch.cat([inputs, embedded(model, problem.after + problem.text)], dim=1)
            logits = model(inputs_embeds=inputs, use_cache=False).logits[0, -len(problem.text) - 1 : -1]
            return torch.nn.functional.cross_entropy(logits, torch.tensor(problem.text), reduction="sum")

        total, _ = supervised_loss(model, batch, thinker(model, batch, Identity()))
        loss, found = loss_and_gradients(model, total)
        expected, gradients = loss_and_gradients(model, torch.stack([slow(row) for row in given]).sum())
        assert loss == pytest.approx(expected, rel=1e-5)
        used = {name: own for name, own in gradients.items() if own.norm() > 1e-2}
        assert_same_gradients({name: found[name] for name in used}, used)
        kept = thinker(model, batch, Identity(), keep_cache=True)  # former rounds lie in the cache, masked
        with torch.no_grad():
            free = thinker(model, batch, Identity(), keep_cache=True)
            texts = [decode(model, own, max_new_tokens=9, eos=-1) for own in (kept, free)]
            alone = [collate([row], SPECIAL.pad) for row in given]
            for one in alone:
                one.input_ids[:, one.first : one.first + one.max_thoughts] = SPECIAL.latent
            made_alone = [thinker(model, one, Identity(), keep_cache=True) for one in alone]
            assert texts[0] == texts[1] == [decode(model, own, max_new_tokens=9, eos=-1)[0] for own in made_alone]

    def test_thoughts_until_a_row_says_stop(self, model: PreTrainedModel) -> None:
        numbers = [0, 5, 2, 3]
        given = rows([(number, 1, 0) for number in (4, 26, 15, 9)])
        prompts = [
            Layout(row.ids[: row.head], [IGNORE] * row.head, head=row.head, thoughts=0, prompt=row.head)
            for row in given
        ]
        with torch.no_grad():
            thinking = think_until(
                model,
                collate(prompts, SPECIAL.pad, align=True),
                lambda states, count: torch.tensor(numbers) <= count,
                6,
                SPECIAL.eot,
            )
            texts = decode(model, thinking, max_new_tokens=10, eos=-1)
        told = [
            Layout(row.ids + [SPECIAL.latent] * n + [SPECIAL.eot], [], row.head, n, row.head + n + 1, stepped=n)
            for row, n in zip(prompts, numbers, strict=True)
        ]
        assert texts == [naive_generate(model, cut(row), 10, -1) for row in told]

    def test_given_thoughts(self, model: PreTrainedModel) -> None:
        given, torn = rows([(4, 3, 20), (26, 3, 4), (12, 3, 9)]), torch.Generator().manual_seed(0)
        batch, paths = collate(given, SPECIAL.pad), 2
        vectors = torch.randn(len(given) * paths, 3, 32, generator=torn)
        for hidden in (None, torch.tensor([[False, True, False]] * len(vectors))):
            with torch.no_grad():
                thinking = think_given(model, batch, vectors, hidden=hidden)
                for number, own in enumerate(vectors):
                    row = given[number // paths]
                    inputs = torch.cat(
                        [embedded(model, row.ids[: row.head]), own[None], embedded(model, row.ids[row.head + 3 :])],
                        dim=1,
                    )
                    length = inputs.shape[1]
                    mask = torch.ones(1, length, dtype=torch.bool)
                    if hidden is None:
                        expected = last_states(model, inputs)[0]
                    else:  # by columns, which are positions in a row alone
                        there = torch.arange(length)
                        near = (there <= there[:, None]) & (there > there[:, None] - WINDOW)
                        whole = there <= there[:, None]
                        for seen in (near, whole):
                            seen[row.head + 3 :, row.head + 1] = False
                        expected = states_with(model, inputs, near, whole)
                    found = thinking.states[number, : length - row.head + 1]
                    torch.testing.assert_close(found, expected[row.head - 1 :], rtol=2e-4, atol=2e-4)
                assert mask.all()


def states_with(model: PreTrainedModel, inputs: Tensor, near: Tensor, whole: Tensor) -> Tensor:
    """Last hidden states ``(L, D)`` of a row whose layers see what two masks ``(L, L)`` say."""

    def added(seen: Tensor) -> Tensor:
        return torch.zeros(seen.shape).masked_fill(~seen, torch.finfo(torch.float32).min)[None, None]

    kinds = getattr(model.config, "layer_types", None)
    masks: Any = {"sliding_attention": added(near), "full_attention": added(whole)} if kinds else added(near)
    states: Tensor = model.base_model(inputs_embeds=inputs, attention_mask=masks, use_cache=False).last_hidden_state[0]
    return states


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("kind", ["gemma3_text", "mistral", "qwen2"])
def test_eager_and_fused_attention_see_the_same(kind: str, attention: str) -> None:
    model = made(kind)
    model.set_attn_implementation(attention)
    given = rows(SIZES)
    batch = collate(given, SPECIAL.pad)
    with torch.no_grad():
        total, count = supervised_loss(model, batch, think(model, batch))
        assert (total / count).item() == pytest.approx(naive_loss(model, map(cut, given)).item(), abs=2e-5)


def test_bfloat16(model: PreTrainedModel) -> None:
    model.bfloat16()
    batch = collate(rows(SIZES), SPECIAL.pad)
    total, _ = supervised_loss(model, batch, think(model, batch))
    loss, gradients = loss_and_gradients(model, total)
    assert loss == loss and all(bool(own.isfinite().all()) for own in gradients.values())


@torch.no_grad()
def test_transformers_own_windows_count_padding_and_ours_do_not() -> None:
    """What all of this is for: the same row with 5 columns of padding in a gap before its last token."""
    model = made("mistral", num_hidden_layers=1)
    ids = torch.arange(FIRST_WORD, FIRST_WORD + 12)[None]
    states = last_states(model, embedded(model, ids[0].tolist()))[0, -1]
    inputs = torch.cat([ids[:, :-1], torch.full((1, 5), SPECIAL.pad), ids[:, -1:]], dim=1)
    mask = torch.tensor([[True] * 11 + [False] * 5 + [True]])
    positions = torch.tensor([[*range(11), *[0] * 5, 11]])
    embeddings = model.get_input_embeddings()(inputs)
    theirs = model.base_model(
        inputs_embeds=embeddings, attention_mask=mask.long(), position_ids=positions, use_cache=False
    ).last_hidden_state[0, -1]
    ours = Passes(model, mask, positions, None)(embeddings, 0, 17)[0, -1]
    torch.testing.assert_close(ours, states, rtol=1e-5, atol=1e-5)
    assert (theirs - states).norm() > 0.1 * states.norm()


def test_a_mask_by_hand() -> None:
    """Window 2; row 0 has a column of padding on its left, row 1 a gap before its last column."""
    model = made("mistral")
    mask = torch.tensor([[False, True, True, True], [True, True, False, True]])
    positions = torch.tensor([[0, 0, 1, 2], [0, 1, 0, 2]])
    found = attended(model, Windows(2, None), mask, positions, 2, torch.float32)
    assert isinstance(found, Tensor)
    assert found[:, 0].int().tolist() == [[[0, 1, 1, 0], [0, 0, 1, 1]], [[1, 1, 0, 0], [0, 1, 0, 1]]]
    both = attended(model, Windows(2, frozenset(SOME["layer_types"])), mask, positions, 3, torch.float32)
    assert isinstance(both, dict)
    assert both["full_attention"][:, 0].int().tolist() == [[[0, 1, 1, 1]], [[1, 1, 0, 1]]]
    assert both["sliding_attention"][:, 0].int().tolist() == [[[0, 0, 1, 1]], [[0, 1, 0, 1]]]
    model.set_attn_implementation("eager")
    added = attended(model, Windows(2, None), mask, positions, 3, torch.float32)
    assert isinstance(added, Tensor) and sorted(set(added[0].flatten().tolist())) == [
        torch.finfo(torch.float32).min,
        0.0,
    ]


class TestWhoHasWindows:
    """Which models' windows are kept by masks, and which are left to transformers."""

    def test_kinds(self) -> None:
        some = frozenset(SOME["layer_types"])
        expected = {kind: Windows(WINDOW, None if kind in ("mistral", "phi3") else some) for kind in KINDS}
        assert {kind: windows_of(made(kind).config) for kind in KINDS} == expected
        assert windows_of(made("qwen2", use_sliding_window=False, sliding_window=None).config) is None
        assert windows_of(made("mistral", sliding_window=None).config) is None

    def test_flash_attention_keeps_transformers_own(self) -> None:
        config = made("mistral").config
        config._attn_implementation = "flash_attention_2"
        assert windows_of(config) is None
        assert all(type(layer) is DynamicSlidingWindowLayer for layer in growing_cache(config, 9).layers)

    def test_transformers_own_cache_is_left_to_it(self) -> None:
        model, ids = made("gemma3_text"), list(range(FIRST_WORD, FIRST_WORD + 20))
        passes = Passes(
            model, torch.ones(1, 20, dtype=torch.bool), torch.arange(20)[None], DynamicCache(config=model.config)
        )
        inputs = embedded(model, ids)
        with torch.no_grad():
            found = torch.cat([passes(inputs[:, :12], 0, 12), passes(inputs[:, 12:], 12, 20)], dim=1)
            torch.testing.assert_close(found, last_states(model, inputs), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", ["gemma3_text", "mistral", "olmo3"])
def test_the_probe_finds_windows_that_are_kept_otherwise(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = made(kind, sliding_window=4096, max_position_embeddings=512)  # far more than the probe reads
    check_model(model)
    assert model.config.sliding_window == 4096

    def wider(own: Callable[..., Windows | None]) -> Callable[..., Windows | None]:
        def of(config: Any) -> Windows | None:
            found = own(config)
            return None if found is None else Windows(found.size + 1, found.kinds)

        return of

    for place in ("lcot.reasoning.cache.windows_of", "lcot.reasoning.think.windows_of"):
        monkeypatch.setattr(place, wider(windows_of))
    with pytest.raises(UserError, match="cannot be run in padded batches"):
        probe.check_model(model)
    assert model.config.sliding_window == 4096


def test_padding_that_is_looked_at_would_use_up_a_window() -> None:
    model, rule = made("mistral"), Unmasked("uniform")
    batch = collate(rows([(3, 2, 4), (9, 2, 4)]), SPECIAL.pad)
    with pytest.raises(UserError, match="a batch has 16 columns, and layers of the model see 8"):
        rule.think(lambda own, passes: think(model, own, passes=passes), model, batch, rounds=False)
    plain = collate(rows([(9, 0, 4)]), SPECIAL.pad)  # nothing thinks, so nothing looks at padding
    rule.think(lambda own, passes: think(model, own, passes=passes), model, plain, rounds=False)


def test_heads_of_a_batch_start_free_thought_alike() -> None:
    model, given = made("gemma3_text"), rows([(26, 2, 0), (12, 2, 0)])
    prompts = collate(given, SPECIAL.pad)
    with torch.no_grad():
        free = think_until(
            model,
            heads(prompts, SPECIAL.pad),
            lambda _, count: torch.tensor([count >= 2] * 2),
            4,
            SPECIAL.eot,
        )
        told = think(model, prompts, keep_cache=True)
    torch.testing.assert_close(free.states[:, :3], told.states[:, :3], rtol=1e-4, atol=1e-4)

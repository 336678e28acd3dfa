"""Batched decoding against naive generation, Hugging Face's ``generate``, and distributions known on paper."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.generation.logits_process import (
    LogitsProcessorList,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from lcot.errors import UserError
from lcot.reasoning.batch import collate
from lcot.reasoning.curriculum import ThoughtKind
from lcot.reasoning.decode import Draws, Sampling, candidates, choose, decode, penalize
from lcot.reasoning.keyed import keyed_seed
from lcot.reasoning.layout import IGNORE, EncodedExample, Layout
from lcot.reasoning.think import think
from tests.models import SPECIAL, random_examples, tiny_model
from tests.oracle import cut, naive_generate
from tests.reasoning.support import ALL, MIXED, builder, layouts

NEVER = -1
"""An eos that no model writes."""


def prompts(plan: Sequence[tuple[int, int]] = MIXED) -> list[Layout]:
    """The same rows as :func:`layouts`, without their text."""
    examples = random_examples(len(plan))
    return [builder().prompt(row, thoughts) for row, (_, thoughts) in zip(examples, plan, strict=True)]


def write(
    model: PreTrainedModel,
    rows: Sequence[Layout],
    max_new_tokens: int = 10,
    eos: int = SPECIAL.eos,
    sampling: Sampling | None = None,
    index: Sequence[int] | None = None,
) -> list[list[int]]:
    """Think and decode one batch."""
    batch = collate(rows, SPECIAL.pad, index)
    with torch.no_grad():
        thinking = think(model, batch, keep_cache=True)
    return decode(
        model, thinking, max_new_tokens=max_new_tokens, eos=eos, sampling=sampling, index=batch.index if index else None
    )


def draws(rows: Sequence[int], seed: int = 0) -> list[Draws]:
    """Those of rows with these indices."""
    return [Draws(seed, row) for row in rows]


def countdown() -> PreTrainedModel:
    """A model that writes t - 1 after token t, with the 64 tokens as unit vectors and no work for attention."""
    model = tiny_model("llama", hidden_size=64)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                weight.zero_()
            elif name.endswith("norm.weight"):
                weight.fill_(1.0)
        model.get_input_embeddings().weight.copy_(torch.eye(64))  # type: ignore[operator]
        model.get_output_embeddings().weight.copy_(torch.eye(64).roll(-1, dims=0))  # type: ignore[no-untyped-call]
    return model


def batch_sizes(model: PreTrainedModel, run: Callable[[], object]) -> list[int]:
    """Numbers of rows that the backbone was given, pass by pass."""
    sizes: list[int] = []

    def note(module: object, args: object, kwargs: dict[str, Tensor]) -> None:
        sizes.append(kwargs["inputs_embeds"].shape[0])

    backbone = model.base_model
    assert isinstance(backbone, torch.nn.Module)
    handle = backbone.register_forward_pre_hook(note, with_kwargs=True)
    run()
    handle.remove()
    return sizes


@pytest.fixture(scope="module")
def expected(model: PreTrainedModel) -> list[list[int]]:
    """Naive texts of the mixed rows, made once for each architecture."""
    return [naive_generate(model, cut(row), 10, SPECIAL.eos) for row in prompts()]


class TestDefinition:
    """Token for token what the naive generation writes."""

    def test_texts_differ(self, expected: list[list[int]]) -> None:
        assert len({tuple(text) for text in expected}) == len(MIXED)

    def test_from_prompts(self, model: PreTrainedModel, expected: list[list[int]]) -> None:
        assert write(model, prompts()) == expected

    def test_from_rows_with_their_gold_text(self, model: PreTrainedModel, expected: list[list[int]]) -> None:
        assert write(model, layouts()) == expected

    @pytest.mark.parametrize("make", [prompts, layouts])
    def test_alone(self, model: PreTrainedModel, expected: list[list[int]], make: Callable[[], list[Layout]]) -> None:
        assert [write(model, [row])[0] for row in make()] == expected

    @pytest.mark.parametrize(
        "places", [[7, 6, 5, 4, 3, 2, 1, 0], [3, 0, 6], [5, 0], [1, 1, 2, 1, 3]], ids=lambda places: str(len(places))
    )
    @pytest.mark.parametrize("make", [prompts, layouts])
    def test_in_any_company(
        self,
        model: PreTrainedModel,
        expected: list[list[int]],
        make: Callable[[], list[Layout]],
        places: list[int],
    ) -> None:
        rows = make()
        assert write(model, [rows[place] for place in places]) == [expected[place] for place in places]

    @pytest.mark.parametrize("kind", ["none", "pause"])
    def test_single_pass_kinds(self, model: PreTrainedModel, kind: ThoughtKind) -> None:
        rows = layouts(kind=kind)
        assert write(model, rows) == [naive_generate(model, cut(row), 10, SPECIAL.eos) for row in rows]

    @pytest.mark.parametrize("kind", ["none", "continuous"])
    def test_without_thoughts_it_is_generate(self, model: PreTrainedModel, kind: ThoughtKind) -> None:
        rows = layouts([(hidden, 0) for hidden, _ in MIXED], kind)
        texts = []
        for row in rows:
            prompt = torch.tensor([row.ids[: row.prompt]])
            output = model.generate(  # type: ignore[operator]
                prompt, attention_mask=torch.ones_like(prompt), do_sample=False, max_new_tokens=10
            )
            texts.append(output[0, row.prompt :].tolist())
        assert write(model, rows) == texts


class TestEnds:
    """Where a row's text stops."""

    def test_eos_is_kept_and_nothing_follows(self, model: PreTrainedModel) -> None:
        rows = layouts(MIXED + MIXED)
        free = write(model, rows, 16, NEVER)
        assert {len(text) for text in free} == {16}
        common = Counter(token for text in free for token in set(text))
        for eos in (common.most_common(1)[0][0], free[0][0], free[3][0]):
            ended = [text[: text.index(eos) + 1] if eos in text else text for text in free]
            assert len({len(text) for text in ended}) > 1  # rows that go on, beside rows that are done
            assert write(model, rows, 16, eos) == ended
            assert write(model, rows[::-1], 16, eos) == ended[::-1]

    def test_first_token(self) -> None:
        model = countdown()
        assert write(model, layouts([(0, 0)], "none", [EncodedExample([9, 2], [], [1])])) == [[1]]

    @pytest.mark.parametrize("limit", [0, 1, 2, 9])
    def test_limit(self, limit: int) -> None:
        model, rows = tiny_model(), prompts()
        assert write(model, rows, limit, NEVER) == [text[:limit] for text in write(model, rows, 10, NEVER)]

    def test_rows_that_are_done_leave_the_batch(self) -> None:
        model, last = countdown(), [3, 20, 4, 5, 7, 7]
        rows = layouts([(0, 0)] * 6, "none", [EncodedExample([9, word], [[8]], [1]) for word in last])
        texts: list[list[int]] = []
        sizes = batch_sizes(model, lambda: texts.extend(write(model, rows, 12)))
        assert texts[0] == [2, 1] and texts[2] == [3, 2, 1] and texts[3] == [4, 3, 2, 1]
        assert texts[1] == list(range(19, 7, -1))
        assert texts[4] == texts[5] == [6, 5, 4, 3, 2, 1]
        # The question; then after token 4 half of the six rows are done, and after token 6 two of the remaining three.
        assert sizes == [6, 6, 6, 6, 3, 3, 1, 1, 1, 1, 1, 1]

    def test_no_pass_for_the_last_token(self) -> None:
        model, rows = tiny_model(), prompts([(0, 0)])
        assert batch_sizes(model, lambda: write(model, rows, 5, NEVER)) == [1] * 5


class TestChoose:
    """Frequencies of tokens whose probabilities are written down."""

    @pytest.mark.parametrize(
        ("sampling", "expected"),
        [
            pytest.param(Sampling(1.0), [8 / 16, 4 / 16, 2 / 16, 2 / 16], id="as they are"),
            pytest.param(Sampling(0.5), [64 / 88, 16 / 88, 4 / 88, 4 / 88], id="temperature squares"),
            pytest.param(Sampling(1.0, top_k=2), [2 / 3, 1 / 3, 0, 0], id="top_k"),
            pytest.param(Sampling(1.0, top_k=1), [1, 0, 0, 0], id="top_k 1"),
            pytest.param(Sampling(1.0, top_k=9), [8 / 16, 4 / 16, 2 / 16, 2 / 16], id="top_k beyond the vocabulary"),
            pytest.param(Sampling(1.0, top_p=0.6), [2 / 3, 1 / 3, 0, 0], id="top_p keeps what crosses it"),
            pytest.param(Sampling(1.0, top_p=0.74), [2 / 3, 1 / 3, 0, 0], id="top_p below a boundary"),
            pytest.param(Sampling(1.0, top_p=0.3), [1, 0, 0, 0], id="top_p below the first"),
            # Of three tokens with 4/7, 2/7, 1/7 the first two reach 0.8; without the cut at three they would not.
            pytest.param(Sampling(1.0, top_k=3, top_p=0.8), [2 / 3, 1 / 3, 0, 0], id="top_p after top_k"),
            pytest.param(Sampling(0.5, top_p=0.8), [64 / 80, 16 / 80, 0, 0], id="top_p after temperature"),
        ],
    )
    def test_frequencies(self, sampling: Sampling, expected: list[float]) -> None:
        count, order = 4000, [2, 0, 3, 1]  # the most likely token is not the first
        logits = torch.empty(4)
        logits[order] = torch.tensor([0.5, 0.25, 0.125, 0.125]).log() + 3.0
        tokens = choose(logits.expand(count, 4).clone(), sampling, draws(range(count)), step=0)
        seen = torch.bincount(tokens, minlength=4)[order] / count
        for frequency, probability in zip(seen.tolist(), expected, strict=True):
            assert frequency == pytest.approx(probability, abs=4 * (probability * (1 - probability) / count) ** 0.5)

    @pytest.mark.parametrize(
        "sampling",
        [
            Sampling(1.0),
            Sampling(0.7, top_k=20, top_p=0.8, repetition_penalty=1.05),
            Sampling(1.0, top_k=50, repetition_penalty=1.3),
            Sampling(1.5, top_p=0.9, repetition_penalty=0.8),
            Sampling(0.4, top_k=3, top_p=0.95, repetition_penalty=2.0),
        ],
        ids=str,
    )
    def test_what_is_drawn_from_is_that_of_transformers(self, sampling: Sampling) -> None:
        generator = torch.Generator().manual_seed(1)
        logits = 3 * torch.randn(40, 64, generator=generator)
        written = torch.randint(64, (40, 12), generator=generator)
        processors = LogitsProcessorList([RepetitionPenaltyLogitsProcessor(sampling.repetition_penalty)])
        processors += [TemperatureLogitsWarper(sampling.temperature), TopPLogitsWarper(sampling.top_p)]
        if sampling.top_k:
            processors.insert(2, TopKLogitsWarper(sampling.top_k))
        expected = processors(written, logits.clone()).softmax(dim=-1)  # type: ignore[arg-type]
        seen = torch.zeros(40, 64, dtype=torch.bool).scatter_(1, written, True)
        ids, cumulative, total = candidates(penalize(logits, seen, sampling.repetition_penalty), sampling)
        kept = torch.minimum(cumulative, total) / total
        got = torch.zeros_like(expected).scatter_(1, ids, kept.diff(dim=-1, prepend=torch.zeros(40, 1)))
        torch.testing.assert_close(got, expected, rtol=0, atol=2e-6)
        assert (expected[got > 1e-5] > 0).all() and (got[expected > 1e-5] > 0).all()
        assert (got.argmax(dim=-1) != logits.argmax(dim=-1)).any() == (sampling.repetition_penalty != 1.0)

    def test_greedy_takes_the_largest(self) -> None:
        logits = torch.tensor([[0.0, 3.0, 2.0], [5.0, 3.0, 2.0]])
        assert choose(logits, Sampling(), draws([0, 1]), 0).tolist() == [1, 0]
        assert choose(logits, Sampling(1e-3), draws([0, 1]), 0).tolist() == [1, 0]

    def test_draws_depend_on_seed_row_and_step(self) -> None:
        logits = torch.zeros(300, 64)
        first = choose(logits.clone(), Sampling(1.0), draws(range(300)), 0)
        assert torch.equal(choose(logits.clone(), Sampling(1.0), draws(range(300)), 0), first)
        others = [
            choose(logits.clone(), Sampling(1.0), draws(range(300), seed=1), 0),
            choose(logits.clone(), Sampling(1.0), draws(range(300, 600)), 0),
            choose(logits.clone(), Sampling(1.0), draws(range(300)), 1),
            choose(logits.clone(), Sampling(1.0), [Draws(0, row, path=1) for row in range(300)], 0),
            choose(logits.clone(), Sampling(1.0), [Draws(0, row, sample=1) for row in range(300)], 0),
        ]
        assert all((other == first).float().mean() < 0.1 for other in others)

    def test_draws_of_the_first_text_are_keyed_by_seed_row_and_step(self) -> None:
        assert Draws(3, 7).uniform(2) == (keyed_seed("token", 3, 7, 2) >> 39) / 2.0**24
        assert Draws(3, 7, path=0, sample=4).uniform(2) == (keyed_seed("token", 3, 7, 0, 4, 2) >> 39) / 2.0**24

    def test_the_largest_draw_stays_within_the_cut(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys.modules[choose.__module__], "keyed_seed", lambda *fields: 2**63 - 1)
        logits = torch.tensor([[0.1, 3.0, 2.9, 0.3, 0.2]])
        assert choose(logits.clone(), Sampling(1.0, top_k=2), draws([0]), 0).tolist() == [2]
        assert choose(logits.clone(), Sampling(1.0, top_p=0.6), draws([0]), 0).tolist() == [2]
        assert choose(logits.clone(), Sampling(1.0), draws([0]), 0).tolist() == [0]

    def test_equal_tokens_get_equal_shares(self, monkeypatch: pytest.MonkeyPatch) -> None:
        quarters = iter(range(4))
        monkeypatch.setattr(sys.modules[choose.__module__], "keyed_seed", lambda *fields: next(quarters) * 2**61)
        tokens = choose(torch.zeros(4, 4), Sampling(1.0), draws(range(4)), 0)  # on the very edges 0, 1/4, 1/2, 3/4
        assert sorted(tokens.tolist()) == [0, 1, 2, 3]

    def test_the_smallest_draw_is_the_most_likely_token(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys.modules[choose.__module__], "keyed_seed", lambda *fields: 0)
        assert choose(torch.tensor([[0.1, 3.0, 2.9]]), Sampling(1.0), draws([0]), 0).tolist() == [1]

    @pytest.mark.parametrize(
        "settings",
        [
            {"temperature": -0.1},
            {"top_k": -1},
            {"top_p": 0.0},
            {"top_p": 1.1},
            {"top_p": -1.0},
            {"repetition_penalty": 0.0},
        ],
        ids=lambda settings: str(settings),
    )
    def test_bad_settings(self, settings: dict[str, float]) -> None:
        with pytest.raises(UserError) as caught:
            Sampling(**settings)  # type: ignore[arg-type]
        name, value = next(iter(settings.items()))
        assert f"{name} {value}" in str(caught.value) and "0 or more" in str(caught.value)


class TestSampledText:
    """Sampling is keyed by row, so batches do not matter."""

    SAMPLING = Sampling(temperature=0.8, top_k=20, top_p=0.95, seed=3)
    INDEX = (11, 4, 7, 0, 5, 23, 9, 2)

    def test_a_row_draws_the_same_in_any_company(self, model: PreTrainedModel) -> None:
        rows = layouts()
        together = write(model, rows, 10, SPECIAL.eos, self.SAMPLING, self.INDEX)
        for place, row in enumerate(rows):
            assert write(model, [row], 10, SPECIAL.eos, self.SAMPLING, [self.INDEX[place]]) == [together[place]]
        backwards = write(model, rows[::-1], 10, SPECIAL.eos, self.SAMPLING, self.INDEX[::-1])
        assert backwards[::-1] == together

    def test_rows_that_leave_do_not_shift_the_draws_of_others(self) -> None:
        model, rows = tiny_model(), layouts()
        free = write(model, rows, 10, NEVER, self.SAMPLING, self.INDEX)
        eos = Counter(token for text in free for token in set(text[:-3])).most_common(1)[0][0]
        ended = [text[: text.index(eos) + 1] if eos in text else text for text in free]
        assert len({len(text) for text in ended}) > 1
        assert write(model, rows, 10, eos, self.SAMPLING, self.INDEX) == ended

    def test_other_keys_and_other_seeds_write_other_text(self) -> None:
        model, rows = tiny_model(), [layouts()[2]] * 4
        texts = write(model, rows, 10, NEVER, Sampling(1.0))
        assert len({tuple(text) for text in texts}) == 4
        assert write(model, rows, 10, NEVER, Sampling(1.0), [0, 1, 2, 3]) == texts
        assert write(model, rows, 10, NEVER, Sampling(1.0, seed=1)) != texts

    def test_greedy_ignores_index(self) -> None:
        model, rows = tiny_model(), layouts([(ALL, 2)] * 2)
        assert write(model, rows, index=[5, 6]) == write(model, rows)


class TestPenalty:
    """Tokens of the text so far become less likely."""

    def test_it_is_that_of_generate_from_embeddings(self, model: PreTrainedModel) -> None:
        rows = layouts([(hidden, 0) for hidden, _ in MIXED], "none")
        texts = []
        for row in rows:
            prompt = model.get_input_embeddings()(torch.tensor([row.ids[: row.prompt]]))
            output = model.generate(  # type: ignore[operator]
                inputs_embeds=prompt,
                attention_mask=torch.ones(prompt.shape[:2], dtype=torch.long),
                do_sample=False,
                max_new_tokens=10,
                repetition_penalty=1.7,
            )
            texts.append(output[0].tolist())
        assert write(model, rows, sampling=Sampling(repetition_penalty=1.7)) == texts
        assert write(model, rows) != texts

    @pytest.mark.parametrize("temperature", [0.0, 0.9])
    def test_a_row_has_a_text_of_its_own_in_any_company(self, model: PreTrainedModel, temperature: float) -> None:
        rows, sampling = layouts(), Sampling(temperature, seed=2, repetition_penalty=1.5)
        free = write(model, rows, 12, NEVER, sampling)
        eos = Counter(token for text in free for token in set(text[:-3])).most_common(1)[0][0]
        ended = [text[: text.index(eos) + 1] if eos in text else text for text in free]
        assert len({len(text) for text in ended}) > 1  # rows leave the batch, and the others keep their own tokens
        assert write(model, rows, 12, eos, sampling) == ended
        assert [write(model, [row], 12, eos, sampling, [place])[0] for place, row in enumerate(rows)] == ended


def test_each_end_of_the_models_configuration_ends_a_row_as_eos_does() -> None:
    model, rows, eos = countdown(), [Layout([start], [IGNORE], 1, 0, 1) for start in (30, 24, 12)], 20
    assert [row[-1] for row in write(model, rows, 10, eos)] == [20, 20, 2]
    model.config.eos_token_id = [eos, 22, 3]
    # The first two meet 22 on their way to 20, the third 3.
    first, third = [29, 28, 27, 26, 25, 24, 23, 20], [11, 10, 9, 8, 7, 6, 5, 4, 20]
    assert write(model, rows, 10, eos) == [first, [23, 20], third]

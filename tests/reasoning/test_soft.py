"""Given thoughts against the definition: splice embeddings, read the row in one pass, no cache, one row at a time.

Letters in shapes: B rows, M paths, N thoughts, D hidden width.
"""

from __future__ import annotations

import math
import random
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedModel

from lcot.reasoning.batch import ThoughtBatch, collate
from lcot.reasoning.decode import decode
from lcot.reasoning.layout import IGNORE, Layout
from lcot.reasoning.soft import contrast, repeat_rows, states_at_slots, think_given
from lcot.reasoning.think import Thinking, supervised_loss, think
from tests.models import FIRST_WORD, SPECIAL, VOCABULARY, tiny_model
from tests.places import SHARED

OFFICIAL = SHARED / "oracle" / "softcot"
WIDTH = 32


def soft_row(
    before: list[int], thoughts: int, after: list[int], target: list[int], marks: tuple[int, int] = (2, 3)
) -> Layout:
    """The row of an LLM: prompt with marked places, then a target that is supervised."""
    prompt = [*before, marks[0], *[SPECIAL.latent] * thoughts, marks[1], *after]
    labels = [IGNORE] * len(prompt) + target
    return Layout([*prompt, *target], labels, head=len(before) + 1, thoughts=thoughts, prompt=len(prompt))


def asking_row(before: list[int], thoughts: int, placeholder: int = SPECIAL.latent) -> Layout:
    """The row of an assistant: a prompt that ends with placeholders."""
    ids = [*before, *[placeholder] * thoughts]
    return Layout(ids, [IGNORE] * len(ids), head=len(before), thoughts=thoughts, prompt=len(ids))


def words(draw: random.Random, least: int, most: int) -> list[int]:
    """Random ids of ordinary words."""
    return [draw.randrange(FIRST_WORD, VOCABULARY) for _ in range(draw.randint(least, most))]


def soft_rows(rows: int, thoughts: int = 3, seed: int = 0) -> list[Layout]:
    """Rows of different lengths."""
    draw = random.Random(seed)
    return [
        soft_row(words(draw, 2, 9), thoughts, words(draw, 0, 4), [*words(draw, 2, 7), SPECIAL.eos]) for _ in range(rows)
    ]


def vectors(rows: int, thoughts: int = 3, seed: int = 0) -> Tensor:
    """``(rows, thoughts, D)`` random thoughts that want gradients."""
    return torch.randn(rows, thoughts, WIDTH, generator=torch.Generator().manual_seed(seed)).requires_grad_()


def spliced(model: PreTrainedModel, row: Layout, thoughts: Tensor) -> Tensor:
    """Input embeddings ``(1, T, D)`` of one row, its thoughts ``(N, D)`` put in one by one."""
    columns = list(model.get_input_embeddings()(torch.tensor(row.ids)))
    for place in range(row.thoughts):
        columns[row.head + place] = thoughts[place]
    return torch.stack(columns)[None]


def defined_loss(model: PreTrainedModel, row: Layout, thoughts: Tensor) -> Tensor:
    """Summed loss of one row, by one pass over it."""
    logits = model(inputs_embeds=spliced(model, row, thoughts)).logits[0, :-1]
    return F.cross_entropy(logits, torch.tensor(row.labels[1:]), ignore_index=IGNORE, reduction="sum")


def defined_text(model: PreTrainedModel, row: Layout, thoughts: Tensor, most: int, eos: int) -> list[int]:
    """Greedy text of one row; everything is read again for each token."""
    inputs, text = spliced(model, row, thoughts)[:, : row.prompt], list[int]()
    while len(text) < most and text[-1:] != [eos]:
        text.append(int(model(inputs_embeds=inputs).logits[0, -1].argmax()))
        inputs = torch.cat([inputs, model.get_input_embeddings()(torch.tensor([text[-1:]]))], dim=1)
    return text


def frozen(architecture: str = "llama", **changes: Any) -> PreTrainedModel:
    """A model with nothing to train."""
    model = tiny_model(architecture, **changes)
    model.train(False).requires_grad_(False)
    return model


@pytest.fixture(params=["gpt2", "llama", "qwen2", "qwen3"])
def llm(request: pytest.FixtureRequest) -> PreTrainedModel:
    """A frozen model of each architecture."""
    return frozen(request.param)


def total_loss(model: PreTrainedModel, batch: ThoughtBatch, thinking: Thinking) -> Tensor:
    """The summed loss of all rows."""
    return supervised_loss(model, batch, thinking)[0]


class TestDefinition:
    """Against one plain pass over one row."""

    @pytest.mark.parametrize("checkpointing", [False, True])
    def test_loss_and_gradient_of_the_thoughts(self, llm: PreTrainedModel, checkpointing: bool) -> None:
        rows, thoughts = soft_rows(5), vectors(5)
        expected = sum(defined_loss(llm, row, own) for row, own in zip(rows, thoughts, strict=True))
        assert isinstance(expected, Tensor)
        (wanted,) = torch.autograd.grad(expected, thoughts)
        batch = collate(rows, SPECIAL.pad)
        loss = total_loss(llm, batch, think_given(llm, batch, thoughts, checkpointing=checkpointing))
        (got,) = torch.autograd.grad(loss, thoughts)
        assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
        assert wanted.norm() > 1e-3 and (got - wanted).norm() < 1e-5 * wanted.norm()

    @pytest.mark.parametrize("checkpointing", [False, True])
    def test_gradients_of_a_model_that_is_trained_too(self, checkpointing: bool) -> None:
        model, rows, thoughts = tiny_model(), soft_rows(4), vectors(4)
        expected = sum(defined_loss(model, row, own) for row, own in zip(rows, thoughts, strict=True))
        assert isinstance(expected, Tensor)
        wanted = torch.autograd.grad(expected, [thoughts, *model.parameters()])
        batch = collate(rows, SPECIAL.pad)
        thinking = think_given(model, batch, thoughts, frozen=False, checkpointing=checkpointing)
        got = torch.autograd.grad(total_loss(model, batch, thinking), [thoughts, *model.parameters()])
        for mine, theirs in zip(got, wanted, strict=True):
            assert (mine - theirs).norm() <= 1e-5 * theirs.norm()

    def test_a_trained_model_may_keep_its_cache(self) -> None:
        model, rows, thoughts = tiny_model(), soft_rows(4), vectors(4)
        batch = collate(rows, SPECIAL.pad)
        plain = think_given(model, batch, thoughts, frozen=False)
        kept = think_given(model, batch, thoughts, frozen=False, keep_cache=True)
        assert kept.cache is not None and plain.cache is None
        one = torch.autograd.grad(total_loss(model, batch, plain), list(model.parameters()))
        two = torch.autograd.grad(total_loss(model, batch, kept), list(model.parameters()))
        assert all((a - b).norm() <= 1e-5 * b.norm() for a, b in zip(one, two, strict=True))

    def test_text(self, llm: PreTrainedModel) -> None:
        rows, thoughts = soft_rows(6), vectors(6)
        expected = [defined_text(llm, row, own, 8, SPECIAL.eos) for row, own in zip(rows, thoughts, strict=True)]
        batch = collate(rows, SPECIAL.pad)
        got = decode(
            llm, think_given(llm, batch, thoughts, keep_cache=True), max_new_tokens=8, eos=SPECIAL.eos
        )  # behind the prompt, with the gold text of the batch masked
        assert got == expected

    def test_paths_are_rows_of_their_own(self, llm: PreTrainedModel) -> None:
        rows, thoughts = soft_rows(3), vectors(6)
        batch = collate(rows, SPECIAL.pad)
        together = think_given(llm, batch, thoughts, keep_cache=True)
        apart = think_given(llm, repeat_rows(batch, 2), thoughts, keep_cache=True)
        assert torch.allclose(together.states, apart.states, atol=1e-5)
        assert decode(llm, together, max_new_tokens=5, eos=SPECIAL.eos) == decode(
            llm, apart, max_new_tokens=5, eos=SPECIAL.eos
        )

    def test_a_batch_of_sixteen_is_sixteen_of_one(self) -> None:
        model, rows, thoughts = frozen(), soft_rows(16), vectors(16)
        batch = collate(rows, SPECIAL.pad)
        together = think_given(model, batch, thoughts, keep_cache=True)
        texts = decode(model, together, max_new_tokens=6, eos=SPECIAL.eos)
        total = total_loss(model, batch, think_given(model, batch, thoughts)).item()
        alone = 0.0
        for place, row in enumerate(rows):
            one, own = collate([row], SPECIAL.pad), thoughts[place : place + 1]
            alone += total_loss(model, one, think_given(model, one, own)).item()
            thinking = think_given(model, one, own, keep_cache=True)
            assert decode(model, thinking, max_new_tokens=6, eos=SPECIAL.eos) == [texts[place]]
        assert total == pytest.approx(alone, rel=1e-5)


class TestPlaces:
    """Which columns the thoughts take."""

    def test_only_placeholders_are_replaced(self) -> None:
        """With thoughts that are the tokens' own embeddings, the row is read as if nothing had been put in."""
        model, rows = frozen(), soft_rows(4)
        batch = collate(rows, SPECIAL.pad)
        own = model.get_input_embeddings()(batch.input_ids[:, batch.first : batch.first + 3])
        plain = model(
            input_ids=batch.input_ids, attention_mask=batch.attention_mask.long(), position_ids=batch.position_ids
        ).logits
        states = think_given(model, batch, own).states
        head = model.get_output_embeddings()  # type: ignore[no-untyped-call]
        real = batch.attention_mask[:, batch.first - 1 :]
        assert torch.allclose(head(states)[real], plain[:, batch.first - 1 :][real], atol=1e-5)

    def test_what_the_placeholder_token_is_does_not_matter(self) -> None:
        model, thoughts = frozen(), vectors(3)
        batch = collate(soft_rows(3), SPECIAL.pad)
        other = batch.input_ids.clone()
        other[:, batch.first : batch.first + 3] = SPECIAL.eos  # the published placeholders end a text elsewhere
        states = [think_given(model, batch, thoughts).states]
        object.__setattr__(batch, "input_ids", other)
        states.append(think_given(model, batch, thoughts).states)
        assert torch.equal(*states)

    def test_no_thoughts_is_the_plain_model(self, llm: PreTrainedModel) -> None:
        draw = random.Random(3)
        rows = []
        for _ in range(4):
            prompt, target = words(draw, 3, 8), [*words(draw, 2, 5), SPECIAL.eos]
            labels = [IGNORE] * len(prompt) + target
            rows.append(Layout([*prompt, *target], labels, head=len(prompt), thoughts=0, prompt=len(prompt)))
        batch = collate(rows, SPECIAL.pad)
        nothing = torch.zeros(4, 0, WIDTH)
        given, plain = (
            think_given(llm, batch, nothing, keep_cache=True),
            think(llm, batch, keep_cache=True),
        )
        assert torch.equal(given.states, plain.states)
        assert decode(llm, given, max_new_tokens=6, eos=SPECIAL.eos) == [
            defined_text(llm, row, nothing[0], 6, SPECIAL.eos) for row in rows
        ]

    def test_a_row_with_fewer_thoughts_reads_its_own_tokens(self) -> None:
        model, thoughts = frozen(), vectors(2, 4)
        rows = [soft_row([9, 8], 4, [7], [20, 1]), soft_row([9, 8, 30], 2, [7, 7, 7], [21, 22, 1])]
        batch = collate(rows, SPECIAL.pad)
        loss = total_loss(model, batch, think_given(model, batch, thoughts))
        expected = sum(defined_loss(model, row, own).item() for row, own in zip(rows, thoughts, strict=True))
        assert loss.item() == pytest.approx(expected, rel=1e-6)
        (gradient,) = torch.autograd.grad(loss, thoughts)
        assert not gradient[1, 2:].any() and gradient[1, :2].any()


class TestCost:
    """What is computed and kept."""

    def test_the_prompt_is_read_once_for_all_paths_and_without_a_graph(self) -> None:
        model, batch = frozen(), collate(soft_rows(2), SPECIAL.pad)
        seen: list[tuple[int, int, bool]] = []

        def note(module: object, args: object, kwargs: dict[str, Any], output: Any) -> None:
            rows, columns, _ = kwargs["inputs_embeds"].shape
            seen.append((rows, columns, output.last_hidden_state.requires_grad))

        backbone = model.base_model
        assert isinstance(backbone, nn.Module)
        handle = backbone.register_forward_hook(note, with_kwargs=True)
        think_given(model, batch, vectors(6))
        handle.remove()
        length = batch.input_ids.shape[1]
        assert seen == [(2, batch.first, False), (6, length - batch.first, True)]

    def test_checkpointing_keeps_less_for_the_backward_pass(self) -> None:
        model, batch, thoughts = frozen(), collate(soft_rows(4), SPECIAL.pad), vectors(4)
        kept = []
        for checkpointing in (False, True):
            sizes = dict[int, int]()

            def pack(tensor: Tensor, sizes: dict[int, int] = sizes) -> Tensor:
                if not isinstance(tensor, nn.Parameter):
                    sizes[tensor.data_ptr()] = tensor.numel()
                return tensor

            with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
                think_given(model, batch, thoughts, checkpointing=checkpointing)
            kept.append(sum(sizes.values()))
        assert kept[1] < 0.5 * kept[0]

    def test_windows_may_be_computed_again(self) -> None:
        config = {"sliding_window": 4, "use_sliding_window": True, "max_window_layers": 0}
        model, batch = frozen("qwen2", **config), collate(soft_rows(2), SPECIAL.pad)
        found = []
        for checkpointing in (False, True):
            thoughts = vectors(2)
            loss = total_loss(model, batch, think_given(model, batch, thoughts, checkpointing=checkpointing))
            found.append((loss.item(), torch.autograd.grad(loss, thoughts)[0]))
        assert found[0][0] == found[1][0]
        assert found[0][1].norm() > 1e-3 and torch.equal(found[0][1], found[1][1])


class TestHidden:
    """Thoughts that nothing behind them sees, against one pass with a mask that says so."""

    @pytest.mark.parametrize("ends", [True, False])
    def test_states_of_each_row(self, llm: PreTrainedModel, ends: bool) -> None:
        rows = soft_rows(4)
        if not ends:  # no prompt behind the thoughts: the text begins at the last of them
            rows = [replace(row, prompt=row.head + row.thoughts) for row in rows]
        hidden = torch.tensor([[True, False, False], [False, True, False], [True, True, False], [False] * 3])
        batch, thoughts = collate(rows, SPECIAL.pad), vectors(4).detach()
        thinking = think_given(llm, batch, thoughts, hidden=hidden)
        for number, (row, own) in enumerate(zip(rows, thoughts, strict=True)):
            length = len(row.ids)
            seen = torch.ones(length, length, dtype=torch.bool).tril()
            begin = row.head + row.thoughts - (not ends)
            for place in hidden[number].nonzero()[:, 0].tolist():
                seen[begin:, row.head + place] = False
            mask = torch.zeros(1, 1, length, length).masked_fill(~seen, torch.finfo(torch.float32).min)
            whole = llm.base_model(inputs_embeds=spliced(llm, row, own), attention_mask=mask).last_hidden_state[0]
            stop = length - row.head + 1
            assert torch.allclose(thinking.states[number, :stop], whole[row.head - 1 :], atol=1e-4)
            plain = llm.base_model(inputs_embeds=spliced(llm, row, own)).last_hidden_state[0]
            assert torch.allclose(whole, plain, atol=1e-4) == (number == 3)

    def test_what_is_written(self, llm: PreTrainedModel) -> None:
        """Behind the prompt alone as in front of the right text: the mask goes on."""
        rows, thoughts, hidden = soft_rows(3), vectors(3).detach(), torch.ones(3, 3, dtype=torch.bool)
        bare = [replace(row, ids=row.ids[: row.prompt], labels=row.labels[: row.prompt]) for row in rows]

        def written(own: list[Layout], unseen: Tensor | None) -> list[list[int]]:
            thinking = think_given(llm, collate(own, SPECIAL.pad), thoughts, keep_cache=True, hidden=unseen)
            return decode(llm, thinking, max_new_tokens=5, eos=SPECIAL.eos)

        assert written(rows, hidden) == written(bare, hidden) != written(bare, None)


class TestAssistant:
    """Where thoughts come from."""

    def test_states_are_those_at_the_placeholders(self, llm: PreTrainedModel) -> None:
        draw = random.Random(1)
        rows = [asking_row(words(draw, 2, 9), 4) for _ in range(5)]
        states = states_at_slots(llm, collate(rows, SPECIAL.pad))
        for row, own in zip(rows, states, strict=True):
            # What would follow the placeholders in a chat template cannot reach them.
            ids = torch.tensor([[*row.ids, 7, 8, 9]])
            whole = llm.base_model(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state
            assert torch.allclose(own, whole[0, row.head : row.head + 4], atol=1e-5)

    def test_learned_placeholders_are_paths_and_get_gradients(self) -> None:
        model, rows = frozen(), [asking_row([9, 8, 7], 3), asking_row([30], 3)]
        placeholders = torch.randn(2, WIDTH, generator=torch.Generator().manual_seed(0)).requires_grad_()
        states = states_at_slots(model, collate(rows, SPECIAL.pad), placeholders)
        assert states.shape == (4, 3, WIDTH)
        for row, paths in zip(rows, states.view(2, 2, 3, WIDTH), strict=True):
            for placeholder, own in zip(placeholders, paths, strict=True):
                inputs = spliced(model, row, placeholder.expand(3, -1))
                whole = model.base_model(inputs_embeds=inputs, attention_mask=torch.ones(1, len(row.ids)).long())
                assert torch.allclose(own, whole.last_hidden_state[0, row.head :], atol=1e-5)
        (gradient,) = torch.autograd.grad(states.sum(), placeholders)
        assert (gradient.norm(dim=1) > 1e-3).all()


class TestContrast:
    """The term that keeps paths apart."""

    def test_worked_example(self) -> None:
        """Two paths at a right angle and scale 2: -log(e² / (e² + 1)) for both."""
        thoughts = torch.tensor([[[[3.0, 0.0]], [[0.0, 5.0]]]])
        expected = math.log(1 + math.exp(-2.0))
        assert contrast(thoughts, scale=2.0, dropout=0.0).tolist() == pytest.approx([expected])

    def test_alike_paths_cost_most_and_one_path_costs_nothing(self) -> None:
        same = torch.ones(2, 3, 4, 5)
        assert contrast(same, dropout=0.0).tolist() == pytest.approx([math.log(3)] * 2)
        assert contrast(same[:, :1], dropout=0.0).tolist() == [0.0, 0.0]

    def test_mixed_precision_does_not_round_what_is_scaled_up(self) -> None:
        thoughts = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
        with torch.autocast("cpu", torch.bfloat16):
            found = contrast(thoughts, scale=1.0, dropout=0.0)
        assert torch.equal(found, contrast(thoughts, scale=1.0, dropout=0.0))

    def test_it_reaches_what_it_is_to_train(self) -> None:
        thoughts = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0)).requires_grad_()
        torch.manual_seed(0)
        (gradient,) = torch.autograd.grad(contrast(thoughts, scale=1.0).sum(), thoughts)
        assert (gradient.flatten(2).norm(dim=-1) > 1e-4).all()

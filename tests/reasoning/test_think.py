"""The cached passes against the definition, for every architecture and any mixture of rows.

Letters in shapes: B rows, L columns, P the column of the first thoughts, D hidden width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

from lcot.reasoning.batch import collate, heads
from lcot.reasoning.curriculum import ThoughtKind
from lcot.reasoning.feeds import Feed
from lcot.reasoning.layout import IGNORE, Layout
from lcot.reasoning.stepwise import Stepwise
from lcot.reasoning.think import supervised_loss, think
from lcot.reasoning.until import think_until
from tests.models import SPECIAL, random_examples, tiny_model
from tests.oracle import cut, naive_loss, naive_row_loss, naive_thoughts
from tests.reasoning.support import (
    ALL,
    MIXED,
    assert_same_gradients,
    builder,
    layouts,
    loss_and_gradients,
    row_losses,
)


def mean_loss(model: PreTrainedModel, rows: Sequence[Layout]) -> Tensor:
    """The loss of one padded batch, as training takes it."""
    batch = collate(rows, SPECIAL.pad)
    total, count = supervised_loss(model, batch, think(model, batch))
    return total / count


def calls(model: PreTrainedModel, run: Callable[[], object]) -> list[int]:
    """Numbers of columns that the backbone was given, pass by pass."""
    widths: list[int] = []

    def note(module: object, args: object, kwargs: dict[str, Tensor]) -> None:
        widths.append(kwargs["inputs_embeds"].shape[1])

    backbone = model.base_model
    assert isinstance(backbone, torch.nn.Module)
    handle = backbone.register_forward_pre_hook(note, with_kwargs=True)
    run()
    handle.remove()
    return widths


def checkpoint(model: PreTrainedModel, on: bool) -> None:
    """Switch gradient checkpointing, by the name that this release of transformers knows it under."""
    word = "enable" if on else "disable"
    switch = getattr(model, f"activation_checkpointing_{word}", None)
    (switch or getattr(model, f"gradient_checkpointing_{word}"))()


class TestDefinition:
    """Against :mod:`tests.oracle`."""

    @pytest.mark.parametrize(
        "plan",
        [
            pytest.param(MIXED, id="mixed"),
            pytest.param([(0, 0)] * 4, id="stage 0"),
            pytest.param([(1, 1), (1, 1), (1, 1), (1, 1)], id="stage 1"),
            pytest.param([(ALL, 6)] * 4, id="last stage"),
            pytest.param([(3, 5)], id="one row"),
        ],
    )
    def test_loss_and_every_gradient(self, model: PreTrainedModel, plan: list[tuple[int, int]]) -> None:
        rows = layouts(plan)
        loss, gradients = loss_and_gradients(model, mean_loss(model, rows))
        expected_loss, expected = loss_and_gradients(model, naive_loss(model, [cut(row) for row in rows]))
        assert loss == pytest.approx(expected_loss, abs=1e-5)
        assert_same_gradients(gradients, expected)

    def test_each_row_of_a_batch(self, model: PreTrainedModel) -> None:
        rows = layouts()
        batch = collate(rows, SPECIAL.pad)
        with torch.no_grad():
            losses = row_losses(model, batch, think(model, batch))
            assert losses == pytest.approx([naive_row_loss(model, cut(row)).item() for row in rows], abs=1e-4)

    def test_the_thoughts_themselves(self, model: PreTrainedModel) -> None:
        rows = layouts()
        batch = collate(rows, SPECIAL.pad)
        with torch.no_grad():
            thinking = think(model, batch)
            for number, row in enumerate(rows):
                expected = naive_thoughts(model, cut(row))[0, len(row.ids[: row.head]) :]
                assert torch.allclose(thinking.states[number, : row.thoughts], expected, atol=1e-4)


class TestControls:
    """Passes and recycling taken apart: multiple or single passes, recycled state or learned embedding."""

    def test_one_state_for_all_thoughts(self, model: PreTrainedModel) -> None:
        rows = layouts(stepwise_passes=False)
        loss, gradients = loss_and_gradients(model, mean_loss(model, rows))
        expected_loss, expected = loss_and_gradients(model, naive_loss(model, [cut(row) for row in rows]))
        assert loss == pytest.approx(expected_loss, abs=1e-5)
        assert_same_gradients(gradients, expected)
        recycled, _ = loss_and_gradients(model, mean_loss(model, layouts()))
        assert abs(loss - recycled) > 1e-4  # it is another model

    def test_pauses_give_the_same_in_one_pass_and_in_many(self, model: PreTrainedModel) -> None:
        one, many = layouts(kind="pause"), layouts(kind="pause", stepwise_passes=True)
        loss, gradients = loss_and_gradients(model, mean_loss(model, many))
        expected_loss, expected = loss_and_gradients(model, mean_loss(model, one))
        assert loss == pytest.approx(expected_loss, abs=1e-5)
        assert_same_gradients(gradients, expected)

    def test_their_passes(self) -> None:
        model = tiny_model()
        batch = collate(layouts(stepwise_passes=False), SPECIAL.pad)
        columns = batch.input_ids.shape[1]
        assert calls(model, lambda: think(model, batch)) == [batch.first, columns - batch.first]
        thoughts = calls(model, lambda: think(model, collate(layouts(), SPECIAL.pad)))
        pauses = collate(layouts(kind="pause", stepwise_passes=True), SPECIAL.pad)
        assert calls(model, lambda: think(model, pauses)) == thoughts

    @pytest.mark.parametrize(("kind", "stepwise"), [("continuous", False), ("pause", True)])
    def test_each_row_of_a_batch(self, model: PreTrainedModel, kind: ThoughtKind, stepwise: bool) -> None:
        rows = layouts(kind=kind, stepwise_passes=stepwise)
        batch = collate(rows, SPECIAL.pad)
        with torch.no_grad():
            together = row_losses(model, batch, think(model, batch))
            alone = [(mean_loss(model, [row]) * (len(row.ids) - row.prompt)).item() for row in rows]
        assert together == pytest.approx(alone, abs=1e-4)


class TestBeforeTheNorm:
    """Thoughts that are fed back before the model's final norm."""

    @staticmethod
    def naive(model: PreTrainedModel, row: Layout) -> Tensor:
        """The definition's loss of one row, summed: the input of the norm is noted, and is the next embedding."""
        problem, noted = cut(row), []
        norm = next(getattr(model.base_model, name) for name in ("norm", "ln_f") if hasattr(model.base_model, name))
        handle = norm.register_forward_pre_hook(lambda _, args: noted.append(args[0]))
        embed = model.get_input_embeddings()
        inputs = embed(torch.tensor([problem.before]))
        for _ in range(problem.thoughts):
            model(inputs_embeds=inputs, use_cache=False)
            inputs = torch.cat([inputs, noted[-1][:, -1:]], dim=1)
        handle.remove()
        inputs = torch.cat([inputs, embed(torch.tensor([problem.after + problem.text]))], dim=1)
        logits = model(inputs_embeds=inputs, use_cache=False).logits[0]
        text = torch.tensor(problem.text)
        return torch.nn.functional.cross_entropy(logits[-len(text) - 1 : -1], text, reduction="sum")

    def test_loss_and_every_gradient(self, model: PreTrainedModel) -> None:
        rows = layouts()
        batch = collate(rows, SPECIAL.pad)
        total, count = supervised_loss(model, batch, think(model, batch, recycle="pre_norm"))
        loss, gradients = loss_and_gradients(model, total / count)
        naive = torch.stack([self.naive(model, row) for row in rows]).sum() / count
        expected_loss, expected = loss_and_gradients(model, naive)
        assert loss == pytest.approx(expected_loss, abs=1e-5)
        assert_same_gradients(gradients, expected)
        behind, _ = loss_and_gradients(model, mean_loss(model, rows))
        assert abs(loss - behind) > 1e-4

    def test_free_thoughts_are_the_same_number_of_fixed_ones(self, model: PreTrainedModel) -> None:
        prompts = collate([builder().prompt(row, 3) for row in random_examples(4)], SPECIAL.pad)
        stopped: list[Tensor] = []

        def stop(states: Tensor, thoughts: int) -> Tensor:
            stopped.append(states)
            return torch.full((len(states),), thoughts == 3)

        with torch.no_grad():
            fixed = think(model, prompts, recycle="pre_norm")
            free = think_until(model, heads(prompts, SPECIAL.pad), stop, 5, SPECIAL.eot, recycle="pre_norm")
        assert torch.allclose(free.states, fixed.states, atol=1e-4)
        assert torch.allclose(torch.stack(stopped, dim=1), fixed.states[:, :4], atol=1e-4)

    def test_free_thoughts_may_be_made_of_it(self, model: PreTrainedModel) -> None:
        class Halved(Feed):
            def forward(self, states: Tensor, places: Tensor, model: PreTrainedModel) -> Tensor:
                return states / 2

        prompts = collate([builder().prompt(row, 3) for row in random_examples(4)], SPECIAL.pad)
        asked, eot = heads(prompts, SPECIAL.pad), SPECIAL.eot
        with torch.no_grad():
            fixed = think(model, prompts, recycle="pre_norm", feed=Halved())
            free = think_until(
                model,
                asked,
                lambda states, n: torch.full((len(states),), n == 3),
                *(5, eot),
                recycle="pre_norm",
                made=lambda states, n: states / 2,
            )
        assert torch.allclose(free.states, fixed.states, atol=1e-4)

    def test_the_norm_is_put_back(self, model: PreTrainedModel) -> None:
        before = [name for name, _ in model.named_parameters()]
        think(model, collate(layouts(), SPECIAL.pad), recycle="pre_norm")
        assert [name for name, _ in model.named_parameters()] == before


class TestRowsAreIndependent:
    """Padding, batch mates and their order change nothing."""

    def test_alone_and_in_a_batch(self, model: PreTrainedModel) -> None:
        rows = layouts()
        batch = collate(rows, SPECIAL.pad)
        together = row_losses(model, batch, think(model, batch))
        alone = [(mean_loss(model, [row]) * (len(row.ids) - row.prompt)).item() for row in rows]
        assert together == pytest.approx(alone, abs=1e-4)

    def test_gradient_of_a_batch_is_the_sum_over_its_rows(self, model: PreTrainedModel) -> None:
        rows = layouts()
        _, together = loss_and_gradients(model, mean_loss(model, rows))
        tokens = [len(row.ids) - row.prompt for row in rows]
        parts = [mean_loss(model, [row]) * count for row, count in zip(rows, tokens, strict=True)]
        _, alone = loss_and_gradients(model, torch.stack(parts).sum() / sum(tokens))
        assert_same_gradients(together, alone)

    @pytest.mark.parametrize("order", [[7, 6, 5, 4, 3, 2, 1, 0], [3, 0, 6, 1, 7, 5, 2, 4]])
    def test_order_of_the_batch(self, model: PreTrainedModel, order: list[int]) -> None:
        rows = layouts()
        batch = collate(rows, SPECIAL.pad)
        moved = collate([rows[place] for place in order], SPECIAL.pad)
        losses = row_losses(model, batch, think(model, batch))
        assert row_losses(model, moved, think(model, moved)) == pytest.approx([losses[i] for i in order], abs=1e-4)

    def test_what_padding_holds(self, model: PreTrainedModel) -> None:
        batch = collate(layouts(), SPECIAL.pad)
        other = replace(batch, input_ids=torch.where(batch.attention_mask, batch.input_ids, 33))
        before, after = think(model, batch).states, think(model, other).states
        real = batch.attention_mask[:, batch.first - 1 :]
        assert torch.equal(before[real], after[real])


class TestPasses:
    """What is computed, and what is not."""

    def test_one_for_the_prompt_one_for_each_thought_and_every_column_once(self) -> None:
        model, batch = tiny_model(), collate(layouts(), SPECIAL.pad)
        prompt, *thoughts, rest = calls(model, lambda: think(model, batch))
        assert prompt == batch.first
        assert thoughts in ([1] * 6, [1] * 5)  # the last thought may be read together with the text behind it
        assert prompt + sum(thoughts) + rest == batch.input_ids.shape[1]

    @pytest.mark.parametrize("kind", ["pause", "none"])
    def test_a_single_one_without_continuous_thoughts(self, kind: ThoughtKind) -> None:
        model, batch = tiny_model(), collate(layouts(kind=kind), SPECIAL.pad)
        assert calls(model, lambda: think(model, batch)) == [batch.input_ids.shape[1]]

    def test_logits_at_supervised_positions_only(self) -> None:
        model, rows = tiny_model(), layouts()
        seen: list[torch.Size] = []
        head: torch.nn.Module = model.get_output_embeddings()  # type: ignore[no-untyped-call]
        handle = head.register_forward_pre_hook(lambda _, args: seen.append(args[0].shape))
        mean_loss(model, rows)
        handle.remove()
        assert seen == [(sum(len(row.ids) - row.prompt for row in rows), 32)]

    def test_the_record(self) -> None:
        model, batch = tiny_model(), collate(layouts(), SPECIAL.pad)
        columns = batch.input_ids.shape[1]
        thinking = think(model, batch, keep_cache=True)
        assert thinking.states.shape == (8, columns - batch.first + 1, 32)
        assert thinking.first == batch.first
        assert thinking.thoughts.tolist() == [thoughts for _, thoughts in MIXED]
        assert thinking.prompt_ends is batch.prompt_ends
        assert thinking.cache is not None and thinking.cache.get_seq_length() == columns
        picked = thinking.state_at(torch.tensor([batch.first - 1, *[batch.first] * 6, columns - 1]))
        assert torch.equal(picked[0], thinking.states[0, 0])
        assert torch.equal(picked[1:7], thinking.states[1:7, 1])
        assert torch.equal(picked[7], thinking.states[7, -1])

    def test_no_cache_without_thoughts_unless_asked_for(self) -> None:
        model, batch = tiny_model(), collate(layouts(kind="none"), SPECIAL.pad)
        assert think(model, batch).cache is None
        cache = think(model, batch, keep_cache=True).cache
        assert cache is not None and cache.get_seq_length() == batch.input_ids.shape[1]

    def test_prompts_without_any_text(self, model: PreTrainedModel) -> None:
        examples = random_examples(3)
        prompts = collate([builder().prompt(row, n) for row, n in zip(examples, (2, 0, 3), strict=True)], SPECIAL.pad)
        rows = collate(layouts([(0, 2), (0, 0), (0, 3)], examples=examples), SPECIAL.pad)
        with torch.no_grad():
            alone = think(model, prompts).state_at(prompts.prompt_ends - 1)
            before_text = think(model, rows).state_at(rows.prompt_ends - 1)
        assert torch.allclose(alone, before_text, atol=1e-4)


class TestLoss:
    """Closed forms and the plain language model."""

    def test_counts_the_text_behind_eot(self) -> None:
        model, examples = tiny_model(), random_examples(8)
        batch = collate(layouts(examples=examples), SPECIAL.pad)
        text = [
            sum(len(step) for step in example.steps[hidden:]) + len(example.answer)
            for example, (hidden, _) in zip(examples, MIXED, strict=True)
        ]
        assert supervised_loss(model, batch, think(model, batch))[1] == sum(text)
        assert (batch.labels != IGNORE).sum(dim=1).tolist() == text

    def test_a_model_without_opinion_loses_log_v_a_token(self) -> None:
        model = tiny_model("llama")
        with torch.no_grad():
            model.get_output_embeddings().weight.zero_()  # type: ignore[no-untyped-call]
        batch = collate(layouts(), SPECIAL.pad)
        total, count = supervised_loss(model, batch, think(model, batch))
        assert total.item() == pytest.approx(count * torch.tensor(64.0).log().item(), rel=1e-6)

    def test_a_batch_without_labels_has_loss_zero(self) -> None:
        model = tiny_model()
        batch = collate([builder().prompt(row, 2) for row in random_examples(2)], SPECIAL.pad)
        total, count = supervised_loss(model, batch, think(model, batch))
        assert (total.item(), count) == (0.0, 0)

    @pytest.mark.parametrize("kind", ["none", "continuous"])
    def test_without_thoughts_it_is_the_plain_language_model(self, model: PreTrainedModel, kind: ThoughtKind) -> None:
        rows = layouts([(hidden, 0) for hidden, _ in MIXED], kind)
        loss, gradients = loss_and_gradients(model, mean_loss(model, rows))
        batch = collate(rows, SPECIAL.pad)
        assert batch.attention_mask[:, 0].all()  # padded on the right only, so that default positions are right
        plain = model(batch.input_ids, attention_mask=batch.attention_mask.long(), labels=batch.labels).loss
        plain_loss, plain_gradients = loss_and_gradients(model, plain)
        assert loss == pytest.approx(plain_loss, abs=1e-5)
        assert_same_gradients(gradients, plain_gradients)

    def test_pauses_are_ordinary_tokens_of_one_plain_pass(self, model: PreTrainedModel) -> None:
        rows = layouts(kind="pause")
        loss, gradients = loss_and_gradients(model, mean_loss(model, rows))
        totals = []
        for row in rows:
            labels = torch.tensor([row.labels])
            plain = model(torch.tensor([row.ids]), labels=labels, use_cache=False).loss
            totals.append(plain * (labels != IGNORE).sum())
        tokens = sum(len(row.ids) - row.prompt for row in rows)
        plain_loss, plain_gradients = loss_and_gradients(model, torch.stack(totals).sum() / tokens)
        assert loss == pytest.approx(plain_loss, abs=1e-5)
        assert_same_gradients(gradients, plain_gradients)

    def test_no_thoughts_per_step_differ_from_no_thought_by_the_markers_only(self) -> None:
        marked, bare = Stepwise(thoughts_per_step=0), Stepwise(thoughts_per_step=0, kind="none")
        for example in random_examples(4):
            for stage in range(8):
                with_markers = builder().train(example, marked.resolve(stage, len(example.steps)))
                without = builder("none").train(example, bare.resolve(stage, len(example.steps)))
                markers = [place for place, token in enumerate(with_markers.ids) if token in (SPECIAL.bot, SPECIAL.eot)]
                assert markers == [with_markers.head - 1, with_markers.head]
                del with_markers.ids[markers[0] : markers[1] + 1], with_markers.labels[markers[0] : markers[1] + 1]
                assert (with_markers.ids, with_markers.labels) == (without.ids, without.labels)

"""Keys and values of thoughts against KaVa's definition: row by row, no cache, no padding, attention in the open."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import DynamicCache, PreTrainedModel

from lcot.errors import UserError
from lcot.modules.objectives.base import Objective, Scene, TeacherText, Text
from lcot.modules.objectives.keys_values import KeyValueDistillation, column_scores, kept_columns
from lcot.modules.objectives.learning import Objectives
from lcot.reasoning.batch import ThoughtBatch, collate
from lcot.reasoning.curriculum import Stage
from lcot.reasoning.feeds import Identity
from lcot.reasoning.keyed import keyed_seed
from lcot.reasoning.layout import EncodedExample, Layout
from lcot.reasoning.parallel import Jacobi
from lcot.reasoning.think import think
from tests.family_oracle import in_rounds, sequential
from tests.models import SPECIAL, random_examples, tiny_model
from tests.oracle import cut, embedded
from tests.reasoning.support import assert_same_gradients, builder, loss_and_gradients

PLAN = [(9, 3), (9, 8), (2, 2), (9, 40), (0, 3), (9, 0), (1, 5)]
"""(hidden steps, thoughts): fewer and more thoughts than tokens, steps that stay written, none hidden, no thoughts."""

PARTLY = [(number, row) for number, row in enumerate(PLAN) if row[0] and row[1]]


def rows_of(plan: list[tuple[int, int]] = PLAN, seed: int = 3) -> tuple[list[EncodedExample], list[Layout]]:
    build, examples = builder(), random_examples(len(plan), seed, steps=[4, 3])
    made = []
    for example, (hidden, thoughts) in zip(examples, plan, strict=True):
        stage = Stage(min(hidden, len(example.steps)), thoughts)
        example = replace(example, mark=0)
        made.append(build.train(example, stage).with_views(build.views(example, stage, ("teacher",))))
    return examples, made


def scene_of(model: PreTrainedModel, batch: ThoughtBatch, rounds: int | None, **objectives: Objective) -> Scene:
    def thinks(batch: ThoughtBatch, **how: Any) -> Any:
        if rounds is not None:
            return Jacobi(rounds)(model, batch, Identity(), **how)
        how.pop("rounds")
        return think(model, batch, **how)

    return Objectives(objectives).look(model, batch, thinks, False)


def pairs_of(model: PreTrainedModel, inputs: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Keys and values ``(H, L, d)`` of each layer, of one pass over a row."""
    cache = DynamicCache(config=model.config)
    model(inputs_embeds=inputs, past_key_values=cache)
    layers: list[Any] = cache.layers
    return [(layer.keys[0], layer.values[0]) for layer in layers]


def slow_row(
    model: PreTrainedModel, example: EncodedExample, row: Layout, rounds: int | None, objective: KeyValueDistillation
) -> Tensor:
    """The loss of one row, by loops over layers, heads and columns."""
    view, count = row.views["teacher"], row.thoughts
    hidden = sum(len(step) for step in example.steps[: _hidden(example, row)])
    chain = range(len(example.question), len(example.question) + hidden)
    answer = range(len(view.ids) - len(example.answer), len(view.ids) - 1)
    with torch.no_grad():
        told = pairs_of(model, embedded(model, view.ids))
        model.set_attn_implementation("eager")
        weights = model(torch.tensor([view.ids]), output_attentions=True).attentions
        model.set_attn_implementation("sdpa")
    problem = cut(row)
    if rounds is None:
        inputs = sequential(model, problem, SPECIAL.latent, lambda states, _: states)
    else:
        inputs = in_rounds(model, problem, SPECIAL.latent, lambda states, _: states, rounds, own=False)[-1]
    mine = [tuple(one[:, -count:] for one in pair) for pair in pairs_of(model, inputs)]
    total = torch.zeros(())
    for layer, (pair, own) in enumerate(zip(told, mine, strict=True)):
        heads, kept = pair[0].shape[0], []
        group = weights[layer].shape[1] // heads
        for head in range(heads):
            scores = []
            for one in chain:
                looks = [weights[layer][0, head * group + q, a, one] for q in range(group) for a in answer]
                keys = pair[0][head]
                others = [F.cosine_similarity(keys[one], keys[two], dim=0) for two in chain if two != one]
                scores.append((sum(looks) / len(looks), sum(others) / max(1, len(others))))
            apart = torch.stack([-torch.as_tensor(alike) for _, alike in scores]).softmax(dim=0)
            share = objective.importance
            final = [share * float(look) + (1 - share) * float(a) for (look, _), a in zip(scores, apart, strict=True)]
            best = sorted(range(len(final)), key=lambda at: -final[at])[:count]
            kept.append([chain[at] for at in sorted(best)])
        for told_kind, own_kind in zip(pair, own, strict=True):
            target = torch.stack([told_kind[head, places] for head, places in enumerate(kept)])
            apart = own_kind[:, : target.shape[1]] - target
            if objective.distance == "l2":
                each = apart**2
            else:
                each = torch.where(apart.abs() < 1, 0.5 * apart**2, apart.abs() - 0.5)
            spread = target.std() if objective.deviation == "row" else 1.0
            total = total + each.mean(dim=(0, 2)).sum() / spread
    return total / (2 * count * len(told))


def _hidden(example: EncodedExample, row: Layout) -> int:
    """How many steps its row does not write."""
    written = sum(1 for label in row.labels if label >= 0) - len(example.answer)
    sizes = [len(step) for step in example.steps]
    return next(hidden for hidden in range(len(sizes) + 1) if sum(sizes[hidden:]) == written)


@pytest.mark.parametrize("rounds", [3, 0, None])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"importance": 1.0, "distance": "l2"},
        {"importance": 0.0, "deviation": "none"},
        {"importance": 0.5, "distance": "l2", "deviation": "none"},
    ],
)
@pytest.mark.parametrize("architecture", ["gpt2", "llama", "qwen3"])
def test_loss_and_gradients(architecture: str, settings: dict[str, Any], rounds: int | None) -> None:
    model, (examples, rows) = tiny_model(architecture), rows_of()
    objective, batch = KeyValueDistillation(**settings), collate(rows, SPECIAL.pad)
    scene = scene_of(model, batch, rounds, kava=objective)
    assert objective.count(batch).tolist() == [len(PARTLY)]
    text, kept = Text(), objective(scene)
    value, found = loss_and_gradients(model, 0.1 * text(scene)[0] + kept[0])
    slow = torch.zeros(())
    for number, _ in PARTLY:
        slow = slow + slow_row(model, examples[number], rows[number], rounds, objective)
    assert kept.item() == pytest.approx(slow.item(), rel=1e-5)
    again = scene_of(model, batch, rounds, kava=objective)
    expected, gradients = loss_and_gradients(model, 0.1 * text(again)[0] + slow)
    assert value == pytest.approx(expected, rel=1e-5)
    assert_same_gradients(found, gradients)


class TestWorkedExample:
    """Four columns of one head, two thoughts, λ = .5.

    Keys are e₁, e₁, e₂ and -e₁. Sums of the similarities to the others: 1 + 0 - 1 = 0, 0, 0 and -1 - 1 + 0 = -2, so
    minus the means are 0, 0, 0 and 2/3, and with Z = 3 + exp(2/3) ≈ 4.948 R is .202 three times and .394. Attention is
    .1, .0, .5, .1: S = .151, .101, .351, .247. The third and the fourth column are kept; with three thoughts the first
    one as well, and it stands first.
    """

    KEYS = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 3.0], [-2.0, 0.0]])[None, None, None]
    REAL = torch.ones(1, 4, dtype=torch.bool)
    LOOKS = torch.tensor([0.1, 0.0, 0.5, 0.1])[None, None, None]

    def test_scores(self) -> None:
        scores = column_scores(self.KEYS, self.REAL, self.LOOKS, 0.5)
        assert scores.flatten().tolist() == pytest.approx([0.1511, 0.1011, 0.3511, 0.2469], abs=2e-4)

    @pytest.mark.parametrize(("thoughts", "kept"), [(1, [2]), (2, [2, 3]), (3, [0, 2, 3]), (4, [0, 1, 2, 3])])
    def test_columns(self, thoughts: int, kept: list[int]) -> None:
        scores = column_scores(self.KEYS, self.REAL, self.LOOKS, 0.5)
        chosen, there = kept_columns(scores, self.REAL, torch.tensor([thoughts]), thoughts)
        assert chosen.flatten().tolist() == kept and there.all()

    def test_of_equal_columns_the_earlier_one(self) -> None:
        scores = column_scores(self.KEYS[..., :2, :], self.REAL[:, :2], None, 0.0)
        assert kept_columns(scores, self.REAL[:, :2], torch.tensor([1]), 1)[0].item() == 0

    def test_more_thoughts_than_columns(self) -> None:
        chosen, there = kept_columns(torch.rand(1, 2, 1, 3), torch.tensor([[1, 1, 1], [1, 0, 0]]).bool(), *_room(5, 2))
        assert there.tolist() == [[True, True, True, False, False], [True, False, False, False, False]]
        assert chosen[0, 0, 0, :3].tolist() == [0, 1, 2] and chosen[0, 1, 0, 0] == 0

    def test_one_column_has_no_others(self) -> None:
        scores = column_scores(self.KEYS[..., :1, :], self.REAL[:, :1], None, 0.0)
        assert scores.item() == 1.0


def _room(*thoughts: int) -> tuple[Tensor, int]:
    return torch.tensor(thoughts), max(thoughts)


def value_of(model: PreTrainedModel, rows: list[Layout], objective: KeyValueDistillation, **more: Any) -> Tensor:
    made = objective(scene_of(model, collate(rows, SPECIAL.pad, **more), 3, kava=objective))
    assert isinstance(made, Tensor)
    return made[0]


@pytest.mark.parametrize("settings", [{}, {"choice": "random"}, {"importance": 1.0, "distance": "l2"}])
def test_a_row_is_what_it_is_alone(settings: dict[str, Any]) -> None:
    model, rows, objective = tiny_model(), rows_of()[1], KeyValueDistillation(**settings)
    assert not objective.mates_matter
    with torch.no_grad():
        alone = [value_of(model, [row], objective, index=[at]).item() for at, row in enumerate(rows)]
        order = [4, 6, 0, 3, 2, 5, 1]
        together = value_of(model, [rows[at] for at in order], objective, index=order).item()
        for at, value in enumerate(alone):
            padded = value_of(model, [rows[at], rows[3]], objective, index=[at, 3]).item()
            assert padded - alone[3] == pytest.approx(value, abs=1e-5)
    assert [at for at, value in enumerate(alone) if value] == [number for number, _ in PARTLY]
    assert together == pytest.approx(sum(alone), rel=1e-5)


def test_the_deviation_of_the_batch_is_that_of_all_that_is_kept() -> None:
    """As published: mates matter. One row alone is the same either way."""
    model, rows = tiny_model(), rows_of()[1]
    row, batch = KeyValueDistillation(), KeyValueDistillation(deviation="batch")
    assert batch.mates_matter
    with torch.no_grad():
        assert value_of(model, rows[:1], batch).item() == pytest.approx(value_of(model, rows[:1], row).item(), rel=1e-5)
        pair = value_of(model, rows[:2], batch).item()
        apart = sum(value_of(model, [one], row).item() for one in rows[:2])
    assert abs(pair - apart) > 1e-3
    told = torch.randn(2, 3, 2, 4, 5)
    there = torch.tensor([[1, 1, 0, 0], [1, 1, 1, 1], [1, 0, 0, 0]]).bool()
    for layer in range(2):
        kept = torch.cat([told[layer, one, :, there[one]].flatten() for one in range(3)])
        assert batch._scale(told, there)[layer, 0].item() == pytest.approx(kept.std().item(), rel=1e-5)
        own = told[layer, 1].flatten().std().item()
        assert row._scale(told, there)[layer, 1].item() == pytest.approx(own, rel=1e-5)
    whole = torch.cat([told[:, one][..., there[one], :].flatten() for one in range(3)])
    one, squared = KeyValueDistillation(deviation="all_layers"), KeyValueDistillation(deviation="batch_squared")
    assert one._scale(told, there).item() == pytest.approx(whole.std().item(), rel=1e-5)
    torch.testing.assert_close(squared._scale(told, there), batch._scale(told, there) ** 2)


def test_chance_is_keyed_by_the_run_and_the_example(monkeypatch: pytest.MonkeyPatch) -> None:
    model, rows, objective = tiny_model(), rows_of()[1], KeyValueDistillation(choice="random")
    assert not objective.attention and KeyValueDistillation().attention
    assert not KeyValueDistillation(importance=0.0).attention
    with torch.no_grad():
        first, again = (value_of(model, rows[:1], objective, index=[7]) for _ in range(2))
        other = value_of(model, rows[:1], objective, index=[8])
        monkeypatch.setenv("PL_GLOBAL_SEED", "5")
        seeded = value_of(model, rows[:1], objective, index=[7])
    assert first == again and first != other and first != seeded
    assert keyed_seed("columns", 5, 7) != keyed_seed("columns", 0, 7)


def test_no_gradient_reaches_the_teacher() -> None:
    """With the teacher's text learnt as well, the teacher's pass has a graph, and the gradients here are the same."""
    model, rows = tiny_model(), rows_of()[1]
    batch, found = collate(rows, SPECIAL.pad), []
    for more in ({}, {"teacher": TeacherText()}):
        objective = KeyValueDistillation()
        scene = scene_of(model, batch, 3, kava=objective, **more)
        value, gradients = loss_and_gradients(model, 0.1 * Text()(scene)[0] + objective(scene)[0])
        found.append((value, gradients))
    assert found[0][0] == found[1][0]
    assert_same_gradients(*(gradients for _, gradients in found))


def test_activation_checkpointing_changes_nothing() -> None:
    model, batch = tiny_model(), collate(rows_of()[1], SPECIAL.pad)
    found = []
    for checkpointing in (False, True):
        objectives = Objectives({"kava": KeyValueDistillation(), "teacher": TeacherText()})

        def thinks(batch: ThoughtBatch, *, lean: bool = checkpointing, **how: Any) -> Any:
            return Jacobi(3)(model, batch, Identity(), checkpointing=lean, **how)

        scene = objectives.look(model, batch, thinks, checkpointing)
        total = torch.stack([objective(scene)[0] for objective in objectives.wanted.values()]).sum()
        found.append(loss_and_gradients(model, total + Text()(scene)[0]))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-6)
    assert_same_gradients(*(gradients for _, gradients in found))


def test_nothing_is_kept_where_nobody_asks() -> None:
    model, batch = tiny_model(), collate(rows_of()[1], SPECIAL.pad)
    plain = scene_of(model, batch, 3, teacher=TeacherText())
    assert plain.thinking.cache is None and plain.attention is None
    assert plain.teacher is not None and plain.teacher.cache is None
    asked = scene_of(model, batch, 3, kava=KeyValueDistillation(importance=0.0))
    assert asked.thinking.cache is not None and asked.attention is None
    assert asked.teacher is not None and asked.teacher.cache is not None


def test_rows_without_anything_to_learn_give_nothing() -> None:
    model, rows, objective = tiny_model(), rows_of([(0, 2), (9, 0)])[1], KeyValueDistillation()
    assert value_of(model, rows, objective).item() == 0.0
    assert objective.count(collate(rows, SPECIAL.pad)).tolist() == [0]


def test_models_that_keep_less_are_refused_before_anything_is_trained() -> None:
    window = tiny_model("qwen2", use_sliding_window=True, sliding_window=4, max_window_layers=0)
    with pytest.raises(UserError, match="layers of a qwen2 model do not read them all"):
        KeyValueDistillation().build(window, SPECIAL)
    own = tiny_model("gpt2", reorder_and_upcast_attn=True)
    own.set_attn_implementation("eager")
    with pytest.raises(UserError, match="the attention of a gpt2 model cannot be looked at"):
        KeyValueDistillation().build(own, SPECIAL)
    KeyValueDistillation(importance=0.0).build(own, SPECIAL)  # does without
    for architecture in ("gpt2", "llama", "qwen3"):
        KeyValueDistillation().build(tiny_model(architecture), SPECIAL)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"importance": 1.5}, "importance is 1.5"),
        ({"distance": "cosine"}, "unknown distance 'cosine'"),
        ({"deviation": "rows"}, "unknown deviation 'rows'"),
        ({"choice": "first"}, "unknown choice 'first'"),
        ({"weight": -1.0}, "weight is -1.0"),
    ],
)
def test_what_cannot_be_is_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        KeyValueDistillation(**settings)

"""Forcing k thoughts: what the thoughts are for each kind, limits of the context, and what is left as it was."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from lcot.analysis import Thinker
from lcot.analysis.thinker import Thoughts, chunks, measuring
from lcot.errors import UserError
from lcot.modules import Backbone, SoftCoT
from lcot.reasoning.batch import ThoughtBatch, collate
from lcot.reasoning.curriculum import ThoughtKind
from lcot.reasoning.layout import LayoutBuilder
from lcot.reasoning.soft import think_given
from lcot.reasoning.think import Thinking, think
from tests.analysis.machine import S0, S1, S2, S4, builder_of, machine, worked_tokenizer
from tests.analysis.support import problems, random_setting
from tests.oracle import cut, naive_thoughts
from tests.problems import worked

TOKENIZER = worked_tokenizer()
IDS = TOKENIZER.get_vocab()


def named(vector: Tensor) -> str:
    """The state that a vector is, if it is one."""
    place = int(vector.argmax())
    expected = torch.zeros_like(vector)
    expected[place] = len(vector) ** 0.5
    assert torch.allclose(vector, expected, atol=1e-4)
    return str(TOKENIZER.convert_ids_to_tokens(place))


def think_once(builder: LayoutBuilder, k: int, soft: Callable[[ThoughtBatch], Tensor] | None = None) -> Thoughts:
    model = machine(TOKENIZER)

    def given(batch: ThoughtBatch, *, keep_cache: bool = False) -> Thinking:
        assert soft is not None
        return think_given(model, batch, soft(batch), keep_cache=keep_cache)

    thinker = Thinker(model, builder, given if soft is not None else None)
    rows = thinker.rows(builder.encode([worked("compact")]), k)
    with measuring(thinker.model):
        return thinker.think(rows)


class TestKinds:
    """On the machine, where every thought has a name."""

    def test_continuous_thoughts_are_the_states_before_them(self) -> None:
        thoughts = think_once(builder_of(TOKENIZER), 3)
        for tensor in (thoughts.inputs, thoughts.states, thoughts.vectors):
            assert [named(vector) for vector in tensor[0]] == [S0, S1, S2]

    def test_in_a_single_pass_all_are_the_one_state(self) -> None:
        thoughts = think_once(builder_of(TOKENIZER, stepwise_passes=False), 3)
        assert [named(vector) for vector in thoughts.inputs[0]] == [S0, S0, S0]
        assert [named(vector) for vector in thoughts.states[0]] == [S0, S0, S0]

    def test_pauses_are_inputs_and_have_states(self) -> None:
        thoughts = think_once(builder_of(TOKENIZER, "pause"), 2)
        assert [named(vector) for vector in thoughts.inputs[0]] == ["<|pause|>"] * 2
        assert [named(vector) for vector in thoughts.states[0]] == [S4, S4]
        assert [named(vector) for vector in thoughts.vectors[0]] == [S4, S4]

    def test_soft_thoughts_are_given(self) -> None:
        def soft(batch: ThoughtBatch) -> Tensor:
            given = torch.zeros(len(batch), batch.max_thoughts, width)
            given[:, :, IDS[S1]] = width**0.5
            return given

        width = len(TOKENIZER) + len(TOKENIZER) % 2
        builder = builder_of(TOKENIZER, "soft")
        thoughts = think_once(builder, 2, soft=soft)
        assert [named(vector) for vector in thoughts.vectors[0]] == [S1, S1]
        assert [named(vector) for vector in thoughts.states[0]] == [S2, S2]
        with pytest.raises(UserError, match="nothing makes them"):
            think_once(builder, 2)

    @pytest.mark.parametrize("kind", ["continuous", "pause", "none"])
    def test_none_at_all(self, kind: ThoughtKind) -> None:
        thoughts = think_once(builder_of(TOKENIZER, kind), 0)
        assert thoughts.vectors.shape[:2] == (1, 0)


@pytest.mark.parametrize("architecture", ["gpt2", "qwen3"])
def test_thoughts_of_a_padded_batch_are_those_of_the_definition(architecture: str) -> None:
    model, tokenizer = random_setting("compact", architecture)
    builder = builder_of(tokenizer, markers="always")
    encoded = builder.encode(problems("compact", 4))
    thinker = Thinker(model, builder)
    rows = thinker.rows(encoded, 3)
    assert len({len(row.ids) for row in rows}) > 1
    with measuring(model):
        thoughts = thinker.think(rows)
        for number, row in enumerate(rows):
            expected = naive_thoughts(model, cut(row))[0, row.head :]
            assert torch.allclose(thoughts.vectors[number], expected, atol=1e-4)


def test_states_before_the_final_norm() -> None:
    model, tokenizer = random_setting("compact", "qwen3")
    builder = builder_of(tokenizer, markers="always")
    rows = Thinker(model, builder).rows(builder.encode(problems("compact", 3)), 3)
    with measuring(model):
        thoughts = Thinker(model, builder, partial(think, model, recycle="pre_norm")).think(rows)
        expected = think(model, collate(rows, builder.special.pad), recycle="pre_norm")
        assert torch.allclose(thoughts.thinking.states, expected.states, atol=1e-5)
        assert torch.allclose(thoughts.states, expected.states[:, :3], atol=1e-5)
        norm = model.base_model.norm
        assert isinstance(norm, nn.Module)
        normed = norm(thoughts.inputs)
        assert torch.allclose(normed, thoughts.states, atol=1e-5)
        assert not torch.allclose(thoughts.inputs, thoughts.states, atol=0.1)


class TestLimits:
    """Numbers of thoughts that cannot be."""

    def test_more_than_the_context_takes(self) -> None:
        builder = builder_of(TOKENIZER)
        encoded = builder.encode([worked("compact")])
        question = len(encoded[0].question)
        thinker = Thinker(machine(TOKENIZER, positions=question + 5), builder)
        assert len(thinker.rows(encoded, 5)) == 1
        with pytest.raises(UserError, match=f"6 thoughts need {question + 6} positions") as refusal:
            thinker.rows(encoded, 6)
        assert refusal.value.fix == "use at most 5"
        with pytest.raises(UserError) as refusal:
            thinker.rows(encoded, 4, leads=[[1]], room=1)
        assert refusal.value.fix == "use at most 3"
        with pytest.raises(UserError) as refusal:
            thinker.rows(encoded, 0, room=6)
        assert refusal.value.fix == "shorten the question"

    def test_negative_ones_and_thoughts_of_a_method_without(self) -> None:
        builder = builder_of(TOKENIZER, "none")
        thinker = Thinker(machine(TOKENIZER), builder)
        encoded = builder.encode([worked("compact")])
        with pytest.raises(UserError, match="the number of thoughts is -1"):
            thinker.rows(encoded, -1)
        with pytest.raises(UserError, match="this model has none"):
            thinker.rows(encoded, 1)

    def test_words_in_the_place_of_thoughts(self) -> None:
        module = SoftCoT(Backbone(path="llm"), Backbone(path="assistant"), thoughts="words", states=None)
        module.model = machine(TOKENIZER)
        solver = SimpleNamespace(module=module, builder=builder_of(TOKENIZER, "none"))
        with pytest.raises(UserError, match="assistant writes words, and no thoughts"):
            Thinker.of(solver)

    def test_no_rows(self) -> None:
        with pytest.raises(UserError, match="max_rows is 0"):
            Thinker(machine(TOKENIZER), builder_of(TOKENIZER), max_rows=0)


def test_every_module_is_left_in_its_mode() -> None:
    model = machine(TOKENIZER)
    model.train()
    frozen = model.base_model.norm
    assert isinstance(frozen, nn.Module)
    frozen.eval()
    with measuring(model):
        assert not any(module.training for module in model.modules())
        assert not torch.is_grad_enabled()
    assert model.training and not frozen.training
    assert torch.is_grad_enabled()


def test_chunks_are_read_one_at_a_time() -> None:
    source = iter(range(7))
    found = chunks(source, 3)
    assert next(found) == [0, 1, 2]
    assert next(source) == 3
    assert list(found) == [[4, 5, 6]]

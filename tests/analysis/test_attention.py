"""Attention to facts: uniform on the machine, so that it can be counted; against a full pass on random models."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import replace
from itertools import islice

import pytest
import torch
from transformers import PreTrainedModel

from lcot.analysis import FactAttention, Thinker, fact_attention, group_table
from lcot.analysis.attention import (
    GROUPS,
    eager_attention,
    fact_groups,
    place_attention,
    token_facts,
)
from lcot.analysis.thinker import measuring
from lcot.datamodules.tokenizers import load_tokenizer
from lcot.errors import DataError, UserError
from lcot.metrics.problem_graph import problem_graph
from lcot.metrics.surfaces import stated_facts
from lcot.reasoning.curriculum import ThoughtKind
from lcot.reasoning.layout import LayoutBuilder
from lcot.reasoning.text import TextFormat
from lcot.reasoning.tokens import add_thought_tokens
from tests.analysis.machine import OX, builder_of, machine, worked_tokenizer
from tests.analysis.support import PROSE, Watched, counted_rows, problems, random_setting
from tests.models import ARCHITECTURES
from tests.oracle import cut, naive_thoughts
from tests.places import SHARED
from tests.problems import EDGES, PROOF, worked

GPT2 = SHARED / "gpt2_tokenizer"
TOKENIZER = worked_tokenizer()
EXAMPLE = worked("compact", OX)
SPELLED = 2
"""Further tokens of a fact with the spelled name."""


def measured(k: int, kind: ThoughtKind = "continuous") -> FactAttention:
    thinker = Thinker(machine(TOKENIZER), builder_of(TOKENIZER, kind))
    (found,) = fact_attention(thinker, [EXAMPLE], k)
    return found


class TestOnPaper:
    """The machine attends to all columns alike, so a fact of 3 tokens among n columns gets 3 / n."""

    @pytest.mark.parametrize("kind", ["continuous", "pause"])
    def test_each_place_sees_one_column_more(self, kind: ThoughtKind) -> None:
        question = len(builder_of(TOKENIZER).encode([EXAMPLE])[0].question)
        assert question == 3 * len(EDGES) + SPELLED + len("wumpus or yumpus ? Tom".split())
        found = measured(2, kind)
        assert (found.id, found.thoughts, found.heads) == ("worked", 2, 2)
        assert found.facts[:2] == (("Tom", "lempus"), ("Tom", "rompus"))
        (layer,) = found.attention
        for place, attention in enumerate(layer):
            columns = question + place
            expected = [(3 + SPELLED * (end == "ox")) / columns for _, end in found.facts]
            assert attention == pytest.approx(expected, rel=1e-5)

    def test_groups_of_each_place(self) -> None:
        found = measured(3)
        names = {fact: [groups[number] for groups in found.groups] for number, fact in enumerate(found.facts)}
        far, near = ("not_reachable",), ("reachable",)
        frontier, optimal = ("reachable", "frontier"), ("reachable", "frontier", "optimal")
        assert names == {
            ("Tom", "lempus"): [optimal, near, near, near],
            ("Tom", "rompus"): [frontier, near, near, near],
            ("lempus", "impus"): [far, optimal, frontier, near],  # met again behind the detour
            ("impus", "wumpus"): [far, far, optimal, frontier],
            ("rompus", "lempus"): [far, frontier, near, near],
            ("rompus", "ox"): [far, frontier, near, near],
            ("Alex", "rompus"): [far] * 4,
            ("Alex", "yumpus"): [far] * 4,
        }

    def test_means_of_groups(self) -> None:
        question = 3 * len(EDGES) + SPELLED + 5
        rows = {(row.place, row.group): row for row in group_table([measured(1), measured(1)])}
        first = rows[0, "frontier"]
        assert (first.thoughts, first.layer, first.facts, first.heads) == (1, 1, 4, 2)
        assert first.mean == pytest.approx(3 / question, rel=1e-5)
        second = rows[1, "frontier"]
        assert second.facts == 6
        assert second.mean == pytest.approx((3 + 3 + 5) / 3 / (question + 1), rel=1e-5)
        assert rows[0, "not_reachable"].facts == 12
        assert rows[0, "optimal"].facts == 2

    def test_places_behind_the_target_do_not_count(self) -> None:
        record = measured(4)
        assert {row.place for row in group_table([record])} == {0, 1, 2}
        assert {row.place for row in group_table([record], pending_only=False)} == {0, 1, 2, 3, 4}

    def test_two_thoughts_a_step(self) -> None:
        thinker = Thinker(machine(TOKENIZER), builder_of(TOKENIZER))
        (found,) = fact_attention(thinker, [EXAMPLE], 3, thoughts_per_step=2)
        single = measured(1)
        assert found.groups == (single.groups[0], single.groups[0], single.groups[1], single.groups[1])

    def test_without_thoughts_there_is_the_place_before_them(self) -> None:
        assert len(measured(0).groups) == 1
        assert len(measured(0, "none").attention[0]) == 1

    def test_records_are_plain(self) -> None:
        stored = json.loads(json.dumps(dataclasses.asdict(measured(1))))
        assert len(stored["attention"][0]) == 2


def full_pass(model: PreTrainedModel, builder: LayoutBuilder, number: int, k: int) -> list[torch.Tensor]:
    """Attention ``(H, k + 1, columns)`` of the places, one tensor a layer: the whole row at once, alone, eager."""
    row = builder.prompt(builder.encode(problems("compact", 3))[number], k)
    if builder.kind == "continuous":
        inputs = naive_thoughts(model, cut(row))
    else:
        inputs = model.get_input_embeddings()(torch.tensor([row.ids[: row.head + k]]))
    with eager_attention(model):
        output = model.base_model(inputs_embeds=inputs, use_cache=False, output_attentions=True)
    return [layer[0, :, row.head - 1 :] for layer in output.attentions]


WINDOWS = {"use_sliding_window": True, "sliding_window": 5, "max_window_layers": 1}


@pytest.mark.parametrize("kind", ["continuous", "pause"])
@pytest.mark.parametrize("architecture", [*ARCHITECTURES, "windows"])
def test_weights_are_those_of_a_full_eager_pass(architecture: str, kind: ThoughtKind) -> None:
    setting = ("qwen2", WINDOWS) if architecture == "windows" else (architecture, {})
    model, tokenizer = random_setting("compact", setting[0], **setting[1])
    builder, k = builder_of(tokenizer, kind, markers="always"), 3
    thinker = Thinker(model, builder)
    rows = thinker.rows(builder.encode(problems("compact", 3)), k)
    assert len({row.head for row in rows}) > 1
    with measuring(model):
        thoughts = thinker.think(rows)
        found = place_attention(thinker, thoughts, k)
        for number, row in enumerate(rows):
            start = thoughts.batch.first - row.head
            for mine, expected in zip(found, full_pass(model, builder, number, k), strict=True):
                assert mine[number, :, :, :start].abs().max() < 1e-6 if start else True  # padding gets nothing
                assert torch.allclose(mine[number, :, :, start:], expected, atol=1e-4)
                assert torch.allclose(mine[number].sum(dim=-1), torch.ones(k + 1), atol=1e-5)


def test_states_are_the_same_as_without_open_attention() -> None:
    model, tokenizer = random_setting("compact", "gpt2")
    builder = builder_of(tokenizer, markers="always")
    rows = Thinker(model, builder).rows(builder.encode(problems("compact", 3)), 2)
    with measuring(model):
        plain = Thinker(model, builder).think(rows).thinking.states
        with eager_attention(model):
            assert model.config._attn_implementation == "eager"
            opened = Thinker(model, builder).think(rows).thinking.states
    assert model.config._attn_implementation == "sdpa"
    assert torch.allclose(plain, opened, atol=1e-4)


def test_attention_is_switched_back_after_a_fault() -> None:
    model = machine(TOKENIZER)
    with pytest.raises(RuntimeError, match="within"), eager_attention(model):
        raise RuntimeError("within")
    assert model.config._attn_implementation == "sdpa"


@pytest.mark.parametrize("max_rows", [1, 2, 64])
def test_batched_equals_one_by_one(max_rows: int) -> None:
    model, tokenizer = random_setting("compact", "llama")
    builder, examples = builder_of(tokenizer), problems("compact", 4)
    together = list(fact_attention(Thinker(model, builder, max_rows=max_rows), examples, 2))
    for example, found in zip(examples, together, strict=True):
        (alone,) = fact_attention(Thinker(model, builder), [example], 2)
        assert (found.id, found.facts, found.groups) == (alone.id, alone.facts, alone.groups)
        assert torch.allclose(torch.tensor(found.attention), torch.tensor(alone.attention), atol=1e-5)


def test_memory_is_bounded() -> None:
    model, tokenizer = random_setting("compact")
    thinker, endless = Thinker(model, builder_of(tokenizer), max_rows=3), Watched(problems("compact", 2))
    with counted_rows(model) as rows:
        assert len(list(islice(fact_attention(thinker, endless, 2), 4))) == 4
    assert (max(rows), endless.taken) == (3, 6)


class TestTokens:
    """Which fact a token belongs to."""

    def test_of_words(self) -> None:
        graph = problem_graph(EXAMPLE)
        builder = builder_of(TOKENIZER)
        thinker = Thinker(machine(TOKENIZER), builder)
        encoded = builder.encode([EXAMPLE])[0]
        owners = token_facts(thinker, EXAMPLE, encoded, stated_facts(EXAMPLE, graph, "compact"))
        pieces = TOKENIZER.convert_ids_to_tokens(encoded.question)
        assert pieces[:6] == ["▁Tom", "▁lempus", ". ", "▁Tom", "▁rompus", ". "]
        assert owners[:6] == [0, 0, 0, 1, 1, 1]
        assert owners[-5:] == [-1] * 5
        assert [owners.count(number) for number in range(len(EDGES))] == [3, 3, 3, 3, 3, 5, 3, 3]

    @pytest.mark.skipif(not GPT2.is_dir(), reason="the published tokenizer is not part of the project")
    def test_of_gpt2(self) -> None:
        tokenizer = load_tokenizer(GPT2)
        builder = LayoutBuilder(tokenizer, add_thought_tokens(tokenizer), "continuous", TextFormat())
        example = worked("prose")
        facts = stated_facts(example, problem_graph(example), "prose")
        encoded = builder.encode([example])[0]
        owners = token_facts(Thinker(machine(TOKENIZER), builder), example, encoded, facts)
        for number, fact in enumerate(facts):
            ids = [token for token, owner in zip(encoded.question, owners, strict=True) if owner == number]
            assert str(tokenizer.decode(ids)).strip() == example.question[fact.start : fact.stop]

    def test_a_proof(self) -> None:
        graph = problem_graph(PROOF)
        facts = stated_facts(PROOF, graph, "proof")
        assert [len(groups) for groups in fact_groups(graph, [fact.edge for fact in facts], 1)].count(3) == 1

    def test_a_prompt_around_the_question_is_refused(self) -> None:
        builder = builder_of(TOKENIZER)
        thinker = Thinker(machine(TOKENIZER), builder)
        encoded = builder.encode([EXAMPLE])[0]
        asked = replace(encoded, question=[TOKENIZER.get_vocab()["▁a"], *encoded.question])
        with pytest.raises(UserError, match="does not stand at the beginning of its row"):
            token_facts(thinker, EXAMPLE, asked, [])


class TestRefusals:
    """What cannot be measured."""

    def test_a_model_without_weights(self, monkeypatch: pytest.MonkeyPatch) -> None:
        model = machine(TOKENIZER)
        monkeypatch.setattr(type(model), "_can_set_attn_implementation", classmethod(lambda cls: False))
        thinker = Thinker(model, builder_of(TOKENIZER))
        with pytest.raises(UserError, match="cannot be switched to 'eager'"):
            next(fact_attention(thinker, [EXAMPLE], 1))
        assert model.config._attn_implementation == "sdpa"

    def test_an_edge_that_is_not_stated(self) -> None:
        shorter = replace(EXAMPLE, question=EXAMPLE.question.replace("Tom lempus. ", ""))
        with pytest.raises(DataError, match="states 7 of its graph's 8 edges"):
            next(fact_attention(Thinker(machine(TOKENIZER), builder_of(TOKENIZER)), [shorter], 1))

    def test_settings(self) -> None:
        thinker = Thinker(machine(TOKENIZER), builder_of(TOKENIZER, text=PROSE))
        with pytest.raises(UserError, match="thoughts_per_step is 0"):
            next(fact_attention(thinker, [EXAMPLE], 1, thoughts_per_step=0))
        with pytest.raises(UserError, match="the number of thoughts is -1"):
            next(fact_attention(thinker, [EXAMPLE], -1))
        assert GROUPS == ("reachable", "frontier", "optimal", "not_reachable")

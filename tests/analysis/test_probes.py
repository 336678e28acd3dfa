"""Inner products of thoughts with nodes: one-hot on the machine, against embeddings on random models."""

from __future__ import annotations

import dataclasses
import json
from itertools import islice
from typing import Any

import pytest
import torch

from lcot.analysis import Thinker, node_products, probe_table
from lcot.analysis.attention import fact_groups
from lcot.analysis.probes import NodeProducts, node_groups
from lcot.analysis.thinker import measuring
from lcot.errors import DataError, UserError
from lcot.metrics.problem_graph import ProblemGraph, problem_graph
from lcot.reasoning.example import ReasoningExample
from tests.analysis.machine import OX, TOM, builder_of, machine, worked_tokenizer
from tests.analysis.support import Watched, counted_rows, problems, random_setting
from tests.oracle import cut, naive_thoughts
from tests.problems import worked

TOKENIZER = worked_tokenizer()
EXAMPLE = worked("compact", OX)
# The first thought is the token of a node, the second one that of another.
MOVES = {TOM: "▁lempus", "▁lempus": "▁impus"}


def measured(k: int, thoughts_per_step: int = 1) -> NodeProducts:
    thinker = Thinker(machine(TOKENIZER, {}, MOVES), builder_of(TOKENIZER))
    (found,) = node_products(thinker, [EXAMPLE], k, thoughts_per_step=thoughts_per_step)
    return found


class TestOnPaper:
    """A token's state is its own dimension, as long as its embedding: they meet in one node only."""

    def test_a_thought_that_is_a_node(self) -> None:
        found = measured(2)
        width = len(TOKENIZER) + len(TOKENIZER) % 2
        assert (found.id, found.thoughts, found.steps, found.names) == ("worked", 2, 3, OX)
        first, second = (dict(zip(found.names, cosines, strict=True)) for cosines in found.cosines)
        assert {name for name, cosine in first.items() if cosine > 0.5} == {"lempus"}
        assert {name for name, cosine in second.items() if cosine > 0.5} == {"impus"}
        assert first["lempus"] == pytest.approx(1.0, abs=1e-4)
        products = dict(zip(found.names, found.products[0], strict=True))
        assert products["lempus"] == pytest.approx(width, rel=1e-3)
        assert products["impus"] == pytest.approx(0.0, abs=1e-3)

    def test_groups_of_each_thought(self) -> None:
        found = measured(3)
        names = {name: [groups[number] for groups in found.groups] for number, name in enumerate(found.names)}
        far, near = ("not_reachable",), ("reachable",)
        frontier, optimal = ("reachable", "frontier"), ("reachable", "frontier", "optimal")
        assert names == {
            "Tom": [near] * 3,
            "lempus": [optimal, frontier, near],  # met again behind the detour
            "rompus": [frontier, near, near],
            "impus": [far, optimal, frontier],
            "ox": [far, frontier, near],
            "wumpus": [far, far, optimal],
            "Alex": [far] * 3,
            "yumpus": [far] * 3,
        }

    def test_means_of_groups(self) -> None:
        rows = {(row.thought, row.group): row for row in probe_table([measured(2), measured(2)])}
        first = rows[1, "frontier"]
        assert (first.thoughts, first.nodes) == (2, 4)
        assert first.cosine == pytest.approx(0.5, abs=1e-4)  # lempus, and not rompus
        assert rows[1, "optimal"].cosine == pytest.approx(1.0, abs=1e-4)
        assert (rows[1, "not_reachable"].nodes, rows[2, "not_reachable"].nodes) == (10, 6)
        assert rows[2, "optimal"].product == pytest.approx(measured(2).products[1][OX.index("impus")])

    def test_thoughts_behind_the_target_do_not_count(self) -> None:
        record = measured(4)
        assert {row.thought for row in probe_table([record])} == {1, 2, 3}
        assert {row.thought for row in probe_table([record], pending_only=False)} == {1, 2, 3, 4}

    def test_nothing_behind_the_target_is_on_the_way(self) -> None:
        graph = ProblemGraph(("R", "a", "T", "b", "c"), ((0, 1), (1, 2), (1, 3), (3, 4)), root=0, target=2)
        assert [graph.on_the_way(depth) for depth in range(-1, 5)] == [set(), {0}, {1}, {2}, set(), set()]
        assert node_groups(graph, 3)[4] == ("reachable", "frontier")  # c leads nowhere, one step behind the target
        assert not any("optimal" in own for own in node_groups(graph, 3))
        assert [groups[-1] for groups in fact_groups(graph, graph.edges, 1)] == [
            "reachable", "optimal", "frontier", "not_reachable",
        ]  # fmt: skip
        assert not any("optimal" in own for reached in (2, 3) for own in fact_groups(graph, graph.edges, reached))

    def test_two_thoughts_a_step(self) -> None:
        graph = problem_graph(EXAMPLE)
        reached = [node_groups(graph, steps) for steps in (0, 1, 1, 2)]
        assert list(measured(4, thoughts_per_step=2).groups) == reached

    def test_records_are_plain(self) -> None:
        assert len(json.loads(json.dumps(dataclasses.asdict(measured(2))))["cosines"]) == 2


@pytest.mark.parametrize("max_rows", [1, 64])
def test_against_the_definition(max_rows: int) -> None:
    model, tokenizer = random_setting("compact", "gpt2")
    builder, examples = builder_of(tokenizer, markers="always"), problems("compact", 4)
    found = list(node_products(Thinker(model, builder, max_rows=max_rows), examples, 2))
    table: Any = model.get_input_embeddings().weight
    with measuring(model):
        for example, record in zip(examples, found, strict=True):
            row = builder.prompt(builder.encode([example])[0], 2)
            thoughts = naive_thoughts(model, cut(row))[0, row.head : row.head + 2]
            for number, name in enumerate(record.names):
                ids = tokenizer(name, add_special_tokens=False)["input_ids"]
                embedding = table[ids].mean(dim=0)  # some names have several tokens
                expected = (thoughts @ embedding).tolist()
                assert [products[number] for products in record.products] == pytest.approx(expected, rel=1e-3, abs=1e-4)
                alike = torch.nn.functional.cosine_similarity(thoughts, embedding[None], dim=-1).tolist()
                assert [cosines[number] for cosines in record.cosines] == pytest.approx(alike, rel=1e-3, abs=1e-4)


def test_memory_is_bounded() -> None:
    model, tokenizer = random_setting("compact")
    thinker, endless = Thinker(model, builder_of(tokenizer), max_rows=3), Watched(problems("compact", 2))
    with counted_rows(model) as rows:
        assert len(list(islice(node_products(thinker, endless, 2), 4))) == 4
    assert (max(rows), endless.taken) == (3, 6)


def test_what_cannot_be_measured() -> None:
    thinker = Thinker(machine(TOKENIZER), builder_of(TOKENIZER))
    with pytest.raises(DataError, match="carries no graph"):
        next(node_products(thinker, [ReasoningExample("Tom?", (), "x", "plain")], 1))
    with pytest.raises(UserError, match="thoughts_per_step is 0"):
        next(node_products(thinker, [EXAMPLE], 1, thoughts_per_step=0))

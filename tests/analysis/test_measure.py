"""All measurements together: the numbers of the single ones, what does not apply, and bounded memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from lcot.analysis import (
    Thinker,
    collapse,
    concept_values,
    fact_attention,
    group_table,
    height_table,
    node_products,
    probe_table,
    tables,
    thought_geometry,
)
from lcot.analysis.fields import fields_of
from lcot.analysis.measure import SUMMARIES, Measured, described, measure
from lcot.analysis.outcomes import outcomes
from lcot.analysis.parallelism import parallelism
from lcot.analysis.subject import Subject
from lcot.datamodules.rows import ListSource
from lcot.errors import UserError
from lcot.reasoning.batch import ThoughtBatch
from lcot.reasoning.curriculum import ThoughtKind
from lcot.reasoning.example import ReasoningExample
from lcot.reasoning.soft import think_given
from lcot.reasoning.think import Thinking
from lcot.runs.record import data_hash
from tests.analysis.machine import OX, builder_of, machine, tokenizer_of, worked_tokenizer
from tests.analysis.support import counted_rows, problems, random_setting
from tests.problems import worked

SUMS = [
    ReasoningExample("2 and 3?", ("2 + 3 = 5", "5 + 1 = 6"), "6", "one"),
    ReasoningExample("4 and 4?", ("4 + 4 = 8",), "8", "two"),
]


def subject(thinker: Thinker, examples: Sequence[ReasoningExample], *counts: int, **changes: Any) -> Subject:
    plain = {"hidden": lambda k: k, "max_new_tokens": 4}
    return Subject(thinker, lambda: iter(examples), counts, **{**plain, **changes})


def random_thinker(kind: ThoughtKind = "continuous", max_rows: int = 64) -> Thinker:
    model, tokenizer = random_setting("compact")
    return Thinker(model, builder_of(tokenizer, kind, markers="always"), max_rows=max_rows)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tuple[Subject, Measured, Path]:
    folder = tmp_path_factory.mktemp("measured")
    asked = subject(random_thinker(), problems("compact", 5), 0, 1, 3)
    return asked, measure(asked, folder), folder


class TestNumbers:
    """They are those of the single measurements."""

    def test_texts(self, found: tuple[Subject, Measured, Path]) -> None:
        asked, measured, folder = found
        rows = list(tables.read_rows(folder, "outcomes"))
        expected = [one for k in asked.counts for one in outcomes(asked.thinker, asked.examples(), k, max_new_tokens=4)]
        assert [(row["thoughts"], row["id"], row["text"], row["category"]) for row in rows] == [
            (one.thoughts, one.id, one.text, one.category) for one in expected
        ]
        assert [row["gold"] for row in rows] == [example.answer for example in asked.examples()] * 3
        everything = [row for row in measured.summary["accuracy"] if row["steps"] is None]
        assert [row["correct"] for row in everything] == [
            sum(one.correct for one in expected if one.thoughts == k) for k in asked.counts
        ]
        assert [row["questions"] for row in measured.summary["paths"]] == [5, 5, 5]

    def test_concepts(self, found: tuple[Subject, Measured, Path]) -> None:
        asked, measured, _ = found
        values = [one for k in asked.counts for one in concept_values(asked.thinker, asked.examples(), k, scored="all")]
        assert measured.summary["heights"] == list(map(asdict, height_table(values)))
        assert measured.summary["heights_longest"] == list(map(asdict, height_table(values, height="longest")))
        assert measured.summary["parallelism"] == list(map(asdict, parallelism(values)))

    def test_thoughts_at_the_largest_number(self, found: tuple[Subject, Measured, Path]) -> None:
        asked, measured, folder = found
        thinker, examples = asked.thinker, list(asked.examples())
        assert measured.deepest == 3
        assert measured.summary["collapse"] == list(map(asdict, collapse(thinker, examples, 3)))
        assert measured.summary["attention"] == list(map(asdict, group_table(fact_attention(thinker, examples, 3))))
        assert measured.summary["nodes"] == list(map(asdict, probe_table(node_products(thinker, examples, 3))))
        norms = [row["norm"] for row in tables.read_rows(folder, "thoughts")]
        assert norms == [norm for one in thought_geometry(thinker, examples, 3) for norm in one.norms]
        assert [row["questions"] for row in measured.summary["lens"]] == [5, 5, 5]

    def test_what_is_counted(self, found: tuple[Subject, Measured, Path]) -> None:
        asked, measured, folder = found
        assert (measured.questions, measured.data_hash) == (5, data_hash(ListSource(asked.examples())))
        assert measured.missing.keys() == {"results"}
        assert {f"{name}.parquet" for name in measured.rows} == {file.name for file in folder.iterdir()}
        for name, rows in measured.rows.items():
            assert rows == len(list(tables.read_rows(folder, name)))
        assert set(measured.seconds) >= {"text after 0 thoughts", "concepts after 3 thoughts", "lens", "attention"}

    def test_every_field_is_described(self, found: tuple[Subject, Measured, Path]) -> None:
        _, measured, _ = found
        for name, rows in measured.summary.items():
            assert list(rows[0]) == list(described()[name])
        assert all(what and "`" not in what for kind in SUMMARIES.values() for what in fields_of(kind).values())


@pytest.mark.parametrize("kind", ["continuous", "pause"])
def test_the_first_thoughts_are_the_same_whatever_follows(kind: ThoughtKind) -> None:
    thinker, examples = random_thinker(kind), problems("compact", 3)
    for few, many in zip(thought_geometry(thinker, examples, 2), thought_geometry(thinker, examples, 4), strict=True):
        assert few.norms == pytest.approx(many.norms[:2], rel=1e-4)
        assert torch.allclose(torch.tensor(few.cosines), torch.tensor(many.cosines)[:2, :2], atol=1e-4)
    for small, large in zip(fact_attention(thinker, examples, 1), fact_attention(thinker, examples, 3), strict=True):
        assert small.attention[0][1] == pytest.approx(large.attention[0][1], abs=1e-5)


def test_steps_that_training_does_not_fix(tmp_path: Path) -> None:
    tokenizer = worked_tokenizer()
    thinker = Thinker(machine(tokenizer), builder_of(tokenizer, "pause"))
    asked = subject(thinker, [worked("compact")], 0, 1, hidden=lambda k: None)
    assert [asked.behind(k) for k in (0, 1)] == [0, 1]
    assert asked.way(1) == (1, "any") and subject(thinker, [], 1).way(1) == (1, "exact")
    measure(asked, tmp_path)
    for k, record in enumerate(tables.read_values(tmp_path)):
        assert (record[1].thoughts, record[1].hidden) == (k, k)


class TestWhatDoesNotApply:
    """It is left out, and the reason is told."""

    def test_numbers_without_a_graph(self, tmp_path: Path) -> None:
        tokenizer = tokenizer_of(["2 + 3 = 5", "4 and 4 ?", "6 8 1 ", " ".join(OX), "a Every", "### "])
        asked = subject(Thinker(machine(tokenizer), builder_of(tokenizer)), SUMS, 0, 2)
        measured = measure(asked, tmp_path)
        assert measured.missing == dict.fromkeys(
            ("paths", "concepts", "attention", "nodes"), "these questions carry no graph"
        )
        assert [(row["thought"], row["step"], row["results"]) for row in measured.summary["results"]] == [
            (1, 1, 2), (1, 2, 1), (2, 1, 2), (2, 2, 1),
        ]  # fmt: skip
        assert {row["category"] for row in tables.read_rows(tmp_path, "outcomes")} == {None}

    def test_a_run_without_thoughts(self, tmp_path: Path) -> None:
        measured = measure(subject(random_thinker("none"), problems("compact", 2), 0), tmp_path)
        assert measured.missing == dict.fromkeys(("thoughts", "lens", "nodes", "results"), "there are no thoughts")
        assert measured.summary["heights"] and measured.summary["attention"]
        assert measured.deepest == 0

    def test_soft_thoughts_come_to_no_node(self, tmp_path: Path) -> None:
        plain = random_thinker("soft")
        width = plain.model.config.hidden_size

        def given(batch: ThoughtBatch, *, keep_cache: bool = False) -> Thinking:
            ones = torch.ones(len(batch), batch.max_thoughts, width)
            return think_given(plain.model, batch, ones, keep_cache=keep_cache)

        soft = replace(plain, thinks=given)
        measured = measure(subject(soft, problems("compact", 2), 2, thoughts_per_step=3, hidden=lambda k: 0), tmp_path)
        assert "stand for no steps" in measured.missing["nodes"]
        assert {"heights", "collapse", "attention"} <= measured.summary.keys()
        assert not measured.summary.keys() & {"nodes", "lens"}
        assert {row["place"] for row in measured.summary["attention"]} == {0, 1, 2}

    def test_words_that_no_surface_knows(self, tmp_path: Path) -> None:
        strange = [replace(one, question=f"{one.question} Which?") for one in problems("compact", 2)]
        measured = measure(subject(random_thinker(), strange, 1), tmp_path)
        assert "has no surface that is known" in measured.missing["concepts"]
        assert {"paths", "attention", "nodes"} <= measured.missing.keys()
        assert measured.summary.keys() == {"accuracy", "collapse"}

    def test_facts_that_are_not_told(self, tmp_path: Path) -> None:
        silent = [replace(one, question=one.question.partition(". ")[2]) for one in problems("compact", 2)]
        measured = measure(subject(random_thinker(), silent, 1), tmp_path)
        assert "states" in measured.missing["attention"]
        assert measured.summary["heights"] and measured.summary["nodes"]


class TestRefusals:
    """What cannot be measured at all."""

    def test_numbers_of_thoughts(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="this model has none"):
            measure(subject(random_thinker("none"), problems("compact", 1), 0, 1), tmp_path)
        with pytest.raises(UserError, match="900 thoughts need"):
            measure(subject(random_thinker(), problems("compact", 1), 0, 900), tmp_path)
        assert not list(tmp_path.iterdir())  # refused before anything was done

    def test_no_questions(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="there are no questions"):
            measure(subject(random_thinker(), [], 0), tmp_path)

    def test_a_later_question_that_is_too_long(self, tmp_path: Path) -> None:
        long = ReasoningExample("x " * 400, ("x",), "x", "long")
        with pytest.raises(UserError, match="1 thoughts need"):
            measure(subject(random_thinker(), [*problems("compact", 3), long], 0, 1), tmp_path)
        assert not list(tmp_path.iterdir())  # refused before anything was done


PLAIN = [ReasoningExample("Every x? y", ("x",), "x", f"plain{number}") for number in range(2)]


class TestMixedFiles:
    """Each question is part of what it has the needs of, whatever the first one has."""

    @pytest.mark.parametrize("places", [(0, 1), (1, 3), (3, 4)])
    def test_some_without_a_graph(self, places: tuple[int, int], tmp_path: Path) -> None:
        graphs = problems("compact", 3)
        mixed: list[ReasoningExample] = list(graphs)
        for place, one in zip(places, PLAIN, strict=True):
            mixed.insert(place, one)
        thinker = random_thinker(max_rows=2)
        measured = measure(subject(thinker, mixed, 0, 2), tmp_path)
        parts = ("paths", "concepts", "attention", "nodes")
        assert measured.left_out == dict.fromkeys(parts, "2 of 5 questions carry no graph and are left out")
        assert measured.counts == dict.fromkeys(parts, 3)
        assert measured.missing == {"results": "these questions have no steps that compute numbers"}
        (tmp_path / "alone").mkdir()
        alone = measure(subject(thinker, graphs, 0, 2), tmp_path / "alone")
        assert not alone.left_out and not alone.counts
        for name in ("paths", "lens"):
            assert measured.summary[name] == alone.summary[name]
        heights, same = measured.summary["heights"], alone.summary["heights"]
        assert [row["mean"] for row in heights] == pytest.approx([row["mean"] for row in same], rel=1e-4)
        numbers = {example.id: number for number, example in enumerate(mixed)}
        for name in ("concepts", "attention", "nodes"):
            rows = list(tables.read_rows(tmp_path, name))
            assert len(rows) == alone.rows[name]
            assert {row["id"] for row in rows} == {example.id for example in graphs}
            assert all(row["question"] == numbers[row["id"]] for row in rows)
        judged = {row["id"]: row["category"] is not None for row in tables.read_rows(tmp_path, "outcomes")}
        assert judged == {example.id: example in graphs for example in mixed}

    def test_faults_of_single_questions(self, tmp_path: Path) -> None:
        good = problems("compact", 4)
        facts = {**good[1].facts, "edges": [[0, 99]]}
        silent = replace(good[2], question=good[2].question.partition(". ")[2])
        mixed = [good[0], replace(good[1], facts=facts), silent, PLAIN[0], good[3]]
        measured = measure(subject(random_thinker(), mixed, 1), tmp_path)
        assert measured.counts == {"paths": 3, "concepts": 3, "attention": 2, "nodes": 3}
        assert measured.left_out["paths"].startswith("2 of 5 questions are left out; the first that is faulty: example")
        assert "whose nodes cannot be read" in measured.left_out["concepts"]
        assert "3 of 5" in measured.left_out["attention"]

    @pytest.mark.parametrize("place", [0, 1])
    def test_arithmetic_without_steps(self, place: int, tmp_path: Path) -> None:
        tokenizer = tokenizer_of(["2 + 3 = 5", "4 and 4 ?", "6 8 1 ", " ".join(OX), "a Every", "### "])
        mixed = list(SUMS)
        mixed.insert(place, ReasoningExample("4 and 4?", (), "8", "bare"))
        measured = measure(subject(Thinker(machine(tokenizer), builder_of(tokenizer)), mixed, 2), tmp_path)
        assert "results" not in measured.missing and measured.summary["results"]
        assert measured.left_out == {"results": "1 of 3 questions has no steps that compute numbers and is left out"}


def test_behind_the_last_stage_nothing_is_pending(tmp_path: Path) -> None:
    """Two thoughts after which every step is hidden, of questions with three."""
    tokenizer = worked_tokenizer()
    thinker = Thinker(machine(tokenizer), builder_of(tokenizer))
    asked = subject(thinker, [worked("compact", OX)], 1, 2, whole=lambda k: k == 2)
    measured = measure(asked, tmp_path)
    assert [record.pending for _, record in tables.read_values(tmp_path)] == [True, False]
    assert {row["thoughts"] for row in measured.summary["heights"]} == {1}
    assert [row["thoughts"] for row in measured.summary["parallelism"]] == [1]


def test_memory_is_bounded(tmp_path: Path) -> None:
    """No more questions are in memory than are read at once."""
    alive, most, few = 0, 0, problems("compact", 3)

    class Counted(ReasoningExample):
        """A question that tells when it is gone."""

        def __del__(self) -> None:
            nonlocal alive
            alive -= 1

    def examples() -> Iterator[ReasoningExample]:
        nonlocal alive, most
        for number in range(14):
            one = few[number % 3]
            alive += 1
            most = max(most, alive)
            yield Counted(one.question, one.steps, one.answer, f"q{number}", one.facts)

    thinker = random_thinker(max_rows=2)
    with counted_rows(thinker.model) as rows:
        measure(Subject(thinker, examples, (0, 2), lambda k: k, max_new_tokens=2), tmp_path)
    assert max(rows) == 2
    assert most <= 8

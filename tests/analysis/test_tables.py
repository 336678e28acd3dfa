"""Tables on a disk: what is written is what is read, and every column is described."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from lcot.analysis import (
    Thinker,
    concept_values,
    fact_attention,
    node_products,
    tables,
    thought_geometry,
    thought_lenses,
)
from lcot.analysis.outcomes import outcomes
from lcot.reasoning.example import ReasoningExample
from tests.analysis.machine import OX, S0, S1, builder_of, machine, tokenizer_of, worked_tokenizer
from tests.analysis.support import problems, random_setting
from tests.problems import worked

TOKENIZER = worked_tokenizer()
EXAMPLE = worked("compact", OX)
THINKER = Thinker(machine(TOKENIZER), builder_of(TOKENIZER))


def test_values_come_back_as_they_were(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "ROW_GROUP", 7)  # groups that end within a question
    model, tokenizer = random_setting("compact")
    thinker, examples = Thinker(model, builder_of(tokenizer)), problems("compact", 4)
    records = [(number, record) for k in (0, 2) for number, record in
               enumerate(concept_values(thinker, examples, k, scored="all"))]  # fmt: skip
    with tables.writer(tmp_path, "concepts") as table:
        for number, record in records:
            table.write(tables.concept_rows(number, record))
    assert list(tables.read_values(tmp_path)) == records  # to the last bit
    assert list(tables.read_values(tmp_path, {1, 3})) == [pair for pair in records if pair[0] in (1, 3)]
    assert table.rows == sum(len(record.candidates) for _, record in records)
    assert pq.ParquetFile(tmp_path / "concepts.parquet").num_row_groups == -(-table.rows // 7)


def test_a_row_of_each_table(tmp_path: Path) -> None:
    numbers = tokenizer_of(["2 + 3 = 5"])
    counting = Thinker(machine(numbers, {}, {S0: S1}), builder_of(numbers))
    sums = ReasoningExample("2 + 3", ("2 + 3 = 5",), "5", "sums")
    (outcome,) = outcomes(THINKER, [EXAMPLE], 1, max_new_tokens=3)
    made = {
        "outcomes": [tables.outcome_row(4, outcome, "wumpus")],
        "concepts": tables.concept_rows(4, next(concept_values(THINKER, [EXAMPLE], 1))),
        "thoughts": tables.thought_rows(4, next(thought_geometry(THINKER, [EXAMPLE], 2))),
        "lens": tables.lens_rows(4, next(thought_lenses(THINKER, [EXAMPLE], 2, top=2, nearest=1))),
        "results": tables.result_rows(4, next(thought_lenses(counting, [sums], 2))),
        "attention": tables.attention_rows(4, next(fact_attention(THINKER, [EXAMPLE], 1))),
        "nodes": tables.node_rows(4, next(node_products(THINKER, [EXAMPLE], 1))),
    }
    assert made.keys() == tables.TABLES.keys()
    read = {}
    for name, rows in made.items():
        with tables.writer(tmp_path, name) as table:
            table.write(rows)
        read[name] = list(tables.read_rows(tmp_path, name))
        assert [column.name for column in tables.TABLES[name]] == list(read[name][0])
        assert {row["question"] for row in read[name]} == {4}
    first = read["outcomes"][0]
    assert (first["text"], first["category"], first["gold"]) == (outcome.text, outcome.category, "wumpus")
    lempus = next(row for row in read["concepts"] if row["name"] == "lempus")
    assert (lempus["frontier"], lempus["value"]) == (True, pytest.approx(0.1, abs=1e-5))
    assert [row["thought"] for row in read["thoughts"]] == [1, 2] and len(read["thoughts"][0]["cosines"]) == 2
    assert [(row["rank"], row["token"], row["near"] is None) for row in read["lens"]] == [
        (1, "lempus", False),
        (2, "rompus", True),
    ]
    assert [(row["kind"], row["text"], row["step"]) for row in read["results"]] == [("equation", "5", 1)]
    near = [(row["place"], row["source"], row["end"]) for row in read["attention"] if row["optimal"]]
    assert near == [(0, "Tom", "lempus"), (1, "lempus", "impus")]
    assert [row["name"] for row in read["nodes"] if row["frontier"]] == ["lempus", "rompus"]


def test_columns_are_described_in_the_files(tmp_path: Path) -> None:
    for name, columns in tables.TABLES.items():
        with tables.writer(tmp_path, name):
            pass
        schema = pq.read_schema(tmp_path / f"{name}.parquet")
        assert schema.names == [column.name for column in columns]
        for field in schema:
            assert field.metadata[b"description"].decode() == tables.described()[name][field.name]
    assert all(what and not what.endswith(".") for columns in tables.described().values() for what in columns.values())


def test_a_table_is_closed_after_a_fault(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="in the middle"), tables.writer(tmp_path, "concepts") as table:
        table.write(tables.concept_rows(0, next(concept_values(THINKER, [EXAMPLE], 1))))
        raise RuntimeError("in the middle")
    assert len(list(tables.read_rows(tmp_path, "concepts"))) == 3

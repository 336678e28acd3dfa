"""Measurements as tables: Parquet files whose columns are described, written and read piece by piece.

Every file has the descriptions of its columns in its schema too. pyarrow is imported when a table is written or read.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from lcot.analysis.attention import FactAttention, Group
from lcot.analysis.concepts import Candidate, ConceptValues
from lcot.analysis.geometry import ThoughtGeometry
from lcot.analysis.lens import ThoughtLens
from lcot.analysis.outcomes import Outcome
from lcot.analysis.probes import NodeProducts

ROW_GROUP = 8192
"""Rows that are held in memory, and that stand together in a file."""

Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    Attributes:
        name: Its name.
        type: Its type, as pyarrow names it.
        what: What it holds.
    """

    name: str
    type: str
    what: str


_K = Column("thoughts", "int32", "k, the number of thoughts before the text")
_QUESTION = Column("question", "int64", "number of the question, from 0, in the order of the data")
_ID = Column("id", "string", "the question's id")
_OF_QUESTION = (_K, _QUESTION, _ID)
_OF_THOUGHT = (*_OF_QUESTION, Column("thought", "int32", "which of the k thoughts, from 1"))

TABLES: Mapping[str, tuple[Column, ...]] = {
    "outcomes": (
        *_OF_QUESTION,
        Column("steps", "int32", "number of the question's written steps"),
        Column("text", "string", "all that the model wrote, greedily"),
        Column("tokens", "int32", "number of written tokens, without eos"),
        Column("answer", "string", "what the extractor reads; null if there is no answer"),
        Column("gold", "string", "the right answer"),
        Column("correct", "bool", "whether the answer is the right one"),
        Column("category", "string", "which way the text took through the graph; null without a graph"),
        Column("pair", "string", "the name that it shares with another question about its problem; null if alone"),
    ),
    "concepts": (
        *_OF_QUESTION,
        Column("hidden", "int32", "number of steps that the k thoughts stand for"),
        Column("whole", "bool", "whether training left no step behind so many thoughts, however many there are"),
        Column("steps", "int32", "number of edges of the shortest way from root to target"),
        Column("depth", "int32", "number of edges between the root and the frontier, which the text would name next"),
        Column("lead", "string", "the text that is forced before a name"),
        Column("node", "int32", "number of the node in the graph; the root is left out"),
        Column("name", "string", "its name"),
        Column("frontier", "bool", "whether it is on the frontier"),
        Column("leads", "bool", "whether it is the target, or leads to it"),
        Column("height", "int32", "its distance to the nearest leaf; null if there is none"),
        Column("longest", "int32", "its distance to the farthest leaf; null above a cycle"),
        Column("name_tokens", "int32", "number of tokens of its name"),
        Column("first", "double", "probability of the first of them"),
        Column("value", "double", "probability of all of them, its value"),
    ),
    "thoughts": (
        *_OF_THOUGHT,
        Column("norm", "double", "its L2 norm"),
        Column("vocabulary_distance", "double", "Euclidean distance to the nearest word's input embedding"),
        Column("vocabulary_cosine", "double", "largest cosine with a word's input embedding"),
        Column("cosines", "list<double>", "its cosines with all k thoughts of the question"),
        Column("distances", "list<double>", "its Euclidean distances to all k thoughts of the question"),
    ),
    "lens": (
        *_OF_THOUGHT,
        Column("rank", "int32", "place in both lists, from 1"),
        Column("token", "string", "the token that the output head gives this rank"),
        Column("token_id", "int32", "its number"),
        Column("probability", "double", "its probability"),
        Column("near", "string", "the word whose input embedding is this near; null beyond the end of the vocabulary"),
        Column("near_id", "int32", "its number"),
        Column("cosine", "double", "cosine between its input embedding and the thought"),
    ),
    "results": (
        *_OF_THOUGHT,
        Column("kind", "string", "what the intermediate result is the result of"),
        Column("step", "int32", "number of the written step that computes it, from 1"),
        Column("text", "string", "as that step writes it"),
        Column("whole", "bool", "whether it is a single token; otherwise its first token is looked for"),
        Column("probability", "double", "probability of that token under the lens"),
        Column("rank", "int32", "its rank under the lens, 1 for the first choice"),
    ),
    "attention": (
        *_OF_QUESTION,
        Column("layer", "int32", "number of the layer, from 1"),
        Column("place", "int32", "number of thoughts that were read at the place that looks, p"),
        Column("source", "string", "the fact's first name"),
        Column("end", "string", "the fact's second name"),
        Column("reachable", "bool", "whether the source is within p steps of the root"),
        Column("frontier", "bool", "whether a walk of exactly p steps ends at the source"),
        Column("optimal", "bool", "whether it is the next edge of a shortest way to the target"),
        Column("attention", "double", "attention to the fact's tokens, summed; heads averaged"),
    ),
    "nodes": (
        *_OF_THOUGHT,
        Column("name", "string", "the node's name"),
        Column("reachable", "bool", "whether the node is within as many steps of the root as the thoughts stand for"),
        Column("frontier", "bool", "whether a walk of exactly that many steps ends at it"),
        Column("optimal", "bool", "whether it is there on a shortest way to the target"),
        Column("product", "double", "inner product of the thought with the name's input embedding"),
        Column("cosine", "double", "cosine of the two"),
    ),
}
"""The tables and their columns."""


def described() -> dict[str, dict[str, str]]:
    """What each column of each table holds, for a report."""
    return {table: {column.name: column.what for column in columns} for table, columns in TABLES.items()}


class TableWriter:
    """A table that grows; what was written is in the file row group by row group.

    Args:
        folder: Where the file is made, as ``<name>.parquet``.
        name: One of :data:`TABLES`, or another one.
        columns: Those of another one.
    """

    def __init__(self, folder: Path, name: str, columns: Sequence[Column] | None = None) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        self._columns = TABLES[name] if columns is None else columns
        self._schema = pa.schema(
            [pa.field(one.name, _type(one.type), metadata={"description": one.what}) for one in self._columns]
        )
        self._file = pq.ParquetWriter(folder / f"{name}.parquet", self._schema, compression="zstd")
        self._rows: list[Row] = []
        self.rows = 0

    def write(self, rows: Iterable[Row]) -> None:
        """Add rows, values in the order of the columns."""
        for row in rows:
            self._rows.append(row)
            if len(self._rows) >= ROW_GROUP:
                self._flush()

    def close(self) -> None:
        """Write what is left."""
        if self._rows:
            self._flush()
        self._file.close()

    def _flush(self) -> None:
        import pyarrow as pa

        columns = zip(*self._rows, strict=True)
        arrays = [pa.array(values, type=field.type) for values, field in zip(columns, self._schema, strict=True)]
        self._file.write_table(pa.Table.from_arrays(arrays, schema=self._schema))
        self.rows += len(self._rows)
        self._rows = []


def writer(folder: Path, name: str, columns: Sequence[Column] | None = None) -> closing[TableWriter]:
    """A :class:`TableWriter` that is closed at the end of its block, whatever happens there."""
    return closing(TableWriter(folder, name, columns))


def read_rows(folder: Path, name: str) -> Iterator[dict[str, Any]]:
    """The rows of a table, a row group of them at a time."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(folder / f"{name}.parquet") as file:
        for batch in file.iter_batches(batch_size=ROW_GROUP):
            yield from batch.to_pylist()


def read_values(folder: Path, only: Collection[int] | None = None) -> Iterator[tuple[int, ConceptValues]]:
    """The records that were written to ``concepts.parquet``, for tables that are to be made in another way.

    Args:
        folder: Where it is.
        only: Numbers of questions; all if not given.

    Yields:
        The number of the question, and one of its records.
    """
    rows_of = (row for row in read_rows(folder, "concepts") if only is None or row["question"] in only)
    for (_, number), group in groupby(rows_of, key=lambda row: (row["thoughts"], row["question"])):
        rows = list(group)
        first = rows[0]
        candidates = tuple(
            Candidate(
                row["node"],
                row["name"],
                row["frontier"],
                row["leads"],
                row["height"],
                row["longest"],
                row["name_tokens"],
                row["first"],
                row["value"],
            )
            for row in rows
        )
        place = (first["thoughts"], first["hidden"], first["steps"], first["depth"], first["lead"])
        yield number, ConceptValues(first["id"], *place, candidates, first["whole"])


# -- records as rows ------------------------------------------------------------------------------------------------


def outcome_row(question: int, one: Outcome, gold: str) -> Row:
    """A row of ``outcomes``."""
    written = (one.text, one.tokens, one.answer, gold, one.correct, one.category)
    return one.thoughts, question, one.id, one.steps, *written, one.pair


def concept_rows(question: int, record: ConceptValues) -> Iterator[Row]:
    """Rows of ``concepts``, one a node."""
    steps = (record.hidden, record.whole, record.steps, record.depth)
    place = (record.thoughts, question, record.id, *steps, record.lead)
    for one in record.candidates:
        where = (one.node, one.name, one.frontier, one.leads, one.height, one.longest)
        yield (*place, *where, one.tokens, one.first, one.value)


def thought_rows(question: int, record: ThoughtGeometry) -> Iterator[Row]:
    """Rows of ``thoughts``, one a thought."""
    columns = zip(
        record.norms,
        record.vocabulary_distances,
        record.vocabulary_cosines,
        record.cosines,
        record.distances,
        strict=True,
    )
    for number, values in enumerate(columns, start=1):
        yield record.thoughts, question, record.id, number, *values


def lens_rows(question: int, record: ThoughtLens) -> Iterator[Row]:
    """Rows of ``lens``, one a rank."""
    place = (record.thoughts, question, record.id, record.thought)
    for rank in range(max(len(record.top), len(record.nearest))):
        top = record.top[rank] if rank < len(record.top) else None
        near = record.nearest[rank] if rank < len(record.nearest) else None
        said = (top.token, top.id, top.probability) if top else (None, None, None)
        yield *place, rank + 1, *said, *((near.token, near.id, near.cosine) if near else (None, None, None))


def result_rows(question: int, record: ThoughtLens) -> Iterator[Row]:
    """Rows of ``results``, one an intermediate result."""
    for one in record.results:
        place = (record.thoughts, question, record.id, record.thought)
        yield *place, one.kind, one.step, one.text, one.whole, one.probability, one.rank


def attention_rows(question: int, record: FactAttention) -> Iterator[Row]:
    """Rows of ``attention``, one a fact at a place in a layer."""
    for layer, places in enumerate(record.attention, start=1):
        for place, values in enumerate(places):
            for (source, end), groups, value in zip(record.facts, record.groups[place], values, strict=True):
                yield record.thoughts, question, record.id, layer, place, source, end, *_in(groups), value


def node_rows(question: int, record: NodeProducts) -> Iterator[Row]:
    """Rows of ``nodes``, one a node and thought."""
    columns = zip(record.groups, record.products, record.cosines, strict=True)
    for number, (groups, products, cosines) in enumerate(columns, start=1):
        for name, own, product, cosine in zip(record.names, groups, products, cosines, strict=True):
            yield record.thoughts, question, record.id, number, name, *_in(own), product, cosine


def _in(groups: Collection[Group]) -> tuple[bool, bool, bool]:
    """Whether something is reachable, on the frontier, and optimal."""
    return "reachable" in groups, "frontier" in groups, "optimal" in groups


def _type(name: str) -> Any:
    import pyarrow as pa

    if name.startswith("list<"):
        return pa.list_(_type(name[5:-1]))
    return {"bool": pa.bool_(), "double": pa.float64()}.get(name) or getattr(pa, name)()

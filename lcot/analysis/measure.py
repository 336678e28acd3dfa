"""All measurements of a model on a set of questions: tables in a folder, and what they say together.

Questions are read anew for each measurement, as many at a time as the thinker reads at once, and records go to the
tables as they are made. Memory does not grow with the number of questions, but for three numbers a question and k.

The first k thoughts of a question are the same whatever follows them. Thoughts are therefore measured once, at the
largest number asked for, and texts and concepts after each number.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from lcot.analysis import tables
from lcot.analysis.attention import FactAttention, GroupRow, fact_attention, group_table
from lcot.analysis.concepts import ConceptValues, concept_values
from lcot.analysis.geometry import Collapse, collapse, thought_geometry
from lcot.analysis.lens import intermediate_results, thought_lenses
from lcot.analysis.outcomes import outcomes
from lcot.analysis.parallelism import Parallelism, parallelism
from lcot.analysis.probes import NodeProducts, ProbeRow, node_products, probe_table
from lcot.analysis.summaries import (
    AccuracyRow,
    LensRow,
    LensTable,
    PathRow,
    ResultRow,
    ResultTable,
    accuracy_table,
    path_table,
)
from lcot.analysis.thinker import Thinker, check_thoughts
from lcot.analysis.tree import HeightRow, height_table
from lcot.errors import UserError
from lcot.metrics.paths import Prefix
from lcot.metrics.problem_graph import has_graph
from lcot.reasoning.example import ReasoningExample

Examples = Callable[[], Iterator[ReasoningExample]]
"""Reads the questions from the first one on, each time that it is called."""

SUMMARIES: Mapping[str, type] = {
    "accuracy": AccuracyRow,
    "paths": PathRow,
    "heights": HeightRow,
    "heights_longest": HeightRow,
    "parallelism": Parallelism,
    "collapse": Collapse,
    "lens": LensRow,
    "results": ResultRow,
    "attention": GroupRow,
    "nodes": ProbeRow,
}
"""What is summarised, and the record of a row."""

PARTS: Mapping[str, str] = {
    "paths": "ways of the written texts",
    "concepts": "probabilities of concepts",
    "thoughts": "norms and distances of thoughts",
    "lens": "output head on thoughts",
    "results": "intermediate results under the output head",
    "attention": "attention to facts",
    "nodes": "inner products with nodes",
}
"""What may not apply to a run, in words."""

_ATTRIBUTE = re.compile(r"^ {8}(\w+): (.+(?:\n {12,}.+)*)", re.MULTILINE)


@dataclass(frozen=True)
class Subject:
    """What is measured.

    Attributes:
        thinker: The model.
        examples: The questions.
        counts: The numbers of thoughts, in ascending order.
        hidden: The number of steps that text goes on behind after k thoughts; ``None`` where training fixes none.
        thoughts_per_step: Number of thoughts that stand for one step.
        reader: Name of the extractor that reads answers.
        max_new_tokens: Longest text.
    """

    thinker: Thinker
    examples: Examples
    counts: tuple[int, ...]
    hidden: Callable[[int], int | None]
    thoughts_per_step: int = 1
    reader: str = "string"
    max_new_tokens: int = 128

    def behind(self, k: int) -> int:
        """The number of steps that concepts are read out behind: one a thought where training fixes none."""
        found = self.hidden(k)
        return k if found is None else found

    def way(self, k: int) -> tuple[int, Prefix]:
        """How a path is judged: the number of unseen steps, and whether that is exact."""
        found = self.hidden(k)
        return (1, "any") if found is None else (found, "exact")


@dataclass(frozen=True, slots=True)
class Measured:
    """What came of it.

    Attributes:
        questions: Number of questions.
        data_hash: Of all questions and answers, as in ``test.json``.
        deepest: The number of thoughts at which thoughts were measured; 0 for none.
        summary: Rows of each of :data:`SUMMARIES`, as plain values; only of those that apply.
        rows: Number of rows of each table.
        missing: What does not apply, each with the reason.
        seconds: Wall time of each part.
    """

    questions: int
    data_hash: str
    deepest: int
    summary: dict[str, list[dict[str, Any]]]
    rows: dict[str, int]
    missing: dict[str, str]
    seconds: dict[str, float]


def described() -> dict[str, dict[str, str]]:
    """What each field of each summary holds, as its record documents it."""
    return {name: fields_of(kind) for name, kind in SUMMARIES.items()}


def fields_of(kind: type) -> dict[str, str]:
    """The documented attributes of a record."""
    attributes = (kind.__doc__ or "").partition("Attributes:\n")[2]
    return {name: " ".join(what.split()) for name, what in _ATTRIBUTE.findall(attributes)}


def measure(subject: Subject, folder: Path, say: Callable[[str], None] = lambda _: None) -> Measured:
    """Measure everything that applies.

    Args:
        subject: The model and the questions.
        folder: An empty folder, for the tables.
        say: Told a line after each part.

    Raises:
        UserError: If a number of thoughts cannot be, there are no questions, or a question cannot be asked.
    """
    return _Measuring(subject, folder, say).run()


class _Measuring:
    """One run over everything."""

    def __init__(self, subject: Subject, folder: Path, say: Callable[[str], None]) -> None:
        self.subject, self.folder, self.say = subject, folder, say
        self.deepest = max(subject.counts)
        self.summary: dict[str, list[Any]] = {}
        self.rows: dict[str, int] = {}
        self.missing: dict[str, str] = {}
        self.seconds: dict[str, float] = {}
        self.graph = False

    def run(self) -> Measured:
        for k in self.subject.counts:
            check_thoughts(self.subject.thinker.builder, k)
        first = next(self.subject.examples(), None)
        if first is None:
            raise UserError("there are no questions", where="--data, --limit", fix="give at least one")
        # Refused now, not after minutes.
        encoded = self.subject.thinker.builder.encode([first])
        self.subject.thinker.rows(encoded, self.deepest, room=self.subject.max_new_tokens)
        self._find_out(first)
        questions, data_hash = self._texts_and_concepts()
        if self.deepest:
            self._thoughts(first)
        if "attention" not in self.missing:
            self._attention()
        summary = {name: [asdict(row) for row in rows] for name, rows in self.summary.items()}
        return Measured(questions, data_hash, self.deepest, summary, self.rows, self.missing, self.seconds)

    # -- what applies -----------------------------------------------------------------------------------------------

    def _find_out(self, first: ReasoningExample) -> None:
        """Try on the first question what does not apply to every run."""
        subject = self.subject
        if not has_graph(first):
            why = "these questions carry no graph"
            self.missing.update(dict.fromkeys(("paths", "concepts", "attention", "nodes"), why))
        else:
            self._try("concepts", lambda: _concepts(subject, [first], subject.counts[0]))
            self.graph = "concepts" not in self.missing
            if not self.graph:  # what a graph cannot be read from cannot be judged by it
                self.missing["paths"] = self.missing["nodes"] = self.missing["attention"] = self.missing["concepts"]
            else:
                self._try("attention", lambda: self._attention_of([first]))
                if subject.thinker.builder.encode([first])[0].opening:
                    self.missing["concepts"] = (
                        "the text begins with words of the prompt file, and no concept could follow the thoughts"
                    )
        if not self.deepest:
            why = "there are no thoughts" if subject.thinker.builder.kind == "none" else "0 thoughts were asked for"
            self.missing.update(dict.fromkeys(("thoughts", "lens", "nodes"), why))
        elif self.graph:
            self._try("nodes", lambda: node_products(subject.thinker, [first], self.deepest))
        if self.deepest and not intermediate_results(first):
            self.missing["results"] = "the first question has no steps that compute numbers"
        elif not self.deepest:
            self.missing["results"] = self.missing["lens"]

    def _try(self, what: str, made: Callable[[], Iterator[object]]) -> None:
        try:
            next(made(), None)
        except UserError as err:
            self.missing[what] = err.what + (f": {err.why}" if err.why else "")

    # -- after each number of thoughts ------------------------------------------------------------------------------

    def _texts_and_concepts(self) -> tuple[int, str]:
        subject, digest, count = self.subject, hashlib.blake2b(digest_size=16), 0
        scored = "concepts" not in self.missing
        with tables.writer(self.folder, "outcomes") as texts:
            for k in subject.counts:
                start, number = time.perf_counter(), -1
                hidden, prefix = subject.way(k)
                found = outcomes(
                    subject.thinker,
                    self._questions(),
                    k,
                    max_new_tokens=subject.max_new_tokens,
                    reader=subject.reader,
                    hidden=hidden,
                    prefix=prefix,
                )
                right, ways = 0, 0
                for number, (example, one) in enumerate(zip(subject.examples(), found, strict=True)):
                    texts.write([tables.outcome_row(number, one, example.answer)])
                    right, ways = right + one.correct, ways + (one.category == "correct_path")
                    if k == subject.counts[0]:
                        digest.update(json.dumps([example.question, example.answer]).encode() + b"\n")
                count = number + 1
                self._clock(f"text after {k} thoughts", start)
                paths = f", correct path {ways / count:6.1%}" if self.graph else ""
                self.say(f"k = {k}: accuracy {right / count:6.1%}{paths}; {count} questions in {self._took(start)}")
        self.rows["outcomes"] = texts.rows
        self.summary["accuracy"] = accuracy_table(tables.read_rows(self.folder, "outcomes"))
        if self.graph:
            self.summary["paths"] = path_table(tables.read_rows(self.folder, "outcomes"))
        if scored:
            self._concepts()
        return count, digest.hexdigest()

    def _concepts(self) -> None:
        with tables.writer(self.folder, "concepts") as values:
            for k in self.subject.counts:
                start = time.perf_counter()
                for number, record in enumerate(_concepts(self.subject, self.subject.examples(), k)):
                    values.write(tables.concept_rows(number, record))
                self._clock(f"concepts after {k} thoughts", start)
        self.rows["concepts"] = values.rows
        self.summary["heights"] = height_table(self._values())
        self.summary["heights_longest"] = height_table(self._values(), height="longest")
        self.summary["parallelism"] = parallelism(self._values())
        self.say(f"concepts: {values.rows} values in {self._part('concepts')}")

    # -- the thoughts themselves ------------------------------------------------------------------------------------

    def _thoughts(self, first: ReasoningExample) -> None:
        thinker, examples, k = self.subject.thinker, self.subject.examples, self.deepest
        start = time.perf_counter()
        with tables.writer(self.folder, "thoughts") as where:
            for number, record in enumerate(thought_geometry(thinker, examples(), k)):
                where.write(tables.thought_rows(number, record))
        self.rows["thoughts"] = where.rows
        self.summary["collapse"] = list(collapse(thinker, examples(), k))
        self._clock("thoughts", start)
        start = time.perf_counter()
        shown, results = LensTable(self.subject.thoughts_per_step), ResultTable()
        graph = self.graph and thinker.builder.kind != "soft"
        with tables.writer(self.folder, "lens") as seen, tables.writer(self.folder, "results") as found:
            lenses = thought_lenses(thinker, examples(), k)
            for number, example in enumerate(examples()):
                for _ in range(k):
                    lens = next(lenses)
                    seen.write(tables.lens_rows(number, lens))
                    found.write(tables.result_rows(number, lens))
                    results.add(lens)
                    if graph:
                        shown.add(example, lens)
        self.rows["lens"] = seen.rows
        if found.rows:
            self.rows["results"] = found.rows
            self.summary["results"] = results.rows()
        else:
            (self.folder / "results.parquet").unlink()
        if graph:
            self.summary["lens"] = shown.rows()
        self._clock("lens", start)
        if "nodes" not in self.missing:
            self._nodes()
        self.say(f"thoughts: norms, distances, lens of {k} a question in {self._part('thoughts', 'lens', 'nodes')}")

    def _nodes(self) -> None:
        start = time.perf_counter()
        with tables.writer(self.folder, "nodes") as table:
            found = node_products(
                self.subject.thinker,
                self.subject.examples(),
                self.deepest,
                thoughts_per_step=self.subject.thoughts_per_step,
            )

            def tapped() -> Iterator[NodeProducts]:
                for number, record in enumerate(found):
                    table.write(tables.node_rows(number, record))
                    yield record

            self.summary["nodes"] = probe_table(tapped())
        self.rows["nodes"] = table.rows
        self._clock("nodes", start)

    def _attention(self) -> None:
        start = time.perf_counter()
        with tables.writer(self.folder, "attention") as table:

            def tapped() -> Iterator[FactAttention]:
                for number, record in enumerate(self._attention_of(self.subject.examples())):
                    table.write(tables.attention_rows(number, record))
                    yield record

            self.summary["attention"] = group_table(tapped())
        self.rows["attention"] = table.rows
        self._clock("attention", start)
        self.say(f"attention to facts: {table.rows} values in {self._part('attention')}")

    def _attention_of(self, examples: Iterable[ReasoningExample]) -> Iterator[FactAttention]:
        per_step = self.subject.thoughts_per_step
        return fact_attention(self.subject.thinker, examples, self.deepest, thoughts_per_step=per_step)

    def _values(self) -> Iterator[ConceptValues]:
        return (record for _, record in tables.read_values(self.folder))

    # -- help -------------------------------------------------------------------------------------------------------

    def _questions(self) -> Iterator[ReasoningExample]:
        """The questions; without their graphs where these cannot be read."""
        for example in self.subject.examples():
            facts = (
                example.facts if self.graph else {key: example.facts[key] for key in example.facts if key != "edges"}
            )
            yield replace(example, facts=facts)

    def _clock(self, part: str, start: float) -> None:
        self.seconds[part] = round(time.perf_counter() - start, 3)

    def _took(self, start: float) -> str:
        return f"{time.perf_counter() - start:.1f} s"

    def _part(self, *parts: str) -> str:
        return f"{sum(seconds for part, seconds in self.seconds.items() if part.split()[0] in parts):.1f} s"


def _concepts(subject: Subject, examples: Iterable[ReasoningExample], k: int) -> Iterator[ConceptValues]:
    return concept_values(subject.thinker, examples, k, scored="all", hidden=subject.behind(k))

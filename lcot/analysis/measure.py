"""All measurements of a model on a set of questions: tables in a folder, and what they say together.

Questions are read anew for each measurement, as many at a time as the thinker reads at once, and records go to the
tables as they are made. A first pass finds out which question can be part of what, and a byte of each is kept. Besides
that byte, and the ids by which whoever reads a file finds those that are used twice, memory does not grow with the
number of questions.

The first k thoughts of a question are the same whatever follows them. Thoughts are therefore measured once, at the
largest number asked for, and texts and concepts after each number.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

from lcot.analysis import tables
from lcot.analysis.attention import FactAttention, GroupRow, fact_attention, group_table
from lcot.analysis.concepts import ConceptValues, concept_values
from lcot.analysis.fields import fields_of
from lcot.analysis.geometry import Collapse, collapse, thought_geometry
from lcot.analysis.lens import thought_lenses
from lcot.analysis.outcomes import outcomes
from lcot.analysis.parallelism import Parallelism, parallelism
from lcot.analysis.probes import NodeProducts, ProbeRow, node_products, probe_table
from lcot.analysis.subject import Subject
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
from lcot.analysis.survey import Need, Survey, told
from lcot.analysis.thinker import check_thoughts
from lcot.analysis.tree import HeightRow, height_table
from lcot.errors import UserError
from lcot.reasoning.example import ReasoningExample

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

NEEDED: Mapping[str, Need] = {
    "paths": "graph",
    "concepts": "names",
    "attention": "facts",
    "nodes": "names",
    "results": "results",
}
"""What a question must have to be part of it; all questions are part of the others."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What came of it.

    Attributes:
        questions: Number of questions.
        data_hash: Of all questions and answers, as in ``test.json``.
        deepest: The number of thoughts at which thoughts were measured; 0 for none.
        summary: Rows of each of :data:`SUMMARIES`, as plain values; only of those that apply.
        rows: Number of rows of each table.
        missing: What does not apply to any question, each with the reason.
        seconds: Wall time of each part.
        left_out: What some questions are no part of: how many, and why.
        counts: Number of questions that are part of what not all are part of.
    """

    questions: int
    data_hash: str
    deepest: int
    summary: dict[str, list[dict[str, Any]]]
    rows: dict[str, int]
    missing: dict[str, str]
    seconds: dict[str, float]
    left_out: dict[str, str] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)


def described() -> dict[str, dict[str, str]]:
    """What each field of each summary holds, as its record documents it."""
    return {name: fields_of(kind) for name, kind in SUMMARIES.items()}


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

    def run(self) -> Measured:
        subject = self.subject
        for k in subject.counts:
            check_thoughts(subject.thinker.builder, k)
        first = next(subject.examples(), None)
        if first is None:
            raise UserError("there are no questions", where="--data, --limit", fix="give at least one")
        # What cannot be asked is refused now, not after minutes.
        self.survey = Survey(subject.thinker, map(subject.behind, subject.counts), self.deepest, subject.max_new_tokens)
        start = time.perf_counter()
        self.survey.take(subject.examples())
        self._clock("survey", start)
        self._find_out(first)
        self._texts_and_concepts()
        if self.deepest:
            self._thoughts()
        if "attention" not in self.missing:
            self._attention()
        summary = {name: [asdict(row) for row in rows] for name, rows in self.summary.items()}
        partly = {part: need for part, need in NEEDED.items() if part not in self.missing}
        lacks = {part: self.survey.lack(need) for part, need in partly.items()}
        left_out = {part: lack for part, lack in lacks.items() if lack is not None}
        return Measured(
            self.survey.count,
            self.survey.data_hash,
            self.deepest,
            summary,
            self.rows,
            self.missing,
            self.seconds,
            left_out,
            {part: self.survey.number(NEEDED[part]) for part in left_out},
        )

    # -- what applies -----------------------------------------------------------------------------------------------

    def _find_out(self, first: ReasoningExample) -> None:
        """What applies to no question at all."""
        subject, survey = self.subject, self.survey
        for part, need in NEEDED.items():
            if not survey.number(need) and (why := survey.lack(need)):
                self.missing[part] = why
        if subject.thinker.builder.encode([first])[0].opening:
            why = "the text begins with words of the prompt file, and no concept could follow the thoughts"
            self.missing.setdefault("concepts", why)
        if "attention" not in self.missing:
            try:
                next(self._attention_of(islice((example for _, example in self._those("facts")), 1)))
            except UserError as err:  # the model hands out no weights
                self.missing["attention"] = told(err)
        if not self.deepest:
            why = "there are no thoughts" if subject.thinker.builder.kind == "none" else "0 thoughts were asked for"
            self.missing.update(dict.fromkeys(("thoughts", "lens", "nodes", "results"), why))
        elif subject.thinker.builder.kind == "soft":
            self.missing.setdefault("nodes", "soft thoughts stand for no steps along the graph")

    # -- after each number of thoughts ------------------------------------------------------------------------------

    def _texts_and_concepts(self) -> None:
        subject, judged = self.subject, self.survey.number("graph")
        with tables.writer(self.folder, "outcomes") as texts:
            for k in subject.counts:
                start = time.perf_counter()
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
                self._clock(f"text after {k} thoughts", start)
                paths = f", correct path {ways / judged:6.1%}" if judged else ""
                count, took = self.survey.count, self._took(start)
                self.say(f"k = {k}: accuracy {right / count:6.1%}{paths}; {count} questions in {took}")
        self.rows["outcomes"] = texts.rows
        self.summary["accuracy"] = accuracy_table(tables.read_rows(self.folder, "outcomes"))
        if judged:
            self.summary["paths"] = path_table(tables.read_rows(self.folder, "outcomes"))
        if "concepts" not in self.missing:
            self._concepts()

    def _concepts(self) -> None:
        subject = self.subject
        with tables.writer(self.folder, "concepts") as values:
            for k in subject.counts:
                start = time.perf_counter()
                numbers, examples = self._numbered("names")
                found = concept_values(
                    subject.thinker, examples, k, scored="all", hidden=subject.behind(k), whole=subject.whole(k)
                )
                for number, record in zip(numbers, found, strict=True):
                    values.write(tables.concept_rows(number, record))
                self._clock(f"concepts after {k} thoughts", start)
        self.rows["concepts"] = values.rows
        self.summary["heights"] = height_table(self._values())
        self.summary["heights_longest"] = height_table(self._values(), height="longest")
        self.summary["parallelism"] = parallelism(self._values())
        self.say(f"concepts: {values.rows} values in {self._part('concepts')}")

    # -- the thoughts themselves ------------------------------------------------------------------------------------

    def _thoughts(self) -> None:
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
        steps = thinker.builder.kind != "soft"
        with tables.writer(self.folder, "lens") as seen, tables.writer(self.folder, "results") as found:
            lenses = thought_lenses(thinker, examples(), k)
            for number, example in enumerate(examples()):
                for _ in range(k):
                    lens = next(lenses)
                    seen.write(tables.lens_rows(number, lens))
                    found.write(tables.result_rows(number, lens))
                    results.add(lens)
                    if steps and self.survey.has(number, "graph"):
                        shown.add(example, lens)
        self.rows["lens"] = seen.rows
        if found.rows:
            self.rows["results"] = found.rows
            self.summary["results"] = results.rows()
        else:
            (self.folder / "results.parquet").unlink()
            self.missing.setdefault("results", "no token of the tokenizer begins one of the results")
        if counted := shown.rows():
            self.summary["lens"] = counted
        self._clock("lens", start)
        if "nodes" not in self.missing:
            self._nodes()
        self.say(f"thoughts: norms, distances, lens of {k} a question in {self._part('thoughts', 'lens', 'nodes')}")

    def _nodes(self) -> None:
        start = time.perf_counter()
        with tables.writer(self.folder, "nodes") as table:
            numbers, examples = self._numbered("names")
            found = node_products(
                self.subject.thinker, examples, self.deepest, thoughts_per_step=self.subject.thoughts_per_step
            )

            def tapped() -> Iterator[NodeProducts]:
                for number, record in zip(numbers, found, strict=True):
                    table.write(tables.node_rows(number, record))
                    yield record

            self.summary["nodes"] = probe_table(tapped())
        self.rows["nodes"] = table.rows
        self._clock("nodes", start)

    def _attention(self) -> None:
        start = time.perf_counter()
        with tables.writer(self.folder, "attention") as table:
            numbers, examples = self._numbered("facts")

            def tapped() -> Iterator[FactAttention]:
                for number, record in zip(numbers, self._attention_of(examples), strict=True):
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

    def _those(self, need: Need) -> Iterator[tuple[int, ReasoningExample]]:
        """The questions that have what is needed, with their numbers."""
        return self.survey.those(need, self.subject.examples())

    def _numbered(self, need: Need) -> tuple[Iterator[int], Iterator[ReasoningExample]]:
        """The numbers of these questions, and, read apart from them, the questions."""
        numbers = (number for number in range(self.survey.count) if self.survey.has(number, need))
        return numbers, (example for _, example in self._those(need))

    def _questions(self) -> Iterator[ReasoningExample]:
        """The questions; without their graphs where these cannot be read."""
        for number, example in enumerate(self.subject.examples()):
            if self.survey.has(number, "graph"):
                yield example
            else:
                yield replace(example, facts={key: example.facts[key] for key in example.facts if key != "edges"})

    def _clock(self, part: str, start: float) -> None:
        self.seconds[part] = round(time.perf_counter() - start, 3)

    def _took(self, start: float) -> str:
        return f"{time.perf_counter() - start:.1f} s"

    def _part(self, *parts: str) -> str:
        return f"{sum(seconds for part, seconds in self.seconds.items() if part.split()[0] in parts):.1f} s"

"""One page with everything: a question's graph to move through thought by thought, figures, tables, protocol.

The page needs no network: its data, its style and its scripts are written into it. It follows dark mode.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import yaml

from lcot.analysis import tables
from lcot.analysis.charts import Chart
from lcot.analysis.concepts import ConceptValues
from lcot.analysis.figures import next_edges
from lcot.analysis.measure import PARTS, SUMMARIES, Measured
from lcot.analysis.pages import drawn, in_page, read, render, told_tables
from lcot.analysis.placement import node_places, shortest_way
from lcot.analysis.subject import Examples
from lcot.analysis.tree import SearchTree, search_tree
from lcot.reasoning.example import ReasoningExample

TITLES: Mapping[str, str] = {
    "accuracy": "Accuracy",
    "paths": "Ways of the written texts",
    "heights": "Values by distance to the nearest leaf",
    "heights_longest": "Values by distance to the farthest leaf",
    "parallelism": "Parallelism",
    "collapse": "Norms and directions of thoughts",
    "lens": "What the output head shows first",
    "results": "Intermediate results under the output head",
    "attention": "Attention to facts",
    "nodes": "Inner products with nodes",
}
"""The names of summaries."""


@dataclass(frozen=True)
class About:
    """What a report says of the run.

    Attributes:
        name: Of the run.
        own: The run's own number of thoughts.
        trained: The numbers of thoughts that training has seen; ``None`` if that is not known.
        data: The questions in a few words, such as ``questions of the test split``.
        warnings: What a reader has to know first.
        facts: What it takes to get the numbers again, by name.
        config: The run's settings.
    """

    name: str
    own: int
    trained: frozenset[int] | None
    data: str
    warnings: tuple[str, ...]
    facts: Mapping[str, str]
    config: Mapping[str, Any]


@dataclass(frozen=True)
class Shown:
    """The questions that a report shows one by one.

    Attributes:
        groups: Numbers of questions under what they have in common.
        examples: The questions, by number.
    """

    groups: Mapping[str, tuple[int, ...]]
    examples: Mapping[int, ReasoningExample]

    @property
    def numbers(self) -> list[int]:
        """All of them, in the order of the report."""
        return [number for group in self.groups.values() for number in group]


def choose(folder: Path, examples: Examples, own: int, most: int) -> Shown:
    """Choose questions: the first ones, half of them answered wrongly at ``own`` thoughts if there are as many.

    Args:
        folder: Of the tables.
        examples: All questions.
        own: Number of thoughts.
        most: How many.
    """
    found: dict[bool, list[int]] = {True: [], False: []}
    for row in tables.read_rows(folder, "outcomes"):
        if row["thoughts"] == own and len(found[row["correct"]]) < most:
            found[row["correct"]].append(row["question"])
    wrong = found[False][: max(most // 2, most - len(found[True]))]
    right = found[True][: most - len(wrong)]
    groups = {f"answered correctly at k = {own}": tuple(right), f"answered wrongly at k = {own}": tuple(wrong)}
    wanted, last = {*right, *wrong}, max([*right, *wrong])
    picked = {}
    for number, example in enumerate(examples()):
        if number in wanted:
            picked[number] = example
        if number >= last:
            break
    return Shown({name: numbers for name, numbers in groups.items() if numbers}, picked)


def search_trees(folder: Path, shown: Shown) -> dict[int, SearchTree]:
    """The trees of the questions that are shown, by number; none where concepts were not measured."""
    if not (folder / "concepts.parquet").is_file():
        return {}
    found: dict[int, list[ConceptValues]] = {}
    for number, record in tables.read_values(folder, set(shown.examples)):
        found.setdefault(number, []).append(record)
    return {number: search_tree(shown.examples[number], values) for number, values in found.items()}


def write_report(
    target: Path,
    about: About,
    measured: Measured,
    charts: Sequence[tuple[Chart, str]],
    shown: Shown,
    trees: Mapping[int, SearchTree],
    causal: Mapping[str, Any] | None = None,
) -> None:
    """Write the page.

    Args:
        target: The file; the tables are beside it.
        about: The run.
        measured: What was found.
        charts: The figures, each with its SVG.
        shown: The questions to choose from.
        trees: Their trees.
        causal: Findings and figures of a probe; ``None`` for no such section.
    """
    from markupsafe import Markup

    counts = sorted({row["thoughts"] for row in measured.summary["accuracy"]})
    data = {
        "thoughts": counts,
        "trained": sorted(about.trained) if about.trained is not None else None,
        "first": _first(shown),
        "questions": list(_questions(target.parent, measured, shown, trees)),
    }
    places = {number: place for place, number in enumerate(shown.numbers)}
    groups = [
        {"label": name, "options": [(places[number], _named(shown.examples[number])) for number in numbers]}
        for name, numbers in shown.groups.items()
    ]
    asked = f"{measured.questions:,} {about.data}"
    text = render(
        "report.html",
        title=f"What the thoughts of {about.name} hold" if measured.deepest else f"Analysis of {about.name}",
        summary=f"{asked}, answered after k = {', '.join(map(str, counts))} thoughts.",
        warnings=about.warnings,
        chosen=f"{len(places)} of {asked} can be chosen: the first ones, half of them with wrong answers where"
        " there are as many.",
        groups=groups,
        counts=counts,
        steps=len(counts) - 1,
        charts=drawn(charts),
        causal=causal,
        tables=list(told_tables(measured.summary, SUMMARIES, TITLES)),
        missing=[(PARTS[what], why) for what, why in measured.missing.items()],
        left_out=[(PARTS[what], why) for what, why in measured.left_out.items()],
        facts=list(about.facts.items()),
        config=yaml.safe_dump(dict(about.config), sort_keys=False, allow_unicode=True),
        data=Markup(in_page(data)),
        drawing=Markup(read("graph.js")),
        script=Markup(read("report.js")),
    )
    target.write_text(text, encoding="utf-8")


def _questions(
    folder: Path, measured: Measured, shown: Shown, trees: Mapping[int, SearchTree]
) -> Iterator[dict[str, Any]]:
    """The questions as the page's script reads them, in the order of the report."""
    wanted = set(shown.examples)
    texts: dict[int, list[dict[str, Any]]] = {}
    for row in tables.read_rows(folder, "outcomes"):
        if row["question"] in wanted:
            texts.setdefault(row["question"], []).append(row)
    lenses = _lenses(folder, wanted) if "lens" in measured.rows else {}
    for number in shown.numbers:
        example, tree = shown.examples[number], trees.get(number)
        moments = []
        for place, row in enumerate(texts[number]):
            moment = {"k": row["thoughts"], **{name: row[name] for name in ("text", "answer", "correct", "category")}}
            if tree is not None:
                moment |= {
                    "values": [_short(node.values[place]) for node in tree.nodes],
                    "frontier": [node.node for node in tree.nodes if node.frontier[place]],
                    "next": sorted(next_edges(tree, place)),
                    "lead": tree.leads[place],
                    "other": _short(tree.other[place]),
                }
            moments.append(moment)
        question: dict[str, Any] = {
            "id": example.id,
            "question": example.question,
            "gold": example.answer,
            "moments": moments,
        }
        if tree is not None:
            question |= {
                "places": node_places(tree),
                "nodes": [
                    {name: getattr(node, name) for name in ("name", "role", "depth", "height", "leads")}
                    for node in tree.nodes
                ],
                "edges": tree.edges,
                "way": sorted(shortest_way(tree)),
            }
        if number in lenses:
            question["lens"] = lenses[number]
        yield question


def _lenses(folder: Path, wanted: set[int]) -> dict[int, list[dict[str, Any]]]:
    """For each question its thoughts under the lens."""
    found: dict[int, list[dict[str, Any]]] = {}
    rows = (row for row in tables.read_rows(folder, "lens") if row["question"] in wanted)
    for (number, _), group in groupby(rows, key=lambda row: (row["question"], row["thought"])):
        ranks = list(group)
        top = [(row["token"], _short(row["probability"])) for row in ranks if row["token"] is not None]
        near = [(row["near"], _short(row["cosine"])) for row in ranks if row["near"] is not None]
        found.setdefault(number, []).append({"top": top, "near": near, "results": []})
    if (folder / "results.parquet").is_file():
        for row in tables.read_rows(folder, "results"):
            if row["question"] in wanted:
                result = (row["text"], row["step"], row["rank"], _short(row["probability"]), row["whole"])
                found[row["question"]][row["thought"] - 1]["results"].append(result)
    return found


def _first(shown: Shown) -> int:
    """The place of the question that is shown at first: of those in the first group, one with most steps."""
    group = next(iter(shown.groups.values()))
    return max(range(len(group)), key=lambda place: len(shown.examples[group[place]].steps))


def _named(example: ReasoningExample) -> str:
    end = example.question.strip()[-48:]
    steps = len(example.steps)
    return f"{example.id} · {steps} step{'s' * (steps != 1)} · …{end}"


def _short(value: float | None) -> float | None:
    return None if value is None else round(value, 5)

"""ProsQA's published records: the graph that each carries, and whether question, steps and answer agree with it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from lcot.datamodules.graphs.generator import Problem
from lcot.datamodules.graphs.text import render
from lcot.datamodules.records import read_examples
from lcot.datamodules.rows import ListSource
from lcot.errors import DataError, UserError, shown
from lcot.metrics.problem_graph import ProblemGraph, problem_graph
from lcot.metrics.surfaces import facts_of, printed_answer, printed_moves, surface_of
from lcot.reasoning.example import ReasoningExample

FIELDS = ("idx_to_symbol", "edges", "root", "target", "neg_target")
"""What a record says of its graph."""


class RecordSource(ListSource):
    """Records as they stand and, where :func:`read_problems` has looked for it, the other question about each."""

    def question(self, index: int, epoch: int, other: bool) -> ReasoningExample:
        """The record, or the other question about its graph, whatever the epoch."""
        example = self.example(index, epoch)
        return other_record(example) if other else example


def other_record(example: ReasoningExample, where: str = "") -> ReasoningExample:
    """The other question about a record's graph with its steps: the text differs in who is asked about alone.

    Args:
        example: The record; it agrees with its graph.
        where: Its place, for messages.

    Raises:
        DataError: If there is no other question.
    """
    problem, names = graph_of(example, where)
    asked = problem.other_question()
    if asked is None:
        right, wrong = (shown(names[node]) for node in (problem.neg_target, problem.target))
        raise DataError(
            f"no other question can be asked about the graph of example {shown(example.id)}",
            where=where,
            why=f"of its nodes without parents none reaches {right} and not {wrong}",
            fix="set data.ask and data.train_ask to 'deeper', or remove the record",
        )
    surface = surface_of(example, problem_graph(example))
    assert surface != "proof" and surface != "sums"
    written = render(asked, names, random.Random(0), surface, example_id=example.id)
    root, other, question = names[problem.root], names[asked.root], example.question.rstrip()
    if surface == "prose":
        facts, _, options = question.rpartition(f"Is {root} a ")
        question = f"{facts}Is {other} a {options}"
    else:
        question = question.removesuffix(root) + other
    known = {**example.facts, **written.facts}
    return replace(example, question=question, steps=written.steps, answer=written.answer, facts=known)


def read_problems(path: str | Path, *, rewritten: bool, paired: bool = False) -> Iterator[ReasoningExample]:
    """Read a file of records in the published format, and check each against the graph that it carries.

    Where records lack some of :data:`FIELDS`, problems are taken as they stand; all records have to lack the same.

    Args:
        path: The file.
        rewritten: Whether problems are written anew from their graphs, so that each needs one.
        paired: Whether the other question about each graph is wanted too.

    Returns:
        The examples in the file's order. The path is checked at once, the records when they are reached.

    Raises:
        DataError: As for :func:`~lcot.datamodules.records.read_examples`, and if a record contradicts its graph, or has
            none about which another question could be asked.
    """
    return _all_checked(read_examples(path), str(Path(path).expanduser()), rewritten, paired)


def graph_of(example: ReasoningExample, where: str) -> tuple[Problem, tuple[str, ...]]:
    """The graph of a record that was read, and the names of its nodes.

    Raises:
        DataError: If the record does not carry one, or one that no problem can be written from.
    """
    facts: dict[str, Any] = dict(example.facts)
    missing = [key for key in FIELDS if key not in facts]
    fault = f"has no field {missing[0]!r}" if missing else _fault(facts)
    if fault:
        raise DataError(
            f"example {shown(example.id)} {fault}",
            where=where,
            why="problems are judged by their graphs; style 'compact', redraw and other questions are made of these",
            fix="correct or remove the record"
            if not missing
            else "use style 'prose' with redraw 'none' and ask 'deeper', or a file with " + ", ".join(FIELDS),
        )
    names, edges, *asked = (facts[key] for key in FIELDS)
    problem = Problem(tuple((start, end) for start, end in edges), len(names), *asked)
    if problem.distances(problem.root)[problem.target] < 1:
        raise DataError(
            f"example {shown(example.id)} has a target that its root does not reach",
            where=f"{where}, fields root ({problem.root}), target ({problem.target}) and edges",
            why="the steps are a way along the edges from root to target",
            fix="correct or remove the record",
        )
    return problem, tuple(names)


def _all_checked(
    examples: Iterator[ReasoningExample], file: str, rewritten: bool, paired: bool
) -> Iterator[ReasoningExample]:
    first: set[str] | None = None
    for number, example in enumerate(examples, start=1):
        where, known = f"{file}, record {number}", set(FIELDS) & example.facts.keys()
        first = known if first is None else first
        if known != first:
            raise DataError(
                f"example {shown(example.id)} {'has' if known - first else 'lacks'} the field"
                f" {min(known ^ first)!r}, and the records before it do{' not' * bool(known - first)}",
                where=where,
                why="some problems would be judged by their graphs, and others not",
                fix="give the field in all records, or in none",
            )
        if rewritten or paired or known == set(FIELDS):
            graph_of(example, where)
            _check(example, where)
        if paired:
            _check(other_record(example, where), where)
        yield example


def _check(example: ReasoningExample, where: str) -> None:
    fault = _contradiction(example, problem_graph(example))
    if fault is not None:
        raise DataError(
            f"example {shown(example.id)} contradicts its graph: {fault}",
            where=where,
            why=f"the fields {', '.join(FIELDS)} say otherwise",
            fix="correct or remove the record",
        )


def _contradiction(example: ReasoningExample, graph: ProblemGraph) -> str | None:
    """What of a record's text is not as its graph says; ``None`` if all is."""
    target = graph.names[graph.target]
    if graph.neg_target is not None and graph.depths[graph.neg_target] >= 0:
        return f"both options can be reached, {shown(target)} and {shown(graph.names[graph.neg_target])}"
    try:
        surface = surface_of(example, graph)
    except UserError:
        return f"the question ends in {shown(example.question[-60:])}, and not in its options"
    stated = [edge for edge, _, _ in facts_of(example.question, graph, surface)]
    if set(stated) != graph.links:
        return f"the question states {len(set(stated) & graph.links)} of {len(graph.links)} edges" + (
            f", and {len(set(stated) - graph.links)} others" if set(stated) - graph.links else ""
        )
    moves, reached = printed_moves(" ".join(example.steps), graph, surface), graph.root
    if moves is None:
        return "a step is of another form"
    for number, (source, end, _) in enumerate(moves, start=1):
        if (reached if source is None else source) != reached or (reached, end) not in graph.links:
            return f"step {number} is no way on from {shown(graph.names[reached])}"
        reached = end
    if reached != graph.target:
        return f"the steps end at {shown(graph.names[reached])}, and not at {shown(target)}"
    said = printed_answer(example.answer, graph, surface)
    return None if said == target else f"the answer is {shown(said or example.answer)}, and not {shown(target)}"


def _fault(facts: dict[str, Any]) -> str | None:
    """What is wrong with the first field of a graph that cannot be used."""
    names, edges, *asked = (facts[key] for key in FIELDS)
    if not isinstance(names, list) or not all(isinstance(name, str) and name.strip() for name in names):
        return f"has a field 'idx_to_symbol' that is no list of names: {shown(names)}"
    if len(set(names)) < len(names):
        twice = next(name for place, name in enumerate(names) if name in names[:place])
        return f"has the name {shown(twice)} twice in field 'idx_to_symbol'"
    if not isinstance(edges, list):
        return f"has a field 'edges' that is no list of pairs: {shown(edges)}"

    def is_node(value: object) -> bool:
        return type(value) is int and 0 <= value < len(names)

    for place, edge in enumerate(edges):
        if not isinstance(edge, list) or len(edge) != 2 or not all(map(is_node, edge)):
            return f"has a field 'edges'[{place}] that is no pair of nodes from 0 to {len(names) - 1}: {shown(edge)}"
    for key, node in zip(FIELDS[2:], asked, strict=True):
        if not is_node(node):
            return f"has a field {key!r} that is no node from 0 to {len(names) - 1}: {shown(node)}"
    return None

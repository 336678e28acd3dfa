"""How problems with a graph are put into words, read backwards: facts of a question, moves of a written path.

Surfaces are ProsQA's three styles, ``proof``, the sentences of ProntoQA's fictional ontologies, and ``sums``, word
problems of which each step is an equation. Of these a step that is not the sum of its person is no edge.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal, NamedTuple, get_args

from lcot.errors import DataError, UserError, shown
from lcot.metrics.problem_graph import ProblemGraph, problem_graph, quality
from lcot.reasoning.example import ReasoningExample

Surface = Literal["prose", "compact", "symbolic", "proof", "sums"]

UNKNOWN = -1
"""The node of a name that the graph does not have."""

_WORD = r"[\w-]+"
RULES = (
    re.compile(r"(?:Each|Every) (\w+pus) is (?:an? (\w+pus)|(not )?([\w-]+))\."),
    re.compile(r"(\w+pus)es are (?:(\w+pus)es|(not )?([\w-]+))\."),
)
"""What ProntoQA says of everything that is a concept: that, and the parent concept or the property (not, which)."""
ON_ENTITY = re.compile(r"([A-Z]\w*) is (?:an? (\w+pus)|(not )?([\w-]+))\.")
"""What it says of one entity, likewise."""
_SUM = re.compile(rf"\s*({_WORD}): ([0-9]+)([+-][0-9]+)=([0-9]+)(?![0-9])")
_SENTENCE = re.compile(r"[^.\s][^.]*\.")


class Move(NamedTuple):
    """One printed step from node to node.

    Attributes:
        source: Where it starts; ``None`` if the text does not say, and goes on from where it is.
        end: Where it ends.
        restates: Whether it may name the node that was reached already, as the conclusions of a proof do.
    """

    source: int | None
    end: int
    restates: bool = False


class StatedFact(NamedTuple):
    """An edge where a question states it.

    Attributes:
        edge: (from, to).
        start: Place of its first character.
        stop: Place behind its last character.
    """

    edge: tuple[int, int]
    start: int
    stop: int


def surface_of(example: ReasoningExample, graph: ProblemGraph) -> Surface:
    """The surface of an example, by the end of its question.

    Raises:
        UserError: If it is none that is known.
    """
    if "entity" in example.facts and graph.neg_target is None:
        return "proof"
    root, question = graph.names[graph.root], example.question.rstrip()
    options = [graph.names[node] for node in (graph.target, graph.neg_target) if node is not None]
    for first, second in (options, options[::-1]):
        ends: tuple[tuple[str, Surface], ...] = (
            (f"Is {root} a {first} or {second}?", "prose"),
            (f"{first} or {second}? {root}", "compact"),
            (f"? {first} {second}: {root}", "symbolic"),
            (f" does {first} have?", "sums"),
        )
        for end, surface in ends:
            if question.endswith(end):
                return surface
    raise UserError(
        f"the question of example {shown(example.id)} has no surface that is known",
        where=f"…{question[-60:]}",
        why="it ends neither with 'Is X a Y or Z?' nor 'does X have?', nor as a compact or symbolic question does",
        fix=f"say which it is: {', '.join(get_args(Surface))}",
    )


def printed_moves(text: str, graph: ProblemGraph, surface: Surface) -> list[Move] | None:
    """The moves of a written path.

    Args:
        text: Reasoning steps, without the answer.
        graph: The names.
        surface: How they are put into words.

    Returns:
        The moves in their order, none for a blank text; ``None`` if it is not made of steps of this surface.
    """
    if surface == "proof":
        return _proof_moves(text, graph)
    if surface == "sums":
        return _sums_moves(text, graph)
    name = _name(graph)
    form = rf"\s*(?:Every )?({name}) is an? ({name})\." if surface == "prose" else rf"\s*({name})(?!\w)"
    pattern, moves, place = re.compile(form), [], 0
    while text[place:].strip():
        found = pattern.match(text, place)
        if found is None:
            return None
        nodes = [graph.numbers.get(word, UNKNOWN) for word in found.groups()]
        moves.append(Move(nodes[0] if surface == "prose" else None, nodes[-1]))
        place = found.end()
    return moves


def printed_answer(text: str, graph: ProblemGraph, surface: Surface) -> str | None:
    """The concept, the word True or False, or the number that an answer ends in; ``None`` if it is of another surface.

    Args:
        text: What stands behind the answer marker.
        graph: The names.
        surface: How answers are put into words.
    """
    name = _name(graph)
    form = {"prose": rf"(?:Every )?{name} is an? ({name})\.?", "proof": "(True|False)", "sums": "([0-9]+)"}.get(
        surface, f"({name})"
    )
    found = re.fullmatch(form, text.strip())
    return found[1] if found else None


def stated_facts(example: ReasoningExample, graph: ProblemGraph, surface: Surface) -> list[StatedFact]:
    """Where a question states the edges of its graph, in the order of the question.

    Raises:
        DataError: If it does not state each edge once.
    """
    facts = [fact for fact in facts_of(example.question, graph, surface) if fact.edge in graph.links]
    if sorted(fact.edge for fact in facts) != sorted(graph.edges):
        raise DataError(
            f"the question of example {shown(example.id)} states {len(facts)} of its graph's {len(graph.edges)} edges",
            where=f"question: {shown(example.question)}",
            why=f"each edge is looked for once, as the surface {surface!r} puts it",
            fix="correct or remove the record",
        )
    return facts


def graph_and_surface(example: ReasoningExample, surface: Surface | None = None) -> tuple[ProblemGraph, Surface]:
    """An example's graph, and its surface unless that is given.

    Raises:
        DataError: If it carries no graph.
        UserError: If the surface is unknown.
    """
    graph = problem_graph(example)
    if surface is not None and surface not in get_args(Surface):
        raise UserError.unknown("surface", str(surface), get_args(Surface))
    return graph, surface if surface is not None else surface_of(example, graph)


def facts_of(question: str, graph: ProblemGraph, surface: Surface) -> Iterator[StatedFact]:
    """What a question states, edge of the graph or not; :data:`UNKNOWN` stands for names that it does not have.

    Args:
        question: Its text.
        graph: The names.
        surface: How they are put into words.
    """
    if surface == "proof":
        for sentence in _SENTENCE.finditer(question):
            statement = _statement(sentence[0])
            if statement is not None:
                subject, said, _ = statement
                edge = graph.numbers.get(subject, UNKNOWN), graph.numbers.get(said, UNKNOWN)
                yield StatedFact(edge, *sentence.span())
        return
    name = _name(graph)
    form = {
        "prose": rf"(?:Every )?(?<!\w)({name}) is a ({name})\.",
        "compact": rf"(?<!\w)({name}) ({name})\.",
        "symbolic": rf"(?<!\w)({name}) ({name})\|",
        "sums": rf"(?<!\w)({name}) has [0-9]+ (?:more|fewer) than ({name})\.",
    }[surface]
    for found in re.finditer(form, question):
        start, end = (graph.numbers.get(word, UNKNOWN) for word in found.groups())
        if surface == "sums":
            start, end = end, start
        yield StatedFact((start, end), *found.span())


def _proof_moves(text: str, graph: ProblemGraph) -> list[Move] | None:
    moves = []
    found = list(_SENTENCE.finditer(text))
    if _SENTENCE.sub("", text).strip():
        return None  # something that no full stop ends
    for sentence in found:
        statement = _statement(sentence[0])
        if statement is None:
            return None
        subject, said, rule = statement
        source, end = graph.numbers.get(subject, UNKNOWN), graph.numbers.get(said, UNKNOWN)
        # What is said of the entity goes on from what it was found to be; another entity is a start from nowhere.
        moves.append(Move(None if not rule and source == graph.root else source, end, restates=not rule))
    return moves


def _sums_moves(text: str, graph: ProblemGraph) -> list[Move] | None:
    moves, place = [], 0
    starts = {end: start for start, end in graph.edges}
    while text[place:].strip():
        found = _SUM.match(text, place)
        if found is None:
            return None
        node = graph.numbers.get(found[1], UNKNOWN)
        start = starts.get(node, UNKNOWN)
        before, change, behind = (int(found[group]) for group in (2, 3, 4))
        if start != UNKNOWN and graph.amounts:
            said, true = (before, change, behind), (graph.amounts[start], graph.amounts[node])
            node = node if said == (true[0], true[1] - true[0], true[1]) else UNKNOWN
        moves.append(Move(None, node))
        place = found.end()
    return moves


def read_sentence(sentence: str) -> tuple[bool, str, str, str, bool] | None:
    """What a sentence of ProntoQA's fictional ontologies says; ``None`` if it is none.

    Returns:
        Whether it is a rule, its subject, the parent that is stated (or nothing), the adjective (or nothing), and
        whether that holds.
    """
    for form in (*RULES, ON_ENTITY):
        found = form.fullmatch(sentence)
        if found is not None:
            subject, parent, negation, adjective = found.groups()
            rule = form is not ON_ENTITY
            return rule, subject.lower() if rule else subject, parent or "", adjective or "", not negation
    return None


def _statement(sentence: str) -> tuple[str, str, bool] | None:
    """Subject, what is said of it, and whether it is a rule; ``None`` if a sentence is of another form."""
    found = read_sentence(sentence)
    if found is None:
        return None
    rule, subject, parent, adjective, holds = found
    return subject, parent or quality(adjective, holds), rule


def _name(graph: ProblemGraph) -> str:
    """A pattern of one name, of any word where all names are words."""
    if all(re.fullmatch(_WORD, name) for name in graph.names):
        return _WORD
    longest_first = sorted(map(re.escape, graph.names), key=len, reverse=True)
    return "|".join([*longest_first, _WORD]).join(("(?:", ")"))

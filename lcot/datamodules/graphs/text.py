"""ProsQA's problems as text: the published prose, and two forms of the same in half the tokens or fewer."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from typing import Literal, get_args

from lcot.datamodules.graphs.generator import GraphSpec, Problem
from lcot.errors import UserError
from lcot.reasoning.example import ReasoningExample

Style = Literal["prose", "compact", "symbolic"]


def draw_names(spec: GraphSpec, problem: Problem, rng: random.Random) -> tuple[str, ...]:
    """A name for each node, no name twice: persons for nodes without parents, concepts for all others."""
    entities = problem.entities
    persons = iter(rng.sample(spec.entity_names, len(entities)))
    concepts = iter(rng.sample(spec.concept_names, problem.num_nodes - len(entities)))
    return tuple(next(persons if node in entities else concepts) for node in range(problem.num_nodes))


def render(
    problem: Problem,
    names: Sequence[str],
    order_rng: random.Random,
    style: Style,
    *,
    example_id: str,
    frontier: bool = False,
    exchanged: bool = False,
) -> ReasoningExample:
    """Write a problem as text.

    ``prose`` is the published surface. ``compact`` says the same in few tokens: with the word tokenizer three for a
    fact, one for a step, and a name is the same token everywhere. Its question ends with the root, as in the symbolic
    form of arXiv 2505.12514, so that the steps continue where the question stops (with empty ``text.after_question``
    and ``text.after_step``):

        Tom terpus. terpus fompus. … lempus or scrompus? Tom   →   terpus fompus lempus### lempus

    ``symbolic`` is that symbolic form, with ``? `` for its [Q], ``: `` for [R] and, as ``text.before_answer``, ``= ``
    for [A], which are one token each:

        Tom terpus| terpus fompus| … ? lempus scrompus: Tom   →   terpus fompus lempus= lempus

    Args:
        problem: The graph and its question.
        names: One name a node.
        order_rng: Shuffles the facts and decides which option comes first.
        style: ``prose``, ``compact`` or ``symbolic``.
        example_id: The example's name.
        frontier: Whether to name, as ``alternatives`` of each step, all nodes at its distance from the root.
        exchanged: Whether the options change places. Of the two questions about a graph one is written so: with the
            same ``order_rng`` their texts then differ in the root alone.

    Returns:
        The example. Its facts are those of the published files: ``idx_to_symbol``, ``edges``, ``root``, ``target``,
        ``neg_target``.

    Raises:
        UserError: If the style is unknown.
        ValueError: If there is not exactly one name for each node.
    """
    if style not in get_args(Style):
        raise UserError.unknown("style", style, get_args(Style))
    if len(names) != problem.num_nodes or len(set(names)) != len(names):
        raise ValueError(f"{problem.num_nodes} nodes need as many different names, not {list(names)}")
    entities = problem.entities
    edges = list(problem.edges)
    order_rng.shuffle(edges)
    options = [names[problem.target], names[problem.neg_target]]
    if (order_rng.random() < 0.5) is not exchanged:
        options.reverse()
    path = problem.shortest_path()
    hops = list(itertools.pairwise(path))
    root, target = names[problem.root], names[problem.target]
    if style == "compact":
        facts = [f"{names[parent]} {names[child]}." for parent, child in edges]
        question = f"{options[0]} or {options[1]}? {root}"
        steps = [names[child] for _, child in hops]
        answer = target
    elif style == "symbolic":
        facts = [f"{names[parent]} {names[child]}|" for parent, child in edges]
        question = f"? {options[0]} {options[1]}: {root}"
        steps = [names[child] for _, child in hops]
        answer = target
    else:
        subjects = [name if node in entities else f"Every {name}" for node, name in enumerate(names)]
        facts = [f"{subjects[parent]} is a {names[child]}." for parent, child in edges]
        question = f"Is {root} a {options[0]} or {options[1]}?"
        steps = [f"{subjects[parent]} is a {names[child]}." for parent, child in hops]
        answer = f"{root} is a {target}."
    known = graph_facts(problem, names)
    text = " ".join([*facts, question])
    if not frontier:
        return ReasoningExample(text, tuple(steps), answer, example_id, known)
    distances, written = problem.distances(problem.root), dict(zip(path[1:], steps, strict=True))

    def step_to(node: int) -> str:
        """A step that ends at a node: the chain's own, or one from any parent that is one step nearer."""
        if style != "prose" or node in written:
            return written.get(node, names[node])
        parent = next(start for start, end in problem.edges if end == node and distances[start] == distances[node] - 1)
        return f"{subjects[parent]} is a {names[node]}."

    levels = [[node for node, far in enumerate(distances) if far == hop] for hop in range(1, len(path))]
    alternatives = tuple(tuple(map(step_to, level)) for level in levels)
    return ReasoningExample(text, tuple(steps), answer, example_id, known, alternatives)


def graph_facts(problem: Problem, names: Sequence[str]) -> dict[str, object]:
    """A graph as the published files hold it."""
    return {
        "idx_to_symbol": list(names),
        "edges": [list(edge) for edge in problem.edges],
        "root": problem.root,
        "target": problem.target,
        "neg_target": problem.neg_target,
    }


def surface_texts(spec: GraphSpec, style: Style) -> list[str]:
    """Texts that hold every word and mark that :func:`render` can write, to build a word tokenizer from."""
    names = " ".join([*spec.entity_names, *spec.concept_names])
    if style == "symbolic":
        return [names, "| ", "? ", ": ", "= "]
    return [names, "or" if style == "compact" else "Every is a Is or", ". ", "? ", "?", "."]

"""How probable each concept is as the next one after k thoughts: the model's value of it (arXiv 2412.06769, section 5).

    v_k(n) = product over the tokens of n's name of p(token | question, bot, k thoughts, eot, lead, tokens before it)

Nothing is renormalised: what is missing from 1 goes to texts that name no node. Names of which none begins another are
disjoint continuations, so their values add up to at most 1.

The question, the thoughts and the lead are read once. The first tokens of all names are read off there; the rest is
teacher-forced in rows of one name each, which continue from copies of that cache.

Letters in shapes: B rows, L columns, W further columns, D hidden width, V vocabulary.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import Cache

from lcot.analysis.readouts import Readout, ReadoutIds, readout, readout_ids
from lcot.analysis.thinker import Thinker, chunks, encoded_chunks, measuring
from lcot.errors import UserError
from lcot.metrics.problem_graph import Frontier, ProblemGraph
from lcot.metrics.surfaces import Surface, graph_and_surface
from lcot.reasoning.cache import GrowingLayer
from lcot.reasoning.example import ReasoningExample
from lcot.reasoning.think import Passes, Thinking

Scored = Literal["frontier", "all"]
"""Which nodes get a value: those that a real path would name next, or all of the graph."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A node with its value.

    Attributes:
        node: Its number in the graph.
        name: Its name.
        frontier: Whether it is at the depth that a real path would name next.
        leads: Whether it is the target, or the target can be reached from it.
        height: Distance to the nearest leaf; ``None`` if there is none.
        longest: Distance to the farthest leaf; ``None`` above a cycle.
        tokens: Number of tokens of its name.
        first: Probability of the first of them.
        value: Probability of all of them.
    """

    node: int
    name: str
    frontier: bool
    leads: bool
    height: int | None
    longest: int | None
    tokens: int
    first: float
    value: float


@dataclass(frozen=True, slots=True)
class ConceptValues:
    """The values of a question's concepts after k thoughts.

    Attributes:
        id: The question's.
        thoughts: k.
        hidden: Number of steps that they stand for.
        steps: Number of steps of the question's shortest path.
        depth: Number of edges between the root and the nodes of the frontier.
        lead: The text that is forced before a name.
        candidates: The scored nodes, in the order of their numbers.
        whole: Whether training left no step behind so many thoughts, however many there are.
    """

    id: str
    thoughts: int
    hidden: int
    steps: int
    depth: int
    lead: str
    candidates: tuple[Candidate, ...]
    whole: bool = False

    @property
    def pending(self) -> bool:
        """Whether a step is left to be named; otherwise the model was trained to answer here, and values are small."""
        return not self.whole and self.hidden < self.steps

    def frontier(self) -> list[Candidate]:
        """The candidates of the frontier, the most probable first."""
        return sorted((one for one in self.candidates if one.frontier), key=lambda one: -one.value)


@dataclass(frozen=True, slots=True)
class _Question:
    """A question that is to be scored."""

    example: ReasoningExample
    graph: ProblemGraph
    form: Readout
    ids: ReadoutIds
    scored: tuple[int, ...]
    frontier: frozenset[int]


def concept_values(
    thinker: Thinker,
    examples: Iterable[ReasoningExample],
    k: int,
    *,
    scored: Scored = "frontier",
    by: Frontier = "walk",
    thoughts_per_step: int = 1,
    hidden: int | None = None,
    whole: bool = False,
    surface: Surface | None = None,
) -> Iterator[ConceptValues]:
    """The values of concepts after k thoughts.

    Args:
        thinker: The model.
        examples: Questions whose facts hold a graph; read as they are needed.
        k: Number of thoughts.
        scored: Which nodes get a value.
        by: How depth is counted.
        thoughts_per_step: Number of thoughts that stand for one step in training; k thoughts stand for k // this.
        hidden: Number of steps that they stand for, where it is another one.
        whole: Whether training left no step behind k thoughts, as Coconut's last stage does with longer chains.
        surface: How the problems are put into words; recognised from each question if not given.

    Yields:
        One record a question, in their order. At most ``thinker.max_rows`` rows are read at once.

    Raises:
        UserError: If k cannot be, ``scored`` or ``by`` is unknown, ``thoughts_per_step`` below 1, or a name is no
            sequence of tokens of its own.
        DataError: If an example carries no graph.
    """
    for what, value, known in (("scored", scored, Scored), ("by", by, Frontier)):
        if value not in get_args(known):
            raise UserError.unknown(what, str(value), get_args(known))
    behind = hidden_steps(k, thoughts_per_step) if hidden is None else hidden
    for chunk, encoded in encoded_chunks(thinker, examples):
        forms, problems = [], []
        for example in chunk:
            graph, own = graph_and_surface(example, surface)
            forms.append(readout(graph, own, behind, thinker.builder))
            problems.append((example, graph))
        questions = []
        for (example, graph), form, ids in zip(problems, forms, readout_ids(thinker.builder, forms), strict=True):
            frontier = graph.frontier(form.depth, by)
            chosen = frontier if scored == "frontier" else tuple(n for n in range(len(graph.names)) if n != graph.root)
            questions.append(_Question(example, graph, form, ids, chosen, frozenset(frontier)))
        room = max((len(q.ids.names[node]) - 1 for q in questions for node in q.scored), default=0)
        rows = thinker.rows(encoded, k, [question.ids.lead for question in questions], room)
        with measuring(thinker.model):
            thinking = thinker.think(rows, keep_cache=room > 0).thinking
            names = [[question.ids.names[node] for node in question.scored] for question in questions]
            found = name_chances(thinker, thinking, names)
        for question, chances in zip(questions, found, strict=True):
            yield _record(question, k, behind, chances, whole)


def hidden_steps(k: int, thoughts_per_step: int) -> int:
    """Number of steps that k thoughts stand for.

    Raises:
        UserError: If ``thoughts_per_step`` is below 1.
    """
    if thoughts_per_step < 1:
        raise UserError(f"thoughts_per_step is {thoughts_per_step}", fix="use 1 or more")
    return k // thoughts_per_step


def name_chances(
    thinker: Thinker, thinking: Thinking, names: Sequence[Sequence[Sequence[int]]]
) -> list[list[tuple[float, float]]]:
    """The probability of continuations of each row.

    Args:
        thinker: The model that did the thinking.
        thinking: B prompts without any text behind them; with a cache if any name has several tokens. The cache is left
            as it is.
        names: For each row, its continuations: ids, at least one each.

    Returns:
        For each continuation the probability of its first token, and of all of its tokens.
    """
    last = thinking.state_at(thinking.prompt_ends - 1)
    # Rounding of float32 would let probabilities add up to more than 1.
    logs = thinking.logits(thinker.model, last).double().log_softmax(dim=-1)
    places = [(row, place) for row, group in enumerate(names) for place in range(len(group))]
    if not places:
        return [[] for _ in names]
    firsts = logs[[row for row, _ in places], [names[row][place][0] for row, place in places]]
    rests = torch.zeros_like(firsts)
    longer = [number for number, (row, place) in enumerate(places) if len(names[row][place]) > 1]
    for group in chunks(longer, thinker.max_rows):
        rows = [places[number][0] for number in group]
        ids = [list(names[row][places[number][1]]) for row, number in zip(rows, group, strict=True)]
        rests[group] = _rest_chances(thinker, thinking, rows, ids)
    whole = (firsts + rests).exp().tolist()
    pairs = iter(zip(firsts.exp().tolist(), whole, strict=True))
    return [[next(pairs) for _ in group] for group in names]


def _rest_chances(thinker: Thinker, thinking: Thinking, rows: Sequence[int], ids: Sequence[Sequence[int]]) -> Tensor:
    """Logarithms ``(B',)`` of the probabilities of the tokens behind the first of continuations of given rows."""
    assert thinking.cache is not None, "names of several tokens need the cache"
    device, length = thinker.device, thinking.attention_mask.shape[1]
    widest = max(map(len, ids)) - 1
    chosen = torch.tensor(list(rows), device=device)
    given = torch.full((len(ids), widest), thinker.builder.special.pad, device=device)
    targets = torch.full_like(given, -1)
    for number, name in enumerate(ids):
        given[number, : len(name) - 1] = torch.tensor(name[:-1], device=device)
        targets[number, : len(name) - 1] = torch.tensor(name[1:], device=device)
    positions = thinking.position_ids[chosen]
    following = thinking.next_positions()[chosen, None] + torch.arange(widest, device=device)
    passes = Passes(
        thinker.model,
        torch.cat([thinking.attention_mask[chosen], targets >= 0], dim=1),
        torch.cat([positions, following], dim=1),
        chosen_rows(thinking.cache, chosen, length + widest),
    )
    embedded = thinker.model.get_input_embeddings()(given)
    states = passes(embedded, length, length + widest)
    is_token = targets >= 0
    logits = thinking.logits(thinker.model, states[is_token]).double()
    losses = F.cross_entropy(logits, targets[is_token], reduction="none")
    return torch.zeros_like(targets, dtype=torch.float64).masked_scatter(is_token, -losses).sum(dim=1)


def chosen_rows(cache: Cache, rows: Tensor, columns: int) -> Cache:
    """A copy of some rows of a cache, in any order and any number of times; the cache is left as it is.

    Args:
        cache: Keys and values of B rows.
        rows: ``(B',)`` numbers of rows.
        columns: Number of columns that the copy is going to hold.
    """
    made = copy.copy(cache)
    made.layers = [_chosen_layer(layer, rows, columns) for layer in cache.layers]
    return made


def _chosen_layer(layer: Any, rows: Tensor, columns: int) -> Any:
    made: Any = GrowingLayer() if isinstance(layer, GrowingLayer) else copy.copy(layer)
    made.dtype, made.device, made.is_initialized = layer.dtype, layer.device, layer.is_initialized
    made.keys, made.values = layer.keys[rows], layer.values[rows]
    if isinstance(made, GrowingLayer):
        made.columns = columns
    return made


def _record(
    question: _Question, k: int, hidden: int, chances: Sequence[tuple[float, float]], whole: bool
) -> ConceptValues:
    graph, nearest, farthest = question.graph, question.graph.heights(), question.graph.heights("longest")
    candidates = tuple(
        Candidate(
            node=node,
            name=graph.names[node],
            frontier=node in question.frontier,
            leads=graph.to_target[node] >= 0,
            height=nearest[node],
            longest=farthest[node],
            tokens=len(question.ids.names[node]),
            first=first,
            value=value,
        )
        for node, (first, value) in zip(question.scored, chances, strict=True)
    )
    return ConceptValues(
        question.example.id, k, hidden, graph.steps, question.form.depth, question.form.lead, candidates, whole
    )

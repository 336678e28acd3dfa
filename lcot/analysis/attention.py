"""Which facts of the question a thought looks at (arXiv 2505.12514, its probes of the second layer).

A thought that expands a search attends to the facts that lead on from what it has reached. With p thoughts read, a fact
"u → v" is

    reachable       if u is within p edges of the root
    frontier        if a walk of exactly p edges ends at u; part of reachable
    optimal         if it is the next edge of a shortest way from root to target; part of the frontier
    not reachable   if it is not reachable

The groups are nested here; the published table does not say whether its own are. Its values are above 1, so they are
not means over heads: taken as sums over a fact's tokens and 8 heads, the means here, whose attention to all columns
adds up to 1, compare with them times the number of heads. Its step 1 is taken to be the place p = 0, at bot or at the
question's last token, where the first continuous thought is made.

Attention weights exist only where transformers computes them in the open ("eager"). The question is therefore read as
usual, and the places p = 0 … k once more, in one pass over its cache with the thoughts as they were found.

Letters in shapes: B rows, H heads, L columns, P the column of the first thoughts, k thoughts, F facts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor
from transformers import PreTrainedModel

from lcot.analysis.concepts import hidden_steps
from lcot.analysis.thinker import Thinker, Thoughts, encoded_chunks, measuring
from lcot.errors import UserError
from lcot.metrics.problem_graph import ProblemGraph
from lcot.metrics.surfaces import StatedFact, Surface, graph_and_surface, stated_facts
from lcot.reasoning.cache import GrowingCache, growing_cache
from lcot.reasoning.example import ReasoningExample
from lcot.reasoning.layout import EncodedExample
from lcot.reasoning.think import Passes
from lcot.reasoning.windows import attended

Group = Literal["reachable", "frontier", "optimal", "not_reachable"]

GROUPS: tuple[Group, ...] = get_args(Group)
"""All groups, in the order in which they are tabulated."""


@dataclass(frozen=True, slots=True)
class FactAttention:
    """What the places of one question attend to.

    Attributes:
        id: The question's.
        thoughts: k.
        heads: Number of heads, over which attention is a mean.
        facts: The facts as pairs of names, in the order of the question.
        groups: For each place p = 0 … k, the groups of each fact.
        attention: For each layer and each place, the attention to each fact, summed over its tokens.
    """

    id: str
    thoughts: int
    heads: int
    facts: tuple[tuple[str, str], ...]
    groups: tuple[tuple[tuple[Group, ...], ...], ...]
    attention: tuple[tuple[tuple[float, ...], ...], ...]


@dataclass(frozen=True, slots=True)
class GroupRow:
    """The attention to all facts of a group, at one place in one layer.

    Attributes:
        thoughts: k.
        layer: Number of the layer, from 1.
        place: Number of thoughts that were read, p.
        group: Which facts.
        facts: How many there are, over all questions.
        mean: Mean attention to one of them, heads averaged.
        heads: Number of heads; ``mean * heads`` is the sum over them.
    """

    thoughts: int
    layer: int
    place: int
    group: Group
    facts: int
    mean: float
    heads: int


def fact_attention(
    thinker: Thinker,
    examples: Iterable[ReasoningExample],
    k: int,
    *,
    thoughts_per_step: int = 1,
    surface: Surface | None = None,
) -> Iterator[FactAttention]:
    """The attention of k thoughts, and of the place before them, to the facts of the question.

    Args:
        thinker: The model.
        examples: Questions whose facts hold a graph; read as they are needed.
        k: Number of thoughts.
        thoughts_per_step: Number of thoughts that stand for one step: p thoughts have then reached p // this edges.
        surface: How the problems are put into words; recognised from each question if not given.

    Yields:
        One record a question, in their order.

    Raises:
        UserError: If k cannot be, the model gives no attention weights, or tokens cannot be traced to the question's
            text: with a prompt around it, or a tokenizer without offsets.
        DataError: If an example carries no graph, or its question does not state each edge once.
    """
    hidden_steps(k, thoughts_per_step)  # refuses what is out of range
    for chunk, encoded in encoded_chunks(thinker, examples):
        graphs = [graph_and_surface(example, surface) for example in chunk]
        facts = [stated_facts(example, *own) for example, own in zip(chunk, graphs, strict=True)]
        tokens = [token_facts(thinker, *own) for own in zip(chunk, encoded, facts, strict=True)]
        rows = thinker.rows(encoded, k)
        with measuring(thinker.model):
            weights = place_attention(thinker, thinker.think(rows), k)
        heads = weights[0].shape[1]
        # One tensor on the CPU for all layers: (layers, B, k + 1, L), heads averaged.
        shares = torch.stack([layer.float().mean(dim=1) for layer in weights]).cpu()
        head = max(row.head for row in rows)
        for number, (example, (graph, _), stated, of_fact) in enumerate(zip(chunk, graphs, facts, tokens, strict=True)):
            start = head - rows[number].head
            own = shares[:, number, :, start : start + len(of_fact)]
            # Tokens of no fact are added up behind the last fact, and left out.
            places = torch.tensor([fact if fact >= 0 else len(stated) for fact in of_fact])
            summed = own.new_zeros(*own.shape[:2], len(stated) + 1).index_add_(2, places, own)[..., :-1]
            yield FactAttention(
                id=example.id,
                thoughts=k,
                heads=heads,
                facts=tuple((graph.names[start], graph.names[end]) for (start, end), *_ in stated),
                groups=tuple(
                    fact_groups(graph, [fact.edge for fact in stated], hidden_steps(place, thoughts_per_step))
                    for place in range(k + 1)
                ),
                attention=tuple(tuple(map(tuple, layer)) for layer in summed.tolist()),
            )


def group_table(records: Iterable[FactAttention], *, pending_only: bool = True) -> list[GroupRow]:
    """Mean attention to the facts of each group; only sums are kept.

    Args:
        records: Of any numbers of thoughts.
        pending_only: Leave out places from which no edge leads on along a shortest way, because the target is reached.

    Returns:
        Rows by number of thoughts, layer, place and group; none for groups without facts.
    """
    sums: dict[tuple[int, int, int, int], tuple[int, float]] = {}
    heads = 0
    for record in records:
        heads = record.heads
        for place, groups in enumerate(record.groups):
            if pending_only and not any("optimal" in own for own in groups):
                continue
            for layer, attention in enumerate(record.attention, start=1):
                for own, value in zip(groups, attention[place], strict=True):
                    for group in own:
                        key = record.thoughts, layer, place, GROUPS.index(group)
                        count, total = sums.get(key, (0, 0.0))
                        sums[key] = count + 1, total + value
    return [
        GroupRow(k, layer, place, GROUPS[group], count, total / count, heads)
        for (k, layer, place, group), (count, total) in sorted(sums.items())
    ]


def fact_groups(graph: ProblemGraph, edges: Sequence[tuple[int, int]], reached: int) -> tuple[tuple[Group, ...], ...]:
    """The groups of each of some edges.

    Args:
        graph: Theirs.
        edges: Of the graph.
        reached: Number of edges from the root that the search has come.
    """
    frontier = frozenset(graph.frontier(reached))
    way, next_on_it = graph.on_the_way(reached), graph.on_the_way(reached + 1)
    found: list[tuple[Group, ...]] = []
    for start, end in edges:
        if not 0 <= graph.depths[start] <= reached:
            found.append(("not_reachable",))
        elif start not in frontier:
            found.append(("reachable",))
        elif start in way and end in next_on_it:
            found.append(("reachable", "frontier", "optimal"))
        else:
            found.append(("reachable", "frontier"))
    return tuple(found)


def place_attention(thinker: Thinker, thoughts: Thoughts, k: int) -> list[Tensor]:
    """Attention weights of the places p = 0 … k; call it within :func:`lcot.analysis.thinker.measuring`.

    Args:
        thinker: The model that did the thinking.
        thoughts: B rows with their heads in line.
        k: Number of thoughts of each.

    Returns:
        One ``(B, H, k + 1, P + k)`` a layer; row p is that of column P - 1 + p, and adds up to 1.

    Raises:
        UserError: If the model gives no weights, or thoughts look at padding.
    """
    if getattr(getattr(thinker.thinks, "__self__", None), "unmasked", None) is not None:
        raise UserError(
            "thoughts look at padding (model.unmasked)",
            where="attention to facts",
            why="weights are measured with padding masked, which is not how this run thinks",
            fix="leave this measurement out for this run",
        )
    batch, first = thoughts.batch, thoughts.batch.first
    embedded = thinker.model.get_input_embeddings()(batch.input_ids[:, :first])
    prompt, last = embedded.split([first - 1, 1], dim=1)
    places = torch.cat([last, thoughts.inputs.to(last.dtype)], dim=1)
    stop = first + k
    cache = growing_cache(thinker.model.config, stop)
    if first > 1:
        Passes(thinker.model, batch.attention_mask, batch.position_ids, cache)(prompt, 0, first - 1)
    return attention_weights(thinker.model, places, batch.attention_mask[:, :stop], batch.position_ids[:, :stop], cache)


def attention_weights(
    model: PreTrainedModel, inputs: Tensor, mask: Tensor, positions: Tensor, cache: GrowingCache
) -> list[Tensor]:
    """Attention weights of some columns, read behind those in a cache.

    Args:
        model: A language model.
        inputs: ``(B, C, D)`` what is read.
        mask: ``(B, L)`` bool: which columns are real, those in the cache before those that are read.
        positions: ``(B, L)`` of all of them.
        cache: Grows by these columns.

    Returns:
        One ``(B, H, C, L)`` a layer; each row adds up to 1.

    Raises:
        UserError: If the model gives none.
    """
    start = mask.shape[1] - inputs.shape[1]
    with eager_attention(model):
        output = model.base_model(
            inputs_embeds=inputs,
            attention_mask=attended(model, cache.windows, mask, positions, start, inputs.dtype),
            position_ids=positions[:, start:],
            past_key_values=cache,
            use_cache=True,
            output_attentions=True,
        )
    found = [layer for layer in output.attentions or () if layer is not None]
    if len(found) < len(cache.layers):
        raise UserError(
            f"a {model.config.model_type} model gives attention weights of {len(found)} of its"
            f" {len(cache.layers)} layers",
            where="attention to facts",
            why="its other layers have none, or their implementation in transformers does not hand them out",
            fix="leave this measurement out for this model",
        )
    return found


@contextmanager
def eager_attention(model: PreTrainedModel) -> Iterator[None]:
    """Let a model compute its attention in the open; afterwards it does so as before.

    Raises:
        UserError: If this kind of model cannot be switched.
    """
    before = model.config._attn_implementation
    model.set_attn_implementation("eager")
    try:
        if model.config._attn_implementation != "eager":
            raise UserError(
                f"the attention of a {model.config.model_type} model cannot be switched to 'eager'",
                where="attention to facts",
                fix="leave this measurement out for this model",
            )
        yield
    finally:
        model.set_attn_implementation(before)


def token_facts(
    thinker: Thinker, example: ReasoningExample, encoded: EncodedExample, facts: Sequence[StatedFact]
) -> list[int]:
    """The fact that each token of a question belongs to, by its place among the facts; -1 for none.

    A token belongs to where its first character stands that is not white space, or to where it begins if it is blank.

    Raises:
        UserError: If the tokens cannot be traced to the text.
    """
    tokenizer, text = thinker.builder.tokenizer, example.question + thinker.builder.text.after_question
    if not tokenizer.is_fast:
        raise UserError(
            f"the tokenizer {tokenizer.name_or_path!r} does not say where its tokens stand in a text",
            where="attention to facts",
            fix="use a fast tokenizer, or leave this measurement out",
        )
    found = tokenizer(text, return_offsets_mapping=True, return_attention_mask=False)
    if found["input_ids"][: len(encoded.question)] != encoded.question:
        raise UserError(
            "the question does not stand at the beginning of its row",
            where=f"attention to facts, question {example.id!r}",
            why="a prompt is written around it, and its tokens are not those of the question alone",
            fix="leave this measurement out for runs with data.dialogue",
        )
    owner = {place: number for number, fact in enumerate(facts) for place in range(fact.start, fact.stop)}
    owners = []
    for start, stop in found["offset_mapping"][: len(encoded.question)]:
        blank = len(text[start:stop]) - len(text[start:stop].lstrip())
        owners.append(owner.get(start + blank if blank < stop - start else start, -1))
    return owners

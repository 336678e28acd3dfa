"""Which nodes a thought is made of: its inner products with the embeddings of their names (arXiv 2505.12514).

The finding that they are compared with: the i-th thought of a model that searches is a superposition of the nodes
within i steps of the root, so it has larger inner products with their embeddings than with those of other nodes, with
the newest ones above all. With i steps thought of, a node is

    reachable       if it is within i edges of the root
    frontier        if a walk of exactly i edges ends at it; part of reachable
    optimal         if it is there on a shortest way to the target; part of the frontier
    not reachable   if it is not reachable

Letters in shapes: B rows, k thoughts, N nodes, D hidden width.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from lcot.analysis.attention import GROUPS, Group
from lcot.analysis.concepts import hidden_steps
from lcot.analysis.readouts import readout, readout_ids
from lcot.analysis.thinker import Thinker, encoded_chunks, measuring
from lcot.metrics.problem_graph import ProblemGraph
from lcot.metrics.surfaces import Surface, graph_and_surface
from lcot.reasoning.example import ReasoningExample


@dataclass(frozen=True, slots=True)
class NodeProducts:
    """The thoughts of one question beside the embeddings of its nodes.

    Attributes:
        id: The question's.
        thoughts: k.
        steps: Number of steps of its shortest path.
        names: The nodes' names.
        groups: For each thought, the groups of each node.
        products: For each thought, its inner product with the embedding of each node.
        cosines: For each thought, its cosine with them.
    """

    id: str
    thoughts: int
    steps: int
    names: tuple[str, ...]
    groups: tuple[tuple[tuple[Group, ...], ...], ...]
    products: tuple[tuple[float, ...], ...]
    cosines: tuple[tuple[float, ...], ...]


@dataclass(frozen=True, slots=True)
class ProbeRow:
    """One of k thoughts beside all nodes of a group.

    Attributes:
        thoughts: k.
        thought: Which of them this is, from 1.
        group: Which nodes.
        nodes: How many there are, over all questions.
        product: Mean inner product with one of them.
        cosine: Mean cosine with one of them.
    """

    thoughts: int
    thought: int
    group: Group
    nodes: int
    product: float
    cosine: float


def node_products(
    thinker: Thinker,
    examples: Iterable[ReasoningExample],
    k: int,
    *,
    thoughts_per_step: int = 1,
    surface: Surface | None = None,
) -> Iterator[NodeProducts]:
    """Compare each of k thoughts with the input embeddings of the nodes' names.

    Of a name of several tokens it is the mean of their embeddings.

    Args:
        thinker: The model.
        examples: Questions whose facts hold a graph; read as they are needed.
        k: Number of thoughts.
        thoughts_per_step: Number of thoughts that stand for one step: i thoughts have reached i // this edges.
        surface: How the problems are put into words; recognised from each question if not given.

    Yields:
        One record a question, in their order.

    Raises:
        UserError: If k cannot be, or a name is no sequence of tokens of its own.
        DataError: If an example carries no graph.
    """
    behind = hidden_steps(k, thoughts_per_step)
    reached = [hidden_steps(thought, thoughts_per_step) for thought in range(1, k + 1)]
    for chunk, encoded in encoded_chunks(thinker, examples):
        graphs = [graph_and_surface(example, surface) for example in chunk]
        forms = [readout(graph, own, behind, thinker.builder) for graph, own in graphs]
        names = [ids.names for ids in readout_ids(thinker.builder, forms)]
        rows = thinker.rows(encoded, k)
        with measuring(thinker.model):
            vectors = thinker.think(rows).vectors.float()
            embedded = [_embeddings(thinker, own) for own in names]
        for example, (graph, _), own, nodes in zip(chunk, graphs, vectors, embedded, strict=True):
            yield NodeProducts(
                id=example.id,
                thoughts=k,
                steps=graph.steps,
                names=graph.names,
                groups=tuple(node_groups(graph, steps) for steps in reached),
                products=_rows(own @ nodes.T),
                cosines=_rows(F.normalize(own, dim=-1) @ F.normalize(nodes, dim=-1).T),
            )


def node_groups(graph: ProblemGraph, reached: int) -> tuple[tuple[Group, ...], ...]:
    """The groups of each node.

    Args:
        graph: Theirs.
        reached: Number of edges from the root that the search has come.
    """
    frontier, way = frozenset(graph.frontier(reached)), graph.on_the_way(reached)
    found: list[tuple[Group, ...]] = []
    for node, depth in enumerate(graph.depths):
        if not 0 <= depth <= reached:
            found.append(("not_reachable",))
        elif node not in frontier:
            found.append(("reachable",))
        elif node in way:
            found.append(("reachable", "frontier", "optimal"))
        else:
            found.append(("reachable", "frontier"))
    return tuple(found)


def probe_table(records: Iterable[NodeProducts], *, pending_only: bool = True) -> list[ProbeRow]:
    """Means over the nodes of each group; only sums are kept.

    Args:
        records: Of any numbers of thoughts.
        pending_only: Leave out thoughts at which no node is on a shortest way, because it ended before.

    Returns:
        Rows by number of thoughts, thought and group; none for groups without nodes.
    """
    sums: dict[tuple[int, int, int], tuple[int, float, float]] = {}
    for record in records:
        columns = zip(record.groups, record.products, record.cosines, strict=True)
        for thought, (groups, products, cosines) in enumerate(columns, start=1):
            if pending_only and not any("optimal" in own for own in groups):
                continue
            for own, product, cosine in zip(groups, products, cosines, strict=True):
                for group in own:
                    key = record.thoughts, thought, GROUPS.index(group)
                    count, total, alike = sums.get(key, (0, 0.0, 0.0))
                    sums[key] = count + 1, total + product, alike + cosine
    return [
        ProbeRow(k, thought, GROUPS[group], count, total / count, alike / count)
        for (k, thought, group), (count, total, alike) in sorted(sums.items())
    ]


def _embeddings(thinker: Thinker, names: Iterable[list[int]]) -> Tensor:
    """``(N, D)`` mean input embeddings of names."""
    table = thinker.model.get_input_embeddings()
    return torch.stack([table(torch.tensor(ids, device=thinker.device)).float().mean(dim=0) for ids in names])


def _rows(values: Tensor) -> tuple[tuple[float, ...], ...]:
    return tuple(map(tuple, values.tolist()))

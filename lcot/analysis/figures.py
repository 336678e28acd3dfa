"""Search trees as pictures that can be read in print and by colour-blind readers.

matplotlib is imported when something is drawn. A figure belongs to no window: whoever asked for it saves it.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lcot.analysis.placement import Place, node_places, shortest_way
from lcot.analysis.tree import SearchTree, TreeNode
from lcot.errors import UserError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROLES = {"root": "root", "target": "target", "neg_target": "other option", "": ""}
"""How the roles of nodes are written."""

MARKERS = {"root": "s", "target": "h", "neg_target": "D", "": "o"}
"""The shapes of nodes: a role is seen without colours."""

INK, PALE, NEXT = "#222222", "#b8b8b8", "#D55E00"
"""Text and shortest ways; everything else; edges that a next step would take."""

_STYLE: Any = {"font.size": 10, "svg.fonttype": "none", "svg.hashsalt": "lcot"}


def draw_tree(tree: SearchTree, thoughts: Sequence[int] | None = None, title: str | None = None) -> Figure:
    """Draw a problem's graph with the model's values on it, a panel for each number of thoughts.

    Nodes are filled by their value, which is written on them; a heavy rim is on those that a real path would name
    next, and the edges to these are coloured. Edges of a shortest way to the target are dark.

    Args:
        tree: The graph with its values.
        thoughts: Which numbers of thoughts; all of the tree if not given.
        title: What stands above; nothing if not given.

    Raises:
        UserError: If the tree has no values of a number of thoughts.
    """
    chosen = tuple(tree.thoughts if thoughts is None else thoughts)
    unknown = [k for k in chosen if k not in tree.thoughts]
    if unknown or not chosen:
        raise UserError(
            f"{unknown[0]} thoughts" if unknown else "no number of thoughts",
            where=f"drawing of the search tree of question {tree.id!r}",
            fix=f"use some of {', '.join(map(str, tree.thoughts))}" if tree.thoughts else "measure some",
        )
    places = node_places(tree)
    across = max(x for x, _ in places) + 1
    up = max(y for _, y in places) - min(y for _, y in places) + 1
    panels = min(len(chosen), 3)
    rows = -(-len(chosen) // panels)
    width = min(max(1.25 * across, 3.2), 16 / panels)
    height = max(0.72 * up, 2.2) + 0.5
    with styled():
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure(figsize=(width * panels, height * rows), dpi=110, layout="constrained")
        FigureCanvasAgg(figure)
        panes = list(figure.subplots(rows, panels, squeeze=False).flat)
        for axes, k in zip(panes, chosen, strict=False):
            _draw_panel(axes, tree, places, tree.thoughts.index(k))
        for axes in panes[len(chosen) :]:
            axes.remove()
        if title is not None:
            figure.suptitle(textwrap.fill(title, int(13 * width * panels)), fontsize=10)
    return figure


def save_figure(figure: Figure, folder: Path, name: str) -> None:
    """Write ``<name>.png`` and ``<name>.svg``; the same figure gives the same files."""
    with styled():
        figure.savefig(folder / f"{name}.png")
        figure.savefig(folder / f"{name}.svg", metadata={"Date": None})


def said(value: float) -> str:
    """A probability as it is written on a node."""
    return "1" if value > 0.995 else f"{value:.2f}".removeprefix("0")


@contextmanager
def styled() -> Iterator[None]:
    """Settings that all pictures share: words stay words in an SVG, and the same picture is the same file."""
    from matplotlib import rc_context

    with rc_context(_STYLE):
        yield


def _draw_panel(axes: Any, tree: SearchTree, places: Sequence[Place], column: int) -> None:
    from matplotlib import colormaps

    shades, way = colormaps["Blues"], shortest_way(tree)
    following = next_edges(tree, column)
    for start, end in tree.edges:
        ahead, on_way = (start, end) in following, (start, end) in way
        axes.annotate(
            "", places[end], xytext=places[start],
            arrowprops={
                "arrowstyle": "-|>", "mutation_scale": 9, "shrinkA": 13, "shrinkB": 13,
                "color": NEXT if ahead else INK if on_way else PALE,
                "linewidth": 1.8 if ahead else 1.3 if on_way else 0.8,
                "linestyle": "--" if ahead and not on_way else "-",
                # Within a column a straight edge would run through names.
                "connectionstyle": f"arc3,rad={0.35 if places[start][0] == places[end][0] else 0}",
            },
            zorder=1,
        )  # fmt: skip
    for node, (x, y) in zip(tree.nodes, places, strict=True):
        value, ahead = node.values[column], node.frontier[column]
        axes.scatter(
            [x], [y], s=400 if node.role == "neg_target" else 560, marker=MARKERS[node.role], zorder=2,
            color=shades(0.08 + 0.8 * value) if value is not None else "white",
            edgecolor=NEXT if ahead else INK if node.role else PALE, linewidth=2.2 if ahead else 1.1,
        )  # fmt: skip
        if value is not None:
            ink = "white" if value > 0.6 else INK
            axes.text(x, y, said(value), ha="center", va="center", fontsize=8.5, color=ink, zorder=3)
        axes.annotate(
            _name(node), (x, y), xytext=(0, -14), textcoords="offset points", ha="center", va="top", fontsize=8.5,
            color=INK, weight="bold" if node.role else "normal", zorder=3,
            bbox={"boxstyle": "square,pad=0.05", "facecolor": "white", "edgecolor": "none", "alpha": 0.75},
        )  # fmt: skip
    k = tree.thoughts[column]
    axes.set_title(f"{k} thought{'s' * (k != 1)}; everything else: {said(max(tree.other[column], 0.0))}", fontsize=9.5)
    axes.set_axis_off()
    axes.set_xlim(-0.5, max(x for x, _ in places) + 0.5)
    axes.set_ylim(min(y for _, y in places) - 0.75, max(y for _, y in places) + 0.5)


def next_edges(tree: SearchTree, column: int) -> set[tuple[int, int]]:
    """Edges of a walk's last step to a node that a real path would name next."""
    reached = {node.node for node in tree.nodes if node.role == "root"}
    for _ in range(tree.depths[column] - 1):
        reached = {end for start, end in tree.edges if start in reached}
    return {(start, end) for start, end in tree.edges if start in reached and tree.nodes[end].frontier[column]}


def _name(node: TreeNode) -> str:
    return f"{node.name}\n({ROLES[node.role]})" if node.role else node.name

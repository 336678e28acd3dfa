"""Search trees as pictures that can be read in print and by colour-blind readers.

matplotlib is imported when something is drawn. A figure belongs to no window: whoever asked for it saves it.
"""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

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


_LEGEND = (
    "Fill and number: probability of the concept as the next one. Orange rim: what a real path names next, where orange"
    " arrows lead. Dark arrows: a shortest way from the root (square) to the target (hexagon). Diamond: the other"
    " option."
)
_UNSEEN = "\n* training never saw this number of thoughts."


def draw_tree(
    tree: SearchTree,
    thoughts: Sequence[int] | None = None,
    title: str | None = None,
    *,
    trained: Collection[int] | None = None,
    across: int = 3,
) -> Figure:
    """Draw a problem's graph with the model's values on it, a panel for each number of thoughts.

    Nodes are filled by their value, which is written on them; a heavy rim is on those that a real path would name
    next, and the edges to these are coloured. Edges of a shortest way to the target are dark. A legend says so.

    Args:
        tree: The graph with its values.
        thoughts: Which numbers of thoughts; all of the tree if not given.
        title: What stands above; nothing if not given.
        trained: The numbers of thoughts that training has seen; others get a star. ``None`` if that is not known.
        across: How many panels stand side by side at most.

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
    new = {k for k in chosen if trained is not None and k not in trained}
    places = node_places(tree)
    columns = max(x for x, _ in places) + 1
    up = max(y for _, y in places) - min(y for _, y in places) + 1
    panels = min(len(chosen), across)
    rows = -(-len(chosen) // panels)
    # Alone in its row, a panel is to be as narrow as TensorBoard's cards, which shrink what is wider.
    width = max(1.0 * columns, 3.6) if across == 1 else min(max(1.25 * columns, 3.2), 16 / panels)
    height = max(0.72 * up, 2.2 if across > 1 else 0.0) + 0.5
    legend = textwrap.fill(_LEGEND, int(15.5 * width * panels)) + (_UNSEEN if new else "")
    heading = textwrap.fill(title or "", int(13 * width * panels))
    around = 0.16 * (legend.count("\n") + 2) + 0.18 * (heading.count("\n") + 1 if heading else 0)
    with styled():
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure(figsize=(width * panels, height * rows + around), dpi=110, layout="constrained")
        FigureCanvasAgg(figure)
        panes = list(figure.subplots(rows, panels, squeeze=False).flat)
        for axes, k in zip(panes, chosen, strict=False):
            _draw_panel(axes, tree, places, tree.thoughts.index(k), k in new)
        for axes in panes[len(chosen) :]:
            axes.remove()
        if heading:
            figure.suptitle(heading, fontsize=10)
        figure.supxlabel(legend, x=0.01, ha="left", fontsize=7.5, color="#444444")
    return figure


def save_figure(figure: Figure, folder: Path, name: str) -> None:
    """Write ``<name>.png`` and ``<name>.svg``; the same figure gives the same files."""
    with styled():
        figure.savefig(folder / f"{name}.png")
        figure.savefig(folder / f"{name}.svg", metadata={"Date": None})


def to_pixels(figure: Figure) -> NDArray[np.uint8]:
    """A figure as ``(height, width, 3)`` bytes."""
    canvas: Any = figure.canvas
    with styled():
        canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def said(value: float) -> str:
    """A probability as it is written on a node."""
    return "1" if value > 0.995 else f"{value:.2f}".removeprefix("0")


def ink_on(fill: Any) -> str:
    """Black or white, whichever has more contrast on a colour; that is 4.5 at least."""
    light = luminance(fill)
    return "white" if 1.05 / (light + 0.05) > (light + 0.05) / 0.05 else "black"


def luminance(colour: Any) -> float:
    """The relative luminance of a colour (WCAG 2), from 0 for black to 1 for white."""
    from matplotlib.colors import to_rgb

    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in to_rgb(colour)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@contextmanager
def styled() -> Iterator[None]:
    """Settings that all pictures share: words stay words in an SVG, and the same picture is the same file."""
    from matplotlib import rc_context

    with rc_context(_STYLE):
        yield


def _draw_panel(axes: Any, tree: SearchTree, places: Sequence[Place], column: int, new: bool) -> None:
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
                "connectionstyle": f"arc3,rad={_bend(places[start], places[end])}",
            },
            zorder=1,
        )  # fmt: skip
    for node, (x, y) in zip(tree.nodes, places, strict=True):
        value, ahead = node.values[column], node.frontier[column]
        fill = shades(0.08 + 0.8 * value) if value is not None else "white"
        axes.scatter(
            [x], [y], s=400 if node.role == "neg_target" else 560, marker=MARKERS[node.role], zorder=2,
            color=fill,
            edgecolor=NEXT if ahead else INK if node.role else PALE, linewidth=2.2 if ahead else 1.1,
        )  # fmt: skip
        if value is not None:
            ink = ink_on(fill)
            axes.text(x, y, said(value), ha="center", va="center", fontsize=8.5, color=ink, zorder=3)
        axes.annotate(
            _name(node), (x, y), xytext=(0, -17 if node.role == "neg_target" else -14),
            textcoords="offset points", ha="center", va="top", fontsize=8.5,
            color=INK, weight="bold" if node.role else "normal", zorder=3,
            bbox={"boxstyle": "square,pad=0.05", "facecolor": "white", "edgecolor": "none", "alpha": 0.75},
        )  # fmt: skip
    for artist in (*axes.texts, *axes.collections):
        artist.set_in_layout(False)  # all of it lies within the limits below, and measuring it takes its time
    k = tree.thoughts[column]
    told = f"{k} thought{'s' * (k != 1)}{'*' * new}"
    axes.set_title(f"{told}; everything else: {said(max(tree.other[column], 0.0))}", fontsize=9.5)
    axes.set_axis_off()
    axes.set_xlim(-0.5, max(x for x, _ in places) + 0.5)
    axes.set_ylim(min(y for _, y in places) - 0.75, max(y for _, y in places) + 0.5)


def _bend(start: Place, end: Place) -> float:
    """How far an edge leaves the straight line, which would run through names within a column or over one."""
    across, up = abs(end[0] - start[0]), abs(end[1] - start[1])
    return 0.9 / up if not across else 0.15 if across > 1 else 0.0


def next_edges(tree: SearchTree, column: int) -> set[tuple[int, int]]:
    """Edges of a walk's last step to a node that a real path would name next."""
    reached = {node.node for node in tree.nodes if node.role == "root"}
    for _ in range(tree.depths[column] - 1):
        reached = {end for start, end in tree.edges if start in reached}
    return {(start, end) for start, end in tree.edges if start in reached and tree.nodes[end].frontier[column]}


def _name(node: TreeNode) -> str:
    return f"{node.name}\n({ROLES[node.role]})" if node.role else node.name

"""A search tree drawn: one panel for each number of thoughts, with the model's values in the nodes.

Colour is not needed to read it: values are numbers, the answer has a star, and what a real path would name next has a
thick frame.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lcot.analysis import SearchTree, TreeNode

_FRAME, _PATH, _EDGE, _INK, _NOTE = "#D55E00", "#333333", "#BBBBBB", "#222222", "#555555"
_STEP, _ROW, _HEAD, _NARROWEST = 1.0, 0.46, 0.3, 3.6
"""Inches between two depths, between two nodes of one depth, for a heading, and for the whole at least.

TensorBoard's cards are about as wide, and shrink what is wider: panels stand below one another, in small type."""

_LEGEND = (
    "Number and shade: probability as the next concept. Thick frame: what a real path names next. ★ the answer, ✗ the"
    " wrong option."
)
_NEW = " * a number of thoughts that the model was not trained with."


def draw_tree(tree: SearchTree, title: str, known: Collection[int]) -> Any:
    """Draw a search tree.

    Nodes that the root does not reach are left out, but for the wrong option.

    Args:
        tree: Values of the nodes after some numbers of thoughts.
        title: Stands above all.
        known: Numbers of thoughts that the model was trained with; it may answer at once after others, or write
            nonsense.

    Returns:
        A ``matplotlib`` figure.
    """
    from matplotlib.figure import Figure

    places = _places(tree)
    depth = max(x for x, _ in places.values())
    layer = max(abs(y) for _, y in places.values())
    width = max(_NARROWEST, (depth + 1.1) * _STEP)
    panel = (2 * layer + 1.2) * _ROW + _HEAD
    legend = _LEGEND + ("" if set(tree.thoughts) <= set(known) else _NEW)
    notes = textwrap.wrap(legend, int(width * 16), break_on_hyphens=False)
    height = _HEAD + len(tree.thoughts) * panel + 0.15 * len(notes) + 0.12
    figure = Figure(figsize=(width, height), dpi=120)
    style: Any = {"va": "center", "color": _INK}

    def write(text: str, below: float, size: float, right: bool = False, **more: Any) -> None:
        x = 1 - 0.1 / width if right else 0.1 / width
        figure.text(x, 1 - below / height, text, fontsize=size, ha="right" if right else "left", **{**style, **more})

    write(title, _HEAD / 2, 9.5, fontweight="bold")
    for number, thoughts in enumerate(tree.thoughts):
        top = _HEAD + number * panel
        write(f"after {thoughts} thought{'s' * (thoughts != 1)}" + ("" if thoughts in known else "*"), top + 0.16, 9)
        write(f"elsewhere {_number(tree.other[number])}", top + 0.16, 8, right=True, color=_NOTE)
        axes = figure.add_axes((0, 1 - (top + panel) / height, 1, (panel - _HEAD) / height))
        axes.set_xlim(-0.55, depth + 0.55)
        axes.set_ylim(layer + 0.6, -layer - 0.6)
        axes.axis("off")
        _draw_panel(axes, tree, number, places)
    for number, line in enumerate(notes):
        write(line, height - 0.15 * (len(notes) - number) + 0.02, 7, color=_NOTE)
    return figure


def to_pixels(figure: Any) -> NDArray[np.uint8]:
    """A figure as ``(height, width, 3)`` bytes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas: Any = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _places(tree: SearchTree) -> dict[int, tuple[float, float]]:
    """Where nodes stand: to the right by depth, in a column near those that lead to them."""
    shown = [node for node in tree.nodes if node.depth >= 0]
    places: dict[int, tuple[float, float]] = {}
    for depth in range(max(node.depth for node in shown) + 1):
        layer = [node.node for node in shown if node.depth == depth]
        middle = {node: _middle(node, tree.edges, places) for node in layer}
        layer.sort(key=lambda node: (middle[node], node))
        for place, node in enumerate(layer):
            places[node] = float(depth), place - (len(layer) - 1) / 2
    stranger = next((node.node for node in tree.nodes if node.role == "neg_target" and node.depth < 0), None)
    if stranger is not None:
        right, low = max(x for x, _ in places.values()), max(y for _, y in places.values())
        inside = [y for x, y in places.values() if x == right]
        places[stranger] = right, max(low, max(inside) + 1)
    return places


def _middle(node: int, edges: Sequence[tuple[int, int]], places: dict[int, tuple[float, float]]) -> float:
    """Where the nodes that lead to a node stand in their columns."""
    heights = [places[start][1] for start, end in edges if end == node and start in places]
    return sum(heights) / len(heights) if heights else 0.0


def _draw_panel(axes: Any, tree: SearchTree, number: int, places: dict[int, tuple[float, float]]) -> None:
    from matplotlib import colormaps

    shades = colormaps["Blues"]
    shortest = _shortest(tree)
    for start, end in tree.edges:
        if start in places and end in places:
            on_path = (start, end) in shortest
            across, up = (to - at for at, to in zip(places[start], places[end], strict=True))
            # Within a column a line would run behind the nodes between.
            bend = 0.84 / (abs(up) * _ROW) if not across and abs(up) > 1 else 0.0
            first, last = (_reach(tree.nodes[node], across, up) for node in (start, end))
            axes.annotate(
                "", places[end], xytext=places[start], zorder=1,
                arrowprops={
                    "arrowstyle": "-|>", "color": _PATH if on_path else _EDGE, "linewidth": 1.3 if on_path else 0.9,
                    "shrinkA": first, "shrinkB": last + 2, "mutation_scale": 7, "connectionstyle": f"arc3,rad={bend}",
                },
            )  # fmt: skip
    for node in tree.nodes:
        if node.node not in places:
            continue
        value, frontier = node.values[number], node.frontier[number]
        shade = 0.0 if value is None else 0.85 * value
        axes.text(
            *places[node.node], _label(node, value), ha="center", va="center", fontsize=8, linespacing=1.05, zorder=2,
            color="white" if shade > 0.5 else _INK, fontweight="bold" if node.role == "target" else "normal",
            bbox={
                "boxstyle": "round,pad=0.28", "facecolor": shades(shade),
                "edgecolor": _FRAME if frontier else "#999999", "linewidth": 2.2 if frontier else 0.8,
            },
        )  # fmt: skip


def _reach(node: TreeNode, across: float, up: float) -> float:
    """Points from the middle of a node to its frame, along an edge over some columns and rows."""
    x, y = abs(across) * _STEP, abs(up) * _ROW
    wide, high = 0.033 * len(_label(node, None)) + 0.05, 0.17
    return 72 * math.hypot(x, y) * min(wide / x if x else math.inf, high / y if y else math.inf)


def _label(node: TreeNode, value: float | None) -> str:
    mark = {"target": "★ ", "neg_target": "✗ "}.get(node.role, "")
    return f"{mark}{node.name}" + (f"\n{_number(value)}" if value is not None else "")


def _number(value: float) -> str:
    """Two digits behind the point, and no more than that is claimed of small ones."""
    return f"{value:.2f}" if value >= 0.005 else "0"


def _shortest(tree: SearchTree) -> set[tuple[int, int]]:
    """The edges of all shortest paths from the root to the target."""
    depths = {node.node: node.depth for node in tree.nodes}
    layer = {node.node for node in tree.nodes if node.role == "target"}
    found: set[tuple[int, int]] = set()
    for depth in range(tree.steps - 1, -1, -1):
        edges = {(start, end) for start, end in tree.edges if end in layer and depths[start] == depth}
        found |= edges
        layer = {start for start, _ in edges}
    return found

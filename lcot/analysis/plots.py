"""The drawing of each figure of :mod:`lcot.analysis.charts`, from rows of summaries.

Colours are Okabe and Ito's, whose differences colour-blind readers see; markers, lines and hatches tell the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lcot.analysis.attention import GROUPS
from lcot.analysis.summaries import SHOWN, as_text
from lcot.metrics.paths import CATEGORIES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BLUE, RED, GREEN, PINK, ORANGE, SKY, BLACK, GREY = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999",
)  # fmt: skip

CATEGORY_LOOKS = dict(
    zip(
        CATEGORIES,
        [(BLUE, ""), (SKY, "//"), (RED, "\\\\"), (ORANGE, ".."), (GREEN, "--"), (PINK, "xx"), (GREY, "")],
        strict=True,
    )
)
_GROUP_LOOKS = dict(zip(GROUPS, [(SKY, "^", "--"), (BLUE, "s", "-"), (RED, "o", "-"), (GREY, "v", ":")], strict=True))
SHOWN_LOOKS = dict(zip(SHOWN, [(RED, "\\\\"), (BLUE, "//"), (SKY, ".."), (GREY, "")], strict=True))
SHOWN_NAMES = {
    "optimal": "node on a shortest way",
    "frontier": "other node at this depth",
    "concept": "other node of the graph",
    "other": "no node",
}

SMALL = {RED: "#B34700", BLUE: BLUE}
"""Colours of small print, which needs more contrast with the paper."""

Rows = Sequence[Mapping[str, Any]]


def draw_accuracy(rows: Rows, new: Sequence[int]) -> Figure:
    """Accuracy over k, of all questions and by their number of steps."""
    figure, (axes,) = panels(1, 5.6)
    everything = [row for row in rows if row["steps"] is None]
    lengths = sorted({row["steps"] for row in rows if row["steps"] is not None})
    lengths = lengths if len(lengths) > 1 else []  # one is all of them
    looks = [(SKY, "s"), (GREEN, "^"), (ORANGE, "D"), (PINK, "v"), (RED, "P"), (GREY, "X")]
    for steps, (colour, marker) in zip(lengths if len(lengths) <= len(looks) else [], looks, strict=False):
        own = [row for row in rows if row["steps"] == steps]
        label = f"{steps} step{'s' * (steps != 1)} (n = {own[0]['questions']:,})"
        values = [100 * row["accuracy"] for row in own]
        axes.plot(
            [row["thoughts"] for row in own],
            values,
            color=colour,
            marker=marker,
            markersize=4,
            linewidth=1,
            linestyle="--",
            label=label,
        )
    ks, shares = [row["thoughts"] for row in everything], [100 * row["accuracy"] for row in everything]
    bars = [[100 * (row["accuracy"] - row["low"]), 100 * (row["high"] - row["accuracy"])] for row in everything]
    axes.errorbar(ks, shares, yerr=list(zip(*bars, strict=True)), color=BLACK, linewidth=2, capsize=3, zorder=3)
    axes.plot(ks, shares, color=BLACK, marker="o", markersize=7, linewidth=0, zorder=4, label="all questions")
    hollow = [(k, share) for k, share in zip(ks, shares, strict=True) if k in new]
    if hollow:
        axes.plot(*zip(*hollow, strict=True), "o", color="white", markersize=4.5, zorder=5)
    for k, share in zip(ks, shares, strict=True):
        axes.annotate(
            f"{share:.1f}",
            (k, share),
            xytext=(0, -17 if share > 12 else 9),
            textcoords="offset points",
            ha="center",
            fontsize=9,
            zorder=6,
            bbox={"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "none", "alpha": 0.85},
        )
    axes.set_xticks(ks, [starred(k, new) for k in ks])
    axes.set_xlabel("number of thoughts k")
    axes.set_ylabel("accuracy (%)")
    axes.set_ylim(0, 109)
    axes.margins(x=0.08)
    legend(figure, axes)
    return figure


def draw_paths(rows: Rows, new: Sequence[int]) -> Figure:
    """Shares of the categories, a bar for each k."""
    ks = [row["thoughts"] for row in rows]
    names = {kind: as_text(kind) for kind in CATEGORIES}
    return _stacked(rows, ks, CATEGORY_LOOKS, names, [starred(k, new) for k in ks], "number of thoughts k")


def draw_lens(rows: Rows) -> Figure:
    """Shares of what the lens shows first, a bar for each thought."""
    places = [row["thought"] for row in rows]
    return _stacked(rows, places, SHOWN_LOOKS, SHOWN_NAMES, list(map(str, places)), "thought")


def _stacked(
    rows: Rows,
    places: Sequence[int],
    looks: Mapping[Any, tuple[str, str]],
    names: Mapping[Any, str],
    ticks: Sequence[str],
    label: str,
) -> Figure:
    figure, (axes,) = panels(1, 6.2)
    below = [0.0] * len(rows)
    for kind, (colour, hatch) in looks.items():
        shares = [100 * row["shares"][kind] for row in rows]
        if not any(shares):
            continue
        look = {"color": colour, "hatch": hatch, "edgecolor": "white", "linewidth": 0.8}
        axes.bar(places, shares, 0.72, bottom=below, label=names[kind], **look)
        for place, share, under in zip(places, shares, below, strict=True):
            if share >= 5:
                axes.text(
                    place, under + share / 2, f"{share:.0f}", ha="center", va="center", fontsize=9, color=BLACK,
                    bbox={"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "none", "alpha": 0.85},
                )  # fmt: skip
        below = [under + share for under, share in zip(below, shares, strict=True)]
    axes.set_xticks(list(places), list(ticks))
    axes.set_xlabel(label)
    axes.set_ylabel("share (%)")
    axes.set_ylim(0, 100)
    axes.grid(visible=False)
    legend(figure, axes, backwards=True)
    return figure


def draw_heights(rows: Rows) -> Figure:
    """Mean values by height, a panel for each k."""
    counts = sorted({row["thoughts"] for row in rows})
    figure, panes = panels(len(counts), 3.3, share=True, most=2)
    for axes, k in zip(panes, counts, strict=True):
        for leads, colour, marker, line in ((True, RED, "o", "-"), (False, BLUE, "s", "--")):
            if not any(row["leads"] == leads for row in rows):
                continue
            own = [row for row in rows if row["thoughts"] == k and row["leads"] == leads]
            errors = [row["std"] / row["count"] ** 0.5 for row in own]
            name = "leads to the target" if leads else "does not"
            heights, means = [row["height"] for row in own], [row["mean"] for row in own]
            axes.errorbar(heights, means, errors, color=colour, marker=marker, linestyle=line, capsize=2.5, label=name)
            for row in own:  # above the panel, where they cover nothing
                axes.annotate(
                    f"{row['count']:,}", (row["height"], 1.0), xycoords=("data", "axes fraction"),
                    xytext=(0, 11 if leads else 2), textcoords="offset points", ha="center", fontsize=7,
                    color=SMALL[colour],
                )  # fmt: skip
        axes.set_title(f"k = {k}", fontsize=10, pad=22)
        axes.set_xlabel("height")
        axes.set_xticks(sorted({row["height"] for row in rows}))
        axes.margins(x=0.15, y=0.15)
    for axes in panes[::2]:
        axes.set_ylabel("mean value")
    low, high = panes[0].get_ylim()
    panes[0].set_ylim(low := min(0.0, low), high + 0.05 * (high - low))
    legend_above(figure, panes[0])
    return figure


def draw_parallelism(rows: Rows) -> Figure:
    """Cumulative values by percentile, a panel for each k."""
    figure, panes = panels(len(rows), 4.0, share=True)
    for axes, row in zip(panes, rows, strict=True):
        before: Sequence[float] | None = None
        for name, colour, line, hatch in (
            ("top1", BLUE, "-", ""),
            ("top2", RED, "--", "//"),
            ("top3", GREEN, ":", ".."),
        ):
            axes.plot(row["percentiles"], row[name], color=colour, linestyle=line, linewidth=2, label=f"top {name[-1]}")
            if before is not None:
                axes.fill_between(
                    row["percentiles"], before, row[name], facecolor=colour, alpha=0.18, hatch=hatch, linewidth=0
                )
            before = row[name]
        axes.set_title(f"k = {row['thoughts']}; mean gaps {row['gaps'][0]:.3f} and {row['gaps'][1]:.3f}", fontsize=10)
        axes.set_xlabel("percentile of questions")
        axes.set_xlim(0, 100)
        axes.set_ylim(0, 1.02)
    panes[0].set_ylabel("cumulative value")
    legend_above(figure, panes[0])
    return figure


def draw_collapse(rows: Rows) -> Figure:
    """Norms and cosines, thought by thought."""
    figure, (left, right) = panels(2, 3.9)
    places = [row["thought"] for row in rows]
    left.plot(places, [row["norm"] for row in rows], color=BLUE, marker="o", label="thoughts")
    left.axhline(rows[0]["word_norm"], color=BLACK, linestyle="--", linewidth=1.2, label="words")
    left.set_ylabel("mean norm")
    left.set_ylim(bottom=0)
    for name, label, colour, marker, line in (
        ("previous", "thought before", RED, "o", "-"),
        ("across", "other questions", BLUE, "s", "--"),
        ("vocabulary_cosine", "nearest word", GREEN, "^", ":"),
    ):
        points = [(row["thought"], row[name]) for row in rows if row[name] is not None]
        if points:
            right.plot(*zip(*points, strict=True), color=colour, marker=marker, linestyle=line, label=label)
    right.set_ylabel("mean cosine")
    right.set_ylim(min(0.0, right.get_ylim()[0]), 1.02)
    for axes in (left, right):
        axes.set_xlabel("thought")
        axes.set_xticks(places)
        axes.margins(x=0.12)
        axes.legend(fontsize=8.5, frameon=False, loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=2)
    return figure


def draw_results(rows: Rows) -> Figure:
    """Shares of results that are seen, a panel for each kind."""
    kinds = list(dict.fromkeys(row["kind"] for row in rows))
    figure, panes = panels(len(kinds), 4.4, share=True)
    looks = [(BLUE, "o", "-"), (RED, "s", "--"), (GREEN, "^", ":"), (PINK, "D", "-."), (ORANGE, "v", "-")]
    for axes, kind in zip(panes, kinds, strict=True):
        own = [row for row in rows if row["kind"] == kind]
        for step, (colour, marker, line) in zip(sorted({row["step"] for row in own}), looks, strict=False):
            points = [(row["thought"], 100 * row["ten"]) for row in own if row["step"] == step]
            axes.plot(*zip(*points, strict=True), color=colour, marker=marker, linestyle=line, label=f"step {step}")
        axes.set_title(as_text(kind), fontsize=10)
        axes.set_xlabel("thought")
        axes.set_xticks(sorted({row["thought"] for row in rows}))
        axes.set_ylim(0, 102)
        axes.margins(x=0.12)
    panes[0].set_ylabel("among the ten most probable (%)")
    legend_above(figure, panes[0])
    return figure


def draw_attention(rows: Rows) -> Figure:
    """Attention by group, a panel for each layer."""
    layers = sorted({row["layer"] for row in rows})
    figure, panes = panels(len(layers), 3.3, share=True)
    for axes, layer in zip(panes, layers, strict=True):
        _group_lines(axes, [row for row in rows if row["layer"] == layer], "place", "mean")
        axes.set_title(f"layer {layer}", fontsize=10)
        axes.set_xlabel("thoughts read, p")
    panes[0].set_ylabel("attention to one fact")
    panes[0].set_ylim(bottom=0)
    legend_above(figure, panes[0])
    return figure


def draw_nodes(rows: Rows) -> Figure:
    """Inner products and cosines by group."""
    figure, panes = panels(2, 3.9)
    for axes, name, label in zip(panes, ("product", "cosine"), ("inner product", "cosine"), strict=True):
        _group_lines(axes, rows, "thought", name)
        axes.axhline(0, color=BLACK, linewidth=0.7)
        axes.set_xlabel("thought")
        axes.set_ylabel(f"mean {label} with one node")
    legend_above(figure, panes[0])
    return figure


# -- what they share ------------------------------------------------------------------------------------------------


def _group_lines(axes: Any, rows: Rows, across: str, up: str) -> None:
    for group in GROUPS:
        colour, marker, line = _GROUP_LOOKS[group]
        points = [(row[across], row[up]) for row in rows if row["group"] == group]
        if points:
            axes.plot(*zip(*points, strict=True), color=colour, marker=marker, linestyle=line, label=as_text(group))
    axes.set_xticks(sorted({row[across] for row in rows}))
    axes.margins(x=0.1)


def panels(count: int, width: float, share: bool = False, most: int = 4) -> tuple[Figure, list[Any]]:
    """A figure with panels side by side, with at most so many in a row."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    across = min(count, most)
    rows = -(-count // across)
    figure = Figure(
        figsize=(max(width * across, 5.0), (3.6 if rows == 1 else 2.9) * rows), dpi=160, layout="constrained"
    )
    FigureCanvasAgg(figure)
    panes = list(figure.subplots(rows, across, squeeze=False, sharey=share, sharex=False).flat)
    for axes in panes[count:]:
        axes.remove()
    for axes in panes[:count]:
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color="#e2e2e2", linewidth=0.6)
        axes.set_axisbelow(True)
    return figure, panes[:count]


def legend(figure: Any, axes: Any, backwards: bool = False) -> None:
    """To the right of the panel, in the order in which the eye meets what it names."""
    handles, labels = axes.get_legend_handles_labels()
    order = slice(None, None, -1 if backwards else 1)
    figure.legend(handles[order], labels[order], loc="outside right center", fontsize=8.5, frameon=False)


def legend_above(figure: Any, axes: Any) -> None:
    """One line of names for all panels."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=4, fontsize=8.5, frameon=False)


def starred(k: int, new: Sequence[int]) -> str:
    """A number of thoughts, with a star if training never saw it."""
    return f"{k}*" if k in new else str(k)

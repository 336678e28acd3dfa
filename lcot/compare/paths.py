"""Which ways the answers of methods took through the graphs of their problems: stacked bars of their shares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lcot.compare.plot import save_figure
from lcot.compare.rows import Row
from lcot.compare.table import Comparison


@dataclass(frozen=True, slots=True)
class Look:
    """How a category is drawn.

    Attributes:
        name: What the legend calls it.
        colour: Of the bar.
        ink: Of what is written on it.
        hatch: A pattern, which tells labels from paths without colours.
    """

    name: str
    colour: str
    ink: str
    hatch: str = ""


CATEGORIES: Mapping[str, Look] = {
    "path_correct": Look("correct path", "#0072B2", "white"),
    "path_longer": Look("longer path", "#56B4E9", "black"),
    "path_correct_label": Look("correct label, no path", "#9AD9C2", "black", "///"),
    "path_hallucination": Look("hallucination", "#D55E00", "white"),
    "path_wrong_target": Look("wrong target", "#E69F00", "black"),
    "path_incorrect_label": Look("incorrect label, no path", "#E3B7D0", "black", "///"),
    "path_unparseable": Look("unparseable", "#999999", "black"),
}
"""The metrics of the categories, in the order of the bars: what leads to the target first. Colours are those of Okabe
and Ito, two of them lighter."""


def path_metrics(table_rows: Sequence[Row]) -> list[str]:
    """The categories whose shares any of some rows reports."""
    known = {name for row in table_rows for result in row.results for name in result.metrics}
    return [name for name in CATEGORIES if name in known]


def to_paths(comparison: Comparison, target: Path) -> bool:
    """Draw one panel for each table: a bar for each method, of the mean shares of its categories.

    Methods that report none are left out.

    Args:
        comparison: What to draw.
        target: The file; its ending is its kind.

    Returns:
        Whether there was anything to draw, and the file was written.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    panels = [[row for row in table.rows if path_metrics([row])] for table in comparison.tables]
    shown = [(number, rows) for number, rows in enumerate(panels, start=1) if rows]
    if not shown:
        return False
    heights = [len(rows) + 0.9 for _, rows in shown]
    settings: Any = {"font.size": 10, "svg.fonttype": "none", "svg.hashsalt": "lcot", "hatch.linewidth": 0.6}
    with rc_context(settings):
        figure = Figure(figsize=(7.2, 1.3 + 0.42 * sum(heights)), dpi=160, layout="constrained")
        axes = figure.subplots(len(shown), 1, squeeze=False, sharex=True, height_ratios=heights)[:, 0]
        for place, (number, rows) in zip(axes, shown, strict=True):
            place.set_title(f"Table {number}" if len(comparison.tables) > 1 else "", loc="left")
            draw_bars(place, {row.label: _shares(row) for row in rows})
        axes[-1].set_xlabel("share of the answers (%)")
        named = path_metrics([row for _, rows in shown for row in rows])
        figure.legend(handles=_handles(named), loc="outside upper left", ncols=3, frameon=False, fontsize=9)
        save_figure(figure, target)
    return True


def draw_bars(axes: Any, bars: Mapping[str, Mapping[str, float]]) -> None:
    """Draw a stacked bar for each label, from above to below.

    Args:
        axes: Where.
        bars: Of each label, the shares in [0, 1] of the categories by their metrics.
    """
    for place, shares in enumerate(bars.values()):
        start = 0.0
        for name, look in CATEGORIES.items():
            width = 100 * shares.get(name, 0.0)
            if not width > 0:
                continue
            axes.barh(
                place, width, left=start, height=0.72, color=look.colour, hatch=look.hatch, edgecolor="white",
                linewidth=0.8,
            )  # fmt: skip
            if width >= 3.5:  # narrower ones have no room for a number
                backing = {"facecolor": look.colour, "edgecolor": "none", "pad": 1.2} if look.hatch else None
                axes.text(
                    start + width / 2, place, f"{width:.0f}", ha="center", va="center", fontsize=9, color=look.ink,
                    bbox=backing,
                )  # fmt: skip
            start += width
    axes.set_yticks(range(len(bars)), list(bars))
    axes.invert_yaxis()
    axes.set_xlim(0, 100)
    axes.tick_params(axis="y", length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)


def _shares(row: Row) -> dict[str, float]:
    """Means over seeds."""
    spreads = {name: row.metric(name) for name in CATEGORIES}
    return {name: spread.mean for name, spread in spreads.items() if spread is not None}


def _handles(names: Sequence[str]) -> list[Any]:
    from matplotlib.patches import Patch

    looks = [CATEGORIES[name] for name in names]
    return [
        Patch(facecolor=look.colour, hatch=look.hatch, edgecolor="white", linewidth=0.8, label=look.name)
        for look in looks
    ]

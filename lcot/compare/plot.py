"""Accuracy against what an answer costs, as a picture that can be read in print and by colour-blind readers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lcot.compare.rows import Row, Spread
from lcot.compare.table import Comparison
from lcot.errors import UserError, needs
from lcot.runs.files import whole

# Okabe and Ito's colours, with a brown for their yellow, which paper swallows; each method has its own marker besides.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#E69F00", "#56B4E9", "#7A4A1E")
_MARKERS = "osD^vPX<>hp*"

FORMATS = (".png", ".svg", ".pdf")
"""Kinds of files."""


def check_plot(target: Path, option: str = "--plot") -> None:
    """Refuse a file that cannot be drawn, before anything else is done.

    Args:
        target: The file.
        option: Where it was given.

    Raises:
        UserError: If its kind is unknown, or nothing is installed that could draw it.
    """
    if target.suffix.lower() not in FORMATS:
        raise UserError(
            f"{option} is {str(target)!r}", where=option, fix=f"give a file that ends in {', '.join(FORMATS)}"
        )
    needs("analysis", "matplotlib", what="a figure", where=option)


@dataclass(frozen=True, slots=True)
class Point:
    """A method in a panel.

    Attributes:
        label: Its name.
        x: What an answer costs.
        y: Accuracy in per cent.
        dx: Sample standard deviation of x over seeds; 0 for a single one.
        dy: Of y.
    """

    label: str
    x: float
    y: float
    dx: float
    dy: float

    @classmethod
    def of(cls, row: Row, cost: Callable[[Row], Spread | None]) -> Point | None:
        """The point of a row; ``None`` if its accuracy or its cost is not known."""
        x, y = cost(row), row.metric("accuracy")
        if x is None or y is None:
            return None
        return cls(row.label, x.mean, 100 * y.mean, x.std or 0.0, 100 * (y.std or 0.0))


_COSTS: dict[str, Callable[[Row], Spread | None]] = {
    "tokens + thoughts of an answer": lambda row: row.total_tokens,
    "FLOPs a question": lambda row: row.metric("flops"),
}
"""What accuracy is drawn against, where it is known."""


def to_plot(comparison: Comparison, target: Path) -> bool:
    """Draw mean accuracy over seeds against mean tokens + thoughts, and against FLOPs: a row of panels a table.

    Bars are sample standard deviations, in both directions; a single seed has none.

    Args:
        comparison: What to draw.
        target: The file; its ending is its kind.

    Returns:
        Whether there was anything to draw, and the file was written.
    """
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter

    rows = [row for table in comparison.tables for row in table.rows]
    costs = {words: cost for words, cost in _COSTS.items() if any(Point.of(row, cost) for row in rows)}
    if not costs:
        return False
    tables = len(comparison.tables)
    # Words stay words in an SVG, and the same table gives the same file.
    settings: Any = {"font.size": 10, "svg.fonttype": "none", "svg.hashsalt": "lcot"}
    with rc_context(settings):
        figure = Figure(figsize=(6.4 * len(costs), 4.4 * tables), dpi=160, layout="constrained")
        FigureCanvasAgg(figure)
        looks = _looks([row.label for row in rows])
        panes = []
        for number, (table, places) in enumerate(
            zip(comparison.tables, figure.subplots(tables, len(costs), squeeze=False), strict=True), start=1
        ):
            for axes, (words, cost) in zip(places, costs.items(), strict=True):
                points = [point for row in table.rows if (point := Point.of(row, cost)) is not None]
                axes.set_xlabel(words)
                if max((point.x for point in points), default=0.0) >= 1e4:
                    axes.xaxis.set_major_formatter(EngFormatter(sep="\N{NO-BREAK SPACE}"))
                axes.set_title(f"Table {number}" if tables > 1 else "")
                panes.append((axes, points, _draw(axes, points, looks)))
        figure.draw_without_rendering()  # from now on it is known where on the paper a point is
        for axes, points, artists in panes:
            _name(figure, axes, points, _side_by_side(figure, axes, points, artists))
        save_figure(figure, target)
    return True


def save_figure(figure: Any, target: Path) -> None:
    """Write a figure in one move; the same figure gives the same file.

    Args:
        figure: What was drawn.
        target: The file; its ending is its kind.
    """
    quiet = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(target.suffix.lower())
    with whole(target) as part:
        figure.savefig(part, format=target.suffix[1:].lower(), metadata=quiet)


def _looks(labels: Sequence[str]) -> dict[str, dict[str, str]]:
    """Colour and marker of a method: the same in every panel."""
    return {
        label: {"color": _COLOURS[place % len(_COLOURS)], "marker": _MARKERS[place % len(_MARKERS)]}
        for place, label in enumerate(dict.fromkeys(labels))
    }


def _draw(axes: Any, points: Sequence[Point], looks: dict[str, dict[str, str]]) -> list[list[Any]]:
    """Draw the points with their bars; returns the artists of each."""
    drawn: list[list[Any]] = []
    axes.set_ylabel("accuracy (%)")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    for point in points:
        x, y, look = point.x, point.y, looks[point.label]
        bars = [
            axes.errorbar(x, y, yerr=point.dy or None, fmt="none", ecolor=look["color"], elinewidth=1.2, capsize=3),
            axes.errorbar(x, y, xerr=point.dx or None, fmt="none", ecolor=look["color"], elinewidth=1.2),
        ]
        (marker,) = axes.plot([x], [y], linestyle="none", markersize=8, markeredgecolor="white", **look)
        drawn.append([marker, *(artist for bar in bars for artist in (*bar.lines[1], *bar.lines[2]))])
    axes.margins(x=0.14, y=0.14)
    left, right = axes.get_xlim()
    axes.set_xlim(max(0.0, left), right + 0.2 * (right - left))  # room for the names of the points furthest right
    low, high = axes.get_ylim()
    highest = max((point.y + point.dy for point in points), default=0.0)
    axes.set_ylim(max(0.0, low), min(high, max(100.0, highest) + 0.03 * (high - low)))
    return drawn


def _side_by_side(figure: Any, axes: Any, points: Sequence[Point], artists: Sequence[Sequence[Any]]) -> list[float]:
    """Move points that would cover each other apart, left and right of where they belong; returns by how many points.

    Methods with the same number of tokens are common, and the number is read from the axis between them.
    """
    from matplotlib.transforms import ScaledTranslation

    boxes = [_boxes(axes, point)[:2] for point in points]
    crowds: list[list[int]] = []
    for place in sorted(range(len(points)), key=lambda place: -points[place].y):
        near = [crowd for crowd in crowds if any(_touch(boxes[place], boxes[other]) for other in crowd)]
        crowds = [crowd for crowd in crowds if crowd not in near] + [
            [*(other for crowd in near for other in crowd), place]
        ]
    moves = [0.0] * len(points)
    for crowd in crowds:
        for number, place in enumerate(crowd):
            moves[place] = 11.0 * (number - (len(crowd) - 1) / 2)
            for artist in artists[place]:
                artist.set_transform(
                    artist.get_transform() + ScaledTranslation(moves[place] / 72, 0, figure.dpi_scale_trans)
                )
    return moves


def _touch(left: Sequence[Any], right: Sequence[Any]) -> bool:
    return any(_overlap(one, other) > 0 for one in left for other in right)


def _name(figure: Any, axes: Any, points: Sequence[Point], moves: Sequence[float]) -> None:
    """Write each method's name beside its point, where it covers nothing; a thin line leads to one that is far off."""
    from matplotlib.text import Text

    renderer = figure.canvas.get_renderer()
    inside = axes.get_window_extent(renderer)
    pixels = figure.dpi / 72
    bars = [
        [box.translated(move * pixels, 0) for box in _boxes(axes, point)]
        for point, move in zip(points, moves, strict=True)
    ]
    taken = [box for boxes in bars for box in boxes]
    # From the top: names of points that crowd each other then keep the points' order.
    for point, move in sorted(zip(points, moves, strict=True), key=lambda pair: -pair[0].y):
        best: tuple[float, Any, Any] | None = None
        for reach, side in _places(left=move < 0):
            ha = "left" if side[0] > 0 else "right" if side[0] < 0 else "center"
            va = "bottom" if side[1] > 0 else "top" if side[1] < 0 else "center"
            away = (move + side[0] * reach, side[1] * reach)
            text = axes.annotate(
                point.label, (point.x, point.y), xytext=away, textcoords="offset points", ha=ha, va=va, fontsize=9,
                annotation_clip=False,
            )  # fmt: skip
            text.set_in_layout(False)  # names move no axes
            text.update_positions(renderer)
            box = Text.get_window_extent(text, renderer).padded(1.5)
            cost = sum(_overlap(box, other) for other in taken) + 3 * (box.width * box.height - _overlap(box, inside))
            if best is None or cost < best[0]:
                if best is not None:
                    best[1].remove()
                best = cost, text, box
            else:
                text.remove()
            if cost <= 0:
                break
        assert best is not None
        taken.append(best[2])
        _lead(axes, (point.x, point.y), move, best[1])


def _lead(axes: Any, point: tuple[float, float], move: float, text: Any) -> None:
    """A thin line from a point to its name, if that stands further off than names usually do."""
    across, up = text.get_position()
    if max(abs(across - move), abs(up)) > 12:
        axes.annotate(
            "", point, xytext=(across, up), textcoords="offset points", annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": "#888888", "linewidth": 0.6, "shrinkA": 1, "shrinkB": 5},
        ).set_in_layout(False)  # fmt: skip


def _places(left: bool) -> list[tuple[int, tuple[float, float]]]:
    """Distance in points and direction, the nicest first: to the right, unless another point is there."""
    near = -1.0 if left else 1.0
    sides = [(near * across, up) for across, up in ((1.0, 0.0), (0.7, 0.7), (0.7, -0.7))]
    sides += [(-across, up) for across, up in sides]
    sides += [(0.0, 1.0), (0.0, -1.0)]
    return [(reach, side) for reach in (9, 18, 30, 44, 60, 80, 110) for side in sides]


def _boxes(axes: Any, point: Point) -> list[Any]:
    """What a point and its bars cover, in pixels."""
    from matplotlib.transforms import Bbox

    to_pixels = axes.transData.transform
    x, y, dx, dy = point.x, point.y, point.dx, point.dy
    (left, low), (right, high), (middle, centre) = to_pixels([(x - dx, y - dy), (x + dx, y + dy), (x, y)])
    size = 5 * axes.figure.dpi / 72
    return [
        Bbox.from_extents(middle - size, centre - size, middle + size, centre + size),
        Bbox.from_extents(middle - size / 2, low, middle + size / 2, high),
        Bbox.from_extents(left, centre - size / 2, right, centre + size / 2),
    ]


def _overlap(left: Any, right: Any) -> float:
    """Area that two boxes share."""
    width = min(left.x1, right.x1) - max(left.x0, right.x0)
    height = min(left.y1, right.y1) - max(left.y0, right.y0)
    return max(0.0, float(width)) * max(0.0, float(height))

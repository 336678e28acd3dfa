"""The drawing of what interventions on thoughts do, from rows of :class:`~lcot.analysis.effects.EffectRow`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from lcot.analysis.charts import Chart
from lcot.analysis.effects import UNCHANGED
from lcot.analysis.figures import ink_on
from lcot.analysis.plots import BLACK, BLUE, GREEN, GREY, ORANGE, PINK, RED, SKY, legend, panels
from lcot.analysis.summaries import as_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Rows = Sequence[Mapping[str, Any]]

_LOOKS = [(BLUE, "o"), (SKY, "s"), (GREEN, "^"), (ORANGE, "D"), (PINK, "v"), (RED, "P"), (GREY, "X"), (BLACK, "*")]
_PANELS = (
    ("one", "direct", "one thought alone"),
    ("from", "direct", "one and all behind it"),
    ("one", "total", "one alone, those behind\nit thought anew"),
)


def causal_charts(rows: Rows, k: int, data: str) -> Iterator[Chart]:
    """The figures.

    Args:
        rows: All rows of a summary.
        k: Number of thoughts.
        data: The questions in a few words.
    """
    (base,) = (row for row in rows if row["intervention"] == UNCHANGED and row["steps"] is None)
    asked = f"n = {base['questions']:,} {data}, {k} thought{'s' * (k > 1)} each; greedy decoding"
    fewer = " Those of another question with the same answer: where there is such a question with as many steps."
    yield Chart(
        "interventions",
        "What is answered behind changed thoughts",
        "Left: share of right answers; the line is that of the method's own thoughts. Right: share of answers that"
        " change (bars), and that become the answer of the question whose thoughts these are or, for all other changes,"
        " of the other question about the same facts, if there is one, or of such a question with another answer"
        f" (diamonds). Bars: 95 % intervals (Wilson); {asked}.{fewer}",
        partial(draw_interventions, rows),
    )
    if k > 1 and any(row["scope"] != "all" for row in rows):
        yield Chart(
            "places",
            "Which thoughts matter",
            "Share of right answers when one thought is changed, when one and all behind it are, and when one is"
            " changed and those behind it are thought anew from it (where they are made one after another). The dashed"
            f" line is that of the method's own thoughts; {asked}.",
            partial(draw_places, rows),
        )
    if len({row["steps"] for row in rows}) > 2:
        yield Chart(
            "steps",
            "Changed thoughts by the length of the chain",
            "Right answers in percent by the number of written steps of a question, when all of its thoughts are"
            f" changed; {asked}.{fewer}",
            partial(draw_steps, rows),
        )


def draw_interventions(rows: Rows) -> Figure:
    """Accuracy, and shares of answers that change, of edits of all thoughts."""
    whole = [row for row in rows if row["scope"] == "all" and row["steps"] is None]
    figure, (right, changed) = panels(2, 4.2)
    figure.set_size_inches(8.4, max(2.6, 1.3 + 0.27 * len(whole)))
    places = list(range(len(whole)))[::-1]
    base = next(row for row in whole if row["intervention"] == UNCHANGED)
    right.axvline(100 * base["accuracy"], color=GREY, linewidth=1, linestyle="--")
    for axes, name, low, high, colour in (
        (right, "accuracy", "low", "high", BLACK),
        (changed, "changed", "changed_low", "changed_high", BLUE),
    ):
        values, ends = _ends(whole, name, low, high)
        if axes is changed:
            axes.barh(places, values, 0.62, color=SKY)
        kind = "none" if axes is changed else "o"
        axes.errorbar(values, places, xerr=ends, fmt=kind, color=colour, capsize=3, clip_on=False)
        axes.set_xlim(0, 100)
        axes.set_ylim(-0.6, len(whole) - 0.4)
    # The answer of a donor with the same right answer is another one only where one of the two is wrong.
    told = [row["to_donor"] is not None and row["intervention"] != "same_gold" for row in whole]
    shown = [(place, row) for place, row, one in zip(places, whole, told, strict=True) if one]
    shares = [100 * row["to_donor"] for _, row in shown]
    if shown:
        changed.plot(shares, [place for place, _ in shown], "D", color=RED, markersize=5, clip_on=False)
    right.set_yticks(places, [_named(row["intervention"]) for row in whole])
    changed.set_yticks(places, [""] * len(whole))
    right.set_xlabel("right answers (%)")
    changed.set_xlabel("answers that change (%); to the donor's (diamonds)")
    return figure


def draw_places(rows: Rows) -> Figure:
    """Accuracy by the thought that is changed, a panel for each scope."""
    everything = [row for row in rows if row["steps"] is None]
    base = next(row for row in everything if row["intervention"] == UNCHANGED)
    shown = [one for one in _PANELS if any((row["scope"], row["effect"]) == one[:2] for row in everything)]
    figure, panes = panels(len(shown), 3.1, share=True)
    names = list(dict.fromkeys(row["intervention"] for row in everything if row["scope"] != "all"))
    for axes, (scope, effect, title) in zip(panes, shown, strict=True):
        axes.axhline(100 * base["accuracy"], color=GREY, linewidth=1, linestyle="--")
        for number, name in enumerate(names):
            mine = [row for row in everything if row["intervention"] == name]
            own = [row for row in mine if (row["scope"], row["effect"]) == (scope, effect)]
            if scope == "from" and own:  # from the first on is all, and from the last on is the last alone
                first = [{**row, "thought": 1} for row in mine if row["scope"] == "all"]
                last = [row for row in mine if (row["scope"], row["effect"]) == ("one", "direct")][-1:]
                own = [*first, *own, *last]
            colour, marker = _LOOKS[number % len(_LOOKS)]
            line = "-" if number < len(_LOOKS) else ":"
            axes.plot(
                [row["thought"] for row in own],
                [100 * row["accuracy"] for row in own],
                color=colour, marker=marker, markersize=4.5, linewidth=1.2, linestyle=line, label=_named(name),
            )  # fmt: skip
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("thought")
        axes.set_xticks(sorted({row["thought"] for row in everything if row["scope"] == "one"}))
        axes.set_ylim(0, 104)
        axes.margins(x=0.12)
    panes[0].set_ylabel("right answers (%)")
    legend(figure, panes[0])
    return figure


def draw_steps(rows: Rows) -> Figure:
    """Accuracy by number of steps, a row for each edit of all thoughts."""
    from matplotlib import colormaps

    whole = [row for row in rows if row["scope"] == "all" and row["steps"] is not None]
    names, lengths = (list(dict.fromkeys(row[key] for row in whole)) for key in ("intervention", "steps"))
    figure, (axes,) = panels(1, 1.8 + 0.8 * len(lengths))
    figure.set_size_inches(max(5.0, 2.4 + 0.8 * len(lengths)), max(2.6, 1.2 + 0.27 * len(names)))
    found = {(row["intervention"], row["steps"]): row for row in whole}
    for (name, steps), row in found.items():
        across, down = lengths.index(steps), names.index(name)
        fill = colormaps["Blues"](0.05 + 0.75 * row["accuracy"])
        axes.add_patch(_cell(across, down, fill))
        axes.text(
            across, down, f"{100 * row['accuracy']:.0f}", ha="center", va="center", fontsize=9, color=ink_on(fill)
        )
    counts = [found[UNCHANGED, steps]["questions"] for steps in lengths]
    axes.set_xticks(
        range(len(lengths)), [f"{steps}\n(n = {count:,})" for steps, count in zip(lengths, counts, strict=True)]
    )
    axes.set_yticks(range(len(names)), [_named(name) for name in names])
    axes.set_xlim(-0.5, len(lengths) - 0.5)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.grid(visible=False)
    axes.set_xlabel("written steps of the question")
    return figure


def _cell(across: int, down: int, fill: Any) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((across - 0.5, down - 0.5), 1, 1, facecolor=fill, edgecolor="white")


def _ends(rows: Rows, name: str, low: str, high: str) -> tuple[list[float], list[list[float]]]:
    """Shares in percent, and how far their intervals reach to both sides."""
    below = [100 * (row[name] - row[low]) for row in rows]
    return [100 * row[name] for row in rows], [below, [100 * (row[high] - row[name]) for row in rows]]


def _named(name: str) -> str:
    begin, equals, factor = name.partition("=")
    return f"times {factor}" if equals else "own thoughts" if name == UNCHANGED else as_text(begin)

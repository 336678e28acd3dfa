"""What the measurements say together, as figures for print, with the number of questions and the definition beneath."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lcot.analysis import plots
from lcot.analysis.figures import save_figure, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Chart:
    """A figure.

    Attributes:
        name: Of its files.
        title: What it shows.
        caption: Its definition, with the number of questions.
        draw: Makes it, without the caption.
    """

    name: str
    title: str
    caption: str
    draw: Callable[[], Figure]


def charts(
    summary: Mapping[str, Rows], trained: frozenset[int] | None, data: str, counts: Mapping[str, int] | None = None
) -> Iterator[Chart]:
    """The figures that a summary has rows for.

    Args:
        summary: As :class:`~lcot.analysis.measure.Measured` holds it.
        trained: The numbers of thoughts that training has seen; ``None`` if that is not known.
        data: The questions in a few words.
        counts: Number of questions that are part of what not all are part of.
    """
    everything = [row for row in summary["accuracy"] if row["steps"] is None]
    ks = [row["thoughts"] for row in everything]

    def asked_of(part: str) -> str:
        return f"n = {(counts or {}).get(part, everything[0]['questions']):,} {data}"

    asked = asked_of("accuracy")
    new = [k for k in ks if trained is not None and k not in trained]
    unseen = f" Training never saw k = {', '.join(map(str, new))} (hollow points, k*)." if new else ""
    forced = " when k thoughts are forced, whatever the question needs"
    shares = [(row["thoughts"], row["pair_accuracy"]) for row in everything if row.get("pair_accuracy") is not None]
    pairs = ", ".join(f"{100 * share:.1f} % (k = {k})" for k, share in shares)
    paired = f" Both questions about a problem are right in {pairs}." if pairs else ""
    thoughtless = ks == [0] and trained == frozenset({0})
    yield Chart(
        "accuracy",
        "Accuracy" if thoughtless else "Accuracy after k thoughts",
        f"Share of right answers{'' if thoughtless else forced}; greedy decoding, {asked}"
        f"{'' if thoughtless else ' for each k'}. Bars: 95 % intervals (Wilson).{paired}{unseen}",
        partial(plots.draw_accuracy, summary["accuracy"], new),
    )
    if rows := summary.get("paths", ()):
        yield Chart(
            "paths",
            "Ways of the written texts after k thoughts",
            "What the texts behind k thoughts are: rests of a shortest way to the target, of a longer one, with an edge"
            " that does not exist or that no k real steps lead to (hallucination), real ways to another node, or"
            f" answers alone, right or wrong (arXiv 2412.06769, section 5); {asked_of('paths')} for each k.{unseen}",
            partial(plots.draw_paths, rows, new),
        )
    pending = {row["thoughts"]: row["questions"] for row in summary.get("parallelism", ())}
    if rows := summary.get("heights", ()):
        counted = ", ".join(f"{count:,} (k = {k})" for k, count in pending.items())
        yield Chart(
            "heights",
            "Value of a node by its distance to a leaf",
            "Mean probability of the frontier's nodes as the next concept after k thoughts, by height (distance to the"
            " nearest leaf), apart for nodes that lead to the target and nodes that do not; not renormalised. Bars:"
            " standard error of the mean. Numbers above: nodes. Questions whose next step is not the answer yet: n ="
            f" {counted}.",
            partial(plots.draw_heights, rows),
        )
    if lines := [row for row in summary.get("parallelism", ()) if row["thoughts"] in (1, 2)]:
        counted = ", ".join(f"n = {pending[row['thoughts']]:,} for k = {row['thoughts']}" for row in lines)
        yield Chart(
            "parallelism",
            "How many next concepts are held open",
            "Values of the most probable one, two and three nodes of the frontier, added up, by percentile of"
            " questions (each line sorted by itself). Lines that lie apart: several concepts are held open; lines that"
            " lie together high up: the model has decided; all near 0: it is about to write something else. Questions"
            f" whose next step is not the answer yet: {counted}.",
            partial(plots.draw_parallelism, lines),
        )
    for name, title, caption, draw in _OF_THOUGHTS:
        rows = summary.get(name, ())
        if rows:
            part = "paths" if name == "lens" else name  # the lens is counted where there is a graph
            yield Chart(name, title, caption.format(asked=asked_of(part)), partial(draw, rows))


_OF_THOUGHTS: tuple[tuple[str, str, str, Callable[[Rows], Figure]], ...] = (
    (
        "collapse",
        "Length and direction of the thoughts",
        "Left: mean L2 norm, beside that of words' input embeddings. Right: mean cosine with the thought before, with"
        " the same thought of other questions, and with the nearest word. Near 1 in one of the first two, thoughts have"
        " collapsed; {asked}.",
        plots.draw_collapse,
    ),
    (
        "lens",
        "What the output head shows first of each thought",
        "The most probable token of each thought under the logit lens: a node on a shortest way at the depth of the"
        " thought's own step, another node at that depth, any other node, or no node (where the steps are over, the"
        " answer's marker); {asked}.",
        plots.draw_lens,
    ),
    (
        "results",
        "Intermediate results under the output head",
        "Share of the problems whose intermediate result is among the ten most probable tokens of a thought under the"
        " logit lens, by the step that computes it (its first token, where it has several); {asked}, fewer for later"
        " steps.",
        plots.draw_results,
    ),
    (
        "attention",
        "What the places of the thoughts attend to",
        "Mean attention to one fact (its tokens summed, heads averaged) at the place where p thoughts are read, by"
        " group: facts that start where p steps end (frontier), the next edge of a shortest way (optimal), facts that"
        " start within p steps (reachable, with the first two), and all others; {asked}, without places behind the"
        " target.",
        plots.draw_attention,
    ),
    (
        "nodes",
        "Inner products of thoughts with the embeddings of nodes",
        "Mean inner product of thought i with the input embedding of a node's name, by group: nodes that i steps end at"
        " (frontier), on a shortest way (optimal), within i steps (reachable, with the first two), and all others"
        " (arXiv 2505.12514); {asked}, without thoughts behind the target.",
        plots.draw_nodes,
    ),
)


def save_chart(chart: Chart, folder: Path) -> str:
    """Write ``<name>.png`` and ``<name>.svg`` with the caption beneath.

    Returns:
        The figure without its caption, as SVG.
    """
    figure, svg = bare(chart)
    with styled():
        width = figure.get_size_inches()[0]
        caption = textwrap.fill(chart.caption, max(50, int(15.5 * width)))
        figure.set_size_inches(width, figure.get_size_inches()[1] + 0.17 * (caption.count("\n") + 2))
        figure.supxlabel(caption, x=0.01, ha="left", fontsize=7.5, color="#444444")
        save_figure(figure, folder, chart.name)
    return svg


def bare(chart: Chart) -> tuple[Figure, str]:
    """A figure without its caption, and the same as SVG."""
    with styled():
        figure, written = chart.draw(), io.StringIO()
        figure.savefig(written, format="svg", metadata={"Date": None})
    return figure, written.getvalue()

"""Matched pairs as text: for a terminal, as Markdown, as CSV."""

from __future__ import annotations

import csv
import io
import textwrap
from collections.abc import Iterator, Sequence

from rich import box
from rich.markup import escape
from rich.table import Table as RichTable

from lcot.compare.pairs import Line, Pair
from lcot.compare.table import Comparison
from lcot.runs.run import COMMAND

MOST = 20
"""Pairs of several factors that are shown on a screen."""

_MINUS = "\N{MINUS SIGN}"
_HEADS = ("A, %", "B, %", f"A {_MINUS} B [95 %]", "p", "questions")

_COLUMNS = (
    *("table", "a", "b", "factors", "differ_in", "seed", "questions", "answers", "accuracy_a", "accuracy_b"),
    *("only_a", "only_b", "difference", "low", "high", "p", "runs_a", "runs_b"),
)


def in_terminal(pairs: Sequence[Pair], wide: bool) -> Iterator[RichTable | str]:
    """A block for pairs that differ in one factor, one for the others, and what is to be said about them.

    Args:
        pairs: Of one table.
        wide: Whether names have much room.

    Yields:
        Tables, and lines without markup.
    """
    for title, chosen in _groups(pairs).items():
        padding = (0, 1) if wide else (0, 0)
        table = RichTable(box=box.SIMPLE_HEAD, pad_edge=False, padding=padding, collapse_padding=True)
        table.header_style = "bold"
        table.add_column(title, overflow="fold")
        matched = chosen[0].matched
        for head in ("seed" if matched else "factors", *_HEADS):
            table.add_column(escape(head), justify="right", no_wrap=True)
        for pair in chosen if matched else chosen[:MOST]:
            names = list(map(escape, textwrap.wrap(_names(pair), 26 if wide else 21)))
            if matched:  # in its own words beneath
                words = textwrap.wrap(pair.factors[0], 26 if wide else 21)
                names += [f"[dim]{escape(line)}[/dim]" for line in words]
            lines = _shown(pair)
            first = map(_seed, lines) if matched else [str(len(pair.factors))]
            cells = zip(*((one, *_cells(line)) for one, line in zip(first, lines, strict=True)), strict=True)
            table.add_row("\n".join(names), *("\n".join(column) for column in cells))
        yield table
        if len(chosen) > MOST and not matched:
            yield f"and {len(chosen) - MOST} further pairs: --pairs FILE writes them all"
    yield from about(pairs)


def in_markdown(pairs: Sequence[Pair]) -> Iterator[tuple[str, ...] | str]:
    """The same for Markdown.

    Args:
        pairs: Of one table.

    Yields:
        Rows of cells, a head first; then lines.
    """
    for title, chosen in _groups(pairs).items():
        yield title, "differ in", "seed", *_HEADS
        for pair in chosen:
            for line in _shown(pair):
                yield _names(pair), "; ".join(pair.factors), _seed(line), *_cells(line)
    yield from about(pairs)


def to_csv(comparison: Comparison) -> str:
    """One line for each seed of each pair, and one for all seeds together; shares and counts as they are.

    Args:
        comparison: Where they are.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for number, table in enumerate(comparison.tables, start=1):
        for pair in table.pairs:
            for line in pair.lines:
                runs = [
                    ";".join(str(run.path) for run in row.runs if line.seed in (None, run.seed))
                    for row in (pair.left, pair.right)
                ]
                shares = (line.right_a, line.right_b, line.only_a - line.only_b)
                a, b, difference = (_exact(share / line.answers) for share in shares)
                exact = map(_exact, (line.low, line.high, line.p))
                who = (number, pair.left.label, pair.right.label, len(pair.factors), "; ".join(pair.factors))
                counts = (_seed(line), line.questions, line.answers)
                writer.writerow((*who, *counts, a, b, line.only_a, line.only_b, difference, *exact, *runs))
    return out.getvalue()


def about(pairs: Sequence[Pair]) -> Iterator[str]:
    """How the numbers were made, and who is in no pair, and why."""
    lines = [line for pair in pairs for line in pair.lines]
    if lines:
        yield (
            f"pairs: one seed, the same questions and as many optimizer steps; A {_MINUS} B in points, with Tango's"
            " score interval; p: McNemar's exact test, two-sided, of each pair by itself, near 5 % the more cautious of"
            " the two. Both are about these weights, and not about other seeds"
        )
    if any(line.seed is None and line.answers == line.questions for line in lines):
        yield "all: the questions of all seeds together"
    if any(line.answers > line.questions for line in lines):
        yield (
            "questions that were asked more than once, by several seeds or runs of sampling: all answers to one change"
            " sides together (exact), and intervals are widened by their design effect (Rao and Scott 1992)"
        )
    for pair in pairs:
        if pair.matched:
            yield from (f"not paired: {pair.left.label} and {pair.right.label}, {why}" for why in pair.apart)
    unrecorded = {(run.path, run.other): run for pair in pairs for run in pair.unrecorded}
    if unrecorded:
        names = ", ".join(
            run.name if run.other is None else f"{run.name} ({run.other.stem})" for run in unrecorded.values()
        )
        splits = {run.result.split for run in unrecorded.values() if run.result is not None}
        command = COMMAND.get(splits.pop(), "test")
        yield (
            f"not paired, since no record of single questions was kept when they were evaluated: {names}; it is made by"
            f" lcot {command} -c RUN/config.yaml"
        )


def _groups(pairs: Sequence[Pair]) -> dict[str, list[Pair]]:
    titles = {True: f"matched pairs, A {_MINUS} B", False: f"other pairs, A {_MINUS} B"}
    there = [pair for pair in pairs if pair.lines]
    groups = {title: [pair for pair in there if pair.matched is matched] for matched, title in titles.items()}
    return {title: group for title, group in groups.items() if group}


def _shown(pair: Pair) -> Sequence[Line]:
    """Every seed of those that differ in one factor; of others what there is in all."""
    return pair.lines if pair.matched else pair.lines[-1:]


def _names(pair: Pair) -> str:
    return f"{pair.left.label} {_MINUS} {pair.right.label}"


def _cells(line: Line) -> tuple[str, ...]:
    shares = (f"{100 * right / line.answers:.1f}" for right in (line.right_a, line.right_b))
    away, low, high = (100 * share for share in ((line.only_a - line.only_b) / line.answers, line.low, line.high))
    difference = f"{away:+.1f} [{low:+.1f}, {high:+.1f}]"
    return *shares, difference, _chance(line.p), f"{line.questions:,}"


def _seed(line: Line) -> str:
    return "all" if line.seed is None else str(line.seed)


def _chance(p: float) -> str:
    return "<1e-15" if p < 1e-15 else f"{p:.0e}" if p < 0.001 else f"{p:.3f}"


def _exact(value: float) -> str:
    return f"{value:.10g}"

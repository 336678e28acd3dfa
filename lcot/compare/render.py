"""A comparison as text: for a terminal, as Markdown, as CSV."""

from __future__ import annotations

import csv
import io
import json
import math
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table as RichTable

from lcot.compare.notes import OVER_RUNS, described
from lcot.compare.pairs_text import in_markdown, in_terminal
from lcot.compare.paths import path_metrics
from lcot.compare.rows import Row, Spread
from lcot.compare.table import Comparison, Table
from lcot.runs.run import Run

WIDTH = 100
"""Columns of text that tables are made for; narrower terminals break names and heads more often."""

NOTHING = "\N{EN DASH}"
"""In a cell without a number."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of numbers.

    Attributes:
        title: Its head.
        cells: One a row.
    """

    title: str
    cells: list[str]


def result_columns(table: Table) -> list[Column]:
    """What the methods reach, and what an answer takes."""
    columns = [Column("n", [str(len(row.runs)) for row in table.rows])]
    for name in table.accuracies:
        title = f"{name.replace('pair_', 'pair ').replace('accuracy_', 'accuracy ')}, %"
        columns.append(Column(title, [_accuracy(row, name) for row in table.rows]))
    longest = max((row.seconds.mean for row in table.rows if row.seconds), default=0)
    unit, scale = ("ms", 1000) if longest < 1 else ("s", 1)
    columns += [
        Column("tokens", [_number(row.metric("tokens"), 1) for row in table.rows]),
        Column("thoughts", [_number(row.metric("thoughts"), 1) for row in table.rows]),
        Column("tokens + thoughts", [_number(row.total_tokens, 1) for row in table.rows]),
        Column(f"{unit} a question (batch)", [_time_of_a_question(row, scale) for row in table.rows]),
        Column("FLOPs", [_flops(row) for row in table.rows]),
    ]
    return [column for column in columns if column.title != "FLOPs" or set(column.cells) != {NOTHING}]


def cost_columns(table: Table) -> list[Column]:
    """What training the methods took."""
    columns = [
        Column("optimizer steps", [_count(row.cost(lambda run: run.steps)) for row in table.rows]),
        Column("training examples", [_count(row.cost(lambda run: run.cost.examples)) for row in table.rows]),
        Column("wall", [_duration(row.cost(lambda run: run.cost.wall)) for row in table.rows]),
        Column("CPU", [_duration(row.cost(lambda run: run.cost.cpu)) for row in table.rows]),
        Column("parameters", [_parameters(row) for row in table.rows]),
    ]
    return [column for column in columns if column.title != "CPU" or set(column.cells) != {NOTHING}]


def to_terminal(comparison: Comparison, console: Console) -> None:
    """Print the tables, each in two blocks: results, and the cost of training."""
    for number, table in enumerate(comparison.tables, start=1):
        if len(comparison.tables) > 1:
            console.print(f"[bold]Table {number}[/bold]" + (f": {escape(table.apart)}" if table.apart else ""))
        for title, columns in (("method", result_columns(table)), ("training cost", cost_columns(table))):
            console.print(_rich(title, table, columns, console.width))
        for note in table.notes:
            console.print(_note(note), highlight=False)
        for part in in_terminal(table.pairs, console.width >= WIDTH):
            console.print(part if isinstance(part, RichTable) else _note(part), highlight=False)
        console.print()
    for what, command in comparison.missing:  # a command to copy stays in one piece
        console.print(escape(f"{what}: {command}"), highlight=False, soft_wrap=True)


def to_markdown(comparison: Comparison) -> str:
    """Tables with their notes."""
    parts = []
    for number, table in enumerate(comparison.tables, start=1):
        columns = [Column("method", [row.label for row in table.rows]), *result_columns(table), *cost_columns(table)]
        lines = [_markdown_row(column.title for column in columns)]
        lines.append("|" + "|".join("---" if place == 0 else "---:" for place in range(len(columns))) + "|")
        lines += [_markdown_row(cells) for cells in zip(*(column.cells for column in columns), strict=True)]
        head = [f"**Table {number}**{': ' if table.apart else ''}{_escaped(table.apart)}", ""]
        parts.append("\n".join([*(head if len(comparison.tables) > 1 else []), *lines, "", *_bullets(table.notes)]))
        parts += _markdown_pairs(table)
    if comparison.missing:
        parts.append("\n".join(f"- {_escaped(what)}: `{command}`" for what, command in comparison.missing))
    return "\n\n".join(parts) + "\n"


def _markdown_pairs(table: Table) -> list[str]:
    parts: list[list[str]] = []
    for cells in in_markdown(table.pairs):
        if isinstance(cells, str):
            parts.append(_bullets([cells]))
        elif cells[1] == "differ in":
            parts.append([_markdown_row(cells), "|---|---|" + "---:|" * (len(cells) - 2)])
        else:
            parts[-1].append(_markdown_row(cells))
    return ["\n".join(lines) for lines in parts]


def to_csv(comparison: Comparison) -> str:
    """One line a row, with everything that is known; numbers as they are (seconds, shares, counts)."""
    names = list(dict.fromkeys(name for table in comparison.tables for name in table.accuracies))
    paths = path_metrics([row for table in comparison.tables for row in table.rows])
    lines = []
    for number, table in enumerate(comparison.tables, start=1):
        for row in table.rows:
            lines.append({"table": str(number), **_values(row, names, paths)})
    head = lines[0] if lines else {"table": "", "method": ""}
    out = io.StringIO()
    writer = csv.DictWriter(out, head.keys(), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return out.getvalue()


def _values(row: Row, accuracies: Sequence[str], paths: Sequence[str]) -> dict[str, str]:
    first, run = row.results[0], row.runs[0]
    values = {"method": row.label, "description": described(run), "n": str(len(row.runs)), "seeds": _joined(row.seeds)}
    spreads = {name: row.metric(name) for name in accuracies}
    spreads |= {name: row.metric(name) for name in ("tokens", "thoughts", "flops", "answered", *paths)}
    spreads |= {"tokens_and_thoughts": row.total_tokens, "seconds_per_question": row.seconds}
    for name, spread in spreads.items():
        values[f"{name}_mean"] = _exact(spread.mean if spread else None)
        values[f"{name}_std"] = _exact(spread.std if spread else None)
    costs: dict[str, Callable[[Run], float | None]] = {
        "optimizer_steps": lambda run: run.steps,
        "tested_steps": lambda run: run.result.trained_steps if run.result else None,
        "training_examples": lambda run: run.cost.examples,
        "wall_seconds": lambda run: run.cost.wall,
        "cpu_seconds": lambda run: run.cost.cpu,
        "peak_memory_bytes": lambda run: run.cost.memory,
        "parameters": lambda run: run.cost.parameters,
        "trainable_parameters": lambda run: run.cost.trainable,
    }
    for name, value in costs.items():
        spread = row.cost(value)
        values[name] = _exact(spread.mean if spread else None)
    return {
        **values,
        "finished": _joined(run.cost.finished for run in row.runs),
        "ended_by": _joined(run.cost.ended_by for run in row.runs),
        "outdated": _joined("yes" if run.outdated else "no" for run in row.runs),
        "training_device": _joined(run.cost.device for run in row.runs),
        "batch_size": _joined(result.batch_size for result in row.results),
        "device": _joined(result.device for result in row.results),
        "split": first.split,
        "examples": str(first.examples),
        "data_hashes": _joined(result.data_hash for result in row.results),
        "extractor": _plain(first.protocol["extractor"]),
        "tokens_defined": _plain(first.protocol["definition of tokens"]),
        "decoding": _plain(first.protocol["decoding"]),
        "voting": _plain(first.protocol["voting"]),
        "accuracy_std_over_runs": _joined(_exact(result.deviations.get("accuracy")) for result in row.results),
        "checkpoint": _plain(first.protocol["checkpoint"]),
        "commands": _joined(result.command for result in row.results),
        "commits": _joined(result.commit for result in row.results),
        "training_commits": _joined(" then ".join(run.cost.commits) or None for run in row.runs),
        "runs": _joined(str(run.path) for run in row.runs),
    }


def _rich(title: str, table: Table, columns: Sequence[Column], width: int) -> RichTable:
    padding = (0, 1) if width >= WIDTH else (0, 0)
    made = RichTable(box=box.SIMPLE_HEAD, pad_edge=False, padding=padding, collapse_padding=True, header_style="bold")
    made.add_column(title, no_wrap=True)
    for column in columns:
        made.add_column(escape(column.title), justify="right", overflow="fold")
    for place, row in enumerate(table.rows):
        # Broken here: rich would break names in their middle before it breaks a head between two words.
        label = "\n".join(textwrap.wrap(row.label, 26 if width >= WIDTH else 21))
        made.add_row(escape(label), *(column.cells[place] for column in columns))
    return made


def _number(spread: Spread | None, digits: int) -> str:
    return NOTHING if spread is None else f"{spread.mean:.{digits}f}"


def _accuracy(row: Row, name: str) -> str:
    spread, over_runs = row.metric(name), row.over_runs(name)
    if spread is None:
        return NOTHING
    text = f"{100 * spread.mean:.1f}"
    if over_runs is not None:
        return f"{text} ± {100 * over_runs:.1f}{OVER_RUNS}"
    return text if spread.std is None else f"{text} ± {100 * spread.std:.1f}"


def _time_of_a_question(row: Row, scale: float) -> str:
    spread = row.seconds
    sizes = list(dict.fromkeys(result.batch_size for result in row.results if result.batch_size))
    if spread is None:
        return NOTHING
    return _three_digits(spread.mean * scale) + (f" ({'/'.join(map(str, sizes))})" if sizes else "")


def _flops(row: Row) -> str:
    spread = row.metric("flops")
    return NOTHING if spread is None else _rounded(spread.mean).replace("B", "G")


def _three_digits(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def _count(spread: Spread | None) -> str:
    return NOTHING if spread is None else f"{spread.mean:,.0f}"


def _duration(spread: Spread | None) -> str:
    if spread is None:
        return NOTHING
    seconds = spread.mean
    if seconds < 100:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 100 * 60 else f"{seconds / 3600:.1f} h"


def _parameters(row: Row) -> str:
    spread, trained = row.cost(lambda run: run.cost.parameters), row.cost(lambda run: run.cost.trainable)
    if spread is None:
        return NOTHING
    part = f" ({_rounded(trained.mean)} trained)" if trained and trained.mean != spread.mean else ""
    return _rounded(spread.mean) + part


def _rounded(count: float) -> str:
    """Three digits with a letter: 124M."""
    for size, letter in ((1e15, "P"), (1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if count >= size:
            return f"{count / size:.{max(0, 2 - int(math.log10(count / size)))}f}{letter}"
    return f"{count:.0f}"


def _exact(value: float | None) -> str:
    return "" if value is None else f"{value:.10g}"


def _joined(values: object) -> str:
    """Different values with semicolons between them; all of them where they differ, one where they do not."""
    assert hasattr(values, "__iter__")
    listed = ["" if value is None else str(value) for value in values]
    return listed[0] if len(set(listed)) == 1 and listed else ";".join(listed)


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _markdown_row(cells: object) -> str:
    assert hasattr(cells, "__iter__")
    return "| " + " | ".join(_escaped(cell) for cell in cells) + " |"


def _escaped(text: str) -> str:
    """Text that means itself in Markdown."""
    for sign in ("\\", "|", "*", "_", "<", "`"):
        text = text.replace(sign, f"\\{sign}")
    return text


def _note(line: str) -> str:
    return f"[dim]· {escape(line)}[/dim]"


def _bullets(lines: Sequence[str]) -> list[str]:
    return [f"- {_escaped(line)}" for line in lines]

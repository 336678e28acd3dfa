"""A whole probe in a folder: do the thoughts do anything?

probe/summary.json            what was found in words, all rows of the summary, the protocol, and what each column holds
probe/summary.parquet         a row for each intervention, and within it for each number of steps
probe/interventions.parquet   a row for each question and intervention
probe/thoughts.parquet        a row for each thought of each question: what it is worth by other measures
probe/<figure>.png, .svg      with number of questions and definition
probe/events.out.tfevents…    the same for TensorBoard
probe/report.html             one page with all of it but the rows of questions, which needs no network
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from typing import Any

import yaml

from lcot.analysis import tables
from lcot.analysis.board import write_board
from lcot.analysis.causal_plots import causal_charts
from lcot.analysis.charts import Chart, bare, save_chart
from lcot.analysis.edits import SCOPES, Scope
from lcot.analysis.effects import Answered, EffectRow, EffectTable
from lcot.analysis.fields import columns_of, fields_of
from lcot.analysis.findings import findings
from lcot.analysis.interventions import Interventions
from lcot.analysis.pages import drawn, plain, render, told_tables
from lcot.analysis.report import About
from lcot.analysis.subject import Subject
from lcot.analysis.weights import Weighed, WeightRow, WeightTable

FORMAT = 1
"""Version of ``summary.json``."""

MARK = "summary.json"
"""The file that shows a folder to be a probe."""

TABLES: Mapping[str, tuple[tables.Column, ...]] = {
    "interventions": columns_of(Answered),
    "summary": columns_of(EffectRow),
    "thoughts": columns_of(Weighed),
}
"""The tables and their columns."""


@dataclass(frozen=True, slots=True)
class Probed:
    """What came of it.

    Attributes:
        questions: Number of questions.
        data_hash: Of all questions and answers, as in ``test.json``.
        rows: Those of the summary.
        weighed: What each thought is worth by other measures.
        findings: What was found, in words, a line each.
        missing: What does not apply, each with the reason.
        ties: Questions whose own thoughts, given back, lead to a text that differs by a token that is as probable as
            another one up to rounding.
        seconds: Wall time.
    """

    questions: int
    data_hash: str
    rows: list[EffectRow]
    weighed: list[WeightRow]
    findings: list[str]
    missing: dict[str, str]
    ties: int
    seconds: float


def write_probe(
    subject: Subject,
    about: About,
    protocol: Mapping[str, Any],
    folder: Path,
    *,
    names: Sequence[str] | None = None,
    scopes: Sequence[Scope] = SCOPES,
    seed: int = 0,
    say: Callable[[str], None] = lambda _: None,
) -> Probed:
    """Intervene, draw, and write everything.

    Args:
        subject: The model and the questions, with one number of thoughts.
        about: The run.
        protocol: What it takes to get the numbers again.
        folder: Empty.
        names: Of the edits; all that apply if not given.
        scopes: Which thoughts are changed.
        seed: Keys what is drawn.
        say: Told a line after each pass.

    Raises:
        UserError: As :class:`~lcot.analysis.interventions.Interventions` does.
    """
    start, (k,) = time.perf_counter(), subject.counts
    made, table = Interventions(subject, k, names, scopes, seed), EffectTable()
    if made.alone:
        say("this run's thoughts look at padding (model.unmasked): each question is read alone, where there is none")
    weights = WeightTable()
    with (
        tables.writer(folder, "interventions", TABLES["interventions"]) as written,
        tables.writer(folder, "thoughts", TABLES["thoughts"]) as thoughts,
    ):

        def weigh(thought: Weighed) -> None:
            weights.weigh(thought)
            thoughts.write([astuple(thought)])

        for one in made.answers(folder, say, weigh):
            table.add(one)
            weights.answered(one)
            written.write([astuple(one)])
    rows, weighed = table.rows(), weights.rows()
    with tables.writer(folder, "summary", TABLES["summary"]) as summed:
        summed.write(map(astuple, rows))
    seconds = round(time.perf_counter() - start, 3)
    lines = findings(rows, k, weighed)
    found = Probed(made.count, made.data_hash, rows, weighed, lines, made.missing, made.ties, seconds)
    summary = [asdict(row) for row in rows]
    charts = [(chart, save_chart(chart, folder)) for chart in causal_charts(summary, k, about.data)]
    write_board(folder, lines, summary, [chart.name for chart, _ in charts])
    _write_page(folder / "report.html", about, found, summary, charts, k)
    told = {
        "format": FORMAT,
        "run": about.name,
        "findings": found.findings,
        "questions": {"count": found.questions, "what": about.data, "data_hash": found.data_hash},
        "thoughts": {"measured": k, "own": about.own, "trained": sorted(about.trained) if about.trained else None},
        "seed": seed,
        "protocol": dict(protocol),
        "facts": dict(about.facts),
        "warnings": list(about.warnings),
        "not_applicable": found.missing,
        "ties": found.ties,
        "seconds": found.seconds,
        "summary": summary,
        "thoughts_summary": [asdict(row) for row in weighed],
        "columns": {name: {one.name: one.what for one in columns} for name, columns in TABLES.items()},
        "thoughts_columns": fields_of(WeightRow),
        "tables": {
            "interventions.parquet": written.rows,
            "summary.parquet": summed.rows,
            "thoughts.parquet": thoughts.rows,
        },
        "config": dict(about.config),
    }
    # The last file: what has it is whole.
    text = json.dumps(plain(told), indent=1, ensure_ascii=False, allow_nan=False)
    (folder / MARK).write_text(text + "\n", encoding="utf-8")
    return found


def section_of(probe: Path, checkpoint: str) -> dict[str, Any] | None:
    """What the report of an analysis says of a run's probe; ``None`` without one of the same checkpoint.

    Args:
        probe: The probe's folder.
        checkpoint: The checkpoint, as ``facts`` has it.
    """
    if not (probe / MARK).is_file():
        return None
    told = json.loads((probe / MARK).read_text(encoding="utf-8"))
    if told.get("format") != FORMAT or told["facts"].get("checkpoint") != checkpoint:
        return None
    charts = causal_charts(told["summary"], told["thoughts"]["measured"], told["questions"]["what"])
    found = [*told["findings"], f"Found by {told['facts']['command']}"]
    return {"findings": found, "charts": drawn([(chart, bare(chart)[1]) for chart in charts])}


def _write_page(
    target: Path,
    about: About,
    found: Probed,
    summary: Sequence[Mapping[str, Any]],
    charts: Sequence[tuple[Chart, str]],
    k: int,
) -> None:
    shown = {
        "all": [_told(row, _WHOLE) for row in summary if row["steps"] is None],
        "steps": [_told(row, ("intervention", "steps", *_SHARES)) for row in summary if _by_steps(row)],
        "thoughts": [_told(asdict(row), tuple(fields_of(WeightRow))) for row in found.weighed],
    }
    thoughts = f"{k} thought{'s' * (k > 1)} each, as they are and changed"
    text = render(
        "probe.html",
        title=f"Do the thoughts of {about.name} do anything?",
        summary=f"{found.questions:,} {about.data}, answered behind {thoughts}.",
        warnings=about.warnings,
        findings=found.findings,
        charts=drawn(charts),
        tables=list(told_tables(shown, _KINDS, _TITLES)),
        missing=[("total effects" if name == "total" else name, why) for name, why in found.missing.items()],
        facts=[*about.facts.items(), ("hash of questions and answers", found.data_hash)],
        config=yaml.safe_dump(dict(about.config), sort_keys=False, allow_unicode=True),
    )
    target.write_text(text, encoding="utf-8")


_TITLES = {
    "all": "All interventions",
    "steps": "All thoughts changed, by number of written steps",
    "thoughts": "Each thought by other measures",
}
_KINDS: Mapping[str, type] = {"all": EffectRow, "steps": EffectRow, "thoughts": WeightRow}
_SHARES = ("questions", "accuracy", "low", "high", "before", "p", "changed", "to_donor", "text_change")
_WHOLE = ("intervention", "scope", "thought", "effect", *_SHARES)


def _by_steps(row: Mapping[str, Any]) -> bool:
    return row["steps"] is not None and row["scope"] == "all"


def _told(row: Mapping[str, Any], columns: Sequence[str]) -> dict[str, Any]:
    """Some columns of a row; shares that there are none of are told as such, where a cell without a value is all."""
    whole = ("thought", "steps")
    return {name: "none" if row[name] is None and name not in whole else row[name] for name in columns}

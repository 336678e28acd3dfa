"""A whole probe in a folder: do the thoughts do anything?

probe/summary.json            what was found in words, all rows of the summary, the protocol, and what each column holds
probe/summary.parquet         a row for each intervention, and within it for each number of steps
probe/interventions.parquet   a row for each question and intervention
probe/<figure>.png, .svg      with number of questions and definition
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from typing import Any

from lcot.analysis import tables
from lcot.analysis.causal_plots import causal_charts
from lcot.analysis.charts import save_chart
from lcot.analysis.edits import SCOPES, Scope
from lcot.analysis.effects import Answered, EffectRow, EffectTable
from lcot.analysis.fields import columns_of
from lcot.analysis.findings import findings
from lcot.analysis.interventions import Interventions
from lcot.analysis.report import About, plain
from lcot.analysis.subject import Subject

FORMAT = 1
"""Version of ``summary.json``."""

MARK = "summary.json"
"""The file that shows a folder to be a probe."""

TABLES: Mapping[str, tuple[tables.Column, ...]] = {
    "interventions": columns_of(Answered),
    "summary": columns_of(EffectRow),
}
"""The tables and their columns."""


@dataclass(frozen=True, slots=True)
class Probed:
    """What came of it.

    Attributes:
        questions: Number of questions.
        data_hash: Of all questions and answers, as in ``test.json``.
        rows: Those of the summary.
        findings: What was found, in words, a line each.
        missing: What does not apply, each with the reason.
        ties: Questions whose own thoughts, given back, lead to a text that differs by a token that is as probable as
            another one up to rounding.
        seconds: Wall time.
    """

    questions: int
    data_hash: str
    rows: list[EffectRow]
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
    with tables.writer(folder, "interventions", TABLES["interventions"]) as written:
        for one in made.answers(folder, say):
            table.add(one)
            written.write([astuple(one)])
    rows = table.rows()
    with tables.writer(folder, "summary", TABLES["summary"]) as summed:
        summed.write(map(astuple, rows))
    seconds = round(time.perf_counter() - start, 3)
    found = Probed(made.count, made.data_hash, rows, findings(rows, k), made.missing, made.ties, seconds)
    summary = [asdict(row) for row in rows]
    for chart in causal_charts(summary, k, about.data):
        save_chart(chart, folder)
    told = {
        "format": FORMAT,
        "run": about.name,
        "findings": found.findings,
        "questions": {"count": found.questions, "what": about.data, "data_hash": found.data_hash},
        "thoughts": {"measured": k, "own": about.own, "trained": sorted(about.trained) if about.trained else None},
        "seed": seed,
        "protocol": dict(protocol),
        "warnings": list(about.warnings),
        "not_applicable": found.missing,
        "ties": found.ties,
        "seconds": found.seconds,
        "summary": summary,
        "columns": {name: {one.name: one.what for one in columns} for name, columns in TABLES.items()},
        "tables": {"interventions.parquet": written.rows, "summary.parquet": summed.rows},
        "config": dict(about.config),
    }
    # The last file: what has it is whole.
    text = json.dumps(plain(told), indent=1, ensure_ascii=False, allow_nan=False)
    (folder / MARK).write_text(text + "\n", encoding="utf-8")
    return found

"""A whole analysis in a folder.

analysis/measurements.json      all summaries, the protocol, and what each column holds
analysis/<table>.parquet        one line a question, node, thought or fact (lcot.analysis.tables)
analysis/<figure>.png, .svg     with number of questions and definition
analysis/report.html            one page with everything, which needs no network
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from lcot.analysis import measure as measuring
from lcot.analysis import tables
from lcot.analysis.causal import section_of
from lcot.analysis.charts import charts, save_chart
from lcot.analysis.figures import draw_tree, save_figure
from lcot.analysis.folder import MARK
from lcot.analysis.measure import Measured, measure
from lcot.analysis.pages import plain
from lcot.analysis.report import About, choose, search_trees, write_report
from lcot.analysis.subject import Subject

FORMAT = 1
"""Version of ``measurements.json``."""


def write_analysis(
    subject: Subject,
    about: About,
    protocol: Mapping[str, Any],
    folder: Path,
    *,
    questions: int = 40,
    probe: Path | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Measured:
    """Measure, draw, and write everything.

    Args:
        subject: The model and the questions.
        about: The run, for the report.
        protocol: What it takes to get the numbers again.
        folder: Empty.
        questions: How many questions can be chosen in the report.
        probe: The folder of the run's probe, which becomes a section of the report if there is one of this checkpoint.
        say: Told a line after each part.

    Raises:
        UserError: If something cannot be measured.
    """
    measured = measure(subject, folder, say)
    found = charts(measured.summary, about.trained, about.data, measured.counts)
    drawn = [(chart, save_chart(chart, folder)) for chart in found]
    shown = choose(folder, subject.examples, about.own, questions)
    trees = search_trees(folder, shown)
    if trees:
        deepest = max(trees, key=lambda number: trees[number].steps)
        figure = draw_tree(trees[deepest], title=shown.examples[deepest].question, trained=about.trained)
        save_figure(figure, folder, "tree")
    facts = {**about.facts, "hash of questions and answers": measured.data_hash}
    causal = None if probe is None else section_of(probe, about.facts.get("checkpoint", ""))
    write_report(folder / "report.html", replace(about, facts=facts), measured, drawn, shown, trees, causal)
    # The last file: what has it is whole.
    told = plain(_described(about, protocol, measured))
    (folder / MARK).write_text(json.dumps(told, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
    say(f"figures and report: {sum(file.stat().st_size for file in folder.iterdir()) / 1e6:.1f} MB in all")
    return measured


def _described(about: About, protocol: Mapping[str, Any], measured: Measured) -> dict[str, Any]:
    counts = sorted({row["thoughts"] for row in measured.summary["accuracy"]})
    return {
        "format": FORMAT,
        "run": about.name,
        "questions": {"count": measured.questions, "what": about.data, "data_hash": measured.data_hash},
        "thoughts": {
            "measured": counts,
            "own": about.own,
            "trained": sorted(about.trained) if about.trained is not None else None,
        },
        "protocol": dict(protocol),
        "warnings": list(about.warnings),
        "not_applicable": measured.missing,
        "left_out": measured.left_out,
        "seconds": measured.seconds,
        "summary": measured.summary,
        "summary_columns": {name: what for name, what in measuring.described().items() if name in measured.summary},
        "tables": {f"{name}.parquet": rows for name, rows in measured.rows.items()},
        "columns": {name: what for name, what in tables.described().items() if name in measured.rows},
        "config": dict(about.config),
    }

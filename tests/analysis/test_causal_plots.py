"""Figures of what interventions do: what each holds, and when there is one."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from lcot.analysis.causal_plots import causal_charts, draw_interventions, draw_places, draw_steps
from lcot.analysis.charts import save_chart
from tests.analysis.test_findings import BASE, row

ROWS = [
    asdict(one)
    for one in (
        BASE,
        row("zero", 158),
        row("same_gold", 3, to_donor=1.0),
        row("scaled=0.5", 1),
        *(row("zero", 10 * place, scope="one", thought=place) for place in (1, 2, 3)),
        row("zero", 70, scope="from", thought=2),
        *(row("zero", 50 * place, scope="one", thought=place, effect="total") for place in (1, 2)),
    )
]
STEPS = [{**one, "steps": steps, "questions": 150} for steps in (1, 3) for one in ROWS]


def test_edits_of_all_thoughts() -> None:
    panes: list[Any] = draw_interventions(ROWS).axes
    right, changed = panes
    assert [label.get_text() for label in right.get_yticklabels()] == ["own thoughts", "zero", "same gold", "times 0.5"]
    (points,) = [line for line in right.lines if line.get_marker() == "o"]
    assert list(points.get_xdata()) == pytest.approx([96.0, 100 * (0.96 - 158 / 300), 95.0, 100 * (0.96 - 1 / 300)])
    assert [bar.get_width() for bar in changed.patches] == pytest.approx([0.0, 100 * 158 / 300, 1.0, 100 / 300])
    (theirs,) = [line for line in changed.lines if line.get_marker() == "D"]
    assert list(theirs.get_ydata()) == [3, 2, 0]  # not that of the donor with the same right answer


def test_places() -> None:
    panes: list[Any] = draw_places(ROWS).axes
    found: dict[str, list[list[Any]]] = {}
    for axes in panes:
        lines = [line for line in axes.lines if line.get_label() == "zero"]
        found[axes.get_title()] = [[list(line.get_xdata()), list(line.get_ydata())] for line in lines]
    shares = {lost: pytest.approx(100 * (0.96 - lost / 300)) for lost in (10, 20, 30, 50, 70, 100, 158)}
    assert found == {
        "one thought alone": [[[1, 2, 3], [shares[10], shares[20], shares[30]]]],
        "one and all behind it": [[[1, 2, 3], [shares[158], shares[70], shares[30]]]],
        "one alone, those behind\nit thought anew": [[[1, 2], [shares[50], shares[100]]]],
    }


def test_steps() -> None:
    (axes,) = draw_steps([*ROWS, *STEPS]).axes
    assert [text.get_text() for text in axes.texts[:4]] == ["96", "43", "95", "96"]
    assert len(axes.texts) == len(axes.patches) == 8
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1\n(n = 150)", "3\n(n = 150)"]


def test_what_there_is_to_draw(tmp_path: Path) -> None:
    made = {chart.name: chart for chart in causal_charts([*ROWS, *STEPS], 3, "questions of the test split")}
    assert list(made) == ["interventions", "places", "steps"]
    for chart in made.values():
        assert "n = 300 questions of the test split, 3 thoughts each" in chart.caption
        assert "<svg" in save_chart(chart, tmp_path)
    assert len(list(tmp_path.iterdir())) == 6
    whole = [one for one in ROWS if one["scope"] == "all"]
    assert [chart.name for chart in causal_charts(whole, 3, "questions")] == ["interventions"]
    one = [*whole, *({**one, "steps": 2} for one in whole)]  # of one length
    assert [chart.name for chart in causal_charts(one, 1, "questions")] == ["interventions"]

"""Figures: what is drawn is what was measured, with its number of questions, for readers who see no colours too."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from matplotlib.colors import to_hex

from lcot.analysis import Thinker, measure, plots
from lcot.analysis.charts import Chart, charts, save_chart
from lcot.analysis.subject import Subject
from lcot.analysis.summaries import SHOWN, AccuracyRow, LensRow, PathRow, ResultRow
from lcot.analysis.tree import HeightRow
from lcot.metrics.paths import CATEGORIES
from tests.analysis.machine import builder_of
from tests.analysis.support import contrast, problems, random_setting

ACCURACY = [
    asdict(AccuracyRow(k, steps, 40, 20 + 10 * k, 0.5 + 0.2 * k, 0.4 + 0.2 * k, 0.6 + 0.2 * k, 3.0))
    for k in (0, 1)
    for steps in (None, 2, 3)
]
SHARES: dict[str, float] = {category: (0.5 if number < 2 else 0.0) for number, category in enumerate(CATEGORIES)}
PATHS = [asdict(PathRow(k, 40, SHARES)) for k in (0, 1)]
LENS = [asdict(LensRow(2, thought, 40, dict.fromkeys(SHOWN, 0.25))) for thought in (1, 2)]
RESULTS = [
    asdict(ResultRow(2, thought, "equation", step, 9, 0.1, 0.3 * thought, 0.1)) for thought in (1, 2) for step in (1, 2)
]


@pytest.fixture(scope="module")
def summary(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    model, tokenizer = random_setting("compact")
    thinker, examples = Thinker(model, builder_of(tokenizer)), problems("compact", 6)
    asked = Subject(thinker, lambda: iter(examples), (0, 1, 2), lambda k: k, max_new_tokens=2)
    return measure.measure(asked, tmp_path_factory.mktemp("measured")).summary


def test_each_summary_has_a_figure_with_its_count(summary: dict[str, list[dict[str, Any]]]) -> None:
    found = {chart.name: chart for chart in charts(summary, frozenset({1, 2}), "questions of a test")}
    assert list(found) == ["accuracy", "paths", "heights", "parallelism", "collapse", "lens", "attention", "nodes"]
    for chart in found.values():
        assert "n = " in chart.caption and "{" not in chart.caption
    assert "n = 6 questions of a test" in found["accuracy"].caption
    assert "never saw k = 0" in found["accuracy"].caption
    fewer = {chart.name: chart for chart in charts(summary, None, "questions", {"paths": 4, "nodes": 3})}
    for name, count in {"accuracy": 6, "paths": 4, "lens": 4, "nodes": 3, "attention": 6}.items():
        assert f"n = {count} questions" in fewer[name].caption
    rows = [row for row in summary["parallelism"] if row["thoughts"] == 1]
    assert f"n = {rows[0]['questions']} for k = 1" in found["parallelism"].caption


def test_pairs_are_said_beneath_the_accuracy() -> None:
    rows = [{**row, "pair_accuracy": None if row["steps"] else 0.125 * row["thoughts"]} for row in ACCURACY]
    (chart,) = charts({"accuracy": rows}, None, "sums")
    assert "Both questions about a problem are right in 0.0 % (k = 0), 12.5 % (k = 1)." in chart.caption


def test_a_run_without_thoughts_is_not_said_to_have_any() -> None:
    rows = [row for row in ACCURACY if row["thoughts"] == 0]
    (chart,) = charts({"accuracy": rows}, frozenset({0}), "sums")
    assert "Both" not in chart.caption
    assert chart.title == "Accuracy" and "thought" not in chart.caption and "n = 40 sums. Bars" in chart.caption
    (chart,) = charts({"accuracy": rows}, frozenset({0, 1}), "sums")
    assert chart.title == "Accuracy after k thoughts" and "are forced" in chart.caption


def test_figures_of_arithmetic() -> None:
    found = [chart.name for chart in charts({"accuracy": ACCURACY, "results": RESULTS}, None, "sums")]
    assert found == ["accuracy", "results"]


def test_files(summary: dict[str, list[dict[str, Any]]], tmp_path: Path) -> None:
    wanted = ("accuracy", "heights", "parallelism")
    for chart in (chart for chart in charts(summary, None, "questions") if chart.name in wanted):
        bare = save_chart(chart, tmp_path)
        svg = (tmp_path / f"{chart.name}.svg").read_text(encoding="utf-8")
        assert (tmp_path / f"{chart.name}.png").read_bytes().startswith(b"\x89PNG")
        # Words are words in an SVG. The caption is in the file, and beside the figure in a page.
        assert chart.caption.split(" ")[0] in svg and "n = " in svg
        assert chart.caption[:40] not in bare


def test_the_same_figure_is_the_same_file(tmp_path: Path) -> None:
    chart = Chart("paths", "t", "A caption.", lambda: plots.draw_paths(PATHS, []))
    files = []
    for _ in range(2):
        save_chart(chart, tmp_path)
        files.append((tmp_path / "paths.svg").read_bytes())
    assert files[0] == files[1]


class TestDrawings:
    """What stands in the axes."""

    def test_accuracy(self) -> None:
        axes: Any = plots.draw_accuracy(ACCURACY, [0]).axes[0]
        lines = {line.get_label(): line.get_ydata() for line in axes.lines}
        assert list(lines["all questions"]) == [50.0, 70.0]
        assert list(lines["2 steps (n = 40)"]) == [50.0, 70.0]
        assert [tick.get_text() for tick in axes.get_xticklabels()] == ["0*", "1"]
        assert "50.0" in {text.get_text() for text in axes.texts}
        (alone,) = plots.draw_accuracy([row for row in ACCURACY if row["steps"] != 3], []).axes
        assert not any("steps" in str(line.get_label()) for line in alone.lines), "they are all questions"

    def test_ways(self) -> None:
        axes: Any = plots.draw_paths(PATHS, []).axes[0]
        assert [bar.get_height() for bar in axes.patches] == [50.0] * 4
        assert [bar.get_y() for bar in axes.patches] == [0.0, 0.0, 50.0, 50.0]

    def test_parallelism(self, summary: dict[str, list[dict[str, Any]]]) -> None:
        row = next(row for row in summary["parallelism"] if row["thoughts"] == 1)
        axes: Any = plots.draw_parallelism([row]).axes[0]
        assert [list(line.get_ydata()) for line in axes.lines] == [list(row[name]) for name in ("top1", "top2", "top3")]

    def test_heights_of_one_kind_near_one(self) -> None:
        rows = [asdict(HeightRow(4, height, True, 40, 0.9999, 0.0)) for height in (1, 2)]
        figure: Any = plots.draw_heights(rows)
        (axes,) = figure.axes
        assert axes.get_ylim()[0] == 0.0 and axes.get_ylim()[1] > 1.04, "no point is cut off"
        assert [text.get_text() for text in figure.legends[0].get_texts()] == ["leads to the target"]

    def test_heights(self, summary: dict[str, list[dict[str, Any]]]) -> None:
        figure: Any = plots.draw_heights(summary["heights"])
        counts = sorted({row["thoughts"] for row in summary["heights"]})
        assert [axes.get_title() for axes in figure.axes] == [f"k = {k}" for k in counts]
        drawn = {
            (k, leads): list(bars.lines[0].get_ydata())
            for k, axes in zip(counts, figure.axes, strict=True)
            for leads, bars in zip((True, False), axes.containers, strict=True)
        }
        for (k, leads), means in drawn.items():
            own = [row["mean"] for row in summary["heights"] if (row["thoughts"], row["leads"]) == (k, leads)]
            assert means == own

    def test_counts_of_heights_can_be_read(self, summary: dict[str, list[dict[str, Any]]]) -> None:
        figure: Any = plots.draw_heights(summary["heights"])
        small = [text for axes in figure.axes for text in axes.texts]
        assert len({text.get_color() for text in small}) == 2
        assert all(contrast(to_hex(text.get_color()), "#ffffff") >= 4.5 for text in small)

    @pytest.mark.parametrize(("draw", "name"), [(plots.draw_attention, "attention"), (plots.draw_nodes, "nodes")])
    def test_groups(self, draw: Callable[[Any], Any], name: str, summary: dict[str, list[dict[str, Any]]]) -> None:
        axes: Any = draw(summary[name]).axes[0]
        lines = [line for line in axes.lines if not line.get_label().startswith("_")]
        looks = {(line.get_marker(), line.get_linestyle(), line.get_color()) for line in lines}
        assert len(looks) == len(lines) == 4
        assert len({line.get_marker() for line in lines}) == 4  # told apart without colours

    def test_bars_are_told_apart_without_colours(self) -> None:
        for looks in (plots.CATEGORY_LOOKS, plots.SHOWN_LOOKS):
            colours = [colour for colour, _ in looks.values()]
            assert len(set(colours)) == len(colours)
            hatches = [hatch for _, hatch in looks.values() if hatch]
            assert hatches and len(set(hatches)) == len(hatches)
            plain = [colour for colour, hatch in looks.values() if not hatch]
            assert all(contrast(one, other) > 1.5 for one, other in combinations(plain, 2))
        assert plots.CATEGORY_LOOKS["correct_path"][1] != plots.CATEGORY_LOOKS["correct_label"][1]

    def test_lens_and_results(self) -> None:
        assert len(plots.draw_lens(LENS).axes[0].patches) == 8
        axes: Any = plots.draw_results(RESULTS).axes[0]
        assert [list(line.get_ydata()) for line in axes.lines] == [[30.0, 60.0], [30.0, 60.0]]

    def test_a_single_thought_has_none_before_it(self) -> None:
        row = {"thought": 1, "norm": 2.0, "word_norm": 1.0, "previous": None, "across": 0.5, "vocabulary_cosine": 0.1}
        _, right = plots.draw_collapse([row]).axes
        assert [line.get_label() for line in right.lines] == ["other questions", "nearest word"]

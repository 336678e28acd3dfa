"""Shares of categories of paths: columns of the CSV, and a picture whose bars are as long as the shares."""

from __future__ import annotations

import csv
import io
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import matplotlib.image
import pytest
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from lcot.compare.paths import CATEGORIES, draw_bars, path_metrics, to_paths
from lcot.compare.render import to_csv
from lcot.compare.table import Comparison, compare
from lcot.modules.judging import SHARES
from lcot.runs.run import read_run
from tests.compare.folders import COT, write_run
from tests.tiny import lcot

SHARE = dict(zip(SHARES.values(), (0.5, 0.125, 0.0625, 0.25, 0.0625, 0.0, 0.0), strict=True))
"""Of one seed; the other has all of its answers in the first category."""


def report(shares: dict[str, float], **changes: Any) -> dict[str, Any]:
    return {f"metrics.test/{name}": share for name, share in shares.items()} | changes


def runs(folder: Path) -> Comparison:
    """Coconut with two seeds, CoT, and a method whose report is of a version without paths."""
    write_run(folder, "coconut-0", 0, report=report(SHARE))
    write_run(folder, "coconut-1", 1, report=report({**dict.fromkeys(SHARE, 0.0), "path_correct": 1.0}))
    write_run(folder, "cot-0", 0, config=COT, report=report({**dict.fromkeys(SHARE, 0.0), "path_longer": 1.0}))
    write_run(folder, "older-0", 0, config={"trainer.max_epochs": 3})
    return compare([read_run(path) for path in sorted(folder.iterdir())])


def test_all_categories_have_a_look_of_their_own() -> None:
    assert set(CATEGORIES) == set(SHARES.values())
    assert len({(look.colour, look.hatch) for look in CATEGORIES.values()}) == len(CATEGORIES)


def test_columns_are_there_only_where_a_report_has_shares(tmp_path: Path) -> None:
    first, second, third = csv.DictReader(io.StringIO(to_csv(runs(tmp_path))))
    assert float(first["path_correct_mean"]) == 0.75 and first["path_correct_std"].startswith("0.35355")
    assert float(first["path_hallucination_mean"]) == 0.03125
    assert (second["path_longer_mean"], second["path_longer_std"]) == ("1", "")
    assert third["method"] == "older" and third["path_correct_mean"] == ""
    (tmp_path / "other").mkdir()
    write_run(tmp_path / "other", "cot-0", config=COT)
    plain = to_csv(compare([read_run(tmp_path / "other" / "cot-0")]))
    assert "path" not in plain.splitlines()[0]


def test_the_picture_names_the_methods_that_have_shares(tmp_path: Path) -> None:
    target = tmp_path / "new" / "paths.svg"
    assert to_paths(runs(tmp_path / "runs"), target)
    words = [e.text for e in ElementTree.parse(target).getroot().iter() if e.tag.endswith("}text")]
    assert {"coconut", "cot", "75", "100", "share of the answers (%)"} <= set(words) and "older" not in words
    assert {look.name for look in CATEGORIES.values()} <= set(words)
    before = target.read_bytes()
    assert to_paths(compare([read_run(path) for path in sorted((tmp_path / "runs").iterdir())]), target)
    assert target.read_bytes() == before and [path.name for path in target.parent.iterdir()] == ["paths.svg"]


def test_bars_are_as_long_as_the_shares() -> None:
    axes = Figure().subplots()
    draw_bars(axes, {"first": SHARE, "second": {"path_unparseable": 1.0}})
    drawn = [bar for bar in axes.patches if isinstance(bar, Rectangle)]
    found = [(bar.get_x(), bar.get_width(), round(bar.get_y() + bar.get_height() / 2)) for bar in drawn]
    start = 0.0
    for name in CATEGORIES:
        if SHARE[name]:
            assert found.pop(0) == (start, 100 * SHARE[name], 0)
            start += 100 * SHARE[name]
    assert start == 100 and found == [(0, 100, 1)]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["first", "second"]
    assert axes.yaxis_inverted(), "the first stands above"


def test_numbers_of_thoughts_are_rows_of_their_own(tmp_path: Path) -> None:
    for k in (0, 1):
        thoughts = {"curriculum.eval_thoughts": k}
        write_run(tmp_path, f"coconut-k{k}", config=thoughts, report=report(SHARE))
    target = tmp_path / "paths.svg"
    assert to_paths(compare([read_run(tmp_path / f"coconut-k{k}") for k in (0, 1)]), target)
    words = target.read_text()
    assert "coconut-k0" in words and "coconut-k1" in words


def test_two_tables_are_two_panels(tmp_path: Path) -> None:
    write_run(tmp_path, "coconut-0", report=report(SHARE))
    write_run(tmp_path, "cot-0", config=COT, report=report(SHARE, format=2))
    target = tmp_path / "paths.png"
    assert to_paths(compare([read_run(tmp_path / name) for name in ("coconut-0", "cot-0")]), target)
    assert matplotlib.image.imread(target).shape[1] > 1000


def test_on_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    runs(Path("runs"))
    outcome = lcot("compare", "runs", "--paths=a.png")
    assert outcome.code == 0 and not outcome.err and Path("a.png").stat().st_size > 5000
    outcome = lcot("compare", "runs/older-0", "--paths=b.png")
    assert outcome.code == 0 and outcome.err.startswith("lcot: b.png was not written: no result has categories")
    assert not Path("b.png").exists()
    outcome = lcot("compare", "runs", "--paths=a.gif")
    assert outcome.code == 2 and "--paths is 'a.gif'" in outcome.block
    outcome = lcot("compare", "-c", "a.yaml", "--methods", "cot", "--slurm=a.sh", "--paths=a.png")
    assert outcome.code == 2 and "--slurm beside --paths" in outcome.block


def test_nothing_is_known_of_rows_without_shares(tmp_path: Path) -> None:
    write_run(tmp_path, "coconut-0")
    made = compare([read_run(tmp_path / "coconut-0")])
    assert path_metrics(made.tables[0].rows) == [] and not to_paths(made, tmp_path / "a.png")
    assert not (tmp_path / "a.png").exists()

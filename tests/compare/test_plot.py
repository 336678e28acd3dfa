"""The picture: it is written, opens, and its words cover nothing."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import matplotlib.image
import pytest

from lcot.compare.plot import check_plot, to_plot
from lcot.compare.table import Comparison, compare
from lcot.errors import UserError
from lcot.runs.run import read_run
from tests.compare.folders import COT, write_run

METHODS = {"coconut": (0.97, 2, 4), "pause_as_thought": (0.965, 2, 4), "cot": (0.98, 4.2, 0), "icot": (0.8, 2, 0)}


def crowd(folder: Path) -> Comparison:
    """Methods of two seeds each, some of them in one place."""
    for number, (method, (accuracy, tokens, thoughts)) in enumerate(METHODS.items()):
        for seed in (0, 1):
            metrics = {"accuracy": accuracy + 0.01 * seed, "tokens": tokens + 0.1 * seed, "thoughts": thoughts}
            report = {f"metrics.test/{name}": value for name, value in metrics.items()}
            write_run(folder, f"{method}-{seed}", seed, config={"trainer.max_epochs": number}, report=report)
    return compare([read_run(path) for path in sorted(folder.iterdir())])


def test_a_picture_opens(tmp_path: Path) -> None:
    target = tmp_path / "new" / "accuracy.png"
    assert to_plot(crowd(tmp_path / "runs"), target)
    height, width, _ = matplotlib.image.imread(target).shape
    assert width > height > 400
    assert [path.name for path in target.parent.iterdir()] == ["accuracy.png"]


def test_words_of_an_svg_are_words_and_the_file_is_the_same_each_time(tmp_path: Path) -> None:
    both = crowd(tmp_path / "runs")
    files = [tmp_path / f"{number}.svg" for number in (1, 2)]
    for file in files:
        assert to_plot(both, file)
    root = ElementTree.parse(files[0]).getroot()
    words = [element.text for element in root.iter() if element.tag.endswith("}text")]
    assert {*METHODS, "accuracy (%)", "tokens + thoughts of an answer"} <= set(words)
    assert files[0].read_bytes() == files[1].read_bytes()


def test_names_and_points_do_not_cover_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib.figure import Figure
    from matplotlib.text import Text

    drawn: list[Figure] = []
    inner = Figure.savefig

    def savefig(self: Figure, *args: Any, **options: Any) -> None:
        drawn.append(self)
        inner(self, *args, **options)

    monkeypatch.setattr(Figure, "savefig", savefig)
    assert to_plot(crowd(tmp_path / "runs"), tmp_path / "accuracy.png")
    (figure,) = drawn
    (axes,) = figure.axes
    names = {text.get_text(): Text.get_window_extent(text) for text in axes.texts if text.get_text()}
    points = [line.get_window_extent() for line in axes.lines if line.get_marker() not in ("_", "|")]
    assert set(names) == set(METHODS) and len(points) == len(METHODS)
    boxes = [*names.values(), *points]
    for place, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[:place])
        assert axes.bbox.x0 <= box.x0 and box.x1 <= axes.bbox.x1


def test_operations_get_a_panel_of_their_own(tmp_path: Path) -> None:
    write_run(tmp_path / "runs", "coconut-0", report={"metrics.test/flops": 12.6e6})
    write_run(tmp_path / "runs", "cot-0", config=COT)  # of a version that did not count them
    both = compare([read_run(path) for path in sorted((tmp_path / "runs").iterdir())])
    assert to_plot(both, tmp_path / "both.svg")
    root = ElementTree.parse(tmp_path / "both.svg").getroot()
    words = [element.text for element in root.iter() if element.tag.endswith("}text")]
    assert words.count("coconut") == 2 and words.count("cot") == 1 and words.count("accuracy (%)") == 2
    assert "FLOPs a question" in words and any(word and word.endswith("\N{NO-BREAK SPACE}M") for word in words)
    assert to_plot(both, tmp_path / "both.png")
    height, width, _ = matplotlib.image.imread(tmp_path / "both.png").shape
    assert width > 2.5 * height


def test_a_panel_for_each_table_and_nothing_without_results(tmp_path: Path) -> None:
    write_run(tmp_path / "runs", "coconut-0", 0)
    write_run(tmp_path / "runs", "cot-0", 0, config=COT, report={"format": 2})
    both = compare([read_run(path) for path in sorted((tmp_path / "runs").iterdir())])
    assert to_plot(both, tmp_path / "both.svg")
    words = (tmp_path / "both.svg").read_text()
    assert ">Table 1<" in words and ">Table 2<" in words
    assert not to_plot(Comparison((), ()), tmp_path / "nothing.png") and not (tmp_path / "nothing.png").exists()


def test_the_kind_of_file() -> None:
    check_plot(Path("a.PNG"))
    with pytest.raises(UserError) as caught:
        check_plot(Path("a.jpg"))
    assert "'a.jpg'" in str(caught.value) and ".png, .svg, .pdf" in str(caught.value)

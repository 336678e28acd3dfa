"""A search tree as a picture: the numbers on the nodes, the marks of roles, the edges of the next step."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.text import Text

from lcot.analysis import SearchTree, Thinker, concept_values, search_tree
from lcot.analysis.figures import INK, NEXT, PALE, draw_tree, next_edges, said, save_figure, to_pixels
from lcot.analysis.tree import reached
from lcot.errors import UserError
from tests.analysis.machine import OX, builder_of, machine, worked_tokenizer
from tests.analysis.support import contrast
from tests.problems import EDGES, IMPUS, LEMPUS, ROMPUS, TOM, WUMPUS, ZUMPUS, worked

EXAMPLE = worked("compact", OX)
TOKENIZER = worked_tokenizer()


def tree(*thoughts: int) -> SearchTree:
    thinker = Thinker(machine(TOKENIZER), builder_of(TOKENIZER))
    values = [one for k in thoughts for one in concept_values(thinker, [EXAMPLE], k, scored="all")]
    return search_tree(EXAMPLE, values)


def texts(axes: Any) -> list[str]:
    return [text.get_text() for text in axes.texts if text.get_text()]


def test_a_panel_for_each_number_of_thoughts() -> None:
    figure = draw_tree(tree(0, 1, 2), title="Which?")
    assert [axes.get_title() for axes in figure.axes] == [
        "0 thoughts; everything else: .16",
        "1 thought; everything else: .12",
        "2 thoughts; everything else: .05",
    ]
    assert figure.get_suptitle() == "Which?"
    assert len(draw_tree(tree(0, 1, 2), [1]).axes) == 1
    assert len(draw_tree(tree(0, 1, 2, 3, 4)).axes) == 5  # in two rows


def test_a_legend_and_what_training_never_saw() -> None:
    figure: Any = draw_tree(tree(0, 1, 2), trained={1})
    assert [axes.get_title().split(";")[0] for axes in figure.axes] == ["0 thoughts*", "1 thought", "2 thoughts*"]
    assert "Diamond: the other option." in (legend := figure.get_supxlabel().replace("\n", " "))
    assert legend.endswith("* training never saw this number of thoughts.")
    for known in (None, {0, 1, 2}):
        figure = draw_tree(tree(0, 1), trained=known)
        assert "*" not in "".join(axes.get_title() for axes in figure.axes)
        assert "never saw" not in figure.get_supxlabel()


def test_panels_below_one_another_are_as_narrow_as_a_card() -> None:
    figure: Any = draw_tree(reached(tree(0, 1, 2)), title="Tom: wumpus or yumpus?", across=1)
    pixels = to_pixels(figure)
    assert pixels.dtype == np.uint8 and pixels.shape[2] == 3 and pixels.shape[1] < 600 < pixels.shape[0]
    places = [axes.get_position() for axes in figure.axes]
    assert len({place.x0 for place in places}) == 1
    assert places[0].y0 > places[1].y1 > places[1].y0 > places[2].y1
    assert np.array_equal(
        pixels, to_pixels(draw_tree(reached(tree(0, 1, 2)), title="Tom: wumpus or yumpus?", across=1))
    )


@pytest.mark.parametrize("across", [1, 3])
def test_words_lie_neither_on_one_another_nor_outside(across: int) -> None:
    figure: Any = draw_tree(tree(0, 1), title="Tom?", trained={0}, across=across)
    to_pixels(figure)
    renderer = figure.canvas.get_renderer()
    around = [figure._suptitle, figure._supxlabel, *(axes.title for axes in figure.axes)]
    for axes in figure.axes:
        words = [text for text in axes.texts if text.get_text()]
        boxes = [Text.get_window_extent(text, renderer) for text in (*words, *around)]
        for place, box in enumerate(boxes):
            assert not any(box.overlaps(other) for other in boxes[:place]), words[place].get_text()
            assert figure.bbox.contains(box.x0, box.y0) and figure.bbox.contains(box.x1, box.y1)


def test_numbers_and_names_on_nodes() -> None:
    (axes,) = draw_tree(tree(1)).axes
    found = texts(axes)
    assert sorted(text for text in found if text.startswith(".")) == [".00", ".00", ".00", ".08", ".10", ".10", ".60"]
    assert {"Tom\n(root)", "wumpus\n(target)", "yumpus\n(other option)", "lempus"} <= set(found)


def test_roles_are_shapes_and_the_next_nodes_have_a_rim() -> None:
    axes: Any = draw_tree(tree(1)).axes[0]
    shapes = [len(points.get_paths()[0].vertices) for points in axes.collections]
    assert len({shapes[0], shapes[WUMPUS], shapes[LEMPUS]}) == 3
    rims = {node: float(points.get_linewidths()[0]) for node, points in enumerate(axes.collections)}
    assert {node for node, rim in rims.items() if rim > 2} == {LEMPUS, IMPUS, ZUMPUS}


def test_edges_of_the_next_step() -> None:
    found = tree(0, 1, 2)
    assert next_edges(found, 0) == {(TOM, LEMPUS), (TOM, ROMPUS)}
    assert next_edges(found, 1) == {(LEMPUS, IMPUS), (ROMPUS, LEMPUS), (ROMPUS, ZUMPUS)}
    assert next_edges(found, 2) == {(IMPUS, WUMPUS), (LEMPUS, IMPUS)}
    axes: Any = draw_tree(found, [1]).axes[0]
    arrows = [text.arrow_patch for text in axes.texts if getattr(text, "arrow_patch", None) is not None]
    by_edge = {edge: to_hex(arrow.get_edgecolor()) for edge, arrow in zip(EDGES, arrows, strict=True)}
    assert by_edge[LEMPUS, IMPUS] == NEXT.lower()
    assert by_edge[TOM, LEMPUS] == INK and by_edge[TOM, ROMPUS] == PALE


def test_numbers_are_short() -> None:
    assert [said(value) for value in (0.0, 0.004, 0.5, 0.994, 0.996, 1.0)] == [".00", ".00", ".50", ".99", "1", "1"]


def test_numbers_can_be_read_on_every_fill() -> None:
    shown = 0
    found = tree(1)
    for value in (0.0, 0.3, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 1.0):
        nodes = tuple(replace(node, values=(value,)) for node in found.nodes)
        axes: Any = draw_tree(replace(found, nodes=nodes)).axes[0]
        numbers = [text for text in axes.texts if text.get_text() == said(value)]
        for points, number in zip(axes.collections, numbers, strict=True):
            assert contrast(to_hex(points.get_facecolor()[0]), to_hex(number.get_color())) >= 4.5
            shown += 1
    assert shown == 9 * len(found.nodes)


def test_files(tmp_path: Path) -> None:
    for _ in range(2):
        save_figure(draw_tree(tree(0)), tmp_path, "tree")
    assert {file.name for file in tmp_path.iterdir()} == {"tree.png", "tree.svg"}
    assert "lempus" in (tmp_path / "tree.svg").read_text(encoding="utf-8")


def test_what_cannot_be_drawn() -> None:
    with pytest.raises(UserError, match="3 thoughts"):
        draw_tree(tree(0, 1), [3])
    with pytest.raises(UserError, match="no number of thoughts"):
        draw_tree(tree())

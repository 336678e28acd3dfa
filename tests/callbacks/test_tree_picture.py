"""What can be read off the picture of a tree, without colours."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.colors import to_hex
from matplotlib.text import Annotation, Text

from lcot.analysis import SearchTree, TreeNode
from lcot.callbacks.tree_picture import draw_tree, to_pixels

NAMES = ("Tom", "apus", "bpus", "cpus", "dpus", "epus")
EDGES = ((0, 1), (0, 2), (1, 3), (2, 3), (1, 2), (4, 5))
DEPTHS = (0, 1, 1, 2, -1, -1)
VALUES = ((None, 0.5, 0.25, 0.001, 0.0, 0.015625), (None, 0.0, 0.0, 0.96, 0.0, 0.0))


def tree() -> SearchTree:
    """Tom is an apus and a bpus, and both are cpuses, which is the answer; dpus and epus are apart."""
    roles: dict[int, Any] = {0: "root", 3: "target", 5: "neg_target"}
    nodes = tuple(
        TreeNode(
            node=node,
            name=name,
            role=roles.get(node, ""),
            depth=DEPTHS[node],
            height=0,
            leads=node < 4,
            values=tuple(values[node] for values in VALUES),
            frontier=(DEPTHS[node] == 1, DEPTHS[node] == 2),
        )
        for node, name in enumerate(NAMES)
    )
    return SearchTree("id", "?", 2, (0, 1), (1, 2), ("", ""), (0.234, 0.04), nodes, EDGES)


def words(artist: Any) -> list[str]:
    return [text.get_text() for text in artist.findobj(Text) if text.get_text()]


def test_words_and_numbers() -> None:
    figure = draw_tree(tree(), "Tom: cpus or epus?    stage 1, epoch 3", known={1})
    first, second = figure.axes
    assert words(first) == ["Tom", "apus\n0.50", "bpus\n0.25", "★ cpus\n0", "✗ epus\n0.02"]
    assert words(second) == ["Tom", "apus\n0", "bpus\n0", "★ cpus\n0.96", "✗ epus\n0"]
    around = [text.get_text() for text in figure.texts]
    assert around[0].startswith("Tom: cpus or epus?")
    assert around[1:5] == ["after 0 thoughts*", "elsewhere 0.23", "after 1 thought", "elsewhere 0.04"]
    assert "* a number of thoughts" in " ".join(around[5:])
    assert not any("*" in word for word in words(draw_tree(tree(), "", known={0, 1})))


def test_frames_of_what_comes_next_are_thick() -> None:
    for number, axes in enumerate(draw_tree(tree(), "", known=set()).axes):
        boxes = {text.get_text().split("\n")[0]: text.get_bbox_patch() for text in axes.texts if text.get_text()}
        thick = {name for name, box in boxes.items() if box.get_linewidth() > 2}
        assert thick == ({"apus", "bpus"}, {"★ cpus"})[number]
        assert len({to_hex(box.get_edgecolor()) for box in boxes.values()}) == 2


def test_shades_follow_the_values() -> None:
    axes = draw_tree(tree(), "", known=set()).axes[0]
    light = {text.get_text().split("\n")[0]: sum(text.get_bbox_patch().get_facecolor()[:3]) for text in axes.texts
             if text.get_text()}  # fmt: skip
    assert light["apus"] < light["bpus"] < light["★ cpus"] <= light["Tom"]


def test_edges_and_the_shortest_paths() -> None:
    axes = draw_tree(tree(), "", known=set()).axes[0]
    arrows = [text for text in axes.texts if isinstance(text, Annotation)]
    assert len(arrows) == 5, "not the one between nodes that the root does not reach"
    dark = [arrow for arrow in arrows if arrow.arrow_patch is not None and arrow.arrow_patch.get_linewidth() > 1]
    assert len(dark) == 4, "both ways to the answer"


def test_places_do_not_overlap_and_pixels_are_drawn() -> None:
    figure = draw_tree(tree(), "", known=set())
    pixels = to_pixels(figure)
    assert pixels.dtype == np.uint8 and pixels.shape[1] < 500 and (pixels != 255).mean() > 0.01
    renderer = figure.canvas.get_renderer()
    for axes in figure.axes:
        boxes = [t.get_bbox_patch().get_window_extent(renderer) for t in axes.texts if t.get_text()]
        for place, box in enumerate(boxes):
            assert not any(box.overlaps(other) for other in boxes[:place])
            assert figure.bbox.contains(box.x0, box.y0) and figure.bbox.contains(box.x1, box.y1)
    assert np.array_equal(pixels, to_pixels(draw_tree(tree(), "", known=set())))

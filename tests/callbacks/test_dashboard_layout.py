"""Charts for what a run has, and none for what it has not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from lcot.callbacks.dashboard_layout import Shown, layout


def charts(shown: Shown) -> dict[str, list[str]]:
    """Title → tags; no two charts share a title, which is all that tells them apart on the page."""
    found: dict[str, list[str]] = {}
    for inside in layout(shown).values():
        assert inside, "no category is empty"
        for title, (kind, tags) in inside.items():
            assert kind == "Multiline" and isinstance(tags, list)
            assert title not in found
            found[title] = tags
    return found


@pytest.mark.parametrize(
    ("changes", "gone"),
    [
        (
            {"stages": False},
            ["accuracy at the end of each stage", "stage by epoch", "loss by steps since the stage began"],
        ),
        ({"pair_accuracies": ()}, ["pair accuracy by epoch"]),
        ({"thoughts": False}, ["norm of the thoughts"]),
        ({"pairs": False}, ["distance between neighbouring thoughts", "cosine of neighbouring thoughts"]),
        ({"graphs": False}, ["shares by epoch"]),
    ],
    ids=str,
)
def test_what_is_not_there_has_no_chart(changes: dict[str, Any], gone: list[str]) -> None:
    whole, part = charts(Shown()), charts(replace(Shown(), **changes))
    assert set(whole) - set(part) == set(gone)
    # TensorBoard shows one chart for runs that have the same, and two for those whose curves differ.
    assert all(whole[title] == tags for title, tags in part.items())


def test_further_accuracies() -> None:
    shown = Shown(accuracies=("accuracy", "accuracy_last_number"))
    assert charts(replace(shown, graphs=False))["accuracy by epoch"] == [
        "by_epoch/val/accuracy",
        "by_epoch/val/accuracy_last_number",
    ]

"""What of figures, rows and numbers becomes part of a page."""

from __future__ import annotations

import json
import re
from typing import Any

from lcot.analysis.measure import SUMMARIES
from lcot.analysis.pages import in_page, inline, told_tables
from lcot.analysis.report import TITLES


def test_figures_keep_their_ids_apart() -> None:
    inside = '<clipPath id="p"/><use xlink:href="#m"/><g clip-path="url(#p)"/>'
    assert inline(f"<?xml?><svg><metadata>http://x</metadata>{inside}</svg>", "heights") == (
        '<svg role="img" aria-labelledby="figure-heights" aria-describedby="caption-heights">'
        '<clipPath id="heights-p"/><use xlink:href="#heights-m"/><g clip-path="url(#heights-p)"/></svg>'
    )


def test_rows_become_cells() -> None:
    summary: dict[str, list[dict[str, Any]]] = {
        "accuracy": [{"thoughts": 0, "steps": None, "accuracy": 0.5, "questions": 1200}],
        "parallelism": [{"percentiles": (0, 1), "top1": (1, 2), "means": (0.25, 0.5)}],
        "paths": [{"thoughts": 1, "shares": {"correct_path": 0.125}}],
        "lens": [],
    }
    first, second, third = told_tables(summary, SUMMARIES, TITLES)
    assert first["rows"] == [["0", "all", "0.5000", "1,200"]]
    assert [head["name"] for head in second["heads"]] == ["means 1", "means 2"]
    assert [head["name"] for head in third["heads"]] == ["thoughts", "correct path"]
    assert first["heads"][0]["what"] == "k."
    assert [name for name, _ in first["meant"]] == ["thoughts", "steps", "accuracy", "questions"]
    assert [name for name, _ in second["meant"]] == ["means"]


def test_numbers_that_json_does_not_have() -> None:
    broken = {"a": [1, float("nan")], "b": ({"c": float("-inf")}, 0.5, "NaN", None, True)}
    assert json.loads(in_page(broken)) == {"a": [1, None], "b": [{"c": None}, 0.5, "NaN", None, True]}
    assert not re.search(r"NaN\b(?!\")|Infinity", in_page(broken))

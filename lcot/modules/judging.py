"""Which way the texts of a batch took through the graphs of their problems, where the problems have any."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from lcot.errors import UserError
from lcot.metrics.paths import CATEGORIES, Category, judge
from lcot.metrics.problem_graph import has_graph
from lcot.reasoning.example import ReasoningExample

_log = logging.getLogger("lcot")
_told: set[str] = set()

SHARES: dict[Category, str] = {category: f"path_{category.removesuffix('_path')}" for category in CATEGORIES}
"""The metric of each category: the share of the outputs that are of it."""


class PathJudge:
    """Gives texts their categories (:func:`lcot.metrics.paths.judge`).

    Args:
        examples: The problems of a batch.
        marker: What stands before an answer.
        hidden: How many leading steps a text goes on behind, by the number of thoughts before it; with ``None`` an
            unseen way of any length may lead to where the text sets in.
    """

    def __init__(
        self, examples: Iterable[ReasoningExample], marker: str, hidden: Callable[[int], int | None] = lambda _: None
    ) -> None:
        self.examples = tuple(examples)
        self.marker = marker
        self.hidden = hidden

    def __call__(self, place: int, text: str, thoughts: int) -> Category | None:
        """The category of a text.

        Args:
            place: Of its problem in the batch.
            text: What was written.
            thoughts: Number of thoughts before it.

        Returns:
            ``None`` if the problem has no graph. One whose graph or wording cannot be read gets none either, and one
            line says so: it is no reason to break off what can be done without it.
        """
        example = self.examples[place]
        if not has_graph(example):
            return None
        steps = self.hidden(thoughts)
        try:
            if steps is None:
                return judge(text, example, hidden=1, marker=self.marker, prefix="any")
            return judge(text, example, steps, marker=self.marker)
        except UserError as err:
            kind = err.fix or err.what  # messages name the example
            if kind not in _told:
                _told.add(kind)
                _log.warning("lcot: warning: some outputs get no path category: %s", err.what)
            return None

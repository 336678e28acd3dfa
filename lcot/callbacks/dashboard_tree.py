"""How a model searches the graph of one validation question, from stage to stage, as an image."""

from __future__ import annotations

import logging
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lcot.analysis import SearchTree, Thinker, concept_values, search_tree
from lcot.analysis.figures import draw_tree, to_pixels
from lcot.analysis.tree import reached
from lcot.datamodules.rows import Source
from lcot.errors import UserError, extra, needs
from lcot.metrics.problem_graph import ProblemGraph, has_graph, problem_graph
from lcot.reasoning.curriculum import Curriculum
from lcot.reasoning.example import ReasoningExample
from lcot.reasoning.stepwise import Stepwise

_log = logging.getLogger("lcot")

_LOOKED_AT = 500
"""How many validation questions are looked at to find one that is worth a picture."""

_NODES = 12
"""How many nodes are best for it."""


class TreeView:
    """The search tree of one question.

    Args:
        example: The question; its facts hold a graph.
        schedule: Says how many thoughts stand for a step.
    """

    def __init__(self, example: ReasoningExample, schedule: Stepwise) -> None:
        self.example = example
        self.schedule = schedule

    def numbers(self, stage: int) -> list[int]:
        """After how many thoughts the search is looked at: each step up to the stage's, as long as one is left."""
        per_step = self.schedule.thoughts_per_step
        most = self.schedule.thoughts_at_inference(stage) // per_step
        left = problem_graph(self.example).steps - 1
        return [steps * per_step for steps in range(min(most, left) + 1)]

    def tree(self, thinker: Thinker, stage: int) -> SearchTree:
        """The model's values of all concepts, after each of these numbers of thoughts."""
        values = [
            record
            for k in self.numbers(stage)
            for record in concept_values(
                thinker, [self.example], k, scored="all", thoughts_per_step=self.schedule.thoughts_per_step
            )
        ]
        return search_tree(self.example, values)

    def image(self, module: Any, data: Any, stage: int, epoch: int) -> NDArray[np.uint8] | None:
        """The picture, ``(height, width, 3)``, without nodes that the root does not reach.

        Args:
            module: Whose model is looked at, in evaluation mode; afterwards it is as it was.
            data: The data module, which lays questions out.
            stage: The stage that the model has been trained to.
            epoch: The epoch that is over.

        Returns:
            ``None`` if the question cannot be read out; one line says why.
        """
        thinker = Thinker.by(module, data.builder("val"))
        try:
            if thinker.builder.encode([self.example])[0].opening:
                raise UserError("the text begins with words of the prompt file, and no concept follows the thoughts")
            tree = self.tree(thinker, stage)
        except UserError as err:
            _log.warning("lcot: warning: no search tree in TensorBoard: %s", err.what)
            return None
        title = f"{_asked(problem_graph(self.example))}    stage {stage}, epoch {epoch}"
        trained = self.schedule.numbers_trained(stage)
        return to_pixels(draw_tree(reached(tree), title=title, trained=trained, across=1))


def find_view(source: Source, schedule: Curriculum, wanted: int | None) -> TreeView | None:
    """The question whose tree is to be shown.

    Args:
        source: The validation questions.
        schedule: The curriculum.
        wanted: Number of the question; ``None`` for one that is worth a picture: among the first 500 the path is as
            long as any that thoughts are trained for, and the root reaches about a dozen nodes.

    Returns:
        ``None`` where there is nothing to be shown: thoughts that stand for steps, and graphs.

    Raises:
        UserError: If the question that is wanted is not there, has no graph, or cannot be drawn.
    """
    if not isinstance(schedule, Stepwise) or schedule.kind == "none" or not schedule.thoughts_per_step:
        return None
    if wanted is not None:
        needs("analysis", "matplotlib", what="a search tree", where="dashboard.tree_question")
        return TreeView(_wanted(source, wanted), schedule)
    deepest = schedule.thoughts_at_inference(schedule.last_stage) // schedule.thoughts_per_step
    best: tuple[tuple[int, int], ReasoningExample] | None = None
    for index in range(min(len(source), _LOOKED_AT)):
        example = source.example(index, 0)
        if not has_graph(example):
            continue
        try:
            graph = problem_graph(example)
        except UserError:  # faulty, and that is said elsewhere
            continue
        reached = sum(depth >= 0 for depth in graph.depths)
        worth = min(graph.steps, deepest + 1), -abs(reached - _NODES)
        if best is None or worth > best[0]:
            best = worth, example
    if best is not None and find_spec("matplotlib") is None:  # nobody asked for it
        _log.info("no search tree in TensorBoard, for matplotlib is not installed: %s", extra("analysis"))
        return None
    return TreeView(best[1], schedule) if best is not None else None


def _wanted(source: Source, index: int) -> ReasoningExample:
    if not 0 <= index < len(source):
        raise UserError(
            f"tree_question is {index}",
            where="dashboard.tree_question",
            why=f"the validation questions are numbered 0 to {len(source) - 1}",
            fix="use one of these numbers, or leave it out",
        )
    example = source.example(index, 0)
    if not has_graph(example):
        raise UserError(
            f"tree_question is {index}, and that question carries no graph",
            where="dashboard.tree_question",
            why="a search tree is the graph of a problem with the model's values written on it",
            fix="leave it out, or use data with graphs (ProsQA, ProntoQA)",
        )
    return example


def _asked(graph: ProblemGraph) -> str:
    """What is asked, in short."""
    options = [graph.names[node] for node in (graph.target, graph.neg_target) if node is not None]
    return f"{graph.names[graph.root]}: {' or '.join(sorted(options))}?"

"""Whose tree is shown, after how many thoughts, and that its values are the model's."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lcot.analysis import Thinker, concept_values
from lcot.callbacks import Dashboard, dashboard_tree
from lcot.callbacks.dashboard_tree import TreeView, find_view
from lcot.datamodules import ListSource, ProntoQA
from lcot.errors import UserError
from lcot.metrics.problem_graph import problem_graph
from lcot.modules import Backbone
from lcot.reasoning.curriculum import Fixed
from lcot.reasoning.dialogue import Dialogue
from lcot.reasoning.example import ReasoningExample
from lcot.reasoning.stepwise import Stepwise
from lcot.reasoning.tokenwise import Tokenwise
from tests.training import GPT2, stages, tiny_data, tiny_module, tiny_trainer


def chain(length: int, name: str, beside: int = 0) -> ReasoningExample:
    """A problem whose path has some steps; the root has other children beside it."""
    nodes = length + beside + 2
    edges = [[node, node + 1] for node in range(length)] + [[0, length + 1 + place] for place in range(beside)]
    facts = {
        "idx_to_symbol": [f"n{number}" for number in range(nodes)],
        "edges": edges,
        "root": 0,
        "target": length,
        "neg_target": nodes - 1,
    }
    return ReasoningExample(f"{name}?", ("s",) * length, "a", name, facts)


FAULTY = ReasoningExample("f?", ("s",), "a", "faulty", {**chain(2, "x").facts, "edges": 3})
PLAIN = ReasoningExample("p?", ("s",), "a", "plain")


def found(examples: list[ReasoningExample], schedule: Any, wanted: int | None = None) -> str | None:
    view = find_view(ListSource(examples), schedule, wanted)
    return view.example.id if view is not None else None


def test_the_question_that_is_worth_it() -> None:
    small, long, wide, huge = chain(2, "small"), chain(9, "long"), chain(4, "wide", 7), chain(4, "huge", 30)
    # All paths of four and more steps are as good for three thoughts; about a dozen nodes are best.
    assert found([PLAIN, small, FAULTY, huge, long, wide, chain(4, "again", 7)], Stepwise(max_stage=3)) == "wide"
    assert found([small, long], Stepwise(max_stage=20)) == "long"
    assert found([PLAIN, FAULTY], Stepwise(max_stage=3)) is None
    assert found([PLAIN, small, wide], Stepwise(max_stage=3), 1) == "small"


@pytest.mark.parametrize(
    "schedule",
    [
        Fixed(hidden="none"),
        Fixed(thoughts=4, kind="pause"),
        Tokenwise(),
        Stepwise(kind="none", thoughts_per_step=0),
        Stepwise(thoughts_per_step=0),
    ],
    ids=lambda schedule: f"{type(schedule).__name__}, {schedule.kind}",
)
def test_without_thoughts_that_stand_for_steps_there_is_no_tree(schedule: Any) -> None:
    assert found([chain(2, "small")], schedule) is found([chain(2, "small")], schedule, 7) is None


@pytest.mark.parametrize(("wanted", "says"), [(2, "tree_question is 2"), (0, "carries no graph")])
def test_a_question_that_cannot_be_shown(wanted: int, says: str) -> None:
    with pytest.raises(UserError, match=says):
        found([PLAIN, chain(2, "small")], Stepwise(), wanted)


def test_numbers_of_thoughts() -> None:
    view = TreeView(chain(3, "c"), Stepwise(max_stage=4, thoughts_per_step=2))
    # Behind three steps nothing is left to be named.
    assert [view.numbers(stage) for stage in range(6)] == [[0], [0, 2], *[[0, 2, 4]] * 4]


@pytest.mark.parametrize("kind", ["continuous", "pause"])
@pytest.mark.parametrize("recycle", ["post_norm", "pre_norm"])
def test_values_are_those_of_the_model(tmp_path: Path, kind: Any, recycle: Any) -> None:
    schedule = stages(max_stage=2, kind=kind)
    module, data = tiny_module(recycle=recycle), tiny_data()
    trainer = tiny_trainer(tmp_path, schedule, max_epochs=3)
    trainer.fit(module, datamodule=data)
    module.train()
    view = find_view(data.source("val"), schedule, None)
    assert view is not None and module.model is not None
    thinker = Thinker.by(module, data.builder("val"))
    tree = view.tree(thinker, 2)
    assert tree.thoughts == tuple(view.numbers(2)) and len(tree.thoughts) > 1
    for place, k in enumerate(tree.thoughts):
        (record,) = concept_values(thinker, [view.example], k, scored="all")
        values = {one.node: one.value for one in record.candidates}
        assert len(values) == len(tree.nodes) - 1, "all but the root"
        assert {node.node: node.values[place] for node in tree.nodes if node.node in values} == values
    drawn = torch.get_rng_state()
    image = view.image(module, data, 2, 7)
    assert image is not None and image.dtype == np.uint8 and image.shape[2] == 3
    assert module.training and torch.equal(drawn, torch.get_rng_state())


def test_proofs_have_trees_too(tmp_path: Path) -> None:
    data = ProntoQA(train_size=4, val_size=3, test_size=3, seed=0, batch_size=4)
    module = tiny_module(backbone=Backbone(config={**GPT2, "n_positions": 512}))
    trainer = tiny_trainer(tmp_path, stages(), max_epochs=2)
    trainer.fit(module, datamodule=data)
    view = find_view(data.source("val"), stages(), None)
    assert view is not None and view.image(module, data, 1, 1) is not None


def test_a_question_that_cannot_be_read_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*args: Any, **options: Any) -> Any:
        raise UserError("names are no tokens of their own")

    monkeypatch.setattr(dashboard_tree, "concept_values", refuse)
    trainer = tiny_trainer(tmp_path, stages(), max_epochs=2)
    module, data = tiny_module(), tiny_data()
    trainer.fit(module, datamodule=data)
    view = find_view(data.source("val"), stages(), 0)
    assert view is not None and problem_graph(view.example).steps > 0
    with caplog.at_level(logging.WARNING, "lcot"):
        assert view.image(module, data, 1, 1) is None
    assert "no search tree in TensorBoard: names are no tokens" in caplog.text


@pytest.mark.parametrize(("opening", "drawn"), [("", True), ("So: ", False)])
def test_rows_of_a_prompt_file(tmp_path: Path, opening: str, drawn: bool, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "own.yaml"
    file.write_text(f"extends: plain/prosqa\ntarget:\n  opening: {json.dumps(opening)}\n", encoding="utf-8")
    module, data = tiny_module(), tiny_data(dialogue=Dialogue(str(file)))
    schedule, board = stages(markers="never"), Dashboard(curves=False)
    trainer = tiny_trainer(tmp_path, schedule, board, max_epochs=2)
    trainer.fit(module, datamodule=data)
    view = board._view
    assert view is not None and view.numbers(1) in ([0], [0, 1])
    with caplog.at_level(logging.WARNING, "lcot"):
        assert (view.image(module, data, 1, 1) is not None) == drawn
    assert ("begins with words of the prompt file" in caplog.text) != drawn

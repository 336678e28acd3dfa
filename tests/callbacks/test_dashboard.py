"""What a run leaves in TensorBoard: the scalars, by step and by epoch, and the words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lcot.callbacks import Dashboard
from lcot.errors import UserError
from tests.runs import STEPS, run, settings, write_config


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> EventAccumulator:
    folder: Path = tmp_path_factory.mktemp("dashboard")
    config: dict[str, Any] = settings()
    config["dashboard"] = {"questions": 2}
    assert run(write_config(folder, config), "--name=board") == 0
    events = EventAccumulator(str(folder / "runs" / "board"), size_guidance={"scalars": 0, "tensors": 0})
    events.Reload()
    return events


def scalars(board: EventAccumulator, tag: str) -> dict[int, float]:
    """Step → value."""
    return {event.step: event.value for event in board.Scalars(tag)}


@pytest.mark.parametrize(
    "tag", ["train/loss_step", "train/grad_norm", "train/lr", "curriculum/stage", "curriculum/thoughts"]
)
def test_by_step(board: EventAccumulator, tag: str) -> None:
    assert len(scalars(board, tag)) == 5 * STEPS


def test_thought_norms_begin_with_the_first_thoughts(board: EventAccumulator) -> None:
    # Stage mixing may put a thought into stage 0, so only the later stages are sure to have one in every batch.
    norms = scalars(board, "train/thought_norm_step")
    assert all(value > 0 for value in norms.values()) and len(norms) >= 4 * STEPS - 4


@pytest.mark.parametrize("name", ["accuracy", "loss", "tokens", "thoughts", "seconds", "examples"])
def test_by_epoch(board: EventAccumulator, name: str) -> None:
    assert sorted(scalars(board, f"by_epoch/val/{name}")) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("name", ["train/loss", "train/lr", "train/grad_norm"])
def test_training_by_epoch(board: EventAccumulator, name: str) -> None:
    assert sorted(scalars(board, f"by_epoch/{name}")) == [0, 1, 2, 3, 4]


def test_stage_and_thoughts_follow_the_curriculum(board: EventAccumulator) -> None:
    assert list(scalars(board, "by_epoch/curriculum/stage").values()) == [0, 1, 2, 3, 4]
    assert list(scalars(board, "by_epoch/val/thoughts").values()) == [0, 1, 2, 3, 3]
    assert set(scalars(board, "by_epoch/val/examples").values()) == {9}


def test_words_of_the_same_questions_in_every_stage(board: EventAccumulator) -> None:
    tables = [event.tensor_proto.string_val[0].decode() for event in board.Tensors("answers/text_summary")]
    assert [table.splitlines()[0] for table in tables] == [f"Stage {stage}" for stage in range(5)]
    questions = [[line.split("<br>")[0] for line in table.splitlines()[2:]] for table in tables]
    assert all(len(rows) == 2 and rows == questions[0] for rows in questions)


def test_a_negative_number_of_questions_is_refused() -> None:
    with pytest.raises(UserError, match="questions is -1"):
        Dashboard(questions=-1)

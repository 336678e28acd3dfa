"""What a run leaves in TensorBoard: the scalars, by step, epoch and stage, words, histograms, pictures, HParams."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar.layout_pb2 import Layout

from lcot.callbacks import Dashboard
from lcot.datamodules import JSONReasoning
from lcot.errors import UserError
from lcot.modules.judging import SHARES
from tests.callbacks.boards import OFF, image, read, scalars, tags, trained
from tests.tiny import RECORD, write_records
from tests.training import no_thoughts, stages, tiny_data
from tests.whole_runs import STEPS, run, settings, write_config


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of stages 0 to 4, one epoch each, of the command line; then its test."""
    folder: Path = tmp_path_factory.mktemp("dashboard")
    config: dict[str, Any] = settings(ask="both", train_ask="either")
    config["dashboard"] = {"questions": 2}
    path = write_config(folder, config)
    assert run(path, "--name=board") == 0
    assert run(path, "--name=board", command="test") == 0
    return folder / "runs" / "board"


@pytest.fixture(scope="module")
def board(folder: Path) -> EventAccumulator:
    return read(folder)


@pytest.mark.parametrize(
    "tag", ["train/loss_step", "train/grad_norm", "train/lr", "curriculum/stage", "curriculum/thoughts"]
)
def test_by_step(board: EventAccumulator, tag: str) -> None:
    assert len(scalars(board, tag)) == 5 * STEPS


def test_thought_norms_begin_with_the_first_thoughts(board: EventAccumulator) -> None:
    # Stage mixing may put a thought into stage 0, so only the later stages are sure to have one in every batch.
    norms = scalars(board, "train/thought_norm_step")
    assert all(value > 0 for value in norms.values()) and len(norms) >= 4 * STEPS - 4


@pytest.mark.parametrize("name", ["accuracy", "loss", "tokens", "thoughts", "seconds", "examples", *SHARES.values()])
def test_by_epoch(board: EventAccumulator, name: str) -> None:
    assert sorted(scalars(board, f"by_epoch/val/{name}")) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("name", ["train/loss", "train/lr", "train/grad_norm"])
def test_training_by_epoch(board: EventAccumulator, name: str) -> None:
    assert sorted(scalars(board, f"by_epoch/{name}")) == [0, 1, 2, 3, 4]


def test_stage_and_thoughts_follow_the_curriculum(board: EventAccumulator) -> None:
    assert list(scalars(board, "by_epoch/curriculum/stage").values()) == [0, 1, 2, 3, 4]
    assert list(scalars(board, "by_epoch/val/thoughts").values()) == [0, 1, 2, 3, 3]
    assert set(scalars(board, "by_epoch/val/examples").values()) == {18}


def test_loss_of_each_stage_by_the_steps_since_it_began(board: EventAccumulator) -> None:
    by_step = scalars(board, "train/loss_step")
    for stage in range(5):
        since = scalars(board, f"stage_changes/stage_{stage}")
        assert list(since) == list(range(STEPS))
        assert list(since.values()) == [by_step[stage * STEPS + step] for step in range(STEPS)]


def test_words_of_the_same_questions_in_every_stage(board: EventAccumulator) -> None:
    tables = [event.tensor_proto.string_val[0].decode() for event in board.Tensors("answers/text_summary")]
    assert [table.splitlines()[0] for table in tables] == [f"Stage {stage}" for stage in range(5)]
    questions = [[line.split("<br>")[0] for line in table.splitlines()[2:]] for table in tables]
    assert all(len(rows) == 2 and rows == questions[0] for rows in questions)
    assert all(re.search(r"\*\((right|wrong), [a-z ]+; gold: \w+\)\*$", line) for line in tables[4].splitlines()[2:])


def test_all_charts_of_the_layout_have_curves(board: EventAccumulator) -> None:
    (event,) = board.Tensors("custom_scalars__config__")
    layout = Layout.FromString(event.tensor_proto.string_val[0])
    titles = [category.title for category in layout.category]
    assert titles == [
        "Accuracy by stage",
        "Loss around stage changes",
        "Tokens against accuracy",
        "Health",
        "Reasoning paths",
    ]
    known = board.Tags()["scalars"]
    patterns = [tag for category in layout.category for chart in category.chart for tag in chart.multiline.tag]
    assert len(patterns) >= 15 and "by_epoch/val/pair_accuracy" in patterns
    assert [pattern for pattern in patterns if not any(re.fullmatch(pattern, tag) for tag in known)] == []


def test_thoughts_and_their_neighbours(board: EventAccumulator) -> None:
    for name in ("distance", "cosine"):
        assert set(range(2 * STEPS, 5 * STEPS)) <= set(scalars(board, f"thoughts/{name}"))
    assert all(value > 0 for value in scalars(board, "thoughts/distance").values())
    assert all(-1 <= value < 1 for value in scalars(board, "thoughts/cosine").values())
    assert all(0 < value < 1.5 for value in scalars(board, "thoughts/deviation").values())
    norms, lengths = scalars(board, "train/thought_norm_step"), scalars(board, "thoughts/embeddings")
    assert set(range(2 * STEPS, 5 * STEPS)) <= lengths.keys() <= norms.keys()
    assert all(length > norms[step] for step, length in lengths.items()), "embeddings are shorter than 1"
    means = scalars(board, "by_epoch/train/thought_norm")
    for stage in range(1, 5):
        (event,) = board.Histograms(f"thought_norms/stage_{stage}")
        found = event.histogram_value
        assert event.step == stage and found.num > 30
        assert found.sum / found.num == pytest.approx(means[stage], rel=0.05)


def test_trouble_is_told_once_at_the_end_of_a_stage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("lcot.callbacks.dashboard.trouble", lambda means: [f"seen {sorted(means)}"] if means else [])
    trained(tmp_path, stages(max_stage=2, epochs_per_stage=2), Dashboard(), max_epochs=6)
    told = [record.getMessage() for record in caplog.records if "at the end of stage" in record.getMessage()]
    assert told == [
        "at the end of stage 1, seen ['deviation', 'embeddings']",
        "at the end of stage 2, seen ['cosine', 'deviation', 'distance', 'embeddings']",
    ]


def test_a_search_tree_for_each_stage(board: EventAccumulator) -> None:
    assert [event.step for event in board.Images("search_tree")] == [0, 1, 2, 3, 4]
    heights = [image(board, "search_tree", stage).shape[0] for stage in range(5)]
    assert heights == sorted(heights) and heights[0] < heights[2], "a panel for each number of thoughts"
    assert image(board, "search_tree").std() > 5


def test_what_was_reached_at_the_ends(board: EventAccumulator) -> None:
    for name in ("accuracy", "loss", "tokens", "thoughts", "path_correct"):
        assert scalars(board, f"hp/{name}") == {5 * STEPS: scalars(board, f"by_epoch/val/{name}")[4]}
    assert set(scalars(board, "hp/test_thoughts").values()) == {3} and "hp/test_accuracy" in tags(board)
    assert {"_hparams_/experiment", "_hparams_/session_start_info", "_hparams_/session_end_info"} <= set(
        board.summary_metadata
    )


# -- what is left out --------------------------------------------------------------------------------------------------


def test_everything_can_be_switched_off(tmp_path: Path) -> None:
    board, module, _ = trained(tmp_path / "off", stages(), Dashboard(**OFF))
    none, _, _ = trained(tmp_path / "none", stages(), None)
    assert tags(board) == tags(none) and module.watch is None


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> EventAccumulator:
    return trained(tmp_path_factory.mktemp("whole"), stages(max_stage=2, first_stage=2), Dashboard(), max_epochs=2)[0]


@pytest.mark.parametrize(
    ("setting", "gone"),
    [
        ({"questions": 0}, {"answers/text_summary"}),
        ({"custom_scalars": False}, {"custom_scalars__config__"}),
        (
            {"thoughts": False},
            {
                *(f"thoughts/{name}" for name in ("distance", "cosine", "deviation", "embeddings")),
                *("thought_norms/stage_2", "thought_norms/stage_3"),
            },
        ),
        ({"tree": "never"}, {"search_tree"}),
        ({"hparams": False}, {"hp/accuracy", "hp/loss", "hp/path_correct", "hp/thoughts", "hp/tokens"}),
    ],
    ids=["words", "custom scalars", "thoughts", "tree", "hparams"],
)
def test_each_part_can_be_switched_off(
    tmp_path: Path, whole: EventAccumulator, setting: dict[str, Any], gone: set[str]
) -> None:
    part, _, _ = trained(tmp_path, stages(max_stage=2, first_stage=2), Dashboard(**setting), max_epochs=2)
    assert tags(whole) - tags(part) == gone


def test_without_curves(tmp_path: Path) -> None:
    board, _, _ = trained(tmp_path, stages(), Dashboard(curves=False))
    assert not any(tag.startswith(("by_epoch", "by_stage", "stage_changes")) for tag in tags(board))
    layout = Layout.FromString(board.Tensors("custom_scalars__config__")[0].tensor_proto.string_val[0])
    assert [category.title for category in layout.category] == ["Loss around stage changes", "Health"]


def test_a_method_without_thoughts(tmp_path: Path) -> None:
    board, _, _ = trained(tmp_path, no_thoughts(), Dashboard(), max_epochs=2)
    assert not any(tag.startswith(("thought", "search", "stage_changes")) for tag in tags(board))
    assert scalars(board, "by_stage/val/accuracy").keys() == {0}
    layout = Layout.FromString(board.Tensors("custom_scalars__config__")[0].tensor_proto.string_val[0])
    charts = {chart.title for category in layout.category for chart in category.chart}
    assert "norm of the thoughts" not in charts and "norm of the gradient" in charts


def test_data_without_graphs(tmp_path: Path) -> None:
    path = str(write_records(tmp_path / "data.json", *[{**RECORD, "id": str(n)} for n in range(6)]))
    data = JSONReasoning(train_path=path, val_path=path, test_path=path, batch_size=4)
    board, _, _ = trained(tmp_path / "board", stages(), Dashboard(), data)
    assert not any("path" in tag or "tree" in tag for tag in tags(board)) and "by_epoch/val/accuracy" in tags(board)
    layout = Layout.FromString(board.Tensors("custom_scalars__config__")[0].tensor_proto.string_val[0])
    assert "Reasoning paths" not in [category.title for category in layout.category]
    with pytest.raises(UserError, match="carries no graph"):
        trained(tmp_path / "other", stages(), Dashboard(tree_question=0), data)


def test_epochs_without_validation_get_no_values_of_others(tmp_path: Path) -> None:
    dashboard = Dashboard(tree="validation")
    board, _, _ = trained(tmp_path, stages(epochs_per_stage=2), dashboard, max_epochs=5, check_val_every_n_epoch=2)
    assert list(scalars(board, "by_epoch/val/accuracy")) == [1, 3]
    assert list(scalars(board, "by_epoch/train/loss")) == [0, 1, 2, 3, 4]
    assert list(scalars(board, "by_stage/val/accuracy")) == [0, 1], "stage 2 ends in an epoch without validation"
    assert [event.step for event in board.Images("search_tree")] == [1, 3, 4]
    assert [event.step for event in board.Tensors("answers/text_summary")] == [1, 3]


def test_only_steps_that_are_logged_are_looked_at(tmp_path: Path) -> None:
    board, _, _ = trained(tmp_path, stages(), Dashboard(), log_every_n_steps=2, max_epochs=3)
    assert list(scalars(board, "train/thought_norm_step")) == [3, 5, 7]
    assert "thoughts/distance" not in tags(board), "a single thought has no neighbour"
    counts = [event.histogram_value.num for event in board.Histograms("thought_norms/stage_2")]
    assert len(counts) == 1 and counts[0] < 12, "some of twelve rows"


def test_accumulated_batches_are_one_step(tmp_path: Path) -> None:
    board, _, _ = trained(tmp_path, stages(max_stage=2), Dashboard(), accumulate_grad_batches=2, max_epochs=4)
    assert list(scalars(board, "thoughts/distance")) == [4, 5, 6, 7] == list(scalars(board, "train/loss_step"))[4:]
    assert list(scalars(board, "stage_changes/stage_3")) == [0, 1]


@pytest.mark.parametrize("other", ["eval_thoughts", "eval_stage"])
def test_a_test_of_another_stage_or_number_of_thoughts_is_not_that_of_the_run(folder: Path, other: str) -> None:
    config = folder.parent.parent / "run.yaml"
    files = set(folder.glob("events*"))
    assert run(config, "--name=board", f"--curriculum.{other}=1", command="test") == 0
    assert set(folder.glob("events*")) == files


# -- what it must not change -------------------------------------------------------------------------------------------


def test_weights_are_the_same_bit_for_bit(tmp_path: Path) -> None:
    states = []
    for name, dashboard in (("with", Dashboard(tree="validation")), ("without", None)):
        data = tiny_data(redraw="all")
        _, module, trainer = trained(tmp_path / name, stages(mix_probability=0.3), dashboard, data)
        states.append((module.state_dict(), trainer.optimizers[0].state_dict(), torch.get_rng_state()))
    (weights, moments, draws), (expected, slow, drawn) = states
    assert all(torch.equal(weights[name], expected[name]) for name in expected) and len(weights) == len(expected)
    assert str(moments) == str(slow) and torch.equal(draws, drawn)


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ({"questions": -1}, "questions is -1"),
        ({"tree": "sometimes"}, "unknown choice of trees 'sometimes'"),
        ({"tree_question": -1}, "tree_question is -1"),
        ({"tree_question": 0, "tree": "never"}, "tree is 'never'"),
    ],
    ids=lambda value: str(value),
)
def test_settings_that_cannot_be(setting: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=says):
        Dashboard(**setting)


def test_a_question_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="tree_question is 5") as caught:
        trained(tmp_path, stages(), Dashboard(tree_question=5))
    assert "numbered 0 to 4" in str(caught.value)
    # A method without thoughts has no tree, and its config may be laid over that of one that has.
    trained(tmp_path, no_thoughts(), Dashboard(tree_question=5), max_epochs=1)

"""Curves of a run that was killed, and of one with several processes: those of one that was neither."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.callbacks.boards import read
from tests.test_resume import in_training
from tests.whole_runs import STEPS, last, run, same_state, settings, write_config

RUN = ("runs", "run")


def config_of(folder: Path, **last_checkpoint: Any) -> Path:
    """A run of five stages with all that a dashboard shows."""
    config = {**settings(), "dashboard": {"questions": 2, "tree": "validation"}, "last_checkpoint": last_checkpoint}
    return write_config(folder, config)


def boards(config: Path) -> list[EventAccumulator]:
    """What each start of a run has written, in their order."""
    files = sorted(config.parent.joinpath(*RUN).glob("events*"), key=lambda file: file.stat().st_mtime_ns)
    return [read(file) for file in files]


def written(config: Path) -> dict[str, dict[int, Any]]:
    """Tag → step → what stands there; of several starts the last one."""
    found: dict[str, dict[int, Any]] = {}
    for board in boards(config):
        for tag in board.Tags()["scalars"]:
            if "seconds" not in tag:
                found.setdefault(tag, {}).update({event.step: event.value for event in board.Scalars(tag)})
        for tag in board.Tags()["tensors"]:
            events = board.Tensors(tag)
            found.setdefault(tag, {}).update({event.step: event.tensor_proto.string_val[0] for event in events})
        for tag in board.Tags()["images"]:
            found.setdefault(tag, {}).update({e.step: e.encoded_image_string for e in board.Images(tag)})
        for tag in board.Tags()["histograms"]:
            found.setdefault(tag, {}).update({e.step: e.histogram_value for e in board.Histograms(tag)})
    return found


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nobody disturbed."""
    config = config_of(tmp_path_factory.mktemp("whole"))
    assert run(config) == 0
    return config


@pytest.mark.parametrize("options", [{}, {"every_n_steps": 1}], ids=["by epoch", "within an epoch"])
def test_a_run_that_was_killed_has_the_same_curves(tmp_path: Path, whole: Path, options: dict[str, Any]) -> None:
    config, killed = config_of(tmp_path, **options), 2 * STEPS + 3
    assert run(config, sabotage=[in_training(killed)]) < 0
    assert run(config) == 0
    assert same_state(last(whole), last(config)) == []
    expected, found = written(whole), written(config)
    assert found.keys() == expected.keys()
    # Of an epoch that goes on in its middle Lightning averages the batches since then.
    averages = ("by_epoch/train/loss", "by_epoch/train/thought_norm", "train/loss_epoch", "train/thought_norm_epoch")
    left_out = averages if options else ()
    assert [tag for tag in expected if found[tag] != expected[tag] and tag not in left_out] == []
    # What is there once an epoch or stage is there once, in whichever of the files.
    for kind, events in (("tensors", "Tensors"), ("images", "Images"), ("histograms", "Histograms")):
        counts = Counter(
            (tag, event.step)
            for board in boards(config)
            for tag in board.Tags()[kind]
            if tag != "custom_scalars__config__"
            for event in getattr(board, events)(tag)
        )
        assert counts and set(counts.values()) == {1}


@pytest.mark.distributed
def test_the_first_process_alone_writes(tmp_path: Path) -> None:
    config = config_of(tmp_path)
    assert run(config, "--data.batch_size=4", ranks=2) == 0
    (board,) = boards(config)
    assert [event.step for event in board.Images("search_tree")] == [0, 1, 2, 3, 4]
    assert {"thought_norms/stage_4"} <= set(board.Tags()["histograms"])
    assert len(board.Scalars("by_epoch/val/path_correct")) == 5

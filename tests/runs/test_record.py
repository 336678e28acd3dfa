"""What a run writes down: its cost over all its starts, and which questions it was tested on."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from lcot.cli.main import STOPPED
from lcot.datamodules.rows import ListSource, Subset
from lcot.modules.base import ReasoningModule
from lcot.reasoning.example import ReasoningExample
from lcot.runs.record import data_hash, device_name
from tests.test_resume import in_training
from tests.training import tiny_data
from tests.whole_runs import last, replace, run, same_state, settings, write_config

ROWS, STEPS = 44, 6
"""Of an epoch of :func:`tests.whole_runs.settings`."""

SHORT = ("--trainer.max_epochs=2", "--curriculum.schedule.init_args.max_stage=1")


def record(config: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((config.parent / "runs" / "run" / "fit.json").read_text())
    return found


def source(*texts: tuple[str, str], steps: tuple[str, ...] = ()) -> ListSource:
    """Examples of question and answer."""
    return ListSource(
        ReasoningExample(question, steps, answer, str(place)) for place, (question, answer) in enumerate(texts)
    )


# -- questions --------------------------------------------------------------------------------------------------------


def test_the_hash_is_that_of_questions_and_answers_in_their_order() -> None:
    found = data_hash(source(("a", "b"), ("c", "d")))
    assert len(found) == 32 and found == data_hash(source(("a", "b"), ("c", "d"), steps=("another way",)))
    others = [(("c", "d"), ("a", "b")), (("a", "b"),), (("ab", ""), ("c", "d")), (("a", "b"), ("c", "e"))]
    assert len({found, *(data_hash(source(*texts)) for texts in others)}) == 5


def test_the_hash_is_that_of_the_data_whatever_the_batches() -> None:
    first, other = (tiny_data(**changes).make_source("test") for changes in ({"batch_size": 2}, {"batch_size": 5}))
    assert data_hash(first) == data_hash(other)
    assert data_hash(first) != data_hash(tiny_data(seed=1).make_source("test"))
    assert data_hash(Subset(first, [0, 1, 2, 3, 4])) == data_hash(first) != data_hash(Subset(first, [0, 1]))


def test_a_processor_has_a_name() -> None:
    assert device_name(torch.device("cpu")).strip()
    assert device_name(torch.device("meta")) == "meta"


# -- cost -------------------------------------------------------------------------------------------------------------


def test_the_cost_of_a_run_that_was_killed_is_added_up(tmp_path: Path) -> None:
    whole, broken = (tmp_path / name for name in ("whole", "broken"))
    configs = []
    for folder in (whole, broken):
        folder.mkdir()
        configs.append(write_config(folder, settings()))
    assert run(configs[0], *SHORT) == 0
    undisturbed = record(configs[0])
    assert run(configs[1], *SHORT, "--last_checkpoint.every_n_steps=2", sabotage=[in_training(9)]) == -signal.SIGKILL
    killed = record(configs[1])
    assert (killed["finished"], killed["optimizer_steps"], killed["epochs"]) == (False, STEPS, 1)
    assert run(configs[1], *SHORT, "--last_checkpoint.every_n_steps=2") == 0
    resumed = record(configs[1])
    for found, starts in ((undisturbed, 1), (resumed, 2)):
        assert found["finished"] is True and found["starts"] == starts
        # Step 9 was begun twice, and its examples are behind the weights once.
        assert (found["optimizer_steps"], found["epochs"], found["examples"]) == (2 * STEPS, 2, 2 * ROWS)
        assert 0 < found["cpu_seconds"] and 0 < found["wall_seconds"] < 90
        assert found["peak_memory_bytes"]["rss"] > 2**20 and found["peak_memory_bytes"]["cuda"] is None
        assert (found["world_size"], found["threads"]) == (1, 1) and found["device"]
        assert len(found["commits"]) == 1 and "lcot fit" in found["command"]
    assert resumed["wall_seconds"] > killed["wall_seconds"] and resumed["cpu_seconds"] > killed["cpu_seconds"]
    assert same_state(last(configs[1]), last(configs[0])) == []
    weights = [value for name, value in last(configs[0])["state_dict"].items() if name != "model.lm_head.weight"]
    assert undisturbed["parameters"] == sum(value.numel() for value in weights), "tied weights count once"


def test_a_run_that_is_stopped_writes_its_cost_and_one_that_breaks_off_too(tmp_path: Path) -> None:
    config = write_config(tmp_path, settings())
    assert run(config, *SHORT, sabotage=[in_training(1, signal.SIGTERM)]) == STOPPED
    stopped = record(config)
    assert (stopped["finished"], stopped["optimizer_steps"], stopped["epochs"]) == (False, 2, 0)
    assert stopped["examples"] == last(config)["callbacks"]["RunFiles"]["rows"] <= 16

    def nan() -> None:
        inner = ReasoningModule.training_step

        def training_step(self: Any, batch: Any, batch_idx: int) -> Any:
            return self._stop_on_bad_loss(float("nan"), batch_idx) if batch_idx == 3 else inner(self, batch, batch_idx)

        replace(ReasoningModule, "training_step", training_step)

    assert run(config, *SHORT, sabotage=[nan]) == 2
    broken = record(config)
    assert (broken["starts"], broken["optimizer_steps"], broken["finished"]) == (2, 3, False)
    # Of a record that is lost nobody knows how long the starts before took.
    (tmp_path / "runs" / "run" / "fit.json").write_text("{")
    assert run(config, *SHORT) == 0
    found = record(config)
    assert (found["wall_seconds"], found["cpu_seconds"], found["starts"]) == (None, None, 1)
    assert (found["optimizer_steps"], found["examples"]) == (2 * STEPS, 2 * ROWS)


def test_a_checkpoint_that_knows_no_examples(tmp_path: Path) -> None:
    config = write_config(tmp_path, settings())
    assert run(config, *SHORT, sabotage=[in_training(7, signal.SIGTERM)]) == STOPPED
    file = tmp_path / "runs" / "run" / "checkpoints" / "last.ckpt"
    saved = last(config)
    del saved["callbacks"]["RunFiles"]
    torch.save(saved, file)
    assert run(config, *SHORT) == 0
    assert record(config)["examples"] is None and record(config)["optimizer_steps"] == 2 * STEPS


@pytest.mark.distributed
def test_two_processes_add_up(tmp_path: Path) -> None:
    config = write_config(tmp_path, settings(batch_size=4, train_size=45))
    short = ("--trainer.max_epochs=1", "--curriculum.schedule.init_args.max_stage=0")
    assert run(config, *short, ranks=2) == 0
    found = record(config)
    assert (found["world_size"], found["examples"], found["optimizer_steps"]) == (2, 45, STEPS)
    hashes = []
    for ranks in (1, 2):
        assert run(config, *short, command="test", ranks=ranks) == 0
        report = json.loads((tmp_path / "runs" / "run" / "test.json").read_text())
        assert (report["world_size"], report["trained_steps"]) == (ranks, STEPS)
        assert report["split"]["examples"] == report["split"]["of"] == 7
        hashes.append(report["split"]["data_hash"])
    assert hashes[0] == hashes[1]

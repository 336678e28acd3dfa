"""Another protocol than the run's own has a file of its own, and a row of its own that says so."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from lcot.compare.plan import Task, wanted_result, what_to_do
from lcot.compare.table import compare
from lcot.runs.evaluations import deviations, named
from lcot.runs.run import read_results, read_run
from tests.compare.folders import CONFIG, changed, write_run
from tests.tiny import lcot, write_config


@pytest.mark.parametrize(
    ("changes", "name", "said"),
    [
        ({}, "test.json", ""),
        ({"data.init_args.eval_batch_size": 1}, "test.json", ""),
        ({"model.init_args.sampling": {"temperature": 0.0, "seed": 3}}, "test.json", ""),
        ({"model.init_args.unmasked": {"pads": "zero", "text": None}}, "test-pads-zero.json", "pads=zero"),
        (
            {"model.init_args.unmasked": {"pads": "zero", "text": None}, "data.init_args.eval_batch_size": 1},
            "test-pads-zero-eval_batch_size-1.json",
            "pads=zero, eval_batch_size=1",
        ),
        ({"curriculum.eval_thoughts": 2}, "test-eval_thoughts-2.json", "eval_thoughts=2"),
        ({"curriculum.eval_stage": 0}, "test-eval_stage-0.json", "eval_stage=0"),
        ({"model.init_args.max_new_tokens": 4}, "test-max_new_tokens-4.json", "max_new_tokens=4"),
        ({"data.init_args.ask": "both"}, "test-ask-both.json", "ask=both"),
        ({"data.init_args.train_ask": "either"}, "test.json", ""),
        ({"seed_everything": 7}, "test-seed_everything-7.json", "seed_everything=7"),
        ({"trainer.limit_test_batches": 3}, "test-limit_test_batches-3.json", "limit_test_batches=3"),
        (
            {"model.init_args.sampling": {"temperature": 0.7, "top_k": 0, "seed": 1}},
            "test-temperature-0.7-seed-1.json",
            "temperature=0.7, seed=1",
        ),
        (
            {"model.init_args.sampling": {"temperature": 0.0, "seed": 3, "thoughts": 0.5}},
            "test-temperature-0.0-seed-3-thoughts-0.5.json",
            "temperature=0.0, seed=3, thoughts=0.5",
        ),
    ],
)
def test_the_file_is_named_by_what_is_not_the_runs_own(changes: dict[str, Any], name: str, said: str) -> None:
    own = changed(CONFIG, {"model.init_args.sampling": None, "model.init_args.unmasked": None})
    assert named("test", own, changed(own, changes), "test", None) == (name.removesuffix(".json"), said)


def test_files_of_other_names_that_look_alike_are_told_apart() -> None:
    names = set()
    for path in ("a/test.json", "b/test.json", "test.json", "x" * 300, "y" + "x" * 299):
        used = changed(CONFIG, {"data.init_args.test_path": path})
        name, _ = named("test", CONFIG, used, "test", "last.ckpt")
        assert len(name) < 100 and "/" not in name
        names.add(name)
    assert len(names) == 5


def test_training_settings_and_other_splits_do_not_matter() -> None:
    used = changed(CONFIG, {"trainer.max_epochs": 9, "data.init_args.batch_size": 3, "trainer.logger": "x"})
    assert deviations(CONFIG, used, "test") == []
    assert deviations(CONFIG, changed(CONFIG, {"data.init_args.test_path": "a"}), "val") == []


def forced(path: Path, number: int, **further: Any) -> Path:
    """Write the result of a forced number of thoughts beside that of the run's own protocol."""
    report = json.loads((path / "test.json").read_text())
    report["curriculum"]["eval_thoughts"] = number
    report |= further
    file = path / f"test-eval_thoughts-{number}.json"
    file.write_text(json.dumps(report))
    return file


def test_rows_of_a_forced_number_say_so_and_merge_with_no_other(tmp_path: Path) -> None:
    for seed in (0, 1):
        forced(write_run(tmp_path, f"coconut-{seed}", seed, config={"curriculum.eval_thoughts": None}), 2)
    runs = [run for path in sorted(tmp_path.iterdir()) for run in read_results(path)]
    (table,) = compare(runs).tables
    assert [row.label for row in table.rows] == ["coconut (eval_thoughts=null)", "coconut (eval_thoughts=2)"]
    assert [row.seeds for row in table.rows] == [[0, 1], [0, 1]] and not any(row.repeats for row in table.rows)
    (said,) = [note for note in table.notes if note.startswith("methods")]
    assert said.count("continuous thoughts") == 2 and said.endswith("continuous thoughts, eval_thoughts=2")


def test_a_test_that_was_forced_says_so_even_alone(tmp_path: Path) -> None:
    path = write_run(tmp_path, "coconut-0", report={"curriculum.eval_stage": 2})
    (table,) = compare(read_results(path)).tables
    assert "continuous thoughts, eval_stage=2" in " ".join(table.notes)


def test_of_a_checkpoint_that_was_named(tmp_path: Path) -> None:
    path = write_run(tmp_path, "coconut-0")
    report = json.loads((path / "test.json").read_text())
    report |= {"checkpoint": "runs/x/checkpoints/best-stage0-epoch000.ckpt", "checkpoint_chosen": True}
    (path / "test-checkpoint-best_stage0_epoch000.json").write_text(json.dumps(report))
    tables = compare(read_results(path)).tables
    assert len(tables) == 2 and "checkpoint: best-stage0-epoch000.ckpt, not best" in tables[1].apart


def test_only_another_protocol_was_evaluated(tmp_path: Path) -> None:
    path = write_run(tmp_path, "coconut-0")
    file = forced(path, 2)
    (path / "test.json").unlink()
    (run,) = read_results(path)
    assert run.other == file and compare([run]).missing == ()
    assert read_run(path).result is None


def test_an_old_result_names_the_command_that_made_it(tmp_path: Path) -> None:
    path = write_run(tmp_path, "coconut-0")
    protocol = {**json.loads((path / "test.json").read_text())["protocol"], "command": "lcot test --with=it"}
    forced(path, 2, run_steps=600, protocol=protocol)
    (table,) = compare(read_results(path)).tables
    assert "coconut-0 was evaluated at step 600 of 800: lcot test --with=it" in table.notes


def test_a_comparison_that_asks_for_it_finds_it(tmp_path: Path) -> None:
    path = write_run(tmp_path, "coconut-0")
    task = Task("coconut", 0, (), tmp_path)
    asked = copy.deepcopy(CONFIG)
    asked["curriculum"]["eval_thoughts"] = 2
    assert what_to_do(task, "test", asked).commands == ["test"] and wanted_result(task, "test", asked) is None
    file = forced(path, 2)
    assert what_to_do(task, "test", asked).commands == []
    found = wanted_result(task, "test", asked)
    assert found is not None and found.other == file
    own = wanted_result(task, "test", CONFIG)
    assert own is not None and own.other is None


def test_a_runs_own_result_outlives_all_others(trained: Path, tmp_path: Path) -> None:
    path = shutil.copytree(trained, tmp_path / "tiny")
    words = ("test", "-c", path / "config.yaml")
    assert lcot(*words).code == 0
    own = (path / "test.json").read_bytes()
    for option, name in (
        ("--curriculum.eval_thoughts=2", "test-eval_thoughts-2.json"),
        ("--ckpt_path=last", "test-checkpoint-last.json"),
        (f"--ckpt_path={path}/checkpoints/best-stage0-epoch000.ckpt", "test-checkpoint-best_stage0_epoch000.json"),
        ("--data.test_size=3", "test-test_size-3.json"),
    ):
        outcome = lcot(*words, option)
        assert outcome.code == 0, outcome.err
        assert (path / name).is_file() and f"written to {path / name}, for this is not as the run has it" in outcome.err
    assert (path / "test.json").read_bytes() == own
    assert len(list(path.glob("test*.json"))) == 5
    outcome = lcot("compare", path, "--csv", tmp_path / "a.csv")
    assert outcome.code == 0, outcome.err
    assert len((tmp_path / "a.csv").read_text().splitlines()) == 6
    assert "eval_thoughts=2" in outcome.out


def test_predictions_of_another_protocol_replace_none(trained: Path, tmp_path: Path) -> None:
    path = shutil.copytree(trained, tmp_path / "tiny")
    words = ("predict", "-c", path / "config.yaml")
    assert lcot(*words).code == 0
    own = (path / "predictions.jsonl").read_bytes()
    for option, name in (
        ("--curriculum.eval_thoughts=2", "predictions-eval_thoughts-2.jsonl"),
        ("--ckpt_path=last", "predictions-checkpoint-last.jsonl"),
        ("--trainer.limit_predict_batches=1", "predictions-limit_predict_batches-1.jsonl"),
        ("--seed_everything=5", "predictions-seed_everything-5.jsonl"),
    ):
        outcome = lcot(*words, option)
        assert outcome.code == 0, outcome.err
        said = f"answers go to {path / name}, for this is not as the run has it"
        assert (path / name).is_file() and said in outcome.err
    assert (path / "predictions.jsonl").read_bytes() == own and len(list(path.glob("predictions*"))) == 5
    (path / "predictions.jsonl").write_text("")
    assert lcot(*words, "--data.eval_batch_size=1").code == 0, "the same protocol"
    assert len((path / "predictions.jsonl").read_text().splitlines()) == 5


@pytest.mark.parametrize(
    "text", ["notes\n", '{"index": 1}\n', "[1]", '{"question": "a", "answer": "b"}', "\n", "{" * 9999]
)
def test_predictions_are_not_written_over_what_is_none(trained: Path, tmp_path: Path, text: str) -> None:
    words = ("predict", "-c", shutil.copytree(trained, tmp_path / "tiny") / "config.yaml")
    file = tmp_path / "file"
    file.write_text(text)
    outcome = lcot(*words, f"--predictions.path={file}")
    assert outcome.code == 2 and f"'{file}' holds something else" in outcome.block, outcome.err
    assert file.read_text() == text and "predictions.path (--predictions.path=" in outcome.block
    assert "is a folder" in lcot(*words, f"--predictions.path={tmp_path}").block
    file.unlink()
    for _ in range(2):  # its own are replaced
        assert lcot(*words, f"--predictions.path={file}").code == 0
    assert len(file.read_text().splitlines()) == 5


def test_what_trains_nothing_keeps_its_own_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_config(tmp_path, {"ckpt_path": "none"})
    words = ("test", "-c", "tiny.yaml")
    assert lcot(*words).code == 0
    run = Path("runs/tiny")
    before = (run / "config.yaml").read_bytes(), (run / "test.json").read_bytes()
    assert lcot(*words, "--curriculum.eval_thoughts=0").code == 0
    assert (run / "test-eval_thoughts-0.json").is_file()
    assert ((run / "config.yaml").read_bytes(), (run / "test.json").read_bytes()) == before
    # Another model in its place is another method, whose own result this is.
    outcome = lcot(*words, "--model.backbone.config.hidden_size=8")
    assert outcome.code == 0, outcome.err
    assert (run / "config.yaml").read_bytes() != before[0] and (run / "test.json").read_bytes() != before[1]

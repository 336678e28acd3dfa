"""What a run's folder tells: results, costs, the next command; and what is said of a broken one."""

from __future__ import annotations

import json
import shlex
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from lcot.errors import DataError, UserError
from lcot.reasoning.decode import Sampling
from lcot.runs.evaluations import WITHOUT_EFFECT
from lcot.runs.run import Cost, find_runs, read_results, read_run
from tests.compare.folders import write_run, write_untrained
from tests.tiny import lcot


def test_all_that_was_written_is_read(tmp_path: Path) -> None:
    run = read_run(write_run(tmp_path, "coconut-3", 3, report={"metrics.test/accuracy_number": 0.8}))
    assert (run.name, run.stem, run.seed) == ("coconut-3", "coconut", 3)
    assert run.result is not None
    assert run.result.metrics == {
        "accuracy": 0.9, "tokens": 2.0, "thoughts": 4.0, "seconds": 0.0005, "accuracy_number": 0.8
    }  # fmt: skip
    assert (run.result.split, run.result.examples, run.result.data_hash) == ("test", 1000, "3" * 32)
    assert run.result.protocol["decoding"] == "greedy" and run.result.protocol["checkpoint"] == "best"
    assert (run.cost.steps, run.cost.examples, run.cost.wall, run.cost.cpu) == (800, 51200, 120.0, 110.0)
    assert run.cost.device == "a processor, 1 thread" and run.cost.finished is True
    assert not run.outdated


def test_a_name_without_the_seed_at_its_end(tmp_path: Path) -> None:
    assert read_run(write_run(tmp_path, "coconut-1", 0)).stem == "coconut-1"
    assert read_run(write_run(tmp_path, "coconut", 0)).stem == "coconut"


def test_the_settings_of_the_last_start_count(tmp_path: Path) -> None:
    path = write_run(tmp_path, "coconut-0")
    text = (path / "config.yaml").read_text()
    for number, epochs in ((2, 6), (10, 8)):
        (path / f"config.resume{number}.yaml").write_text(text.replace("max_epochs: 4", f"max_epochs: {epochs}"))
    assert read_run(path).settings["trainer.max_epochs"] == 8


def test_how_answers_were_written_is_that_of_the_evaluation(tmp_path: Path) -> None:
    sampled = {"model.init_args.sampling": {"temperature": 0.7}, "curriculum.eval_stage": 2}
    run = read_run(write_run(tmp_path, "coconut-0", report=sampled))
    assert run.settings["curriculum.eval_stage"] == 2
    assert run.result is not None and run.result.protocol["decoding"] == {"temperature": 0.7}
    greedy = {"model.init_args.sampling": {"temperature": 0.0, "seed": 1}}
    other = read_run(write_run(tmp_path, "coconut-1", report=greedy)).result
    assert WITHOUT_EFFECT == {name: value for name, value in asdict(Sampling()).items() if name != "temperature"}
    assert other is not None and other.protocol["decoding"] == "greedy"


# -- cost -------------------------------------------------------------------------------------------------------------


def test_what_nobody_wrote_down_is_not_made_up(tmp_path: Path) -> None:
    path = write_run(tmp_path, "coconut-0", cost={"wall_seconds": None, "cpu_seconds": None, "examples": None})
    cost = read_run(path).cost
    assert (cost.wall, cost.cpu, cost.examples, cost.steps) == (None, None, None, 800)
    (path / "fit.json").unlink()
    assert read_run(path).cost == Cost()


# -- what is missing or broken ----------------------------------------------------------------------------------------


def test_the_next_command_of_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_run(tmp_path, "coconut-0")
    (path / "test.json").unlink()
    run = read_run(path)
    assert run.result is None
    assert run.next_command("test") == f"lcot test -c {path}/config.yaml"
    assert run.next_command("val") == f"lcot validate -c {path}/config.yaml"
    (path / "fit.json").write_text((path / "fit.json").read_text().replace("true", "false"))
    assert read_run(path).next_command("test") == f"lcot fit -c {path}/config.yaml --resume=true"
    (path / "fit.json").write_text((path / "fit.json").read_text().replace("false", "true"))
    moved = read_run(Path(shutil.move(path, tmp_path / "moved")))
    assert moved.next_command("test") == f"lcot test -c {tmp_path}/moved/config.yaml --runs_dir={tmp_path} --name=moved"
    (tmp_path / "moved" / "checkpoints" / "last.ckpt").unlink()
    assert moved.next_command("test").startswith("lcot fit ") and moved.next_command("test").endswith(" --resume=true")


def test_the_next_command_of_what_trains_nothing(tmp_path: Path) -> None:
    path = write_untrained(tmp_path, "asked-0")
    run = read_run(path)
    assert run.untrained and not run.outdated and run.cost.steps is None
    (path / "test.json").unlink()
    assert read_run(path).next_command("test") == f"lcot test -c {path}/config.yaml"
    assert not read_run(write_run(tmp_path, "coconut-0")).untrained


@pytest.mark.parametrize("moved", [False, True])
def test_the_next_command_works(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moved: bool) -> None:
    home = trained.parent
    if not moved:  # where its config says that it is
        text = (trained / "config.yaml").read_text()
        shutil.copytree(trained, tmp_path / "runs" / "tiny")
        (tmp_path / "runs" / "tiny" / "config.yaml").write_text(text.replace(str(home), "runs"))
        monkeypatch.chdir(tmp_path)
        path = Path("runs/tiny")
    else:
        path = shutil.copytree(trained, tmp_path / "elsewhere")
    program, *words = shlex.split(read_run(path).next_command("test"))
    assert program == "lcot" and len(words) == (5 if moved else 3)
    outcome = lcot(*words)
    assert outcome.code == 0, outcome.err
    found = read_run(path)
    assert found.result is not None and found.result.examples == 5 and not (trained / "test.json").exists()
    assert found.result.device == "".join(found.cost.device or "").rpartition(", ")[0]
    assert found.result.trained_steps == 4 and found.result.batch_size == 6


def test_a_test_of_several_runs_says_how_it_was_made(trained: Path, tmp_path: Path) -> None:
    path = shutil.copytree(trained, tmp_path / "tiny")
    words = ["test", "-c", path / "config.yaml", f"--runs_dir={tmp_path}", "--name=tiny"]
    voting = ["--model.voting.samples=3", "--model.voting.runs=2"]
    refused = lcot(*words, *voting)
    assert refused.code == 2 and "decoding is greedy" in refused.block and "--model.voting.samples=3" in refused.block
    sampling = ["--model.sampling.temperature=0.9", "--model.sampling.top_k=5", "--model.sampling.seed=41"]
    outcome = lcot(*words, *voting, *sampling)
    assert outcome.code == 0, outcome.err
    file = path / "test-temperature-0.9-top_k-5-seed-41-samples-3-runs-2.json"
    report = json.loads(file.read_text())
    assert report["protocol"]["decoding"] == {
        "temperature": 0.9, "top_k": 5, "top_p": 1.0, "repetition_penalty": 1.0, "seeds": [41, 42],
        "paths": 1, "samples": 3, "votes": 3, "runs": 2,
    }  # fmt: skip
    assert "over all 6 answers to each question" in report["protocol"]["averages"]
    (found,) = read_results(path)
    result = found.result
    assert found.other == file and read_run(path).result is None, "it is not how the run has it"
    assert result is not None and (result.votes, result.runs) == (3, 2) and set(result.deviations) == {"accuracy"}
    assert result.protocol["decoding"] == {"temperature": 0.9, "top_k": 5, "seed": 41}
    assert result.protocol["voting"] == "majority of 3 votes, mean over 2 runs" and 0 <= result.metrics["answered"] <= 1
    # Validation takes one text a question, and says so.
    outcome = lcot("validate", *words[1:], *sampling)
    assert outcome.code == 0, outcome.err
    (found,) = read_results(path, "val")
    validated = found.result
    assert validated is not None and (validated.votes, validated.runs, validated.deviations) == (1, 1, {})


@pytest.mark.parametrize(
    ("file", "text", "says"),
    [
        ("test.json", '{"metrics": {', "test.json' is not valid JSON"),
        ("test.json", "[]", "its outermost value is list"),
        ("test.json", '{"metrics": {}}', "no 'metrics.test/accuracy' that can be used"),
        ("test.json", '{"metrics": {"test/accuracy": "high"}}', 'it is "high"'),
        ("test.json", '{"metrics": {"test/accuracy": 1}, "split": {"examples": 2.5}}', "it is 2.5"),
        ("test.json", b"\xff", "it is not UTF-8 text"),
        ("test.json", '{"metrics": {"test/accuracy": 1}, "split": {"examples": 2}}', "no 'split.of' that can be used"),
        ("test.json", '{"metrics": {"test/accuracy": 2.9}}', "it is 2.9"),
        ("test.json", '{"metrics": {"test/accuracy": 0.5, "test/tokens": -1}}', "it is -1"),
        ("test.json", '{"seed": "x"}', 'it is "x"'),
        ("test.json", '{"a": 1, "a": 2}', "'a' stands there twice"),
        ("config.yaml", "model: {a: 1, a: 2}", "'a' stands there twice"),
        ("fit.json", '{"optimizer_steps": 1}', "no 'finished' that can be used"),
        ("fit.json", "{,}", "fit.json' is not valid JSON"),
        ("fit.json", '{"wall_seconds": "long"}', "no 'wall_seconds' that can be used"),
        ("fit.json", '{"optimizer_steps": true}', "it is true"),
        ("fit.json", '{"finished": "yes"}', "no 'finished' that can be used"),
        ("fit.json", '{"commits": [1]}', "no 'commits' that can be used"),
        ("fit.json", '{"commits": "abc"}', 'it is "abc"'),
        ("fit.json", '{"optimizer_steps": -1}', "it is -1"),
        ("config.yaml", "model: [", "config.yaml' is not valid YAML"),
        ("config.yaml", "- 1", "its outermost value is list"),
        ("config.yaml", "model: {class_path: a.B}", "have no section 'data'"),
        ("test.json", "[" * 9999, "recursion"),
        ("fit.json", f'{{"optimizer_steps": {"9" * 5000}}}', "cannot be read"),
    ],
)
def test_a_broken_file_is_named(tmp_path: Path, file: str, text: Any, says: str) -> None:
    path = write_run(tmp_path, "coconut-0")
    (path / file).write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(DataError) as caught:
        read_run(path)
    assert says in str(caught.value) and file in str(caught.value) and len(str(caught.value).splitlines()) <= 4


def test_a_result_from_before_the_last_step_is_out_of_date(tmp_path: Path) -> None:
    path = write_run(tmp_path, "coconut-0", report={"run_steps": 600})
    assert read_run(path).outdated
    assert read_run(write_run(tmp_path, "begun-0", report={"run_begun": "before"})).outdated
    assert not read_run(write_run(tmp_path, "best-0", report={"trained_steps": 600})).outdated
    assert not read_run(write_run(tmp_path, "cot-0", report={"run_steps": None})).outdated


def test_runs_are_found_once_and_logs_are_passed_over(tmp_path: Path) -> None:
    one, two = (write_run(tmp_path / "runs", f"coconut-{seed}", seed) for seed in (0, 1))
    (tmp_path / "runs" / "coconut-0.log").touch()
    (tmp_path / "link").symlink_to(one)
    assert find_runs([tmp_path / "runs"]) == [one, two]
    assert find_runs(sorted((tmp_path / "runs").iterdir())) == [one, two]
    assert find_runs([two, tmp_path / "runs", tmp_path / "link"]) == [two, one]
    with pytest.raises(UserError) as caught:
        find_runs([tmp_path / "runs" / "cot-0"])
    assert "runs there: coconut-0, coconut-1" in str(caught.value)
    with pytest.raises(UserError, match="there is no run"):
        find_runs([tmp_path / "runs" / "coconut-0" / "test.json"])


def test_json_numbers_that_are_none(tmp_path: Path) -> None:
    path = write_run(tmp_path, "coconut-0")
    report = json.loads((path / "test.json").read_text())
    report["metrics"]["test/accuracy"] = float("nan")
    (path / "test.json").write_text(json.dumps(report))
    result = read_run(path).result
    assert result is not None and result.metrics["accuracy"] != result.metrics["accuracy"]


def test_a_loss_of_ones_own_may_be_negative(tmp_path: Path) -> None:
    path = write_run(tmp_path, "coconut-0")
    report = json.loads((path / "test.json").read_text())
    report["metrics"]["test/loss"] = -1.5
    (path / "test.json").write_text(json.dumps(report))
    result = read_run(path).result
    assert result is not None and result.metrics["loss"] == -1.5

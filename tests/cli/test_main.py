"""The command line as a user meets it: help at once, one folder a run, and the same command to go on."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml
from lightning.pytorch.utilities.exceptions import SIGTERMException

import lcot as package
from lcot.cli import commands
from lcot.cli.main import STOPPED
from lcot.runs.folder import RunFolder
from lcot.runs.protocol import commit
from tests.places import ROOT
from tests.tiny import contents, lcot, write_config

FIT = ("fit", "-c", "tiny.yaml")


@pytest.fixture
def run(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the finished run in ``runs/tiny``; commands start beside it."""
    monkeypatch.chdir(tmp_path)
    write_config(tmp_path)
    return Path(shutil.copytree(trained, tmp_path / "runs" / "tiny"))


# -- help -------------------------------------------------------------------------------------------------------------


_AT_ONCE = """
import sys
from lcot.__main__ import main
for words in (["--help"], ["-h"], ["--version"], [], ["fitt"], ["fit", "-c", "nothing.yaml"],
              ["fit", "--trainer.max_epoch=3"], ["fit", "--modle.x=1"], ["fit", "--trainer.check_val_every_n_epoch=0"]):
    sys.argv[1:] = words
    try:
        main()
    except SystemExit:
        pass
print({"torch", "lightning", "transformers", "jsonargparse"} & set(sys.modules))
"""


def test_what_needs_no_model_is_answered_without_importing_one() -> None:
    done = subprocess.run([sys.executable, "-c", _AT_ONCE], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "set()"


def test_help_names_the_commands_and_the_version_is_ours() -> None:
    shown = lcot("--help").out
    assert all(command in shown for command in ("fit", "validate", "test", "predict", "--print_config"))
    assert lcot("--version").out == f"lcot {package.__version__}\n"


@pytest.mark.parametrize(
    ("word", "says"),
    [("fitt", "did you mean 'fit'?"), ("train", "did you mean 'fit'?"), ("--name=x", "begin with the command")],
)
def test_a_wrong_command_is_answered_with_the_right_ones(word: str, says: str) -> None:
    outcome = lcot(word)
    assert outcome.code == 2
    assert "fit, validate, test, predict" in outcome.block and says in outcome.block


def test_a_command_is_needed() -> None:
    assert "there is no command" in lcot().block


def test_the_help_of_a_command_and_of_a_class() -> None:
    shown = lcot("fit", "--help")
    assert shown.code == 0 and shown.out.startswith("usage: lcot fit -c CONFIG")
    assert "--curriculum.reset_optimizer {none,stage,epoch}" in shown.out and "Folder of all runs." in shown.out
    assert len(shown.out.splitlines()) < 220 and "--trainer.accelerator" not in shown.out and ":class:" not in shown.out
    assert shown.out.splitlines()[-1].endswith("lcot fit --help=all shows its settings")
    everything = lcot("fit", "--help=all").out
    assert everything.index("--dashboard.tree") < everything.index("--trainer.accelerator")
    shown = lcot("fit", "--model.help=Coconut")
    assert shown.code == 0 and "--model.backbone.path" in shown.out and "Longest text that is generated" in shown.out


def test_the_whole_config_can_be_printed_and_used_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_config(tmp_path)
    shown = lcot(*FIT, "--data.batch_size=3", "--print_config")
    assert shown.code == 0
    assert yaml.safe_load(shown.out)["data"]["init_args"]["batch_size"] == 3
    Path("printed.yaml").write_text(shown.out)
    again = lcot("fit", "-c", "printed.yaml", "--print_config")
    assert again.out == shown.out
    assert not Path("runs").exists()


# -- a run and its folder ---------------------------------------------------------------------------------------------


def test_a_run_holds_all_that_it_takes_to_use_it(run: Path) -> None:
    files = contents(run)
    events = [name for name in files if name.startswith("events.out.tfevents")]
    assert len(events) == 1
    assert set(files) - set(events) == {
        "checkpoints",
        "checkpoints/best-stage0-epoch000.ckpt",
        "checkpoints/best-stage1-epoch001.ckpt",
        "checkpoints/last.ckpt",
        "config.yaml",
        "fit.json",
        "hparams.yaml",
        "tokenizer",
        "tokenizer/tokenizer.json",
        "tokenizer/tokenizer_config.json",
    }


def test_the_saved_config_leads_no_other_run_into_this_folder(run: Path) -> None:
    saved = yaml.safe_load((run / "config.yaml").read_text())
    assert saved["name"] == "tiny" and "ckpt_path" not in saved and "resume" not in saved
    before = contents(run)
    shutil.copy(run / "config.yaml", "copy.yaml")
    outcome = lcot("fit", "-c", "copy.yaml", "--name=other", "--runs_dir=runs")
    assert outcome.code == 0, outcome.err
    assert contents(run) == before
    assert Path("runs/other/checkpoints/last.ckpt").is_file()


def test_the_name_comes_from_the_configs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_config(tmp_path)
    Path("half.yaml").write_text("data: {init_args: {train_size: 6}}\n")
    assert lcot(*FIT, "-c", "half.yaml").code == 0
    assert Path("runs/tiny-half/config.yaml").is_file()


def test_the_number_of_threads_can_be_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_config(tmp_path)
    before = torch.get_num_threads()
    try:
        assert lcot("fit", "-c", "tiny.yaml", "--trainer.fast_dev_run=true", "--threads=3").code == 0
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_a_dry_run_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_config(tmp_path)
    before = contents(tmp_path)
    assert lcot(*FIT, "--trainer.fast_dev_run=true").code == 0
    assert contents(tmp_path) == before


# -- going on ---------------------------------------------------------------------------------------------------------


def epochs(run: Path) -> int:
    """Epochs that are behind ``last.ckpt``."""
    saved = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    return int(saved["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"])


def test_the_same_command_goes_on(run: Path) -> None:
    before = contents(run)
    outcome = lcot(*FIT, "--resume=true", "--trainer.max_epochs=3")
    assert outcome.code == 0, outcome.err
    assert epochs(run) == 3
    after = contents(run)
    (best,) = [name for name in after if name.startswith("checkpoints/best-stage1")]
    kept = ["config.yaml", "tokenizer/tokenizer.json", "checkpoints/best-stage0-epoch000.ckpt"]
    # The third epoch is one more of the last stage: it replaces the best one, or leaves it as it was.
    kept += [best] if best != "checkpoints/best-stage1-epoch002.ckpt" else []
    assert all(after[name] == before[name] for name in kept)
    assert yaml.safe_load((run / "config.resume1.yaml").read_text())["trainer"]["max_epochs"] == 3


def test_a_finished_run_stays_as_it_is(run: Path) -> None:
    before = contents(run)
    outcome = lcot(*FIT, "--resume=true")
    assert outcome.code == 0 and "all 2 epochs are done already" in outcome.err
    assert contents(run) == before


def test_there_may_be_nothing_to_go_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_config(tmp_path)
    assert lcot(*FIT, "--resume=true").code == 0
    assert epochs(Path("runs/tiny")) == 2


@pytest.mark.parametrize(
    "harmless",
    [
        "--data.eval_batch_size=2",
        "--model.max_new_tokens=2",
        "--trainer.log_every_n_steps=1",
        "--dashboard.questions=0",
    ],
)
def test_what_does_not_touch_the_weights_may_change(run: Path, harmless: str) -> None:
    outcome = lcot(*FIT, "--resume=true", "--trainer.max_epochs=3", harmless)
    assert outcome.code == 0, outcome.err


@pytest.mark.parametrize(
    "decisive",
    ["--seed_everything=1", "--trainer.gradient_clip_val=1", "--trainer.accumulate_grad_batches=2",
     "--data.redraw=all", "--curriculum.reset_optimizer=none", "--model.lr_scheduler=WarmupStableDecay"],
)  # fmt: skip
def test_what_decides_the_weights_may_not(run: Path, decisive: str) -> None:
    before = contents(run)
    outcome = lcot(*FIT, "--resume=true", "--trainer.max_epochs=3", decisive)
    assert outcome.code == 2
    assert decisive in outcome.block and " then, " in outcome.block
    assert contents(run) == before


def test_a_setting_that_an_older_version_did_not_know_is_no_change(run: Path) -> None:
    config = yaml.safe_load((run / "config.yaml").read_text())
    del config["data"]["init_args"]["group_by_length"]
    del config["trainer"]["precision"]
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    assert lcot(*FIT, "--resume=true", "--trainer.max_epochs=3").code == 0


def test_a_run_that_was_told_to_stop_says_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_config(tmp_path)

    def stop(*args: object) -> None:
        raise SIGTERMException

    monkeypatch.setattr(commands.ReasoningCLI, "_run_subcommand", stop)
    outcome = lcot(*FIT)
    assert outcome.code == STOPPED and "--resume=true continues it" in outcome.err


# -- evaluation -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("config", ["tiny.yaml", "runs/tiny/config.yaml"])
def test_evaluation_takes_the_best_checkpoint_and_the_tokenizer_of_the_run(run: Path, config: str) -> None:
    for command, split in (("validate", "val"), ("test", "test")):
        outcome = lcot(command, "-c", config, "--runs_dir=runs")
        assert outcome.code == 0, outcome.err
        report = json.loads((run / f"{command}.json").read_text())
        assert Path(report["checkpoint"]).name == "best-stage1-epoch001.ckpt"
        assert report["metrics"][f"{split}/examples"] == 5 and report["metrics"][f"{split}/thoughts"] == 1
        curves = [file for file in run.glob("events.*") if file.suffix != ".test"]  # that one is of the page HParams
        assert len(curves) == 1, "a point at step 0 of the run's curves"
        assert {**report["split"], "data_hash": ""} == {"name": split, "examples": 5, "of": 5, "data_hash": ""}
        assert len(report["split"]["data_hash"]) == 32
        assert (report["batch_size"], report["world_size"], report["trained_steps"]) == (6, 1, 4)
        said = report["protocol"]
        assert said["command"] == f"lcot {command} -c {config} --runs_dir=runs"
        assert "after the last ###, commas removed" in said["extractor"] and "without eos" in said["tokens"]
        assert said["versions"]["lcot"] == package.__version__ and said["versions"]["torch"] == torch.__version__
        assert said["commit"] == commit()
        assert report["seed"] == 0 and report["data"]["class_path"] == "lcot.datamodules.ProsQA"


def test_evaluation_of_another_checkpoint_and_stage(run: Path) -> None:
    assert lcot("test", "-c", "tiny.yaml", "--ckpt_path=last", "--curriculum.eval_stage=0").code == 0
    report = json.loads((run / "test-eval_stage-0-checkpoint-last.json").read_text())
    assert Path(report["checkpoint"]).name == "last.ckpt" and report["metrics"]["test/thoughts"] == 0


def test_evaluation_with_another_number_of_thoughts(run: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert lcot("test", "-c", "tiny.yaml", "--curriculum.eval_thoughts=3").code == 0
    report = json.loads((run / "test-eval_thoughts-3.json").read_text())
    assert report["metrics"]["test/thoughts"] == 3 and report["curriculum"]["eval_thoughts"] == 3
    assert "3 thoughts are new to this model: training ended with 1" in caplog.text
    caplog.clear()
    assert lcot("test", "-c", "tiny.yaml", "--curriculum.eval_thoughts=1").code == 0
    assert "new to this model" not in caplog.text


def test_predictions_hold_questions_and_what_was_written(run: Path) -> None:
    before = contents(run)
    assert lcot("predict", "-c", "tiny.yaml").code == 0
    assert set(contents(run)) - set(before) == {"predictions.jsonl"}
    rows = [json.loads(line) for line in (run / "predictions.jsonl").read_text().splitlines()]
    assert [row["index"] for row in rows] == list(range(5))
    for row in rows:
        assert {"question", "gold", "output", "answer", "thoughts", "tokens", "seconds"} <= set(row)
        assert row["thoughts"] == 1 and row["tokens"] <= 3 and row["seconds"] > 0


def test_predictions_may_go_elsewhere(run: Path, tmp_path: Path) -> None:
    checkpoint = run / "checkpoints" / "last.ckpt"
    outcome = lcot("predict", "-c", "tiny.yaml", "--name=new", f"--ckpt_path={checkpoint}")
    assert outcome.code == 0, outcome.err
    assert Path("runs/new/predictions.jsonl").is_file()
    assert lcot("predict", "-c", "tiny.yaml", "--predictions.path=here/answers.jsonl").code == 0
    assert len(Path("here/answers.jsonl").read_text().splitlines()) == 5


def test_a_trial_leaves_the_predictions_alone(run: Path) -> None:
    assert lcot("predict", "-c", "tiny.yaml").code == 0
    before = contents(run)
    assert lcot("predict", "-c", "tiny.yaml", "--trainer.fast_dev_run=true").code == 0
    assert contents(run) == before


def test_one_of_several_processes_speaks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    outcome = lcot("fit", "-c", "nothing.yaml")
    assert outcome.code == 2
    assert outcome.err == "lcot: error on rank 1: there is no config 'nothing.yaml'\n"


def test_a_failed_command_leaves_the_folder_to_others(tmp_path: Path) -> None:
    mine = RunFolder(tmp_path / "runs" / "new")
    with pytest.raises(KeyError), mine.claimed(write=True):
        (mine.path / f"events.out.tfevents.1.host.{os.getpid()}.0").touch()
        raise KeyError
    assert not (tmp_path / "runs").exists()
    with pytest.raises(KeyError), mine.claimed(write=True, alone=True):
        (mine.path / "hparams.yaml").touch()
        (mine.path / "checkpoints").mkdir()
        raise KeyError
    assert not (tmp_path / "runs").exists()
    with pytest.raises(KeyError), mine.claimed(write=True):
        (mine.path / "hparams.yaml").touch()  # of a training that began after this command
        raise KeyError
    assert sorted(contents(mine.path)) == ["hparams.yaml"]
    (mine.path / "hparams.yaml").unlink()
    with pytest.raises(KeyError), mine.claimed(write=True):
        (mine.path / f"events.out.tfevents.1.host.{os.getpid()}.0").touch()
        (mine.path / "events.out.tfevents.1.host.1.0").touch()
        (mine.path / "other.ckpt").touch()
        raise KeyError
    assert sorted(contents(mine.path)) == ["events.out.tfevents.1.host.1.0", "other.ckpt"]


def test_two_trainings_do_not_share_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_config(tmp_path)
    holding = tmp_path / "holding"
    child = os.fork()
    if not child:
        with RunFolder(Path("runs/tiny")).claimed(write=True, alone=True):
            holding.touch()
            time.sleep(60)
    try:
        deadline = time.monotonic() + 10
        while not holding.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        before = contents(tmp_path)
        outcome = lcot(*FIT)
        assert outcome.code == 2 and "another process trains in 'runs/tiny'" in outcome.block
        assert contents(tmp_path) == before
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    # A killed run is in nobody's way.
    assert lcot(*FIT).code == 0
    assert not Path("runs/tiny/.lock").exists()


@pytest.mark.parametrize("words", [["configs"], ["show", "-c", "prosqa"]])
def test_a_reader_that_has_had_enough_is_no_fault(words: list[str]) -> None:
    child = subprocess.Popen([sys.executable, "-m", "lcot", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert child.stdout is not None and child.stderr is not None
    child.stdout.close()
    said = child.stderr.read().decode()
    assert child.wait() == 128 + signal.SIGPIPE and "Traceback" not in said and "BrokenPipe" not in said

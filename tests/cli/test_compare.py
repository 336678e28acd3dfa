"""``lcot compare`` as a user meets it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from lcot.compare.launch import Launcher
from lcot.runs import protocol, record
from tests.compare.folders import COT, write_run
from tests.places import ROOT
from tests.tiny import contents, lcot, write_config


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two runs in ``runs``; commands start beside it."""
    monkeypatch.chdir(tmp_path)
    write_run(Path("runs"), "coconut-0")
    write_run(Path("runs"), "cot-0", config=COT)
    Path("a.yaml").touch()
    return Path("runs")


def refused(*words: object) -> str:
    """The block of a command that must leave everything as it was."""
    before = contents(Path.cwd())
    outcome = lcot("compare", *words)
    assert outcome.code == 2, outcome.err
    assert contents(Path.cwd()) == before
    assert len(outcome.block.splitlines()) <= 5 and not outcome.out
    return outcome.block


def test_a_table_on_the_screen_and_in_files(runs: Path) -> None:
    outcome = lcot("compare", runs, "--csv=a.csv", "--markdown", "new/a.md", "--plot", "a.svg")
    assert outcome.code == 0 and not outcome.err
    assert max(map(len, outcome.out.splitlines())) <= 100 and " coconut " in outcome.out
    assert Path("a.csv").read_text().startswith("table,method")
    assert Path("new/a.md").read_text().startswith("| method |")
    assert Path("a.svg").stat().st_size > 5000


def test_folders_and_options_in_any_order(runs: Path) -> None:
    outcome = lcot("compare", runs / "cot-0", "--csv=a.csv", runs / "coconut-0")
    assert outcome.code == 0
    assert [line.split(",")[1] for line in Path("a.csv").read_text().splitlines()] == ["method", "cot", "coconut"]


def test_runs_without_a_result_are_no_reason_to_fail(runs: Path) -> None:
    for name in ("coconut-0", "cot-0"):
        (runs / name / "test.json").unlink()
    outcome = lcot("compare", runs, "--plot=a.png")
    assert outcome.code == 0
    assert outcome.out.splitlines() == [
        f"{name} has no test result: lcot test -c runs/{name}/config.yaml" for name in ("coconut-0", "cot-0")
    ]
    assert outcome.err == "lcot: a.png was not written: there is no result to draw\n" and not Path("a.png").exists()


def test_results_of_validate(runs: Path) -> None:
    (runs / "cot-0" / "test.json").rename(runs / "cot-0" / "validate.json")
    text = (runs / "cot-0" / "validate.json").read_text().replace("test/", "val/").replace('"test"', '"val"')
    (runs / "cot-0" / "validate.json").write_text(text)
    outcome = lcot("compare", runs, "--split=val")
    assert "data: split val, 1,000 examples" in outcome.out
    assert "coconut-0 has no val result: lcot validate -c runs/coconut-0/config.yaml" in outcome.out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "there is nothing to compare"),
        (["nowhere"], "there is no run at 'nowhere'"),
        (["runs/cot-1"], "runs there: coconut-0, cot-0"),
        (["runs", "--markdwon", "a.md"], "did you mean '--markdown'?"),
        (["runs", "--markdwon=a.md"], "did you mean '--markdown'?"),
        (["runs", "--data.batch_size", "3"], "--data.batch_size=VALUE"),
        (["runs", "--data.batch_size=3"], "--data.batch_size=3 has no effect without -c"),
        (["runs", "--seeds", "1"], "--seeds has no effect without -c"),
        (["runs", "--slurm", "a.sh"], "--slurm has no effect without -c"),
        (["runs", "--csv"], "expected one argument"),
        (["runs", "--split=train"], "invalid choice: 'train'"),
        (["runs", "--plot=a.jpg"], ".png, .svg, .pdf"),
        (["-c", "a.yaml"], "-c without --methods"),
        (["-c", "a.yaml", "--methods", "cot", "--seeds", "one"], "invalid int value: 'one'"),
        (["-c", "a.yaml", "--methods", "cot", "--seeds", "0,1"], "'0,1': separate seeds by spaces"),
        (["-c", "a.yaml", "--methods", "cot,no_cot"], "separate methods by spaces"),
        (["-c", "a.yaml", "--methods", "cot", "--jobs=0"], "jobs is 0"),
        (["-c", "a.yaml", "--methods", "cot", "--slurm=a.sh", "--csv=a.csv"], "--slurm beside --csv"),
        (["runs", "-c", "a.yaml", "--methods", "cot", "--slurm=a.sh"], "--slurm beside run folders"),
        (["-c", "a.yaml", "--methods", "a.yaml", "--name=x"], "--name=x cannot be passed on"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_block(runs: Path, words: list[str], says: str) -> None:
    assert says in refused(*words)


def test_a_broken_file(runs: Path) -> None:
    (runs / "cot-0" / "test.json").write_text('{\n  "metrics": oops\n}')
    block = refused(runs)
    assert "cot-0/test.json, line 2, column 14" in block and "lcot test -c runs/cot-0/config.yaml" in block


def test_a_file_that_cannot_be_written(runs: Path) -> None:
    Path("there").write_text("")
    for option in ("--csv", "--markdown", "--plot"):
        target = "there/a.png" if option == "--plot" else "there/a"
        outcome = lcot("compare", runs, option, target)
        assert outcome.code == 2 and f"'{target}' cannot be written" in outcome.block and option in outcome.block


def test_ctrl_c(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(self: Launcher, todos: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Launcher, "make", interrupted)
    outcome = lcot("compare", "-c", "a.yaml", "--methods", "b.yaml")
    assert outcome.code == 130 and not outcome.out


def test_ctrl_c_while_settings_are_read(
    runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(self: Launcher, task: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Launcher, "_print_config", interrupted)
    outcome = lcot("compare", "-c", "a.yaml", "--methods", "coconut.yaml", "cot.yaml")
    assert outcome.code == 130 and not outcome.out
    assert outcome.err == "reading the settings of 2 methods …\nlcot: interrupted\n"


def test_folders_that_hold_no_run_are_left_out(runs: Path) -> None:
    (runs / "killed" / "checkpoints").mkdir(parents=True)
    (runs / "killed" / ".lock").touch()
    outcome = lcot("compare", *sorted(runs.iterdir()))
    assert outcome.code == 0 and outcome.err == "lcot: there is no run at 'runs/killed': it is left out\n"
    assert " coconut " in outcome.out and " cot " in outcome.out
    assert "there is no run at 'runs/killed'" in refused(runs / "killed")
    assert "there is no run at 'runs/kiled'" in refused(*sorted(runs.iterdir()), runs / "kiled")


def test_a_script_for_the_scheduler(runs: Path) -> None:
    before = contents(runs)
    words = ("compare", "-c", "a.yaml", "--methods", "b/pause.yaml", "b/icot.yaml", "--seeds", 0, 1)
    outcome = lcot(*words, "--slurm", "my job.sh", "--data.train_size=5")
    assert outcome.code == 0 and outcome.out == "sbatch 'my job.sh'\n"
    text = Path("my job.sh").read_text()
    assert "#SBATCH --array=0-3\n" in text and text.count("--data.train_size=5") == 8
    assert contents(runs) == before


def test_help_and_tables_need_no_torch(runs: Path) -> None:
    script = "import sys; from lcot.cli.main import main; main(sys.argv[1:])"
    script += "; print({'torch', 'lightning'} & set(sys.modules))"
    words = ["compare", str(runs.resolve()), "--csv", str(Path("a.csv").resolve())]
    done = subprocess.run([sys.executable, "-c", script, *words], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "set()"
    shown = lcot("compare", "--help")
    assert shown.code == 0 and shown.out.startswith("usage: lcot compare [RUN …]") and "--slurm FILE" in shown.out
    assert "compare" in lcot("--help").out


def test_runs_of_an_installed_package_have_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for place in (record, protocol):
        monkeypatch.setattr(place, "commit", lambda: None)
    config = write_config(tmp_path)
    for words in (("fit", "-c", config), ("test", "-c", config), ("compare", "runs/tiny")):
        outcome = lcot(*words)
        assert outcome.code in (0, None), outcome.err
    assert json.loads((tmp_path / "runs" / "tiny" / "fit.json").read_text())["commits"] == []
    made = json.loads((tmp_path / "runs" / "tiny" / "fit.json").read_text())
    (tmp_path / "runs" / "tiny" / "fit.json").write_text(json.dumps({**made, "commits": [None]}))  # as once written
    assert lcot("compare", "runs/tiny").code in (0, None)

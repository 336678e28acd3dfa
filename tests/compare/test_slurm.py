"""The runs of a comparison as an array of jobs."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
import yaml

from lcot.compare.plan import Task, Todo, make_tasks, what_to_do
from lcot.compare.slurm import array_script
from lcot.errors import UserError
from tests.compare.folders import CONFIG, write_run


@pytest.fixture
def configs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with ``configs/a.yaml`` and two methods."""
    monkeypatch.chdir(tmp_path)
    for name in ("a", "methods/coconut", "methods/cot"):
        file = Path("configs", f"{name}.yaml")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    return tmp_path


def tasks(*methods: str, seeds: tuple[int, ...] = (0,), settings: tuple[str, ...] = ()) -> list[Task]:
    return make_tasks([Path("configs/a.yaml")], methods, seeds, Path("runs"), settings)


SCRIPT = """\
#!/bin/bash
#SBATCH --job-name=runs
#SBATCH --array=0-1%1
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=SIGUSR1@120
# Add what your cluster asks for: --partition, --account, --time, --cpus-per-task, --gres=gpu:1.
# What a run prints is beside its folder, in RUN.log.
set -euo pipefail
cd HERE
lcot=(PROGRAM)

case "$SLURM_ARRAY_TASK_ID" in
0)
  mkdir -p runs
  exec >> runs/cot-0.log 2>&1
  srun "${lcot[@]}" test -c configs/a.yaml -c configs/methods/cot.yaml --seed_everything=0 --name=cot-0 \
--runs_dir=runs --trainer.enable_progress_bar=false '--data.hops=[1, 2]'
  ;;
1)
  mkdir -p runs
  exec >> runs/cot-2.log 2>&1
  srun "${lcot[@]}" fit -c configs/a.yaml -c configs/methods/cot.yaml --seed_everything=2 --name=cot-2 \
--runs_dir=runs --trainer.enable_progress_bar=false --resume=true '--data.hops=[1, 2]'
  srun "${lcot[@]}" test -c configs/a.yaml -c configs/methods/cot.yaml --seed_everything=2 --name=cot-2 \
--runs_dir=runs --trainer.enable_progress_bar=false '--data.hops=[1, 2]'
  ;;
*) echo "there is no task $SLURM_ARRAY_TASK_ID" >&2; exit 2 ;;
esac
"""


@pytest.fixture
def script(configs: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An array of a run to be tested and one to be made; a third has its result."""
    monkeypatch.setattr("lcot.compare.slurm.PROGRAM", ("program", "-m", "lcot"))
    write_run(Path("runs"), "cot-0")
    (Path("runs") / "cot-0" / "test.json").unlink()
    write_run(Path("runs"), "cot-1", 1)
    asked = [CONFIG, CONFIG, None]
    planned = tasks("cot", seeds=(0, 1, 2), settings=("--data.hops=[1, 2]",))
    return array_script([what_to_do(*both) for both in zip(planned, ["test"] * 3, asked, strict=True)], jobs=1)  # type: ignore[arg-type]


def test_the_script_has_a_task_for_each_run_with_something_to_do(configs: Path, script: str) -> None:
    assert script == SCRIPT.replace("HERE", str(configs)).replace("PROGRAM", "program -m lcot")


def test_bash_understands_the_script(configs: Path, script: str) -> None:
    tools = configs / "tools"
    tools.mkdir()
    (tools / "srun").write_text('#!/bin/bash\nprintf "%s|" "$@"; echo\n[[ "$*" != *fit* ]] || exit "$FIT"\n')
    (tools / "srun").chmod(0o755)
    (configs / "job.sh").write_text(script)
    for task, fit, code, lines in ((0, "0", 0, 1), (1, "0", 0, 2), (1, "143", 143, 3), (2, "0", 2, 0)):
        path = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}", "SLURM_ARRAY_TASK_ID": str(task), "FIT": fit}
        done = subprocess.run(["bash", "job.sh"], cwd=configs, env=path, capture_output=True, text=True)
        assert done.returncode == code
        log = configs / "runs" / f"cot-{2 * task}.log"
        assert len(log.read_text().splitlines() if log.exists() else []) == lines, (
            "a run that was stopped is not tested"
        )
    assert "|--data.hops=[1, 2]|" in (configs / "runs" / "cot-0.log").read_text()


def header(*methods: str, settings: tuple[str, ...] = ()) -> list[str]:
    """What a script asks the scheduler for."""
    text = array_script([Todo(task, True, "test") for task in tasks(*methods, settings=settings)])
    return [line.removeprefix("#SBATCH --") for line in text.splitlines() if line.startswith("#SBATCH")][2:5]


@pytest.mark.parametrize(
    ("trainer", "settings", "asked"),
    [
        ({}, (), ["nodes=1", "ntasks-per-node=1", "requeue"]),
        ({"devices": "auto"}, (), ["nodes=1", "ntasks-per-node=1", "requeue"]),
        ({"devices": 4, "num_nodes": 2}, (), ["nodes=2", "ntasks-per-node=4", "requeue"]),
        ({"devices": 4}, ("--trainer.devices=2",), ["nodes=1", "ntasks-per-node=2", "requeue"]),
        ({"devices": [0, 2, 3], "accelerator": "gpu"}, (), ["nodes=1", "ntasks-per-node=3", "gres=gpu:3"]),
        ({}, ("--trainer.devices=0,1", "--trainer.accelerator=cuda"), ["nodes=1", "ntasks-per-node=2", "gres=gpu:2"]),
        ({}, ("--trainer.devices=[0,1]",), ["nodes=1", "ntasks-per-node=2", "requeue"]),
    ],
)
def test_a_job_has_as_many_processes_as_devices(
    configs: Path, trainer: dict[str, object], settings: tuple[str, ...], asked: list[str]
) -> None:
    """Below ``srun`` Lightning starts no process, and refuses another number than it has devices."""
    Path("configs/a.yaml").write_text(yaml.safe_dump({"trainer": trainer}), encoding="utf-8")
    assert header("cot", "coconut", settings=settings) == asked


def test_runs_that_take_different_machines(configs: Path) -> None:
    Path("configs/methods/cot.yaml").write_text("trainer: {devices: 2}", encoding="utf-8")
    with pytest.raises(UserError) as caught:
        header("cot", "coconut")
    assert "cot 2 on each of 1, coconut 1 on each of 1 nodes" in str(caught.value)
    assert header("cot", "coconut", settings=("--trainer.devices=8",))[1] == "ntasks-per-node=8"


def test_all_devices_are_no_number(configs: Path) -> None:
    with pytest.raises(UserError, match="devices is -1 for cot"):
        header("cot", settings=("--trainer.devices=-1",))

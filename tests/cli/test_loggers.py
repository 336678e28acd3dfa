"""Every logger of Lightning's interface knows the run, shows its words and pictures, and is told of its tests."""

from __future__ import annotations

import csv
import json
import sys
import types
from pathlib import Path
from typing import Any, ClassVar

import pytest
import yaml
from jsonargparse import Namespace
from lightning.pytorch.loggers import CSVLogger, Logger
from lightning.pytorch.utilities import rank_zero_only

from lcot.cli.loggers import name_logger
from tests.tiny import lcot, write_config

SCENE = "--trainer.logger=recorder.Recorder"
OWN = ("-c", "own.yaml", "--name=one")


class Recorder(Logger):
    """Keeps what it is told, and takes words and pictures as W&B's logger does."""

    told: ClassVar[list[tuple[str, Any]]] = []

    def __init__(self, save_dir: str = ".", name: str | None = None, group: str | None = None) -> None:
        super().__init__()
        self._name = name
        self.told.append(("made", (save_dir, name, group)))

    @property
    def name(self) -> str | None:
        return self._name

    @property
    def version(self) -> str:
        return "1"

    @rank_zero_only
    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        self.told.append(("params", dict(params)))

    @rank_zero_only
    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        self.told.append(("metrics", (dict(metrics), step)))

    def log_text(self, key: str, columns: list[str], data: list[list[Any]], step: int) -> None:
        self.told.append((key, (columns, data, step)))

    def log_image(self, key: str, images: list[Any], step: int) -> None:
        self.told.append((key, ([image.shape for image in images], step)))

    @classmethod
    def heard(cls, what: str) -> list[Any]:
        return [found for name, found in cls.told if name == what]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty folder with a tiny config, and a module whose logger can be named."""
    monkeypatch.chdir(tmp_path)
    module = types.ModuleType("recorder")
    module.Recorder = Recorder  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "recorder", module)
    Recorder.told.clear()
    stepwise = "curriculum.schedule.init_args.thoughts_per_step"
    changes = {"dashboard": {}, "trainer.log_every_n_steps": 1, stepwise: 2}
    write_config(tmp_path, changes)
    write_config(tmp_path, {**changes, "trainer.logger": {"class_path": "recorder.Recorder"}}, name="own")


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_logger_of_ones_own_hears_all(tmp_path: Path) -> None:
    outcome = lcot("fit", *OWN)
    assert outcome.code == 0, outcome.err
    assert Recorder.heard("made") == [("runs/one", "one", "own")]
    (params,) = Recorder.heard("params")
    assert (params["run"], params["group"], params["kind"], params["seed"]) == ("one", "own", "continuous", 0)
    assert params["lr"] > 0 and params["trained"] == params["parameters"] > 0
    assert [step for _, _, step in Recorder.heard("answers")] == [1, 3]
    columns, data, _ = Recorder.heard("answers")[-1]
    assert len(data) == 5 and data[0][columns.index("question")].endswith("?") is False and data[0][0] == 1
    assert all(shape[2] == 3 and step in (1, 3) for (shape,), step in Recorder.heard("search_tree"))
    assert len(Recorder.heard("search_tree")) == 2
    names = {name for metrics, _ in Recorder.heard("metrics") for name in metrics}
    assert {"train/loss_step", "val/accuracy", "curriculum/stage"} <= names
    assert not any(name.startswith(("by_epoch", "by_stage", "stage_changes", "hp/")) for name in names)


def test_a_test_tells_the_loggers_of_the_run(tmp_path: Path) -> None:
    assert lcot("fit", *OWN).code == 0
    Recorder.told.clear()
    outcome = lcot("test", *OWN)
    assert outcome.code == 0, outcome.err
    assert Recorder.heard("made") == [("runs/one", "one", "own")], "the group is that of the run's start"
    ((metrics, step),) = Recorder.heard("metrics")
    report = json.loads(Path("runs/one/test.json").read_text(encoding="utf-8"))["metrics"]
    assert metrics == {name: pytest.approx(value) for name, value in report.items()}
    assert step == 3
    Recorder.told.clear()
    for rest in (("--curriculum.eval_thoughts=0",), ("--trainer.fast_dev_run=true",)):
        assert lcot("test", *OWN, *rest).code == 0
    assert lcot("predict", *OWN).code == 0
    assert lcot("validate", *OWN).code == 0
    assert Recorder.heard("metrics") == []


def test_csv_keeps_its_curves_beside_the_test() -> None:
    assert lcot("fit", "-c", "tiny.yaml", "--trainer.logger=CSVLogger").code == 0
    folder = Path("runs/tiny")
    kept = yaml.safe_load((folder / "hparams.yaml").read_text(encoding="utf-8"))
    assert (kept["run"], kept["group"], kept["stages"]) == ("tiny", "tiny", 2)
    before = rows(folder)
    assert {int(row["step"]) for row in before if row["thoughts/distance"]} <= {0, 1, 2, 3}
    assert lcot("test", "-c", "runs/tiny/config.yaml").code == 0
    after = rows(folder)
    assert [{name: row[name] for name in before[0]} for row in after[:-1]] == before
    assert after[-1]["test/accuracy"] and after[-1]["step"] == "3"
    assert lcot("fit", "-c", "runs/tiny/config.yaml", "--resume=true", "--trainer.max_epochs=3").code == 0
    assert [row["step"] for row in rows(folder) if row["test/accuracy"]] == ["3"], "it stays when the run goes on"


def test_several_at_once() -> None:
    loggers = "--trainer.logger=[TensorBoardLogger, CSVLogger, recorder.Recorder]"
    outcome = lcot("fit", "-c", "tiny.yaml", loggers)
    assert outcome.code == 0, outcome.err
    assert list(Path("runs/tiny").glob("events.out.tfevents.*")) and rows(Path("runs/tiny"))
    assert len(Recorder.heard("params")) == 1 and len(Recorder.heard("answers")) == 2
    assert lcot("test", "-c", "tiny.yaml", loggers).code == 0
    assert any("test/accuracy" in metrics for metrics, _ in Recorder.heard("metrics"))
    assert rows(Path("runs/tiny"))[-1]["test/accuracy"]


def test_what_takes_no_words_gets_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """And no tree is drawn for nobody."""
    monkeypatch.setattr("lcot.callbacks.dashboard.TreeView.image", lambda *_: pytest.fail("nobody looks at it"))
    assert not hasattr(CSVLogger, "log_text")
    assert lcot("fit", "-c", "tiny.yaml", "--trainer.logger=CSVLogger").code == 0


@pytest.mark.parametrize(
    ("kind", "given", "wanted"),
    [
        ("CSVLogger", {"save_dir": "runs", "name": "lightning_logs", "version": None},
         {"save_dir": "runs/one", "name": "", "version": ""}),
        ("WandbLogger", {"save_dir": ".", "name": None, "version": None, "group": None, "id": None, "resume": None},
         {"save_dir": "runs/one", "name": "one", "version": None, "group": "prosqa-cot", "id": None, "resume": None}),
        ("WandbLogger", {"save_dir": "runs", "name": "", "version": "", "group": "mine", "id": "k", "resume": None},
         {"save_dir": "runs/one", "name": "one", "version": None, "group": "mine", "id": "k", "resume": "allow"}),
        ("MLFlowLogger", {"save_dir": "./mlruns", "run_name": None, "experiment_name": "lightning_logs", "tags": None},
         {"save_dir": "runs/mlruns", "run_name": "one", "experiment_name": "prosqa-cot",
          "tags": {"group": "prosqa-cot"}}),
        ("MLFlowLogger", {"save_dir": "there", "run_name": "a", "experiment_name": "b", "tags": {"c": "d"}},
         {"save_dir": "there", "run_name": "a", "experiment_name": "b", "tags": {"c": "d"}}),
        ("CSVLogger", {"save_dir": "logs", "name": "lightning_logs", "version": None},
         {"save_dir": "logs", "name": "lightning_logs", "version": None}),
        ("Own", {"key": 1}, {"key": 1}),
    ],
)  # fmt: skip
def test_what_the_user_left_out_is_filled_in(kind: str, given: dict[str, Any], wanted: dict[str, Any]) -> None:
    chosen = Namespace(class_path=f"some.{kind}", init_args=Namespace(**given))  # type: ignore[no-untyped-call]
    name_logger(chosen, Path("runs/one"), "prosqa-cot")
    assert chosen.init_args.as_dict() == wanted


def test_a_logger_that_cannot_be_made_is_one_block() -> None:
    """Its constructor may refuse as it likes."""

    class Refusing(Recorder):
        def __init__(self, save_dir: str = ".") -> None:
            raise RuntimeError("the store is closed")

    sys.modules["recorder"].Recorder = Refusing  # type: ignore[attr-defined]
    refused = lcot("fit", "-c", "tiny.yaml", SCENE)
    assert refused.code == 2 and "the store is closed" in refused.block and not Path("runs").exists()

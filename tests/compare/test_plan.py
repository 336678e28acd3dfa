"""Which runs a comparison needs, and what is still to be done for each."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from lcot.compare.plan import Task, is_trained, make_tasks, trains_nothing, what_to_do
from lcot.errors import UserError
from lcot.runs.configs import find
from tests.compare.folders import CONFIG, changed, write_run, write_untrained


@pytest.fixture
def configs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with ``configs/a.yaml``, ``configs/paper/b.yaml`` and three methods."""
    monkeypatch.chdir(tmp_path)
    for name in ("a", "paper/b", "methods/coconut", "methods/cot", "methods/no_cot"):
        file = Path("configs", f"{name}.yaml")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    return tmp_path


def tasks(*methods: str, config: str = "configs/a.yaml", seeds: tuple[int, ...] = (0,), **further: Any) -> list[Task]:
    settings = further.get("settings", ())
    return make_tasks([Path(config)], methods, seeds, Path("runs"), settings)


def test_every_method_with_every_seed(configs: Path) -> None:
    found = tasks("coconut", "cot", seeds=(2, 0), settings=("--data.batch_size=3",))
    assert [task.name for task in found] == ["coconut-2", "coconut-0", "cot-2", "cot-0"]
    assert found[2].words("fit") == [
        "fit", "-c", "configs/a.yaml", "-c", "configs/methods/cot.yaml", "--seed_everything=2", "--name=cot-2",
        "--runs_dir=runs", "--trainer.enable_progress_bar=false", "--resume=true", "--data.batch_size=3",
    ]  # fmt: skip
    assert "--resume=true" not in found[2].words("test") and found[2].words("test")[0] == "test"
    assert found[2].log == Path("runs/cot-2.log")


def test_the_progress_bar_may_be_asked_for(configs: Path) -> None:
    (task,) = tasks("cot", settings=("--trainer.enable_progress_bar=true",))
    assert [word for word in task.words("fit") if "progress" in word] == ["--trainer.enable_progress_bar=true"]


@pytest.mark.parametrize("config", ["configs/a.yaml", "configs/paper/b.yaml", "other.yaml", "nowhere/other.yaml"])
def test_methods_stand_beside_the_data_or_in_this_folder(configs: Path, config: str) -> None:
    assert tasks("cot", config=config)[0].configs[-1] == Path("configs/methods/cot.yaml")


def test_a_method_may_be_a_file(configs: Path) -> None:
    (task,) = tasks("mine/new.yaml")
    assert task.name == "new-0" and task.configs == (Path("configs/a.yaml"), Path("mine/new.yaml"))


def test_what_cannot_be_planned(configs: Path) -> None:
    with pytest.raises(UserError) as caught:
        tasks("coconutt")
    assert "unknown method 'coconutt'" in str(caught.value) and "did you mean 'coconut'?" in str(caught.value)
    with pytest.raises(UserError, match="there would be two runs cot-0"):
        tasks("cot", "configs/methods/cot.yaml")
    with pytest.raises(UserError, match="there would be two runs cot-1"):
        tasks("cot", seeds=(1, 0, 1))
    for own, why in (("--name=x", "METHOD-SEED"), ("--seed_everything=1", "--seeds"), ("--ckpt_path=a", "test would")):
        with pytest.raises(UserError) as caught:
            tasks("cot", settings=(own,))
        assert own in str(caught.value) and why in str(caught.value)


def test_a_method_that_lcot_carries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its name stands in the command, so that a script works where lcot is installed elsewhere."""
    monkeypatch.chdir(tmp_path)
    (task,) = tasks("cot", config=str(find("prosqa")))
    assert task.configs == (find("prosqa"), find("methods/cot"))
    assert task.words("test")[1:5] == ["-c", "prosqa", "-c", "methods/cot"]
    (task,) = tasks("softcot/coconut")
    assert task.name == "coconut-0" and task.configs[-1] == find("softcot/coconut")


def test_ones_own_method_comes_first(configs: Path) -> None:
    (task,) = tasks("cot", config=str(find("prosqa")))
    assert task.configs[-1] == Path("configs/methods/cot.yaml")


# -- what is missing --------------------------------------------------------------------------------------------------


def todo(asked: Mapping[str, Any] | None = CONFIG, **run: Any) -> list[str]:
    """What is to be done for the run ``runs/cot-0``, which is written first."""
    write_run(Path("runs"), "cot-0", **run)
    return what_to_do(tasks("cot")[0], "test", asked).commands


def test_a_run_that_is_not_there(configs: Path) -> None:
    assert what_to_do(tasks("cot")[0], "test", None).commands == ["fit", "test"]
    assert what_to_do(tasks("cot")[0], "val", None).commands == ["fit", "validate"]


def test_a_run_with_its_result(configs: Path) -> None:
    assert todo() == []


def test_a_run_without_a_result_or_with_an_old_one(configs: Path) -> None:
    assert todo(report={"run_steps": 600}) == ["test"]
    assert what_to_do(tasks("cot")[0], "val", CONFIG).commands == ["validate"]


@pytest.mark.parametrize(
    ("key", "value", "commands"),
    [
        ("trainer.max_epochs", 8, ["fit", "test"]),
        ("model.init_args.backbone.config.n_embd", 8, ["fit", "test"]),
        ("data.init_args.test_path", "file.json", ["test"]),
        ("data.init_args.eval_batch_size", 1, ["test"]),
        ("model.init_args.max_new_tokens", 4, ["test"]),
        ("model.init_args.sampling", {"temperature": 0.5}, ["test"]),
        ("model.init_args.voting", {"samples": 3, "runs": 1}, ["test"]),
        ("curriculum.eval_stage", 0, ["test"]),
        ("trainer.limit_test_batches", 3, ["test"]),
        ("trainer.logger", "another", []),
    ],
)
def test_what_another_setting_asks_for(configs: Path, key: str, value: Any, commands: list[str]) -> None:
    assert todo(changed(CONFIG, {key: value})) == commands


# -- what trains nothing ----------------------------------------------------------------------------------------------


@pytest.fixture
def untrained(configs: Path) -> Path:
    """The same folder, in which ``cot`` is a method that trains nothing."""
    Path("configs/methods/cot.yaml").write_text("ckpt_path: none\n")
    return configs


def test_it_is_only_evaluated(untrained: Path) -> None:
    (task,) = tasks("cot")
    assert trains_nothing(task) and not trains_nothing(tasks("no_cot")[0])
    assert not is_trained(task)
    assert what_to_do(task, "test", None).commands == ["test"]
    assert what_to_do(task, "val", None).commands == ["validate"]
    write_untrained(Path("runs"), "cot-0")
    assert is_trained(task)
    asked = changed(CONFIG, {"ckpt_path": "none"})
    assert what_to_do(task, "test", asked).commands == []
    assert what_to_do(task, "val", asked).commands == ["validate"]
    for key, value in (("trainer.max_epochs", 8), ("model.init_args.max_new_tokens", 4), ("data.init_args.hops", [1])):
        assert what_to_do(task, "test", changed(asked, {key: value})).commands == ["test"], key


def test_of_two_configs_the_second_counts(untrained: Path) -> None:
    Path("configs/a.yaml").write_text("ckpt_path: none\n")
    assert trains_nothing(tasks("no_cot")[0])
    Path("configs/methods/no_cot.yaml").write_text("ckpt_path: null\n")
    assert not trains_nothing(tasks("no_cot")[0])
    Path("configs/methods/no_cot.yaml").write_text("- broken: [\n")
    assert trains_nothing(tasks("no_cot")[0]), "the command says what is wrong with the other one"


def test_the_folder_of_a_run_of_the_other_kind_is_left_to_the_command_to_refuse(untrained: Path) -> None:
    write_run(Path("runs"), "cot-0")
    assert what_to_do(tasks("cot")[0], "test", CONFIG).commands == ["test"]
    write_untrained(Path("runs"), "no_cot-0")
    (task,) = tasks("no_cot")
    assert not is_trained(task) and what_to_do(task, "test", None).commands == ["fit", "test"]

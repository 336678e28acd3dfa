"""Opening another's run runs no code of it; what the user names is imported."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
import yaml

import lcot as package
from lcot.cli.trust import run_around
from lcot.datamodules.tokenizers import load_tokenizer
from lcot.errors import CheckpointError, UserError
from lcot.modules.own import load_code
from lcot.modules.stored import pick_checkpoint
from lcot.settings import only_cached
from tests.tiny import Outcome, lcot, write_config

STAND_IN = """
from pathlib import Path

import lightning as L
import torch

from lcot.modules import Coconut

Path({marker!r}).write_text("run")


class Module(Coconut):
    pass


class Callback(L.Callback):
    pass


class Optimizer(torch.optim.SGD):
    pass


def function(*args, **settings):
    return None
"""
"""A harmless file that leaves a marker when it is imported."""


class Place:
    """A folder with a finished run whose files may be changed, and a stand-in for code of another's.

    Args:
        folder: The current folder.
        trained: The run that is copied.
    """

    def __init__(self, folder: Path, trained: Path) -> None:
        self.run = Path(shutil.copytree(trained, folder / "runs" / "tiny")).relative_to(folder)
        self.marker = folder / "marker"
        for place in (Path(), self.run, Path("elsewhere")):
            place.mkdir(exist_ok=True)
            (place / "stranger.py").write_text(STAND_IN.format(marker=str(self.marker)))

    def change(self, *path: Any, value: Any) -> None:
        """Set something in the run's config."""
        config = yaml.safe_load((self.run / "config.yaml").read_text())
        place = config
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value
        (self.run / "config.yaml").write_text(yaml.safe_dump(config))

    def name_in_checkpoints(self, name: str) -> None:
        """Have all checkpoints name a class."""
        for file in (self.run / "checkpoints").glob("*.ckpt"):
            saved = torch.load(file, weights_only=True)
            torch.save({**saved, "lcot": {**saved["lcot"], "class": name, "module": name.rpartition(":")[2]}}, file)

    def refused(self, outcome: Outcome, *says: str) -> None:
        """A command that refused in one block, and imported nothing."""
        assert outcome.code == 2, outcome.err
        assert not self.marker.exists() and "stranger" not in sys.modules
        assert len(outcome.block.splitlines()) <= 4 and all(one in outcome.block for one in says), outcome.block


@pytest.fixture
def place(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """The current folder, which Python looks into, as it does into one that PYTHONPATH names."""
    monkeypatch.chdir(tmp_path)
    made = Place(tmp_path, trained)
    for folder in (tmp_path / made.run, tmp_path / "elsewhere", tmp_path):
        monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, "stranger", raising=False)
    return made


COMMANDS = (
    ("test", "-c", "runs/tiny/config.yaml"),
    ("predict", "-c", "runs/tiny/config.yaml"),
    ("fit", "-c", "runs/tiny/config.yaml", "--resume=true", "--trainer.max_epochs=3"),
    ("show", "-c", "runs/tiny/config.yaml"),
    ("analyze", "runs/tiny"),
)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_no_command_imports_what_a_runs_config_names(place: Place, command: tuple[str, ...]) -> None:
    place.change("model", "class_path", value="stranger.Module")
    outcome = lcot(*command)
    place.refused(outcome, "names stranger.Module", "runs/tiny/config.yaml, line", "--code stranger.py")


def test_from_within_its_folder(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.change("model", "class_path", value="stranger.Module")
    monkeypatch.chdir(place.run)
    place.refused(lcot("test", "-c", "config.yaml"), "names stranger.Module")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("model",), "stranger.Module"),
        (("model", "init_args", "optimizer"), {"class_path": "stranger.Optimizer", "init_args": {}}),
        (("model", "init_args", "optimizer"), "stranger.Optimizer"),
        (("model", "init_args", "optimizer"), "stranger.function"),
        (("data", "class_path"), "stranger.Data"),
        (("curriculum", "schedule", "class_path"), "stranger.Schedule"),
        (("trainer", "callbacks"), [{"class_path": "stranger.Callback"}]),
        (("trainer", "callbacks"), ["stranger.Callback"]),
        (("trainer", "logger"), {"class_path": "stranger.Logger", "init_args": {}}),
        (("trainer", "logger"), ["stranger.Logger"]),
        (("trainer", "plugins"), ["stranger.Plugin"]),
        (("trainer", "strategy"), {"class_path": "stranger.Strategy"}),
        (("trainer", "profiler"), "stranger.Profiler"),
        (
            ("trainer", "callbacks"),
            [{"class_path": "lightning.pytorch.callbacks.LambdaCallback", "init_args": {"setup": "stranger.function"}}],
        ),
        (("model",), "other.yaml"),
    ],
)
def test_nowhere_in_a_config(place: Place, path: tuple[Any, ...], value: Any) -> None:
    Path("other.yaml").write_text("class_path: stranger.Module\ninit_args: {}\n")
    shutil.copy("other.yaml", place.run / "other.yaml")
    place.change(*path, value=value)
    place.refused(lcot("test", "-c", place.run / "config.yaml"))


@pytest.mark.parametrize("name", ["math.sqrt", "pathlib.Path", "stranger.Module"])
def test_values_of_any_kind_are_no_classes(place: Place, name: str) -> None:
    inner = {"class_path": name, "init_args": {"args": [str(place.marker)]}}
    place.change("model", "init_args", "backbone", "config", "rope_parameters", value=inner)
    outcome = lcot("test", "-c", place.run / "config.yaml")
    assert outcome.code == 2 and not place.marker.exists() and "stranger" not in sys.modules


def test_yaml_makes_plain_values_only(place: Place) -> None:
    with (place.run / "config.yaml").open("a") as file:
        file.write("\nextra: !!python/name:stranger.Module\n")
    for words in (*COMMANDS, ("compare", "runs/tiny")):
        outcome = lcot(*words)
        assert outcome.code == 2 and not place.marker.exists(), words


def test_a_checkpoints_class_is_not_imported(place: Place) -> None:
    place.name_in_checkpoints("stranger:Module")
    says = ("trained by stranger.Module", "config makes a Coconut", "--code")
    place.refused(lcot("test", "-c", place.run / "config.yaml"), *says)
    place.refused(lcot("analyze", place.run), "trained by stranger.Module", "--code FILE.py")
    with pytest.raises(CheckpointError, match=r"trained by stranger\.Module, a class that is not here"):
        package.load(place.run)
    assert not place.marker.exists() and "stranger" not in sys.modules
    assert lcot("compare", place.run).code in (0, 2) and not place.marker.exists()
    assert type(package.load(place.run, code="stranger.py").module).__name__ == "Module" and place.marker.exists()


def test_what_the_user_names_is_imported(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.name_in_checkpoints("stranger:Module")
    place.change("model", "class_path", value="stranger.Module")
    config = ("-c", place.run / "config.yaml")
    for words in (
        ("test", *config, "--code", "stranger.py"),
        ("test", *config, "--code=elsewhere/stranger.py"),
        ("test", *config, "--model=stranger.Module"),
        ("show", *config, "--code=stranger.py"),
        ("analyze", place.run, "--code=stranger.py", "--limit=2"),
        ("fit", *config, "--code=stranger.py", "--resume=true", "--trainer.max_epochs=3"),
    ):
        monkeypatch.delitem(sys.modules, "stranger", raising=False)
        place.marker.unlink(missing_ok=True)
        outcome = lcot(*words)
        assert outcome.code == 0 and place.marker.exists(), (words, outcome.err)
    assert "code" not in yaml.safe_load((place.run / "config.resume1.yaml").read_text())


def test_a_config_of_ones_own_names_what_it_likes(place: Place) -> None:
    write_config(Path(), {"model.class_path": "stranger.Module"}, "mine")
    outcome = lcot("fit", "-c", "mine.yaml", "--trainer.fast_dev_run=1")
    assert outcome.code == 0 and place.marker.exists(), outcome.err
    with Path("mine.yaml").open("a") as file:
        file.write("code: [stranger.py]\n")
    outcome = lcot("fit", "-c", "mine.yaml")
    assert outcome.code == 2 and "a config names code" in outcome.block


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--code"], "--code without a file"),
        (["--code", "--seed_everything=1"], "--code without a file"),
        (["--code=nowhere.py"], "there is no Python file 'nowhere.py'"),
        (["--code=runs"], "there is no Python file 'runs'"),
        (["--code=broken.py"], "'broken.py' cannot be imported"),
        (["--code=torch.py"], "would be the module 'torch', and another one has that name"),
        (["--weights_only=false"], "weights_only is false"),
    ],
)
def test_code_that_cannot_be_used(place: Place, words: list[str], says: str) -> None:
    Path("broken.py").write_text("1 +")
    Path("torch.py").write_text("")
    place.refused(lcot("test", "-c", place.run / "config.yaml", *words), says)
    if words != ["--weights_only=false"]:
        with pytest.raises(UserError, match=r"code is '.*'"):
            package.load(place.run, code=words[0])


def test_a_file_in_a_package_has_its_name_there(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("kinds/deep").mkdir(parents=True)
    shutil.copy("stranger.py", "kinds/deep/one.py")
    assert load_code("kinds/deep/one.py", ["torch.optim.Adam", "kinds.deep.one.Module"]) == "kinds.deep.one"
    assert load_code(Path("kinds/deep/one.py").resolve()) == "one"
    for name in ("kinds.deep.one", "kinds.deep", "kinds", "one"):
        monkeypatch.delitem(sys.modules, name)


def test_which_configs_are_a_runs(place: Place) -> None:
    (place.run / "deep" / "er").mkdir(parents=True)
    for file in ("config.yaml", "best.yaml", "deep/er/x.yaml", "checkpoints/x.yaml"):
        assert run_around(place.run / file) == place.run.resolve()
    assert run_around(Path("mine.yaml")) is None
    Path("checkpoints").mkdir()
    assert run_around(Path("configs/mine.yaml")) is None, "a folder of weights makes no run"


def test_files_of_the_current_folder_stand_in_for_no_package(place: Place, tmp_path: Path) -> None:
    for name in ("jsonargparse", "lightning", "tensorboard"):
        (place.run / f"{name}.py").write_text((place.run / "stranger.py").read_text())
    script = tmp_path / "lcot"
    script.write_text("from lcot.__main__ import main\nmain()\n", encoding="utf-8")  # what an installer writes
    root = str(Path(package.__file__).parents[1])
    for begin in ([str(script)], ["-m", "lcot"]):
        words = [sys.executable, *begin, "test", "-c", "config.yaml", "--print_config"]
        done = subprocess.run(words, cwd=place.run, env={**os.environ, "PYTHONPATH": root}, capture_output=True)
        assert done.returncode == 0 and b"class_path: lcot.modules.Coconut" in done.stdout, done.stderr.decode()
    assert not place.marker.exists()


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was asked of the Hub, which does not answer."""
    seen: list[str] = []

    def session() -> Any:
        seen.append("asked")
        raise ConnectionError("not in a test")

    monkeypatch.setattr(huggingface_hub, "get_session", session)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr("transformers.AutoModelForCausalLM.from_pretrained", lambda *_, **__: session())
    return seen


@pytest.mark.parametrize(
    ("path", "value", "typed"),
    [
        (("data", "init_args", "tokenizer"), "some/tokenizer", "--data.tokenizer=some/tokenizer"),
        (("model", "init_args", "backbone"), {"path": "some/model"}, "--model.backbone.path=some/model"),
    ],
)
def test_the_hub_is_asked_for_what_the_user_names(
    place: Place, asked: list[str], path: tuple[str, ...], value: Any, typed: str
) -> None:
    place.change(*path, value=value)
    place.change("data", "init_args", "tokenizer", value=str(place.run / "tokenizer") if "model" in path else value)
    command = ("fit", "-c", place.run / "config.yaml", "--name=new")
    place.refused(lcot(*command), "some/", "only the run's folder names it", "hf download", typed.partition("=")[0])
    assert not asked
    outcome = lcot(*command, typed)
    assert outcome.code != 0 and asked, "as the user says"


def test_a_checkpoints_frozen_weights_are_not_fetched(
    place: Place, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    frozen = {"path": "some/model", "revision": "main", "dtype": "float32", "fingerprint": 32 * "0"}
    lora = {"rank": 2, "alpha": 4.0, "targets": ["q_proj"], "dropout": 0.0}
    file = pick_checkpoint(place.run)
    saved = torch.load(file, weights_only=True)
    torch.save({**saved, "lcot": {**saved["lcot"], "frozen": {"model": frozen}, "lora": lora}}, file)
    with pytest.raises(UserError, match="'some/model' is wanted") as caught:
        package.load(place.run)
    assert not asked and "backbone= of lcot.load" in str(caught.value)
    with pytest.raises(Exception, match="not in a test"):
        package.load(place.run, backbone="some/model")
    assert asked


def test_names_are_forbidden_for_a_while_only(asked: list[str]) -> None:
    with only_cached(["some/tokenizer"]), pytest.raises(UserError, match="'some/tokenizer' is wanted"):
        load_tokenizer("some/tokenizer")
    assert not asked
    with pytest.raises(UserError, match="the Hub cannot be reached"):
        load_tokenizer("some/tokenizer")

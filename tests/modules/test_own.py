"""Methods of one's own are found again, made as they were, and never taken for another."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import lcot as package
from lcot.errors import CheckpointError, UserError
from lcot.modules import Coconut, SoftCoT
from lcot.modules.description import check_fits
from lcot.modules.own import import_own, own_class
from tests.softcot import Pair, make_pair
from tests.tiny import lcot, write_config

QUESTION = "Tom impus. Max hilpus. impus hilpus. hilpus or impus? Max"
CODE = """
from dataclasses import dataclass

from lcot.modules import Coconut, SoftCoT


@dataclass
class Voice:
    level: int = 1


class Loud(Coconut):
    def __init__(self, *args, tone: str, voice: Voice = Voice(), **settings):
        super().__init__(*args, **settings)
        self.tone, self.voice = tone, voice


class Plain(Coconut):
    pass


class Soft(SoftCoT):
    pass
"""
LOUD = {"model.class_path": "voices.Loud", "model.init_args.tone": "C", "model.init_args.voice": {"level": 3}}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with ``voices.py`` where Python finds it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "voices", raising=False)
    Path("voices.py").write_text(CODE, encoding="utf-8")
    return tmp_path


@pytest.fixture
def run(place: Path) -> Path:
    """A finished run of ``voices.Loud``."""
    outcome = lcot("fit", "-c", write_config(place, LOUD))
    assert outcome.code == 0, outcome.err
    assert "lcot test -c runs/tiny/config.yaml --code=voices.py" in outcome.err, "what to do next"
    return place / "runs" / "tiny"


def test_a_subclass_with_settings_of_its_own(run: Path) -> None:
    solver = package.load(run)
    assert own_class(type(solver.module)) == "voices:Loud" and isinstance(solver.module, Coconut)
    module: Any = solver.module
    assert (module.tone, module.voice.level, module.max_new_tokens) == ("C", 3, 3)
    assert len(solver.solve([QUESTION])) == 1
    with pytest.raises(UserError, match=r"this run's method is voices\.Loud"):
        solver.save_pretrained(run / "model")
    assert not (run / "model").exists()
    for words in (("test", "-c", run / "config.yaml"), ("analyze", run)):
        outcome = lcot(*words, "--code=voices.py")
        assert outcome.code == 0, outcome.err


def test_without_its_config_it_cannot_be_made_anew(run: Path) -> None:
    config = yaml.safe_load((run / "config.yaml").read_text())
    (run / "config.yaml").write_text(yaml.safe_dump({**config, "model": {**config["model"], "class_path": "x.Other"}}))
    with pytest.raises(CheckpointError, match=r"voices\.Loud has settings of its own: tone, voice") as caught:
        package.load(run)
    assert "its model is x.Other" in str(caught.value)
    config["model"]["init_args"]["voice"] = {"level": "high"}
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(CheckpointError, match=r"no voices\.Loud can be made as the run made it"):
        package.load(run)
    (run / "config.yaml").unlink()
    with pytest.raises(CheckpointError, match="load the run where it is, with its config"):
        package.load(run)


def test_a_class_that_is_not_found(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("voices.py").write_text("Loud = 3", encoding="utf-8")
    del sys.modules["voices"]
    with pytest.raises(CheckpointError, match=r"method is voices\.Loud, and that is no class"):
        package.load(run, code="voices.py")
    Path("voices.py").write_text("", encoding="utf-8")
    del sys.modules["voices"]
    with pytest.raises(CheckpointError, match=r"method is voices\.Loud, and it cannot be imported") as caught:
        package.load(run, code="voices.py")
    assert "has no attribute 'Loud'" in str(caught.value)
    del sys.modules["voices"]
    with pytest.raises(CheckpointError, match=r"trained by voices\.Loud, a class that is not here") as caught:
        package.load(run)
    assert "voices" not in sys.modules and "lcot.load(…, code='FILE.py')" in str(caught.value)
    with pytest.raises(CheckpointError, match="into a file of its own"):
        import_own("__main__:Loud")


def test_it_is_not_taken_for_another_of_its_name(run: Path) -> None:
    saved = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    mine = dict(saved["lcot"])
    assert check_fits(saved, mine) == mine
    with pytest.raises(CheckpointError, match=r"was trained by voices\.Loud, and the config makes a others\.Loud"):
        check_fits(saved, {**mine, "class": "others:Loud"})
    with pytest.raises(CheckpointError, match=r"was trained by voices\.Loud, and the config makes a Loud"):
        check_fits(saved, {**mine, "class": None})


def test_what_extends_neither_method_is_refused(run: Path) -> None:
    file = run / "checkpoints" / "last.ckpt"
    saved = torch.load(file, weights_only=True)
    torch.save({**saved, "lcot": {**saved["lcot"], "class": "pathlib:Path"}}, file)
    with pytest.raises(CheckpointError, match="holds a Loud, and load") as caught:
        package.load(run, checkpoint="last.ckpt")
    assert "subclasses" in str(caught.value)


def test_a_subclass_of_softcot(place: Path) -> None:
    pair: Pair = make_pair(place / "pair")
    config = pair.settings()
    config["model"]["class_path"] = "voices.Soft"
    Path("soft.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    outcome = lcot("fit", "-c", "soft.yaml")
    assert outcome.code == 0, outcome.err
    solver = package.load("runs/soft")
    assert own_class(type(solver.module)) == "voices:Soft" and isinstance(solver.module, SoftCoT)
    assert len(solver.solve(["What is 1 and 2 with 9?"])) == 1
    saved = torch.load("runs/soft/checkpoints/last.ckpt", weights_only=True)
    del saved["lcot"]["soft_thoughts"]
    torch.save(saved, "runs/soft/checkpoints/last.ckpt")
    with pytest.raises(CheckpointError, match="cannot be used") as caught:
        package.load("runs/soft", checkpoint="last.ckpt")
    assert "soft_thoughts is missing" in str(caught.value)


def test_the_script_finds_classes_in_the_current_folder(place: Path) -> None:
    config = write_config(place, {"model.class_path": "voices.Plain"})
    script = place / "bin" / "lcot"
    script.parent.mkdir()
    script.write_text("from lcot.__main__ import main\nmain()\n", encoding="utf-8")  # what an installer writes
    words = [sys.executable, str(script), "fit", "-c", config.name, "--print_config"]
    done = subprocess.run(words, env={"PYTHONPATH": str(Path(package.__file__).parents[1])}, capture_output=True)
    assert b"class_path: voices.Plain" in done.stdout, done.stderr.decode()

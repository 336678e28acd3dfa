"""Every config that is shipped parses, names its own command, and trains."""

from __future__ import annotations

import functools
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from lcot.runs.configs import find
from tests.places import ROOT
from tests.stand_ins import data_options, pretrained, softcot_models
from tests.tiny import contents, lcot, write_config
from tests.training import tiny_data

CONFIGS = ROOT / "configs"
WHOLE = sorted(CONFIGS.glob("*.yaml"))
METHODS = sorted(CONFIGS.glob("methods/*.yaml"))
FROZEN = ("lora", "coconut_lora")
"""Methods that want a pretrained model."""
FAMILY = ("codi", "pccot", "kava", "lotus", "simcot", "simcot_codi", "cmtp", "colar", "coconut_rescale")
"""Methods with a thinker, a feed or objectives of their own."""
UNTRAINED = ("zero_shot_cot", "cot_unk", "assist_cot", "softcot_zeros", "softcot_random")
"""Methods of SoftCoT's models that train nothing."""
SOFTCOT = ("softcot", "softcot_shuffled", "softcot_pp", "softcot_lora", "softcot_coconut", *UNTRAINED)
"""Methods of SoftCoT's models."""
OTHERS = [path for path in METHODS if path.stem not in SOFTCOT]
PAPER = sorted(CONFIGS.glob("paper/*.yaml"))
TRANSFER = {"date_understanding": "aqua"}
"""Data to test on alone, and the config of the run that is tested."""
UNDER_COT = ("aqua", "closed_prosqa", "prosqa", "prosqa_symbolic")
"""A config of each kind of curriculum that a method takes the place of."""
PROSQA, SOFT = CONFIGS / "prosqa.yaml", CONFIGS / "softcot_prosqa.yaml"


def name(path: Path) -> str:
    """A config as commands name it."""
    return path.relative_to(ROOT).as_posix()


def printed(*configs: Path) -> dict[str, Any]:
    """What the configs amount to."""
    whole: dict[str, Any] = yaml.safe_load(text_of(*configs))
    return whole


@functools.cache
def text_of(*configs: Path) -> str:
    """What is printed of the configs; most are asked for by several tests."""
    words = [word for path in configs for word in ("-c", path)]
    outcome = lcot("fit", *words, "--print_config")
    assert outcome.code == 0, outcome.err
    assert not outcome.err
    return outcome.out


def last_stage_thoughts(schedule: dict[str, Any]) -> int:
    """Thoughts of a stepwise curriculum's last stage."""
    return int(schedule["max_stage"] * schedule["thoughts_per_step"])


def test_there_is_a_config_for_every_method_of_the_coconut_paper() -> None:
    methods = {path.stem for path in METHODS}
    paper = {
        "cot",
        "no_cot",
        "icot",
        "pause",
        "coconut",
        "coconut_no_curriculum",
        "coconut_no_thought",
        "pause_as_thought",
    }
    assert paper <= methods


@pytest.mark.parametrize("path", [*WHOLE, *METHODS, *PAPER], ids=name)
def test_the_head_of_a_config_is_its_command(path: Path) -> None:
    head = "\n".join(line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("#"))
    does = "test" if path.stem in (*TRANSFER, *UNTRAINED) else "fit"
    commands = re.findall(r"^# python -m lcot (\w+) (.*?)(?:  .*)?$", head, flags=re.MULTILINE)
    named = [[find(word) for word in re.findall(r"-c (\S+)", words)] for _, words in commands]
    # Those of the models that it takes may stand before its own.
    assert commands[-1][0] == does and named[-1][-1] == path
    assert all(other is not None for words in named for other in words)


@pytest.mark.parametrize("path", [*WHOLE, *PAPER], ids=name)
def test_a_config_parses_on_its_own(path: Path) -> None:
    assert printed(path)["trainer"]["max_epochs"] >= 1


@pytest.mark.parametrize("method", OTHERS, ids=lambda path: path.stem)
def test_a_method_changes_the_curriculum_only(method: Path) -> None:
    before, after = printed(PROSQA), printed(PROSQA, method)
    if method.stem == "hints":
        hints = {"share": 0.5, "words": 4, "right": 0.5, "drop_facts": True}
        assert after["data"]["init_args"].pop("hints") == hints and before["data"]["init_args"].pop("hints") is None
    if method.stem in FROZEN:
        published = {"rank": 16, "alpha": 32, "targets": ["q_proj", "v_proj"], "dropout": 0.1}
        assert after["model"]["init_args"]["backbone"].pop("lora") == published
        assert before["model"]["init_args"]["backbone"].pop("lora") is None
    if method.stem in FAMILY:
        for part in ("thinker", "feed", "objectives"):
            assert before["model"]["init_args"].pop(part) is None
            after["model"]["init_args"].pop(part)
    for section in before:
        if section != "curriculum":
            assert after[section] == before[section]
    old, new = before["curriculum"]["schedule"], after["curriculum"]["schedule"]
    reset = "stage" if method.stem == "icot" else before["curriculum"]["reset_optimizer"]
    assert after["curriculum"] == {**before["curriculum"], "schedule": new, "reset_optimizer": reset}
    if new["class_path"] == old["class_path"]:
        changed = {key for key, value in new["init_args"].items() if old["init_args"][key] != value}
        mixed = method.stem in ("improved_coconut", "coconut_mixed")
        mixing = {"mix_probability", "mix_support", "mix_weights"} if mixed else set()
        assert changed <= {"kind", "thoughts_per_step"} | mixing
    else:
        assert new["class_path"].endswith((".Fixed", ".Tokenwise", ".Spanwise"))


@pytest.mark.parametrize("method", ["pause", "coconut_no_curriculum"])
def test_methods_without_stages_think_as_much_as_the_last_stage_of_coconut(method: str) -> None:
    schedule = printed(PROSQA, CONFIGS / "methods" / f"{method}.yaml")["curriculum"]["schedule"]["init_args"]
    assert schedule["thoughts"] == last_stage_thoughts(printed(PROSQA)["curriculum"]["schedule"]["init_args"])


@pytest.mark.parametrize("order", [("cot", "coconut"), ("coconut_no_thought", "coconut"), ("pause", "no_cot")])
def test_of_two_methods_the_second_counts(order: tuple[str, str]) -> None:
    both = printed(PROSQA, *(CONFIGS / "methods" / f"{method}.yaml" for method in order))
    alone = printed(PROSQA, CONFIGS / "methods" / f"{order[1]}.yaml")
    first, second = both["curriculum"]["schedule"], alone["curriculum"]["schedule"]
    assert first["class_path"] == second["class_path"] and first["init_args"]["kind"] == second["init_args"]["kind"]


@pytest.mark.parametrize("method", OTHERS, ids=lambda path: path.stem)
def test_a_method_trains(method: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_config(tmp_path)
    command = ("fit", "-c", "tiny.yaml", "-c", method, "--trainer.fast_dev_run=true")
    if method.stem in FROZEN:
        refused = lcot(*command)
        assert refused.code == 2 and "those of a model from scratch are random" in refused.block
        pretrained(tmp_path / "model", tiny_data().vocabulary())
        write_config(tmp_path, {"model.init_args.backbone": {"path": "model"}, "data.init_args.tokenizer": "model"})
    before = contents(tmp_path)
    outcome = lcot(*command)
    assert outcome.code == 0, outcome.err
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    ("path", "method"),
    [
        *((path, None) for path in WHOLE if path.stem not in TRANSFER and path != SOFT),
        *((CONFIGS / f"{path}.yaml", "cot") for path in UNDER_COT),
    ],
    ids=lambda value: name(value) if isinstance(value, Path) else value,
)
def test_a_config_trains(path: Path, method: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    small = data_options(yaml.safe_load(path.read_text(encoding="utf-8")), tmp_path, published=False)
    over = ["-c", CONFIGS / "methods" / f"{method}.yaml"] if method is not None else []
    before = contents(tmp_path)
    quick = ("--data.batch_size=4", "--trainer.fast_dev_run=true", "--trainer.accelerator=cpu")
    outcome = lcot("fit", "-c", path, *over, *small, *quick)
    assert outcome.code == 0, outcome.err
    assert contents(tmp_path) == before


@pytest.fixture(scope="module")
def softcot_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the two models that configs/softcot_prosqa.yaml is about."""
    return softcot_models(tmp_path_factory.mktemp("softcot"))


def test_there_is_a_config_for_every_baseline_and_control_of_softcot() -> None:
    assert set(SOFTCOT) <= {path.stem for path in METHODS}


def test_softcot_is_what_its_config_is_already() -> None:
    assert printed(SOFT, CONFIGS / "methods" / "softcot.yaml") == printed(SOFT)


@pytest.mark.parametrize("method", [None, *SOFTCOT])
def test_a_method_of_softcot(
    method: str | None, softcot_runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It trains, or is tested if it trains nothing, over its own config alone: others have no assistant."""
    monkeypatch.chdir(softcot_runs)
    small = [f"--data.{split}_size=4" for split in ("train", "val", "test")]
    over = ["-c", CONFIGS / "methods" / f"{method}.yaml"] if method is not None else []
    quick = ("--data.batch_size=2", "--trainer.accelerator=cpu", "--trainer.fast_dev_run=true")
    before = contents(softcot_runs)
    words = ("-c", SOFT, *over, *small, *quick, f"--runs_dir={tmp_path / 'runs'}")
    outcome = lcot("test" if method in UNTRAINED else "fit", *words)
    assert outcome.code == 0, outcome.err
    if method in UNTRAINED:
        refused = lcot("fit", *words)
        assert refused.code == 2 and "this method trains nothing" in refused.block
    assert contents(softcot_runs) == before and not (tmp_path / "runs").exists()


@pytest.mark.parametrize(("config", "trained"), TRANSFER.items())
def test_data_to_test_on_alone(config: str, trained: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run that the config names is tested on them; they cannot be trained on."""
    monkeypatch.chdir(tmp_path)
    own, other = CONFIGS / f"{config}.yaml", CONFIGS / f"{trained}.yaml"
    assert {key: printed(own)[key] for key in ("model", "curriculum")} == {
        key: printed(other)[key] for key in ("model", "curriculum")
    }
    quick = ("--data.batch_size=4", "--trainer.accelerator=cpu", "--model.max_new_tokens=3")
    settings = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in (other, own)]
    small, data = (data_options(one, tmp_path, published=False) for one in settings)
    method = ("-c", CONFIGS / "methods" / "cot.yaml")  # one epoch will do
    short = ("--trainer.max_epochs=1", "--model.lr_scheduler.warmup_steps=1", f"--name={trained}")
    outcome = lcot("fit", "-c", other, *method, *small, *quick, *short)
    assert outcome.code == 0, outcome.err
    refused = lcot("fit", "-c", own, *data, *quick)
    assert refused.code == 2 and "has no training data" in refused.block and "--ckpt_path=runs/aqua" in refused.block
    checkpoint = f"--ckpt_path=runs/{trained}/checkpoints/last.ckpt"
    outcome = lcot("test", "-c", own, *method, *data, *quick, f"--name={config}", checkpoint)
    assert outcome.code == 0, outcome.err
    report = json.loads(Path(f"runs/{config}/test.json").read_text(encoding="utf-8"))
    assert report["metrics"]["test/examples"] == 4 and report["protocol"]["extractor"].startswith("choice: ")

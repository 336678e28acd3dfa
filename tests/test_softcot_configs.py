"""The published settings of SoftCoT, on stand-ins for their chat models and data: every file of configs/softcot.

Commands run as they stand there. In the folder that they start in, what they ask the Hub for lies under its name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import datasets
import pytest
import torch
import yaml

from lcot.modules.stored import pick_checkpoint
from lcot.reasoning.stepwise import Stepwise
from tests.chat import Family, chat_tokenizer
from tests.models import tiny_model
from tests.places import ROOT
from tests.stand_ins import AQUA, STRATEGYQA
from tests.tiny import Outcome, lcot, write_records

FOLDER = ROOT / "configs" / "softcot"
METHODS = ROOT / "configs" / "methods"
OFFICIAL, COCONUT = FOLDER / "official.yaml", FOLDER / "coconut.yaml"
CONFIGS = sorted(set(FOLDER.glob("*.yaml")) - {OFFICIAL, COCONUT})
PAIRS: dict[str, tuple[Family, str, str, str]] = {
    "llama31_8b": ("llama3", "llama", "meta-llama/Llama-3.1-8B-Instruct", "meta-llama/Llama-3.2-1B-Instruct"),
    "qwen25_7b": ("qwen25", "qwen2", "Qwen/Qwen2.5-7B-Instruct", "Qwen/Qwen2.5-1.5B-Instruct"),
    "qwen3_8b": ("qwen3", "qwen3", "Qwen/Qwen3-8B", "Qwen/Qwen3-0.6B"),
}
"""By the beginning of a config's name: family of prompts, architecture, language model, assistant."""
TASKS = {"gsm8k": "gsm8k", "asdiv_aug": "asdiv", "aqua": "aqua", "strategyqa": "strategyqa"}
"""By the end of a config's name, the prompt."""
ONE_OF_EACH = [FOLDER / f"{name}.yaml" for name in ("llama31_8b_gsm8k", "qwen25_7b_strategyqa", "qwen3_8b_aqua")]
"""A config of each family."""
TESTED = [*ONE_OF_EACH, FOLDER / "llama31_8b_asdiv_aug.yaml"]
"""Of each family and of each task one."""
LLAMA, QWEN25, QWEN3 = ONE_OF_EACH

SOCRATIC = [
    {
        "question": f"Ann has {cats} cats and 2 dogs. How many pets does she have?",
        "answer": f"How many pets? ** She has {cats}+2 = <<{cats}+2={cats + 2}>>{cats + 2} pets.\n#### {cats + 2}",
    }
    for cats in range(3, 27)
]
"""Records in the socratic form of GSM8K."""

AUGMENTED = [
    {
        "question": f"Tim had {pens} pens. He lost 3. How many now?",
        "answer": f"<<{pens}-3={pens - 3}>>\n####{pens - 3}",
    }
    for pens in range(7, 31)
]
"""Records of ASDiv-Aug's form."""

CARD = """\
---
configs:
- config_name: {name}
  data_files:
{files}
---
"""

QUICK = ("--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false", "--model.max_new_tokens=3")
SHORT = ("--trainer.max_epochs=1", "--trainer.limit_train_batches=1", "--trainer.limit_val_batches=1")


def parts(config: Path) -> tuple[str, str]:
    """Pair of models and task in a config's name."""
    pair = next(pair for pair in PAIRS if config.stem.startswith(f"{pair}_"))
    return pair, config.stem.removeprefix(f"{pair}_")


def commands(config: Path) -> list[list[str]]:
    """The words of each command at a config's head, behind ``python -m lcot``."""
    text = config.read_text(encoding="utf-8")
    return [
        found.replace("\n#", " ").split() for found in re.findall(r"^# python -m lcot (.*(?:\n#   -.*)*)", text, re.M)
    ]


def write_data_set(folder: Path, name: str | None, splits: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Write a data set as it lies on the Hub, with one configuration of this name if it has any."""
    folder.mkdir(parents=True)
    for split, records in splits.items():
        lines = "".join(json.dumps(record) + "\n" for record in records)
        (folder / f"the-{split}.jsonl").write_text(lines, encoding="utf-8")
    if name is not None:
        files = "\n".join(f"  - split: {split}\n    path: the-{split}.jsonl" for split in splits)
        (folder / "README.md").write_text(CARD.format(name=name, files=files), encoding="utf-8")


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with small models and data under the names of those that the configs ask for."""
    folder = tmp_path_factory.mktemp("hub")
    for family, architecture, *names in PAIRS.values():
        for name, width in zip(names, (32, 16), strict=True):
            tokenizer = chat_tokenizer(family)
            tokenizer.save_pretrained(folder / name)
            ids = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
            shape = {"hidden_size": width, "vocab_size": len(tokenizer), "max_position_embeddings": 4096}
            tiny_model(architecture, **shape, **ids).save_pretrained(folder / name)
    write_data_set(folder / "openai" / "gsm8k", "socratic", {"train": SOCRATIC, "test": SOCRATIC[:2]})
    write_data_set(folder / "xuyige" / "ASDiv-Aug", None, {"train": AUGMENTED, "test": AUGMENTED[:2]})
    aqua = {"train": AQUA, "validation": AQUA[:2], "test": AQUA[:2]}
    write_data_set(folder / "deepmind" / "aqua_rat", "raw", aqua)
    write_records(folder / "strategyqa_train.json", *STRATEGYQA[:30])
    (folder / "configs").symlink_to(ROOT / "configs")
    return folder


@pytest.fixture(autouse=True)
def there(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands start where the models are, and keep what they keep for later in that folder too."""
    monkeypatch.chdir(hub)
    monkeypatch.setenv("XDG_CACHE_HOME", str(hub / "cache"))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(hub / "cache"))


def done(*words: object) -> Outcome:
    """A command that must succeed."""
    outcome = lcot(*words)
    assert outcome.code == 0, outcome.err
    return outcome


def report(runs: Path, name: str) -> dict[str, Any]:
    """The result of a run's test."""
    read: dict[str, Any] = json.loads((runs / name / "test.json").read_text(encoding="utf-8"))
    return read


# -- what they say ----------------------------------------------------------------------------------------------------


def test_there_is_one_for_each_pair_of_models_and_task() -> None:
    assert sorted(path.stem for path in CONFIGS) == sorted(f"{pair}_{task}" for pair in PAIRS for task in TASKS)


@pytest.mark.parametrize("config", [*CONFIGS, OFFICIAL, COCONUT], ids=lambda path: path.stem)
def test_its_head_has_its_commands_and_its_values_have_sources(config: Path) -> None:
    text, said = config.read_text(encoding="utf-8"), commands(config)
    assert len(text.splitlines()) < 40
    assert f"softcot/{config.stem}" in said[0]
    assert "arXiv 2502.12134" in text or "arXiv 2505.11484" in text
    if config in CONFIGS:
        assert said[0] == ["fit", "-c", f"softcot/{config.stem}"] and "as published" in text.casefold()
        assert said[-1][:5] == [*said[0], "-c", "softcot/official"]
        assert text.count("released code") + text.count("paper") + text.count("ours") >= 10


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_its_values_are_the_published_ones(config: Path) -> None:
    settings = yaml.safe_load(config.read_text(encoding="utf-8"))
    pair, task = parts(config)
    family, _, llm, assistant = PAIRS[pair]
    model, data = settings["model"]["init_args"], settings["data"]["init_args"]
    assert model["backbone"] == {"path": llm, "dtype": "bfloat16"} and data["tokenizer"] == llm
    assert model["assistant"] == {"path": assistant, "dtype": "bfloat16"}
    assert data["dialogue"] == {"prompt": f"{family}/{TASKS[task]}", "assistant": assistant}
    assert model["optimizer"]["init_args"] == {"lr": 2e-5, "weight_decay": 0.0}
    assert model["lr_scheduler"]["init_args"] == {"decay": 1.0}
    sampling = {"temperature": 1.0, "top_k": 50 if family == "llama3" else 20, "seed": 41}
    assert model["sampling"] == sampling | ({"repetition_penalty": 1.05} if family == "qwen25" else {})
    assert model["voting"] == {"runs": 5}
    assert model["max_new_tokens"] == (4096 if family == "qwen3" and task != "strategyqa" else 1024)
    assert data["batch_size"] == 4 and data["extractors"][1:] == ["softcot_official"]
    thoughts = {"hidden": "none", "thoughts": 32, "inference_thoughts": 4, "kind": "soft"}
    assert settings["curriculum"]["schedule"]["init_args"] == thoughts
    assert settings["trainer"] == {"max_epochs": 10, "gradient_clip_val": 1.0}


# -- what they do -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_it_trains_and_is_tested(config: Path, tmp_path: Path) -> None:
    """Each is trained; what a test needs beyond that is of its family and task."""
    words = [*commands(config)[0], *QUICK, f"--runs_dir={tmp_path}"]
    done(*words, *SHORT)
    saved = torch.load(pick_checkpoint(tmp_path / config.stem), weights_only=True)
    assert {name: tuple(weight.shape) for name, weight in saved["state_dict"].items()} == {
        "projection.maps.0.weight": (32, 16),
        "projection.maps.0.bias": (32,),
    }
    assert {weight.dtype for weight in saved["state_dict"].values()} == {torch.float32}
    state = torch.load(tmp_path / config.stem / "checkpoints" / "last.ckpt", weights_only=True)["optimizer_states"][0]
    assert [group["lr"] for group in state["param_groups"]] == [0.0]  # one step of one
    if config not in TESTED:
        return
    done("test", *words[1:])
    tested = report(tmp_path, config.stem)
    assert tested["metrics"]["test/thoughts"] == 4 and tested["metrics"]["test/accuracy_std"] >= 0
    decoding = tested["protocol"]["decoding"]
    assert decoding["seeds"] == [41, 42, 43, 44, 45] and decoding["votes"] == 1
    (name,) = tested["protocol"]["further_extractors"]
    assert name.startswith("accuracy_softcot_official_")


def rows(*words: object) -> dict[str, str]:
    """What an example looks like in training and to inference, by these names."""
    found = (block.partition(":") for block in done("show", *words).out.split("\n── ")[1:])
    return {name: text for name, _, text in found}


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_the_released_codes_way(config: Path) -> None:
    """The last command at a config's head trains, and its rows are what the released code made."""
    words = commands(config)[-1]
    if config in TESTED:
        done(*words, *QUICK, "--trainer.fast_dev_run=true")
    (family, *_), task = PAIRS[parts(config)[0]], parts(config)[1]
    ours, theirs = rows(*words[1:3]), rows(*words[1:])
    end = {"llama3": "<|eot_id|>", "qwen25": "<|im_end|>", "qwen3": "<|im_end|>"}[family]
    header = {
        "llama3": "<|start_header_id|>assistant<|end_header_id|>\n\n",
        "qwen25": "\n<|im_start|>assistant\n",
        "qwen3": "",
    }[family]
    kept, supervised = (side["training, stage 0"].partition("⟦")[2].rstrip() for side in (ours, theirs))
    dropped = family == "llama3" and task in ("gsm8k", "asdiv_aug")
    assert kept.endswith(f"{end}⟧") and supervised.startswith(header)
    assert supervised.endswith("⟧") and (not supervised.endswith(f"{end}⟧")) is dropped
    assert ("#### " in supervised) is (task != "strategyqa") and "#### " not in kept
    steps = "## Step 1: Owls are birds." if task == "strategyqa" else "## Step 1: "
    assert steps in supervised and (steps in kept) is (task != "strategyqa")
    told = [block.partition("⟦")[0] for block in (ours["training, stage 0"], theirs["training, stage 0"])]
    short = family == "qwen3" and task != "strategyqa"
    assert ["be concise" in text for text in told] == [task != "strategyqa", task != "strategyqa" and not short]
    assert "be concise" in theirs["inference"] or task == "strategyqa"
    opened = theirs["inference"].rstrip().endswith(f"{end}")
    assert opened is (family != "qwen3") and "assistant" in ours["inference"].rstrip()[-60:]
    assert ours["training, stage 0"].count("▢") == 32 and ours["inference"].count("▢") == 4


def test_the_stages_of_coconut_fit_the_epochs() -> None:
    schedule = yaml.safe_load(COCONUT.read_text(encoding="utf-8"))["curriculum"]["schedule"]["init_args"]
    assert sum(schedule["epochs_per_stage"]) == 10
    Stepwise(**schedule).check_reach(10)


@pytest.mark.parametrize(
    ("method", "config"),
    [("softcot_shuffled", QWEN25), ("softcot_lora", QWEN3), *(("coconut_lora", config) for config in ONE_OF_EACH)],
    ids=lambda value: value.stem if isinstance(value, Path) else value,
)
def test_methods_that_train(method: str, config: Path) -> None:
    over = ["-c", COCONUT] if method == "coconut_lora" else []
    outcome = done("fit", "-c", config, *over, "-c", METHODS / f"{method}.yaml", *QUICK, "--trainer.fast_dev_run=true")
    assert f"stage {4 if over else 0} of {4 if over else 0}, " in outcome.err  # a trial goes through the last one
    assert over or f", {4 if method == 'softcot_shuffled' else 0} thoughts" in outcome.err


@pytest.mark.parametrize(
    ("method", "thoughts", "config"),
    [
        *(("zero_shot_cot", 0, config) for config in ONE_OF_EACH),
        *(("cot_unk", 4, config) for config in ONE_OF_EACH),
        *(("assist_cot", 0, config) for config in ONE_OF_EACH),
        ("softcot_zeros", 4, LLAMA),  # these two ask no tokenizer for anything
        ("softcot_random", 4, QWEN25),
    ],
    ids=lambda value: value.stem if isinstance(value, Path) else str(value),
)
def test_methods_that_train_nothing(method: str, thoughts: int, config: Path, tmp_path: Path) -> None:
    done("test", "-c", config, "-c", METHODS / f"{method}.yaml", *QUICK, f"--runs_dir={tmp_path}")
    tested = report(tmp_path, f"{config.stem}-{method}")
    assert tested["metrics"]["test/thoughts"] == thoughts and tested["checkpoint"] == "none"


def test_several_paths(tmp_path: Path) -> None:
    words = ["-c", QWEN3, "-c", METHODS / "softcot_pp.yaml", *QUICK, f"--runs_dir={tmp_path}", "--name=pp"]
    words.append("--model.voting.runs=1")
    done("fit", *words, *SHORT, "--data.batch_size=2")
    done("test", *words)
    assert report(tmp_path, "pp")["protocol"]["decoding"]["votes"] == 10

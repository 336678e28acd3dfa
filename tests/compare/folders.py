"""Run folders written by hand: what compare reads, without a model."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from lcot.runs.by_question import Marks

CONFIG: dict[str, Any] = {
    "seed_everything": 0,
    "trainer": {"max_epochs": 4, "accumulate_grad_batches": 1, "logger": None},
    "model": {
        "class_path": "lcot.modules.Coconut",
        "init_args": {"backbone": {"config": {"model_type": "gpt2", "n_embd": 16}}, "max_new_tokens": 8},
    },
    "data": {
        "class_path": "lcot.datamodules.ProsQA",
        "init_args": {"hops": [1, 4], "batch_size": 64, "eval_batch_size": 250, "test_path": None, "seed": None},
    },
    "curriculum": {
        "schedule": {"class_path": "lcot.reasoning.Stepwise", "init_args": {"max_stage": 4, "kind": "continuous"}},
        "reset_optimizer": "none",
        "eval_stage": None,
    },
    "best_checkpoint": {"monitor": "val/accuracy", "mode": None},
}

COT = {"curriculum.schedule": {"class_path": "lcot.reasoning.Fixed", "init_args": {"hidden": "none", "kind": "none"}}}
"""Changes that make the config that of chains of thought."""

REPORT: dict[str, Any] = {
    "metrics": {"test/accuracy": 0.9, "test/tokens": 2.0, "test/thoughts": 4.0, "test/seconds": 0.0005},
    "split": {"name": "test", "examples": 1000, "of": 1000, "data_hash": "0" * 32},
    "protocol": {
        "extractor": "string: text after the last ###, commas removed, exact match",
        "further_extractors": {},
        "tokens": "generated tokens without eos; thoughts apart",
        "command": "lcot test -c run.yaml",
        "commit": "a" * 40,
    },
    "format": 1,
    "checkpoint": "runs/x/checkpoints/best-stage4-epoch003.ckpt",
    "trained_steps": 800,
    "run_steps": 800,
    "run_begun": "2026-11-30",
    "batch_size": 250,
    "device": "a processor",
}

COST: dict[str, Any] = {
    "format": 1,
    "finished": True,
    "optimizer_steps": 800,
    "epochs": 4,
    "examples": 51200,
    "wall_seconds": 120.0,
    "cpu_seconds": 110.0,
    "peak_memory_bytes": {"rss": 1024, "cuda": None},
    "begun": "2026-11-30",
    "starts": 1,
    "world_size": 1,
    "device": "a processor",
    "threads": 1,
    "parameters": 62_000,
    "trainable_parameters": 62_000,
    "commits": ["a" * 40],
}


def changed(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A copy with some values replaced, by dotted keys; ``...`` removes one."""
    made = copy.deepcopy(dict(values))
    for key, value in changes.items():
        *groups, last = key.split(".")
        place = made
        for group in groups:
            place = place[group]
        if value is ...:
            del place[last]
        else:
            place[last] = value
    return made


def write_run(
    folder: Path,
    name: str,
    seed: int = 0,
    config: Mapping[str, Any] | None = None,
    report: Mapping[str, Any] | None = None,
    cost: Mapping[str, Any] | None = None,
) -> Path:
    """Write a finished and tested run.

    Args:
        folder: Where runs are.
        name: Of the run.
        seed: Its seed; questions depend on it, as generated ones do.
        config: Changes to its settings.
        report: Changes to ``test.json``.
        cost: Changes to ``fit.json``.
    """
    path = folder / name
    (path / "checkpoints").mkdir(parents=True)
    (path / "checkpoints" / "last.ckpt").touch()
    own = {"seed_everything": seed, "name": name, "runs_dir": str(folder)}
    settings = {**changed(CONFIG, config or {}), **own}
    (path / "config.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    sections = {name: settings[name] for name in ("model", "data", "curriculum")}
    tested = changed({**REPORT, **copy.deepcopy(sections), "seed": seed}, {"split.data_hash": f"{seed}" * 32})
    (path / "test.json").write_text(json.dumps(changed(tested, report or {})), encoding="utf-8")
    (path / "fit.json").write_text(json.dumps(changed(COST, cost or {})), encoding="utf-8")
    return path


def answered(*runs: str, of: int | None = None) -> dict[str, Any]:
    """Changes to ``test.json``: which questions were answered right.

    Args:
        runs: A letter a question for each run of the voting: ``x`` is right.
        of: How many questions there are, if the later ones were not asked.
    """
    marks = Marks(of or len(runs[0]), len(runs))
    marks.add(range(len(runs[0])), [[letter == "x" for letter in run] for run in runs])
    letters = "".join(runs)
    return {
        "metrics.test/accuracy": letters.count("x") / len(letters),
        "split.examples": len(runs[0]),
        "split.of": of or len(runs[0]),
        "protocol.decoding": {"runs": len(runs)},
        "by_question": marks.described(),
    }


def write_untrained(
    folder: Path, name: str, config: Mapping[str, Any] | None = None, report: Mapping[str, Any] | None = None
) -> Path:
    """Write the evaluation of a model as it is, with seed 0.

    Args:
        folder: Where runs are.
        name: Of the run.
        config: Changes to its settings.
        report: Changes to ``test.json``.
    """
    none = {"checkpoint": "none", "trained_steps": None, "run_steps": None, **(report or {})}
    path = write_run(folder, name, config={"ckpt_path": "none", **(config or {})}, report=none)
    shutil.rmtree(path / "checkpoints")
    (path / "fit.json").unlink()
    return path

"""The command line on a model that is trained in a second, within this process."""

from __future__ import annotations

import contextlib
import copy
import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from lcot.cli.main import main

_SETTINGS: dict[str, Any] = {
    "model": {
        "class_path": "Coconut",
        "init_args": {
            "backbone": {
                "config": {
                    "model_type": "llama",
                    "hidden_size": 16,
                    "intermediate_size": 16,
                    "num_hidden_layers": 1,
                    "num_attention_heads": 2,
                    "max_position_embeddings": 128,
                }
            },
            "max_new_tokens": 3,
        },
    },
    "data": {
        "class_path": "ProsQA",
        "init_args": {
            "nodes": [5, 7],
            "hops": [1, 2],
            "symbols": 12,
            "train_size": 12,
            "val_size": 5,
            "test_size": 5,
            "style": "compact",
            "batch_size": 6,
        },
    },
    "curriculum": {"schedule": {"class_path": "Stepwise", "init_args": {"epochs_per_stage": [1, 1], "max_stage": 1}}},
    "dashboard": {"tree": "never"},
    "trainer": {"max_epochs": 2, "accelerator": "cpu", "enable_progress_bar": False},
}

RECORD = {"question": "Tom is a cat. Is Tom a cat or a dog?", "steps": ["Tom is a cat."], "answer": "Tom is a cat."}
"""An example as data files hold it."""


@dataclass(frozen=True)
class Outcome:
    """What a command left behind.

    Attributes:
        code: Its exit code.
        out: Its standard output.
        err: Its standard error.
    """

    code: int
    out: str
    err: str

    @property
    def block(self) -> str:
        """The refusal, without what stands before it."""
        _, found, block = self.err.partition("lcot: error: ")
        assert found, self.err
        return block


def lcot(*args: object) -> Outcome:
    """Run a command line."""
    out, err = io.StringIO(), io.StringIO()
    code: Any = 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main([str(arg) for arg in args])
        except SystemExit as stop:
            code = stop.code
    return Outcome(code, out.getvalue(), err.getvalue())


def settings(changes: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The settings of a tiny run.

    Args:
        changes: By dotted keys as in a file, ``init_args`` included; ``...`` removes one.
    """
    made = copy.deepcopy(_SETTINGS)
    for key, value in (changes or {}).items():
        *groups, last = key.split(".")
        place = made
        for group in groups:
            place = place.setdefault(group, {})
        if value is ...:
            del place[last]
        else:
            place[last] = value
    return made


def write_config(folder: Path, changes: Mapping[str, Any] | None = None, name: str = "tiny") -> Path:
    """Write :func:`settings` to ``<name>.yaml``."""
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(settings(changes), sort_keys=False), encoding="utf-8")
    return path


def write_records(file: Path, *records: Mapping[str, Any]) -> Path:
    """Write a data file."""
    file.write_text(json.dumps(list(records)), encoding="utf-8")
    return file


def contents(folder: Path) -> dict[str, str]:
    """A hash of every file below a folder, by its path; folders count too."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        for path in sorted(folder.rglob("*"))
    }

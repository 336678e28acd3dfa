"""The parser of a command."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Optional, Union

import yaml
from jsonargparse import ArgumentParser

from lcot.cli.parser import whole_first
from tests.tiny import write_config


def test_a_whole_number_is_no_fraction_whatever_was_imported_first(tmp_path: Path) -> None:
    config = write_config(tmp_path)
    said = subprocess.run(
        [
            sys.executable,
            "-c",
            "import lcot.compare.render; from lcot.cli.main import main; main()",
            *("fit", "-c", str(config), "--trainer.limit_train_batches=1", "--trainer.limit_val_batches=0.5"),
            *("--trainer.gradient_clip_val=2", "--print_config"),
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    trainer = yaml.safe_load(said)["trainer"]
    limits = [trainer[name] for name in ("limit_train_batches", "limit_val_batches", "gradient_clip_val")]
    assert limits == [1, 0.5, 2] and [type(limit) for limit in limits] == [int, float, int]


def test_unions_of_both_kinds() -> None:
    def made(limit: Optional[Union[float, int]] = None, share: Union[float, str] = 0.5) -> None:  # noqa: UP007, UP045
        """Takes numbers."""

    made.__annotations__.update(limit=Optional[Union[float, int]], share=Union[float, str])  # noqa: UP007, UP045
    whole_first(made)
    parser = ArgumentParser()
    parser.add_function_arguments(made)
    for text, limit in (("1", 1), ("1.0", 1.0), ("0.5", 0.5), ("null", None)):
        found = parser.parse_args([f"--limit={text}", "--share=1"])
        assert (found.limit, type(found.limit)) == (limit, type(limit)) and found.share == 1.0

"""Null is refused where a setting wants a value."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tiny import lcot, write_config


@pytest.mark.parametrize(
    "option",
    [
        "--data.text.before_answer=null",
        "--data.text.before_answer=None",
        "--data.text={after_step: ~}",
        "--model.backbone.attention=null",
        "--model.max_new_tokens=null",
        "--data.style=null",
    ],
)
def test_null_for_a_value(option: str, tmp_path: Path) -> None:
    outcome = lcot("fit", "-c", write_config(tmp_path), option, "--trainer.fast_dev_run=1")
    assert outcome.code == 2 and "null" in outcome.block and option.partition("=")[0][2:] in outcome.block


@pytest.mark.parametrize("option", ["--data.text=null", "--model.sampling=null", "--trainer.logger=null"])
def test_null_for_nothing(option: str, tmp_path: Path) -> None:
    outcome = lcot("fit", "-c", write_config(tmp_path), option, "--trainer.fast_dev_run=1")
    assert outcome.code == 0, outcome.err

"""What a checkpoint says about its model, against what the config says."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lcot.errors import CheckpointError
from lcot.modules.description import FORMAT, check_fits


def described(**fields: Any) -> dict[str, Any]:
    """A description with these fields in its model's configuration."""
    return {"format": FORMAT, "module": "Coconut", "vocabulary": "abc", "backbone": json.dumps(fields)}


def test_fields_that_one_release_of_transformers_knows_do_not_count() -> None:
    saved = described(hidden_size=8, gone=3, transformers_version="5.0")
    assert check_fits({"lcot": saved}, described(hidden_size=8, new=True, transformers_version="6.0")) == saved


def test_fields_that_differ_do() -> None:
    with pytest.raises(CheckpointError, match="hidden_size 8 ≠ 16"):
        check_fits({"lcot": described(hidden_size=8, gone=3)}, described(hidden_size=16, new=True))


def test_an_older_description_counts_and_a_newer_one_does_not() -> None:
    assert check_fits({"lcot": {**described(), "format": FORMAT - 1}}, described())
    with pytest.raises(CheckpointError, match="written by a newer lcot"):
        check_fits({"lcot": {**described(), "format": FORMAT + 1}}, described())

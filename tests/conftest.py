"""What tests of several folders share."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.tiny import lcot, write_config

# The models are so small that threads would only wait for one another.
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished tiny run, beside its config ``../../tiny.yaml``. Copy it before you change it."""
    folder = tmp_path_factory.mktemp("trained")
    config = write_config(folder)
    outcome = lcot("fit", "-c", config, "--runs_dir", folder / "runs")
    assert outcome.code == 0, outcome.err
    return folder / "runs" / "tiny"

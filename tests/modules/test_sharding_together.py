"""FSDP2 beside what else changes a step: layers that are computed again, several optimizers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.optim import _muon

from tests import whole_runs
from tests.modules.test_sharding import check_same, run
from tests.test_distributed import EPOCHS, config_of
from tests.whole_runs import STEPS, replace

OWN = "{class_path: AdamW, init_args: {lr: 0.003, eps: 0.0001}}"
OPTIONS = {
    "recomputed": ["--model.activation_checkpointing=true"],
    "muon": [
        "--model.optimizer=torch.optim.Muon",
        "--model.optimizer.lr=0.01",
        f"--model.parameter_groups=[{{match: [vectors, tables], optimizer: {OWN}}}]",
    ],
}


def in_full() -> None:
    """Let Muon compute in float32: its bfloat16 makes much of differences that are rounding."""
    inner = _muon._zeropower_via_newtonschulz

    def orthogonal(grad: Tensor, *settings: object) -> Tensor:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(torch.Tensor, "bfloat16", lambda tensor: tensor.clone())
            made: Tensor = inner(grad, *settings)  # type: ignore[arg-type]
        return made

    replace(_muon, "_zeropower_via_newtonschulz", orthogonal)


@pytest.mark.distributed
@pytest.mark.parametrize("kind", OPTIONS)
def test_two_processes_follow_the_curve_of_one(tmp_path: Path, kind: str) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    one, two = (config_of(tmp_path / name, size) for name, size in (("one", 8), ("two", 4)))
    assert whole_runs.run(one, *OPTIONS[kind], sabotage=[in_full]) == 0
    assert run(two, *OPTIONS[kind], sabotage=[in_full]) == 0
    check_same(one, two, EPOCHS * STEPS)

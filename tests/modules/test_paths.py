"""Where the placeholders of several paths begin."""

from __future__ import annotations

import pytest
import torch

from lcot.modules.paths import Paths


@pytest.mark.parametrize("scale", [1.0, 8.0])
def test_placeholders_begin_as_long_as_words_are_read(scale: float) -> None:
    """Of a table whose columns have means 0 … 3 and deviation 0.5; a model that scales its rows reads longer ones."""
    table = 0.5 * torch.randn(4000, 4, generator=torch.Generator().manual_seed(0)) + torch.arange(4.0)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        drawn = Paths(3000).draw(table, torch.tensor(scale))
    assert torch.allclose(drawn.mean(dim=0) / scale, torch.arange(4.0), atol=0.05)
    assert torch.allclose(drawn.std(dim=0) / scale, torch.full((4,), 0.5), atol=0.05)

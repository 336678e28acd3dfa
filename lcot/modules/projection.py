"""From an assistant's states to soft thoughts: one linear map (SoftCoT, arXiv 2502.12134), or one for each task."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Projection(nn.Module):
    """``thoughts = states Wᵀ + b``, in float32 whatever the models around it compute in.

    In bfloat16 an update at the published learning rate of 2e-5 is lost where it is under half a step of the weight's
    last bit; the published code kept its projection in bfloat16.

    Args:
        states: Width of the assistant's states.
        thoughts: Width of the language model's embeddings.
        tasks: Names of the tasks that have a map of their own; empty for one map of all.
    """

    def __init__(self, states: int, thoughts: int, tasks: Sequence[str] = ()) -> None:
        super().__init__()
        self.tasks = tuple(tasks)
        self.maps = nn.ModuleList(nn.Linear(states, thoughts, dtype=torch.float32) for _ in self.tasks or ("",))

    @property
    def width(self) -> int:
        """Width of the assistant's states."""
        first = self.maps[0]
        assert isinstance(first, nn.Linear)
        return first.in_features

    def forward(self, states: Tensor, tasks: Tensor | None = None) -> Tensor:
        """Project states.

        Args:
            states: ``(B, N, D_a)``, of any type.
            tasks: ``(B,)`` number of each row's task; not needed where there is one map.

        Returns:
            ``(B, N, D)`` in float32. Every map takes part in the graph, also one that no row asks for: a process of
            several would wait for its gradient otherwise.
        """
        with torch.autocast(states.device.type, enabled=False):
            plain = states.to(next(self.parameters()).dtype)
            if len(self.maps) == 1:
                only: Tensor = self.maps[0](plain)
                return only
            assert tasks is not None, "rows of several tasks say which is theirs"
            every = torch.stack([one(plain) for one in self.maps], dim=1)
            return every[torch.arange(len(tasks), device=tasks.device), tasks]

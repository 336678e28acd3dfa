"""Whether thoughts stay alive in training: their norms, and how far neighbours are apart.

Letters in shapes: B rows, N places, D hidden width.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

_MOST = 4096
"""Largest number of norms that are kept for a histogram."""


class ThoughtWatch:
    """Looks at the thoughts of some training batches (:attr:`lcot.modules.base.ReasoningModule.watch`).

    Norms are kept until :meth:`norms` hands them out. Of many, every second one is kept, then every fourth, and so on:
    a histogram needs no more, and neither memory nor a checkpoint grows with the length of an epoch.
    """

    def __init__(self) -> None:
        self._norms = torch.empty(0)
        self._every = 1
        self._passed = 0
        self._means: list[Tensor] = []

    @torch.no_grad()
    def see(self, thoughts: Tensor, there: Tensor) -> None:
        """Take in a batch.

        Args:
            thoughts: ``(B, N, D)``.
            there: ``(B, N)`` bool; which places hold a thought. The thoughts of a row stand at its first places.
        """
        thoughts = thoughts.float()
        self._keep(thoughts.norm(dim=-1)[there].cpu())
        if there.shape[1] > 1:
            pairs = there[:, 1:]
            apart = (thoughts[:, 1:] - thoughts[:, :-1]).norm(dim=-1)
            alike = F.cosine_similarity(thoughts[:, 1:], thoughts[:, :-1], dim=-1)
            means = torch.stack([(apart * pairs).sum(), (alike * pairs).sum(), pairs.sum()])
            self._means.append(means.cpu().double())

    def means(self) -> dict[str, float]:
        """What was seen since this was asked last, averaged over pairs of neighbouring thoughts.

        Returns:
            ``distance`` (Euclidean) and ``cosine``; nothing if no row had two thoughts. Thoughts that have collapsed
            are at distance 0, with cosine 1.
        """
        seen, self._means = self._means, []
        distance, cosine, pairs = torch.stack(seen).sum(dim=0).tolist() if seen else (0.0, 0.0, 0.0)
        return {"distance": distance / pairs, "cosine": cosine / pairs} if pairs else {}

    def norms(self) -> Tensor:
        """The L2 norms that were kept since this was asked last; they are forgotten now."""
        found = self._norms
        self.load_state_dict({})
        return found

    def state_dict(self) -> dict[str, Tensor | int]:
        """The norms so far, for a run that is continued within an epoch."""
        return {"norms": self._norms, "every": self._every, "passed": self._passed}

    def load_state_dict(self, state: dict[str, Tensor | int]) -> None:
        """Take them up; with nothing in it, start anew."""
        self._norms = torch.as_tensor(state.get("norms", torch.empty(0)))
        self._every = int(state.get("every", 1))
        self._passed = int(state.get("passed", 0))

    def _keep(self, norms: Tensor) -> None:
        norms = norms[norms.isfinite()]  # training stops at a loss that is not
        first = -self._passed % self._every
        self._passed += len(norms)
        self._norms = torch.cat([self._norms, norms[first :: self._every]])
        while len(self._norms) > _MOST:
            self._norms, self._every = self._norms[::2], 2 * self._every

"""Whether thoughts stay alive in training: their norms, how far neighbours are apart, and those of other questions.

Letters in shapes: B rows, N places, D hidden width.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from lcot.modules.spread import LITTLE

_MOST = 4096
"""Largest number of norms that are kept for a histogram."""

STUCK = 0.99
"""Neighbouring thoughts with a cosine of this or more are one and the same: each pass gives back what it was given."""


class ThoughtWatch:
    """Looks at the thoughts of some training batches (:attr:`lcot.modules.base.ReasoningModule.watch`).

    Norms are kept until :meth:`norms` hands them out. Of many, every second one is kept, then every fourth, and so on:
    a histogram needs no more, and neither memory nor a checkpoint grows with the length of an epoch.
    """

    def __init__(self) -> None:
        self._norms = torch.empty(0)
        self._every = 1
        self._passed = 0
        self._sums: list[Tensor] = []

    @torch.no_grad()
    def see(self, thoughts: Tensor, there: Tensor) -> None:
        """Take in a batch.

        Args:
            thoughts: ``(B, N, D)``.
            there: ``(B, N)`` bool; which places hold a thought. The thoughts of a row stand at its first places.
        """
        thoughts = thoughts.float()
        lengths = thoughts.norm(dim=-1)
        self._keep(lengths[there].cpu())
        pairs = there[:, 1:]
        apart = (thoughts[:, 1:] - thoughts[:, :-1]).norm(dim=-1)
        alike = F.cosine_similarity(thoughts[:, 1:], thoughts[:, :-1], dim=-1)
        # Of a place, the squares around the mean of its rows, as if that were known: of n rows, n - 1 are free.
        own = torch.where(there[..., None], thoughts, 0.0)
        rows = there.sum(dim=0)
        squares = own.square().sum(dim=(0, 2))
        around = (squares - own.sum(dim=0).square().sum(dim=-1) / rows.clamp(min=1)) * rows / (rows - 1).clamp(min=1)
        shared = rows > 1
        sums = [(apart * pairs).sum(), (alike * pairs).sum(), pairs.sum(), (lengths * there).sum(), there.sum()]
        self._sums.append(torch.stack([*sums, (around * shared).sum(), (squares * shared).sum()]).cpu().double())

    def means(self) -> dict[str, float]:
        """What was seen since this was asked last.

        Returns:
            ``distance`` (Euclidean) and ``cosine``, averaged over pairs of neighbouring thoughts: thoughts that have
            collapsed are at distance 0, with cosine 1. ``norm``, the mean. ``deviation``: the root mean square distance
            of thoughts from the mean of their place over the batch, divided by their root mean square length; 0 where
            all questions have the same thoughts. Each where it can be told: pairs need two thoughts in a row, and a
            deviation two rows.
        """
        seen, self._sums = self._sums, []
        sums = torch.stack(seen).sum(dim=0).tolist() if seen else [0.0] * 7
        distance, cosine, pairs, lengths, count, around, squares = sums
        found = {"distance": distance / pairs, "cosine": cosine / pairs} if pairs else {}
        found |= {"norm": lengths / count} if count else {}
        return found | ({"deviation": math.sqrt(max(0.0, around) / squares)} if squares else {})

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


def trouble(means: dict[str, float]) -> list[str]:
    """What is wrong with thoughts of these means (:meth:`ThoughtWatch.means`), in words; nothing if nothing is."""
    told = []
    if means.get("cosine", 0.0) >= STUCK:
        told.append(
            f"neighbouring thoughts have cosine {means['cosine']:.4f}: each pass gives back what it was given, and"
            " further thoughts add nothing"
        )
    if means.get("deviation", 1.0) < LITTLE:
        told.append(
            f"the thoughts of different questions deviate by {100 * means['deviation']:.1f} % of their length from"
            " their mean: they hardly depend on what is asked"
        )
    return told

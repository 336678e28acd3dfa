"""The terms of a loss: sums with their own counts, divided only when those of all ranks and batches are known.

Letters in shapes: G groups.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

TEXT = "text"
"""The term that every module has: the text's cross-entropy, and what is added to it token by token."""


@dataclass(frozen=True, slots=True)
class Term:
    """One term.

    Attributes:
        sums: ``(G,)`` with gradients.
        counts: ``(G,)`` what they are divided by, on this rank and in this batch.
        weight: Multiplies the term's mean.
    """

    sums: Tensor
    counts: Tensor
    weight: float = 1.0


def numbers_of(terms: Mapping[str, Term], window: Mapping[str, Tensor]) -> Tensor:
    """All numbers that are to be added over ranks, in one row of float64 on the CPU.

    Args:
        terms: Those of a batch.
        window: The counts of all batches of the optimizer step, by term.
    """
    kept = [(term.sums.detach(), term.counts, window[name]) for name, term in terms.items()]
    return torch.cat([part.float() for parts in kept for part in parts]).cpu().double()


def taken_apart(terms: Mapping[str, Term], numbers: Tensor) -> dict[str, tuple[Tensor, Tensor, Tensor]]:
    """What :func:`numbers_of` put together: sums, counts and the window's counts of each term."""
    sizes = [size for term in terms.values() for size in [len(term.sums)] * 3]
    parts = iter(torch.split(numbers, sizes))
    return {name: (next(parts), next(parts), next(parts)) for name in terms}


def mean_of(sums: Tensor, counts: Tensor) -> Tensor:
    """The mean over those groups that have a count, each divided by it; 0 where none has."""
    there = counts > 0
    each = torch.where(there, sums / counts.clamp(min=1), 0.0)
    return each.sum() / there.sum().clamp(min=1)


def divided(terms: Mapping[str, Term], window: Mapping[str, Tensor], factor: float) -> Tensor:
    """The loss that gradients come from.

    Args:
        terms: Those of a batch.
        window: The counts of all ranks and of all batches of the optimizer step, by term.
        factor: Undoes means that others take of gradients: over ranks, over batches.
    """
    total = torch.zeros((), device=next(iter(terms.values())).sums.device)
    for name, term in terms.items():
        counts = window[name]
        groups = max(1, int((counts > 0).sum()))
        shares = torch.where(counts > 0, factor * term.weight / groups / counts.clamp(min=1), 0.0)
        total = total + (term.sums * shares.to(term.sums.device, term.sums.dtype)).sum()
    return total

"""Thoughts thought anew from one that was changed: the total effect, where each is made of the one before.

The method thinks as it does, through its own ``think``; its feed alone is another one meanwhile, which hands out the
changed vector for the thought of one number and leaves all others to the method's own.

Letters in shapes: B rows, k thoughts, D hidden width.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from lcot.analysis.thinker import Thinker
from lcot.reasoning.feeds import Feed
from lcot.reasoning.given import Given
from lcot.reasoning.layout import Layout
from lcot.reasoning.think import think


class Changed(Feed):
    """A feed of which one thought of each row is changed.

    Args:
        feed: Makes all others; the state itself if ``None``.
        vectors: ``(B, k, D)`` new thoughts.
        numbers: ``(B,)`` which of them is read, from 0; -1 for none.
    """

    def __init__(self, feed: Feed | None, vectors: Tensor, numbers: Tensor) -> None:
        super().__init__()
        self.feed, self.vectors, self.numbers = feed, vectors, numbers
        self.made = 0

    def spoken(self, states: Tensor) -> Tensor:
        """What the method's own feed makes of them."""
        return states if self.feed is None else self.feed.spoken(states)

    def forward(self, states: Tensor, places: Tensor, model: PreTrainedModel) -> Tensor:
        """The next thought ``(B, 1, D)``."""
        made: Tensor = states if self.feed is None else self.feed(states, places, model)
        if self.made < self.vectors.shape[1]:
            changed = self.vectors[:, self.made, None].to(made)
            made = torch.where((self.numbers == self.made)[:, None, None], changed, made)
        self.made += 1
        return made


def rethought(thinker: Thinker, rows: Sequence[Layout], vectors: Tensor, numbers: Tensor) -> Tensor | None:
    """Thoughts ``(B, k, D)`` behind changed ones; call it within :func:`~lcot.analysis.thinker.measuring`.

    Args:
        thinker: The model, which :func:`lacks` nothing.
        rows: B prompts with k thoughts each.
        vectors: ``(B, k, D)`` the new vectors, at least at the places of those that are changed.
        numbers: ``(B,)`` which thought of a row is changed, from 0; -1 for none.

    Returns:
        The method's own thoughts before the changed one, that one, and those that it thinks then; ``None`` if the
        method has not asked its feed for each of them.
    """
    device = thinker.device
    with _feeding(thinker, vectors.to(device), numbers.to(device)) as (changed, feed):
        thoughts = changed.think(rows).inputs
    return thoughts if feed.made == vectors.shape[1] else None


def lacks(thinker: Thinker, rows: Sequence[Layout], own: Tensor) -> str | None:
    """Why thoughts cannot be thought anew; ``None`` if they can. Call it within ``measuring``.

    Args:
        thinker: The model.
        rows: B prompts with k thoughts each, to try it on.
        own: ``(B, k, D)`` their thoughts.
    """
    module, k = getattr(thinker.thinks, "__self__", None), own.shape[1]
    if k < 2:
        return "no thought comes behind another one"
    if thinker.builder.kind != "continuous" or not thinker.builder.stepwise_passes:
        return "no thought is made of another one"
    if not isinstance(getattr(module, "thinker", None), Given | None):
        return "thoughts are not made one after another"
    held: set[str] = {*getattr(module, "__dict__", ()), *getattr(module, "_modules", ())}
    if thinker.thinks is not None and "feed" not in held:
        return "this method has no feed that makes its thoughts one after another"
    again = rethought(thinker, rows, own, torch.full((len(own),), -1))
    tolerance = math.sqrt(torch.finfo(thinker.model.dtype).eps)
    if again is None or not torch.allclose(again.float().cpu(), own.float().cpu(), rtol=0, atol=tolerance * _size(own)):
        return "this method does not make its thoughts one after another by its feed"
    return None


@contextmanager
def _feeding(thinker: Thinker, vectors: Tensor, numbers: Tensor) -> Iterator[tuple[Thinker, Changed]]:
    if thinker.thinks is None:
        feed = Changed(None, vectors, numbers)
        yield replace(thinker, thinks=partial(think, thinker.model, feed=feed)), feed
        return
    module: Any = getattr(thinker.thinks, "__self__")  # noqa: B009  (a protocol of functions has none)
    before = module.feed
    feed = Changed(before, vectors, numbers)
    del module.feed  # a module that takes the place of None would be another kind of attribute
    module.feed = feed
    try:
        yield thinker, feed
    finally:
        del module.feed
        module.feed = before


def _size(vectors: Tensor) -> float:
    return float(vectors.float().norm(dim=-1).max())

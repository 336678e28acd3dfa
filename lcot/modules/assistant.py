"""The assistant: a frozen model whose states at placeholders become soft thoughts (SoftCoT, arXiv 2502.12134)."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TypeVar

import torch
from torch import Tensor
from transformers import PreTrainedModel

from lcot.modules.states import StateStore, row_key
from lcot.reasoning.batch import ThoughtBatch, collate
from lcot.reasoning.layout import Layout
from lcot.reasoning.soft import states_at_slots

_log = logging.getLogger("lcot")
_T = TypeVar("_T")

CHUNK = 1024
"""Rows that are sorted by length together, and written to disk together."""


class Assistant:
    """Gives the states of rows, from a store where it has them.

    States that are wanted again and again are computed up front, in batches that depend on the data alone: a run that
    is killed and continued, or another one on the same data, so reads the same bits.

    Args:
        model: The frozen model.
        store: Where states are kept.
        pad: Token id for padding.

    Attributes:
        passes: Number of batches that the model has read.
    """

    def __init__(self, model: PreTrainedModel, store: StateStore, pad: int) -> None:
        self.model = model
        self.store = store
        self.pad = pad
        self.passes = 0

    def prepare(
        self, rows: Iterable[Layout], batch_size: int, device: torch.device, rank: int = 0, world: int = 1
    ) -> int:
        """Compute and keep what is missing.

        Args:
            rows: Rows that end with their placeholders, always in the same order.
            batch_size: Rows that are read at once.
            device: Where to compute.
            rank: Number of this process. With a folder, processes share the work, and have to wait for one another
                before they read what the others added; without one, each does all of it.
            world: Number of processes.

        Returns:
            The number of rows that were computed here.
        """
        computed = 0
        for number, chunk in enumerate(_chunks(rows, CHUNK)):
            if self.store.folder is not None and number % world != rank:
                continue
            keys = [row_key(row.ids) for row in chunk]
            if all(key in self.store for key in keys):
                continue
            if not computed:
                _log.info("computing the assistant's states, once for these questions")
            order = sorted(range(len(chunk)), key=lambda place: len(chunk[place].ids))
            found: dict[str, Tensor] = {}
            for places in _chunks(order, batch_size):
                batch = collate([chunk[place] for place in places], self.pad, align=True).to(device)
                states = self.read(batch).cpu()
                for place, own in zip(places, states, strict=True):
                    found[keys[place]] = own[: chunk[place].thoughts].clone()
            self.store.add(found)
            computed += len(found)
        return computed

    def states(self, batch: ThoughtBatch) -> Tensor:
        """States ``(B, N, D_a)`` at the placeholders of B rows, without a graph; those not in the store are computed.

        A row with fewer than N placeholders has zeros behind them.
        """
        keys = [row_key(ids[mask].tolist()) for ids, mask in zip(batch.input_ids, batch.attention_mask, strict=True)]
        missing = [place for place, key in enumerate(keys) if key not in self.store]
        counts = batch.thoughts.tolist()
        found: dict[int, Tensor] = {}
        if missing:
            read = self.read(batch.select(missing))
            found = {place: own[: counts[place]] for place, own in zip(missing, read, strict=True)}
        own = [found[place] if place in found else self.store.get(key) for place, key in enumerate(keys)]
        filled = own[0].new_zeros(len(own), batch.max_thoughts, own[0].shape[-1], device=batch.input_ids.device)
        for row, value in enumerate(own):
            filled[row, : len(value)] = value.to(filled.device, non_blocking=True)
        return filled

    @torch.no_grad()
    def read(self, batch: ThoughtBatch) -> Tensor:
        """States ``(B, N, D_a)`` as :meth:`states` gives them, computed here and now."""
        self.passes += 1
        if self.model.device != batch.input_ids.device:
            self.model.to(batch.input_ids.device)  # type: ignore[arg-type]
        return states_at_slots(self.model, batch)


def _chunks(items: Iterable[_T], size: int) -> Iterator[Sequence[_T]]:
    source = iter(items)
    while chunk := list(islice(source, size)):
        yield chunk

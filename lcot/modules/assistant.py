"""The assistant: a frozen model whose states at placeholders become soft thoughts (SoftCoT, arXiv 2502.12134)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from itertools import islice
from typing import Any, TypeVar

import torch
from rich.progress import Progress, TextColumn, TimeElapsedColumn
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from lcot.errors import renamed
from lcot.modules.sharding import gathered
from lcot.modules.spread import ENOUGH, LITTLE, Spread
from lcot.modules.states import StateStore, row_key
from lcot.reasoning.batch import ThoughtBatch, collate
from lcot.reasoning.layout import Layout
from lcot.reasoning.soft import states_at_slots, written

_log = logging.getLogger("lcot")
_T = TypeVar("_T")

CHUNK = 1024
"""Rows that are sorted by length together, and written to disk together."""

WRITTEN = 100_000
"""Texts that are kept in memory at most."""


class Assistant:
    """Gives the states of rows, from a store where it has them.

    States that are wanted again and again are computed up front, in batches that depend on the data alone: a run that
    is killed and continued, or another one on the same data, so reads the same bits.

    Args:
        model: The frozen model.
        store: Where states are kept.
        pad: Token id for padding.
        tokenizer: Reads what the model writes; needed for words only.
        eos: Token id that ends what it writes; needed for words only.

    Attributes:
        passes: Number of batches that the model has read.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        store: StateStore,
        pad: int,
        tokenizer: PreTrainedTokenizerBase | None = None,
        eos: int = -1,
    ) -> None:
        self.model = model
        self.store = store
        self.pad = pad
        self.tokenizer = tokenizer
        self.eos = eos
        self.passes = 0
        self._written: dict[str, list[int]] = {}

    def prepare(
        self,
        rows: Iterable[Layout],
        batch_size: int,
        device: torch.device,
        rank: int = 0,
        world: int = 1,
        read: Callable[[int], None] = lambda _: None,
    ) -> int:
        """Compute and keep what is missing.

        Args:
            rows: Rows that end with their placeholders, always in the same order.
            batch_size: Rows that are read at once.
            device: Where to compute.
            rank: Number of this process. With a folder, processes share the work, and have to wait for one another
                before they read what the others added; without one, each does all of it.
            world: Number of processes.
            read: Told the number of rows of each batch that was read.

        Returns:
            The number of rows that were computed here.
        """
        computed = 0
        for number, chunk in enumerate(_chunks(rows, CHUNK)):
            if self.store.folder is not None and number % world != rank:
                continue
            keys = [row_key(row.ids) for row in chunk]
            if all(key in self.store for key in keys):
                for key in keys:
                    self.store.get(key)  # a damaged one is better found now than in the middle of training
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
                read(len(places))
            self.store.add(found)
            computed += len(found)
        return computed

    def spread(self, rows: Iterable[Layout]) -> Spread:
        """How much the states of rows depend on the question; at most :data:`ENOUGH` are looked at.

        Args:
            rows: Rows whose states are in the store; others are passed over.
        """
        found = Spread()
        for row in islice(rows, ENOUGH):
            if (key := row_key(row.ids)) in self.store:
                found.add(self.store.get(key))
        return found

    def states(self, batch: ThoughtBatch) -> Tensor:
        """States ``(B, N, D_a)`` at the placeholders of B rows, without a graph; those not in the store are computed.

        A row with fewer than N placeholders has zeros behind them.
        """
        counts, keys = batch.thoughts.tolist(), _keys(batch)
        # Rows without placeholders stand here to fill the batch, and nobody asks for their states.
        known = {
            place: self.store.get(keys[place]) for place, n in enumerate(counts) if n and keys[place] in self.store
        }
        missing = [place for place, count in enumerate(counts) if count and place not in known]
        read = self.read(batch.select(missing)) if missing else None
        like = read if read is not None else next(iter(known.values()))
        shape = (len(batch), batch.max_thoughts, like.shape[-1])
        # Known ones are gathered where they are, and moved at once.
        filled = like.new_zeros(shape, device="cpu" if known else like.device)
        for place, own in known.items():
            filled[place, : len(own)] = own
        filled = filled.to(batch.input_ids.device)
        for place, own in zip(missing, read if read is not None else (), strict=True):
            filled[place, : counts[place]] = own[: counts[place]]
        return filled

    @torch.no_grad()
    def read(self, batch: ThoughtBatch) -> Tensor:
        """States ``(B, N, D_a)`` of B rows, computed here and now, in the type of the model's weights."""
        self._ready(batch)
        # What is kept must not depend on who asks first, training in mixed precision or a test without it.
        with torch.autocast(batch.input_ids.device.type, enabled=False):
            return states_at_slots(self.model, batch)

    def words(self, batch: ThoughtBatch) -> list[str]:
        """What the assistant writes at its placeholders, as text."""
        assert self.tokenizer is not None, "words are read by a tokenizer"
        return [str(self.tokenizer.decode(ids, skip_special_tokens=True)).strip() for ids in self.write(batch)]

    def write(self, batch: ThoughtBatch) -> list[list[int]]:
        """Ids that the assistant writes at its placeholders, greedily, as many at most, without eos; each text once.

        Args:
            batch: B rows that end with their placeholders.
        """
        keys, counts = _keys(batch), batch.thoughts.tolist()
        missing = [place for place, key in enumerate(keys) if counts[place] and key not in self._written]
        found = {key: self._written[key] for key in keys if key in self._written}
        if missing:
            asked = batch.select(missing)
            self._ready(asked)
            with torch.autocast(batch.input_ids.device.type, enabled=False):
                texts = written(self.model, asked, self.eos, self.pad)
            found |= {keys[place]: text for place, text in zip(missing, texts, strict=True)}
            if len(self._written) + len(missing) <= WRITTEN:
                self._written |= found
        return [found[key] if count else [] for key, count in zip(keys, counts, strict=True)]

    def _ready(self, batch: ThoughtBatch) -> None:
        self.passes += 1
        if self.model.device != batch.input_ids.device:
            self.model.to(batch.input_ids.device)  # type: ignore[arg-type]


def prepared(assistant: Assistant, trainer: Any, device: torch.device, splits: Sequence[str]) -> dict[str, float]:
    """Compute the states of all questions of some splits up front; of those that are redrawn there are none to have.

    Args:
        assistant: What computes and keeps them.
        trainer: Its data module gives the rows, and its processes share the work.
        device: Where to compute.
        splits: Whose questions.

    Returns:
        How far the states lie from their mean over the questions of each split (:class:`~lcot.modules.spread.Spread`),
        which is said as well; without splits of which that cannot be told.
    """
    data = trainer.datamodule
    fixed = [split for split in splits if not data.redraws(split)]
    shares = [(trainer.global_rank, trainer.world_size)]
    if assistant.store.folder is not None and trainer.world_size > 1:
        shares.append((0, 1))  # what others computed, and did not reach this process: they may see another folder
    with gathered(trainer):
        for share in shares:
            for split in fixed:
                with _bar(trainer, split) as read:
                    assistant.prepare(data.assistant_rows(split), data.eval_batch_size, device, *share, read=read)
            trainer.strategy.barrier("states")
            assistant.store.refresh()
    spreads = {split: assistant.spread(data.assistant_rows(split)) for split in fixed}
    values = {split: value for split, found in spreads.items() if (value := found.value()) is not None}
    for split, value in values.items():
        if trainer.is_global_zero and split == next(iter(values)):
            _log.log(logging.WARNING if value < LITTLE else logging.INFO, "%s", spreads[split].told())
    return values


@contextmanager
def _bar(trainer: Any, split: str) -> Iterator[Callable[[int], None]]:
    """A progress bar, where the trainer has one, from the first rows on; it is told how many were read."""
    quiet = trainer.progress_bar_callback is None or not trainer.progress_bar_callback.is_enabled
    words = TextColumn("{task.description} {task.completed:,} rows"), TimeElapsedColumn()
    with Progress(*words, transient=True, disable=quiet) as bar:
        task = bar.add_task(f"the assistant reads the questions ({split})", total=None, visible=False)

        def read(rows: int) -> None:
            bar.update(task, advance=rows, visible=True)

        yield read


def assistants_settings() -> AbstractContextManager[None]:
    """Let what is refused meanwhile name the settings of the assistant in the place of the language model's."""
    return renamed(
        {
            "model.backbone": "model.assistant",
            "data.tokenizer": "data.dialogue.assistant",
            "backbone=": "assistant=",
        }
    )


def _keys(batch: ThoughtBatch) -> list[str]:
    # On the CPU at once: each row by itself would wait for the device.
    ids, mask = batch.input_ids.cpu(), batch.attention_mask.cpu()
    return [row_key(row[real].tolist()) for row, real in zip(ids, mask, strict=True)]


def _chunks(items: Iterable[_T], size: int) -> Iterator[Sequence[_T]]:
    source = iter(items)
    while chunk := list(islice(source, size)):
        yield chunk

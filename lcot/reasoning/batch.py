"""Rows of a batch, padded so that the first thoughts of all rows stand in one column.

row 0   pad pad Q   Q   bot z1  z2  eot T   T
row 1   Q   Q   Q   Q   bot z1  eot T   pad pad
                        ─── ┬
                            first: column of the first thought
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Self

import torch
from torch import Tensor
from torch.nn import functional as F

from lcot.errors import UserError
from lcot.reasoning.example import Examples, ReasoningExample
from lcot.reasoning.layout import IGNORE, Layout


@dataclass(slots=True, eq=False)
class ThoughtBatch:
    """A padded batch of B rows and L columns.

    Nothing writes into one. It is not frozen, because Lightning's precision plugins (``bf16-true``, …) copy a batch and
    set each field of the copy: ids stay whole numbers, and a subclass may have vectors, which get the weights' type.

    Attributes:
        input_ids: ``(B, L)`` token ids.
        attention_mask: ``(B, L)`` bool; ``False`` on padding.
        position_ids: ``(B, L)`` positions counted from each row's first real token; 0 on padding.
        labels: ``(B, L)`` aligned with ``input_ids``; :data:`~lcot.reasoning.layout.IGNORE` where unsupervised.
        thoughts: ``(B,)`` number of continuous or soft thoughts of each row.
        pauses: ``(B,)`` number of pauses of each row.
        prompt_ends: ``(B,)`` column behind each row's prompt; its text starts there.
        index: ``(B,)`` position of each example in its data set.
        first: Column of the first thought, P; all rows have question and bot right before it. In a batch without
            such thoughts or pauses in passes of their own, rows start at column 0 instead, and P is the end of the
            shortest question.
        max_thoughts: Largest number of such thoughts in the batch, N, kept as an int so that no device sync is needed
            to know how many passes to run.
        marked: Whether any row has bot and eot around its thoughts.
        stepped: Number of columns, from ``first`` on, that get a pass each, an int likewise. It is ``max_thoughts``
            where each thought reads the one before, and 0 where all read the state at bot, or are soft; with pauses
            instead of thoughts it is above 0 where they are passed one by one.
        examples: The examples themselves, for metrics and predictions; empty in training batches.
        tasks: ``(B,)`` place of each row's task in ``Dialogue.tasks``; ``None`` in a batch that was not collated.
        places: ``(B, n)`` columns by name (see :class:`~lcot.reasoning.layout.Layout`); -1 where a row has fewer.
        views: Other rows of the same examples by name, each a batch of B rows. A row that has not a view that others
            have holds a lone padding token there. ``assistant`` ends with the slots of the soft thoughts, which begin
            in its column ``first``.
        window: The batches of the optimizer step that this one is trained in, or those that it is answered with;
            ``None`` where nobody said.
        draws: ``(B,)`` what keys each row's own random draws; ``None`` in a batch that was not collated.
    """

    input_ids: Tensor
    attention_mask: Tensor
    position_ids: Tensor
    labels: Tensor
    thoughts: Tensor
    pauses: Tensor
    prompt_ends: Tensor
    index: Tensor
    first: int
    max_thoughts: int
    marked: bool
    stepped: int
    examples: Examples = field(default_factory=Examples)
    tasks: Tensor | None = None
    places: Mapping[str, Tensor] = field(default_factory=dict)
    views: Mapping[str, ThoughtBatch] = field(default_factory=dict)
    window: Window | None = field(default=None, repr=False)
    draws: Tensor | None = None

    @property
    def assistant(self) -> ThoughtBatch | None:
        """The view of the assistant; ``None`` where no row has soft thoughts."""
        return self.views.get("assistant")

    def __len__(self) -> int:
        return int(self.input_ids.shape[0])

    @property
    def passes(self) -> int:
        """Number of passes in which a model reads these rows."""
        return 1 + (self.stepped or min(1, self.max_thoughts))

    def select(self, rows: Sequence[int]) -> Self:
        """Some of the rows, as wide as they stand here."""
        chosen = self._map(lambda tensor: tensor[list(rows)])
        return replace(chosen, examples=Examples(self.examples[row] for row in rows) if self.examples else Examples())

    def to(self, device: torch.device | str) -> Self:
        """A copy on another device; without waiting for it where the memory is page-locked."""
        return self._map(lambda tensor: tensor.to(device, non_blocking=tensor.is_pinned()))

    def pin_memory(self) -> Self:
        """A copy in page-locked memory; data loaders call this."""
        return self._map(Tensor.pin_memory)

    def _map(self, change: Callable[[Tensor], Tensor]) -> Self:
        moved: dict[str, Any] = {
            f.name: change(v) for f in fields(self) if isinstance(v := getattr(self, f.name), Tensor)
        }
        places = {name: change(columns) for name, columns in self.places.items()}
        views = {name: view._map(change) for name, view in self.views.items()}
        return replace(self, **moved, places=places, views=views)


class Window:
    """The batches of one optimizer step, or of one stretch of a test, as the loader gave them.

    It is opaque to whoever maps over a batch.

    Attributes:
        batches: All of them, in their order.
    """

    __slots__ = ("batches",)

    def __init__(self, batches: tuple[ThoughtBatch, ...]) -> None:
        self.batches = batches


def collate(
    layouts: Sequence[Layout],
    pad: int,
    index: Sequence[int] | None = None,
    examples: Iterable[ReasoningExample] = (),
    align: bool = False,
    assistant_pad: int | None = None,
) -> ThoughtBatch:
    """Pad layouts into one batch.

    Args:
        layouts: B rows.
        pad: Token id for padding.
        index: Position of each example in its data set; 0 … B-1 if not given.
        examples: Carried along.
        align: Put all heads in line even if no row has continuous thoughts.
        assistant_pad: Token id for padding in the assistant's rows; ``None`` for ``pad``.

    Returns:
        The batch; with thoughts, columns = longest head + longest rest, so rows of similar length waste least.
    """
    pads = {"assistant": assistant_pad} if assistant_pad is not None else {}
    thoughts = [layout.thoughts for layout in layouts]
    stepped = max(layout.stepped for layout in layouts)
    # Only fed-back thoughts need a common column; without them, rows that start together are the narrowest batch.
    align = align or any(thoughts) or stepped > 0
    first = max(layout.head for layout in layouts) if align else min(layout.head for layout in layouts)
    starts = [first - layout.head if align else 0 for layout in layouts]
    length = max(start + len(layout.ids) for start, layout in zip(starts, layouts, strict=True))
    shape = (len(layouts), length)
    input_ids = torch.full(shape, pad, dtype=torch.long)
    labels = torch.full(shape, IGNORE, dtype=torch.long)
    position_ids = torch.zeros(shape, dtype=torch.long)
    attention_mask = torch.zeros(shape, dtype=torch.bool)
    for row, (start, layout) in enumerate(zip(starts, layouts, strict=True)):
        stop = start + len(layout.ids)
        input_ids[row, start:stop] = torch.tensor(layout.ids)
        labels[row, start:stop] = torch.tensor(layout.labels)
        position_ids[row, start:stop] = torch.arange(len(layout.ids))
        attention_mask[row, start:stop] = True
    return ThoughtBatch(
        input_ids=input_ids,
        attention_mask=attention_mask,
        position_ids=position_ids,
        labels=labels,
        thoughts=torch.tensor(thoughts),
        pauses=torch.tensor([layout.pauses for layout in layouts]),
        prompt_ends=torch.tensor([start + layout.prompt for start, layout in zip(starts, layouts, strict=True)]),
        index=torch.tensor(list(index) if index is not None else list(range(len(layouts)))),
        first=first,
        max_thoughts=max(thoughts),
        marked=any(layout.marked for layout in layouts),
        stepped=stepped,
        examples=Examples(examples),
        tasks=torch.tensor([layout.task for layout in layouts]),
        draws=torch.tensor([layout.draw for layout in layouts]),
        places=_columns([layout.places for layout in layouts], starts),
        views={
            name: _view(name, layouts, pads.get(name, pad), index)
            for name in dict.fromkeys(name for layout in layouts for name in layout.views)
        },
    )


def _view(name: str, layouts: Sequence[Layout], pad: int, index: Sequence[int] | None) -> ThoughtBatch:
    nothing = Layout([pad], [IGNORE], head=1, thoughts=0, prompt=1)
    return collate([layout.views.get(name, nothing) for layout in layouts], pad, index)


def _columns(places: Sequence[Mapping[str, tuple[int, ...]]], starts: Sequence[int]) -> dict[str, Tensor]:
    found = {}
    for name in dict.fromkeys(name for row in places for name in row):
        columns = torch.full((len(places), max(len(row.get(name, ())) for row in places)), -1, dtype=torch.long)
        for number, (row, start) in enumerate(zip(places, starts, strict=True)):
            own = row.get(name, ())
            columns[number, : len(own)] = torch.tensor([start + place for place in own], dtype=torch.long)
        found[name] = columns
    return found


def in_passes(batch: ThoughtBatch, passes: int) -> ThoughtBatch:
    """The same rows, to be read in more passes: columns behind the thoughts get one each, as in longer rows.

    Processes that share a model out have to make the same number of passes. What a row gives does not change.

    Args:
        batch: Rows without thoughts, or with thoughts that each read the one before.
        passes: At least as many as it has.

    Raises:
        UserError: If its passes have another order than those of thoughts one by one.
    """
    if passes == batch.passes:
        return batch
    if batch.max_thoughts and not batch.stepped:
        raise UserError(
            f"some processes have batches of {passes} passes, and this one has {batch.passes} that it cannot split",
            where="curriculum.schedule",
            why="a model that is shared out is gathered anew in each pass, by all processes together",
            fix="give all rows thoughts, or all of them none; or use strategy ddp",
        )
    lacking = max(0, batch.first + passes - 1 - batch.input_ids.shape[1])

    def wide(tensor: Tensor, value: int) -> Tensor:
        return F.pad(tensor, (0, lacking), value=value)

    return replace(
        batch,
        input_ids=wide(batch.input_ids, 0),
        attention_mask=wide(batch.attention_mask, 0),
        position_ids=wide(batch.position_ids, 0),
        labels=wide(batch.labels, IGNORE),
        stepped=passes - 1,
    )


def heads(batch: ThoughtBatch, pad: int) -> ThoughtBatch:
    """The questions of a batch with their bot and nothing behind it, aligned at bot: where free-running thought starts.

    Args:
        batch: Rows with markers, whose prompts end with eot.
        pad: Token id for padding.
    """
    layouts = []
    for ids, mask, end, thoughts in zip(
        batch.input_ids, batch.attention_mask, batch.prompt_ends.tolist(), batch.thoughts.tolist(), strict=True
    ):
        head = ids[: end - thoughts - 1][mask[: end - thoughts - 1]].tolist()
        layouts.append(Layout(head, [IGNORE] * len(head), head=len(head), thoughts=0, prompt=len(head)))
    aligned = collate(layouts, pad, batch.index.tolist(), batch.examples, align=True)
    return aligned.to(batch.input_ids.device)

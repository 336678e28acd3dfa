"""The published way of CODI and PCCoT: thoughts look at the padding on the left of their row.

Their released code masks padding in the pass over the questions, and in no pass over thoughts; CODI's text looks at it
as well. So a row's result depends on the longest question of its batch, and on what a column of padding holds, whose
own query had nothing to look at. This is of use to repeat numbers that were published, and to nothing else: the right
way is never to look at padding, and all else here goes that way.

- Sequential thoughts (CODI, arXiv 2502.21074, commit 4fd88d4): positions are columns, so they begin at the padding.
- Rounds (PCCoT, arXiv 2506.18582, commit 2e32e3e): text is masked. GPT-2 counts positions from each row's first token;
  all others are columns, and tokens that are written count from each row's first token again.

Letters in shapes: B rows, L columns, P the column of the first thoughts, N thoughts, D hidden width.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal, get_args

import torch
from torch import Tensor
from transformers import PreTrainedModel

from lcot.errors import UserError
from lcot.reasoning.batch import ThoughtBatch
from lcot.reasoning.think import Passes, Thinking
from lcot.reasoning.windows import Seen, windows_of

Pads = Literal["uniform", "ordinary", "zero"]
"""What a column of padding on the left holds, since its query may look at nothing: the mean of all columns of the pass,
later ones too (``uniform``: transformers 4.46-4.52 on a CPU with sdpa, and Llama with eager); ordinary attention to all
of them (``ordinary``: the same on a GPU with sdpa); or no attention at all (``zero``: flash attention)."""


@dataclass(frozen=True)
class Unmasked:
    """How padding is looked at.

    Attributes:
        pads: What a column of padding holds.
        text: Whether the text looks at padding too; as in the release if not given: behind sequential thoughts (CODI),
            and not behind rounds (PCCoT). False is CODI's ``--fix_attn_mask``.

    Raises:
        UserError: If there is no such rule.
    """

    pads: Pads
    text: bool | None = None

    def __post_init__(self) -> None:
        if self.pads not in get_args(Pads):
            raise UserError.unknown("pads", str(self.pads), get_args(Pads), where="model.unmasked.pads")

    def check_attention(self, attention: str) -> None:
        """Refuse an implementation of attention that cannot follow the rule.

        Raises:
            UserError: If it cannot.
        """
        able = ("sdpa", "flash_attention_2") if self.pads == "zero" else ("sdpa", "eager")
        if attention not in able:
            raise UserError(
                f"attention is {attention!r}, and columns of padding are to be {self.pads!r}",
                where="model.backbone.attention, model.unmasked.pads",
                why="that implementation computes them by a rule of its own",
                fix=f"use {' or '.join(map(repr, able))}, or another rule",
            )

    def think(
        self, thinks: Callable[..., Thinking], model: PreTrainedModel, batch: ThoughtBatch, *, rounds: bool
    ) -> Thinking:
        """Run all passes over a batch, as the release does.

        Args:
            thinks: Runs them, given the batch and ``passes``, which makes a :class:`~lcot.reasoning.think.Passes`.
            model: The language model.
            batch: B rows; those without thoughts are read as ever.
            rounds: Whether thoughts come in rounds (PCCoT) or one after another (CODI).

        Raises:
            UserError: If the rows, counted by columns, are longer than the model's context, or than a window of its
                layers: nothing was published of such models.
        """
        if not batch.max_thoughts:
            return thinks(batch, passes=Passes)
        windows, length = windows_of(model.config), batch.input_ids.shape[1]
        if windows is not None and length > windows.size:
            raise UserError(
                f"a batch has {length} columns, and layers of the model see {windows.size}",
                where="model.unmasked",
                why="the columns of padding that thoughts look at would use up their window",
                fix="use smaller batches, data.group_by_length, or leave model.unmasked out",
            )
        head, text = batch.first, self.text if self.text is not None else not rounds
        left = ~batch.attention_mask[:, :head]
        seen = batch.attention_mask.clone()
        seen[:, :head] = True
        by_column = not rounds or model.config.model_type != "gpt2"
        positions = _columns(model, batch) if by_column else batch.position_ids
        passes = partial(
            _UnmaskedPasses,
            left=left,
            pads=self.pads,
            thoughts=1 if batch.stepped and not rounds else batch.max_thoughts,
            text=text,
        )
        thinking = thinks(replace(batch, attention_mask=seen, position_ids=positions), passes=passes)
        if not text:
            thinking = replace(thinking, attention_mask=_hidden(thinking.attention_mask, left))
        if rounds and by_column:
            own = batch.position_ids.gather(1, batch.prompt_ends[:, None] - 1)[:, 0] + 1
            thinking = replace(thinking, continues_at=own)
        return thinking


@dataclass(slots=True)
class _UnmaskedPasses(Passes):
    """Passes whose thoughts look at padding; its ``attention_mask`` has the columns on the left as if they were real.

    Attributes:
        left: ``(B, P)`` bool: columns of padding.
        pads: What they hold.
        thoughts: Columns of thoughts at the beginning of a pass, behind which there is text.
        text: Whether that looks at padding too.
    """

    left: Tensor = field(kw_only=True)
    pads: Pads = field(kw_only=True)
    thoughts: int = field(kw_only=True)
    text: bool = field(kw_only=True)

    def __call__(self, inputs: Tensor, start: int, stop: int, keep: int | None = None) -> Tensor:
        """Last hidden states ``(B, stop - start, D)``; text that sees no padding gets a pass of its own."""
        split = start + self.thoughts
        if self.text or not start or stop <= split:
            return Passes.__call__(self, inputs, start, stop, keep)
        assert keep is None, "only the first columns are asked for in part"
        states = [Passes.__call__(self, inputs[:, : self.thoughts], start, split)]
        seen, self.attention_mask = self.attention_mask, _hidden(self.attention_mask, self.left)
        states.append(Passes.__call__(self, inputs[:, self.thoughts :], split, stop))
        self.attention_mask = seen
        return torch.cat(states, dim=1)

    def _mask(self, start: int, stop: int, dtype: torch.dtype) -> Seen:
        if start:
            return Passes._mask(self, start, stop, dtype)
        real = _hidden(self.attention_mask[:, :stop], self.left)
        if self.pads == "zero":
            return real.long()
        allowed = real[:, None] & torch.ones(stop, stop, dtype=torch.bool, device=real.device).tril()
        # Added to the scores: the smallest number makes all of them equal, where a row is wholly of it.
        dtype = self.model.dtype
        mask = torch.zeros(allowed.shape, dtype=dtype, device=real.device)
        mask.masked_fill_(~allowed, torch.finfo(dtype).min)
        padding = torch.zeros_like(real)
        padding[:, : self.left.shape[1]] = self.left
        mask.masked_fill_(padding[..., None], torch.finfo(dtype).min if self.pads == "uniform" else 0.0)
        return mask[:, None]


def _hidden(mask: Tensor, left: Tensor) -> Tensor:
    """A mask without the columns of padding on the left."""
    return torch.cat([mask[:, : left.shape[1]] & ~left, mask[:, left.shape[1] :]], dim=1)


def _columns(model: PreTrainedModel, batch: ThoughtBatch) -> Tensor:
    rows, length = batch.input_ids.shape
    limit = getattr(model.config, "max_position_embeddings", None)
    if limit is not None and length > limit:
        raise UserError(
            f"a batch has {length} columns, and the model {limit} positions",
            where="model.unmasked",
            why="positions begin at the padding on the left, as published",
            fix="use smaller batches, or data.group_by_length",
        )
    return torch.arange(length, device=batch.input_ids.device).expand(rows, -1)

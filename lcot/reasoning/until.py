"""Thoughts whose number nobody knows beforehand: each row thinks until a rule says stop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor
from transformers import PreTrainedModel

from lcot.reasoning.batch import ThoughtBatch
from lcot.reasoning.compiled import OneColumn
from lcot.reasoning.think import Passes, Recycle, Thinking, new_cache, without_final_norm


def think_until(
    model: PreTrainedModel,
    batch: ThoughtBatch,
    stop: Callable[[Tensor, int], Tensor],
    max_thoughts: int,
    eot: int,
    *,
    compiled: OneColumn | None = None,
    recycle: Recycle = "post_norm",
    made: Callable[[Tensor, int], Tensor] | None = None,
) -> Thinking:
    """Think until a rule says stop, row by row, then read ``<eot>``.

    The passes go on until every row has stopped; what a row computes beyond its own end is masked and never seen again,
    so a row's result does not depend on its batch mates.

    Args:
        model: A causal language model with a cache.
        batch: Rows that end with bot: ``max_thoughts`` 0 and no eot.
        stop: Gets the state ``(B, D)`` at bot or at the latest thought and the number of thoughts so far; returns
            ``(B,)`` bool, ``True`` where the row's next input is to be eot.
        max_thoughts: Upper bound; rows that never stop get this many.
        eot: Token id of ``<eot>``.
        compiled: As in :func:`~lcot.reasoning.think.think`.
        recycle: As in :func:`~lcot.reasoning.think.think`; ``stop`` gets states behind the norm in any case.
        made: Gets the state ``(B, 1, D)`` before a thought, of the kind that is recycled, and the number of thoughts so
            far; returns what is read as the thought. The state itself if not given.

    Returns:
        The same record that :func:`~lcot.reasoning.think.think` returns for prompts with these numbers of thoughts.

    Raises:
        UserError: As :func:`~lcot.reasoning.think.think` does.
    """
    if recycle == "pre_norm":
        assert compiled is None, "compiled passes end with the norm"
        with without_final_norm(model) as norm:
            before = think_until(model, batch, lambda states, n: stop(norm(states), n), max_thoughts, eot, made=made)
        return replace(before, states=norm(before.states))
    rows, head = batch.input_ids.shape
    assert head == batch.first, "prompts must end with bot"
    device = batch.input_ids.device
    room = max_thoughts + 1
    mask = torch.cat([batch.attention_mask, batch.attention_mask.new_zeros(rows, room)], dim=1)
    start = batch.position_ids[:, -1:] + 1
    positions = torch.cat([batch.position_ids, start + torch.arange(room, device=device)], dim=1)
    cache = new_cache(model, head + room, compiled)
    embed = model.get_input_embeddings()
    forward = Passes(model, mask, positions, cache)
    gathered = [forward(embed(batch.input_ids), 0, head)[:, -1:]]
    thinking = torch.ones(rows, dtype=torch.bool, device=device)
    thoughts = torch.zeros(rows, dtype=torch.long, device=device)
    column = head
    while column - head < max_thoughts:
        thinking &= ~stop(gathered[-1][:, 0], column - head)
        if not thinking.any():
            break
        mask[:, column] = thinking
        thoughts += thinking
        # A stopped row would attend to nothing but masked columns of its own; its key at this column stays masked.
        latest = gathered[-1]
        thought = latest if made is None else made(latest, column - head).to(latest.dtype)
        gathered.append(forward(thought, column, column + 1))
        column += 1
    mask[:, column] = True
    # Not in place: learned positions keep the earlier slices of this tensor for the backward pass.
    forward.position_ids = positions = torch.cat([positions[:, :column], start + thoughts[:, None]], dim=1)
    ends = embed(torch.full((rows, 1), eot, device=device))
    gathered.append(forward(ends, column, column + 1))
    return Thinking(
        states=torch.cat(gathered, dim=1),
        first=head,
        cache=cache,
        attention_mask=mask[:, : column + 1],
        position_ids=positions,
        prompt_ends=torch.full((rows,), column + 1, device=device),
        thoughts=thoughts,
    )

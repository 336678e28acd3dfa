"""Thoughts that come from elsewhere: given vectors stand at places of a prompt (SoftCoT, arXiv 2502.12134).

With P the column of the first thoughts there are two passes over one key-value cache:

    columns [0, P)   the prompt before them; a frozen model needs no graph here, since no thought can reach back
    columns [P, L)   the given thoughts, the rest of the prompt, and the text

Letters in shapes: B rows, M paths a row, L columns, D hidden width, N thoughts.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import PreTrainedModel

from lcot.reasoning.batch import ThoughtBatch, collate
from lcot.reasoning.cache import growing_cache
from lcot.reasoning.decode import decode
from lcot.reasoning.layout import IGNORE, Layout
from lcot.reasoning.think import Passes, Thinking, think


def think_given(
    model: PreTrainedModel,
    batch: ThoughtBatch,
    thoughts: Tensor,
    *,
    frozen: bool = True,
    keep_cache: bool = False,
    checkpointing: bool = False,
    hidden: Tensor | None = None,
) -> Thinking:
    """Read rows whose thoughts are given.

    Args:
        model: A causal language model. Gradients flow through it into the thoughts.
        batch: B rows with aligned first thoughts, at most N each.
        thoughts: ``(B * M, N, D)``; the M paths of a row stand one behind another. They take the places of the thoughts
            whatever tokens stand there, in the type of the model's embeddings.
        frozen: Whether the model has nothing to train. The prompt before the thoughts is then read without a graph, and
            once for all paths of a row.
        keep_cache: Keep keys and values, to decode from them.
        checkpointing: As in :func:`~lcot.reasoning.think.think`.
        hidden: ``(B * M, N)`` bool, where each row has N thoughts: those that nothing behind the thoughts sees, neither
            the rest of the prompt nor the text. Where no prompt stands between them and the text, the last thought is
            the place at which the text begins, and it is that place which does not see the others. What thoughts see
            of one another stays as it is. All are seen if not given.

    Returns:
        The record of B * M rows, each row's paths one behind another. Without thoughts (N = 0) it is that of a plain
        reading of the rows.
    """
    rows, length = batch.input_ids.shape
    paths = len(thoughts) // rows
    assert len(thoughts) == rows * paths, "every row has the same number of paths"
    slots = thoughts.shape[1]
    assert slots >= batch.max_thoughts, "a thought for every place"
    if not batch.max_thoughts:
        return think(model, repeat_rows(batch, paths), keep_cache=keep_cache, checkpointing=checkpointing)
    slots, head = batch.max_thoughts, batch.first
    embed = model.get_input_embeddings()
    with torch.no_grad() if frozen else nullcontext():
        prompt, places, text = embed(batch.input_ids).split([head, slots, length - head - slots], dim=1)
    wide = repeat_rows(batch, paths)
    is_thought = torch.arange(slots, device=thoughts.device) < wide.thoughts[:, None]
    places, text = (part.repeat_interleave(paths, dim=0) for part in (places, text))
    inputs = torch.where(is_thought[..., None], thoughts[:, :slots].to(places.dtype), places)
    rest = torch.cat([inputs, text], dim=1)
    if not frozen and not keep_cache and hidden is None:
        whole = torch.cat([prompt.repeat_interleave(paths, dim=0), rest], dim=1)
        forward = Passes(model, wide.attention_mask, wide.position_ids, None, checkpointing)
        return Thinking.of(wide, forward(whole, 0, length, length - head + 1), None, fed=inputs)
    cache = growing_cache(model.config, length)
    with torch.no_grad() if frozen else nullcontext():
        last = Passes(model, batch.attention_mask, batch.position_ids, cache)(prompt, 0, head, 1)
    if paths > 1:
        cache.batch_repeat_interleave(paths)
        last = last.repeat_interleave(paths, dim=0)
    forward = Passes(model, wide.attention_mask, wide.position_ids, cache, checkpointing)
    if hidden is None:
        gathered = [forward(rest, head, length)]
    else:
        split = min(slots, int(wide.prompt_ends.min()) - 1 - head)
        gathered = [forward(rest[:, :split], head, head + split)] if split else []
        forward.attention_mask = forward.attention_mask.clone()
        forward.attention_mask[:, head : head + split] &= ~hidden[:, :split]
        gathered.append(forward(rest[:, split:], head + split, length))
    thinking = Thinking.of(wide, torch.cat([last, *gathered], dim=1), cache if keep_cache else None, fed=inputs)
    return replace(thinking, attention_mask=forward.attention_mask)


def states_at_slots(
    model: PreTrainedModel,
    batch: ThoughtBatch,
    placeholders: Tensor | None = None,
    *,
    frozen: bool = True,
    checkpointing: bool = False,
) -> Tensor:
    """What a model holds at the placeholders of its prompt: its last hidden states there, behind the final norm.

    Args:
        model: The assistant.
        batch: B rows that end with N placeholders each.
        placeholders: ``(M, D)`` input embeddings that take the places of all placeholders, one a path; the tokens' own
            if not given.
        frozen: Whether the assistant has nothing to train (placeholders apart).
        checkpointing: As in :func:`think_given`.

    Returns:
        ``(B * M, N, D)``, each row's paths one behind another. A row with fewer than N placeholders has states of other
        columns behind them.
    """
    slots = batch.max_thoughts
    if placeholders is None:
        ids = batch.input_ids[:, batch.first : batch.first + slots]
        with torch.no_grad() if frozen else nullcontext():
            given = model.get_input_embeddings()(ids)
    else:
        given = placeholders.repeat(len(batch), 1)[:, None].expand(-1, slots, -1)
    thinking = think_given(model, batch, given, frozen=frozen, checkpointing=checkpointing)
    return thinking.states[:, 1 : 1 + slots]


@torch.no_grad()
def written(model: PreTrainedModel, batch: ThoughtBatch, eos: int, pad: int) -> list[list[int]]:
    """What an assistant writes where its placeholders would stand, greedily, as many tokens at most (Assist-CoT).

    Args:
        model: The assistant.
        batch: B rows that end with their placeholders.
        eos: Ends a text; it is not handed out.
        pad: Token id for padding.
    """
    rows = []
    for ids, mask in zip(batch.input_ids[:, : batch.first], batch.attention_mask[:, : batch.first], strict=True):
        asked = ids[mask].tolist()
        rows.append(Layout(asked, [IGNORE] * len(asked), head=len(asked), thoughts=0, prompt=len(asked)))
    prompts = collate(rows, pad, align=True).to(batch.input_ids.device)
    thinking = think(model, prompts, keep_cache=True)
    texts = decode(model, thinking, max_new_tokens=batch.max_thoughts, eos=eos)
    return [
        [token for token in text if token != eos][:most]
        for text, most in zip(texts, batch.thoughts.tolist(), strict=True)
    ]


def contrast(thoughts: Tensor, scale: float = 20.0, dropout: float = 0.5) -> Tensor:
    """The contrastive loss of SoftCoT++ (arXiv 2505.11484): paths of a question are to differ from one another.

    Each path is compared with one view of itself and of its question's other paths; the view has some values dropped.
    Both are flattened and have length 1.

    Args:
        thoughts: ``(B, M, N, D)`` soft thoughts of M paths.
        scale: Multiplies similarities (inverse temperature).
        dropout: Share of the view's values that are set to 0.

    Returns:
        ``(B,)`` cross-entropy in nats of telling each path's view from the others', mean over paths; 0 for one path.
    """
    flat = thoughts.float().flatten(2)
    with torch.autocast(thoughts.device.type, enabled=False):  # similarities are scaled up, and so would rounding be
        view = F.normalize(F.dropout(flat, dropout), dim=-1)
        alike = scale * F.normalize(flat, dim=-1) @ view.transpose(1, 2)
    target = torch.arange(flat.shape[1], device=flat.device).expand(len(flat), -1)
    return F.cross_entropy(alike.transpose(1, 2), target, reduction="none").mean(dim=1)


def repeat_rows(batch: ThoughtBatch, times: int) -> ThoughtBatch:
    """Each row several times, one behind another."""
    if times == 1:
        return batch
    return batch.select([row for row in range(len(batch)) for _ in range(times)])

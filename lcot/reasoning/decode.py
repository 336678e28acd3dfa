"""Batched decoding from the cache that thinking left behind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel

from lcot.errors import UserError
from lcot.reasoning.cache import reserve
from lcot.reasoning.keyed import keyed_seed
from lcot.reasoning.think import Passes, Thinking, output_head


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is chosen.

    Attributes:
        temperature: 0 is greedy; otherwise logits are divided by it.
        top_k: Keep the k most likely tokens; 0 keeps all. No effect when greedy.
        top_p: Keep the smallest set of tokens whose probability reaches p; 1 keeps all. No effect when greedy.
        seed: Keys the draws together with each row's index, so that a row's text does not depend on its batch.
    """

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.temperature < 0 or self.top_k < 0 or not 0 < self.top_p <= 1:
            raise UserError(
                f"temperature {self.temperature}, top_k {self.top_k}, top_p {self.top_p}",
                where="sampling",
                fix="temperature and top_k are 0 or more, top_p is above 0 and at most 1",
            )


@torch.no_grad()
def decode(
    model: PreTrainedModel,
    thinking: Thinking,
    *,
    max_new_tokens: int,
    eos: int,
    sampling: Sampling | None = None,
    index: Tensor | None = None,
) -> list[list[int]]:
    """Write text after the prompts, all rows at once.

    Columns behind a row's prompt (the gold text of a training batch) are masked, so the same thinking serves the
    teacher-forced loss and this. Rows that are done leave the batch as soon as half of it is idle.

    Args:
        model: The model that did the thinking.
        thinking: Its record, with the cache kept; the cache is consumed.
        max_new_tokens: Upper bound of new tokens a row.
        eos: Ends a row.
        sampling: Greedy if not given.
        index: ``(B,)`` keys of the rows' random draws; 0 … B-1 if not given. No effect when greedy.

    Returns:
        B lists of new token ids; a row that ended has ``eos`` as its last id.
    """
    assert thinking.cache is not None, "think(..., keep_cache=True) before decoding"
    sampling = sampling or Sampling()
    rows, length = thinking.attention_mask.shape
    device = thinking.states.device
    columns = torch.arange(length, device=device)
    mask = thinking.attention_mask & (columns < thinking.prompt_ends[:, None])
    mask = torch.cat([mask, mask.new_ones(rows, max_new_tokens)], dim=1)
    following = thinking.position_ids.gather(1, thinking.prompt_ends[:, None] - 1) + 1
    following = following + torch.arange(max_new_tokens, device=device)
    positions = torch.cat([thinking.position_ids, following], dim=1)
    keys = index.tolist() if index is not None else list(range(rows))
    head, embed = output_head(model), model.get_input_embeddings()
    written: list[list[int]] = [[] for _ in range(rows)]
    live = list(range(rows))
    cache, states = thinking.cache, thinking.state_at(thinking.prompt_ends - 1)
    reserve(cache, length + max_new_tokens - 1)
    for step in range(max_new_tokens):
        tokens = choose(head(states).float(), sampling, [keys[row] for row in live], step)
        for row, token in zip(live, tokens.tolist(), strict=True):
            if not written[row] or written[row][-1] != eos:
                written[row].append(token)
        going = [place for place, row in enumerate(live) if written[row][-1] != eos]
        if not going or step + 1 == max_new_tokens:
            break
        if 2 * len(going) <= len(live):
            kept = torch.tensor(going, device=device)
            cache.batch_select_indices(kept)
            mask, positions, tokens = mask[kept], positions[kept], tokens[kept]
            live = [live[place] for place in going]
        states = Passes(model, mask, positions, cache)(embed(tokens[:, None]), length + step, length + step + 1)[:, -1]
    return written


def choose(logits: Tensor, sampling: Sampling, keys: Sequence[int], step: int) -> Tensor:
    """Pick one token a row.

    Args:
        logits: ``(B, V)`` in float32.
        sampling: The rule.
        keys: B row keys of the random draws.
        step: Number of the token in its row, the other part of the key.

    Returns:
        ``(B,)`` token ids.
    """
    if sampling.temperature == 0:
        return logits.argmax(dim=-1)
    ordered, ids = (logits / sampling.temperature).sort(dim=-1, descending=True)
    if sampling.top_k:
        ordered[:, sampling.top_k :] = float("-inf")
    cumulative = ordered.softmax(dim=-1).cumsum(dim=-1)
    # One uniform number per row, placed on the cumulative distribution cut at top_p: the token that crosses p is kept.
    crossing = torch.searchsorted(cumulative, torch.full_like(cumulative[:, :1], sampling.top_p))
    total = cumulative.gather(1, crossing.clamp(max=cumulative.shape[1] - 1))
    # 24 bits, which float32 holds exactly: a number that rounds up to 1 would pick a token that was cut off.
    uniform = [(keyed_seed("token", sampling.seed, key, step) >> 39) / 2.0**24 for key in keys]
    draws = torch.tensor(uniform, dtype=total.dtype, device=total.device)[:, None] * total
    places = torch.searchsorted(cumulative, draws, right=True).clamp(max=cumulative.shape[1] - 1)
    return ids.gather(1, places)[:, 0]

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
from lcot.reasoning.think import Passes, Thinking


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is chosen: penalty, temperature, ``top_k`` and ``top_p`` act in this order.

    Attributes:
        temperature: 0 is greedy; otherwise logits are divided by it.
        top_k: Keep the k most likely tokens; 0 keeps all. No effect when greedy.
        top_p: Keep the smallest set of tokens whose probability reaches p; 1 keeps all. No effect when greedy.
        seed: Keys the draws together with each row's index, so that a row's text does not depend on its batch. No
            effect when greedy.
        repetition_penalty: Tokens that stand in the row's text already have their logits divided by this where they are
            positive, and multiplied by it where they are negative (CTRL, arXiv 1909.05858, as transformers has it); 1
            changes nothing. It acts on greedy choice too. Tokens of the prompt do not count, since thoughts have no
            ids; nor do they in transformers if it is given embeddings, as by the released SoftCoT code.
        thoughts: Multiplies the deviations of thoughts that a head draws (CoLaR's ``LatentHead``); 0 takes the thoughts
            that it expects. They are drawn once a question, however many texts are written, and keyed by ``seed`` and
            the question.
    """

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int = 0
    repetition_penalty: float = 1.0
    thoughts: float = 0.0

    def __post_init__(self) -> None:
        if self.thoughts < 0:
            raise UserError(f"thoughts is {self.thoughts}", where="sampling.thoughts", fix="use 0 or more")
        if self.temperature < 0 or self.top_k < 0 or not 0 < self.top_p <= 1 or self.repetition_penalty <= 0:
            raise UserError(
                f"temperature {self.temperature}, top_k {self.top_k}, top_p {self.top_p},"
                f" repetition_penalty {self.repetition_penalty}",
                where="sampling",
                fix="temperature and top_k are 0 or more, top_p is above 0 and at most 1, the penalty is above 0",
            )


@dataclass(frozen=True, slots=True)
class Draws:
    """Which random draws a row's text is made of. The first text of a row is that of path 0 and sample 0.

    Attributes:
        seed: Of the sampling.
        index: Of the row's question.
        path: Number of the way of thinking about it that the text is written from.
        sample: Number of the text among those that are written from it.
    """

    seed: int
    index: int
    path: int = 0
    sample: int = 0

    def uniform(self, step: int) -> float:
        """The number in [0, 1) for a token of the text, by its place there."""
        further = (self.path, self.sample) if self.path or self.sample else ()
        # 24 bits, which float32 holds exactly: a number that rounds up to 1 would pick a token that was cut off.
        return (keyed_seed("token", self.seed, self.index, *further, step) >> 39) / 2.0**24


@torch.no_grad()
def decode(
    model: PreTrainedModel,
    thinking: Thinking,
    *,
    max_new_tokens: int,
    eos: int,
    sampling: Sampling | None = None,
    index: Tensor | None = None,
    draws: Sequence[Draws] | None = None,
) -> list[list[int]]:
    """Write text after the prompts, all rows at once.

    Columns behind a row's prompt (the gold text of a training batch) are masked, so the same thinking serves the
    teacher-forced loss and this. Rows that are done leave the batch as soon as half of it is idle.

    Args:
        model: The model that did the thinking.
        thinking: Its record, with the cache kept; the cache is consumed.
        max_new_tokens: Upper bound of new tokens a row.
        eos: Ends a row, as does each of the further ends that the model's configuration names (``eos_token_id``).
        sampling: Greedy if not given.
        index: ``(B,)`` keys of the rows' random draws; 0 … B-1 if not given. No effect when greedy.
        draws: The rows' random draws in full, where rows are more than one text of a question; in place of ``index``
            and of the seed of ``sampling``.

    Returns:
        B lists of new token ids; a row that ended has ``eos`` as its last id, whichever end it wrote.
    """
    assert thinking.cache is not None, "think(..., keep_cache=True) before decoding"
    sampling = sampling or Sampling()
    rows, length = thinking.attention_mask.shape
    device = thinking.states.device
    columns = torch.arange(length, device=device)
    mask = thinking.attention_mask & (columns < thinking.prompt_ends[:, None])
    mask = torch.cat([mask, mask.new_ones(rows, max_new_tokens)], dim=1)
    following = thinking.next_positions()[:, None] + torch.arange(max_new_tokens, device=device)
    positions = torch.cat([thinking.position_ids, following], dim=1)
    if draws is None:
        draws = [Draws(sampling.seed, key) for key in (index.tolist() if index is not None else range(rows))]
    embed, ends = model.get_input_embeddings(), ends_of(model, eos)
    written: list[list[int]] = [[] for _ in range(rows)]
    live = list(range(rows))
    cache, states = thinking.cache, thinking.state_at(thinking.prompt_ends - 1)
    reserve(cache, length + max_new_tokens - 1)
    seen: Tensor | None = None  # tokens of each row's text, where they make a difference
    for step in range(max_new_tokens):
        logits = thinking.logits(model, states).float()
        if seen is not None:
            logits = penalize(logits, seen, sampling.repetition_penalty)
        tokens = choose(logits, sampling, [draws[row] for row in live], step)
        for row, token in zip(live, tokens.tolist(), strict=True):
            if not written[row] or written[row][-1] != eos:
                written[row].append(eos if token in ends else token)
        going = [place for place, row in enumerate(live) if written[row][-1] != eos]
        if not going or step + 1 == max_new_tokens:
            break
        if sampling.repetition_penalty != 1.0:
            seen = torch.zeros_like(logits, dtype=torch.bool) if seen is None else seen
            seen.scatter_(1, tokens[:, None], True)
        if 2 * len(going) <= len(live):
            kept = torch.tensor(going, device=device)
            cache.batch_select_indices(kept)
            mask, positions, tokens = mask[kept], positions[kept], tokens[kept]
            seen = seen[kept] if seen is not None else None
            live = [live[place] for place in going]
        states = Passes(model, mask, positions, cache)(embed(tokens[:, None]), length + step, length + step + 1)[:, -1]
    return written


def ends_of(model: PreTrainedModel, eos: int) -> frozenset[int]:
    """The tokens that end a text: ``eos``, and all that the model's configuration has as ``eos_token_id``."""
    named = model.config.eos_token_id
    return frozenset([eos, *(named if isinstance(named, list) else [])])


def choose(logits: Tensor, sampling: Sampling, draws: Sequence[Draws], step: int) -> Tensor:
    """Pick one token a row.

    Args:
        logits: ``(B, V)`` in float32, penalties applied.
        sampling: The rule.
        draws: Random draws of the B rows.
        step: Number of the token in its row.

    Returns:
        ``(B,)`` token ids.
    """
    if sampling.temperature == 0:
        return logits.argmax(dim=-1)
    ids, cumulative, total = candidates(logits, sampling)
    uniform = torch.tensor([row.uniform(step) for row in draws], dtype=total.dtype, device=total.device)
    # One uniform number per row, placed on the cumulative distribution cut at top_p.
    places = torch.searchsorted(cumulative, uniform[:, None] * total, right=True)
    return ids.gather(1, places.clamp(max=cumulative.shape[1] - 1))[:, 0]


def candidates(logits: Tensor, sampling: Sampling) -> tuple[Tensor, Tensor, Tensor]:
    """What is drawn from.

    Args:
        logits: ``(B, V)`` in float32.
        sampling: With a temperature above 0.

    Returns:
        ``(B, V)`` token ids, the most likely first; ``(B, V)`` their cumulative probabilities after ``top_k``; and
        ``(B, 1)`` the probability of those that ``top_p`` keeps, which are the first to reach it.
    """
    ordered, ids = (logits / sampling.temperature).sort(dim=-1, descending=True)
    if sampling.top_k:
        ordered[:, sampling.top_k :] = float("-inf")
    cumulative = ordered.softmax(dim=-1).cumsum(dim=-1)
    # The token that crosses p is kept.
    crossing = torch.searchsorted(cumulative, torch.full_like(cumulative[:, :1], sampling.top_p))
    return ids, cumulative, cumulative.gather(1, crossing.clamp(max=cumulative.shape[1] - 1))


def penalize(logits: Tensor, seen: Tensor, penalty: float) -> Tensor:
    """Make tokens that were written before less likely (or more, with a penalty below 1).

    Args:
        logits: ``(B, V)``.
        seen: ``(B, V)`` bool: tokens of each row's text.
        penalty: Divides positive logits and multiplies negative ones.
    """
    return torch.where(seen, torch.where(logits < 0, logits * penalty, logits / penalty), logits)

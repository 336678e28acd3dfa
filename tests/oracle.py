"""Latent reasoning by its definition: slow, one row at a time, with no cache, no padding and no mask.

The sequence of a problem is (arXiv 2412.06769, section 3)

    question ⊕ bot ⊕ z_1 … z_n ⊕ eot ⊕ text

where z_i is the last hidden state, after the model's final norm, at the position before it: z_1 is the state at bot.
To get each z the whole sequence so far is run again from its start. The fast path of :mod:`lcot.reasoning` must agree
with this in loss, gradients and text, and benchmarks take it as what the fast path is faster than.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import PreTrainedModel

from lcot.reasoning.layout import Layout


@dataclass(frozen=True, slots=True)
class Problem:
    """One row, cut at its thoughts.

    Attributes:
        before: Ids of the question and bot.
        thoughts: n, the number of continuous thoughts.
        after: Ids that the model is given behind its thoughts: eot.
        text: Ids that it is asked to write: remaining steps, answer, eos.
        recycled: Whether each thought is the state before it (Coconut); otherwise all are the one at bot (a control).
    """

    before: list[int]
    thoughts: int
    after: list[int]
    text: list[int]
    recycled: bool = True


def cut(layout: Layout) -> Problem:
    """The problem that a layout holds."""
    end = layout.head + layout.thoughts
    return Problem(
        layout.ids[: layout.head],
        layout.thoughts,
        layout.ids[end : layout.prompt],
        layout.ids[layout.prompt :],
        recycled=layout.stepped > 0,
    )


def naive_thoughts(model: PreTrainedModel, problem: Problem) -> Tensor:
    """Input embeddings ``(1, len(before) + n, D)`` of the question, bot and all thoughts, with their gradients."""
    inputs = embedded(model, problem.before)
    for _ in range(problem.thoughts):
        output = model(inputs_embeds=inputs, output_hidden_states=True, use_cache=False)
        source = -1 if problem.recycled else len(problem.before) - 1
        inputs = torch.cat([inputs, output.hidden_states[-1][:, source, None]], dim=1)
    return inputs


def naive_row_loss(model: PreTrainedModel, problem: Problem) -> Tensor:
    """Cross-entropy in nats, summed over the tokens of the text."""
    inputs = torch.cat([naive_thoughts(model, problem), embedded(model, problem.after + problem.text)], dim=1)
    logits = model(inputs_embeds=inputs, use_cache=False).logits[0]
    text = torch.tensor(problem.text, device=inputs.device)
    return F.cross_entropy(logits[-len(text) - 1 : -1], text, reduction="sum")


def naive_loss(model: PreTrainedModel, problems: Iterable[Problem]) -> Tensor:
    """The mean over the text tokens of all problems."""
    problems = list(problems)
    losses = [naive_row_loss(model, problem) for problem in problems]
    return torch.stack(losses).sum() / sum(len(problem.text) for problem in problems)


@torch.no_grad()
def naive_generate(model: PreTrainedModel, problem: Problem, max_new_tokens: int, eos: int) -> list[int]:
    """The most likely token, again and again, until eos (which is kept) or the limit."""
    inputs = torch.cat([naive_thoughts(model, problem), embedded(model, problem.after)], dim=1)
    written: list[int] = []
    while len(written) < max_new_tokens and (not written or written[-1] != eos):
        written.append(int(model(inputs_embeds=inputs, use_cache=False).logits[0, -1].argmax()))
        inputs = torch.cat([inputs, embedded(model, written[-1:])], dim=1)
    return written


def embedded(model: PreTrainedModel, ids: list[int]) -> Tensor:
    """Input embeddings ``(1, L, D)``."""
    device = model.get_input_embeddings().weight.device
    assert isinstance(device, torch.device)
    found = model.get_input_embeddings()(torch.tensor([ids], dtype=torch.long, device=device))
    assert isinstance(found, Tensor)
    return found

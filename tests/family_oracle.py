"""The field's other ways to think, by their definitions: slow, one row at a time, no cache, no padding and no mask."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from transformers import PreTrainedModel

from tests.oracle import Problem, embedded

Made = Callable[[Tensor, Tensor], Tensor]
"""Makes inputs ``(1, n, D)`` of states and of the embeddings of the places' own tokens."""


def last_states(model: PreTrainedModel, inputs: Tensor) -> Tensor:
    """Last hidden states ``(1, L, D)`` behind the final norm."""
    output = model(inputs_embeds=inputs, output_hidden_states=True, use_cache=False)
    states: Tensor = output.hidden_states[-1]
    return states


def sequential(model: PreTrainedModel, problem: Problem, token: int, feed: Made) -> Tensor:
    """Inputs of the question and n thoughts, each made of the state before it."""
    inputs, place = embedded(model, problem.before), embedded(model, [token])
    for _ in range(problem.thoughts):
        inputs = torch.cat([inputs, feed(last_states(model, inputs)[:, -1:], place)], dim=1)
    return inputs


def in_rounds(
    model: PreTrainedModel,
    problem: Problem,
    token: int,
    feed: Made,
    rounds: int,
    own: bool,
    frozen: int | None = None,
) -> list[Tensor]:
    """Inputs of the question and n thoughts, in round 0 … ``rounds``.

    Args:
        model: The language model.
        problem: The row.
        token: Stands at the places of the thoughts.
        feed: Makes inputs of states.
        rounds: How often all thoughts are made anew.
        own: Whether each is made of the state at its own place, or of the one before it.
        frozen: Thoughts a step, if those of step k are made of their states in round k for the last time.
    """
    question, count = embedded(model, problem.before), problem.thoughts
    places = embedded(model, [token] * count)
    made = [torch.cat([question, places], dim=1)]
    for number in range(1, rounds + 1):
        states = last_states(model, made[-1])
        end = states.shape[1]
        source = states[:, end - count :] if own else states[:, end - count - 1 : end - 1]
        thoughts = feed(source, places)
        if frozen is not None:
            kept = max(0, number - 2) * frozen  # of steps 1 … number - 2
            thoughts = torch.cat([made[-1][:, end - count :][:, :kept], thoughts[:, kept:]], dim=1)
        made.append(torch.cat([question, thoughts], dim=1))
    return made

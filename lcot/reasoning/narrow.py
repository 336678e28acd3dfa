"""The last layer where few columns are asked for: keys and values of all columns, and the rest of those alone.

Nobody looks at a question's last hidden states but at that of its last column. Its keys and values in the last layer
are read by what comes behind it; queries, attention, output and feed-forward of the other columns are read by nobody.
No value and no gradient changes by leaving them out.

Letters in shapes: B rows, L columns of a pass, K of them kept, D hidden width, H heads of the keys, d width of a head.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

FINAL_NORMS = ("norm", "ln_f", "final_layer_norm", "final_layernorm")
"""Names that decoders give their final norm."""


@dataclass
class Kept:
    """What a pass leaves behind.

    Attributes:
        states: ``(B, K, D)`` last hidden states of the last K columns, once the pass is over.
    """

    states: Tensor | None = field(default=None)


def can_be_narrowed(model: PreTrainedModel) -> bool:
    """Whether the last layer of a model is one that is known here, and nobody else looks at what it gives."""
    kind = model.config._attn_implementation
    if model.config.model_type not in _KEYS or kind not in ("sdpa", "eager"):
        return False
    layer, norm = _last(model)
    # Hooks look at what goes through a module, and FSDP2 lives by them; whoever looks at attention puts a function in
    # the place of the usual one.
    if layer.gradient_checkpointing and layer.training:  # transformers' own, which lets no layer see a cache
        return False
    hooked = any(module._forward_hooks or module._forward_pre_hooks for module in (*layer.modules(), norm))
    return not hooked and kind not in sys.modules[type(layer).__module__].ALL_ATTENTION_FUNCTIONS._local_mapping


@contextmanager
def narrowed(model: PreTrainedModel, keep: int, again: bool = False) -> Iterator[Kept]:
    """Let the last layer of a pass over the first columns compute no more than what is read of it.

    The pass itself then returns nothing of use; its states are handed out apart.

    Args:
        model: The language model, which :func:`can_be_narrowed`.
        keep: K, fewer than the columns of the pass.
        again: Whether what makes the keys and values is computed once more in the backward pass, and not kept.
    """
    layer, norm = _last(model)
    kept, run, finish = Kept(), layer.forward, norm.forward
    before_us = layer.__dict__.get("forward")
    names = [name for name in inspect.signature(type(layer).forward).parameters if name != "self"]

    def last_columns(*args: Any, **kwargs: Any) -> Tensor:
        given = {**dict(zip(names, args, strict=False)), **kwargs}
        states: Tensor = given.pop("hidden_states")
        before, own = torch.split(states, [states.shape[1] - keep, keep], dim=1)
        made = partial(_KEYS[model.config.model_type], layer, turns=given.get("position_embeddings"))
        keys, values = checkpoint(made, before, use_reentrant=False) if again else made(before)
        if given["past_key_values"] is None:
            given["past_key_values"] = _Held(keys, values)
        else:
            given["past_key_values"].update(keys, values, len(_layers(model)) - 1)
        kept.states = run(own, **_of_the_last(given, keep, states))
        return states

    def finished(states: Tensor) -> Tensor:
        kept.states = finish(kept.states)
        return states

    layer.forward, norm.forward = last_columns, finished
    try:
        yield kept
    finally:
        del layer.forward, norm.forward  # what the class has is seen again
        if before_us is not None:
            layer.forward = before_us


class _Held:
    """In the place of a cache, where a pass has none: keys and values ``(B, H, L - K, d)`` of one layer."""

    def __init__(self, keys: Tensor, values: Tensor) -> None:
        self.keys, self.values = keys, values

    def update(self, keys: Tensor, values: Tensor, *_: Any) -> tuple[Tensor, Tensor]:
        """Those with others ``(B, H, K, d)`` behind them; a layer that runs again asks again."""
        return torch.cat([self.keys, keys], dim=-2), torch.cat([self.values, values], dim=-2)


def _last(model: PreTrainedModel) -> tuple[Any, Any]:
    """The last layer, and the final norm."""
    return _layers(model)[-1], next(own for name in FINAL_NORMS if (own := getattr(model.base_model, name, None)))


def _layers(model: PreTrainedModel) -> Any:
    body: Any = model.base_model
    return body.h if model.config.model_type == "gpt2" else body.layers


def _of_the_last(given: Mapping[str, Any], keep: int, states: Tensor) -> dict[str, Any]:
    """A layer's arguments for the last columns."""
    mask, length = given.get("attention_mask"), states.shape[1]
    if mask is None and keep > 1:  # sdpa would take these columns for the first ones
        mask = torch.ones(keep, length, dtype=torch.bool, device=states.device).tril(length - keep)[None, None]
    elif mask is not None:
        mask = mask[..., -keep:, :]
    cut: dict[str, Any] = {"attention_mask": mask}
    if (positions := given.get("position_ids")) is not None:
        cut["position_ids"] = positions[:, -keep:]
    if (turns := given.get("position_embeddings")) is not None:
        cut["position_embeddings"] = tuple(turn[:, -keep:] for turn in turns)
    return {**given, **cut}


def _keys_of_llama(layer: Any, states: Tensor, turns: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Keys and values ``(B, H, L - K, d)`` of the columns before the kept ones."""
    attention, normed = layer.self_attn, layer.input_layernorm(states)
    shape = (*states.shape[:-1], -1, attention.head_dim)
    keys = attention.k_proj(normed).view(shape)
    if hasattr(attention, "k_norm"):
        keys = attention.k_norm(keys)
    keys = keys.transpose(1, 2)
    halves: Callable[[Tensor], Tensor] = sys.modules[type(attention).__module__].rotate_half
    cosine, sine = (turn[:, None, : states.shape[1]] for turn in turns)
    turned = keys * cosine + halves(keys) * sine
    return turned, attention.v_proj(normed).view(shape).transpose(1, 2)


def _keys_of_gpt2(layer: Any, states: Tensor, turns: None) -> tuple[Tensor, Tensor]:
    """The same of GPT-2, whose queries, keys and values come of one matrix."""
    attention, normed = layer.attn, layer.ln_1(states)
    width, made = attention.split_size, attention.c_attn
    if type(made) is Conv1D:
        both = torch.nn.functional.linear(normed, made.weight[:, width:].T, made.bias[width:])
    else:  # with LoRA beside it
        both = made(normed)[..., width:]
    shape = (*states.shape[:-1], -1, attention.head_dim)
    keys, values = (part.view(shape).transpose(1, 2) for part in torch.split(both, width, dim=-1))
    return keys, values


_KEYS: Mapping[str, Callable[..., tuple[Tensor, Tensor]]] = {
    "gpt2": _keys_of_gpt2,
    **dict.fromkeys(("llama", "qwen2", "qwen3"), _keys_of_llama),
}
"""Types of models, those that the tests compare with the definition, with what makes their keys and values."""

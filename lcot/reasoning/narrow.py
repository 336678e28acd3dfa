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
from typing import Any

import torch
from torch import Tensor
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
    hooked = any(module._forward_hooks or module._forward_pre_hooks for module in (*layer.modules(), norm))
    return not hooked and kind not in sys.modules[type(layer).__module__].ALL_ATTENTION_FUNCTIONS._local_mapping


@contextmanager
def narrowed(model: PreTrainedModel, keep: int) -> Iterator[Kept]:
    """Let the last layer of a pass over the first columns compute no more than what is read of it.

    The pass itself then returns nothing of use; its states are handed out apart.

    Args:
        model: The language model, which :func:`can_be_narrowed`.
        keep: K, fewer than the columns of the pass.
    """
    layer, norm = _last(model)
    kept, run, finish = Kept(), layer.forward, norm.forward
    names = [name for name in inspect.signature(type(layer).forward).parameters if name != "self"]

    def last_columns(*args: Any, **kwargs: Any) -> Tensor:
        given = {**dict(zip(names, args, strict=False)), **kwargs}
        states: Tensor = given.pop("hidden_states")
        before, own = torch.split(states, [states.shape[1] - keep, keep], dim=1)
        held = given["past_key_values"]
        given["past_key_values"] = held = _Held() if held is None else held
        keys, values, number = _KEYS[model.config.model_type](layer, before, given)
        held.update(keys, values, number)
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


class _Held:
    """In the place of a cache, where a pass has none: the keys and values of one layer."""

    def __init__(self) -> None:
        self.held: tuple[Tensor, Tensor] | None = None

    def update(self, keys: Tensor, values: Tensor, *_: Any) -> tuple[Tensor, Tensor]:
        """Append ``(B, H, L, d)``; returns all."""
        if self.held is not None:
            keys, values = (torch.cat(pair, dim=-2) for pair in zip(self.held, (keys, values), strict=True))
        self.held = (keys, values)
        return self.held


def _last(model: PreTrainedModel) -> tuple[Any, Any]:
    """The last layer, and the final norm."""
    body: Any = model.base_model
    layers = body.h if model.config.model_type == "gpt2" else body.layers
    return layers[-1], next(getattr(body, name) for name in FINAL_NORMS if hasattr(body, name))


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


def _keys_of_llama(layer: Any, states: Tensor, given: Mapping[str, Any]) -> tuple[Tensor, Tensor, int]:
    """Keys and values ``(B, H, L - K, d)`` of the columns before the kept ones, and the number of the layer."""
    attention, normed = layer.self_attn, layer.input_layernorm(states)
    shape = (*states.shape[:-1], -1, attention.head_dim)
    keys = attention.k_proj(normed).view(shape)
    if hasattr(attention, "k_norm"):
        keys = attention.k_norm(keys)
    keys = keys.transpose(1, 2)
    halves: Callable[[Tensor], Tensor] = sys.modules[type(attention).__module__].rotate_half
    cosine, sine = (turn[:, None, : states.shape[1]] for turn in given["position_embeddings"])
    turned = keys * cosine + halves(keys) * sine
    return turned, attention.v_proj(normed).view(shape).transpose(1, 2), attention.layer_idx


def _keys_of_gpt2(layer: Any, states: Tensor, given: Mapping[str, Any]) -> tuple[Tensor, Tensor, int]:
    """The same of GPT-2, whose queries, keys and values come of one matrix."""
    attention, normed = layer.attn, layer.ln_1(states)
    width, made = attention.split_size, attention.c_attn
    if type(made) is Conv1D:
        both = torch.nn.functional.linear(normed, made.weight[:, width:].T, made.bias[width:])
    else:  # with LoRA beside it
        both = made(normed)[..., width:]
    shape = (*states.shape[:-1], -1, attention.head_dim)
    keys, values = (part.view(shape).transpose(1, 2) for part in torch.split(both, width, dim=-1))
    return keys, values, attention.layer_idx


_KEYS: Mapping[str, Callable[[Any, Tensor, Mapping[str, Any]], tuple[Tensor, Tensor, int]]] = {
    "gpt2": _keys_of_gpt2,
    **dict.fromkeys(("llama", "qwen2", "qwen3"), _keys_of_llama),
}
"""Types of models, those that the tests compare with the definition, with what makes their keys and values."""

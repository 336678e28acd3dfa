"""Layers that see a window of a row, exactly: what a token sees is counted in the tokens of its own row.

transformers counts columns: padding between a row's tokens, and columns that are masked, use up a window as tokens do,
and a row would depend on its batch mates. Here keys and values of all columns are kept, and each kind of layer gets a
mask that is made of positions, which are the same in any batch. In a layer with a window of W a token sees itself and
the W - 1 positions before it, as far as their columns are not masked.

Letters in shapes: B rows, K columns in use, C of them in this pass, W positions of a window.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import DynamicCache, PretrainedConfig, PreTrainedModel
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

Seen = Tensor | dict[str, Tensor]
"""A mask for all layers, or one for each kind of layer by its name."""

_ALL, _SLIDING = "full_attention", "sliding_attention"


@dataclass(frozen=True)
class Windows:
    """What the layers of a model see.

    Attributes:
        size: W.
        kinds: Names of the kinds of its layers; ``None`` for a model of one kind, which takes one mask for all.
    """

    size: int
    kinds: frozenset[str] | None


def windows_of(config: PretrainedConfig) -> Windows | None:
    """The windows of a model's layers, where they can be kept exactly.

    Args:
        config: The model's configuration. transformers says in it how many masks a model takes: one for each of its
            ``layer_types``, or one in all where there are none.

    Returns:
        ``None`` if no layer has a window; if some layers are of other kinds, whose masks are not known here; or if
        attention is computed by a function that takes no mask of every column (flash attention).
    """
    text = config.get_text_config(decoder=True)
    layers = DynamicCache(config=config).layers
    sizes = {layer.sliding_window for layer in layers if type(layer) is DynamicSlidingWindowLayer}
    named = getattr(text, "layer_types", None)
    kinds = {_SLIDING if getattr(text, "sliding_window", None) else _ALL} if named is None else set(named)
    known = all(type(layer) in (DynamicLayer, DynamicSlidingWindowLayer) for layer in layers)
    if len(sizes) != 1 or not known or not kinds <= {_ALL, _SLIDING}:
        return None
    if config._attn_implementation not in ("sdpa", "eager"):
        return None
    return Windows(sizes.pop(), None if named is None else frozenset(kinds))


def attended(
    model: PreTrainedModel, windows: Windows | None, mask: Tensor, positions: Tensor, start: int, dtype: torch.dtype
) -> Seen:
    """The mask of a pass, as the model takes it.

    Args:
        model: The language model.
        windows: Those of its layers; ``None`` to leave them to transformers.
        mask: ``(B, K)`` bool: which columns are real.
        positions: ``(B, K)`` of all of them.
        start: The first column of the pass, K - C.
        dtype: Of what is read.

    Returns:
        ``(B, K)`` whole numbers without windows. With windows ``(B, 1, C, K)``: bool for sdpa; for eager attention,
        which would add that to its scores, 0 and the smallest number there is.
    """
    if windows is None:
        return mask.long()
    columns = torch.arange(mask.shape[1], device=mask.device)
    before = mask[:, None] & (columns <= columns[start:, None])
    near = before & (positions[:, None] > positions[:, start:, None] - windows.size)

    def formed(seen: Tensor) -> Tensor:
        seen = seen[:, None]
        if model.config._attn_implementation == "sdpa":
            return seen
        return torch.zeros_like(seen, dtype=dtype).masked_fill(~seen, torch.finfo(dtype).min)

    if windows.kinds is None:
        return formed(near)
    return {kind: formed(near if kind == _SLIDING else before) for kind in windows.kinds}

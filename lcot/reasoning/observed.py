"""What some tokens attend to, seen while the model reads them, whatever computes its attention.

Fused attention (``sdpa``, flash) gives no weights, and attention in the open (``eager``) those of all columns to all
columns. Here the model runs as it is set up, and each layer's own ``eager`` function gets the queries of the asked
columns alone besides: scaling, grouped heads, caps and sinks are as the model has them; dropout is not.

Letters in shapes: B rows, L columns, A asked columns of a row, H query heads, d width of a head.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS, AttentionInterface

from lcot.errors import UserError


@contextmanager
def observed(model: PreTrainedModel, columns: Tensor, there: Tensor, real: Tensor) -> Iterator[list[Tensor]]:
    """Note in one pass over all columns what some of them attend to. No effect on any value.

    Args:
        model: The language model; its layers attend to all columns before them.
        columns: ``(B, A)`` the asked ones, in the order of the row.
        there: ``(B, A)`` bool: which of them are asked.
        real: ``(B, L)`` bool: which columns are no padding.

    Yields:
        A list that gets one ``(B, H, L)`` a layer, without a graph: the mean over the asked columns of what they attend
        to; zeros for a row that asks for none.

    Raises:
        UserError: If some layer's attention cannot be looked at.
    """
    kind = str(model.config._attn_implementation)
    seen: list[Tensor] = []
    mine = {id(module) for module in model.modules()}
    after = torch.arange(real.shape[1], device=real.device) > columns[..., None]
    hidden = after | ~real[:, None]  # (B, A, L)
    with ExitStack() as stack:
        for interface in _interfaces(model):
            former = None if kind == "eager" else interface[kind]
            note = partial(_note, seen, mine, columns, there, hidden)
            stack.enter_context(_in_place_of(interface, kind, partial(_observing, former, note)))
        yield seen
    if len(seen) != model.config.num_hidden_layers:
        raise UserError(
            f"the attention of a {model.config.model_type} model cannot be looked at",
            where="model.objectives, model.backbone",
            why=f"{len(seen)} of {model.config.num_hidden_layers} layers compute it in a way that transformers knows",
            fix="choose the columns without it: importance 0, or choice random",
        )


def _interfaces(model: PreTrainedModel) -> list[AttentionInterface]:
    """Where the files of a model's layers look their attention up: most in one place, some in their own."""
    found = [getattr(_file(module), "ALL_ATTENTION_FUNCTIONS", None) for module in model.modules()]
    own = {id(one): one for one in found if isinstance(one, AttentionInterface)}
    return list(own.values()) or [ALL_ATTENTION_FUNCTIONS]


@contextmanager
def _in_place_of(interface: AttentionInterface, kind: str, function: Callable[..., Any]) -> Iterator[None]:
    local = interface._local_mapping
    former = local.get(kind)
    local[kind] = function
    try:
        yield
    finally:
        if former is None:
            del local[kind]
        else:
            local[kind] = former


def _observing(
    former: Callable[..., Any] | None, note: Callable[..., None], module: nn.Module, *args: Any, **how: Any
) -> Any:
    query, key, value = args[:3]
    note(module, query.detach(), key.detach(), value.detach(), **how)
    return (former or _eager(module))(module, *args, **how)


@torch.no_grad()
def _note(
    seen: list[Tensor],
    mine: set[int],
    columns: Tensor,
    there: Tensor,
    hidden: Tensor,
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    **how: Any,
) -> None:
    if id(module) not in mine:
        return
    at = columns.clamp(min=0)[:, None, :, None].expand(-1, query.shape[1], -1, query.shape[-1])
    mask = torch.zeros(hidden.shape, dtype=query.dtype, device=query.device)
    mask = mask.masked_fill(hidden, torch.finfo(query.dtype).min)[:, None]
    weights: Tensor = _eager(module)(module, query.gather(2, at), key, value, mask, **{**how, "dropout": 0.0})[1]
    counted = there[:, None, :, None]
    seen.append((weights.float() * counted).sum(dim=2) / counted.sum(dim=2).clamp(min=1))


def _eager(module: nn.Module) -> Callable[..., Any]:
    """The function that computes a layer's attention in the open, of the file that defines the layer."""
    found: Callable[..., Any] = _file(module).eager_attention_forward
    return found


def _file(module: nn.Module) -> Any:
    return sys.modules[type(module).__module__]

"""Rows of a few tokens that are trained, in the tables of a frozen vocabulary.

The thought tokens are new to a pretrained model, so their rows must be learnt even where all else is frozen. peft's own
way (``trainable_token_indices``) writes the trained rows into a copy of the whole table in every pass, and has a
gradient of that size; here nothing of the vocabulary's size is copied: the frozen table is read as it is, and what it
gives at the few ids is replaced.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeGuard

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedModel

from lcot.errors import UserError
from lcot.reasoning.feeds import scale_of
from lcot.reasoning.think import output_head


class RowsEmbedding(nn.Module):
    """An input embedding with trained rows.

    Args:
        base_layer: The frozen embedding of V tokens.
        ids: ``(K,)`` the tokens.
        rows: ``(K, D)`` their rows.
    """

    ids: Tensor
    slots: Tensor

    def __init__(self, base_layer: nn.Embedding, ids: Tensor, rows: nn.Parameter) -> None:
        super().__init__()
        self.base_layer = base_layer
        self.num_embeddings, self.embedding_dim = base_layer.num_embeddings, base_layer.embedding_dim
        self.rows = rows
        slots = torch.full((base_layer.num_embeddings,), -1, dtype=torch.long, device=ids.device)
        slots[ids] = torch.arange(len(ids), device=ids.device)
        self.register_buffer("ids", ids, persistent=False)
        self.register_buffer("slots", slots, persistent=False)

    @property
    def weight(self) -> Tensor:
        """A copy of the table ``(V, D)`` with the trained rows in it; gradients flow to them."""
        return _filled(self.base_layer.weight, self.ids, self.rows)

    @property
    def embed_scale(self) -> Tensor:
        """What rows are multiplied by when they are looked up, the trained ones too: 1 for most models."""
        return scale_of(self.base_layer)

    def forward(self, input_ids: Tensor) -> Tensor:
        """Embeddings ``(…, D)`` of ids ``(…)``, in the type of the frozen table."""
        embedded: Tensor = self.base_layer(input_ids)
        slots = self.slots[input_ids]
        own = F.embedding(slots.clamp(min=0), self.rows.to(embedded.dtype))
        if _scales(self.base_layer):
            own = own * self.embed_scale.to(own.dtype)
        return torch.where((slots >= 0)[..., None], own, embedded)


class RowsHead(nn.Module):
    """An output head with trained rows.

    Args:
        base_layer: The frozen head of V tokens.
        ids: ``(K,)`` the tokens.
        rows: ``(K, D)`` their rows: of a tied head, the parameter that the embedding has.
    """

    ids: Tensor

    def __init__(self, base_layer: nn.Linear, ids: Tensor, rows: nn.Parameter) -> None:
        super().__init__()
        self.base_layer = base_layer
        self.in_features, self.out_features = base_layer.in_features, base_layer.out_features
        self.rows = rows
        self.register_buffer("ids", ids, persistent=False)

    @property
    def weight(self) -> Tensor:
        """A copy of the table ``(V, D)`` with the trained rows in it; gradients flow to them."""
        return _filled(self.base_layer.weight, self.ids, self.rows)

    def forward(self, states: Tensor) -> Tensor:
        """Logits ``(…, V)`` of states ``(…, D)``."""
        logits: Tensor = self.base_layer(states)
        bias = self.base_layer.bias[self.ids] if self.base_layer.bias is not None else None
        own = F.linear(states, self.rows.to(self.base_layer.weight.dtype), bias)
        # In place: a product needs nothing of its own result for its backward, and logits are wide.
        return logits.index_copy_(-1, self.ids, own.to(logits.dtype))


@torch.no_grad()
def train_rows(model: PreTrainedModel, ids: Sequence[int]) -> None:
    """Have the rows of some tokens trained, of the input embedding and of the output head, tied or not.

    The trained rows are in float32 whatever the table's type, so that small steps are not lost to rounding, and begin
    as the rows were. In the frozen tables they are zero from now on: what is frozen is then the same for every way in
    which new rows start.

    Args:
        model: Changed in place. Its other parameters are left as they are.
        ids: The tokens.

    Raises:
        UserError: If the embedding does more than look rows up and scale them, or the head more than multiply.
    """
    if not ids:
        return
    embedding: nn.Module = model.get_input_embeddings()
    head = output_head(model)
    index = torch.tensor(sorted(ids), device=model.device)
    if not _looks_up(embedding) or not _multiplies(head):
        raise UserError(
            f"the rows of new tokens of a {model.config.model_type} model cannot be trained by themselves",
            where="model.backbone.lora",
            why=f"its embedding is a {type(embedding).__name__} and its head a {type(head).__name__}, which do more"
            " than look rows up, scale them, and multiply by them",
            fix="use another model, such as GPT-2, Llama, Qwen or Mistral, or train all weights",
        )
    tied = head.weight is embedding.weight
    rows = nn.Parameter(embedding.weight[index].float())
    own = rows if tied else nn.Parameter(head.weight[index].float())
    for table in (embedding.weight, head.weight):
        table[index] = 0
    model.set_input_embeddings(RowsEmbedding(embedding, index, rows))
    model.set_output_embeddings(RowsHead(head, index, own))  # type: ignore[no-untyped-call]


def _looks_up(layer: nn.Module) -> TypeGuard[nn.Embedding]:
    if not isinstance(layer, nn.Embedding) or type(layer).forward is nn.Embedding.forward:
        return isinstance(layer, nn.Embedding)
    ids = torch.arange(min(4, layer.num_embeddings), device=layer.weight.device)
    return torch.equal(layer(ids), layer.weight[ids] * scale_of(layer).to(layer.weight.dtype))


def _scales(layer: nn.Embedding) -> bool:
    return type(layer).forward is not nn.Embedding.forward


def _multiplies(layer: nn.Module) -> TypeGuard[nn.Linear]:
    return isinstance(layer, nn.Linear) and type(layer).forward is nn.Linear.forward


def _filled(table: Tensor, ids: Tensor, rows: Tensor) -> Tensor:
    return table.index_copy(0, ids, rows.to(table.dtype))

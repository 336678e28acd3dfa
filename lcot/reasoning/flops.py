"""How many floating-point operations it takes to read and to write, from a model's shape.

A multiplication and the addition behind it are two operations. What counts are products of matrices: all linear layers,
attention's scores and sums, and the output head where a token is written. Look-ups, norms, activations and softmax do
not, nor does padding, nor do the columns behind its own that a causal mask hides from a column. So a row costs the same
in any batch, and however its columns are shared out among passes. What is left out of the last layer, since nobody
reads it (:mod:`lcot.reasoning.narrow`), counts all the same: it depends on the type of the model, not on the method.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

_UNLIKE = ("num_experts", "num_local_experts", "n_routed_experts", "kv_lora_rank", "index_topk")
"""Settings of models with experts, or with attention of another kind."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What a model's columns cost, in operations.

    Attributes:
        column: The linear layers of all blocks, for one column.
        pair: Attention in all blocks, of one column to one: its score, and its part in the sum.
        head: The output head, for one state.
    """

    column: int
    pair: int
    head: int

    @classmethod
    def of(cls, model: PreTrainedModel) -> Shape | None:
        """The shape of a decoder whose blocks are attention and dense layers.

        Args:
            model: A causal language model, LoRA included.

        Returns:
            ``None`` for a model that is not of this kind (experts, recurrent or compressed attention), whose columns
            may cost something else.
        """
        config: Any = model.config.get_text_config(decoder=True)
        heads = getattr(config, "num_attention_heads", None)
        kinds = set(getattr(config, "layer_types", None) or ()) - {"full_attention", "sliding_attention"}
        if not heads or kinds or any(getattr(config, name, None) for name in _UNLIKE):
            return None
        known: list[Any] = [*model.get_input_embeddings().parameters()]
        for layer in model.base_model.modules():
            if isinstance(layer, nn.Linear | nn.Embedding | Conv1D):
                known.append(layer.weight)
        seen = {id(own) for own in known}
        if any(own.ndim > 1 and id(own) not in seen for own in model.base_model.parameters()):
            return None
        tables = linear(model.get_input_embeddings())  # rows that are trained beside a frozen table
        width = getattr(config, "head_dim", None) or config.hidden_size // heads
        head = model.get_output_embeddings()  # type: ignore[no-untyped-call]
        return cls(linear(model.base_model) - tables, 4 * heads * width * config.num_hidden_layers, linear(head))

    def read(self, columns: int, before: int = 0) -> int:
        """Columns one behind another, each of which attends to itself and to all before it.

        Args:
            columns: How many.
            before: How many stand before them, whose keys and values are there.
        """
        return columns * self.column + (columns * before + columns * (columns + 1) // 2) * self.pair

    def write(self, tokens: int, before: int) -> int:
        """Text behind columns that were read: a token's logits come from the one before it, and nobody reads the last.

        Args:
            tokens: How many, with eos.
            before: Columns before the text.
        """
        return tokens * self.head + self.read(tokens - 1, before) if tokens else 0


def linear(module: nn.Module) -> int:
    """What the matrices of a module cost, for one vector that goes through all of them; tables are looked up in."""
    tables = {id(layer.weight) for layer in module.modules() if isinstance(layer, nn.Embedding)}
    return sum(2 * own.numel() for own in module.parameters() if own.ndim == 2 and id(own) not in tables)

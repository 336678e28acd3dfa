"""LoRA: frozen weights, and beside some of their matrices the product of two thin ones that is trained.

(Hu et al., arXiv 2106.09685.) peft's layers are put into the model, which stays the model of transformers that it was:
``base_model``, embeddings and head are where they were, and all passes go through it as before.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from lcot.errors import UserError, extra
from lcot.modules.token_rows import RowsEmbedding, RowsHead, train_rows

ADAPTER = "default"
"""What peft calls the only adapter of a model."""

ALL = ("all-linear",)
"""The targets that are all linear layers of the blocks, by peft's word for them."""


@dataclass(frozen=True)
class LoRA:
    """What is trained beside frozen weights. The defaults are those of SoftCoT's LoRA baseline.

    Attributes:
        rank: Width of the thin matrices.
        alpha: Their product is scaled by alpha / rank.
        targets: Linear layers that get them, by the last part of their names, in every block; ``[all-linear]`` for all,
            whatever the architecture calls them.
        dropout: Share of the inputs of the thin matrices that is dropped in training.
    """

    rank: int = 16
    alpha: float = 32
    targets: tuple[str, ...] = ("q_proj", "v_proj")
    dropout: float = 0.1

    def __post_init__(self) -> None:
        given: Any = self.targets
        if isinstance(given, str) or not given:
            raise UserError(
                f"targets is {given!r}",
                where="model.backbone.lora.targets",
                fix="give a list of linear layers, such as [q_proj, v_proj]",
            )
        object.__setattr__(self, "targets", tuple(given))  # lists, as files have them, become what they mean
        if self.rank < 1 or self.alpha <= 0 or not 0 <= self.dropout < 1:
            raise UserError(
                f"rank {self.rank}, alpha {self.alpha}, dropout {self.dropout}",
                where="model.backbone.lora",
                fix="rank is 1 or more, alpha above 0, dropout at least 0 and below 1",
            )

    @property
    def name(self) -> str:
        """What must be the same for weights to fit; dropout matters to training only."""
        return f"LoRA of rank {self.rank}, alpha {self.alpha:g}, on {', '.join(sorted(self.targets))}"

    def described(self) -> dict[str, Any]:
        """The settings in plain values, as a checkpoint has them."""
        return {"rank": self.rank, "alpha": self.alpha, "targets": list(self.targets), "dropout": self.dropout}


def add_lora(model: PreTrainedModel, lora: LoRA, tokens: Sequence[int] = ()) -> None:
    """Freeze a model and put trainable matrices into it; what it computes stays the same until they are trained.

    The first of each pair of matrices is drawn from the global generator, the second is zero. All that is trained is in
    float32, whatever the type of the frozen weights, so that small steps are not lost to rounding; a layer's result has
    the type that it had, so that states and caches have it too.

    Args:
        model: Changed in place.
        lora: What to add.
        tokens: Ids whose rows, of embedding and head, are trained too.

    Raises:
        UserError: If peft is not installed, a target is none of the model's linear layers, or rows of tokens cannot be
            trained by themselves.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as err:
        raise UserError(
            "LoRA needs the package peft, which cannot be imported",
            where="model.backbone.lora",
            why=str(err).splitlines()[0],
            fix=extra("lora"),
        ) from err
    layers = _linear_layers(model)
    known = sorted({name.rpartition(".")[2] for name in layers})
    targets = list(lora.targets) if lora.targets != ALL else known
    unknown = [target for target in targets if not any(_is_named(name, target) for name in layers)]
    if unknown:
        raise UserError(
            f"no linear layer of the model is named {' or '.join(unknown)}",
            where="model.backbone.lora.targets",
            why=f"those of a {model.config.model_type} model are {', '.join(known)}",
            fix="name some of these",
        )
    chosen = [layer for name, layer in layers.items() if any(_is_named(name, target) for target in targets)]
    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,  # type: ignore[arg-type]  # declared as int, used as a factor
        target_modules=targets,
        lora_dropout=lora.dropout,
        fan_in_fan_out=any(isinstance(layer, Conv1D) for layer in chosen),
    )
    inject_adapter_in_model(config, model, adapter_name=ADAPTER)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(".lora_" in name)
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    train_rows(model, tokens)


@contextmanager
def merged(model: PreTrainedModel) -> Iterator[None]:
    """Let a model be a plain one meanwhile: what was trained is added into copies of the layers that it belongs to.

    The model is afterwards what it was, bit for bit. A model without LoRA stays as it is.
    """
    plain = _plain_layers(model)
    own = {name: model.get_submodule(name) for name in plain}
    try:
        _put(model, plain)
        yield
    finally:
        _put(model, own)


def merge(model: PreTrainedModel) -> None:
    """Make a model a plain one for good, with all parameters trainable."""
    _put(model, _plain_layers(model))
    if hasattr(model, "peft_config"):
        del model.peft_config  # or peft would warn of a second adapter
    model.requires_grad_(True)


@torch.no_grad()
def _plain_layers(model: PreTrainedModel) -> dict[str, nn.Module]:
    """Layers of transformers' own kinds, by name, for all that were put around others; tied ones are tied again."""
    plain: dict[str, nn.Module] = {}
    tables: dict[int, nn.Parameter] = {}
    for name, layer in model.named_modules():
        if isinstance(layer, RowsEmbedding | RowsHead):
            base: nn.Module = layer.base_layer
            frozen = layer.base_layer.weight
            weight = tables.setdefault(id(frozen), nn.Parameter(layer.weight, requires_grad=False))
        elif hasattr(layer, "lora_A"):
            wrapped: Any = layer
            base = wrapped.get_base_layer()
            # In float32, and rounded once: adding in bfloat16 would round the product and then the sum.
            total = wrapped.get_base_layer().weight.float() + wrapped.get_delta_weight(ADAPTER)
            weight = nn.Parameter(total.to(wrapped.get_base_layer().weight.dtype), requires_grad=False)
        else:
            continue
        plain[name] = _with_weight(base, weight)
    return plain


def _with_weight(layer: nn.Module, weight: nn.Parameter) -> nn.Module:
    """The same layer with another weight, beside the one that there is."""
    made = copy.copy(layer)
    made._parameters = {**layer._parameters, "weight": weight}
    return made


def _put(model: PreTrainedModel, layers: dict[str, nn.Module]) -> None:
    for name, layer in layers.items():
        model.set_submodule(name, layer)


def _linear_layers(model: PreTrainedModel) -> dict[str, nn.Module]:
    """The linear layers of the blocks, by name: not the output head, which is a table of the vocabulary."""
    head: nn.Module | None = model.get_output_embeddings()  # type: ignore[no-untyped-call]
    return {
        name: layer
        for name, layer in model.named_modules()
        if isinstance(layer, nn.Linear | Conv1D) and layer is not head
    }


def _is_named(name: str, target: str) -> bool:
    return name == target or name.endswith(f".{target}")

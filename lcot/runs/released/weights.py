"""Released tensors put into a module: thin matrices merged, rows moved, every name and every shape accounted for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from lcot.errors import UserError
from lcot.modules.weights import load_pretrained
from lcot.reasoning.heads import SpanHead
from lcot.reasoning.think import output_head
from lcot.reasoning.tokens import SpecialTokens
from lcot.runs.released.files import Files
from lcot.runs.released.names import Released, check_filled, decoder_of
from lcot.runs.released.vocabulary import moved, rows_of

PUBLISHED_RANK, PUBLISHED_ALPHA = 128, 32
"""Of LoRA in all published runs of CODI, SIM-CoT over CODI and PCCoT; a state dict does not say its alpha."""

_BUFFERS = re.compile(r"\.attn\.(masked_)?bias$|rotary_emb\.inv_freq$")
"""What old versions of transformers saved beside weights."""


def fill(
    module: Any,
    released: Released,
    files: Files,
    special: SpecialTokens,
    words: int,
    alpha: float | None = None,
    base: Path | None = None,
) -> None:
    """Put released weights into a module whose model was made for the run's tokenizer.

    Args:
        module: With a model of all plain layers, and what its feed and its objectives train.
        released: The weights.
        files: Where they are from.
        special: The run's ids.
        words: Number of tokens that the tokenizer had before anything was added.
        alpha: Of LoRA, where the files do not say it.
        base: The folder of the model that an adapter belongs to.

    Raises:
        UserError: If weights are missing, left over, or of another width or vocabulary.
    """
    model: PreTrainedModel = module.model
    check_filled(module, files)
    tensors = _plain(model, released, files, alpha, base)
    table = tensors.get(_table_names(model)[0])
    if table is None:
        raise _missing([_table_names(model)[0]], files)
    rows = rows_of(released, files, special, words, len(table))
    _load(model, tensors, rows, files, "")
    if module.feed is not None and module.feed.state_dict():
        _load_feed(module.feed, released.feed, files)
    decoder = decoder_of(module)
    if decoder is not None and decoder.decoder is not None:
        _load(decoder.decoder, released.decoder, rows, files, "of the step decoder: ")


def _plain(
    model: PreTrainedModel, released: Released, files: Files, alpha: float | None, base: Path | None
) -> dict[str, Tensor]:
    """The tensors of a plain model, by its names: what LoRA trained is added in float32, once."""
    found = {name: tensor for name, tensor in released.model.items() if not _BUFFERS.search(name)}
    thin = {name: found.pop(name) for name in list(found) if ".lora_A." in name or ".lora_B." in name}
    trained = {name: found.pop(name) for name in list(found) if "token_adapter.trainable_tokens_delta" in name}
    plain = {
        name.replace("token_adapter.base_layer.", "").replace("base_layer.", ""): one for name, one in found.items()
    }
    table, head = _table_names(model)
    if table not in plain and head in plain and _tied(model):
        plain[table] = plain[head]  # of two names for one tensor, safetensors may have kept either
    if table not in plain and (thin or trained):
        if base is None:
            raise UserError(
                "an adapter without the model that it belongs to",
                where=files.told,
                why="it holds thin matrices and a few rows, and no weights of the model itself",
                fix="give the model's folder: --base FOLDER",
            )
        whole = load_pretrained(str(base), None, "float32", model.config._attn_implementation).state_dict()
        plain = {**whole, **plain}
    for name in [name for name in thin if ".lora_A." in name]:
        layer = name.partition(".lora_A.")[0]
        weight, other = f"{layer}.weight", name.replace(".lora_A.", ".lora_B.")
        if other not in thin or weight not in plain:
            raise _missing([other if other not in thin else weight], files)
        scale = _scale(files, len(thin[name]), alpha, published=released.markers != "cmtp")
        product = scale * (thin[other].float() @ thin[name].float())
        inner = dict(model.named_modules()).get(layer)
        product = product.T if isinstance(inner, Conv1D) else product
        if product.shape != plain[weight].shape:
            raise _shapes(weight, product, plain[weight], files)
        plain[weight] = plain[weight].float() + product
    lone = [name for name in thin if ".lora_B." in name and name.replace(".lora_B.", ".lora_A.") not in thin]
    if lone:
        raise _missing([lone[0].replace(".lora_B.", ".lora_A.")], files)
    for name, values in trained.items():
        _set_rows(plain, f"{name.partition('.token_adapter.')[0]}.weight", values, files)
    return plain


def _set_rows(plain: dict[str, Tensor], weight: str, values: Tensor, files: Files) -> None:
    """Rows of single tokens, as peft trains them (``trainable_token_indices``): the values themselves."""
    told = files.beside.get("adapter_config.json", {}).get("trainable_token_indices")
    layer = weight.removesuffix(".weight").rpartition(".")[2]
    ids = told if isinstance(told, list) else next(iter(told.values()), None) if isinstance(told, dict) else None
    ids = told.get(layer, ids) if isinstance(told, dict) else ids
    if not isinstance(ids, list) or len(ids) != len(values) or not all(type(one) is int for one in ids):
        raise UserError(
            f"{len(values)} rows of tokens, and nothing says which",
            where=f"{files.told}: {weight}",
            why="adapter_config.json has no trainable_token_indices of as many",
            fix="give the folder with the adapter's adapter_config.json",
        )
    table = plain[weight].float()
    unknown = sorted(set(range(len(table), max(ids) + 1)) - set(ids))
    if unknown:
        raise _missing([f"row {one} of {weight}" for one in unknown], files)
    if max(ids) >= len(table):  # tokens that were added to the base model's
        fill_ = table.mean(dim=0, keepdim=True).expand(max(ids) + 1 - len(table), -1)
        table = torch.cat([table, fill_])
    table = table.clone()
    table[ids] = values.float()
    plain[weight] = table


def _scale(files: Files, rank: int, alpha: float | None, published: bool) -> float:
    told = files.beside.get("adapter_config.json", {})
    for name in ("use_rslora", "use_dora", "rank_pattern", "alpha_pattern"):
        if told.get(name):
            raise UserError(
                f"the adapter has {name}", where=f"{files.told}, adapter_config.json", fix="merge it with peft"
            )
    known = told.get("lora_alpha")
    if alpha is not None:
        return alpha / rank
    if isinstance(known, int | float):
        return known / rank
    if rank == PUBLISHED_RANK and published:
        return PUBLISHED_ALPHA / rank
    raise UserError(
        f"LoRA of rank {rank}, and no alpha",
        where=files.told,
        why=f"the file does not hold it; of rank {PUBLISHED_RANK} alone, and CODI's and PCCoT's, it is known:"
        f" {PUBLISHED_ALPHA}",
        fix="--lora_alpha=NUMBER, as in the training",
    )


def _table_names(model: PreTrainedModel) -> tuple[str, str]:
    """Names of the input embedding and of the output head."""
    embedding, head = model.get_input_embeddings(), output_head(model)
    names = {id(module): name for name, module in model.named_modules()}
    return f"{names[id(embedding)]}.weight", f"{names[id(head)]}.weight"


def _tied(model: PreTrainedModel) -> bool:
    return output_head(model).weight is model.get_input_embeddings().weight


def _load(
    model: PreTrainedModel, tensors: Mapping[str, Tensor], rows: Mapping[int, int], files: Files, of: str
) -> None:
    wanted, (table, head) = model.state_dict(), _table_names(model)
    found = {name: tensor for name, tensor in tensors.items() if not _BUFFERS.search(name)}
    if _tied(model) and table in found:
        found[head] = found[table]  # the released code ties them again, whatever was saved
    missing = [name for name in wanted if name not in found]
    if missing:
        raise _missing(missing, files, of)
    left = sorted(set(found) - set(wanted))
    if left:
        raise UserError(
            f"{len(left)} tensors {of or ''}are left over".replace("  ", " "),
            where=files.told,
            why=f"{_listed(left)}: the model of the config has no place for them",
            fix="give the base model's own config.json (--base FOLDER), or the method's config",
        )
    made = {}
    for name, value in wanted.items():
        tensor = found[name]
        if name in (table, head):
            if tensor.ndim != 2 or tensor.shape[1] != value.shape[1]:
                raise _shapes(of + name, tensor, value, files)
            tensor = moved(tensor, rows, len(value), value.dtype)
        if tensor.shape != value.shape:
            raise _shapes(of + name, tensor, value, files)
        made[name] = tensor.to(value.dtype)
    model.load_state_dict(made)


def _load_feed(feed: nn.Module, tensors: Mapping[str, Tensor], files: Files) -> None:
    wanted = feed.state_dict()
    found = {f"layers.{name}": tensor for name, tensor in tensors.items()}
    if set(found) != set(wanted):
        apart = {"missing": sorted(set(wanted) - set(found)), "left over": sorted(set(found) - set(wanted))}
        raise UserError(
            "the released projection has other layers than the config's feed",
            where=f"{files.told}; model.feed",
            why="; ".join(f"{word}: {_listed(names)}" for word, names in apart.items() if names),
            fix="--model.feed.norm=false for a projection without LayerNorm (prj_no_ln)",
        )
    first = next(name for name in wanted if name.endswith("weight"))
    if isinstance(feed, SpanHead):
        width = found["layers.2.weight"].shape[0] // max(1, found["layers.2.weight"].shape[1])
        fix = f"--model.feed.span={width} --curriculum.schedule.size={width}"
    else:
        fix = f"--model.feed.width={len(found[first])}"
    for name, value in wanted.items():
        if found[name].shape != value.shape:
            raise UserError(
                "the released projection has another width than the config's feed",
                where=f"{files.told}; model.feed",
                why=f"{name}: {list(found[name].shape)} in the file, {list(value.shape)} by the config",
                fix=fix,
            )
    feed.load_state_dict({name: tensor.to(wanted[name].dtype) for name, tensor in found.items()})


def _missing(names: list[str], files: Files, of: str = "") -> UserError:
    return UserError(
        f"{len(names)} tensors are missing",
        where=files.told,
        why=f"{of}{_listed(names)}: they would be random numbers",
        fix="give all files of the model, and the config.json of its base model (--base FOLDER)",
    )


def _shapes(name: str, found: Tensor, wanted: Tensor, files: Files) -> UserError:
    return UserError(
        "the released weights have other shapes than the config's model",
        where=f"{files.told}; model.backbone",
        why=f"{name}: {list(found.shape)} in the file, {list(wanted.shape)} by the config",
        fix="give the folder of the base model (--base FOLDER), or the model.backbone.config that was trained",
    )


def _listed(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")

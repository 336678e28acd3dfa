"""Pretrained models from safetensors: with all of their weights, or refused in a block that says which are missing."""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import torch
from huggingface_hub import try_to_load_from_cache
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError, safe_open
from transformers import CONFIG_MAPPING, AutoModelForCausalLM, PreTrainedModel
from transformers.models.auto import modeling_auto as auto

from lcot.errors import UserError
from lcot.modules.intact import check_exported, flaw, is_pointer
from lcot.pretrained.gguf import folder_of, is_gguf
from lcot.settings import check_asked

_log = logging.getLogger("lcot")

DECODERS = {
    kind
    for kind in auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    if kind not in auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES or kind in auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES
}
"""Types of models that write from left to right. Those that fill in masked words have a causal head too, and read both
ways all the same."""

_WHERE = "model.backbone.path"
_AGAIN = "download or copy it again"
_PULL = "git lfs pull, or download it again"
_WHOLE, _INDEX = "model.safetensors", "model.safetensors.index.json"

# What a model's configuration says of its sizes, under the names that the types of models have for it.
_LAYERS = ("num_hidden_layers", "n_layer", "num_layers")
_WIDTHS = (
    *("hidden_size", "n_embd", "intermediate_size", "n_inner", "head_dim", "num_attention_heads", "n_head"),
    *("num_key_value_heads", "vocab_size", "n_positions"),
)

# What transformers raises for folders that are damaged.
_FAULTS = (
    *(OSError, ValueError, TypeError, KeyError, IndexError, AttributeError, RuntimeError, ArithmeticError),
    *(SafetensorError, StrictDataclassError),
)


def load_pretrained(path: str, revision: str | None, dtype: str, attention: str) -> PreTrainedModel:
    """Load a causal language model, whole, and without running any code that comes with it.

    A name of the Hub is read from the local cache where that has it, and fetched otherwise.

    Args:
        path: A folder, a GGUF file, or a name of the Hub.
        revision: Branch, tag or commit on the Hub.
        dtype: Type of the weights.
        attention: Implementation of attention.

    Raises:
        UserError: If it cannot be had, is no decoder, or its files are damaged or do not hold all that the model has.
        CheckpointError: If it was exported from here, and is not what was written.
    """
    place = Path(path).expanduser()
    local = place.is_dir()
    if is_gguf(place) and place.is_file():
        place, local = folder_of(place), True
    elif place.is_file():
        raise _refused(path, "it is a file", f"give its folder: {str(place.parent)!r}")
    folder = place if local else cached(path, revision)
    if folder is not None:
        _check_folder(folder)
    else:
        check_asked(path, f"hf download {path}", "--model.backbone.path, or backbone= of lcot.load")
    # Else transformers would ask a bot of the Hub to convert what is there as pickles only.
    os.environ["DISABLE_SAFETENSORS_CONVERSION"] = "1"
    loaded: Any = None
    try:
        with _without_tables():
            loaded = AutoModelForCausalLM.from_pretrained(
                str(place) if local else path,
                revision=revision or "main",
                dtype=getattr(torch, dtype),
                attn_implementation=attention,
                use_safetensors=True,
                trust_remote_code=False,
                local_files_only=folder is not None,
                ignore_mismatched_sizes=True,  # refused below, by name
                output_loading_info=True,
            )
    except ImportError as err:
        if "attention" not in str(err).lower() and attention not in str(err):
            raise _refused(path, _line(err), "install it, or use the model in plain weights") from err
        raise UserError(
            f"attention is {attention!r}",
            where="model.backbone.attention",
            why=_line(err),
            fix="use 'sdpa', or install what it needs",
        ) from err
    except _FAULTS as err:
        if isinstance(err, torch.OutOfMemoryError) or "DefaultCPUAllocator" in str(err):
            raise
        if not local and (fetched := cached(path, revision, whole=False)) is not None:
            _check_folder(fetched)
        fix = _AGAIN if local else "check the name, or download it to a folder and give that"
        raise _refused(path, _line(err), fix) from err
    model: PreTrainedModel = loaded[0]
    told: Mapping[str, Any] = loaded[1]
    _check_loaded(path, folder or cached(path, revision), told, model.state_dict())
    return model


def cached(name: str, revision: str | None = None, whole: bool = True) -> Path | None:
    """The folder of a model of the Hub in the local cache.

    Args:
        name: Its name.
        revision: Branch, tag or commit.
        whole: Only if its weights are there too.

    Returns:
        ``None`` if it is not there.
    """
    places = {file: _in_cache(name, file, revision) for file in ("config.json", _WHOLE, _INDEX)}
    config = places.pop("config.json")
    return config.parent if config is not None and (not whole or any(places.values())) else None


def _in_cache(name: str, file: str, revision: str | None) -> Path | None:
    try:
        found = try_to_load_from_cache(name, file, revision=revision or "main")
    except ValueError:  # no name that the Hub could have
        return None
    return Path(found) if isinstance(found, str) else None


def check_type(kind: object, where: str) -> None:
    """Make sure that a type of models writes from left to right.

    Args:
        kind: The ``model_type``, one that transformers has.
        where: The setting, for the message.

    Raises:
        UserError: If it does not.
    """
    if kind not in DECODERS:
        raise UserError(
            f"a {kind} model is no decoder that writes from left to right",
            where=where,
            why="thoughts and answers are written one after another, each from what stands before it",
            fix="use a decoder, such as GPT-2, Llama, Qwen or Mistral",
        )


def _check_folder(folder: Path) -> None:
    """Refuse what can be seen without loading: its type, and files that are missing, damaged or too few."""
    check_sizes_of(_check_config(folder), dict(_tensors(folder)), str(folder))
    check_exported(folder)


def _check_config(folder: Path) -> Mapping[str, Any]:
    config = _json(folder / "config.json", folder)
    if config is None:
        adapter = (folder / "adapter_config.json").is_file()
        why = "it is an adapter, which belongs to a model" if adapter else "there is no config.json in it"
        fix = "merge it into its model with peft's merge_and_unload, and save that" if adapter else "check the path"
        raise _refused(folder, why, fix)
    if (folder / "adapter_config.json").is_file():  # transformers would load the model that it names, off the Hub too
        raise _refused(folder, "an adapter_config.json lies beside the model", "merge the adapter, or move it away")
    kind = config.get("model_type")
    if not isinstance(kind, str):
        raise _refused(folder, "its config.json names no model_type", _AGAIN)
    if config.get("auto_map") and kind not in auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        why = f"its type {kind!r} comes with code of its own, and code of a model is not run here"
        raise _refused(folder, why, "use a model of a type that transformers has, such as llama or qwen3")
    if kind not in CONFIG_MAPPING:
        raise _refused(folder, f"transformers has no models of type {kind!r}", "check it, or update transformers")
    check_type(kind, f"{_WHERE}, {folder / 'config.json'}")
    return config


def _tensors(folder: Path) -> Iterator[tuple[str, list[int]]]:
    """Names and shapes of all weights that a folder holds.

    Raises:
        UserError: If a file of them is missing or damaged, or there are none in safetensors.
    """
    files = [_WHOLE]
    if not (folder / _WHOLE).is_file():
        index = _json(folder / _INDEX, folder)
        if index is None:
            _refuse_without_weights(folder)
        placed = index.get("weight_map")
        if not isinstance(placed, dict) or not placed or not all(isinstance(name, str) for name in placed.values()):
            raise _refused(folder, f"its {_INDEX} has no weight_map", _AGAIN)
        files = sorted(set(placed.values()))
    for name in files:
        found = flaw(folder / name)
        if found is not None:
            where = f"{_WHERE}, {folder}" + (f" ({_INDEX} names it)" if name != _WHOLE else "")
            raise UserError(
                f"the weights in {str(folder / name)!r} cannot be read", where=where, why=found[0], fix=found[1]
            )
        with safe_open(folder / name, framework="pt") as opened:
            yield from ((key, opened.get_slice(key).get_shape()) for key in opened.keys())


def _refuse_without_weights(folder: Path) -> NoReturn:
    names = {file.suffix: file.name for file in sorted(folder.iterdir(), reverse=True)}
    if ".gguf" in names:
        why, fix = f"its weights are GGUF, {names['.gguf']}", f"give that file: {str(folder / names['.gguf'])!r}"
    elif ".bin" in names or ".pt" in names or ".pth" in names:
        found = names.get(".bin") or names.get(".pt") or names[".pth"]
        why = f"its weights are a pickle, {found}, and only safetensors are read here: a pickle can run code"
        fix = (
            'if you trust it, convert it once: python -c "from transformers import AutoModelForCausalLM as M;'
            f" M.from_pretrained('{folder}').save_pretrained('{folder}')\""
        )
    elif ".safetensors" in names:
        why, fix = f"it has neither {_WHOLE} nor {_INDEX}", f"rename {names['.safetensors']}, if it is the whole model"
    else:
        why, fix = f"there is no {_WHOLE} in it", _AGAIN
    raise _refused(folder, why, fix)


def check_sizes_of(config: Mapping[str, Any], tensors: Mapping[str, Sequence[int]], place: str = "") -> None:
    """Refuse a configuration of a far larger model than there are weights of, before anything is made of it.

    Args:
        config: Its fields.
        tensors: The shapes of the weights by name; with none, nothing is known.
        place: Where both are, for the message.

    Raises:
        UserError: If it is one.
    """
    numbers = [int(found[0]) for name in tensors if (found := re.search(r"(?<=\.)\d+(?=\.)", f".{name}"))]
    layers, width = max(numbers, default=-1) + 1, max((max(shape, default=1) for shape in tensors.values()), default=0)
    told = (
        (_LAYERS, layers, f"the files hold {layers} layer{'s' * (layers != 1)}"),
        (_WIDTHS, 16 * width, f"no weight is wider than {width}"),
    )
    for names, most, what in told:
        for name in names:
            value = config.get(name)
            if type(value) is int and value > most and tensors:
                raise UserError(
                    f"weights are missing from the model{place and f' {place!r}'}",
                    where=f"{_WHERE}, {place}/config.json" if place else None,
                    why=f"its config says {name} {value}, and {what}",
                    fix="use the config.json and the files of one model",
                )


def _check_loaded(path: str, folder: Path | None, told: Mapping[str, Any], names: Iterable[str]) -> None:
    """Refuse weights that are not those of the model: what is missing would be drawn at random.

    Raises:
        UserError: If some are missing, have other shapes, or are of layers that the configuration does not have.
    """
    missing, shapes = sorted(told["missing_keys"]), sorted(told["mismatched_keys"])
    unexpected = sorted(told["unexpected_keys"])
    where = f"{_WHERE}, {folder / _WHOLE if folder and (folder / _WHOLE).is_file() else folder or path}"
    if shapes:
        name, found, wanted = shapes[0]
        more = f" and {len(shapes) - 1} more" if len(shapes) > 1 else ""
        raise UserError(
            f"weights of the model {path!r} have other shapes than its config.json says",
            where=where,
            why=f"{name}{more}: {list(found)} in the file, {list(wanted)} by config.json",
            fix="use the config.json and the files of one model",
        )
    if missing:
        raise UserError(
            f"weights are missing from the model {path!r}",
            where=where,
            why=f"{_listed(missing)}: they would be random numbers",
            fix="use the config.json and the files of one model; an output head that is the embedding wants"
            " tie_word_embeddings true there",
        )
    known = {re.sub(r"\d+", "0", name) for name in names}
    beyond = [name for name in unexpected if re.sub(r"\d+", "0", name) in known]
    if beyond:
        raise UserError(
            f"the model {path!r} holds more layers than its config.json says",
            where=where,
            why=f"{_listed(beyond)} would be left out",
            fix="use the config.json and the files of one model",
        )
    if unexpected:
        _log.warning("weights that the model %r has no place for are left out: %s", path, _listed(unexpected))


@contextmanager
def _without_tables() -> Iterator[None]:
    """What loading found is said here, in one block; transformers would print a table besides."""
    logger = logging.getLogger("transformers")
    former = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(former)


def _json(file: Path, folder: Path) -> Mapping[str, Any] | None:
    """What a JSON file of a model holds; ``None`` if there is none."""
    if not file.is_file():
        return None
    if is_pointer(file):
        raise _refused(
            folder, f"its {file.name} is a Git LFS pointer, not the file itself", "git lfs pull, or download it again"
        )
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as err:
        raise _refused(folder, f"its {file.name} is not valid JSON: {_line(err)}", _AGAIN) from err
    if not isinstance(found, dict):
        raise _refused(folder, f"its {file.name} holds no object", _AGAIN)
    return found


def _refused(path: str | Path, why: str, fix: str) -> UserError:
    return UserError(f"the model {str(path)!r} could not be loaded", where=_WHERE, why=why, fix=fix)


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def _line(err: BaseException) -> str:
    lines = (str(err).strip() or type(err).__name__).splitlines()
    return lines[-1 if isinstance(err, StrictDataclassError) else 0].strip()

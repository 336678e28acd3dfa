"""What a checkpoint says about itself under ``lcot``, and whether it fits a module."""

from __future__ import annotations

import hashlib
import json
import reprlib
from collections.abc import Sequence
from dataclasses import is_dataclass
from types import UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from transformers import PreTrainedTokenizerBase

from lcot.errors import CheckpointError, UserError
from lcot.modules.frozen import DType, FrozenWeights, check_frozen
from lcot.modules.lora import LoRA
from lcot.modules.paths import Paths
from lcot.reasoning.curriculum import Markers, ThoughtKind
from lcot.reasoning.decode import Sampling
from lcot.reasoning.dialogue import Dialogue
from lcot.reasoning.text import TextFormat
from lcot.reasoning.unmasked import Unmasked

FORMAT = 1
"""Version of the ``lcot`` entry of a checkpoint."""

INFERENCE = (
    *("kind", "markers", "thoughts", "stepwise_passes", "dialogue"),
    *("text", "extractors", "max_new_tokens", "sampling"),
)
"""What is needed to ask a model: fields of every description."""

CHECKPOINT = (
    *("module", "class", "stage", "backbone", "dtype", "attention", "vocabulary", "lora", "frozen"),
    *INFERENCE,
)
"""What every checkpoint has."""

COCONUT = ("recycle", "thinker", "feed")
"""What one of Coconut has besides, and a folder that was exported of it."""

SOFTCOT = (
    *("frozen.model", "soft_thoughts", "paths", "tasks", "states"),
    *("assistant", "assistant.attention", "assistant.lora"),
)
"""What a checkpoint of SoftCoT has besides."""

_BESIDES = {"Coconut": COCONUT, "SoftCoT": SOFTCOT}

# What fields hold, the needed ones and those that some methods write.
_FIELDS: dict[str, Any] = {
    "module": str,
    "class": str | None,
    "stage": int,
    "backbone": str,
    "dtype": DType,
    "attention": str,
    "vocabulary": str,
    "kind": ThoughtKind,
    "markers": Markers,
    "thoughts": int,
    "stepwise_passes": bool,
    "lead": str,
    "threads": int | None,
    "text": TextFormat,
    "dialogue": Dialogue | None,
    "extractors": list[str],
    "max_new_tokens": int,
    "sampling": Sampling,
    "recycle": str,
    "thinker": dict | None,
    "feed": dict | None,
    "halting": dict | None,
    "unmasked": Unmasked | None,
    "teacher": FrozenWeights | None,
    "lora": LoRA | None,
    "frozen": dict,
    "frozen.model": FrozenWeights,
    "frozen.assistant_model": FrozenWeights,
    "soft_thoughts": str,
    "paths": Paths | None,
    "tasks": list[str],
    "states": int | None,
    "assistant": dict | None,
    "assistant.attention": str,
    "assistant.config": str,
    "assistant.lora": LoRA | None,
}

_MOST = 2**31
"""Above any number in a description."""

_INCIDENTAL = {"transformers_version", "dtype", "torch_dtype", "_name_or_path", "architectures", "use_cache"}
"""Fields of a model's configuration that do not change what it computes, or are compared by themselves."""


def check_fits(checkpoint: dict[str, Any], mine: dict[str, Any]) -> dict[str, Any]:
    """Compare a checkpoint with the description of the module that is to load it.

    Args:
        checkpoint: As it was loaded.
        mine: The module's description.

    Returns:
        The checkpoint's description.

    Raises:
        CheckpointError: If it is of another framework, method, model or tokenizer, or beside other frozen weights.
    """
    saved: dict[str, Any] | None = checkpoint.get("lcot")
    if saved is None:
        raise CheckpointError("the checkpoint was not written by lcot", fix="give a file of runs/<name>/checkpoints")
    check_described(saved, needed=("module", "class", "vocabulary", "backbone", "lora", "frozen"))
    if _method(saved) != _method(mine):
        file = ", with --code for the file of its class" if saved["class"] else ""
        raise CheckpointError(
            f"the checkpoint was trained by {_method(saved)}, and the config makes a {_method(mine)}",
            where="model.class_path",
            fix=f"use the config.yaml of the checkpoint's run{file}",
        )
    if saved["vocabulary"] != mine["vocabulary"]:
        raise CheckpointError(
            "the checkpoint was trained with another tokenizer",
            why="its token ids mean other words, so every answer would be noise",
            fix="set data.tokenizer to the tokenizer/ folder of the checkpoint's run",
        )
    differing = config_differences(saved["backbone"], mine["backbone"])
    if differing:
        raise CheckpointError(
            "the checkpoint is of another model: " + "; ".join(differing),
            where="model.backbone",
            fix="use the config.yaml of the checkpoint's run",
        )
    _check_lora(saved["lora"], mine["lora"])
    check_frozen(saved["frozen"], mine["frozen"])
    return saved


def check_described(described: object, where: str | None = None, needed: Sequence[str] | None = None) -> None:
    """Refuse a description that is damaged, or whose meaning may have changed since this version.

    Args:
        described: The ``lcot`` entry of a checkpoint, or what ``lcot.json`` of an exported model holds.
        where: The file.
        needed: Names of the fields that it must have; those of a checkpoint of its method if not given.

    Raises:
        CheckpointError: If a newer version wrote it, a field is missing, or one holds what it cannot.
    """
    if not isinstance(described, dict) or not isinstance(described.get("format"), int):
        raise CheckpointError("this was not written by lcot", where=where, fix="give a run or what was exported of it")
    if described["format"] > FORMAT:
        raise CheckpointError(
            "the checkpoint was written by a newer lcot",
            where=where,
            why=f"it has format {described['format']}, and this version knows formats up to {FORMAT}",
            fix="update lcot",
        )
    if needed is None:
        needed = (*CHECKPOINT, *_BESIDES.get(str(described.get("module")), ()))
    if described.get("assistant"):
        needed = (*needed, "frozen.assistant_model")
    found = {name: _fault(described, name, name in needed, hint) for name, hint in _FIELDS.items()}
    faults = [f"{name} {fault}" for name, fault in found.items() if fault]
    if faults:
        raise CheckpointError(
            "what the checkpoint says about itself cannot be used",
            where=where,
            why="; ".join(faults[:3]),
            fix="use another checkpoint of this run",
        )


def vocabulary_hash(tokenizer: PreTrainedTokenizerBase) -> str:
    """A short hash of every token and its id."""
    entries = sorted(tokenizer.get_vocab().items(), key=lambda item: (item[1], item[0]))
    return hashlib.blake2b(json.dumps(entries).encode(), digest_size=8).hexdigest()


def config_hash(config: str) -> str:
    """A short hash of what a model's configuration says of how it computes.

    Args:
        config: What ``config.to_json_string()`` gives.
    """
    fields = {key: value for key, value in json.loads(config).items() if key not in _INCIDENTAL}
    return hashlib.blake2b(json.dumps(fields, sort_keys=True).encode(), digest_size=8).hexdigest()


def config_differences(saved: str, mine: str) -> list[str]:
    """In which fields two configurations differ, in words; at most four.

    Each release of transformers adds fields, with the default that its models had before: those of both count.
    """
    then, now = json.loads(saved), json.loads(mine)
    # What ends a text follows from the tokenizer; former versions kept one of several ends.
    keys = sorted((set(then) & set(now)) - _INCIDENTAL - {"eos_token_id"})
    return [f"{key} {then[key]} ≠ {now[key]}" for key in keys if then[key] != now[key]][:4]


def _method(described: dict[str, Any]) -> str:
    """The name of a method; with its module if it is one's own."""
    return str(described["class"] or described["module"]).replace(":", ".")


def _check_lora(saved: dict[str, Any] | None, mine: dict[str, Any] | None) -> None:
    then, now = (LoRA(**lora).name if lora else "no LoRA" for lora in (saved, mine))
    if then != now:
        raise CheckpointError(
            f"the checkpoint has {then}, and the config {now}",
            where="model.backbone.lora",
            fix="use the config.yaml of the checkpoint's run",
        )


def _fault(described: dict[str, Any], name: str, needed: bool, hint: Any) -> str | None:
    """What is wrong with a field; ``None`` if nothing is."""
    *above, last = name.split(".")
    for part in above:
        if not isinstance(inner := described.get(part), dict):
            return None  # said of itself
        described = inner
    if last not in described:
        return "is missing" if needed else None
    value = described[last]
    kind = next(option for option in _options(hint) if option is not type(None))
    try:
        fits = _fits(value, hint) and (name != "backbone" or isinstance(json.loads(value), dict))
        if is_dataclass(kind) and isinstance(value, dict):
            kinds = get_type_hints(kind)
            wrong = [f"{key} {one!r}" for key, one in value.items() if key in kinds and not _fits(one, kinds[key])]
            if wrong:
                return f"has {', '.join(wrong)}"
            fits = bool(kind(**value))  # type: ignore[operator]  # a class
    except (TypeError, ValueError) as err:
        return f"is {reprlib.repr(value)}: {err.what if isinstance(err, UserError) else err}"
    return None if fits else f"is {reprlib.repr(value)}"


def _fits(value: object, hint: Any) -> bool:
    """Whether a plain value may stand for what an annotation says; lists stand for tuples."""
    for option in _options(hint):
        if get_origin(option) is Literal:
            fits = value in get_args(option)
        elif get_origin(option) in (list, tuple):
            fits = isinstance(value, list | tuple) and all(_fits(one, get_args(option)[0]) for one in value)
        elif option in (int, float):  # counts, seeds and shares: none is below zero
            kinds = (int,) if option is int else (int, float)
            fits = type(value) in kinds and 0 <= value < _MOST  # type: ignore[operator]  # a number
        else:
            fits = isinstance(value, get_origin(option) or option)
        if fits:
            return True
    return False


def _options(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if isinstance(hint, UnionType) else (hint,)

"""What a checkpoint says about itself under ``lcot``, and whether it fits a module."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from transformers import PreTrainedTokenizerBase

from lcot.errors import CheckpointError
from lcot.modules.frozen import check_frozen

FORMAT = 1
"""Version of the ``lcot`` entry of a checkpoint."""


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
    check_format(saved)
    if saved["module"] != mine["module"]:
        raise CheckpointError(f"the checkpoint holds a {saved['module']}, and the config a {mine['module']}")
    if saved["vocabulary"] != mine["vocabulary"]:
        raise CheckpointError(
            "the checkpoint was trained with another tokenizer",
            why="its token ids mean other words, so every answer would be noise",
            fix="set data.tokenizer to the tokenizer/ folder of the checkpoint's run",
        )
    differing = _differences(json.loads(saved["backbone"]), json.loads(mine["backbone"]))
    if differing:
        raise CheckpointError(
            "the checkpoint is of another model: " + "; ".join(differing),
            where="model.backbone",
            fix="use the config.yaml of the checkpoint's run",
        )
    _check_lora(saved.get("lora"), mine.get("lora"))
    check_frozen(saved.get("frozen", {}), mine.get("frozen", {}))
    return saved


def check_format(described: dict[str, Any], where: str | None = None) -> None:
    """Refuse a description whose meaning may have changed since this version.

    Args:
        described: The ``lcot`` entry of a checkpoint, or what ``lcot.json`` of an exported model holds.
        where: The file.

    Raises:
        CheckpointError: If a newer version wrote it.
    """
    if described.get("format", FORMAT) > FORMAT:
        raise CheckpointError(
            "the checkpoint was written by a newer lcot",
            where=where,
            why=f"it has format {described['format']}, and this version knows formats up to {FORMAT}",
            fix="update lcot",
        )


def vocabulary_hash(tokenizer: PreTrainedTokenizerBase) -> str:
    """A short hash of every token and its id."""
    entries = sorted(tokenizer.get_vocab().items(), key=lambda item: (item[1], item[0]))
    return hashlib.blake2b(json.dumps(entries).encode(), digest_size=8).hexdigest()


def _check_lora(saved: dict[str, Any] | None, mine: dict[str, Any] | None) -> None:
    # Dropout matters to training only.
    then, now = (
        f"LoRA of rank {lora['rank']}, alpha {lora['alpha']:g}, on {', '.join(sorted(lora['targets']))}"
        if lora
        else "no LoRA"
        for lora in (saved, mine)
    )
    if then != now:
        raise CheckpointError(
            f"the checkpoint has {then}, and the config {now}",
            where="model.backbone.lora",
            fix="use the config.yaml of the checkpoint's run",
        )


def _differences(saved: dict[str, Any], mine: dict[str, Any]) -> list[str]:
    # Each release of transformers adds fields, with the default that its models had before: those of both count.
    incidental = {"transformers_version", "dtype", "torch_dtype", "_name_or_path", "architectures", "use_cache"}
    keys = sorted((set(saved) & set(mine)) - incidental)
    return [f"{key} {saved[key]} ≠ {mine[key]}" for key in keys if saved[key] != mine[key]][:4]

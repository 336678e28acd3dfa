"""The shape of a released model: fields of a configuration, as ``model.backbone.config`` has them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import AutoConfig

from lcot.errors import UserError
from lcot.modules.weights import check_type
from lcot.runs.released.files import Files, read_object

_OURS = {
    *("vocab_size", "bos_token_id", "eos_token_id", "pad_token_id", "model_type", "architectures", "auto_map"),
    *("dtype", "torch_dtype", "transformers_version", "_name_or_path", "use_cache", "task_specific_params"),
}
"""Fields that the tokenizer decides, or that say nothing of the shape."""


def shape_of(files: Files, base: Path | None) -> dict[str, Any] | None:
    """Fields of the released model's configuration.

    Args:
        files: The weights; a ``config.json`` beside them is theirs.
        base: The folder of the model that was trained, if the user named it.

    Returns:
        ``None`` if nothing says: the config that is laid over has it then.

    Raises:
        UserError: If a configuration cannot be used.
    """
    if base is not None:
        if not (base / "config.json").is_file():
            raise UserError(
                f"there is no config.json in {str(base)!r}", where="--base", fix="give the folder of the base model"
            )
        return _fields(read_object(base / "config.json"), base / "config.json")
    told = files.beside.get("config.json")
    return None if told is None else _fields(told, Path("config.json"))


def _fields(told: Mapping[str, Any], file: Path) -> dict[str, Any]:
    kind = str(told.get("model_type", "")).removeprefix("pccot-")  # PCCoT registers types of its own
    check_type(kind, str(file))
    known = AutoConfig.for_model(kind)
    names = {*known.to_dict(), *known.attribute_map, "rope_theta", "rope_scaling"}
    try:
        made = AutoConfig.for_model(kind, **{name: told[name] for name in told if name in names - _OURS})
    except (ValueError, TypeError) as err:
        raise UserError(f"{str(file)!r} cannot be used", why=str(err).strip().splitlines()[-1]) from err
    fields, default = made.to_dict(), known.to_dict()
    return {"model_type": kind} | {
        name: value
        for name, value in fields.items()
        if name in default and name not in _OURS and value != default[name]
    }

"""Tokenizers that nobody named: a pretrained model brings its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lcot.settings import Settings


def follow_models(config: Any, given: Settings) -> None:
    """Take the tokenizers of pretrained models from where their weights are, unless the user named others.

    A run that begins with another one's weights keeps ``words``, which the data number again as they did there, unless
    a dialogue wants a tokenizer that is not made of them.

    Args:
        config: The settings of the command, as they were parsed; changed in place.
        given: What the user set.
    """
    model: Any = config.model.get("init_args") or {}
    data: Any = config.data.get("init_args") or {}
    asked = data.get("dialogue") is not None
    path = _path(model.get("backbone"), runs=asked)
    if path is not None and given.find("data.tokenizer") is None:
        data.tokenizer = path
    path = _path(model.get("assistant"), runs=True)
    if asked and path is not None and given.find("data.dialogue.assistant") is None:
        data.dialogue.assistant = path


def _path(backbone: Any, runs: bool) -> str | None:
    """Where the tokenizer of a model is; ``None`` if it has none of its own, or is a run, and those do not count.

    ``None`` also for a folder that is not there: the model, which was named, says so best.
    """
    path = backbone.get("path") if backbone is not None else None
    if path is None:
        return None
    folder = Path(path).expanduser()
    if not folder.exists():
        # A name with a folder that is there before its slash is hardly one of the Hub.
        local = path.startswith((".", "/", "~")) or (len(folder.parts) > 1 and folder.parent.is_dir())
        return None if local else str(path)
    if (folder / "checkpoints").is_dir():
        return str(folder / "tokenizer") if runs else None
    return str(path)

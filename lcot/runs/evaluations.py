"""A run's evaluations by the names of their files: its own protocol's, and those of others beside it.

``test.json`` is what the run gives as its ``config.yaml`` has it, by the checkpoint that is taken when none is named.
Another number of thoughts, checkpoint, seed, file of questions or way to write answers is another protocol: its result
goes into a file of its own, such as ``test-eval_thoughts-2.json``, and replaces nothing. Predictions and analyses are
named in the same way.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lcot.runs.settings import Flat, differences, evaluation_settings, method_settings, shown

# These change how fast answers are written, and not what they are.
_SPEED = ("data.eval_batch_size", "model.compiled_decoding")
_SAMPLING = "model.sampling"

WITHOUT_EFFECT = {"top_k": 0, "top_p": 1.0, "repetition_penalty": 1.0, "seed": 0, "thoughts": 0.0}
"""Settings of sampling that are not named where they have no effect, as they are by default: versions differ in which
of them they know."""

_LONGEST = 80
"""Characters of a file's name behind the command."""


def decoding(sampling: Any) -> Any:
    """Greedy, however it was said, or the settings of sampling that have an effect.

    Args:
        sampling: As configs have it.
    """
    if not isinstance(sampling, dict):
        return "greedy"
    chosen = {name: value for name, value in sampling.items() if value != WITHOUT_EFFECT.get(name, ...)}
    if chosen.get("temperature"):
        return chosen
    kept = ("repetition_penalty", "thoughts", *(("seed",) if "thoughts" in chosen else ()))
    penalty = {name: chosen[name] for name in kept if name in chosen}
    return {"temperature": 0.0, **penalty} if penalty else "greedy"


_SEED = "seed_everything"


def deviations(own: Mapping[str, Any], used: Mapping[str, Any], split: str) -> list[str]:
    """In which settings an evaluation is not that of a run's own protocol.

    Args:
        own: The run's settings, as its folder has them.
        used: Those of the evaluation.
        split: ``val`` or ``test``.

    Returns:
        Keys, without those that change no answer.
    """
    before, now = evaluation_settings(own, split), evaluation_settings(used, split)
    mates = any(key.startswith("model.unmasked") and value is not None for key, value in now.items())
    speed = [key for key in _SPEED if not (mates and key == "data.eval_batch_size")]  # where batch mates matter
    found = [key for key in differences(before, now) if key not in speed]
    if _decoding_of(own) == _decoding_of(used):
        found = [key for key in found if key != _SAMPLING and not key.startswith(f"{_SAMPLING}.")]
    # Of another seed are other questions, where they are generated.
    return found + [_SEED] * (own.get(_SEED) != used.get(_SEED))


def same_method(own: Mapping[str, Any], used: Mapping[str, Any], split: str) -> bool:
    """Whether settings differ in nothing but what an evaluation may choose: of another method, nothing is kept."""
    free = {*evaluation_settings(own, split), *evaluation_settings(used, split)}
    return not [key for key in differences(method_settings(own), method_settings(used)) if key not in free]


def named(
    begins: str,
    own: Mapping[str, Any],
    used: Mapping[str, Any],
    split: str,
    checkpoint: str | None,
    options: Mapping[str, Any] | None = None,
) -> tuple[str, str]:
    """What a result is called: as its command, if it is of the run's own protocol, and by what is not the run's own.

    Args:
        begins: ``test``, ``validate``, ``predictions`` or ``analysis``.
        own: The run's settings.
        used: Those of the evaluation.
        split: ``val`` or ``test``.
        checkpoint: Name of the checkpoint's file, if it is not the one that is taken when none is named.
        options: Further ones that change the result, by their names; those that were not given are ``None``.

    Returns:
        The name, without an ending, and in words what is not the run's own; empty if nothing is.
    """
    flat = {**evaluation_settings(used, split), _SEED: used.get(_SEED)}
    keys = [leaf for key in deviations(own, used, split) for leaf in _leaves(flat, key)]
    said = [shown(flat, key) for key in keys]
    parts = [f"{key.rpartition('.')[2]}-{_value(flat.get(key))}" for key in keys]
    if checkpoint is not None:
        said.append(f"checkpoint={checkpoint}")
        parts.append(f"checkpoint-{_clean(checkpoint.removesuffix('.ckpt'))}")
    for option, value in (options or {}).items():
        if value is not None:
            said.append(f"{option}={value}")
            parts.append(f"{option}-{_value(value)}")
    if not parts:
        return begins, ""
    name = "-".join(parts)
    if len(name) > _LONGEST:
        name = f"{name[: _LONGEST - 9]}-{_digest(name)}"
    return f"{begins}-{name}", ", ".join(said)


def other_files(folder: Path, command: str) -> Sequence[Path]:
    """The results of a run by other protocols than its own.

    Args:
        folder: The run's folder.
        command: ``test`` or ``validate``.
    """
    return sorted(folder.glob(f"{command}-*.json"))


def _decoding_of(settings: Mapping[str, Any]) -> Any:
    model = settings.get("model") or {}
    return decoding((model.get("init_args") or {}).get("sampling"))


def _leaves(flat: Flat, key: str) -> list[str]:
    """The settings of a group that was null, without those of sampling that have no effect; or the one setting."""
    group = [name for name in flat if name.startswith(f"{key}.")]
    idle = {f"{_SAMPLING}.{name}": value for name, value in WITHOUT_EFFECT.items()} | {"model.unmasked.text": None}
    return [name for name in group if flat[name] != idle.get(name, ...)] or [key]


def _value(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool | int | float):
        return _clean(str(value))
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)
    clean = _clean(Path(text).name if isinstance(value, str) else text)
    # What cannot be told from the name is told by a hash.
    return clean if clean == text else f"{clean[:24]}-{_digest(text)}"


def _clean(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9.]+", "_", text).strip("_.") or "_"


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=4).hexdigest()

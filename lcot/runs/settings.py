"""Which settings make two runs the same method: those that decide what is trained, and how it answers."""

from __future__ import annotations

import importlib
import inspect
import reprlib
import typing
from collections.abc import Iterator, Mapping
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

from lcot.errors import DataError
from lcot.runs.files import Report, read_yaml
from lcot.signatures import parameters

_TRAINER = (
    "precision",
    "accumulate_grad_batches",
    "gradient_clip_val",
    "gradient_clip_algorithm",
    "limit_train_batches",
    "limit_val_batches",
    "check_val_every_n_epoch",
    "val_check_interval",
    "max_epochs",
)
_BEST = ("monitor", "mode")

ANSWERING = (
    *("model.max_new_tokens", "model.compiled_decoding", "model.unmasked"),
    *("curriculum.eval_stage", "curriculum.eval_thoughts"),
)
"""How answers are written: of these the last evaluation's own settings count, and not those of training."""

# What else an evaluation depends on, or its figures of time.
_REPORTING = ("model.sampling", "data.extractors", "data.eval_batch_size", "trainer.precision")

# What the protocol of a result tells, or what changes nothing but speed.
_ELSEWHERE = (
    "data.num_workers",
    "data.eval_batch_size",
    "data.test_path",
    "data.test_size",
    "data.extractors",
    "model.sampling",
    "model.voting",
)

# Settings of a data set that say nothing about the examples that it is tested on.
_NOT_THE_DATA = ("num_workers", "batch_size", "eval_batch_size", "group_by_length", "tokenizer", "extractors", "redraw")

# Sections that are one class, without saying so.
_CLASSES = {"curriculum": "lcot.callbacks.CurriculumCallback"}

# What decides the weights of a run, beside its method's sections; everything else may differ when it is continued.
_DECISIVE = (
    "precision",
    "accumulate_grad_batches",
    "gradient_clip_val",
    "gradient_clip_algorithm",
    "limit_train_batches",
)
_HARMLESS = {
    "num_workers",
    "eval_batch_size",
    "test_path",
    "test_size",
    "eval_stage",
    "eval_thoughts",
    "max_new_tokens",
    "sampling",
    "voting",
}

Flat = dict[str, Any]
"""Settings by dotted key, without ``init_args``."""

_UNKNOWN = object()


def read_config(file: Path, fix: str) -> dict[str, Any]:
    """Read a run's ``config.yaml``, with all sections that others rely on.

    Args:
        file: Where it is.
        fix: What to do if it cannot be used.

    Raises:
        DataError: If it cannot be read, or is not what a run writes.
    """
    config = read_yaml(file, fix)
    for name in ("model", "data", "curriculum", "trainer"):
        section = config.get(name)
        whole = isinstance(section, dict) and isinstance(section.get("init_args"), dict | None)
        if whole and name in ("model", "data"):
            whole = isinstance(config[name].get("class_path"), str)
        if not whole:
            raise DataError(
                f"the settings of {str(file.parent)!r} have no section {name!r} that can be used",
                where=str(file),
                why="it is missing" if section is None else f"it is {reprlib.repr(section)}",
                fix=fix,
            )
    if not isinstance(config.get("best_checkpoint"), dict | None):
        raise DataError(f"the settings of {str(file.parent)!r} are damaged: best_checkpoint", where=str(file), fix=fix)
    return config


def decisive_changes(started: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """In which settings a run that continues is not the one that was started, in words.

    Args:
        started: The settings of its first start. What that version did not know counts as its default.
        now: Those of this command.
    """
    sides = [
        {
            "seed_everything": side.get("seed_everything"),
            **flatten({name: side.get(name) for name in ("model", "data", "curriculum")}),
            **{f"trainer.{name}": (side.get("trainer") or {}).get(name) for name in _DECISIVE},
        }
        for side in (started, now)
    ]
    keys = [key for key in differences(*sides) if not _HARMLESS & set(key.split("."))]
    return [
        f"{key.removesuffix('.class_path')}: {_told(sides[0], key)} then, {_told(sides[1], key)} now" for key in keys
    ]


def _told(settings: Flat, key: str) -> str:
    if key not in settings:
        return "set" if any(name.startswith(f"{key}.") for name in settings) else "its default"
    return str(settings[key]).rpartition(".")[2] if key.endswith(".class_path") else repr(settings[key])


def method_settings(config: Mapping[str, Any], report: Report | None = None) -> Flat:
    """What makes a method, out of a run's settings: not its seed, its name, or where it was run.

    Args:
        config: A whole config, as ``config.yaml`` holds it.
        report: The result of an evaluation with settings of its own, which count for how answers are written.
    """
    chosen = {name: config.get(name) for name in ("model", "data", "curriculum")}
    for section, names in (("trainer", _TRAINER), ("best_checkpoint", _BEST)):
        given = config.get(section) or {}
        chosen[section] = {name: given.get(name) for name in names}
    flat = flatten(chosen)
    if report is not None:
        answering = flatten({name: report.part(name) for name in ("model", "curriculum")})
        for name in ANSWERING:
            now = {key: value for key, value in answering.items() if _under(key, (name,))}
            if now:
                flat = {key: value for key, value in flat.items() if not _under(key, (name,))} | now
    return {key: value for key, value in flat.items() if not _under(key, _ELSEWHERE)}


def data_settings(sections: Mapping[str, Any], split: str) -> Flat:
    """The settings that decide which examples a split holds.

    Args:
        sections: Settings with a section ``data``.
        split: ``val`` or ``test``.
    """
    others = tuple(f"data.{name}_" for name in ("train", "val", "test") if name != split)
    flat = flatten({"data": sections.get("data")})
    names = [f"data.{name}" for name in _NOT_THE_DATA]
    return {key: value for key, value in flat.items() if not _under(key, names) and not key.startswith(others)}


def evaluation_settings(sections: Mapping[str, Any], split: str) -> Flat:
    """The settings that decide what an evaluation of given weights reports.

    Args:
        sections: Settings with sections ``model``, ``data``, ``curriculum`` and ``trainer``.
        split: ``val`` or ``test``.
    """
    flat = flatten({name: sections.get(name) for name in ("model", "data", "curriculum", "trainer")})
    voting = ("model.voting",) if split == "test" else ()  # validation takes one answer to a question
    names = (*ANSWERING, *_REPORTING, *voting, f"trainer.limit_{split}_batches")
    return {**data_settings(sections, split), **{key: value for key, value in flat.items() if _under(key, names)}}


def flatten(settings: Mapping[str, Any], prefix: str = "") -> Flat:
    """Nested settings by dotted key; class paths without their package, tuples as lists."""
    return dict(_leaves(settings, prefix))


def differences(left: Flat, right: Flat) -> list[str]:
    """Keys in which two groups of settings differ.

    A setting that only one of them has was not known to the version that wrote the other: it counts as that class's
    default, which is looked up where it is needed (and imports the class).
    """
    found = []
    for key in dict.fromkeys([*left, *right]):
        groups = _groups(key)
        if any(_class(left.get(f"{group}.class_path")) != _class(right.get(f"{group}.class_path")) for group in groups):
            continue  # another class, which is a difference of its own
        if key in left and key in right:
            differs = left[key] != right[key]
            if key.endswith(".class_path"):
                differs = _class(left[key]) != _class(right[key])
        else:
            there, other = (left, right) if key in left else (right, left)
            if any(group in other for group in groups):
                continue  # null in place of the group, which is a difference of its own
            differs = any(name.startswith(f"{key}.") for name in other) or _default(there, key) != there[key]
        if differs:
            found.append(key)
    return found


def shown(settings: Flat, key: str) -> str:
    """A setting as people read it: ``max_epochs=42``, ``Stepwise``."""
    group, _, name = key.rpartition(".")
    value = settings.get(key, "its default")
    if name == "class_path":
        return str(value).rpartition(".")[2]
    text = "null" if value is None else str(value)
    near = group.rpartition(".")[2]
    label = f"{near}.{name}" if name in ("path", "config") else name
    return f"{label}={text if len(text) <= 40 else text[:37] + '…'}"


def _leaves(value: Any, key: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for name, inner in value.items():
            yield from _leaves(inner, key if name == "init_args" else f"{key}.{name}".lstrip("."))
    else:
        yield key, list(value) if isinstance(value, tuple) else value


def _class(path: Any) -> tuple[str, str]:
    """A class by package and name: ``lcot.modules.Coconut`` and ``lcot.modules.coconut.Coconut`` are one."""
    parts = str(path).split(".")
    return parts[0], parts[-1]


def _groups(key: str) -> list[str]:
    """Every group around a key, but for the class that the key itself names."""
    parts = key.split(".")
    ends = len(parts) - (2 if parts[-1] == "class_path" else 1)
    return [".".join(parts[:end]) for end in range(1, ends + 1)]


def _under(key: str, names: typing.Iterable[str]) -> bool:
    return any(key == name or key.startswith(f"{name}.") for name in names)


def _default(settings: Flat, key: str) -> Any:
    """What a class of ours does where a setting is not given; ``_UNKNOWN`` if that cannot be told."""
    found = ((group, settings.get(f"{group}.class_path", _CLASSES.get(group))) for group in reversed(_groups(key)))
    group, path = next(((group, path) for group, path in found if path is not None), ("", ""))
    if not str(path).startswith("lcot."):
        return _UNKNOWN
    package, _, name = str(path).rpartition(".")
    try:
        made = getattr(importlib.import_module(package), name)
        return _default_of(made, key.removeprefix(f"{group}.").split("."))
    except (ImportError, AttributeError, NameError, TypeError, ValueError):
        return _UNKNOWN


def _default_of(made: Any, names: list[str]) -> Any:
    for place, name in enumerate(names):
        parameter = parameters(made).get(name)
        if parameter is None:
            return _UNKNOWN
        default = parameter.default
        rest = names[place + 1 :]
        if not rest:
            return _UNKNOWN if default is parameter.empty else _plain(default)
        hint = parameter.annotation
        classes = [
            kind for kind in typing.get_args(hint) or (hint,) if inspect.isclass(kind) and kind is not type(None)
        ]
        if len(classes) != 1:
            return _UNKNOWN
        made = classes[0]
    return _UNKNOWN


def _plain(default: Any) -> Any:
    if is_dataclass(default) and not isinstance(default, type):
        return asdict(default)
    return list(default) if isinstance(default, tuple) else default

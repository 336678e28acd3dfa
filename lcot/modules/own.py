"""Methods of one's own: subclasses of those here, found again by what a checkpoint says of them."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Set
from inspect import signature
from operator import attrgetter
from pathlib import Path
from typing import Any, TypeVar

import yaml
from jsonargparse import ArgumentError, ArgumentParser

from lcot.errors import CheckpointError, UserError

Made = TypeVar("Made")


def own_class(kind: type) -> str | None:
    """Where a class is, ``module:qualified name``, as checkpoints note it; ``None`` for those of this package.

    Args:
        kind: The module's class.
    """
    return None if kind.__module__.partition(".")[0] == "lcot" else f"{kind.__module__}:{kind.__qualname__}"


def import_own(name: str) -> type:
    """The class that a checkpoint names; its module is imported, from where Python finds it.

    Args:
        name: What :func:`own_class` gave.

    Raises:
        CheckpointError: If it cannot be imported, or is no class.
    """
    where, _, qualified = name.partition(":")
    dotted = f"{where}.{qualified}"
    fix = "start Python in the folder of its file, or put that folder on PYTHONPATH"
    if where == "__main__":
        fix = "write the class into a file of its own, which the script that trains imports"
    try:
        found = attrgetter(qualified)(importlib.import_module(where))
    except Exception as err:  # whatever the file does
        raise CheckpointError(
            f"the checkpoint's method is {dotted}, and it cannot be imported",
            why=f"{type(err).__name__}: {(str(err).strip() or 'no message').splitlines()[0]}",
            fix=fix,
        ) from err
    if not isinstance(found, type):
        raise CheckpointError(f"the checkpoint's method is {dotted}, and that is no class", fix=fix)
    return found


def make_own(kind: type[Made], base: type, ours: Mapping[str, Any], config: Path) -> Made:
    """A module of a class of one's own.

    Args:
        kind: The class.
        base: The class here that it extends.
        ours: The arguments of that one, as the checkpoint says; what the class does not take, it sets itself.
        config: The ``config.yaml`` of its run, which holds its further arguments.

    Raises:
        CheckpointError: If it has further arguments and they cannot be had, or it cannot be made with them.
    """
    parser = ArgumentParser(exit_on_error=False)
    taken = {name.partition(".")[0] for name in parser.add_class_arguments(kind, fail_untyped=False)}
    further = taken - set(signature(base).parameters)
    name = f"{kind.__module__}.{kind.__qualname__}"
    told = _told(config, kind, further) if further else {}
    # Values of any type, as the command line makes them.
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(kind, skip=taken - further, fail_untyped=False, instantiate=False)
    try:
        own = parser.instantiate_classes(parser.parse_object(told)).as_dict() if further else {}
        return kind(**{key: value for key, value in ours.items() if key in taken}, **own)
    except (ArgumentError, TypeError, ValueError) as err:
        raise CheckpointError(
            f"no {name} can be made as the run made it",
            where=str(config) if further else name,
            why=err.what if isinstance(err, UserError) else str(err).strip().splitlines()[0],
            fix="use the class and the config.yaml that the run was trained with",
        ) from err


def _told(config: Path, kind: type, names: Set[str]) -> dict[str, Any]:
    """What a run's config says of some arguments of its model."""
    try:
        model = yaml.safe_load(config.read_text(encoding="utf-8"))["model"]
        if model["class_path"].rpartition(".")[2] != kind.__name__:
            raise ValueError(f"its model is {model['class_path']}")
        return {key: value for key, value in model["init_args"].items() if key in names}
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError) as err:
        raise CheckpointError(
            f"{kind.__module__}.{kind.__qualname__} has settings of its own: {', '.join(sorted(names))}",
            where=str(config),
            why=f"the run's config.yaml holds them, and it cannot be used: {str(err).splitlines()[0]}",
            fix="load the run where it is, with its config.yaml",
        ) from err

"""Methods of one's own: subclasses of those here, found again by what a checkpoint says of them."""

from __future__ import annotations

import importlib
import os
import re
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Set
from contextlib import contextmanager
from importlib.metadata import packages_distributions
from inspect import signature
from operator import attrgetter
from pathlib import Path
from typing import Any, TypeVar

import yaml
from jsonargparse import ArgumentError, ArgumentParser, set_parsing_settings
from jsonargparse._common import parsing_settings

from lcot.errors import CheckpointError, UserError

Made = TypeVar("Made")

KNOWN = frozenset({"lcot", "lightning", "torch", "torchmetrics", "transformers"})
"""Packages that are installed wherever this one is."""

DOTTED = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+")
"""What a name of a class looks like."""


def own_class(kind: type) -> str | None:
    """Where a class is, ``module:qualified name``, as checkpoints note it; ``None`` for those of this package.

    Args:
        kind: The module's class.
    """
    return None if kind.__module__.partition(".")[0] == "lcot" else f"{kind.__module__}:{kind.__qualname__}"


def import_own(name: str) -> type:
    """The class that a checkpoint names: of an installed package, or of a file that :func:`load_code` was given.

    A module that is there already counts too: its code has run, for whoever imported it wanted that.

    Args:
        name: What :func:`own_class` gave.

    Raises:
        CheckpointError: If it cannot be imported, or is no class.
    """
    where, _, qualified = name.partition(":")
    dotted = f"{where}.{qualified}"
    if where not in sys.modules and not installed({where.partition(".")[0]}):
        raise CheckpointError(
            f"the checkpoint was trained by {dotted}, a class that is not here",
            why="a checkpoint's word makes nothing be imported but installed packages",
            fix="if you trust its file, name it: lcot.load(…, code='FILE.py'), or --code FILE.py for commands",
        )
    fix = "install the version that it was trained with"
    if where == "__main__":
        fix = "write the class into a file of its own, which the script that trains imports"
    try:
        with _not_from_here():
            found = attrgetter(qualified)(sys.modules.get(where) or importlib.import_module(where))
    except Exception as err:  # whatever the file does
        raise CheckpointError(
            f"the checkpoint's method is {dotted}, and it cannot be imported", why=_first_line(err), fix=fix
        ) from err
    if not isinstance(found, type):
        raise CheckpointError(f"the checkpoint's method is {dotted}, and that is no class", fix=fix)
    return found


def load_code(file: str | Path, wanted: Iterable[str] = ()) -> str:
    """Import a file that the user names, and let run's configs and checkpoints name what is in it.

    Args:
        file: A Python file.
        wanted: Names as ``package.module.Class``: one of them says which module the file is, where its folders fit;
            otherwise it is a module of the file's own name.

    Returns:
        The module's name.

    Raises:
        UserError: If there is no such file, another module has its name, or it cannot be imported.
    """
    path = Path(file).expanduser().resolve()
    if not path.is_file() or path.suffix != ".py":
        raise UserError(f"there is no Python file {str(file)!r}", where="code", fix="give the file of the class")
    parts, places = 1, path.with_suffix("").parts
    for name in wanted:
        module = name.replace(":", ".").split(".")
        parts = max([parts, *(end for end in range(1, len(module)) if places[-end:] == tuple(module[:end]))])
    name, root = ".".join(places[-parts:]), str(path.parents[parts - 1])
    former = sys.path[:]
    sys.path.insert(0, root)
    try:
        found: Any = importlib.import_module(name)
    except Exception as err:  # whatever the file does
        raise UserError(f"{str(file)!r} cannot be imported", where="code", why=_first_line(err)) from err
    finally:
        sys.path[:] = former if root in former else [*former, root]  # for what it imports later
    if getattr(found, "__file__", None) is None or Path(found.__file__).resolve() != path:
        raise UserError(
            f"{str(file)!r} would be the module {name!r}, and another one has that name",
            where="code",
            why=f"it is {getattr(found, '__file__', None) or 'a part of Python'}",
            fix="rename the file and the class's place in the run's config, or start Python anew",
        )
    return name


def code_of(made: Iterable[object]) -> list[str]:
    """The files that a command has to name so that some objects can be made again, relative to the current folder.

    Args:
        made: Objects; those of installed packages need nothing.
    """
    kinds = {type(one) for one in made}
    own = [kind for kind in kinds if not installed({kind.__module__.partition(".")[0]})]
    files = {str(getattr(sys.modules.get(kind.__module__), "__file__", None) or "") for kind in own}
    return sorted(os.path.relpath(file) for file in files if file)


def installed(packages: Collection[str]) -> set[str]:
    """Those of some top-level packages that are installed, and not just files in the current folder.

    Args:
        packages: Their names.
    """
    known = set(packages) & KNOWN
    if known != set(packages):  # looking through all that is installed takes half a second
        with _not_from_here():
            known |= set(packages) & set(packages_distributions())
    return known


@contextmanager
def naming(allowed: Collection[str]) -> Iterator[None]:
    """Let parsed values name classes and functions of some packages, and of no others.

    jsonargparse looks before it imports; so nothing is imported that is not allowed, and no function is found, whatever
    the kind of the setting.

    Args:
        allowed: Names of packages or modules.
    """
    former = dict(parsing_settings)
    try:
        set_parsing_settings(
            import_path_denylist=["*"], import_path_allowlist=sorted(allowed), instantiate_subclass_spec_in_any=False
        )
        yield
    finally:
        parsing_settings.update(former)  # there is no way to take a rule back


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
        # What the run's folder says may name what the class's own file does, and what is installed.
        words = {str(kind.__module__), *installed({word.partition(".")[0] for word in _dotted(told)})}
        with naming(KNOWN | words):
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


def _dotted(value: object) -> Iterator[str]:
    """All texts in some settings that could name a class."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list):
        for inner in value:
            yield from _dotted(inner)
    elif isinstance(value, str) and DOTTED.fullmatch(value):
        yield value


@contextmanager
def _not_from_here() -> Iterator[None]:
    """Look for modules as if the current folder were another one: a file in it must not stand in for a package."""
    former, here = sys.path[:], Path.cwd()
    sys.path[:] = [place for place in former if place and Path(place).resolve() != here]
    try:
        yield
    finally:
        sys.path[:] = former


def _first_line(err: BaseException) -> str:
    return f"{type(err).__name__}: {(str(err).strip() or 'no message').splitlines()[0]}"

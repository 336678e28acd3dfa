"""What a class can be given, with what it passes on to its bases."""

from __future__ import annotations

import inspect
import typing


def parameters(made: type) -> dict[str, inspect.Parameter]:
    """The parameters of a class by name, with resolved annotations.

    Args:
        made: A class. Where its ``__init__`` ends in ``**options``, those of its bases count as well.
    """
    found: dict[str, inspect.Parameter] = {}
    for owner in inspect.getmro(made):
        if "__init__" not in vars(owner) or owner is object:
            continue
        init = vars(owner)["__init__"]
        hints = typing.get_type_hints(init)
        named = inspect.signature(init).parameters
        for name, parameter in named.items():
            if name != "self" and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                found.setdefault(name, parameter.replace(annotation=hints.get(name, typing.Any)))
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in named.values()):
            break
    return found

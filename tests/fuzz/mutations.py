"""Ways to damage files: their bytes, and what they say."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + 64 * b"0" + b"\nsize 1000\n"
"""What Git LFS leaves in the place of a file."""

VALUES: tuple[Any, ...] = (
    *(None, True, -1, 0, 1, 7, 10**6, 10**30, 0.5, -1e300, float("nan"), float("inf")),
    *(
        "",
        "x",
        "../..",
        "a\x00b",
        "é" * 5000,
        [],
        [1],
        ["x", None],
        [[[[]]]],
        {},
        {"a": 1},
        {"class_path": "math.sqrt"},
    ),
)
"""What may stand in the place of a value."""


def damaged(whole: bytes, draw: random.Random) -> tuple[str, bytes]:
    """A file's bytes after an accident, and what it was."""
    place = draw.randrange(len(whole)) if whole else 0
    end = min(len(whole), place + draw.choice((1, 8, 100, 4096)))
    kinds: dict[str, Callable[[], bytes]] = {
        "bit": lambda: whole[:place] + bytes([whole[place] ^ (1 << draw.randrange(8))]) + whole[place + 1 :],
        "cut": lambda: whole[:place],
        "zeros": lambda: whole[:place] + bytes(end - place) + whole[end:],
        "lost": lambda: whole[:place] + whole[end:],
        "twice": lambda: whole[:end] + whole[place:],
        "more": lambda: whole + whole[: draw.choice((1, 64))],
        "noise": lambda: whole[:place] + draw.randbytes(end - place) + whole[end:],
        "pointer": lambda: POINTER,
        "empty": lambda: b"",
        "page": lambda: b"<!doctype html><html>404</html>",
    }
    weights = {"bit": 6, "noise": 3}
    kind = draw.choices(list(kinds), [weights.get(name, 1) for name in kinds])[0]
    return f"{kind} at {place}", kinds[kind]()


def changed(tree: Any, draw: random.Random) -> tuple[str, Any]:
    """Plain values with one of them changed, removed or renamed, and what it was."""
    made = copy.deepcopy(tree)
    path = draw.choice(list(_paths(tree)))
    place = made
    for key in path[:-1]:
        place = place[key]
    last, told = path[-1], ".".join(map(str, path))
    kind = draw.choice(("value", "value", "value", "value", "gone", "renamed"))
    if kind == "value":
        value = draw.choice(VALUES)
        place[last] = copy.deepcopy(value)
        return f"{told} = {value!r:.60}", made
    if kind == "renamed" and isinstance(place, dict):
        place[f"{last}_"] = place.pop(last)
        return f"{told} renamed", made
    del place[last]
    return f"{told} gone", made


def other_weights(weights: dict[str, Tensor], draw: random.Random) -> tuple[str, dict[str, Any]]:
    """Weights with one of them missing, of another shape or type, or beside a foreign one, and which."""
    made: dict[str, Any] = {name: one.clone() for name, one in weights.items()}
    name = draw.choice(sorted(made))
    one = made[name]
    others: dict[str, Any] = {
        "shape": torch.cat([one, one]),
        "flat": one.reshape(-1)[: max(1, one.numel() - 1)],
        "double": one.double(),
        "half": one.bfloat16(),
        "whole": one.to(torch.int64),
        "null": None,
        "empty": one[:0],
    }
    kind = draw.choice((*others, "missing", "renamed", "foreign"))
    if kind == "foreign":
        made[draw.choice(("y", f"{name.replace('0', '7')}z"))] = torch.ones(3)
    elif kind in others:
        made[name] = others[kind]
    else:
        del made[name]
        if kind == "renamed":
            made[f"{name}x"] = one
    return f"{name} {kind}", made


def _paths(tree: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in items:
        yield (*above, key)
        yield from _paths(value, (*above, key))

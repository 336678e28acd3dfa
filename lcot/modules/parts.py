"""Thinkers and feeds as checkpoints note them, and made again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from lcot.errors import CheckpointError
from lcot.modules.own import own_class
from lcot.reasoning.feeds import FEEDS, Feed
from lcot.reasoning.heads import HEADS
from lcot.reasoning.parallel import THINKERS
from lcot.reasoning.thinker import Thinker


def described_part(part: Thinker | Feed | None) -> dict[str, Any] | None:
    """A thinker or a feed in plain values: its class, and what it was made with."""
    if part is None:
        return None
    return {"class": own_class(type(part)) or type(part).__name__, "settings": part.settings()}


def made_part(described: Mapping[str, Any] | None, find: Callable[[str], type]) -> Any:
    """A thinker or a feed as a checkpoint notes it.

    Args:
        described: What :func:`described_part` gave.
        find: Imports a class of one's own by its name.

    Raises:
        CheckpointError: If there is no such class, or it cannot be made so.
    """
    if described is None:
        return None
    name = str(described.get("class"))
    known: dict[str, type] = {**FEEDS, **HEADS, **THINKERS}
    kind = known[name] if name in known else find(name)
    try:
        return kind(**described["settings"])
    except (TypeError, ValueError, KeyError) as err:
        raise CheckpointError(
            f"no {name} can be made as the checkpoint notes it",
            where=f"its settings: {described.get('settings')}",
            why=str(err).splitlines()[0],
            fix="use the class that the run was trained with",
        ) from err


def own_names(entry: Mapping[str, Any]) -> list[str]:
    """Classes of one's own that a checkpoint names: its module's, and those of its parts."""
    parts = [(entry.get(name) or {}).get("class") for name in ("thinker", "feed")]
    return [name for name in (entry.get("class"), *parts) if name is not None and ":" in name]

"""What a command takes beyond a plain install, looked for before anything heavy begins."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lcot.datamodules.hub import PREFIX
from lcot.errors import needs


def check_extras(settings: Any) -> None:
    """Refuse settings that take packages of an extra which is not installed.

    Args:
        settings: The parsed settings of a command.

    Raises:
        UserError: If there is one.
    """
    for place, value in _leaves(settings.model.get("init_args", {}), "model"):
        if place.endswith(".lora") and value is not None:
            needs("lora", "peft", what="LoRA", where=place)
    for place, value in _leaves(settings.data.get("init_args", {}), "data"):
        if str(value).startswith(PREFIX):
            needs("hub", "datasets", what="a data set of the Hub", where=place)


def _leaves(settings: Any, place: str) -> Iterator[tuple[str, Any]]:
    """Every group and value by its name."""
    inner = settings if isinstance(settings, Mapping) else vars(settings) if hasattr(settings, "as_dict") else {}
    for name, value in inner.items():
        yield f"{place}.{name}", value
        yield from _leaves(value, f"{place}.{name}")

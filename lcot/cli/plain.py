"""Parsed settings as plain values."""

from __future__ import annotations

from enum import Enum
from typing import Any

import yaml

yaml.SafeDumper.add_multi_representer(Enum, lambda dumper, value: dumper.represent_data(value.value))
"""Some of Lightning's defaults are members of enumerations, where text is announced."""


def yaml_safe(settings: Any) -> Any:
    """Parsed settings as plain values, as they are written to config.yaml."""
    if hasattr(settings, "as_dict"):
        settings = settings.as_dict()
    if isinstance(settings, dict):
        return {str(key): yaml_safe(value) for key, value in settings.items()}
    if isinstance(settings, list | tuple):
        return [yaml_safe(value) for value in settings]
    if isinstance(settings, Enum):
        return yaml_safe(settings.value)
    return settings if isinstance(settings, str | int | float | bool | None) else str(settings)

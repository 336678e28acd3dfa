"""What commands write, without times and places: to be compared with what another one wrote."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

_ASIDE = (
    "seconds",
    "wall_seconds",
    "cpu_seconds",
    "peak_memory_bytes",
    "starts",
    "begun",
    "run_begun",
    "commit",
    "commits",
)


def reports(config: Path) -> dict[str, list[Any]]:
    """All reports of the runs beside a config, by their names."""
    found: dict[str, list[Any]] = {}
    for file in sorted((config.parent / "runs").rglob("*.json*")):
        if "tokenizer" in file.parts:
            continue
        text = file.read_text(encoding="utf-8").replace(str(config.parent), "")
        lines = text.splitlines() if file.suffix == ".jsonl" else [text]
        found[str(file.relative_to(config.parent))] = [_timeless(json.loads(line)) for line in lines]
    return found


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        kept = {key: part for key, part in value.items() if key.rpartition("/")[2] not in (*_ASIDE, "command")}
        return {key: _timeless(part) for key, part in kept.items()}
    return [_timeless(part) for part in value] if isinstance(value, list) else value

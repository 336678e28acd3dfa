"""ProntoQA problems by hand, as files hold them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

RAW: dict[str, Any] = {
    "question": "Wumpuses are not hot. Each rompus is a wumpus. Every impus is hot. Sam is a rompus. Sam is a gorpus.",
    "query": "True or false: Sam is hot.",
    "chain_of_thought": [
        "Sam is a rompus.",
        "Each rompus is a wumpus.",
        "Sam is a wumpus.",
        "Wumpuses are not hot.",
        "Sam is not hot.",
    ],
    "answer": "False",
}
STEPS = ("Sam is a rompus. Each rompus is a wumpus.", "Sam is a wumpus. Wumpuses are not hot.", "Sam is not hot.")
LISTED: dict[str, Any] = {"question": f"{RAW['question']} {RAW['query']}", "steps": list(STEPS), "answer": "False"}


def entries(folder: Path, *records: dict[str, Any], name: str = "raw.json") -> Path:
    """A file as the published generator writes it."""
    path = folder / name
    whole = {f"example{number}": {"test_example": record} for number, record in enumerate(records, start=1)}
    path.write_text(json.dumps(whole, indent=1), encoding="utf-8")
    return path


def changed(**fields: Any) -> dict[str, Any]:
    """A published record with other fields; ``...`` removes one."""
    return {key: value for key, value in {**RAW, **fields}.items() if value is not ...}

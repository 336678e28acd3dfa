"""Small data in the place of what the shipped configs ask for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.tiny import RECORD, write_records

GSM8K = "Ann has 3 cats and 2 dogs. How many pets?||<<3+2=5>> #### 5\nBob has 1 cat. How many legs?|| #### 4\n"
"""Two lines of GSM8k-Aug's form, one without any equation."""

PRONTOQA = {
    f"example{number}": {
        "test_example": {
            "question": "Each impus is a jompus. Jompuses are hot. Max is an impus.",
            "query": "True or false: Max is hot.",
            "chain_of_thought": [
                "Max is an impus.",
                "Each impus is a jompus.",
                "Max is a jompus.",
                "Jompuses are hot.",
                "Max is hot.",
            ],
            "answer": "True",
        }
    }
    for number in range(6)
}
"""Six records of the published generator's form."""

_SPLITS = ("train", "val", "test")


def data_options(settings: dict[str, Any], folder: Path, published: bool) -> list[str]:
    """The options that give a config a handful of problems.

    Args:
        settings: The config.
        folder: Where files may be written.
        published: Whether to give files where the data could be generated too.
    """
    kind = settings["data"]["class_path"]
    symbolic = settings["data"].get("init_args", {}).get("style") == "symbolic"
    if kind == "GSM8K":
        path = folder / "gsm.txt"
        path.write_text(GSM8K, encoding="utf-8")
    elif kind == "JSONReasoning" or (kind == "ProsQA" and published and not symbolic):
        path = write_records(folder / "records.json", RECORD, RECORD)
    elif kind == "ProntoQA" and published:
        path = folder / "pronto.json"
        path.write_text(json.dumps(PRONTOQA), encoding="utf-8")
        return [f"--data.path={path}", *(f"--data.{split}_size=2" for split in _SPLITS)]
    else:
        return [f"--data.{split}_size=4" for split in _SPLITS]
    return [f"--data.{split}_path={path}" for split in _SPLITS]

"""The recorded results of released code: rows, models and figures of one method at a time."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from lcot.reasoning.batch import ThoughtBatch, collate
from lcot.reasoning.layout import IGNORE, Layout
from tests.places import SHARED

ORACLE = SHARED / "oracle"
FAMILIES = ("gpt2", "llama")
needs_oracle = pytest.mark.skipif(not ORACLE.is_dir(), reason="needs the recorded results of the official code")


def content(name: str) -> dict[str, Any]:
    """All that was recorded of a method; nothing where the files are not there."""
    if not ORACLE.is_dir():
        return {}
    found: dict[str, Any] = json.loads((ORACLE / name / f"{name}_official.json").read_text(encoding="utf-8"))
    return found


def defined(name: str, case: dict[str, Any]) -> dict[str, Any]:
    """What the independent definition gives for a case, where the release differs from what it is described as."""
    found: dict[str, Any] = json.loads((ORACLE / name / "definition.json").read_text(encoding="utf-8"))
    made: dict[str, Any] = found["cases"][case["name"]]
    return made


def model_of(name: str, family: str, part: str = ".", attention: str = "sdpa") -> PreTrainedModel:
    """A tiny model of a method."""
    made = AutoModelForCausalLM.from_pretrained(
        ORACLE / name / family / part, dtype=torch.float32, local_files_only=True, attn_implementation=attention
    )
    assert isinstance(made, PreTrainedModel)
    return made


def cases(name: str, *left_out: str) -> list[Any]:
    """The method's cases, without those whose names hold one of these words."""
    return [
        pytest.param(family, case, id=case["name"])
        for family in FAMILIES
        for case in content(name).get(family, {}).get("cases", ())
        if not any(word in case["name"] for word in left_out)
    ]


def layout(
    before: list[int],
    slots: int,
    latent: int,
    after: list[int],
    text: list[int],
    answer: int | None = None,
    **views: Layout,
) -> Layout:
    """A row: what stands before the thoughts, the thoughts, what is given behind them, what is supervised.

    Args:
        before: Ids before the thoughts.
        slots: How many thoughts.
        latent: The id at their places.
        after: Ids behind them that are given.
        text: Ids that are supervised.
        answer: Place of the answer's first id, counted from behind the thoughts.
        views: Other rows of the example.
    """
    ids = [*before, *[latent] * slots, *after, *text]
    labels = [IGNORE] * (len(ids) - len(text)) + text
    places = {} if answer is None else {"answer": (len(before) + slots + answer,)}
    prompt = len(ids) - len(text)
    return Layout(ids, labels, len(before), slots, prompt, marked=True, stepped=slots, places=places, views=views)


def teacher(ids: list[int], labels: list[int], answer: int) -> Layout:
    """A teacher's row."""
    head = next(place for place, label in enumerate(labels) if label != IGNORE)
    return Layout(ids, labels, head=head, thoughts=0, prompt=head, places={"answer": (answer,)})


def steps(texts: list[list[int]]) -> Layout:
    """The hidden steps of a row."""
    ids = [token for text in texts for token in text]
    starts = [0]
    for text in texts:
        starts.append(starts[-1] + len(text))
    return Layout(ids, list(ids), head=0, thoughts=0, prompt=0, places={"steps": tuple(starts)})


def lotus_batch(family: str, case: dict[str, Any]) -> ThoughtBatch:
    """A case's rows of LOTUS, with the hidden steps as their view."""
    found = content("lotus")
    sequences = found[family]["sequences"][f"stage{case['stage']}_c{case['c']}_max{case['max_latent_stage']}"]
    ids, made = found["ids"], []
    for row in case["rows"]:
        whole, labels = sequences[str(row)]["input_ids"], sequences[str(row)]["labels"]
        head, slots = whole.index(ids["start"]) + 1, whole.count(ids["latent"])
        first = next(place for place, label in enumerate(labels) if label != IGNORE)
        after, text = whole[head + slots : first], whole[first:]
        hidden = steps(sequences[str(row)]["replaced_cot_steps"])
        made.append(layout(whole[:head], slots, ids["latent"], after, text, steps=hidden))
    return collate(made, ids["pad"])

"""Chains of reasoning that stand in one text: where a step ends."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Literal

from lcot.datamodules.options import check_choice
from lcot.datamodules.word_problems.solutions import text_field

ChainSteps = Literal["sentences", "lines", "whole"]
"""What is a step of a chain in one text: each sentence of each line, each line, or the whole text."""

# Between two sentences; U.S. and J. R. are not the end of one.
_SENTENCES = re.compile(r"(?:(?<=[^\sA-Z.][.!?])|(?<=[^\sA-Z.][.!?][\"')]))\s+(?=[\"'(]?[A-Z0-9])")


def sentences_of(text: str) -> list[str]:
    """The sentences of a text."""
    return [sentence for sentence in _SENTENCES.split(text.strip()) if sentence]


def at_periods(text: str) -> list[str]:
    """The parts of a text that end in a period and a space, as the released CODI code cuts GSM8k-Aug-NL.

    Abbreviations are cut too, and neither question nor exclamation marks end a part.
    """
    *parts, last = text.strip().split(". ")
    return [part.strip() for part in (*(f"{part}." for part in parts), last) if part.strip(" .")]


_SPLIT: Mapping[ChainSteps, Callable[[str], list[str]]] = {
    "sentences": lambda text: [one for line in text.splitlines() for one in sentences_of(line)],
    "lines": lambda text: [line.strip() for line in text.splitlines() if line.strip()],
    "whole": lambda text: [text.strip()] if text.strip() else [],
}


def check_chain(chain: str) -> None:
    """Refuse a way to split chains that there is not.

    Raises:
        UserError: If it is unknown.
    """
    check_choice("chain", chain, _SPLIT)


def with_chain(value: dict[str, object], chain: ChainSteps, where: str) -> dict[str, object]:
    """A record whose chain stands in the field ``cot``, as one with steps.

    Args:
        value: The record.
        chain: What is a step.
        where: File and position of it, for messages.

    Raises:
        DataError: If the chain is no text, or blank.
    """
    text = text_field(value, "cot", where)
    return {**{key: one for key, one in value.items() if key != "cot"}, "steps": _SPLIT[chain](text)}

"""Arithmetic problems that models of GSM8k-Aug are tested on: SVAMP, MultiArith, GSM-Hard, as they are published.

All three have a question and a number, under names of their own, and no chain.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from decimal import Decimal

from lcot.datamodules.word_problems.solutions import text_field
from lcot.datamodules.word_problems.text_records import ENDS_STEPS
from lcot.errors import DataError, shown

_FIELDS: tuple[tuple[tuple[str, ...], str], ...] = (
    (("question_concat",), "Answer"),  # SVAMP on the Hub
    (("Body", "Question"), "Answer"),  # SVAMP as its authors publish it
    (("question",), "final_ans"),  # MultiArith on the Hub
    (("input",), "target"),  # GSM-Hard as its authors publish it
    (("instruction",), "response"),  # GSM-Hard as the released CODI code reads it
)
_WHOLE = re.compile(r"(-?\d+)\.0*")


def as_problem(value: Mapping[str, object], where: str) -> dict[str, object] | None:
    """A record of one of the three as one of question, steps (none) and answer.

    Two spaces in a question become one, as in the released CODI code. A number that is whole is written without a
    point, whether it was a number (``18.0``) or a text; another one has all digits that it was published with.

    Args:
        value: The record.
        where: File and position of it, for messages.

    Returns:
        The record; ``None`` if it is of none of them.

    Raises:
        DataError: If a text or the number is missing or something else.
    """
    if "answer" in value or "steps" in value:
        return None
    for asked, answered in _FIELDS:
        if answered not in value or not all(name in value for name in asked):
            continue
        texts = [text_field(value, name, where) for name in asked]
        rest = {key: one for key, one in value.items() if key not in (*asked, answered, "question", "ID")}
        named = {"id": value["ID"]} if "ID" in value else {}
        question = " ".join(texts).replace("  ", " ")
        return {**rest, **named, "question": question, "steps": [], "answer": _number(value, answered, where)}
    return None


def _number(value: Mapping[str, object], key: str, where: str) -> str:
    found = value[key]
    if isinstance(found, str):
        *solution, text = text_field(value, key, where).split(ENDS_STEPS)
        if len(solution) > 1 or not text.strip():
            raise DataError(f'field "{key}" is {shown(found)}', where=where, fix=f"give one number behind {ENDS_STEPS}")
        text = text.strip()
    elif isinstance(found, bool) or not isinstance(found, int | float) or not math.isfinite(found):
        raise DataError(f'field "{key}" is no number', where=where, why=f"it is {shown(found)}")
    else:
        text = f"{Decimal(repr(found)):f}"
    whole = _WHOLE.fullmatch(text)
    return whole[1] if whole is not None else text

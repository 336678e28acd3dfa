r"""The protocol of the released SoftCoT code (arXiv 2502.12134), with all its mistakes, for its published numbers.

It has one rule for numbers (GSM8K, ASDiv-Aug), one for letters (AQuA, Date Understanding), one for yes and no
(StrategyQA). All of them search the whole output, so what a model adds behind its answer wins.
"""

from __future__ import annotations

import re

_UNSIGNED = re.compile(r"\d+(?:\.\d+)?")
_LETTER = re.compile(r"\b[a-f]\b")
_YES_NO = re.compile(r"\b(?:yes|no)\b")


def last_unsigned_number(text: str, marker: str) -> str | None:
    """The last number, without its sign; one with a point is rounded to two places."""
    numbers = _UNSIGNED.findall(re.sub(r"[,%$]", "", text))
    if not numbers:
        return None
    # Digits of other scripts count too, and are written as ASCII ones here.
    found = unsigned_value(numbers[-1])
    return None if found is None else str(round(found, 2) if isinstance(found, float) else found)


def unsigned_value(number: str) -> int | float | None:
    """What is compared: a float where there is a point, else a whole number; ``None`` if it is neither.

    The gold answer is not rounded, so one with three places or more is never met.
    """
    number = number.replace(",", "")
    try:
        return float(number) if "." in number or "e" in number else int(number)
    except ValueError:  # words, or more digits than Python reads
        return None


def last_yes_no(text: str, marker: str) -> str | None:
    """The last whole word yes or no, also that of *no one*."""
    words = _YES_NO.findall(text.lower())
    return words[-1] if words else None


def yes_no_value(answer: str) -> str | None:
    """Yes or no, whatever the case."""
    word = answer.strip().lower()
    return word if word in ("yes", "no") else None


def last_letter(text: str, marker: str) -> str | None:
    """The last letter from a to f that stands alone, also the article."""
    letters = _LETTER.findall(text.lower())
    return letters[-1].upper() if letters else None


def letter_value(answer: str) -> str | None:
    """The bare letter, as it is."""
    return answer.strip() or None

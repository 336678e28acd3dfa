"""How the released CODI code (arXiv 2502.21074) reads numbers, with its mistakes, for its published figures."""

from __future__ import annotations

import math
import re

_NUMBER = re.compile(r"-?\d+\.?\d*")


def last_float(text: str, marker: str) -> str | None:
    """The last number of the whole output, whatever stands before it."""
    numbers = _NUMBER.findall(text.replace(",", ""))
    return numbers[-1] if numbers else None


def float_value(number: str) -> float | None:
    """What is compared: a 64-bit float; ``None`` for what is none, or is beyond them."""
    try:
        found = float(number.split("####")[-1].replace(",", ""))
    except ValueError:
        return None
    # In the release, what is no number is infinite, and so is an output without any: the two would be equal.
    return found if math.isfinite(found) else None

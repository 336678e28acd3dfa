"""How numbers are found in what a model writes, and what they are worth."""

from __future__ import annotations

import re
from decimal import Decimal
from fractions import Fraction

# A minus is any character that is printed for it.
MINUS = "\\-\u2010\u2011\u2012\u2013\u2212\ufe63\uff0d"
# A sign belongs to the number that it touches, with the sign of a currency between them at most, unless it stands
# between two operands (16-3, (4)-2, 50%-10%) or within a word (USD-5).
_SIGN = rf"(?<![\w)\]}}%°{MINUS}])(?P<sign>[{MINUS}+])(?:[$€£¥₹₩₽¢]\s?)?"
_DIGITS = r"\d+(?:,\d+)*"
NUMBER = re.compile(
    rf"(?:{_SIGN})?(?:"
    # 3/4, but neither a date nor a division by zero
    rf"(?<![\d/.,])(?P<above>{_DIGITS})/(?P<below>0*[1-9]\d*)(?![\d/]|\.\d)"
    # 1,234.50 · 7. · 1.5e3 · .5, whose point does not end a word or another number (Rs.500)
    rf"|(?P<decimal>(?:{_DIGITS}(?:\.\d+)?|(?<![\w.])\.\d+)(?:[eE][+-]?\d{{1,9}}(?!\w))?)"
    ")"
)
"""A number in a text: its groups are ``sign``, and ``above`` and ``below`` of a fraction or ``decimal``."""

_LONGEST_FRACTION = 5000


def plain(found: re.Match[str]) -> str:
    """A number as it was written, without commas, currency and plus; its minus is the ASCII one."""
    number = found["decimal"] or f"{found['above']}/{found['below']}"
    return ("" if found["sign"] in (None, "+") else "-") + number.replace(",", "")


def value(number: str) -> Decimal | Fraction | None:
    """What a number is worth, exactly.

    Args:
        number: As :func:`plain` gives it.

    Returns:
        Its worth; ``None`` for a fraction of so many digits that it would take minutes, and that nobody asked for.
    """
    if "/" in number and len(number) > _LONGEST_FRACTION:
        return None
    above, _, below = number.partition("/")
    # Python compares the two kinds exactly. A decimal is not made a fraction: 1e9999 would be written out.
    return Fraction(Decimal(above)) / Fraction(Decimal(below)) if below else Decimal(above)


def exact_number(text: str) -> Decimal | Fraction | None:
    """The worth of the first number of a text; ``None`` if there is none."""
    found = NUMBER.search(text)
    return value(plain(found)) if found is not None else None

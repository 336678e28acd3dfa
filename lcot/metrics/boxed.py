r"""Answers in a box, ``\boxed{…}``, as chat models are taught to give them: from TeX to what is compared."""

from __future__ import annotations

import re
from decimal import Decimal
from fractions import Fraction

from lcot.metrics.numbers import MINUS, NUMBER, plain, value

_BRACE = re.compile(r"(?P<box>\\+(?:boxed|fbox)\s*\{)|\\.|(?P<open>\{)|(?P<close>\})", re.DOTALL)

_WORDS = re.compile(r"\\(?:text[a-z]*|mbox|hbox|math(?:rm|bf|it|sf|tt)|operatorname|emph|underline)\*?\s*\{([^{}]*)\}")
_FRACTION = re.compile(r"(?P<whole>\d\s*)?\\[dtc]?frac\s*(?:\{([^{}]*)\}|(\d))\s*(?:\{([^{}]*)\}|(\d))")
# What TeX sets between thousands: 1{,}234 and 12\,345. Elsewhere the same marks are spaces.
_THOUSANDS = re.compile(r"(?<=\d)(?:\{,\}|,?\\[,;:! ]|~)+(?=\d{3}(?!\d))")
_POWER_OF_TEN = re.compile(r"\s*(?:\\times|\\cdot|\u00d7|·)\s*10\s*\^\s*(?:\{\s*([+-]?\d{1,9})\s*\}|(\d))")
_REPLACED = (
    (re.compile(r"\\(?:left|right|[bB]igg?[lr]?|displaystyle|textstyle)(?![A-Za-z])"), ""),
    (re.compile(r"\^\s*(?:\{\s*\\circ\s*\}|\\circ)|\\degree|\\circ"), "°"),
    (re.compile(r"\\(?:approx|simeq)(?![A-Za-z])"), "≈"),
    (re.compile(r"\\pi(?![A-Za-z])"), "π"),
    (re.compile(r"\\(?:quad|qquad)(?![A-Za-z])|\\[,;:! \\]|~"), " "),
    (re.compile(r"\\?\$"), ""),
    (re.compile(r"\\([%#&_])"), r"\1"),
    (re.compile(r"\\?[{}]"), ""),
    # the exponent of a unit: cm^2
    (re.compile(r"(?<=[A-Za-z])\s*\^\s*-?\d+"), ""),
    (re.compile(r"(?<=\d)\s*([/:])\s*(?=\d)"), r"\1"),
)
# Whatever leads up to a number: x = 18, the total is 18, Total: 18 (but 5:6 is a ratio).
_LEADS = re.compile(r"=|≈|(?<![^\W_])is(?![^\W_])|:(?!\d)")
_CURRENCY = re.compile(r"(?:US|USD|EUR|GBP|INR|Rs\.?|[€£¥₹₩₽¢])?\s*")
_NEGATIVE = re.compile(rf"[{MINUS}]\s*\(?\s*(?:[€£¥₹₩₽¢]\s*)?")
_NO_UNIT = re.compile(r"\s*[+*/^<>\u00d7·÷π√\\]")


def box(text: str) -> str | None:
    """The inside of the last box whose braces balance, as it was written.

    Args:
        text: What the model wrote.

    Returns:
        TeX, possibly blank; of boxes within each other the innermost. ``None`` if no box was ever closed.
    """
    inside, last = None, -1
    opened: list[int] = []  # where the inside of a box begins; -1 for other braces
    for found in _BRACE.finditer(text):
        if found["box"] or found["open"]:
            opened.append(found.end() if found["box"] else -1)
        elif found["close"] and opened:
            start = opened.pop()
            if start > last:
                inside, last = text[start : found.start()], start
    return inside


def readable(tex: str) -> str:
    r"""TeX without its markup: ``\text{…}`` and spacing commands, signs of currency, braces; ``\dfrac{1}{2}`` is 1/2.

    Args:
        tex: The inside of a box.

    Returns:
        Text in one line, without white space around it.
    """
    tex = _THOUSANDS.sub("", tex)
    tex = _POWER_OF_TEN.sub(lambda found: f"e{found[1] or found[2]}", tex)
    for _ in range(8):  # from the innermost braces outwards; nothing that is meant to be read is deeper
        tex = _FRACTION.sub(_fraction, _WORDS.sub(r" \1", tex))
    for pattern, replacement in _REPLACED:
        tex = pattern.sub(replacement, tex)
    return " ".join(tex.split()).strip("* ")


def boxed_answer(text: str, marker: str) -> str | None:
    """What stands in the last box: a number without its unit if it is one, else readable text."""
    inside = box(text)
    if inside is None:
        return None
    written = readable(inside)
    return _number(written) or written or None


def boxed_meaning(answer: str) -> Decimal | Fraction | str | None:
    """The value of an answer that is a number, or else its text.

    White space, case, a final point and brackets around all of it do not count in texts, and a list may be separated by
    commas or semicolons.
    """
    written = readable(answer)
    number = _number(written)
    if number is not None and (worth := value(number)) is not None:
        return worth
    text = re.sub(r"\s+", "", written).casefold().replace(";", ",").rstrip(".")
    while len(text) > 2 and (text[0], text[-1]) in (("(", ")"), ("[", "]")):
        text = text[1:-1].rstrip(".")
    return text or None


def _fraction(found: re.Match[str]) -> str:
    whole = found["whole"]
    return (f"{whole.strip()} " if whole else "") + f"{found[2] or found[3]}/{found[4] or found[5]}"


def _number(written: str) -> str | None:
    """The number that a readable text gives, with a unit behind it at most; ``None`` if it gives none, or several."""
    part = _LEADS.split(written)[-1].strip()
    found = list(NUMBER.finditer(part))
    if not found or _NO_UNIT.match(part, found[-1].end()):
        return None
    before = part[: found[0].start()]
    negative = _NEGATIVE.fullmatch(before) is not None
    if not negative and not _CURRENCY.fullmatch(before.strip("( ")):
        return None
    number = plain(found[0])
    if len(found) == 2:  # 2 1/2
        whole, rest = found
        between = part[whole.end() : rest.start()]
        if not (number.lstrip("-").isdigit() and rest["above"] and between.isspace()) or len(part) > 80:
            return None
        size = Fraction(number.lstrip("-")) + Fraction(value(plain(rest)) or 0)
        number = ("-" if number.startswith("-") else "") + str(size)
    elif len(found) > 2:
        return None
    return f"-{number}" if negative and not number.startswith("-") else number

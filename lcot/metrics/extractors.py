"""How an answer is read from what a model wrote, and when it equals the gold one: by name, since papers differ in it.

The published figures on one and the same test set come from protocols that cannot be compared: exact strings behind a
marker (Coconut, arXiv 2412.06769, and PCCoT, 2506.18582), or the last number of the output as a float (CODI,
2502.21074). A figure is therefore reported with the name of its extractor.

A new one is an entry of :data:`EXTRACTORS`: a function that finds the answer in a text, and a function that says what
an answer means.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from types import MappingProxyType

from lcot.errors import UserError


@dataclass(frozen=True)
class Extractor:
    """A named way to read answers.

    Attributes:
        name: As it is chosen in ``data.extractors``.
        description: What it takes and what it calls equal, with ``{marker}`` where the marker belongs.
        find: (text, marker) → the answer, or ``None``; the marker comes without white space around it.
        meaning: An answer, or a gold one → what is compared; ``None`` if it means nothing to this extractor.
    """

    name: str
    description: str
    find: Callable[[str, str], str | None]
    meaning: Callable[[str], object | None]

    def extract(self, text: str, marker: str) -> str | None:
        """The answer in a text.

        Args:
            text: What the model wrote (not the question, which may contain the marker itself).
            marker: What stands before an answer; white space around it does not count.

        Returns:
            The answer, never blank; ``None`` if there is none.
        """
        return self.find(text, marker.strip())

    def equal(self, answer: str | None, gold: str) -> bool:
        """Whether an extracted answer is the gold one; ``None``, an answer that could not be extracted, is wrong."""
        if answer is None:
            return False
        wanted = self.meaning(gold)
        return wanted is not None and self.meaning(answer) == wanted

    def described(self, marker: str) -> str:
        """Name and description, for a report."""
        return f"{self.name}: {self.description.replace('{marker}', marker.strip())}"


# A sign belongs to the number that it touches, with the sign of a currency between them at most, unless it stands
# between two operands (16-3, (4)-2, 50%-10%) or within a word (USD-5). A minus is any character that is printed for it.
_MINUS = "\\-\u2010\u2011\u2012\u2013\u2212\ufe63\uff0d"
_SIGN = rf"(?<![\w)\]}}%°{_MINUS}])(?P<sign>[{_MINUS}+])(?:[$€£¥₹₩₽¢]\s?)?"
_DIGITS = r"\d+(?:,\d+)*"
_NUMBER = re.compile(
    rf"(?:{_SIGN})?(?:"
    # 3/4, but neither a date nor a division by zero
    rf"(?<![\d/.,])(?P<above>{_DIGITS})/(?P<below>0*[1-9]\d*)(?![\d/]|\.\d)"
    # 1,234.50 · 7. · 1.5e3 · .5, whose point does not end a word or another number (Rs.500)
    rf"|(?P<decimal>(?:{_DIGITS}(?:\.\d+)?|(?<![\w.])\.\d+)(?:[eE][+-]?\d{{1,9}}(?!\w))?)"
    ")"
)


def _behind_marker(text: str, marker: str) -> str | None:
    _, found, answer = text.rpartition(marker)
    return answer if found else None


def _text_behind_marker(text: str, marker: str) -> str | None:
    answer = _behind_marker(text, marker)
    # The released code would compare the whole text where there is no marker, which can only be wrong.
    return (answer.replace(",", "").strip() or None) if answer is not None else None


def _number_behind_marker(text: str, marker: str) -> str | None:
    answer = _behind_marker(text, marker)
    found = _NUMBER.search(answer) if answer is not None else None
    return _plain(found) if found is not None else None


def _last_number(text: str, marker: str) -> str | None:
    plain = None
    for found in _NUMBER.finditer(text):
        plain = _plain(found)
    return plain


def _plain(found: re.Match[str]) -> str:
    """A number as it was written, without commas, currency and plus; its minus is the ASCII one."""
    number = found["decimal"] or f"{found['above']}/{found['below']}"
    return ("" if found["sign"] in (None, "+") else "-") + number.replace(",", "")


def _without_commas(answer: str) -> str:
    return answer.replace(",", "").strip()


def _exact_number(answer: str) -> Decimal | Fraction | None:
    found = _NUMBER.search(answer)
    if found is None:
        return None
    above, _, below = _plain(found).partition("/")
    # Python compares the two kinds exactly. A decimal is not made a fraction: 1e9999 would be written out.
    return Fraction(Decimal(above)) / Fraction(Decimal(below)) if below else Decimal(above)


EXTRACTORS: Mapping[str, Extractor] = MappingProxyType(
    {
        extractor.name: extractor
        for extractor in (
            Extractor(
                "string",
                "text after the last {marker}, commas removed, exact match",
                _text_behind_marker,
                _without_commas,
            ),
            Extractor(
                "number",
                "first number after the last {marker}, equal in value",
                _number_behind_marker,
                _exact_number,
            ),
            Extractor(
                "last_number",
                "last number of the whole output, equal in value",
                _last_number,
                _exact_number,
            ),
        )
    }
)
"""All extractors by name.

- ``string``: that of the released Coconut code. ``18.0`` is not ``18``, and ``$18`` and ``18 apples`` are not either.
- ``number``: the first number behind the last marker. Currency, units, percent signs, commas, leading zeros and the
  printed forms of a minus do not matter; values are compared exactly (``18.0`` is ``18``, ``1/2`` is ``0.5``, ``5%`` is
  ``5``). Commas between digits are taken out wherever they stand, so what ``string`` calls right is right here too if
  the gold answer is a number. Points are decimal points (``1.234`` is less than 2). Numbers in words, negatives in
  parentheses and a minus with a space behind it are not read as such.
- ``last_number``: the protocol of CODI. It needs no marker, so it also rewards an output that happens to end in the
  right number. Numbers are read as in ``number``; CODI's own code takes the hyphen of ``20-5`` for a sign, and a
  fraction for two numbers.
"""


def extractor(name: str) -> Extractor:
    """The extractor of a name.

    Raises:
        UserError: If there is none.
    """
    if name not in EXTRACTORS:
        raise UserError.unknown("extractor", name, EXTRACTORS, where="data.extractors")
    return EXTRACTORS[name]


def accuracy_names(extractors: Sequence[str]) -> dict[str, str]:
    """The names of the accuracies that are reported, each with its extractor.

    Args:
        extractors: Names; the first is the one that ``accuracy`` means.

    Returns:
        ``{"accuracy": first, "accuracy_NAME": NAME, …}`` in the order given.

    Raises:
        UserError: If none is named, one is named twice, or there is no such extractor.
    """
    for name in extractors:
        extractor(name)
    if not extractors or len(set(extractors)) < len(extractors):
        raise UserError(
            f"extractors names {'one twice: ' + ', '.join(extractors) if extractors else 'none'}",
            where="data.extractors",
            fix="name each once, that of accuracy first, such as [string, number]",
        )
    first, *further = extractors
    return {"accuracy": first, **{f"accuracy_{name}": name for name in further}}

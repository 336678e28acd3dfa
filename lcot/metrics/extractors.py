"""How an answer is read from what a model wrote, and when it equals the gold one: by name, since papers differ in it.

The published figures on one and the same test set come from protocols that cannot be compared: exact strings behind a
marker (Coconut, arXiv 2412.06769, and PCCoT, 2506.18582), the last number of the output as a float (CODI, 2502.21074),
or the last number without its sign (SoftCoT, 2502.12134). A figure is therefore reported with the name of its
extractor.

A new one is an entry of :data:`EXTRACTORS`: a function that finds the answer in a text, and a function that says what
an answer means.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from lcot.errors import UserError
from lcot.metrics.boxed import boxed_answer, boxed_meaning
from lcot.metrics.choices import choice, choice_meaning
from lcot.metrics.codi_official import float_value, last_float
from lcot.metrics.numbers import NUMBER, exact_number, plain
from lcot.metrics.softcot_official import (
    last_letter,
    last_unsigned_number,
    last_yes_no,
    letter_value,
    unsigned_value,
    yes_no_value,
)
from lcot.metrics.yes_or_no import yes_no, yes_no_meaning


@dataclass(frozen=True)
class Extractor:
    """A named way to read answers.

    Attributes:
        name: As it is chosen in ``data.extractors``.
        description: What it takes and what it calls equal, with ``{marker}`` where the marker belongs.
        find: (text, marker) → the answer, or ``None``; the marker comes without white space around it.
        meaning: An answer, or a gold one → what is compared; ``None`` if it means nothing to this extractor.
        flawed: Whether known mistakes are part of it, as they are part of published numbers. A gold answer that it
            misreads is then counted as wrong, as it was, and is no reason to refuse the data.
    """

    name: str
    description: str
    find: Callable[[str, str], str | None]
    meaning: Callable[[str], object | None]
    flawed: bool = False

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


def _behind_marker(text: str, marker: str) -> str | None:
    _, found, answer = text.rpartition(marker)
    return answer if found else None


def _text_behind_marker(text: str, marker: str) -> str | None:
    answer = _behind_marker(text, marker)
    # The released code would compare the whole text where there is no marker, which can only be wrong.
    return (answer.replace(",", "").strip() or None) if answer is not None else None


def _number_behind_marker(text: str, marker: str) -> str | None:
    answer = _behind_marker(text, marker)
    found = NUMBER.search(answer) if answer is not None else None
    return plain(found) if found is not None else None


def _last_number(text: str, marker: str) -> str | None:
    numbers = list(NUMBER.finditer(text))
    return plain(numbers[-1]) if numbers else None


def _without_commas(answer: str) -> str:
    return answer.replace(",", "").strip()


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
                exact_number,
            ),
            Extractor(
                "last_number",
                "last number of the whole output, equal in value",
                _last_number,
                exact_number,
            ),
            Extractor(
                "boxed",
                "inside of the last \\boxed, equal in value if it is a number, else as text",
                boxed_answer,
                boxed_meaning,
            ),
            Extractor(
                "choice",
                "letter A to F in the last \\boxed, behind the last {marker}, or called the answer",
                choice,
                choice_meaning,
            ),
            Extractor(
                "yes_no",
                "yes or no in the last \\boxed, behind the last {marker}, or concluded with",
                yes_no,
                yes_no_meaning,
            ),
            Extractor(
                "codi_official_number",
                "last -?digits.digits of the whole output, commas removed, equal as a 64-bit float",
                last_float,
                float_value,
                flawed=True,
            ),
            Extractor(
                "softcot_official_number",
                "last number of the whole output without its sign, rounded to 2 places, equal as a float",
                last_unsigned_number,
                unsigned_value,
                flawed=True,
            ),
            Extractor(
                "softcot_official_choice",
                "last stand-alone letter a to f of the whole output in lower case, the article included",
                last_letter,
                letter_value,
                flawed=True,
            ),
            Extractor(
                "softcot_official_yes_no",
                "last whole word yes or no of the whole output",
                last_yes_no,
                yes_no_value,
                flawed=True,
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
- ``last_number``: the protocol of CODI, without its mistakes. It needs no marker, so it also rewards an output that
  happens to end in the right number. Numbers are read as in ``number`` and compared exactly.
- ``codi_official_number``: the rule of the released code of CODI, which SIM-CoT and others report by. The hyphen of
  ``20-5`` is a sign, a fraction is two numbers, an exponent is a number of its own, and values are compared as 64-bit
  floats: ``9007199254740993`` is ``9007199254740992``.
- ``boxed``: the last ``\\boxed{…}`` whose braces balance, without the markup of TeX. It is a number if it holds one and
  nothing in front of it but what leads up to it (``x =``, a currency): units do not matter, ``\\dfrac{1}{2}`` is
  ``0.5`` and ``2\\frac{1}{2}`` is ``2.5``. Two numbers (``18, 20``) are a text. Texts are equal without regard to case
  and white space.
- ``choice``: the letter of an option, see :func:`lcot.metrics.choices.choice`.
- ``yes_no``: the conclusion, see :func:`lcot.metrics.yes_or_no.yes_no`.
- ``softcot_official_…``: the three rules of the released SoftCoT code, with their mistakes: a negative gold answer, or
  one with more than two decimal places, is never met; whatever an output adds behind its answer is the answer; the
  article *a* is option A; *no one* is no. ``softcot_official`` in ``data.extractors`` is the one of the data set.
"""

OFFICIAL = "softcot_official"
"""What ``data.extractors`` may name in the place of that one of the three which a data set has in the released code."""


def extractor(name: str) -> Extractor:
    """The extractor of a name.

    Raises:
        UserError: If there is none.
    """
    if name not in EXTRACTORS:
        raise UserError.unknown("extractor", name, EXTRACTORS, where="data.extractors")
    return EXTRACTORS[name]


def resolved(names: Sequence[str], official: str | None) -> tuple[str, ...]:
    """Names of extractors with :data:`OFFICIAL` replaced by what it stands for.

    Args:
        names: As they were given.
        official: What it stands for in the data set at hand; ``None`` if that has no place in the SoftCoT paper.

    Raises:
        UserError: If it is named where it stands for nothing.
    """
    if OFFICIAL in names and official is None:
        raise UserError(
            f"{OFFICIAL!r} does not say which of three extractors it is for this data set",
            where="data.extractors",
            why="the released SoftCoT code reads numbers, letters, and yes or no in different ways",
            fix=f"name one: {', '.join(name for name in EXTRACTORS if name.startswith(OFFICIAL))}",
        )
    return tuple(official if name == OFFICIAL and official is not None else name for name in names)


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


def pair_name(accuracy: str) -> str:
    """The name of the pair accuracy beside an accuracy: ``pair_accuracy``, ``pair_accuracy_NAME``."""
    return f"pair_{accuracy}"

"""Word problems with other numbers: the augmentation that makes ASDiv-Aug (arXiv 2502.12134) of ASDiv."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from random import Random

from lcot.datamodules.word_problems.formulas import PLAIN, Expression, as_step, parts_of, without_units
from lcot.reasoning.example import ReasoningExample

_ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen"
    " eighteen nineteen"
).split()
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
_SMALL = "|".join(_ONES[1:10])
# In figures, but no part of a word, a date, a time of day or a fraction; in words up to ninety-nine, but no part of a
# larger number or of a fraction.
_NUMBER = re.compile(
    r"(?<![\w./:,-])(?P<figures>\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?)(?![\w/:]|[.,]\d)"
    rf"|(?<![\w-])(?<!hundred )(?<!hundred and )(?<!thousand )"
    rf"(?P<words>(?:{'|'.join(_TENS)})(?:[- ](?:{_SMALL}))?|{'|'.join(sorted(_ONES, reverse=True))})(?!\w)"
    r"(?![\s-]+(?:hundred|thousand|million|dozen|hal(?:f|ves)|thirds?|fourths?|quarters?|fifths?|sixths?|eighths?"
    r"|tenths?)\b)",
    re.IGNORECASE,
)
# Numbers that a question does not tell but mean: twice, a week, a dozen. 0 and 1 need no word.
_MEANT = {
    Fraction(number): re.compile(rf"\b(?:{words})", re.IGNORECASE)
    for number, words in {
        "0.5": "half|halves",
        "2": "twice|double|half|halves|both|pairs?|couple|even(?:ly)?|perimeter|rectang|triang|average|each other",
        "3": "triple|thrice|third|three times|triang",
        "3.14": "circ|radius|diameter|round|pi\\b",
        "4": "quarter|fourth|quadrupl|square|sides",
        "5": "nickel|fifth",
        "7": "weeks?|days?",
        "10": "dimes?",
        "12": "dozen|inch|foot|feet|months?|years?",
        "24": "days?|hours?",
        "25": "quarters?",
        "52": "weeks?|years?",
        "60": "hours?|minutes?|seconds?",
        "100": "%|percent|cents?|pennies|penny|dollars?|met(?:er|re)s?|centi|nickel|dime|quarter|cm|m\\b",
        "365": "years?|days?",
        "1000": "kilo|milli|km|kg|g\\b|grams?|met(?:er|re)s?|lit(?:er|re)s?|ml|tons?",
        "2000": "tons?",
    }.items()
}
_EQUATION = re.compile(rf"([^=]+)=({PLAIN.pattern})[A-Za-z ]*")
# Draws for one copy: exact divisions of large numbers are rare.
_DRAWS = 500


@dataclass(frozen=True, slots=True)
class _Mention:
    """A number in a text.

    Attributes:
        start: Where it begins.
        end: Where it ends.
        value: What it is.
        places: Its decimal places.
        style: ``words``, ``Words``, ``figures``, or ``commas``.
        most: The largest number that can stand in its place; ``None`` for any.
    """

    start: int
    end: int
    value: Fraction
    places: int
    style: str
    most: int | None

    def written(self, value: Fraction) -> str:
        """Another number in the same style."""
        if self.style in ("figures", "commas"):
            return f"{float(value):{',' if self.style == 'commas' else ''}.{self.places}f}"
        number = int(value)
        word = (
            _ONES[number] if number < 20 else _TENS[number // 10 - 2] + (f"-{_ONES[number % 10]}" * (number % 10 > 0))
        )
        return word.capitalize() if self.style == "Words" else word


class Resampler:
    """Copies of a word problem with other numbers.

    A number of the question that its formula takes is replaced, in both, wherever it stands. Numbers that the question
    only means (twice, 60 minutes) stay, and so do 0 and 1, which would change the words around them. A number that an
    earlier equation of the formula came to is replaced by what that comes to now.

    New numbers are drawn from 2 to twice the old one, at least to 12 (percentages to 100, words to ninety-nine), with
    as many decimal places as the old one. They are right if every operation of the formula comes to a number of the
    same kind as before: as many decimal places at most, so that a division that was exact still is; none below zero;
    and no zero that was none.

    Args:
        example: The problem; its fact ``formula`` says how the answer is found.

    Raises:
        ValueError: If that cannot be done: the formula is no arithmetic with + - * / and parentheses, or does not come
            to the answer; no number of it is in the question; or it has a number whose origin cannot be told, because
            the question does not mean it, or both the question and an earlier equation give it.
    """

    def __init__(self, example: ReasoningExample) -> None:
        self.example = example
        self._mentions = _mentions(example.question)
        self._equations: list[tuple[Expression, list[Fraction], list[int | Fraction | None]]] = []
        told = {mention.value for mention in self._mentions}
        results: list[Fraction] = []
        variables: set[Fraction] = set()
        for part in parts_of(str(example.facts.get("formula", ""))):
            found = _EQUATION.fullmatch(without_units(part))
            if found is None:
                raise ValueError(f"no equation: {part!r}")
            expression = Expression(found[1])
            sources: list[int | Fraction | None] = []  # an earlier equation, a number of the question, or neither
            for literal in map(Fraction, expression.literals()):
                earlier = [place for place, result in enumerate(results) if result == literal]
                if len(earlier) > 1 or (earlier and literal in told):
                    raise ValueError(f"it cannot be told which {literal} is meant")
                varied = literal in told and literal > 1
                meant = _MEANT.get(literal)
                if not (earlier or literal in told or literal <= 1 or (meant and meant.search(example.question))):
                    raise ValueError(f"it cannot be told where {literal} comes from")
                sources.append(earlier[0] if earlier else literal if varied else None)
                variables |= {literal} if varied else set()
            values = _values(expression, expression.literals())
            if values is None or values[-1] != Fraction(found[2]):
                raise ValueError(f"{part!r} is not equal")
            results.append(values[-1])
            self._equations.append((expression, values, sources))
        if not PLAIN.fullmatch(example.answer) or not results or results[-1] != Fraction(example.answer):
            raise ValueError("the formula does not come to the answer")
        if not variables:
            raise ValueError("no number of the formula is in the question")
        self._variables = {value: self._range(value) for value in sorted(variables)}

    def copies(self, count: int, draw: Random) -> list[ReasoningExample]:
        """Copies that differ from the problem and from each other.

        Args:
            count: How many; there are fewer if no more are found.
            draw: Draws the numbers.
        """
        made: list[ReasoningExample] = []
        seen = {self.example.question}
        for number in range(1, count + 1):
            for _ in range(_DRAWS):
                copy = self._copy(draw, f"{self.example.id}-{number}")
                if copy is not None and copy.question not in seen:
                    seen.add(copy.question)
                    made.append(copy)
                    break
            if len(made) < number:
                break
        return made

    def _range(self, value: Fraction) -> tuple[int, int, int]:
        """Decimal places, smallest and largest new number, the latter two in units of the last place."""
        mentions = [mention for mention in self._mentions if mention.value == value]
        places = _places(value) or 0  # $85.00 is whole
        unit = 10**places
        most = max(int(2 * value * unit), 12 if places == 0 else 2)
        limits = [mention.most * unit for mention in mentions if mention.most is not None]
        return places, 2 if places == 0 else 1, max(min([most, *limits]), 3)

    def _copy(self, draw: Random, name: str) -> ReasoningExample | None:
        new = {
            value: Fraction(draw.randint(least, most), 10**places)
            for value, (places, least, most) in self._variables.items()
        }
        if any(drawn == value for value, drawn in new.items()):
            return None
        results: list[Fraction] = []
        parts = []
        for expression, before, sources in self._equations:
            literals = [
                literal if source is None else _decimal(results[source] if isinstance(source, int) else new[source])
                for literal, source in zip(expression.literals(), sources, strict=True)
            ]
            after = _values(expression, literals)
            if after is None or not all(map(_same_kind, before, after)):
                return None
            results.append(after[-1])
            parts.append(f"{expression.written(literals)}={_decimal(after[-1])}")
        facts = {**self.example.facts, "formula": "; ".join(parts)}
        body = facts.get("body")
        if isinstance(body, str):
            facts["body"] = _rewritten(body, _mentions(body), new)
        return replace(
            self.example,
            question=_rewritten(self.example.question, self._mentions, new),
            steps=tuple(map(as_step, parts)),
            answer=_decimal(results[-1]),
            id=name,
            facts=facts,
        )


def _mentions(text: str) -> list[_Mention]:
    found = []
    for number in _NUMBER.finditer(text):
        if number["figures"]:
            figures = number["figures"].replace(",", "")
            places = len(figures.partition(".")[2])
            style = "commas" if "," in number["figures"] else "figures"
            most = 100 if re.match(r"\s?%|\s+percent", text[number.end() :]) else None
            found.append(_Mention(*number.span(), Fraction(figures), places, style, most))
        else:
            word = number["words"]
            ten, _, one = word.lower().replace(" ", "-").partition("-")
            value = _ONES.index(ten) if ten in _ONES else 10 * _TENS.index(ten) + 20 + (_ONES.index(one) if one else 0)
            found.append(_Mention(*number.span(), Fraction(value), 0, "Words" if word[0].isupper() else "words", 99))
    return found


def _rewritten(text: str, mentions: Sequence[_Mention], new: Mapping[Fraction, Fraction]) -> str:
    made, at = "", 0
    for mention in mentions:
        if mention.value in new:
            made += text[at : mention.start] + mention.written(new[mention.value])
            at = mention.end
    return made + text[at:]


def _values(expression: Expression, literals: list[str]) -> list[Fraction] | None:
    try:
        return expression.values(literals)
    except ZeroDivisionError:
        return None


def _same_kind(before: Fraction, after: Fraction) -> bool:
    """Whether a number that was whole, or had a few decimal places, has no more, and its sign."""
    if (before >= 0 and after < 0) or (before > 0 and after == 0):
        return False
    places = _places(before)
    return places is None or (after * 10**places).denominator == 1


def _places(value: Fraction) -> int | None:
    """Decimal places of a number; ``None`` for one that never ends."""
    for places in range(8):
        if (value * 10**places).denominator == 1:
            return places
    return None


def _decimal(value: Fraction) -> str:
    """A number in figures, with no more places than it needs."""
    places = _places(value)
    assert places is not None  # copies are of the kind of decimal numbers
    return f"{float(value):.{places}f}"

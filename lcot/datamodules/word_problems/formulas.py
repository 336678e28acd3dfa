"""Formulas of arithmetic word problems: their written form, and what they come to."""

from __future__ import annotations

import ast
import operator
import re
import warnings
from collections.abc import Callable
from fractions import Fraction

PLAIN = re.compile(r"[0-9]+(?:\.[0-9]+)?")
"""A number without a sign."""

# 60 (min/hour), 32 (cents): behind a number or a bracket, words alone. Variables stand with operators: (x+y).
_UNIT = re.compile(r"(?<=[\d)])\s*\(\s*[A-Za-z][A-Za-z ./]*\)")
_COMPARES = re.compile(r"[<>]|\bequals\b")
_SPACED = re.compile(r"\s*([-+*/^=(),])\s*")
# Longer ones are no arithmetic of a word problem, and a parser's stack is finite.
_LONGEST = 300
_OPERATIONS: dict[type[ast.operator], Callable[[Fraction, Fraction], Fraction]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


def parts_of(formula: str) -> list[str]:
    """The equations and remarks that a formula consists of, in their order; they are separated by semicolons."""
    return [part.strip() for part in formula.split(";") if part.strip()]


def without_units(part: str) -> str:
    """An equation as figures: ``2 (hour)*60 (min/hour)=120 (min)`` is ``2*60=120``."""
    return _SPACED.sub(r"\1", _UNIT.sub("", " ".join(part.split())))


def as_step(part: str) -> str:
    """A part of a formula as a reasoning step.

    An equation is written as GSM8K writes them, ``<<7+2=9>>``, without units. All else is taken as it stands: a
    comparison (``3*4=12 < 14``), a series (``5, 7, 10, 14``), a ratio (``7:50``), what a variable means
    (``x:The number``).
    """
    if "=" not in part or _COMPARES.search(part):
        return " ".join(part.split())
    return f"<<{without_units(part)}>>"


class Expression:
    """An arithmetic expression of numbers, + - * / and parentheses; it is parsed, never executed.

    Args:
        text: The expression.

    Raises:
        ValueError: If it is anything else.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        try:
            if len(text) > _LONGEST:
                raise ValueError(f"more than {_LONGEST} characters")
            with warnings.catch_warnings(action="ignore"):  # what Python thinks of 12and 3 as code is no news
                self._root = ast.parse(text, mode="eval").body
        except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
            raise ValueError(f"no arithmetic: {text[:60]!r}") from error
        self.numbers: list[ast.Constant] = []
        self._collect(self._root)
        self.numbers.sort(key=lambda number: number.col_offset)

    def literals(self) -> list[str]:
        """The numbers in it, as they are written, from left to right."""
        return [self.text[number.col_offset : number.end_col_offset] for number in self.numbers]

    def values(self, literals: list[str] | None = None) -> list[Fraction]:
        """What every operation in it comes to, innermost first and the whole last.

        Args:
            literals: Numbers to take in the place of :meth:`literals`.

        Raises:
            ZeroDivisionError: If one divides by zero.
        """
        taken = dict(zip(map(id, self.numbers), literals or self.literals(), strict=True))
        values: list[Fraction] = []
        self._value(self._root, taken, values)
        return values

    def written(self, literals: list[str]) -> str:
        """The expression with other numbers in the place of its own."""
        made, at = "", 0
        for number, literal in zip(self.numbers, literals, strict=True):
            made += self.text[at : number.col_offset] + literal
            at = number.end_col_offset or at
        return made + self.text[at:]

    def _collect(self, node: ast.expr) -> None:
        if isinstance(node, ast.BinOp) and type(node.op) in _OPERATIONS:
            self._collect(node.left)
            self._collect(node.right)
        elif isinstance(node, ast.Constant) and type(node.value) in (int, float):
            if not PLAIN.fullmatch(self.text[node.col_offset : node.end_col_offset]):
                raise ValueError(f"no plain number in {self.text[:60]!r}")
            self.numbers.append(node)
        else:
            raise ValueError(f"no arithmetic: {self.text[:60]!r}")

    def _value(self, node: ast.expr, taken: dict[int, str], values: list[Fraction]) -> Fraction:
        if isinstance(node, ast.BinOp):
            left, right = self._value(node.left, taken, values), self._value(node.right, taken, values)
            values.append(_OPERATIONS[type(node.op)](left, right))
        else:
            values.append(Fraction(taken[id(node)]))
        return values[-1]

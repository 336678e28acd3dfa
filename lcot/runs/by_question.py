"""Which questions an evaluation got right, one bit each: so runs can be compared question by question.

In a report, ``by_question`` holds strings of hexadecimal digits. Each stands for four questions in the order of the
data, the first in its highest bit; beside them stands the hash of these questions.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from lcot.runs.files import Report


@dataclass(frozen=True, slots=True)
class ByQuestion:
    """Bits of the questions of a split: question i has bit ``of - 1 - i``.

    Attributes:
        of: How many questions there are.
        asked: Those that were asked: all, or those of some batches.
        right: Those that were answered right, one number for each run of the voting.
    """

    of: int
    asked: int
    right: tuple[int, ...]

    @classmethod
    def read(cls, report: Report, of: int) -> ByQuestion | None:
        """What a report says; ``None`` if it is of a version that kept no record.

        Args:
            report: Of an evaluation.
            of: How many questions there are.

        Raises:
            DataError: If it cannot be used.
        """
        if not report.part("by_question"):
            return None
        beyond, found = -of % 4, []  # the last digit may stand for fewer than four
        for text in (report.text("by_question.asked") or "", *report.texts("by_question.right")):
            bits = int(text, 16) if set(text) <= set("0123456789abcdef") and len(text) == -(-of // 4) > 0 else -1
            if bits < 0 or bits % (1 << beyond):
                raise report.refuse("by_question", report.part("by_question"))
            found.append(bits >> beyond)
        asked, *right = found
        if not right or any(run & ~asked for run in right):
            raise report.refuse("by_question", report.part("by_question"))
        return cls(of, asked, tuple(right))

    def places(self, bits: int) -> list[int]:
        """The questions of some bits, in the order of the data."""
        return [place for place, bit in enumerate(f"{bits:0{self.of}b}") if bit == "1"]


class Marks:
    """Counts right answers, one by one, while an evaluation goes on.

    Args:
        of: How many questions there are.
        runs: How often each is asked.

    Attributes:
        bits: A bit for each question, the first in the highest bit of a byte: whether it was asked; then for each run,
            whether it was answered right.
    """

    def __init__(self, of: int, runs: int) -> None:
        self.bits = [bytearray(-(-of // 8)) for _ in range(runs + 1)]
        self._of = of

    def add(self, index: Sequence[int], right: Iterable[Sequence[bool]]) -> None:
        """Count a batch.

        Args:
            index: Places of its questions in the data.
            right: Of each run, which of them were answered right.
        """
        for marks, flags in zip(self.bits, ([True] * len(index), *right), strict=True):
            for place, flag in zip(index, flags, strict=True):
                marks[place // 8] |= flag << 7 - place % 8

    def described(self) -> dict[str, Any]:
        """For a report."""
        asked, *right = (marks.hex()[: -(-self._of // 4)] for marks in self.bits)
        return {"asked": asked, "right": right}

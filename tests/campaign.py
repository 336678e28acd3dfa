"""Many damaged inputs, one after another: what became of each, and a figure for all of them."""

from __future__ import annotations

import signal
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

from lcot.errors import UserError
from tests.tiny import lcot

Fate = Literal["accepted", "refused", "traceback", "hang", "silent"]

BAD: tuple[Fate, ...] = ("traceback", "hang", "silent")


class TooLong(BaseException):
    """An input took longer than it may."""


@dataclass
class Campaign:
    """A tally of inputs.

    Args:
        name: What is tried, for the report.
        seconds: How long one input may take before it counts as a hang.

    Attributes:
        fates: How many inputs ended in each way.
        faults: What is wrong with those that ended badly: the input and what it led to.
    """

    name: str
    seconds: int = 60
    fates: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    def call(self, what: str, reads: Callable[[], object], sound: Callable[[], bool] | None = None) -> Fate:
        """Read one input by a function.

        Args:
            what: The input, in words short enough to find it again.
            reads: Reads it; a :class:`~lcot.errors.UserError` is a refusal.
            sound: Asked if it was accepted: whether it was right to. ``False`` is a silent acceptance.
        """
        try:
            with _limited(self.seconds):
                reads()
        except UserError:
            return self._count("refused", what)
        except TooLong:
            return self._count("hang", what)
        except Exception:
            return self._count("traceback", what, traceback.format_exc(limit=-3))
        return self._count("accepted" if sound is None or sound() else "silent", what)

    def command(self, what: str, *words: object, sound: Callable[[str], bool] | None = None) -> Fate:
        """Run one command line.

        Args:
            what: The input, in words short enough to find it again.
            words: The command line.
            sound: Asked with all that was printed if the command ended well: whether it was right to.
        """
        try:
            with _limited(self.seconds):
                outcome = lcot(*words)
        except TooLong:
            return self._count("hang", what)
        except BaseException as err:
            if isinstance(err, KeyboardInterrupt):
                raise
            return self._count("traceback", what, traceback.format_exc(limit=-3))
        if outcome.code not in (0, None):
            block = outcome.code == 2 and outcome.err.count("lcot: error: ") == 1 and "Traceback" not in outcome.err
            return self._count("refused" if block else "traceback", what, outcome.err[-2000:])
        good = sound is None or sound(outcome.out + outcome.err)
        return self._count("accepted" if good else "silent", what, outcome.err[-500:])

    @property
    def report(self) -> str:
        """One line, and one for each fault."""
        tried = sum(self.fates.values())
        line = f"{self.name}: {tried:,} inputs; " + ", ".join(f"{self.fates[fate]:,} {fate}" for fate in _ORDER)
        return "\n".join([line, *self.faults])

    def _count(self, fate: Fate, what: str, told: str = "") -> Fate:
        self.fates[fate] += 1
        if fate in BAD:
            self.faults.append(f"--- {fate}: {what}\n{told}".rstrip())
        return fate


_ORDER: tuple[Fate, ...] = ("refused", "accepted", *BAD)


@contextmanager
def _limited(seconds: int) -> Iterator[None]:
    def stop(number: int, frame: object) -> None:
        raise TooLong

    former = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, former)

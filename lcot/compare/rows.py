"""A row of a table: a method, with the means and deviations of its seeds."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lcot.runs.results import Result
from lcot.runs.run import Run


@dataclass(frozen=True, slots=True)
class Spread:
    """A mean over seeds.

    Attributes:
        mean: Every seed counts alike.
        std: Sample standard deviation (n − 1); ``None`` for one seed.
        n: Number of seeds.
    """

    mean: float
    std: float | None
    n: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread | None:
        """Mean and deviation of finite numbers; ``None`` if there are none."""
        known = [value for value in values if math.isfinite(value)]
        if not known:
            return None
        return cls(statistics.fmean(known), statistics.stdev(known) if len(known) > 1 else None, len(known))


@dataclass(frozen=True, slots=True)
class Row:
    """A method: runs that differ in nothing but their seed.

    Attributes:
        label: Its name.
        runs: Those with a result, by seed.
        repeats: Runs whose seed is in the row already; they do not count.
    """

    label: str
    runs: tuple[Run, ...]
    repeats: tuple[Run, ...] = ()

    @property
    def results(self) -> list[Result]:
        """One a run."""
        return [run.result for run in self.runs if run.result is not None]

    @property
    def seeds(self) -> list[int]:
        """Those that are known."""
        return [run.seed for run in self.runs if run.seed is not None]

    def metric(self, name: str) -> Spread | None:
        """A metric of the results, over those that have it."""
        return Spread.of([result.metrics[name] for result in self.results if name in result.metrics])

    def over_runs(self, name: str) -> float | None:
        """The deviation of an accuracy over the runs of sampling of one training; ``None`` for several seeds."""
        return self.results[0].deviations.get(name) if len(self.results) == 1 else None

    @property
    def total_tokens(self) -> Spread | None:
        """Tokens and thoughts of an answer together."""
        both = [result.metrics for result in self.results if {"tokens", "thoughts"} <= set(result.metrics)]
        return Spread.of([metrics["tokens"] + metrics["thoughts"] for metrics in both])

    @property
    def seconds(self) -> Spread | None:
        """Wall time of a question in one run: that of all its votes."""
        timed = [result for result in self.results if "seconds" in result.metrics]
        return Spread.of([result.metrics["seconds"] * result.votes for result in timed])

    def cost(self, value: Callable[[Run], float | None]) -> Spread | None:
        """A cost of training, over the runs that know it."""
        return Spread.of([number for run in self.runs if (number := value(run)) is not None])


def plain(value: object) -> str:
    """A value of a protocol in words."""
    if isinstance(value, str):
        return f'"{value}"' if " " in value else value
    return "not recorded" if value is None else json.dumps(value, ensure_ascii=False)


def brief(hexadecimal: str | None) -> str:
    """The beginning of a hash."""
    return str(hexadecimal)[:12]

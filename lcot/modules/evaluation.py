"""What validation and test count: answers, and what they cost; every example once on any number of ranks."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torchmetrics import MetricCollection

from lcot.metrics import AnswerAccuracy, Average, accuracy_names

_COSTS = ("loss", "tokens", "thoughts", "seconds")


@dataclass(frozen=True, slots=True)
class Answers:
    """What a model wrote for one batch.

    Attributes:
        tokens: New token ids of each row; a finished row ends with eos.
        thoughts: ``(B,)`` number of thoughts of each row, pauses included.
        seconds: Wall time of thinking and writing, for the whole batch.
    """

    tokens: list[list[int]]
    thoughts: Tensor
    seconds: float

    def written(self, eos: int) -> list[int]:
        """Number of tokens of each row, its eos apart."""
        return [len(row) - (row[-1:] == [eos]) for row in self.tokens]


class Evaluation(MetricCollection):
    """The metrics of one split; sums are kept and added up over ranks, never means.

    Args:
        extractors: How answers are read: first that of ``accuracy``, then those of ``accuracy_NAME``.
    """

    def __init__(self, extractors: Sequence[str]) -> None:
        accuracies = {metric: AnswerAccuracy(name) for metric, name in accuracy_names(extractors).items()}
        # Of the same class, but never of the same state.
        super().__init__({**accuracies, **{name: Average() for name in _COSTS}}, compute_groups=False)
        self.names = tuple(accuracies)

    def accuracies(self) -> dict[str, AnswerAccuracy]:
        """The accuracies by name."""
        found = {name: self[name] for name in self.names}
        return {name: metric for name, metric in found.items() if isinstance(metric, AnswerAccuracy)}

    def average(self, name: str) -> Average:
        """One of ``loss``, ``tokens``, ``thoughts`` and ``seconds``."""
        metric = self[name]
        assert isinstance(metric, Average)
        return metric

    def count(self, texts: Sequence[str], golds: Sequence[str], marker: str, answers: Answers, eos: int) -> None:
        """Count a batch.

        Args:
            texts: What was written.
            golds: The right answers.
            marker: What stands before an answer.
            answers: What it took to write.
            eos: Not counted as a token.
        """
        for accuracy in self.accuracies().values():
            accuracy.update([accuracy.extractor.extract(text, marker) for text in texts], golds)
        self.average("tokens").update(sum(answers.written(eos)), len(golds))
        self.average("thoughts").update(answers.thoughts.sum(), len(golds))
        self.average("seconds").update(answers.seconds, len(golds))

    def examples(self) -> Tensor:
        """Number of examples that this rank has counted."""
        return self.accuracies()["accuracy"].total.clone()

    def means(self) -> dict[str, Tensor]:
        """The means over all ranks, of what was counted; the loss only where there was one."""
        values: dict[str, Tensor] = {name: metric.compute() for name, metric in self.accuracies().items()}
        costs = {name: self.average(name) for name in _COSTS}
        values |= {name: metric.compute() for name, metric in costs.items() if metric.update_called}
        return {name: value.float() for name, value in values.items()}

    @property
    def begun(self) -> bool:
        """Whether anything was counted since the last reset."""
        return self.accuracies()["accuracy"].update_called


def clock_time(device: torch.device) -> float:
    """Seconds on a steady clock, after the device has finished what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()

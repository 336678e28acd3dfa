"""What validation and test count: answers, and what they cost; every example once a run on any number of ranks."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torchmetrics import MetricCollection

from lcot.metrics import AnswerAccuracy, Average, Category, Pairs, accuracy_names, pair_name
from lcot.modules.judging import SHARES
from lcot.modules.voting import Ballot, ballots

_AVERAGES = ("loss", "tokens", "thoughts", "seconds", "flops", "answered")
_PAIRED = "paired"  # the share of questions that are one of a pair

Judge = Callable[[int, str, int], Category | None]
"""A text's category, by the place of its problem, the text, and its number of thoughts; ``None`` without a graph."""


@dataclass(frozen=True, slots=True)
class Answers:
    """What a model wrote for one batch: one text a question.

    Attributes:
        tokens: New token ids of each row; a finished row ends with eos.
        thoughts: ``(B,)`` number of thoughts of each row, pauses included.
        seconds: Wall time of thinking and writing, for the whole batch. Of several texts a question each has an equal
            share of the time of all.
        flops: Operations for each row (:mod:`lcot.reasoning.flops`). Texts of one thinking in one run share what it
            took. ``None`` where that is not known.
    """

    tokens: list[list[int]]
    thoughts: Tensor
    seconds: float
    flops: list[float] | None = None

    def written(self, eos: int) -> list[int]:
        """Number of tokens of each row, its eos apart."""
        return [len(row) - (row[-1:] == [eos]) for row in self.tokens]


@dataclass(frozen=True, slots=True)
class Votes:
    """All answers to the questions of a batch.

    Attributes:
        runs: One group a run, each of one :class:`Answers` a vote. Votes from one thought path stand together, in the
            order of their samples.
    """

    runs: tuple[tuple[Answers, ...], ...]

    @classmethod
    def single(cls, answers: Answers) -> Votes:
        """One run of one vote."""
        return cls(((answers,),))

    @property
    def every(self) -> list[Answers]:
        """The votes of all runs."""
        return [answers for run in self.runs for answers in run]

    @property
    def seconds(self) -> float:
        """Wall time of thinking and writing, for all of them."""
        return sum(answers.seconds for answers in self.every)


class Evaluation(MetricCollection):
    """The metrics of one split; sums are kept and added up over ranks, never means.

    Args:
        extractors: How answers are read: first that of ``accuracy``, then those of ``accuracy_NAME``.
        runs: How often every question is answered, apart from votes.
    """

    def __init__(self, extractors: Sequence[str], runs: int = 1) -> None:
        accuracies = {
            self._key(metric, run): AnswerAccuracy(name)
            for metric, name in accuracy_names(extractors).items()
            for run in range(runs)
        }
        pairs = {pair_name(key): Pairs() for key in accuracies}
        averages = {name: Average() for name in (*_AVERAGES, _PAIRED, *SHARES.values())}
        # Of the same class, but never of the same state.
        super().__init__({**accuracies, **pairs, **averages}, compute_groups=False)
        self.names = tuple(accuracy_names(extractors))
        self.runs = runs

    def accuracies(self, name: str = "accuracy") -> list[AnswerAccuracy]:
        """The accuracy of this name, of each run."""
        found = [self[self._key(name, run)] for run in range(self.runs)]
        return [metric for metric in found if isinstance(metric, AnswerAccuracy)]

    def pairs(self, name: str = "accuracy") -> list[Pairs]:
        """The pairs beside the accuracy of this name, of each run."""
        found = [self[pair_name(self._key(name, run))] for run in range(self.runs)]
        return [metric for metric in found if isinstance(metric, Pairs)]

    def average(self, name: str) -> Average:
        """``loss``, ``tokens``, ``thoughts``, ``seconds``, ``answered``, or the share of a category of paths."""
        metric = self[name]
        assert isinstance(metric, Average)
        return metric

    def count(
        self,
        texts: Sequence[Sequence[Sequence[str]]],
        golds: Sequence[str],
        marker: str,
        votes: Votes,
        eos: int,
        judge: Judge = lambda place, text, thoughts: None,
        pairs: Sequence[str] = (),
    ) -> list[list[bool]]:
        """Count a batch.

        Args:
            texts: What was written: one group a run, of one group a vote, of one text a question.
            golds: The right answers.
            marker: What stands before an answer.
            votes: What it took to write.
            eos: Not counted as a token.
            judge: Gives texts their categories. Of several votes only the one that counts is judged, in each run.
            pairs: The name of each question's pair, empty for one that stands alone; none if all do.

        Returns:
            Of each run, which questions were answered right, as ``accuracy`` counts them.
        """
        pairs = pairs or [""] * len(golds)
        self.average(_PAIRED).update(sum(map(bool, pairs)), len(pairs))
        for name in self.names:
            metrics = zip(self.accuracies(name), self.pairs(name), texts, votes.runs, strict=True)
            for accuracy, paired, written, run in metrics:
                cast = ballots(written, accuracy.extractor, marker)
                accuracy.update([ballot.answer for ballot in cast], golds)
                paired.update(accuracy.last, pairs)
                if name == "accuracy":
                    found = sum(answer is not None for ballot in cast for answer in ballot.answers)
                    self.average("answered").update(found, len(written) * len(golds))
                    self._count_paths(written, run, cast, judge)
        for answers in votes.every:
            self.average("tokens").update(sum(answers.written(eos)), len(golds))
            self.average("thoughts").update(answers.thoughts.sum(), len(golds))
            self.average("seconds").update(answers.seconds, len(golds))
            if answers.flops is not None:  # all votes of a question together, unlike its seconds
                self.average("flops").update(sum(answers.flops), 0)
        if all(answers.flops is not None for answers in votes.every):
            self.average("flops").update(0.0, len(golds) * len(votes.runs))
        return [accuracy.last for accuracy in self.accuracies()]

    def examples(self) -> Tensor:
        """Number of examples that this rank has counted."""
        return self.accuracies()[0].total.clone()

    def means(self) -> dict[str, Tensor]:
        """The means over all ranks, of what was counted.

        The loss is among them only where there was one, and the shares of categories where problems have graphs. An
        accuracy is the mean over runs; where there are several, ``NAME_std`` is their sample standard deviation. Where
        questions come in pairs, ``pair_NAME`` is the share of whole pairs with both answers right, ``pairs`` their
        number, and ``unpaired``, if there are any, that of questions whose other one was not asked.
        """
        values: dict[str, Tensor] = {}
        for name in self.names:
            self._add(values, name, [metric.compute() for metric in self.accuracies(name)])
        paired = self.average(_PAIRED)
        if paired.update_called and paired.compute() > 0:  # over all ranks, so that all of them go on alike
            for name in self.names:
                counts = [metric.compute() for metric in self.pairs(name)]
                _, whole, single = counts[0]
                if whole:
                    self._add(values, pair_name(name), [both / whole for both, *_ in counts])
                values |= {"pairs": whole, **({"unpaired": single} if single else {})}
        averages = {name: self.average(name) for name in (*_AVERAGES, *SHARES.values())}
        values |= {name: metric.compute() for name, metric in averages.items() if metric.update_called}
        shares = set(SHARES.values())
        return {name: v.float() for name, v in values.items() if name not in shares or not v.isnan()}

    def _add(self, values: dict[str, Tensor], name: str, shares: Sequence[Tensor]) -> None:
        """Add the mean and the deviation of a share over runs."""
        found = torch.stack(list(shares)).cpu().double()
        values[name] = found.mean()
        if self.runs > 1:
            values[f"{name}_std"] = found.std(correction=1)

    @property
    def begun(self) -> bool:
        """Whether anything was counted since the last reset."""
        return self.accuracies()[0].update_called

    def _count_paths(
        self, written: Sequence[Sequence[str]], run: Sequence[Answers], cast: Sequence[Ballot], judge: Judge
    ) -> None:
        thoughts = [answers.thoughts.tolist() for answers in run]
        judged = [
            judge(place, written[ballot.chosen][place], thoughts[ballot.chosen][place])
            for place, ballot in enumerate(cast)
        ]
        total = sum(category is not None for category in judged)
        for category, name in SHARES.items():  # also where there is none: all ranks report the same metrics
            self.average(name).update(judged.count(category), total)

    @staticmethod
    def _key(name: str, run: int) -> str:
        return f"{name}_run{run}" if run else name


def clock_time(device: torch.device) -> float:
    """Seconds on a steady clock, after the device has finished what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()

"""Several answers to one question: which of them counts, and repetitions that tell how far chance moves a figure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lcot.errors import UserError
from lcot.metrics import Extractor
from lcot.reasoning.decode import Sampling


@dataclass(frozen=True, slots=True)
class Voting:
    """How many answers a question gets in ``test`` and ``predict``.

    Validation takes one of them, the first text under the first seed: it chooses a checkpoint, and costs less so.

    Attributes:
        samples: Texts a question in each run, of whose answers the majority counts (self-consistency, arXiv
            2203.11171). A method with several thought paths writes so many from each of them.
        runs: Independent repetitions of the whole evaluation, under the sampling seeds ``seed``, ``seed + 1``, …
            ``accuracy`` is the mean over them, ``accuracy_std`` their sample standard deviation (n - 1).
    """

    samples: int = 1
    runs: int = 1

    def __post_init__(self) -> None:
        if self.samples < 1 or self.runs < 1:
            raise UserError(f"samples {self.samples}, runs {self.runs}", where="model.voting", fix="both are 1 or more")

    @property
    def texts(self) -> int:
        """Texts a question from each thought path, over all runs."""
        return self.samples * self.runs

    def check(self, sampling: Sampling) -> None:
        """Refuse to write the same text again and again.

        Raises:
            UserError: If there is to be more than one text, and decoding is greedy.
        """
        if self.texts > 1 and sampling.temperature == 0:
            raise UserError(
                f"samples {self.samples}, runs {self.runs}, and decoding is greedy (temperature 0)",
                where="model.voting, model.sampling.temperature",
                why="all texts of a question would be the same",
                fix="set a temperature, or leave samples and runs at 1",
            )

    def described(self, sampling: Sampling, paths: int = 1) -> dict[str, Any]:
        """How answers are written and chosen, for a report; what has no effect is left out.

        Args:
            sampling: How tokens are chosen.
            paths: Thought paths of the method.
        """
        found: dict[str, Any] = {"temperature": sampling.temperature}
        if sampling.temperature:
            found |= {"top_k": sampling.top_k, "top_p": sampling.top_p}
        found["repetition_penalty"] = sampling.repetition_penalty
        if sampling.thoughts:
            found |= {"thoughts": sampling.thoughts, "thoughts_seed": sampling.seed}
        if sampling.temperature:
            found["seeds"] = [sampling.seed + run for run in range(self.runs)]
        return {**found, "paths": paths, "samples": self.samples, "votes": paths * self.samples, "runs": self.runs}


@dataclass(frozen=True, slots=True)
class Ballot:
    """The votes on one question in one run, as one extractor reads them.

    Attributes:
        answers: One a vote; ``None`` where none could be extracted.
        chosen: Number of the vote that counts: the first of those that agree with most others. Of as many, those that
            came first win. An answer that could not be extracted never wins against one that could.
    """

    answers: tuple[str | None, ...]
    chosen: int

    @classmethod
    def of(cls, answers: Sequence[str | None], extractor: Extractor) -> Ballot:
        """Count votes; answers agree where they mean the same to the extractor."""
        meanings = [None if answer is None else extractor.meaning(answer) for answer in answers]
        support = [0 if mine is None else sum(other == mine for other in meanings) for mine in meanings]
        return cls(tuple(answers), support.index(max(support)))

    @property
    def answer(self) -> str | None:
        """The one that counts."""
        return self.answers[self.chosen]


def ballots(texts: Sequence[Sequence[str]], extractor: Extractor, marker: str) -> list[Ballot]:
    """The votes of a run.

    Args:
        texts: One group a vote, each of B texts.
        extractor: Reads them.
        marker: What stands before an answer.

    Returns:
        One ballot for each of the B questions.
    """
    read = [[extractor.extract(text, marker) for text in vote] for vote in texts]
    return [Ballot.of(answers, extractor) for answers in zip(*read, strict=True)]

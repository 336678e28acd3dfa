"""Questions with hints: how a model learns to read what another one knows.

A hint names the chain's concepts behind the question. In training some of its words are wrong and some facts of the
question are missing, so that a model learns to use hints where facts are missing, and facts where hints are wrong:

    Tom terpus. lempus or scrompus? Tom or terpus fompus lempus lempus?   →   terpus fompus lempus### lempus
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

from lcot.errors import UserError
from lcot.reasoning.example import ReasoningExample

OPENS, CLOSES = " or", "?"
"""What stands around a hint's words. Both are tokens of the compact style already, and stand there nowhere else."""


@dataclass(frozen=True)
class Hints:
    """Hints in training questions of the compact style.

    Attributes:
        share: Share of the questions that have one.
        words: Number of its words: the chain, and the target again behind a shorter one.
        right: Least share of right words. Each hint has a reliability of its own, between this and 1, and more often
            near 1; the other words are random concepts of the question.
        drop_facts: Whether questions with a hint lose facts: each has a share of its own, from none to all. What the
            person is stays.
    """

    share: float = 0.5
    words: int = 4
    right: float = 0.5
    drop_facts: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1 or not 0 <= self.right <= 1 or self.words < 1:
            raise UserError(
                f"share {self.share}, words {self.words}, right {self.right}",
                where="data.hints",
                fix="share and right are between 0 and 1, words 1 or more",
            )

    def apply(self, example: ReasoningExample, draw: random.Random) -> ReasoningExample:
        """The example with a hint, or as it is.

        Args:
            example: In the compact style.
            draw: Decides.
        """
        if draw.random() >= self.share:
            return example
        reliable = 1 - (1 - self.right) * draw.random() ** 2
        dropped = draw.random() if self.drop_facts else 0.0
        *facts, asked = example.question.split(". ")
        told = f"{asked.split()[-1]} {example.steps[0]}"
        kept = [fact for fact in facts if draw.random() >= dropped or fact == told]
        concepts = sorted({fact.split()[1] for fact in facts})
        words = [
            word if draw.random() < reliable else draw.choice(concepts) for word in chain_words(example, self.words)
        ]
        question = ". ".join([*kept, asked])
        return replace(example, question=f"{question}{OPENS} {' '.join(words)}{CLOSES}")


def chain_words(example: ReasoningExample, count: int) -> list[str]:
    """A chain of the compact style as exactly ``count`` words: cut, or with the answer again behind it."""
    return [*example.steps, *[example.answer] * count][:count]

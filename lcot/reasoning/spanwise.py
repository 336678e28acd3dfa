"""The written chain in spans of a few tokens, a thought for each (C-MTP, arXiv 2607.16972; CoLaR, arXiv 2505.16552)."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Literal, get_args

from lcot.errors import UserError
from lcot.reasoning.curriculum import Curriculum, Stage

SpanLabels = Literal["none", "drawn"]
"""What the output head is asked for at the thoughts, beside the text: nothing, or one token of the next span, drawn
anew in each epoch (CoLaR); behind the last span that is eot."""


@dataclass(frozen=True, slots=True)
class SpanForm:
    """How spans become a row.

    Attributes:
        fill: Whether the last span is filled up with the pause token, so that all have the same number of tokens.
        labels: What the output head is asked for at the thoughts.
        opening: Whether the question's last token is asked for bot.
        teacher: Whether the teacher's row has bot and eot around the chain (``marked``), as in the release of C-MTP, or
            is that of a chain of thought (``plain``).
        said: Text behind each question; ``{size}`` in it becomes the number of tokens of a span.
    """

    fill: bool = False
    labels: SpanLabels = "none"
    opening: bool = True
    teacher: Literal["marked", "plain"] = "marked"
    said: str = ""

    def behind_question(self, size: int) -> str:
        """The text behind a question whose spans have so many tokens."""
        return self.said.replace("{size}", str(size))


class Spanwise(Curriculum):
    """All steps are hidden from the first epoch on, and every span of their tokens stands behind one thought.

    How many thoughts a row has in training is the number of its spans. When a question is asked nobody knows it: the
    thinker (:class:`~lcot.reasoning.given.Given`) says when thinking ends.

    Args:
        size: Tokens of a span; a pair ``[1, 5]`` for a number that each row draws anew in each epoch, both ends
            included.
        answer_size: The number that is said behind a question when it is asked, and the one of validation; the largest
            if not given. No effect on what is thought where ``said`` does not name it.
        fill: Whether the last span is filled up with the pause token; otherwise it may be shorter.
        labels: What the output head is asked for at the thoughts.
        opening: Whether the question's last token is asked for bot, as released. Questions have it in any case.
        said: Text behind each question, such as ``(Thinking speed: {size})``, with whatever ends it.
        teacher: Whether the teacher's row has bot and eot around the chain.

    Raises:
        UserError: If a number is below 1, a pair is none, or a choice unknown.
    """

    def __init__(
        self,
        size: int | list[int] = 2,
        answer_size: int | None = None,
        fill: bool = False,
        labels: SpanLabels = "none",
        opening: bool = True,
        said: str = "",
        teacher: Literal["marked", "plain"] = "marked",
    ) -> None:
        super().__init__("continuous")
        sizes = [size, size] if isinstance(size, int) else list(size)
        if len(sizes) != 2 or not 1 <= sizes[0] <= sizes[1]:
            raise UserError(
                f"size is {size}",
                where="curriculum.schedule.size",
                why="a span has at least one token",
                fix="use 1 or more, or a pair such as [1, 5]",
            )
        if answer_size is not None and answer_size < 1:
            raise UserError(
                f"answer_size is {answer_size}", where="curriculum.schedule.answer_size", fix="use 1 or more"
            )
        for name, value, known in (
            ("labels", labels, get_args(SpanLabels)),
            ("teacher", teacher, ("marked", "plain")),
        ):
            if value not in known:
                raise UserError.unknown(name, str(value), known, where=f"curriculum.schedule.{name}")
        if sizes[0] < sizes[1] and "{size}" not in said:
            raise UserError(
                f"size is {size}, and said is {said!r}",
                where="curriculum.schedule.size, curriculum.schedule.said",
                why="a question that does not say how many tokens a span has could be thought about in many ways",
                fix="let said name it, such as '(Thinking speed: {size})\\n', or give one size",
            )
        self.sizes = (sizes[0], sizes[1])
        self.answer_size = sizes[1] if answer_size is None else answer_size
        self.form = SpanForm(fill, labels, opening, teacher, said)

    @property
    def lead(self) -> str:
        """The text behind a question when it is asked."""
        return self.form.behind_question(self.answer_size)

    @property
    def texts(self) -> tuple[str, ...]:
        """All texts that may stand behind a question."""
        low, high = self.sizes
        said = (self.form.behind_question(size) for size in (*range(low, high + 1), self.answer_size))
        return tuple(dict.fromkeys(text for text in said if text))

    @property
    def last_stage(self) -> int:
        """Always 0."""
        return 0

    def stage_at(self, epoch: int, batch: int = 0, batches: int = 1) -> int:
        """Always 0."""
        return 0

    def resolve(self, stage: int, num_steps: int) -> Stage:
        """The longest rows that there are: spans of the smallest size."""
        return Stage(num_steps, 0, span=self.sizes[0])

    def sample(self, stage: int, num_steps: int, draw: random.Random) -> Stage:
        """The size of the row's spans, and what keys all else that is drawn for it."""
        return Stage(num_steps, 0, span=draw.randint(*self.sizes), draw=draw.getrandbits(62))

    def evaluate(self, stage: int, num_steps: int) -> Stage:
        """Spans of the size that questions are asked with, given as in training; nothing is drawn."""
        return Stage(num_steps, 0, span=self.answer_size if self.sizes[0] < self.sizes[1] else self.sizes[0])

    def thoughts_at_inference(self, stage: int) -> int:
        """None that is fixed: the thinker ends them."""
        return 0

    def numbers_trained(self, stage: int) -> set[int]:
        """None that is fixed."""
        return set()

    def describe(self, stage: int) -> str:
        """The size of a span in words."""
        low, high = self.sizes
        return f"a thought for each span of {low if low == high else f'{low} to {high}'} token{'s' * (high != 1)}"

"""How the pieces of an example become text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lcot.errors import UserError
from lcot.reasoning.example import ReasoningExample


@dataclass(frozen=True, slots=True)
class TextFormat:
    r"""How the pieces of an example become text; the defaults are those of the released Coconut code.

    Attributes:
        after_question: Ends the question.
        after_step: Ends each step, or only the last one where ``between_steps`` is given.
        before_answer: Stands before the answer; answers are extracted by it.
        between_steps: Begins each step but the first, as where a chain is written in one line; ``None`` where each ends
            with ``after_step``. A space that opens a step is in its first token, for most tokenizers.

    Raises:
        UserError: If ``before_answer`` is blank.
    """

    after_question: str = "\n"
    after_step: str = "\n"
    before_answer: str = "### "
    between_steps: str | None = None

    def __post_init__(self) -> None:
        if not self.before_answer.strip():
            raise UserError(
                f"before_answer is {self.before_answer!r}",
                where="data.text.before_answer",
                why="no answer could be told from the text before it",
                fix="use a mark that stands nowhere else, such as '### '",
            )

    def around_step(self, place: int, last: bool) -> tuple[str, str]:
        """What stands before and behind a step.

        Args:
            place: Number of steps before it.
            last: Whether none follows.
        """
        if self.between_steps is None:
            return "", self.after_step
        return self.between_steps if place else "", self.after_step if last else ""

    def steps(self, example: ReasoningExample) -> Iterator[tuple[str, str]]:
        """Each step's text, and what of it stands around the step alone."""
        for place, step in enumerate(example.steps):
            before, behind = self.around_step(place, place + 1 == len(example.steps))
            yield before + step + behind, before + behind

    def pieces(self, example: ReasoningExample) -> Iterator[str]:
        """The texts that an example's row is made of, in their order."""
        yield example.question + self.after_question
        yield from (text for text, _ in self.steps(example))
        yield self.before_answer + example.answer

    def parts(self) -> Iterator[str]:
        """What stands around the pieces."""
        yield from (self.after_question, self.between_steps or "", self.after_step, self.before_answer)

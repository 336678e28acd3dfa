"""Prompts as a tokenizer's own chat template writes them, cut where the thoughts go.

A template is rendered with marks in the places of question and thoughts, once for all examples. Thoughts are thus found
by construction, whatever a template puts behind them, and no text can move them.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from transformers import PreTrainedTokenizerBase

from lcot.errors import UserError
from lcot.reasoning.example import ReasoningExample
from lcot.reasoning.prompts import Prompt, fill
from lcot.reasoning.template import opens_rows, render
from lcot.reasoning.tokens import SpecialTokens, reserved_ids, special_text, token_ids

# Characters of a private area: no template writes them, and no question is filled in before the cut.
_QUESTION, _THOUGHTS = "\uf8f0question\uf8f1", "\uf8f0thoughts\uf8f1"


class Cut(NamedTuple):
    """A rendered prompt without its thoughts, its question still to be filled in.

    Attributes:
        before: What stands before the thoughts; the whole prompt where there are none.
        behind: What stands behind them.
    """

    before: str
    behind: str = ""


class ChatText:
    """A prompt as one tokenizer reads it: that of the language model, or that of the assistant.

    Args:
        tokenizer: The tokenizer.
        special: The ids of the prompt's tokens.
        prompt: The prompt.

    Attributes:
        reserved: Ids that mark thoughts or turns, or are special to the tokenizer in any other way; no text of an
            example may hold one.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, special: SpecialTokens, prompt: Prompt) -> None:
        self.tokenizer = tokenizer
        self.special = special
        self.prompt = prompt
        self.reserved = reserved_ids(tokenizer, special)
        self._plain: dict[tuple[str, bool], list[int]] = {}
        self._cuts: dict[tuple[tuple[tuple[str, str], ...], bool], Cut] = {}

    def told(self, hint: str | None, count: int, *, question: bool, header: bool) -> Cut:
        """The language model's prompt.

        Args:
            hint: The hint's paragraph; ``None`` for none.
            count: Number of thoughts.
            question: Whether the question is told.
            header: Whether the beginning of the answering turn belongs to it (the template's generation prompt).

        Raises:
            UserError: If the template cannot be used.
        """
        turn = fill(self.prompt.user_turn(hint, question), n=count, question=_QUESTION, thoughts=_THOUGHTS)
        return self._cut((("user", turn),), header, thoughts=hint is not None)

    def asked(self, count: int) -> Cut:
        """The assistant's prompt, up to its thoughts: what follows them cannot matter to a causal model.

        Raises:
            UserError: If the template cannot be used.
        """
        user = fill(self.prompt.assistant_user, n=count, question=_QUESTION)
        turn = fill(self.prompt.assistant_turn, n=count, question=_QUESTION, thoughts=_THOUGHTS)
        return Cut(self._cut((("user", user), ("assistant", turn)), header=False, thoughts=True).before)

    def header(self) -> tuple[str, str]:
        """What a template writes between two turns.

        Returns:
            The text behind the token that ends the asking turn, and the header of the answering one.

        Raises:
            UserError: If there is no header.
        """
        turns = [("user", _QUESTION)]
        without, with_header = self._render(turns, header=False), self._render(turns, header=True)
        header = with_header.removeprefix(without)
        if not header or header == with_header:
            raise UserError(
                f"the prompt {self.prompt.name!r} writes no header before an answer",
                where="data.dialogue.header",
                why="it cannot be supervised",
                fix="set data.dialogue.header to 'prompt'",
            )
        _, found, between = without.rpartition(str(self.tokenizer.convert_ids_to_tokens(self.special.eos)))
        return (between if found and _QUESTION not in between else ""), header

    def ids(
        self, text: str, examples: Sequence[ReasoningExample], opens: bool, like: str | None = None
    ) -> list[list[int]]:
        """Token ids of a part of a prompt, for each example with its question.

        Args:
            text: One side of a :class:`Cut`.
            examples: Whose questions are filled in; where the part has no question, all share one list.
            opens: Whether a row begins with it. A tokenizer opens rows with its BOS where no template does it.
            like: A part with the same tokens of turns and thoughts, where this one is used once and not worth a place
                in memory; itself if not given.

        Raises:
            DataError: If a question holds a token that marks thoughts or turns.
        """
        bos, like = opens and opens_rows(self.tokenizer, self.prompt), like or text
        if (like, bos) not in self._plain:
            self._plain[like, bos] = token_ids(self.tokenizer, [like.replace(_QUESTION, "")], bos)[0]
        plain = self._plain[like, bos]
        if _QUESTION not in text and like == text:
            return [plain] * len(examples)
        expected = [token for token in plain if token in self.reserved]
        rows = token_ids(self.tokenizer, [text.replace(_QUESTION, one.question.strip()) for one in examples], bos)
        for example, row in zip(examples, rows, strict=True):
            found = [token for token in row if token in self.reserved]
            if found != expected:
                token = [*(Counter(found) - Counter(expected)), *found, *expected][0]
                raise special_text(self.tokenizer, example, token)
        return rows

    def compact_ids(self, text: str, examples: Sequence[ReasoningExample], opens: bool) -> list[array[int]]:
        """The same in a ninth of the memory, to be kept for all examples of a large data set."""
        rows = self.ids(text, examples, opens)
        shared: dict[int, array[int]] = {}
        return [shared.setdefault(id(row), array("i", row)) for row in rows]

    def ids_with_words(self, cut: Cut, words: str, example: ReasoningExample) -> list[int]:
        """A prompt with words in place of its thoughts. Names of reserved tokens are taken out of them.

        Raises:
            DataError: As :meth:`ids` does.
        """
        names = [str(self.tokenizer.convert_ids_to_tokens(token)) for token in self.reserved]
        before = None
        while words != before:  # what is taken out may join two halves of another one
            before = words
            for name in names:
                words = words.replace(name, "")
        return self.ids(cut.before + words + cut.behind, [example], opens=True, like=cut.before + cut.behind)[0]

    def _cut(self, turns: tuple[tuple[str, str], ...], header: bool, thoughts: bool) -> Cut:
        if (turns, header) in self._cuts:
            return self._cuts[turns, header]
        rendered = self._render(turns, header)
        for mark, name in ((_QUESTION, "question"), (_THOUGHTS, "thoughts")):
            wanted = sum(text.count(mark) for _, text in turns)
            if rendered.count(mark) != wanted:
                raise UserError(
                    f"the chat template of {self.tokenizer.name_or_path!r} writes the {name} {rendered.count(mark)}"
                    f" times, and the prompt {self.prompt.name!r} {wanted} times",
                    where="data.tokenizer and data.dialogue",
                    why="it drops or repeats a turn",
                    fix="use a prompt of this family of models",
                )
        assert rendered.count(_THOUGHTS) == thoughts, "a prompt names its thoughts once"
        self._cuts[turns, header] = cut = Cut(*rendered.split(_THOUGHTS))
        return cut

    def _render(self, turns: Sequence[tuple[str, str]], header: bool) -> str:
        return render(self.tokenizer, self.prompt, turns, header)

"""From an example and a stage to token ids, labels and thought slots.

    question ⊕ bot ⊕ thought × n ⊕ eot ⊕ remaining steps ⊕ answer ⊕ eos

Only the remaining steps, the answer and the eos after it are supervised (arXiv 2412.06769, section 3). Without markers
(kind ``none``) the text follows the question directly.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate

from transformers import PreTrainedTokenizerBase

from lcot.errors import DataError, UserError, shown
from lcot.reasoning.curriculum import Markers, Stage, ThoughtKind
from lcot.reasoning.example import ReasoningExample
from lcot.reasoning.text import TextFormat
from lcot.reasoning.tokens import SpecialTokens, reserved_ids, special_text, token_ids

IGNORE = -100
"""The label of positions that are not supervised, as in ``torch.nn.functional.cross_entropy``."""


@dataclass(frozen=True, slots=True)
class EncodedExample:
    """Token ids of the pieces of one example.

    Attributes:
        question: With the tokenizer's own beginning (a BOS for Llama, nothing for GPT-2).
        steps: One list a step.
        answer: With its marker and the closing eos.
        opening: What the text begins with, whatever the stage leaves of the steps; nothing without a prompt file.
        mark: Number of ids at the beginning of ``answer`` that mark it; the answer's own ids follow. ``None`` if that
            is not known.
    """

    question: list[int]
    steps: list[list[int]]
    answer: list[int]
    opening: list[int] = field(default_factory=list)
    mark: int | None = None


@dataclass(frozen=True, slots=True)
class Layout:
    """One row before padding, of length T.

    Attributes:
        ids: T token ids; thought slots hold the latent or pause token.
        labels: T labels, aligned with ``ids`` (not shifted); :data:`IGNORE` where nothing is supervised.
        head: Number of ids before the first thought: question and bot. No label before it is
            supervised, but that of bot where thoughts stand for spans.
        thoughts: Number of continuous or soft thoughts, which stand at ``head`` … ``head + thoughts - 1``; 0 for
            pauses.
        prompt: Number of ids that the model is given at inference: everything before the written text.
        pauses: Number of pauses, which stand where continuous thoughts would; 0 for any other kind.
        marked: Whether bot and eot stand around the thoughts.
        stepped: Number of columns, from ``head`` on, that get a pass each; 0 where all thoughts share one.
        task: Place of the example's task in ``Dialogue.tasks``; 0 where there is one for all.
        places: Indices of ``ids`` by name, one or more each: ``answer``, the answer's own first id behind its mark;
            ``steps``, where each step begins and the last one ends; ``chain``, in the teacher's row, where the hidden
            steps begin, where they end, and where the answer with its mark begins.
        views: Other rows of the same example by name, which a method reads beside this one:

            - ``assistant``: what the assistant reads to make the soft thoughts: its own ids, with its own tokenizer's
              slots at ``head`` … and nothing behind them;
            - ``teacher``: the question with its whole chain and the answer in writing, chain and answer supervised;
            - ``steps``: the hidden steps, one behind another;
            - ``spans``: the tokens behind each thought, one behind another, where thoughts stand for some.
        draw: Keys whatever is drawn at random for the row while it is learnt.
    """

    ids: list[int]
    labels: list[int]
    head: int
    thoughts: int
    prompt: int
    pauses: int = 0
    marked: bool = False
    stepped: int = 0
    task: int = 0
    places: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    views: Mapping[str, Layout] = field(default_factory=dict)
    draw: int = 0

    @property
    def assistant(self) -> Layout | None:
        """The view of the assistant; ``None`` where there are no soft thoughts."""
        return self.views.get("assistant")

    def with_views(self, views: Mapping[str, Layout]) -> Layout:
        """The same row with further views, or with others in their place."""
        return replace(self, views={**self.views, **views})


class LayoutBuilder:
    """Tokenizes examples piece by piece and lays the pieces out.

    Args:
        tokenizer: A tokenizer that already has the thought tokens.
        special: Their ids.
        kind: What stands between the markers.
        markers: Where the markers stand.
        text: How pieces become text.
        max_length: Longest row that the model can take, in tokens; ``None`` for no limit.
        stepwise_passes: Whether each thought gets a pass of its own; ``None`` if continuous ones do and pauses do not.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        special: SpecialTokens,
        kind: ThoughtKind,
        text: TextFormat | None = None,
        max_length: int | None = None,
        markers: Markers = "always",
        stepwise_passes: bool | None = None,
    ) -> None:
        self.tokenizer = tokenizer
        self.special = special
        self.reserved = reserved_ids(tokenizer, special)
        self.kind = kind
        self.markers = markers
        self.text = text or TextFormat()
        self.max_length = max_length
        self.max_assistant_length: int | None = None
        self._shared: dict[int, int] = {}
        self._around_texts: dict[tuple[str, bool], list[int]] = {}
        self.stepwise_passes = kind == "continuous" if stepwise_passes is None else stepwise_passes
        self.further: tuple[str, ...] = ()
        """Views that training rows have (:meth:`views`)."""

    @property
    def assistant_pad(self) -> int | None:
        """Padding of the rows that an assistant reads; ``None`` if it reads none."""
        return None

    def encode(self, examples: Sequence[ReasoningExample]) -> list[EncodedExample]:
        """Tokenize examples; one call for many is several times as fast as one call each.

        The name of a special token in a text is text like any other, and becomes ordinary tokens.

        Raises:
            DataError: If the tokenizer has no others for it, so that the model would take it for the end of the text or
                for a thought, or if ``text`` itself holds one of the thought tokens.
        """
        if not examples:
            return []
        behind, before = self.text.after_question, self.text.before_answer
        questions = self._texts([(example, example.question + behind, behind) for example in examples], bos=True)
        pieces = [
            piece
            for example in examples
            for piece in (
                *((example, *step) for step in self.text.steps(example)),
                (example, self.answer_text(example), before),
            )
        ]
        ids = iter(self._texts(pieces, bos=False))
        encoded, (mark,) = [], self._ids([before], bos=False)
        for example, question in zip(examples, questions, strict=True):
            steps = [next(ids) for _ in example.steps]
            answer = [*next(ids), self.special.eos]
            # A token that holds the end of the mark and the beginning of the answer is one of the answer's.
            apart = next((at for at, (one, other) in enumerate(zip(mark, answer, strict=False)) if one != other), None)
            encoded.append(EncodedExample(question, steps, answer, mark=len(mark) if apart is None else apart))
        return encoded

    def train(self, encoded: EncodedExample, stage: Stage) -> Layout:
        """The prompt of inference, and behind it, supervised, what the stage leaves of steps, answer and eos."""
        prompt = self.prompt(encoded, stage.thoughts)
        text = _text(encoded, stage)
        ids, written = prompt.ids + text, text[-len(encoded.answer) :] == encoded.answer
        start = None if encoded.mark is None or not written else len(ids) - len(encoded.answer) + encoded.mark
        places = {} if start is None else {"answer": (start,)}
        return replace(prompt, ids=ids, labels=prompt.labels + text, places=places)

    def lesson(self, encoded: EncodedExample, stage: Stage) -> Layout:
        """The row that a gradient comes from: that of :meth:`train`, unless training has a prompt of its own."""
        return self.train(encoded, stage)

    def prompt(self, encoded: EncodedExample, thoughts: int) -> Layout:
        """The row that inference starts from: question and thoughts, no text."""
        marked = self._marked(thoughts)
        ids = [*encoded.question, *([self.special.bot] if marked else [])]
        head = len(ids)
        if self.kind != "none":
            slot = self.special.pause if self.kind == "pause" else self.special.latent
            ids += [slot] * thoughts + ([self.special.eot] if marked else [])
        return Layout(
            ids,
            [IGNORE] * len(ids),
            head=head,
            thoughts=thoughts if self.kind in ("continuous", "soft") else 0,
            prompt=len(ids),
            pauses=thoughts if self.kind == "pause" else 0,
            marked=marked,
            stepped=thoughts if self.stepwise_passes and self.kind != "none" else 0,
        )

    def assistant_row(self, encoded: EncodedExample, thoughts: int) -> Layout | None:
        """What an assistant reads to make the soft thoughts of an example; ``None`` where there are none."""
        return None

    def views(self, encoded: EncodedExample, stage: Stage, names: Iterable[str]) -> dict[str, Layout]:
        """Further rows of an example.

        Args:
            encoded: The example.
            stage: Which of its steps are hidden.
            names: ``teacher`` and ``steps`` (see :class:`Layout`).

        Raises:
            UserError: If there is no such view.
        """
        known = {"teacher": self._teacher, "steps": self._steps}
        for name in names:
            if name not in known:
                raise UserError.unknown("view", name, known, where="the views of the model's objectives")
        return {name: known[name](encoded, stage) for name in names}

    def _teacher(self, encoded: EncodedExample, stage: Stage) -> Layout:
        text = [*encoded.opening, *(token for step in encoded.steps for token in step), *encoded.answer]
        head = len(encoded.question)
        ids = [*encoded.question, *text]
        start = None if encoded.mark is None else len(ids) - len(encoded.answer) + encoded.mark
        chain = head + len(encoded.opening)
        hidden = sum(len(step) for step in encoded.steps[: stage.hidden])
        places: dict[str, tuple[int, ...]] = {"chain": (chain, chain + hidden, len(ids) - len(encoded.answer))}
        places |= {} if start is None else {"answer": (start,)}
        return Layout(ids, [IGNORE] * head + text, head=head, thoughts=0, prompt=head, places=places)

    def _steps(self, encoded: EncodedExample, stage: Stage) -> Layout:
        hidden = encoded.steps[: stage.hidden]
        ids = [token for step in hidden for token in step]
        starts = tuple(accumulate((len(step) for step in hidden), initial=0))
        return Layout(ids, list(ids), head=0, thoughts=0, prompt=0, places={"steps": starts})

    def longest(self, encoded: EncodedExample, stages: Iterable[Stage]) -> tuple[int, int]:
        """Tokens of the longest row and of the longest prompt of an example over some stages, none of them laid out."""
        chains = list(accumulate((len(step) for step in reversed(encoded.steps)), initial=0))[::-1]
        sizes = []
        for stage in stages:
            prompt = self._prompt_length(encoded, stage.thoughts)
            hidden = min(stage.hidden, len(encoded.steps))
            text = max(0, chains[hidden] - abs(stage.tokens)) + len(encoded.answer)
            if stage.only_next:
                text = len(encoded.steps[hidden] if hidden < len(encoded.steps) else encoded.answer)
            sizes.append((prompt + len(encoded.opening) + text, prompt))
        if "teacher" in self.further:
            asked = len(encoded.question)
            sizes.append((asked + len(encoded.opening) + chains[0] + len(encoded.answer), asked))
        rows, prompts = zip(*sizes, strict=True)
        return max(rows), max(prompts)

    def longest_assistant(self, encoded: EncodedExample, stages: Iterable[Stage]) -> int:
        """Tokens of the longest row that an assistant reads for an example over some stages; 0 if it reads none."""
        rows = [self.assistant_row(encoded, thoughts) for thoughts in {stage.thoughts for stage in stages}]
        return max((len(row.ids) for row in rows if row is not None), default=0)

    def check_row(self, row: Layout, example: ReasoningExample) -> None:
        """Refuse a row that the model, or its assistant, cannot take.

        Raises:
            DataError: As :meth:`check_length` does.
        """
        self.check_length(len(row.ids), example)
        if "teacher" in row.views:
            self.check_length(len(row.views["teacher"].ids), example)
        if row.assistant is not None:
            self.check_length(len(row.assistant.ids), example, assistant=True)

    def check_length(self, length: int, example: ReasoningExample, assistant: bool = False) -> None:
        """Refuse a row that the model cannot take.

        Args:
            length: Its number of tokens.
            example: Its example.
            assistant: Whether it is one of the assistant's.

        Raises:
            DataError: If the row is longer than ``max_length``, or ``max_assistant_length``.
        """
        limit = self.max_assistant_length if assistant else self.max_length
        if limit is not None and length > limit:
            raise DataError(
                f"example {shown(example.id)} takes {length} tokens{' of the assistant' if assistant else ''},"
                f" and the limit is {limit}",
                where=f"question: {shown(example.question)}",
                why="cutting it would change the question or drop the answer",
                fix="raise data.max_length (and the model's context), or set data.too_long to 'drop'",
            )

    def _prompt_length(self, encoded: EncodedExample, thoughts: int) -> int:
        """Number of ids of :meth:`prompt`."""
        slots = thoughts if self.kind != "none" else 0
        return len(encoded.question) + slots + 2 * self._marked(thoughts)

    def _marked(self, thoughts: int) -> bool:
        return self.kind != "none" and (self.markers == "always" or (self.markers == "with_thoughts" and thoughts > 0))

    def _texts(self, pieces: Sequence[tuple[ReasoningExample, str, str]], bos: bool) -> list[list[int]]:
        """Token ids of texts of examples, in which no special token stands but those of what is around them.

        Args:
            pieces: For each its example, its text with what is around it, and that alone.
            bos: Whether they open rows.
        """
        rows = self._ids([text for _, text, _ in pieces], bos)
        for place, (example, text, around) in enumerate(pieces):
            row = self._plain(rows[place], text, around, bos)
            own, found = self._special_around(around, bos), self._special_in(row)
            if found != own:
                raise special_text(self.tokenizer, example, [*(set(found) - set(own)), *found, *own][0])
            rows[place] = row
        return rows

    def _plain(self, row: list[int], text: str, around: str, bos: bool) -> list[int]:
        """A text's token ids, with all names as plain text where special tokens stand that are not of ``around``."""
        if self._special_in(row) == self._special_around(around, bos):
            return row
        return token_ids(self.tokenizer, [text], bos, plain=True)[0]

    def _special_in(self, row: list[int]) -> list[int]:
        return [] if self.reserved.isdisjoint(row) else [token for token in row if token in self.reserved]

    def _special_around(self, around: str, bos: bool) -> list[int]:
        if (around, bos) not in self._around_texts:
            plain = token_ids(self.tokenizer, [around], bos)[0]
            thoughts = {self.special.bot, self.special.eot, self.special.latent, self.special.pause}
            if found := [token for token in plain if token in thoughts]:
                raise UserError(
                    f"what stands between the texts is {shown(around)}",
                    where="data.text",
                    why=f"{self.tokenizer.convert_ids_to_tokens(found[0])!r} marks thoughts, and would be read as one",
                    fix="write it otherwise",
                )
            self._around_texts[around, bos] = self._special_in(plain)
        return self._around_texts[around, bos]

    def answer_text(self, example: ReasoningExample) -> str:
        """The gold answer as it stands at the end of the text, with what marks it."""
        return self.text.before_answer + example.answer

    def encode_step(self, step: str, place: int = 0, last: bool = False) -> list[int]:
        """Token ids of one step, with what stands around it.

        Args:
            step: Its text.
            place: Number of steps before it.
            last: Whether none follows.
        """
        before, behind = self.text.around_step(place, last)
        text = before + step + behind
        return self._plain(self._ids([text], bos=False)[0], text, before + behind, bos=False)

    def _ids(self, texts: list[str], bos: bool) -> list[list[int]]:
        # One int for every use of an id: lists of all examples are kept, in each worker.
        share = self._shared.setdefault
        return [[share(token, token) for token in ids] for ids in token_ids(self.tokenizer, texts, bos)]


def _text(encoded: EncodedExample, stage: Stage) -> list[int]:
    """What stands behind the thoughts in training."""
    steps = encoded.steps[stage.hidden :]
    if stage.only_next:
        return encoded.opening + (steps[0] if steps else encoded.answer)
    chain = [token for step in steps for token in step]
    chain = chain[stage.tokens :] if stage.tokens >= 0 else chain[: stage.tokens]
    return encoded.opening + chain + encoded.answer

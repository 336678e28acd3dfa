"""Rows of chat models: a prompt with places for soft thoughts, and the solution in the answering turn (SoftCoT).

    user: … question … bot ⊕ slot×N ⊕ eot     assistant: solution ⊕ end of turn      the language model (kind soft)
    user: … question …   assistant: Here are N tokens: slot×N                         its assistant
    user: … question …   assistant: bot ⊕ thought×n ⊕ eot ⊕ remaining solution        Coconut, pauses

Only the solution and the end of turn behind it are supervised (arXiv 2502.12134; the released code differs, which
:class:`Dialogue` can repeat).
"""

from __future__ import annotations

from array import array
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

from lcot.errors import DataError, UserError, shown
from lcot.reasoning.chat import ChatText, Cut
from lcot.reasoning.curriculum import Markers, Stage, ThoughtKind
from lcot.reasoning.example import ReasoningExample
from lcot.reasoning.layout import IGNORE, EncodedExample, Layout, LayoutBuilder
from lcot.reasoning.prompts import fill
from lcot.reasoning.tokens import special_text, token_ids

Readers = Literal["both", "assistant"]
Header = Literal["prompt", "supervised"]
EndOfTurn = Literal["supervised", "dropped"]

CHAT = "chat"
"""Folder of the prompts for any family of models; as a prompt, the one of them for the data set's kind of questions."""


@dataclass(frozen=True)
class Dialogue:
    """How models are asked, in words of a prompt file.

    Attributes:
        prompt: ``llama3/gsm8k`` and the like for a packaged prompt (``lcot/prompts``), or the path of one's own
            ``.yaml`` file; see :mod:`lcot.reasoning.prompts`. ``chat`` is the one for any family of models, in words
            for the data set's kind of questions (``chat/math`` and so on).
        assistant: Name or folder of the assistant's tokenizer; ``None`` for the language model's. No effect without
            soft thoughts.
        assistant_prompt: The prompt that the assistant gets, where it is of another family; ``None`` for ``prompt``.
        question: Who reads the question: ``both``, or the ``assistant`` alone, so that its thoughts are all that the
            language model knows of it.
        header: Whether the words that open the answering turn belong to the ``prompt``, or are written by the model and
            ``supervised``, as in the released code for Llama and Qwen2.5.
        end_of_turn: Whether the token that ends the answering turn is ``supervised``, or ``dropped`` from the row: the
            released code cuts off the last token, so its Llama never learns to stop.
        answer_step: Write the answer as a step of its own before the end of the solution, as the released code does by
            taking the last line of GSM8K's solutions (``#### 18``) for a step.
        tasks: Tasks that have a projection each; examples name theirs in ``facts["task"]``. Empty for one projection.
    """

    prompt: str
    assistant: str | None = None
    assistant_prompt: str | None = None
    question: Readers = "both"
    header: Header = "prompt"
    end_of_turn: EndOfTurn = "supervised"
    answer_step: bool = False
    tasks: list[str] = field(default_factory=list)

    def of(self, task: str) -> Dialogue:
        """The same with the prompts that ``chat`` means for a kind of questions."""
        own = f"{CHAT}/{task}"
        helper = own if self.assistant_prompt == CHAT else self.assistant_prompt
        return replace(self, prompt=own if self.prompt == CHAT else self.prompt, assistant_prompt=helper)

    def __post_init__(self) -> None:
        for name, value, known in (
            ("question", self.question, get_args(Readers)),
            ("header", self.header, get_args(Header)),
            ("end_of_turn", self.end_of_turn, get_args(EndOfTurn)),
        ):
            if value not in known:
                raise UserError.unknown(name, str(value), known, where=f"data.dialogue.{name}")
        if len(set(self.tasks)) < len(self.tasks):
            raise UserError(f"tasks names one twice: {', '.join(self.tasks)}", where="data.dialogue.tasks")


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedDialogue(EncodedExample):
    """Token ids of the pieces of one example.

    Attributes:
        example: The example.
        prompts: By number of soft thoughts, the language model's prompt before and behind them.
        asked: By number of soft thoughts, the assistant's prompt before them.
        task: Place of the example's task.
        taught: The same example in the prompt of training, where that is another one.
    """

    example: ReasoningExample
    prompts: dict[int, tuple[array[int], array[int]]] = field(default_factory=dict)
    asked: dict[int, array[int]] = field(default_factory=dict)
    task: int = 0
    taught: EncodedExample | None = None


class DialogueBuilder(LayoutBuilder):
    """Lays out chats. Rows of kind ``soft`` have their thoughts in the prompt, all others in the answering turn.

    Args:
        model: The prompt as the language model reads it.
        kind: What the thoughts are.
        dialogue: The user's choices.
        assistant: The prompt as the assistant reads it; needed for soft thoughts only.
        counts: Numbers of soft thoughts that rows will have; these are tokenized in batches, others one by one.
        max_length: Longest row that the model can take, in tokens; ``None`` for no limit.
        markers: Where the markers stand; around soft thoughts ``always`` and ``with_thoughts`` are the same.
        stepwise_passes: As in :class:`~lcot.reasoning.layout.LayoutBuilder`.

    Raises:
        UserError: If these do not fit one another.
    """

    def __init__(
        self,
        model: ChatText,
        kind: ThoughtKind,
        dialogue: Dialogue,
        assistant: ChatText | None = None,
        counts: Collection[int] = (),
        max_length: int | None = None,
        markers: Markers = "always",
        stepwise_passes: bool | None = None,
    ) -> None:
        super().__init__(model.tokenizer, model.special, kind, None, max_length, markers, stepwise_passes)
        self.model = model
        self.dialogue = dialogue
        self.assistant = assistant
        self.counts = sorted(set(counts)) if kind == "soft" else []
        self._blind = dialogue.question == "assistant"
        self._check()
        training = model.prompt.in_training()
        self._training: DialogueBuilder | None = None
        if training is not None:
            reader = ChatText(model.tokenizer, model.special, training)
            same = counts, max_length, markers, stepwise_passes
            self._training = DialogueBuilder(reader, kind, dialogue, assistant, *same)
        between, header = model.header() if dialogue.header == "supervised" else ("", "")
        self._between, self._header = token_ids(model.tokenizer, [between, header], bos=False)

    @property
    def assistant_pad(self) -> int | None:
        """Padding of the rows that the assistant reads."""
        return self.assistant.special.pad if self.assistant is not None else None

    # -- examples -> ids ----------------------------------------------------------------------------------------------

    def encode(self, examples: Sequence[ReasoningExample]) -> list[EncodedExample]:
        """Tokenize examples; one call for many is several times as fast as one call each.

        Raises:
            DataError: If a text holds a token that marks thoughts or turns, or an example has no task that is known.
        """
        if not examples:
            return []
        pieces = [
            piece
            for example in examples
            for piece in (
                self._opening(example),
                *(self._step_text(step, place) for place, step in enumerate(example.steps)),
                self.answer_text(example),
            )
        ]
        ids = iter(self._ids(pieces, bos=False))
        end = [self.special.eos] if self.dialogue.end_of_turn == "supervised" else []
        encoded: list[EncodedExample] = []
        for example in examples:
            opening, *steps = (next(ids) for _ in range(1 + len(example.steps)))
            answer = next(ids)
            for piece in (opening, *steps, answer):
                if found := self._special_in(piece):
                    raise special_text(self.tokenizer, example, found[0])
            encoded.append(
                EncodedDialogue(
                    [], steps, answer + end, self._header + opening, example=example, task=self._task(example)
                )
            )
        if self.kind == "soft":
            self._fill(encoded, self.counts)
        else:
            rows = self.model.ids(self._told(0).before, examples, opens=True)
            encoded = [replace(pieces, question=row) for pieces, row in zip(encoded, rows, strict=True)]
        if self._training is None:
            return encoded
        lessons = zip(encoded, self._training.encode(examples), strict=True)
        return [replace(own, taught=lesson) for own, lesson in lessons if isinstance(own, EncodedDialogue)]

    def encode_step(self, step: str, place: int = 0, last: bool = False) -> list[int]:
        """Token ids of one step with its number, ``place`` + 1."""
        return self._ids([self._step_text(step, place)], bos=False)[0]

    def answer_text(self, example: ReasoningExample) -> str:
        """The end of the solution, with the gold answer."""
        prompt, answer = self.model.prompt, fill(self.model.prompt.answer, answer=example.answer)
        if not self.dialogue.answer_step:
            return answer
        assert prompt.answer_step is not None
        return self._step_text(fill(prompt.answer_step, answer=example.answer), len(example.steps)) + answer

    # -- ids -> rows --------------------------------------------------------------------------------------------------

    def train(self, encoded: EncodedExample, stage: Stage) -> Layout:
        """The prompt of inference, and behind it the text that the stage leaves of the solution, supervised."""
        row = super().train(encoded, stage)
        if not self._header:
            return row
        # With the header, what the template writes before it, behind the end of the user's turn, is supervised as well.
        start = row.prompt - len(self._between)
        return replace(row, labels=row.labels[:start] + row.ids[start:])

    def lesson(self, encoded: EncodedExample, stage: Stage) -> Layout:
        """The same in the prompt of training."""
        assert isinstance(encoded, EncodedDialogue)
        if self._training is None or encoded.taught is None:
            return self.train(encoded, stage)
        # One of the steps may have been put in the place of another since.
        return self._training.train(replace(encoded.taught, steps=encoded.steps), stage)

    def prompt(self, encoded: EncodedExample, thoughts: int) -> Layout:
        """The row that inference starts from."""
        assert isinstance(encoded, EncodedDialogue)
        row = self._prompt(encoded, thoughts)
        assistant = self.assistant_row(encoded, thoughts)
        return replace(row, views={} if assistant is None else {"assistant": assistant}, task=encoded.task)

    def assistant_row(self, encoded: EncodedExample, thoughts: int) -> Layout | None:
        """What the assistant reads: its prompt, up to and with its slots."""
        if self.kind != "soft" or not thoughts:
            return None
        assert isinstance(encoded, EncodedDialogue)
        if thoughts not in encoded.asked:
            self._fill([encoded], [thoughts])
        before = encoded.asked[thoughts]
        assert self.assistant is not None
        ids = [*before, *[self.assistant.special.latent] * thoughts]
        return Layout(ids, [IGNORE] * len(ids), head=len(before), thoughts=thoughts, prompt=len(ids))

    def hinted(self, encoded: EncodedExample, words: str, thoughts: int) -> Layout:
        """The row that inference starts from where the assistant has written words instead of thoughts (Assist-CoT).

        Args:
            encoded: The example.
            words: What it wrote; names of special tokens are taken out.
            thoughts: Number of tokens that it was asked for.
        """
        assert isinstance(encoded, EncodedDialogue)
        hint = self.model.prompt.text_hint
        cut = self.model.told(hint, thoughts, question=not self._blind, header=not self._header)
        ids = self.model.ids_with_words(cut, words, encoded.example)
        return replace(self._bare(ids), task=encoded.task)

    def _prompt(self, encoded: EncodedDialogue, thoughts: int) -> Layout:
        if self.kind == "none":
            return self._bare(encoded.question)
        if self.kind != "soft":
            return super().prompt(encoded, thoughts)
        before, behind = self._sides(encoded, thoughts)
        if not thoughts:
            return self._bare([*before])
        bot, eot = self._around()
        head = len(before) + len(bot)
        if not head:
            raise UserError(
                f"the prompt {self.model.prompt.name!r} begins with the thoughts",
                where="data.dialogue.prompt and data.dialogue.question",
                why="the language model has to read something before them",
                fix="give tokens.bot, or some words, in a prompt file of your own, or set question to 'both'",
            )
        ids = [*before, *bot, *[self.special.latent] * thoughts, *eot, *behind]
        marked = bool(bot and eot)
        return Layout(ids, [IGNORE] * len(ids), head=head, thoughts=thoughts, prompt=len(ids), marked=marked)

    def _bare(self, ids: list[int]) -> Layout:
        """A prompt without thoughts."""
        head = len(ids) - len(self._between)
        return Layout(ids, [IGNORE] * len(ids), head=head, thoughts=0, prompt=len(ids))

    def _prompt_length(self, encoded: EncodedExample, thoughts: int) -> int:
        if self.kind != "soft":
            return super()._prompt_length(encoded, thoughts)
        assert isinstance(encoded, EncodedDialogue)
        around = sum(map(len, self._around())) if thoughts else 0
        return sum(map(len, self._sides(encoded, thoughts))) + thoughts + around

    # -- parts --------------------------------------------------------------------------------------------------------

    def _fill(self, encoded: Sequence[EncodedExample], counts: Sequence[int]) -> None:
        """Tokenize the prompts of some examples for some numbers of soft thoughts."""
        rows = [pieces for pieces in encoded if isinstance(pieces, EncodedDialogue)]
        examples = [pieces.example for pieces in rows]
        for count in counts:
            cut = self._told(count)
            before = self.model.compact_ids(cut.before, examples, opens=True)
            behind = self.model.compact_ids(cut.behind, examples, opens=False)
            for pieces, *sides in zip(rows, before, behind, strict=True):
                pieces.prompts[count] = (sides[0], sides[1])
            if count:
                assert self.assistant is not None
                asked = self.assistant.compact_ids(self.assistant.asked(count).before, examples, opens=True)
                for pieces, side in zip(rows, asked, strict=True):
                    pieces.asked[count] = side

    def _told(self, count: int) -> Cut:
        hint = self.model.prompt.hint if count else None
        return self.model.told(hint, count, question=not self._blind, header=not self._header)

    def _sides(self, encoded: EncodedDialogue, thoughts: int) -> tuple[array[int], array[int]]:
        if thoughts not in encoded.prompts:
            self._fill([encoded], [thoughts])
        return encoded.prompts[thoughts]

    def _around(self) -> tuple[list[int], list[int]]:
        """Ids of the markers around soft thoughts."""
        if self.markers == "never":
            return [], []
        bot, eot = ([token] if token >= 0 else [] for token in (self.special.bot, self.special.eot))
        return bot, eot

    def _opening(self, example: ReasoningExample) -> str:
        opening = self.model.prompt.opening
        # What the model was not told it cannot repeat.
        return "" if self._blind and "{question}" in opening else fill(opening, question=example.question.strip())

    def _step_text(self, step: str, place: int) -> str:
        return fill(self.model.prompt.step, step=step, i=place + 1)

    def _task(self, example: ReasoningExample) -> int:
        tasks = self.dialogue.tasks
        if not tasks:
            return 0
        name = example.facts.get("task")
        if name in tasks:
            return tasks.index(str(name))
        raise DataError(
            f"example {shown(example.id)} is of the task {shown(name)}"
            if name is not None
            else f"example {shown(example.id)} has no task",
            where=f"data.dialogue.tasks: {', '.join(tasks)}",
            why="each task has a projection of its own",
            fix='give each record a field "task" with one of these names, or leave tasks out',
        )

    def _check(self) -> None:
        """Refuse choices that do not fit the kind of thoughts.

        Raises:
            UserError: If there is one.
        """
        special, prompt = self.special, self.model.prompt
        if self.kind in ("continuous", "pause"):
            if self.markers != "never" and min(special.bot, special.eot) < 0:
                raise UserError(
                    f"the prompt {prompt.name!r} has no tokens around thoughts, and markers is {self.markers!r}",
                    where="data.dialogue.prompt and curriculum.schedule.markers",
                    fix="set markers to 'never', or name tokens.bot and tokens.eot in a prompt file of your own",
                )
            if self.dialogue.header == "supervised":
                raise UserError(
                    f"the header is supervised, and the thoughts are {self.kind}",
                    where="data.dialogue.header",
                    why="such thoughts stand behind the header, and nothing before thoughts is supervised",
                    fix="set data.dialogue.header to 'prompt'",
                )
        if self._blind and (self.kind != "soft" or 0 in self.counts):
            raise UserError(
                "the language model does not read the question, and has no soft thoughts of it",
                where="data.dialogue.question and curriculum.schedule",
                why="it would be asked nothing",
                fix="set data.dialogue.question to 'both', or kind to 'soft' with 1 thought or more",
            )
        if self.dialogue.answer_step and prompt.answer_step is None:
            raise UserError(
                f"answer_step is true, and the prompt {prompt.name!r} has no such step",
                where="data.dialogue.answer_step",
                fix="set it to false, or give target.answer_step in a prompt file of your own",
            )

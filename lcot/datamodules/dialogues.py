"""What a data module needs for chat models: prompts, and the assistant's tokenizer."""

from __future__ import annotations

import logging
from collections.abc import Collection
from functools import cached_property

from transformers import PreTrainedTokenizerBase

from lcot.datamodules.tokenizers import load_tokenizer
from lcot.errors import UserError
from lcot.reasoning.chat import ChatText
from lcot.reasoning.curriculum import Curriculum
from lcot.reasoning.dialogue import Dialogue, DialogueBuilder
from lcot.reasoning.prompts import load_prompt
from lcot.reasoning.spanwise import Spanwise
from lcot.reasoning.spare import END, SPARE
from lcot.reasoning.tokens import SpecialTokens, prompt_tokens

_log = logging.getLogger("lcot")


class Asking:
    """Who is asked what.

    Args:
        dialogue: The user's choices.

    Attributes:
        prompt: The language model's prompt.
        assistant_prompt: The assistant's.

    Raises:
        UserError: If a prompt cannot be used.
    """

    def __init__(self, dialogue: Dialogue) -> None:
        self.dialogue = dialogue
        self.prompt = load_prompt(dialogue.prompt)
        named = dialogue.assistant_prompt
        self.assistant_prompt = self.prompt if named is None else load_prompt(named)

    @cached_property
    def own_tokenizer(self) -> PreTrainedTokenizerBase | None:
        """The assistant's tokenizer, loaded when it is first wanted; ``None`` if it is the language model's."""
        return None if self.dialogue.assistant is None else load_tokenizer(self.dialogue.assistant)

    def assistant_special(self, tokenizer: PreTrainedTokenizerBase) -> SpecialTokens:
        """The ids of the assistant's tokens.

        Raises:
            UserError: If its tokenizer lacks one of them.
        """
        return prompt_tokens(tokenizer, self.assistant_prompt, assistant=True)

    def say(self, tokenizer: PreTrainedTokenizerBase, special: SpecialTokens) -> None:
        """Tell what was chosen for a tokenizer, if the prompt leaves that to a rule.

        Args:
            tokenizer: That of the language model.
            special: Its tokens.
        """
        prompt, names = self.prompt, tokenizer.convert_ids_to_tokens([special.eos, special.latent])
        if not {prompt.end, prompt.bot, prompt.eot, prompt.placeholder} & {END, SPARE}:
            return
        marks = [repr(tokenizer.convert_ids_to_tokens(token)) for token in (special.bot, special.eot) if token >= 0]
        _log.info(
            "%s: %s; an answer ends with %r; thoughts, if any, stand %s, their places held by %r (a prompt file that"
            " extends it can name other tokens)",
            prompt.name,
            "turns by the tokenizer's chat template" if tokenizer.chat_template else "no chat template, so plain text",
            names[0],
            f"between {' and '.join(marks)}" if marks else "without marks",
            names[1],
        )

    def builder(
        self,
        tokenizer: PreTrainedTokenizerBase,
        special: SpecialTokens,
        schedule: Curriculum,
        counts: Collection[int],
        max_length: int | None,
    ) -> DialogueBuilder:
        """The layouts of a run.

        Args:
            tokenizer: That of the language model.
            special: Its tokens.
            schedule: The curriculum.
            counts: Numbers of thoughts that rows will have.
            max_length: Longest row in tokens.

        Raises:
            UserError: If prompts, tokenizers and curriculum do not fit one another.
        """
        assistant = None
        if schedule.kind == "soft" and any(counts):
            own = self.own_tokenizer or tokenizer
            assistant = ChatText(own, self.assistant_special(own), self.assistant_prompt)
        return DialogueBuilder(
            ChatText(tokenizer, special, self.prompt),
            schedule.kind,
            self.dialogue,
            assistant,
            counts,
            max_length,
            schedule.markers,
            schedule.stepwise_passes,
        )


def numbers_of_thoughts(schedule: Curriculum, split: str | None) -> set[int]:
    """The numbers of thoughts that rows of a split can have; of all splits for ``None``."""
    stages = range(schedule.last_stage + 1)
    # Those of chains with fewer steps than there are stages are among them.
    trained = {schedule.resolve(stage, schedule.last_stage).thoughts for stage in stages}
    asked = {schedule.thoughts_at_inference(stage) for stage in stages}
    return trained if split == "train" else asked if split is not None else trained | asked


def check_kind(schedule: Curriculum, dialogue: Dialogue | None, shuffled: bool) -> None:
    """Refuse soft thoughts where nobody says how an assistant is asked for them, and what does not go with others.

    Raises:
        UserError: If there are any.
    """
    if schedule.kind == "soft" and dialogue is None:
        raise UserError(
            "the kind of thought is 'soft', and there is no dialogue",
            where="curriculum.schedule.kind and data.dialogue",
            why="soft thoughts are made by an assistant, and a prompt says how it is asked",
            fix="set data.dialogue.prompt, such as llama3/gsm8k, or choose another kind",
        )
    if isinstance(schedule, Spanwise) and dialogue is not None:
        raise UserError(
            "thoughts stand for spans of the chain, and there is a dialogue",
            where="curriculum.schedule and data.dialogue",
            why="a prompt file has words of its own around each step",
            fix="leave data.dialogue out, or use another curriculum",
        )
    if shuffled and schedule.kind != "soft":
        raise UserError(
            f"shuffled_thoughts is true, and the kind of thought is {schedule.kind!r}",
            where="data.shuffled_thoughts and curriculum.schedule.kind",
            why="only soft thoughts can be those of another question",
            fix="set it to false, or kind to 'soft'",
        )

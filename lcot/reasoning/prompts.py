r"""Prompts as data: what an assistant and a language model are told, and how a solution is written (arXiv 2502.12134).

A prompt is a YAML file, one for each family of models and task, such as ``llama3/gsm8k``:

    extends: [_parts/math, _parts/llama3]   # files that this one changes, in this order
    words: {task: math reasoning}           # short texts, filled into the others where they stand in braces
    tokens:                                 # what the family's tokenizers have; nothing is ever added to them
      placeholder: <|end_of_text|>          # holds the place of a thought; null: the tokenizer's end of text
      bot: <|reserved_special_token_0|>     # opens the thoughts, null for nothing
      eot: <|reserved_special_token_1|>     # closes them, null for nothing
      end: <|eot_id|>                       # ends a turn; null: the tokenizer's end of text
    # for any family: "{spare}" is a token that the model has no use for, "{end}" what its template ends a turn with
    template: {date_string: 26 Jul 2024}    # variables of the chat template that are pinned; null: there is no template
    fallback: null                          # template (Jinja) for tokenizers without one; null: they are refused
    extractors: [boxed]                     # how answers are read; null: as the data set's are
    assistant:
      user: "… {n} tokens … {question}"     # its user turn
      turn: "Here are {n} tokens: {thoughts}"   # its own turn, which ends with the thoughts
    llm:
      user: ["Solve …", "{problem}", "{hint}"]  # paragraphs; those two are left out where there is nothing to tell
      between: "\n\n"                       # stands between them
      problem: "Problem: {question}"
      hint: "Here are prompts: {thoughts}"
      text_hint: null                       # the hint around words in place of thoughts; null: the same
      train_user: null                      # the paragraphs of rows that are trained on; null: the same
      train_hint: null                      # the hint there; null: the same
    target:
      opening: ""                           # begins the solution
      step: "## Step {i}: {step}\n"
      answer: "The answer is {answer}."
      answer_step: "#### {answer}"          # what a step says that is made of the answer; null: there is none

Names in braces are filled in as they stand there and nowhere else, so questions may hold braces of their own.
"""

from __future__ import annotations

import importlib.resources
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lcot.errors import UserError, shown
from lcot.reasoning.prompt_files import read_settings

PARTS = "_parts"
"""Folder of what packaged prompts share; it holds no whole prompt."""

_WHERE = "data.dialogue.prompt"
# Each key of a file: whether it may be null, and its value where no file gives it.
_REQUIRED = object()
_KEYS: dict[str, tuple[bool, object]] = {
    "tokens.placeholder": (True, _REQUIRED),
    "tokens.bot": (True, _REQUIRED),
    "tokens.eot": (True, _REQUIRED),
    "tokens.end": (True, _REQUIRED),
    "template": (True, _REQUIRED),
    "fallback": (True, None),
    "extractors": (True, None),
    "assistant.user": (False, _REQUIRED),
    "assistant.turn": (False, _REQUIRED),
    "llm.user": (False, _REQUIRED),
    "llm.between": (False, "\n\n"),
    "llm.problem": (False, _REQUIRED),
    "llm.hint": (False, _REQUIRED),
    "llm.text_hint": (True, None),
    "llm.train_user": (True, None),
    "llm.train_hint": (True, None),
    "target.opening": (False, ""),
    "target.step": (False, _REQUIRED),
    "target.answer": (False, _REQUIRED),
    "target.answer_step": (True, None),
}
# Fields of a prompt that are not called like the last part of their key.
_FIELDS = {
    "assistant.user": "assistant_user",
    "assistant.turn": "assistant_turn",
    "llm.user": "paragraphs",
    "llm.train_user": "train_paragraphs",
}
_LISTS = ("llm.user", "llm.train_user")
_SECTIONS = {key.partition(".")[0] for key in _KEYS if "." in key}


@dataclass(frozen=True, slots=True)
class Prompt:
    """One file, with all that it extends.

    Attributes:
        name: As it was asked for.
        placeholder: Token that holds the place of a thought; ``None`` for the tokenizer's end of text.
        bot: Token that opens the language model's thoughts, if there is one.
        eot: Token that closes them, if there is one.
        end: Token that ends a turn; ``None`` for the tokenizer's end of text.
        template: Pinned variables of the chat template; ``None`` if texts stand one behind another without one.
        fallback: The template of tokenizers that have none; ``None`` if they cannot be used.
        extractors: How answers in its form are read; ``None`` if that is for the data set to say.
        assistant_user: User turn of the assistant's prompt, with ``{n}`` and ``{question}``.
        assistant_turn: The assistant's own turn, with ``{n}``; it ends with ``{thoughts}``.
        paragraphs: User turn of the language model, with ``{n}``; ``{problem}`` and ``{hint}`` are paragraphs.
        between: What stands between paragraphs.
        problem: Paragraph with ``{question}``.
        hint: Paragraph with ``{thoughts}``.
        text_hint: The same where words stand in place of the thoughts.
        train_paragraphs: The paragraphs of rows that are trained on, where they are others than those of inference.
        train_hint: The hint there, likewise.
        opening: Beginning of the solution, with ``{question}`` if it likes.
        step: A step, with ``{step}``, and with its number ``{i}`` if it likes.
        answer: The end of the solution, with ``{answer}``.
        answer_step: The text of a step that is made of the answer, with ``{answer}``; ``None`` if there is none.
    """

    name: str
    placeholder: str | None
    bot: str | None
    eot: str | None
    end: str | None
    template: Mapping[str, object] | None
    fallback: str | None
    extractors: tuple[str, ...] | None
    assistant_user: str
    assistant_turn: str
    paragraphs: tuple[str, ...]
    between: str
    problem: str
    hint: str
    text_hint: str
    train_paragraphs: tuple[str, ...] | None
    train_hint: str | None
    opening: str
    step: str
    answer: str
    answer_step: str | None

    def user_turn(self, hint: str | None, problem: bool) -> str:
        """The language model's user turn, ``{n}``, ``{question}`` and ``{thoughts}`` still in it.

        Args:
            hint: The hint's paragraph; ``None`` for none.
            problem: Whether the question is told.
        """
        own = {"{hint}": hint, "{problem}": self.problem if problem else None}
        told = (own.get(paragraph, paragraph) for paragraph in self.paragraphs)
        return self.between.join(paragraph for paragraph in told if paragraph is not None)

    def in_training(self) -> Prompt | None:
        """The prompt of rows that are trained on; ``None`` if it is this one."""
        if self.train_paragraphs is None and self.train_hint is None:
            return None
        paragraphs, hint = self.train_paragraphs or self.paragraphs, self.train_hint or self.hint
        return replace(self, paragraphs=paragraphs, hint=hint, train_paragraphs=None, train_hint=None)

    def texts(self) -> list[str]:
        """All texts of the file, for a tokenizer that is made of words."""
        assistant, target = (self.assistant_user, self.assistant_turn), (self.opening, self.step, self.answer)
        training = [*(self.train_paragraphs or ()), self.train_hint or ""]
        return [*assistant, *self.paragraphs, self.between, self.problem, self.hint, self.text_hint, *training, *target]


def fill(text: str, /, **values: object) -> str:
    """Put values in the place of their names in braces, all at once: a value is never searched for names itself."""
    names = "|".join(map(re.escape, values))
    return re.sub(rf"\{{({names})\}}", lambda found: str(values[found[1]]), text)


def load_prompt(name: str) -> Prompt:
    """Read a prompt.

    Args:
        name: ``llama3/gsm8k`` and the like for a packaged one; a path that ends in ``.yaml`` for one's own file.

    Raises:
        UserError: If there is no such prompt, or its file cannot be used.
    """
    origins: dict[str, str] = {}
    read = _merged(name, None, origins, ())
    words = read.pop("words", {})

    def refuse(key: str, what: str, fix: str) -> UserError:
        return UserError(f"{key} {what}", where=f"{origins.get(key, _file_of(name, None))}, {key}", fix=fix)

    for section in _SECTIONS:
        if not isinstance(read.get(section, {}), dict):
            raise refuse(section, f"is {_kind(read[section])}", "give a mapping of its settings")
    flat = {
        f"{section}.{key}" if section in _SECTIONS else str(section): value
        for section, inner in read.items()
        for key, value in (inner.items() if section in _SECTIONS else [("", inner)])
    }
    for key in flat:
        if key not in _KEYS:
            raise UserError.unknown("setting of a prompt", key, _KEYS, where=f"{origins[key]}, {key}")
    used = str(flat)
    for word in words:
        # Those of a file that is extended may have become needless by what stands over it.
        if f"{{{word}}}" not in used and origins[f"words.{word}"] == _file_of(name, None):
            raise refuse(f"words.{word}", "has no effect: no text names it", f"name it {{{word}}}, or leave it out")
    values: dict[str, Any] = {}
    for key, (nullable, default) in _KEYS.items():
        if key not in flat and default is _REQUIRED:
            raise refuse(key, "is missing", "give it, or extend a prompt that has it")
        value = flat.get(key, default)
        kinds: Any = dict if key == "template" else list if key in (*_LISTS, "extractors") else str
        if not (isinstance(value, kinds) or (value is None and nullable)):
            wanted = {dict: "a mapping", list: "a list of texts"}.get(kinds, "a text")
            raise refuse(key, f"is {_kind(value)}", f"give {wanted}{', or null' if nullable else ''}")
        values[key] = fill(value, **words) if isinstance(value, str) and words else value
    for key in (*_LISTS, "extractors"):
        if not all(isinstance(paragraph, str) for paragraph in values[key] or ()):
            raise refuse(key, "holds something that is no text", "put each one in quotes")
        if values[key] is not None:
            values[key] = tuple(fill(paragraph, **words) if words else paragraph for paragraph in values[key])
    for key, problem, fix in _faults(values):
        raise refuse(key, problem, fix)
    if values["llm.text_hint"] is None:
        values["llm.text_hint"] = values["llm.hint"]
    return Prompt(name, **{_FIELDS.get(key, key.rpartition(".")[2]): value for key, value in values.items()})


def as_file(prompt: Prompt) -> dict[str, Any]:
    """What a file would hold that gives this prompt and extends no other."""
    whole: dict[str, Any] = {}
    for key in _KEYS:
        section, _, name = key.rpartition(".")
        value = getattr(prompt, _FIELDS.get(key, name))
        (whole.setdefault(section, {}) if section else whole)[name] = _plain(value)
    return whole


def known_prompts() -> list[str]:
    """The names of the packaged prompts."""
    folders = [folder for folder in _packaged().iterdir() if folder.is_dir() and folder.name != PARTS]
    return sorted(
        f"{folder.name}/{file.name.removesuffix('.yaml')}"
        for folder in folders
        for file in folder.iterdir()
        if file.name.endswith(".yaml")
    )


def _faults(values: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Names that are missing, or stand where nothing is filled in: (key, what, fix)."""
    faults = []
    for key, name in (
        ("llm.problem", "question"),
        ("llm.hint", "thoughts"),
        ("llm.text_hint", "thoughts"),
        ("llm.train_hint", "thoughts"),
        ("target.step", "step"),
        ("target.answer", "answer"),
        ("target.answer_step", "answer"),
    ):
        if values[key] is not None and values[key].count(f"{{{name}}}") != 1:
            faults.append((key, f"does not name {{{name}}} once", f"write {{{name}}} where it belongs"))
    for key in _LISTS:
        given = values[key] if values[key] is not None else ("{problem}", "{hint}")
        faults += [
            (key, f"has no paragraph {{{name}}}, or several", f'add one that is "{{{name}}}" and no more')
            for name in ("problem", "hint")
            if given.count(f"{{{name}}}") != 1
        ]
        faults += [
            (key, f"names {{{name}}} itself", f"write it in llm.{place}, which is left out where there is none")
            for name, place in (("question", "problem"), ("thoughts", "hint"))
            if f"{{{name}}}" in "".join(given)
        ]
    if not values["assistant.turn"].endswith("{thoughts}") or values["assistant.turn"].count("{thoughts}") != 1:
        faults.append(("assistant.turn", "does not end with {thoughts}", "end it with {thoughts}, named once"))
    if "{question}" not in values["assistant.user"]:
        faults.append(("assistant.user", "does not name {question}", "the thoughts depend on nothing else: name it"))
    return faults


def _merged(name: str, beside: Path | None, origins: dict[str, str], above: tuple[str, ...]) -> dict[str, Any]:
    """A file over those that it extends; ``origins`` gets the file of each key."""
    file = _file_of(name, beside)
    if file in above:
        raise UserError(f"the prompt {file!r} extends itself", where=f"{above[-1]}, extends", fix="leave it out there")
    read = _read(name, file, above)
    bases = read.pop("extends", [])
    bases = [bases] if isinstance(bases, str) else bases
    if not isinstance(bases, list) or not all(isinstance(base, str) for base in bases):
        raise UserError("extends is no list of prompts", where=f"{file}, extends", fix="write extends: [NAME, NAME]")
    whole: dict[str, Any] = {}
    for base in bases:
        whole = _over(whole, _merged(base, Path(file).parent, origins, (*above, file)))
    words = read.get("words", {})
    if not isinstance(words, dict) or not all(isinstance(text, str) for text in [*words, *words.values()]):
        raise UserError("words is no mapping of texts", where=f"{file}, words", fix="write words: {NAME: TEXT}")
    for section, value in read.items():
        origins[section] = file
        origins.update({f"{section}.{key}": file for key in value} if isinstance(value, dict) else {})
    return _over(whole, read)


def _over(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        merged[key] = {**old, **value} if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def _read(name: str, file: str, above: tuple[str, ...]) -> dict[str, Any]:
    asked = f"{above[-1]}, extends" if above else _WHERE
    packaged = not name.endswith(".yaml")
    source = _packaged().joinpath(*f"{name}.yaml".split("/")) if packaged else Path(file)
    try:
        there = source.is_file()
    except OSError:  # a name that is too long
        there = False
    if not there:
        if packaged:
            raise UserError.unknown("prompt", name, known_prompts(), where=asked)
        raise UserError(f"there is no prompt {shown(file, 200)}", where=asked, fix="check the path")
    return read_settings(source, file, asked)


def _file_of(name: str, beside: Path | None) -> str:
    """How messages call the file of a prompt; for one's own files it is their path."""
    if not name.endswith(".yaml"):
        return f"lcot/prompts/{name}.yaml"
    try:
        path = Path(name).expanduser()
    except RuntimeError:  # nobody's home folder
        path = Path(name)
    return str(path if beside is None else beside / path)


def _packaged() -> Any:
    return importlib.resources.files("lcot") / "prompts"


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else dict(value) if isinstance(value, Mapping) else value


def _kind(value: object) -> str:
    names = {type(None): "null", bool: "a truth value", list: "a list", dict: "a mapping", str: "a text"}
    return names.get(type(value), "a number")

"""Prompt files: what is packaged, what one's own may say, and what is wrong with those that cannot be used."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from lcot.errors import UserError
from lcot.reasoning.prompts import Prompt, as_file, fill, known_prompts, load_prompt
from lcot.reasoning.spare import END, SPARE

FAMILIES = ("llama3", "qwen25", "qwen3")
TASKS = ("gsm8k", "asdiv", "aqua", "strategyqa", "date_understanding")

WHOLE = """\
tokens: {placeholder: <unk>, bot: <b>, eot: null, end: </s>}
template: null
assistant:
  user: "{n} words for: {question}"
  turn: "Here: {thoughts}"
llm:
  user: ["Solve.", "{problem}", "{hint}"]
  problem: "P: {question}"
  hint: "H: {thoughts}"
target:
  step: "{step};"
  answer: "= {answer}"
"""


def write(folder: Path, text: str, name: str = "own.yaml") -> str:
    """Write a prompt file."""
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return str(file)


def refused(name: str) -> str:
    """What is said about a prompt."""
    with pytest.raises(UserError) as caught:
        load_prompt(name)
    return str(caught.value)


class TestPackaged:
    """The files that come with the package."""

    def test_there_is_one_for_every_family_and_task(self) -> None:
        plain = {"plain/choice", "plain/hinted_prosqa", "plain/math", "plain/prosqa", "plain/yes_no"}
        official = {f"{family}/strategyqa_official" for family in FAMILIES}
        official |= {f"qwen3/{task}_official" for task in ("gsm8k", "asdiv", "aqua")}
        whole = {f"{family}/{task}" for family in FAMILIES for task in TASKS}
        any_family = {"chat/choice", "chat/math", "chat/steps", "chat/yes_no"}
        assert set(known_prompts()) == plain | whole | official | any_family

    @pytest.mark.parametrize("name", known_prompts())
    def test_each_can_be_read_and_leaves_no_word_open(self, name: str) -> None:
        prompt = load_prompt(name)
        assert prompt.name == name
        filled = {"n", "question", "thoughts", "problem", "hint", "step", "i", "answer"}
        for text in prompt.texts():
            left = fill(text, **dict.fromkeys(filled, ""))
            assert not re.search(r"{\w*}", re.sub(r"\\boxed{[\w ]*}", "", left)), text

    @pytest.mark.parametrize("name", known_prompts())
    def test_each_can_be_written_into_one_file(self, name: str, tmp_path: Path) -> None:
        whole = load_prompt(name)
        own = write(tmp_path, yaml.safe_dump(as_file(whole), allow_unicode=True))
        assert load_prompt(own) == replace(whole, name=own)

    @pytest.mark.parametrize("name", [name for name in known_prompts() if name.startswith(FAMILIES)])
    def test_chat_families_mark_thoughts_and_pin_what_their_templates_leave_open(self, name: str) -> None:
        prompt = load_prompt(name)
        assert prompt.bot and prompt.eot and prompt.placeholder and prompt.end
        pinned = {"llama3": {"date_string": "26 Jul 2024"}, "qwen25": {}, "qwen3": {"enable_thinking": False}}
        assert prompt.template == pinned[name.partition("/")[0]]

    def test_families_differ_in_tokens_and_template_alone_but_for_a_hint_to_qwen(self) -> None:
        llama, qwen, thinking = (load_prompt(f"{family}/gsm8k") for family in FAMILIES)
        for other in (qwen, thinking):
            assert (other.paragraphs, other.hint, other.step, other.answer) == (
                (llama.paragraphs, llama.hint, llama.step, llama.answer)
            )
            further = "- The other model understands the problem already, so sum it up in its key tokens.\n"
            assert other.assistant_user.replace(further, "") == llama.assistant_user != other.assistant_user

    @pytest.mark.parametrize("name", [name for name in known_prompts() if name.startswith("chat/")])
    def test_those_for_any_family_leave_their_tokens_to_a_rule(self, name: str) -> None:
        prompt = load_prompt(name)
        assert (prompt.placeholder, prompt.bot, prompt.eot, prompt.end) == (SPARE, SPARE, SPARE, END)
        assert prompt.fallback and prompt.extractors

    def test_published_ones_say_nothing_of_what_came_later(self) -> None:
        for name in known_prompts():
            if not name.startswith("chat/"):
                assert load_prompt(name).fallback is None is load_prompt(name).extractors

    def test_the_other_tasks_name_their_letters(self) -> None:
        for task, letters in (("aqua", "A, B, C, D or E."), ("date_understanding", "A, B, C, D, E or F.")):
            assert letters in load_prompt(f"llama3/{task}").paragraphs[0]


class TestOwn:
    """Files of one's own."""

    def test_a_whole_one(self, tmp_path: Path) -> None:
        name = write(tmp_path, WHOLE)
        assert load_prompt(name) == Prompt(
            name=name,
            placeholder="<unk>",
            bot="<b>",
            eot=None,
            end="</s>",
            template=None,
            fallback=None,
            extractors=None,
            assistant_user="{n} words for: {question}",
            assistant_turn="Here: {thoughts}",
            paragraphs=("Solve.", "{problem}", "{hint}"),
            between="\n\n",
            problem="P: {question}",
            hint="H: {thoughts}",
            text_hint="H: {thoughts}",
            train_paragraphs=None,
            train_hint=None,
            opening="",
            step="{step};",
            answer="= {answer}",
            answer_step=None,
        )

    def test_one_that_changes_a_packaged_one(self, tmp_path: Path) -> None:
        name = write(tmp_path, "extends: llama3/gsm8k\nwords: {content: the units}\ntokens: {bot: null}\n")
        own, packaged = load_prompt(name), load_prompt("llama3/gsm8k")
        assert (own.bot, own.eot, own.paragraphs) == (None, packaged.eot, packaged.paragraphs)
        assert own.assistant_user == packaged.assistant_user.replace("the numbers and the operations", "the units")

    def test_files_are_looked_for_beside_the_one_that_names_them_and_later_ones_count(self, tmp_path: Path) -> None:
        (tmp_path / "parts").mkdir()
        write(tmp_path, WHOLE, "parts/whole.yaml")
        write(tmp_path, "llm: {hint: 'X {thoughts}'}\n", "parts/first.yaml")
        write(tmp_path, "llm: {hint: 'Y {thoughts}', text_hint: 'T {thoughts}'}\n", "parts/second.yaml")
        write(tmp_path, "extends: [whole.yaml, first.yaml, second.yaml]\n", "parts/all.yaml")
        own = load_prompt(write(tmp_path, "extends: parts/all.yaml\nllm: {problem: '{question}'}\n"))
        assert (own.problem, own.hint, own.text_hint) == ("{question}", "Y {thoughts}", "T {thoughts}")

    def test_training_may_have_words_of_its_own(self, tmp_path: Path) -> None:
        own = load_prompt(write(tmp_path, WHOLE))
        assert own.in_training() is None
        for name, change, told in (
            ("user", '  train_user: ["{hint}", "{problem}"]\n', "H: {thoughts}\n\nP: {question}"),
            ("hint", '  train_hint: "T: {thoughts}"\n', "Solve.\n\nP: {question}\n\nT: {thoughts}"),
        ):
            file = write(tmp_path, WHOLE.replace("target:\n", f"{change}target:\n"), f"{name}.yaml")
            whole = load_prompt(file)
            other = whole.in_training()
            assert other is not None and other.in_training() is None
            assert other.user_turn(other.hint, True) == told
            assert whole.user_turn(whole.hint, True) == own.user_turn(own.hint, True) != told

    def test_paragraphs_are_left_out_with_what_stands_between(self, tmp_path: Path) -> None:
        own = load_prompt(write(tmp_path, WHOLE))
        assert own.user_turn(own.hint, True) == "Solve.\n\nP: {question}\n\nH: {thoughts}"
        assert own.user_turn(None, True) == "Solve.\n\nP: {question}"
        assert own.user_turn(own.hint, False) == "Solve.\n\nH: {thoughts}"


def test_values_are_filled_in_once() -> None:
    assert fill("{i}: {step} {other}", i=1, step="{i} {step} {other}") == "1: {i} {step} {other} {other}"
    assert fill(r"$\boxed{{answer}}$ {answer}", answer="{18}") == r"$\boxed{{18}}$ {18}"


class TestRefused:
    """What is wrong is said with its file and key."""

    def test_unknown_names(self, tmp_path: Path) -> None:
        said = refused("llama3/gsm8")
        assert "unknown prompt 'llama3/gsm8'" in said and "did you mean 'llama3/gsm8k'?" in said
        assert "data.dialogue.prompt" in said
        assert "there is no prompt" in refused(str(tmp_path / "none.yaml"))
        own = write(tmp_path, "extends: [llama3/gsm8k, none.yaml]\n")
        assert "there is no prompt" in refused(own) and f"{own}, extends" in refused(own)

    @pytest.mark.parametrize(
        ("change", "key", "says"),
        [
            (("  hint: \"H: {thoughts}\"\n", ""), "llm.hint", "llm.hint is missing"),
            (("hint: \"H: {thoughts}\"", "hint: \"H: {thought}\""), "llm.hint", "does not name {thoughts} once"),
            (("hint: \"H: {thoughts}\"", "hint: 5"), "llm.hint", "llm.hint is a number"),
            (("hint: \"H: {thoughts}\"", "hint: null"), "llm.hint", "llm.hint is null"),
            (("hint: \"H: {thoughts}\"", "hints: x"), "llm.hints", "did you mean 'llm.hint'?"),
            (("\"{hint}\"]", "\"a {hint}\"]"), "llm.user", "has no paragraph {hint}"),
            (("\"Solve.\"", "\"{question}\""), "llm.user", "names {question} itself"),
            (("target:", "  train_user: [\"{hint}\"]\ntarget:"), "llm.train_user", "has no paragraph {problem}"),
            (("target:", "  train_user: x\ntarget:"), "llm.train_user", "give a list of texts, or null"),
            (("target:", "  train_hint: x\ntarget:"), "llm.train_hint", "does not name {thoughts} once"),
            (("\"Solve.\"", "1"), "llm.user", "holds something that is no text"),
            (("[\"Solve.\", \"{problem}\", \"{hint}\"]", "\"{problem} {hint}\""), "llm.user", "give a list of texts"),
            (("Here: {thoughts}", "{thoughts} here"), "assistant.turn", "does not end with {thoughts}"),
            (("for: {question}", "for it"), "assistant.user", "does not name {question}"),
            (("\"{step};\"", "\";\""), "target.step", "does not name {step} once"),
            (("\"= {answer}\"", "\"=\""), "target.answer", "does not name {answer} once"),
            (("template: null", "template: chat"), "template", "give a mapping, or null"),
            (("tokens: {placeholder: <unk>, bot: <b>, eot: null, end: </s>}", "tokens: x"), "tokens", "is a text"),
            (("eot: null, ", ""), "tokens.eot", "tokens.eot is missing"),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )  # fmt: skip
    def test_keys(self, change: tuple[str, str], key: str, says: str, tmp_path: Path) -> None:
        assert change[0] in WHOLE
        own = write(tmp_path, WHOLE.replace(*change))
        said = refused(own)
        assert says in said
        assert f"{own}, {key}" in said

    def test_a_word_that_no_text_names(self, tmp_path: Path) -> None:
        own = write(tmp_path, "extends: llama3/gsm8k\nwords: {contents: the units}\n")
        assert "words.contents has no effect" in refused(own) and f"{own}, words.contents" in refused(own)

    def test_the_file_that_is_named_is_the_one_that_says_it(self, tmp_path: Path) -> None:
        part = write(tmp_path, "llm: {hint: none}\n", "part.yaml")
        assert f"{part}, llm.hint" in refused(write(tmp_path, "extends: [llama3/gsm8k, part.yaml]\n"))

    @pytest.mark.parametrize(
        ("text", "says"),
        [
            ("llm: [\n", "line 2"),
            ("a: 1\nb: {c: 2, c: 3}\n", "'c' is set twice"),
            ("- a\n", "holds no settings"),
            ("", "holds no settings"),
            ("extends: {a: b}\n", "extends is no list of prompts"),
            ("words: {n: 3}\n", "words is no mapping of texts"),
            ("extends: own.yaml\n", "extends itself"),
        ],
    )
    def test_files(self, text: str, says: str, tmp_path: Path) -> None:
        own = write(tmp_path, text)
        assert says in refused(own) and own in refused(own)

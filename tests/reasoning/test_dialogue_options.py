"""Chats beyond the plain case: other kinds of thoughts, two tokenizers, base models, hints in words, and refusals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lcot.errors import DataError
from lcot.reasoning.chat import ChatText
from lcot.reasoning.curriculum import Stage, ThoughtKind
from lcot.reasoning.dialogue import Dialogue, DialogueBuilder
from lcot.reasoning.layout import IGNORE, Layout
from lcot.reasoning.prompts import load_prompt
from lcot.reasoning.tokens import prompt_tokens
from tests.chat import SLOT, Family, chat_tokenizer, opening_every_text, spelled
from tests.models import word_tokenizer
from tests.reasoning.test_dialogue import CATS, SOFT, TOM, chats, reader, words

STEPS = ["## Step 1: 3 + 2 = 5\n", "## Step 2: So {i} = 5.\n"]
ANSWER = "Therefore, the final answer is: $\\boxed{5}$.<|eot_id|>"
BOT, EOT = "<|reserved_special_token_0|>", "<|reserved_special_token_1|>"


def text_of(build: DialogueBuilder, ids: Sequence[int]) -> str:
    """Ids as text, special tokens by their names."""
    return str(build.tokenizer.decode(list(ids)))


def supervised(build: DialogueBuilder, row: Layout) -> str:
    """What is supervised of a row."""
    return text_of(build, [label for label in row.labels if label != IGNORE])


class TestCoconut:
    """Thoughts in the answering turn of a chat model."""

    PROMPT = words("llama3", "gsm8k", soft=False)

    @pytest.mark.parametrize(("kind", "stepped"), [("continuous", 1), ("pause", 0)])
    @pytest.mark.parametrize("hidden", [0, 1, 2])
    def test_stages(self, kind: ThoughtKind, stepped: int, hidden: int) -> None:
        build, tokenizer = chats("llama3", "gsm8k", kind), chat_tokenizer("llama3")
        row = build.train(build.encode([TOM])[0], Stage(hidden, 2 * hidden))
        prompt = f"{self.PROMPT}{BOT}{SLOT * 2 * hidden}{EOT}"
        before = spelled(tokenizer, "llama3", prompt)
        text = spelled(tokenizer, "llama3", "".join(STEPS[hidden:]) + ANSWER)
        assert (row.ids, row.labels) == (before + text, [IGNORE] * len(before) + text)
        assert row.head == len(spelled(tokenizer, "llama3", self.PROMPT + BOT))
        slots = (0, 2 * hidden) if kind == "pause" else (2 * hidden, 0)
        assert (row.thoughts, row.pauses, row.prompt, row.marked) == (*slots, len(before), True)
        assert row.stepped == stepped * 2 * hidden
        assert row.assistant is None
        assert build.prompt(build.encode([TOM])[0], 2 * hidden).ids == before

    @pytest.mark.parametrize("kind", ["soft", "continuous", "none"])
    def test_all_that_a_stage_can_leave_out(self, kind: ThoughtKind) -> None:
        build = chats("llama3", "gsm8k", kind)
        pieces = build.encode([TOM])[0]
        count = 0 if kind == "none" else 2
        for stage, text in (
            (Stage(0, count, tokens=12), ("".join(STEPS))[12:] + ANSWER),
            (Stage(0, count, tokens=-12), ("".join(STEPS))[:-12] + ANSWER),
            (Stage(1, count, tokens=99), ANSWER),
            (Stage(0, count, only_next=True), STEPS[0]),
            (Stage(1, count, only_next=True), STEPS[1]),
            (Stage(2, count, only_next=True), ANSWER),
        ):
            assert supervised(build, build.train(pieces, stage)) == text

    def test_the_opening_of_a_solution_is_never_hidden(self) -> None:
        build = chats("llama3", "strategyqa", "continuous")
        pieces = build.encode([CATS])[0]
        opening = "OK. The question is Do cats { fly?\n\nNow let's start reasoning according to the following facts:\n"
        for stage, step in ((Stage(1, 1), "2. Wings are needed.\n"), (Stage(2, 2), ""), (Stage(0, 0, tokens=99), "")):
            text = f"{opening}{step}Finished reasoning, the answer is: No.<|eot_id|>"
            assert supervised(build, build.train(pieces, stage)) == text
        only = build.train(pieces, Stage(1, 1, only_next=True))
        assert supervised(build, only) == f"{opening}2. Wings are needed.\n"
        assert build.encode_step("Pigs.", 1) == spelled(chat_tokenizer("llama3"), "llama3", "2. Pigs.\n")

    def test_without_markers(self) -> None:
        model = reader("llama3", "gsm8k")
        build = DialogueBuilder(model, "continuous", Dialogue("llama3/gsm8k"), markers="never")
        row = build.train(build.encode([TOM])[0], Stage(1, 1))
        assert text_of(build, row.ids[: row.head]) == self.PROMPT and not row.marked


@pytest.mark.parametrize("kind", ["soft", "continuous", "pause", "none"])
@pytest.mark.parametrize("task", ["gsm8k", "strategyqa"])
@pytest.mark.parametrize("header", ["prompt", "supervised"])
def test_the_longest_of_some_stages(kind: ThoughtKind, task: str, header: Any) -> None:
    if header == "supervised" and kind in ("continuous", "pause"):
        return  # refused
    build = chats("qwen25", task, kind, header=header)
    pieces = build.encode([TOM])[0]
    for stages in (
        [Stage(0, 0)],
        [Stage(0, 2), Stage(1, 11), Stage(2, 0)],
        [Stage(0, 1, tokens=5), Stage(0, 0, tokens=-99)],
        [Stage(1, 1, only_next=True)],
        [Stage(2, 3, only_next=True)],
    ):
        rows = [build.train(pieces, stage) for stage in stages]
        assert build.longest(pieces, stages) == (max(len(row.ids) for row in rows), max(row.prompt for row in rows))
        asked = max((len(row.assistant.ids) for row in rows if row.assistant is not None), default=0)
        assert build.longest_assistant(pieces, stages) == asked
        assert (asked > 0) == (kind == "soft" and any(stage.thoughts for stage in stages))


def test_numbers_of_thoughts_that_were_not_announced_make_the_same_rows() -> None:
    announced, asked = chats("qwen3", "gsm8k"), chats("qwen3", "gsm8k")
    asked.counts = []
    pieces = asked.encode([TOM])[0]
    row = asked.train(pieces, Stage(0, 2))
    assert row == announced.train(announced.encode([TOM])[0], Stage(0, 2))
    more, slot = asked.prompt(pieces, 17), asked.special.latent
    assert more.ids[more.head : more.head + 17] == [slot] * 17 and more.ids.count(slot) == 17
    assert more.assistant is not None and more.assistant.ids[-17:] == [slot] * 17
    assert "write 17 tokens" in text_of(asked, more.assistant.ids)


class TestTokenization:
    """Pieces meet where tokens do."""

    def test_a_question_is_tokenized_with_the_words_around_it(self) -> None:
        tokenizer = chat_tokenizer("llama3", merges=[("Ġ", "T"), (":", "ĠT"), ("?", "Ċ")])
        build = chats("llama3", "gsm8k", tokenizer=tokenizer)
        ids = build.prompt(build.encode([TOM])[0], 2).ids
        assert ids == tokenizer(words("llama3", "gsm8k", soft=True).replace(SLOT, "<|end_of_text|>"))["input_ids"]
        assert tokenizer.get_vocab()[":ĠT"] in ids and tokenizer.get_vocab()["?Ċ"] in ids

    def test_bos_is_written_once(self) -> None:
        # The template writes it; so does the tokenizer of Llama, behind whose back.
        build = chats("llama3", "gsm8k", tokenizer=opening_every_text(chat_tokenizer("llama3"), "<|begin_of_text|>"))
        row = build.train(build.encode([TOM])[0], Stage(0, 2))
        bos = build.tokenizer.bos_token_id
        assert row.assistant is not None
        assert row.ids.count(bos) == row.assistant.ids.count(bos) == 1 and row.ids[0] == row.assistant.ids[0] == bos

    def test_a_template_is_rendered_once_for_all_examples(self, monkeypatch: pytest.MonkeyPatch) -> None:
        calls: list[int] = []
        build = chats("qwen25", "gsm8k")
        render = build.tokenizer.apply_chat_template

        def counted(messages: Any, **options: Any) -> Any:
            calls.append(len(messages))
            return render(messages, **options)

        monkeypatch.setattr(build.tokenizer, "apply_chat_template", counted)
        for start in range(0, 12, 3):
            for pieces in build.encode([replace(TOM, id=str(start + place)) for place in range(3)]):
                build.train(pieces, Stage(0, 2))
                build.prompt(pieces, 2)
        assert calls == [1, 2]  # the language model's, and the assistant's with its own turn

    def test_white_space_around_a_question_does_not_count(self) -> None:
        build = chats("llama3", "strategyqa")
        first, second = build.encode([CATS, replace(CATS, question=f"\n {CATS.question} ")])
        assert build.train(first, Stage(0, 2)) == build.train(second, Stage(0, 2))


class TestSmuggling:
    """Texts that would be read as the beginning of a turn, or as a thought."""

    @pytest.mark.parametrize("token", ["<|eot_id|>", "<|end_of_text|>", BOT, EOT, "<|start_header_id|>"])
    @pytest.mark.parametrize("place", ["question", "steps", "answer"])
    @pytest.mark.parametrize("kind", ["soft", "none"])
    def test_they_are_refused(self, token: str, place: str, kind: ThoughtKind) -> None:
        changes: dict[str, Any] = {place: (f"a {token}",) if place == "steps" else f"{token} b"}
        build = chats("llama3", "gsm8k", kind)
        with pytest.raises(DataError) as caught:
            build.encode([CATS, replace(TOM, **changes)])
        assert f"example 'tom' holds the text {token!r}" in str(caught.value)

    def test_tokens_of_the_prompt_that_are_not_special(self) -> None:
        with pytest.raises(DataError, match="holds the text '<think>'"):
            chats("qwen3", "gsm8k").encode([replace(TOM, question="What is <think>?")])
        # Another family's are plain text.
        chats("qwen25", "gsm8k").encode([replace(TOM, question="What is <think> and <|eot_id|>?")])

    def test_the_assistant_has_tokens_of_its_own(self) -> None:
        build = mixed()
        with pytest.raises(DataError, match=r"holds the text '<\|eot_id\|>'"):
            build.encode([replace(TOM, question="<|eot_id|>")])

    def test_unknown_words_are_no_special_tokens(self) -> None:
        tokenizer = word_tokenizer(["<unk>", "<s>", "</s>", "<pad>", "Problem:", "a"])
        model = ChatText(tokenizer, prompt_tokens(tokenizer, load_prompt("plain/math")), load_prompt("plain/math"))
        DialogueBuilder(model, "none", Dialogue("plain/math")).encode([TOM])


def mixed(**options: Any) -> DialogueBuilder:
    """A language model of one family with an assistant of another one."""
    dialogue = Dialogue("qwen25/gsm8k", assistant="llama", assistant_prompt="llama3/gsm8k", **options)
    return DialogueBuilder(reader("qwen25", "gsm8k"), "soft", dialogue, reader("llama3", "gsm8k"), counts=[2])


def test_two_families() -> None:
    build, own, theirs = mixed(), chats("qwen25", "gsm8k"), chats("llama3", "gsm8k")
    row = build.train(build.encode([TOM])[0], Stage(0, 2))
    alone = own.train(own.encode([TOM])[0], Stage(0, 2))
    assert replace(row, views={}) == replace(alone, views={})
    assert row.assistant == theirs.train(theirs.encode([TOM])[0], Stage(0, 2)).assistant
    assert build.assistant_pad == chat_tokenizer("llama3").pad_token_id


class TestHints:
    """Words in place of thoughts (Assist-CoT)."""

    @pytest.mark.parametrize("family", ["llama3", "qwen3"])
    def test_they_stand_where_thoughts_would_without_their_markers(self, family: Family) -> None:
        build = chats(family, "gsm8k")
        row = build.hinted(build.encode([TOM])[0], "3 2 sum {n}", 24)
        assert text_of(build, row.ids) == words(family, "gsm8k", soft=True).replace(SOFT[family], "3 2 sum {n}")
        assert (row.thoughts, row.head, row.prompt, row.assistant) == (0, len(row.ids), len(row.ids), None)
        assert set(row.labels) == {IGNORE}

    def test_special_tokens_are_taken_out(self) -> None:
        build = chats("llama3", "gsm8k")
        pieces = build.encode([TOM])[0]
        assert build.hinted(pieces, "3 <|eot_<|eot_id|>id|>2", 2) == build.hinted(pieces, "3 2", 2)

    def test_a_hint_of_their_own(self, tmp_path: Path) -> None:
        own = tmp_path / "own.yaml"
        own.write_text("extends: plain/math\nllm: {text_hint: 'Words: {thoughts}'}\n", encoding="utf-8")
        tokenizer, prompt = chat_tokenizer("qwen25"), load_prompt(str(own))
        model = ChatText(tokenizer, prompt_tokens(tokenizer, prompt), prompt)
        build = DialogueBuilder(model, "soft", Dialogue(str(own)), model, counts=[2])
        ids = build.hinted(build.encode([TOM])[0], "cats", 2).ids
        assert text_of(build, ids) == f"Problem: {TOM.question}\nWords: cats\nSolution:\n"

"""Base models without a template, tasks, batches of chats, and choices that do not fit one another."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from lcot.datamodules.graphs.hints import CLOSES, OPENS
from lcot.datamodules.tokenizers import build_word_tokenizer
from lcot.errors import DataError, UserError
from lcot.reasoning.batch import collate
from lcot.reasoning.chat import ChatText
from lcot.reasoning.curriculum import Fixed, Stage, ThoughtKind
from lcot.reasoning.dialogue import Dialogue, DialogueBuilder
from lcot.reasoning.example import ReasoningExample
from lcot.reasoning.layout import IGNORE, EncodedExample, Layout
from lcot.reasoning.prompts import load_prompt
from lcot.reasoning.stepwise import Stepwise
from lcot.reasoning.tokens import SpecialTokens, add_thought_tokens, prompt_tokens
from tests.chat import chat_tokenizer, opening_every_text
from tests.reasoning.test_dialogue import LETTERS, TOM, chats, reader

_ = IGNORE
GRAPH = ReasoningExample("Tom terpus. terpus fompus. fompus or dax? Tom", ("terpus", "fompus"), "fompus", "graph")


def plain(task: str, tokenizer: Any, kind: ThoughtKind = "soft", **options: Any) -> DialogueBuilder:
    """A builder for a base model."""
    prompt = load_prompt(f"plain/{task}")
    model = ChatText(tokenizer, prompt_tokens(tokenizer, prompt), prompt)
    return DialogueBuilder(model, kind, Dialogue(prompt.name, **options), model, counts=[2])


class TestProsQA:
    """The small models of this project, ids and all."""

    tokenizer = build_word_tokenizer([GRAPH.question, "### ", ". "])
    special = add_thought_tokens(tokenizer)

    def spell(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer(text)["input_ids"]
        return ids

    def test_a_row(self) -> None:
        build = plain("prosqa", self.tokenizer)
        question = self.spell(GRAPH.question)
        text = [*self.spell("terpus"), *self.spell("fompus"), *self.spell("### fompus"), self.special.eos]
        slots, head = [self.special.pause] * 2, len(question)
        assistant = Layout([*question, *slots], [_] * (head + 2), head, 2, head + 2)
        row = build.train(build.encode([GRAPH])[0], Stage(0, 2))
        assert row == Layout(
            [*question, *slots, *text], [_] * (head + 2) + text, head, 2, head + 2, views={"assistant": assistant}
        )
        assert self.tokenizer.decode(text[:-1]) == "terpus fompus### fompus"

    def test_without_thoughts_it_is_the_row_that_these_models_learn(self) -> None:
        build = plain("prosqa", self.tokenizer, "none")
        question = self.spell(GRAPH.question)
        row = build.train(build.encode([GRAPH])[0], Stage(1, 0))
        text = [*self.spell("fompus"), *self.spell("### fompus"), self.special.eos]
        assert (row.ids, row.head, row.prompt) == ([*question, *text], len(question), len(question))

    def test_the_language_model_without_the_question(self) -> None:
        build = plain("prosqa", self.tokenizer, question="assistant")
        with pytest.raises(UserError, match="begins with the thoughts"):
            build.train(build.encode([GRAPH])[0], Stage(2, 2))
        build.special = replace(build.special, bot=self.special.bot)
        row = build.train(build.encode([GRAPH])[0], Stage(2, 2))
        text = [*self.spell("### fompus"), self.special.eos]
        assert row.ids == [self.special.bot, *[self.special.pause] * 2, *text] and row.head == 1

    def test_a_tokenizer_that_was_given_no_spare_tokens(self) -> None:
        with pytest.raises(UserError) as caught:
            prompt_tokens(build_word_tokenizer(["a"]), load_prompt("plain/prosqa"))
        said = str(caught.value)
        assert "has no token '<|pause|>'" in said and "data.dialogue.prompt: plain/prosqa, tokens.placeholder" in said


@pytest.mark.parametrize(
    ("task", "example", "prompt", "text"),
    [
        (
            "math",
            TOM,
            "Problem: Tom has {3} cats and gets 2. How many?\nHints:▢▢\nSolution:\n",
            "## Step 1: 3 + 2 = 5\n## Step 2: So {i} = 5.\nTherefore, the final answer is: $\\boxed{5}$.",
        ),
        (
            "choice",
            LETTERS,
            "Problem: What is 1 + 1?\n(A) 1\n(B) 2\nHints:▢▢\nSolution:\n",
            "## Step 1: 1 + 1 = 2\nTherefore, the final answer is: $\\boxed{B}$.",
        ),
        (
            "yes_no",
            replace(LETTERS, answer="No"),
            "Problem: What is 1 + 1?\n(A) 1\n(B) 2\nHints:▢▢\nSolution:\n",
            "1. 1 + 1 = 2\nFinished reasoning, the answer is: No.",
        ),
    ],
)
@pytest.mark.parametrize("bos", [False, True])
def test_base_models(task: str, example: ReasoningExample, prompt: str, text: str, bos: bool) -> None:
    tokenizer = chat_tokenizer("llama3", template=None)
    tokenizer.eos_token = "<|end_of_text|>"
    if bos:
        opening_every_text(tokenizer, "<|begin_of_text|>")
    build = plain(task, tokenizer)
    row = build.train(build.encode([example])[0], Stage(0, 2))
    first = "<|begin_of_text|>" if bos else ""
    said = str(tokenizer.decode(row.ids))
    # The tokenizer's end of text holds the places of thoughts, and ends the answer.
    assert said == f"{first}{prompt}{text}<|end_of_text|>".replace("▢", "<|end_of_text|>")
    assert tokenizer.decode([label for label in row.labels if label != IGNORE]) == f"{text}<|end_of_text|>"
    assert tokenizer.decode(row.ids[: row.head]) == first + prompt.partition("▢")[0]
    assert row.assistant is not None and not row.marked
    asked = f"{first}Problem: {example.question}\nHints:" + "<|end_of_text|>" * 2
    assert tokenizer.decode(row.assistant.ids) == asked


class TestTasks:
    """A projection for each task."""

    def test_each_row_knows_its_own(self) -> None:
        build = chats("llama3", "gsm8k", tasks=["math", "dates"])
        examples = [replace(TOM, facts={"task": name}) for name in ("dates", "math", "dates")]
        rows = [build.train(pieces, Stage(0, 2)) for pieces in build.encode(examples)]
        assert [row.task for row in rows] == [1, 0, 1]
        batch = collate(rows, 0)
        assert batch.tasks is not None and batch.tasks.tolist() == [1, 0, 1]

    @pytest.mark.parametrize(("facts", "says"), [({}, "has no task"), ({"task": "cats"}, "is of the task 'cats'")])
    def test_an_example_without_one(self, facts: dict[str, object], says: str) -> None:
        build = chats("llama3", "gsm8k", tasks=["math", "dates"])
        with pytest.raises(DataError, match=says) as caught:
            build.encode([replace(TOM, facts=facts)])
        assert "data.dialogue.tasks: math, dates" in str(caught.value)


class TestBatch:
    """Chats of different lengths, and numbers of thoughts, in one batch."""

    def rows(self, counts: tuple[int, ...]) -> list[Layout]:
        build = chats("qwen25", "gsm8k")
        questions = [replace(TOM, question=TOM.question * (place + 1)) for place in range(len(counts))]
        pieces: list[EncodedExample] = build.encode(questions)
        return [build.train(one, Stage(0, count)) for one, count in zip(pieces, counts, strict=True)]

    @pytest.mark.parametrize("counts", [(2, 2, 2), (3, 0, 1)])
    def test_each_row_is_found_again(self, counts: tuple[int, ...]) -> None:
        rows = self.rows(counts)
        batch = collate(rows, pad=7, index=[5, 6, 9], assistant_pad=8)
        assert batch.thoughts.tolist() == list(counts) and batch.stepped == 0
        assert batch.assistant is not None
        for part, layouts in ((batch, rows), (batch.assistant, [row.assistant for row in rows])):
            assert part.index.tolist() == [5, 6, 9]
            assert part.max_thoughts == max(counts)
            for place, layout in enumerate(layouts):
                real = part.attention_mask[place]
                if layout is None:  # nothing to read: a lone padding token stands in, and no thought
                    assert part.input_ids[place][real].tolist() == [8] and int(part.thoughts[place]) == 0
                    continue
                assert part.input_ids[place][real].tolist() == layout.ids
                assert part.labels[place][real].tolist() == layout.labels
                slots = part.input_ids[place, part.first : part.first + layout.thoughts].tolist()
                assert slots == layout.ids[layout.head : layout.head + layout.thoughts]
        assert (batch.input_ids[~batch.attention_mask] == 7).all()
        assert (batch.assistant.input_ids[~batch.assistant.attention_mask] == 8).all()
        assert batch.assistant.input_ids.shape[1] == batch.assistant.first + max(counts)

    def test_the_assistants_rows_go_where_the_batch_goes(self) -> None:
        batch = collate(self.rows((2, 1, 2)), pad=7)
        some = batch.select([2, 0])
        assert some.assistant is not None and batch.assistant is not None and some.tasks is not None
        assert some.assistant.input_ids.equal(batch.assistant.input_ids[[2, 0]])
        moved = batch.to("meta")
        assert moved.assistant is not None and moved.assistant.position_ids.device.type == "meta"

    def test_without_thoughts_there_are_none(self) -> None:
        assert collate(self.rows((0, 0, 0)), pad=7).assistant is None


class TestRefused:
    """Choices that do not fit one another, tokenizers, or templates."""

    @pytest.mark.parametrize(
        ("kind", "options", "says"),
        [
            ("none", {"question": "assistant"}, "does not read the question"),
            ("continuous", {"question": "assistant"}, "does not read the question"),
            ("continuous", {"header": "supervised"}, "the header is supervised, and the thoughts are continuous"),
            ("pause", {"header": "supervised"}, "the header is supervised, and the thoughts are pause"),
        ],
    )
    def test_kinds(self, kind: ThoughtKind, options: dict[str, Any], says: str) -> None:
        with pytest.raises(UserError, match=says):
            chats("llama3", "gsm8k", kind, **options)

    def test_nothing_to_go_by(self) -> None:
        model, dialogue = reader("llama3", "gsm8k"), Dialogue("llama3/gsm8k", question="assistant")
        with pytest.raises(UserError, match="does not read the question"):
            DialogueBuilder(model, "soft", dialogue, model, counts=[32, 0])

    def test_plain_prompts_have_neither_header_nor_markers(self) -> None:
        tokenizer = build_word_tokenizer(["a"])
        add_thought_tokens(tokenizer)
        with pytest.raises(UserError, match="writes no header"):
            plain("prosqa", tokenizer, header="supervised")
        with pytest.raises(UserError, match="has no tokens around thoughts, and markers is 'always'"):
            plain("prosqa", tokenizer, "continuous")
        with pytest.raises(UserError, match="answer_step is true, and the prompt 'plain/prosqa' has no such step"):
            plain("prosqa", tokenizer, answer_step=True)

    @pytest.mark.parametrize(
        ("options", "says"),
        [
            ({"question": "nobody"}, "unknown question 'nobody'"),
            ({"header": "supervise"}, "did you mean 'supervised'?"),
            ({"end_of_turn": "none"}, "unknown end_of_turn"),
            ({"tasks": ["a", "a"]}, "tasks names one twice"),
        ],
    )
    def test_settings(self, options: dict[str, Any], says: str) -> None:
        with pytest.raises(UserError) as caught:
            Dialogue("llama3/gsm8k", **options)
        assert says in str(caught.value)

    @pytest.mark.parametrize(("assistant", "setting"), [(False, "prompt"), (True, "assistant_prompt")])
    def test_a_tokenizer_of_another_family(self, assistant: bool, setting: str) -> None:
        with pytest.raises(UserError) as caught:
            prompt_tokens(chat_tokenizer("qwen25"), load_prompt("llama3/gsm8k"), assistant)
        said = str(caught.value)
        assert "has no token '<|end_of_text|>'" in said or "has no token '<|reserved_special_token_0|>'" in said
        assert f"data.dialogue.{setting}: llama3/gsm8k, tokens." in said and "of this family of models" in said

    def test_the_assistant_needs_no_markers(self) -> None:
        tokenizer = chat_tokenizer("qwen25")
        found = prompt_tokens(tokenizer, load_prompt("qwen3/gsm8k"), assistant=True)  # it has no <think>
        slot, end = (tokenizer.convert_tokens_to_ids(token) for token in ("<|endoftext|>", "<|im_end|>"))
        assert found == SpecialTokens(-1, -1, slot, slot, end, slot)

    def test_no_template(self) -> None:
        build = chats("llama3", "gsm8k", tokenizer=chat_tokenizer("llama3", template=None))
        with pytest.raises(UserError, match="has no chat template") as caught:
            build.encode([TOM])
        assert "plain/math" in str(caught.value)

    def test_a_template_that_would_write_todays_date(self) -> None:
        model = reader("llama3", "gsm8k")
        undated = replace(model.prompt, template={})
        build = DialogueBuilder(ChatText(model.tokenizer, model.special, undated), "none", Dialogue("own"))
        with pytest.raises(UserError, match="cannot write the prompt") as caught:
            build.encode([TOM])
        assert "date_string" in str(caught.value)

    @pytest.mark.parametrize(
        ("template", "says"),
        [
            ("{{ messages[0].content[:40] }}", "writes the question 0 times"),
            ("{{ messages[0].content + messages[0].content }}", "writes the question 2 times"),
            ("{{ raise_exception('roles must alternate') }}", "roles must alternate"),
            ("{{ messages[0].content.nothing() }}", "has no attribute"),
        ],
    )
    def test_templates_that_lose_or_repeat_or_refuse_a_turn(self, template: str, says: str) -> None:
        build = chats("qwen25", "gsm8k", tokenizer=chat_tokenizer("qwen25", template=template))
        with pytest.raises(UserError) as caught:
            build.encode([TOM])
        assert says in str(caught.value)


class TestCurricula:
    """Soft thoughts in a schedule."""

    def test_another_number_at_inference(self) -> None:
        schedule = Fixed("none", 32, "soft", inference_thoughts=4)
        assert schedule.resolve(0, 5) == Stage(0, 32) and schedule.evaluate(0, 5) == Stage(0, 4)
        assert (schedule.thoughts_at_inference(0), schedule.stepwise_passes) == (4, False)
        assert Fixed("none", 32, "soft", inference_thoughts=0).thoughts_at_inference(0) == 0
        assert Fixed("none", 32, "soft").thoughts_at_inference(0) == 32

    def test_what_has_no_meaning_is_refused(self) -> None:
        with pytest.raises(UserError, match="inference_thoughts is -1"):
            Fixed("none", 2, "soft", inference_thoughts=-1)
        with pytest.raises(UserError, match="inference_thoughts is 4, and the kind of thought is 'none'"):
            Fixed("none", inference_thoughts=4)
        for make in (Fixed, Stepwise):
            with pytest.raises(UserError, match="passes is 'multiple', and the kind of thought is 'soft'"):
                make(kind="soft", passes="multiple")


class TestHintedProsQA:
    """The language model that reads hints, token by token as it was trained on them."""

    tokenizer = build_word_tokenizer([GRAPH.question, "### ", ". ", "? "])
    special = add_thought_tokens(tokenizer)

    def test_thoughts_stand_where_hints_have_their_words(self) -> None:
        build = plain("hinted_prosqa", self.tokenizer)
        hinted = self.tokenizer(f"{GRAPH.question}{OPENS} terpus fompus{CLOSES}")["input_ids"]
        row = build.prompt(build.encode([GRAPH])[0], 2)
        places = slice(row.head, row.head + 2)
        assert row.ids[places] == [self.special.pause] * 2
        assert [*row.ids[: row.head], *hinted[places], *row.ids[places.stop :]] == hinted

    def test_words_of_an_assistant_are_such_a_hint(self) -> None:
        build = plain("hinted_prosqa", self.tokenizer)
        row = build.hinted(build.encode([GRAPH])[0], "terpus fompus", 2)
        assert row.ids == self.tokenizer(f"{GRAPH.question}{OPENS} terpus fompus{CLOSES}")["input_ids"]

r"""One example of each family and task, worked out on paper: every character of its rows, and what is supervised.

Tokenizers spell in bytes, so ids are characters but for special tokens; ▢ is a placeholder.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from lcot.reasoning.chat import ChatText
from lcot.reasoning.curriculum import Stage, ThoughtKind
from lcot.reasoning.dialogue import Dialogue, DialogueBuilder
from lcot.reasoning.example import ReasoningExample
from lcot.reasoning.layout import IGNORE, Layout
from lcot.reasoning.prompts import load_prompt
from lcot.reasoning.tokens import prompt_tokens
from tests.chat import FAMILIES, SLOT, Family, chat_tokenizer, spelled

START = {
    "llama3": "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nCutting Knowledge Date: December 2023\n"
    "Today Date: 26 Jul 2024\n\n<|eot_id|><|start_header_id|>user<|end_header_id|>\n\n",
    "qwen25": "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n",
    "qwen3": "<|im_start|>user\n",
}
"""What stands before the user's words."""
HEADER = {
    "llama3": "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
    "qwen25": "<|im_end|>\n<|im_start|>assistant\n",
    "qwen3": "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n",
}
"""What stands between the user's words and the answer."""
END = {"llama3": "<|eot_id|>", "qwen25": "<|im_end|>", "qwen3": "<|im_end|>"}
SOFT = {
    "llama3": "<|reserved_special_token_0|>▢▢<|reserved_special_token_1|>",
    "qwen25": "<|box_start|>▢▢<|box_end|>",
    "qwen3": "<think>▢▢</think>",
}
"""Two thoughts."""

MATH = r"""Solve the following math problem efficiently and clearly.

- If it is simple (two steps or fewer), be concise and explain little.

- If it is complex (three steps or more), write in this way:

## Step 1: [Brief calculations]

## Step 2: [Brief calculations]

...

In both cases, always end with:

Therefore, the final answer is: $\boxed{answer}$. I hope it is correct."""
CHOICE = (
    MATH.replace("Solve the following math problem efficiently and clearly.",
                 "Solve the following problem efficiently and clearly, and choose one of its options.")
    + "\n\nHere [answer] is the letter of one option: "
)  # fmt: skip
HINT = (
    "\n\nA weaker assistant wrote some prompts for this problem. Some may be useful and some may not; ignore those that"
    " do not help.\nHere are prompts: {soft}"
)
ASKED = """You are required to write 2 tokens that help another language model solve the following {task} task \
efficiently and clearly.
- Include useful information, such as {content}.
- Put the most important tokens first.
- Write informative tokens only, without sentences and without serial numbers.
- The tokens should be useful to answer with {form}.
{further}...

Here is the problem: {question}"""
FURTHER = "- The other model understands the problem already, so sum it up in its key tokens.\n"

TOM = ReasoningExample("Tom has {3} cats and gets 2. How many?", ("3 + 2 = 5", "So {i} = 5."), "5", "tom")
LETTERS = ReasoningExample("What is 1 + 1?\n(A) 1\n(B) 2", ("1 + 1 = 2",), "B", "letters")
CATS = ReasoningExample("Do cats { fly?", ("Cats have no wings.", "Wings are needed."), "No", "cats")

TASKS: dict[str, tuple[ReasoningExample, str, str, str]] = {
    "gsm8k": (
        TOM,
        f"{MATH}\n\nProblem: Tom has {{3}} cats and gets 2. How many?{{soft}}",
        "## Step 1: 3 + 2 = 5\n## Step 2: So {i} = 5.\nTherefore, the final answer is: $\\boxed{5}$.",
        "math reasoning",
    ),
    "aqua": (
        LETTERS,
        f"{CHOICE}A, B, C, D or E.\n\nProblem: What is 1 + 1?\n(A) 1\n(B) 2{{soft}}",
        "## Step 1: 1 + 1 = 2\nTherefore, the final answer is: $\\boxed{B}$.",
        "math reasoning",
    ),
    "date_understanding": (
        LETTERS,
        f"{CHOICE}A, B, C, D, E or F.\n\nProblem: What is 1 + 1?\n(A) 1\n(B) 2{{soft}}",
        "## Step 1: 1 + 1 = 2\nTherefore, the final answer is: $\\boxed{B}$.",
        "date understanding",
    ),
    "strategyqa": (
        CATS,
        "You are required to answer the following question with `Yes` or `No`: Do cats { fly?{soft}\n\n"
        "Therefore, the final answer is `Yes` or `No`?",
        "OK. The question is Do cats { fly?\n\nNow let's start reasoning according to the following facts:\n"
        "1. Cats have no wings.\n2. Wings are needed.\nFinished reasoning, the answer is: No.",
        "strategy reasoning",
    ),
}
"""Example, the user's words with a place for the hint, the solution, and what the assistant hears of the task."""
TASKS["asdiv"] = TASKS["gsm8k"]
CONTENT = {
    "gsm8k": ("the numbers and the operations", "the right numbers"),
    "asdiv": ("the numbers and the operations", "the right numbers"),
    "aqua": ("the numbers and the operations", "the right letter"),
    "date_understanding": ("the dates and the spans of time", "the right letter"),
    "strategyqa": ("the facts that decide the question", "Yes or No"),
}


def reader(family: Family, task: str, tokenizer: Any = None) -> ChatText:
    """A family's prompt as its tokenizer reads it."""
    tokenizer, prompt = tokenizer or chat_tokenizer(family), load_prompt(f"{family}/{task}")
    return ChatText(tokenizer, prompt_tokens(tokenizer, prompt), prompt)


def chats(
    family: Family, task: str, kind: ThoughtKind = "soft", *, tokenizer: Any = None, **options: Any
) -> DialogueBuilder:
    """A builder of a family and task, whose assistant is of the same family."""
    model = reader(family, task, tokenizer)
    return DialogueBuilder(model, kind, Dialogue(f"{family}/{task}", **options), model, counts=[2])


def words(family: Family, task: str, soft: bool) -> str:
    """The whole prompt of the language model."""
    hint = "\n\nHere are something useful for your reasoning: {soft}" if task == "strategyqa" else HINT
    told = TASKS[task][1].replace("{soft}", hint.replace("{soft}", SOFT[family]) if soft else "")
    return START[family] + told + HEADER[family]


def assert_row(row: Layout, family: Family, prompt: str, text: str) -> None:
    """A row is a prompt, and text that is supervised."""
    tokenizer = chat_tokenizer(family)
    before, behind = spelled(tokenizer, family, prompt), spelled(tokenizer, family, text)
    assert tokenizer.decode(row.ids) == tokenizer.decode(before + behind)  # says more than numbers would
    assert row.ids == before + behind
    assert row.labels == [IGNORE] * len(before) + behind
    assert row.prompt == len(before)
    head = len(spelled(tokenizer, family, prompt.partition(SLOT)[0]))
    assert (row.head, row.thoughts) == (head, prompt.count(SLOT))
    assert (row.pauses, row.stepped, row.task) == (0, 0, 0)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("family", FAMILIES)
class TestOnPaper:
    """Two soft thoughts, and none."""

    def test_the_row_that_is_trained_on(self, family: Family, task: str) -> None:
        example, _, text, _ = TASKS[task]
        build = chats(family, task)
        row = build.train(build.encode([example])[0], Stage(0, 2))
        assert_row(row, family, words(family, task, soft=True), text + END[family])
        assert row.marked

    def test_the_row_of_the_assistant(self, family: Family, task: str) -> None:
        example, _, _, name = TASKS[task]
        build = chats(family, task)
        row = build.train(build.encode([example])[0], Stage(0, 2)).assistant
        content, form = CONTENT[task]
        further = "" if family == "llama3" else FURTHER
        stop = "" if task == "strategyqa" else "."
        asked = START[family] + ASKED.format(
            task=name, content=content, form=form, further=further, question=example.question + stop
        )
        turn = f"Here are 2 tokens to help the language model solve this {name} task: ▢▢"
        assert row is not None
        assert_row(row, family, asked + HEADER[family] + turn, "")
        assert row.assistant is None

    def test_without_thoughts_there_is_no_hint(self, family: Family, task: str) -> None:
        example, _, text, _ = TASKS[task]
        kinds: tuple[ThoughtKind, ...] = ("soft", "none")
        for kind in kinds:
            build = chats(family, task, kind)
            row = build.train(build.encode([example])[0], Stage(0, 0))
            assert row.assistant is None and not row.marked
            assert_row(row, family, words(family, task, soft=False), text + END[family])

    def test_inference_is_given_the_prompt(self, family: Family, task: str) -> None:
        build = chats(family, task)
        pieces = build.encode([TASKS[task][0]])[0]
        for thoughts in (0, 2):
            row, asked = build.train(pieces, Stage(0, thoughts)), build.prompt(pieces, thoughts)
            assert asked.ids == row.ids[: row.prompt] and set(asked.labels) == {IGNORE}
            assert (asked.head, asked.thoughts, asked.prompt) == (row.head, row.thoughts, row.prompt)
            assert asked.assistant == row.assistant

    def test_the_header_supervised_and_no_generation_prompt(self, family: Family, task: str) -> None:
        # As in the released code: from the end of the user's turn on, all is to be written by the model.
        example, _, text, _ = TASKS[task]
        build = chats(family, task, header="supervised")
        row = build.train(build.encode([example])[0], Stage(0, 2))
        tokenizer, whole = chat_tokenizer(family), words(family, task, soft=True) + text + END[family]
        assert row.ids == spelled(tokenizer, family, whole)
        told = words(family, task, soft=True).removesuffix(HEADER[family]) + END[family]
        unlabelled = len(spelled(tokenizer, family, told))
        assert row.labels == [IGNORE] * unlabelled + row.ids[unlabelled:]
        # The newline behind a turn of Qwen is given at inference, although training has a label for it.
        assert row.prompt == unlabelled + (family != "llama3")

    def test_the_end_of_turn_dropped(self, family: Family, task: str) -> None:
        example, _, text, _ = TASKS[task]
        build = chats(family, task, end_of_turn="dropped")
        row = build.train(build.encode([example])[0], Stage(0, 2))
        assert_row(row, family, words(family, task, soft=True), text)

    def test_the_language_model_without_the_question(self, family: Family, task: str) -> None:
        example, told, text, _ = TASKS[task]
        build = chats(family, task, question="assistant")
        row = build.train(build.encode([example])[0], Stage(0, 2))
        question = "You are required to answer the following question with `Yes` or `No`: " + example.question
        if task == "strategyqa":
            text = text.partition("following facts:\n")[2]  # nor can it repeat the question
            blind = words(family, task, soft=True).replace(f"{question}\n\n", "")
        else:
            assert f"\n\nProblem: {example.question}" in told
            blind = words(family, task, soft=True).replace(f"\n\nProblem: {example.question}", "")
        assert example.question not in blind
        assert_row(row, family, blind, text + END[family])
        assert row.assistant is not None
        assert example.question in build.tokenizer.decode(row.assistant.ids)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_answer_as_a_step_of_its_own(family: Family) -> None:
    build = chats(family, "gsm8k", answer_step=True)
    text = (
        "## Step 1: 3 + 2 = 5\n## Step 2: So {i} = 5.\n## Step 3: #### 5\nTherefore, the final answer is: $\\boxed{5}$."
    )
    row = build.train(build.encode([TOM])[0], Stage(0, 2))
    assert_row(row, family, words(family, "gsm8k", soft=True), text + END[family])
    # It is part of the answer, which no curriculum hides.
    hidden = build.train(build.encode([TOM])[0], Stage(2, 2))
    assert_row(hidden, family, words(family, "gsm8k", soft=True), text.partition("5.\n")[2] + END[family])
    assert build.answer_text(TOM) == text.partition("5.\n")[2]


@pytest.mark.parametrize("family", FAMILIES)
def test_steps_as_the_released_code_writes_them(family: Family) -> None:
    build = chats(family, "strategyqa_official")
    text = (
        "OK. The question is Do cats { fly?\n\nNow let's start reasoning according to the following facts:\n"
        "## Step 1: Cats have no wings.\n## Step 2: Wings are needed.\nFinished reasoning, the answer is: No."
    )
    row = build.lesson(build.encode([CATS])[0], Stage(0, 2))
    assert_row(row, family, words(family, "strategyqa", soft=True), text + END[family])
    assert build.prompt(build.encode([CATS])[0], 2).assistant == row.assistant


@pytest.mark.parametrize("task", ["gsm8k", "asdiv", "aqua"])
class TestTrainingHasAShorterPrompt:
    """Qwen3 as it was trained for SoftCoT++: without the directions of the tests."""

    def test_the_rows(self, task: str) -> None:
        example, _, text, _ = TASKS[task]
        build, plain = chats("qwen3", f"{task}_official"), chats("qwen3", task)
        (pieces,), (other,) = build.encode([example]), plain.encode([example])
        short = f"{START['qwen3']}Problem: {example.question}"
        hint = "\n\nHere are prompts of a weaker assistant: <think>▢▢</think>"
        row = build.lesson(pieces, Stage(0, 2))
        assert_row(row, "qwen3", short + hint + HEADER["qwen3"], text + END["qwen3"])
        bare = build.lesson(pieces, Stage(0, 0))
        assert_row(bare, "qwen3", short + HEADER["qwen3"], text + END["qwen3"])
        # Validation, tests, and what the assistant reads are as without it.
        for thoughts in (0, 2):
            assert build.prompt(pieces, thoughts) == plain.prompt(other, thoughts)
            assert build.train(pieces, Stage(0, thoughts)) == plain.train(other, Stage(0, thoughts))
        assert row.assistant == plain.lesson(other, Stage(0, 2)).assistant

    @pytest.mark.parametrize("kind", ["none", "continuous", "soft"])
    def test_a_step_that_was_put_in_the_place_of_another_is_kept(self, task: str, kind: ThoughtKind) -> None:
        example, _, _, _ = TASKS[task]
        build = chats("qwen3", f"{task}_official", kind)
        pieces = build.encode([example])[0]
        changed = replace(pieces, steps=[build.encode_step("Another."), *pieces.steps[1:]])
        row = build.lesson(changed, Stage(0, 0))
        written = str(build.tokenizer.decode([label for label in row.labels if label >= 0]))
        assert written.startswith("## Step 1: Another.\n")
        assert "be concise" not in str(build.tokenizer.decode(row.ids))


@pytest.mark.parametrize(("task", "end"), [("gsm8k", "Therefore, the final answer is: $\\boxed{5}$."),
                                           ("strategyqa", "Finished reasoning, the answer is: No.")])  # fmt: skip
def test_the_end_of_a_solution_is_what_extractors_read(task: str, end: str) -> None:
    assert chats("llama3", task).answer_text(TASKS[task][0]) == end

r"""One example worked out on paper.

The question "Tom has 3 ." with the steps "3 + 2 = 5" and "5 + 1 = 6" and the answer 6 becomes, piece by piece,

    Tom has 3 . \n   →   10 11 14 12 4
    3 + 2 = 5 \n     →   14 6 15 7 16 4
    5 + 1 = 6 \n     →   16 6 17 7 18 4
    ### 6 </s>       →   8 18 2
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, get_args

import pytest
from transformers import PreTrainedTokenizerFast

from lcot.datamodules.tokenizers import build_word_tokenizer
from lcot.errors import DataError, UserError
from lcot.reasoning.curriculum import Fixed, Markers, Stage, ThoughtKind
from lcot.reasoning.example import ReasoningExample
from lcot.reasoning.layout import IGNORE, EncodedExample, Layout, LayoutBuilder
from lcot.reasoning.stepwise import Stepwise
from lcot.reasoning.text import TextFormat
from lcot.reasoning.tokens import THOUGHT_TOKENS, add_thought_tokens
from tests.models import random_examples, word_tokenizer
from tests.reasoning.support import builder

WORDS = "<unk> <s> </s> <pad> \n ; + = ### A: Tom has . Ann 3 2 5 1 6".split(" ")
BOT, EOT, LATENT, PAUSE = 19, 20, 21, 22
_ = IGNORE

EXAMPLE = ReasoningExample("Tom has 3 .", ("3 + 2 = 5", "5 + 1 = 6"), "6", "tom")
QUESTION = [10, 11, 14, 12, 4]
STEPS = [[14, 6, 15, 7, 16, 4], [16, 6, 17, 7, 18, 4]]
ANSWER = [8, 18, 2]


def tom(
    kind: ThoughtKind = "continuous",
    tokenizer: PreTrainedTokenizerFast | None = None,
    text: TextFormat | None = None,
    max_length: int | None = None,
) -> LayoutBuilder:
    """A builder whose tokenizer knows the example's words."""
    tokenizer = tokenizer or word_tokenizer(WORDS)
    return LayoutBuilder(tokenizer, add_thought_tokens(tokenizer), kind, text, max_length)


def test_the_pieces() -> None:
    assert tom().encode([EXAMPLE]) == [EncodedExample(QUESTION, STEPS, ANSWER, mark=1)]


def test_many_at_once() -> None:
    other = ReasoningExample("Ann has 1 .", (), "1", "ann")
    encoded = tom().encode([other, EXAMPLE, other])
    assert encoded[1] == EncodedExample(QUESTION, STEPS, ANSWER, mark=1)
    assert encoded[0] == encoded[2] == EncodedExample([13, 11, 17, 12, 4], [], [8, 17, 2], mark=1)
    assert tom().encode([]) == []


@pytest.mark.parametrize(
    ("kind", "stage", "ids", "labels", "head", "thoughts", "prompt"),
    [
        pytest.param(
            "continuous",
            Stage(0, 0),
            [10, 11, 14, 12, 4, 19, 20, 14, 6, 15, 7, 16, 4, 16, 6, 17, 7, 18, 4, 8, 18, 2],
            [_, _, _, _, _, _, _, 14, 6, 15, 7, 16, 4, 16, 6, 17, 7, 18, 4, 8, 18, 2],
            6,
            0,
            7,
            id="stage 0",
        ),
        pytest.param(
            "continuous",
            Stage(1, 1),
            [10, 11, 14, 12, 4, 19, 21, 20, 16, 6, 17, 7, 18, 4, 8, 18, 2],
            [_, _, _, _, _, _, _, _, 16, 6, 17, 7, 18, 4, 8, 18, 2],
            6,
            1,
            8,
            id="stage 1",
        ),
        pytest.param(
            "continuous",
            Stage(1, 2),
            [10, 11, 14, 12, 4, 19, 21, 21, 20, 16, 6, 17, 7, 18, 4, 8, 18, 2],
            [_, _, _, _, _, _, _, _, _, 16, 6, 17, 7, 18, 4, 8, 18, 2],
            6,
            2,
            9,
            id="stage 1, two thoughts a step",
        ),
        pytest.param(
            "continuous",
            Stage(2, 4),
            [10, 11, 14, 12, 4, 19, 21, 21, 21, 21, 20, 8, 18, 2],
            [_, _, _, _, _, _, _, _, _, _, _, 8, 18, 2],
            6,
            4,
            11,
            id="last stage, two thoughts a step",
        ),
        pytest.param(
            "pause",
            Stage(0, 0),
            [10, 11, 14, 12, 4, 19, 20, 14, 6, 15, 7, 16, 4, 16, 6, 17, 7, 18, 4, 8, 18, 2],
            [_, _, _, _, _, _, _, 14, 6, 15, 7, 16, 4, 16, 6, 17, 7, 18, 4, 8, 18, 2],
            6,
            0,
            7,
            id="pauses, stage 0",
        ),
        pytest.param(
            "pause",
            Stage(1, 2),
            [10, 11, 14, 12, 4, 19, 22, 22, 20, 16, 6, 17, 7, 18, 4, 8, 18, 2],
            [_, _, _, _, _, _, _, _, _, 16, 6, 17, 7, 18, 4, 8, 18, 2],
            6,
            0,
            9,
            id="pauses, stage 1",
        ),
        pytest.param(
            "pause",
            Stage(2, 2),
            [10, 11, 14, 12, 4, 19, 22, 22, 20, 8, 18, 2],
            [_, _, _, _, _, _, _, _, _, 8, 18, 2],
            6,
            0,
            9,
            id="pauses, last stage",
        ),
        pytest.param(
            "none",
            Stage(0, 0),
            [10, 11, 14, 12, 4, 14, 6, 15, 7, 16, 4, 16, 6, 17, 7, 18, 4, 8, 18, 2],
            [_, _, _, _, _, 14, 6, 15, 7, 16, 4, 16, 6, 17, 7, 18, 4, 8, 18, 2],
            5,
            0,
            5,
            id="CoT",
        ),
        pytest.param(
            "none",
            Stage(1, 0),
            [10, 11, 14, 12, 4, 16, 6, 17, 7, 18, 4, 8, 18, 2],
            [_, _, _, _, _, 16, 6, 17, 7, 18, 4, 8, 18, 2],
            5,
            0,
            5,
            id="w/o thought, stage 1",
        ),
        pytest.param(
            "none", Stage(2, 0), [10, 11, 14, 12, 4, 8, 18, 2], [_, _, _, _, _, 8, 18, 2], 5, 0, 5, id="No-CoT"
        ),
        pytest.param(
            "none",
            Stage(0, 0, tokens=8),
            [10, 11, 14, 12, 4, 17, 7, 18, 4, 8, 18, 2],
            [_, _, _, _, _, 17, 7, 18, 4, 8, 18, 2],
            5,
            0,
            5,
            id="iCoT, eight tokens gone",
        ),
        pytest.param(
            "none",
            Stage(0, 0, tokens=-8),
            [10, 11, 14, 12, 4, 14, 6, 15, 7, 8, 18, 2],
            [_, _, _, _, _, 14, 6, 15, 7, 8, 18, 2],
            5,
            0,
            5,
            id="iCoT, eight tokens gone from the right",
        ),
        pytest.param(
            "none",
            Stage(0, 0, tokens=99),
            [10, 11, 14, 12, 4, 8, 18, 2],
            [_, _, _, _, _, 8, 18, 2],
            5,
            0,
            5,
            id="iCoT, more tokens than there are",
        ),
        pytest.param(
            "continuous",
            Stage(1, 1, only_next=True),
            [10, 11, 14, 12, 4, 19, 21, 20, 16, 6, 17, 7, 18, 4],
            [_, _, _, _, _, _, _, _, 16, 6, 17, 7, 18, 4],
            6,
            1,
            8,
            id="the next step only",
        ),
        pytest.param(
            "continuous",
            Stage(2, 2, only_next=True),
            [10, 11, 14, 12, 4, 19, 21, 21, 20, 8, 18, 2],
            [_, _, _, _, _, _, _, _, _, 8, 18, 2],
            6,
            2,
            9,
            id="the next step only, none left",
        ),
    ],
)
def test_a_training_row(
    kind: ThoughtKind, stage: Stage, ids: list[int], labels: list[int], head: int, thoughts: int, prompt: int
) -> None:
    encoded = EncodedExample(QUESTION, STEPS, ANSWER)
    row = tom(kind).train(encoded, stage)
    pauses, marked = stage.thoughts if kind == "pause" else 0, kind != "none"
    assert row == Layout(ids, labels, head, thoughts, prompt, pauses, marked, stepped=thoughts)
    # Inference is given the same row up to its text, and knows no label.
    given = Layout(ids[:prompt], [_] * prompt, head, thoughts, prompt, pauses, marked, stepped=thoughts)
    assert tom(kind).prompt(encoded, stage.thoughts) == given


@pytest.mark.parametrize(("kind", "stepwise", "stepped"), [("continuous", False, 0), ("pause", True, 3)])
def test_the_controls_differ_in_their_passes_alone(kind: ThoughtKind, stepwise: bool, stepped: int) -> None:
    encoded, build = EncodedExample(QUESTION, STEPS, ANSWER), tom(kind)
    usual = build.train(encoded, Stage(1, 3))
    build.stepwise_passes = stepwise
    assert build.train(encoded, Stage(1, 3)) == replace(usual, stepped=stepped)
    assert build.prompt(encoded, 3).stepped == stepped


def test_the_example_is_left_as_it_was() -> None:
    encoded = EncodedExample(list(QUESTION), [list(step) for step in STEPS], list(ANSWER))
    for stage in (Stage(0, 0), Stage(1, 2), Stage(2, 3)):
        tom().train(encoded, stage).ids.append(99)
        tom().prompt(encoded, 3).labels.append(99)
    assert encoded == EncodedExample(QUESTION, STEPS, ANSWER)


def test_schedules_that_end_alike_lay_out_the_same_last_row() -> None:
    example, stepwise = random_examples(1, steps=(3,))[0], Stepwise(max_stage=6)
    last = stepwise.resolve(stepwise.last_stage, 3)
    assert builder().train(example, last) == builder().train(example, Fixed("all", 6, "continuous").resolve(0, 3))


class TestText:
    """How pieces are joined, and what tokenizers add of their own."""

    def test_the_format(self) -> None:
        text = TextFormat(after_question=" ;", after_step=" ; \n", before_answer="A: ")
        assert tom(text=text).encode([EXAMPLE]) == [
            EncodedExample(
                [10, 11, 14, 12, 5], [[14, 6, 15, 7, 16, 5, 4], [16, 6, 17, 7, 18, 5, 4]], [9, 18, 2], mark=1
            )
        ]

    def test_pieces_spell_the_whole_text(self) -> None:
        build = tom("none")
        ids = build.train(build.encode([EXAMPLE])[0], Stage(0, 0)).ids
        whole = "Tom has 3 .\n3 + 2 = 5\n5 + 1 = 6\n### 6"
        assert ids == [*build.tokenizer(whole)["input_ids"], 2]

    @pytest.mark.parametrize("closing_eos", [False, True])
    def test_bos_opens_the_row_and_nothing_else(self, closing_eos: bool) -> None:
        build = tom(tokenizer=word_tokenizer(WORDS, bos=True, closing_eos=closing_eos))
        encoded = build.encode([EXAMPLE])[0]
        assert encoded == EncodedExample([1, *QUESTION], STEPS, ANSWER, mark=1)
        row = build.train(encoded, Stage(1, 1))
        assert row.ids == [1, 10, 11, 14, 12, 4, 19, 21, 20, 16, 6, 17, 7, 18, 4, 8, 18, 2]
        assert (row.head, row.thoughts, row.prompt) == (7, 1, 9)

    def test_an_eos_that_the_tokenizer_adds_does_not_end_the_question(self) -> None:
        build = tom(tokenizer=word_tokenizer(WORDS, closing_eos=True))
        assert build.encode([EXAMPLE]) == [EncodedExample(QUESTION, STEPS, ANSWER, mark=1)]


class TestSpecialTokens:
    """Names of special tokens in a text are text; between the texts they are what the user set."""

    @pytest.mark.parametrize("token", [*THOUGHT_TOKENS, "<|endoftext|>", "<|pad|>"])
    @pytest.mark.parametrize("place", ["question", "steps", "answer"])
    def test_they_become_no_token(self, token: str, place: str) -> None:
        tokenizer = build_word_tokenizer(["Tom has 3 pens."])
        build = LayoutBuilder(tokenizer, add_thought_tokens(tokenizer), "continuous")
        text = f"3 {token} 2{token}"
        changes: dict[str, Any] = {place: ("3", text) if place == "steps" else text}
        example = replace(EXAMPLE, **changes)
        plain, encoded = build.encode([EXAMPLE, example])
        assert plain == build.encode([EXAMPLE])[0]
        assert encoded.answer[-1] == build.special.eos
        ids = [*encoded.question, *(one for step in encoded.steps for one in step), *encoded.answer[:-1]]
        assert build.reserved.isdisjoint(ids)
        written = [example.question, *example.steps, build.answer_text(example)]
        assert tokenizer.decode(ids) == "\n".join(written)
        if place == "steps":
            assert build.encode_step(text) == encoded.steps[1]

    def test_they_are_refused_where_a_tokenizer_has_no_other_tokens_for_them(self) -> None:
        build = tom()
        eos = build.tokenizer.eos_token
        assert build.tokenizer.encode(eos, split_special_tokens=True) == [build.special.eos]
        with pytest.raises(DataError) as caught:
            build.encode([EXAMPLE, replace(EXAMPLE, question=f"Tom has {eos} .")])
        assert f"example 'tom' holds the text {eos!r}" in str(caught.value)
        assert f"question: 'Tom has {eos} .'" == caught.value.where

    def test_they_may_stand_between_the_texts(self) -> None:
        build = tom(text=TextFormat(after_question=str(tom().tokenizer.eos_token)))
        assert build.encode([EXAMPLE])[0].question[-1] == build.special.eos
        with pytest.raises(UserError, match=r"'<\|start-latent\|>' marks thoughts") as caught:
            tom(text=TextFormat(after_question=f"{THOUGHT_TOKENS[0]}")).encode([EXAMPLE])
        assert caught.value.where == "data.text"

    def test_a_question_that_ends_in_the_end_of_text_keeps_it(self) -> None:
        tokenizer = build_word_tokenizer(["Tom has 3 pens."])
        build = LayoutBuilder(tokenizer, add_thought_tokens(tokenizer), "none", TextFormat(after_question=""))
        (encoded,) = build.encode([replace(EXAMPLE, question="Tom<|endoftext|>")])
        assert tokenizer.decode(encoded.question) == "Tom<|endoftext|>"


class TestLength:
    """Rows that the model cannot take."""

    @pytest.mark.parametrize("kind", get_args(ThoughtKind))
    @pytest.mark.parametrize("markers", get_args(Markers))
    def test_the_longest_of_some_stages(self, kind: ThoughtKind, markers: Markers) -> None:
        build = tom(kind)
        build.markers = markers
        encoded = build.encode([EXAMPLE])[0]
        for stages in (
            [Stage(0, 0)],
            [Stage(0, 0), Stage(1, 6), Stage(2, 7)],
            [Stage(2, 0), Stage(1, 1)],
            [Stage(0, 0, tokens=5), Stage(0, 0, tokens=99)],
            [Stage(0, 1, tokens=-5)],
            [Stage(1, 1, only_next=True)],
            [Stage(2, 2, only_next=True)],
        ):
            rows = [build.train(encoded, stage) for stage in stages]
            assert build.longest(encoded, stages) == (max(len(r.ids) for r in rows), max(r.prompt for r in rows))

    @staticmethod
    def check(max_length: int | None, stage: Stage) -> None:
        """Check the example's row at a stage."""
        build = tom(max_length=max_length)
        build.check_length(len(build.train(build.encode([EXAMPLE])[0], stage).ids), EXAMPLE)

    @pytest.mark.parametrize(("max_length", "stage"), [(22, Stage(0, 0)), (17, Stage(1, 1)), (None, Stage(0, 500))])
    def test_just_fits(self, max_length: int | None, stage: Stage) -> None:
        self.check(max_length, stage)

    def test_one_too_long(self) -> None:
        with pytest.raises(DataError) as caught:
            self.check(21, Stage(0, 0))
        message = str(caught.value)
        for part in ("example 'tom' takes 22 tokens, and the limit is 21", "Tom has 3 .", "max_length", "too_long"):
            assert part in message

    def test_thoughts_count(self) -> None:
        with pytest.raises(DataError, match="takes 18 tokens, and the limit is 17"):
            self.check(17, Stage(1, 2))


def test_kinds_differ_in_the_slot_only() -> None:
    encoded = EncodedExample(QUESTION, STEPS, ANSWER)
    kinds: Sequence[ThoughtKind] = ("continuous", "pause")
    continuous, pause = (tom(kind).train(encoded, Stage(1, 3)) for kind in kinds)
    assert [PAUSE if token == LATENT else token for token in continuous.ids] == pause.ids
    assert continuous.labels == pause.labels
    assert (continuous.head, continuous.prompt) == (pause.head, pause.prompt)

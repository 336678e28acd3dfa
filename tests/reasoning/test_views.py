"""Views and places of an example, worked by hand: where the answer begins, the teacher's row, the hidden steps."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from lcot.errors import UserError
from lcot.reasoning.batch import collate
from lcot.reasoning.curriculum import Stage
from lcot.reasoning.layout import IGNORE, Layout, LayoutBuilder
from lcot.reasoning.text import TextFormat
from lcot.reasoning.tokens import add_thought_tokens
from tests.reasoning.test_layout import ANSWER, BOT, EOT, EXAMPLE, LATENT, QUESTION, STEPS, tom

_ = IGNORE


def test_the_answer_begins_behind_its_mark() -> None:
    build = tom()
    (encoded,) = build.encode([EXAMPLE])
    for stage in (Stage(0, 0), Stage(1, 2), Stage(2, 3), Stage(2, 3, only_next=True), Stage(0, 0, tokens=3)):
        row = build.train(encoded, stage)
        (place,) = row.places["answer"]
        assert row.ids[place] == 18 and row.ids[place - 1] == 8  # "6" behind "###"


def test_a_row_without_the_answer_has_no_such_place() -> None:
    build = tom()
    (encoded,) = build.encode([EXAMPLE])
    assert build.train(encoded, Stage(0, 1, only_next=True)).places == {}  # the next step only
    assert build.prompt(encoded, 2).places == {}
    assert build.train(replace(encoded, mark=None), Stage(2, 2)).places == {}


def test_a_token_across_the_border_is_the_answers() -> None:
    """Of ``#7`` one tokenizer makes a single token: it holds a part of the answer."""
    vocabulary = {"<unk>": 0, "</s>": 1, "#": 2, "7": 3, "#7": 4, "a": 5}
    inner = Tokenizer(models.BPE(vocabulary, [("#", "7")], unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    names = {"unk_token": "<unk>", "eos_token": "</s>", "pad_token": "</s>"}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, **names)  # type: ignore[no-untyped-call]
    text = TextFormat(after_question="", after_step="", before_answer="a #")
    build = LayoutBuilder(tokenizer, add_thought_tokens(tokenizer), "continuous", text)
    (encoded,) = build.encode([replace(EXAMPLE, question="a", steps=(), answer="7")])
    assert (encoded.answer, encoded.mark) == ([5, 4, 1], 1)


def test_the_teacher_reads_the_whole_chain_without_marks() -> None:
    build = tom()
    (encoded,) = build.encode([EXAMPLE])
    (teacher,) = build.views(encoded, Stage(2, 4), ["teacher"]).values()
    chain = [*STEPS[0], *STEPS[1], *ANSWER]
    assert teacher == Layout(
        [*QUESTION, *chain],
        [_] * 5 + chain,
        head=5,
        thoughts=0,
        prompt=5,
        places={"chain": (5, 17, 17), "answer": (18,)},
    )


@pytest.mark.parametrize(
    ("hidden", "ids", "starts"), [(0, [], (0,)), (1, STEPS[0], (0, 6)), (2, [*STEPS[0], *STEPS[1]], (0, 6, 12))]
)
def test_the_steps_are_those_that_are_hidden(hidden: int, ids: list[int], starts: tuple[int, ...]) -> None:
    build = tom()
    (encoded,) = build.encode([EXAMPLE])
    view = build.views(encoded, Stage(hidden, 4), ["steps"])["steps"]
    assert (view.ids, view.labels, view.places) == (ids, ids, {"steps": starts})


def test_a_view_that_there_is_not() -> None:
    build = tom()
    (encoded,) = build.encode([EXAMPLE])
    with pytest.raises(UserError, match="unknown view 'techer'"):
        build.views(encoded, Stage(1, 1), ["techer"])


def test_a_batch_of_each_view() -> None:
    build = tom()
    (encoded,) = build.encode([EXAMPLE])
    rows = [
        build.train(encoded, stage).with_views(build.views(encoded, stage, ["teacher", "steps"]))
        for stage in (Stage(0, 0), Stage(1, 3))
    ]
    batch = collate([*rows, build.train(encoded, Stage(0, 1, only_next=True))], pad=3)
    # Row 0 stands where row 1 does: both heads are in column 5, and their answers lie three thoughts and a step apart.
    assert batch.input_ids[1, :10].tolist() == [*QUESTION, BOT, LATENT, LATENT, LATENT, EOT]
    assert batch.places["answer"].tolist() == [[20], [17], [-1]]
    at = batch.input_ids.gather(1, batch.places["answer"].clamp(min=0))
    assert at[:2].tolist() == [[18], [18]]
    steps = batch.views["steps"]
    assert steps.input_ids.tolist() == [[3] * 6, STEPS[0], [3] * 6]
    assert steps.places["steps"].tolist() == [[0, -1], [0, 6], [-1, -1]]
    assert steps.attention_mask.tolist() == [[False] * 6, [True] * 6, [True] + [False] * 5]
    teacher = batch.views["teacher"]
    assert teacher.input_ids[0].tolist() == teacher.input_ids[1].tolist() and teacher.input_ids.shape == (3, 20)
    chosen = batch.select([1])
    assert chosen.places["answer"].tolist() == [[17]]
    assert chosen.views["steps"].places["steps"].tolist() == [[0, 6]]


def test_nothing_is_hidden_in_any_row() -> None:
    build = tom()
    (encoded,) = build.encode([EXAMPLE])
    row = build.train(encoded, Stage(0, 0)).with_views(build.views(encoded, Stage(0, 0), ["steps"]))
    steps = collate([row, row], pad=3).views["steps"]
    assert steps.input_ids.shape == (2, 0) and torch.equal(steps.places["steps"], torch.zeros(2, 1, dtype=torch.long))

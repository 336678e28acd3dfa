"""Words in the place of soft thoughts, in the prompts of each family."""

from __future__ import annotations

from typing import Any

import pytest

from lcot.datamodules.dialogues import Asking
from lcot.errors import DataError
from lcot.modules.hints import with_words
from lcot.reasoning.batch import ThoughtBatch, collate
from lcot.reasoning.curriculum import Fixed, Stage
from lcot.reasoning.dialogue import Dialogue
from lcot.reasoning.example import ReasoningExample
from lcot.reasoning.layout import IGNORE
from lcot.reasoning.tokens import prompt_tokens
from tests.chat import FAMILIES, SLOT, Family, chat_tokenizer

EXAMPLES = [
    ReasoningExample("How many are 1 and 2?", ("1 + 2 = 3",), "3", "a"),
    ReasoningExample("And 2?", ("Count.", "2"), "2", "b"),
]


def rows(family: Family, counts: tuple[int, int] = (3, 3), **options: Any) -> tuple[Any, ThoughtBatch]:
    """A builder, and a batch with these numbers of thoughts."""
    tokenizer, asking = chat_tokenizer(family), Asking(Dialogue(f"{family}/gsm8k", **options))
    special = prompt_tokens(tokenizer, asking.prompt)
    builder = asking.builder(tokenizer, special, Fixed("none", 3, "soft"), [0, 3], None)
    pieces = zip(builder.encode(EXAMPLES), counts, strict=True)
    return builder, collate(
        [builder.train(one, Stage(0, count)) for one, count in pieces], special.pad, [7, 4], EXAMPLES
    )


def texts(builder: Any, batch: ThoughtBatch, supervised: bool) -> list[str]:
    """All tokens of each row, or those with a label."""
    real = batch.attention_mask & (batch.labels != IGNORE) if supervised else batch.attention_mask
    return [str(builder.tokenizer.decode(ids[mask])) for ids, mask in zip(batch.input_ids, real, strict=True)]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("header", ["prompt", "supervised"])
def test_nothing_else_changes(family: Family, header: str) -> None:
    builder, batch = rows(family, header=header)
    words = ["three", "more of\nthem"]
    found = with_words(batch, words, builder, builder.special.pad)
    assert found.max_thoughts == 0 and found.assistant is None and tuple(found.examples) == tuple(batch.examples)
    assert found.index.tolist() == [7, 4]
    slots, around = builder.tokenizer.decode([builder.special.latent]) * 3, (builder.special.bot, builder.special.eot)
    bot, eot = (str(builder.tokenizer.decode([token])) for token in around)
    before = texts(builder, batch, supervised=False)
    assert texts(builder, found, supervised=False) == [
        row.replace(f"{bot}{slots}{eot}", own) for row, own in zip(before, words, strict=True)
    ]
    supervised = texts(builder, batch, supervised=True)
    assert texts(builder, found, supervised=True) == supervised
    assert all(("assistant" in text) == (header == "supervised") for text in supervised) and SLOT not in slots


def test_rows_without_thoughts_stay_as_they_are() -> None:
    builder, batch = rows("qwen25", counts=(0, 3), header="supervised")
    found = with_words(batch, ["not this", "but this"], builder, builder.special.pad)
    for supervised in (False, True):
        assert texts(builder, found, supervised)[0] == texts(builder, batch, supervised)[0]
    assert "but this" in texts(builder, found, supervised=False)[1]


def test_words_that_are_too_many() -> None:
    builder, batch = rows("llama3")
    builder.max_length = batch.input_ids.shape[1]
    with pytest.raises(DataError, match="and the limit is"):
        with_words(batch, ["word " * 20, "word"], builder, builder.special.pad)

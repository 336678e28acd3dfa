"""Several texts from one thinking, against thinking anew for every one of them."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from transformers import DynamicCache, PreTrainedModel

from lcot.errors import UserError
from lcot.reasoning.batch import collate
from lcot.reasoning.compiled import OneColumn
from lcot.reasoning.decode import Draws, Sampling, decode
from lcot.reasoning.repeat import Copies
from lcot.reasoning.think import Thinking, think
from lcot.reasoning.turnover import Source, write
from tests.models import SPECIAL, tiny_model
from tests.reasoning.support import layouts
from tests.reasoning.test_cache import windowed
from tests.reasoning.test_compiled import uncompiled
from tests.reasoning.test_decode import NEVER, batch_sizes

SAMPLING = Sampling(0.9, top_k=30, seed=3, repetition_penalty=1.1)
INDEX = (11, 4, 7, 0, 5, 23, 9, 2)
WANTED = [(3, 0, 0), (3, 0, 1), (3, 1, 0), (4, 0, 0), (3, 0, 2)]
"""(seed, path, sample) of five texts a row."""


def thought(model: PreTrainedModel, passes: OneColumn | None = None, rows: Sequence[int] = range(8)) -> Thinking:
    """Some of the mixed rows, thought about."""
    every = layouts()
    with torch.no_grad():
        batch = collate([every[row] for row in rows], SPECIAL.pad)
        return think(model, batch, keep_cache=True, compiled=passes)


def draws(of: tuple[int, int, int], rows: Sequence[int] = range(8)) -> list[Draws]:
    """The draws of one text of each row."""
    seed, path, sample = of
    return [Draws(seed, INDEX[row], path, sample) for row in rows]


def by_definition(model: PreTrainedModel, eos: int = SPECIAL.eos) -> list[list[list[int]]]:
    """One row, one text at a time, each with a thinking of its own."""
    texts = []
    for of in WANTED:
        alone = [(thought(model, rows=[row]), draws(of, [row])) for row in range(8)]
        texts.append(
            [decode(model, mine, max_new_tokens=6, eos=eos, sampling=SAMPLING, draws=own)[0] for mine, own in alone]
        )
    return texts


def written(model: PreTrainedModel, thinking: Thinking, rows: int, eos: int = SPECIAL.eos) -> list[list[list[int]]]:
    """All texts from one thinking."""
    source = Source(thinking, [draws(of) for of in WANTED])
    (found,) = write(model, [source], places=rows, max_new_tokens=6, eos=eos, sampling=SAMPLING)
    return found.texts


def test_texts_are_those_of_thinking_anew(model: PreTrainedModel) -> None:
    expected = by_definition(model)
    assert len({str(text) for text in expected}) == len(WANTED)
    for rows in (1, 16, 39, 40):
        assert written(model, thought(model), rows) == expected
        assert written(model, thought(model, uncompiled(model)), rows) == expected


def test_texts_from_layers_with_windows() -> None:
    model = windowed()
    expected = by_definition(model, NEVER)
    assert written(model, thought(model), 1, NEVER) == written(model, thought(model), 24, NEVER) == expected


def test_no_more_rows_at_once_than_are_allowed() -> None:
    model = tiny_model()
    for rows, most in ((1, [8] * 5), (8, [8] * 5), (23, [16, 16, 8]), (400, [40])):
        thinking = thought(model)
        sizes = batch_sizes(model, lambda: written(model, thinking, rows, NEVER))  # noqa: B023
        assert sizes == [size for size in most for _ in range(5)]


def test_a_text_of_its_own_is_written_from_the_thinking_itself() -> None:
    model = tiny_model()
    thinking = thought(model)
    assert isinstance(thinking.cache, DynamicCache)
    source = Source(thinking, [draws(WANTED[0])])
    (found,) = write(model, [source], places=1, max_new_tokens=6, eos=NEVER, sampling=SAMPLING)
    assert found.texts == by_definition(model, NEVER)[:1]
    assert thinking.cache.get_seq_length() == thinking.attention_mask.shape[1] + 5


def test_a_copy_leaves_the_thinking_as_it_is() -> None:
    model = tiny_model()
    thinking = thought(model)
    copies, columns = Copies(thinking), thinking.attention_mask.shape[1]
    assert thinking.cache is not None
    before = [(layer.keys.clone(), layer.values.clone()) for layer in thinking.cache.layers]  # type: ignore[union-attr]
    once, twice = copies.make(), copies.make(2)
    assert once.states is thinking.states and len(twice.states) == 16
    assert torch.equal(twice.prompt_ends, thinking.prompt_ends.repeat(2))
    for copy in (once, twice):
        rows = len(copy.thoughts)
        decode(model, copy, max_new_tokens=4, eos=NEVER, sampling=SAMPLING, draws=draws(WANTED[0]) * (rows // 8))
        assert copy.cache is not None and copy.cache.get_seq_length() == columns + 3
        assert thinking.cache.get_seq_length() == columns
        for layer, (keys, values) in zip(thinking.cache.layers, before, strict=True):
            assert torch.equal(layer.keys, keys) and torch.equal(layer.values, values)  # type: ignore[arg-type,union-attr]


def test_a_single_copy_takes_no_memory_at_first() -> None:
    thinking = thought(tiny_model())
    copy = Copies(thinking).make()
    assert thinking.cache is not None and copy.cache is not None
    for mine, theirs in zip(copy.cache.layers, thinking.cache.layers, strict=True):
        assert mine is not theirs and mine.keys is theirs.keys  # type: ignore[union-attr]


def test_compiled_buffers_belong_to_one_copy_at_a_time() -> None:
    model = tiny_model()
    with torch.no_grad():
        copies = Copies(thought(model, uncompiled(model)))
        first, _ = copies.make(), copies.make()
    with pytest.raises(UserError, match="keys and values of this batch are gone"):
        decode(model, first, max_new_tokens=4, eos=NEVER, sampling=SAMPLING, draws=draws(WANTED[0]))


def test_a_cache_of_an_unknown_kind_is_refused() -> None:
    thinking = thought(tiny_model())
    assert thinking.cache is not None
    strange = type("StrangeLayer", (type(thinking.cache.layers[1]),), {})
    thinking.cache.layers[1].__class__ = strange
    with pytest.raises(UserError, match=r"layers whose cache is a StrangeLayer.*\n.*model\.voting"):
        Copies(thinking)

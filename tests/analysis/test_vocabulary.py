"""Which rows of the embedding table are words, and what is near to what."""

from __future__ import annotations

import math

import pytest
import torch

from lcot.analysis import Thinker
from lcot.analysis.vocabulary import Vocabulary, token_text
from lcot.reasoning.tokens import THOUGHT_TOKENS
from tests.analysis.machine import builder_of, machine, worked_tokenizer

TOKENIZER = worked_tokenizer()
VOCABULARY = Vocabulary.of(Thinker(machine(TOKENIZER), builder_of(TOKENIZER)))
WIDTH = VOCABULARY.rows.shape[1]


def test_rows_that_stand_for_no_word_are_left_out() -> None:
    kept = set(VOCABULARY.ids.tolist())
    names = TOKENIZER.get_vocab()
    left_out = {names[token] for token in THOUGHT_TOKENS} | {TOKENIZER.pad_token_id}
    left_out |= {names[f"<0x{byte:02X}>"] for byte in range(256)}
    assert kept == set(range(len(TOKENIZER))) - left_out
    assert VOCABULARY.tokens[VOCABULARY.ids.tolist().index(names["▁impus"])] == "impus"


def test_rows_beyond_the_tokenizer_are_left_out() -> None:
    model = machine(TOKENIZER)
    model.resize_token_embeddings(len(TOKENIZER) + 5, mean_resizing=False)
    assert len(Vocabulary.of(Thinker(model, builder_of(TOKENIZER))).ids) == len(VOCABULARY.ids)


def test_cosines_and_distances_on_paper() -> None:
    vectors = torch.zeros(2, WIDTH)
    vectors[0, VOCABULARY.ids[3]] = 2.0  # along one row, whose length is √D
    vectors[1, VOCABULARY.ids[3]] = vectors[1, VOCABULARY.ids[7]] = math.sqrt(WIDTH)
    cosines, distances = VOCABULARY.cosines(vectors), VOCABULARY.distances(vectors)
    assert cosines[0, 3] == pytest.approx(1.0) and cosines[0, 4] == 0.0
    assert cosines[1, [3, 7]].tolist() == pytest.approx([math.sqrt(0.5)] * 2)
    assert distances[0, 3] == pytest.approx(math.sqrt(WIDTH) - 2)
    assert distances[1, 3] == pytest.approx(math.sqrt(WIDTH))
    assert VOCABULARY.distances(VOCABULARY.rows[:3]).diagonal().tolist() == [0.0, 0.0, 0.0]
    assert VOCABULARY.mean_norm == pytest.approx(math.sqrt(WIDTH))


def test_a_part_of_a_character_has_a_name() -> None:
    names = TOKENIZER.get_vocab()
    assert token_text(TOKENIZER, names["<0xC3>"]) == "<0xC3>"
    assert token_text(TOKENIZER, names["<0x78>"]) == "x"
    assert token_text(TOKENIZER, names["▁impus"]) == "impus"


def test_rows_are_as_long_as_the_model_reads_them() -> None:
    model = machine(TOKENIZER)
    model.get_input_embeddings().embed_scale = torch.tensor(3.0)  # as Gemma's layer has it
    scaled = Vocabulary.of(Thinker(model, builder_of(TOKENIZER)))
    assert scaled.mean_norm == pytest.approx(3 * VOCABULARY.mean_norm)
    assert torch.equal(scaled.rows, 3 * VOCABULARY.rows)

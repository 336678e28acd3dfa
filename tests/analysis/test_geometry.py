"""Norms, distances and cosines of thoughts whose vectors are known."""

from __future__ import annotations

import dataclasses
import json
import math
from itertools import islice

import pytest
import torch
from torch.nn import functional as F

from lcot.analysis import Collapse, Thinker, ThoughtGeometry, collapse, thought_geometry
from lcot.analysis.thinker import measuring
from tests.analysis.machine import OX, builder_of, machine, worked_tokenizer
from tests.analysis.support import Watched, counted_rows, problems, random_setting
from tests.problems import worked

TOKENIZER = worked_tokenizer()
MACHINE = machine(TOKENIZER)
SIDE = math.sqrt(len(TOKENIZER) + len(TOKENIZER) % 2)
"""Length of every embedding and state of the machine; different ones are at right angles."""


def test_three_thoughts_on_paper() -> None:
    thinker = Thinker(MACHINE, builder_of(TOKENIZER))
    (found,) = thought_geometry(thinker, [worked("compact", OX)], 3)
    assert (found.id, found.thoughts) == ("worked", 3)
    assert found.norms == pytest.approx([SIDE] * 3, rel=1e-5)
    apart = SIDE * math.sqrt(2)
    for row, (cosines, distances) in enumerate(zip(found.cosines, found.distances, strict=True)):
        assert cosines == pytest.approx([float(row == column) for column in range(3)], abs=1e-5)
        assert distances == pytest.approx([0.0 if row == column else apart for column in range(3)], abs=1e-3)
    assert found.vocabulary_distances == pytest.approx([0.0] * 3, abs=1e-3)
    assert found.vocabulary_cosines == pytest.approx([1.0] * 3, abs=1e-5)
    assert set(json.loads(json.dumps(dataclasses.asdict(found)))) == {
        field.name for field in dataclasses.fields(ThoughtGeometry)
    }


def test_pauses_have_collapsed_on_paper() -> None:
    thinker = Thinker(MACHINE, builder_of(TOKENIZER, "pause"))
    first, second = collapse(thinker, [worked("compact", OX), worked("compact", OX, "again")], 2)
    assert (first.thoughts, first.thought, second.thought, first.questions) == (2, 1, 2, 2)
    assert first.previous is None
    assert [second.previous, first.across, second.across] == pytest.approx([1.0] * 3)
    assert [first.norm, first.word_norm] == pytest.approx([SIDE] * 2, rel=1e-5)
    assert first.vocabulary_distance == pytest.approx(0.0, abs=1e-3)
    assert first.vocabulary_cosine == pytest.approx(1.0, abs=1e-5)


def test_thoughts_of_the_machine_have_not() -> None:
    thinker = Thinker(MACHINE, builder_of(TOKENIZER))
    (_, second) = collapse(thinker, [worked("compact", OX)], 2)
    assert second.previous == pytest.approx(0.0, abs=1e-5)
    assert second.across is None  # of one question


@pytest.mark.parametrize("max_rows", [2, 64])
def test_sums_are_means_of_all_pairs(max_rows: int) -> None:
    model, tokenizer = random_setting("compact", "qwen3")
    builder, examples = builder_of(tokenizer, markers="always"), problems("compact", 5)
    thinker = Thinker(model, builder)
    with measuring(model):
        vectors = thinker.think(thinker.rows(builder.encode(examples), 3)).vectors.double()
    unit = F.normalize(vectors, dim=-1)
    table = model.get_input_embeddings().weight
    assert isinstance(table, torch.Tensor)
    table = table.detach().double()
    spelled = {tokenizer.convert_tokens_to_ids(f"<0x{byte:02X}>") for byte in range(256)}
    special = builder.special
    no_words = {special.bot, special.eot, special.latent, special.pause, special.pad, *spelled}
    words = [place for place in range(len(tokenizer)) if place not in no_words]
    for place, found in enumerate(collapse(Thinker(model, builder, max_rows=max_rows), examples, 3)):
        own = unit[:, place]
        pairs = [float(own[a] @ own[b]) for a in range(5) for b in range(5) if a != b]
        assert found.across == pytest.approx(sum(pairs) / len(pairs), abs=1e-5)
        assert found.norm == pytest.approx(float(vectors[:, place].norm(dim=-1).mean()), rel=1e-4)
        nearest = torch.stack([(table[words] - vector).norm(dim=-1).min() for vector in vectors[:, place]])
        assert found.vocabulary_distance == pytest.approx(float(nearest.mean()), rel=1e-4)
        if place:
            expected = float((own * unit[:, place - 1]).sum(dim=-1).mean())
            assert found.previous == pytest.approx(expected, abs=1e-5)


def test_batched_equals_one_by_one() -> None:
    model, tokenizer = random_setting("compact", "gpt2")
    builder, examples = builder_of(tokenizer), problems("compact", 5)
    alone, together = (list(thought_geometry(Thinker(model, builder, max_rows=n), examples, 2)) for n in (1, 64))
    for one, other in zip(alone, together, strict=True):
        assert one.id == other.id
        assert one.norms == pytest.approx(other.norms, rel=1e-4)
        assert one.cosines[0] == pytest.approx(other.cosines[0], abs=1e-4)
        assert one.vocabulary_distances == pytest.approx(other.vocabulary_distances, rel=1e-4)


def test_memory_is_bounded() -> None:
    model, tokenizer = random_setting("compact")
    thinker, endless = Thinker(model, builder_of(tokenizer), max_rows=3), Watched(problems("compact", 2))
    with counted_rows(model) as rows:
        assert len(list(islice(thought_geometry(thinker, endless, 2), 4))) == 4
    assert (max(rows), endless.taken) == (3, 6)


def test_nothing_to_measure() -> None:
    thinker = Thinker(MACHINE, builder_of(TOKENIZER))
    assert collapse(thinker, [], 2) == []
    assert collapse(thinker, [worked("compact", OX)], 0) == []
    (found,) = thought_geometry(thinker, [worked("compact", OX)], 0)
    assert (found.norms, found.cosines, found.vocabulary_distances) == ((), (), ())
    assert len(dataclasses.fields(Collapse)) == 9

"""Texts of many batches through few places, against each row's text by itself."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

from lcot.reasoning.batch import collate
from lcot.reasoning.compiled import OneColumn
from lcot.reasoning.curriculum import ThoughtKind
from lcot.reasoning.decode import Draws, Sampling, choose, decode
from lcot.reasoning.feeds import Identity
from lcot.reasoning.layout import EncodedExample, Layout
from lcot.reasoning.parallel import Jacobi
from lcot.reasoning.soft import think_given
from lcot.reasoning.think import Thinking, think
from lcot.reasoning.turnover import Source, write
from tests.models import SPECIAL, random_examples, tiny_model
from tests.oracle import cut, naive_generate
from tests.reasoning.support import MIXED, builder, layouts
from tests.reasoning.test_cache import windowed
from tests.reasoning.test_compiled import uncompiled
from tests.reasoning.test_decode import NEVER, batch_sizes, countdown
from tests.reasoning.test_soft import soft_rows, vectors

Think = Callable[[PreTrainedModel, Sequence[Layout], Sequence[int]], Thinking]
"""Thinks about some of the rows."""

PATTERNS = [(3, 1), (3, 3), (3, 8), (1, 1), (1, 5), (5, 3), (5, 4), (16, 6), (16, 40)]
"""Rows of a batch, and places."""

LONGEST = 12


def rows(kind: ThoughtKind = "continuous") -> list[Layout]:
    """Sixteen rows of all stages, their lengths in no order."""
    plan = [*MIXED, *MIXED[::-1]]
    if kind == "none":
        plan = [(hidden, 0) for hidden, _ in plan]
    return layouts(plan, kind, random_examples(len(plan), seed=4))


def one_by_one(model: PreTrainedModel, every: Sequence[Layout], chosen: Sequence[int]) -> Thinking:
    """As the rows' own kind of thoughts has it."""
    return think(model, collate([every[row] for row in chosen], SPECIAL.pad), keep_cache=True)


def in_rounds(model: PreTrainedModel, every: Sequence[Layout], chosen: Sequence[int]) -> Thinking:
    """PCCoT's thoughts."""
    return Jacobi(2)(model, collate([every[row] for row in chosen], SPECIAL.pad), Identity(), keep_cache=True)


def given(model: PreTrainedModel, every: Sequence[Layout], chosen: Sequence[int]) -> Thinking:
    """SoftCoT's thoughts."""
    batch = collate([every[row] for row in chosen], SPECIAL.pad)
    return think_given(model, batch, vectors(len(every)).detach()[list(chosen)], keep_cache=True)


def draws(chosen: Sequence[int], seed: int = 0, sample: int = 0) -> list[Draws]:
    return [Draws(seed, 100 - row, sample=sample) for row in chosen]


def sources(
    model: PreTrainedModel, every: Sequence[Layout], size: int, made: Think = one_by_one, samples: int = 1
) -> Iterator[Source]:
    """All rows in batches, each thought about when it is asked for."""
    for start in range(0, len(every), size):
        chosen = range(start, min(start + size, len(every)))
        yield Source(made(model, every, chosen), [draws(chosen, sample=sample) for sample in range(samples)])


def texts(
    model: PreTrainedModel,
    wanted: Iterator[Source],
    places: int,
    eos: int,
    sampling: Sampling | None = None,
    longest: int = LONGEST,
) -> list[list[int]]:
    """What is written, source by source and copy by copy."""
    found = write(model, wanted, places=places, max_new_tokens=longest, eos=eos, sampling=sampling or Sampling())
    return [text for one in found for copy in one.texts for text in copy]


def alone(
    model: PreTrainedModel, every: Sequence[Layout], made: Think, eos: int, sampling: Sampling | None = None
) -> list[list[int]]:
    """Each row thought about and written by itself."""
    found = []
    for row in range(len(every)):
        with torch.no_grad():
            thinking = made(model, every, [row])
        found += decode(model, thinking, max_new_tokens=LONGEST, eos=eos, sampling=sampling, draws=draws([row]))
    return found


def mixed(free: Sequence[Sequence[int]]) -> tuple[int, list[list[int]]]:
    """An eos that ends some of the texts early, some late and some not at all; and the texts that it leaves."""

    def ended(eos: int) -> list[list[int]]:
        return [list(text[: text.index(eos) + 1]) if eos in text else list(text) for text in free]

    found = max({token for text in free for token in text}, key=lambda eos: len({len(text) for text in ended(eos)}))
    assert len({len(text) for text in ended(found)}) >= 3
    return found, ended(found)


class TestDefinition:
    """Token for token what each row writes alone."""

    def test_thoughts_one_by_one(self, model: PreTrainedModel) -> None:
        every = rows()
        eos, expected = mixed([naive_generate(model, cut(row), LONGEST, NEVER) for row in every])
        assert len({tuple(text) for text in expected}) > 12  # a row in another's place would be seen
        for size, places in PATTERNS:
            assert texts(model, sources(model, every, size), places, eos) == expected

    @pytest.mark.parametrize("kind", ["none", "pause"])
    def test_single_pass_kinds(self, model: PreTrainedModel, kind: ThoughtKind) -> None:
        every = rows(kind)
        eos, expected = mixed([naive_generate(model, cut(row), LONGEST, NEVER) for row in every])
        for places in (2, 8):
            assert texts(model, sources(model, every, 5), places, eos) == expected

    def test_from_rows_without_their_gold_text(self, model: PreTrainedModel) -> None:
        examples = random_examples(16, seed=4)
        every = [builder().prompt(row, thoughts) for row, (_, thoughts) in zip(examples, MIXED * 2, strict=True)]
        eos, expected = mixed([naive_generate(model, cut(row), LONGEST, NEVER) for row in every])
        for places in (2, 8):
            assert texts(model, sources(model, every, 3), places, eos) == expected

    @pytest.mark.parametrize("made", [in_rounds, given], ids=["jacobi", "soft"])
    def test_other_thoughts(self, model: PreTrainedModel, made: Think) -> None:
        every = soft_rows(14) if made is given else rows()
        eos, _ = mixed(alone(model, every, made, NEVER))
        expected = alone(model, every, made, eos)
        for places in (2, 5):
            assert texts(model, sources(model, every, 5, made), places, eos) == expected

    def test_rows_that_are_longer_each_time(self, model: PreTrainedModel) -> None:
        every = sorted(rows(), key=lambda row: row.prompt)
        eos, expected = mixed([naive_generate(model, cut(row), LONGEST, NEVER) for row in every])
        assert texts(model, sources(model, every, 2), 2, eos) == expected
        assert texts(model, sources(model, every[::-1], 2), 2, eos) == expected[::-1]

    def test_another_attention(self) -> None:
        model, every = tiny_model(), rows()
        model.set_attn_implementation("eager")
        eos, expected = mixed([naive_generate(model, cut(row), LONGEST, NEVER) for row in every])
        assert texts(model, sources(model, every, 4), 4, eos) == expected

    @pytest.mark.parametrize("longest", [1, 2, 5])
    def test_limit(self, longest: int) -> None:
        model, every = tiny_model(), rows()
        expected = [naive_generate(model, cut(row), longest, NEVER) for row in every]
        assert texts(model, sources(model, every, 4), 4, NEVER, longest=longest) == expected

    def test_logits(self, monkeypatch: pytest.MonkeyPatch) -> None:
        model, every = tiny_model(), rows()
        eos, _ = mixed([naive_generate(model, cut(row), LONGEST, NEVER) for row in every])
        seen: dict[tuple[int, int], Tensor] = {}

        def note(logits: Tensor, sampling: Sampling, draws: Sequence[Draws], step: Sequence[int]) -> Tensor:
            seen.update({(row.index, at): own for row, at, own in zip(draws, step, logits, strict=True)})
            return choose(logits, sampling, draws, step)

        monkeypatch.setattr(sys.modules[choose.__module__], "choose", note)
        expected = alone(model, every, one_by_one, eos)
        kept, seen = seen, {}
        assert texts(model, sources(model, every, 3), 3, eos) == expected
        assert seen.keys() == kept.keys() and len(seen) == sum(map(len, expected))
        for key, own in kept.items():
            torch.testing.assert_close(seen[key], own, rtol=0, atol=1e-5)


class TestSampled:
    """Draws are those of the row and of its own token, whenever it is written."""

    SAMPLING = Sampling(0.9, top_k=30, top_p=0.95, repetition_penalty=1.4)

    def test_texts(self, model: PreTrainedModel) -> None:
        every = rows()
        eos, _ = mixed(alone(model, every, one_by_one, NEVER, self.SAMPLING))
        expected = alone(model, every, one_by_one, eos, self.SAMPLING)
        for size, places in ((3, 3), (3, 8), (8, 4)):
            assert texts(model, sources(model, every, size), places, eos, self.SAMPLING) == expected

    @pytest.mark.parametrize("places", [1, 3, 7, 100])
    def test_several_texts_of_a_row(self, places: int) -> None:
        model, every = tiny_model(), rows()[:10]
        free = texts(model, sources(model, every, 3, samples=4), 3, NEVER, self.SAMPLING)
        assert len({tuple(text) for text in free}) == len(free) == 40
        eos, _ = mixed(free)
        expected = []
        for start in range(0, 10, 3):
            chosen = range(start, min(start + 3, 10))
            for sample in range(4):
                for row in chosen:
                    with torch.no_grad():
                        thinking = one_by_one(model, every, [row])
                    own = draws([row], sample=sample)
                    expected += decode(
                        model, thinking, max_new_tokens=LONGEST, eos=eos, sampling=self.SAMPLING, draws=own
                    )
        assert texts(model, sources(model, every, 3, samples=4), places, eos, self.SAMPLING) == expected


def downwards(*last: int) -> list[Layout]:
    """Rows for :func:`countdown`: one that ends with token t writes t - 1 tokens, the last of them 1, its eos."""
    return layouts([(0, 0)] * len(last), "none", [EncodedExample([9, word], [[8]], [1]) for word in last])


class TestPlaces:
    """Who is written when."""

    def test_waiting_rows_take_places(self) -> None:
        model, last = countdown(), (3, 9, 4, 4, 3, 3)
        every, found = downwards(*last), list[list[int]]()
        sizes = batch_sizes(model, lambda: found.extend(texts(model, sources(model, every, 2), 2, SPECIAL.eos)))
        assert found == [list(range(word - 1, 0, -1)) for word in last]
        # Texts of 2, 8, 3, 3, 2 and 2 tokens. The first prompts, and a pass behind each token but the last: two with
        # rows 0 and 1; row 0 has ended, and the second prompts are read; three with rows 1 and 2; two with rows 1 and
        # 3, which end together; the third prompts, and one pass with rows 4 and 5.
        assert sizes == [2] * (1 + 2 + 1 + 3 + 2 + 1 + 1)
        batches = [every[at : at + 2] for at in (0, 2, 4)]
        apart = [
            batch_sizes(model, lambda: texts(model, sources(model, batch, 2), 2, SPECIAL.eos))  # noqa: B023
            for batch in batches
        ]
        assert apart == [[2, 2, 2, 1, 1, 1, 1, 1], [2, 2, 2], [2, 2]]

    @pytest.mark.parametrize("places", [2, 3, 4, 6])
    def test_no_more_rows_at_once_than_there_are_places(self, places: int) -> None:
        model, every = tiny_model(), rows()
        eos, _ = mixed([naive_generate(model, cut(row), LONGEST, NEVER) for row in every])
        # Batches of one row: what has more is a pass of the places.
        assert max(batch_sizes(model, lambda: texts(model, sources(model, every, places), places, eos))) == places

    def test_one_cache_waits_at_most(self) -> None:
        model, every, thought, given = countdown(), downwards(*[3, 12, 5, 4, 9, 3, 3, 6, 7, 3]), 0, 0

        def counted() -> Iterator[Source]:
            nonlocal thought
            for source in sources(model, every, 2):
                thought += 1
                yield source

        seen = []
        for _ in write(model, counted(), places=2, max_new_tokens=20, eos=SPECIAL.eos, sampling=Sampling()):
            given += 1
            seen.append(thought)
        assert given == 5 and seen[0] >= 3  # the first batch has the longest text, beside which others are written
        assert seen == sorted(seen) and seen[-1] == 5

    def test_batches_alone(self) -> None:
        model, every = countdown(), downwards(6, 9, 3, 3, 4, 3)
        asked: list[int] = []

        def counted() -> Iterator[Source]:
            for number, source in enumerate(sources(model, every, 2)):
                asked.append(number)
                yield replace(source, alone=True)

        found = write(model, counted(), places=2, max_new_tokens=20, eos=SPECIAL.eos, sampling=Sampling())
        for number, one in enumerate(found):
            assert asked == list(range(number + 1))
            assert one.texts == [[list(range(word - 1, 0, -1)) for word in ((6, 9), (3, 3), (4, 3))[number]]]

    def test_other_heads_are_not_mixed(self) -> None:
        model, every = tiny_model(), rows()[:6]

        def made(model: PreTrainedModel, every: Sequence[Layout], chosen: Sequence[int]) -> Thinking:
            sign = -1.0 if chosen[0] == 2 else 1.0
            return replace(one_by_one(model, every, chosen), spoken=lambda states: sign * states)

        free = texts(model, sources(model, every, 2, made), 100, NEVER)
        eos, expected = mixed(free)
        assert free != texts(model, sources(model, every, 2), 100, NEVER)
        assert texts(model, sources(model, every, 2, made), 2, eos) == expected

    def test_seconds_are_shared_out(self, monkeypatch: pytest.MonkeyPatch) -> None:
        model, every, now = countdown(), downwards(3, 5, 4, 3), 0.0

        def tick() -> float:
            nonlocal now
            now += 1.0
            return now

        monkeypatch.setattr("lcot.reasoning.turnover.perf_counter", tick)
        sampling = Sampling()
        found = list(
            write(model, sources(model, every, 2), places=2, max_new_tokens=9, eos=SPECIAL.eos, sampling=sampling)
        )
        # Texts of 2, 4, 3 and 2 tokens; each step and each time that rows sit down takes a second. The first batch: one
        # second to sit down, two steps, and half of two beside row 2. The second: two seconds to sit down, half of two
        # steps, one beside row 3 of its own, and one for row 3 alone.
        assert [one.seconds for one in found] == [1.0 + 2.0 + 1.0, 2.0 + 1.0 + 1.0 + 1.0]


@pytest.mark.parametrize("kind", ["windows", "compiled"])
def test_caches_without_room_for_others_are_written_one_after_another(kind: str) -> None:
    model = windowed() if kind == "windows" else tiny_model()
    passes = uncompiled(model) if kind == "compiled" else None
    every = rows()

    def made(passes: OneColumn | None) -> Iterator[Source]:
        for start in range(0, 16, 4):
            chosen = range(start, start + 4)
            batch = collate([every[row] for row in chosen], SPECIAL.pad)
            yield Source(think(model, batch, keep_cache=True, compiled=passes), [draws(chosen)])

    with torch.no_grad():
        free = [decode(model, source.thinking, max_new_tokens=LONGEST, eos=NEVER) for source in made(None)]
    eos, expected = mixed([text for batch in free for text in batch])
    assert texts(model, made(passes), 4, eos) == expected


def test_nothing_to_write() -> None:
    assert texts(tiny_model(), iter(()), 4, NEVER) == []

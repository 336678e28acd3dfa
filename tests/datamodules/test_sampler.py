"""Order, shares and padding of batches."""

from __future__ import annotations

import random
import statistics
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache, partial
from itertools import islice, pairwise

import pytest
from torch.utils.data import Dataset

from lcot.datamodules.graphs.prosqa import ProsQA
from lcot.datamodules.records import read_examples
from lcot.datamodules.sampler import Position, ResumableLoader, RowKey, Share, StageBatchSampler
from lcot.datamodules.tokenizers import build_word_tokenizer, load_tokenizer
from lcot.reasoning.batch import ThoughtBatch, collate
from lcot.reasoning.example import ReasoningExample
from lcot.reasoning.layout import Layout, LayoutBuilder
from lcot.reasoning.stepwise import Stepwise
from lcot.reasoning.tokens import add_thought_tokens
from tests.places import SHARED

START = Position(epoch=0, stage=0)


def lengths_of(count: int, seed: int = 0) -> list[int]:
    """Random lengths, a few of them very long."""
    draw = random.Random(seed)
    return [draw.randint(10, 30) + (100 if draw.random() < 0.1 else 0) for _ in range(count)]


def epoch_of(sampler: StageBatchSampler) -> list[list[int]]:
    return [[key.row for key in batch] for batch in sampler]


@pytest.mark.parametrize(("rows", "batch_size"), [(103, 8), (96, 8), (5, 8), (1, 1), (700, 4)])
@pytest.mark.parametrize("epoch", [0, 3])
def test_each_row_once_an_epoch(rows: int, batch_size: int, epoch: int) -> None:
    sampler = StageBatchSampler(lengths_of(rows), batch_size, lambda: Position(epoch, 0))
    batches = epoch_of(sampler)
    assert sorted(row for batch in batches for row in batch) == list(range(rows))
    assert len(batches) == len(sampler) == -(-rows // batch_size)
    assert sorted(map(len, batches))[1:] == [min(batch_size, rows)] * (len(batches) - 1)


@pytest.mark.parametrize("rows", [96, 103, 97])
@pytest.mark.parametrize("world", [1, 2, 4])
def test_same_global_batches_on_any_number_of_ranks(rows: int, world: int) -> None:
    def global_batches(ranks: int) -> list[set[int]]:
        shares = [
            epoch_of(StageBatchSampler(lengths_of(rows), 8 // ranks, lambda: START, Share(rank, ranks)))
            for rank in range(ranks)
        ]
        assert len({len(share) for share in shares}) == 1
        return [{row for part in parts for row in part} for parts in zip(*shares, strict=True)]

    alone = global_batches(1)
    # An odd batch with fewer rows than ranks sits an epoch out, or a rank would have nothing to do.
    assert global_batches(world) == [batch for batch in alone if len(batch) >= world]


def test_ranks_without_a_row_are_never_met() -> None:
    for rows in range(4, 40):
        for rank in range(4):
            sampler = StageBatchSampler(lengths_of(rows), 2, lambda: START, Share(rank, 4))
            batches = epoch_of(sampler)
            assert all(batches) and len(batches) == len(sampler) > 0


def test_order_is_keyed_by_seed_and_epoch() -> None:
    def order(seed: int, epoch: int) -> list[list[int]]:
        return epoch_of(StageBatchSampler(lengths_of(50), 8, lambda: Position(epoch, 0), seed=seed))

    assert order(0, 1) == order(0, 1)
    assert len({str(order(seed, epoch)) for seed in (0, 1) for epoch in (0, 1, 2)}) == 6


def test_length_is_constant_over_epochs_and_stages() -> None:
    for rows in (40, 41, 43, 47):
        for world in (1, 2, 3):
            for epoch in range(5):
                position = partial(Position, epoch, epoch)
                sampler = StageBatchSampler(lengths_of(rows), 4, position, Share(0, world))
                assert len(epoch_of(sampler)) == len(sampler) == rows // (4 * world) + (rows % (4 * world) >= world)


def test_keys_carry_epoch_and_stage() -> None:
    sampler = StageBatchSampler([5] * 10, 4, lambda: Position(7, 3))
    assert {(key.epoch, key.stage) for batch in sampler for key in batch} == {(7, 3)}


def test_a_stage_may_change_within_an_epoch_and_counts_on_after_a_resume() -> None:
    for over in (0, 2):
        sampler = StageBatchSampler([5] * 10, 2, partial(Position, 7, lambda batch: 10 * batch, over))
        assert [batch[0].stage for batch in sampler] == [0, 10, 20, 30, 40][over:]


def test_an_epoch_is_continued_behind_its_finished_batches() -> None:
    whole = epoch_of(StageBatchSampler(lengths_of(50), 8, lambda: START))
    for over in range(len(whole) + 1):
        assert epoch_of(StageBatchSampler(lengths_of(50), 8, partial(Position, 0, 0, over))) == whole[over:]


@pytest.mark.parametrize("world", [1, 2, 3])
@pytest.mark.parametrize("rows", [3, 5, 7, 100])
def test_evaluation_shares_out_every_row_once_longest_first(rows: int, world: int) -> None:
    lengths = lengths_of(rows)
    shares = [
        epoch_of(StageBatchSampler(lengths, 2, lambda: Position(4, 2), Share(rank, world), shuffle=False))
        for rank in range(world)
    ]
    assert sorted(row for share in shares for batch in share for row in batch) == list(range(rows))
    counts = [sum(map(len, share)) for share in shares]
    assert max(counts) - min(counts) <= 1
    for share in shares:
        assert all(lengths[a] >= lengths[b] for a, b in pairwise(row for batch in share for row in batch))


def test_evaluation_keeps_the_order_of_the_split_where_batch_mates_matter() -> None:
    sampler = StageBatchSampler(lengths_of(7), 3, lambda: START, shuffle=False, as_given=True)
    assert epoch_of(sampler) == [[0, 1, 2], [3, 4, 5], [6]]


def test_grouping_gives_every_row_changing_mates() -> None:
    rows, epochs = 160, 60
    sampler = StageBatchSampler(lengths_of(rows), 8, lambda: START, group=4)
    mates: Counter[tuple[int, int]] = Counter()
    for epoch in range(epochs):
        for batch in sampler.global_batches(epoch):
            mates.update((row, mate) for row in batch for mate in batch if row != mate)
    assert max(mates.values()) < epochs / 2
    assert min(len({mate for row, mate in mates if row == one}) for one in range(rows)) > 30


def test_long_rows_come_anywhere_in_an_epoch() -> None:
    rows, epochs = 160, 200
    lengths = lengths_of(rows)
    sampler = StageBatchSampler(lengths, 8, lambda: START, group=4)
    longest = sorted(range(rows), key=lambda row: -lengths[row])[:16]
    places: dict[int, list[int]] = {row: [] for row in range(rows)}
    for epoch in range(epochs):
        for place, batch in enumerate(sampler.global_batches(epoch)):
            for row in batch:
                places[row].append(place)
    # Uniform over 20 places: mean 9.5, deviation of the mean of 200 draws 0.41; 16 long rows pooled about 0.2.
    assert all(abs(statistics.mean(found) - 9.5) < 5 * 0.41 for found in places.values())
    pooled = Counter(place for row in longest for place in places[row])
    expected = len(longest) * epochs / 20
    # Long rows share batches, so their places are not independent: eight to a batch make the spread √8 times as wide.
    assert max(abs(pooled[place] - expected) for place in range(20)) < 4 * (8 * expected) ** 0.5


def test_no_row_is_odd_more_often_than_others() -> None:
    lengths = lengths_of(43)
    sampler = StageBatchSampler(lengths, 8, lambda: START)
    odd: Counter[int] = Counter()
    for epoch in range(400):
        odd.update(next(batch for batch in sampler.global_batches(epoch) if len(batch) == 3))
    expected = 400 * 3 / 43
    assert all(abs(odd[row] - expected) < 5 * expected**0.5 for row in range(43))


class Echo(Dataset[RowKey]):
    """Its items are their keys."""

    def __getitem__(self, key: RowKey) -> RowKey:
        return key


@pytest.mark.parametrize("workers", [0, 2])
def test_loader_asks_for_its_position_when_the_first_batch_is_wanted(workers: int) -> None:
    position = START
    sampler = StageBatchSampler([5] * 12, 4, lambda: position)
    loader = ResumableLoader(
        Echo(), batch_sampler=sampler, collate_fn=list, num_workers=workers, persistent_workers=workers > 0
    )
    early: Iterator[list[RowKey]] = iter(loader)
    position = Position(2, 1, 1)
    batches = list(early)
    assert len(batches) == 2
    assert {(key.epoch, key.stage) for batch in batches for key in batch} == {(2, 1)}
    position = Position(3, 1)
    assert {key.epoch for batch in loader for key in batch} == {3}


def lone(keys: list[RowKey]) -> ThoughtBatch:
    """A batch whose ``index`` are the rows."""
    return collate([Layout([1], [1], head=1, thoughts=0, prompt=1)] * len(keys), 0, [key.row for key in keys])


@pytest.mark.parametrize(
    ("over", "size", "last", "windows"),
    [
        (0, 1, float("inf"), [1, 1, 1, 1, 1, 1, 1]),
        (0, 3, float("inf"), [3, 3, 1]),
        (4, 3, float("inf"), [2, 1]),  # a run that continues in the middle of an optimizer step's batches
        (0, 3, 5, [3, 2]),  # an epoch that is cut short
    ],
)
def test_batches_of_an_optimizer_step_know_one_another(over: int, size: int, last: float, windows: list[int]) -> None:
    sampler = StageBatchSampler([5] * 14, 2, lambda: Position(0, 0, over))
    loader = ResumableLoader(Echo(), batch_sampler=sampler, collate_fn=lone)
    loader.together = lambda: (size, last)
    batches = list(islice(loader, sum(windows)))
    at = 0
    for width in windows:
        together = batches[at : at + width]
        for batch in together:
            assert batch.window is not None and list(batch.window.batches) == together
            moved = batch.to("cpu")
            assert moved is not batch and moved.window is batch.window
        at += width


# -- padding --------------------------------------------------------------------------------------------------------


@cache
def published() -> tuple[list[ReasoningExample], LayoutBuilder]:
    file, vocabulary = SHARED / "prosqa" / "prosqa_valid.json", SHARED / "gpt2_tokenizer"
    if not file.is_file() or not vocabulary.is_dir():
        pytest.skip("needs prosqa_valid.json of published ProsQA, and GPT-2's tokenizer")
    tokenizer = load_tokenizer(str(vocabulary))
    special = add_thought_tokens(tokenizer)
    return list(read_examples(file)), LayoutBuilder(tokenizer, special, "continuous")


@cache
def generated() -> tuple[list[ReasoningExample], LayoutBuilder]:
    source = ProsQA(train_size=640, style="prose").make_source("train")
    examples = [source.example(index, 0) for index in range(len(source))]
    texts = [text for example in examples for text in (example.question, *example.steps, "### " + example.answer, "\n")]
    tokenizer = build_word_tokenizer(texts)
    special = add_thought_tokens(tokenizer)
    return examples, LayoutBuilder(tokenizer, special, "continuous")


@pytest.mark.parametrize("source", [published, generated])
@pytest.mark.parametrize("stage", [0, 3, 6])
def test_padding_is_less_than_a_tenth(
    source: Callable[[], tuple[list[ReasoningExample], LayoutBuilder]], stage: int
) -> None:
    examples, builder = source()
    encoded = builder.encode(examples)
    curriculum = Stepwise()
    rows = [builder.train(pieces, curriculum.resolve(stage, len(pieces.steps))) for pieces in encoded]
    sampler = StageBatchSampler([row.head for row in rows], 32, lambda: START)
    real = columns = 0
    for batch in sampler.global_batches(0):
        collated = collate([rows[row] for row in batch], builder.special.pad)
        real += int(collated.attention_mask.sum())
        columns += collated.attention_mask.numel()
    waste = 1 - real / columns
    print(f"{source.__name__} ProsQA, stage {stage}, batch 32: {waste:.1%} padding")
    assert waste < 0.1

"""The cache that is written in place, against concatenation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from lcot.reasoning.batch import collate
from lcot.reasoning.cache import GrowingLayer, attends_to_all, growing_cache, reserve
from lcot.reasoning.decode import decode
from lcot.reasoning.layout import Layout
from lcot.reasoning.think import supervised_loss, think
from tests.models import SPECIAL, tiny_model
from tests.oracle import cut, naive_generate, naive_loss
from tests.reasoning.support import assert_same_gradients, layouts, loss_and_gradients

Change = Callable[[DynamicLayer], None]


def pieces(sizes: Sequence[int] = (5, 1, 1, 3), rows: int = 3) -> list[Tensor]:
    """Keys of several passes that want gradients."""
    draw = torch.Generator().manual_seed(0)
    return [torch.randn(rows, 2, size, 4, generator=draw).requires_grad_() for size in sizes]


def dynamic_layer() -> DynamicLayer:
    """The layer of transformers that concatenates."""
    return DynamicLayer()  # type: ignore[no-untyped-call]


def run(layer: DynamicLayer, columns: Sequence[Tensor], change: Change | None = None, after: int = 1) -> list[Tensor]:
    """What each pass makes of what it is given, with ``change`` made between two passes.

    Powers save the very views for their backward, as attention does.
    """
    results = []
    for number, piece in enumerate(columns):
        keys, values = layer.update(piece, 2 * piece)
        results.append(keys.pow(2) + values.pow(3))
        if change is not None and number == after:
            change(layer)
    return results


def gradients(views: Sequence[Tensor], columns: Sequence[Tensor]) -> list[Tensor]:
    """Gradients of a sum to which every pass contributes with another weight."""
    total = torch.stack([view.sum() * (number + 1) for number, view in enumerate(views)]).sum()
    return list(torch.autograd.grad(total, list(columns)))


CHANGES: dict[str, Change | None] = {
    "none": None,
    "crop": lambda layer: layer.crop(-2),
    "crop to an earlier pass": lambda layer: layer.crop(-1),
}


@pytest.mark.parametrize("columns", [0, 7, 10, 64])
@pytest.mark.parametrize("change", list(CHANGES))
def test_equals_concatenation(columns: int, change: str) -> None:
    given = pieces()
    layer = GrowingLayer()
    layer.columns = columns
    views = run(layer, given, CHANGES[change])
    expected = run(dynamic_layer(), given, CHANGES[change])
    assert all(torch.equal(view, other) for view, other in zip(views, expected, strict=True))
    for gradient, other in zip(gradients(views, given), gradients(expected, given), strict=True):
        assert torch.allclose(gradient, other)
    assert layer.get_seq_length() == expected[-1].shape[-2]


def held(layer: DynamicLayer) -> Tensor:
    """Keys and values in one tensor."""
    assert layer.keys is not None and layer.values is not None
    return torch.cat([layer.keys, layer.values], dim=1)


def test_a_choice_of_rows() -> None:
    given = pieces(rows=4)
    kept = torch.tensor([3, 1])
    found = []
    for layer in (GrowingLayer(), dynamic_layer()):
        for piece in given[:2]:
            layer.update(piece, 2 * piece)
        layer.batch_select_indices(kept)
        for piece in given[2:]:
            layer.update(piece[kept], 2 * piece[kept])
        found.append(held(layer))
    assert torch.equal(found[0], found[1])
    one, other = (torch.autograd.grad(keys.pow(3).sum(), given) for keys in found)
    assert all(torch.allclose(gradient, expected) for gradient, expected in zip(one, other, strict=True))


def test_nothing_is_copied_where_there_is_room() -> None:
    layer = GrowingLayer()
    layer.columns = 10
    places = {layer.update(piece, piece)[0].data_ptr() for piece in pieces()}
    assert len(places) == 1


def test_each_view_keeps_its_values() -> None:
    layer = GrowingLayer()
    layer.columns = 10
    given = pieces()
    first = layer.update(given[0], given[0])[0]
    before = first.clone()
    for piece in given[1:]:
        layer.update(piece, piece)
    assert torch.equal(first, before)


def test_two_backward_passes() -> None:
    given = pieces()
    views = run(GrowingLayer(), given)
    total = torch.stack([view.sum() for view in views]).sum()
    once = torch.autograd.grad(total, given, retain_graph=True)
    again = torch.autograd.grad(total, given)
    assert all(torch.equal(one, other) for one, other in zip(once, again, strict=True))


def test_without_gradients_no_piece_is_kept() -> None:
    layer = GrowingLayer()
    layer.columns = 99
    with torch.no_grad():
        for piece in pieces([1] * 20):
            layer.update(piece, piece)
    assert all(len(buffer.pieces) == 1 for buffer in layer._buffers)


def test_reset_forgets() -> None:
    layer = GrowingLayer()
    given = pieces()
    run(layer, given)
    layer.reset()
    assert layer.get_seq_length() == 0
    assert torch.equal(layer.update(given[3], given[3])[0], given[3])


def test_reserve_only_raises() -> None:
    cache = growing_cache(tiny_model().config, 8)
    reserve(cache, 3)
    assert [layer.columns for layer in cache.layers if isinstance(layer, GrowingLayer)] == [8, 8]
    reserve(DynamicCache(config=tiny_model().config), 3)


def prompt(row: Layout) -> Layout:
    """A training row without its text."""
    return replace(row, ids=row.ids[: row.prompt], labels=row.labels[: row.prompt])


def windowed() -> PreTrainedModel:
    """A model whose second layer sees the last four columns only."""
    return tiny_model("qwen2", use_sliding_window=True, sliding_window=4, max_window_layers=1)


def test_layers_of_other_kinds_are_left_alone() -> None:
    config = windowed().config
    assert attends_to_all(growing_cache(config, 9))
    config._attn_implementation = "flash_attention_2"  # which takes no mask that could keep a window
    cache = growing_cache(config, 9)
    assert [type(layer) for layer in cache.layers] == [GrowingLayer, DynamicSlidingWindowLayer]
    assert not attends_to_all(cache)
    assert attends_to_all(growing_cache(tiny_model().config, 9))
    assert not attends_to_all(DynamicCache(config=tiny_model().config))


@pytest.mark.parametrize("attention", ["eager", "sdpa", "windowed"])
def test_other_masks_than_the_short_one(attention: str) -> None:
    model = windowed() if attention == "windowed" else tiny_model()
    if attention != "windowed":
        model.set_attn_implementation(attention)
    rows = layouts()
    batch = collate(rows, SPECIAL.pad)
    total, count = supervised_loss(model, batch, think(model, batch))
    loss, found = loss_and_gradients(model, total / count)
    expected, slow = loss_and_gradients(model, naive_loss(model, map(cut, rows)))
    assert loss == pytest.approx(expected, abs=1e-5)
    assert_same_gradients(found, slow)
    with torch.no_grad():
        thinking = think(model, batch, keep_cache=True)
    written = decode(model, thinking, max_new_tokens=6, eos=SPECIAL.eos)
    assert written == [naive_generate(model, cut(row), 6, SPECIAL.eos) for row in rows]

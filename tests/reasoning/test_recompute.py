"""Passes that are computed again in the backward pass: the same losses, draws and gradients, and less kept."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from lcot.errors import UserError
from lcot.reasoning.batch import ThoughtBatch, collate
from lcot.reasoning.curriculum import ThoughtKind
from lcot.reasoning.decode import decode
from lcot.reasoning.recompute import recomputed
from lcot.reasoning.think import Recycle, supervised_loss, think
from tests.models import ARCHITECTURES, SPECIAL, tiny_model
from tests.reasoning.support import layouts, loss_and_gradients


def both(model: PreTrainedModel, batch: ThoughtBatch, **options: Any) -> list[tuple[float, dict[str, Tensor]]]:
    """Loss and gradients of a step that keeps everything, and of one that computes again."""
    found = []
    for checkpointing in (False, True):
        torch.manual_seed(3)  # what dropout draws
        total, count = supervised_loss(model, batch, think(model, batch, checkpointing=checkpointing, **options))
        torch.manual_seed(4)  # what others draw between a step and its backward pass must not matter
        found.append(loss_and_gradients(model, total / count))
    return found


def assert_same(model: PreTrainedModel, batch: ThoughtBatch, **options: Any) -> dict[str, Tensor]:
    """Both are the same step; returns its gradients."""
    (loss, gradients), (again, others) = both(model, batch, **options)
    assert again == loss and others.keys() == gradients.keys()
    for name, gradient in gradients.items():
        assert gradient.norm() > 1e-3, name
        assert (others[name] - gradient).norm() <= 1e-5 * gradient.norm(), name
    return gradients


def kept(model: PreTrainedModel, batch: ThoughtBatch, checkpointing: bool) -> int:
    """Elements that the backward pass finds kept: each piece of memory once, without the weights."""
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    held: dict[int, Tensor] = {}

    def pack(tensor: Tensor) -> Tensor:
        held[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        thinking = think(model, batch, checkpointing=checkpointing)
    assert thinking.states.requires_grad
    return sum(tensor.untyped_storage().nbytes() // 4 for place, tensor in held.items() if place not in weights)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
class TestGradients:
    """Equal to those of the step that keeps everything."""

    @pytest.mark.parametrize("recycle", ["post_norm", "pre_norm"])
    def test_mixed_stages(self, architecture: str, recycle: Recycle) -> None:
        assert_same(tiny_model(architecture), collate(layouts(), SPECIAL.pad), recycle=recycle)

    @pytest.mark.parametrize(
        ("kind", "stepwise"), [("continuous", False), ("pause", True), ("pause", False), ("none", None)]
    )
    def test_other_thoughts(self, architecture: str, kind: ThoughtKind, stepwise: bool | None) -> None:
        assert_same(tiny_model(architecture), collate(layouts(kind=kind, stepwise_passes=stepwise), SPECIAL.pad))

    def test_eager_attention(self, architecture: str) -> None:
        assert_same(tiny_model(architecture, attn_implementation="eager"), collate(layouts(), SPECIAL.pad))


class TestSteps:
    """Whatever else is on."""

    def test_dropout_draws_the_same_again(self) -> None:
        dropped: dict[str, Any] = dict.fromkeys(("attn_pdrop", "embd_pdrop", "resid_pdrop"), 0.2)
        batch = collate(layouts(), SPECIAL.pad)
        gradients = assert_same(tiny_model("gpt2", **dropped), batch)
        without = assert_same(tiny_model("gpt2"), batch)
        assert any((gradients[name] - own).norm() > 0.1 * own.norm() for name, own in without.items())

    def test_autocast(self) -> None:
        model, batch = tiny_model(), collate(layouts(), SPECIAL.pad)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            (loss, gradients), (again, others) = both(model, batch)
        assert again == loss
        assert all(torch.equal(others[name], gradient) for name, gradient in gradients.items())

    def test_windows(self) -> None:
        # Rows are longer than what a layer sees; its keys and values move on while the thoughts are thought.
        config = {"sliding_window": 4, "use_sliding_window": True, "max_window_layers": 1}
        assert_same(tiny_model("qwen2", **config), collate(layouts(), SPECIAL.pad))

    def test_twice_over_one_graph(self) -> None:
        model, batch = tiny_model(), collate(layouts(), SPECIAL.pad)
        total, _ = supervised_loss(model, batch, think(model, batch, checkpointing=True))
        first = torch.autograd.grad(total, list(model.parameters()), retain_graph=True)
        second = torch.autograd.grad(total, list(model.parameters()))
        assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))

    def test_two_batches_before_the_backward_pass(self) -> None:
        model = tiny_model()
        batches = [collate(layouts()[part], SPECIAL.pad) for part in (slice(0, 4), slice(4, 8))]

        def loss(checkpointing: bool) -> Tensor:
            parts = [supervised_loss(model, own, think(model, own, checkpointing=checkpointing))[0] for own in batches]
            return torch.stack(parts).sum()

        _, expected = loss_and_gradients(model, loss(False))
        _, found = loss_and_gradients(model, loss(True))
        assert all((found[name] - own).norm() <= 1e-5 * own.norm() for name, own in expected.items())

    def test_a_kept_cache_is_the_same_before_and_after(self) -> None:
        model, batch = tiny_model(), collate(layouts(), SPECIAL.pad)
        model.train(False)
        with torch.no_grad():
            expected = decode(model, think(model, batch, keep_cache=True), max_new_tokens=5, eos=SPECIAL.eos)
        thinking = think(model, batch, keep_cache=True, checkpointing=True)
        supervised_loss(model, batch, thinking)[0].backward()  # type: ignore[no-untyped-call]
        with torch.no_grad():
            assert decode(model, thinking, max_new_tokens=5, eos=SPECIAL.eos) == expected


class TestMemory:
    """What is kept, and for how long."""

    @pytest.mark.parametrize("architecture", ARCHITECTURES)
    def test_what_enters_each_layer_and_its_keys_and_values(self, architecture: str) -> None:
        model, batch = tiny_model(architecture), collate(layouts(), SPECIAL.pad)
        all_of_it, lean = kept(model, batch, False), kept(model, batch, True)
        assert lean < 0.35 * all_of_it

    def test_without_gradients_there_is_nothing_to_compute_again(self, monkeypatch: pytest.MonkeyPatch) -> None:
        model, batch = tiny_model(), collate(layouts(), SPECIAL.pad)
        expected = think(model, batch).states
        monkeypatch.setattr("lcot.reasoning.think.recomputed", None)
        with torch.no_grad():
            assert torch.equal(think(model, batch, checkpointing=True).states, expected)

    def test_a_step_that_nobody_finishes_is_freed(self) -> None:
        model, batch = tiny_model(), collate(layouts(), SPECIAL.pad)
        thinking = think(model, batch, keep_cache=True, checkpointing=True)
        assert thinking.cache is not None
        seen = weakref.ref(thinking.cache.layers[0].keys.grad_fn)  # type: ignore[union-attr]
        assert seen() is not None
        del thinking
        gc.collect()
        assert seen() is None


class TestLayers:
    """What is done to the model meanwhile."""

    def test_they_are_as_they_were_afterwards(self) -> None:
        model = tiny_model()
        before = [layer.forward for layer in model.base_model.layers]  # type: ignore[union-attr]
        with pytest.raises(ZeroDivisionError), recomputed(model, None):
            raise ZeroDivisionError
        assert [layer.forward for layer in model.base_model.layers] == before  # type: ignore[union-attr]

    def test_what_is_hooked_to_a_layer_runs_once(self) -> None:
        model, batch = tiny_model(), collate(layouts(), SPECIAL.pad)
        calls: list[nn.Module] = []
        layer = list(model.base_model.layers)[1]  # type: ignore[arg-type]
        layer.register_forward_hook(lambda module, args, output: calls.append(module))
        total, _ = supervised_loss(model, batch, think(model, batch, checkpointing=True))
        passes = len(calls)
        total.backward()  # type: ignore[no-untyped-call]
        assert passes == len(calls) == 1 + batch.max_thoughts

    def test_a_model_of_other_layers_is_refused(self) -> None:
        model = tiny_model()
        del model.base_model.layers
        with pytest.raises(UserError, match=r"activation checkpointing[^$]*model\.activation_checkpointing"):
            with recomputed(model, None):
                pass

"""Thoughts that are thought anew behind a changed one, against the definition: run everything again for each thought.

Letters in shapes: k thoughts, D hidden width.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from lcot.analysis import Thinker
from lcot.analysis.rethink import lacks, rethought
from lcot.analysis.thinker import measuring
from lcot.modules import Backbone, Coconut
from lcot.reasoning.batch import ThoughtBatch
from lcot.reasoning.curriculum import ThoughtKind
from lcot.reasoning.feeds import Feed, Projection
from lcot.reasoning.parallel import Jacobi
from lcot.reasoning.think import Recycle, Thinking
from lcot.reasoning.thinker import Thinker as Way
from tests.analysis.machine import builder_of
from tests.analysis.support import naive_rethought, problems, random_setting
from tests.models import ARCHITECTURES

K = 3
BACKBONE = Backbone(config={"model_type": "qwen3", **ARCHITECTURES["qwen3"]})


def of_module(feed: Feed | None = None, way: Way | None = None, recycle: Recycle = "post_norm") -> Thinker:
    """A random model within a module."""
    model, tokenizer = random_setting("compact", "qwen3")
    module = Coconut(
        Backbone(config={"model_type": "qwen3", **ARCHITECTURES["qwen3"]}), feed=feed, thinker=way, recycle=recycle
    )
    module.model = model
    if feed is not None:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            feed.build(model)
    module.eval()
    return Thinker.by(module, builder_of(tokenizer, markers="always"))


@pytest.mark.parametrize("projected", [False, True])
def test_they_are_those_of_the_definition(projected: bool) -> None:
    feed = Projection() if projected else None
    thinker = of_module(feed)
    rows = thinker.rows(thinker.builder.encode(problems("compact", 3)), K)
    own_feed = thinker.thinks.__self__.feed  # type: ignore[union-attr]
    with measuring(thinker.model):
        own = thinker.think(rows).inputs
        vectors = torch.randn(own.shape, generator=torch.Generator().manual_seed(0))
        assert lacks(thinker, rows, own) is None
        numbers = torch.tensor([0, 1, -1])
        found = rethought(thinker, rows, vectors, numbers)
        assert found is not None
        for row, number, vector, after, before in zip(rows, numbers.tolist(), vectors, found, own, strict=True):
            expected = naive_rethought(thinker.model, row, feed, number, vector[number], K)
            assert torch.allclose(after, expected, atol=1e-4)
            assert torch.allclose(after, before, atol=1e-4) == (number == -1)
    assert thinker.thinks.__self__.feed is own_feed  # type: ignore[union-attr]


def test_before_the_norm() -> None:
    thinker = of_module(recycle="pre_norm")
    rows = thinker.rows(thinker.builder.encode(problems("compact", 2)), K)
    with measuring(thinker.model):
        own = thinker.think(rows).inputs
        assert lacks(thinker, rows, own) is None
        changed = rethought(thinker, rows, 2 * own, torch.tensor([1, 1]))
    assert changed is not None
    assert torch.allclose(changed[:, 0], own[:, 0], atol=1e-4) and torch.allclose(
        changed[:, 1], 2 * own[:, 1], atol=1e-4
    )
    assert not torch.allclose(changed[:, 2], own[:, 2], atol=1e-2)


def test_a_module_is_left_as_it_was() -> None:
    thinker = of_module()
    module: Any = thinker.thinks.__self__  # type: ignore[union-attr]
    before, parts = dict(module.__dict__), dict(module._modules)
    rows = thinker.rows(thinker.builder.encode(problems("compact", 2)), K)

    with measuring(thinker.model):
        own = thinker.think(rows).inputs
        rethought(thinker, rows, own, torch.tensor([0, 0]))
        module.model, model = None, module.model
        with pytest.raises(AssertionError):
            rethought(thinker, rows, own, torch.tensor([0, 0]))
        module.model = model
    assert module.__dict__.keys() == before.keys() and module._modules.keys() == parts.keys()
    assert module.feed is None


def test_a_bare_model() -> None:
    thinker = replace(of_module(), thinks=None)
    rows = thinker.rows(thinker.builder.encode(problems("compact", 2)), K)
    with measuring(thinker.model):
        own = thinker.think(rows).inputs
        assert lacks(thinker, rows, own) is None
        found = rethought(thinker, rows, torch.zeros_like(own), torch.tensor([0, 1]))
    assert found is not None and not found[0, 0].any() and not found[1, 1].any() and found[0, 1].any()


class Own(Coconut):
    """A method that asks no feed."""

    def think(self, batch: ThoughtBatch, **options: Any) -> Thinking:
        feed, self.feed = self.feed, None
        thinking = super().think(batch, **options)
        self.feed = feed
        return thinking


class TestLacks:
    """Where there is nothing to think anew."""

    @staticmethod
    def why(thinker: Thinker, k: int = K) -> str | None:
        rows = thinker.rows(thinker.builder.encode(problems("compact", 2)), k)
        with measuring(thinker.model):
            return lacks(thinker, rows, thinker.think(rows).inputs)

    def test_one_thought(self) -> None:
        assert self.why(of_module(), 1) == "no thought comes behind another one"

    @pytest.mark.parametrize("kind", ["pause", "continuous"])
    def test_thoughts_of_one_state(self, kind: ThoughtKind) -> None:
        model, tokenizer = random_setting("compact")
        thinker = Thinker(model, builder_of(tokenizer, kind, markers="always", stepwise_passes=False))
        assert self.why(thinker) == "no thought is made of another one"

    def test_rounds(self) -> None:
        assert self.why(of_module(way=Jacobi(rounds=2))) == "thoughts are not made one after another"

    def test_methods_of_users(self) -> None:
        thinker = of_module()
        module = Own(BACKBONE)
        module.model = thinker.model
        module.eval()
        said = self.why(Thinker.by(module, thinker.builder))
        assert said == "this method does not make its thoughts one after another by its feed"

        class Strange(nn.Module):
            def think(self, batch: ThoughtBatch, *, keep_cache: bool = False) -> Thinking:
                return module.think(batch, keep_cache=keep_cache)

        said = self.why(replace(thinker, thinks=Strange().think))
        assert said == "this method has no feed that makes its thoughts one after another"

"""Coconut's module: closed-form loss pieces, the classifier that ends thoughts, and both ways of answering."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from lcot.datamodules.tokenizers import build_word_tokenizer
from lcot.errors import UserError
from lcot.modules import Backbone, Coconut, Halting
from lcot.reasoning.batch import ThoughtBatch, collate
from lcot.reasoning.curriculum import Stage
from lcot.reasoning.example import ReasoningExample
from lcot.reasoning.layout import EncodedExample, LayoutBuilder
from lcot.reasoning.recompute import recomputed
from lcot.reasoning.text import TextFormat
from lcot.reasoning.tokens import add_thought_tokens
from tests.training import GPT2, stages, tiny_data, tiny_module, tiny_trainer

TINY: dict[str, Any] = {
    "model_type": "llama",
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "initializer_range": 0.2,
}
EXAMPLES = [
    ReasoningExample("one two", ("two three.", "three four."), "four", "a"),
    ReasoningExample("four three two one", ("one two.",), "two", "b"),
]


def build(halting: Halting | None = None) -> tuple[Coconut, LayoutBuilder]:
    """A tiny module with its tokenizer, and the layouts that go with it."""
    tokenizer = build_word_tokenizer(["one two three. four."])
    special = add_thought_tokens(tokenizer)
    module = Coconut(Backbone(config=TINY), max_new_tokens=6, halting=halting)
    module.attach(tokenizer, special, TextFormat())
    module.model = module.backbone.build(tokenizer, special, seed=3)
    module.configure_model()
    return module, LayoutBuilder(tokenizer, special, "continuous")


def rows(builder: LayoutBuilder, thoughts: tuple[int, int], prompt: bool = False) -> ThoughtBatch:
    """Both examples with the given numbers of thoughts."""
    pieces = builder.encode(EXAMPLES)
    layouts = [
        builder.prompt(piece, n) if prompt else builder.train(piece, Stage(1, n))
        for piece, n in zip(pieces, thoughts, strict=True)
    ]
    return collate(layouts, builder.special.pad, examples=EXAMPLES)


def test_uniform_logits_cost_the_log_of_the_vocabulary() -> None:
    module, builder = build()
    assert module.model is not None
    head = module.model.get_output_embeddings()  # type: ignore[no-untyped-call]
    torch.nn.init.zeros_(head.weight)
    batch = rows(builder, (2, 2))
    summed, tokens, extras = module.loss(batch)
    assert tokens == int((batch.labels != -100).sum())
    assert float(summed.detach()) == pytest.approx(tokens * math.log(module.model.config.vocab_size), rel=1e-6)
    assert float(extras["thought_norm"]) > 0


def test_an_untrained_classifier_costs_log_two_and_counts_every_asked_state() -> None:
    # Rows with 0 and 2 thoughts: asked at bot of both and at 2 thoughts of the second, 4 states, p = 1/2 at each.
    module, builder = build(Halting(weight=0.5))
    plain, _ = build()
    batch = rows(builder, (0, 2))
    summed, tokens, _ = module.loss(batch)
    base, _, _ = plain.loss(batch)
    assert float((summed - base).detach()) == pytest.approx(0.5 * math.log(2) * tokens, rel=1e-4)


@pytest.mark.parametrize("thoughts", [(0, 0), (1, 3)])
def test_the_classifier_learns_when_to_stop_and_decoding_obeys_it(thoughts: tuple[int, int]) -> None:
    module, builder = build(Halting(max_thoughts=5))
    assert module.halt is not None
    batch = rows(builder, thoughts)
    optimizer = torch.optim.Adam(module.halt.parameters(), lr=0.3)
    for _ in range(150):
        optimizer.zero_grad()
        summed, _, extras = module.loss(batch)
        summed.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    assert float(extras["halt_accuracy"]) == 1.0
    module.eval()
    answers = module.answer(batch)
    assert answers.thoughts.tolist() == list(thoughts)
    fixed, _ = build()
    fixed.eval()
    assert fixed.answer(rows(builder, thoughts, prompt=True)).tokens == answers.tokens


def test_the_classifier_takes_part_in_every_loss() -> None:
    module, builder = build(Halting())
    assert module.halt is not None
    builder.kind = "none"
    summed, _, _ = module.loss(rows(builder, (0, 0)))
    summed.backward()  # type: ignore[no-untyped-call]
    assert module.halt.weight.grad is not None and not module.halt.weight.grad.any()


@pytest.mark.parametrize("halting", [None, Halting(max_thoughts=3)], ids=["fixed", "free"])
def test_compiled_answers_are_the_same(halting: Halting | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda function, **settings: function)  # what is compiled, uncompiled
    module, builder = build(halting)
    batch = rows(builder, (1, 3))
    expected = module.eval().answer(batch)
    module.compiled_decoding = True
    answers = [module.answer(batch) for _ in range(2)]
    assert module._one_column is not None and module._one_column.shapes
    for answer in answers:
        assert answer.tokens == expected.tokens and answer.thoughts.tolist() == expected.thoughts.tolist()


def test_compiled_decoding_is_refused_before_training() -> None:
    module, _ = build()
    assert module.model is not None
    module.compiled_decoding = True
    module.model.set_attn_implementation("eager")
    with pytest.raises(UserError, match="compiled_decoding"):
        module.configure_model()


def test_the_state_before_the_norm_is_another_thought() -> None:
    module, builder = build()
    batch = rows(builder, (3, 1))
    with torch.no_grad():
        behind = module.loss(batch)[0]
        module.recycle = "pre_norm"
        before, _, extras = module.loss(batch)
    assert abs(before - behind) > 1e-4
    assert extras["thought_norm"] > 0
    with pytest.raises(UserError, match=r"unknown recycle 'prenorm'.*\n.*model\.recycle"):
        Coconut(Backbone(config={"model_type": "gpt2"}), recycle="prenorm")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="compiled passes end with the norm"):
        Coconut(Backbone(config={"model_type": "gpt2"}), recycle="pre_norm", compiled_decoding=True)


def test_pauses_are_counted_as_thoughts() -> None:
    module, builder = build()
    builder.kind = "pause"
    assert module.eval().answer(rows(builder, (3, 1))).thoughts.tolist() == [3, 1]


def test_words_that_look_like_marks_are_words() -> None:
    # Text cannot hold them (see the layouts); were it to, layouts and not ids say what a thought is.
    module, builder = build(Halting())
    marks = [builder.special.bot, builder.special.pause]
    builder.kind = "none"
    row = builder.prompt(EncodedExample([*marks, 40], [], [41]), 0)
    batch = collate([row], builder.special.pad)
    assert not batch.marked and module.eval().answer(batch).thoughts.tolist() == [0]


@pytest.mark.parametrize("stepped", [True, False], ids=["multiple passes", "a single pass"])
def test_thoughts_are_shown_while_there_is_training(stepped: bool) -> None:
    module, builder = build()
    builder.stepwise_passes = stepped
    batch, seen = rows(builder, (2, 1)), []
    module.watch = lambda thoughts, there: seen.append((thoughts, there))
    _, _, extras = module.train().loss(batch)
    ((thoughts, there),) = seen
    assert thoughts.shape == (2, 2, TINY["hidden_size"]) and not thoughts.requires_grad
    assert there.tolist() == [[True, True], [True, False]]
    assert thoughts.norm(dim=-1)[there].mean() == pytest.approx(float(extras["thought_norm"]))
    assert torch.equal(thoughts[0, 0], thoughts[0, 1]) != stepped
    module.eval().loss(batch)
    module.train().loss(rows(builder, (0, 0)))
    assert len(seen) == 1, "neither in validation nor without thoughts"


def test_records_say_what_was_asked_and_written() -> None:
    module, builder = build()
    batch = rows(builder, (1, 1), prompt=True)
    records = module.eval().records(batch, module.answer(batch))
    assert [record["gold"] for record in records] == ["four", "two"]
    assert [record["steps"] for record in records] == [2, 1]
    assert all(record["thoughts"] == 1 and record["seconds"] > 0 for record in records)
    assert all(record["correct"] == (record["answer"] == record["gold"]) for record in records)


@pytest.mark.parametrize(("field", "value"), [("weight", 0.0), ("threshold", 1.0), ("max_thoughts", -1)])
def test_halting_refuses_numbers_out_of_range(field: str, value: float) -> None:
    with pytest.raises(UserError, match=r"model\.halting"):
        Halting(**{field: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("changes", [{}, {"halting": Halting(weight=0.5)}, {"recycle": "pre_norm"}])
def test_checkpointed_training_ends_in_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
) -> None:
    calls: list[bool] = []

    def noted(*args: Any) -> Any:
        calls.append(torch.is_grad_enabled())
        return recomputed(*args)

    monkeypatch.setattr("lcot.reasoning.think.recomputed", noted)
    ended = []
    for checkpointing in (False, True):
        dropped = {**GPT2, "resid_pdrop": 0.1, "attn_pdrop": 0.1}
        module = tiny_module(backbone=Backbone(config=dropped), activation_checkpointing=checkpointing, **changes)
        tiny_trainer(tmp_path, stages(), max_epochs=2).fit(module, datamodule=tiny_data())
        ended.append(module.state_dict())
        assert bool(calls) == checkpointing and all(calls)  # validation has nothing to compute again
    assert all((ended[1][name] - own).norm() <= 1e-5 * own.norm() for name, own in ended[0].items())


def test_layers_that_cannot_be_computed_again_are_refused_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Coconut, "loss", None)
    japanese = {"model_type": "gpt_neox_japanese", "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    module = tiny_module(backbone=Backbone(config=japanese, attention="eager"), activation_checkpointing=True)
    with pytest.raises(UserError, match=r"activation checkpointing of a gpt_neox_japanese model"):
        tiny_trainer(tmp_path, stages(), max_epochs=3).fit(module, datamodule=tiny_data())

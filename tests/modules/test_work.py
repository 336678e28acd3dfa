"""Operations of whole answers against what torch counts while they are made, method by method."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from lcot.datamodules.tokenizers import build_word_tokenizer
from lcot.modules import Backbone, Coconut, Halting, Voting
from lcot.modules.evaluation import Evaluation, Votes
from lcot.modules.paths import Paths
from lcot.modules.states import StateStore
from lcot.reasoning.batch import ThoughtBatch, collate
from lcot.reasoning.curriculum import Curriculum, Fixed, ThoughtKind
from lcot.reasoning.decode import Sampling
from lcot.reasoning.feeds import Add, Expectation, Projection
from lcot.reasoning.flops import Shape
from lcot.reasoning.given import Given
from lcot.reasoning.heads import LatentHead, SpanHead
from lcot.reasoning.layout import LayoutBuilder
from lcot.reasoning.parallel import Jacobi, Looped
from lcot.reasoning.text import TextFormat
from lcot.reasoning.think import Passes, Thinking
from lcot.reasoning.thinker import Thinker
from lcot.reasoning.tokens import add_thought_tokens
from tests.modules.test_coconut import EXAMPLES
from tests.modules.test_softcot import pair
from tests.reasoning.test_flops import beyond, eager
from tests.softcot import Pair, batch_of, layout_of, ready, soft

__all__ = ["pair"]  # a fixture

MODELS: dict[str, dict[str, Any]] = {
    "gpt2": {"model_type": "gpt2", "n_embd": 16, "n_layer": 2, "n_head": 2, "attn_pdrop": 0.0, "embd_pdrop": 0.0},
    "llama": {
        **{"model_type": "llama", "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2},
        **{"num_attention_heads": 4, "num_key_value_heads": 2},
    },
}
SAMPLED: dict[str, Any] = {"sampling": Sampling(1.5, seed=3), "voting": Voting(samples=3, runs=2)}


def built(model: str = "gpt2", kind: ThoughtKind = "continuous", made: type[Coconut] = Coconut, **parts: Any) -> Any:
    """A module that thinks with these parts, and what lays its rows out."""
    tokenizer = build_word_tokenizer(["one two three. four."])
    special = add_thought_tokens(tokenizer)
    module = made(Backbone(config={**MODELS[model], "initializer_range": 0.2}), max_new_tokens=5, **parts)
    module.attach(tokenizer, special, TextFormat())
    module.model = eager(module.backbone.build(tokenizer, special, seed=3))
    module.configure_model()
    return module.eval(), LayoutBuilder(tokenizer, special, kind)


def prompts(builder: LayoutBuilder, *thoughts: int) -> ThoughtBatch:
    """Prompts of unequal lengths with so many thoughts."""
    examples = [EXAMPLES[place % 2] for place in range(len(thoughts))]
    pieces = builder.encode(examples)
    rows = [builder.prompt(piece, n) for piece, n in zip(pieces, thoughts, strict=True)]
    return collate(rows, builder.special.pad, examples=examples)


@contextmanager
def watched(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[FlopCounterMode, list[int]]]:
    """Torch's count, and the operations of attention to masked columns within each pass."""
    inner, hidden = Passes.__call__, list[int]()

    def call(self: Passes, inputs: Tensor, start: int, stop: int, keep: int | None = None) -> Tensor:
        shape = Shape.of(self.model)
        assert shape is not None
        hidden.append(len(inputs) * beyond(shape, stop - start))
        states = inner(self, inputs, start, stop)  # whole: what nobody reads counts as well
        return states if keep is None else states[:, -keep:]

    with monkeypatch.context() as patch, FlopCounterMode(display=False) as counter:
        patch.setattr(Passes, "__call__", call)
        yield counter, hidden


def check(module: Any, batch: ThoughtBatch, monkeypatch: pytest.MonkeyPatch) -> None:
    """One question: its operations are those that torch counts, but for what masks hide."""
    assert len(batch) == 1
    with watched(monkeypatch) as (counter, hidden):
        votes = module.answers(batch)
    own = sum(answers.flops[0] for answers in votes.every)
    if module.voting.runs > 1:  # each run counts the thinking, which was done once for all of them
        own -= thinking_flops(module, batch) * (module.voting.runs - 1)
    assert own == pytest.approx(counter.get_total_flops() - sum(hidden), rel=1e-12)


def thinking_flops(module: Any, batch: ThoughtBatch) -> int:
    """Operations of thinking about one question, over all paths."""
    shape = Shape.of(module.model)
    thinkings = module.thinkings(batch, module.thought_paths)
    return sum(sum(module.thinking_flops(batch, thinking, shape)) for thinking in thinkings)


METHODS: dict[str, tuple[ThoughtKind, int, dict[str, Any]]] = {
    "cot": ("none", 0, {}),
    "pause": ("pause", 3, {}),
    "coconut": ("continuous", 3, {}),
    "coconut that stops": ("continuous", 0, {"halting": Halting(max_thoughts=3, threshold=0.99)}),
    "coconut that stops at once": ("continuous", 0, {"halting": Halting(max_thoughts=3, threshold=0.1)}),
    "codi": ("continuous", 4, {"feed": Projection()}),
    "soft thinking": ("continuous", 2, {"feed": Expectation()}),
    "pccot": ("continuous", 5, {"thinker": Jacobi(rounds=3), "feed": Projection()}),
    "pccot of few thoughts": ("continuous", 2, {"thinker": Jacobi(rounds=3)}),
    "pccot of no round": ("continuous", 2, {"thinker": Jacobi(rounds=0)}),
    "lotus": ("continuous", 6, {"thinker": Looped(rounds=6, per_step=2), "feed": Add()}),
    "lotus of all rounds": ("continuous", 4, {"thinker": Looped(rounds=3), "feed": Projection()}),
    "colar": ("continuous", 0, {"thinker": Given(max_thoughts=3), "feed": LatentHead()}),
    "c-mtp": ("continuous", 0, {"thinker": Given(max_thoughts=3), "feed": SpanHead(2)}),
    "votes": ("continuous", 3, SAMPLED),
}


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("method", METHODS)
def test_a_question(method: str, model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kind, thoughts, parts = METHODS[method]
    module, builder = built(model, kind, **parts)
    for row in (0, 1):
        check(module, one(builder, thoughts, row), monkeypatch)


def one(builder: LayoutBuilder, thoughts: int, row: int) -> ThoughtBatch:
    """One of the questions alone."""
    pieces = builder.encode([EXAMPLES[row]])
    return collate([builder.prompt(pieces[0], thoughts)], builder.special.pad, examples=[EXAMPLES[row]])


@pytest.mark.parametrize("method", [name for name in METHODS if name != "votes"])
def test_batch_mates_change_nothing(method: str) -> None:
    kind, thoughts, parts = METHODS[method]
    module, builder = built("llama", kind, **parts)
    plan = (thoughts, max(0, thoughts - 1), thoughts, max(0, thoughts - 2))
    together = module.answer(prompts(builder, *plan)).flops
    alone = [module.answer(one(builder, count, place % 2)).flops[0] for place, count in enumerate(plan)]
    assert together == alone


def test_by_hand() -> None:
    """GPT-2 of width 16 in two blocks: 12 · 16² weights a block, 4 · 16 operations a pair of columns and block."""
    module, builder = built("gpt2")
    batch = one(builder, 2, 0)
    answers = module.answer(batch)
    columns, tokens = int(batch.attention_mask.sum()), len(answers.tokens[0])
    column, pair, head = 2 * 2 * 12 * 16**2, 2 * 4 * 16, 2 * 16 * module.model.config.vocab_size
    read = columns + tokens - 1
    assert answers.flops == [read * column + read * (read + 1) // 2 * pair + tokens * head]


class Elsewhere(Coconut):
    """Thinks in a way of its own."""

    def think(self, batch: ThoughtBatch, **options: Any) -> Thinking:
        return super().think(batch, **options)


class Silent(Jacobi):
    """Does not say how often it reads."""

    def rereads(self, thoughts: int) -> Any:
        return Thinker.rereads(self, thoughts)


@pytest.mark.parametrize(("made", "thinker"), [(Elsewhere, None), (Coconut, Silent(rounds=2))])
def test_methods_that_do_not_say_are_not_counted(made: type[Coconut], thinker: Thinker | None) -> None:
    module, builder = built(made=made, thinker=thinker)
    answers = module.answer(one(builder, 3, 0))
    assert answers.flops is None
    evaluation = Evaluation(["string"])
    evaluation.count([[[""]]], ["four"], "###", Votes.single(answers), eos=1)
    assert "flops" not in evaluation.means()


def test_means_are_of_a_question_in_a_run() -> None:
    module, builder = built("gpt2", "continuous", Coconut, **SAMPLED)
    batch = prompts(builder, 3, 1)
    votes = module.answers(batch)
    evaluation = Evaluation(["string"], runs=2)
    texts = [[[""] * 2] * 3] * 2
    evaluation.count(texts, ["four", "two"], "###", votes, eos=1)
    each = [sum(sum(answers.flops) for answers in run) for run in votes.runs]
    assert float(evaluation.means()["flops"]) == pytest.approx(sum(each) / 4, rel=1e-6)


@pytest.mark.parametrize("thoughts", ["projected", "random", "zeros", "placeholders", "words"])
@pytest.mark.parametrize("curriculum", [soft(), Fixed(hidden="none")], ids=["thoughts", "none"])
def test_soft_thoughts(
    pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, thoughts: Any, curriculum: Curriculum
) -> None:
    module, data = ready(pair, tmp_path, curriculum, thoughts=thoughts)
    softly(module, batch_of(data, "val"), monkeypatch)


def test_paths_share_a_prompt(pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module, data = ready(pair, tmp_path, soft(), paths=Paths(count=3), sampling=Sampling(1.0))
    softly(module, batch_of(data, "val"), monkeypatch)


def softly(module: Any, batch: ThoughtBatch, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each question alone with its assistant, of which nothing is kept."""
    module.eval()
    for model in (module.model, module.assistant_model):
        if model is not None:
            eager(model)
    for row in range(2):
        if module.assistant is not None:
            module.assistant.store, module.assistant._written = StateStore(None, {}), {}
        layout = layout_of(batch, row)
        asked = replace(layout, ids=layout.ids[: layout.prompt], labels=layout.labels[: layout.prompt])
        check(module, collate([asked], 0, examples=[batch.examples[row]]), monkeypatch)

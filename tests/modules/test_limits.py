"""Where a model begins to compute otherwise, rows end: up to there a row alone is what it is in any batch."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from lcot.errors import UserError
from lcot.modules import limits
from lcot.modules.limits import context_length, window_length
from lcot.modules.probe import check_model
from lcot.reasoning.batch import collate
from lcot.reasoning.decode import decode
from lcot.reasoning.layout import IGNORE, Layout
from lcot.reasoning.think import think
from tests.models import FIRST_WORD, SPECIAL, VOCABULARY
from tests.oracle import cut, naive_row_loss
from tests.reasoning.support import row_losses
from tests.tiny import lcot, write_config

USUAL: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "pad_token_id": SPECIAL.pad,
    "bos_token_id": None,
    "eos_token_id": SPECIAL.eos,
}
LONGROPE = {
    "rope_type": "longrope",
    "rope_theta": 10000.0,
    "factor": 2.0,
    "original_max_position_embeddings": 28,
    "short_factor": [1.0] * 4,
    "long_factor": [4.0] * 4,
}


def rope(kind: str, **fields: Any) -> dict[str, Any]:
    """Rotary frequencies of a kind."""
    return {"rope_parameters": {"rope_type": kind, "rope_theta": 10000.0, "factor": 4.0, **fields}}


LLAMA3 = {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 16}
SLIDING = {"sliding_window": 28, "layer_types": ["sliding_attention", "full_attention"]}
PLAIN = {key: value for key, value in USUAL.items() if key not in ("num_key_value_heads", "intermediate_size")}
KINDS: dict[str, tuple[str, dict[str, Any], int, int | None]] = {
    # type, fields, longest row, columns that a layer sees
    "llama": ("llama", {}, 64, None),
    "llama, linear": ("llama", rope("linear"), 64, None),
    "llama, dynamic": ("llama", rope("dynamic"), 64, None),
    "llama, yarn": ("llama", rope("yarn", original_max_position_embeddings=16), 64, None),
    "llama, llama3": ("llama", rope("llama3", **LLAMA3), 64, None),
    "llama, longrope": ("llama", {"rope_parameters": LONGROPE}, 28, None),
    "phi3, longrope": ("phi3", {"rope_parameters": LONGROPE, "original_max_position_embeddings": 28}, 28, None),
    "mistral": ("mistral", {"sliding_window": 28}, 64, None),
    "qwen2, windows": ("qwen2", {"use_sliding_window": True, "sliding_window": 28, "max_window_layers": 1}, 64, None),
    "gemma3_text": ("gemma3_text", {**SLIDING, "head_dim": 8}, 64, None),
    "gpt_oss": ("gpt_oss", {**SLIDING, "head_dim": 8, "num_local_experts": 4, "num_experts_per_tok": 2}, 64, None),
    "gpt_neo": (
        "gpt_neo",
        {"window_size": 28, "attention_types": [[["global", "local"], 1]], "num_layers": 2, "num_heads": 4},
        28,
        28,
    ),
    "doge": ("doge", {"keep_window_size": 28}, 28, 28),
    "ministral3": ("ministral3", {"head_dim": 8}, 64, None),
}


def made(kind: str) -> PreTrainedModel:
    """A random model whose layers attend sharply."""
    architecture, fields, _, _ = KINDS[kind]
    config = AutoConfig.for_model(architecture, **{**(PLAIN if architecture == "gpt_neo" else USUAL), **fields})
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        model: PreTrainedModel = AutoModelForCausalLM.from_config(config)  # type: ignore[no-untyped-call]
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0, 0.25)
    model.train(False)
    return model


def rows(sizes: list[tuple[int, int, int]]) -> list[Layout]:
    """Rows of random words, by (question, thoughts, text)."""
    draw = random.Random(0)

    def row(question: int, thoughts: int, text: int) -> Layout:
        ids = [draw.randrange(FIRST_WORD, VOCABULARY) for _ in range(question + thoughts + text)]
        prompt = question + thoughts
        labels = [IGNORE] * prompt + ids[prompt:]
        return Layout(ids, labels, head=question, thoughts=thoughts, prompt=prompt, stepped=thoughts)

    return [row(*size) for size in sizes]


def losses(model: PreTrainedModel, given: list[Layout]) -> Tensor:
    batch = collate(given, SPECIAL.pad)
    return torch.tensor(row_losses(model, batch, think(model, batch)))


@pytest.mark.parametrize("kind", KINDS)
class TestKinds:
    """Every kind of length that a decoder knows of."""

    def test_limits(self, kind: str) -> None:
        _, _, context, window = KINDS[kind]
        model = made(kind)
        assert (context_length(model), window_length(model)) == (context, window)

    @torch.no_grad()
    def test_up_to_the_limit_no_row_knows_of_its_mates(self, kind: str) -> None:
        longest = KINDS[kind][2]
        model = made(kind)
        check_model(model)
        half = longest // 2
        # Among them a long question and a long text: together they are wider than the limit.
        given = rows([(4, 2, longest - 6), (longest - 4, 2, 2), (half, 3, half - 3), (3, 1, 3), (5, 0, longest - 5)])
        alone = torch.cat([losses(model, [row]) for row in given])
        assert torch.allclose(losses(model, given), alone, rtol=1e-5, atol=1e-5)
        defined = torch.stack([naive_row_loss(model, cut(row)) for row in given])
        assert torch.allclose(alone, defined, rtol=1e-5, atol=1e-5)

    @torch.no_grad()
    def test_and_writes_the_same(self, kind: str) -> None:
        longest = KINDS[kind][2]
        model, new, rest = made(kind), 5, 8
        # Windows see columns: a question, the longest rest of a prompt and new text are within one.
        given = rows([(longest - rest - new, 1, 0), (2, rest - 2, 0), (5, 0, 0)])
        prompts = [given, *([row] for row in given)]
        texts = [
            decode(model, think(model, collate(part, SPECIAL.pad), keep_cache=True), max_new_tokens=new, eos=-1)
            for part in prompts
        ]
        assert texts[0] == [text for part in texts[1:] for text in part]


@torch.no_grad()
@pytest.mark.parametrize("kind", ["llama, longrope", "phi3, longrope"])
def test_behind_the_limit_the_longest_row_would_decide_for_all(kind: str) -> None:
    model = made(kind)
    short, long = rows([(8, 1, 3), (40, 1, 3)])
    assert (losses(model, [short, long])[0] - losses(model, [short])[0]).abs() > 1e-2


def test_a_window_that_has_no_name_is_found_by_a_wide_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "_COUNTED", ())
    model = made("doge")
    assert context_length(model) == 64
    with pytest.raises(UserError, match=r"in a batch of 64 columns|masked columns"):
        check_model(model)


def test_the_language_model_within_another_is_asked() -> None:
    text = {**USUAL, **SLIDING, "head_dim": 8}
    vision = {**dict.fromkeys(("hidden_size", "intermediate_size"), 16), "num_hidden_layers": 1}
    config = AutoConfig.for_model("gemma3", text_config=text, vision_config={**vision, "num_attention_heads": 2})
    model = AutoModelForCausalLM.from_config(config)  # type: ignore[no-untyped-call]
    assert (context_length(model), window_length(model)) == (64, None)
    check_model(model)
    assert model.config.get_text_config().sliding_window == 28


def test_windows_that_no_mask_can_keep_are_a_limit() -> None:
    for kind in ("mistral", "gemma3_text"):
        config = made(kind).config
        model = type(made(kind))(config)
        model.config._attn_implementation = "flash_attention_2"  # set, and never run
        assert context_length(model) == window_length(model) == 28


def test_rows_behind_the_switch_are_refused_before_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    switched = {**LONGROPE, "short_factor": [1.0] * 4, "long_factor": [4.0] * 4}
    config = write_config(tmp_path, {"model.init_args.backbone.config.rope_parameters": switched})
    outcome = lcot("fit", "-c", config)
    assert outcome.code == 2
    assert "and the model has 28" in outcome.block and "model.backbone" in outcome.block


def test_rows_beyond_a_window_are_trained_and_answered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    fields = {"model_type": "mistral", "num_key_value_heads": 2, "sliding_window": 4}
    changed = {f"model.init_args.backbone.config.{name}": value for name, value in fields.items()}
    outcome = lcot("fit", "-c", write_config(tmp_path, changed))
    assert outcome.code == 0, outcome.block

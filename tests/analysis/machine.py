"""A language model that can be worked out on paper: a real Llama whose weights are written by hand.

Each token has a dimension of its own. Reading a token, or a thought, leads to a state, which is a token as well: its
own, or the one that ``moves`` names. What comes next depends on the state alone, by ``chances``. Attention writes
nothing, and all its scores are equal, so a place attends to each column that it sees alike.

A continuous thought is therefore a state, and reading it leads on to the next one.

Letters in shapes: V tokens, D dimensions (D ≥ V, even).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import get_args

import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel, PreTrainedTokenizerBase

from lcot.datamodules.graphs.text import Style
from lcot.datamodules.tokenizers import build_word_tokenizer
from lcot.reasoning.curriculum import Markers, ThoughtKind
from lcot.reasoning.layout import LayoutBuilder
from lcot.reasoning.text import TextFormat
from lcot.reasoning.tokens import PAUSE, add_thought_tokens
from tests.problems import NAMES, worked

NEVER = -60.0
"""Logit of what has no chance."""

OX: tuple[str, ...] = (*NAMES[:-1], "ox")
"""The names, with one that the tokenizer has to spell: three tokens for the dead end."""

STATES = tuple(f"▁state{number}" for number in range(8))
"""Tokens that no text here has; they name the states of thoughts."""

S0, S1, S2, S3, S4, *_ = STATES

COMPACT = TextFormat(after_question="", after_step="")
TOM, SPELLED = "▁Tom", "▁"

MOVES: Mapping[str, str] = {TOM: S0, S0: S1, S1: S2, S2: S3, PAUSE: S4}
CHANCES: Mapping[str, Mapping[str, float]] = {
    S0: {"▁lempus": 0.5, "▁rompus": 0.3, SPELLED: 0.1, "### ": 0.1},
    S1: {"▁impus": 0.6, "▁lempus": 0.1, SPELLED: 0.2, "▁wumpus": 0.1},
    S2: {"▁wumpus": 0.9, "▁impus": 0.05, "### ": 0.05},
    S4: {"▁impus": 0.25, "▁lempus": 0.5, SPELLED: 0.25},
    SPELLED: {"<0x6F>": 0.5, "<0x70>": 0.5},  # o, p
    "<0x6F>": {"<0x78>": 0.8, "<0x79>": 0.2},  # x, y
    "▁a": {"▁lempus": 0.6, "▁rompus": 0.2, SPELLED: 0.2},
    "▁Every": {"▁lempus": 0.4, "▁rompus": 0.2, "▁impus": 0.1, SPELLED: 0.3},
}
OX_BEHIND_ITS_FIRST = 0.5 * 0.8
"""Probability of the second and third token of the spelled name."""


def tokenizer_of(texts: Iterable[str]) -> PreTrainedTokenizerBase:
    """One token a word of some texts, and bytes for all else; with the thought tokens and those of states."""
    tokenizer = build_word_tokenizer([*texts, " ".join(state.removeprefix("▁") for state in STATES)])
    add_thought_tokens(tokenizer)
    return tokenizer


def builder_of(
    tokenizer: PreTrainedTokenizerBase,
    kind: ThoughtKind = "continuous",
    text: TextFormat = COMPACT,
    markers: Markers = "never",
    stepwise_passes: bool | None = None,
) -> LayoutBuilder:
    """Lays out rows in which the text, unless told otherwise, follows the last thought directly."""
    special = add_thought_tokens(tokenizer)
    return LayoutBuilder(tokenizer, special, kind, text, markers=markers, stepwise_passes=stepwise_passes)


def worked_tokenizer() -> PreTrainedTokenizerBase:
    """A tokenizer that knows every word of the worked problem but the last name."""
    texts = []
    for style in get_args(Style):
        example = worked(style, OX)
        texts += [example.question, *example.steps, example.answer]
    words = " ".join(texts).replace("ox", " ")
    return tokenizer_of([words, "Every. ", "### "])


def machine(
    tokenizer: PreTrainedTokenizerBase,
    chances: Mapping[str, Mapping[str, float]] = CHANCES,
    moves: Mapping[str, str] = MOVES,
    positions: int = 128,
) -> PreTrainedModel:
    """The model.

    Args:
        tokenizer: Its tokens.
        chances: For each state, the probability of what comes next; states that are not named are followed by the end
            of the text.
        moves: The state that reading a token leads to, where that is not the token itself.
        positions: Its context.
    """
    ids = tokenizer.get_vocab()
    width = len(tokenizer) + len(tokenizer) % 2
    scale = math.sqrt(width)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=len(moves),
        num_hidden_layers=1,
        num_attention_heads=2,
        head_dim=2,
        max_position_embeddings=positions,
        rms_norm_eps=1e-12,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.fill_(1.0 if "norm" in name else 0.0)
        model.model.embed_tokens.weight[:, : len(tokenizer)] = scale * torch.eye(len(tokenizer))
        mlp = model.model.layers[0].mlp
        open_gate = torch.nn.functional.silu(torch.tensor(10.0))
        for unit, (read, state) in enumerate(moves.items()):
            mlp.gate_proj.weight[unit, ids[read]] = 10.0 / scale
            mlp.up_proj.weight[unit, ids[read]] = 1.0 / scale
            mlp.down_proj.weight[ids[read], unit] = -scale / open_gate
            mlp.down_proj.weight[ids[state], unit] = scale / open_gate
        head = model.lm_head.weight
        head.fill_(NEVER / scale)
        for state, place in ids.items():
            for token, chance in chances.get(state, {str(tokenizer.eos_token): 1.0}).items():
                head[ids[token], place] = math.log(chance) / scale
    return model

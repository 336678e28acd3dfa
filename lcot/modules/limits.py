"""How long rows of a model may be, so that each is computed as it would be by itself.

A model's positions may end, and long before that it may begin to compute otherwise. Where that depends on the longest
row of a batch (LongRoPE changes the frequencies of all rows at once), or on columns (some windows count those that
padding takes), a row's result would depend on its batch mates. The place where it begins is then the limit.

Three kinds of model need none: rows that are computed otherwise by their own positions alone (YaRN and Llama 3's scaled
frequencies are the same at all lengths), dynamic NTK, which begins where the positions end, and sliding
windows, which masks made of positions keep (:mod:`lcot.reasoning.windows`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from transformers import PretrainedConfig, PreTrainedModel

from lcot.reasoning.windows import windows_of

_POSITIONS = ("max_position_embeddings", "max_target_positions")
SLIDING = "sliding_window"
"""The setting of windows that masks keep where they can."""

_COUNTED = (
    "window_size",  # GPT-Neo
    "attention_chunk_size",  # Llama 4
    "keep_window_size",  # Doge: columns that compete for attention
    "index_topk",  # DeepSeek's sparse attention, likewise
)


def text_config(model: PreTrainedModel) -> PretrainedConfig:
    """The configuration of the language model, within that of a model of several parts."""
    config: PretrainedConfig = model.config.get_text_config(decoder=True)
    return config


def context_length(model: PreTrainedModel) -> int | None:
    """Longest row that the model can take, in tokens; ``None`` if its configuration does not say."""
    config = text_config(model)
    limits = [*_numbers(config, _POSITIONS), *_switches(getattr(config, "rope_parameters", None))]
    window = window_length(model)
    return min([*limits, window] if window is not None else limits, default=None)


def window_length(model: PreTrainedModel) -> int | None:
    """Number of columns within which each row is what it is alone; ``None`` for all columns that there are.

    Only windows that count columns have one: masked columns between a prompt and its new text use them up as tokens do.
    Those that are kept by masks (:func:`~lcot.reasoning.windows.windows_of`) have none.
    """
    names = _COUNTED if windows_of(model.config) is not None else (SLIDING, *_COUNTED)
    return min(_numbers(text_config(model), names), default=None)


def _numbers(config: PretrainedConfig, names: tuple[str, ...]) -> Iterator[int]:
    for name in names:
        value = getattr(config, name, None)
        if isinstance(value, int) and value > 0:
            yield value


def _switches(rope: Mapping[str, Any] | None) -> Iterator[int]:
    """Numbers of positions behind which the frequencies of a whole batch are others."""
    for part in (rope or {}, *(part for part in (rope or {}).values() if isinstance(part, Mapping))):
        if part.get("rope_type") == "longrope" and part.get("original_max_position_embeddings"):
            yield int(part["original_max_position_embeddings"])

"""Whether a decoder can be driven as this package does it: asked of the model itself, with a few tokens.

Rows of a batch are padded, passes go on over a cache, and columns between a prompt and its new text may be masked. All
of that leaves a decoder's result as it is if its layers read earlier columns by attention with positions of their own.
A recurrent or convolutional layer carries padding along, and ALiBi as some models have it counts masked columns: their
losses and texts would be wrong without any sign of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from transformers import PreTrainedModel

from lcot.errors import UserError
from lcot.modules.limits import SLIDING, context_length, text_config
from lcot.reasoning.batch import ThoughtBatch, collate
from lcot.reasoning.cache import reserve
from lcot.reasoning.layout import IGNORE, Layout
from lcot.reasoning.think import Passes, output_head, think
from lcot.reasoning.windows import windows_of

PROVEN = ("gpt2", "llama", "qwen2", "qwen3")
"""Types that the tests compare with the definition; they are not asked anew for each model."""

_ATTENTION = {"full_attention", "sliding_attention", "chunked_attention", "mlp", "moe"}
"""Kinds of layers, as transformers names them, that carry nothing from column to column but keys and values."""

_LIMITS = {torch.float32: 2e-4}
"""Relative distance of states that rounding does not explain: right ones were at most 4e-6 apart, 1e-2 in 16 bits."""

_ROUNDED = 0.05
_NEAR, _FAR = 24, 512
"""Columns of two batches, at most: most places where a model begins to compute otherwise are within the larger one."""

_WINDOW = 5
"""Positions of a window in the check of those that are kept by masks."""

_WORK = 10**10
"""Parameters times columns that the larger batch may have: seconds, for any model."""


@torch.no_grad()
def check_model(model: PreTrainedModel) -> None:
    """Make sure that a model can be trained and asked here.

    Raises:
        UserError: If it scales or caps its logits behind the output head, or its states depend on padding, or on the
            passes in which they are computed.
    """
    kind, config = model.config.model_type, text_config(model)
    told = [
        f"{name} {value}"
        for name, without in (("final_logit_softcapping", None), ("logit_scale", 1.0), ("logits_scaling", 1.0))
        if (value := getattr(config, name, without)) not in (without, None)
    ]
    was_training = model.training
    model.train(False)
    try:
        # A cap does nothing to the small logits of an untrained model, so the configuration is asked first.
        if told or (kind not in PROVEN and not _head_is_last(model)):
            raise UserError(
                f"{kind} models change their logits behind the output head",
                where="model.backbone",
                why=f"losses at supervised positions only would be wrong{''.join(f'; {name}' for name in told)}",
                fix="use a model without logit scaling or capping, such as GPT-2, Llama, Qwen or Mistral",
            )
        if kind not in PROVEN:
            _check_layers(model)
            limit = context_length(model) or _FAR
            far = min(limit, _FAR, _WORK // model.num_parameters())
            for columns in sorted({min(limit, _NEAR), max(far, min(limit, _NEAR))}):
                _check_passes(model, columns)
            if windows_of(model.config) is not None:
                with _small_window(model):
                    _check_passes(model, min(limit, _NEAR))
    except (RuntimeError, ValueError, TypeError, AttributeError, IndexError, KeyError, AssertionError) as err:
        if isinstance(err, UserError):
            raise
        raise UserError(
            f"{kind} models cannot be driven by embeddings over a cache",
            where="model.backbone",
            why=f"{type(err).__name__}: {(str(err).strip() or 'no message').splitlines()[0]}",
            fix="use a decoder with a key-value cache, such as GPT-2, Llama, Qwen or Mistral",
        ) from err
    finally:
        model.train(was_training)


@torch.no_grad()
def check_sizes(model: PreTrainedModel) -> None:
    """Make sure that a model from scratch can compute anything: sizes that do not fit are noticed when it does.

    Raises:
        UserError: If it cannot.
    """
    if model.config._attn_implementation == "flash_attention_2":
        return  # runs on a GPU only, and the model is not there yet
    length = min(3, getattr(model.config, "max_position_embeddings", None) or 3)
    was_training = model.training
    model.train(False)
    try:
        model(input_ids=torch.zeros(1, length, dtype=torch.long, device=model.device))
    except (RuntimeError, ValueError, TypeError, ArithmeticError) as err:
        raise UserError(
            "the model's sizes do not fit each other",
            where="model.backbone.config",
            why=f"a pass over {length} tokens ends with: {(str(err).strip() or type(err).__name__).splitlines()[0]}",
            fix="let hidden_size be a multiple of the attention heads, and these one of num_key_value_heads; an own"
            " head_dim is even",
        ) from err
    finally:
        model.train(was_training)


@contextmanager
def _small_window(model: PreTrainedModel) -> Iterator[None]:
    """Let layers with windows see few positions, so that few columns are beyond."""
    config = text_config(model)
    before = getattr(config, SLIDING)
    setattr(config, SLIDING, _WINDOW)
    try:
        yield
    finally:
        setattr(config, SLIDING, before)


def _head_is_last(model: PreTrainedModel) -> bool:
    ids = torch.arange(3, device=model.device)[None]
    mask = torch.ones_like(ids)
    direct = output_head(model)(model.base_model(input_ids=ids, attention_mask=mask).last_hidden_state)
    whole = model(input_ids=ids, attention_mask=mask).logits
    return torch.allclose(direct.float(), whole.float(), rtol=1e-3, atol=1e-3)


def _check_layers(model: PreTrainedModel) -> None:
    other = sorted(set(getattr(text_config(model), "layer_types", None) or ()) - _ATTENTION)
    if other:
        raise _wrong(model, f"it has layers of kind {', '.join(other)}, which carry padding along")


def _check_passes(model: PreTrainedModel, columns: int) -> None:
    """Compare rows of a batch with themselves alone; with one more token, the batch has that many columns."""
    question, text = columns // 2, columns - columns // 2 - 2
    rows = [_row(question, 2), _row(2, text), _row(question // 2, text)]
    batch = collate(rows, pad=0).to(model.device)
    padded, further = _batched(model, batch)
    alone = [_alone(model, row) for row in rows]
    limit = _LIMITS.get(further.dtype, _ROUNDED)
    off = max(_distance(states, wanted) for states, (wanted, _) in zip(padded, alone, strict=True))
    if off > limit:
        raise _wrong(model, f"a row's states are others in a batch of {columns} columns, by {off:.0e} of their length")
    off = max(_distance(state, wanted) for state, (_, wanted) in zip(further, alone, strict=True))
    if off > limit:
        raise _wrong(model, f"a token's state is another with masked columns before it, by {off:.0e} of its length")


def _row(question: int, text: int) -> Layout:
    """A row with one thought: ids 1, 2, … for the question, then the thought's place, then text."""
    ids = [1 + place % 8 for place in range(question + 1 + text)]
    labels = [IGNORE] * (question + 1) + ids[question + 1 :]
    return Layout(ids, labels, head=question, thoughts=1, prompt=question + 1, stepped=1)


def _batched(model: PreTrainedModel, batch: ThoughtBatch) -> tuple[list[Tensor], Tensor]:
    """The states of each row's prompt end and text, and of one more token that is written behind its prompt."""
    thinking = think(model, batch, keep_cache=True)
    assert thinking.cache is not None
    length = batch.input_ids.shape[1]
    mask = batch.attention_mask & (torch.arange(length, device=model.device) < batch.prompt_ends[:, None])
    positions = batch.position_ids.gather(1, batch.prompt_ends[:, None] - 1) + 1
    reserve(thinking.cache, length + 1)
    passes = Passes(
        model,
        torch.cat([mask, torch.ones_like(mask[:, :1])], dim=1),
        torch.cat([batch.position_ids, positions], dim=1),
        thinking.cache,
    )
    written = batch.input_ids.gather(1, batch.prompt_ends[:, None])
    further = passes(model.get_input_embeddings()(written), length, length + 1)[:, -1]
    texts = batch.attention_mask & (torch.arange(length, device=model.device) >= batch.prompt_ends[:, None] - 1)
    rows = zip(thinking.states[:, 1:], texts[:, batch.first :], strict=True)
    return [states[chosen] for states, chosen in rows], further


def _alone(model: PreTrainedModel, row: Layout) -> tuple[Tensor, Tensor]:
    """The same of one row by itself, without a cache."""

    def run(inputs: Tensor) -> Tensor:
        mask = torch.ones(inputs.shape[:2], dtype=torch.long, device=inputs.device)
        states: Tensor = model.base_model(inputs_embeds=inputs, attention_mask=mask, use_cache=False).last_hidden_state
        return states

    embedded = model.get_input_embeddings()(torch.tensor([row.ids], device=model.device))
    thought = run(embedded[:, : row.head])[:, -1:]
    inputs = torch.cat([embedded[:, : row.head], thought, embedded[:, row.prompt :]], dim=1)
    states = run(inputs)[0, row.prompt - 1 :]
    return states, states[1]


def _distance(found: Tensor, wanted: Tensor) -> float:
    """The median over states of ‖found - wanted‖ / ‖wanted‖: routing to experts may flip for a single one."""
    apart = (found.float() - wanted.float()).norm(dim=-1) / wanted.float().norm(dim=-1)
    return float(apart.median()) if bool(apart.isfinite().all()) else float("inf")


def _wrong(model: PreTrainedModel, why: str) -> UserError:
    return UserError(
        f"{model.config.model_type} models cannot be run in padded batches",
        where="model.backbone",
        why=why,
        fix="use a decoder whose layers all read by attention, such as GPT-2, Llama, Qwen or Mistral",
    )

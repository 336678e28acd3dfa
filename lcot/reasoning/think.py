"""The multi-pass forward: each thought is the last hidden state, fed back as the next input embedding.

With P the column of the first thoughts and N the largest number of thoughts in the batch, there are N + 1 passes over
one growing key-value cache (arXiv 2412.06769, section 3):

    columns [0, P)          question and bot
    column  P, … P + N - 2  one thought each; its input is the state of the column before
    columns [P + N - 1, L)  the last thought, eot and text

A row with fewer than N thoughts has ordinary tokens in the later one-column passes, so rows of all stages may share a
batch. Two controls separate the passes from what is fed back: pauses in passes of their own, and thoughts that all read
the one state before column P, in two passes whatever N is.

Letters in shapes: B rows, L columns, D hidden width, N thoughts, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import Cache, PreTrainedModel

from lcot.errors import UserError
from lcot.reasoning.batch import ThoughtBatch
from lcot.reasoning.buffers import FixedCache
from lcot.reasoning.cache import GrowingCache, attends_to_all, growing_cache
from lcot.reasoning.compiled import OneColumn
from lcot.reasoning.feeds import Feed
from lcot.reasoning.layout import IGNORE
from lcot.reasoning.narrow import FINAL_NORMS, can_be_narrowed, narrowed
from lcot.reasoning.recompute import recomputed
from lcot.reasoning.windows import Seen, Windows, attended, windows_of


@dataclass(slots=True)
class Thinking:
    """What is left after the passes.

    Attributes:
        states: ``(B, L - P + 1, D)`` last hidden states (after the final norm) of columns P - 1 … L - 1.
        first: P, the column of the first thoughts (see :class:`~lcot.reasoning.batch.ThoughtBatch`).
        cache: Keys and values of all L columns; ``None`` if none was asked for.
        attention_mask: ``(B, L)`` bool: which columns of the cache are real.
        position_ids: ``(B, L)``.
        prompt_ends: ``(B,)`` column behind each row's prompt.
        thoughts: ``(B,)`` number of thoughts of each row.
        fed: ``(B, N, D)`` what was read at the places of the thoughts; ``None`` without thoughts.
        sources: ``(B, N, D)`` the states that the thoughts were made of, behind the final norm; ``None`` where they
            were made of none.
        layers: ``(K + 1, B, D)`` states of all layers, the embeddings first and the final norm behind the last, at the
            columns that were asked for; ``None`` where nobody asked.
        continues_at: ``(B,)`` positions of the first tokens that are written; behind the prompt's last one if ``None``.
        before: ``(B, D)`` last hidden states of column P - 2, where a thinker keeps them: bot may be asked of them.
        spoken: What the output head reads of states; themselves if not given.
    """

    states: Tensor
    first: int
    cache: Cache | None
    attention_mask: Tensor
    position_ids: Tensor
    prompt_ends: Tensor
    thoughts: Tensor
    fed: Tensor | None = None
    sources: Tensor | None = None
    layers: Tensor | None = None
    continues_at: Tensor | None = None
    before: Tensor | None = None
    spoken: Callable[[Tensor], Tensor] | None = None

    @classmethod
    def of(cls, batch: ThoughtBatch, states: Tensor, cache: Cache | None, **further: Any) -> Self:
        """What passes over the columns of a batch left behind."""
        return cls(
            states=states,
            first=batch.first,
            cache=cache,
            attention_mask=batch.attention_mask,
            position_ids=batch.position_ids,
            prompt_ends=batch.prompt_ends,
            thoughts=batch.thoughts,
            **further,
        )

    def state_at(self, columns: Tensor) -> Tensor:
        """Last hidden states ``(B, D)`` of one column a row; ``columns`` is ``(B,)``, each at least P - 1."""
        rows = torch.arange(len(columns), device=columns.device)
        return self.states[rows, columns - (self.first - 1)]

    def next_positions(self) -> Tensor:
        """``(B,)`` positions of the first tokens that are written."""
        if self.continues_at is not None:
            return self.continues_at
        return self.position_ids.gather(1, self.prompt_ends[:, None] - 1)[:, 0] + 1

    def logits(self, model: PreTrainedModel, states: Tensor) -> Tensor:
        """What the model that did the thinking says ``(…, V)`` at states ``(…, D)``."""
        said: Tensor = output_head(model)(states if self.spoken is None else self.spoken(states))
        return said


Recycle = Literal["post_norm", "pre_norm"]
"""Which state is fed back: the one behind the model's final norm (the released Coconut code, by way of transformers'
``hidden_states[-1]``), or the one before it."""


def think(
    model: PreTrainedModel,
    batch: ThoughtBatch,
    *,
    keep_cache: bool = False,
    compiled: OneColumn | None = None,
    recycle: Recycle = "post_norm",
    checkpointing: bool = False,
    feed: Feed | None = None,
    layers_at: Tensor | None = None,
    passes: Callable[..., Passes] | None = None,
) -> Thinking:
    """Run all passes over a batch.

    Args:
        model: A causal language model with a cache. Gradients flow through every thought.
        batch: B rows with aligned first thoughts.
        keep_cache: Keep keys and values, to decode from them. Without thoughts this is the only use of a cache.
        compiled: Runs the one-column passes, those of decoding included; without gradients only. Its buffers hold one
            batch: decode before it thinks of the next.
        recycle: Which state is fed back. The text is read from states behind the norm in any case.
        checkpointing: Keep each layer's inputs, keys and values only, and compute the rest again in the backward pass.
            No effect on values, and none without gradients.
        feed: What the state becomes before it is read as the next thought; itself if not given.
        layers_at: ``(B,)`` columns at which the states of all layers are kept (``Thinking.layers``); -1 for none.
        passes: Makes what runs them, in place of :class:`Passes`.

    Returns:
        The states from the last prompt column on; the question's other states are never gathered, since no label looks
        at them.

    Raises:
        UserError: If a cache is needed and the model, in training mode, has transformers' own checkpointing switched
            on, which drops the cache silently. If ``compiled`` is of another model, or gradients are recorded.
    """
    if recycle == "pre_norm":
        assert compiled is None, "compiled passes end with the norm"
        with without_final_norm(model) as norm:
            before = think(
                model,
                batch,
                keep_cache=keep_cache,
                checkpointing=checkpointing,
                feed=feed,
                layers_at=layers_at,
                passes=passes,
            )
        sources = None if before.sources is None else norm(before.sources)
        return replace(before, states=norm(before.states), sources=sources)
    embeddings = model.get_input_embeddings()(batch.input_ids)
    head, length = batch.first, batch.input_ids.shape[1]
    end = head + (batch.stepped or batch.max_thoughts)
    cache = new_cache(model, length, compiled) if keep_cache or end > head else None
    made_by = passes or Passes
    forward = made_by(model, batch.attention_mask, batch.position_ids, cache, checkpointing, layers_at)
    if end == head:
        states = forward(embeddings, 0, length, length - head + 1)
        return Thinking.of(batch, states, cache, layers=forward.layers)
    # One split instead of a slice each: the backward of a slice fills a gradient of all columns with zeros.
    widths = [1] * (end - head) if batch.stepped else [end - head]
    prompt, *slots, text = embeddings.split([head, *widths, length - end], dim=1)
    gathered = [forward(prompt, 0, head, 1)]
    if not batch.stepped:
        is_thought = torch.arange(end - head, device=embeddings.device) < batch.thoughts[:, None]
        sources = gathered[0].expand(-1, end - head, -1)
        made = sources if feed is None else feed(sources, slots[0], model)
        inputs = torch.where(is_thought[..., None], made.to(embeddings.dtype), slots[0])
        gathered.append(forward(torch.cat([inputs, text], dim=1), head, length))
        states = torch.cat(gathered, dim=1)
        return Thinking.of(batch, states, cache, fed=inputs, sources=sources, layers=forward.layers)
    read = []
    for column, token in enumerate(slots, start=head):
        # Rows whose thoughts are over read their own token here; torch.where keeps both gradients exact.
        is_thought = (column - head < batch.thoughts)[:, None, None]
        made = gathered[-1] if feed is None else feed(gathered[-1], token, model)
        inputs = torch.where(is_thought, made.to(token.dtype), token)
        read.append(inputs)
        if column + 1 < end:
            gathered.append(forward(inputs, column, column + 1))
        else:  # nothing waits for the last thought's state but the text, so both share a pass
            gathered.append(forward(torch.cat([inputs, text], dim=1), column, length))
    states = torch.cat(gathered, dim=1)
    fed, sources = torch.cat(read, dim=1), states[:, : end - head]
    return Thinking.of(batch, states, cache, fed=fed, sources=sources, layers=forward.layers)


@dataclass(slots=True)
class Passes:
    """Runs the backbone (no head) over a slice of columns, appending to one cache.

    Attributes:
        model: The language model.
        attention_mask: ``(B, ≥ stop)`` bool over cached and current columns.
        position_ids: ``(B, ≥ stop)``.
        cache: Grows by the slice; ``None`` for a single pass over everything.
        checkpointing: As in :func:`think`.
        layers_at: ``(B,)`` columns at which the states of all layers are kept; -1 for none.
        layers: ``(K + 1, B, D)`` those states, zeros at columns that were not passed.
        windows: Those of the model's layers that are kept here; ``None`` without, or where transformers keeps them.
    """

    model: PreTrainedModel
    attention_mask: Tensor
    position_ids: Tensor
    cache: Cache | None
    checkpointing: bool = False
    layers_at: Tensor | None = None
    layers: Tensor | None = field(default=None, init=False)
    _whole: bool = field(init=False)
    windows: Windows | None = field(init=False)

    def __post_init__(self) -> None:
        self._whole = self.cache is not None and attends_to_all(self.cache)
        of_model = windows_of(self.model.config) if self.cache is None else None
        self.windows = self.cache.windows if isinstance(self.cache, GrowingCache) else of_model

    def __call__(self, inputs: Tensor, start: int, stop: int, keep: int | None = None) -> Tensor:
        """Last hidden states of embeddings.

        Args:
            inputs: ``(B, stop - start, D)`` embeddings.
            start: The first column.
            stop: The column behind the last one.
            keep: How many of the last columns are asked for; all if not given.

        Returns:
            ``(B, stop - start, D)``, or ``(B, keep, D)``.
        """
        if start and stop - start == 1 and isinstance(self.cache, FixedCache):
            return self.cache.run(inputs, self.attention_mask[:, :stop], self.position_ids[:, start:stop])
        # Mask and positions are always given: left padding shifts learned positions otherwise, and repeated positions
        # without a mask would be read as several packed sequences.
        lean = self.checkpointing and torch.is_grad_enabled()
        few = keep if keep is not None and self._may_keep_few(start, stop - start, keep) else None
        kept: Any
        with (
            recomputed(self.model, self.cache) if lean else nullcontext(),
            nullcontext() if few is None else narrowed(self.model, few, lean) as kept,
        ):
            output = self.model.base_model(
                inputs_embeds=inputs,
                attention_mask=self._mask(start, stop, inputs.dtype),
                position_ids=self.position_ids[:, start:stop],
                past_key_values=self.cache,
                use_cache=self.cache is not None,
                output_hidden_states=self.layers_at is not None,
            )
        if self.layers_at is not None:
            self._keep_layers(output.hidden_states, start, stop)
        states: Tensor = kept.states if few is not None else output.last_hidden_state
        return states if keep is None else states[:, -keep:]

    def _may_keep_few(self, start: int, columns: int, keep: int) -> bool:
        """Whether the last layer can leave out what nobody asks for."""
        whole = self.cache is None or self._whole
        return not start and keep < columns and whole and self.layers_at is None and can_be_narrowed(self.model)

    def _keep_layers(self, layers: tuple[Tensor, ...], start: int, stop: int) -> None:
        assert self.layers_at is not None
        here = (start <= self.layers_at) & (self.layers_at < stop)
        columns = torch.where(here, self.layers_at - start, 0)
        rows = torch.arange(len(columns), device=columns.device)
        found = torch.stack([states[rows, columns] for states in layers]) * here[:, None]
        self.layers = found if self.layers is None else self.layers + found

    def _mask(self, start: int, stop: int, dtype: torch.dtype) -> Seen:
        """The mask in the form that costs least: ``(B, stop)``, or ``(B, 1, 1, stop)`` for a single column.

        Layers with windows get what they see in four dimensions.
        """
        mask = self.attention_mask[:, :stop]
        if self.windows is not None:
            return attended(self.model, self.windows, mask, self.position_ids[:, :stop], start, dtype)
        # From a 2D mask transformers builds this one anew in each pass, and on a GPU waits for its values to be read
        # back. Only sdpa takes a bool mask as it is; eager attention would add it to the scores.
        if stop - start == 1 and self._whole and self.model.config._attn_implementation == "sdpa":
            return mask[:, None, None]
        return mask.long()


def supervised_loss(model: PreTrainedModel, batch: ThoughtBatch, thinking: Thinking) -> tuple[Tensor, int]:
    """Cross-entropy in nats, summed over the supervised positions, and their number.

    The state of column t - 1 predicts the label of column t. Head and softmax run at those positions only, in float32.
    A sum is returned so that the caller can divide by the number of tokens of all ranks.
    """
    states, start = thinking.states, batch.first
    if thinking.before is not None:
        states, start = torch.cat([thinking.before[:, None], states], dim=1), start - 1
    targets = batch.labels[:, start:]
    # Looked up once: on a GPU each use of a mask as an index waits for it to be read back.
    rows, columns = (targets != IGNORE).nonzero(as_tuple=True)
    logits = thinking.logits(model, states[rows, columns])
    loss = F.cross_entropy(logits.float(), targets[rows, columns], reduction="sum")
    return loss, len(rows)


def output_head(model: PreTrainedModel) -> nn.Module:
    """The layer that turns states ``(…, D)`` into logits ``(…, V)``."""
    head = model.get_output_embeddings()  # type: ignore[no-untyped-call]
    assert isinstance(head, nn.Module), "a causal language model has an output head"
    return head


@contextmanager
def without_final_norm(model: PreTrainedModel) -> Iterator[nn.Module]:
    """Let the backbone's last hidden states be those before its final norm, which is handed out meanwhile.

    Raises:
        UserError: If the backbone's final norm has none of the names that decoders give it.
    """
    backbone = model.base_model
    name = next((name for name in FINAL_NORMS if isinstance(getattr(backbone, name, None), nn.Module)), None)
    if name is None:
        raise UserError(
            f"the final norm of a {model.config.model_type} model was not found",
            where="model.recycle",
            why=f"its backbone has none of {', '.join(FINAL_NORMS)}",
            fix="use 'post_norm'",
        )
    norm: nn.Module = getattr(backbone, name)
    setattr(backbone, name, nn.Identity())
    try:
        yield norm
    finally:
        setattr(backbone, name, norm)


def refuse_dropped_cache(model: PreTrainedModel) -> None:
    """Raise where the cache would be lost.

    Raises:
        UserError: If transformers' own checkpointing is on.
    """
    if model.training and any(getattr(module, "gradient_checkpointing", False) for module in model.modules()):
        raise UserError(
            "transformers' gradient checkpointing is switched on in the backbone",
            why="it discards the key-value cache without an error, and every thought would see nothing",
            fix="switch it off, and set model.activation_checkpointing, or think(…, checkpointing=True)",
        )


def new_cache(model: PreTrainedModel, columns: int, compiled: OneColumn | None) -> Cache:
    """An empty cache for as many columns; that of compiled passes where there are some.

    Raises:
        UserError: If it would be lost, or the passes are of another model.
    """
    refuse_dropped_cache(model)
    if compiled is None:
        return growing_cache(model.config, columns)
    if compiled.model is not model:
        raise UserError("the compiled passes are of another model", fix="make a OneColumn of this one")
    return compiled.cache(columns)

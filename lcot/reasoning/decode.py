"""Batched decoding from the cache that thinking left behind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import PreTrainedModel

from lcot.errors import UserError
from lcot.reasoning.cache import attends_to_all, move, put, reserve
from lcot.reasoning.keyed import keyed_seed
from lcot.reasoning.think import Passes, Thinking


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is chosen: penalty, temperature, ``top_k`` and ``top_p`` act in this order.

    Attributes:
        temperature: 0 is greedy; otherwise logits are divided by it.
        top_k: Keep the k most likely tokens; 0 keeps all. No effect when greedy.
        top_p: Keep the smallest set of tokens whose probability reaches p; 1 keeps all. No effect when greedy.
        seed: Keys the draws together with each row's index, so that a row's text does not depend on its batch. No
            effect when greedy.
        repetition_penalty: Tokens that stand in the row's text already have their logits divided by this where they are
            positive, and multiplied by it where they are negative (CTRL, arXiv 1909.05858, as transformers has it); 1
            changes nothing. It acts on greedy choice too. Tokens of the prompt do not count, since thoughts have no
            ids; nor do they in transformers if it is given embeddings, as by the released SoftCoT code.
        thoughts: Multiplies the deviations of thoughts that a head draws (CoLaR's ``LatentHead``); 0 takes the thoughts
            that it expects. They are drawn once a question, however many texts are written, and keyed by ``seed`` and
            the question.
    """

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int = 0
    repetition_penalty: float = 1.0
    thoughts: float = 0.0

    def __post_init__(self) -> None:
        if self.thoughts < 0:
            raise UserError(f"thoughts is {self.thoughts}", where="sampling.thoughts", fix="use 0 or more")
        if self.temperature < 0 or self.top_k < 0 or not 0 < self.top_p <= 1 or self.repetition_penalty <= 0:
            raise UserError(
                f"temperature {self.temperature}, top_k {self.top_k}, top_p {self.top_p},"
                f" repetition_penalty {self.repetition_penalty}",
                where="sampling",
                fix="temperature and top_k are 0 or more, top_p is above 0 and at most 1, the penalty is above 0",
            )


@dataclass(frozen=True, slots=True)
class Draws:
    """Which random draws a row's text is made of. The first text of a row is that of path 0 and sample 0.

    Attributes:
        seed: Of the sampling.
        index: Of the row's question.
        path: Number of the way of thinking about it that the text is written from.
        sample: Number of the text among those that are written from it.
    """

    seed: int
    index: int
    path: int = 0
    sample: int = 0

    def uniform(self, step: int) -> float:
        """The number in [0, 1) for a token of the text, by its place there."""
        further = (self.path, self.sample) if self.path or self.sample else ()
        # 24 bits, which float32 holds exactly: a number that rounds up to 1 would pick a token that was cut off.
        return (keyed_seed("token", self.seed, self.index, *further, step) >> 39) / 2.0**24


@dataclass(slots=True, eq=False)
class Text:
    """What is written of a row.

    Attributes:
        draws: Its random draws.
        tokens: The new token ids so far.
    """

    draws: Draws
    tokens: list[int] = field(default_factory=list)


T = TypeVar("T", bound=Text)


class Writer(Generic[T]):
    """Writes texts token by token, one a place: rows of one batch, each with a place of its own.

    A row whose text has ended leaves its place idle. Others may be seated there, and all rows then go on in one column:
    what is in front of a shorter one is masked, as padding is.

    Args:
        model: The model that did the thinking.
        max_new_tokens: Upper bound of new tokens a row.
        eos: Ends a row.
        sampling: How tokens are chosen.
        spare: Number of columns to keep free so that rows can be seated for a while without a move.

    Attributes:
        live: The texts that are being written, by place.
        places: How many there are.
    """

    def __init__(
        self, model: PreTrainedModel, max_new_tokens: int, eos: int, sampling: Sampling, spare: int = 0
    ) -> None:
        self.model = model
        self.max_new_tokens = max_new_tokens
        self.eos, self.ends = eos, ends_of(model, eos)
        self.sampling = sampling
        self.spare = spare
        self.live: dict[int, T] = {}
        self.places = 0

    def begin(self, thinking: Thinking, texts: Sequence[T]) -> None:
        """Write the rows of a thinking, one text each, in the place of whatever was written before.

        Args:
            thinking: Of B rows, with its cache, which is consumed.
            texts: B empty ones.
        """
        assert thinking.cache is not None, "think(..., keep_cache=True) before decoding"
        self.places, length = thinking.attention_mask.shape
        self._thinking, self._cache, self._column = thinking, thinking.cache, length
        if self.spare and attends_to_all(self._cache):
            move(self._cache, length, length + self.max_new_tokens + self.spare)
        reserve(self._cache, length + self.max_new_tokens - 1)
        seen = _prompt(thinking)
        more = self.max_new_tokens + self.spare
        self._mask = F.pad(seen, (0, more), value=True)
        self._positions = F.pad(thinking.position_ids, (0, more))
        self._offsets = thinking.next_positions() - length
        self._states = thinking.state_at(thinking.prompt_ends - 1)
        self._tokens = thinking.prompt_ends.new_zeros(self.places)
        self._seen: Tensor | None = None  # tokens of each row's text, where they make a difference
        self.live = dict(enumerate(texts)) if self.max_new_tokens else {}

    @property
    def idle(self) -> int:
        """How many places nobody has."""
        return self.places - len(self.live)

    @property
    def seats(self) -> bool:
        """Whether rows of another thinking can have idle places: all layers see all columns, and some are spare."""
        return self.spare > 0 and self.places > 0 and attends_to_all(self._cache)

    def can_seat(self, thinking: Thinking) -> bool:
        """Whether its rows can be written among those that are here."""
        assert thinking.cache is not None
        return self.seats and attends_to_all(thinking.cache) and thinking.spoken == self._thinking.spoken

    def seat(self, thinking: Thinking, rows: Sequence[int], texts: Sequence[T]) -> None:
        """Give idle places to rows of another thinking.

        Args:
            thinking: With a cache, which is only read.
            rows: R of its rows, as many as there are idle places at most.
            texts: R empty ones.
        """
        assert thinking.cache is not None and len(rows) <= self.idle
        device = self._states.device
        free = [place for place in range(self.places) if place not in self.live][: len(rows)]
        chosen, there = torch.tensor(rows, device=device), torch.tensor(free, device=device)
        seen = _prompt(thinking)[chosen]
        begin, end = _span(seen)
        self._make_room(end - begin)
        first = self._column - (end - begin)
        put(self._cache, there, first, thinking.cache, chosen, begin, end)
        around = (first, self._mask.shape[1] - self._column)
        self._mask[there] = F.pad(seen[:, begin:end], around, value=False)
        self._mask[there, self._column :] = True
        self._positions[there] = F.pad(thinking.position_ids[chosen, begin:end], around)
        self._offsets[there] = thinking.next_positions()[chosen] - self._column
        self._states[there] = thinking.state_at(thinking.prompt_ends - 1)[chosen]
        if self._seen is not None:
            self._seen[there] = False
        self.live.update(zip(free, texts, strict=True))

    def step(self, shrink: bool = True) -> list[T]:
        """Write the next token of every live row.

        Args:
            shrink: Give up idle places as soon as half of all are.

        Returns:
            The texts that have ended.
        """
        live = sorted(self.live)
        there = torch.tensor(live, device=self._states.device)
        states = self._states if not self.idle else self._states[there]
        logits = self._thinking.logits(self.model, states).float()
        if self._seen is not None:
            logits = penalize(logits, self._seen[there], self.sampling.repetition_penalty)
        texts = [self.live[place] for place in live]
        tokens = choose(logits, self.sampling, [text.draws for text in texts], [len(text.tokens) for text in texts])
        self._tokens[there] = tokens
        if self.sampling.repetition_penalty != 1.0:
            if self._seen is None:
                self._seen = logits.new_zeros(self.places, logits.shape[1], dtype=torch.bool)
            self._seen[there, tokens] = True
        ended = []
        for place, text, token in zip(live, texts, tokens.tolist(), strict=True):
            text.tokens.append(self.eos if token in self.ends else token)
            if token in self.ends or len(text.tokens) == self.max_new_tokens:
                ended.append(self.live.pop(place))
        if self.live:
            if shrink and 2 * len(self.live) <= self.places:
                self._shrink()
            self._read()
        return ended

    def _read(self) -> None:
        """Read what was written last, in a column of its own."""
        inputs = self.model.get_input_embeddings()(self._tokens[:, None])
        busy = torch.tensor([place in self.live for place in range(self.places)], device=inputs.device)
        # A table of positions ends somewhere, and nobody reads what is computed in idle places.
        self._positions[:, self._column] = torch.where(busy, self._offsets + self._column, 0)
        passes = Passes(self.model, self._mask, self._positions, self._cache)
        self._states = passes(inputs, self._column, self._column + 1)[:, -1]
        self._column += 1

    def _shrink(self) -> None:
        live = sorted(self.live)
        kept = torch.tensor(live, device=self._states.device)
        self._cache.batch_select_indices(kept)
        self._mask, self._positions = self._mask[kept], self._positions[kept]
        self._offsets, self._tokens = self._offsets[kept], self._tokens[kept]
        self._seen = self._seen[kept] if self._seen is not None else None
        self.live, self.places = {place: self.live[old] for place, old in enumerate(live)}, len(live)

    def _make_room(self, width: int) -> None:
        """Move all rows, if need be, so that so many columns fit before the next one, and a whole text behind them."""
        if width <= self._column and self._column + self.max_new_tokens <= self._mask.shape[1]:
            return
        before = self._mask[:, : self._column]
        kept = self._column - _span(before[list(self.live)])[0]  # nobody looks at what is further in front
        column = max(width, kept)
        more = self.max_new_tokens + self.spare
        move(self._cache, column, column + more)
        there = slice(self._column - kept, self._column)
        self._mask = F.pad(F.pad(before[:, there], (column - kept, 0), value=False), (0, more), value=True)
        self._positions = F.pad(self._positions[:, there], (column - kept, more))
        self._offsets = self._offsets + (self._column - column)
        self._column = column


def _prompt(thinking: Thinking) -> Tensor:
    """``(B, L)`` bool: the columns that text is written behind. Those of a gold text are not among them."""
    columns = torch.arange(thinking.attention_mask.shape[1], device=thinking.attention_mask.device)
    return thinking.attention_mask & (columns < thinking.prompt_ends[:, None])


def _span(mask: Tensor) -> tuple[int, int]:
    """The first column of ``(B, L)`` that is true in any row, and the one behind the last; ``(L, L)`` without any."""
    columns = mask.any(dim=0).nonzero()[:, 0].tolist()
    return (columns[0], columns[-1] + 1) if columns else (mask.shape[1], mask.shape[1])


@torch.no_grad()
def decode(
    model: PreTrainedModel,
    thinking: Thinking,
    *,
    max_new_tokens: int,
    eos: int,
    sampling: Sampling | None = None,
    index: Tensor | None = None,
    draws: Sequence[Draws] | None = None,
) -> list[list[int]]:
    """Write text after the prompts, all rows at once.

    Columns behind a row's prompt (the gold text of a training batch) are masked, so the same thinking serves the
    teacher-forced loss and this. Rows that are done leave the batch as soon as half of it is idle.

    Args:
        model: The model that did the thinking.
        thinking: Its record, with the cache kept; the cache is consumed.
        max_new_tokens: Upper bound of new tokens a row.
        eos: Ends a row, as does each of the further ends that the model's configuration names (``eos_token_id``).
        sampling: Greedy if not given.
        index: ``(B,)`` keys of the rows' random draws; 0 … B-1 if not given. No effect when greedy.
        draws: The rows' random draws in full, where rows are more than one text of a question; in place of ``index``
            and of the seed of ``sampling``.

    Returns:
        B lists of new token ids; a row that ended has ``eos`` as its last id, whichever end it wrote.
    """
    sampling = sampling or Sampling()
    if draws is None:
        keys = index.tolist() if index is not None else range(len(thinking.thoughts))
        draws = [Draws(sampling.seed, key) for key in keys]
    texts = [Text(row) for row in draws]
    writer = Writer[Text](model, max_new_tokens, eos, sampling)
    writer.begin(thinking, texts)
    while writer.live:
        writer.step()
    return [text.tokens for text in texts]


def ends_of(model: PreTrainedModel, eos: int) -> frozenset[int]:
    """The tokens that end a text: ``eos``, and all that the model's configuration has as ``eos_token_id``."""
    named = model.config.eos_token_id
    return frozenset([eos, *(named if isinstance(named, list) else [])])


def choose(logits: Tensor, sampling: Sampling, draws: Sequence[Draws], step: int | Sequence[int]) -> Tensor:
    """Pick one token a row.

    Args:
        logits: ``(B, V)`` in float32, penalties applied.
        sampling: The rule.
        draws: Random draws of the B rows.
        step: Number of the token in its row, the same for all or one each.

    Returns:
        ``(B,)`` token ids.
    """
    if sampling.temperature == 0:
        return logits.argmax(dim=-1)
    ids, cumulative, total = candidates(logits, sampling)
    steps = [step] * len(draws) if isinstance(step, int) else step
    places = [row.uniform(number) for row, number in zip(draws, steps, strict=True)]
    uniform = torch.tensor(places, dtype=total.dtype, device=total.device)
    # One uniform number per row, placed on the cumulative distribution cut at top_p.
    found = torch.searchsorted(cumulative, uniform[:, None] * total, right=True)
    return ids.gather(1, found.clamp(max=cumulative.shape[1] - 1))[:, 0]


def candidates(logits: Tensor, sampling: Sampling) -> tuple[Tensor, Tensor, Tensor]:
    """What is drawn from.

    Args:
        logits: ``(B, V)`` in float32.
        sampling: With a temperature above 0.

    Returns:
        ``(B, V)`` token ids, the most likely first; ``(B, V)`` their cumulative probabilities after ``top_k``; and
        ``(B, 1)`` the probability of those that ``top_p`` keeps, which are the first to reach it.
    """
    ordered, ids = (logits / sampling.temperature).sort(dim=-1, descending=True)
    if sampling.top_k:
        ordered[:, sampling.top_k :] = float("-inf")
    cumulative = ordered.softmax(dim=-1).cumsum(dim=-1)
    # The token that crosses p is kept.
    crossing = torch.searchsorted(cumulative, torch.full_like(cumulative[:, :1], sampling.top_p))
    return ids, cumulative, cumulative.gather(1, crossing.clamp(max=cumulative.shape[1] - 1))


def penalize(logits: Tensor, seen: Tensor, penalty: float) -> Tensor:
    """Make tokens that were written before less likely (or more, with a penalty below 1).

    Args:
        logits: ``(B, V)``.
        seen: ``(B, V)`` bool: tokens of each row's text.
        penalty: Divides positive logits and multiplies negative ones.
    """
    return torch.where(seen, torch.where(logits < 0, logits * penalty, logits / penalty), logits)

"""Distillation of keys and values: those of the thoughts are to be those of the written steps, as many as fit.

KaVa (arXiv 2510.02312). A teacher reads the question with its chain and the answer. In each layer and each head of
keys, each of the C columns of the hidden steps gets a score

    S = λ I + (1 - λ) R

    I   mean attention of the answer's tokens to the column, a mean also over the query heads that share the keys
    R   softmax over the C columns of minus the mean cosine similarity of the column's key to the C - 1 other keys

and the M columns of the highest scores are kept, in their order, for the M thoughts of the row. With C < M all are
kept, and the M - C last thoughts have nothing to learn from: published as padding, here masked. The loss of a row is

    (‖sg K̃ - K‖ + ‖sg Ṽ - V‖) / 2M

with one norm a thought: the mean over layers, heads and values of the smooth or squared difference, each layer's keys
and values divided by their own deviation. So a row whose chain is short counts for less, as in the formula.

There is no released code, and what the paper leaves open is decided here: keys are compared as attention reads them,
turned by rotary positions, each at its own place; all layers count; norms are means over layers, heads and values; the
answer's tokens are those behind the last step, with the mark and without the end of the text; heads that share keys
count alike; of equal scores the earlier column wins; where only some steps are hidden, only their columns are kept.

Letters in shapes: K layers, B rows, H heads of keys, Q query heads, L columns, C columns of hidden steps, N thoughts, d
width of a head.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import Cache, PreTrainedModel

from lcot.errors import UserError
from lcot.modules.objectives.base import Objective, Scene
from lcot.modules.objectives.distillation import OF_BATCH, Deviation
from lcot.reasoning.batch import ThoughtBatch
from lcot.reasoning.cache import attends_to_all, growing_cache, keys_and_values
from lcot.reasoning.keyed import keyed_seed, run_seed
from lcot.reasoning.observed import observed
from lcot.reasoning.tokens import SpecialTokens
from lcot.reasoning.windows import windows_of

Choice = Literal["score", "random"]
"""Which columns are kept: those of the highest scores, or any (an ablation), drawn for each example, layer and head,
the same ones in each epoch."""


class KeyValueDistillation(Objective):
    """Keys and values of the thoughts are to be those of the steps that they stand for (KaVa).

    No gradient reaches the teacher from here. Its count is the number of rows with thoughts and hidden steps.

    Args:
        weight: Multiplies the mean over rows; α₂ in the paper.
        distance: How two numbers are compared: ``smooth_l1`` with β = 1, or ``l2``, the squared difference.
        deviation: What each layer's distance is divided by, one number for keys and one for values: that of the kept
            columns of the ``row`` itself, so that no batch mates matter, or of the ``batch``, as published.
        importance: λ, how much attention counts in a score; 1 for attention alone, 0 for keys alone (ablations).
        choice: Whether scores decide at all.

    Raises:
        UserError: If a choice is unknown, λ is no share, or the weight is negative.
    """

    views: ClassVar[tuple[str, ...]] = ("teacher",)
    keys_values: ClassVar[bool] = True
    of_thoughts: ClassVar[bool] = True

    def __init__(
        self,
        weight: float = 1.0,
        distance: Literal["smooth_l1", "l2"] = "smooth_l1",
        deviation: Deviation = "row",
        importance: float = 0.1,
        choice: Choice = "score",
    ) -> None:
        super().__init__(weight)
        for name, value, known in (
            ("distance", distance, ("smooth_l1", "l2")),
            ("deviation", deviation, get_args(Deviation)),
            ("choice", choice, get_args(Choice)),
        ):
            if value not in known:
                where = f"model.objectives, {name} of the distillation of keys and values"
                raise UserError.unknown(name, str(value), known, where=where)
        if not 0 <= importance <= 1:
            raise UserError(f"importance is {importance}", where="model.objectives", fix="use at least 0 and at most 1")
        self.distance, self.deviation, self.importance, self.choice = distance, deviation, importance, choice

    @property
    def attention(self) -> bool:  # type: ignore[override]  # of the class elsewhere
        """Where it counts in the scores."""
        return self.choice == "score" and self.importance > 0

    @property
    def mates_matter(self) -> bool:
        """Whether a row's distance depends on the rows beside it."""
        return self.deviation in OF_BATCH

    def build(self, model: PreTrainedModel, special: SpecialTokens) -> None:
        """Look whether the model's keys, values and attention can be had.

        Raises:
            UserError: If they cannot.
        """
        if windows_of(model.config) is not None or not attends_to_all(growing_cache(model.config, 1)):
            raise UserError(
                f"keys and values are distilled, and layers of a {model.config.model_type} model do not read them all",
                where="model.objectives, model.backbone",
                why="they attend to a window of the columns, or to none",
                fix="use a model whose layers attend to all columns, or leave the objective out",
            )
        if self.attention:
            both = torch.ones(1, 2, dtype=torch.bool, device=model.device)
            with torch.no_grad(), observed(model, both[:, 1:].long(), both[:, 1:], both):
                model.base_model(input_ids=both.long() * special.eos, attention_mask=both.long(), use_cache=False)

    def count(self, batch: ThoughtBatch) -> Tensor:
        """Rows with thoughts, and with hidden steps that a teacher reads."""
        return _taught(batch).sum()[None]

    def forward(self, scene: Scene) -> Tensor:
        """The sum over rows."""
        assert scene.teacher is not None
        batch, thinking = scene.batch, scene.thinking
        rows = _taught(batch).nonzero()[:, 0]
        if not len(rows):
            return thinking.states.new_zeros(1, dtype=torch.float)
        columns, real = _chain(batch.views["teacher"], rows)
        keys, values = _stacked(scene.teacher.cache, lambda whole: _gathered(whole.detach(), rows, columns))
        if self.choice == "random":
            scores = _drawn(batch.index[rows], real, keys.shape[0], keys.shape[2])
        else:
            attention = None if scene.attention is None else _attended(scene.attention, rows, columns, keys.shape[2])
            scores = column_scores(keys, real, attention, self.importance)
        thoughts = batch.thoughts[rows]
        chosen, there = kept_columns(scores, real, thoughts, batch.max_thoughts)
        own = slice(thinking.first, thinking.first + batch.max_thoughts)
        apart = torch.zeros(len(rows), device=keys.device)
        for told, mine in zip(
            (keys, values), _stacked(thinking.cache, lambda whole: whole[:, :, own][rows].float()), strict=True
        ):
            target = told.gather(3, chosen[..., None].expand(*chosen.shape, told.shape[-1]))
            apart = apart + self._distance(mine, target, there)
        return (apart / (2 * thoughts)).sum()[None]

    def _distance(self, mine: Tensor, told: Tensor, there: Tensor) -> Tensor:
        """``(B,)`` summed over thoughts, a mean over layers, heads and values.

        Args:
            mine: ``(K, B, H, N, d)``.
            told: Likewise.
            there: ``(B, N)`` bool: which thoughts have something to learn from.
        """
        if self.distance == "l2":
            each = (mine - told).pow(2).mean(dim=-1)
        else:
            each = F.smooth_l1_loss(mine, told, reduction="none").mean(dim=-1)
        each = torch.where(there[:, None], each, 0.0).sum(dim=-1).mean(dim=-1)  # (K, B)
        return (each / self._scale(told, there)).mean(dim=0)

    def _scale(self, told: Tensor, there: Tensor) -> Tensor:
        """``(K, B)``, or what is broadcast to that: the deviation of what is kept, unbiased."""
        if self.deviation == "none":
            return torch.ones((), device=told.device)
        counted = there[None, :, None, :, None].expand_as(told)
        over = {"row": (2, 3, 4), "all_layers": (0, 1, 2, 3, 4)}.get(self.deviation, (1, 2, 3, 4))
        number = counted.sum(dim=over, keepdim=True)
        mean = torch.where(counted, told, 0.0).sum(dim=over, keepdim=True) / number
        squares = torch.where(counted, told - mean, 0.0).pow(2).sum(dim=over, keepdim=True)
        variance = (squares / (number - 1).clamp(min=1))[:, :, 0, 0, 0]
        return variance if self.deviation == "batch_squared" else variance.sqrt()


def column_scores(keys: Tensor, real: Tensor, attention: Tensor | None, importance: float) -> Tensor:
    """What each column is worth.

    Args:
        keys: ``(K, B, H, C, d)``.
        real: ``(B, C)`` bool: which columns a row has.
        attention: ``(K, B, H, C)`` mean attention to them; ``None`` where it does not count.
        importance: λ.

    Returns:
        ``(K, B, H, C)``; any numbers where a row has no column.
    """
    there = real[None, :, None]
    unit = F.normalize(keys.float(), dim=-1) * there[..., None]
    # All similarities of a key at once, by the sum of all keys. That to itself is 1 for each, which softmax leaves out.
    alike = (unit * unit.sum(dim=-2, keepdim=True)).sum(dim=-1)
    others = (real.sum(dim=-1) - 1).clamp(min=1)[None, :, None, None]
    apart = (-alike / others).masked_fill(~there, -torch.inf).softmax(dim=-1)
    return (1 - importance) * apart + (importance * attention if attention is not None else 0.0)


def kept_columns(scores: Tensor, real: Tensor, thoughts: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """The columns of the highest scores, in their order.

    Args:
        scores: ``(K, B, H, C)``.
        real: ``(B, C)`` bool: which columns a row has.
        thoughts: ``(B,)`` how many each row has room for.
        most: N, the largest of them.

    Returns:
        Places ``(K, B, H, N)`` among the C columns, and which of the N are kept, ``(B, N)`` bool: the first ones of
        each row, as many in each layer and head. Others have any place.
    """
    ranked = scores.masked_fill(~real[None, :, None], -torch.inf).argsort(dim=-1, descending=True, stable=True)
    room, width = torch.minimum(real.sum(dim=-1), thoughts), scores.shape[-1]
    places = torch.arange(max(width, most), device=scores.device)
    kept = places < room[:, None]
    # Behind the kept places stands a number above all of them; sorting restores the order of the row.
    chosen = torch.where(kept[None, :, None, :width], ranked, width).sort(dim=-1).values[..., :most]
    return F.pad(chosen, (0, most - chosen.shape[-1])).clamp(max=width - 1), kept[:, :most]


def answer_columns(view: ThoughtBatch) -> tuple[Tensor, Tensor]:
    """The columns of the answers in the teacher's rows, with their marks and without the end of the text.

    Returns:
        ``(B, A)`` columns, and which of them a row has, ``(B, A)`` bool.
    """
    begin = view.places["chain"][:, 2] if "chain" in view.places else view.index.new_full((len(view),), -1)
    length = (view.attention_mask.sum(dim=1) - 1 - begin).clamp(min=0) * (begin >= 0)  # its rows begin in column 0
    offsets = torch.arange(max(1, int(length.max())), device=begin.device)
    there = offsets < length[:, None]
    return torch.where(there, begin[:, None] + offsets, 0), there


def _taught(batch: ThoughtBatch) -> Tensor:
    """``(B,)`` bool: rows with thoughts and a teacher's row with hidden steps."""
    places = batch.views["teacher"].places
    if "chain" not in places:
        return torch.zeros_like(batch.thoughts, dtype=torch.bool)
    return (batch.thoughts > 0) & (places["chain"][:, 1] > places["chain"][:, 0])


def _chain(view: ThoughtBatch, rows: Tensor) -> tuple[Tensor, Tensor]:
    """The columns of the hidden steps of some rows, ``(B, C)``, and which of them each has."""
    begin, end = view.places["chain"][rows, :2].unbind(dim=1)
    offsets = torch.arange(int((end - begin).max()), device=begin.device)
    real = offsets < (end - begin)[:, None]
    return torch.where(real, begin[:, None] + offsets, 0), real


def _stacked(cache: Cache | None, taken: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
    """What is taken of the keys and of the values of each layer, ``(K, …)`` each."""
    keys, values = zip(*keys_and_values(cache), strict=True)
    return torch.stack([taken(one) for one in keys]), torch.stack([taken(one) for one in values])


def _gathered(whole: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """``(B, H, C, d)`` in float32."""
    heads, width = whole.shape[1], whole.shape[-1]
    return whole[rows].gather(2, columns[:, None, :, None].expand(-1, heads, -1, width)).float()


def _attended(attention: Tensor, rows: Tensor, columns: Tensor, heads: int) -> Tensor:
    """``(K, B, H, C)`` of ``(K, B, Q, L)``: a mean over the query heads that share keys."""
    layers, _, queries, length = attention.shape
    shared = attention[:, rows].view(layers, len(rows), heads, queries // heads, length).mean(dim=3)
    return shared.gather(3, columns[None, :, None].expand(layers, -1, heads, -1))


def _drawn(index: Tensor, real: Tensor, layers: int, heads: int) -> Tensor:
    """Scores by chance, ``(K, B, H, C)``, keyed by the run and the example."""
    scores = torch.zeros(layers, len(index), heads, real.shape[1])
    for row, (example, width) in enumerate(zip(index.tolist(), real.sum(dim=1).tolist(), strict=True)):
        generator = torch.Generator().manual_seed(keyed_seed("columns", run_seed(), example))
        scores[:, row, :, :width] = torch.rand(layers, heads, width, generator=generator)
    return scores.to(real.device)

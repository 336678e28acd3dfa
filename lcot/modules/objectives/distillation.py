"""Distillation of states: before the answer, the model that thought is to hold what its teacher holds.

CODI (arXiv 2502.21074, equation 3), PCCoT (arXiv 2506.18582), LOTUS (arXiv 2606.31779, optional), C-MTP (2607.16972).

Letters in shapes: K layers, B rows, D hidden width.
"""

from __future__ import annotations

from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from lcot.errors import UserError
from lcot.modules.objectives.base import Objective, Scene
from lcot.reasoning.batch import ThoughtBatch
from lcot.reasoning.layout import IGNORE

Distance = Literal["smooth_l1", "l2", "cosine"]
"""Smooth L1 with β = 1, squared difference (both means over D), or 1 - cosine."""

Deviation = Literal["row", "batch", "batch_squared", "all_layers", "none"]
"""What a layer's distance is divided by: the teacher's standard deviation (unbiased) over the D values of the row
itself; over the B · D values of the whole batch, as released by CODI, PCCoT and C-MTP, so that batch mates matter; its
square, as CODI does with ``l2``; one over all layers (PCCoT's ``use_layerwise_std: false``); or nothing."""

At = Literal["before", "first"]

OF_BATCH = ("batch", "batch_squared", "all_layers")
"""Those by which batch mates matter."""


def distance(student: Tensor, teacher: Tensor, kind: Distance = "smooth_l1", deviation: Deviation = "row") -> Tensor:
    """How far states are from their teacher's, one number a row.

    Args:
        student: ``(K, B, D)``.
        teacher: ``(K, B, D)``; no gradient flows into them.
        kind: How two states are compared.
        deviation: What each layer is divided by.

    Returns:
        ``(B,)`` in float32: the mean over layers (and values).
    """
    student, teacher = student.float(), teacher.detach().float()
    if kind == "cosine":
        apart = 1 - F.cosine_similarity(student, teacher, dim=-1)
    elif kind == "l2":
        apart = (student - teacher).pow(2).mean(dim=-1)
    else:
        apart = F.smooth_l1_loss(student, teacher, reduction="none").mean(dim=-1)
    return (apart / _scale(teacher, deviation)).mean(dim=0)


def _scale(teacher: Tensor, deviation: Deviation) -> Tensor:
    """``(K, B)``, or what is broadcast to that."""
    if deviation == "none":
        return torch.ones((), device=teacher.device)
    if deviation == "all_layers":
        return teacher.std()
    if deviation == "row":
        return teacher.std(dim=-1)
    spread = teacher.flatten(1).std(dim=-1)[:, None]
    return spread.square() if deviation == "batch_squared" else spread


class Distillation(Objective):
    """States of all layers at the last token before the answer are to be those of the teacher.

    The teacher reads the question with its whole chain in writing. No gradient reaches it from here.

    Args:
        weight: Multiplies the mean over rows.
        distance: How two states are compared.
        deviation: What each layer's distance is divided by. ``row`` is the default since no batch mates matter then;
            released weights were trained with ``batch``.
        embeddings: Whether the input embeddings count as a layer, as in CODI; PCCoT leaves them out.
        at: At which token: the last one ``before`` the answer, or the ``first`` one of the text behind the thoughts, be
            it of a step or of the answer's mark, as in the release of LOTUS.

    Raises:
        UserError: If a choice is unknown, or a weight is negative.
    """

    views: ClassVar[tuple[str, ...]] = ("teacher",)
    layers: ClassVar[bool] = True

    def __init__(
        self,
        weight: float = 1.0,
        distance: Distance = "smooth_l1",
        deviation: Deviation = "row",
        embeddings: bool = True,
        at: At = "before",
    ) -> None:
        super().__init__(weight)
        for name, value, known in (
            ("distance", distance, Distance),
            ("deviation", deviation, Deviation),
            ("at", at, At),
        ):
            if value not in get_args(known):
                where = f"model.objectives, {name} of the distillation"
                raise UserError.unknown(name, str(value), get_args(known), where=where)
        self.distance: Distance = distance
        self.deviation: Deviation = deviation
        self.embeddings = embeddings
        self.at: At = at

    @property
    def mates_matter(self) -> bool:
        """Whether a row's distance depends on the rows beside it."""
        return self.deviation in OF_BATCH

    def count(self, batch: ThoughtBatch) -> Tensor:
        """Rows whose answer is written in both views."""
        return self._both(batch).sum()[None]

    def columns(self, batch: ThoughtBatch) -> Tensor:
        """``(B,)`` columns of a batch, or of its view of the teacher, whose states are compared; -1 where none is."""
        if self.at == "before":
            return before_answer(batch)
        chain = batch.places.get("chain")  # of a teacher: hidden steps end where the second entry says
        columns = batch.prompt_ends if chain is None else chain[:, 1]
        return torch.where((batch.labels != IGNORE).any(dim=1), columns, -1)

    def _both(self, batch: ThoughtBatch) -> Tensor:
        return (self.columns(batch) >= 0) & (self.columns(batch.views["teacher"]) >= 0)

    def forward(self, scene: Scene) -> Tensor:
        """The sum over rows."""
        assert scene.teacher is not None and scene.teacher.layers is not None and scene.thinking.layers is not None
        first, there = (0 if self.embeddings else 1), self._both(scene.batch)
        student, teacher = (layers[first:, there] for layers in (scene.thinking.layers, scene.teacher.layers))
        return distance(student, teacher, self.distance, self.deviation).sum()[None]


def before_answer(batch: ThoughtBatch) -> Tensor:
    """``(B,)`` columns of the last token before each row's answer; -1 where it is not written.

    Raises:
        UserError: If no row says where its answer begins.
    """
    if "answer" not in batch.places:
        raise UserError(
            "no row says where its answer begins",
            where="model.objectives and the data",
            why="states are distilled at the last token before the answer, and rows of a prompt file do not mark it",
            fix="leave distillation out, or data.dialogue",
        )
    columns = batch.places["answer"][:, 0]
    return torch.where(columns > 0, columns - 1, -1)

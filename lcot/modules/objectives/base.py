"""What an objective is: it looks at a batch that was thought about, and gives sums with their own counts.

The module adds the counts of all ranks and of all batches of an optimizer step, divides, and adds the objectives with
their weights. So neither batch mates nor ranks nor accumulation change what a row counts.

An objective of one's own is a class of a few lines:

    class Short(Objective):  # thoughts are to be short
        def count(self, batch):
            return batch.thoughts.sum()[None]

        def forward(self, scene):
            there = torch.arange(scene.batch.max_thoughts, device=scene.fed.device) < scene.batch.thoughts[:, None]
            return (scene.fed.float().norm(dim=-1) * there).sum()[None]

Letters in shapes: B rows, N thoughts, D hidden width, G groups, K layers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn
from transformers import PreTrainedModel

from lcot.errors import UserError
from lcot.reasoning.batch import ThoughtBatch
from lcot.reasoning.feeds import Feed
from lcot.reasoning.heads import Head
from lcot.reasoning.layout import IGNORE
from lcot.reasoning.parallel import Rounds
from lcot.reasoning.think import Thinking, supervised_loss
from lcot.reasoning.tokens import SpecialTokens


@dataclass(slots=True)
class Scene:
    """A batch, as the model thought about it.

    Attributes:
        model: The language model.
        batch: B rows, with the views that the objectives ask for.
        thinking: What the passes left, with the states of all layers before the answer where an objective asks.
        rounds: What happened in each round, where an objective asks and the thoughts come in rounds.
        teacher: What the teacher made of its view; ``None`` where no objective asks.
        attention: ``(K, B, H, L)`` what the answer's tokens in the teacher's row attend to, in each layer and head a
            mean over them; ``None`` where no objective asks.
        feed: What states become before they are read; ``None`` if that is nothing.
    """

    model: PreTrainedModel
    batch: ThoughtBatch
    thinking: Thinking
    rounds: Rounds | None = None
    teacher: Thinking | None = None
    attention: Tensor | None = None
    feed: Feed | None = None

    @property
    def fed(self) -> Tensor:
        """``(B, N, D)`` the inputs at the places of the thoughts."""
        if self.thinking.fed is None:
            return self.thinking.states[:, :0]
        return self.thinking.fed


class Objective(nn.Module, ABC):
    """One thing that is learnt.

    Args:
        weight: Multiplies its mean in the loss; 0 leaves the objective out, with all that is computed for it.

    Attributes:
        views: Rows of an example that it reads beside the main one (:class:`~lcot.reasoning.layout.Layout`).
        layers: Whether it needs the states of all layers before the answer.
        keys_values: Whether it needs the keys and values of all columns (``Thinking.cache``).
        attention: Whether it needs what the answer's tokens in the teacher's row attend to.
        every_round: Whether it needs what happened in each round.
        of_thoughts: Whether there is nothing to it without thoughts.
        head: The kind of head that it teaches; ``None`` if it teaches none.

    Raises:
        UserError: If the weight is negative.
    """

    views: ClassVar[tuple[str, ...]] = ()
    layers: ClassVar[bool] = False
    keys_values: ClassVar[bool] = False
    attention: ClassVar[bool] = False
    every_round: ClassVar[bool] = False
    of_thoughts: ClassVar[bool] = False
    head: ClassVar[type[Head] | None] = None

    def __init__(self, weight: float = 1.0) -> None:
        super().__init__()
        if weight < 0:
            raise UserError(f"weight is {weight}", where="model.objectives", fix="use 0 or more")
        self.weight = weight

    def build(self, model: PreTrainedModel, special: SpecialTokens) -> None:
        """Make what depends on the model: parameters of its width. Called once.

        Args:
            model: The language model. It is not kept: it is part of every :class:`Scene`.
            special: The ids that mark thoughts, texts and padding.
        """

    def check_number(self, thoughts: int) -> None:
        """Refuse a number of thoughts that it cannot be learnt with.

        Args:
            thoughts: Most of any row.

        Raises:
            UserError: If it cannot.
        """

    @abstractmethod
    def count(self, batch: ThoughtBatch) -> Tensor:
        """What each sum is divided by, ``(G,)``; it is read off the batch alone, before anything is computed.

        Where G is above 1 the objective is the mean over those groups that have a count.
        """

    @abstractmethod
    def forward(self, scene: Scene) -> Tensor:
        """The sums ``(G,)``."""


class Text(Objective):
    """Cross-entropy in nats of the supervised text behind the thoughts; its count is the number of its tokens."""

    def count(self, batch: ThoughtBatch) -> Tensor:
        """Supervised tokens."""
        return (batch.labels != IGNORE).sum()[None]

    def forward(self, scene: Scene) -> Tensor:
        """The summed cross-entropy."""
        return supervised_loss(scene.model, scene.batch, scene.thinking)[0][None]


class TeacherText(Objective):
    """Cross-entropy in nats of the chain and the answer in the teacher's row: the model learns to write them as well.

    The teacher of CODI, PCCoT and KaVa is the model itself, in the same batch (arXiv 2502.21074, equation 2).
    """

    views: ClassVar[tuple[str, ...]] = ("teacher",)

    def count(self, batch: ThoughtBatch) -> Tensor:
        """Tokens of chain and answer."""
        return (batch.views["teacher"].labels != IGNORE).sum()[None]

    def forward(self, scene: Scene) -> Tensor:
        """The summed cross-entropy."""
        assert scene.teacher is not None
        return supervised_loss(scene.model, scene.batch.views["teacher"], scene.teacher)[0][None]

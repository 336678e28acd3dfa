"""Ways in which thoughts come about, other than one after another."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from torch import Tensor
from transformers import PreTrainedModel

from lcot.reasoning.batch import ThoughtBatch
from lcot.reasoning.feeds import Feed
from lcot.reasoning.think import Thinking

if TYPE_CHECKING:
    from lcot.reasoning.parallel import Rounds


class Thinker(ABC):
    """Runs all passes over a batch."""

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """What it was made with, as plain values: a checkpoint notes it, so that it can be made again."""

    def rereads(self, thoughts: int) -> tuple[int, int] | None:
        """What thinking about a question takes, beside reading each of its columns once.

        Args:
            thoughts: How many the question has.

        Returns:
            How often all of them are read again, and how many are made by the feed, in all rounds. ``None`` if a
            thinker does not say: operations are then not reported.
        """
        return None

    @abstractmethod
    def __call__(
        self,
        model: PreTrainedModel,
        batch: ThoughtBatch,
        feed: Feed,
        *,
        keep_cache: bool = False,
        checkpointing: bool = False,
        rounds: Rounds | None = None,
        layers_at: Tensor | None = None,
    ) -> Thinking:
        """Run all passes over a batch.

        Args:
            model: A causal language model with a cache. Gradients flow through every pass.
            batch: B rows with aligned first thoughts.
            feed: Makes inputs of states.
            keep_cache: Keep keys and values, to decode from them.
            checkpointing: As in :func:`~lcot.reasoning.think.think`.
            rounds: Filled with what is read and computed in each round, where thoughts come in rounds.
            layers_at: ``(B,)`` columns of the batch at which the states of all layers are kept; -1 for none.
        """

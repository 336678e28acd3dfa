"""The thoughts themselves as targets: what the head that makes them is to expect (CoLaR, arXiv 2505.16552).

Letters in shapes: B rows, N thoughts, D hidden width.
"""

from __future__ import annotations

import math
from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor
from transformers import PreTrainedModel

from lcot.errors import UserError
from lcot.modules.objectives.base import Objective, Scene
from lcot.reasoning.batch import ThoughtBatch
from lcot.reasoning.heads import Head, LatentHead
from lcot.reasoning.keyed import normal
from lcot.reasoning.spans import SPANS
from lcot.reasoning.tokens import SpecialTokens

Latent = Literal["mse", "nll"]
"""The squared distance between the thought and one that is drawn from the head's distribution, or minus the logarithm
of the thought's density under it."""


class LatentLoss(Objective):
    """The state at bot is asked for the first thought, that at each thought for the next, the last one's for eot.

    Thoughts and eot's embedding are targets over the embeddings' deviation, and no gradient reaches them from here.

    Args:
        weight: Multiplies the mean over all these states (and the values of each).
        loss: How far the head is from its target.
        entropy: Multiplies the mean entropy of the head's distributions, which is added; below 0 it is to be large.

    Raises:
        UserError: If a choice is unknown, or the weight negative.
    """

    views: ClassVar[tuple[str, ...]] = (SPANS,)
    of_thoughts: ClassVar[bool] = True
    head: ClassVar[type[Head] | None] = LatentHead

    def __init__(self, weight: float = 1.0, loss: Latent = "mse", entropy: float = 0.0) -> None:
        super().__init__(weight)
        if loss not in get_args(Latent):
            raise UserError.unknown("loss", str(loss), get_args(Latent), where="model.objectives")
        self.loss: Latent = loss
        self.entropy = entropy
        self._eot = -1

    def build(self, model: PreTrainedModel, special: SpecialTokens) -> None:
        """Note what ends thoughts."""
        self._eot = special.eot

    def count(self, batch: ThoughtBatch) -> Tensor:
        """Thoughts, and the eot of each row."""
        return (batch.thoughts + 1).sum()[None]

    def forward(self, scene: Scene) -> Tensor:
        """The sum of the losses of all states, each a mean over its values."""
        assert isinstance(scene.feed, LatentHead)
        batch, thinking = scene.batch, scene.thinking
        number = torch.arange(batch.max_thoughts + 1, device=thinking.states.device)
        there = number <= batch.thoughts[:, None]
        rows, numbers = there.nonzero(as_tuple=True)
        # Without thoughts heads are not in line: bot is found from the end of the prompt.
        bots = batch.prompt_ends - 2 - batch.thoughts - (thinking.first - 1)
        mean, log_std = (part.float() for part in scene.feed.expected(thinking.states[rows, bots[rows] + numbers]))
        target = self._targets(scene, number)[rows, numbers].float() / scene.feed.std.float()
        if self.loss == "mse":
            noise = self.noise(batch, mean.shape[-1])[rows.cpu(), numbers.cpu()].to(mean.device)
            losses = (mean + log_std.exp() * noise - target).square()
        else:
            losses = 0.5 * ((target - mean) / log_std.exp()).square() + log_std + 0.5 * math.log(2 * math.pi)
        if self.entropy:
            losses = losses + self.entropy * (log_std + 0.5 + 0.5 * math.log(2 * math.pi))
        return losses.mean(dim=-1).sum()[None]

    def noise(self, batch: ThoughtBatch, width: int) -> Tensor:
        """Standard normal numbers ``(B, N + 1, D)``, each row's by its own key, whatever its batch mates."""
        keys = batch.draws.tolist() if batch.draws is not None else [0] * len(batch)
        rows = []
        for key, thoughts in zip(keys, batch.thoughts.tolist(), strict=True):
            own = normal((thoughts + 1) * width, "latents", key).view(thoughts + 1, width)
            rows.append(torch.cat([own, own.new_zeros(batch.max_thoughts - thoughts, width)]))
        return torch.stack(rows)

    def _targets(self, scene: Scene, number: Tensor) -> Tensor:
        """``(B, N + 1, D)``: the thoughts of each row, and eot's embedding behind its last one."""
        ids = torch.tensor([self._eot], device=number.device)
        end = scene.model.get_input_embeddings()(ids).detach()[0]
        fed = scene.fed.detach()
        room = torch.cat([fed, fed.new_zeros(len(fed), 1, fed.shape[-1])], dim=1)
        return torch.where((number == scene.batch.thoughts[:, None])[..., None], end.to(fed.dtype), room)

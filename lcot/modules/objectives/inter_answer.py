"""Hidden steps, written behind the states of their thoughts: the inter-answer term of LOTUS (arXiv 2606.31779).

Letters in shapes: B rows, P columns of a prompt, N thoughts, c thoughts a step, R texts, S columns of a text, D hidden
width.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import PreTrainedModel

from lcot.errors import UserError
from lcot.modules.objectives.base import Objective, Scene
from lcot.modules.objectives.steps import StepDecoder, check_per_step
from lcot.reasoning.batch import ThoughtBatch
from lcot.reasoning.layout import IGNORE
from lcot.reasoning.think import Passes, output_head
from lcot.reasoning.tokens import SpecialTokens


class InterAnswer(Objective):
    """A model reads the states at the thoughts of a hidden step and is to write that step.

    It is an option of the released code that no published run has on. Unlike :class:`StepDecoder` it reads states, not
    what is fed, each step's in its own round, and its texts have no end.

    Args:
        weight: Multiplies the mean over tokens.
        per_step: c, how many thoughts stand for a step; that of the curriculum.
        when: ``in_turn`` reads the thoughts of step k behind round k, and writes each step by itself; ``last`` reads
            all thoughts behind the last round, and writes all steps one behind another.
        by: Who writes: the language ``model`` itself, or a ``copy`` of it that is trained along.
        prefix: Whether the question and the thoughts of that round stand before what is read. The whole row is read
            again for each step: it costs a pass over question and thoughts for each.
        padded: With ``last``, as released: each step fills its c places with padding, and the last c - 1 places are cut
            off, so that some steps lose their ends.

    Raises:
        UserError: If a number is out of range, a choice unknown, or they do not go together.
    """

    views: ClassVar[tuple[str, ...]] = ("steps",)
    of_thoughts: ClassVar[bool] = True

    def __init__(
        self,
        weight: float = 1.0,
        per_step: int = 1,
        when: Literal["in_turn", "last"] = "in_turn",
        by: Literal["model", "copy"] = "model",
        prefix: bool = False,
        padded: bool = False,
    ) -> None:
        super().__init__(weight)
        check_per_step(per_step)
        for name, value, known in (("when", when, ("in_turn", "last")), ("by", by, ("model", "copy"))):
            if value not in known:
                raise UserError.unknown(name, str(value), known, where="model.objectives")
        for there, what, why in (
            (prefix and (by == "copy" or when == "last"), "prefix is true", "only the model itself reads rounds again"),
            (padded and when == "in_turn", "padded is true", "steps that are written by themselves have no padding"),
        ):
            if there:
                other = f"when is {when!r}, by is {by!r}"
                raise UserError(f"{what}, and {other}", where="model.objectives", why=why, fix="set it to false")
        self.per_step, self.when, self.by, self.prefix, self.padded = per_step, when, by, prefix, padded
        self._copy = StepDecoder(start="copy") if by == "copy" else None
        self._pad = -1

    @property
    def copy(self) -> StepDecoder | None:
        """What holds the copy; ``None`` where the model itself writes."""
        return self._copy

    @property
    def every_round(self) -> bool:  # type: ignore[override]  # of the class elsewhere
        """Where steps are read in turn."""
        return self.when == "in_turn"

    def build(self, model: PreTrainedModel, special: SpecialTokens) -> None:
        """Make the copy."""
        self._pad = special.pad
        if self._copy is not None:
            self._copy.build(model, special)

    def count(self, batch: ThoughtBatch) -> Tensor:
        """Tokens that are to be written."""
        return torch.tensor([len(self._tokens(batch)[0])], device=batch.thoughts.device)

    def forward(self, scene: Scene) -> Tensor:
        """The summed cross-entropy in nats."""
        batch, writer = scene.batch, self._writer(scene)
        rows, step, column, tokens = self._tokens(batch)
        if not len(rows):
            return torch.stack([parameter.sum() for parameter in writer.parameters()]).sum()[None] * 0.0
        # A text for each row, or for each step of each row.
        numbers = rows * (1 + batch.max_thoughts) + (step if self.when == "in_turn" else 0)
        texts, text = torch.unique(numbers, return_inverse=True)
        row, turn = texts // (1 + batch.max_thoughts), texts % (1 + batch.max_thoughts)
        read, length = self._read(scene, row, turn)
        embedded = scene.model.get_input_embeddings()
        width = int(length.max()) + int(column.max()) + 1
        at = length[text] + column  # where each token stands
        ids = tokens.new_full((len(texts), width), self._pad).index_put((text, at), tokens)
        ends = torch.zeros_like(length).scatter_reduce(0, text, at + 1, "amax")
        inputs = embedded(ids)
        inputs[:, : read.shape[1]] = torch.where(
            (torch.arange(read.shape[1], device=row.device) < length[:, None])[..., None],
            read.to(inputs.dtype),
            inputs[:, : read.shape[1]],
        )
        mask = torch.arange(width, device=row.device) < ends[:, None]
        positions = torch.arange(width, device=row.device).expand(len(texts), -1)
        before = 0
        if self.prefix:
            inputs, mask, positions, before = self._behind(scene, row, turn, inputs, mask, positions)
        states = Passes(writer, mask, positions, None)(inputs, 0, inputs.shape[1])
        logits = output_head(writer)(states[text, before + at - 1]).float()
        return F.cross_entropy(logits, tokens, reduction="sum")[None]

    def _writer(self, scene: Scene) -> PreTrainedModel:
        if self._copy is None:
            return scene.model
        assert self._copy.decoder is not None
        return self._copy.decoder

    def _tokens(self, batch: ThoughtBatch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """``(T,)`` each: row, step and token of all that is to be written, and its column in its text."""
        view = batch.views["steps"]
        starts = view.places["steps"] if "steps" in view.places else view.index.new_full((len(view), 1), -1)
        rows, columns = (view.attention_mask & (view.labels != IGNORE)).nonzero(as_tuple=True)
        own = starts[rows]
        step = ((own <= columns[:, None]) & (own >= 0)).sum(dim=1) - 1
        within = columns - own.gather(1, step[:, None])[:, 0]
        thoughts = batch.thoughts[rows]
        asked = (step + 1) * self.per_step <= thoughts
        column = within
        if self.when == "last":
            column = columns - own[:, 0]
        if self.padded:
            column = step * self.per_step + within
            asked &= (within < self.per_step) & (column <= thoughts - self.per_step)
        tokens = view.input_ids[rows, columns]
        return rows[asked], step[asked], column[asked], tokens[asked]

    def _read(self, scene: Scene, row: Tensor, turn: Tensor) -> tuple[Tensor, Tensor]:
        """``(R, ·, D)`` the states that each text is written behind, and ``(R,)`` how many."""
        if self.when == "last":
            length = scene.batch.thoughts[row]
            return scene.thinking.states[row, 1 : 1 + scene.batch.max_thoughts], length
        assert scene.rounds is not None, "thoughts in rounds"
        rounds = torch.stack(scene.rounds.states)  # (R + 1, B, N + 1, D)
        places = 1 + turn[:, None] * self.per_step + torch.arange(self.per_step, device=row.device)
        behind = (turn + 1).clamp(max=len(rounds) - 1)[:, None]
        return rounds[behind, row[:, None], places], torch.full_like(row, self.per_step)

    def _behind(
        self, scene: Scene, row: Tensor, turn: Tensor, inputs: Tensor, mask: Tensor, positions: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, int]:
        """The same with question and thoughts before it, as they stood in the round."""
        batch, rounds = scene.batch, scene.rounds
        assert rounds is not None
        places = scene.model.get_input_embeddings()(batch.input_ids[:, batch.first : batch.first + batch.max_thoughts])
        fed = torch.stack(rounds.fed) if rounds.fed else places[None]
        end = batch.first + batch.max_thoughts
        prompt = scene.model.get_input_embeddings()(batch.input_ids[row, : batch.first])
        thoughts = fed[turn.clamp(max=len(fed) - 1), row].to(prompt.dtype)
        there = torch.arange(batch.max_thoughts, device=row.device) < batch.thoughts[row][:, None]
        start = batch.position_ids[row, batch.first] + batch.thoughts[row]
        return (
            torch.cat([prompt, thoughts, inputs], dim=1),
            torch.cat([batch.attention_mask[row, : batch.first], there, mask], dim=1),
            torch.cat([batch.position_ids[row, :end], start[:, None] + positions], dim=1),
            end,
        )

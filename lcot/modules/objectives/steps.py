"""Hidden steps as targets: what the thoughts that stand for a step are to say.

Two objectives read the view ``steps``: one by the output head at the thoughts' own places (LOTUS, arXiv 2606.31779),
one by a decoder of its own that reads the thoughts (SIM-CoT, arXiv 2509.20317).

Letters in shapes: B rows, K hidden steps, c thoughts a step, N = c · K thoughts, S tokens of a step, D hidden width.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import PreTrainedModel

from lcot.errors import UserError
from lcot.modules.objectives.base import Objective, Scene
from lcot.modules.objectives.decoders import Start, check_start, make_decoder
from lcot.reasoning.batch import ThoughtBatch
from lcot.reasoning.layout import IGNORE
from lcot.reasoning.think import Passes, output_head
from lcot.reasoning.tokens import SpecialTokens

LongSteps = Literal["cut", "spill"]
"""What becomes of a step with more tokens than its thoughts: ``cut``, or its rest is asked of the next step's thoughts
as well (``spill``, as released: those places then have two targets)."""

PerStep = Literal["tokens", "rows", "groups"]
"""What the decoder's loss is a mean over: all ``tokens``; all steps of all ``rows``, each a sum over its tokens (the
release over Coconut); or ``groups``, the k-th steps of all rows, each group a mean over its tokens (that over CODI)."""


GROUPS = 64
"""Most thoughts' groups of a row, where each has a mean of its own: a number that all ranks and batches share."""


class PlaceText(Objective):
    """The output head reads each hidden step off the places of its thoughts, all at once (LOTUS, equation 4).

    Token j of step k is to be predicted at the place before the j-th thought of the step's block, as text is: by the
    state at bot, or at the last thought of the block before, if j is 0. Thoughts beyond the last hidden step have no
    target.

    Args:
        weight: Multiplies the mean over the tokens; 0.05 in the published runs.
        per_step: c, how many thoughts stand for a step; that of the curriculum.
        long_steps: What becomes of longer steps.
        when: ``last`` reads all steps in the last round; ``in_turn`` step k in round k (from 1), as one of the
            published runs does.
        flat: Whether all steps stand one behind another from the first place on, whatever their blocks (an ablation).
        smoothing: Label smoothing.
        measure: ``text`` asks the output head for the tokens; ``cosine`` wants the state *at* the j-th thought to point
            where the input embedding of token j does (1 - cosine; an ablation of the release).

    Raises:
        UserError: If a number is out of range, or a choice unknown.
    """

    views: ClassVar[tuple[str, ...]] = ("steps",)
    of_thoughts: ClassVar[bool] = True

    def __init__(
        self,
        weight: float = 0.05,
        per_step: int = 1,
        long_steps: LongSteps = "cut",
        when: Literal["last", "in_turn"] = "last",
        flat: bool = False,
        smoothing: float = 0.0,
        measure: Literal["text", "cosine"] = "text",
    ) -> None:
        super().__init__(weight)
        check_per_step(per_step)
        if long_steps not in get_args(LongSteps):
            raise UserError.unknown("long_steps", str(long_steps), get_args(LongSteps), where="model.objectives")
        if when not in ("last", "in_turn"):
            raise UserError.unknown("when", str(when), ["last", "in_turn"], where="model.objectives")
        if measure not in ("text", "cosine"):
            raise UserError.unknown("measure", str(measure), ["text", "cosine"], where="model.objectives")
        if measure == "cosine" and smoothing:
            raise UserError(
                f"smoothing is {smoothing}, and measure is 'cosine'",
                where="model.objectives",
                why="there are no labels to be smoothed",
                fix="set smoothing to 0, or measure to 'text'",
            )
        if not 0 <= smoothing < 1:
            raise UserError(f"smoothing is {smoothing}", where="model.objectives", fix="use at least 0 and less than 1")
        self.per_step, self.long_steps, self.when, self.flat = per_step, long_steps, when, flat
        self.smoothing, self.measure = smoothing, measure

    @property
    def every_round(self) -> bool:  # type: ignore[override]  # of the class elsewhere
        """Where steps are read in turn."""
        return self.when == "in_turn"

    def targets(self, batch: ThoughtBatch) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Which token is asked for where.

        Returns:
            Four ``(T,)`` of all T asked tokens: row, step, place (0 is bot, i the i-th thought), token; and one
            ``(1,)``, what their sum is divided by: with ``spill`` also the tokens behind the last place, as released.
        """
        view = batch.views["steps"]
        starts = view.places["steps"] if "steps" in view.places else view.index.new_full((len(view), 1), -1)
        rows, columns = (view.attention_mask & (view.labels != IGNORE)).nonzero(as_tuple=True)
        own = starts[rows]  # (T, K + 1): where the steps of each token's row begin
        step = ((own <= columns[:, None]) & (own >= 0)).sum(dim=1) - 1
        within = columns - own.gather(1, step[:, None])[:, 0]
        place = step * self.per_step + within
        if self.flat:
            place = columns - own[:, 0]
            step = place // self.per_step  # the block that it falls into
        tokens = view.input_ids[rows, columns]
        place = place + (self.measure == "cosine")
        last = self.measure == "cosine" or (not self.flat and self.long_steps == "spill")
        asked = place < batch.thoughts[rows] + last
        asked &= batch.thoughts[rows] > 0
        if self.long_steps == "cut" and not self.flat:
            asked &= within < self.per_step
        count = asked.sum()[None] if self.long_steps == "cut" else (batch.thoughts[rows] > 0).sum()[None]
        return rows[asked], step[asked], place[asked], tokens[asked], count

    def count(self, batch: ThoughtBatch) -> Tensor:
        """Tokens that are asked for."""
        return self.targets(batch)[-1]

    def forward(self, scene: Scene) -> Tensor:
        """The summed cross-entropy in nats, or 1 - cosine."""
        rows, step, place, tokens, _ = self.targets(scene.batch)
        if self.when == "in_turn":
            assert scene.rounds is not None, "thoughts in rounds"
            turns = torch.stack(scene.rounds.states)  # (R + 1, B, N + 1, D)
            states = turns[(step + 1).clamp(max=len(turns) - 1), rows, place]
        else:
            states = scene.thinking.states[rows, place]
        if self.measure == "cosine":
            wanted = scene.model.get_input_embeddings()(tokens).float()
            return (1 - F.cosine_similarity(states.float(), wanted, dim=-1)).sum()[None]
        logits = scene.thinking.logits(scene.model, states).float()
        loss = F.cross_entropy(logits, tokens, reduction="sum", label_smoothing=self.smoothing)
        return loss[None]


class StepDecoder(Objective):
    """A second language model reads the c thoughts of a hidden step and is to write that step (SIM-CoT).

    It is trained along, gradients flow into the thoughts and into the language model's embeddings of the steps, and
    nobody needs it when answering: exports leave it out.

    Args:
        weight: Multiplies the mean.
        per_step: c, how many thoughts stand for a step; that of the curriculum.
        config: Changes to the language model's configuration, which the decoder has otherwise (``num_hidden_layers``).
        mean: What the loss is a mean over. Published weights were trained with ``rows`` (over Coconut) and ``groups``
            (over CODI).
        first_position: Position of the first thought: 0, or 1 as in the release over Coconut.
        rest: Hidden steps that have no thoughts of their own are asked of the last thoughts as well (``join``), or of
            none (``drop``).
        missing: Thoughts without a step have nothing to say (``skip``), or are to say the answer (``answer``, as in the
            release over Coconut).
        beyond: Whether what would be fed behind the last thought is to say the step behind the last one, as in the
            release over CODI.
        start: Its first weights: ``random``, or a ``copy`` of the language model's, as published for pretrained ones
            (of its first layers, where ``config`` asks for fewer).

    Raises:
        UserError: If a number is out of range, or a choice unknown.
    """

    views: ClassVar[tuple[str, ...]] = ("steps",)
    of_thoughts: ClassVar[bool] = True

    def __init__(
        self,
        weight: float = 1.0,
        per_step: int = 1,
        config: dict[str, Any] | None = None,
        mean: PerStep = "tokens",
        first_position: int = 0,
        rest: Literal["join", "drop"] = "join",
        missing: Literal["skip", "answer"] = "skip",
        beyond: bool = False,
        start: Start = "random",
    ) -> None:
        super().__init__(weight)
        check_per_step(per_step)
        for name, value, known in (
            ("mean", mean, get_args(PerStep)),
            ("rest", rest, ("join", "drop")),
            ("missing", missing, ("skip", "answer")),
        ):
            if value not in known:
                raise UserError.unknown(name, str(value), known, where="model.objectives")
        check_start(start)
        if beyond and per_step != 1:
            raise UserError(
                f"beyond is true, and per_step is {per_step}",
                where="model.objectives",
                why="one vector follows the last thought, and a step has several",
                fix="set beyond to false, or per_step to 1",
            )
        self.per_step, self.changes, self.mean = per_step, dict(config or {}), mean
        self.first_position, self.rest, self.missing, self.beyond = first_position, rest, missing, beyond
        self.start: Start = start
        self.decoder: PreTrainedModel | None = None
        self._eos = -1

    def build(self, model: PreTrainedModel, special: SpecialTokens) -> None:
        """Make the decoder, of the model's own shape."""
        self.decoder, self._eos = make_decoder(model, self.changes, self.start), special.eos

    def check_number(self, thoughts: int) -> None:
        """Refuse more groups than have a mean of their own.

        Raises:
            UserError: If rows have more.
        """
        groups = thoughts // self.per_step + self.beyond
        if self.mean == "groups" and groups > GROUPS:
            raise UserError(
                f"mean is 'groups', and rows have {groups} groups of thoughts",
                where="model.objectives and curriculum.schedule",
                why=f"{GROUPS} groups have a mean of their own, on all processes alike",
                fix="set mean to 'tokens', or use fewer thoughts",
            )

    def count(self, batch: ThoughtBatch) -> Tensor:
        """Tokens or steps; by ``groups``, tokens of each k-th step."""
        rows, group, _, mask = self._texts(batch)
        if self.mean == "rows":
            return torch.tensor([len(rows)], device=mask.device)
        written = mask.sum(dim=1)
        return self._summed(written, group) if self.mean == "groups" else written.sum()[None]

    def forward(self, scene: Scene) -> Tensor:
        """The summed cross-entropy in nats of the steps, and of the end of text behind each."""
        assert self.decoder is not None
        rows, group, ids, mask = self._texts(scene.batch)
        if not len(rows):
            idle = torch.stack([parameter.sum() for parameter in self.decoder.parameters()]).sum() * 0.0
            return idle.expand(self._groups())  # every trained parameter takes part in every loss
        thoughts = self._thoughts(scene)
        places = group[:, None] * self.per_step + torch.arange(self.per_step, device=group.device)
        read = thoughts[rows[:, None], places]
        inputs = torch.cat([read, scene.model.get_input_embeddings()(ids).to(read.dtype)], dim=1)
        positions = self.first_position + torch.arange(inputs.shape[1], device=ids.device).expand(len(rows), -1)
        attended = torch.cat([mask.new_ones(len(rows), self.per_step), mask], dim=1)
        states = Passes(self.decoder, attended, positions, None)(inputs, 0, inputs.shape[1])
        at, columns = mask.nonzero(as_tuple=True)
        logits = output_head(self.decoder)(states[at, columns + self.per_step - 1]).float()
        losses = F.cross_entropy(logits, ids[at, columns], reduction="none")
        return self._summed(losses, group[at]) if self.mean == "groups" else losses.sum()[None]

    def _thoughts(self, scene: Scene) -> Tensor:
        """``(B, N, D)`` the thoughts; with ``beyond`` one more behind each row's last."""
        fed = scene.fed
        if not self.beyond:
            return fed
        rows, last = torch.arange(len(fed), device=fed.device), scene.batch.thoughts
        first = scene.batch.first
        place = scene.model.get_input_embeddings()(scene.batch.input_ids[:, first : first + 1])
        states = scene.thinking.states[rows, last][:, None]
        following: Tensor = states if scene.feed is None else scene.feed(states, place, scene.model)
        room = torch.cat([fed, torch.zeros_like(fed[:, :1])], dim=1)
        at_last = torch.arange(room.shape[1], device=fed.device) == last[:, None]
        return torch.where(at_last[..., None], following.to(fed.dtype), room)

    def _groups(self) -> int:
        return GROUPS if self.mean == "groups" else 1

    def _most(self, batch: ThoughtBatch) -> int:
        return batch.max_thoughts // self.per_step + (self.beyond and batch.max_thoughts > 0)

    def _summed(self, values: Tensor, group: Tensor) -> Tensor:
        return values.new_zeros(self._groups()).index_add(0, group, values)

    def _texts(self, batch: ThoughtBatch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """What is to be said: row and group of each text, both ``(R,)``, its ids ``(R, S)`` with an end, its mask."""
        view = batch.views["steps"]
        starts = view.places["steps"] if "steps" in view.places else view.index.new_full((len(view), 1), -1)
        steps = ((starts >= 0).sum(dim=1) - 1).clamp(min=0)
        groups = batch.thoughts // self.per_step + (self.beyond & (batch.thoughts > 0))
        number = torch.arange(self._most(batch), device=starts.device)
        there = number < groups[:, None]
        rows, group = (there if self.missing == "answer" else there & (number < steps[:, None])).nonzero(as_tuple=True)
        # Steps and answers side by side in one table of ids: a text is a stretch of it.
        width = view.input_ids.shape[1]
        table = torch.cat([view.input_ids, batch.input_ids, batch.input_ids.new_zeros(len(view), 1)], dim=1)
        own = steps[rows]
        begin = starts[rows, group.clamp(max=starts.shape[1] - 1)]
        end = starts[rows, (group + 1).clamp(max=starts.shape[1] - 1)]
        if self.rest == "join":
            end = torch.where(group == groups[rows] - 1, starts[rows, own], end)
        missing = group >= own
        begin = torch.where(missing, width + batch.prompt_ends[rows], begin)
        last = (batch.labels != IGNORE).long().cumsum(dim=1).argmax(dim=1)  # the end of the text is no part of it
        end = torch.where(missing, width + last[rows], end)
        length = (end - begin)[:, None]
        offsets = torch.arange(int(length.max()) + 1 if len(rows) else 1, device=starts.device)
        ids = table[rows[:, None], (begin[:, None] + offsets).clamp(max=table.shape[1] - 1)]
        return rows, group, torch.where(offsets < length, ids, self._eos), offsets <= length


def check_per_step(count: int) -> None:
    """Refuse a number of thoughts a step.

    Raises:
        UserError: If it is below 1.
    """
    if count < 1:
        raise UserError(f"per_step is {count}", where="model.objectives", fix="use 1 or more, as in the curriculum")

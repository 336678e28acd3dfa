"""Which steps are hidden behind thoughts, and when: the schedules of the Coconut family.

A schedule is a pure function of the epoch. It never stores where training stands, so a resumed run, a second rank and a
data-loader worker all read the same answer from it.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, get_args

from lcot.errors import UserError

ThoughtKind = Literal["continuous", "pause", "soft", "none"]
"""What stands between the markers: fed-back hidden states, copies of a learned pause token, vectors that another model
made of the question (SoftCoT, arXiv 2502.12134), or nothing (no markers)."""

Markers = Literal["always", "with_thoughts", "never"]
"""Where ``<bot>`` and ``<eot>`` stand: in every row (the published ProsQA and ProntoQA runs), only around thoughts (the
published GSM8K runs, whose stage 0 is a CoT run), or nowhere, so that the first thought is the state at the question's
last token (arXiv 2505.12514). No effect where the kind of thought is ``none``."""


Passes = Literal["auto", "multiple", "single"]
"""How thoughts are computed. ``multiple``: each in a pass of its own, after the state of the one before is known.
``single``: all in one pass; continuous thoughts then all read the one state that is known before it, that at ``<bot>``.
``auto`` is ``multiple`` for continuous thoughts (Coconut) and ``single`` for all others.

With the kind of thought this makes the four-way control of what does the work, curriculum or recycling: passes
(multiple, single) x input (recycled state, learned embedding). Under causal attention, pauses give the same in one pass
as in many, up to rounding; many cost what Coconut costs. No effect where the kind is ``none``."""


@dataclass(frozen=True, slots=True)
class Stage:
    """What one example looks like at some point of a curriculum.

    Attributes:
        hidden: Number of leading reasoning steps whose text is left out, at most the example's number of steps.
        thoughts: Number of positions between ``<bot>`` and ``<eot>``.
        tokens: Number of leading tokens of the remaining steps that are left out as well; a negative number leaves out
            trailing ones. The answer always stays.
        only_next: Whether the text is only the first of the remaining steps or, where none remains, the answer.
        span: Number of tokens of the hidden steps that each thought stands for; there are then as many thoughts as that
            makes, whatever ``thoughts`` says. 0 where thoughts do not stand for tokens.
        draw: Keys whatever else is drawn at random for the row.
    """

    hidden: int
    thoughts: int
    tokens: int = 0
    only_next: bool = False
    span: int = 0
    draw: int = 0


class Curriculum(ABC):
    """A schedule: epoch → stage number, and stage number × example → :class:`Stage`.

    Args:
        kind: What the thoughts are. ``none`` also leaves out the markers, as in CoT and No-CoT.
        markers: Where the markers stand.
        passes: How thoughts are computed.

    Attributes:
        stepwise_passes: Whether each thought gets a pass of its own; ``passes`` with ``auto`` filled in.
        keeps_stages: Whether the best checkpoint of each stage is worth keeping.

    Raises:
        UserError: If ``kind``, ``markers`` or ``passes`` is unknown, or soft thoughts are to have several passes.
    """

    keeps_stages: ClassVar[bool] = True

    def __init__(self, kind: ThoughtKind, markers: Markers = "always", passes: Passes = "auto") -> None:
        if kind not in get_args(ThoughtKind):
            raise UserError.unknown("kind of thought", str(kind), get_args(ThoughtKind), where="curriculum kind")
        if markers not in get_args(Markers):
            raise UserError.unknown("place of markers", str(markers), get_args(Markers), where="curriculum markers")
        if passes not in get_args(Passes):
            raise UserError.unknown("number of passes", str(passes), get_args(Passes), where="curriculum passes")
        if kind == "soft" and passes == "multiple":
            raise UserError(
                "passes is 'multiple', and the kind of thought is 'soft'",
                where="curriculum passes and kind",
                why="soft thoughts are all known before the model reads them",
                fix="set passes to 'auto'",
            )
        self.kind: ThoughtKind = kind
        self.markers: Markers = markers
        self.stepwise_passes = passes == "multiple" or (passes == "auto" and kind == "continuous")

    @property
    @abstractmethod
    def last_stage(self) -> int:
        """The number of the stage in which training ends and inference happens."""

    @abstractmethod
    def stage_at(self, epoch: int, batch: int = 0, batches: int = 1) -> int:
        """The stage in which a batch is trained.

        Args:
            epoch: Counted from 0.
            batch: Counted from 0 in its epoch.
            batches: Number of batches of an epoch.
        """

    @abstractmethod
    def resolve(self, stage: int, num_steps: int) -> Stage:
        """What an example with ``num_steps`` steps looks like in training at a stage."""

    @abstractmethod
    def thoughts_at_inference(self, stage: int) -> int:
        """The number of thoughts for a question whose number of steps is unknown."""

    def sample(self, stage: int, num_steps: int, draw: random.Random) -> Stage:
        """Like :meth:`resolve`, with the schedule's own random choices taken from ``draw``."""
        return self.resolve(stage, num_steps)

    def evaluate(self, stage: int, num_steps: int) -> Stage:
        """The stage for validation: training's text, inference's number of thoughts, nothing random."""
        return replace(self.resolve(stage, num_steps), thoughts=self.thoughts_at_inference(stage))

    def numbers_trained(self, stage: int) -> set[int]:
        """The numbers of thoughts that rows of a stage are trained with; all others are new to a model after it."""
        return {self.thoughts_at_inference(stage)}

    def hidden_behind(self, stage: int, thoughts: int) -> int | None:
        """How many leading steps the written text of a question goes on behind, at inference.

        Args:
            stage: The stage.
            thoughts: Number of thoughts that the question was given.

        Returns:
            The number of steps; ``None`` where it is not fixed, and the text may go on behind any of them.
        """
        return None

    def hides_all(self, stage: int, thoughts: int) -> bool:
        """Whether training leaves no step behind so many thoughts, whatever :meth:`hidden_behind` says.

        Args:
            stage: The stage.
            thoughts: Number of thoughts that the question was given.
        """
        return False

    def describe(self, stage: int) -> str:
        """A stage in a few words, for the console."""
        thoughts = self.thoughts_at_inference(stage)
        return f"stage {stage} of {self.last_stage}, {thoughts} thought{'s' * (thoughts != 1)}"

    def epochs_planned(self, stage: int) -> int | None:
        """How many epochs a stage was written for; ``None`` if it has no number of its own."""
        return None

    def check_reach(self, max_epochs: int) -> None:  # noqa: B027  (a schedule with one stage has nothing to check)
        """Make sure that ``max_epochs`` epochs get to the stage that the schedule was written for.

        Raises:
            UserError: If training would end before.
        """


class StageClock(ABC):
    """Where training stands. Samplers ask it when they start an epoch; nobody pushes a stage into them.

    Attributes:
        schedule: The curriculum.
    """

    schedule: Curriculum

    @abstractmethod
    def epoch(self) -> int:
        """The epoch that is about to be read, counted from 0."""

    @abstractmethod
    def stage(self) -> int:
        """The stage to evaluate with: while training, the one that the epoch ends in."""

    @abstractmethod
    def training_stages(self) -> Callable[[int], int]:
        """The stage of each batch of the epoch that is about to be read, by the batch's number in it."""

    @abstractmethod
    def final_stage(self, epoch: int) -> int:
        """The stage that an epoch ends in: that of its validation, and of its checkpoints."""

    def batches(self) -> int:
        """Batches of this epoch that were trained on already: above 0 where a run continues within an epoch."""
        return 0


def find_clock(callbacks: Iterable[object]) -> StageClock | None:
    """The clock among a trainer's callbacks."""
    return next((callback for callback in callbacks if isinstance(callback, StageClock)), None)


class Fixed(Curriculum):
    """The same stage at all epochs: CoT, No-CoT, pause tokens, Coconut without curriculum, SoftCoT.

    Args:
        hidden: ``none`` keeps all steps as text (CoT), ``all`` leaves them all out.
        thoughts: Number of thoughts, whatever the example.
        kind: What the thoughts are; with ``none``, ``thoughts`` must be 0.
        markers: Where ``<bot>`` and ``<eot>`` stand.
        passes: How thoughts are computed.
        inference_thoughts: Number of thoughts in validation, test and prediction, where it is another one than in
            training (the published SoftCoT runs train with 32 and answer with 4); ``None`` for the same.

    Raises:
        UserError: If a number of thoughts is negative, or thoughts are asked for without a kind.
    """

    def __init__(
        self,
        hidden: Literal["none", "all"] = "all",
        thoughts: int = 0,
        kind: ThoughtKind = "none",
        markers: Markers = "always",
        passes: Passes = "auto",
        inference_thoughts: int | None = None,
    ) -> None:
        super().__init__(kind, markers, passes)
        if hidden not in ("none", "all"):
            raise UserError.unknown("choice of hidden steps", str(hidden), ["none", "all"], where="curriculum hidden")
        check_count("thoughts", thoughts, kind)
        check_count("inference_thoughts", inference_thoughts or 0, kind)
        self.hidden = hidden
        self.thoughts = thoughts
        self.inference_thoughts = inference_thoughts

    @property
    def last_stage(self) -> int:
        """Always 0."""
        return 0

    def stage_at(self, epoch: int, batch: int = 0, batches: int = 1) -> int:
        """Always 0."""
        return 0

    def resolve(self, stage: int, num_steps: int) -> Stage:
        """The one stage, with ``hidden`` filled in for the example."""
        return Stage(num_steps if self.hidden == "all" else 0, self.thoughts)

    def numbers_trained(self, stage: int) -> set[int]:
        """The fixed number."""
        return {self.thoughts}

    def thoughts_at_inference(self, stage: int) -> int:
        """The fixed number, or the one for inference."""
        return self.thoughts if self.inference_thoughts is None else self.inference_thoughts

    def hidden_behind(self, stage: int, thoughts: int) -> int | None:
        """None of the steps, or those of the example, whose number inference does not know."""
        return 0 if self.hidden == "none" else None


def check_count(name: str, count: int, kind: ThoughtKind) -> None:
    """Check a number of thoughts against their kind.

    Args:
        name: The setting's name.
        count: The number.
        kind: What the thoughts are.

    Raises:
        UserError: If it is negative, or above 0 without thoughts.
    """
    if count < 0:
        raise UserError(f"{name} is {count}", where=f"curriculum {name}", fix="use 0 or more")
    if kind == "none" and count:
        raise UserError(
            f"{name} is {count}, and the kind of thought is 'none'",
            where=f"curriculum {name} and kind",
            why="without thoughts the number would have no effect",
            fix=f"set {name} to 0, or kind to 'continuous' or 'pause' (or 'soft')",
        )

"""Which steps are hidden behind thoughts, and when: the schedules of the Coconut family.

A schedule is a pure function of the epoch. It never stores where training stands, so a resumed run, a second rank and a
data-loader worker all read the same answer from it.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

from lcot.errors import UserError

ThoughtKind = Literal["continuous", "pause", "none"]
"""What stands between the markers: fed-back hidden states, copies of a learned pause token, or nothing (no markers)."""

Markers = Literal["always", "with_thoughts", "never"]
"""Where ``<bot>`` and ``<eot>`` stand: in every row (the published ProsQA and ProntoQA runs), only around thoughts (the
published GSM8K runs, whose stage 0 is a CoT run), or nowhere, so that the first thought is the state at the question's
last token (arXiv 2505.12514). No effect where the kind of thought is ``none``."""


@dataclass(frozen=True, slots=True)
class Stage:
    """What one example looks like at some point of a curriculum.

    Attributes:
        hidden: Number of leading reasoning steps whose text is left out, at most the example's number of steps.
        thoughts: Number of positions between ``<bot>`` and ``<eot>``.
    """

    hidden: int
    thoughts: int


class Curriculum(ABC):
    """A schedule: epoch → stage number, and stage number × example → :class:`Stage`.

    Args:
        kind: What the thoughts are. ``none`` also leaves out the markers, as in CoT and No-CoT.
        markers: Where the markers stand.

    Raises:
        UserError: If ``kind`` or ``markers`` is unknown.
    """

    def __init__(self, kind: ThoughtKind, markers: Markers = "always") -> None:
        if kind not in get_args(ThoughtKind):
            raise UserError.unknown("kind of thought", str(kind), get_args(ThoughtKind), where="curriculum kind")
        if markers not in get_args(Markers):
            raise UserError.unknown("place of markers", str(markers), get_args(Markers), where="curriculum markers")
        self.kind: ThoughtKind = kind
        self.markers: Markers = markers

    @property
    @abstractmethod
    def last_stage(self) -> int:
        """The number of the stage in which training ends and inference happens."""

    @abstractmethod
    def stage_at(self, epoch: int) -> int:
        """The stage of an epoch, counted from 0."""

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
        """The stage for validation: training's hidden steps, inference's number of thoughts, nothing random."""
        return Stage(self.resolve(stage, num_steps).hidden, self.thoughts_at_inference(stage))

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
        """The stage to train in, or to evaluate with."""

    def batches(self) -> int:
        """Batches of this epoch that were trained on already: above 0 where a run continues within an epoch."""
        return 0


def find_clock(callbacks: Iterable[object]) -> StageClock | None:
    """The clock among a trainer's callbacks."""
    return next((callback for callback in callbacks if isinstance(callback, StageClock)), None)


class Fixed(Curriculum):
    """The same stage at all epochs: CoT, No-CoT, pause tokens, Coconut without curriculum.

    Args:
        hidden: ``none`` keeps all steps as text (CoT), ``all`` leaves them all out.
        thoughts: Number of thoughts, whatever the example.
        kind: What the thoughts are; with ``none``, ``thoughts`` must be 0.
        markers: Where ``<bot>`` and ``<eot>`` stand.

    Raises:
        UserError: If the number of thoughts is negative, or thoughts are asked for without a kind.
    """

    def __init__(
        self,
        hidden: Literal["none", "all"] = "all",
        thoughts: int = 0,
        kind: ThoughtKind = "none",
        markers: Markers = "always",
    ) -> None:
        super().__init__(kind, markers)
        if hidden not in ("none", "all"):
            raise UserError.unknown("choice of hidden steps", str(hidden), ["none", "all"], where="curriculum hidden")
        _check_count("thoughts", thoughts, kind)
        self.hidden = hidden
        self.thoughts = thoughts

    @property
    def last_stage(self) -> int:
        """Always 0."""
        return 0

    def stage_at(self, epoch: int) -> int:
        """Always 0."""
        return 0

    def resolve(self, stage: int, num_steps: int) -> Stage:
        """The one stage, with ``hidden`` filled in for the example."""
        return Stage(num_steps if self.hidden == "all" else 0, self.thoughts)

    def thoughts_at_inference(self, stage: int) -> int:
        """The fixed number."""
        return self.thoughts


class Stepwise(Curriculum):
    """Coconut's curriculum: stage s replaces the first s steps by ``thoughts_per_step`` thoughts each.

    Stages 0 … ``max_stage`` hide that many steps; one further stage hides all steps of longer chains as well, with the
    thoughts of ``max_stage`` (arXiv 2412.06769, section 3; the released code's ``epoch // epochs_per_stage``).

    Args:
        epochs_per_stage: One number for all stages, or a list with one number for each stage from 0 on, in which the
            last stage keeps the epochs that remain.
        max_stage: The largest number of steps that are replaced one by one, M.
        thoughts_per_step: c. With ``kind`` none it must be 0 (the ablation *w/o thought*).
        kind: ``continuous`` is Coconut, ``pause`` is *pause as thought*, ``none`` is *w/o thought*.
        markers: Where ``<bot>`` and ``<eot>`` stand.
        pad_to_max: ``True``: n = c·s thoughts whatever the example's number of steps L, as in all published runs.
            ``False``: n = c·min(s, L) in training. Inference does not know L and uses c·s in both cases, where the
            released code reads L from the gold steps; let a classifier end the thoughts when this is ``False``.
        mix_probability: Probability that an example is trained at a stage drawn for it anew in each epoch; a list gives
            one for each stage from 0 on, in which the last number holds for all later stages (the paper's
            section 5 uses 0.3). Never applied in validation.
        mix_support: The draw is uniform over {0, …, L} (``all``, as released; may exceed the current stage) or over
            {0, …, s} (``seen``). No effect while ``mix_probability`` is 0.

    Raises:
        UserError: If a number is out of range, or the list of epochs does not fit ``max_stage``.
    """

    def __init__(
        self,
        epochs_per_stage: int | list[int] = 5,
        max_stage: int = 6,
        thoughts_per_step: int = 1,
        kind: ThoughtKind = "continuous",
        markers: Markers = "always",
        pad_to_max: bool = True,
        mix_probability: float | list[float] = 0.0,
        mix_support: Literal["all", "seen"] = "all",
    ) -> None:
        super().__init__(kind, markers)
        if max_stage < 0:
            raise UserError(f"max_stage is {max_stage}", where="curriculum max_stage", fix="use 0 or more")
        epochs = [epochs_per_stage] * (max_stage + 1) if isinstance(epochs_per_stage, int) else list(epochs_per_stage)
        if not epochs or min(epochs) < 1:
            raise UserError(
                f"epochs_per_stage is {epochs_per_stage}",
                where="curriculum epochs_per_stage",
                why="every stage lasts at least one epoch",
            )
        if not max_stage + 1 <= len(epochs) <= max_stage + 2:
            raise UserError(
                f"epochs_per_stage names {len(epochs)} stages, and max_stage is {max_stage}",
                where="curriculum epochs_per_stage",
                why=f"there are {max_stage + 1} stages, 0 to {max_stage}, and one more that hides longer chains whole",
                fix=f"give {max_stage + 1} or {max_stage + 2} numbers, or one number for all stages",
            )
        mix = [float(p) for p in (mix_probability if isinstance(mix_probability, list) else [mix_probability])]
        if not mix or len(mix) > len(epochs) or not all(0.0 <= p <= 1.0 for p in mix):
            raise UserError(
                f"mix_probability is {mix_probability}",
                where="curriculum mix_probability",
                fix=f"use a probability between 0 and 1, or a list of at most {len(epochs)}, one for each stage",
            )
        if mix_support not in ("all", "seen"):
            raise UserError.unknown("mix_support", str(mix_support), ["all", "seen"], where="curriculum mix_support")
        _check_count("thoughts_per_step", thoughts_per_step, kind)
        self.max_stage = max_stage
        self.thoughts_per_step = thoughts_per_step
        self.pad_to_max = pad_to_max
        self.mix_probability = mix
        self.mix_support = mix_support
        self._starts = [sum(epochs[:stage]) for stage in range(len(epochs))]
        if isinstance(epochs_per_stage, int):
            self._starts.append(epochs_per_stage * (max_stage + 1))

    @property
    def last_stage(self) -> int:
        """``max_stage`` + 1, or ``max_stage`` if the list of epochs ends there."""
        return len(self._starts) - 1

    def stage_at(self, epoch: int) -> int:
        """The last stage that has started by ``epoch``."""
        return sum(start <= epoch for start in self._starts) - 1

    def resolve(self, stage: int, num_steps: int) -> Stage:
        """Hide the first ``stage`` steps, or all of them beyond ``max_stage``."""
        hidden = num_steps if stage > self.max_stage else min(stage, num_steps)
        replaced = min(stage, self.max_stage)
        if not self.pad_to_max:
            replaced = min(replaced, num_steps)
        return Stage(hidden, replaced * self.thoughts_per_step)

    def sample(self, stage: int, num_steps: int, draw: random.Random) -> Stage:
        """With ``mix_probability``, resolve a uniformly drawn stage instead of the current one."""
        probability = self.mix_probability[min(stage, len(self.mix_probability) - 1)]
        if probability and draw.random() < probability:
            stage = draw.randint(0, num_steps if self.mix_support == "all" else stage)
        return self.resolve(stage, num_steps)

    def thoughts_at_inference(self, stage: int) -> int:
        """c·min(s, M)."""
        return min(stage, self.max_stage) * self.thoughts_per_step

    def check_reach(self, max_epochs: int) -> None:
        """Make sure that training gets to ``max_stage``.

        Raises:
            UserError: If ``max_epochs`` is too small for it.
        """
        start = self._starts[self.max_stage]
        if max_epochs <= start:
            raise UserError(
                f"training ends after {max_epochs} epochs, and stage {self.max_stage} would start at epoch {start}",
                where="trainer.max_epochs and curriculum epochs_per_stage",
                why=f"the model would never see stages {self.stage_at(max_epochs - 1) + 1} to {self.max_stage}",
                fix=f"train for more than {start} epochs, shorten the stages, or lower max_stage",
            )


def _check_count(name: str, count: int, kind: ThoughtKind) -> None:
    if count < 0:
        raise UserError(f"{name} is {count}", where=f"curriculum {name}", fix="use 0 or more")
    if kind == "none" and count:
        raise UserError(
            f"{name} is {count}, and the kind of thought is 'none'",
            where=f"curriculum {name} and kind",
            why="without thoughts the number would have no effect",
            fix=f"set {name} to 0, or kind to 'continuous' or 'pause'",
        )

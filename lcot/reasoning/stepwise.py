"""Coconut's curriculum: written steps give way to thoughts, step by step (Hao et al., arXiv 2412.06769)."""

from __future__ import annotations

import random
from typing import Literal

from lcot.errors import UserError
from lcot.reasoning.curriculum import Curriculum, Markers, Passes, Stage, ThoughtKind, check_count


class Stepwise(Curriculum):
    """Coconut's curriculum: stage s replaces the first s steps by ``thoughts_per_step`` thoughts each.

    Stages 0 … ``max_stage`` hide that many steps; one further stage hides all steps of longer chains as well, with the
    thoughts of ``max_stage`` (arXiv 2412.06769, section 3; the released code's ``epoch // epochs_per_stage``).

    Args:
        epochs_per_stage: One number for all stages, or a list with one number for each stage from ``first_stage`` on,
            in which the last stage keeps the epochs that remain.
        max_stage: The largest number of steps that are replaced one by one, M.
        thoughts_per_step: c. With ``kind`` none it must be 0 (the ablation *w/o thought*).
        kind: ``continuous`` is Coconut, ``pause`` is *pause as thought*, ``none`` is *w/o thought*.
        markers: Where ``<bot>`` and ``<eot>`` stand.
        passes: How thoughts are computed.
        first_stage: The stage of epoch 0. The published GSM8K runs start at 1, from the weights of a CoT run.
        pad_to_max: ``True``: n = c·s thoughts whatever the example's number of steps L, as in all published runs.
            ``False``: n = c·min(s, L) in training. Inference does not know L and uses c·s in both cases, where the
            released code reads L from the gold steps; let a classifier end the thoughts when this is ``False``.
        mix_probability: Probability that an example is trained at a stage drawn for it anew in each epoch; a list gives
            one for each stage from 0 on, in which the last number holds for all later stages (the paper's
            section 5 uses 0.3). Never applied in validation.
        mix_support: The draw is uniform over {0, …, L} (``all``, as released; may exceed the current stage) or over
            {0, …, s} (``seen``). No effect while ``mix_probability`` is 0.
        mix_weights: Whether the stages of the draw are equally likely (``uniform``), or stage i in proportion to i + 1
            (``linear``, as in Cui et al.'s improved Coconut). No effect while ``mix_probability`` is 0.
        written: The text behind the thoughts: ``all`` remaining steps and the answer, or the ``next`` step only, and
            the answer where no step remains (arXiv 2505.12514).

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
        passes: Passes = "auto",
        first_stage: int = 0,
        pad_to_max: bool = True,
        mix_probability: float | list[float] = 0.0,
        mix_support: Literal["all", "seen"] = "all",
        mix_weights: Literal["uniform", "linear"] = "uniform",
        written: Literal["all", "next"] = "all",
    ) -> None:
        super().__init__(kind, markers, passes)
        if max_stage < 0:
            raise UserError(f"max_stage is {max_stage}", where="curriculum max_stage", fix="use 0 or more")
        if not 0 <= first_stage <= max_stage:
            raise UserError(
                f"first_stage is {first_stage}, and max_stage is {max_stage}",
                where="curriculum first_stage",
                fix="use 0 to max_stage; for a model that is trained in the last stage alone, use the schedule Fixed",
            )
        stages = max_stage + 1 - first_stage
        epochs = [epochs_per_stage] * stages if isinstance(epochs_per_stage, int) else list(epochs_per_stage)
        if not epochs or min(epochs) < 1:
            raise UserError(
                f"epochs_per_stage is {epochs_per_stage}",
                where="curriculum epochs_per_stage",
                why="every stage lasts at least one epoch",
            )
        if not stages <= len(epochs) <= stages + 1:
            raise UserError(
                f"epochs_per_stage names {len(epochs)} stages, and max_stage is {max_stage}",
                where="curriculum epochs_per_stage",
                why=f"there are {stages} stages, {first_stage} to {max_stage}, and one more that hides longer chains"
                " whole",
                fix=f"give {stages} or {stages + 1} numbers, or one number for all stages",
            )
        mix = [float(p) for p in (mix_probability if isinstance(mix_probability, list) else [mix_probability])]
        if not mix or len(mix) > max_stage + 2 or not all(0.0 <= p <= 1.0 for p in mix):
            raise UserError(
                f"mix_probability is {mix_probability}",
                where="curriculum mix_probability",
                fix=f"use a probability between 0 and 1, or a list of at most {max_stage + 2}, one for each stage",
            )
        if mix_support not in ("all", "seen"):
            raise UserError.unknown("mix_support", str(mix_support), ["all", "seen"], where="curriculum mix_support")
        for name, value, known in (
            ("mix_weights", mix_weights, ["uniform", "linear"]),
            ("written", written, ["all", "next"]),
        ):
            if value not in known:
                raise UserError.unknown(name, str(value), known, where=f"curriculum {name}")
        check_count("thoughts_per_step", thoughts_per_step, kind)
        self.max_stage = max_stage
        self.first_stage = first_stage
        self.thoughts_per_step = thoughts_per_step
        self.pad_to_max = pad_to_max
        self.mix_probability = mix
        self.mix_support = mix_support
        self.mix_weights = mix_weights
        self.written = written
        self._epochs = [*epochs, *([epochs_per_stage] if isinstance(epochs_per_stage, int) else [])]
        self._starts = [sum(epochs[:stage]) for stage in range(len(epochs))]
        if isinstance(epochs_per_stage, int):
            self._starts.append(epochs_per_stage * stages)

    @property
    def last_stage(self) -> int:
        """``max_stage`` + 1, or ``max_stage`` if the list of epochs ends there."""
        return self.first_stage + len(self._starts) - 1

    def stage_at(self, epoch: int, batch: int = 0, batches: int = 1) -> int:
        """The last stage that has started by ``epoch``, for all its batches."""
        return self.first_stage + sum(start <= epoch for start in self._starts) - 1

    def resolve(self, stage: int, num_steps: int) -> Stage:
        """Hide the first ``stage`` steps, or all of them beyond ``max_stage``."""
        hidden = num_steps if stage > self.max_stage else min(stage, num_steps)
        replaced = min(stage, self.max_stage)
        if not self.pad_to_max:
            replaced = min(replaced, num_steps)
        return Stage(hidden, replaced * self.thoughts_per_step, only_next=self.written == "next")

    def sample(self, stage: int, num_steps: int, draw: random.Random) -> Stage:
        """With ``mix_probability``, resolve a drawn stage instead of the current one."""
        probability = self.mix_probability[min(stage, len(self.mix_probability) - 1)]
        if probability and draw.random() < probability:
            last = num_steps if self.mix_support == "all" else stage
            if self.mix_weights == "uniform":
                stage = draw.randint(0, last)
            else:
                stage = draw.choices(range(last + 1), weights=range(1, last + 2))[0]
        return self.resolve(stage, num_steps)

    def thoughts_at_inference(self, stage: int) -> int:
        """c·min(s, M)."""
        return min(stage, self.max_stage) * self.thoughts_per_step

    def hidden_behind(self, stage: int, thoughts: int) -> int | None:
        """One step for c thoughts; without thoughts, the steps of the stage."""
        return thoughts // self.thoughts_per_step if self.thoughts_per_step else min(stage, self.max_stage)

    def hides_all(self, stage: int, thoughts: int) -> bool:
        """Beyond ``max_stage``, with the thoughts of ``max_stage``: longer chains have lost their rest there."""
        return stage > self.max_stage and thoughts >= self.thoughts_at_inference(stage)

    def numbers_trained(self, stage: int) -> set[int]:
        """That of the stage; with ``mix_probability`` those of the stages that may be drawn as well.

        With ``mix_support: all`` these are as many as a chain has steps, here those up to ``max_stage``.
        """
        own = {self.thoughts_at_inference(stage)}
        if not self.mix_probability[min(stage, len(self.mix_probability) - 1)]:
            return own
        last = self.max_stage if self.mix_support == "all" else stage
        return own | {self.thoughts_at_inference(drawn) for drawn in range(last + 1)}

    def epochs_planned(self, stage: int) -> int:
        """Its number of ``epochs_per_stage``."""
        return self._epochs[stage - self.first_stage]

    def check_reach(self, max_epochs: int) -> None:
        """Make sure that training gets to ``max_stage``.

        Raises:
            UserError: If ``max_epochs`` is too small for it.
        """
        start = self._starts[self.max_stage - self.first_stage]
        if max_epochs <= start:
            raise UserError(
                f"training ends after {max_epochs} epochs, and stage {self.max_stage} would start at epoch {start}",
                where="trainer.max_epochs and curriculum epochs_per_stage",
                why=f"the model would never see stages {self.stage_at(max_epochs - 1) + 1} to {self.max_stage}",
                fix=f"train for more than {start} epochs, shorten the stages, or lower max_stage",
            )

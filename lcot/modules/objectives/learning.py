"""All objectives of a module together: what they need of a batch, and the terms that they make of it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from typing import Protocol

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from lcot.errors import UserError
from lcot.modules.objectives.base import Objective, Scene, TeacherText, Text
from lcot.modules.objectives.distillation import Distillation, before_answer
from lcot.modules.objectives.keys_values import answer_columns
from lcot.modules.terms import TEXT, Term
from lcot.reasoning.batch import ThoughtBatch
from lcot.reasoning.keyed import keyed_seed
from lcot.reasoning.observed import observed
from lcot.reasoning.parallel import Rounds
from lcot.reasoning.think import Thinking, think
from lcot.reasoning.tokens import SpecialTokens

LOGGED = ("loss", "lr", "grad_norm", "thought_norm", "halt_accuracy")
"""Names that are logged of any training."""


class Thinks(Protocol):
    """How a module thinks while it is trained."""

    def __call__(
        self,
        batch: ThoughtBatch,
        *,
        keep_cache: bool = False,
        rounds: Rounds | None = None,
        layers_at: Tensor | None = None,
    ) -> Thinking:
        """Run all passes over a batch."""
        ...


class Objectives(nn.ModuleDict):
    """What is learnt beside the text.

    Args:
        given: By name; ``text`` may be a :class:`Text`, for its weight.

    Raises:
        UserError: If ``text`` is something else, or something else a :class:`Text`; or if a name is taken already.
    """

    def __init__(self, given: Mapping[str, Objective]) -> None:
        taken = [name for name in given if name in LOGGED or "." in name or not name or hasattr(Objectives, name)]
        if taken:
            raise UserError(
                f"an objective is called {taken[0]!r}",
                where="model.objectives",
                why="its mean is logged under its name, and this one means something else already",
                fix="give it another name",
            )
        for name, objective in given.items():
            if isinstance(objective, Text) != (name == TEXT):
                raise UserError(
                    f"the objective {name!r} is a {type(objective).__name__}",
                    where=f"model.objectives.{name}",
                    why=f"the text's loss is called {TEXT!r}, and nothing else is",
                    fix="give it another name" if name == TEXT else f"call it {TEXT!r}",
                )
        super().__init__({name: objective for name, objective in given.items() if name != TEXT and objective.weight})
        places = {one.at: name for name, one in self.items() if isinstance(one, Distillation)}
        if len(places) > 1:
            raise UserError(
                f"at is {' and '.join(map(repr, places))}",
                where=", ".join(f"model.objectives.{name}.at" for name in places.values()),
                why="states of all layers are kept at one token",
                fix="set them alike, or leave one objective out",
            )
        self.text_weight = given[TEXT].weight if TEXT in given else 1.0

    @property
    def wanted(self) -> dict[str, Objective]:
        """Those that are learnt, by name."""
        return {name: objective for name, objective in self.items() if isinstance(objective, Objective)}

    @property
    def views(self) -> tuple[str, ...]:
        """The views that they read."""
        return tuple(sorted({view for objective in self.wanted.values() for view in objective.views}))

    def build(self, model: PreTrainedModel, special: SpecialTokens, seed: int) -> None:
        """Make what depends on the model.

        Args:
            model: The language model.
            special: Its marking ids.
            seed: Keys the weights that are drawn.
        """
        for name, objective in self.wanted.items():
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(keyed_seed("objective", seed, name))
                objective.build(model, special)

    def look(
        self,
        model: PreTrainedModel,
        batch: ThoughtBatch,
        thinks: Thinks,
        checkpointing: bool,
        teacher: PreTrainedModel | None = None,
    ) -> Scene:
        """Think about a batch, and have the teacher read its rows, with all that the objectives need.

        Args:
            model: The language model.
            batch: With the views that they read.
            thinks: How thoughts come about.
            checkpointing: As in :func:`~lcot.reasoning.think.think`, for the teacher.
            teacher: A frozen one; the model is its own if not given.
        """
        wanted = self.wanted.values()
        layers = any(objective.layers for objective in wanted)
        kept = any(objective.keys_values for objective in wanted)
        rounds = Rounds() if any(objective.every_round for objective in wanted) else None
        distilled = [one for one in wanted if isinstance(one, Distillation)]
        columns = distilled[0].columns if distilled else before_answer
        at = columns(batch) if layers else None
        thinking = thinks(batch, keep_cache=kept, rounds=rounds, layers_at=at)
        scene = Scene(model, batch, thinking, rounds)
        if "teacher" in self.views:
            view = batch.views["teacher"]
            at = columns(view) if layers else None
            # Distillation alone asks for no gradient of the teacher.
            learns = any(isinstance(one, TeacherText) for one in wanted)
            reader = teacher if teacher is not None else model
            looked = any(objective.attention for objective in wanted)
            with ExitStack() as stack:
                if not learns:
                    stack.enter_context(torch.no_grad())
                if looked:
                    seen = stack.enter_context(observed(reader, *answer_columns(view), view.attention_mask))
                scene.teacher = think(reader, view, keep_cache=kept, layers_at=at, checkpointing=checkpointing)
            scene.attention = torch.stack(seen) if looked else None
        return scene

    def terms(self, scene: Scene) -> dict[str, Term]:
        """Their terms."""
        return {
            name: Term(objective(scene), objective.count(scene.batch), objective.weight)
            for name, objective in self.wanted.items()
        }

    def counts(self, batch: ThoughtBatch) -> dict[str, Tensor]:
        """The counts of :meth:`terms`."""
        return {name: objective.count(batch) for name, objective in self.wanted.items()}

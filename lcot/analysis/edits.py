"""What the thoughts of a question are changed into: zero, the mean, noise, another question's, another order.

An edit gives new vectors for all k places. Which places really change is its scope: all, one alone, or all from one on;
the others keep their vectors. Nothing here reads a model.

Letters in shapes: k thoughts, D hidden width, n questions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

import torch
from torch import Tensor

from lcot.errors import UserError
from lcot.reasoning.keyed import keyed_random, normal

Scope = Literal["all", "one", "from"]
"""Which thoughts are changed: all of them, one alone, or one and all behind it."""

SCOPES: tuple[Scope, ...] = get_args(Scope)

Effect = Literal["direct", "total"]
"""What thoughts behind a changed one are: ``direct``, as they were; ``total``, thought anew from it."""


@dataclass(frozen=True)
class Material:
    """What the new thoughts of a question are made of.

    Attributes:
        number: The question's, which keys what is drawn.
        own: ``(k, D)`` its thoughts.
        mean: ``(k, D)`` the means of all questions' thoughts, place by place.
        deviations: ``(n, k, D)`` of the thoughts of some questions from their own means.
        donors: ``(k, D)`` thoughts of other questions, by the kind of donor.
        seed: Keys what is drawn.
    """

    number: int
    own: Tensor
    mean: Tensor
    deviations: Tensor
    donors: Mapping[str, Tensor] = field(default_factory=dict)
    seed: int = 0


@dataclass(frozen=True)
class Edit:
    """A way to change thoughts.

    Attributes:
        name: As it is asked for.
        doing: What is done to all thoughts, in the words that a sentence begins with.
        new: ``(k, D)`` the new vectors; ``None`` if the question has no donor.
        scopes: The scopes that make a difference.
        least: Thoughts that it takes.
        hides: Whether the text alone is kept from seeing them, and all else stays as it is.
    """

    name: str
    doing: str
    new: Callable[[Material], Tensor | None]
    scopes: tuple[Scope, ...] = SCOPES
    least: int = 1
    hides: bool = False


def _noise(material: Material) -> Tensor:
    own = material.own
    drawn = normal(own.numel(), "noise", material.seed, material.number).view(own.shape)
    made: Tensor = drawn * (own.norm(dim=-1, keepdim=True) / drawn.norm(dim=-1, keepdim=True))
    return made


def _covariance(material: Material) -> Tensor:
    # A sum of deviations with normal weights has their covariance, that between places included; no matrix is needed.
    count = len(material.deviations)
    weights = normal(count, "covariance", material.seed, material.number)
    return material.mean + torch.einsum("n,nkd->kd", weights, material.deviations) / math.sqrt(max(1, count - 1))


def _shuffled(material: Material) -> Tensor:
    draw, before = keyed_random("shuffle", material.seed, material.number), list(range(len(material.own)))
    order = list(before)
    while order == before:
        draw.shuffle(order)
    return material.own[order]


def _first(material: Material) -> Tensor:
    return material.own[:1].expand_as(material.own)


def _donor(kind: str) -> Callable[[Material], Tensor | None]:
    return lambda material: material.donors.get(kind)


EDITS: Mapping[str, Edit] = {
    edit.name: edit
    for edit in (
        Edit("zero", "Setting all thoughts to zero", lambda material: torch.zeros_like(material.own)),
        Edit("mean", "Setting all thoughts to their mean over the questions", lambda material: material.mean),
        Edit("noise", "Replacing all thoughts by noise of the same norm", _noise),
        Edit("covariance", "Replacing all thoughts by noise of their mean and covariance", _covariance),
        Edit("same_gold", "Replacing all thoughts by another question's with the same answer", _donor("same_gold")),
        Edit("other_gold", "Replacing all thoughts by another question's with another answer", _donor("other_gold")),
        Edit("pair", "Replacing all thoughts by those of the other question about the same facts", _donor("pair")),
        Edit("reverse", "Putting the thoughts in reverse order", lambda material: material.own.flip(0), ("all",), 2),
        Edit("shuffle", "Putting the thoughts in another order", _shuffled, ("all",), 2),
        Edit("first", "Putting the first thought in the place of all", _first, ("all",), 2),
        Edit("hidden", "Hiding all thoughts from the text", lambda material: material.own, hides=True),
    )
}
"""All of them but ``scaled=FACTOR``, which multiplies the thoughts."""

DEFAULT: tuple[str, ...] = (*EDITS, "scaled=0.5", "scaled=2")
"""What is done when nothing is asked for."""


def edit_of(name: str) -> Edit:
    """The edit of a name.

    Raises:
        UserError: If there is none, or a factor is no number.
    """
    begin, equals, factor = name.partition("=")
    if begin == "scaled" and equals:
        try:
            number = float(factor)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise UserError(
                f"the factor of {name!r} is no number", where="--interventions", fix="write, for example, scaled=0.5"
            )
        return Edit(name, f"Multiplying all thoughts by {number:g}", lambda material: number * material.own)
    if name not in EDITS:
        raise UserError.unknown("intervention", name, [*EDITS, "scaled=0.5"], where="--interventions")
    return EDITS[name]


@dataclass(frozen=True)
class Intervention:
    """An edit of some thoughts.

    Attributes:
        edit: What they are changed into.
        places: ``(k,)`` bool: which they are.
        scope: The same in a word.
        thought: The one, or the first one, from 1; ``None`` for all.
        effect: What thoughts behind it are.
    """

    edit: Edit
    places: Tensor
    scope: Scope = "all"
    thought: int | None = None
    effect: Effect = "direct"

    def vectors(self, own: Tensor, new: Tensor) -> Tensor:
        """``(k, D)`` the thoughts with the change.

        Args:
            own: ``(k, D)`` as they were.
            new: ``(k, D)`` what the edit makes of them.
        """
        return torch.where(self.places[:, None], new, own)

    @property
    def hidden(self) -> Tensor:
        """``(k,)`` bool: which thoughts the text does not see."""
        return self.places & self.edit.hides

    @property
    def key(self) -> tuple[str, Scope, int | None, Effect]:
        """Name, scope, thought and effect."""
        return self.edit.name, self.scope, self.thought, self.effect


def interventions(
    names: Sequence[str], k: int, scopes: Sequence[Scope] = SCOPES, total: bool = False, marked: bool = True
) -> Iterator[Intervention]:
    """The interventions on k thoughts that are different from one another.

    Args:
        names: Of the edits.
        k: Number of thoughts.
        scopes: Which are wanted.
        total: Whether total effects are wanted too. They are those of one thought alone that others come behind.
        marked: Whether eot stands behind the thoughts. Otherwise the text begins at the last thought itself, which
            cannot be hidden from it.

    Raises:
        UserError: If there is no such edit.
    """
    numbers = torch.arange(1, k + 1)
    for edit in map(edit_of, dict.fromkeys(names)):
        last = k if marked or not edit.hides else k - 1
        there = numbers <= last
        if last < edit.least:
            continue
        if "all" in scopes:
            yield Intervention(edit, there)
        if "one" in scopes and "one" in edit.scopes and last > 1:
            yield from (Intervention(edit, numbers == one, "one", one) for one in range(1, last + 1))
        if "from" in scopes and "from" in edit.scopes:  # from the first on is all, from the last on is one
            yield from (Intervention(edit, there & (numbers >= one), "from", one) for one in range(2, last))
        if total and not edit.hides and "one" in edit.scopes:
            yield from (Intervention(edit, numbers == one, "one", one, "total") for one in range(1, k))

"""Groups of parameters with rates, weight decay or an optimizer of their own."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

import torch
from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor, nn
from torch.optim import Optimizer
from transformers import PreTrainedModel

from lcot.errors import UserError, shown
from lcot.modules.token_rows import RowsEmbedding, RowsHead

WORDS: Mapping[str, str] = {
    "vectors": "of fewer than two dimensions: norms and biases",
    "tables": "of tokens or positions: embeddings and output heads",
    "matrices": "all others of two dimensions: what Muon is made for",
}
"""What a group may match by other than names."""

HIGHEST = 2e-4
"""A rate above it is none for all weights of a pretrained model."""

_WHERE = "model.parameter_groups"

_log = logging.getLogger("lcot")


@dataclass(frozen=True)
class ParameterGroup:
    """Parameters that are trained in another way than the rest. A parameter belongs to the first group that matches it.

    Attributes:
        match: Which: ``vectors`` (of fewer than two dimensions: norms and biases), ``tables`` (embeddings of tokens and
            positions, output heads), ``matrices`` (all others of two dimensions), or patterns for names, such as
            ``*.lora_B.*``. One, or a list of which each matches something.
        lr: Learning rate; that of the group's optimizer if not given.
        weight_decay: Weight decay, likewise.
        optimizer: Makes an optimizer for this group; ``model.optimizer`` has it if not given. Groups whose optimizers
            are set alike still have one each.
    """

    match: str | list[str]
    lr: float | None = None
    weight_decay: float | None = None
    optimizer: OptimizerCallable | None = field(default=None)

    def __post_init__(self) -> None:
        if not self.patterns or not all(self.patterns):
            raise UserError(
                f"a group matches {self.match!r}",
                where=f"{_WHERE}.match",
                fix=f"name parameters: {', '.join(WORDS)}, or a pattern such as '*.bias'",
            )
        for name, value in (("lr", self.lr), ("weight_decay", self.weight_decay)):
            if value is not None and not 0 <= value < float("inf"):
                raise UserError(f"{name} is {value}", where=f"{_WHERE}.{name}", fix="give a number from 0 on")
        if (self.lr, self.weight_decay, self.optimizer) == (None, None, None):
            raise UserError(
                f"the group {self.name!r} is trained as the rest is",
                where=_WHERE,
                why="it has no lr, weight_decay or optimizer, and would have no effect",
                fix="give it one of these, or leave it out",
            )

    @property
    def patterns(self) -> list[str]:
        """What is matched."""
        return [self.match] if isinstance(self.match, str) else list(self.match)

    @property
    def name(self) -> str:
        """What logs call it."""
        return "+".join(self.patterns)

    @property
    def own(self) -> dict[str, float]:
        """What differs from its optimizer's own settings."""
        found = {"lr": self.lr, "weight_decay": self.weight_decay}
        return {name: value for name, value in found.items() if value is not None}


def check_rates(optimizer: Optimizer, pretrained: Iterable[Tensor]) -> None:
    """Warn where all of a pretrained model is trained at a rate for weights that are drawn.

    At such a rate Adam, whose steps are as long as the rate is, takes away in some hundred steps what the weights hold.

    Args:
        optimizer: As it was made, before its rates are scheduled.
        pretrained: The weights of a pretrained model.
    """
    known = {id(parameter) for parameter in pretrained}
    rates = [
        float(group["lr"])
        for group in optimizer.param_groups
        if "betas" in group and any(id(parameter) in known for parameter in group["params"])
    ]
    if max(rates, default=0.0) > HIGHEST:
        _log.warning(
            "lcot: warning: all of a pretrained model is trained at a rate of %.1e, as if it were from scratch: some"
            " hundred steps of that undo what it knows; 1e-5 to 1e-4 are usual (model.optimizer.lr), or LoRA with 2e-4"
            " (-c chat_cot)",
            max(rates),
        )


def make_optimizer(module: nn.Module, make: OptimizerCallable, groups: Sequence[ParameterGroup]) -> Optimizer:
    """The optimizer of all parameters that are trained, each in exactly one group.

    Args:
        module: Whose parameters.
        make: Makes the optimizer of what no group with an optimizer of its own takes.
        groups: In this order.

    Returns:
        The one optimizer, or one that steps several.

    Raises:
        UserError: If a pattern matches nothing that is left, nothing is left for ``make``, or an optimizer cannot be
            made, or does not have what a group sets.
    """
    if not groups:
        return _made(
            make, [parameter for parameter in module.parameters() if parameter.requires_grad], "model.optimizer"
        )
    parts: list[tuple[str, OptimizerCallable, list[dict[str, Any]]]] = [("model.optimizer", make, [])]
    *taken, rest = divided(module, [group.patterns for group in groups])
    if rest:
        parts[0][2].append({"params": rest, "name": "rest"})
    for number, (group, parameters) in enumerate(zip(groups, taken, strict=True)):
        entry = {"params": parameters, "name": group.name, **group.own}
        if group.optimizer is None:
            parts[0][2].append(entry)
        else:
            parts.append((f"{_WHERE}[{number}].optimizer", group.optimizer, [entry]))
    if not parts[0][2]:
        raise UserError(
            "nothing is left for model.optimizer",
            where=_WHERE,
            why="every parameter belongs to a group with an optimizer of its own, and the setting would be ignored",
            fix="leave the optimizer of one group out; it then has model.optimizer",
        )
    made = [_made(own, entries, where) for where, own, entries in parts]
    return made[0] if len(made) == 1 else Optimizers(made)


def divided(module: nn.Module, wanted: Sequence[Sequence[str]]) -> list[list[nn.Parameter]]:
    """Parameters that are trained, by the first list of patterns that matches them, and what none does.

    Args:
        module: Whose parameters; shared ones have all of their names.
        wanted: Patterns of each group.

    Raises:
        UserError: If a pattern matches nothing that is left.
    """
    names: dict[nn.Parameter, list[str]] = defaultdict(list)
    for name, parameter in module.named_parameters(remove_duplicate=False):
        if parameter.requires_grad:
            names[parameter].append(name)
    tables = set(_tables(module))
    found: list[list[nn.Parameter]] = []
    left = list(names)
    for patterns in wanted:
        matched = {pattern: {own for own in left if _matches(pattern, own, names[own], tables)} for pattern in patterns}
        for pattern, those in matched.items():
            if not those:
                earlier = any(_matches(pattern, own, names[own], tables) for own in names)
                some = sorted({name for own in left for name in names[own]})
                raise UserError(
                    f"{shown(pattern)} matches no parameter" + (" that is left" if earlier else ""),
                    where=f"{_WHERE}.match",
                    why="an earlier group has them all" if earlier else f"some names are {', '.join(some[:4])}",
                    fix=f"use {', '.join(WORDS)}, or patterns for whole names, such as '*.bias'",
                )
        group = set().union(*matched.values())
        found.append([own for own in left if own in group])
        left = [own for own in left if own not in group]
    return [*found, left]


def _matches(pattern: str, parameter: nn.Parameter, names: Iterable[str], tables: set[nn.Parameter]) -> bool:
    if pattern not in WORDS:
        return any(fnmatchcase(name, pattern) for name in names)
    if parameter.ndim < 2:
        return pattern == "vectors"
    return pattern == ("tables" if parameter in tables else "matrices" if parameter.ndim == 2 else None)


def _tables(module: nn.Module) -> Iterable[nn.Parameter]:
    """Parameters with a row a token or position."""
    for part in module.modules():
        if isinstance(part, nn.Embedding | RowsEmbedding | RowsHead):
            yield from part.parameters()
        elif isinstance(part, PreTrainedModel):
            head: Any = part.get_output_embeddings()  # type: ignore[no-untyped-call]
            yield from head.parameters() if head is not None else ()


def _made(make: OptimizerCallable, parameters: list[Any], where: str) -> Optimizer:
    try:
        made = make(parameters)
    except ValueError as err:
        muon = "Muon" in str(err)
        raise UserError(
            "the optimizer cannot be made",
            where=where,
            why=str(err),
            fix="leave it the matrices: model.parameter_groups=[{match: [vectors, tables], optimizer: AdamW}]"
            if muon
            else None,
        ) from err
    for group in made.param_groups:
        unknown = sorted(set(group) - set(made.defaults) - {"params", "name"})
        if unknown:
            raise UserError(
                f"the group {group['name']!r} sets {', '.join(unknown)}",
                where=_WHERE,
                why=f"{type(made).__name__} has no such setting, and it would be ignored",
                fix="leave it out, or give the group an optimizer that has it",
            )
    return made


class Optimizers(Optimizer):
    """Several optimizers, each with parameters of its own, that are stepped, scheduled and saved as one.

    Args:
        parts: The optimizers. Their groups and states are shared with this one.
    """

    def __init__(self, parts: Sequence[Optimizer]) -> None:
        self.parts = list(parts)
        super().__init__([group for part in parts for group in part.param_groups], {})
        self._share()

    def _share(self) -> None:
        groups = iter(self.param_groups)
        for part in self.parts:
            part.param_groups = [next(groups) for _ in part.param_groups]
            part.state = self.state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up a saved state."""
        super().load_state_dict(state_dict)
        self._share()

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Step each of them, after the closure has made the gradients; returns what it returned."""
        loss: Tensor | None = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for part in self.parts:
            part.step()
        return loss

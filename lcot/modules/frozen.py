"""Weights that are not trained: freezing them, telling them apart, and checkpoints without them.

A checkpoint of a module with frozen weights holds what was trained, and says where the others are to be had again and
what they were. It is of megabytes beside a model of gigabytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, Self

import lightning as L
import torch
from torch import Tensor, nn

from lcot.errors import CheckpointError

DType = Literal["float32", "bfloat16", "float16"]
"""Types of weights."""

SAMPLE = 65_536
"""Elements of a tensor that :func:`fingerprint` looks at: all of a small one, evenly spaced ones of a larger one."""

# Where users choose the model of a submodule.
_SETTINGS = {"model": "model.backbone", "assistant_model": "model.assistant"}


@dataclass(frozen=True)
class FrozenWeights:
    """Where frozen weights come from, and what they are.

    Attributes:
        path: Name on the Hugging Face Hub, or absolute folder.
        revision: Commit or branch on the Hub; ``None`` for a folder.
        dtype: Type that they were loaded in.
        fingerprint: What :func:`fingerprint` gave.
    """

    path: str
    revision: str | None
    dtype: DType
    fingerprint: str


class PartlyTrained(L.LightningModule):
    """A module whose checkpoints hold what is trained, and nothing of its frozen weights.

    Attributes:
        frozen: Where the frozen weights of each submodule come from, by its name. Parameters without a gradient are
            left out of checkpoints if they belong to one of these, and no others are.
    """

    def __init__(self) -> None:
        super().__init__()
        self.frozen: dict[str, FrozenWeights] = {}

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Move the module, or change the type of its weights (``bf16-true``, …), and of nothing else.

        Buffers keep their types: rounded rotary frequencies turn far columns by other angles. So do weights that are
        trained beside frozen ones: they are in float32, and their small steps would be lost.
        """
        kept = {id(buffer) for buffer in self.buffers()}
        kept |= {id(own) for own in self.parameters() if self.frozen and own.requires_grad}

        def change(tensor: Tensor) -> Tensor:
            changed = fn(tensor)
            keeps = id(tensor) in kept and changed.dtype != tensor.dtype
            return tensor.to(changed.device) if keeps else changed

        super()._apply(change, recurse)  # type: ignore[no-untyped-call]
        return self

    def trained_names(self) -> list[str]:
        """Names in the state dict that a checkpoint holds: of trained parameters, of all buffers, of all else."""
        return trained_names(self, self.frozen)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Leave the frozen weights out."""
        state = checkpoint["state_dict"]
        # Where weights are shared out among processes, only the first one has them together.
        checkpoint["state_dict"] = {name: state[name] for name in self.trained_names() if name in state}

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Take up what was trained.

        Args:
            state_dict: The weights of a checkpoint.
            strict: No effect: a checkpoint holds exactly what is trained here, or it is refused.
            assign: As in torch.

        Raises:
            CheckpointError: If a weight is missing, unexpected, or of another shape; nothing is loaded.
        """
        check_names(state_dict, self.trained_names())
        with shapes_told():
            return super().load_state_dict(state_dict, strict=False, assign=assign)


@contextmanager
def shapes_told() -> Iterator[None]:
    """Say in a block what torch says of weights that do not fit where they are loaded."""
    try:
        yield
    except (RuntimeError, AttributeError, TypeError) as err:
        raise CheckpointError(
            "weights of the checkpoint have other shapes than its model",
            why=" ".join(str(err).split()[:60]),
            fix="use another checkpoint of this run",
        ) from err


def trained_names(module: nn.Module, parts: Collection[str] | None = None) -> list[str]:
    """Names in a module's state dict without those of frozen parameters.

    Args:
        module: Whose.
        parts: Submodules whose frozen parameters are left out; all of them if not given.
    """
    left_out = {
        name
        for name, parameter in module.named_parameters(remove_duplicate=False)
        if not parameter.requires_grad and (parts is None or name.partition(".")[0] in parts)
    }
    return [name for name in module.state_dict() if name not in left_out]


def check_names(state: Mapping[str, Any], wanted: list[str]) -> None:
    """Make sure that a checkpoint holds exactly what is wanted of it.

    Raises:
        CheckpointError: If it lacks some of it or holds something else, with names.
    """
    missing = [name for name in wanted if name not in state]
    unexpected = sorted(set(state) - set(wanted))
    if missing or unexpected:
        found = {"missing": missing, "unexpected": unexpected}
        raise CheckpointError(
            "the checkpoint does not hold what is trained here",
            why="; ".join(f"{kind}: {_listed(names)}" for kind, names in found.items() if names),
            fix="use the config.yaml of the checkpoint's run",
        )


def check_frozen(saved: Mapping[str, Mapping[str, Any]], mine: Mapping[str, Mapping[str, Any]]) -> None:
    """Make sure that what a checkpoint was trained beside is what it is to work beside.

    Args:
        saved: The fields of :class:`FrozenWeights` by submodule, as the checkpoint has them.
        mine: Those of the module that is to load it.

    Raises:
        CheckpointError: If other submodules are frozen, or their weights are others.
    """
    if saved.keys() != mine.keys():
        words = {True: "beside frozen weights", False: "with all its weights"}
        raise CheckpointError(
            f"the checkpoint was trained {words[bool(saved)]}, and the config trains {words[bool(mine)]}",
            why=f"frozen then: {_listed(sorted(saved))}; now: {_listed(sorted(mine))}",
            fix="use the config.yaml of the checkpoint's run",
        )
    for name, then in saved.items():
        now = mine[name]
        if then["fingerprint"] != now["fingerprint"]:
            retyped = then["dtype"] != now["dtype"]
            types = f"their dtype was {then['dtype']} then, and is {now['dtype']} now"
            raise CheckpointError(
                "the frozen weights are others than those of the training",
                where=f"{_SETTINGS.get(name, name)}: {_source(then)} then, {_source(now)} now",
                why=types if retyped else "what was trained is of use beside the same weights only",
                fix="set the dtype to what it was" if retyped else "give the path to those weights, or train anew",
            )


def freeze(model: nn.Module) -> None:
    """Keep a model as it is: no parameter of it gets a gradient, and dropout is off.

    Lightning puts modes back after validation, so a module that switches all of itself to training calls this again, or
    ``eval()``, on what is frozen.
    """
    model.requires_grad_(False)
    model.eval()


def fingerprint(model: nn.Module) -> str:
    """A hash that tells the frozen weights of a model from any others, in seconds for a model of 8B parameters.

    It is blake2b over name, shape, type and values of each tensor of the state dict, in the order of names. Of a tensor
    with more than :data:`SAMPLE` elements, that many are read, evenly spaced; so another model, revision, type or
    training is found out, and a change of a few single elements may not be. Trained parameters (those with a gradient)
    do not count, and neither do the layers that LoRA puts around others, which change their names.

    Args:
        model: On any device.

    Returns:
        32 hexadecimal digits.
    """
    trained = {name for name, parameter in model.named_parameters(remove_duplicate=False) if parameter.requires_grad}
    return _hash(
        {
            name.replace(".base_layer.", "."): tensor
            for name, tensor in model.state_dict().items()
            if name not in trained
        },
        SAMPLE,
    )


def weights_hash(model: nn.Module) -> str:
    """A hash of every element of every tensor of the state dict, trained or not."""
    return _hash(model.state_dict(), None)


@torch.no_grad()
def _hash(tensors: Mapping[str, Tensor], most: int | None) -> str:
    found = hashlib.blake2b(digest_size=16)
    for name in sorted(tensors):
        tensor = tensors[name]
        found.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        for piece in _values(tensor.reshape(-1), most):
            found.update(piece.contiguous().view(torch.uint8).cpu().numpy().data)
    return found.hexdigest()


def _values(flat: Tensor, most: int | None) -> Iterator[Tensor]:
    if most is None or len(flat) <= most:
        # In pieces: of a table on a GPU, no second copy of the whole.
        yield from (piece for piece in torch.split(flat, 1 << 24) if len(piece))
    else:
        yield flat[torch.arange(most, device=flat.device) * len(flat) // most]


def _source(weights: Mapping[str, Any]) -> str:
    revision = weights["revision"]
    return repr(weights["path"]) + (f" at {revision}" if revision else "")


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - 4} more" if len(names) > 4 else ""
    return ", ".join(names[:4]) + more if names else "nothing"

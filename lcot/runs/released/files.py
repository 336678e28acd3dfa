"""Files of released weights: read as tensors, whatever their form, without running anything that they hold."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from lcot.errors import CheckpointError, UserError
from lcot.modules.intact import check_zip, flaw, is_pointer

_NAMES = (
    *("model.safetensors", "model.safetensors.index.json", "adapter_model.safetensors"),
    *("pytorch_model.bin", "pytorch_model.bin.index.json", "adapter_model.bin", "model.pt"),
)
"""What weights are called in a folder; safetensors come first."""

_BESIDE = ("config.json", "adapter_config.json", "pccot_args.json")
_AGAIN = "download or copy it again"


@dataclass(frozen=True)
class Files:
    """What some files hold.

    Attributes:
        tensors: By name.
        paths: The files.
        beside: JSON files that lie beside them, by name.
    """

    tensors: dict[str, Tensor]
    paths: tuple[Path, ...]
    beside: dict[str, dict[str, Any]]

    @property
    def told(self) -> str:
        """Where they are, for messages."""
        return ", ".join(map(str, self.paths))


def read_files(given: Sequence[Path]) -> Files:
    """Read released weights.

    Args:
        given: Files, or folders that hold some.

    Raises:
        UserError: If there are none, one cannot be read as tensors, or a tensor is in two of them.
        CheckpointError: If one is a checkpoint of lcot.
    """
    paths = [file for path in given for file in _files(path)]
    tensors: dict[str, Tensor] = {}
    for file in paths:
        for name, tensor in _tensors(file).items():
            if name in tensors:
                raise UserError(
                    f"two files hold the tensor {name!r}", where=str(file), fix="give the files of one model"
                )
            tensors[name] = tensor
    folders = dict.fromkeys(file.parent for file in paths)
    beside = {name: read_object(folder / name) for folder in folders for name in _BESIDE if (folder / name).is_file()}
    return Files(_plain(tensors), tuple(paths), beside)


def read_object(file: Path) -> dict[str, Any]:
    """What a JSON file holds.

    Raises:
        UserError: If that is no object.
    """
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as err:
        raise UserError(f"{str(file)!r} cannot be read", why=str(err).splitlines()[0], fix=_AGAIN) from err
    if not isinstance(found, dict):
        raise UserError(f"{str(file)!r} holds no object", fix=_AGAIN)
    return found


def _files(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
        return
    if not path.is_dir():
        raise UserError(f"there is no file or folder {str(path)!r}", where="lcot import", fix="check the path")
    name = next((name for name in _NAMES if (path / name).is_file()), None)
    if name is None:
        found = ", ".join(sorted(file.name for file in path.iterdir())[:8]) or "nothing"
        raise UserError(
            f"there are no weights in {str(path)!r}",
            where="lcot import",
            why=f"none of {', '.join(_NAMES)} is in it; found: {found}",
            fix="give the file itself",
        )
    if not name.endswith(".json"):
        yield path / name
        return
    placed = read_object(path / name).get("weight_map")
    if not isinstance(placed, dict) or not placed or not all(isinstance(one, str) for one in placed.values()):
        raise UserError(f"{str(path / name)!r} has no weight_map", fix=_AGAIN)
    yield from (path / one for one in sorted(set(placed.values())))


def _tensors(file: Path) -> dict[str, Tensor]:
    if file.suffix == ".safetensors":
        damage = flaw(file)
        if damage is not None:
            raise UserError(f"{str(file)!r} cannot be read", where="lcot import", why=damage[0], fix=damage[1])
        return load_file(file)
    if not file.is_file():
        raise UserError(f"there is no file {str(file)!r}", where="lcot import", why="the index names it", fix=_AGAIN)
    if is_pointer(file):
        raise UserError(f"{str(file)!r} is a Git LFS pointer, not the file itself", fix="git lfs pull, or download it")
    whole = zipfile.is_zipfile(file)
    if whole and (damage_ := check_zip(file)) is not None:
        raise UserError(f"{str(file)!r} cannot be read", where="lcot import", why=damage_, fix=_AGAIN)
    try:
        found = torch.load(file, map_location="cpu", weights_only=True, mmap=whole)
    except Exception as err:  # whatever a file of another making leads to
        raise UserError(
            f"{str(file)!r} cannot be read as tensors",
            where="lcot import",
            why=(str(err) or type(err).__name__).splitlines()[0],
            fix="give a file of safetensors, or a state dict that torch.save wrote: a pickle of anything else could run"
            " code, and is not read",
        ) from err
    if isinstance(found, Mapping) and "lcot" in found:
        raise CheckpointError(
            f"{str(file)!r} is a checkpoint of lcot",
            where="lcot import",
            fix="use it where it is: lcot test -c RUN/config.yaml, or --model.backbone.path=RUN to begin with it",
        )
    for inner in ("state_dict", "model", "module"):  # as trainers wrap them
        if isinstance(found, Mapping) and isinstance(found.get(inner), Mapping):
            found = found[inner]
    if not isinstance(found, Mapping):
        raise UserError(f"{str(file)!r} holds a {type(found).__name__}, and no tensors by name", where="lcot import")
    other = [str(name) for name, value in found.items() if not isinstance(value, Tensor)]
    if other or not found:
        raise UserError(
            f"{str(file)!r} does not hold tensors by name",
            where="lcot import",
            why=f"{other[0]!r} is none" if other else "it is empty",
            fix="give the file of weights",
        )
    return {str(name): tensor for name, tensor in found.items()}


def _plain(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names without what wrappers of training put into them (DDP, FSDP, torch.compile)."""
    for wrapper in ("_fsdp_wrapped_module.", "_orig_mod."):
        tensors = {name.replace(wrapper, ""): tensor for name, tensor in tensors.items()}
    if tensors and all(name.startswith("module.") for name in tensors):
        tensors = {name.removeprefix("module."): tensor for name, tensor in tensors.items()}
    return dict(tensors)

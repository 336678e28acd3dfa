"""Whether files of weights are what was written: cut, swapped for a pointer, or with a bit that flipped."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from lcot.errors import CheckpointError

DESCRIPTION = "lcot.json"
"""What an exported folder says about itself."""

HASHES = "files"
"""Where it has the hashes of its files."""

_POINTER = b"version https://git-lfs.github.com/spec/"
_HASHED = ("*.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json")


def is_pointer(file: Path) -> bool:
    """Whether a file is what Git LFS leaves in the place of one that was not fetched."""
    with file.open("rb") as stream:
        return stream.read(len(_POINTER)) == _POINTER


def flaw(file: Path) -> tuple[str, str] | None:
    """What is wrong with a file of weights, by its size and its header, and what to do; ``None`` if nothing is.

    Args:
        file: A safetensors file.
    """
    if not file.is_file():
        return "it is not there", "download or copy it again"
    try:
        if is_pointer(file):
            return "it is a Git LFS pointer, not the file itself", "git lfs pull, or download it again"
        if file.stat().st_size == 0:
            return "it is empty", "download or copy it again"
        with safe_open(file, framework="pt"):
            return None
    except Exception as err:  # a SafetensorError is no more than an Exception
        return f"it is cut short or damaged: {_line(err)}", "download or copy it again"


def check_zip(file: Path, whole: bool = True) -> str | None:
    """What is wrong with a checkpoint by its checksums, which torch does not look at; ``None`` if nothing is.

    Args:
        file: The checkpoint.
        whole: All of it, which takes 0.1 s for 100 MB; else all but the tensors.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            for part in archive.infolist():
                if whole or "/data/" not in part.filename:
                    with archive.open(part) as stream:
                        while stream.read(1 << 20):
                            pass
    except Exception as err:  # whatever a damaged file leads to
        if file.is_file() and is_pointer(file):
            return "it is a Git LFS pointer, not the file itself"
        return f"it is cut short or damaged: {_line(err)}"
    return None


def save_weights(tensors: dict[str, Tensor], file: Path, metadata: dict[str, str] | None = None) -> None:
    """Write a safetensors file with the rights that any new file has; the library's own are for its owner alone.

    Args:
        tensors: By name.
        file: Where to; replaced if it is there.
        metadata: What else its header says.
    """
    file.touch()
    mode = file.stat().st_mode
    save_file(tensors, file, metadata=metadata)
    file.chmod(mode)


def readable_as(file: Path, others: Iterable[Path]) -> None:
    """Give files the rights of another one that was written beside them."""
    for other in others:
        other.chmod(file.stat().st_mode)


def file_hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of what answers depend on in an exported folder: weights, model, tokenizers; by name in the folder."""
    found = sorted({file for pattern in _HASHED for file in folder.rglob(pattern)})
    return {file.relative_to(folder).as_posix(): _sha256(file) for file in found}


def check_exported(folder: Path) -> None:
    """Make sure that an exported folder holds what was written; one that says nothing of it is taken as it is.

    Raises:
        CheckpointError: If a file is gone, or another one than was written.
    """
    described = folder / DESCRIPTION
    if not described.is_file():
        return
    try:
        written = json.loads(described.read_text(encoding="utf-8")).get(HASHES, {})
        if not isinstance(written, Mapping):
            raise ValueError(f"its {HASHES} are {written!r:.60}")
    except (ValueError, AttributeError, RecursionError) as err:
        raise CheckpointError(
            f"{str(described)!r} cannot be used", why=_line(err), fix="export the model again, with save_pretrained"
        ) from err
    for name, known in written.items():
        file = folder / name
        found = flaw(file) if file.suffix == ".safetensors" or not file.is_file() or is_pointer(file) else None
        if found is not None:
            raise CheckpointError(f"{str(file)!r} cannot be read", why=found[0], fix="copy or export the model again")
        if _sha256(file) != known:
            raise CheckpointError(
                f"{str(file)!r} is not what was written",
                why="its hash differs from that of the export",
                fix="copy or export the model again; if the change is meant, take the file out of"
                f" {HASHES!r} in {DESCRIPTION}",
            )


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _line(err: BaseException) -> str:
    return (str(err).strip() or type(err).__name__).splitlines()[0]

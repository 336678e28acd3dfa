"""What a frozen assistant makes of each question, computed once and kept: in memory, and in a folder for later runs.

A row's states depend on its token ids and on the assistant alone, so they are found again by a hash of the ids, in a
folder that belongs to one assistant. Files are only ever added, each at once, so that processes and runs may share the
folder and may be killed at any time. Each holds a hash of every row, which is looked at when the row is first read.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from lcot.errors import UserError
from lcot.modules.intact import save_weights

ABOUT = "assistant.json"


def row_key(ids: Sequence[int], path: int = 0) -> str:
    """A hash of a row's token ids and, where a question has several rows of placeholders, which one it is."""
    return hashlib.blake2b(json.dumps([path, *ids]).encode(), digest_size=16).hexdigest()


def default_folder(assistant: str) -> Path:
    """Where the states of an assistant are kept unless another folder is chosen.

    Args:
        assistant: A name that no other one has: its fingerprint, and how it computes.
    """
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "lcot" / "states" / assistant


class StateStore:
    """States by key.

    Args:
        folder: Where they are kept; ``None`` keeps them in memory, for this process only.
        about: What makes the states what they are: the assistant's fingerprint and type. It is written into the folder.

    Raises:
        UserError: If the folder holds states of another assistant, or is no such folder.
    """

    def __init__(self, folder: Path | None, about: Mapping[str, str]) -> None:
        self.folder = folder
        self.about = dict(about)
        self._memory: dict[str, Tensor] = {}
        self._files: dict[str, Any] = {}
        self._places: dict[str, str] = {}
        self._hashes: dict[str, dict[str, str]] = {}
        self._sound: set[str] = set()
        if folder is not None:
            self._check(folder)
            self.refresh()

    def __contains__(self, key: str) -> bool:
        return key in self._memory or key in self._places

    def __len__(self) -> int:
        return len(self._memory.keys() | self._places.keys())

    def get(self, key: str) -> Tensor:
        """The states ``(N, D)`` of a row, on the CPU.

        Raises:
            KeyError: If there are none.
            UserError: If they are not what was written.
        """
        if key in self._memory:
            return self._memory[key]
        name = self._places[key]
        found: Tensor = self._files[name].get_tensor(key)
        if key not in self._sound:
            if self._hashes[name].get(key) not in (None, _hash(found)):
                raise self._damaged(name, "a row of it is not what was written: its hash differs")
            self._sound.add(key)
        return found

    def add(self, states: Mapping[str, Tensor]) -> None:
        """Keep states of rows; with a folder, in one new file of it.

        Raises:
            OSError: If it cannot be written; nothing is left half-written.
            UserError: If the folder has become another assistant's in the meantime.
        """
        fresh = {key: value.detach().cpu().contiguous() for key, value in states.items() if key not in self}
        if self.folder is None:
            self._memory.update(fresh)
        elif fresh:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._claim(self.folder / ABOUT)
            name = hashlib.blake2b("".join(sorted(fresh)).encode(), digest_size=16).hexdigest()
            target = self.folder / f"{name}.safetensors"
            partial = target.with_suffix(f".{os.getpid()}.partial")
            try:
                save_weights(fresh, partial, metadata={key: _hash(value) for key, value in fresh.items()})
                partial.replace(target)
            finally:
                partial.unlink(missing_ok=True)
            self._open(target)

    def refresh(self) -> None:
        """See what other processes have added."""
        if self.folder is not None and self.folder.is_dir():
            for file in sorted(self.folder.glob("*.safetensors")):
                if file.name not in self._files:
                    self._open(file)

    def _open(self, file: Path) -> None:
        try:
            opened: Any = safe_open(file, framework="pt")
        except (SafetensorError, OSError) as err:
            raise self._damaged(file.name, str(err)) from err
        self._files[file.name] = opened
        self._hashes[file.name] = opened.metadata() or {}
        self._places.update(dict.fromkeys(opened.keys(), file.name))

    def _damaged(self, name: str, why: str) -> UserError:
        return UserError(
            "a file of the assistant's states is damaged",
            where=str(self.folder / name if self.folder is not None else name),
            why=why,
            fix="delete it; its states are computed again",
        )

    def _check(self, folder: Path) -> None:
        file = folder / ABOUT
        if not file.is_file():
            # Our own folders say whose they are before they hold anything else.
            if folder.exists() and (not folder.is_dir() or any(folder.glob("*.safetensors"))):
                raise UserError(
                    "the place for the assistant's states holds something else",
                    where=f"model.states, {folder}",
                    fix="name a folder that is new or empty, or leave the setting out: each assistant then has its own",
                )
            return
        try:
            theirs = json.loads(file.read_text(encoding="utf-8"))
        except ValueError:
            theirs = None
        if theirs != self.about:
            said = ", ".join(f"{key} {value}" for key, value in theirs.items()) if isinstance(theirs, dict) else "?"
            mine = ", ".join(f"{key} {value}" for key, value in self.about.items())
            raise UserError(
                "the folder holds the states of another assistant",
                where=f"model.states, {file}",
                why=f"they are of {said}; this run has {mine}",
                fix="choose another folder, or leave the setting out: each assistant then has one of its own",
            )

    def _claim(self, file: Path) -> None:
        """Say whose folder it is, unless somebody has."""
        if not file.is_file():
            partial = file.with_suffix(f".{os.getpid()}.partial")
            try:
                partial.write_text(json.dumps(self.about, indent=2) + "\n", encoding="utf-8")
                try:
                    os.link(partial, file)  # of two processes that come at once, one makes it
                except FileExistsError:
                    pass
                except OSError:  # a file system without links
                    partial.replace(file)
            finally:
                partial.unlink(missing_ok=True)
        self._check(file.parent)


def _hash(states: Tensor) -> str:
    """Of a row's states, with what their bytes mean."""
    found = hashlib.blake2b(f"{tuple(states.shape)} {states.dtype}".encode(), digest_size=16)
    found.update(states.contiguous().view(torch.uint8).numpy().data)
    return found.hexdigest()

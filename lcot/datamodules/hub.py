"""Records of data sets on the Hugging Face Hub, or of a folder that holds one, through ``datasets``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import huggingface_hub

from lcot.datamodules.records import Record
from lcot.errors import DataError, needs, shown
from lcot.settings import check_asked

PREFIX = "hub:"
"""What a path of the Hub starts with, so that no misspelt file name ever asks the network."""

_FORM = f"{PREFIX}NAME, {PREFIX}NAME:CONFIG or {PREFIX}NAME:CONFIG:SPLIT"


@dataclass(frozen=True, slots=True)
class HubPath:
    """A split of a data set.

    Attributes:
        name: ``owner/name`` on the Hub, or a folder.
        config: One of its configurations; ``None`` where it has only one.
        split: A split in the language of ``datasets``: ``train``, ``train[:7000]``.
    """

    name: str
    config: str | None
    split: str

    @classmethod
    def parse(cls, text: str, split: str) -> HubPath:
        """Read ``hub:NAME[:CONFIG[:SPLIT]]``, where CONFIG may be empty.

        Args:
            text: The path.
            split: What to take where the path names no split.

        Raises:
            DataError: If it has no name.
        """
        name, _, rest = text.removeprefix(PREFIX).partition(":")
        config, _, chosen = rest.partition(":")
        if not name or len(text) > 1000 or not text.isprintable():
            raise DataError(f"{shown(text)} names no data set", fix=f"write {_FORM}")
        return cls(name, config or None, chosen or split)

    def __str__(self) -> str:
        return ":".join([PREFIX + self.name, self.config or "", self.split])


def read_hub(path: HubPath) -> Iterator[Record]:
    """Read the records of a data set.

    One that was loaded before is taken from the local cache, without asking the Hub. Code that comes with a data set is
    never run.

    Args:
        path: Which one.

    Returns:
        The records in the data set's order. It is fetched at once, and kept on disk.

    Raises:
        DataError: If it cannot be found or reached, has no such configuration or split, or holds no record.
    """
    loaded = _load(path)
    if not len(loaded):
        raise DataError("the data set holds no record", where=str(path), fix="name another split")
    numbered = enumerate(loaded, start=1)
    return (Record(record, f"{path}, record {number}", f"record {number}") for number, record in numbered)


def _load(path: HubPath) -> Any:
    needs("hub", "datasets", what="a data set of the Hub", where=str(path))
    import datasets  # heavy, and most runs need no data set of the Hub

    def load() -> Any:
        return datasets.load_dataset(name, path.config, split=path.split, trust_remote_code=False)

    folder = _folder(path)
    name, local = (path.name, False) if folder is None else (str(folder), True)
    if not local and (path.name.startswith((".", "/", "~")) or path.name.count("/") > 1):
        raise DataError(f"there is no folder {path.name!r}", where=str(path), fix="check the path")
    try:
        with _offline(datasets.config):
            return load()
    except Exception as error:
        if local:
            raise _refusal(f"the folder {path.name!r} holds no such data", path, error) from error
        if datasets.config.HF_HUB_OFFLINE:
            what = f"the data set {path.name!r} is not in the local cache, and HF_HUB_OFFLINE forbids a download"
            raise _refusal(what, path, None) from error
    check_asked(path.name, f"hf download --repo-type dataset {path.name}", f"--data.test_path={path}")
    try:
        # One quick question first: the download itself would retry for most of a minute before it gives up.
        huggingface_hub.get_session().head(huggingface_hub.constants.ENDPOINT, timeout=10)
    except Exception as error:
        what = f"the data set {path.name!r} is not in the local cache, and the Hugging Face Hub cannot be reached"
        raise _refusal(what, path, error) from error
    try:
        return load()
    except Exception as error:
        raise _refusal(f"the data set {path.name!r} cannot be had from the Hugging Face Hub", path, error) from error


def _folder(path: HubPath) -> Path | None:
    """The folder that a name means, if it is one."""
    try:
        folder = Path(path.name).expanduser()
        return folder if folder.is_dir() else None
    except (OSError, RuntimeError):  # a name that is too long, or nobody's home folder
        return None


@contextmanager
def _offline(config: Any) -> Iterator[None]:
    """Have ``datasets`` look at its cache only."""
    before, config.HF_HUB_OFFLINE = config.HF_HUB_OFFLINE, True
    try:
        yield
    finally:
        config.HF_HUB_OFFLINE = before


def _refusal(what: str, path: HubPath, error: BaseException | None) -> DataError:
    if error is not None and type(error).__name__ == "DatasetGenerationError":  # says nothing but that it is one
        error = error.__cause__ or error
    text = str(error).strip() if error is not None else ""
    fix = "check name, configuration and split"
    if _folder(path) is None:
        command = f"hf download --repo-type dataset {path.name} --local-dir FOLDER"
        fix += f", or fetch it where there is a network (`{command}`) and give {PREFIX}FOLDER"
    return DataError(
        what,
        where=f"{path} ({_FORM})",
        why=f"{type(error).__name__}: {text.splitlines()[0] if text else 'no message'}" if error is not None else None,
        fix=fix,
    )

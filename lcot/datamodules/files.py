"""The frame of data sets that come from files, or from the Hub, and from nowhere else."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar

from lcot.datamodules.base import ReasoningDataModule, Split
from lcot.datamodules.doubts import check_chains
from lcot.datamodules.hub import PREFIX, HubPath, read_hub
from lcot.datamodules.records import Record, read_records
from lcot.datamodules.rows import ListSource, Source
from lcot.errors import UserError
from lcot.reasoning.curriculum import find_clock
from lcot.reasoning.example import ReasoningExample

_SPLITS = {"train": "train", "val": "validation", "test": "test"}


class FileReasoning(ReasoningDataModule):
    """Examples that are read from a path for each split; a data set only says how.

    A path is a file, or a data set of the Hub: ``hub:NAME``, ``hub:NAME:CONFIG`` or ``hub:NAME:CONFIG:SPLIT``, with the
    split ``train``, ``validation`` or ``test`` if none is named. NAME may also be a folder that holds such a data set.
    Nothing is fetched unless a path says ``hub:`` and the data set is not in the local cache.

    Args:
        train_path: What to train on; it also makes the words of ``tokenizer: words``.
        val_path: What to validate on.
        test_path: What to test on, and what ``predict`` answers.
        options: Those of :class:`~lcot.datamodules.base.ReasoningDataModule`.

    Raises:
        UserError: If an option is out of range.
    """

    chain_fix: ClassVar[str] = 'give the chain as "steps", a list of strings'
    """What to do where no problem has a step."""

    def __init__(
        self,
        train_path: str | None = None,
        val_path: str | None = None,
        test_path: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.paths = {"train": train_path, "val": val_path, "test": test_path}
        self._read: dict[str, list[ReasoningExample]] = {}

    @abstractmethod
    def read(self, path: str, split: str) -> Iterable[ReasoningExample]:
        """The examples of a path, none left out.

        Args:
            path: As it was given.
            split: The split of a Hub data set where the path does not name one.

        Raises:
            DataError: If it cannot be read.
        """

    def make_source(self, split: Split) -> Source:
        """Read the split's path.

        Raises:
            UserError: If none was given.
            DataError: If it cannot be read, or no training problem has a step that the method needs.
        """
        part = "test" if split == "predict" else split
        examples = self._examples(part)
        clock = find_clock(getattr(self.trainer, "callbacks", []))
        schedule = clock.schedule if clock else None
        check_chains(examples, schedule, part, self.origin(part), self.chain_fix, self.views, self.last_step == "drop")
        return ListSource(examples)

    def origin(self, split: str) -> str:
        """The path that the examples of a split come from, for messages."""
        return str(self.paths[split])

    def written(self, split: Split) -> Iterable[ReasoningExample] | None:
        """The examples of a split as its file has them; ``None`` without a path, and for one of the Hub."""
        path = self.paths.get(split)
        if path is None or split in self._read:
            return self._read.get(split)
        return self.read(path, _SPLITS[split]) if Path(path).expanduser().is_file() else None

    def examples(self, split: Split) -> Callable[[], Iterator[ReasoningExample]]:
        """What reads the split's path; nothing is kept.

        Raises:
            UserError: If none was given.
            DataError: If it cannot be read, now or when a faulty record is reached.
        """
        name = "test" if split == "predict" else split
        path = self._path(name)
        return lambda: iter(self.read(path, _SPLITS[name]))

    def vocabulary(self) -> Iterable[str]:
        """The words of the training data."""
        yield from self.text.parts()
        for example in self._examples("train"):
            yield from self.text.pieces(example)

    def _examples(self, split: str) -> list[ReasoningExample]:
        path = self._path(split)
        if split not in self._read:
            self._read[split] = list(self.read(path, _SPLITS[split]))
        return self._read[split]

    def _path(self, split: str) -> str:
        path = self.paths[split]
        if path is None:
            raise UserError(
                f"{split}_path is not set",
                where=f"data.{split}_path",
                why=f"{type(self).__name__} makes no data of its own, and fetches none that was not asked for",
                fix=f"give a file (--data.{split}_path=FILE) or a data set of the Hub ({PREFIX}NAME:CONFIG:SPLIT)",
            )
        return path


def records_of(path: str, split: str) -> Iterator[Record]:
    """The records of a ``.json`` or ``.jsonl`` file, or of a Hub data set, as they are.

    Args:
        path: A file, or ``hub:NAME[:CONFIG[:SPLIT]]``.
        split: The split of a Hub data set where the path does not name one.

    Raises:
        DataError: If they cannot be had.
    """
    return read_hub(HubPath.parse(path, split)) if path.startswith(PREFIX) else read_records(path)

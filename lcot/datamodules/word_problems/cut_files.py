"""Data sets that are published as one file, without splits."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from lcot.datamodules.base import ReasoningDataModule, Split
from lcot.datamodules.files import FileReasoning
from lcot.datamodules.hub import PREFIX
from lcot.datamodules.options import check_one_path
from lcot.errors import DataError, UserError
from lcot.reasoning.example import ReasoningExample


class CutReasoning(FileReasoning):
    """Examples that are read from one path, which is cut into the three splits, or from a path for each split.

    Args:
        train_path: What to train on; it also makes the words of ``tokenizer: words``.
        val_path: What to validate on.
        test_path: What to test on, and what ``predict`` answers.
        path: One file, or data set of the Hub, for all three instead of these.
        options: Those of :class:`~lcot.datamodules.base.ReasoningDataModule`.

    Raises:
        UserError: If an option is out of range, or ``path`` is given together with the path of a split.
    """

    def __init__(
        self, train_path: str | None, val_path: str | None, test_path: str | None, path: str | None, **options: Any
    ) -> None:
        super().__init__(train_path, val_path, test_path, **options)
        self.path = path
        check_one_path(path, self.paths, "use path alone, or one path for each split")

    @abstractmethod
    def cut(self, examples: list[ReasoningExample]) -> Mapping[str, list[ReasoningExample]]:
        """The examples of ``train``, ``val`` and ``test``, out of all of them in the file's order."""

    def examples(self, split: Split) -> Callable[[], Iterator[ReasoningExample]]:
        """What goes through the split's examples, which are kept: where a file is cut depends on all of it.

        Raises:
            UserError: If no path was given.
            DataError: If it cannot be read.
        """
        return ReasoningDataModule.examples(self, split)

    def origin(self, split: str) -> str:
        """The path that the examples of a split come from, for messages."""
        return self.path if self.path is not None else super().origin(split)

    def written(self, split: Split) -> Iterable[ReasoningExample] | None:
        """The examples of a split, as the file has them, or its part of the one file."""
        return super().written(split) if self.path is None else self._read.get(split)

    def _examples(self, split: str) -> list[ReasoningExample]:
        if self.path is None:
            if not any(self.paths.values()):
                raise UserError(
                    f"neither path nor {split}_path is set",
                    where="data.path",
                    why=f"{type(self).__name__} makes no data of its own, and fetches none that was not asked for",
                    fix=f"give one for all splits (--data.path=FILE or {PREFIX}NAME:CONFIG:SPLIT), or one for each",
                )
            return super()._examples(split)
        if split not in self._read:
            whole = list(self.read(self.path, "train"))
            for name, part in self.cut(whole).items():
                self._read[name] = part
                if not part:
                    raise DataError(
                        f"the {name} split has none of the {len(whole)} records",
                        where=f"data.path, and {self.path}",
                        why="the file is cut into three splits",
                        fix="give a longer file, or a path for each split",
                    )
        return self._read[split]

"""What goes wrong because of a user's setting or file, said in one short block."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Self


class UserError(ValueError):
    """A setting or a file that cannot be used; the command line prints it without a traceback and exits with 2.

    Args:
        what: What was set or found, in one sentence.
        where: The place: file and line, record and key, or the option's name.
        why: What it conflicts with, or what it would have caused.
        fix: What to do instead.
    """

    def __init__(self, what: str, *, where: str | None = None, why: str | None = None, fix: str | None = None) -> None:
        self.what, self.where, self.why, self.fix = what, where, why, fix
        super().__init__(what)

    def __str__(self) -> str:
        rows = [("where", self.where), ("why", self.why), ("do", self.fix)]
        return "\n".join([self.what, *(f"  {name + ':':<6} {text}" for name, text in rows if text)])

    def __reduce__(self) -> tuple[object, ...]:
        # Keyword-only fields would be lost when a data-loader worker sends the error to the main process.
        return _rebuild, (type(self), self.what, self.where, self.why, self.fix)

    @classmethod
    def unknown(cls, kind: str, name: str, known: Iterable[str], *, where: str | None = None) -> Self:
        """A name that is not in a list, with the nearest one that is."""
        known = sorted(known)
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
        if len(known) > 12 and near:
            listed = f"similar: {', '.join(near)}"
        else:
            listed = f"known: {', '.join(known[:12])}" + (f" and {len(known) - 12} more" if len(known) > 12 else "")
        return cls(
            f"unknown {kind} {name!r}",
            where=where,
            why=listed,
            fix=f"did you mean {near[0]!r}?" if near else None,
        )


def _rebuild(kind: type[UserError], what: str, where: str | None, why: str | None, fix: str | None) -> UserError:
    return kind(what, where=where, why=why, fix=fix)


class DataError(UserError):
    """A data file or a record in it that cannot be used."""


class CheckpointError(UserError):
    """A checkpoint that is damaged, incomplete, or belongs to something else."""


class IgnoredSettingWarning(UserWarning):
    """A setting that was given but has no effect in this combination."""

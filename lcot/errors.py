"""What goes wrong because of a user's setting or file, said in one short block."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Self

_LONGEST = 1000
"""Characters of a line of a block. What repeats an input cuts it by :func:`shown`; this is for what forgets to."""


def shown(value: object, limit: int = 60) -> str:
    """What was found, as a message repeats it: in one line and, if it is long, cut, with its length.

    Args:
        value: Anything that a file or a setting can hold.
        limit: Characters that are shown.
    """
    if isinstance(value, str):
        return repr(value) if len(value) <= limit else f"{value[:limit]!r}… ({len(value):,} characters)"
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):  # no JSON, or a number that is too long to be written
        return f"of type {type(value).__name__}"
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text):,} characters)"


class UserError(ValueError):
    """A setting or a file that cannot be used; the command line prints it without a traceback and exits with 2.

    Each part is one line of the block: signs that would move a terminal's cursor are written as escapes, and what is
    still longer than anyone reads is cut, with its length.

    Args:
        what: What was set or found, in one sentence.
        where: The place: file and line, record and key, or the option's name.
        why: What it conflicts with, or what it would have caused.
        fix: What to do instead.
    """

    def __init__(self, what: str, *, where: str | None = None, why: str | None = None, fix: str | None = None) -> None:
        self.what = _one_line(what)
        self.where, self.why, self.fix = (_one_line(text) if text else text for text in (where, why, fix))
        super().__init__(self.what)

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
            f"unknown {kind} {shown(name)}",
            where=where,
            why=listed,
            fix=f"did you mean {shown(near[0])}?" if near else None,
        )


def nearest(wrong: str, names: Sequence[str]) -> list[str]:
    """The names most like a wrong one: several where they are as near, as max_epochs and min_epochs are to epochs."""
    near = difflib.get_close_matches(wrong, names, n=3, cutoff=0.6)
    likeness = [difflib.SequenceMatcher(None, name, wrong).ratio() for name in near]
    return sorted(name for name, ratio in zip(near, likeness, strict=True) if ratio == likeness[0])


def _one_line(text: str) -> str:
    if len(text) > _LONGEST:
        text = f"{text[: _LONGEST * 2 // 3]} … {text[-_LONGEST // 4 :]} ({len(text):,} characters)"
    return text if text.isprintable() else "".join(one if one.isprintable() else _escaped(one) for one in text)


def _escaped(sign: str) -> str:
    return sign if sign in "\n\u00a0" else sign.encode("unicode_escape", "surrogatepass").decode()


def extra(name: str) -> str:
    """How the packages of an extra are installed."""
    return f"pip install 'lcot[{name}]', or in a clone pip install -e '.[{name}]'"


def needs(name: str, *packages: str, what: str, where: str | None = None) -> None:
    """Refuse what takes packages that a plain install does without, before any work is done for it.

    Args:
        name: The extra that has them.
        packages: As they are imported.
        what: What takes them, in words.
        where: What asked for it.

    Raises:
        UserError: If one is not there.
    """
    missing = [package for package in packages if find_spec(package) is None]
    if missing:
        raise UserError(f"{what} needs {' and '.join(missing)}, not installed here", where=where, fix=extra(name))


@contextmanager
def renamed(names: Mapping[str, str]) -> Iterator[None]:
    """Let what is refused meanwhile speak of other settings: parts that are shared know one name of each.

    Args:
        names: What is written in the place of what.
    """
    try:
        yield
    except UserError as err:
        parts = [err.what, err.where, err.why, err.fix]
        for name, own in names.items():
            parts = [text.replace(name, own) if text is not None else None for text in parts]
        what, where, why, fix = parts
        raise type(err)(str(what), where=where, why=why, fix=fix) from err


def _rebuild(kind: type[UserError], what: str, where: str | None, why: str | None, fix: str | None) -> UserError:
    return kind(what, where=where, why=why, fix=fix)


class DataError(UserError):
    """A data file or a record in it that cannot be used."""


class CheckpointError(UserError):
    """A checkpoint that is damaged, incomplete, or belongs to something else."""


class IgnoredSettingWarning(UserWarning):
    """A setting that was given but has no effect in this combination."""

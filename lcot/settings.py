"""What a user set, and where: the options of a command line and the lines of its config files.

The parser knows neither (it speaks of a key in some nested class), and a message that names file and line is worth more
than one that lists what would have been allowed. Nothing heavy is imported here, so a missing or broken file is
answered at once.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from lcot.errors import UserError

COMMANDS = {
    "fit": "train a model, and validate it after each epoch",
    "validate": "validate a run's best checkpoint",
    "test": "answer the test questions and write the metrics to test.json",
    "predict": "answer the test questions and write them to predictions.jsonl",
    "show": "print an example's rows as the models read them, with thoughts and supervised text marked",
    "analyze": "measure what a run's thoughts hold: ways, probabilities of concepts, lens; write figures and a report",
    "probe": "change a run's thoughts, and see what its answers depend on",
    "compare": "put runs beside one another in a table; make those that are missing first",
    "import": "make a run of weights that others released, told by the names of their tensors",
    "convert": "make a folder of Hugging Face of a GGUF file",
    "configs": "list the configs that lcot carries, or copy one to edit it",
}

UNTRAINED = "none"
"""The ``ckpt_path`` of methods that train nothing: their models are evaluated as they are."""

_NAMES = re.compile(r"(?<![\w./-])[a-z_]+(?:\.[a-z_]+)+|(?<=curriculum )[a-z_]+|\b[a-z_]+(?=: )")


@dataclass(frozen=True, slots=True)
class Setting:
    """One thing that was set.

    Attributes:
        key: Dotted name, without the subcommand and without ``init_args``.
        value: As text; empty for a group of settings.
        place: ``--data.batch_size=0``, or file and line.
        config: The config file in which it was set; empty for the command line.
    """

    key: str
    value: str
    place: str
    config: str = ""


class Settings:
    """All that was set, in the order in which it takes effect.

    Args:
        found: The settings.
        command: The subcommand; ``None`` if there was none.
        words: The command line.
    """

    def __init__(self, found: Sequence[Setting] = (), command: str | None = None, words: Sequence[str] = ()) -> None:
        self.found = list(found)
        self.command = command
        self.words = list(words)

    def find(self, name: str, groups: Iterable[str] = ()) -> Setting | None:
        """The setting of this name that counts.

        Args:
            name: A full key, or the end of one: the parser of a nested class knows no more than that. Failing that, the
                first setting of a group of this name.
            groups: Names beside it. A setting of that name that stands in one of them (`optimizer.lr`) is another.
        """
        name = short(name)
        inner = {f"{group}.{name}" for group in groups}
        ends = [
            setting
            for setting in self.found
            if f".{setting.key}".endswith(f".{name}")
            and not any(f".{setting.key}".endswith(f".{other}") for other in inner)
        ]
        if ends:
            return ends[-1]
        return next((setting for setting in self.found if f".{name}." in f".{setting.key}."), None)

    def placed(self, error: UserError) -> UserError:
        """An error that tells the place where the user set each setting, or file, that it names."""
        where, named = error.where or "", []
        if any(setting.place in where for setting in self.found):
            return error  # it tells already
        bare = where.split(", ") if re.fullmatch(r"[a-z_]+(?:, [a-z_]+)*", where) else []
        for name in dict.fromkeys(bare or _NAMES.findall(where or error.what)):
            places = self._places(name, error)
            if places and where:
                where = where.replace(name, f"{name} ({places})", 1)
            elif places:
                named.append(f"{name} ({places})")
        path = next((found for found in reversed(self.found) if "." in found.value and found.value in where), None)
        if path is not None and path.place not in where:
            where = f"{where} ({path.key}, {path.place})"
        return type(error)(error.what, where=where or ", ".join(named) or None, why=error.why, fix=error.fix)

    def _places(self, name: str, error: UserError) -> str:
        """Where a setting was set; for a group, where those of its settings were that the message speaks of."""
        group = [found for found in self.found if f".{name}." in f".{found.key}"]
        inside = {
            found.key: found.place
            for found in group
            if re.search(rf"\b{re.escape(found.key.split('.')[-1])}\b", error.what)
        }
        if not inside:  # torch speaks of values: "Invalid learning rate: -1.0"
            last = {found.key: found for found in group}
            numbers = {float(text) for text in re.findall(r"(?<![\w.])-?\d+(?:\.\d+)?(?:e[+-]?\d+)?", error.why or "")}
            inside = {key: found.place for key, found in last.items() if _number(found.value) in numbers}
        if inside:
            return "; ".join(dict.fromkeys(inside.values()))
        setting = self.find(name)
        return setting.place if setting is not None else ""


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def given_run(settings: Settings) -> Path | None:
    """The folder of a run whose own config gives the name that counts: it is that run which is meant.

    The file names the place where the run was made. It may have been moved or copied since, and its former place may
    hold another one now. Configs that are laid over it are about the same run, unless they give a name.

    Args:
        settings: What the user set.

    Returns:
        ``None`` if name or folder of the run come from elsewhere: the command line, or a config that is no run's own.
    """
    last = {setting.key: setting.config for setting in settings.found if setting.key in ("name", "runs_dir")}
    files = set(last.values())
    if len(last) < 2 or len(files) > 1:
        return None
    file = Path(files.pop())
    is_own = re.fullmatch(r"config(\.resume\d+)?\.yaml", file.name) is not None
    kept = any((file.parent / name).is_dir() for name in ("checkpoints", "tokenizer"))
    return file.parent if is_own and kept else None


def short(key: str) -> str:
    """A key without what the user may leave out: the subcommand, ``init_args``, the ``+`` of lists."""
    parts = [part for part in key.rstrip("+").split(".") if part != "init_args"]
    return ".".join(parts[1:] if len(parts) > 1 and parts[0] in COMMANDS else parts)


def cut(text: str, limit: int = 80) -> str:
    """A text as far as a message can hold it, with its length if that is more."""
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text):,} characters)"


_UNASKED: set[str] = set()


@contextmanager
def only_cached(names: Iterable[str]) -> Iterator[None]:
    """Fetch nothing from the Hub meanwhile that has one of some names; what is in the local cache may be read.

    Args:
        names: What a run's folder names, and the user does not.
    """
    new = set(names) - _UNASKED
    _UNASKED.update(new)
    try:
        yield
    finally:
        _UNASKED.difference_update(new)


def check_asked(name: str, command: str, setting: str) -> None:
    """Make sure that the user named something before it is fetched from the Hub.

    Args:
        name: Its name.
        command: What fetches it by hand.
        setting: How it is named.

    Raises:
        UserError: If only a run's folder did.
    """
    if name in _UNASKED:
        raise UserError(
            f"{name!r} is wanted, and it is not in the Hugging Face cache",
            where=setting,
            why="only the run's folder names it, and nothing is fetched at another's word",
            fix=f"fetch it: {command}; or name it yourself: {setting}",
        )


def process_rank() -> str:
    """This process's number among those of a run, before there is a trainer to ask."""
    return next((os.environ[name] for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID") if os.environ.get(name)), "0")


def refuse(error: UserError, settings: Settings) -> NoReturn:
    """Print the block and exit with 2. One of several processes speaks for all; the others name the fault only."""
    rank = process_rank()
    if rank == "0":
        sys.stderr.write(f"lcot: error: {settings.placed(error)}\n")
    else:
        sys.stderr.write(f"lcot: error on rank {rank}: {error.what}\n")
    raise SystemExit(2)

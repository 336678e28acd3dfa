"""``lcot configs``: the configs that lcot carries, and a copy of one to edit."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

from lcot.cli.options import OptionParser
from lcot.errors import UserError
from lcot.runs.configs import METHODS, carried, find, names, resolved, summary

_DESCRIPTION = """\
The configs that lcot carries, with what each is. -c NAME takes one in any folder.

  lcot configs                        all of them
  lcot configs prosqa                 what is in one
  lcot configs prosqa --copy          a copy to edit, prosqa.yaml in the current folder; no file is ever replaced
  lcot configs prosqa --copy my.yaml  under another name, or into another folder
"""
_TITLES = {
    "": "data and a model, a run each:                lcot fit -c NAME",
    METHODS: "methods, laid over one of these:             lcot fit -c prosqa -c NAME",
    "chat": "any chat model, laid over data:              lcot fit -c gsm8k -c NAME",
    "paper": "published settings of Coconut:               lcot fit -c paper/NAME",
    "softcot": "published settings of SoftCoT:               lcot fit -c softcot/NAME",
}
_WIDTH = 120


def parser() -> OptionParser:
    """The options of ``lcot configs``."""
    made = OptionParser("configs", "[NAME [--copy [TO]]]", _DESCRIPTION)
    made.add_argument("name", nargs="?", metavar="NAME", help="a config")
    made.add_argument("--copy", nargs="?", const=".", type=Path, metavar="TO", help="copy it, here if TO is not given")
    return made


def run_configs(words: Sequence[str]) -> None:
    """Run the command.

    Args:
        words: The command line behind ``configs``.

    Raises:
        UserError: If there is no such config, or a copy cannot be written.
    """
    chosen = parser().parse_args(words)
    if chosen.name is None:
        if chosen.copy is not None:
            raise UserError("--copy without a config", where="lcot configs", fix="lcot configs prosqa --copy")
        width = shutil.get_terminal_size((_WIDTH, 24)).columns if sys.stdout.isatty() else _WIDTH
        print("\n".join(listed(width)))
        return
    file = find(chosen.name) or resolved(chosen.name)
    if not file.is_relative_to(carried()):
        raise UserError(f"{chosen.name!r} is a file, and none that lcot carries", fix="see lcot configs for those")
    if chosen.copy is None:
        print(file.read_text(encoding="utf-8"), end="")
        return
    made = _copied(file, chosen.copy)
    print(f"{made} is yours to edit: lcot fit -c {made}")


def listed(width: int = _WIDTH) -> Iterator[str]:
    """Every config with a line, folder by folder.

    Args:
        width: Columns of a line; a text that takes more is cut.
    """
    found = [(folder, name) for folder, _, name in (which.rpartition("/") for which in names())]
    left = max(len(name) for _, name in found) + 2
    for number, (folder, group) in enumerate(groupby(found, key=lambda pair: pair[0])):
        yield from ([""] if number else [])
        yield _TITLES.get(folder, f"{folder}:")
        for _, name in group:
            text = summary(carried() / folder / f"{name}.yaml")
            room = max(20, width - left - 2)
            yield f"  {name:<{left}}{text if len(text) <= room else text[: room - 1].rstrip() + '…'}"


def _copied(file: Path, target: Path) -> Path:
    """Copy a config.

    Raises:
        UserError: If there is a file already, or none can be written.
    """
    target = target / file.name if target.is_dir() else target
    if target.suffix not in (".yaml", ".yml"):
        raise UserError(f"the copy would be {str(target)!r}", where="--copy", fix=f"give {target}.yaml, or a folder")
    try:
        with target.open("xb") as copy:
            copy.write(file.read_bytes())
    except FileExistsError:
        raise UserError(
            f"there is a file {str(target)!r} already", where="--copy", fix="give another name: --copy NAME.yaml"
        ) from None
    except OSError as err:
        raise UserError(f"{str(target)!r} cannot be written", where="--copy", why=err.strerror) from err
    return target

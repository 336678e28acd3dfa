"""Options of commands that take run folders: faults are told in one block, and near words are suggested."""

from __future__ import annotations

import argparse
import difflib
import sys
from pathlib import Path
from typing import Any, NoReturn

from lcot.errors import UserError


def file_to_write(text: str) -> Path:
    """The value of an option that names a file to be written.

    Raises:
        argparse.ArgumentTypeError: If it names a folder, or nothing.
    """
    path = Path(text)
    if not path.name or path.is_dir():
        raise argparse.ArgumentTypeError(f"{text!r} is no name of a file to write{' but a folder' * path.is_dir()}")
    return path


class OptionParser(argparse.ArgumentParser):
    """Reads the options of a command.

    Args:
        command: Its name.
        usage: What follows it.
        description: What it is for, as it is to be printed.
    """

    def __init__(self, command: str, usage: str, description: str) -> None:
        super().__init__(
            prog=f"lcot {command}",
            usage=f"lcot {command} {usage}",
            description=description,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As in argparse, which would take an option that it does not know for a folder if its value has a space."""
        words = [
            word.replace(" ", "\0") if self._is_passed_on(word) else word
            for word in (sys.argv[1:] if args is None else args)
        ]
        chosen, others = super().parse_known_args(words, namespace)
        return chosen, [word.replace("\0", " ") for word in others]

    def _is_passed_on(self, word: str) -> bool:
        name, equals, _ = word.partition("=")
        return word.startswith("--") and bool(equals) and name not in self._option_string_actions

    def error(self, message: str) -> NoReturn:
        """Refuse what was given.

        Raises:
            UserError: Always.
        """
        raise UserError(message, where=self.prog, fix=f"see {self.prog} --help")

    def nearest(self, word: str) -> str | None:
        """The option that was probably meant; ``None`` if none is near.

        Args:
            word: What was given; a value behind an equals sign does not matter.
        """
        known = [option for action in self._actions for option in action.option_strings if option.startswith("--")]
        return next(iter(difflib.get_close_matches(word.partition("=")[0], known, n=1)), None)

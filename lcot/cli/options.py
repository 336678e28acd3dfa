"""Options of commands that take run folders: faults are told in one block, and near words are suggested."""

from __future__ import annotations

import argparse
import difflib
from typing import NoReturn

from lcot.errors import UserError


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

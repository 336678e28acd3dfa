"""The words of a command line: which option has which value, and the order in which all of them count.

The parser reads from left to right: a config replaces what stands before it, and a class drops the settings before it
that are not its own. Whoever types an option means it wherever it stands, so words are put in order first.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lcot.errors import UserError
from lcot.settings import cut, short

CONFIGS = ("-c", "--config")

_HELP = ("-h", "--help")
_NUMBER = re.compile(r"-\.?\d")


@dataclass(frozen=True, slots=True)
class Option:
    """One option, or a word that is none.

    Attributes:
        name: ``--data.batch_size``, ``-c``; empty for a word that is no option.
        value: Its value; ``None`` if there is none.
        words: As it is typed.
    """

    name: str
    value: str | None
    words: tuple[str, ...]

    @property
    def key(self) -> str:
        """The name of the setting, without ``init_args`` and ``class_path``; that of a list to which it appends."""
        return short(self.name.removeprefix("--")).removesuffix(".class_path")

    @property
    def appends(self) -> bool:
        """Whether it adds to a list."""
        return self.name.endswith("+")


def options(words: Sequence[str]) -> Iterator[Option]:
    """What a command line consists of.

    Args:
        words: Those behind the command.

    Raises:
        UserError: If a word is no text.
    """
    for word in words:
        if any("\ud800" <= letter <= "\udfff" for letter in word):
            raise UserError(
                f"{cut(word)!a} is no text",
                where="the command line",
                why="it holds bytes that are not UTF-8, and no config could keep them",
                fix="write it in UTF-8",
            )
    left = list(words)
    while left:
        word = left.pop(0)
        name, equals, value = word.partition("=")
        if re.fullmatch(r"-c[^-=].*", word, flags=re.DOTALL):  # as in -cconfig.yaml
            yield Option("-c", word[2:], (word,))
        elif not word.startswith("-") or word in ("-", "--") or _NUMBER.match(word):
            yield Option("", None, (word,))
        elif equals:
            yield Option(name, value, (word,))
        elif name in _HELP or name == "--print_config" or not left or _begins_option(left[0]):
            yield Option(name, None, (word,))
        else:
            value = left.pop(0)
            yield Option(name, value, (word, value))


def _begins_option(word: str) -> bool:
    return word.startswith("-") and len(word) > 1 and not _NUMBER.match(word)


def arranged(words: Sequence[str]) -> list[str]:
    """A command line in the order in which it counts.

    Configs come first, in their order; then each option before those that set something inside of it, so that a class
    is known when its settings are read. What is appended to a list keeps its order, as the settings behind it are about
    the last one. Among equals the order stays, and the last one counts.

    Args:
        words: Those behind the command.

    Raises:
        UserError: If a word is no text.
    """
    found = list(options(words))
    lists = {option.key for option in found if option.appends}

    def place(option: Option) -> tuple[int, int, int]:
        if option.name in CONFIGS:
            return 0, 0, 0
        for key in lists:
            if option.key == key or option.key.startswith(f"{key}."):
                # A whole list comes before what is appended to it.
                return 1, key.count("."), int(option.appends or option.key != key)
        return 1, option.key.count("."), 0

    ordered = sorted((option for option in found if option.name), key=place)
    strays = [word for option in found if not option.name for word in option.words]
    configs = [word for option in ordered if option.name in CONFIGS for word in _config(option)]
    return [*configs, *(word for option in ordered if option.name not in CONFIGS for word in option.words), *strays]


def _config(option: Option) -> tuple[str, ...]:
    return option.words if option.value is None else ("-c", option.value)

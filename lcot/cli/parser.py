"""The parser of a command: faults in one block, and help that begins with what is lcot's own."""

from __future__ import annotations

import operator
import re
from argparse import HelpFormatter
from collections.abc import Callable
from functools import reduce
from typing import Any, ClassVar, NoReturn, get_args

from lightning.pytorch import Trainer
from lightning.pytorch.cli import LightningArgumentParser

from lcot.cli.explain import explain
from lcot.settings import COMMANDS, Settings, refuse

HELP, ALL = "--help", "--help=all"
"""What asks for help, and for all of it."""

_TITLES = {
    "model": "the method, as in --model=Coconut; its settings: --model.help=Coconut",
    "data": "the data, as in --data=ProsQA; their settings: --data.help=ProsQA",
    "curriculum": "the curriculum, as in --curriculum.schedule=Stepwise; settings: --curriculum.schedule.help=Stepwise",
    "last_checkpoint": "the checkpoint to continue from, last.ckpt",
    "best_checkpoint": "the best checkpoint of each stage",
    "dashboard": "what TensorBoard shows",
    "predictions": "what predict writes",
    "trainer": "Lightning's trainer, as in --trainer.max_epochs=10",
}


class Parser(LightningArgumentParser):
    """Says what is wrong in one block instead of a page of usage, and suggests the nearest option."""

    settings: ClassVar[Settings] = Settings()
    everything: ClassVar[bool] = False
    """Whether help is about Lightning's trainer too."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Print the block and exit with 2."""
        # An exception would be taken for "try the next type of this union" by the parser of an outer class.
        refuse(explain(message, self._actions, self.settings), self.settings)

    def format_help(self, formatter: HelpFormatter | None = None) -> str:
        """The help of a command, the trainer's settings last and only if they are asked for; or that of a class."""
        groups = self._action_groups
        titled = {id(group): _section(group) for group in groups}
        if "trainer" not in titled.values():
            return _plain(super().format_help(formatter))
        for group in groups:
            group.title = _TITLES.get(titled[id(group)], group.title)
        try:
            trainer = [group for group in groups if titled[id(group)] == "trainer"]
            self._action_groups = [group for group in groups if group not in trainer]
            self._action_groups += trainer if self.everything else []
            shown = _plain(super().format_help(formatter))
        finally:
            self._action_groups = groups
        command = self.settings.command
        return shown if self.everything else f"{shown}\n{_TITLES['trainer']}: lcot {command} {ALL} shows its settings\n"


def whole_first(function: Callable[..., Any]) -> None:
    """Have whole numbers tried before fractions, wherever a function takes both.

    ``typing`` keeps the unions that it has made, and takes one for another whatever their order: which of int and float
    comes first in the trainer's annotations is decided by what was imported before it. As a fraction, 1 is all batches.

    Args:
        function: Its annotations are changed.
    """
    for name, hint in function.__annotations__.items():
        kinds = get_args(hint)
        if int in kinds and float in kinds:
            others = [kind for kind in kinds if kind not in (int, float)]
            function.__annotations__[name] = reduce(operator.or_, others, int | float)


whole_first(Trainer.__init__)


def described(command: str) -> dict[str, object]:
    """How the parser of a command introduces it."""
    return {
        "allow_abbrev": False,
        "usage": f"lcot {command} -c CONFIG [-c OVERLAY …] [--SETTING=VALUE …]",
        "description": f"{COMMANDS[command].capitalize()}.",
    }


def _section(group: object) -> str:
    names = [str(action.dest).partition(".")[0] for action in getattr(group, "_group_actions", ())]
    return next((name for name in names if name in _TITLES), "")


def _plain(text: str) -> str:
    """Without the markup of docstrings."""
    text = re.sub(r":\w+:`~?(?:[^`<]*\.)?([^`]*)`", r"\1", text)
    return text.replace("``", "")

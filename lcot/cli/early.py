"""What can be refused from the settings alone, before torch and Lightning are imported: that takes seconds.

It looks at names and plain numbers; whatever needs a class, or the type of a value, is left to the parser.
"""

from __future__ import annotations

import ast
import difflib
import math
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from lcot.errors import UserError, nearest
from lcot.settings import Setting, Settings

_SECTIONS = (
    *("model", "data", "curriculum", "trainer", "dashboard", "best_checkpoint", "last_checkpoint", "predictions"),
    *("name", "threads", "runs_dir", "resume", "seed_everything", "ckpt_path", "config", "print_config", "help"),
    *("verbose", "return_predictions", "weights_only", "code"),
)

_SMALL = 1e-9
_LEAST: dict[str, float] = {
    "threads": 1,
    "data.batch_size": 1,
    "data.eval_batch_size": 1,
    "data.num_workers": 0,
    "model.max_new_tokens": 1,
    "dashboard.questions": 0,
    "last_checkpoint.every_n_steps": 0,
    "last_checkpoint.every_n_minutes": 0,
    "trainer.accumulate_grad_batches": 1,
    "trainer.check_val_every_n_epoch": 1,
    "trainer.fast_dev_run": 0,
    "trainer.gradient_clip_val": 0,
    "trainer.limit_predict_batches": 0,
    "trainer.limit_test_batches": 0,
    "trainer.limit_train_batches": _SMALL,
    "trainer.limit_val_batches": 0,
    "trainer.log_every_n_steps": 0,
    "trainer.min_epochs": 0,
    "trainer.min_steps": 0,
    "trainer.num_nodes": 1,
    "trainer.num_sanity_val_steps": -1,
    "trainer.val_check_interval": _SMALL,
}
"""The smallest number that means anything."""

_WARMED = "steps are counted by the optimizer here, and no metric is known in each of them"
_SCHEDULERS = {
    "ReduceLROnPlateau": (_WARMED, "use WarmupStableDecay, CosineAnnealingLR or StepLR"),
    "ChainedScheduler": ("it is made of other schedulers, which no config can make for it", "use WarmupStableDecay"),
    "SequentialLR": ("it is made of other schedulers, which no config can make for it", "use WarmupStableDecay"),
}


def check_early(settings: Settings) -> None:
    """Refuse what cannot be, from its name and its number alone.

    Args:
        settings: What the user set.

    Raises:
        UserError: If there is such a setting.
    """
    last = {setting.key: setting for setting in settings.found}
    for setting in last.values():
        _check_name(setting, last)
        _check_number(setting)
    seed = last.get("seed_everything")
    if seed is not None and seed.value.lower() in ("null", "~", "", "true", "false", "yes", "no", "on", "off"):
        raise UserError(
            f"seed_everything is {seed.value or 'null'}",
            where=seed.place,
            why="a run needs a seed: what it draws is keyed by it, and it goes on from there",
            fix="give a number, or leave it out for 0",
        )
    chosen = [setting for setting in settings.found if setting.key in _KEYS and setting.value]
    if chosen:
        name = chosen[-1].value.rpartition(".")[2]
        if name in _SCHEDULERS:
            why, fix = _SCHEDULERS[name]
            raise UserError(f"{name} cannot be used here", where=chosen[-1].place, why=why, fix=fix)


_KEYS = ("model.lr_scheduler", "model.lr_scheduler.class_path")


def _check_name(setting: Setting, last: dict[str, Setting]) -> None:
    section, _, inner = setting.key.partition(".")
    if section not in _SECTIONS:
        near = difflib.get_close_matches(section, _SECTIONS, n=1, cutoff=0.75)
        if near:
            raise UserError(
                f"there is no setting {section!r}", where=_first(section, last).place, fix=f"did you mean {near[0]!r}?"
            )
    if section == "trainer" and inner and "." not in inner and inner != "help":
        known = trainer_settings()
        if known and inner not in known:
            meant = " or ".join(map(repr, nearest(inner, known)))
            raise UserError(
                f"trainer has no setting {inner!r}",
                where=setting.place,
                fix=f"did you mean {meant}?" if meant else "see --help=all for all of them",
            )


def _first(section: str, last: dict[str, Setting]) -> Setting:
    return next(setting for key, setting in last.items() if key.partition(".")[0] == section)


@cache
def trainer_settings() -> list[str]:
    """The names of the trainer's settings, out of its source: to import it would take seconds."""
    package = find_spec("lightning")
    if package is None or package.origin is None:
        return []
    file = Path(package.origin).parent / "pytorch" / "trainer" / "trainer.py"
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"))
    except (OSError, SyntaxError, SystemError):  # Python 3.11 may raise the last one behind a RecursionError
        return []
    made = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Trainer"]
    inits = [node for owner in made for node in owner.body if isinstance(node, ast.FunctionDef)]
    init = next((node for node in inits if node.name == "__init__"), None)
    return [each.arg for each in [*init.args.args, *init.args.kwonlyargs][1:]] if init is not None else []


def _check_number(setting: Setting) -> None:
    least = _LEAST.get(setting.key)
    if least is None:
        return
    try:
        number = float(setting.value)
    except ValueError:
        return  # null, true, a time, or what the parser refuses
    if number < least or math.isnan(number):
        fix = "use a number above 0" if least == _SMALL else f"use {least:g} or more"
        raise UserError(f"{setting.key.rpartition('.')[2]} is {setting.value}", where=setting.place, fix=fix)

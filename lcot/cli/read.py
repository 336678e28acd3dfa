"""Reads what was set: the options of a command line, and the lines of its config files.

Nothing heavy is imported here. What no parser could take is refused at once, in a file and on the command line alike:
what is no YAML, holds itself, is set twice, or is no number that any setting could have.
"""

from __future__ import annotations

import difflib
import itertools
import os
import re
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

import yaml

from lcot.cli.words import CONFIGS, options
from lcot.errors import UserError
from lcot.settings import COMMANDS, Setting, Settings, cut, short

_DEEPEST, _MOST = 40, 20_000
"""How deep settings may be nested, and how many a file may hold once its aliases are written out."""

_DIGITS = 18
"""A whole number with more digits than this fits in 64 bits no more."""

_PLAIN = ("str", "int", "float", "bool", "null", "timestamp", "merge")

_GROUPS = ("trainer", "curriculum", "last_checkpoint", "best_checkpoint", "dashboard", "predictions")
"""Sections that are always a group of settings; the parser would take a list or a number for one of them."""

_CLASSES = ("model", "data", "curriculum.schedule")
_SUFFIXES = (".yaml", ".yml", ".json")

_ODD = re.compile(rf"[+-]?[\d_]{{{_DIGITS + 1},}}|\.nan", flags=re.IGNORECASE)
"""Values of options that look like text, and are read as numbers that no setting can have."""


def read_settings(args: Sequence[str]) -> Settings:
    """Collect what was set.

    Args:
        args: The command line with its command, as :func:`lcot.cli.words.arranged` puts it.

    Raises:
        UserError: If a config file is not there, cannot be read, is not YAML, holds no settings or sets one twice; or
            if two options set the same thing to different values.
    """
    found: list[Setting] = []
    typed: dict[str, dict[str, Setting]] = {}
    command = next((word for word in args if word in COMMANDS), None)
    for option in options(args):
        value = option.value or ""
        if option.name in CONFIGS:
            if value and "://" not in value:
                found += _read_config(Path(value))
        elif option.name.startswith("--"):
            place = cut(
                f"{option.name}={value}" if len(option.words) == 1 and option.value is not None else option.name
            )
            setting = Setting(short(option.name[2:]), value, place)
            inside = list(_inline(setting)) if option.value is not None else []
            for inner in (setting, *inside):
                typed.setdefault(inner.key, {})[option.name.rstrip("+")] = inner
            found += [setting, *inside]
    for forms in typed.values():
        if len({setting.value for setting in forms.values() if setting.value}) > 1:
            one, other = list(forms.values())[-2:]
            raise UserError(
                f"{one.key} is set to {cut(one.value)!r} and to {cut(other.value)!r}",
                where=f"{one.place} and {other.place}",
                fix="give one of them",
            )
    return Settings(found, command, args)


def _inline(setting: Setting) -> Iterator[Setting]:
    """What the value of an option sets, if it is a group, a list, or the file of one."""
    key, value, place = setting.key, setting.value, setting.place
    _check_pipe(value, place)
    if key in (*_GROUPS, *_CLASSES) and value.endswith(_SUFFIXES) and os.path.isfile(value):
        yield from _read_config(Path(value), key)
    elif value.startswith(("{", "[", "&", "!")) or _ODD.fullmatch(value):
        node = _composed(value, place)
        if isinstance(node, yaml.ScalarNode):
            _check_scalar(node, place, key)
        elif node is not None:
            if isinstance(node, yaml.SequenceNode):
                _check_group(key, value, place)
            for inner in _flatten(node, key, ""):
                yield Setting(inner.key, inner.value, place)
    else:
        _check_group(key, value, place)


def _composed(text: str, place: str) -> yaml.Node | None:
    """The YAML of an option's value; ``None`` where it is none, and plain text then."""
    try:
        return yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError:
        return None  # the parser will say so, if it wants YAML
    except RecursionError as err:
        raise _too_deep(place) from err


def _read_config(file: Path, key: str = "", above: tuple[yaml.Node, ...] = ()) -> list[Setting]:
    _check_config_path(file)
    try:
        text = file.read_text(encoding="utf-8-sig")
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except (OSError, UnicodeDecodeError) as err:
        why = err.strerror if isinstance(err, OSError) else f"it is not UTF-8 text: {err.reason} at byte {err.start}"
        raise UserError(f"the config {str(file)!r} cannot be read", why=why) from err
    except RecursionError as err:
        raise _too_deep(str(file)) from err
    except yaml.YAMLError as err:
        mark = getattr(err, "problem_mark", None) or getattr(err, "context_mark", None)
        place = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise UserError(
            f"the config {str(file)!r} is not valid YAML",
            where=f"{file}{place}",
            why=str(getattr(err, "problem", None) or err).splitlines()[0],
            fix="check brackets, quotes and indentation there and in the line above (spaces, no tabs)",
        ) from err
    if node is None:
        raise UserError(f"the config {str(file)!r} is empty", fix="see one that works: lcot configs prosqa")
    if not isinstance(node, yaml.MappingNode):
        raise UserError(
            f"the config {str(file)!r} holds no settings",
            where=f"{file}, line {node.start_mark.line + 1}",
            why="its outermost value is a list" if isinstance(node, yaml.SequenceNode) else "it is a single value",
            fix="write it as lcot configs prosqa has it, with model:, data: and so on",
        )
    return list(_flatten(node, key, str(file), above))


def _check_config_path(file: Path) -> None:
    if os.path.isfile(file):
        return
    if os.path.isdir(file):
        inside = sorted(path.name for path in file.glob("*.yaml"))
        raise UserError(
            f"the config {cut(str(file))!r} is a folder",
            where="-c",
            fix=f"give one of its files: {', '.join(inside[:8])}" if inside else "give a .yaml file",
        )
    _check_pipe(str(file), "-c")
    there = os.path.isdir(file.parent)
    siblings = os.listdir(file.parent) if there else []
    near = difflib.get_close_matches(file.name, siblings, n=1)
    raise UserError(
        f"there is no config {cut(str(file))!r}",
        where="-c",
        why=None if there else f"there is no folder {cut(str(file.parent))!r} either",
        fix=f"did you mean {str(file.parent / near[0])!r}?" if near else "check the path",
    )


def _check_pipe(value: str, place: str) -> None:
    """Refuse what waits for a writer: settings and data are read more than once."""
    try:
        mode = os.stat(value).st_mode
    except (OSError, ValueError):
        return
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise UserError(
            f"{cut(value)!r} is no file",
            where=place,
            why="it would be read more than once, which a pipe or a device cannot be",
            fix="write it to a file",
        )


def _flatten(node: yaml.Node, prefix: str, file: str, above: tuple[yaml.Node, ...] = ()) -> Iterator[Setting]:
    """The settings of a node, those of its aliases too.

    Args:
        node: A node of a file, or of an option's value.
        prefix: The name of the setting that it is the value of.
        file: The file; empty for an option.
        above: The nodes around it.

    Raises:
        UserError: If it holds itself, is nested too deeply, sets something twice, or holds what no setting can be.
    """
    yield from _walk(node, prefix, file, above, itertools.count())


def _walk(
    node: yaml.Node, prefix: str, file: str, above: tuple[yaml.Node, ...], count: Iterator[int]
) -> Iterator[Setting]:
    line = f"{file}, line {node.start_mark.line + 1}" if file else f"--{prefix}"
    if any(node is outer for outer in above):
        raise UserError(
            f"{prefix or 'the config'} holds itself",
            where=line,
            why="an alias (*name) stands within what it stands for",
            fix="write out what is meant",
        )
    if len(above) > _DEEPEST:
        raise _too_deep(line)
    if next(count) > _MOST:
        raise UserError(
            f"there are more than {_MOST:,} settings",
            where=line,
            why="aliases (*name) of what holds aliases multiply",
            fix="write out what is meant",
        )
    if isinstance(node, yaml.MappingNode):
        lines: dict[str, int] = {}
        for name, value in node.value:
            number = name.start_mark.line + 1
            if not isinstance(name, yaml.ScalarNode):
                raise UserError("the name of a setting is a list or a group", where=f"{file}, line {number}")
            if name.value in lines and file:
                raise UserError(
                    f"{name.value!r} is set twice in one place",
                    where=f"{file}, lines {lines[name.value]} and {number}",
                    why="YAML would silently take the second one",
                    fix="keep one of them",
                )
            lines[name.value] = number
            key = short(f"{prefix}.{name.value}" if prefix else str(name.value))
            bare = name.value == "init_args" or name.tag.endswith(":merge")
            place = f"{file}, line {number}"
            if not bare:
                text = value.value if isinstance(value, yaml.ScalarNode) else ""
                yield Setting(key, text, place, file)
                if file and not isinstance(value, yaml.MappingNode):
                    part = Path(file).parent / text
                    if key in (*_GROUPS, *_CLASSES) and text.endswith(_SUFFIXES) and os.path.isfile(part):
                        yield from _read_config(part, key, (*above, node))
                        continue
                    _check_group(key, text, place)
            elif name.value == "init_args" and not isinstance(value, yaml.MappingNode):
                raise UserError(
                    f"init_args of {prefix} is no group of settings",
                    where=place,
                    fix="write its settings below it, or leave it out",
                )
            yield from _walk(value, prefix if bare else key, file, (*above, node), count)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _walk(item, prefix, file, (*above, node), count)
    else:
        _check_scalar(node, line)


def _check_group(key: str, value: str, place: str) -> None:
    if key in _GROUPS:
        raise UserError(
            f"{key} is {value!r}" if value else f"{key} is no group of settings",
            where=place,
            why="it is a group of settings",
            fix="write its settings below it, or leave it out",
        )


def _check_scalar(node: yaml.Node, place: str, key: str = "") -> None:
    """Refuse a value that no setting can have."""
    text, tag = str(node.value), node.tag.rpartition(":")[2]
    _check_pipe(text, place)
    if not (node.tag.startswith("tag:yaml.org,2002:") and tag in _PLAIN):
        raise UserError(
            f"{cut(text)!r} is of the type {node.tag.replace('tag:yaml.org,2002:', '!!')}",
            where=place,
            why="settings are text, numbers, true, false, null, lists and groups",
            fix="write it in quotes if it is text",
        )
    if any(letter == "\0" or "\ud800" <= letter <= "\udfff" for letter in text):
        raise UserError(f"{cut(text)!a} is no text", where=place, why="it holds letters that no file can keep")
    if tag == "int" and key != "name" and len(text.strip("+-")) > _DIGITS:
        raise UserError(
            f"{cut(text, 30)} is a number of {len(text.strip('+-')):,} digits",
            where=place,
            why=f"no setting takes more than {_DIGITS}",
            fix="write it in quotes if it is text",
        )
    if text.lower() == ".nan" and tag == "float":
        raise UserError(f"{text} is no number", where=place, fix="give a number, or leave it out")


def _too_deep(place: str) -> UserError:
    return UserError(
        f"settings are nested more than {_DEEPEST} deep", where=place, fix="check brackets and indentation there"
    )

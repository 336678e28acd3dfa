"""The parser's refusals, as errors with a place, a reason and a suggestion."""

from __future__ import annotations

import argparse
import difflib
import inspect
import re
import typing
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from lcot.cli.parts import CANNOT
from lcot.errors import UserError, nearest
from lcot.settings import Setting, Settings, short

_WORDS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "str": "text",
    "list": "a list",
    "tuple": "a list",
    "dict": "a group of settings",
    "NoneType": "null",
}


def explain(message: str, actions: Sequence[argparse.Action], settings: Settings) -> UserError:
    """Say what a parser's message means.

    Args:
        message: What jsonargparse says.
        actions: The options of the parser that said it. It may be that of a nested class, whose names are relative.
        settings: What the user set.
    """
    denied = re.search(r"Importing '([^']+)' is not allowed", message)
    if denied:
        return UserError(
            f"the run's config names {denied[1]}, which it may not",
            where=next((found.place for found in settings.found if found.value == denied[1]), None),
            why="of what a run's folder names, nothing is imported but installed packages and files that you name",
            fix="if you trust its file, name it: --code FILE.py",
        )
    for pattern, handle in _CASES:
        found = re.search(pattern, message, flags=re.DOTALL)
        if found:
            error = handle(found, message, _inside(actions, settings.command), settings)
            if error is not None:
                return error
    lines = [line.strip() for line in message.strip().splitlines() if line.strip()]
    return UserError(lines[0] if lines else "the settings cannot be used", why=" ".join(lines[1:3]) or None)


def unknown_setting(key: str, known: Iterable[str], settings: Settings) -> UserError:
    """There is no setting of this name.

    Args:
        key: The name, as far as the parser knew it.
        known: The names that this parser has.
        settings: What the user set.
    """
    key, names = short(key), sorted({short(name) for name in known})
    parts = key.split(".")
    depth = next(
        (depth for depth in range(len(parts)) if not _leads_to(names, parts[: depth + 1])),
        len(parts) - 1,
    )
    wrong, parent = parts[depth], parts[:depth]
    siblings = sorted({name.split(".")[depth] for name in names if name.split(".")[:depth] == parent and
                       name.count(".") >= depth})  # fmt: skip
    beside = siblings if not parent else []
    whole = next((found for found in settings.found if found.key == key and "trainer" in siblings), None)
    setting = whole or settings.find(".".join(parts[: depth + 1]), beside) or settings.find(key, beside)
    owner = ".".join(_owner(setting, parts[: depth + 1]) or parent)
    inside = f"{owner}." if owner else ""
    everything = {*names, *(other.key for other in settings.found if other is not setting)}
    deeper = sorted(name for name in everything if name.startswith(inside) and name.endswith(f".{wrong}"))
    begun = [name for name in siblings if len(wrong) < 4 and name.startswith(wrong)]
    meant = [repr(name) for name in nearest(wrong, siblings)]
    meant = meant or [f"--{name}" for name in deeper[:1]] or [repr(name) for name in begun[:1]]
    suggestion = f"did you mean {' or '.join(meant)}?" if meant else None
    return UserError(
        f"{owner} has no setting {wrong!r}" if owner else f"there is no setting {wrong!r}",
        where=setting.place if setting else None,
        why=f"its settings are {', '.join(siblings)}" if owner and 0 < len(siblings) <= 20 else None,
        fix=suggestion or (None if owner else "see --help for all settings"),
    )


def _leads_to(names: Sequence[str], parts: Sequence[str]) -> bool:
    prefix = ".".join(parts)
    return any(name == prefix or name.startswith(f"{prefix}.") for name in names)


def _owner(setting: Setting | None, parts: Sequence[str]) -> list[str]:
    """The full name of the group that has no such setting."""
    if setting is None:
        return []
    full = setting.key.split(".")
    ends = [end for end in range(len(parts), len(full) + 1) if full[end - len(parts) : end] == list(parts)]
    return full[: ends[-1] - 1] if ends else []


def _inside(actions: Sequence[argparse.Action], command: str | None) -> list[argparse.Action]:
    """The options of a parser and of its chosen subcommand."""
    nested = [getattr(action, "choices", None) for action in actions if isinstance(action, argparse._SubParsersAction)]
    chosen = nested[0].get(command) if nested and nested[0] and command else None
    return [*actions, *(chosen._actions if chosen is not None else [])]


def _names(actions: Sequence[argparse.Action]) -> list[str]:
    options = [option[2:] for action in actions for option in action.option_strings if option.startswith("--")]
    hidden = ("help", "print_config", "version")
    return [option for option in options if option not in hidden and not option.endswith((".help", "+"))]


def _unrecognized(found: re.Match[str], message: str, actions: Any, settings: Settings) -> UserError:
    words = found[1].split()
    option = next((word for word in words if word.startswith("--")), None)
    if option is None:
        own = Path(words[0]) / "config.yaml"
        config = own if own.is_file() else words[0] if words[0].endswith((".yaml", ".yml")) else None
        fix = "write settings as --data.batch_size=32" if config is None else f"write -c {config}"
        return UserError(f"{words[0]!r} is no option", where="the command line", fix=fix)
    return unknown_setting(option[2:].partition("=")[0], _names(actions), settings)


def _not_accepted(found: re.Match[str], message: str, actions: Any, settings: Settings) -> UserError:
    group, key = found.groupdict().get("group"), found["key"]
    return unknown_setting(f"{group}.{key}" if group else key, _names(actions), settings)


def _missing(found: re.Match[str], message: str, actions: Any, settings: Settings) -> UserError:
    names = [short(name.strip()) for name in found[1].split(",")]
    for section in ("model", "data", "curriculum.schedule"):
        begun = any(setting.key.startswith(f"{section}.") for setting in settings.found)
        named = any(setting.key in (section, f"{section}.class_path") for setting in settings.found if setting.value)
        if begun and not named:
            first = settings.find(section)
            return UserError(
                f"{section} has settings, but no class",
                where=first.place if first else None,
                fix=f"add its class_path, or --{section}=NAME before them; see --{section}.help",
            )
    listed = " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
    ours = {"model", "data", "curriculum.schedule"} & set(names)
    return UserError(
        f"{listed} {'are' if len(names) > 1 else 'is'} not set",
        why=None if ours else "a class that you chose has no default for it",
        fix="give a config that sets it, such as -c prosqa" if ours else None,
    )


def _no_value(found: re.Match[str], message: str, actions: Any, settings: Settings) -> UserError:
    name = found[1].split("/")[-1]
    example = "prosqa" if name == "--config" else "true" if name == "--resume" else "VALUE"
    return UserError(f"{name} has no value", where="the command line", fix=f"write {name}={example}")


def _bad_class(found: re.Match[str], message: str, actions: Any, settings: Settings) -> UserError | None:
    key, name = found["key"], found["name"]
    action = next((action for action in actions if short(action.dest) == short(key)), None)
    known = _class_names(getattr(action, "_typehint", None) or getattr(action, "type", None))
    if not known or name.startswith(("{", "[")) or re.search(r"Expected a <class '(?:int|float|bool)'>", message):
        return None
    setting = _set_as(settings, key, name) or settings.find(key)
    if name == "None" and setting and setting.value == "null":
        return _nested_null(setting)
    if name.endswith((".yaml", ".yml", ".json")):
        return UserError(f"there is no config {name!r}", where=setting.place if setting else None, fix="check the path")
    kinds = list(_bases(getattr(action, "_typehint", None)))
    if len(known) == len(kinds) == 1 and is_dataclass(kinds[0]):  # or null: there is nothing to choose
        return _group_told(
            short(setting.key if setting else key), name, setting, [one.name for one in fields(kinds[0])]
        )
    error = UserError.unknown("class", name, known, where=setting.place if setting else None)
    reason = re.search(r"No module named '[^']*'", message)
    if reason:
        error = UserError(error.what, where=error.where, why=reason[0], fix="install it, or check the name")
    return error


def _several(found: re.Match[str], message: str, actions: Any, settings: Settings) -> UserError:
    key, name = found["key"], found["name"]
    setting = _set_as(settings, key, name) or settings.find(key)
    paths = dict.fromkeys(re.findall(rf"\b[\w.]+\.{re.escape(name)}\b", message))
    where = setting.place if setting else None
    return UserError(f"there are several classes {name!r}", where=where, fix=f"give one: {', '.join(paths)}")


def _no_class(key: str, name: str, message: str, actions: Any, settings: Settings) -> UserError | None:
    """A name where a class is wanted, and what is wrong with it; ``None`` if no class is, or it is no name."""
    action = next((action for action in actions if short(action.dest) == short(key)), None)
    known = _class_names(getattr(action, "_typehint", None) or getattr(action, "type", None))
    if known and not name:
        return _not_a_class(re.match(r"(?P<key>.*)", key), message, actions, settings)  # type: ignore[arg-type]
    if not known or not re.fullmatch(r"[A-Za-z_][\w.]*", name) or name in ("None", "True", "False"):
        return None
    setting = _set_as(settings, key, name) or settings.find(key)
    where = setting.place if setting else None
    listed = f"known: {', '.join(known[:16])}" + (f" and {len(known) - 16} more" if len(known) > 16 else "")
    base = re.search(r"does not correspond to a subclass of (\w+)", message)
    if base is not None:
        own = "a class of your own is named by its path, as in my_package.MyClass"
        return UserError(f"{name} is no {base[1]}", where=where, why=listed, fix=f"use one of these; {own}")
    if "Unable to add parameter" in message:
        return UserError(f"{name} cannot be used here", where=where, why="it takes what no config can hold")
    error = UserError.unknown("class", name, known, where=where)
    return UserError(error.what, where=where, why=listed if len(known) <= 16 else error.why, fix=error.fix)


def _help_of(found: re.Match[str], message: str, actions: Any, settings: Settings) -> UserError | None:
    """Help was asked for about a class that there is not."""
    key, name = found["key"], found["name"]
    action = next((action for action in actions if short(action.dest) in (key, f"{key}.help")), None)
    known = _class_names(getattr(action, "_typehint", None) or getattr(action, "type", None))
    return UserError.unknown("class", name, known, where=f"--{key}.help={name}") if known else None


def _none_of(found: re.Match[str], message: str, actions: Any, settings: Settings) -> UserError | None:
    """A value that is of none of a setting's plain types."""
    names, value = re.findall(r"<class '(?:\w+\.)*(\w+)'>", found["kinds"]), _value(message)
    set_so = [setting for setting in settings.found if setting.key == short(found["key"]) and setting.value == value]
    setting = set_so[-1] if set_so else settings.find(found["key"])
    if not names or setting is None:
        return None
    unknown = _no_class(found["key"], value, message, actions, settings)
    if unknown is not None:
        return unknown
    words = [_WORDS.get(name, f"a {name}") for name in names]
    return UserError(
        f"{setting.key}: {setting.value!r} is not {' or '.join(dict.fromkeys(words))}", where=setting.place
    )


def _not_a_class(found: re.Match[str], message: str, actions: Any, settings: Settings) -> UserError:
    key = found["key"]
    setting = settings.find(key)
    action = next((action for action in actions if short(action.dest) == short(key)), None)
    known = ", ".join(_class_names(getattr(action, "_typehint", None))[:12])
    name, value = setting.key if setting else key, _value(message)
    bare = value.startswith("{")
    todo = "add its class_path: NAME" if bare else "write class_path: NAME and init_args: below it"
    return UserError(
        f"{name} has settings, but no class" if bare else f"{name}: {value!r} names no class",
        where=setting.place if setting else None,
        fix=f"{todo}; known: {known}",
    )


def _set_as(settings: Settings, key: str, value: str) -> Setting | None:
    inside = [found for found in settings.found if f".{short(key)}." in f".{found.key}." and found.value == value]
    return inside[-1] if inside else None


def _no_group(found: re.Match[str], message: str, actions: Any, settings: Settings) -> UserError:
    key = found["key"]
    setting = settings.find(key)
    full, value = (setting.key, setting.value) if setting else (key, found["value"])
    return _group_told(
        full, value, setting, [name.split(".")[-1] for name in _names(actions) if name.startswith(f"{key}.")]
    )


def _group_told(full: str, value: str, setting: Setting | None, names: Iterable[str]) -> UserError:
    inner = sorted(set(names))
    return UserError(
        f"{full} is {value!r}",
        where=setting.place if setting else None,
        why=f"it is a group of settings{': ' * (0 < len(inner) <= 20)}{', '.join(inner if len(inner) <= 20 else [])}",
        fix=f"set one of them, such as --{full}.{'path' if 'path' in inner else inner[-1]}=…" if inner else None,
    )


def _bad_type(found: re.Match[str], message: str, actions: Any, settings: Settings) -> UserError | None:
    key, value = found["key"], _value(message)
    expected = re.findall(r"Expected an? (?:<class '(?:\w+\.)*(\w+)'>|(?:tuple|list) with (\d+) elements)", message)
    words = [f"a list of {count}" if count else _WORDS.get(name, f"a {name}") for name, count in expected]
    choices = [
        choice.strip(" '\"") for text in re.findall(r"Literal\[([^\]]*)\]", message) for choice in text.split(",")
    ]
    choices = list(dict.fromkeys(choices))
    if choices:
        words = [f"one of {', '.join(choices)}", *(word for word in words if word == "null")]
    if not words:
        return None
    unknown = _no_class(key, value, message, actions, settings)
    if unknown is not None:
        return unknown
    setting = _set_as(settings, key, value) or settings.find(key)
    if value == "None" and setting and setting.value == "null":
        return _nested_null(setting)
    near = difflib.get_close_matches(value.lower(), choices, n=1, cutoff=0.5)
    return UserError(
        f"{setting.key if setting else key}: {value!r} is not {' or '.join(dict.fromkeys(words))}",
        where=setting.place if setting else None,
        fix=f"did you mean {near[0]!r}?" if near else _better_number(value, words),
    )


def _nested_null(setting: Setting) -> UserError:
    group, _, leaf = setting.key.rpartition(".")
    return UserError(
        f"{setting.key} cannot be set to null in this form",
        where=setting.place,
        fix=f"set its group, --{group}='{{{leaf}: null, …}}', or write it in a config" if group else "leave it out",
    )


def _better_number(value: str, words: Sequence[str]) -> str | None:
    """1e3 and 4.0 are whole, and still not written as whole numbers."""
    try:
        number = float(value)
    except ValueError:
        return None
    return f"write {int(number)}" if "a whole number" in words and number.is_integer() else None


def _value(message: str) -> str:
    found = re.search(r"(?:Given|Got) value: (.*)", message)
    value = found[1].strip() if found else ""
    return value if len(value) <= 60 else f"{value[:57]}…"


def _class_names(hint: Any) -> list[str]:
    """The names of the classes that an option with this type takes."""
    return sorted({known.__name__ for base in _bases(hint) for known in _below(base)})


def _bases(hint: Any) -> Iterator[type]:
    arguments = typing.get_args(hint)
    if typing.get_origin(hint) is not None and arguments and isinstance(arguments[0], list):
        arguments = arguments[1:]  # a callable: what it returns
    for argument in arguments:
        yield from _bases(argument)
    if inspect.isclass(hint) and hint.__module__ not in ("builtins", "types"):
        yield hint


def _below(base: type) -> Iterator[type]:
    if not inspect.isabstract(base) and not base.__name__.startswith("_") and base.__name__ not in _BASES:
        yield base
    children: list[type] = type.__subclasses__(base)
    for child in children:
        yield from _below(child)


# Bases, and what other settings make (curriculum.eval_thoughts).
_BASES = {"ReasoningModule", "ReasoningDataModule", "Callback", "Optimizer", "LRScheduler", "Checkpoint", "StageClock",
          "Forced", "AcceleratedOptimizer", "MegatronLMOptimizerWrapper", "DummyLogger", "DummyOptim", "DummyScheduler",
          *CANNOT}  # fmt: skip

_Case = Callable[["re.Match[str]", str, Any, Settings], UserError | None]
_CASES: list[tuple[str, _Case]] = [
    (r"[Uu]nrecognized arguments: (.+)", _unrecognized),
    (r"(?:Group '(?P<group>[^']+)'|Subcommand '\w+') does not accept option '(?P<key>[^']+)'", _not_accepted),
    (r"Option '(?P<key>[^']+)' is not accepted", _not_accepted),
    (r"arguments? (?:are|is) required: (.+)", _missing),
    (r"argument (\S+): expected one argument", _no_value),
    (r"--(?P<key>[\w.]+)\.help: Expected a dot import path string: (?P<name>\S+)", _help_of),
    (r'key "(?P<key>[\w.]+)".*Multiple subclasses with name (?P<name>\w+)', _several),
    (r'key "(?P<key>[\w.]+)".*Expected a dot import path string: (?P<name>[^\n]+)', _bad_class),
    (r'key "(?P<key>[\w.]+)".*Problem with given class_path \'(?P<name>[^\']+)', _bad_class),
    (r'key "(?P<key>[\w.]+)".*has no attribute \'(?P<name>\w+)', _bad_class),
    (r'key "(?P<key>[\w.]+)".*Not a valid subclass of', _not_a_class),
    (r'key "(?P<key>[\w.]+)":? *\n?Unable to load config [\'"](?P<value>[^\n]*)[\'"]', _no_group),
    (r'key "(?P<key>[\w.]+)".*Expected a', _bad_type),
    (r'key "(?P<key>[\w.]+)".*Expected a dot import path string:\s*$', _not_a_class),
    (r'key "(?P<key>[\w.]+)".*any of the Union subtypes\s+Subtypes: [(\[](?P<kinds>[^\n]+)', _none_of),
]

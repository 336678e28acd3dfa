"""Reading a prompt's YAML: a mapping of texts and of mappings of texts, and nothing that has no end or no letters."""

from __future__ import annotations

import re
from importlib.resources.abc import Traversable
from typing import Any

import yaml

from lcot.errors import UserError, shown

DEEPEST = 10
"""Lists and mappings within each other, at most."""

_NO_LETTER = re.compile("[\x00\ud800-\udfff]")
_FIX = "write it like one of the packaged prompts"


def read_settings(source: Traversable, file: str, asked: str) -> dict[str, Any]:
    """Read a file.

    Args:
        source: The file.
        file: What messages call it.
        asked: Where it was asked for.

    Returns:
        Its settings, by their names; sections hold theirs.

    Raises:
        UserError: If it cannot be used.
    """
    try:
        text = source.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as err:
        raise UserError(f"the prompt {shown(file, 200)} cannot be read", where=asked, why=str(err)) from err
    try:
        _check(text, file)
        read = yaml.safe_load(text)
    except UserError:
        raise
    except Exception as err:  # what looks like a number, a date or bytes is made by functions that raise what they like
        mark = getattr(err, "problem_mark", None)
        raise UserError(
            f"the prompt {shown(file, 200)} is not valid YAML",
            where=f"{file}, line {mark.line + 1}" if mark else file,
            why=str(getattr(err, "problem", None) or err or type(err).__name__).splitlines()[0],
            fix="check quotes, brackets and indentation there",
        ) from err
    if not isinstance(read, dict):
        raise UserError(f"the prompt {shown(file, 200)} holds no settings", fix=_FIX)
    for settings in (read, *(value for value in read.values() if isinstance(value, dict))):
        for key in settings:
            if not isinstance(key, str):
                raise UserError(f"the key {shown(key)} is no text", where=file, fix="names of settings are words")
    return read


def _check(text: str, file: str) -> None:
    """Refuse, before anything is built, keys that stand twice, deep nesting, and aliases of more than a text.

    Raises:
        UserError: If there is one.
        yaml.YAMLError: If it is not YAML.
    """
    refusal: tuple[str, str | None, str] | None = None
    texts: set[str | None] = set()
    groups: set[str | None] = set()
    opened: list[tuple[bool, set[str]]] = []  # whether a mapping, and its keys
    parts: list[int] = []  # how many keys and values each has so far
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        is_key = bool(opened) and opened[-1][0] and parts[-1] % 2 == 0
        if isinstance(event, yaml.AliasEvent) and event.anchor in groups - texts:
            why = "what holds itself, or others again and again, has no end"
            refusal = f"*{event.anchor} repeats a list or a mapping", why, "write it out, or use extends"
        if isinstance(event, yaml.ScalarEvent):
            texts.add(event.anchor)
            if _NO_LETTER.search(event.value):
                refusal = f"{shown(event.value)} holds what is no letter", None, "take it out"
            if is_key and event.value in opened[-1][1]:
                why = "YAML would silently take the second one"
                refusal = f"{shown(event.value)} is set twice in one place", why, "keep one of them"
            if is_key:
                opened[-1][1].add(event.value)
        if isinstance(event, yaml.NodeEvent) and opened:
            parts[-1] += 1
        if isinstance(event, yaml.CollectionStartEvent):
            groups.add(event.anchor)
            opened.append((isinstance(event, yaml.MappingStartEvent), set()))
            parts.append(0)
            if is_key:
                refusal = "a list or a mapping stands in the place of a key", None, _FIX
            if len(opened) > DEEPEST:
                refusal = f"more than {DEEPEST} lists and mappings stand in each other", None, _FIX
        if isinstance(event, yaml.CollectionEndEvent):
            opened.pop()
            parts.pop()
        if refusal is not None:
            what, why_not, fix = refusal
            line = event.start_mark.line + 1 if event.start_mark is not None else 1
            raise UserError(what, where=f"{file}, line {line}", why=why_not, fix=fix)

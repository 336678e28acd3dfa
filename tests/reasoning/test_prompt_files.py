"""YAML that has no end, or no letters: each is one block, with its line where there is one, and at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from lcot.errors import UserError
from lcot.reasoning.prompts import load_prompt

BASE = "extends: llama3/gsm8k\n"
# Each level repeats the one before ten times: 10^20 texts.
LAUGHS = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 21))


@pytest.mark.parametrize(
    ("content", "words", "line"),
    [
        (BASE + "words: &a {x: *a}\n", "*a repeats a list or a mapping", 2),
        (BASE + "llm: {user: &a [*a]}\n", "*a repeats a list or a mapping", 2),
        (BASE + "x: &x {a: b}\nwords: {<<: *x}\n", "*x repeats a list or a mapping", 3),
        (LAUGHS, "*a0 repeats a list or a mapping", 2),
        (BASE + "a: *b\n", "is not valid YAML", 2),
        ("a: " + "[" * 50_000, "more than 10 lists and mappings stand in each other", 1),
        ("a: " + "{a: " * 50_000, "more than 10 lists and mappings stand in each other", 1),
        ("".join(" " * depth + "a:\n" for depth in range(500)), "more than 10 lists and mappings", 11),
        ("? [a, b]\n: c\n", "a list or a mapping stands in the place of a key", 1),
        ("{a: b}: c\n", "a list or a mapping stands in the place of a key", 1),
        (BASE + "words: {a: b, a: c}\n", "'a' is set twice in one place", 2),
        (BASE + 'words: {a: "\\ud800"}\n', "holds what is no letter", 2),
        (BASE + 'words: {a: "x\\0"}\n', "holds what is no letter", 2),
        (BASE + "1: 2\n", "the key 1 is no text", 0),
        (BASE + "template: {true: x}\n", "the key true is no text", 0),
        (BASE + f"template: {{x: {'9' * 5000}}}\n", "is not valid YAML", 0),
        (BASE + "template: {x: 2024-13-45}\n", "is not valid YAML", 0),
        (BASE + "template: {x: !!float abc}\n", "is not valid YAML", 0),
        (BASE + "template: {x: !!int ''}\n", "is not valid YAML", 0),
        (BASE + "template: {x: !!bool 3}\n", "is not valid YAML", 0),
        (BASE + "template: {x: !!timestamp 3}\n", "is not valid YAML", 0),
        (BASE + "template: {x: !!python/name:math.sqrt}\n", "is not valid YAML", 2),
        (BASE + "a: \0\n", "is not valid YAML", 0),
    ],
    ids=lambda value: str(value)[-30:],
)
def test_what_no_prompt_holds(tmp_path: Path, content: str, words: str, line: int) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(content)
    with pytest.raises(UserError) as caught:
        load_prompt(str(path))
    assert words in caught.value.what and caught.value.where == f"{path}{f', line {line}' if line else ''}"
    assert len(str(caught.value)) < 1000


def test_a_text_may_be_repeated(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(BASE + 'target: {opening: &t "So. ", step: "{step} "}\nllm: {between: *t}\n')
    prompt = load_prompt(str(path))
    assert prompt.opening == prompt.between == "So. "


@pytest.mark.parametrize("name", ["x" * 300 + ".yaml", "~nobody-of-this-name/own.yaml", "a\0.yaml", "/dev/zero.yaml"])
def test_names_that_no_file_can_have(name: str) -> None:
    with pytest.raises(UserError, match="there is no prompt") as caught:
        load_prompt(name)
    assert caught.value.where == "data.dialogue.prompt"


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_bytes(BASE.encode("utf-16"))
    with pytest.raises(UserError, match="cannot be read"):
        load_prompt(str(path))

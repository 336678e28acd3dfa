"""A pretrained model brings its tokenizer, unless the user names another one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from jsonargparse import Namespace

from lcot.cli.follows import follow_models
from lcot.settings import Setting, Settings


def group(**settings: Any) -> Any:
    """Some settings as the parser makes them."""
    return Namespace(**settings)  # type: ignore[no-untyped-call]


def followed(
    path: str | None, assistant: str | None = None, asked: bool = True, given: tuple[str, ...] = ()
) -> tuple[str, str | None]:
    """The tokenizers of both models, where the user set some keys."""
    dialogue = group(prompt="chat", assistant="given" if "data.dialogue.assistant" in given else None)
    helper = group(path=assistant) if assistant is not None else None
    model = group(init_args=group(backbone=group(path=path), assistant=helper))
    data = group(init_args=group(tokenizer="words", dialogue=dialogue if asked else None))
    follow_models(group(model=model, data=data), Settings([Setting(key, "", f"--{key}") for key in given]))
    return data.init_args.tokenizer, dialogue.assistant


@pytest.mark.parametrize("asked", [True, False])
def test_the_tokenizer_is_the_models(asked: bool) -> None:
    assert followed("somebody/model", asked=asked)[0] == "somebody/model"
    assert followed("model.gguf", asked=asked)[0] == "model.gguf"


def test_a_folder_that_is_not_there_is_for_the_model_to_miss(tmp_path: Path) -> None:
    for path in ("./nothing", "~/nothing", str(tmp_path / "nothing")):
        assert followed(path) == ("words", None)


def test_what_the_user_names_counts() -> None:
    given = ("data.tokenizer", "data.dialogue.assistant")
    assert followed("somebody/model", "somebody/small", given=given) == ("words", "given")


def test_a_model_from_scratch_has_none() -> None:
    assert followed(None) == ("words", None)


def test_the_assistants_is_its_own_where_it_is_asked() -> None:
    assert followed("somebody/model", "somebody/small") == ("somebody/model", "somebody/small")
    assert followed("somebody/model", "somebody/small", asked=False) == ("somebody/model", None)


def test_a_runs_words_are_numbered_by_the_data_unless_a_dialogue_wants_them(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    run, own = str(tmp_path), str(tmp_path / "tokenizer")
    assert followed(run, asked=False)[0] == "words"
    assert followed(run, run) == (own, own)

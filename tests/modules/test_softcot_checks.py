"""Choices of SoftCoT that do not fit are refused before anything is trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from lcot.errors import CheckpointError, DataError, UserError
from lcot.modules import Backbone, Coconut, LoRA, Paths
from lcot.modules.softcot_checks import check_saved
from lcot.reasoning.curriculum import Fixed
from tests.softcot import ASSISTANT, LORA, Pair, fit, make_pair, ready, soft, write_model
from tests.tiny import contents, lcot


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """Both models."""
    return make_pair(tmp_path_factory.mktemp("pair"))


@pytest.mark.parametrize(
    ("options", "says", "where"),
    [
        ({"assistant": None}, "there is no assistant", "model.assistant"),
        ({"assistant": None, "thoughts": "words"}, "there is no assistant", "model.assistant"),
        ({"assistant": Backbone(config={"model_type": "gpt2"})}, "model.assistant.config is given", "model.assist"),
        ({"backbone": Backbone(config={"model_type": "gpt2"})}, "model.backbone.config is given", "model.backbone"),
        ({"thoughts": "zeros", "paths": Paths(3)}, "there are 3 paths", "model.paths"),
        ({"thoughts": "noise"}, "unknown thoughts 'noise'", "model.thoughts"),
    ],
)
def test_settings(pair: Pair, options: dict[str, Any], says: str, where: str) -> None:
    with pytest.raises(UserError, match=says) as caught:
        pair.module(**options)
    assert where in str(caught.value)


@pytest.mark.parametrize("part", ["backbone", "assistant"])
def test_words_are_not_trained_on(pair: Pair, part: str) -> None:
    folder = {"backbone": pair.llm, "assistant": pair.assistant}[part]
    with pytest.raises(UserError, match=rf"thoughts is 'words', and model.{part} has LoRA"):
        pair.module(thoughts="words", **{part: Backbone(path=str(folder), lora=LORA)})


@pytest.mark.parametrize("changes", [{"count": 1}, {"contrast": -1}, {"scale": 0}, {"dropout": 1}])
def test_paths(changes: dict[str, Any]) -> None:
    with pytest.raises(UserError) as caught:
        Paths(**changes)
    assert "model.paths" in str(caught.value)


def test_an_assistant_is_not_needed_where_it_is_not_asked(pair: Pair, tmp_path: Path) -> None:
    for thoughts in ("zeros", "placeholders"):
        ready(pair, tmp_path, assistant=None, thoughts=thoughts)
        ready(pair, tmp_path, assistant=Backbone(config={"model_type": "gpt2"}), thoughts=thoughts)


@pytest.mark.parametrize("precision", ["bf16-true", "64-true"])
def test_a_precision_that_would_change_weights(pair: Pair, tmp_path: Path, precision: str) -> None:
    with pytest.raises(UserError, match=f"precision is '{precision}'") as caught:
        fit(pair.module(), pair.data(), tmp_path, precision=precision)
    assert "trainer.precision" in str(caught.value)


def test_kinds_of_thoughts(pair: Pair, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the kind of thought is 'continuous', and the model is SoftCoT"):
        fit(pair.module(), pair.data(), tmp_path, Fixed("all", 2, "continuous"))
    with pytest.raises(UserError, match="the kind of thought is 'soft', and the model is Coconut"):
        fit(Coconut(Backbone(path=str(pair.llm))), pair.data(), tmp_path)
    with pytest.raises(UserError, match="there is an assistant, and no dialogue"):
        fit(pair.module(), pair.data(dialogue=None), tmp_path, Fixed("none"))


def test_nothing_to_train(pair: Pair, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there are no thoughts in training"):
        fit(pair.module(), pair.data(), tmp_path, soft(0))
    for thoughts in ("random", "zeros", "placeholders", "words"):
        with pytest.raises(UserError, match="there is nothing to train"):
            fit(pair.module(thoughts=thoughts), pair.data(), tmp_path)


def test_an_assistant_that_is_too_short(pair: Pair, tmp_path: Path) -> None:
    short = write_model(tmp_path / "short", *ASSISTANT[:2], **ASSISTANT[2], max_position_embeddings=64)
    with pytest.raises(DataError, match=r"the assistant's longest row takes 1[0-9]{2} positions, and it has 64"):
        fit(pair.module(assistant=Backbone(path=str(short))), pair.data(), tmp_path)


def test_what_is_wrong_with_the_assistant_is_not_said_of_the_language_model(pair: Pair, tmp_path: Path) -> None:
    lora = LoRA(targets=("query",))
    for assistant in (Backbone(path=str(tmp_path)), Backbone(path=str(pair.assistant), lora=lora)):
        with pytest.raises(UserError) as caught:
            fit(pair.module(assistant=assistant), pair.data(), tmp_path)
        assert "model.assistant" in str(caught.value) and "model.backbone" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "says", "where"),
    [
        (
            ["config={model_type: llama}"],
            "both of model.assistant.path and model.assistant.config",
            "assistant.config (",
        ),
        (["revision=main"], "model.assistant.revision is 'main'", "model.assistant.revision ("),
        (["lora={rank: 0}"], "rank 0, alpha 32.0", "model.assistant.lora ("),
        (["lora.targets=[]"], "targets is ()", "model.assistant.lora.targets ("),
        (["attention=flash_attention_2"], "attention is 'flash_attention_2'", "model.assistant.attention ("),
        (["new_tokens=foo"], "unknown policy 'foo'", "model.assistant.new_tokens ("),
    ],
    ids=lambda value: value[-1].partition("=")[0] if isinstance(value, list) else "",
)
def test_settings_of_the_assistant_go_by_their_own_names(
    pair: Pair, tmp_path: Path, options: list[str], says: str, where: str
) -> None:
    config = tmp_path / "soft.yaml"
    config.write_text(yaml.safe_dump(pair.settings()), encoding="utf-8")
    outcome = lcot("fit", "-c", config, *(f"--model.assistant.{option}" for option in options))
    assert outcome.code == 2 and says in outcome.block and where in outcome.block
    assert "model.backbone" not in outcome.block


def test_a_place_for_states_that_is_taken(pair: Pair, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for place in (pair.llm, tmp_path / "file"):
        before = contents(place.parent)
        with pytest.raises(UserError, match="holds something else") as caught:
            fit(pair.module(states=str(place)), pair.data(), tmp_path / "run")
        assert "model.states" in str(caught.value) and contents(place.parent) == before


DESCRIBED: dict[str, Any] = {
    "soft_thoughts": "projected",
    "paths": None,
    "tasks": [],
    "states": 24,
    "assistant": {"attention": "sdpa", "lora": None},
}
TUNED: dict[str, Any] = {"attention": "sdpa", "lora": LORA.described()}


@pytest.mark.parametrize(
    ("changes", "says", "where"),
    [
        ({"soft_thoughts": "random"}, "for other thoughts", "model.thoughts"),
        ({"paths": {"count": 3}}, "for another number of paths", "model.paths"),
        ({"tasks": ["sums"]}, "for other tasks", "data.dialogue.tasks"),
        ({"states": 32}, "for another width of the assistant's states", "model.assistant"),
        ({"assistant": TUNED}, "for another assistant", "model.assistant.lora"),
    ],
)
def test_a_projection_that_was_trained_for_something_else(changes: dict[str, Any], says: str, where: str) -> None:
    with pytest.raises(CheckpointError, match=says) as caught:
        check_saved({**DESCRIBED, **changes}, DESCRIBED)
    assert where in str(caught.value) and " then, " in str(caught.value) and len(str(caught.value).splitlines()) == 4


def test_what_matters_to_training_only_may_differ() -> None:
    dropped = {**TUNED, "lora": {**LORA.described(), "dropout": 0.5}}
    check_saved({**DESCRIBED, "assistant": TUNED}, {**DESCRIBED, "assistant": dropped})
    paths = [{**DESCRIBED, "paths": {"count": 3, "contrast": weight}} for weight in (0.0, 1.0)]
    check_saved(*paths)

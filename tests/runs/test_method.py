"""Whether a config does with a checkpoint what it was trained to do: the tests of single commands are elsewhere."""

from __future__ import annotations

import logging
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lcot.callbacks import CurriculumCallback
from lcot.errors import UserError
from lcot.reasoning.curriculum import Fixed
from lcot.reasoning.dialogue import Dialogue
from lcot.reasoning.text import TextFormat
from lcot.runs.method import check_method

PATH = Path("runs/gsm8k/checkpoints/last.ckpt")
SOFT = Fixed(hidden="none", thoughts=4, kind="soft")
TRAINED = Dialogue("llama3/gsm8k", assistant="small")
SAVED: dict[str, Any] = {
    "stage": 0,
    "kind": "soft",
    "markers": "always",
    "stepwise_passes": False,
    "thoughts": 4,
    "text": asdict(TextFormat()),
    "dialogue": asdict(TRAINED),
    "frozen": {"model": {}, "assistant_model": {}},
    "lora": None,
}


def check(saved: dict[str, Any], dialogue: Dialogue | None, **clock: Any) -> None:
    """Check a checkpoint's description against a config with this dialogue."""
    data = SimpleNamespace(text=TextFormat(), dialogue=dialogue)
    check_method(saved, CurriculumCallback(SOFT, **clock), data, PATH)


def test_the_config_of_the_training_passes_without_a_word(caplog: pytest.LogCaptureFixture) -> None:
    check(SAVED, TRAINED)
    check(SAVED, Dialogue("llama3/gsm8k", assistant="moved/small"))
    assert not caplog.records


def test_soft_thoughts_of_a_frozen_model_transfer_to_another_prompt(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        check(SAVED, Dialogue("llama3/date_understanding", assistant="small"))
    assert "prompt 'llama3/gsm8k' then, 'llama3/date_understanding' now" in caplog.text


@pytest.mark.parametrize(
    ("changes", "dialogue"),
    [
        ({}, Dialogue("llama3/gsm8k", assistant="small", header="supervised")),
        ({}, Dialogue("llama3/aqua", assistant="small", end_of_turn="dropped")),
        ({}, None),
        ({"lora": {"rank": 16}}, Dialogue("llama3/aqua", assistant="small")),
        ({"frozen": {}}, Dialogue("llama3/aqua", assistant="small")),
    ],
    ids=["header", "more than the prompt", "no dialogue", "trained with LoRA", "trained as a whole"],
)
def test_all_else_is_refused(changes: dict[str, Any], dialogue: Dialogue | None) -> None:
    with pytest.raises(UserError, match="joined otherwise") as refusal:
        check({**SAVED, **changes}, dialogue)
    assert "runs/gsm8k/config.yaml" in str(refusal.value)


def test_another_number_of_thoughts_is_refused_unless_it_was_asked_for() -> None:
    with pytest.raises(UserError, match=r"trained with 6 soft thoughts .* gives 4 soft thoughts"):
        check({**SAVED, "thoughts": 6}, TRAINED)
    check({**SAVED, "thoughts": 6}, TRAINED, eval_thoughts=3)


@pytest.mark.parametrize(
    ("saved", "planned"),
    [
        ({"kind": "continuous", "markers": "with_thoughts"}, {"kind": "none"}),
        ({"kind": "pause", "markers": "never", "stepwise_passes": True}, {"kind": "none"}),
        ({"kind": "none"}, {"kind": "continuous", "markers": "with_thoughts", "thoughts": 0}),
    ],
    ids=["stage 0 of Coconut", "stage 0 of pauses", "plain CoT"],
)
def test_no_thoughts_are_no_thoughts_of_any_kind(saved: dict[str, Any], planned: dict[str, Any]) -> None:
    data = SimpleNamespace(text=TextFormat(), dialogue=TRAINED)
    clock = CurriculumCallback(Fixed(**{"hidden": "none", "thoughts": 0, **planned}))
    check_method({**SAVED, "thoughts": 0, **saved}, clock, data, PATH)


def test_marks_without_thoughts_between_them_are_something_else() -> None:
    data = SimpleNamespace(text=TextFormat(), dialogue=TRAINED)
    with pytest.raises(UserError, match=r"with 0 continuous thoughts .*between markers, and .* gives no thoughts"):
        check_method(
            {**SAVED, "thoughts": 0, "kind": "continuous", "stepwise_passes": True},
            CurriculumCallback(Fixed(hidden="none", kind="none")),
            data,
            PATH,
        )

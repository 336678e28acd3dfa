"""What a checkpoint says about its model, against what the config says."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lcot.errors import CheckpointError
from lcot.modules.description import FORMAT, INFERENCE, check_described, check_fits


def described(**fields: Any) -> dict[str, Any]:
    """A description with these fields in its model's configuration."""
    about = {"format": FORMAT, "module": "Coconut", "class": None, "vocabulary": "abc", "lora": None, "frozen": {}}
    return {**about, "backbone": json.dumps(fields)}


def test_fields_that_one_release_of_transformers_knows_do_not_count() -> None:
    saved = described(hidden_size=8, gone=3, transformers_version="5.0")
    assert check_fits({"lcot": saved}, described(hidden_size=8, new=True, transformers_version="6.0")) == saved


def test_fields_that_differ_do() -> None:
    with pytest.raises(CheckpointError, match="hidden_size 8 ≠ 16"):
        check_fits({"lcot": described(hidden_size=8, gone=3)}, described(hidden_size=16, new=True))


def test_an_older_description_counts_and_a_newer_one_does_not() -> None:
    assert check_fits({"lcot": {**described(), "format": FORMAT - 1}}, described())
    with pytest.raises(CheckpointError, match="written by a newer lcot"):
        check_fits({"lcot": {**described(), "format": FORMAT + 1}}, described())


WHOLE: dict[str, Any] = {
    **described(model_type="llama"),
    "module": "SoftCoT",
    "stage": 0,
    "dtype": "bfloat16",
    "attention": "sdpa",
    "kind": "soft",
    "markers": "always",
    "thoughts": 4,
    "stepwise_passes": False,
    "text": {},
    "dialogue": {"prompt": "llama3/gsm8k"},
    "extractors": ["boxed"],
    "max_new_tokens": 9,
    "sampling": {"temperature": 1.0},
    "lora": None,
    "frozen": {
        part: {"path": part, "revision": None, "dtype": "bfloat16", "fingerprint": "f"}
        for part in ("model", "assistant_model")
    },
    "soft_thoughts": "projected",
    "paths": None,
    "tasks": [],
    "states": 8,
    "assistant": {"attention": "sdpa", "lora": {"rank": 2}},
}
"""What a checkpoint of SoftCoT says about itself."""


def refused(said: object) -> str:
    """Why a description is refused, in one block."""
    with pytest.raises(CheckpointError) as caught:
        check_described(said, "runs/a/checkpoints/last.ckpt")
    assert caught.value.where == "runs/a/checkpoints/last.ckpt" and len(str(caught.value).splitlines()) <= 4
    return str(caught.value)


def test_a_whole_description_is_accepted() -> None:
    check_described(WHOLE)
    check_described({**WHOLE, "assistant": None, "frozen": {"model": WHOLE["frozen"]["model"]}, "states": None})
    check_described({**{name: WHOLE[name] for name in ("format", *INFERENCE)}, "unknown": 1}, needed=INFERENCE)


@pytest.mark.parametrize("name", [name for name in WHOLE if name != "format"])
def test_a_field_that_is_missing(name: str) -> None:
    assert f"{name} is missing" in refused({other: value for other, value in WHOLE.items() if other != name})
    with pytest.raises(CheckpointError):
        check_fits({"lcot": {key: value for key, value in described().items() if key != "module"}}, described())


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"format": "1"}, "was not written by lcot"),
        ({"module": None}, "module is None"),
        ({"backbone": "{"}, "backbone is '{'"),
        ({"backbone": "[]"}, "backbone is '[]'"),
        ({"dtype": "int8"}, "dtype is 'int8'"),
        ({"kind": "loud"}, "kind is 'loud'"),
        ({"kind": []}, "kind is []"),
        ({"text": {"before_answer": " "}}, "before_answer is ' '"),
        ({"sampling": {"warmth": 1}}, "unexpected keyword argument 'warmth'"),
        ({"sampling": {"temperature": "hot", "seed": None}}, "sampling has temperature 'hot', seed None"),
        ({"dialogue": {"prompt": "a", "tasks": ["b", 3]}}, "dialogue has tasks ['b', 3]"),
        ({"assistant": {"attention": "sdpa", "lora": {"targets": "q"}}}, "assistant.lora has targets 'q'"),
        ({"dialogue": {}}, "missing 1 required positional argument: 'prompt'"),
        ({"paths": {"count": 1}}, "paths is {'count': 1}: count 1"),
        ({"lora": 3}, "lora is 3"),
        ({"lora": {"rank": 0}}, "rank 0"),
        ({"assistant": {}}, "assistant.attention is missing; assistant.lora is missing"),
        ({"assistant": 3}, "assistant is 3"),
        ({"assistant": {"attention": "sdpa", "lora": {"rank": 0}}}, "assistant.lora is {'rank': 0}"),
        ({"frozen": {"model": {"path": "x"}, "assistant_model": {}}}, "missing 3 required positional arguments"),
        ({"frozen": {"model": WHOLE["frozen"]["model"]}}, "frozen.assistant_model is missing"),
        ({"tasks": None, "states": "8"}, "tasks is None; states is '8'"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_a_field_that_holds_what_it_cannot(changes: dict[str, Any], says: str) -> None:
    assert says in refused({**WHOLE, **changes})


def test_what_is_no_description() -> None:
    nothing: list[object] = [None, 3, [], "abc"]
    for said in nothing:
        assert "was not written by lcot" in refused(said)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"thoughts": True}, "thoughts is True"),
        ({"thoughts": -1}, "thoughts is -1"),
        ({"thoughts": 10**30}, "thoughts is 1000000000000"),
        ({"sampling": {"temperature": float("nan")}}, "temperature nan"),
        ({"sampling": {"temperature": float("inf")}}, "temperature inf"),
    ],
)
def test_numbers_are_such_as_can_be_counted(change: dict[str, Any], says: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        check_described({"format": 1, **change}, needed=())
    assert says in str(caught.value)

"""Two runs are one method where the settings say so, whatever version wrote them."""

from __future__ import annotations

from typing import Any

import pytest

from lcot.runs.settings import data_settings, differences, evaluation_settings, flatten, method_settings, shown
from tests.compare.folders import CONFIG, COT, changed


def keys(**changes: Any) -> list[str]:
    """In which settings a config differs from one with some changes; ``__`` stands for a dot."""
    other = changed(CONFIG, {key.replace("__", "."): value for key, value in changes.items()})
    found = differences(method_settings(CONFIG), method_settings(other))
    assert sorted(found) == sorted(differences(method_settings(other), method_settings(CONFIG)))
    return found


@pytest.mark.parametrize(
    "harmless",
    [
        {"seed_everything": 7},
        {"trainer__logger": "another"},
        {"data__init_args__eval_batch_size": 1},
        {"data__init_args__test_path": "file.json"},
        {"model__init_args__voting": {"samples": 3, "runs": 5}},
        {"model__class_path": "lcot.modules.coconut.Coconut"},
    ],
)
def test_what_makes_no_method(harmless: dict[str, Any]) -> None:
    assert keys(**harmless) == []


def test_what_makes_one() -> None:
    assert keys(trainer__max_epochs=5) == ["trainer.max_epochs"]
    assert keys(data__init_args__hops=[1, 5]) == ["data.hops"]
    assert keys(model__init_args__backbone__config__n_embd=32) == ["model.backbone.config.n_embd"]
    assert keys(best_checkpoint__monitor="val/loss") == ["best_checkpoint.monitor"]


def test_another_class_is_one_difference_and_not_one_for_each_of_its_settings() -> None:
    other = method_settings(changed(CONFIG, COT))
    assert differences(method_settings(CONFIG), other) == ["curriculum.schedule.class_path"]
    assert shown(other, "curriculum.schedule.class_path") == "Fixed"


def test_a_setting_that_one_version_did_not_know_has_its_default() -> None:
    assert keys(curriculum__schedule__init_args__mix_probability=0.0) == []
    assert keys(curriculum__schedule__init_args__mix_probability=0.3) == ["curriculum.schedule.mix_probability"]
    assert keys(model__init_args__backbone__dtype="float32") == []
    assert keys(model__init_args__backbone__dtype="bfloat16") == ["model.backbone.dtype"]
    assert keys(data__init_args__nodes=[28, 28]) == [], "a tuple in the class, a list in the file"
    assert keys(curriculum__reset_optimizer=...) == ["curriculum.reset_optimizer"], "'none' is not the default"


def test_a_setting_that_no_class_of_ours_knows_is_a_difference() -> None:
    assert keys(curriculum__schedule__init_args__unheard_of=None) == ["curriculum.schedule.unheard_of"]
    theirs = {"class_path": "torch.optim.AdamW", "init_args": {"lr": 0.1}}
    more = {"class_path": "torch.optim.AdamW", "init_args": {"lr": 0.1, "eps": 1e-8}}
    left, right = (method_settings(changed(CONFIG, {"model.init_args.optimizer": made})) for made in (theirs, more))
    assert differences(left, right) == ["model.optimizer.eps"]


def test_null_in_place_of_a_group_is_one_difference() -> None:
    left = changed(CONFIG, {"model.init_args.halting": None})
    right = changed(CONFIG, {"model.init_args.halting": {"weight": 1.0, "max_thoughts": 4}})
    assert differences(method_settings(left), method_settings(right)) == ["model.halting"]
    assert differences(method_settings(right), method_settings(left)) == ["model.halting"]
    assert differences(method_settings(CONFIG), method_settings(left)) == [], "null is the default"


def test_which_settings_make_the_questions() -> None:
    files = {"test_path": "a.json", "train_path": "b.json", "val_size": 3, "tokenizer": "gpt2", "hops": (1, 4)}
    found = data_settings({"data": {"class_path": "ProsQA", "init_args": files}}, "test")
    assert found == {"data.class_path": "ProsQA", "data.test_path": "a.json", "data.hops": [1, 4]}


def test_which_settings_an_evaluation_depends_on() -> None:
    before = evaluation_settings(CONFIG, "test")
    for key, value in (
        ("data.init_args.eval_batch_size", 1),
        ("data.init_args.test_path", "file.json"),
        ("model.init_args.max_new_tokens", 4),
        ("curriculum.eval_stage", 2),
        ("trainer.limit_test_batches", 2),
    ):
        assert evaluation_settings(changed(CONFIG, {key: value}), "test") != before
    assert evaluation_settings(changed(CONFIG, {"trainer.max_epochs": 9}), "test") == before
    voting = changed(CONFIG, {"model.init_args.voting": {"samples": 3}})
    assert evaluation_settings(voting, "test") != before
    assert evaluation_settings(voting, "val") == evaluation_settings(CONFIG, "val"), "validation takes one text"


def test_settings_as_people_read_them() -> None:
    flat = flatten({"a": {"init_args": {"b": None, "c": list(range(40)), "d": {"path": "x"}}}})
    assert shown(flat, "a.b") == "b=null" and shown(flat, "a.d.path") == "d.path=x"
    assert len(shown(flat, "a.c")) < 45 and shown(flat, "a.c").endswith("…")
    assert shown(flat, "a.e") == "e=its default"

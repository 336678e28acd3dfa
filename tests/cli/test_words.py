"""The order of words: what is typed counts wherever it stands."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml

from lcot.cli.words import arranged, options
from lcot.errors import UserError
from tests.tiny import contents, lcot, write_config


@pytest.mark.parametrize(
    ("words", "right"),
    [
        ("--a.b=1 -c x", "-c x --a.b=1"),
        ("--a.b 1 --config=x -cy --config z -c=w", "-c x -c y -c z -c w --a.b 1"),
        ("--m.x=1 --m=C", "--m=C --m.x=1"),
        ("--m.o.lr=1 --m.o=SGD --m=C -c x", "-c x --m=C --m.o=SGD --m.o.lr=1"),
        ("--m.init_args.o.init_args.lr=1 --m.class_path=C", "--m.class_path=C --m.init_args.o.init_args.lr=1"),
        ("--a=1 --b=2 --a=3", "--a=1 --b=2 --a=3"),
        ("--t.cb+=A --t.cb.x=1 --t.cb+=B --t.cb.y=2 -c x", "-c x --t.cb+=A --t.cb.x=1 --t.cb+=B --t.cb.y=2"),
        ("--t.cb+=A --t.cb.x=1 --t.cb=[B]", "--t.cb=[B] --t.cb+=A --t.cb.x=1"),
        ("--print_config -c x", "-c x --print_config"),
        ("true --a=1 -c x", "-c x --a=1 true"),
        ("--a -1 -c x", "-c x --a -1"),
        ("--resume -c x", "-c x --resume"),
        ("-c", "-c"),
    ],
)
def test_the_order_that_counts(words: str, right: str) -> None:
    assert arranged(words.split()) == right.split()
    assert arranged(right.split()) == right.split()


def test_an_option_knows_its_words() -> None:
    made = list(options(["--a.b+=x=y", "--c", "d", "e"]))
    assert [(option.key, option.value, option.appends) for option in made] == [
        ("a.b", "x=y", True),
        ("c", "d", False),
        ("", None, False),
    ]


def test_words_that_are_no_text() -> None:
    with pytest.raises(UserError, match="is no text"):
        arranged(["--name=\udcff"])


def test_a_run_that_is_not_there_is_not_the_one_of_the_config(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(trained, tmp_path / "runs" / "base")
    before = contents(tmp_path)
    said = []
    for words in (("--name", "other", "-c", "runs/base/config.yaml"), ("-c", "runs/base/config.yaml", "--name=other")):
        outcome = lcot("test", *words, "--runs_dir=runs")
        assert outcome.code == 2
        said.append(outcome.block)
    assert said[0] == said[1] and "runs/other" in said[0]
    assert contents(tmp_path) == before
    outcome = lcot("test", "--name=base", "--data.eval_batch_size=2", "-c", "runs/base/config.yaml", "--runs_dir=runs")
    assert outcome.code == 0, outcome.err
    told = json.loads(Path("runs/base/test.json").read_text())
    assert told["batch_size"] == 2
    assert told["protocol"]["command"].startswith(
        "lcot test --name=base --data.eval_batch_size=2 -c"
    )  # as it was typed


@pytest.mark.parametrize(
    ("words", "key", "value"),
    [
        (("--trainer.max_epochs=4",), "trainer.max_epochs", 4),
        (("--data.batch_size", 8), "data.init_args.batch_size", 8),
        (("--data.batch_size=8", "--data=Multiplication"), "data.init_args.batch_size", 8),
        (("--model.lr_scheduler.step_size=3", "--model.lr_scheduler=StepLR"),
         "model.init_args.lr_scheduler.init_args.step_size", 3),
        (("--curriculum.schedule.thoughts=2", "--curriculum.schedule=Fixed"), "curriculum.schedule.init_args.thoughts",
         2),
        (("--data.batch_size=8", "--data.batch_size=9"), "data.init_args.batch_size", 9),
        (("--trainer={max_epochs: 3}",), "trainer.max_epochs", 3),
    ],
)  # fmt: skip
def test_options_before_the_configs_count(
    words: tuple[object, ...], key: str, value: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_config(tmp_path)
    outcome = lcot("fit", *words, "-c", "tiny.yaml", "--print_config")
    assert outcome.code == 0, outcome.err
    found = yaml.safe_load(outcome.out)
    for part in key.split("."):
        found = found[part]
    assert found == value


def test_a_setting_of_a_class_that_is_not_chosen_is_not_dropped(tmp_path: Path) -> None:
    config = write_config(tmp_path)
    for words in (
        ("--model.optimizer=SGD", "--model.optimizer.momentum=1", "--model.optimizer=AdamW"),
        ("--curriculum.schedule.max_stage=1", "--curriculum.schedule=Fixed"),
    ):
        outcome = lcot("fit", "-c", config, *words, "--print_config")
        assert outcome.code == 2 and "has no setting" in outcome.block


def test_one_thing_set_in_two_ways(tmp_path: Path) -> None:
    config = write_config(tmp_path)
    words = ("--data.text.after_step=x", "--data.text={after_step: y}")
    outcome = lcot("fit", "-c", config, *words)
    assert outcome.code == 2
    assert "data.text.after_step is set to 'y' and to 'x'" in outcome.block and "give one of them" in outcome.block
    assert lcot("fit", "-c", config, words[0], "--data.text={after_step: x}", "--print_config").code == 0


@pytest.mark.parametrize(
    ("word", "fix"),
    [
        ("--model.lr=1", "did you mean --model.optimizer.lr?"),
        ("--lr=1", "did you mean --model.optimizer.lr?"),
        ("--trainer.epochs=2", "did you mean 'max_epochs' or 'min_epochs'?"),
        ("--data.batch_siz=3", "did you mean 'batch_size'?"),
        ("--model.opt=x", "did you mean 'optimizer'?"),
    ],
)
def test_names_that_are_near(word: str, fix: str, tmp_path: Path) -> None:
    outcome = lcot("fit", "-c", write_config(tmp_path), "--model.optimizer=SGD", "--model.optimizer.lr=0.1", word)
    assert outcome.code == 2 and fix in outcome.block

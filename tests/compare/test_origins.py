"""Runs that begin where runs of their own seed ended are one method."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lcot.compare.origins import method_differences
from lcot.compare.table import Comparison, compare
from lcot.runs.run import read_run
from tests.compare.folders import COT, write_run


def begun(path: object, tokenizer: object = None) -> dict[str, Any]:
    """Changes to a config that let it begin with a run."""
    changes: dict[str, Any] = {"model.init_args.backbone": {"path": str(path)}}
    return {**changes, "data.init_args.tokenizer": str(tokenizer)} if tokenizer else changes


def compared(folder: Path, *names: str) -> Comparison:
    return compare([read_run(folder / name) for name in names])


def notes(comparison: Comparison) -> list[str]:
    """Those about runs to begin with."""
    return [note for note in comparison.tables[0].notes if "each seed has a" in note]


def labels(comparison: Comparison) -> list[list[str]]:
    return [[row.label for row in table.rows] for table in comparison.tables]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder ``runs`` with two chains of thought; commands are given from above it."""
    monkeypatch.chdir(tmp_path)
    for seed in (0, 1):
        write_run(Path("runs"), f"cot-{seed}", seed, config=COT)
    return Path("runs")


def test_each_seed_begins_with_a_run_of_its_own(folder: Path) -> None:
    for seed in (0, 1):
        write_run(folder, f"two-{seed}", seed, config=begun(f"runs/cot-{seed}", f"runs/cot-{seed}/tokenizer"))
    comparison = compared(folder, "two-0", "two-1", "cot-0", "cot-1")
    assert labels(comparison) == [["two", "cot"]]
    assert [row.seeds for row in comparison.tables[0].rows] == [[0, 1], [0, 1]]
    assert sorted(notes(comparison)) == [
        "two: each seed has a backbone.path of its own, runs/cot-0, runs/cot-1, which differ in nothing but their seed",
        "two: each seed has a tokenizer of its own, runs/cot-0/tokenizer, runs/cot-1/tokenizer, which differ in nothing"
        " but their seed",
    ]


def test_names_do_not_matter_where_the_settings_are_there(folder: Path) -> None:
    (folder / "cot-1").rename(folder / "elsewhere")
    for seed, name in enumerate(("cot-0", "elsewhere")):
        write_run(folder, f"two-{seed}", seed, config=begun(f"runs/{name}"))
    assert labels(compared(folder, "two-0", "two-1")) == [["two"]]


def test_from_another_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in (0, 1):
        write_run(folder, f"two-{seed}", seed, config=begun(f"runs/cot-{seed}"))
    here = folder.resolve()
    monkeypatch.chdir("/")
    comparison = compared(here, "two-0", "two-1")
    assert labels(comparison) == [["two"]] and notes(comparison)[0].endswith("which differ in nothing but their seed")


@pytest.mark.parametrize(
    "change",
    [{"trainer.max_epochs": 9}, {"data.init_args.hops": [1, 6]}, {"best_checkpoint.monitor": "val/loss"}],
    ids=str,
)
def test_origins_that_differ_in_more_are_two_methods(folder: Path, change: dict[str, Any]) -> None:
    write_run(folder, "longer-1", 1, config={**COT, **change})
    for seed, name in enumerate(("cot-0", "longer-1")):
        write_run(folder, f"two-{seed}", seed, config=begun(f"runs/{name}"))
    comparison = compared(folder, "two-0", "two-1")
    assert labels(comparison) == [["two (backbone.path=runs/cot-0)", "two (backbone.path=runs/longer-1)"]]
    assert notes(comparison) == []


def test_origins_that_were_trained_by_more_processes(folder: Path) -> None:
    write_run(folder, "many-1", 1, config=COT, cost={"world_size": 2})
    for seed, name in enumerate(("cot-0", "many-1")):
        write_run(folder, f"two-{seed}", seed, config=begun(f"runs/{name}"))
    assert len(labels(compared(folder, "two-0", "two-1"))[0]) == 2


def test_how_an_origin_was_tested_does_not_matter(folder: Path) -> None:
    write_run(folder, "tested-1", 1, config=COT, report={"model.init_args.max_new_tokens": 64})
    assert method_differences(read_run(folder / "cot-0"), read_run(folder / "tested-1")) == ["model.max_new_tokens"]
    for seed, name in enumerate(("cot-0", "tested-1")):
        write_run(folder, f"two-{seed}", seed, config=begun(f"runs/{name}"))
    assert labels(compared(folder, "two-0", "two-1")) == [["two"]]


def test_other_parts_of_a_run_are_other_settings(folder: Path) -> None:
    for seed, part in enumerate(("tokenizer", "checkpoints")):
        write_run(folder, f"two-{seed}", seed, config=begun(f"runs/cot-{seed}/{part}"))
    assert len(labels(compared(folder, "two-0", "two-1"))[0]) == 2


def test_a_third_stage(folder: Path) -> None:
    for seed in (0, 1):
        write_run(folder, f"two-{seed}", seed, config=begun(f"runs/cot-{seed}"))
        write_run(folder, f"three-{seed}", seed, config={**begun(f"runs/two-{seed}"), "trainer.max_epochs": 7})
    assert labels(compared(folder, "three-0", "three-1", "two-1")) == [["three", "two"]]
    text = (folder / "cot-1" / "config.yaml").read_text()
    (folder / "cot-1" / "config.yaml").write_text(text.replace("max_epochs: 4", "max_epochs: 5"))
    assert len(labels(compared(folder, "three-0", "three-1"))[0]) == 2


def test_a_circle_is_no_method(folder: Path) -> None:
    for seed in (0, 1):
        write_run(folder, f"two-{seed}", seed, config=begun(f"runs/two-{seed}"))
    assert len(labels(compared(folder, "two-0", "two-1"))[0]) == 2


@pytest.mark.parametrize("broken", [False, True], ids=["gone", "broken"])
def test_names_decide_where_nothing_can_be_read(folder: Path, broken: bool) -> None:
    for seed in (0, 1):
        config = folder / f"cot-{seed}" / "config.yaml"
        config.write_text("model: [") if broken else config.unlink()
        write_run(folder, f"two-{seed}", seed, config=begun(f"runs/cot-{seed}"))
    write_run(folder, "two-2", 2, config=begun("runs/cot-1"))
    comparison = compared(folder, "two-0", "two-1", "two-2")
    assert [row.seeds for row in comparison.tables[0].rows] == [[0, 1], [2]], "a name that ends in another seed"
    assert notes(comparison) == [
        f"{comparison.tables[0].rows[0].label}: each seed has a backbone.path of its own, runs/cot-0, runs/cot-1, which"
        " differ in their seed only, if their names are right: their settings could not be read"
    ]


def test_names_without_a_seed_are_different(folder: Path) -> None:
    for seed, name in enumerate(("gpt2", "gpt2-medium")):
        write_run(folder, f"two-{seed}", seed, config=begun(name))
    assert labels(compared(folder, "two-0", "two-1")) == [
        ["two (backbone.path=gpt2)", "two (backbone.path=gpt2-medium)"]
    ]


def test_other_settings_that_end_in_a_seed_are_different(folder: Path) -> None:
    for seed in (0, 1):
        write_run(folder, f"fold-{seed}", seed, config={"data.init_args.train_path": f"data/fold-{seed}"})
    assert len(labels(compared(folder, "fold-0", "fold-1"))[0]) == 2

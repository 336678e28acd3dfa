"""Statistics, and what may stand side by side."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from lcot.compare.render import result_columns
from lcot.compare.rows import Spread
from lcot.compare.table import Comparison, compare
from lcot.runs.run import read_run
from tests.compare.folders import COT, write_run, write_untrained


def compared(folder: Path) -> Comparison:
    """All runs of a folder, by name."""
    return compare([read_run(path) for path in sorted(folder.iterdir())])


def labels(comparison: Comparison) -> list[list[str]]:
    """The rows of each table."""
    return [[row.label for row in table.rows] for table in comparison.tables]


def note(comparison: Comparison, begins: str) -> str:
    """The one note of the first table that begins so."""
    (found,) = [note for note in comparison.tables[0].notes if note.startswith(begins)]
    return found


def pair(folder: Path, report: dict[str, Any] | None = None, seed: int = 0) -> Comparison:
    """A Coconut run of seed 0 beside a chain-of-thought run with changes to its report."""
    write_run(folder, "coconut-0", 0)
    write_run(folder, f"cot-{seed}", seed, config=COT, report=report)
    return compared(folder)


# -- statistics -------------------------------------------------------------------------------------------------------


def test_mean_and_sample_standard_deviation() -> None:
    # Deviations from 0.8 are 0.1, 0 and -0.1; their squares add up to 0.02, over n - 1 = 2.
    spread = Spread.of([0.9, 0.8, 0.7])
    assert spread is not None and spread.n == 3
    assert spread.mean == pytest.approx(0.8) and spread.std == pytest.approx(0.1)


def test_one_seed_has_no_deviation_and_nan_is_no_number() -> None:
    assert Spread.of([0.9]) == Spread(0.9, None, 1)
    assert Spread.of([0.9, math.nan]) == Spread(0.9, None, 1)
    assert Spread.of([math.nan]) is None and Spread.of([]) is None


def test_a_row_is_a_method_over_its_seeds(tmp_path: Path) -> None:
    for seed, accuracy in enumerate((0.95, 0.97, 0.99)):
        write_run(tmp_path, f"coconut-{seed}", seed, report={"metrics.test/accuracy": accuracy})
    comparison = compared(tmp_path)
    assert labels(comparison) == [["coconut"]]
    row = comparison.tables[0].rows[0]
    assert row.seeds == [0, 1, 2]
    found = row.metric("accuracy")
    assert found is not None and found.mean == pytest.approx(0.97) and found.std == pytest.approx(0.02)
    assert row.total_tokens == Spread(6.0, 0.0, 3)


def test_a_metric_that_some_seeds_lack(tmp_path: Path) -> None:
    write_run(tmp_path, "coconut-0", 0, report={"metrics.test/seconds": ...})
    write_run(tmp_path, "coconut-1", 1)
    assert compared(tmp_path).tables[0].rows[0].metric("seconds") == Spread(0.0005, None, 1)


# -- rows -------------------------------------------------------------------------------------------------------------


def test_names_do_not_make_a_method(tmp_path: Path) -> None:
    write_run(tmp_path, "a", 0)
    write_run(tmp_path, "b-1", 1)
    assert labels(compared(tmp_path)) == [["a"]]


def test_runs_of_one_name_with_other_settings_are_two_rows_that_say_so(tmp_path: Path) -> None:
    write_run(tmp_path, "coconut-0", 0)
    write_run(tmp_path, "coconut-1", 1, config={"trainer.max_epochs": 8})
    assert labels(compared(tmp_path)) == [["coconut (max_epochs=4)", "coconut (max_epochs=8)"]]


def test_three_of_one_name(tmp_path: Path) -> None:
    write_run(tmp_path / "a", "coconut-0", 0)
    write_run(tmp_path / "b", "coconut-0", 0, config={"trainer.max_epochs": 8})
    write_run(tmp_path / "c", "coconut-0", 0, config={"data.init_args.batch_size": 8})
    runs = [read_run(tmp_path / name / "coconut-0") for name in "abc"]
    assert labels(compare(runs)) == [
        ["coconut (max_epochs=4, batch_size=64)", "coconut (max_epochs=8)", "coconut (batch_size=8)"]
    ]


def test_what_a_method_is_stands_beneath_whatever_it_is_called(tmp_path: Path) -> None:
    write_run(tmp_path, "cot-0", 0)
    assert note(compared(tmp_path), "methods") == "methods: cot = Coconut with Stepwise, continuous thoughts"


def test_a_seed_counts_once(tmp_path: Path) -> None:
    write_run(tmp_path, "coconut-0", 0)
    write_run(tmp_path, "coconut-again", 0, report={"metrics.test/accuracy": 0.1})
    comparison = compared(tmp_path)
    assert comparison.tables[0].rows[0].metric("accuracy") == Spread(0.9, None, 1)
    assert note(comparison, "coconut-again") == "coconut-again repeats seed 0 of coconut and does not count"


def test_another_number_of_processes_is_another_method(tmp_path: Path) -> None:
    write_run(tmp_path, "coconut-0", 0)
    write_run(tmp_path, "coconut-1", 1, cost={"world_size": 2})
    assert labels(compared(tmp_path)) == [["coconut (processes=1)", "coconut (processes=2)"]]


# -- tables -----------------------------------------------------------------------------------------------------------


def test_methods_of_one_protocol_stand_side_by_side(tmp_path: Path) -> None:
    comparison = pair(tmp_path)
    assert labels(comparison) == [["coconut", "cot"]]
    assert comparison.tables[0].apart == "" and comparison.missing == ()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"protocol.extractor": "number: x"}, 'extractor: "number: x", not "string: text after'),
        ({"protocol.extractor": {"number": "x"}}, 'extractor: {"number": "x"}, not'),
        ({"protocol.tokens": "all"}, 'definition of tokens: all, not "generated tokens without eos'),
        ({"format": 2}, "code format: 2, not 1"),
        ({"trainer": {"precision": "bf16-true"}}, "precision: bf16-true, not 32-true"),
        ({"split.name": "val"}, 'split: "val, 1,000 examples", not "test, 1,000 examples"'),
        ({"split.examples": 500}, "test, 500 of 1,000 examples"),
        ({"split.data_hash": "f" * 32}, "questions of seed 0: data hash ffffffffffff, not 000000000000"),
        ({"checkpoint": "runs/x/checkpoints/last.ckpt"}, "checkpoint: last, not best"),
        ({"model.init_args.sampling": {"temperature": 1.0}}, 'decoding: {"temperature": 1.0}, not greedy'),
        (
            {"model.init_args.sampling": {"temperature": 0.0, "repetition_penalty": 1.1}},
            '"repetition_penalty": 1.1}, not',
        ),
        (
            {"protocol.decoding": {"votes": 10, "runs": 1}},
            'voting: "majority of 10 votes", not "one answer to a',
        ),
        ({"protocol.decoding": {"votes": 1, "runs": 5}}, 'voting: "mean over 5 runs", not "one answer to a question"'),
    ],
)
def test_another_protocol_is_another_table(tmp_path: Path, change: dict[str, Any], says: str) -> None:
    comparison = pair(tmp_path, change)
    assert labels(comparison) == [["coconut"], ["cot"]]
    assert comparison.tables[0].apart == ""
    assert comparison.tables[1].apart.startswith("not comparable with table 1: ") and says in comparison.tables[1].apart
    assert comparison.tables[1].apart.count(", not ") == 1


def test_versions_name_more_or_less_of_what_has_no_effect(tmp_path: Path) -> None:
    older = {"temperature": 0.7, "top_k": 0, "top_p": 0.9, "seed": 0}
    write_run(tmp_path, "coconut-0", 0, report={"model.init_args.sampling": older})
    newer = {**older, "repetition_penalty": 1.0}
    voting = {"model.init_args.sampling": newer, "model.init_args.voting": {"samples": 1, "runs": 1}}
    write_run(tmp_path, "coconut-1", 1, report=voting)
    comparison = compared(tmp_path)
    assert labels(comparison) == [["coconut"]] and comparison.tables[0].rows[0].seeds == [0, 1]
    assert 'decoding {"temperature": 0.7, "top_p": 0.9}; checkpoint best' in note(comparison, "accuracy")


def test_paths_and_samples_are_votes_alike(tmp_path: Path) -> None:
    sampled = {"model.init_args.sampling": {"temperature": 1.0}}
    write_run(tmp_path, "paths-0", 0, report={**sampled, "protocol.decoding": {"paths": 5, "votes": 10, "runs": 1}})
    write_run(tmp_path, "votes-0", 0, config=COT, report={**sampled, "protocol.decoding": {"samples": 10, "votes": 10}})
    comparison = compared(tmp_path)
    assert labels(comparison) == [["paths", "votes"]]
    assert "; majority of 10 votes; checkpoint best" in note(comparison, "accuracy")
    assert ", for all votes of one run" in note(comparison, "time of a question")
    assert comparison.tables[0].rows[0].seconds == Spread(0.005, None, 1), "ten times that of an answer"


def test_runs_of_one_method_with_another_protocol_are_no_row(tmp_path: Path) -> None:
    write_run(tmp_path, "coconut-0", 0)
    write_run(tmp_path, "coconut-1", 1, report={"protocol.extractor": "number: x"})
    assert labels(compared(tmp_path)) == [["coconut"], ["coconut"]]


def test_one_name_for_two_extractors(tmp_path: Path) -> None:
    named = {"metrics.test/accuracy_number": 0.5}
    write_run(tmp_path, "coconut-0", 0, report={**named, "protocol.further_extractors": {"accuracy_number": "a b"}})
    write_run(tmp_path, "cot-0", 0, config=COT, report=named)
    assert labels(compared(tmp_path)) == [["coconut", "cot"]]
    write_run(tmp_path, "cot-1", 1, config=COT, report={"protocol.further_extractors": {"accuracy_number": "c d"}})
    comparison = compared(tmp_path)
    assert labels(comparison) == [["coconut"], ["cot"]], "one of its seeds is enough"
    assert 'extractor of accuracy_number: "c d", not "a b"' in comparison.tables[1].apart
    assert comparison.tables[0].accuracies == ["accuracy", "accuracy_number"]
    assert note(comparison, "accuracy_number") == 'accuracy_number: extractor "a b"'


def test_pair_accuracies_stand_beside_the_accuracies(tmp_path: Path) -> None:
    named = {"metrics.test/accuracy_number": 0.5, "metrics.test/pair_accuracy_number": 0.25}
    write_run(tmp_path, "coconut-0", 0, report={**named, "metrics.test/pair_accuracy": 0.2, "metrics.test/pairs": 500})
    comparison = compared(tmp_path)
    (table,) = comparison.tables
    assert table.accuracies == ["accuracy", "accuracy_number", "pair_accuracy", "pair_accuracy_number"]
    columns = {column.title: column.cells for column in result_columns(table)}
    assert columns["pair accuracy, %"] == ["20.0"] and columns["pair accuracy number, %"] == ["25.0"]
    assert note(comparison, "pair accuracy").startswith("pair accuracy: share of problems of which both questions")


def test_rows_of_a_table_agree_with_each_other_and_not_with_the_first_only(tmp_path: Path) -> None:
    # Row a has seed 0 alone, so b and c, which disagree on seed 1, could each stand beside it.
    write_run(tmp_path, "a-0", 0)
    write_run(tmp_path, "b-0", 0, config={"trainer.max_epochs": 5})
    write_run(tmp_path, "b-1", 1, config={"trainer.max_epochs": 5})
    write_run(tmp_path, "c-1", 1, config={"trainer.max_epochs": 6}, report={"split.data_hash": "f" * 32})
    comparison = compared(tmp_path)
    assert labels(comparison) == [["a", "b"], ["c"]]
    assert "questions of seed 1" in comparison.tables[1].apart


def test_a_checkpoint_that_was_chosen_has_steps_of_its_own(tmp_path: Path) -> None:
    chosen = {"checkpoint": "runs/x/checkpoints/best-stage1-epoch001.ckpt", "trained_steps": 400}
    write_run(tmp_path, "coconut-0", report={**chosen, "checkpoint_chosen": True})
    write_run(tmp_path, "cot-0", config=COT, report={"trained_steps": 600})
    first, second = compared(tmp_path).tables
    assert first.rows[0].cost(lambda run: run.steps) == Spread(400, None, 1)
    assert "optimizer steps are those behind the checkpoint that was chosen" in " ".join(first.notes)
    assert second.rows[0].cost(lambda run: run.steps) == Spread(800, None, 1), "what it took to find the best one"


def test_a_training_that_was_ended_is_told(tmp_path: Path) -> None:
    said = "EarlyStopping after 2 of 4 epochs and 400 steps, in stage 1 of 4"
    path = write_run(tmp_path, "coconut-0", cost={"finished": False, "ended_by": said})
    assert f"coconut-0 did not train to the end of its schedule: {said}" in compared(tmp_path).tables[0].notes
    (path / "test.json").unlink()
    ((what, command),) = compared(tmp_path).missing
    assert what == f"coconut-0 has no test result, and its training was ended by {said}" and " test " in command


# -- seeds and data ---------------------------------------------------------------------------------------------------


def test_seeds_that_rows_do_not_share_are_told(tmp_path: Path) -> None:
    for seed in (0, 1):
        write_run(tmp_path, f"coconut-{seed}", seed)
    write_run(tmp_path, "cot-0", 0, config=COT)
    comparison = compared(tmp_path)
    assert labels(comparison) == [["coconut", "cot"]]
    assert comparison.tables[0].notes[0] == "not the same seeds: coconut 0, 1; cot 0"
    assert "another seed is another test set, data hash by seed 0: 000000000000, 1: 1111" in note(comparison, "data")
    write_run(tmp_path, "cot-1", 1, config=COT)
    assert compared(tmp_path).tables[0].notes[0] == "seeds: 0, 1 in every row"


def test_without_a_common_seed_the_settings_of_the_data_count(tmp_path: Path) -> None:
    write_run(tmp_path, "coconut-0", 0)
    write_run(tmp_path, "cot-1", 1, config=COT)
    assert labels(compared(tmp_path)) == [["coconut", "cot"]]
    write_run(tmp_path, "no_cot-2", 2, config={**COT, "data.init_args.hops": [1, 6]})
    comparison = compared(tmp_path)
    assert labels(comparison) == [["coconut", "cot"], ["no_cot"]]
    assert comparison.tables[1].apart.endswith("data: hops=[1, 6], not hops=[1, 4]")


def test_questions_from_one_file_are_the_same_for_every_seed(tmp_path: Path) -> None:
    same = {"split.data_hash": "e" * 32}
    write_run(tmp_path, "coconut-0", 0, report=same)
    write_run(tmp_path, "cot-1", 1, config={**COT, "data.init_args.hops": [1, 6]}, report=same)
    comparison = compared(tmp_path)
    assert labels(comparison) == [["coconut", "cot"]]
    assert note(comparison, "data") == "data: split test, 1,000 examples, data hash eeeeeeeeeeee"


# -- models as they are -----------------------------------------------------------------------------------------------


def test_a_model_as_it_is_stands_beside_trained_ones(tmp_path: Path) -> None:
    write_untrained(tmp_path, "asked-0", config=COT)
    write_run(tmp_path, "coconut-0")
    comparison = compared(tmp_path)
    assert labels(comparison) == [["asked", "coconut"]]
    said = note(comparison, "accuracy")
    assert said.endswith("; checkpoint none (models as they are): asked-0; best: coconut-0")
    assert note(comparison, "commit") == "commit aaaaaaa", "nobody trained it at an unrecorded one"
    # What they stand beside has to fit all the same.
    write_run(tmp_path, "last-0", config=COT, report={"checkpoint": "runs/x/checkpoints/last.ckpt"})
    assert labels(compared(tmp_path)) == [["asked", "coconut"], ["last"]]


def test_the_same_model_trained_is_another_method(tmp_path: Path) -> None:
    write_untrained(tmp_path, "cot-0", config=COT)
    write_run(tmp_path, "cot-1", 1, config=COT)
    assert labels(compared(tmp_path)) == [["cot (ckpt_path=none)", "cot (ckpt_path=null)"]]


# -- runs of sampling -------------------------------------------------------------------------------------------------


def over_runs(accuracy: float, deviation: float) -> dict[str, Any]:
    """Changes to a report that make it one of five runs."""
    return {
        "metrics.test/accuracy": accuracy,
        "metrics.test/accuracy_std": deviation,
        "model.init_args.sampling": {"temperature": 1.0, "seed": 41},
        "protocol.decoding": {"votes": 1, "runs": 5},
    }


def test_one_training_shows_the_deviation_over_its_runs(tmp_path: Path) -> None:
    write_run(tmp_path, "coconut-0", 0, report=over_runs(0.8, 0.01))
    comparison = compared(tmp_path)
    (row,) = comparison.tables[0].rows
    assert row.metric("accuracy") == Spread(0.8, None, 1) and row.over_runs("accuracy") == 0.01
    assert comparison.tables[0].accuracies == ["accuracy"], "the deviation is no accuracy"
    assert note(comparison, "†") == (
        "† sample standard deviation over 5 runs of sampling with the weights of one training, and not over seeds of"
        " training: coconut"
    )


def test_several_trainings_show_the_deviation_over_their_seeds(tmp_path: Path) -> None:
    for seed, accuracy in enumerate((0.78, 0.8, 0.82)):
        write_run(tmp_path, f"coconut-{seed}", seed, report=over_runs(accuracy, 0.01))
    comparison = compared(tmp_path)
    (row,) = comparison.tables[0].rows
    found = row.metric("accuracy")
    assert found is not None and found.std == pytest.approx(0.02) and row.over_runs("accuracy") is None
    assert not [note for note in comparison.tables[0].notes if note.startswith("†")]
    assert "; mean over 5 runs; checkpoint" in note(comparison, "accuracy")


# -- what else belongs beneath ----------------------------------------------------------------------------------------


def test_commits_that_differ_are_told(tmp_path: Path) -> None:
    assert note(pair(tmp_path / "same"), "commit") == "commit aaaaaaa"
    other = pair(tmp_path / "other", {"protocol.commit": "b" * 40 + "-dirty"})
    assert note(other, "commit") == (
        "commits differ: aaaaaaa: coconut-0; bbbbbbb-dirty (trained at aaaaaaa): cot-0"
        " (-dirty: with changes that are in no commit)"
    )
    unknown = pair(tmp_path / "unknown", {"protocol.commit": None})
    assert "unknown (trained at aaaaaaa): cot-0" in note(unknown, "commit")


def test_runs_that_are_not_finished_or_were_trained_on(tmp_path: Path) -> None:
    write_run(tmp_path, "coconut-0", 0, cost={"finished": False, "optimizer_steps": 900})
    comparison = compared(tmp_path)
    assert note(comparison, "training has not") == "training has not come to its end: coconut-0"
    assert note(comparison, "coconut-0 was") == (
        f"coconut-0 was evaluated at step 800 of 900: lcot test -c {tmp_path}/coconut-0/config.yaml"
    )


def test_runs_without_a_result_are_listed_with_the_command_that_makes_it(tmp_path: Path) -> None:
    write_run(tmp_path, "coconut-0", 0)
    (write_run(tmp_path, "cot-0", 0, config=COT) / "test.json").unlink()
    comparison = compared(tmp_path)
    assert labels(comparison) == [["coconut"]]
    assert comparison.missing == (("cot-0 has no test result", f"lcot test -c {tmp_path}/cot-0/config.yaml"),)
    (write_run(tmp_path, "icot-0", 0, cost={"finished": False}) / "test.json").unlink()
    assert compared(tmp_path).missing[1] == (
        "icot-0 has no test result, and its training has not come to its end",
        f"lcot fit -c {tmp_path}/icot-0/config.yaml --resume=true",
    )
    nothing = compare([read_run(tmp_path / "cot-0")])
    assert nothing.tables == () and len(nothing.missing) == 1

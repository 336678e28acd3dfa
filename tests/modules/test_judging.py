"""Categories of paths in validation, test and prediction: of which texts, behind how many hidden steps, where not."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from lcot.datamodules import ClosedProsQA, JSONReasoning, ProntoQA, ProsQA, ReasoningDataModule
from lcot.metrics import CATEGORIES
from lcot.modules import Voting
from lcot.modules import judging as judging_module
from lcot.modules.evaluation import Answers, Evaluation, Votes
from lcot.modules.judging import SHARES, PathJudge
from lcot.reasoning.curriculum import Curriculum, Fixed
from lcot.reasoning.decode import Sampling
from lcot.reasoning.example import ReasoningExample
from lcot.reasoning.forced import Forced
from lcot.reasoning.stepwise import Stepwise
from lcot.reasoning.tokenwise import Tokenwise
from tests.tiny import RECORD, write_records
from tests.training import tiny_data, tiny_module, tiny_trainer

FACTS = {"idx_to_symbol": ["Tom", "a", "b", "c"], "edges": [[0, 1], [1, 2], [0, 3]], "root": 0, "target": 2,
         "neg_target": 3}  # fmt: skip
PROBLEM = ReasoningExample("Tom a. a b. Tom c. b or c? Tom", ("a", "b"), "b", "p", FACTS)
PLAIN = ReasoningExample("1 + 1", ("2",), "2", "q")


@pytest.fixture(autouse=True)
def nothing_told() -> Iterator[None]:
    judging_module._told.clear()
    yield


def test_names_of_the_metrics() -> None:
    assert list(SHARES) == list(CATEGORIES)
    assert list(SHARES.values()) == [
        "path_correct",
        "path_longer",
        "path_hallucination",
        "path_wrong_target",
        "path_correct_label",
        "path_incorrect_label",
        "path_unparseable",
    ]


@pytest.mark.parametrize(
    ("schedule", "thoughts", "hidden"),
    [
        (Stepwise(max_stage=3, thoughts_per_step=2), 4, 2),
        (Stepwise(max_stage=3, thoughts_per_step=2), 5, 2),
        (Stepwise(max_stage=3), 0, 0),
        (Stepwise(max_stage=3, thoughts_per_step=0, kind="none"), 0, 2),
        (Stepwise(max_stage=1, thoughts_per_step=0, kind="none"), 0, 1),
        (Fixed(hidden="none"), 0, 0),
        (Fixed(hidden="none", thoughts=4, kind="soft"), 4, 0),
        (Fixed(hidden="all", thoughts=4, kind="pause"), 4, None),
        (Tokenwise(), 0, None),
        (Tokenwise(side="right"), 0, 0),
        (Forced(Stepwise(max_stage=3), 7), 7, 7),
        (Forced(Fixed(thoughts=4, kind="pause"), 2), 2, None),
    ],
)
def test_hidden_steps_by_the_number_of_thoughts(schedule: Curriculum, thoughts: int, hidden: int | None) -> None:
    assert schedule.hidden_behind(2, thoughts) == hidden
    assert Tokenwise().hidden_behind(0, 0) == 0, "the whole chain is written"


SETS: list[tuple[type[ReasoningDataModule], dict[str, Any]]] = [
    (ProsQA, {"style": "prose"}),
    (ProsQA, {"style": "compact"}),
    (ProsQA, {"style": "symbolic"}),
    (ClosedProsQA, {}),
    (ProntoQA, {}),
]


@pytest.mark.parametrize(("kind", "options"), SETS, ids=lambda value: str(getattr(value, "__name__", value)))
def test_gold_texts_of_all_data_with_graphs(
    kind: type[ReasoningDataModule], options: dict[str, Any], tmp_path: Path
) -> None:
    data = kind(seed=0, **{"train_size": 4, "val_size": 12, "test_size": 4, **options})
    data.trainer = tiny_trainer(tmp_path, Stepwise())
    source, found = data.make_source("val"), []
    for example in (source.example(index, 0) for index in range(len(source))):
        judge = PathJudge([example], data.text.before_answer, lambda thoughts: thoughts)
        for hidden in range(len(example.steps) + 1):
            steps = [step + data.text.after_step for step in example.steps[hidden:]]
            text = "".join([*steps, data.text.before_answer, example.answer])
            assert judge(0, text, hidden) == ("correct_path" if steps else "correct_label"), text
            found.append(hidden)
    assert max(found) >= 2


def test_a_way_of_any_length_may_lead_to_where_a_text_sets_in() -> None:
    exact, free = (PathJudge([PROBLEM, PLAIN], "###", hidden) for hidden in (lambda k: k, lambda k: None))
    assert exact(0, "b### b", 1) == free(0, "b### b", 1) == free(0, "a b### b", 3) == "correct_path"
    assert exact(0, "b### b", 2) == "hallucination" and exact(0, "c### c", 0) == "wrong_target"
    assert free(0, "### c", 0) == "incorrect_label" and free(0, "1 + 1", 0) == "unparseable"
    assert exact(1, "2### 2", 0) is None, "a problem without a graph"


def test_problems_that_cannot_be_judged_are_left_out_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    strange = [
        ReasoningExample(f"Is Tom b? {number}", ("b",), "b", f"s{number}", facts)
        for number, facts in enumerate([FACTS, FACTS, {**FACTS, "edges": 7}])
    ]
    judge = PathJudge([*strange, PROBLEM], "###")
    with caplog.at_level(logging.WARNING, "lcot"):
        assert [judge(place, "### b", 0) for place in range(4)] == [None, None, None, "correct_label"]
    assert [record.getMessage().split(": ")[2:4] for record in caplog.records] == [
        ["some outputs get no path category", "the question of example 's0' has no surface that is known"],
        ["some outputs get no path category", "example 's2' has a graph whose names and edges cannot be read"],
    ]


# -- sums -------------------------------------------------------------------------------------------------------------


def counted(texts: list[str], examples: list[ReasoningExample]) -> Evaluation:
    """One text a question behind no hidden step."""
    evaluation = Evaluation(["string"])
    votes = Votes.single(Answers([[5]] * len(texts), torch.zeros(len(texts), dtype=torch.long), 1.0))
    judge = PathJudge(examples, "###", lambda thoughts: thoughts)
    evaluation.count([[texts]], [example.answer for example in examples], "###", votes, 1, judge)
    return evaluation


def test_sums_of_ranks_add_up() -> None:
    left = counted(["a b### b", "2", "### c"], [PROBLEM, PLAIN, PROBLEM])
    right = counted(["a c### c"], [PROBLEM])
    plain = counted(["2"], [PLAIN])
    for other in (right, plain):
        for name in SHARES.values():
            left.average(name).summed += other.average(name).summed
            left.average(name).count += other.average(name).count
    found = {name: value for name, value in left.means().items() if name.startswith("path_")}
    expected = dict.fromkeys(SHARES.values(), 0.0)
    expected |= {"path_correct": 1 / 3, "path_incorrect_label": 1 / 3, "path_hallucination": 1 / 3}
    assert found == pytest.approx(expected)
    # Every rank asks for every sum, whatever it has counted itself: they would wait for one another otherwise.
    assert all(plain.average(name).update_called for name in SHARES.values())
    assert not any(name.startswith("path_") for name in plain.means())


# -- by the trainer ---------------------------------------------------------------------------------------------------


def spoken(module: Any) -> None:
    """Let every text be one of three, by its tokens and its place in the batch."""

    def decode_texts(answers: Answers) -> list[str]:
        choices = ["### no", "huh huh### yes", "1 + 1"]
        return [choices[(sum(row) + place) % 3] for place, row in enumerate(answers.tokens)]

    module.decode_texts = decode_texts


@pytest.mark.parametrize("voting", [None, Voting(samples=3, runs=2)], ids=["one text", "votes"])
def test_shares_are_those_of_the_records(tmp_path: Path, voting: Voting | None) -> None:
    module = tiny_module(max_new_tokens=4, voting=voting, sampling=Sampling(2.0) if voting else None)
    data = tiny_data(test_size=9)
    spoken(module)
    trainer = tiny_trainer(tmp_path, Stepwise(epochs_per_stage=1, max_stage=1))
    (metrics,) = trainer.test(module, datamodule=data, verbose=False)
    records = [record for batch in trainer.predict(module, datamodule=data) or [] for record in batch]
    assert len(records) == 9 and all(record["path"] in CATEGORIES for record in records)
    if voting is None:
        counts, total = Counter(record["path"] for record in records), 9
        assert not any("samples" in record for record in records)
    else:
        runs = [run for record in records for run in record["samples"]]
        assert all(len(run["paths"]) == 3 for run in runs)
        assert all(record["path"] in record["samples"][0]["paths"] for record in records)
        chosen = [run["paths"][run["answers"].index(run["answer"])] for run in runs]
        counts, total = Counter(chosen), 18
    assert len(counts) > 1
    assert {name: metrics[f"test/{name}"] for name in SHARES.values()} == pytest.approx(
        {name: counts[category] / total for category, name in SHARES.items()}
    )


def test_the_stage_says_how_many_steps_are_hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int]] = []
    inner = Stepwise.hidden_behind

    def hidden_behind(self: Stepwise, stage: int, thoughts: int) -> int | None:
        asked.append((stage, thoughts))
        return inner(self, stage, thoughts)

    monkeypatch.setattr(Stepwise, "hidden_behind", hidden_behind)
    trainer = tiny_trainer(tmp_path, Stepwise(epochs_per_stage=1, max_stage=1))
    trainer.fit(tiny_module(), datamodule=tiny_data())
    assert asked == [(0, 0)] * 5 + [(1, 1)] * 5 + [(2, 1)] * 5
    assert sum(float(trainer.callback_metrics[f"val/{name}"]) for name in SHARES.values()) == pytest.approx(1)


def test_data_without_graphs_report_nothing(tmp_path: Path) -> None:
    path = str(write_records(tmp_path / "data.json", *[{**RECORD, "id": str(n)} for n in range(4)]))
    data = JSONReasoning(train_path=path, val_path=path, test_path=path, batch_size=4)
    trainer, module = tiny_trainer(tmp_path, Stepwise(epochs_per_stage=1, max_stage=1)), tiny_module()
    (metrics,) = trainer.validate(module, datamodule=data, verbose=False)
    assert metrics["val/examples"] == 4 and not any("path" in name for name in metrics)
    records = [record for batch in trainer.predict(module, datamodule=data) or [] for record in batch]
    assert records and not any("path" in record for record in records)

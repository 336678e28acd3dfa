"""Thoughts that are made of spans as configs of one engine: what they owe to their rows, and what goes with them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import lcot as package
from lcot.errors import UserError
from lcot.modules.coconut import Coconut
from lcot.modules.halting import Halting
from lcot.reasoning.batch import ThoughtBatch
from lcot.reasoning.given import Given
from lcot.reasoning.heads import SpanHead
from lcot.reasoning.think import Thinking
from tests.test_family import METHOD, check_same, of_method, whole
from tests.test_resume import in_training
from tests.tiny import lcot, write_config
from tests.training import tiny_module
from tests.whole_runs import last, run, same_state
from tests.whole_runs import write_config as write_run

SPANNED: dict[str, dict[str, Any]] = {
    "cmtp": {
        "model": {
            "thinker": {"class_path": "Given", "init_args": {"max_thoughts": 5}},
            "feed": {"class_path": "SpanHead", "init_args": {"span": 2}},
            "objectives": {
                "spans": {"class_path": "SpanTokens", "init_args": {"weight": 0.5}},
                "teacher": {"class_path": "TeacherText"},
            },
        },
        "schedule": {"class_path": "Spanwise", "init_args": {"size": 2, "fill": True}},
    },
    "colar": {
        "model": {
            "thinker": {"class_path": "Given", "init_args": {"max_thoughts": 5}},
            "feed": {"class_path": "LatentHead", "init_args": {"width": 12}},
            "objectives": {"latents": {"class_path": "LatentLoss", "init_args": {"weight": 0.5, "entropy": -0.01}}},
            "sampling": {"thoughts": 0.5},
        },
        "schedule": {"class_path": "Spanwise", "init_args": {"size": [1, 3], "labels": "drawn", "said": "{size}\n"}},
    },
}
"""Settings of methods whose thoughts are made of spans."""


def spanned(method: str, batch: int) -> dict[str, Any]:
    """A run of one of them."""
    made = whole(batch)
    made["model"]["init_args"] |= SPANNED[method]["model"]
    made["curriculum"]["schedule"] = SPANNED[method]["schedule"]
    return made


@pytest.mark.parametrize("method", SPANNED, scope="class")
class TestSpans:
    """Likewise of rows that have as many thoughts as their chains make, and draw some of it."""

    @pytest.fixture(scope="class")
    def whole_run(self, tmp_path_factory: pytest.TempPathFactory, method: str) -> Path:
        config = write_run(tmp_path_factory.mktemp(method), spanned(method, 8))
        assert run(config) == 0
        return config

    @pytest.mark.distributed
    def test_two_processes_are_one(self, whole_run: Path, tmp_path: Path, method: str) -> None:
        config = write_run(tmp_path, spanned(method, 4))
        assert run(config, ranks=2) == 0
        check_same(whole_run, config, *SPANNED[method]["model"]["objectives"])

    def test_a_killed_run_ends_in_the_same_weights(self, whole_run: Path, tmp_path: Path, method: str) -> None:
        config = write_run(tmp_path, spanned(method, 8))
        run(config, sabotage=[in_training(9)])
        assert run(config) == 0
        same_state(last(whole_run), last(config))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("spans")
    write_config(made, {"model.init_args.backbone.config.max_position_embeddings": 256})
    return made


@pytest.fixture(scope="module")
def cmtp(folder: Path) -> Path:
    """A trained run."""
    outcome = lcot("fit", *of_method(folder / "tiny.yaml", "cmtp"), "--runs_dir", folder / "runs")
    assert outcome.code == 0, outcome.err
    return folder / "runs" / "cmtp"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--model.thinker=Given", "--model.feed=SpanHead"], "the curriculum is Stepwise, and the thinker is Given"),
        (["--curriculum.schedule=Spanwise"], "the curriculum is Spanwise, and the thinker is none"),
        (["--model.thinker=Given"], "there is a Given, and the feed is none"),
        (["--model.thinker=Given", "--model.thinker.max_thoughts=0"], "max_thoughts is 0"),
        (
            ["-c", METHOD / "cmtp.yaml", "--model.feed.span=3"],
            "span is 3, and the curriculum's spans have 2 tokens",
        ),
        (["-c", METHOD / "cmtp.yaml", "--model.feed.span=0"], "span is 0"),
        (["-c", METHOD / "cmtp.yaml", "--curriculum.schedule.size=0"], "size is 0"),
        (["-c", METHOD / "cmtp.yaml", "--model.feed=Projection"], "there is a Given, and the feed is Projection"),
        (
            ["-c", METHOD / "cmtp.yaml", "--model.sampling.thoughts=1"],
            "thoughts are to be drawn (thoughts 1.0), and this model's are what they are",
        ),
        (["-c", METHOD / "colar.yaml", "--model.sampling.thoughts=-1"], "thoughts is -1"),
        (["-c", METHOD / "colar.yaml", "--curriculum.schedule.labels=none"], "and the thoughts have no labels"),
        (["-c", METHOD / "colar.yaml", "--curriculum.schedule.said="], "size is [1, 5], and said is ''"),
        (["-c", METHOD / "colar.yaml", "--model.feed=SpanHead"], "there is a latents, and the feed is SpanHead"),
        (["-c", METHOD / "colar.yaml", "--model.feed.std=0"], "std is 0"),
        (["-c", METHOD / "cmtp.yaml", "--model.halting={}"], "halting is a classifier, and there is a thinker"),
        (
            ["--model.objectives={spans: {class_path: SpanTokens}}"],
            "there is a spans, and the feed is none",
        ),
    ],
)
def test_what_does_not_go_together_is_one_block(folder: Path, tmp_path: Path, words: list[object], said: str) -> None:
    outcome = lcot("fit", "-c", folder / "tiny.yaml", "--name", "no", "--runs_dir", tmp_path / "runs", *words)
    assert outcome.code == 2 and said in outcome.block, outcome.err
    assert not (tmp_path / "runs").exists()


def test_a_checkpoint_of_another_head_is_refused(cmtp: Path) -> None:
    other = ["--model.feed.span=3", "--curriculum.schedule.size=3"]
    outcome = lcot("test", "-c", cmtp / "config.yaml", *other)
    assert outcome.code == 2
    assert "the checkpoint's feed is SpanHead(span=2, width=None), and the config's is SpanHead(span=3" in outcome.block


def test_a_number_of_thoughts_is_not_asked_of_a_run_that_ends_them(cmtp: Path) -> None:
    outcome = lcot("test", "-c", cmtp / "config.yaml", "--curriculum.eval_thoughts=2")
    assert outcome.code == 2 and "eval_thoughts is 2, and model.thinker is set" in outcome.block
    with pytest.raises(UserError, match="the model ends its thoughts itself"):
        package.load(cmtp).solve(["Is it?"], thoughts=2)


def test_data_without_steps_are_refused(folder: Path, tmp_path: Path) -> None:
    lines = [f"How many are {number} and 1?|| #### {number + 1}" for number in range(12)]
    (tmp_path / "data.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    data = [f"--data.{split}_path={tmp_path / 'data.txt'}" for split in ("train", "val")]
    words = [*of_method(folder / "tiny.yaml", "cmtp"), "--model.objectives=null"]
    outcome = lcot("fit", *words, "--data=GSM8K", *data, "--runs_dir", tmp_path / "runs")
    assert outcome.code == 2 and "none of the 12 train problems has a reasoning step" in outcome.block, outcome.err
    assert not (tmp_path / "runs").exists()


def test_a_frozen_teacher_reads_no_marks(folder: Path, cmtp: Path, tmp_path: Path) -> None:
    words = [*of_method(folder / "tiny.yaml", "cmtp"), "--runs_dir", tmp_path / "runs", f"--model.teacher.path={cmtp}"]
    words += ["--model.objectives.teacher.weight=0", f"--data.tokenizer={cmtp / 'tokenizer'}"]
    outcome = lcot("fit", *words)
    assert outcome.code == 2 and f"the teacher's rows are marked, and the teacher is '{cmtp}'" in outcome.block
    assert not (tmp_path / "runs").exists()
    outcome = lcot("fit", *words, "--curriculum.schedule.teacher=plain")
    assert outcome.code == 0, outcome.err


class Bent(Coconut):
    """Thinks in a way of its own."""

    def think(self, batch: ThoughtBatch, **options: Any) -> Any:
        return super().think(batch, **options)


class Straight(Bent):
    """Says also how questions are thought about."""

    def thinkings(self, batch: ThoughtBatch, paths: int) -> Iterator[Thinking]:
        yield self.think(batch, keep_cache=True)


@pytest.mark.parametrize("parts", [{"thinker": Given(), "feed": SpanHead()}, {"halting": Halting()}])
def test_a_think_of_ones_own_is_what_answers(parts: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="Bent has a think\\(\\) of its own, and the number of thoughts is not fixed"):
        Bent(tiny_module().backbone, **parts)
    Straight(tiny_module().backbone, **parts)
    Bent(tiny_module().backbone)

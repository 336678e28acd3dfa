"""The benchmarks run, and what they compare is the same computation. No time is asserted."""

from __future__ import annotations

import multiprocessing
from typing import Any, ClassVar

import pytest
import torch

from benchmarks import checkpointing, dashboard, decode, sharding, softcot_step, train_step, turnover
from benchmarks.common import Bound, interleave, make_workload, median_ratio, parser, peak_bytes, report
from lcot.reasoning.batch import ThoughtBatch, collate
from tests.reasoning.support import assert_same_gradients, loss_and_gradients

TINY = ["--layers=1", "--width=16", "--heads=2", "--batch=3", "--thoughts=2", "--nodes=10", "--repeats=1"]


@pytest.fixture(scope="module")
def batch() -> ThoughtBatch:
    work = make_workload(parser("", 1).parse_args(TINY))
    assert {len(row.steps) for row in work.rows} - {0}
    return collate([work.builder.train(row, work.stage(row)) for row in work.rows], work.builder.special.pad)


class TestTrainStep:
    """The training step and what it is compared with."""

    def test_prints_ratios(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert train_step.main([*TINY, "--definition-repeats=1", "--no-memory"]) == 0
        printed = capsys.readouterr().out
        assert "1 layers x 16, 50,261 tokens, 2 thoughts, batch 3 x" in printed
        for line in ("step / plain, seconds", "definition / step, seconds"):
            assert line in printed
        assert "memory" not in printed

    def test_memory_of_one_run(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert train_step.main([*TINY, "--memory-of=plain"]) == 0
        assert int(capsys.readouterr().out) >= 0

    def test_recomputing_gives_what_the_step_gives(self, batch: ThoughtBatch) -> None:
        model = make_workload(parser("", 1).parse_args(TINY)).model
        loss, gradients = loss_and_gradients(model, train_step.step_loss(model, batch))
        expected, slow = loss_and_gradients(model, train_step.recomputed_loss(model, batch))
        assert loss == pytest.approx(expected, abs=1e-5)
        norms = {name: gradient.norm().item() for name, gradient in slow.items()}
        large = [name for name, norm in norms.items() if norm > 1e-3]
        assert len(large) > len(norms) / 2
        assert_same_gradients({name: gradients[name] for name in large}, {name: slow[name] for name in large})

    def test_without_thoughts_all_are_the_plain_pass(self, batch: ThoughtBatch) -> None:
        work = make_workload(parser("", 1).parse_args([*TINY, "--thoughts=0"]))
        rows = [work.builder.train(row, work.stage(row)) for row in work.rows]
        none = collate(rows, work.builder.special.pad)
        losses = [loss(work.model, none).item() for loss in train_step.LOSSES.values()]
        assert losses == pytest.approx([losses[0]] * 3, abs=1e-5)


def test_checkpointing_compares_one_computation(capsys: pytest.CaptureFixture[str]) -> None:
    assert checkpointing.main([*TINY, "--layers=2", "--no-memory"]) == 0
    printed = capsys.readouterr().out
    assert "2 layers x 16, 50,261 tokens, 2 thoughts, batch 3 x" in printed
    assert "recomputed / kept, seconds" in printed and "peak memory" not in printed
    (line,) = [line for line in printed.splitlines() if "largest difference" in line]
    assert "BROKEN" not in line
    assert checkpointing.main([*TINY, "--memory-of=recomputed"]) == 0
    assert int(capsys.readouterr().out) >= 0


def test_decode_prints_its_ratio(capsys: pytest.CaptureFixture[str]) -> None:
    assert decode.main([*TINY, "--tokens=3", "--repeats=2"]) == 0
    printed = capsys.readouterr().out
    assert "definition / batched, seconds a question" in printed
    assert "3 of 3" in printed  # every repetition's text, that of the uncounted round included


def test_turnover_prints_its_ratios_and_compares_texts(capsys: pytest.CaptureFixture[str]) -> None:
    assert turnover.main([*TINY, "--tokens=12", "--batches=4"]) == 0
    printed = capsys.readouterr().out
    assert "12 questions in batches of 3, 12 new tokens at most, float32" in printed
    for line in ("generate / turnover, seconds", "generate / batch by batch, seconds", "places of generate in use"):
        assert line in printed
    assert printed.count("12 of 12") == 2
    assert not any("BROKEN" in line for line in printed.splitlines() if "gap of logits" in line)


def test_turnover_measures_differences() -> None:
    """The gap is that of the two tokens behind the text that both have."""
    model = make_workload(parser("", 1).parse_args(TINY)).model
    row = turnover._plain([5, 6, 7])
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([[5, 6, 7, 9]])).logits[0, -1]
    gap = abs(float(logits[3] - logits[4]))
    assert turnover.gap_of(model, row, [9, 3, 1], [9, 4]) == pytest.approx(gap, abs=1e-5) and gap > 1e-3


def test_questions_of_turnover_are_of_all_kinds() -> None:
    asked = turnover.questions(12)
    assert asked[:3] == turnover.questions(3) and len({question.split()[0] for question in asked}) >= 5


def test_decode_compares_compiled_texts(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda function, **settings: function)  # the compiler takes half a minute
    assert decode.main([*TINY, "--tokens=3", "--repeats=1", "--compile"]) == 0
    printed = capsys.readouterr().out
    assert "batched / compiled" in printed
    assert "texts the same, compiled and not                1.00" in printed
    assert decode.main([*TINY, "--tokens=3", "--repeats=1", "--compile", "--dtype=bfloat16"]) == 0
    printed = capsys.readouterr().out
    assert "batched / compiled" in printed and "texts the same, compiled and not" not in printed


def test_dashboard_prints_its_ratio(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[dashboard.Clocked] = []
    inner = dashboard.Clocked.__init__

    def init(self: dashboard.Clocked, *args: Any) -> None:
        made.append(self)
        inner(self, *args)

    monkeypatch.setattr(dashboard.Clocked, "__init__", init)
    sizes = ["--steps=20", "--epochs=1", "--width=16", "--heads=2", "--layers=1", "--batch=2", "--validated=3"]
    assert dashboard.main([*sizes, "--repeats=1"]) == 0
    printed = capsys.readouterr().out
    assert "40 steps in 2 epochs and 2 stages" in printed and "with / without, seconds" in printed
    assert len(made) == 2 and all(0 < board.spent < 60 for board in made)


def peak_of_a_sum() -> int:
    """Bytes that half a gigabyte of ones takes while it is summed up."""
    return peak_bytes(lambda: torch.ones(2**27).sum(), "cpu")


class TestCommon:
    """Interleaving, bounds and the exit status."""

    def test_repetitions_are_interleaved(self) -> None:
        order: list[str] = []
        seconds = interleave({name: lambda name=name: order.append(name) for name in "ab"}, 2, "cpu")  # type: ignore[misc]
        assert "".join(order) == "ababab"
        assert {name: len(times) for name, times in seconds.items()} == {"a": 2, "b": 2}

    def test_the_ratio_is_taken_within_a_repetition(self) -> None:
        assert median_ratio([2.0, 20.0, 3.0], [1.0, 10.0, 1.0]) == 2.0

    def test_peak_counts_what_was_freed(self) -> None:
        # In a process of its own, as the benchmarks do it: another test may have left a higher peak behind.
        with multiprocessing.get_context("fork").Pool(1) as pool:
            assert pool.apply(peak_of_a_sum) > 2**28

    @pytest.mark.parametrize(("ratio", "at_most", "holds"), [(1.0, True, True), (1.2, True, False), (1.2, False, True)])
    def test_bounds(self, ratio: float, at_most: bool, holds: bool, capsys: pytest.CaptureFixture[str]) -> None:
        bound = Bound("a / b", ratio, 1.1, at_most)
        assert bound.holds == holds
        assert report("setting", [], [bound], check=True) == (not holds)
        assert report("setting", [], [bound], check=False) == 0
        assert ("BROKEN" in capsys.readouterr().out) != holds


class TestSoftCoTStep:
    """SoftCoT's step and what it is compared with."""

    SMALL: ClassVar[list[str]] = ["--layers=2", "--width=32", "--heads=4", "--thoughts=3", "--batch=2", "--prompt=12"]

    def test_prints_ratios(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert softcot_step.main([*self.SMALL, "--text=8", "--repeats=1", "--no-memory"]) == 0
        printed = capsys.readouterr().out
        assert "LLM 2 layers x 32, assistant 1 x 16, 3 thoughts" in printed
        for line in ("step / first sight, seconds", "step / graph, seconds", "step / published, seconds"):
            assert line in printed

    def test_all_of_them_are_one_computation(self) -> None:
        work = softcot_step.make_work(softcot_step.options().parse_args([*self.SMALL, "--text=8"]))
        found = {}
        for name, loss in softcot_step.LOSSES.items():
            work.projection.zero_grad()
            value = loss(work)
            value.backward()  # type: ignore[no-untyped-call]
            weight = work.projection.maps[0].weight
            assert isinstance(weight, torch.Tensor) and weight.grad is not None
            found[name] = (value.item(), weight.grad.clone())
        expected, gradient = found["step"]
        assert gradient.norm() > 1e-5
        for other, others in found.values():
            assert other == pytest.approx(expected, rel=1e-5) and torch.allclose(others, gradient, rtol=1e-3, atol=1e-7)


def test_sharding_prints_bytes(capsys: pytest.CaptureFixture[str]) -> None:
    assert sharding.main([*TINY, "--check"]) == 0
    printed = capsys.readouterr().out
    assert "8 processes: weights, optimizer" in printed and "≤ 0.55" in printed

"""CODI, PCCoT, KaVa, LOTUS and SIM-CoT as configs of one engine: trained, tested, analysed, continued, shared out."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import lcot as package
from lcot.analysis import Thinker
from lcot.analysis.rethink import lacks
from lcot.analysis.thinker import measuring
from lcot.modules.coconut import Coconut
from lcot.reasoning.batch import ThoughtBatch, collate
from lcot.reasoning.example import ReasoningExample
from lcot.reasoning.unmasked import Unmasked
from tests.models import SPECIAL, tiny_model
from tests.places import ROOT
from tests.reasoning.support import builder, layouts
from tests.test_resume import in_training
from tests.tiny import lcot, write_config, write_records
from tests.training import tiny_data, tiny_module
from tests.whole_runs import last, run, same_state, scalars, settings
from tests.whole_runs import write_config as write_run

METHODS = ("codi", "pccot", "kava", "lotus", "simcot", "simcot_codi", "cmtp", "colar")
SPANS = ("cmtp", "colar")
"""Those that end their thoughts themselves."""
DISTILLED: dict[str, Any] = {
    "teacher": {"class_path": "TeacherText"},
    "distillation": {"class_path": "Distillation", "init_args": {"weight": 0.5}},
    "cache": {"class_path": "KeyValueDistillation", "init_args": {"weight": 0.1}},
    "steps": {"class_path": "StepDecoder", "init_args": {"mean": "groups"}},
}


METHOD = ROOT / "configs" / "methods"


def of_method(config: Path, method: str) -> list[object]:
    """A tiny run of a method: its own number of thoughts would take most of a tiny context."""
    words: list[object] = ["-c", config, "-c", METHOD / f"{method}.yaml", "--name", method]
    if method in ("codi", "pccot", "kava", "simcot_codi"):
        words += ["--curriculum.schedule.thoughts=4"]
    if method in SPANS:
        words += ["--model.thinker.max_thoughts=4"]
    return words


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("family")
    write_config(made, {"model.init_args.backbone.config.max_position_embeddings": 256})
    return made


@pytest.fixture(scope="module")
def trained(folder: Path) -> Callable[[str], Path]:
    """Trains a method once, and gives its run."""

    def made(method: str) -> Path:
        path = folder / "runs" / method
        if not path.is_dir():
            outcome = lcot("fit", *of_method(folder / "tiny.yaml", method), "--runs_dir", folder / "runs")
            assert outcome.code == 0, outcome.err
        return path

    return made


@pytest.mark.parametrize("method", METHODS)
class TestEveryMethod:
    """From the command line and from Python."""

    def test_test_and_predict(self, trained: Callable[[str], Path], method: str) -> None:
        path = trained(method)
        for command in ("test", "predict"):
            outcome = lcot(command, "-c", path / "config.yaml")
            assert outcome.code == 0, outcome.err
        report = json.loads((path / "test.json").read_text())
        assert report["metrics"]["test/examples"] == 5
        lines = [json.loads(line) for line in (path / "predictions.jsonl").read_text().splitlines()]
        thoughts = [line["thoughts"] for line in lines]
        assert len(lines) == 5 and sum(thoughts) / 5 == pytest.approx(report["metrics"]["test/thoughts"])
        assert method in SPANS or len(set(thoughts)) == 1

    def test_what_is_solved_is_what_was_tested(
        self, trained: Callable[[str], Path], method: str, tmp_path: Path
    ) -> None:
        path = trained(method)
        assert lcot("predict", "-c", path / "config.yaml").code == 0
        lines = [json.loads(line) for line in (path / "predictions.jsonl").read_text().splitlines()]
        questions = [line["question"] for line in lines]
        solver = package.load(path)
        assert [one.text for one in solver.solve(questions)] == [line["output"] for line in lines]
        solver.save_pretrained(tmp_path / "exported")
        again = package.load(tmp_path / "exported")
        assert [one.text for one in again.solve(questions)] == [line["output"] for line in lines]
        assert not any("decoder" in name for name, _ in again.module.named_parameters() if "objectives" in name)

    def test_analyze_and_compare(self, trained: Callable[[str], Path], method: str) -> None:
        path = trained(method)
        outcome = lcot("analyze", path, "--questions", 2)
        assert outcome.code == 0, outcome.err
        outcome = lcot("compare", path)
        assert outcome.code == 0, outcome.err

    def test_probe(self, trained: Callable[[str], Path], method: str) -> None:
        """Its thoughts, given back, say what they said; whether those are thought anew depends on how they come."""
        path = trained(method)
        if method in SPANS:
            assert "this run ends its thoughts itself, and no number is given" in lcot("probe", path).block
        words = ["--thoughts", "3"] if method in SPANS else []
        outcome = lcot("probe", path, "--interventions", "zero", "other_gold", "hidden", *words)
        assert outcome.code == 0, outcome.err
        anew = "total effects: thoughts are not made one after another" not in outcome.out
        assert anew == (method in ("codi", "simcot", "simcot_codi", *SPANS))

    def test_show(self, folder: Path, method: str) -> None:
        outcome = lcot("show", *of_method(folder / "tiny.yaml", method))
        assert outcome.code == 0, outcome.err
        views = {"lotus": ["steps"], "simcot": ["steps"], "simcot_codi": ["steps", "teacher"]}
        wanted = {**views, "cmtp": ["spans", "teacher"], "colar": ["spans"]}.get(method, ["teacher"])
        assert all(f"its view {view!r}" in outcome.out for view in wanted)


def whole(batch: int, **trainer: Any) -> dict[str, Any]:
    """A run with all that has counts of its own: five terms of different counts, one of them in groups."""
    made = settings(batch_size=batch, train_size=45)
    init = made["model"]["init_args"]
    init["backbone"]["config"].update(attn_pdrop=0.0, embd_pdrop=0.0, resid_pdrop=0.0)
    init["optimizer"]["init_args"].update(lr=3e-3, eps=1e-4)
    init |= {"objectives": DISTILLED, "feed": {"class_path": "Projection"}}
    made["trainer"] |= {"max_epochs": 3, **trainer}
    made["curriculum"]["schedule"]["init_args"]["max_stage"] = 1
    return made


def check_same(one: Path, other: Path, *terms: str) -> None:
    assert all(scalars(one, f"train/{name}_epoch") for name in ("loss", *terms))
    weights, others = last(one)["state_dict"], last(other)["state_dict"]
    assert weights.keys() == others.keys()
    for name, weight in weights.items():
        torch.testing.assert_close(others[name], weight, rtol=1e-4, atol=1e-5)


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("one")
    config = write_run(folder, whole(8))
    assert run(config) == 0
    return config


class TestOneEngine:
    """What every objective owes to its rows."""

    @pytest.mark.distributed
    def test_two_processes_are_one(self, one: Path, tmp_path: Path) -> None:
        config = write_run(tmp_path, whole(4))
        assert run(config, ranks=2) == 0
        check_same(one, config, "teacher", "distillation", "cache", "steps")

    @pytest.mark.parametrize("step", [2, 9])
    def test_a_killed_run_ends_in_the_same_weights(self, one: Path, tmp_path: Path, step: int) -> None:
        config = write_run(tmp_path, whole(8))
        run(config, sabotage=[in_training(step)])
        assert run(config) == 0
        same_state(last(one), last(config))


OWN = """
from lcot.reasoning.feeds import Feed
from lcot.modules.objectives.base import Objective
import torch

class Turned(Feed):
    def forward(self, states, places, model):
        return states.flip(-1)

class Short(Objective):
    def count(self, batch):
        return batch.thoughts.sum()[None]

    def forward(self, scene):
        there = torch.arange(scene.batch.max_thoughts) < scene.batch.thoughts[:, None]
        return (scene.fed.float().norm(dim=-1) * there).sum()[None]
"""


def test_parts_of_ones_own(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A feed and an objective in one file: what is analysed is what ran."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "turned", raising=False)
    (tmp_path / "turned.py").write_text(OWN, encoding="utf-8")
    short = "{short: {class_path: turned.Short, init_args: {weight: 0.1}}}"
    words = ["--model.feed=turned.Turned", f"--model.objectives={short}", "--name", "turned", "--runs_dir", "runs"]
    outcome = lcot("fit", "-c", folder / "tiny.yaml", *words)
    assert outcome.code == 0, outcome.err
    solver = package.load("runs/turned")
    assert type(solver.module.feed).__name__ == "Turned"
    thinker = Thinker.of(solver)
    encoded = thinker.builder.encode([_asked()])
    with measuring(thinker.model):
        thoughts = thinker.think(thinker.rows(encoded, 2))
        batch = collate(thinker.rows(encoded, 2), thinker.builder.special.pad, align=True)
        ran = solver.module.think(batch)
    assert ran.fed is not None and torch.equal(thoughts.inputs, ran.fed)
    torch.testing.assert_close(thoughts.inputs, thoughts.states.flip(-1))
    outcome = lcot("probe", "runs/turned", "--code", "turned.py", "--interventions", "zero")
    assert outcome.code == 0, outcome.err
    with measuring(thinker.model):
        assert lacks(thinker, thinker.rows(encoded, 2), thoughts.inputs) is None


def _asked() -> ReasoningExample:
    return tiny_data(nodes=(5, 7), hops=(1, 2)).make_source("test").example(0, 0)


class Bent(Coconut):
    """Thinks in a way of its own."""

    def think(self, batch: ThoughtBatch, **options: Any) -> Any:
        thinking = super().think(batch, **options)
        if thinking.fed is not None:
            thinking.fed = thinking.fed * 2
        return thinking


def test_a_subclass_that_thinks_otherwise_is_measured_as_it_runs() -> None:
    bent = Bent(tiny_module().backbone)
    bent.model = tiny_model()
    rows = layouts([(2, 3), (1, 3)])
    with torch.no_grad():
        found = Thinker.by(bent, builder()).think(rows)
        ran = bent.think(collate(rows, SPECIAL.pad, align=True))
        usual = Thinker(bent.model, builder()).think(rows)
    assert ran.fed is not None and torch.equal(found.inputs, ran.fed)
    torch.testing.assert_close(found.inputs, 2 * usual.inputs)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--model.thinker=Jacobi", "--model.thinker.rounds=-1"], "rounds is -1"),
        (["--model.thinker=Jacobi", "--curriculum.schedule.kind=pause"], "the kind of thought is 'pause'"),
        (["--model.feed=Add", "--model.compiled_decoding=true"], "compiled_decoding is true, and there is a feed"),
        (["--model.thinker=Looped", "--model.recycle=pre_norm"], "recycle is pre_norm, and there is a thinker"),
        (["--model.thinker=Looped", "--model.halting={}"], "halting is a classifier, and there is a thinker"),
        (
            ["--model.objectives={places: {class_path: PlaceText, init_args: {when: in_turn}}}"],
            "looks at each round, and thoughts come one after another",
        ),
        (
            ["--model.thinker=Looped", "--model.thinker.per_step=4"],
            "per_step is 4, and the curriculum has 1 thought a step",
        ),
        (
            ["--model.objectives={steps: {class_path: StepDecoder, init_args: {per_step: 2}}}"],
            "per_step is 2, and the curriculum has 1 thought a step",
        ),
        (["--model.unmasked={pads: zero}", "--model.backbone.attention=eager"], "attention is 'eager'"),
        (["--model.unmasked={pads: uniform}", "--model.thinker=Looped"], "thinker is Looped, and there is no mask"),
        (["--model.unmasked={pads: uniform}", "--model.compiled_decoding=true"], "compiled_decoding is true"),
        (["--model.unmasked={pads: uniform}", "--curriculum.schedule.kind=pause"], "settings for continuous thoughts"),
        (["--model.unmasked={pads: mean}"], "pads"),
        (["--model.objectives={keys: {class_path: TeacherText}}"], "an objective is called 'keys'"),
        (["--model.objectives={loss: {class_path: TeacherText}}"], "an objective is called 'loss'"),
        (
            ["--model.objectives={kv: {class_path: KeyValueDistillation, init_args: {importance: 2}}}"],
            "importance is 2",
        ),
        (
            ["--model.objectives={kv: {class_path: KeyValueDistillation}}", "--curriculum.schedule.kind=pause"],
            "the kind of thought is 'pause'",
        ),
        (["--model.objectives={text: {class_path: TeacherText}}"], "the objective 'text' is a TeacherText"),
        (["--model.objectives={steps: {class_path: StepDecoder, init_args: {weight: -1}}}"], "weight is -1"),
        (
            ["--model.objectives={steps: {class_path: StepDecoder, init_args: {config: {hidden_size: 8}}}}"],
            "the step decoder is 8 wide, and the language model 16",
        ),
    ],
)
def test_what_does_not_go_together_is_one_block(folder: Path, tmp_path: Path, words: list[str], said: str) -> None:
    outcome = lcot("fit", "-c", folder / "tiny.yaml", "--name", "no", "--runs_dir", tmp_path / "runs", *words)
    assert outcome.code == 2 and said in outcome.block, outcome.err
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("method", ["codi", "kava", "simcot_codi", "lotus", "simcot", "cmtp", "colar"])
def test_data_without_steps_are_one_block(tmp_path: Path, method: str) -> None:
    records = [{"question": f"Is {number} odd?", "steps": [], "answer": "yes"} for number in range(8)]
    data = write_records(tmp_path / "data.json", *records)
    init: dict[str, Any] = {f"{split}_path": str(data) for split in ("train", "val", "test")}
    config = write_config(
        tmp_path, {"data": {"class_path": "JSONReasoning", "init_args": {**init, "need_steps": False}}}
    )
    outcome = lcot("fit", *of_method(config, method), "--runs_dir", tmp_path / "runs")
    assert outcome.code == 2 and "none of the 8 train problems has a reasoning step" in outcome.block, outcome.err
    assert not (tmp_path / "runs").exists()
    # One that has some is enough: rows without are not counted.
    write_records(data, *records, {**records[0], "steps": ["It", "is"]})
    outcome = lcot("fit", *of_method(config, method), "--trainer.fast_dev_run=true")
    assert outcome.code == 0, outcome.err


def test_a_checkpoint_of_another_thinker_is_refused(trained: Callable[[str], Path], tmp_path: Path) -> None:
    path = trained("pccot")
    outcome = lcot("test", "-c", path / "config.yaml", "--model.thinker.rounds=2")
    assert outcome.code == 2
    assert "the checkpoint's thinker is Jacobi(rounds=3), and the config's is Jacobi(rounds=2)" in outcome.block


def test_the_published_padding_is_told_and_kept_apart(trained: Callable[[str], Path]) -> None:
    """A number that depends on batch mates says so, with the batch size, and stands in no table with others."""
    path = trained("codi")
    assert lcot("test", "-c", path / "config.yaml").code == 0
    assert "padding" not in json.loads((path / "test.json").read_text())["protocol"]
    words = ["--model.unmasked.pads=uniform", "--data.eval_batch_size=3"]
    outcome = lcot("test", "-c", path / "config.yaml", *words)
    assert outcome.code == 0 and outcome.err.count("thoughts look at padding (model.unmasked)") == 1, outcome.err
    (other,) = [file for file in path.glob("test-*.json") if "pads" in file.name]
    assert "eval_batch_size-3" in other.name
    told = json.loads(other.read_text())["protocol"]["padding"]
    assert told["note"].startswith("thoughts looked at padding")
    assert {name: told[name] for name in ("seen by", "holds", "attention", "batch_size")} == {
        "seen by": "thoughts and text",
        "holds": "uniform",
        "attention": "sdpa",
        "batch_size": 3,
    }
    outcome = lcot("compare", path)
    assert outcome.code == 0, outcome.err
    assert "not comparable with table 1" in outcome.out and "padding was looked at" in outcome.out
    other.unlink()


def test_where_batch_mates_matter_they_are_neighbours_in_the_split(
    trained: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in the released code; everywhere else rows of similar length share a batch."""
    seen: list[list[int]] = []
    usual = Coconut.think

    def noted(self: Coconut, batch: ThoughtBatch, **options: Any) -> Any:
        seen.append(batch.index.tolist())
        return usual(self, batch, **options)

    monkeypatch.setattr(Coconut, "think", noted)
    words = ["-c", trained("codi") / "config.yaml", "--model.unmasked.pads=uniform", "--data.eval_batch_size=2"]
    outcome = lcot("test", *words, "--name", "codi", "--runs_dir", trained("codi").parent)
    assert outcome.code == 0, outcome.err
    assert seen == [[0, 1], [2, 3], [4]]


def test_a_run_that_looks_at_padding_is_loaded_so(folder: Path, tmp_path: Path) -> None:
    words = ["--model.unmasked={pads: ordinary, text: false}", "--name", "open", "--runs_dir", tmp_path]
    outcome = lcot("fit", "-c", folder / "tiny.yaml", *words)
    assert outcome.code == 0, outcome.err
    solver = package.load(tmp_path / "open")
    assert solver.module.unmasked == Unmasked("ordinary", text=False)
    outcome = lcot("analyze", tmp_path / "open", "--limit", 2)
    assert outcome.code == 0 and "thoughts look at padding (model.unmasked)" in outcome.out, outcome.err
    outcome = lcot("probe", tmp_path / "open", "--limit", 3, "--interventions", "zero")
    assert outcome.code == 0 and "each question is read alone, where there is none" in outcome.out, outcome.err
    solver.save_pretrained(tmp_path / "exported")
    assert package.load(tmp_path / "exported").module.unmasked == solver.module.unmasked

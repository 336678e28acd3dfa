"""``lcot analyze``: what it writes about a run, a report without a network, and what it refuses."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

import lcot as api
from lcot.analysis import Collapse, Thinker, collapse, concept_values, height_table, tables
from lcot.analysis.folder import MARK
from lcot.analysis.outcomes import outcomes
from tests.report_page import Page
from tests.softcot import make_pair
from tests.tiny import RECORD, contents, lcot, write_config, write_records
from tests.training import tiny_data


@pytest.fixture(scope="module")
def measured(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "analysis" / MARK).read_text(encoding="utf-8"))
    return found


@pytest.fixture(scope="module")
def page(run: Path) -> Page:
    return Page((run / "analysis" / "report.html").read_text(encoding="utf-8"))


def test_its_files(run: Path, measured: dict[str, Any]) -> None:
    names = {file.name for file in (run / "analysis").iterdir()}
    figures = {"accuracy", "paths", "heights", "parallelism", "collapse", "lens", "attention", "nodes", "tree"}
    wanted = {f"{name}.{kind}" for name in figures for kind in ("png", "svg")}
    assert names == wanted | {MARK, "report.html", *measured["tables"]}
    assert not list(run.glob(".analysis*"))


def test_what_the_terminal_tells(run: Path) -> None:
    out, err = json.loads((run / "said.json").read_text(encoding="utf-8"))
    assert re.search(r"^k = 0: accuracy +[\d.]+%, correct path +[\d.]+%; 5 questions in [\d.]+ s$", out, re.MULTILINE)
    assert out.count("k = ") == 2
    assert "not measured: intermediate results under the output head: these questions have no steps" in out
    assert out.rstrip().endswith(f"written: {run / 'analysis' / 'report.html'}")
    assert "lcot: warning: training's last stage never saw k = 0 (it saw 1)" in err


def test_the_numbers_are_those_of_the_measurements(run: Path, measured: dict[str, Any]) -> None:
    solver, data = api.load(run), tiny_data(nodes=(5, 7), hops=(1, 2))
    thinker, source = Thinker.of(solver), data.make_source("test")
    examples = [source.example(number, 0) for number in range(5)]
    texts = [one for k in (0, 1) for one in outcomes(thinker, examples, k, max_new_tokens=3)]
    rows = list(tables.read_rows(run / "analysis", "outcomes"))
    assert [(row["thoughts"], row["id"], row["text"], row["category"]) for row in rows] == [
        (one.thoughts, one.id, one.text, one.category) for one in texts
    ]
    shares = [row["accuracy"] for row in measured["summary"]["accuracy"] if row["steps"] is None]
    assert shares == [sum(one.correct for one in texts if one.thoughts == k) / 5 for k in (0, 1)]
    values = [one for k in (0, 1) for one in concept_values(thinker, examples, k, scored="all")]
    assert [record for _, record in tables.read_values(run / "analysis")] == values
    assert [row["mean"] for row in measured["summary"]["heights"]] == [row.mean for row in height_table(values)]


def test_everything_is_described(run: Path, measured: dict[str, Any]) -> None:
    for name, rows in measured["tables"].items():
        found = list(tables.read_rows(run / "analysis", name.removesuffix(".parquet")))
        assert len(found) == rows
        assert list(found[0]) == list(measured["columns"][name.removesuffix(".parquet")])
    for name, rows in measured["summary"].items():
        assert list(rows[0]) == list(measured["summary_columns"][name])
    assert measured["thoughts"] == {"measured": [0, 1], "own": 1, "trained": [1]}
    told = measured["protocol"]
    assert told["command"].startswith("lcot analyze ") and told["versions"].keys() >= {"lcot", "torch"}
    assert measured["config"]["data"]["class_path"].endswith("ProsQA")
    assert measured["questions"]["count"] == 5 and len(measured["questions"]["data_hash"]) == 32


class TestReport:
    """One page."""

    def test_nothing_is_loaded(self, page: Page) -> None:
        assert [value for value in page.loaded if not value.startswith(("#", "data:"))] == []
        own = [text for kind, text in page.texts if kind != "application/json"]
        assert len(own) >= 2  # style and script
        for text in own:
            assert not re.search(r"https?://|@import|\bfetch\(|XMLHttpRequest|import\(", text.replace(SVG, ""))
        assert not {"iframe", "object", "embed", "base"} & set(page.tags)

    def test_its_questions(self, run: Path, page: Page) -> None:
        data = page.data
        assert (data["thoughts"], data["trained"], len(data["questions"])) == ([0, 1], [1], 4)
        rows = {(row["id"], row["thoughts"]): row for row in tables.read_rows(run / "analysis", "outcomes")}
        values = {record.id: record for _, record in tables.read_values(run / "analysis") if record.thoughts == 1}
        for question in data["questions"]:
            assert len(question["places"]) == len(question["nodes"])
            assert {node["role"] for node in question["nodes"]} == {"root", "target", "neg_target", ""}
            for moment in question["moments"]:
                row = rows[question["id"], moment["k"]]
                assert (moment["text"], moment["category"]) == (row["text"], row["category"])
                assert moment["correct"] == row["correct"] and question["gold"] == row["gold"]
            shown = question["moments"][1]
            for one in values[question["id"]].candidates:
                assert shown["values"][one.node] == pytest.approx(one.value, abs=1e-5)
            assert shown["frontier"] == [one.node for one in values[question["id"]].candidates if one.frontier]
            assert {end for _, end in shown["next"]} == set(shown["frontier"])
            assert len(question["lens"]) == 1 and len(question["lens"][0]["top"]) == 5

    def test_its_words(self, page: Page, measured: dict[str, Any]) -> None:
        for said in (
            "What the thoughts of tiny hold",
            "training's last stage never saw k = 0",
            "lcot analyze ",
            "text after the last ###",
            "max_stage: 1",
            measured["questions"]["data_hash"],
            "intermediate results under the output head",
            "n = 5 questions of the test split",
        ):
            assert said in page.words

    def test_it_can_be_used_without_a_mouse(self, page: Page) -> None:
        assert {"picker", "slider"} <= page.labelled
        assert page.tags.count("select") == 1 and page.tags.count("button") == 4
        assert len(page.ids) == len(set(page.ids))  # figures do not share theirs


SVG = "http://www.w3.org/2000/svg"


def test_the_analysis_of_a_file_has_a_folder_of_its_own(run: Path, tmp_path: Path) -> None:
    source = tiny_data(nodes=(5, 7), hops=(1, 2)).make_source("test")
    examples = [source.example(number, 0) for number in range(3)]
    file = write_records(
        tmp_path / "three.json",
        *({"question": e.question, "steps": list(e.steps), "answer": e.answer, **e.facts} for e in examples),
    )
    before = contents(run / "analysis")
    for words in (("--limit", 1), ()):  # the first one is of another protocol too
        outcome = lcot("analyze", run, "--data", file, "--thoughts", 1, "--batch_size=1", *words)
        assert outcome.code == 0 and not outcome.err.count("warning"), outcome.err
    folder = next(run.glob("analysis-test_path-three.json-*-thoughts-1"))
    assert f"it goes to {folder}, for this is not as the run has it: test_path=" in outcome.out
    assert contents(run / "analysis") == before and len(list(run.glob("analysis-*-thoughts-1-limit-1"))) == 1
    after = json.loads((folder / MARK).read_text(encoding="utf-8"))
    assert after["thoughts"]["measured"] == [1] and after["questions"]["count"] == 3
    assert after["questions"]["what"] == f"questions of {file}"
    rows = list(tables.read_rows(folder, "outcomes"))
    assert [row["gold"] for row in rows] == [example.answer for example in examples]
    assert [row["steps"] for row in rows] == [len(example.steps) for example in examples]
    assert not list(run.glob(".analysis*"))


def test_a_run_without_graphs_and_without_thoughts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    records = write_records(tmp_path / "records.json", *({**RECORD, "id": str(n)} for n in range(4)))
    changes = {
        "data.class_path": "JSONReasoning",
        "data.init_args": {f"{split}_path": str(records) for split in ("train", "val", "test")},
        "curriculum.schedule": {"class_path": "Fixed", "init_args": {"hidden": "none"}},
        "trainer.max_epochs": 1,
    }
    assert lcot("fit", "-c", write_config(tmp_path, changes)).code == 0
    outcome = lcot("analyze", "runs/tiny", "--limit", 3, "--split=val", "--out", "elsewhere")
    assert outcome.code == 0, outcome.err
    assert "3 questions in" in outcome.out and not Path("runs/tiny/analysis").exists()
    assert "not measured: probabilities of concepts: these questions carry no graph" in outcome.out
    assert "not measured: output head on thoughts: there are no thoughts" in outcome.out
    page = Page(Path("elsewhere/report.html").read_text(encoding="utf-8"))
    assert "3 questions of the val split" in page.words
    assert page.data["thoughts"] == [0] and "values" not in page.data["questions"][0]["moments"][0]
    assert "these questions carry no graph" in page.words
    assert "Analysis of tiny" in page.words
    block = lcot("analyze", "runs/tiny", "--thoughts", "0", "1").block
    assert "the number of thoughts is 1, and this model has none" in block


def test_records_without_graphs_among_others(run: Path, tmp_path: Path) -> None:
    """Data whose records need no graph, where one has none."""
    saved = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
    folder = Path(shutil.copytree(run, tmp_path / "mixed", ignore=shutil.ignore_patterns("analysis")))
    source = tiny_data(nodes=(5, 7), hops=(1, 2)).make_source("test")
    examples = [source.example(number, 0) for number in range(3)]
    records = [{"question": e.question, "steps": list(e.steps), "answer": e.answer, **e.facts} for e in examples]
    bare = {name: records[0][name] for name in ("question", "steps", "answer")}
    file = write_records(tmp_path / "mixed.json", bare, *records)
    given = {f"{split}_path": str(file) for split in ("train", "val", "test")}
    saved["data"] = {"class_path": "lcot.datamodules.JSONReasoning", "init_args": {"batch_size": 4, **given}}
    saved["data"]["init_args"]["tokenizer"] = str(folder / "tokenizer")
    (folder / "config.yaml").write_text(yaml.safe_dump(saved), encoding="utf-8")
    outcome = lcot("analyze", folder)
    assert outcome.code == 0, outcome.err
    line = "1 of 4 questions carries no graph and is left out"
    assert f"probabilities of concepts: {line}" in outcome.out and "carry no graph" not in outcome.out
    found = json.loads((folder / "analysis" / MARK).read_text(encoding="utf-8"))
    assert found["left_out"] == dict.fromkeys(("paths", "concepts", "attention", "nodes"), line)
    page = Page((folder / "analysis" / "report.html").read_text(encoding="utf-8"))
    assert line in page.words and "n = 3 questions" in page.words and "n = 4 questions" in page.words
    assert sorted("places" in question for question in page.data["questions"]) == [False, True, True, True]


def test_broken_weights_give_json_all_the_same(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*given: Any) -> list[Collapse]:
        return [replace(row, norm=float("nan")) for row in collapse(*given)]

    monkeypatch.setattr("lcot.analysis.measure.collapse", broken)
    outcome = lcot("analyze", run, "--out", tmp_path / "broken", "--limit", 2)
    assert outcome.code == 0, outcome.err
    text = (tmp_path / "broken" / MARK).read_text(encoding="utf-8")
    assert json.loads(text, parse_constant=pytest.fail)["summary"]["collapse"][0]["norm"] is None


def test_soft_thoughts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = tmp_path / "soft.yaml"
    config.write_text(yaml.safe_dump(make_pair(tmp_path).settings()), encoding="utf-8")
    assert lcot("fit", "-c", config).code == 0
    outcome = lcot("analyze", "runs/soft", "--limit", 3)
    assert outcome.code == 0, outcome.err
    folder = Path("runs/soft/analysis-limit-3")
    found = json.loads(Path(folder, MARK).read_text(encoding="utf-8"))
    assert found["thoughts"]["measured"] == [3]
    assert {row["thought"] for row in found["summary"]["results"]} == {1, 2, 3}  # sums, and no graph
    assert len(list(tables.read_rows(folder, "lens"))) == 3 * 3 * 5
    data = Page((folder / "report.html").read_text(encoding="utf-8")).data
    assert [len(thought["near"]) for thought in data["questions"][0]["lens"]] == [5, 5, 5]
    assert "this run has 3 soft thoughts" in lcot("analyze", "runs/soft", "--thoughts", 1).block

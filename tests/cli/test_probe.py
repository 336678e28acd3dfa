"""``lcot probe``: what it writes about a run, for which methods, and what it refuses."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import signal
from collections.abc import Sequence
from dataclasses import asdict, astuple
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import lcot as api
from lcot.analysis import Thinker, tables
from lcot.analysis.board import FILE
from lcot.analysis.causal import MARK
from lcot.analysis.charts import Chart
from lcot.analysis.effects import EffectTable
from lcot.analysis.interventions import Interventions
from lcot.analysis.shelf import Shelf
from lcot.analysis.subject import Subject
from lcot.analysis.weights import Weighed, WeightTable
from tests.report_page import CHROMIUM, Page, in_browser
from tests.softcot import make_pair
from tests.tiny import Outcome, contents, lcot, write_config
from tests.training import tiny_data


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run with two thoughts, probed."""
    folder = tmp_path_factory.mktemp("two")
    config = write_config(folder, {"curriculum.schedule.init_args": {"epochs_per_stage": [1, 1, 1], "max_stage": 2}})
    outcome = lcot("fit", "-c", config, "--runs_dir", folder / "runs", "--trainer.max_epochs=3")
    assert outcome.code == 0, outcome.err
    outcome = lcot("probe", folder / "runs" / "tiny")
    assert outcome.code == 0, outcome.err
    (folder / "said.txt").write_text(outcome.out, encoding="utf-8")
    return folder / "runs" / "tiny"


@pytest.fixture(scope="module")
def summary(two: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((two / "probe" / MARK).read_text(encoding="utf-8"))
    return found


def test_its_files(two: Path) -> None:
    names = {file.name for file in (two / "probe").iterdir()}
    figures = {f"{name}.{kind}" for name in ("interventions", "places", "steps") for kind in ("png", "svg")}
    rows = {f"{name}.parquet" for name in ("summary", "interventions", "thoughts")}
    assert names == figures | rows | {MARK, "report.html", FILE}
    assert not list(two.glob(".probe*"))


def test_what_the_terminal_tells(two: Path, summary: dict[str, Any]) -> None:
    lines = (two.parent.parent / "said.txt").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "5 questions were thought about and answered"
    assert lines[1:-1][: len(summary["findings"])] == summary["findings"] and len(summary["findings"]) >= 8
    assert lines[1].startswith("5 questions with 2 thoughts each: ")
    assert re.fullmatch(rf"written: {re.escape(str(two / 'probe' / 'report.html'))} \(\d+ s\)", lines[-1])


def test_the_numbers_are_those_of_the_interventions(two: Path, summary: dict[str, Any]) -> None:
    solver, data = api.load(two), tiny_data(nodes=(5, 7), hops=(1, 2))
    source = data.make_source("test")
    examples = [source.example(number, 0) for number in range(5)]
    asked = Subject(
        Thinker.of(solver), lambda: iter(examples), (2,), lambda k: k, left_out=min, max_new_tokens=3, reader="string"
    )
    table, rows, weights, thoughts = EffectTable(), [], WeightTable(), []

    def weigh(one: Weighed) -> None:
        weights.weigh(one)
        thoughts.append(astuple(one))

    for one in Interventions(asked, 2).answers(two.parent, weigh=weigh):
        table.add(one)
        weights.answered(one)
        rows.append(astuple(one))
    assert [tuple(row.values()) for row in tables.read_rows(two / "probe", "thoughts")] == thoughts
    assert len(thoughts) == 5 * 2 and all(0 < one[4] < 1 for one in thoughts)
    assert summary["thoughts_summary"] == [asdict(row) for row in weights.rows()]
    found = list(tables.read_rows(two / "probe", "interventions"))
    assert [tuple(row.values()) for row in found] == rows
    assert summary["summary"] == [asdict(row) for row in table.rows()]
    assert list(tables.read_rows(two / "probe", "summary")) == summary["summary"]


def test_everything_is_described(two: Path, summary: dict[str, Any]) -> None:
    for file, rows in summary["tables"].items():
        table, told = pq.read_table(two / "probe" / file), summary["columns"][file.removesuffix(".parquet")]
        assert table.num_rows == rows
        assert {field.name: field.metadata[b"description"].decode() for field in table.schema} == told
    assert summary["thoughts"] == {"measured": 2, "own": 2, "trained": [2]} and summary["seed"] == 0
    assert summary["protocol"]["command"].startswith("lcot probe ")
    assert summary["questions"]["count"] == 5 and len(summary["questions"]["data_hash"]) == 32
    assert summary["config"]["data"]["class_path"].endswith("ProsQA") and summary["ties"] == 0


def test_a_page_of_tensorboard(two: Path, summary: dict[str, Any]) -> None:
    board = EventAccumulator(str(two / "probe"), size_guidance={"scalars": 0, "images": 0, "tensors": 0}).Reload()
    texts = {name: board.Tensors(f"{name}/text_summary")[0] for name in ("probe/found", "probe/interventions")}
    said = {name: one.tensor_proto.string_val[0].decode() for name, one in texts.items()}
    assert [line.removeprefix("- ") for line in said["probe/found"].splitlines()] == summary["findings"]
    whole = [row for row in summary["summary"] if row["scope"] == "all" and row["steps"] is None]
    lines = said["probe/interventions"].splitlines()[2:]
    assert [line.split(" | ")[0] for line in lines] == [f"| {row['intervention']}" for row in whole]
    for name in ("interventions", "places", "steps"):
        (picture,) = board.Images(f"probe/{name}")
        assert picture.encoded_image_string == (two / "probe" / f"{name}.png").read_bytes()
        assert min(picture.width, picture.height) > 100
    curve = [(one.step, one.value) for one in board.Scalars("changed, one alone/zero")]
    rows = [row for row in summary["summary"] if row["intervention"] == "zero" and row["steps"] is None]
    own = [row for row in rows if (row["scope"], row["effect"]) == ("one", "direct")]
    assert curve == [(row["thought"], pytest.approx(row["changed"])) for row in own] and len(curve) == 2


def test_another_protocol_has_a_folder_of_its_own(two: Path) -> None:
    before = contents(two / "probe")
    words = ["--thoughts", 1, "--interventions", "zero", "scaled=-1", "--scopes", "all", "--seed=3", "--limit=4"]
    outcome = lcot("probe", two, *words, "--batch_size=1")
    assert outcome.code == 0, outcome.err
    assert "training's last stage never saw k = 1" in outcome.err
    (folder,) = two.glob("probe-thoughts-1-interventions-zero_scaled_1-*-scopes-all-seed-3-limit-4")
    told = json.loads((folder / MARK).read_text(encoding="utf-8"))
    assert {row["intervention"] for row in told["summary"]} == {"none", "zero", "scaled=-1"}
    assert told["seed"] == 3 and told["thoughts"]["measured"] == 1 and told["questions"]["count"] == 4
    assert contents(two / "probe") == before
    shutil.rmtree(folder)


def test_a_batch_of_one_is_the_same(two: Path, tmp_path: Path) -> None:
    outcome = lcot("probe", two, "--batch_size=1", "--out", tmp_path / "one")
    assert outcome.code == 0, outcome.err
    rows = [list(tables.read_rows(folder, "interventions")) for folder in (two / "probe", tmp_path / "one")]
    assert len(rows[0]) == len(rows[1])
    for mine, other in zip(*rows, strict=True):
        floats = [name for name, value in mine.items() if isinstance(value, float)]
        assert [mine.pop(name) for name in floats] == pytest.approx([other.pop(name) for name in floats], abs=1e-3)
        assert mine == other


@pytest.mark.parametrize("kind", ["pause", "soft"])
def test_thoughts_of_other_kinds(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = write_config(tmp_path, {"curriculum.schedule.init_args.kind": "pause"}, name="run")
    if kind == "soft":
        config.write_text(yaml.safe_dump(make_pair(tmp_path).settings()), encoding="utf-8")
    assert lcot("fit", "-c", config, "--name", "run").code == 0
    outcome = lcot("probe", "runs/run", "--limit", 3)
    assert outcome.code == 0, outcome.err
    why = "no thought is made of another one" if kind == "soft" else "no thought comes behind another one"
    assert f"not done: total effects: {why}" in outcome.out
    assert ("not done: reverse: takes 2 thoughts, and there is 1" in outcome.out) == (kind == "pause")
    told = json.loads(Path("runs/run/probe-limit-3", MARK).read_text(encoding="utf-8"))
    assert told["thoughts"]["measured"] == {"pause": 1, "soft": 3}[kind]
    pauses = [row["changed"] for row in told["summary"] if row["intervention"] == "other_gold"]
    assert kind == "soft" or not any(pauses)  # whoever's they are, they are the same


@pytest.fixture
def fresh(two: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the finished run in ``runs/tiny``; commands start beside it."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(two, tmp_path / "runs" / "tiny")
    return Path("runs/tiny")


def refused(*words: object) -> str:
    """The block of a command that must leave everything as it was."""
    before = contents(Path.cwd())
    outcome: Outcome = lcot("probe", *words)
    assert outcome.code == 2, outcome.err
    assert contents(Path.cwd()) == before
    assert len(outcome.block.splitlines()) <= 5 and "Traceback" not in outcome.err
    return outcome.block


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "the following arguments are required: RUN"),
        (("runs/tine",), "there is no run at 'runs/tine'"),
        (("runs/tiny", "--intervention=zero"), "did you mean '--interventions'?"),
        (("runs/tiny", "--model.max_new_tokens=4"), "only settings of the data are passed on"),
        (("runs/tiny", "--thoughts", "two"), "the number of thoughts is 'two'"),
        (("runs/tiny", "--thoughts", "0"), "the number of thoughts is 0"),
        (("runs/tiny", "--thoughts", "3"), "thoughts is 3, and this run has at most 2"),
        (("runs/tiny", "--interventions", "zeros"), "did you mean 'zero'?"),
        (("runs/tiny", "--interventions", "scaled=x"), "the factor of 'scaled=x' is no number"),
        (("runs/tiny", "--scopes", "none"), "invalid choice: 'none'"),
        (("runs/tiny", "--limit=1"), "there is one question"),
        (("runs/tiny", "--limit=0"), "limit is 0"),
        (("runs/tiny", "--batch_size=0"), "batch_size is 0"),
        (("runs/tiny", "--split=val", "--data=none.json"), "both say which questions are asked"),
        (("runs/tiny", "--data=none.json"), "there is no file 'none.json'"),
        (("runs/tiny", "--out=runs"), "'runs' holds other files"),
        (("runs/tiny", "--thoughts=1", "--interventions", "reverse"), "takes 2 thoughts, and there is 1"),
        (("runs/tiny", "--limit=2", "--interventions", "same_gold"), "have the same answer"),
    ],
)
def test_what_cannot_be(fresh: Path, words: Sequence[str], says: str) -> None:
    assert says in refused(*words)


def test_a_run_without_thoughts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    schedule = {"class_path": "Fixed", "init_args": {"hidden": "none"}}
    config = write_config(tmp_path, {"curriculum.schedule": schedule, "trainer.max_epochs": 1})
    assert lcot("fit", "-c", config).code == 0
    assert "this run has no thoughts" in refused("runs/tiny")
    assert "thoughts is 1, and this run has none" in refused("runs/tiny", "--thoughts", 1)


def test_an_analysis_is_no_probe(fresh: Path) -> None:
    Path("old").mkdir()
    Path("old/measurements.json").write_text("{}")
    assert "give a folder that is new, empty, or a probe" in refused(fresh, "--out", "old")
    assert lcot("probe", fresh, "--out", "runs/tiny/probe", "--interventions", "zero").code == 0  # its own is replaced
    told = json.loads((fresh / "probe" / MARK).read_text(encoding="utf-8"))
    assert {row["intervention"] for row in told["summary"]} == {"none", "zero"}


def test_a_full_disk_leaves_nothing(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(shelf: Shelf, record: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Shelf, "put", full)
    assert "No space left on device" in refused(fresh)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_being_told_to_stop_leaves_nothing(
    fresh: Path, number: signal.Signals, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = []

    def told(chart: Chart, folder: Path) -> str:
        begun.append(folder.name)
        os.kill(os.getpid(), number)
        signal.sigtimedwait([], 5)
        raise AssertionError("it went on")

    monkeypatch.setattr("lcot.analysis.causal.save_chart", told)
    usual = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
    former = signal.signal(number, usual)
    before = contents(Path.cwd())
    try:
        outcome = lcot("probe", fresh)
    finally:
        signal.signal(number, former)
    assert outcome.code == code and begun[0].startswith(".probe.part-")
    assert contents(Path.cwd()) == before
    assert "Traceback" not in outcome.err


def test_its_help() -> None:
    assert "usage: lcot probe RUN" in lcot("probe", "--help").out
    assert "  probe     change a run's thoughts" in lcot("--help").out


class TestPage:
    """One page that needs no network, and a section of the analysis."""

    def test_its_own(self, two: Path, summary: dict[str, Any]) -> None:
        page = Page((two / "probe" / "report.html").read_text(encoding="utf-8"))
        assert [value for value in page.loaded if not value.startswith(("#", "data:"))] == []
        assert page.tags.count("svg") == 3 and "script" not in page.tags and len(page.ids) == len(set(page.ids))
        for line in (*summary["findings"], "Do the thoughts of tiny do anything?", "lcot probe ", "max_stage: 2"):
            assert line in page.words
        assert "5 questions of the test split, answered behind 2 thoughts each" in page.words
        rows = len([row for row in summary["summary"] if row["steps"] is None])
        assert page.tags.count("tr") > rows

    def test_of_an_analysis(self, fresh: Path, summary: dict[str, Any]) -> None:
        report, words = Path("report/report.html"), ["--limit", 2, "--thoughts", 2, "--out", "report"]
        assert lcot("analyze", fresh, *words).code == 0
        without = Page(report.read_text(encoding="utf-8"))
        # The probe was of this run in another place, and its name is part of the checkpoint's.
        assert "Do the thoughts do anything?" not in without.words
        assert lcot("probe", fresh, "--interventions", "zero").code == 0
        (fresh / "probe-interventions-zero").rename(fresh / "mine")
        shutil.rmtree(fresh / "probe")
        (fresh / "mine").rename(fresh / "probe")
        assert lcot("analyze", fresh, *words).code == 0
        page = Page(report.read_text(encoding="utf-8"))
        found = json.loads((fresh / "probe" / MARK).read_text(encoding="utf-8"))["findings"]
        assert all(line in page.words for line in ["Do the thoughts do anything?", *found])
        assert "Found by lcot probe runs/tiny --interventions zero" in page.words
        assert page.tags.count("svg") > without.tags.count("svg") and len(page.ids) == len(set(page.ids))

    @pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium to open the page with")
    @pytest.mark.parametrize("dark", [False, True])
    def test_in_a_browser(self, two: Path, tmp_path: Path, dark: bool) -> None:
        ask = """
          document.body.style.width = "390px";
          const lines = [...document.querySelectorAll("li, figcaption, h1, h2")];
          const over = lines.filter((one) => one.getBoundingClientRect().right > 391).length;
          const drawn = Math.max(...[...document.querySelectorAll("figure svg")].map((one) => one.clientWidth));
          const asked = performance.getEntriesByType("resource").length;
          const paper = getComputedStyle(document.body).backgroundColor;
          document.title = JSON.stringify([faults, asked, over, drawn, paper]);
        """
        theme = ["--blink-settings=preferredColorScheme=0"] if dark else []
        text = (two / "probe" / "report.html").read_text(encoding="utf-8")
        faults, asked, over, drawn, paper = in_browser(tmp_path, text, ask, *theme)
        assert faults == [] and asked == 0 and over == 0 and 200 < drawn <= 390
        shades = [int(shade) for shade in re.findall(r"\d+", paper)[:3]]
        assert (max(shades) < 64) if dark else (min(shades) > 192)
        assert len(text) < 2_500_000

"""``lcot analyze``: what it writes about a run, a report without a network, and what it refuses."""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import signal
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import yaml

import lcot as api
from lcot.analysis import Collapse, Thinker, collapse, concept_values, height_table, outcomes, tables
from lcot.analysis.folder import MARK
from tests.analysis.support import contrast
from tests.softcot import make_pair
from tests.tiny import RECORD, lcot, write_config, write_records
from tests.training import tiny_data

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")

# Elements that load what an attribute names, and the attributes.
LOADING = {"src", "href", "xlink:href", "srcset", "data", "action", "poster", "background", "manifest", "formaction"}


class Page(HTMLParser):
    """What a page holds.

    Attributes:
        loaded: Values of attributes that a browser would fetch.
        texts: The text of each script and style.
        data: The JSON of the page.
        words: All other text.
        tags: Names of all elements.
        labelled: Values of ``for`` attributes.
    """

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.loaded: list[str] = []
        self.texts: list[tuple[str, str]] = []
        self.words = ""
        self.tags: list[str] = []
        self.labelled: set[str] = set()
        self.ids: list[str] = []
        self._inside = ""
        self.feed(text)

    @property
    def data(self) -> dict[str, Any]:
        """The page's data."""
        (found,) = (text for kind, text in self.texts if kind == "application/json")
        made: dict[str, Any] = json.loads(found)
        return made

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what is loaded."""
        named = {name: value or "" for name, value in attrs}
        self.tags.append(tag)
        self.loaded += [value for name, value in named.items() if name in LOADING]
        self.labelled |= {named["for"]} if "for" in named else set()
        self.ids += [named["id"]] if "id" in named else []
        self._inside = named.get("type", tag) if tag in ("script", "style") else ""

    def handle_endtag(self, tag: str) -> None:
        """Leave a script or style."""
        self._inside = ""

    def handle_data(self, data: str) -> None:
        """Keep texts apart."""
        if self._inside:
            self.texts.append((self._inside, data))
        else:
            self.words += data


@pytest.fixture(scope="module")
def run(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the finished run, analysed."""
    folder = Path(shutil.copytree(trained, tmp_path_factory.mktemp("runs") / "tiny"))
    outcome = lcot("analyze", folder, "--questions", 4)
    assert outcome.code == 0, outcome.err
    shutil.copyfile(folder / "analysis" / "report.html", folder / "report.html")  # one of the tests replaces it
    (folder / "said.json").write_text(json.dumps([outcome.out, outcome.err]), encoding="utf-8")
    return folder


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
        own = [text for kind, text in page.texts if kind != "application/json" and "plotly.js" not in text[:300]]
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
        assert page.tags.count("select") == 1 and page.tags.count("button") == 3
        assert len(page.ids) == len(set(page.ids))  # figures do not share theirs


SVG = "http://www.w3.org/2000/svg"


def test_an_analysis_is_replaced_by_that_of_a_file(run: Path, tmp_path: Path) -> None:
    source = tiny_data(nodes=(5, 7), hops=(1, 2)).make_source("test")
    examples = [source.example(number, 0) for number in range(3)]
    file = write_records(
        tmp_path / "three.json",
        *({"question": e.question, "steps": list(e.steps), "answer": e.answer, **e.facts} for e in examples),
    )
    outcome = lcot("analyze", run, "--data", file, "--thoughts", 1, "--batch_size=1")
    assert outcome.code == 0 and not outcome.err.count("warning"), outcome.err
    after = json.loads((run / "analysis" / MARK).read_text(encoding="utf-8"))
    assert after["thoughts"]["measured"] == [1] and after["questions"]["count"] == 3
    assert after["questions"]["what"] == f"questions of {file}"
    rows = list(tables.read_rows(run / "analysis", "outcomes"))
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
    found = json.loads(Path("runs/soft/analysis", MARK).read_text(encoding="utf-8"))
    assert found["thoughts"]["measured"] == [3]
    assert {row["thought"] for row in found["summary"]["results"]} == {1, 2, 3}  # sums, and no graph
    assert len(list(tables.read_rows(Path("runs/soft/analysis"), "lens"))) == 3 * 3 * 5
    data = Page(Path("runs/soft/analysis/report.html").read_text(encoding="utf-8")).data
    assert [len(thought["near"]) for thought in data["questions"][0]["lens"]] == [5, 5, 5]
    assert "this run has 3 soft thoughts" in lcot("analyze", "runs/soft", "--thoughts", 1).block


def in_browser(folder: Path, text: str, ask: str) -> Any:
    """What a script that is added to a page leaves as JSON in its title; errors of the page are in ``faults``."""
    head, body, rest = text.partition("<body>")
    watch = "<script>window.faults = []; addEventListener('error', (event) => faults.push(event.message))</script>"
    file = folder / "page.html"
    file.write_text(head + body + watch + rest.replace("</body>", f"<script>{ask}</script></body>"), encoding="utf-8")
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'profile'}"]
    command = [str(CHROMIUM), *options, "--virtual-time-budget=3000", "--dump-dom", file.as_uri()]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
    ) as browser:
        try:
            page, _ = browser.communicate(timeout=120)
        except subprocess.TimeoutExpired:
            os.killpg(browser.pid, signal.SIGKILL)
            pytest.fail("the page draws forever")
    found = re.search(r"<title>(.*?)</title>", page.decode(), re.DOTALL)
    assert found is not None
    return json.loads(html.unescape(found[1]))


def with_data(text: str, data: dict[str, Any]) -> str:
    """A page with other data."""
    written = json.dumps(data).replace("<", "\\u003c")
    head, opening, rest = text.partition('<script type="application/json" id="data">')
    return head + opening + written + rest[rest.index("</script>") :]


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium to open the page with")
class TestInABrowser:
    """What the page does there."""

    @pytest.fixture
    def text(self, run: Path) -> str:
        """The page of the whole run."""
        return (run / "report.html").read_text(encoding="utf-8")

    def test_it_draws_whatever_is_asked_of_it_at_once(self, text: str, tmp_path: Path) -> None:
        ask = """
          const picker = document.getElementById("picker"), slider = document.getElementById("slider");
          for (const question of [1, 0, 2]) for (const moment of [0, 1]) {
            picker.value = question; picker.dispatchEvent(new Event("change"));
            slider.value = moment; slider.dispatchEvent(new Event("input"));
          }
          setTimeout(() => {
            const drawn = [...document.querySelectorAll("#graph text")].map((one) => one.textContent);
            document.title = JSON.stringify([faults, picker.value, slider.value, drawn]);
          }, 100);
        """
        faults, question, moment, drawn = in_browser(tmp_path, text, ask)
        data = Page(text).data
        assert faults == [] and (question, moment) == ("2", str(len(data["thoughts"]) - 1))
        shown = data["questions"][2]
        assert {node["name"] for node in shown["nodes"] if not node["role"]} <= set(drawn)

    def test_numbers_can_be_read_on_every_fill(self, text: str, tmp_path: Path) -> None:
        data = Page(text).data
        values = iter([0.0, 0.3, 0.5, 0.52, 0.55, 0.58, 0.6, 0.62, 0.65, 0.7, 0.8, 1.0] * 9)
        for question in data["questions"]:
            question["moments"][0]["values"] = [next(values) for _ in question["nodes"]]
        ask = """
          const picker = document.getElementById("picker"), found = [];
          for (const question of [0, 1, 2, 3]) {
            picker.value = question; picker.dispatchEvent(new Event("change"));
            const traces = [...document.querySelectorAll("#graph .trace.scatter")];
            const nodes = traces.find((one) => /^\\.?\\d+$/.test(one.querySelector("text")?.textContent));
            const fill = (one) => getComputedStyle(one).fill;
            const points = [...nodes.querySelectorAll(".point")].map(fill);
            found.push(...[...nodes.querySelectorAll("text")].map((one, n) => [fill(one), points[n]]));
          }
          document.title = JSON.stringify([faults, found]);
        """
        faults, found = in_browser(tmp_path, with_data(text, data), ask)
        assert faults == [] and len(found) == sum(len(question["nodes"]) for question in data["questions"]) > 20

        def hexed(colour: str) -> str:
            return "#" + "".join(f"{int(part):02x}" for part in re.findall(r"\d+", colour)[:3])

        pairs = [(hexed(number), hexed(point)) for number, point in found]
        assert len({point for _, point in pairs}) >= 12 and {number for number, _ in pairs} == {"#000000", "#ffffff"}
        assert all(contrast(*pair) >= 4.5 for pair in pairs)

    def test_numbers_that_are_none_and_a_question_without_a_graph(self, text: str, tmp_path: Path) -> None:
        data = Page(text).data
        one, other = data["questions"][0], data["questions"][1]
        one["lens"][0]["top"][0][1] = one["lens"][0]["near"][0][1] = one["moments"][1]["values"][1] = None
        for name in ("places", "nodes", "edges", "way"):
            del other[name]
        for moment in other["moments"]:
            del moment["values"]
        ask = """
          const picker = document.getElementById("picker"), slider = document.getElementById("slider"), seen = [];
          const graph = document.getElementById("graph"), lens = document.getElementById("lens");
          for (const question of [0, 1, 0]) {
            picker.value = question; picker.dispatchEvent(new Event("change"));
            slider.value = 1; slider.dispatchEvent(new Event("input"));
            seen.push([graph.offsetWidth > 0, lens.textContent.includes("none")]);
          }
          document.title = JSON.stringify([faults, seen]);
        """
        faults, seen = in_browser(tmp_path, with_data(text, data), ask)
        assert faults == [] and seen == [[True, True], [False, False], [True, True]]

    def test_on_paper_and_for_those_who_do_not_see_it(self, text: str, tmp_path: Path) -> None:
        ask = """
          const closed = () => document.querySelectorAll("details:not([open])").length, before = closed();
          dispatchEvent(new Event("beforeprint"));
          const meanings = [...document.querySelectorAll(".meant dd")].filter((one) => one.offsetHeight);
          const during = closed();
          dispatchEvent(new Event("afterprint"));
          const rules = [...document.styleSheets[0].cssRules].filter((rule) => rule.media?.mediaText === "print");
          const exact = [...rules[0].cssRules].find((rule) => rule.selectorText === "body").style.printColorAdjust;
          const named = [...document.querySelectorAll("svg[role=img]")].map((one) =>
            one.getAttribute("aria-label") || document.getElementById(one.getAttribute("aria-labelledby")).textContent);
          const pictures = document.querySelectorAll(".figures svg").length;
          const buried = document.querySelectorAll("[role=img] :is(a, button, [tabindex])").length;
          document.querySelector("main").style.width = "260px";
          const picker = document.getElementById("picker");
          const fits = picker.offsetWidth <= picker.parentElement.offsetWidth;
          const counts = { before, during, after: closed(), meanings: meanings.length, pictures, buried };
          document.title = JSON.stringify([faults, { ...counts, exact, named, fits }]);
        """
        faults, found = in_browser(tmp_path, text, ask)
        assert faults == []
        assert found["before"] == found["after"] > found["during"] == 0
        assert found["meanings"] > 20 and found["exact"] == "exact" and found["fits"] and found["buried"] == 0
        assert found["pictures"] == 8 and len(found["named"]) == 9 and all(found["named"])
        assert "Accuracy after k thoughts" in found["named"]
        assert any(name.startswith("Graph of the question with the prob") for name in found["named"])

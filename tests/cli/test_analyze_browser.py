"""The report in a browser, where there is one."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.analysis.support import contrast
from tests.report_page import CHROMIUM, Page, in_browser


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
            const fill = (one) => getComputedStyle(one).fill, nodes = document.querySelectorAll("#graph .node");
            found.push(...[...nodes].map((one) => [fill(one.querySelector("text")), fill(one.firstChild)]));
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

    def test_a_narrow_page_and_a_saved_picture(self, text: str, tmp_path: Path) -> None:
        ask = """
          document.body.style.width = "390px";
          setTimeout(() => {
            const saved = graphFile(document.getElementById("graph"));
            const box = document.querySelector("#graph svg").viewBox.baseVal.width;
            const wide = document.body.scrollWidth, open = saved.includes("var(");
            document.title = JSON.stringify([faults, wide, box, saved.slice(0, 4), open]);
          }, 200);
        """
        faults, width, drawn, begin, open_colours = in_browser(tmp_path, text, ask)
        assert faults == [] and width == 390 and drawn < 330
        assert begin == "<svg" and not open_colours
        assert len(text.encode()) < 2_500_000

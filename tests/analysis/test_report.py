"""Which questions a report shows, and what of figures and texts becomes part of a page."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from lcot.analysis import Outcome, Thinker, tables
from lcot.analysis.measure import measure
from lcot.analysis.report import About, choose, search_trees, write_report
from lcot.analysis.subject import Subject
from lcot.reasoning.example import ReasoningExample
from tests.analysis.machine import OX, builder_of, machine, worked_tokenizer
from tests.problems import worked


def table(folder: Path, right: Mapping[int, bool]) -> list[ReasoningExample]:
    """A table of answers after 1 thought, and wrong ones after 0; the questions."""
    with tables.writer(folder, "outcomes") as found:
        for k in (0, 1):
            for number, correct in right.items():
                outcome = Outcome(f"q{number}", k, 1, "x", 1, "x", correct and k == 1, None)
                found.write([tables.outcome_row(number, outcome, "x")])
    return [ReasoningExample(f"q{number}?", ("x",), "x", f"q{number}") for number in right]


@pytest.mark.parametrize(
    ("wrong", "most", "expected"),
    [
        ({1, 3, 5, 7}, 4, ((0, 2), (1, 3))),
        ({5}, 4, ((0, 1, 2), (5,))),  # fewer wrong ones than half
        ({0, 1, 2, 3, 4, 5, 6}, 4, ((7,), (0, 1, 2))),  # fewer right ones than half
        ({5}, 99, ((0, 1, 2, 3, 4, 6, 7), (5,))),
        (set(), 2, ((0, 1),)),
        (set(range(8)), 2, ((0, 1),)),
    ],
)
def test_half_of_them_are_wrong(
    tmp_path: Path, wrong: set[int], most: int, expected: tuple[tuple[int, ...], ...]
) -> None:
    examples = table(tmp_path, {number: number not in wrong for number in range(8)})
    shown = choose(tmp_path, lambda: iter(examples), own=1, most=most)
    assert tuple(shown.groups.values()) == expected
    assert shown.numbers == [number for group in expected for number in group]
    assert {number: example.id for number, example in shown.examples.items()} == {
        number: f"q{number}" for number in sorted(shown.numbers)
    }


def test_no_more_questions_are_read_than_are_shown(tmp_path: Path) -> None:
    examples, taken = table(tmp_path, dict.fromkeys(range(8), True)), 0

    def read() -> object:
        nonlocal taken
        for example in examples:
            taken += 1
            yield example

    choose(tmp_path, read, own=1, most=3)  # type: ignore[arg-type]
    assert taken == 3


def test_texts_cannot_break_the_page(tmp_path: Path) -> None:
    """A question, a run's name and a setting that look like a page's own."""
    evil = "</script><script>alert(1)</script><img src=x>"
    names = (*OX[:4], "<b>impus", *OX[5:])
    tokenizer = worked_tokenizer()
    example = worked("compact", names, example_id=evil)
    subject = Subject(
        Thinker(machine(tokenizer, positions=256), builder_of(tokenizer)),
        lambda: iter([example]),
        (0, 1),
        lambda k: k,
        max_new_tokens=2,
    )
    about = About(evil, 1, frozenset({1}), f"questions of {evil}", (evil,), {evil: evil}, {"name": evil})
    measured = measure(subject, tmp_path)
    shown = choose(tmp_path, subject.examples, 1, 5)
    write_report(tmp_path / "report.html", about, measured, [], shown, search_trees(tmp_path, shown))
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "alert(1)</script>" not in text and "<img src=x>" not in text
    (data,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    question = json.loads(data)["questions"][0]
    assert question["id"] == evil and question["nodes"][4]["name"] == "<b>impus"

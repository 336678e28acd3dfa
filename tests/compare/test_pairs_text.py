"""Pairs on a screen, in Markdown and as CSV."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from rich.console import Console

from lcot.compare.pairs_text import MOST, to_csv
from lcot.compare.render import to_markdown, to_terminal
from lcot.compare.table import Comparison, compare
from lcot.runs.run import read_run
from tests.compare.folders import COT, answered, write_run
from tests.tiny import lcot

MINUS = "\N{MINUS SIGN}"
PAUSES = {"curriculum.schedule.init_args.kind": "pause"}
A, B = "x" * 60 + "." * 40, "." * 7 + "x" * 53 + "." * 39 + "x"


@pytest.fixture
def three(tmp_path: Path) -> Comparison:
    """Coconut and pauses of two seeds, and chains of thought of one."""
    for seed in (0, 1):
        write_run(tmp_path, f"coconut-{seed}", seed, report=answered(A))
        write_run(tmp_path, f"pause_as_thought-{seed}", seed, config=PAUSES, report=answered(B))
    write_run(tmp_path, "cot-0", config=COT, report=answered(A))
    return compare([read_run(path) for path in sorted(tmp_path.iterdir())])


def screen(comparison: Comparison, width: int) -> str:
    """What a terminal of some width shows."""
    out = io.StringIO()
    to_terminal(comparison, Console(file=out, width=width))
    return out.getvalue()


@pytest.mark.parametrize("width", [80, 100, 120])
def test_on_a_screen(three: Comparison, width: int) -> None:
    text = screen(three, width)
    lines = text.splitlines()
    assert max(map(len, lines)) <= width
    (start,) = [place for place, line in enumerate(lines) if "matched pairs" in line]
    assert lines[start].split()[-1] == "questions"
    rows = [line.split() for line in lines[start + 2 : start + 6]]
    assert rows[0][-8:] == ["0", "60.0", "54.0", "+6.0", "[+0.6,", "+12.9]", "0.070", "100"]
    assert rows[1][-8:] == ["1", "60.0", "54.0", "+6.0", "[+0.6,", "+12.9]", "0.070", "100"]
    assert rows[2][-8:] == ["all", "60.0", "54.0", "+6.0", "[+2.4,", "+10.6]", "0.004", "200"]
    assert "fed-back states or" in text and "other pairs" in text and "all: the questions of all seeds together" in text


def test_as_markdown(three: Comparison) -> None:
    lines = to_markdown(three).splitlines()
    start = next(place for place, line in enumerate(lines) if line.startswith("| matched pairs"))
    assert lines[start + 1].count("|") == lines[start].count("|") == 9
    names, *cells = lines[start + 2].strip("| ").split(" | ")
    assert names == f"coconut {MINUS} pause\\_as\\_thought"
    assert cells == ["fed-back states or pauses", "0", "60.0", "54.0", "+6.0 [+0.6, +12.9]", "0.070", "100"]
    (other,) = [line for line in lines if line.startswith(f"| coconut {MINUS} cot")]
    assert "fed-back states or no thoughts; hidden steps or written steps; Stepwise curriculum or none" in other


def test_as_csv(three: Comparison) -> None:
    rows = list(csv.DictReader(io.StringIO(to_csv(three))))
    assert [(row["a"], row["b"], row["seed"], row["factors"]) for row in rows] == [
        ("coconut", "pause_as_thought", "0", "1"),
        ("coconut", "pause_as_thought", "1", "1"),
        ("coconut", "pause_as_thought", "all", "1"),
        ("coconut", "cot", "0", "3"),
        ("cot", "pause_as_thought", "0", "3"),
    ]
    first, _, both, *_ = rows
    assert (first["only_a"], first["only_b"], first["questions"], float(first["difference"])) == ("7", "1", "100", 0.06)
    assert float(first["p"]) == pytest.approx(18 / 256)
    assert both["runs_a"].count("coconut-") == 2 and first["runs_b"].endswith("pause_as_thought-0")


def test_many_pairs(tmp_path: Path) -> None:
    for number in range(8):  # each beside each other differs in two factors
        changes = {"curriculum.schedule.init_args.mix_probability": number / 10}
        changes |= {"curriculum.schedule.init_args.thoughts_per_step": number + 1}
        write_run(tmp_path, f"method{number}-0", config=changes, report=answered(A))
    comparison = compare([read_run(path) for path in sorted(tmp_path.iterdir())])
    assert len(comparison.tables[0].pairs) == 28
    assert f"and {28 - MOST} further pairs: --pairs FILE writes them all" in screen(comparison, 100)
    assert to_csv(comparison).count("\n") == 29


def test_reasons_are_told(tmp_path: Path) -> None:
    write_run(tmp_path, "coconut-0", report=answered(A))
    write_run(tmp_path, "pauses-0", config=PAUSES, report=answered(B), cost={"optimizer_steps": 400})
    comparison = compare([read_run(path) for path in sorted(tmp_path.iterdir())])
    for text in (screen(comparison, 120), to_markdown(comparison)):
        assert "not paired: coconut and pauses, seed 0: 800 and 400 optimizer steps" in text
        assert "matched pairs" not in text


def test_on_the_command_line(three: Comparison, tmp_path: Path) -> None:
    outcome = lcot("compare", tmp_path, "--pairs", tmp_path / "new" / "pairs.csv")
    assert outcome.code == 0 and "matched pairs" in outcome.out
    assert (tmp_path / "new" / "pairs.csv").read_text() == to_csv(three)

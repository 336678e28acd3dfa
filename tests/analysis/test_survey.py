"""What questions have, and how it is told where some have not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lcot.analysis import Thinker
from lcot.analysis.survey import NEEDS, Need, Survey
from lcot.datamodules.rows import ListSource
from lcot.errors import UserError
from lcot.reasoning.example import ReasoningExample
from lcot.runs.record import data_hash
from tests.analysis.machine import builder_of
from tests.analysis.support import Watched, problems, random_setting

MODEL, TOKENIZER = random_setting("compact")
PLAIN = ReasoningExample("Every x? y", ("x",), "x", "plain")
SUM = ReasoningExample("2 and 3?", ("2 + 3 = 5",), "5", "sum")
GRAPHS = problems("compact", 3)


def survey(*examples: ReasoningExample, max_rows: int = 2) -> Survey:
    made = Survey(Thinker(MODEL, builder_of(TOKENIZER), max_rows=max_rows), [0, 1, 0], most=1, room=4)
    made.take(examples)
    return made


def test_each_question_by_itself() -> None:
    silent = replace(GRAPHS[1], question=GRAPHS[1].question.partition(". ")[2])
    strange = replace(GRAPHS[2], question=f"{GRAPHS[2].question} Which?")
    expected: list[tuple[ReasoningExample, set[Need]]] = [
        (PLAIN, set()),
        (GRAPHS[0], {"graph", "names", "facts"}),
        (SUM, {"results"}),
        (silent, {"graph", "names"}),
        (strange, set()),
    ]
    examples = [example for example, _ in expected]
    found = survey(*examples)
    assert [{need for need in NEEDS if found.has(number, need)} for number in range(5)] == [
        needs for _, needs in expected
    ]
    assert [found.number(need) for need in NEEDS] == [2, 2, 1, 1]
    assert [number for number, _ in found.those("names", examples)] == [1, 3]
    assert (found.count, found.data_hash) == (5, data_hash(ListSource(examples)))


@pytest.mark.parametrize(
    ("examples", "need", "told"),
    [
        (GRAPHS, "graph", None),
        ([PLAIN, SUM], "facts", "these questions carry no graph"),
        ([PLAIN, *GRAPHS], "names", "1 of 4 questions carries no graph and is left out"),
        ([PLAIN, *GRAPHS, SUM], "graph", "2 of 5 questions carry no graph and are left out"),
        ([PLAIN, SUM, PLAIN], "results", "2 of 3 questions have no steps that compute numbers and are left out"),
        ([PLAIN] * 1200 + [SUM], "graph", "these questions carry no graph"),
        ([SUM] + [PLAIN] * 1200, "results", "1,200 of 1,201 questions have no steps that compute numbers and are"),
    ],
)
def test_what_is_told(examples: list[ReasoningExample], need: Need, told: str | None) -> None:
    found = survey(*examples, max_rows=512).lack(need)
    assert found == told or (told is not None and str(found).startswith(told))


def test_a_fault_is_told_before_what_is_plain() -> None:
    facts = {**GRAPHS[1].facts, "edges": [[0, 99]]}
    broken = replace(GRAPHS[1], facts=facts)
    few, none = survey(PLAIN, broken, GRAPHS[0]).lack("graph"), survey(PLAIN, broken).lack("graph")
    assert few is not None and few.startswith("2 of 3 questions are left out; the first that is faulty: example")
    assert none is not None and "whose nodes cannot be read" in none


def test_no_more_is_read_ahead_than_is_laid_out_at_once() -> None:
    endless = Watched([*GRAPHS, ReasoningExample("x " * 400, ("x",), "x", "long")])
    with pytest.raises(UserError, match="1 thoughts need"):
        survey(*[]).take(endless)
    assert endless.taken <= 4

"""The sweep over k: texts of the machine, their categories, and the framework's own answers."""

from __future__ import annotations

import dataclasses
import json
from itertools import islice
from pathlib import Path

import pytest

import lcot
from lcot.analysis import Thinker
from lcot.analysis.outcomes import outcomes
from lcot.errors import UserError
from lcot.reasoning.example import ReasoningExample
from tests.analysis.machine import OX, S0, S1, S2, S3, TOM, builder_of, machine, worked_tokenizer
from tests.analysis.support import Watched, counted_rows, problems, random_setting
from tests.problems import worked
from tests.training import tiny_data

TOKENIZER = worked_tokenizer()
EXAMPLE = worked("compact", OX)
# Behind k thoughts the machine names the next node of the shortest path, and behind three of them it answers.
WRITES = {
    S0: {"▁lempus": 0.9, "▁rompus": 0.1},
    S1: {"▁impus": 0.9, "▁lempus": 0.1},
    S2: {"▁wumpus": 1.0},
    S3: {"### ": 1.0},
    "▁lempus": {"▁impus": 1.0},
    "▁impus": {"▁wumpus": 1.0},
    "### ": {"▁yumpus": 0.6, "▁wumpus": 0.4},
}
MACHINE = machine(TOKENIZER, WRITES, {TOM: S0, S0: S1, S1: S2, S2: S3})


def test_texts_and_categories_on_paper() -> None:
    thinker = Thinker(MACHINE, builder_of(TOKENIZER))
    found = [one for k in range(5) for one in outcomes(thinker, [EXAMPLE], k, max_new_tokens=6)]
    assert [(one.thoughts, one.text, one.tokens, one.category) for one in found] == [
        (0, "lempus impus wumpus", 3, "correct_path"),
        (1, "impus wumpus", 2, "correct_path"),
        (2, "wumpus", 1, "correct_path"),
        (3, "### yumpus", 2, "incorrect_label"),
        (4, "### yumpus", 2, "incorrect_label"),
    ]
    assert [(one.answer, one.correct) for one in found[2:4]] == [(None, False), ("yumpus", False)]
    assert [(one.id, one.steps) for one in found] == [("worked", 3)] * 5


def test_a_path_is_judged_by_the_steps_that_thoughts_stand_for() -> None:
    thinker = Thinker(MACHINE, builder_of(TOKENIZER))
    (found,) = outcomes(thinker, [EXAMPLE], 2, thoughts_per_step=2, max_new_tokens=6)
    assert (found.text, found.category) == ("wumpus", "hallucination")  # no edge leads there after one step
    (found,) = outcomes(thinker, [EXAMPLE], 2, thoughts_per_step=2, max_new_tokens=6, prefix="any")
    assert found.category == "correct_path"


def test_the_number_of_steps_may_be_told() -> None:
    thinker = Thinker(MACHINE, builder_of(TOKENIZER))
    (found,) = outcomes(thinker, [EXAMPLE], 2, hidden=1, max_new_tokens=6)
    assert (found.text, found.category) == ("wumpus", "hallucination")
    (found,) = outcomes(thinker, [EXAMPLE], 1, hidden=2, max_new_tokens=6)
    assert (found.text, found.category) == ("impus wumpus", "longer_path")  # impus is met again behind the detour


def test_a_right_answer_counts_whatever_the_path() -> None:
    thinker = Thinker(
        machine(TOKENIZER, {S0: {"### ": 1.0}, "### ": {"▁wumpus": 1.0}}, {TOM: S0}), builder_of(TOKENIZER, "pause")
    )
    (found,) = outcomes(thinker, [EXAMPLE], 0, max_new_tokens=4)
    assert (found.answer, found.correct, found.category) == ("wumpus", True, "correct_label")
    assert json.loads(json.dumps(dataclasses.asdict(found)))["category"] == "correct_label"


def test_a_question_without_a_graph_has_no_category() -> None:
    thinker = Thinker(MACHINE, builder_of(TOKENIZER))
    plain = ReasoningExample("wumpus or yumpus? Tom", ("lempus",), "yumpus", "plain")
    (found,) = outcomes(thinker, [plain], 3, max_new_tokens=4)
    assert (found.category, found.correct) == (None, True)


def test_the_answers_are_those_of_a_loaded_run(trained: Path) -> None:
    solver = lcot.load(trained)
    data = tiny_data(nodes=(5, 7), hops=(1, 2))
    examples = [data.make_source("test").example(number, 0) for number in range(5)]
    expected = solver.solve([example.question for example in examples])
    thinker = Thinker.of(solver, max_rows=2)
    assert (thinker.thinks, thinker.max_rows, thinker.model) == (solver.module.think, 2, solver.module.model)
    found = list(outcomes(thinker, examples, solver.thoughts, max_new_tokens=solver.module.max_new_tokens))
    assert [one.text for one in found] == [one.text for one in expected]
    assert [one.answer for one in found] == [one.answer for one in expected]


def test_batched_equals_one_by_one_in_bounded_memory() -> None:
    model, tokenizer = random_setting("compact", "gpt2")
    builder, examples = builder_of(tokenizer), problems("compact", 5)
    alone, together = (
        list(outcomes(Thinker(model, builder, max_rows=n), examples, 2, max_new_tokens=8)) for n in (1, 64)
    )
    assert alone == together
    endless = Watched(examples)
    with counted_rows(model) as rows:
        list(islice(outcomes(Thinker(model, builder, max_rows=3), endless, 2, max_new_tokens=2), 4))
    assert (max(rows), endless.taken) == (3, 6)


def test_refusals() -> None:
    thinker = Thinker(MACHINE, builder_of(TOKENIZER))
    with pytest.raises(UserError, match="max_new_tokens is 0"):
        next(outcomes(thinker, [EXAMPLE], 1, max_new_tokens=0))
    with pytest.raises(UserError, match="unknown extractor 'guess'"):
        next(outcomes(thinker, [EXAMPLE], 1, reader="guess"))
    with pytest.raises(UserError, match="positions, and the model has 128"):
        next(outcomes(thinker, [EXAMPLE], 1, max_new_tokens=120))

"""The written chain in spans: how long they are, and what is drawn for a row."""

from __future__ import annotations

from typing import Any

import pytest

from lcot.errors import UserError
from lcot.reasoning.curriculum import Stage
from lcot.reasoning.keyed import keyed_random
from lcot.reasoning.spanwise import Spanwise

DRAWN = Spanwise(size=[1, 5], answer_size=2, said="({size})", labels="drawn")


def test_one_size() -> None:
    schedule = Spanwise(size=3)
    assert schedule.resolve(0, 4) == schedule.evaluate(0, 4) == Stage(4, 0, span=3)
    assert schedule.sample(0, 4, keyed_random("row", 1)).span == 3
    assert (schedule.lead, schedule.texts, schedule.last_stage, schedule.stage_at(7)) == ("", (), 0, 0)
    assert schedule.describe(0) == "a thought for each span of 3 tokens"
    assert (schedule.thoughts_at_inference(0), schedule.numbers_trained(0)) == (0, set())


def test_a_size_for_each_row() -> None:
    """Both ends come up, the same row draws the same, and nothing is drawn for validation."""
    stages = [DRAWN.sample(0, 2, keyed_random("row", row)) for row in range(200)]
    assert {stage.span for stage in stages} == {1, 2, 3, 4, 5}
    assert len({stage.draw for stage in stages}) == 200
    assert stages[7] == DRAWN.sample(0, 2, keyed_random("row", 7))
    assert DRAWN.evaluate(0, 2) == Stage(2, 0, span=2)
    assert DRAWN.resolve(0, 2) == Stage(2, 0, span=1)  # the longest row that there is
    assert (DRAWN.lead, DRAWN.texts) == ("(2)", ("(1)", "(2)", "(3)", "(4)", "(5)"))
    assert DRAWN.describe(0) == "a thought for each span of 1 to 5 tokens"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"size": 0}, "size is 0"),
        ({"size": [3, 2], "said": "{size}"}, r"size is \[3, 2\]"),
        ({"size": [1, 2, 3], "said": "{size}"}, r"size is \[1, 2, 3\]"),
        ({"size": [1, 5]}, r"size is \[1, 5\], and said is ''"),
        ({"answer_size": 0}, "answer_size is 0"),
        ({"labels": "all"}, "all"),
        ({"teacher": "none"}, "none"),
    ],
)
def test_what_cannot_be(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        Spanwise(**options)

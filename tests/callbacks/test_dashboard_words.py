"""Which rows are shown, and how."""

from __future__ import annotations

import torch

from lcot.callbacks.dashboard_words import pick_rows, words_in_markdown
from lcot.modules.evaluation import Answers
from tests.modules.test_coconut import build, rows

RECORD = {"question": "a b?\nc", "thoughts": 2, "output": "d\n### e", "gold": "e", "correct": True}


def test_rows_are_spread_over_the_batch() -> None:
    _, builder = build()
    batch = rows(builder, (1, 2)).select([0, 1, 0, 1, 0])
    answers = Answers([[place] for place in range(5)], torch.arange(5), 10.0)
    for count, places in ((2, [0, 2]), (3, [0, 1, 3]), (9, [0, 1, 2, 3, 4])):
        picked, own = pick_rows(batch, answers, count)
        assert own.tokens == [[place] for place in places] and own.thoughts.tolist() == places
        assert own.seconds == 2.0 * len(places)
        assert picked.thoughts.tolist() == [(1, 2)[place % 2] for place in places]


def test_words() -> None:
    records = [RECORD, {**RECORD, "correct": False, "gold": "f", "path": "wrong_target"}]
    assert words_in_markdown(records, 3).splitlines() == [
        "Stage 3",
        "",
        "- a b? ⏎ c<br>**2 thoughts →** d ⏎ ### e *(right; gold: e)*",
        "- a b? ⏎ c<br>**2 thoughts →** d ⏎ ### e *(wrong, wrong target; gold: f)*",
    ]

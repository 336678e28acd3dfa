"""What a model writes about the same few questions, from stage to stage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lcot.modules.evaluation import Answers
from lcot.reasoning.batch import ThoughtBatch


def pick_rows(batch: ThoughtBatch, answers: Answers, count: int) -> tuple[ThoughtBatch, Answers]:
    """Some rows of a batch, evenly spread over it, with their answers.

    Args:
        batch: B rows; evaluation has them in the order of their lengths.
        answers: What was written for them.
        count: How many, at most.
    """
    shown = min(count, len(batch))
    places = [place * len(batch) // shown for place in range(shown)]
    seconds = answers.seconds * shown / len(batch)
    picked = Answers([answers.tokens[place] for place in places], answers.thoughts[places], seconds)
    return batch.select(places), picked


def words_in_markdown(records: Sequence[Mapping[str, Any]], stage: int) -> str:
    """A Markdown list of questions and what was written.

    Args:
        records: As predictions have them.
        stage: The stage they were written in.
    """
    # A list, not a table: TensorBoard breaks the words of narrow columns.
    rows = [
        f"- {_line(record['question'])}<br>**{record['thoughts']} thoughts →** {_line(record['output'])}"
        f" *({', '.join(_judged(record))}; gold: {_line(record['gold'])})*"
        for record in records
    ]
    return "\n".join([f"Stage {stage}", "", *rows])


def _judged(record: Mapping[str, Any]) -> list[str]:
    """Whether the answer is right and, where that was judged, which way led to it."""
    way = [record["path"].replace("_", " ")] if "path" in record else []
    return ["right" if record["correct"] else "wrong", *way]


def _line(text: str) -> str:
    return text.replace("\n", " ⏎ ")

"""Answered questions as plain values: what ``predict`` writes down."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lcot.metrics import Category, extractor
from lcot.modules.evaluation import Answers, Judge, Votes
from lcot.modules.voting import ballots
from lcot.reasoning.batch import ThoughtBatch


def records(
    batch: ThoughtBatch,
    votes: Votes,
    texts: Sequence[Sequence[Sequence[str]]],
    extractors: Sequence[str],
    marker: str,
    eos: int,
    seed: int,
    judge: Judge = lambda place, text, thoughts: None,
) -> list[dict[str, Any]]:
    """Questions with what was written; :meth:`~lcot.modules.answering.AnsweringModule.records` says what is in them.

    Args:
        batch: B questions.
        votes: All answers to them.
        texts: One group a run, of one group a vote, of B texts.
        extractors: Names; the first is that of ``answer`` and ``correct``.
        marker: What stands before an answer.
        eos: Not counted as a token.
        seed: Of the first run.
        judge: Gives texts their categories.
    """
    readers = {f"correct_{name}" if place else "correct": extractor(name) for place, name in enumerate(extractors)}
    read = [{key: ballots(run, reader, marker) for key, reader in readers.items()} for run in texts]
    written = [answers.written(eos) for answers in votes.runs[0]]
    seconds = votes.seconds / len(batch)
    rows = []
    for place, example in enumerate(batch.examples):
        judged = [
            {key: readers[key].equal(found[place].answer, example.answer) for key, found in run.items()} for run in read
        ]
        cast = [run["correct"][place] for run in read]
        vote = cast[0].chosen
        row: dict[str, Any] = {
            "index": int(batch.index[place]),
            "id": example.id,
            **({"pair": example.pair} if example.pair else {}),
            "question": example.question,
            "gold": example.answer,
            "steps": len(example.steps),
            "output": texts[0][vote][place],
            "answer": cast[0].answer,
            **judged[0],
            "thoughts": int(votes.runs[0][vote].thoughts[place]),
            "tokens": written[vote][place],
            "seconds": round(seconds, 6),
        }
        path = judge(place, row["output"], row["thoughts"])
        if path is not None:
            row["path"] = path
        if len(votes.every) > 1:
            row["samples"] = [
                {
                    "seed": seed + run,
                    "answer": ballot.answer,
                    **judged[run],
                    "outputs": [vote[place] for vote in texts[run]],
                    "answers": list(ballot.answers),
                    **({"paths": _paths(judge, place, texts[run], votes.runs[run])} if path is not None else {}),
                }
                for run, ballot in enumerate(cast)
            ]
        rows.append(row)
    return rows


def _paths(judge: Judge, place: int, texts: Sequence[Sequence[str]], run: Sequence[Answers]) -> list[Category | None]:
    """The categories of one question's votes in a run."""
    pairs = zip(texts, run, strict=True)
    return [judge(place, written[place], int(answers.thoughts[place])) for written, answers in pairs]

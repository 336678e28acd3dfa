"""Small files in each format that a data set is published in: their records, how they are written and read."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from lcot.datamodules import (
    GSM8K,
    AQuA,
    ASDiv,
    CommonsenseQA,
    DateUnderstanding,
    JSONReasoning,
    Multiplication,
    ProntoQA,
    ProsQA,
    ReasoningDataModule,
    StrategyQA,
)
from lcot.datamodules.base import Split
from lcot.datamodules.multiplication import render
from tests.places import SHARED

Record = dict[str, Any]

NEEDED: dict[str, tuple[str, ...]] = {
    "gsm8k": ("question", "answer"),
    "gsm8k_steps": ("question", "steps", "answer"),
    "gsm8k_cot": ("question", "cot", "answer"),
    "gsm8k_nl": ("question", "cot", "answer"),
    "commonsenseqa": ("question", "cot", "answer"),
    "strategyqa_cot": ("question", "cot", "answer"),
    "svamp": ("question_concat", "Answer"),
    "multiarith": ("question", "final_ans"),
    "gsm_hard": ("input", "target"),
    "aqua": ("question", "options", "rationale", "correct"),
    "asdiv_aug": ("question", "answer"),
    "strategyqa": ("question", "answer", "facts"),
    "prontoqa": ("question", "query", "chain_of_thought", "answer"),
    "prontoqa_listed": ("question", "steps", "answer"),
    "prosqa": ("question", "steps", "answer", "idx_to_symbol", "edges", "root", "target", "neg_target"),
    "date_understanding": ("input", "target"),
    "json_reasoning": ("question", "steps", "answer"),
}
"""Fields without which a record is none."""


@dataclass(frozen=True)
class Format:
    """A format.

    Attributes:
        name: The data set, and the form of its file.
        file: Name of the file.
        records: What is in it: objects, or lines of text.
        written: The file's text.
        data: Reads it.
        split: As which split.
        needed: Fields without which a record is none.
        marks: Whether the steps are calculator marks.
        closed: Whether the end of the text shows that it is the end.
    """

    name: str
    file: str
    records: Sequence[Any]
    written: Callable[[Sequence[Any]], str]
    data: Callable[[str], ReasoningDataModule]
    split: Split = "train"
    needed: tuple[str, ...] = ()
    marks: bool = False
    closed: bool = True


def listed(records: Sequence[Any]) -> str:
    return json.dumps(list(records), indent=1)


def lined(records: Sequence[Any]) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


def entered(records: Sequence[Any]) -> str:
    return json.dumps({f"example{n}": {"test_example": one} for n, one in enumerate(records, start=1)}, indent=1)


def within(records: Sequence[Any]) -> str:
    return json.dumps({"canary": "none", "examples": list(records), "more": [1]}, indent=1)


def text(records: Sequence[Any]) -> str:
    return "".join(f"{line}\n" for line in records)


def xml(records: Sequence[Any]) -> str:
    made = "".join(
        f'<Problem ID="{number}" Grade="1">\n'
        + "".join(f"<{key}>{one}</{key}>\n" for key, one in record.items())
        + "</Problem>\n"
        for number, record in enumerate(records)
    )
    return f'<?xml version="1.0" encoding="UTF-8" ?>\n<Corpus>\n<ProblemSet>\n{made}</ProblemSet>\n</Corpus>\n'


def _own() -> dict[str, list[Any]]:
    pens = "A box holds 4 pens. How many pens are in {} boxes, if 2 are lost?"
    counts = (3, 5, 7)
    solved = [(pens.format(n), f"<<4*{n}={4 * n}>>", f"<<{4 * n}-2={4 * n - 2}>>", str(4 * n - 2)) for n in counts]
    graphs = []
    for person in ("Tom", "Ann", "Bob"):
        graphs.append(
            {
                "question": f"{person} is a lempus. Every lempus is a gorpus. Every rompus is a yumpus. Every gorpus is"
                f" a brimpus. Is {person} a brimpus or yumpus?",
                "steps": [f"{person} is a lempus.", "Every lempus is a gorpus.", "Every gorpus is a brimpus."],
                "answer": f"{person} is a brimpus.",
                "idx_to_symbol": [person, "lempus", "gorpus", "brimpus", "rompus", "yumpus"],
                "edges": [[0, 1], [1, 2], [2, 3], [4, 5]],
                "root": 0,
                "target": 3,
                "neg_target": 5,
            }
        )
    proofs = [
        {
            "question": f"Wumpuses are not hot. Each rompus is a wumpus. Every impus is hot. {person} is a rompus."
            f" {person} is a gorpus.",
            "query": f"True or false: {person} is hot.",
            "chain_of_thought": [
                f"{person} is a rompus.",
                "Each rompus is a wumpus.",
                f"{person} is a wumpus.",
                "Wumpuses are not hot.",
                f"{person} is not hot.",
            ],
            "answer": "False",
        }
        for person in ("Sam", "Alex", "Max")
    ]
    products = [render(first, 28, (3, 2), example_id="x") for first in (365, 472, 901)]
    return {
        "gsm8k": [
            {"question": q, "answer": f"There are {a}{a[2:-2].split('=')[1]}.\nThen {b}{r}.\n#### {r}"}
            for q, a, b, r in solved
        ],
        "gsm8k_steps": [{"question": q, "steps": [a, b], "answer": r} for q, a, b, r in solved],
        "gsm8k_aug": [f"{q}||{a} {b} #### {r}" for q, a, b, r in solved],
        "gsm8k_cot": [{"question": q, "cot": f"{a} {b}", "answer": f"#### {r}"} for q, a, b, r in solved],
        "gsm8k_nl": [
            {"question": q, "cot": f"There are {a[2:-2]}. Now there are {r}.", "answer": r} for q, a, _, r in solved
        ],
        "commonsenseqa": [
            {
                "question": f"What is twice {n}?\nA: {2 * n}\nB: {n}",
                "cot": f"Twice {n} is {2 * n}. So A.",
                "answer": "A",
            }
            for n in counts
        ],
        "strategyqa_cot": [
            {"question": f"Is {n} more than 4?", "cot": f"{n} is a number. So is 4.", "answer": n > 4} for n in counts
        ],
        "svamp": [
            {
                "ID": f"chal-{n}",
                "question_concat": pens.format(n),
                "Equation": f"( 4.0 * {n}.0 )",
                "Answer": f"{4 * n}.0",
            }
            for n in counts
        ],
        "multiarith": [{"question": pens.format(n), "final_ans": str(4 * n - 2)} for n in counts],
        "gsm_hard": [
            {"input": pens.format(n), "code": "def solution(): ...", "target": 61.220000000000006 * n} for n in counts
        ],
        "asdiv_aug": [{"question": q, "answer": f"{a}\n{b}\n####{r}"} for q, a, b, r in solved],
        "asdiv": [
            {
                "Body": f"A box holds 4 pens, and there are {n}.",
                "Question": "How many pens are there?",
                "Solution-Type": "Multiplication",
                "Answer": f"{4 * n} (pens)",
                "Formula": f"4*{n}={4 * n}",
            }
            for n in counts
        ],
        "aqua": [
            {
                "question": f"What is twice {n}?",
                "options": [f"A){2 * n}", f"B){3 * n}", "C)None"],
                "rationale": f"Twice {n} is {n} + {n}.\nThat is {2 * n}.\nAnswer: A",
                "correct": "A",
            }
            for n in counts
        ],
        "strategyqa": [
            {
                "qid": f"q{n}",
                "question": f"Is {n} more than 4?",
                "answer": n > 4,
                "facts": [f"{n} comes at place {n}.", "4 comes at place 4."],
                "decomposition": ["Where is 4?"],
            }
            for n in counts
        ],
        "prontoqa": proofs,
        "prontoqa_listed": [
            {
                "question": f"{one['question']} {one['query']}",
                "steps": [
                    " ".join(one["chain_of_thought"][at : at + 2]) for at in range(0, len(one["chain_of_thought"]), 2)
                ],
                "answer": one["answer"],
            }
            for one in proofs
        ],
        "prosqa": graphs,
        "date_understanding": [
            {
                "input": f"Today is 0{n}/01/2003. What is tomorrow?\nOptions:\n(A) 0{n}/02/2003\n(B) 02/0{n}/2004",
                "target": "(A)",
            }
            for n in counts
        ],
        "json_reasoning": [
            {
                "id": f"p{n}",
                "question": f"Is {n} odd?",
                "steps": [f"{n} is no even number.", "So it is."],
                "answer": "yes",
            }
            for n in counts
        ],
        "multiplication": [f"{one.question}||{' '.join(one.steps)} #### {one.answer}" for one in products],
    }


def _published() -> dict[str, list[Any]]:
    """The first records of published files, those that are there."""
    found: dict[str, list[Any]] = {}

    def read(name: str, file: str, take: Callable[[str], list[Any]]) -> None:
        path = SHARED / file
        if path.is_file():
            found[name] = take(path.read_text(encoding="utf-8"))

    def lines(text: str) -> list[Any]:
        return [json.loads(line) for line in text.splitlines()[:3]]

    read("gsm8k", "gsm8k/train.jsonl", lines)
    read("gsm8k_aug", "gsm8k_aug/valid.txt", lambda text: text.splitlines()[:3])
    read("aqua", "aqua/dev.json", lines)
    read("strategyqa", "strategyqa/dev.json", lambda text: json.loads(text)[:3])
    read("prosqa", "prosqa/prosqa_valid.json", lambda text: json.loads(text)[:3])
    read("date_understanding", "date_understanding/date_understanding.json", lambda t: json.loads(t)["examples"][:3])
    read("multiplication", "multiplication/4_by_4_valid.txt", lambda text: text.splitlines()[:3])
    read(
        "prontoqa",
        "prontoqa/5hop_0shot_random.json",
        lambda text: [entry["test_example"] for entry in list(json.loads(text).values())[:3]],
    )
    return found


def _formats(records: dict[str, list[Any]], origin: str) -> list[Format]:
    def train(kind: Any, **options: Any) -> Callable[[str], ReasoningDataModule]:
        return lambda path: kind(train_path=path, seed=0, **options)

    def test(kind: Any) -> Callable[[str], ReasoningDataModule]:
        return lambda path: kind(test_path=path, seed=0)

    forms: list[tuple[str, str, Any, Any, dict[str, Any]]] = [
        ("gsm8k", ".jsonl", lined, train(GSM8K), {"marks": True, "closed": False}),
        ("gsm8k", ".json", listed, train(GSM8K), {"marks": True}),
        ("gsm8k_steps", ".json", listed, train(GSM8K), {}),
        ("gsm8k_aug", ".txt", text, train(GSM8K), {"marks": True, "closed": False}),
        ("gsm8k_cot", ".jsonl", lined, train(GSM8K), {"marks": True, "closed": False}),
        ("gsm8k_nl", ".json", listed, train(GSM8K, chain="sentences"), {}),
        ("commonsenseqa", ".json", listed, train(CommonsenseQA), {}),
        ("strategyqa_cot", ".jsonl", lined, train(StrategyQA), {"closed": False}),
        ("svamp", ".json", listed, test(GSM8K), {"split": "test"}),
        ("multiarith", ".jsonl", lined, test(GSM8K), {"split": "test", "closed": False}),
        ("gsm_hard", ".json", listed, test(GSM8K), {"split": "test"}),
        ("asdiv_aug", ".jsonl", lined, train(ASDiv), {"marks": True, "closed": False}),
        ("asdiv", ".xml", xml, train(ASDiv), {}),
        ("aqua", ".json", lined, train(AQuA), {"closed": False}),
        ("aqua", ".jsonl", listed, train(AQuA), {}),
        ("strategyqa", ".json", listed, train(StrategyQA), {}),
        ("prontoqa", ".json", entered, train(ProntoQA), {}),
        ("prontoqa_listed", ".jsonl", lined, train(ProntoQA), {"closed": False}),
        ("prosqa", ".json", listed, train(ProsQA), {}),
        ("prosqa", ".jsonl", lined, train(ProsQA, style="compact"), {"closed": False}),
        ("date_understanding", ".json", within, lambda path: DateUnderstanding(test_path=path), {"split": "test"}),
        ("json_reasoning", ".jsonl", lined, train(JSONReasoning), {"closed": False}),
        ("multiplication", ".txt", text, train(Multiplication), {"closed": False}),
    ]
    return [
        Format(f"{origin} {name}{ending}", f"{name}{ending}", records[name], written, data,
               needed=NEEDED.get(name, ()), **more)
        for name, ending, written, data, more in forms
        if name in records
    ]  # fmt: skip


FORMATS = [*_formats(_own(), "own"), *_formats(_published(), "published")]

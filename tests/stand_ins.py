"""Small data in the place of what the shipped configs ask for."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lcot.datamodules import ClosedProsQA, Sums
from lcot.datamodules.tokenizers import build_word_tokenizer
from lcot.reasoning.prompts import load_prompt
from lcot.reasoning.tokens import add_thought_tokens
from tests.chat import Family, chat_tokenizer
from tests.models import tiny_model
from tests.tiny import RECORD, write_records

GSM8K = (
    "Ann has 3 cats and 2 dogs. How many legs?||<<3+2=5>> <<4*5=20>> #### 20\nBob has 1 cat. How many legs?|| #### 4\n"
)
"""Two lines of GSM8k-Aug's form, one without any equation."""

PRONTOQA = {
    f"example{number}": {
        "test_example": {
            "question": "Each impus is a jompus. Jompuses are hot. Max is an impus.",
            "query": "True or false: Max is hot.",
            "chain_of_thought": [
                "Max is an impus.",
                "Each impus is a jompus.",
                "Max is a jompus.",
                "Jompuses are hot.",
                "Max is hot.",
            ],
            "answer": "True",
        }
    }
    for number in range(6)
}
"""Six records of the published generator's form."""

AQUA = [
    {
        "question": f"A man rides {number} km in an hour. How far does he get in 2 hours?",
        "options": [f"A){number} km", f"B){2 * number} km", f"C){3 * number} km", "D)4 km", "E)5 km"],
        "rationale": f"He rides {number} km an hour.\n{number} * 2 = {2 * number}\nAnswer: B",
        "correct": "B",
    }
    for number in range(6, 12)
]
"""Six records of AQuA's form."""

STRATEGYQA = [
    {
        "qid": f"q{number}",
        "term": "Owl",
        "description": "A bird",
        "question": f"Could {number} owls read a book?",
        "answer": number % 2 == 0,
        "facts": ["Owls are birds. ", f"There are {number} of them."],
        "decomposition": ["What are owls?", "Can #1 read?"],
        "evidence": [],
    }
    for number in range(40)
]
"""Forty records of StrategyQA's form."""

COMMONSENSE = {
    "question": "Where is a fox?\nChoices:\nA: pen\nB: forest\nC: hen house\nD: sea\nE: sky",
    "cot": "Foxes are wild. A forest is wild.",
    "answer": "B",
}
"""A record of CommonsenseQA with its chain."""

DATES = {
    "canary": "none",
    "examples": [
        {
            "input": f"Today is 0{day}/01/2001. What is the date?\nOptions:\n(A) 0{day}/01/2001\n(B) 01/02/1999",
            "target": "(A)",
        }
        for day in range(1, 5)
    ],
}
"""Four records in the form of Date Understanding."""

ASDIV = (
    '<?xml version="1.0" encoding="UTF-8" ?>\n<Machine-Reading-Corpus-File>\n<ProblemSet>\n'
    + "".join(
        f"""\t<Problem ID="nluds-{number:04}" Grade="1" Source="http://example.org">
\t\t<Body>{name} has {number + 4} cats and three dogs.</Body>
\t\t<Question>How many pets does {name} have?</Question>
\t\t<Solution-Type>Addition</Solution-Type>
\t\t<Answer>{number + 7} (pets)</Answer>
\t\t<Formula>{number + 4}+3={number + 7}</Formula>
\t</Problem>
"""
        for number, name in enumerate(
            "Ann Bob Cat Dan Eva Fay Gus Hal Ida Jan Kay Leo Mia Ned Oda Pia".split(), start=1
        )
    )
    + "</ProblemSet>\n</Machine-Reading-Corpus-File>\n"
)
"""Sixteen problems in ASDiv's XML, some for each split."""

_SPLITS = ("train", "val", "test")


def pretrained(folder: Path, texts: Iterable[str], architecture: str = "llama", **changes: object) -> Path:
    """Write a small random model as Hugging Face has pretrained ones, with a tokenizer of the words of some texts.

    Args:
        folder: Where to.
        texts: What is one token a word.
        architecture: As in :func:`tests.models.tiny_model`.
        changes: Likewise.
    """
    tokenizer = build_word_tokenizer(texts)
    tokenizer.save_pretrained(folder)
    ids = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    tiny_model(architecture, vocab_size=len(tokenizer), **{**ids, **changes}).save_pretrained(folder)
    return folder


def chat_model(
    folder: Path, family: Family = "qwen25", template: str | None = "", architecture: str = "llama", **changes: object
) -> Path:
    """Write a small random chat model: a tokenizer of bytes with a family's turns, and ends that it names itself.

    Args:
        folder: Where to.
        family: Whose special tokens and template.
        template: Another template; ``None`` for none, as base models have.
        architecture: As in :func:`tests.models.tiny_model`.
        changes: Likewise.
    """
    tokenizer = chat_tokenizer(family, template)
    tokenizer.save_pretrained(folder)
    size = {"vocab_size": len(tokenizer), "max_position_embeddings": 1024}
    model = tiny_model(architecture, **{**size, "eos_token_id": tokenizer.eos_token_id, **changes})
    assert model.generation_config is not None
    model.generation_config.eos_token_id = [tokenizer.eos_token_id, tokenizer.pad_token_id]
    model.save_pretrained(folder)
    return folder


def softcot_models(folder: Path) -> Path:
    """Write ``runs`` with models in the place of the two that configs/softcot_prosqa.yaml is about; gives the folder.

    Args:
        folder: Where to; commands on that config start there.
    """
    words = [*ClosedProsQA().vocabulary(), *load_prompt("plain/hinted_prosqa").texts()]
    for run, width in (("softcot-llm", 32), ("softcot-assistant", 16)):
        tokenizer = build_word_tokenizer(words)
        add_thought_tokens(tokenizer)
        tokenizer.save_pretrained(folder / "runs" / run / "tokenizer")
        tiny_model("qwen3", vocab_size=len(tokenizer), hidden_size=width).save_pretrained(folder / "runs" / run)
    return folder


def data_options(settings: dict[str, Any], folder: Path, published: bool) -> list[str]:
    """The options that give a config a handful of problems.

    Args:
        settings: The config.
        folder: Where files may be written.
        published: Whether to give files where the data could be generated too.
    """
    kind = settings["data"]["class_path"]
    if model := settings["model"]["init_args"]["backbone"].get("path") if kind == "Sums" else None:
        pretrained(folder / model, Sums().vocabulary())
    symbolic = settings["data"].get("init_args", {}).get("style") == "symbolic"
    if kind == "GSM8K":
        path = folder / "gsm.txt"
        path.write_text(GSM8K, encoding="utf-8")
    elif kind == "AQuA":
        path = folder / "aqua.json"  # published so, and an object on each line
        path.write_text("".join(json.dumps(record) + "\n" for record in AQUA), encoding="utf-8")
    elif kind == "CommonsenseQA":
        path = write_records(folder / "commonsense.json", COMMONSENSE, COMMONSENSE)
    elif kind == "StrategyQA":
        return [f"--data.path={write_records(folder / 'strategyqa_train.json', *STRATEGYQA)}"]
    elif kind == "ASDiv":
        path = folder / "ASDiv.xml"
        path.write_text(ASDIV, encoding="utf-8")
        return [f"--data.path={path}"]
    elif kind == "DateUnderstanding":
        path = folder / "dates.json"
        path.write_text(json.dumps(DATES), encoding="utf-8")
        return [f"--data.test_path={path}"]
    elif kind == "JSONReasoning" or (kind == "ProsQA" and published and not symbolic):
        path = write_records(folder / "records.json", RECORD, RECORD)
    elif kind == "ProntoQA" and published:
        path = folder / "pronto.json"
        path.write_text(json.dumps(PRONTOQA), encoding="utf-8")
        return [f"--data.path={path}", *(f"--data.{split}_size=2" for split in _SPLITS)]
    else:
        return [f"--data.{split}_size=4" for split in _SPLITS]
    return [f"--data.{split}_path={path}" for split in _SPLITS]

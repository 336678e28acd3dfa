"""``lcot show``: an example's rows in every stage, and its own refusals."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lcot.cli.show import rendered
from lcot.reasoning.layout import IGNORE, Layout, LayoutBuilder
from tests.chat import chat_tokenizer, spelled
from tests.test_configs import CONFIGS, PROSQA
from tests.tiny import RECORD, lcot, write_config, write_records

SMALL = ("--data.train_size=4", "--data.val_size=2", "--data.test_size=2")


def test_slots_and_supervised_text_are_marked() -> None:
    tokenizer = chat_tokenizer("qwen25")
    ids = spelled(tokenizer, "qwen25", "Q<|im_end|>▢▢<|box_end|>A<|im_end|>")
    labels = [IGNORE] * 5 + ids[5:]
    row = Layout(ids, labels, head=2, thoughts=2, prompt=5)
    assert rendered(tokenizer, row) == "Q<|im_end|>▢▢<|box_end|>⟦A<|im_end|>⟧"
    pauses = Layout(ids, [IGNORE] * 7, head=2, thoughts=0, prompt=7, pauses=2)
    assert rendered(tokenizer, pauses) == "Q<|im_end|>▢▢<|box_end|>A<|im_end|>"


def test_every_stage_of_the_default_config() -> None:
    outcome = lcot("show", "-c", PROSQA, *SMALL, "--index=1")
    assert outcome.code == 0, outcome.err
    first, *blocks = outcome.out.split("\n── ")
    head, guess = first.splitlines()
    assert head == "example 'train-1' of the train data"
    assert re.fullmatch(
        r"whoever is asked .* deeper is right in \d+\.\d % of the first 4 train questions \(.*\)", guess
    )
    assert [block.partition(":")[0] for block in blocks] == [f"training, stage {stage}" for stage in range(4)]
    assert [block.count("▢") for block in blocks] == [0, 1, 2, 3]
    texts = [block.partition("\n")[2].rstrip() for block in blocks]
    question = texts[0].partition("⟦")[0]
    assert all(text.startswith(question) and text.endswith("<|endoftext|>⟧") for text in texts)
    assert "### " in texts[-1] and len(texts[-1].partition("⟦")[2]) < len(texts[0].partition("⟦")[2])


@pytest.mark.parametrize(("mixed", "first"), [("0.0", 1), ("0.5", 0)])
def test_stages_that_are_never_trained_are_not_shown(mixed: str, first: int) -> None:
    words = ("--curriculum.schedule.first_stage=1", "--curriculum.schedule.epochs_per_stage=3")
    outcome = lcot("show", "-c", PROSQA, *SMALL, *words, f"--curriculum.schedule.mix_probability={mixed}", "--index=1")
    assert outcome.code == 0, outcome.err
    stages = [block.partition(":")[0] for block in outcome.out.split("\n── ")[1:]]
    assert stages == [f"training, stage {stage}" for stage in range(first, 4)]


def test_questions_without_training_data(tmp_path: Path, trained: Path) -> None:
    asked = {"input": "What is 1 day after 12/24/1937?\nOptions:\n(A) 12/25/1937\n(B) 12/26/1937", "target": "(A)"}
    records = write_records(tmp_path / "records.json", asked)
    config = ("-c", CONFIGS / "date_understanding.yaml", f"--data.test_path={records}", "--split=test")
    refused = lcot("show", *config)
    assert refused.code == 2 and "--split test --data.tokenizer=runs/aqua/tokenizer" in refused.block
    outcome = lcot("show", *config, f"--data.tokenizer={trained / 'tokenizer'}")
    assert outcome.code == 0 and outcome.out.startswith("example '0' of the test data"), outcome.err


@pytest.mark.parametrize(
    "method",
    ["cot", "no_cot", "icot", "pause", "coconut_no_curriculum", "coconut_no_thought", "pause_as_thought"],
)
def test_every_method_of_the_coconut_paper(method: str) -> None:
    overlay = CONFIGS / "methods" / f"{method}.yaml"
    outcome = lcot("show", "-c", PROSQA, "-c", overlay, *SMALL, "--split", "val")
    assert outcome.code == 0, outcome.err
    assert "example 'val-0' of the val data" in outcome.out and "⟦" in outcome.out


def test_a_chat_with_its_assistant(tmp_path: Path) -> None:
    for family in ("llama3", "qwen25"):
        chat_tokenizer(family).save_pretrained(tmp_path / family)
    records = write_records(tmp_path / "records.json", {**RECORD, "question": "Is {Tom} a cat?", "answer": "Yes"})
    outcome = lcot(
        "show", "-c", PROSQA, "--data=JSONReasoning", f"--data.train_path={records}",
        f"--data.tokenizer={tmp_path / 'qwen25'}", "--data.dialogue.prompt=qwen25/strategyqa",
        f"--data.dialogue.assistant={tmp_path / 'llama3'}", "--data.dialogue.assistant_prompt=llama3/strategyqa",
        "--curriculum.schedule=Fixed", "--curriculum.schedule.hidden=none", "--curriculum.schedule.kind=soft",
        "--curriculum.schedule.thoughts=3", "--curriculum.schedule.inference_thoughts=2",
        "--curriculum.schedule.markers=always",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    first, row, assistant, asked, heard = outcome.out.split("\n── ")
    assert first == "example '0' of the train data, in the words of qwen25/strategyqa\n"
    assert row.startswith("training, stage 0: 3 thoughts, ")
    told = "`Yes` or `No`: Is {Tom} a cat?\n\nHere are something useful for your reasoning: <|box_start|>▢▢▢<|box_end|>"
    assert told in row and "<|im_start|>assistant\n⟦OK. The question is Is {Tom} a cat?" in row
    assert row.rstrip().endswith("1. Tom is a cat.\nFinished reasoning, the answer is: Yes.<|im_end|>⟧")
    assert assistant.startswith("its assistant: ") and "<|begin_of_text|>" in assistant
    assert assistant.rstrip().endswith("solve this strategy reasoning task: ▢▢▢")
    assert asked.startswith("inference: ") and "⟦" not in asked and asked.rstrip().endswith("<|im_start|>assistant")
    assert heard.rstrip().endswith("task: ▢▢")


def test_what_rules_reach(tmp_path: Path) -> None:
    config = write_config(tmp_path, {"data.init_args.ask": "both", "data.init_args.val_size": 20})
    outcome = lcot("show", "-c", config, "--rules", "--split=val")
    assert outcome.code == 0, outcome.err
    first, _, title, deeper, weighted, _, other, *near = outcome.out.splitlines()
    assert first == "40 questions of the val data, 20 pairs"
    assert title == "rules that never look at who is asked about" and other == "rules that look from there"
    for line in (deeper, weighted):
        assert line.split("   ")[-3:] == [" 50.0 %", "both questions of a pair", "0.0 %"] or line.endswith(
            "50.0 %   both questions of a pair   0.0 %"
        )
    assert [line.split()[0] for line in near] == ["1", "2", "3"]
    assert near[1].endswith("100.0 %   both questions of a pair 100.0 %"), "hops end at 2"
    shown = lcot("show", "-c", config, "--split=val").out.splitlines()
    assert "right in 50.0 % of the first 40 val questions, and in both of 0.0 % of the pairs" in shown[1]
    single = lcot("show", "-c", write_config(tmp_path), "--rules").out
    assert single.startswith("12 questions of the train data\n") and "pair" not in single


def test_rules_need_two_options_in_a_graph(tmp_path: Path) -> None:
    config = write_config(tmp_path, {"data": {"class_path": "ProntoQA", "init_args": {"val_size": 3, "train_size": 3}}})
    outcome = lcot("show", "-c", config, "--rules")
    assert outcome.code == 2 and "is no choice between two nodes of a graph that it states" in outcome.block
    shown = lcot("show", "-c", config).out
    assert shown.startswith("example 'train-0' of the train data\n\n── ")


def test_rows_that_stand_beside_one_without_an_assistant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = LayoutBuilder.lesson

    def with_sides(self: LayoutBuilder, *args: Any) -> Layout:
        row = made(self, *args)
        return replace(row, views={"assistant": row, "own": row})

    monkeypatch.setattr(LayoutBuilder, "lesson", with_sides)
    outcome = lcot("show", "-c", write_config(tmp_path))
    assert outcome.code == 0, outcome.err
    assert outcome.out.count("── its assistant: ") == outcome.out.count("── its view 'own': ") == 2


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--index=x",), "--index is 'x'"),
        (("--index=" + "9" * 5000,), "--index is '999"),
        (("--index",), "--index is ''"),
        (("--index=99",), "there is no example 99"),
        (("--rules", "--index=2"), "--index and --rules are both given"),
        (("--rules=yes",), "there is no setting 'rules'"),
        (("--split=dev",), "unknown split 'dev'"),
        (("--split=predict",), "known: test, train, val"),
        (("--data.batch_size=0",), "batch_size is 0"),
        (("--data.dialogue.prompt=plain/prosq",), "did you mean 'plain/prosqa'?"),
        (("--curriculum.schedule.kind=soft",), "the kind of thought is 'soft', and there is no dialogue"),
    ],
)
def test_refusals(words: tuple[str, ...], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = lcot("show", "-c", write_config(tmp_path), *words)
    assert outcome.code == 2
    assert says in outcome.block
    assert not Path("runs").exists()


def test_its_help() -> None:
    assert "usage: lcot show -c CONFIG" in lcot("show", "--help").out
    assert "  show      " in lcot("--help").out

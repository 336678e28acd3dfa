"""What a test's report keeps of texts, and what is said where they hold no answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lcot.runs.writer import KEPT, unanswered
from tests.tiny import lcot, write_config


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished run, ``runs/tiny``."""
    folder = tmp_path_factory.mktemp("trained")
    config = write_config(folder, {"data.init_args.test_size": KEPT + 5})
    assert lcot("fit", "-c", config, "--runs_dir", folder / "runs").code == 0
    return folder


@pytest.mark.parametrize("further", [(), ("--model.voting.runs=2", "--model.sampling.temperature=1.0")])
def test_a_report_keeps_the_texts_of_the_first_questions(trained: Path, further: tuple[str, ...]) -> None:
    run = trained / "runs" / "tiny"
    before = set(run.glob("*.json"))
    for command in ("test", "predict"):
        outcome = lcot(command, "-c", run / "config.yaml", *further)
        assert outcome.code == 0, outcome.err
    (report,) = (file for file in set(run.glob("test*.json")) if file not in before)
    (lines,) = run.glob(f"predictions{report.stem.removeprefix('test')}.jsonl")
    texts = json.loads(report.read_text(encoding="utf-8"))["texts"]
    predictions = [json.loads(line) for line in lines.read_text(encoding="utf-8").splitlines()]
    assert len(texts) == KEPT < len(predictions)
    assert texts == [{name: one[name] for name in texts[0]} for one in predictions[:KEPT]]
    assert set(texts[0]) == {"id", "question", "gold", "output", "answer", "correct"}


def test_texts_without_answers_are_shown(trained: Path) -> None:
    outcome = lcot("test", "-c", trained / "runs" / "tiny" / "config.yaml", "--model.max_new_tokens=1")
    assert outcome.code == 0, outcome.err
    said = outcome.err[outcome.err.index("0.0 % of the texts hold an answer") :]
    assert "the extractor 'string' can read" in said.splitlines()[0] and said.count("\n  '") == 3


def test_its_words() -> None:
    texts: list[dict[str, Any]] = [
        {"output": "a" * 400, "answer": None},
        {"output": "### 4", "answer": "4"},
        {"output": "\n", "answer": None},
    ]
    first, *shown = unanswered(0.25, "string", texts).splitlines()
    assert "25.0 % of the texts" in first and len(shown) == 2
    assert shown[0].startswith("  'aaa") and "(400 characters)" in shown[0] and shown[1] == "  '\\n'"

"""The configs for any chat model: over any data set, by one option beside the data's; and what they do with a model."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import lcot as package
from benchmarks import chat_texts
from lcot.runs.configs import find
from tests.stand_ins import chat_model, data_options
from tests.test_configs import CONFIGS, WHOLE, name, printed
from tests.tiny import contents, lcot

CHATS = sorted(CONFIGS.glob("chat/*.yaml"))
DATA = [path for path in WHOLE if path.stem != "softcot_prosqa"]
GSM8K = CONFIGS / "gsm8k.yaml"
LINES = [
    {"question": f"Ann has {n} cats. How many legs?", "answer": f"{n}*4=<<{n}*4={4 * n}>>{4 * n}\n#### {4 * n}"}
    for n in range(3, 9)
]
"""Problems in the form of GSM8K."""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a chat model, a small one of another family, and a few problems."""
    monkeypatch.chdir(tmp_path)
    chat_model(tmp_path / "model")
    chat_model(tmp_path / "small", "llama3", architecture="qwen2", hidden_size=24)
    (tmp_path / "test.jsonl").write_text("".join(json.dumps(line) + "\n" for line in LINES), encoding="utf-8")
    return tmp_path


def models(chat: Path | str) -> list[str]:
    """The options that name the models."""
    small = ["--model.assistant.path=small"] if Path(chat).stem == "chat_softcot" else []
    return ["--model.backbone.path=model", *small]


def files(command: str) -> list[str]:
    """The options that name the data."""
    return [f"--data.{split}_path=test.jsonl" for split in (("train", "val") if command == "fit" else ("test",))]


@pytest.mark.parametrize("chat", CHATS, ids=name)
def test_the_head_is_its_command(chat: Path) -> None:
    head = "\n".join(line for line in chat.read_text(encoding="utf-8").splitlines() if line.startswith("#"))
    ((does, words),) = re.findall(r"^# python -m lcot (\w+) (.*)$", head, flags=re.MULTILINE)
    assert does == ("test" if chat.stem == "chat" else "fit")
    named = [find(word) for word in re.findall(r"-c (\S+)", words)]
    assert named == [GSM8K, chat] and all(option in words for option in models(chat)[0].partition("=")[:1])


@pytest.mark.parametrize("chat", CHATS, ids=name)
@pytest.mark.parametrize("source", DATA, ids=name)
def test_it_goes_over_any_data(source: Path, chat: Path) -> None:
    before, after = printed(source), printed(source, chat)
    assert after["model"]["init_args"]["backbone"]["config"] is None
    data, others = after["data"]["init_args"], before["data"]["init_args"]
    assert data.pop("dialogue")["prompt"] == "chat" and others.pop("dialogue") is None
    assert data.pop("extractors") is None and others.pop("extractors", None) != ["boxed"]
    assert {key for key, value in data.items() if others[key] != value} <= {"batch_size", "eval_batch_size"}
    schedule = after["curriculum"]["schedule"]["init_args"]
    if isinstance(schedule.get("epochs_per_stage"), list):
        assert after["trainer"]["max_epochs"] == sum(schedule["epochs_per_stage"])


@pytest.mark.parametrize("data", DATA, ids=name)
def test_a_model_is_asked_about_any_data(data: Path, here: Path) -> None:
    small = data_options(yaml.safe_load(data.read_text(encoding="utf-8")), here, published=False)
    quick = ("--model.max_new_tokens=2", "--trainer.accelerator=cpu", "--trainer.fast_dev_run=true")
    outcome = lcot("test", "-c", data, "-c", "chat", *models("chat"), *small, *quick, "--name=zero")
    assert outcome.code == 0, outcome.err


@pytest.mark.parametrize("chat", [path.stem for path in CHATS if path.stem != "chat"])
def test_it_trains(chat: str, here: Path) -> None:
    before = contents(here)
    quick = ("--trainer.accelerator=cpu", "--trainer.fast_dev_run=true", "--model.max_new_tokens=2")
    states = ("--model.states=null",) if chat == "chat_softcot" else ()
    outcome = lcot("fit", "-c", "gsm8k", "-c", chat, *models(chat), *files("fit"), *quick, *states)
    assert outcome.code == 0, outcome.err
    assert "is trained at a rate of" not in outcome.err
    assert contents(here) == before


def test_what_is_missing_is_said(here: Path) -> None:
    outcome = lcot("test", "-c", "gsm8k", "-c", "chat", *files("test"))
    assert outcome.code == 2 and "give path for a pretrained model" in outcome.block
    outcome = lcot("fit", "-c", "gsm8k", "-c", "chat_softcot", "--model.backbone.path=model", *files("fit"))
    assert outcome.code == 2 and "model.assistant.path" in outcome.block


def test_a_scratch_models_rate_is_told(here: Path) -> None:
    quick = ("--trainer.accelerator=cpu", "--trainer.fast_dev_run=true", "--model.max_new_tokens=2")
    whole = ("--model.backbone={path: model, lora: null}", "--model.optimizer.lr=1e-3")
    outcome = lcot("fit", "-c", "gsm8k", "-c", "chat_cot", *whole, *files("fit"), *quick)
    assert outcome.code == 0, outcome.err
    assert "all of a pretrained model is trained at a rate of 1.0e-03" in outcome.err


@pytest.mark.parametrize("template", ["", None], ids=["template", "plain text"])
def test_texts_are_those_of_generate(template: str | None, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chat_model(here / "model", template=template)
    words = ("--model.max_new_tokens=12", "--trainer.accelerator=cpu", "--data.eval_batch_size=4", "--name=zero")
    outcome = lcot("predict", "-c", "gsm8k", "-c", "chat", *models("chat"), *files("test"), *words)
    assert outcome.code == 0, outcome.err
    rows = Path("runs/zero/predictions.jsonl")
    code = chat_texts.main(["model", str(rows), "--tokens=12"])
    said = capsys.readouterr().out
    assert code == 0 and f"{len(LINES)} of {len(LINES)} texts are equal" in said, said
    texts = [json.loads(line) for line in rows.read_text(encoding="utf-8").splitlines()]
    texts[1]["output"] = f"no {texts[1]['output']}"
    rows.write_text("".join(json.dumps(text) + "\n" for text in texts), encoding="utf-8")
    assert chat_texts.main(["model", str(rows), "--tokens=12"]) == 1
    assert "question 1: parts at token 0 of" in capsys.readouterr().out


def test_a_plain_model_and_an_untrained_run_answer_as_predict_does(here: Path) -> None:
    words = ("--model.max_new_tokens=12", "--trainer.accelerator=cpu", "--name=zero")
    assert lcot("predict", "-c", "gsm8k", "-c", "chat", *models("chat"), *files("test"), *words).code == 0
    lines = Path("runs/zero/predictions.jsonl").read_text(encoding="utf-8").splitlines()
    rows: list[dict[str, Any]] = [json.loads(line) for line in lines]
    for solver in (package.load("model", prompt="chat/math"), package.load("runs/zero")):
        solver.module.max_new_tokens = 12
        solutions = solver.solve([row["question"] for row in rows])
        assert [(one.text, one.answer, one.thoughts) for one in solutions] == [
            (row["output"], row["answer"], 0) for row in rows
        ]


def test_a_run_with_lora_can_be_asked_goes_on_and_knows_its_ends(here: Path) -> None:
    """A CoT run, then Coconut from its weights, whose stage 0 is tested as CoT."""
    quick = ("--trainer.accelerator=cpu", "--trainer.accumulate_grad_batches=1", "--model.max_new_tokens=8")
    short = ("--trainer.max_epochs=1", "--name=cot")
    outcome = lcot("fit", "-c", "gsm8k", "-c", "chat_cot", *models("chat_cot"), *files("fit"), *quick, *short)
    assert outcome.code == 0, outcome.err
    solver = package.load("runs/cot")
    assert solver.module.model is not None
    ends = json.loads(Path("model/generation_config.json").read_text(encoding="utf-8"))["eos_token_id"]
    assert solver.module.model.config.eos_token_id == ends and len(ends) == 2
    assert solver.solve([LINES[0]["question"]])[0].thoughts == 0
    started = ("--model.backbone.path=runs/cot", "--name=coconut", "--trainer.max_epochs=2")
    stages = ("--curriculum.schedule.epochs_per_stage=1", "--curriculum.schedule.max_stage=1")
    outcome = lcot("fit", "-c", "gsm8k", "-c", "chat_coconut", *files("fit"), *quick, *started, *stages)
    assert outcome.code == 0, outcome.err
    assert yaml.safe_load(Path("runs/coconut/config.yaml").read_text())["data"]["init_args"]["tokenizer"] == (
        "runs/cot/tokenizer"
    )
    first = next(Path("runs/coconut/checkpoints").glob("best-stage0*.ckpt"))
    assert torch.load(first, weights_only=True)["lcot"]["thoughts"] == 0
    again = ("--model.backbone.path=runs/cot", "--name=tested", f"--ckpt_path={first}")
    tested = lcot("test", "-c", "gsm8k", "-c", "chat_cot", *files("test"), *quick[::2], *again)
    assert tested.code == 0, tested.err

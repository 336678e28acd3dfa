"""Damaged data files, prompts and outputs: no traceback, no hang, and nothing that is taken without a word.

Run with ``python -m pytest -m slow -s tests/fuzz/test_readers.py`` for the figure.
"""

from __future__ import annotations

import json
import logging
import random
from collections.abc import Iterator
from functools import partial
from itertools import chain
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lcot.datamodules.base import ReasoningDataModule
from lcot.errors import UserError
from lcot.metrics import EXTRACTORS
from lcot.reasoning.curriculum import Curriculum, StageClock
from lcot.reasoning.example import ReasoningExample
from lcot.reasoning.layout import LayoutBuilder
from lcot.reasoning.prompts import load_prompt
from lcot.reasoning.stepwise import Stepwise
from tests.campaign import Campaign
from tests.fuzz.damages import LONG, Damage, of_bytes, of_files, of_meaning, of_records
from tests.fuzz.formats import FORMATS, Format
from tests.places import ROOT

pytestmark = pytest.mark.slow


class Clock(StageClock):
    """A curriculum that hides steps, for data modules that have no trainer."""

    schedule: Curriculum = Stepwise()

    def epoch(self) -> int:
        return 0

    def stage(self) -> int:
        return 0

    def training_stages(self) -> Any:
        return lambda batch: 0

    def final_stage(self, epoch: int) -> int:
        return 0


class Heard(logging.Handler):
    """What was said of the data."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@pytest.fixture
def heard() -> Iterator[Heard]:
    log, handler = logging.getLogger("lcot"), Heard()
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    yield handler
    log.removeHandler(handler)


class Reading:
    """One file, read as training reads it: examples, and their token ids.

    Args:
        form: Its format.
        path: Where it is.
    """

    def __init__(self, form: Format, path: Path) -> None:
        self.form, self.path = form, path
        self.examples: list[ReasoningExample] = []
        self.ids: list[list[int]] = []
        self.special: set[int] = set()

    def __call__(self) -> None:
        data: ReasoningDataModule = self.form.data(str(self.path))
        data.trainer = SimpleNamespace(callbacks=[Clock()])  # type: ignore[assignment]
        source = data.make_source(self.form.split)
        self.examples = [source.example(index, 0) for index in range(len(source))]
        if self.form.split == "train":
            tokenizer = data.set_up_tokenizer()
            assert data.special is not None
            builder = LayoutBuilder(tokenizer, data.special, "continuous", data.text)
            pieces = builder.encode(self.examples)
            self.ids = [[*one.question, *chain.from_iterable(one.steps), *one.answer[:-1]] for one in pieces]
            self.special = {*tokenizer.all_special_ids, *tokenizer.added_tokens_decoder}
        for example in self.examples:
            for name in data.extractors:
                EXTRACTORS[name].equal(EXTRACTORS[name].extract(f"### {example.answer}", "### "), example.answer)


def doubt(form: Format, damage: Damage, read: Reading, sound: list[ReasoningExample], lines: list[str]) -> str | None:
    """What was taken without a word; ``None`` if nothing was."""
    if damage.refused:
        return "what has to be refused"
    questions = [example.question for example in sound]
    kept = [example.question for example in read.examples]
    cut = damage.shrinks and kept[:-1] == questions[: len(kept) - 1]
    if len(kept) < len(sound) and not cut and not lines:
        return f"{len(kept)} of {len(sound)} records"
    if len({example.id for example in read.examples}) < len(read.examples):
        return "an id twice"
    for example, row in zip(read.examples, read.ids or [[] for _ in read.examples], strict=True):
        texts = [example.question, *example.steps, example.answer]
        if not all(text.strip() for text in texts):
            return "a blank text"
        if any("\x00" in text or any("\ud800" <= sign <= "\udfff" for sign in text) for text in texts):
            return "a text that no file can hold"
        if read.special & set(row):
            return "a special token"
        json.dumps(dict(example.facts), allow_nan=False).encode()
        if fault := contradicted(form, example):
            return fault
    if len(kept) == len(sound) and not lines:
        for example, before in zip(read.examples, sound, strict=True):
            if before.steps and not example.steps:
                return "a record without its steps"
            if form.marks and len(example.steps) < len(before.steps) and "record" in damage.what:
                return "a record without one of its steps"
            if before.facts.keys() - example.facts.keys() and "entity" in before.facts:
                return "a record without its graph"
    return None


def is_sound(found: list[str], *judged: Any) -> bool:
    """Whether there is no :func:`doubt`; ``found`` gets the one that there is."""
    try:
        fault = doubt(*judged)
    except (TypeError, ValueError, LookupError) as err:  # values that whoever uses them cannot use either
        fault = f"what cannot be used: {err}"
    found += [fault] if fault is not None else []
    return not found


def contradicted(form: Format, example: ReasoningExample) -> str | None:
    """Whether an example's answer contradicts what it says of itself."""
    facts: dict[str, Any] = dict(example.facts)
    name = form.file.partition(".")[0]
    if name == "multiplication":
        first, second = (int(text.replace(" ", "")[::-1]) for text in example.question.split("*"))
        if int(example.answer.replace(" ", "")[::-1]) != first * second:
            return "a wrong product"
    if name == "prosqa":
        names, reached = facts["idx_to_symbol"], {facts["root"]}
        for _ in names:
            reached |= {end for start, end in facts["edges"] if start in reached}
        if facts["target"] not in reached or facts["neg_target"] in reached:
            return "options that contradict the graph"
        if example.answer.rstrip(".").split()[-1] != names[facts["target"]]:
            return "an answer that contradicts the graph"
    if name.startswith("prontoqa") and "entity" in facts:
        adjective, holds = facts["query"]
        last = facts["chain"][-1]
        said = [sign for concept, word, sign in facts["properties"] if concept == last and word == adjective]
        if (holds in said) != (example.answer == "True"):
            return "an answer that contradicts the graph"
    return None


@pytest.mark.timeout(600)
def test_damaged_data_files(tmp_path: Path, heard: Heard) -> None:
    campaign, draw = Campaign("damaged data files", seconds=20), random.Random(0)
    for form in FORMATS:
        path = tmp_path / form.file
        path.write_bytes(form.written(form.records).encode())
        whole = Reading(form, path)
        whole()  # the file without damage is read
        assert len(whole.examples) == len(form.records), form.name
        for damage in (*of_files(form), *of_meaning(form), *of_records(form, draw), *of_bytes(form, draw, 80)):
            path.write_bytes(damage.content)
            heard.lines.clear()
            read = Reading(form, path)
            found: list[str] = []
            judge = partial(is_sound, found, form, damage, read, whole.examples, heard.lines)
            if campaign.call(f"{form.name}: {damage.what}", read, judge) == "silent":
                campaign.faults[-1] += f"\n{found[0]}"
    print(f"\n{campaign.report}")
    assert sum(campaign.fates.values()) >= 2500
    assert not campaign.faults


def test_damaged_prompts(tmp_path: Path) -> None:
    campaign, draw = Campaign("damaged prompts", seconds=20), random.Random(1)
    own = (ROOT / "lcot" / "prompts" / "llama3" / "gsm8k.yaml").read_text(encoding="utf-8").encode()
    extended = b"extends: llama3/gsm8k\nllm:\n  between: ' '\n  hint: 'So {thoughts}'\ntarget: {step: '{step}. '}\n"
    values = (
        "&a [*a]", "&a {b: *a}", "[" * 3000, "{a: " * 3000, LONG, "2024-13-45", "!!int ''", "!!bool 3", "!!set {a}",
        "!!timestamp 3", "!!binary '*'", "'\\0'", '"\\ud800"', "null", "[]", "{}", "3", ".inf", "|", "? a", "- a", "*a",
    )  # fmt: skip
    texts = [extended.replace(b"' '", value.encode()) for value in values]
    texts += [extended + f"{key}: {value}\n".encode() for key in ("words", "template", "1", "x") for value in values]
    for _ in range(300):
        base = draw.choice((own, extended))
        at, other = draw.randrange(len(base)), draw.randrange(len(base))
        texts.append(
            draw.choice(
                (
                    base[:at] + bytes([base[at] ^ (1 << draw.randrange(8))]) + base[at + 1 :],
                    base[:at],
                    base[:at] + base[at + 1 :],
                    base[: max(at, other)] + base[min(at, other) :],
                )
            )
        )
    path = tmp_path / "own.yaml"
    for number, content in enumerate(texts):
        path.write_bytes(content)
        made: list[Any] = []

        def read(made: list[Any] = made) -> None:
            made.append(load_prompt(str(path)))

        def sound(made: list[Any] = made) -> bool:
            prompt = made[0]
            written = "".join(prompt.texts())
            if any("\ud800" <= sign <= "\udfff" for sign in written):
                return False
            once = prompt.hint.count("{thoughts}") == prompt.problem.count("{question}") == 1
            return "\x00" not in written and once and prompt.paragraphs.count("{problem}") == 1

        campaign.call(f"prompt {number}: {content[-60:]!r}", read, sound)
    print(f"\n{campaign.report}")
    assert not campaign.faults


def test_odd_outputs() -> None:
    campaign, draw = Campaign("odd outputs", seconds=20), random.Random(2)
    parts = [
        "### ", "\\boxed{", "}", "{", "1/", "/", "-", "$", "1e999999999", "e", ",", LONG, "9" * 4300, "yes", "no",
        " or ", "answer ", "is ", "(A) ", "B", "not ", "\\frac{1}{", "\\text{", "\n", "\u2028", "\ud800", "\x00", "٣",
        "½", " ", "the ", "**", "A) x\n", "0", ".", "%", "<|endoftext|>",
    ]  # fmt: skip
    golds = ("18", "1/2", "-3", LONG, "A", "yes", "(B)", "x", "\ud800", "1e999999999")
    for number in range(600):
        text = "".join(draw.choice(parts) * draw.choice((1, 1, 1, 2, 40)) for _ in range(draw.randrange(1, 12)))
        answers: dict[str, str | None] = {}

        def read(text: str = text, answers: dict[str, str | None] = answers) -> None:
            for name, reader in EXTRACTORS.items():
                answers[name] = reader.extract(text, "### ")
                for gold in golds:
                    assert reader.equal(answers[name], gold) in (True, False)

        def sound(answers: dict[str, str | None] = answers) -> bool:
            return all(answer is None or bool(answer.strip()) for answer in answers.values())

        campaign.call(f"output {number}: {text[:60]!r}", read, sound)
    print(f"\n{campaign.report}")
    assert not campaign.faults


def test_names_and_paths() -> None:
    campaign = Campaign("names", seconds=20)
    names = [
        "x" * 300, "x" * 5000, "~nobody-of-this-name/a", "a\x00", "/dev/zero", "/dev/null", "/dev/stdin", "/", "", " ",
        "\udcff", "a\nb", "hub:", "hub:" + "x" * 300, "hub:a\x00b", "hub:/nowhere", "hub:~nobody-of-this-name",
    ]  # fmt: skip
    for form in FORMATS:
        for name in names:
            for ending in ("", form.file[form.file.index(".") :]):
                read = Reading(form, Path("x"))
                read.path = f"{name}{ending}"  # type: ignore[assignment]
                campaign.call(f"{form.name} {name[:40]!r}{ending}", read, lambda: False)
    print(f"\n{campaign.report}")
    assert not campaign.faults


def test_a_refusal_is_a_block() -> None:
    """What the campaigns call a refusal has a place, and no more lines than a block."""
    for content in ("[", '{"a": NaN}', ""):
        with pytest.raises(UserError) as caught:
            load_prompt(content)
        assert caught.value.where is not None and len(str(caught.value).splitlines()) <= 4

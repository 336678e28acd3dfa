"""What the official Coconut code computed on two tiny models (facebookresearch/coconut 27273cb), computed again.

The files are not part of the project; see the data's own README for how they were made.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from lcot.reasoning.batch import collate
from lcot.reasoning.curriculum import Stage
from lcot.reasoning.decode import decode
from lcot.reasoning.layout import EncodedExample, Layout, LayoutBuilder
from lcot.reasoning.think import supervised_loss, think
from lcot.reasoning.tokens import SpecialTokens
from tests.models import word_tokenizer
from tests.places import SHARED
from tests.reasoning.support import loss_and_gradients, row_losses

FOLDER = SHARED / "oracle" / "coconut"
CASES = 7
NUMBERS_OF_THOUGHTS = (0, 1, 3, 6)

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="needs the recorded results of the official code")


class Official:
    """One model of the file, with all that was computed on it.

    Args:
        name: ``gpt2`` or ``llama``.
    """

    def __init__(self, name: str) -> None:
        content: dict[str, Any] = json.loads((FOLDER / "coconut_official.json").read_text(encoding="utf-8"))
        ids = content["ids"]
        unused = max(ids.values()) + 1
        self.special = SpecialTokens(ids["start"], ids["end"], ids["latent"], unused, ids["eos"], ids["pad"])
        self.builder = LayoutBuilder(word_tokenizer(["<unk>", "<s>", "</s>", "<pad>"]), self.special, "continuous")
        self.examples = [EncodedExample(**example) for example in content["examples"]]
        self.cases: list[dict[str, Any]] = content["models"][name]["cases"]
        self.generated: list[dict[str, Any]] = content["models"][name]["generated"]
        model = AutoModelForCausalLM.from_pretrained(FOLDER / name, dtype=torch.float32, local_files_only=True)
        assert isinstance(model, PreTrainedModel)
        model.train()
        self.model = model

    def rows(self, case: dict[str, Any]) -> list[Layout]:
        """The case's training rows."""
        return [
            self.builder.train(example, Stage(plan["hidden_steps"], plan["thoughts"]))
            for example, plan in zip(self.examples, case["plan"], strict=True)
        ]


@pytest.fixture(scope="module", params=["gpt2", "llama"])
def official(request: pytest.FixtureRequest) -> Official:
    """Both models, in turns."""
    return Official(request.param)


def test_all_cases_are_run(official: Official) -> None:
    assert len(official.cases) == CASES
    assert sorted({entry["thoughts"] for entry in official.generated}) == list(NUMBERS_OF_THOUGHTS)
    assert len(official.generated) == len(NUMBERS_OF_THOUGHTS) * len(official.examples)


@pytest.mark.parametrize("number", range(CASES))
def test_loss_and_gradient_norms(official: Official, number: int) -> None:
    case = official.cases[number]
    batch = collate(official.rows(case), official.special.pad)
    total, count = supervised_loss(official.model, batch, think(official.model, batch))
    loss, gradients = loss_and_gradients(official.model, total / count)
    assert count == case["supervised_tokens"]
    assert loss == pytest.approx(case["batch_loss"], abs=1e-5)
    norms = {name: gradient.norm().item() for name, gradient in gradients.items()}
    assert norms == pytest.approx(case["grad_norms"], rel=1e-4)


@pytest.mark.parametrize("number", range(CASES))
def test_row_losses(official: Official, number: int) -> None:
    case = official.cases[number]
    rows = official.rows(case)
    batch = collate(rows, official.special.pad)
    with torch.no_grad():
        totals = row_losses(official.model, batch, think(official.model, batch))
    means = [total / (len(row.ids) - row.prompt) for total, row in zip(totals, rows, strict=True)]
    assert means == pytest.approx(case["row_losses"], abs=1e-5)


@pytest.mark.parametrize("thoughts", NUMBERS_OF_THOUGHTS)
def test_generated_tokens(official: Official, thoughts: int) -> None:
    entries = [entry for entry in official.generated if entry["thoughts"] == thoughts]
    eos = official.special.eos
    rows = [official.builder.prompt(official.examples[entry["example"]], thoughts) for entry in entries]
    batch = collate(rows, official.special.pad)
    with torch.no_grad():
        thinking = think(official.model, batch, keep_cache=True)
    written = decode(official.model, thinking, max_new_tokens=12, eos=eos)
    # The official decoder keeps an eos that is the first token, and ends before one that comes later.
    closed = [text[:-1] if len(text) > 1 and text[-1] == eos else text for text in written]
    assert closed == [entry["new_tokens"] for entry in entries]

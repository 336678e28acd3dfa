"""What the released code of CoLaR (4b6ae9a) computed on tiny models, computed again.

The files are not part of the project; see the data's own README for how they were made. Cases in which the release
predicts from columns of padding are compared with the independent definition instead.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import PreTrainedModel

from lcot.modules.objectives.base import Scene
from lcot.modules.objectives.latents import LatentLoss
from lcot.reasoning.batch import ThoughtBatch, collate
from lcot.reasoning.curriculum import Stage
from lcot.reasoning.given import Given
from lcot.reasoning.heads import LatentHead
from lcot.reasoning.layout import IGNORE, EncodedExample, Layout
from lcot.reasoning.spans import SpanBuilder
from lcot.reasoning.spanwise import SpanForm
from lcot.reasoning.think import supervised_loss
from lcot.reasoning.tokens import SpecialTokens
from tests.models import word_tokenizer
from tests.modules.objectives.official import ORACLE, cases, content, defined, model_of, needs_oracle

COLAR = ORACLE / "colar"

pytestmark = needs_oracle


def special() -> SpecialTokens:
    """The release has one separator, before the chain and behind it."""
    ids = content("colar")["ids"]
    return SpecialTokens(ids["separator"], ids["separator"], ids["pad"], ids["pad"], ids["eos"], ids["pad"])


@cache
def tensors() -> dict[str, Tensor]:
    return load_file(COLAR / "tensors.safetensors")


def colar_batch(family: str, case: dict[str, Any]) -> tuple[ThoughtBatch, Tensor]:
    """A case's rows with the labels that the release drew, and its noise ``(B, N + 1, D)``."""
    ids, build = (
        content("colar")["ids"],
        SpanBuilder(word_tokenizer(["<unk>", "<s>", "</s>", "<pad>"]), special(), form=SpanForm(labels="drawn")),
    )
    made: list[Layout] = []
    drawn = tensors()[f"{case['name']}/noise"]
    noise = torch.zeros_like(drawn)
    for number, row in enumerate(case["rows"]):
        own = content("colar")[family]["examples"][row]
        question = [*own["question"], 25, 40 + case["r"]]
        example = EncodedExample(question, [own["steps"]], [*own["answer"], ids["eos"]])
        laid = build.train(example, Stage(1, 0, span=case["r"]))
        first, mask = case["question_columns"], case["attention_mask"][number]
        # The real columns of its steps: the separator, and a group each.
        columns = [place for place in range(first, first + drawn.shape[1]) if mask[place]]
        labels = list(laid.labels)
        labels[laid.head : laid.head + laid.thoughts] = [case["labels"][number][place] for place in columns[1:]]
        noise[number, : len(columns)] = drawn[number, [place - first for place in columns]]
        assert len(columns) == laid.thoughts + 1 and IGNORE not in labels[laid.head - 1 :]
        made.append(replace(laid, labels=labels))
    return collate(made, ids["pad"]), noise


def head_of(family: str, model: PreTrainedModel, case: dict[str, Any]) -> LatentHead:
    weights = load_file(COLAR / family / "latent_head.safetensors")
    inner = len(weights["fc.0.bias"])
    scale: Any = "sqrt" if case["options"]["sqrt_mean"] else "mean"
    made = LatentHead(width=inner, std=content("colar")["ids"]["embed_std"], scale=scale)
    made.build(model)
    theirs = {f"layers{name[2:]}" if name.startswith("fc.") else name: value for name, value in weights.items()}
    made.load_state_dict({**theirs, "std": made.std})
    return made


def terms(
    family: str, case: dict[str, Any], model: PreTrainedModel, monkeypatch: pytest.MonkeyPatch
) -> tuple[dict[str, Tensor], LatentHead]:
    options = case["options"]
    batch, noise = colar_batch(family, case)
    head = head_of(family, model, case)
    thinking = Given()(model, batch, head)
    summed, count = supervised_loss(model, batch, thinking)
    scene = Scene(model, batch, thinking, feed=head)
    found = {"ce_loss": summed / count}
    for name, entropy in (("embed_modeling_loss", 0.0), ("both", 1.0)):
        objective = LatentLoss(loss=options["embed_loss"], entropy=entropy)
        objective.build(model, special())
        monkeypatch.setattr(objective, "noise", lambda batch, width: noise)
        found[name] = objective(scene)[0] / objective.count(batch)[0]
    found["entropy"] = found.pop("both") - found["embed_modeling_loss"]
    return found, head


def expected(case: dict[str, Any]) -> dict[str, Any]:
    padded = any(name in case["name"] for name in ("mixed", "row3", "row6"))
    return defined("colar", case) if padded else case


@pytest.mark.parametrize(("family", "case"), cases("colar"))
def test_losses(family: str, case: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of("colar", family, attention=case["attn"])
    with torch.no_grad():
        found, _ = terms(family, case, model, monkeypatch)
    theirs = expected(case)["losses"]
    assert {name: value.item() for name, value in found.items()} == {
        name: pytest.approx(theirs[name], abs=1e-5) for name in found
    }


@pytest.mark.parametrize(("family", "case"), cases("colar", "row", "predforward"))
def test_gradients(family: str, case: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    model, options = model_of("colar", family, attention=case["attn"]), case["options"]
    found, head = terms(family, case, model, monkeypatch)
    total = options["ce_weight"] * found["ce_loss"] + options["embed_weight"] * found["embed_modeling_loss"]
    (total + options["entropy_weight"] * found["entropy"]).backward()
    gradients = {name: weight.grad for name, weight in model.named_parameters()}
    gradients |= {f"latent_head.{n.replace('layers', 'fc')}": weight.grad for n, weight in head.named_parameters()}
    own = {name: gradient.norm().item() for name, gradient in gradients.items() if gradient is not None}
    theirs = expected(case)["grad_norms"]
    assert theirs.keys() <= own.keys()
    assert {name: own[name] for name in theirs} == {name: pytest.approx(theirs[name], rel=1e-4) for name in theirs}


@pytest.mark.parametrize(("family", "case"), cases("colar", "mixed", "row3", "row6"))
def test_means(family: str, case: dict[str, Any]) -> None:
    """What the head expects at the separator and at each group."""
    model = model_of("colar", family, attention=case["attn"])
    batch, _ = colar_batch(family, case)
    head = head_of(family, model, case)
    with torch.no_grad():
        thinking = Given()(model, batch, head)
        mean, _ = head.expected(thinking.states[:, : batch.max_thoughts + 1])
    theirs = tensors()[f"{case['name']}/mean"]
    for row in range(len(batch)):
        first, mask = case["question_columns"], case["attention_mask"][row]
        columns = [place - first for place in range(first, first + theirs.shape[1]) if mask[place]]
        torch.testing.assert_close(mean[row, : len(columns)], theirs[row, columns], rtol=1e-4, atol=1e-4)

"""A frozen teacher against what the released code of LOTUS (eb77e2f) computed with one, gradients included."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from lcot.modules.objectives.base import Text
from lcot.modules.objectives.distillation import Distillation
from lcot.modules.objectives.learning import Objectives
from lcot.modules.objectives.steps import PlaceText
from lcot.reasoning.batch import ThoughtBatch, collate
from lcot.reasoning.feeds import Add
from lcot.reasoning.layout import IGNORE
from lcot.reasoning.parallel import Looped
from tests.modules.objectives.official import cases, content, defined, layout, model_of, needs_oracle, steps, teacher
from tests.modules.objectives.test_steps_official import flowing, mean, norms

pytestmark = needs_oracle
DISTANCES = {"smooth_l1": "smooth_l1", "mse": "l2", "cosine": "cosine"}


def batch_of(family: str, case: dict[str, Any]) -> ThoughtBatch:
    """A case's rows. The release distils at the first token behind eot, not at the one before the answer."""
    found, made = content("lotus"), []
    sequences = found[family]["sequences"][f"stage{case['stage']}_c{case['c']}_max{case['max_latent_stage']}"]
    latent = found["ids"]["latent"]
    for number in case["rows"]:
        row = sequences[str(number)]
        whole, labels, hidden = row["input_ids"], row["labels"], row["replaced_cot_steps"]
        head, slots = whole.index(found["ids"]["start"]) + 1, whole.count(latent)
        first = next(place for place, label in enumerate(labels) if label != IGNORE)
        written, question = [token for step in hidden for token in step], whole[: head - 1]
        told = teacher(
            [*question, *written, *whole[first:]],
            [*[IGNORE] * len(question), *written, *whole[first:]],
            len(question) + len(written) + 1,
        )
        after = whole[head + slots : first]
        made.append(
            layout(
                whole[:head],
                slots,
                latent,
                after,
                whole[first:],
                len(after) + 1,
                steps=steps(hidden),
                teacher=told,
            )
        )
    return collate(made, found["ids"]["pad"])


@pytest.mark.parametrize(("family", "case"), [one for one in cases("lotus") if "codi" in str(one.id)])
def test_losses_and_gradients(family: str, case: dict[str, Any]) -> None:
    model, batch, options = model_of("lotus", family, attention=case["attn"]), batch_of(family, case), case["options"]
    frozen = model_of("lotus", family, "teacher").requires_grad_(False).eval()  # type: ignore[no-untyped-call]
    distance: Any = DISTANCES[options.get("codi_loss_type", "smooth_l1")]
    objectives = Objectives(
        {
            "intermediate": PlaceText(options["intermediate_loss_weight"], case["c"], "spill"),
            "codi": Distillation(options["codi_loss_weight"], distance, "none"),
        }
    )

    def thinks(batch: ThoughtBatch, **how: Any) -> Any:
        return Looped(case["loops"])(model, batch, Add(), **how)

    scene = objectives.look(model, batch, thinks, False, frozen)
    # Where rows are padded, the release's teacher attends to the padding.
    losses = (defined("lotus", case) if "padded" in case["name"] else case)["losses"]
    found = {name: mean(one, scene) for name, one in objectives.wanted.items()} | {"text": mean(Text(), scene)}
    for name, value in found.items():
        assert value.item() == pytest.approx(losses[name], abs=1e-5), name
    weights = {name: one.weight for name, one in objectives.wanted.items()} | {"text": 1.0}
    total = torch.stack([weights[name] * value for name, value in found.items()]).sum()
    assert total.item() == pytest.approx(losses["total"], abs=2e-5)
    if "grad_norms" in case and "padded" not in case["name"]:
        total.backward()  # type: ignore[no-untyped-call]
        assert norms(("", model)) == pytest.approx(flowing(case), rel=1e-4)
    assert all(parameter.grad is None for parameter in frozen.parameters())

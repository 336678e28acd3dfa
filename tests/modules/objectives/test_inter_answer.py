"""The inter-answer term against what the released code of LOTUS (eb77e2f) computed, and by its definition."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from lcot.errors import UserError
from lcot.modules.objectives.base import Scene, Text
from lcot.modules.objectives.inter_answer import InterAnswer
from lcot.modules.objectives.steps import PlaceText
from lcot.reasoning.batch import collate
from lcot.reasoning.feeds import Add
from lcot.reasoning.parallel import Looped, Rounds
from lcot.reasoning.tokens import SpecialTokens
from tests.models import SPECIAL, tiny_model
from tests.modules.objectives.official import cases, content, lotus_batch, model_of, needs_oracle
from tests.modules.objectives.test_steps_official import flowing, mean, norms
from tests.modules.test_terms import rows
from tests.reasoning.support import builder


def objective_of(case: dict[str, Any]) -> InterAnswer:
    options = case["options"]
    last = options.get("ia_loss_after_loop", False)
    copy = options.get("ia_decoder_use_base_copy", False)
    return InterAnswer(
        weight=options["inter_answer_loss_weight"],
        per_step=case["c"],
        when="last" if last else "in_turn",
        by="copy" if copy else "model",
        prefix=not copy and not options.get("ia_no_prefix", False),
        padded=last,
    )


@needs_oracle
@pytest.mark.parametrize(("family", "case"), [one for one in cases("lotus") if "ia_" in str(one.id)])
def test_losses_and_gradients(family: str, case: dict[str, Any]) -> None:
    model, batch, rounds = model_of("lotus", family, attention=case["attn"]), lotus_batch(family, case), Rounds()
    objective, losses, ids = objective_of(case), case["losses"], content("lotus")["ids"]
    objective.build(model, SpecialTokens(ids["start"], ids["end"], ids["latent"], 0, ids["eos"], ids["pad"]))
    thinking = Looped(case["loops"])(model, batch, Add(), rounds=rounds)
    scene = Scene(model, batch, thinking, rounds)
    assert objective.count(batch).item() == losses["inter_answer_tokens"]
    found = mean(objective, scene)
    assert found.item() == pytest.approx(losses["inter_answer"], abs=1e-5)
    places = PlaceText(case["options"]["intermediate_loss_weight"], case["c"], "spill")
    total = mean(Text(), scene) + places.weight * mean(places, scene) + objective.weight * found
    assert total.item() == pytest.approx(losses["total"], abs=2e-5)
    total.backward()  # type: ignore[no-untyped-call]
    copied = [("ia_decoder.model.", objective._copy.decoder)] if objective._copy is not None else []
    mine = norms(("", model), *[(name, part) for name, part in copied if part is not None])
    assert mine == pytest.approx(flowing(case), rel=1e-4)


PLAN = [(2, 4), (1, 2), (0, 0), (3, 4), (2, 2)]


@pytest.mark.parametrize(
    "options",
    [{}, {"prefix": True}, {"when": "last"}, {"when": "last", "padded": True}, {"by": "copy"}],
    ids=str,
)
def test_a_row_is_what_it_is_alone(options: dict[str, Any]) -> None:
    """Sums and counts of a batch of all stages are those of its rows; so are gradients."""
    model, objective = tiny_model("gpt2"), InterAnswer(per_step=2, **options)
    objective.build(model, SPECIAL)
    made = rows(builder(), PLAN, seed=3)

    def summed(part: list[Any]) -> tuple[torch.Tensor, int]:
        batch, rounds = collate(part, SPECIAL.pad), Rounds()
        thinking = Looped(3, 2)(model, batch, Add(), rounds=rounds)
        return objective(Scene(model, batch, thinking, rounds))[0], int(objective.count(batch))

    def gradients(loss: torch.Tensor) -> dict[str, torch.Tensor]:
        model.zero_grad()
        objective.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        named = [*model.named_parameters(), *objective.named_parameters()]
        return {name: p.grad.clone() for name, p in named if p.grad is not None and bool(p.grad.any())}

    whole, count = summed(made)
    found = gradients(whole)
    each = [summed([one]) for one in made]
    assert count == sum(number for _, number in each) > 0
    apart = torch.stack([loss for loss, _ in each]).sum()
    assert whole.item() == pytest.approx(apart.item(), rel=1e-5)
    expected = gradients(apart)
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-3, atol=1e-4)


def test_nothing_is_cut_unless_it_is_asked_for() -> None:
    batch = collate(rows(builder(), [(3, 6)], seed=3), SPECIAL.pad)
    tokens = int((batch.views["steps"].labels >= 0).sum())
    assert int(InterAnswer(per_step=2, when="last").count(batch)) == tokens
    assert int(InterAnswer(per_step=2).count(batch)) == tokens
    assert int(InterAnswer(per_step=2, when="last", padded=True).count(batch)) < tokens


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"per_step": 0}, "per_step is 0"),
        ({"when": "first"}, "unknown when 'first'"),
        ({"by": "teacher"}, "unknown by 'teacher'"),
        ({"prefix": True, "by": "copy"}, "prefix is true, and when is 'in_turn', by is 'copy'"),
        ({"prefix": True, "when": "last"}, "prefix is true, and when is 'last'"),
        ({"padded": True}, "padded is true, and when is 'in_turn'"),
    ],
)
def test_settings_that_do_not_go_together(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        InterAnswer(**options)

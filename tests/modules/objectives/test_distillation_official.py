"""Distillation against what the released code of CODI (4fd88d4) and PCCoT (2e32e3e) computed, gradients included."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import PreTrainedModel

from lcot.modules.objectives.base import Objective, Scene, TeacherText, Text
from lcot.modules.objectives.distillation import Distillation, before_answer
from lcot.reasoning.batch import ThoughtBatch, collate
from lcot.reasoning.feeds import Feed, Identity, Projection
from lcot.reasoning.parallel import Jacobi
from lcot.reasoning.think import think
from tests.modules.objectives.official import ORACLE, cases, content, defined, layout, model_of, needs_oracle, teacher
from tests.modules.objectives.test_steps_official import flowing, mean, norms

pytestmark = needs_oracle


def weighted(objectives: dict[str, Objective], scene: Scene) -> dict[str, torch.Tensor]:
    return {name: objective.weight * mean(objective, scene) for name, objective in objectives.items()}


def taught(model: PreTrainedModel, batch: ThoughtBatch) -> Any:
    view = batch.views["teacher"]
    return think(model, view, layers_at=before_answer(view))


class TestCodi:
    """Sequential thoughts through a projection. Padded cases follow the definition: the release attends to padding."""

    def batch(self, family: str, case: dict[str, Any]) -> ThoughtBatch:
        found = content("codi")
        sequences, ids = found[family]["sequences"], found["ids"]
        slots, made = case["options"]["num_latent"], []
        for row in case["rows"]:
            rest = sequences["decoder_input_ids"][row]
            # Llama's last token before the answer is a space of its own, and its positions are those before it.
            answer = sequences["model_answer_position"][row] + (family == "llama")
            told = teacher(
                sequences["ref_input_ids"][row],
                sequences["ref_labels"][row],
                sequences["ref_answer_position"][row] + (family == "llama"),
            )
            before = sequences["encoder_input_ids"][row]
            made.append(layout(before, slots, ids["pad"], rest[:1], rest[1:], answer, teacher=told))
        return collate(made, ids["pad"])

    def feed(self, case: dict[str, Any], family: str, model: PreTrainedModel) -> Feed:
        if not case["options"].get("use_prj", True):
            return Identity()
        norm = not case["options"].get("prj_no_ln", False)
        feed = Projection(24, norm=norm)
        feed.build(model)
        assert feed.layers is not None
        found = load_file(ORACLE / "codi" / family / "projection.safetensors")
        renamed = {name.replace("ln.", "4."): tensor for name, tensor in found.items()}
        feed.layers.load_state_dict({name: tensor for name, tensor in renamed.items() if norm or name[0] != "4"})
        return feed

    @pytest.mark.parametrize(("family", "case"), cases("codi", "lora", "eosdelim", "cudamask", "emptychain"))
    def test_losses_and_gradients(self, family: str, case: dict[str, Any]) -> None:
        model, batch = model_of("codi", family, attention=case["attn"]), self.batch(family, case)
        options, feed = case["options"], self.feed(case, family, model)
        squared = options.get("ltype") == "l2"
        spread = ("batch_squared" if squared else "batch") if options.get("div_std", True) else "none"
        objectives: dict[str, Objective] = {
            "student_ce": Text(),
            "teacher_ce_weighted": TeacherText(options.get("ref", 1.0)),
            "kd_weighted": Distillation(options.get("factor", 1.0), "l2" if squared else "smooth_l1", spread),  # type: ignore[arg-type]
        }
        thinking = think(model, batch, feed=feed, layers_at=before_answer(batch))
        found = weighted(objectives, Scene(model, batch, thinking, teacher=taught(model, batch), feed=feed))
        expected = defined("codi", case) if "padded" in case["name"] else case
        for name, value in found.items():
            assert value.item() == pytest.approx(expected["losses"][name], abs=1e-5), name
        total = torch.stack(list(found.values())).sum()
        assert total.item() == pytest.approx(expected["losses"]["total"], abs=2e-5)
        if "grad_norms" not in expected:
            return
        total.backward()  # type: ignore[no-untyped-call]
        mine = norms(("codi.", model))
        if isinstance(feed, Projection) and feed.layers is not None:
            mine |= {name.replace("prj.4.", "prj.ln."): norm for name, norm in norms(("prj.", feed.layers)).items()}
        assert mine == pytest.approx(flowing(expected), rel=1e-4)


class TestPCCoT:
    """Jacobi rounds; the teacher's states are those of the pass that it learns from."""

    def batch(self, family: str, case: dict[str, Any]) -> ThoughtBatch:
        found, slots = content("pccot"), case["num_latent"]
        sequences, ids, made = found[family]["sequences"][str(slots)], found["ids"], []
        for row in case["rows"]:
            before, rest = [*sequences["question"][row], ids["bot"]], sequences["ccot_ids_woq"][row][1 + slots :]
            told = teacher(
                sequences["cot_input_ids"][row], sequences["cot_labels"][row], sequences["cot_kd_index"][row] + 1
            )
            answer = sequences["ccot_kd_index"][row] - slots  # counted from bot, and the one before
            made.append(layout(before, slots, ids["latent"], rest[:1], rest[1:], answer, teacher=told))
        return collate(made, ids["pad"])

    @pytest.mark.parametrize(("family", "case"), cases("pccot", "flashrule", "prj"))
    def test_losses_and_gradients(self, family: str, case: dict[str, Any]) -> None:
        model, batch = model_of("pccot", family, attention=case["attn"]), self.batch(family, case)
        options = case["options"]
        spread = "batch" if options.get("layerwise", True) else "all_layers"
        objectives: dict[str, Objective] = {
            "teacher_ce": TeacherText(options.get("a", 1.0)),
            "student_ce": Text(options.get("b", 1.0)),
            "kd": Distillation(options.get("g", 1.0), deviation=spread, embeddings=False),  # type: ignore[arg-type]
        }
        thinking = Jacobi(case["iterations"])(model, batch, Identity(), layers_at=before_answer(batch))
        scene = Scene(model, batch, thinking, teacher=taught(model, batch))
        expected = defined("pccot", case) if "padded" in case["name"] else case
        for name, objective in objectives.items():
            assert mean(objective, scene).item() == pytest.approx(expected["losses"][name], abs=1e-5), name
        total = torch.stack(list(weighted(objectives, scene).values())).sum()
        assert total.item() == pytest.approx(expected["losses"]["total"], rel=1e-5)
        if "grad_norms" in expected:
            total.backward()  # type: ignore[no-untyped-call]
            assert norms(("", model)) == pytest.approx(flowing(expected), rel=1e-4)

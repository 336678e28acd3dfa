"""Hidden steps as targets against what the released code of LOTUS (eb77e2f) and SIM-CoT (f3ae967) computed."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import PreTrainedModel

from lcot.modules.objectives.base import Scene, Text
from lcot.modules.objectives.steps import PlaceText, StepDecoder
from lcot.reasoning.batch import ThoughtBatch, collate
from lcot.reasoning.feeds import Add, Identity, Projection
from lcot.reasoning.layout import IGNORE, Layout
from lcot.reasoning.parallel import Looped, Rounds
from lcot.reasoning.think import think
from lcot.reasoning.tokens import SpecialTokens
from tests.modules.objectives.official import (
    ORACLE,
    cases,
    content,
    defined,
    layout,
    lotus_batch,
    model_of,
    needs_oracle,
    steps,
)

pytestmark = needs_oracle


def mean(objective: Any, scene: Scene) -> torch.Tensor:
    """An objective's value on one batch, alone."""
    sums, counts = objective(scene), objective.count(scene.batch)
    there = counts > 0
    made: torch.Tensor = (sums[there] / counts[there]).sum() / max(1, int(there.sum()))
    return made


def norms(*parts: tuple[str, torch.nn.Module]) -> dict[str, float]:
    return {
        f"{prefix}{name}": parameter.grad.norm().item()
        for prefix, part in parts
        for name, parameter in part.named_parameters()
        if parameter.grad is not None
    }


def flowing(case: dict[str, Any]) -> dict[str, float]:
    """The recorded norms; ``None`` is recorded where no gradient flows."""
    return {name: norm for name, norm in case["grad_norms"].items() if norm is not None}


class TestLotus:
    """Places, with and without padding: the release masks it."""

    @pytest.mark.parametrize(("family", "case"), cases("lotus", "ia_", "codi"))
    def test_losses_and_gradients(self, family: str, case: dict[str, Any]) -> None:
        model, batch, rounds = model_of("lotus", family, attention=case["attn"]), lotus_batch(family, case), Rounds()
        options = case["options"]
        feed = Identity() if options.get("latent_injection_mode") == "replace" else Add()
        objective = PlaceText(
            weight=options["intermediate_loss_weight"],
            per_step=case["c"],
            long_steps="spill",
            when="last" if options["intermediate_loss_after_loop"] else "in_turn",
            flat=options.get("flat_intermediate_supervision", False),
            smoothing=options.get("intermediate_label_smoothing", 0.0),
            measure="cosine" if options.get("intermediate_loss_type") == "cosine" else "text",
        )
        frozen = options.get("freeze_supervised_blocks", False)
        thinker = Looped(case["loops"], case["c"], freeze=True) if frozen else Looped(case["loops"])
        thinking = thinker(model, batch, feed, rounds=rounds)
        scene, losses = Scene(model, batch, thinking, rounds), case["losses"]
        text = mean(Text(), scene)
        assert text.item() == pytest.approx(losses["text"], abs=1e-5)
        total = text
        if case["loops"] and case["stage"] and objective.weight:
            assert objective.count(batch).item() == losses["intermediate_tokens"]
            assert objective(scene).item() == pytest.approx(losses["intermediate_sum"], rel=1e-5)
            total = total + objective.weight * mean(objective, scene)
        assert total.item() == pytest.approx(losses["total"], abs=1e-5)
        if "grad_norms" in case:
            total.backward()  # type: ignore[no-untyped-call]
            assert norms(("", model)) == pytest.approx(flowing(case), rel=1e-4)


def special_of(ids: dict[str, int], bot: str, eot: str) -> SpecialTokens:
    return SpecialTokens(ids[bot], ids[eot], ids.get("latent", 0), 0, ids["eos"], ids["pad"])


def decoder_of(objective: StepDecoder, name: str, family: str, base: PreTrainedModel, special: SpecialTokens) -> None:
    """Give an objective the recorded decoder."""
    objective.build(base, special)
    recorded = model_of(name, family, "decoder")
    assert objective.decoder is not None and objective.decoder.config.vocab_size >= recorded.config.vocab_size
    objective.decoder = recorded


class TestSimCotOverCoconut:
    """Groups of c thoughts; padded rows as well."""

    def batch(self, family: str, case: dict[str, Any]) -> ThoughtBatch:
        found = content("simcot_coconut")
        name = f"stage{case['stage']}_c{case['c']}_max{case['max_latent_stage']}"
        sequences, ids, made = found[family]["sequences"][name], found["ids"], []
        for row in case["rows"]:
            entry = sequences[str(row)]
            whole, labels = entry["input_ids"], entry["labels"]
            head, slots = whole.index(ids["start"]) + 1, whole.count(ids["latent"])
            first = next(place for place, label in enumerate(labels) if label != IGNORE)
            hidden = self.hidden(entry["explainable_ids_list"], slots // case["c"])
            after, text = whole[head + slots : first], whole[first:]
            made.append(layout(whole[:head], slots, ids["latent"], after, text, steps=hidden))
        return collate(made, ids["pad"])

    @staticmethod
    def hidden(texts: list[list[int]], groups: int) -> Layout:
        """The hidden steps. The release leaves out the newline behind a step, but between steps that share a group."""
        last = len(texts) - 1
        # Llama's one token for ">>" and the newline is taken apart.
        apart = [[*text[:-1], 21, 22] if text[-1] == 23 else text for text in texts]
        return steps([text if groups - 1 <= k < last else text[:-1] for k, text in enumerate(apart)])

    @pytest.mark.parametrize(("family", "case"), cases("simcot_coconut", "shipped", "only"))
    def test_losses_and_gradients(self, family: str, case: dict[str, Any]) -> None:
        model, batch = model_of("simcot_coconut", family, attention=case["attn"]), self.batch(family, case)
        per = "groups" if case["options"].get("loss_level") == "token_level" else "rows"
        objective = StepDecoder(per_step=case["c"], mean=per, first_position=1, missing="answer")  # type: ignore[arg-type]
        decoder_of(
            objective, "simcot_coconut", family, model, special_of(content("simcot_coconut")["ids"], "start", "end")
        )
        scene = Scene(model, batch, think(model, batch))
        text, said = mean(Text(), scene), mean(objective, scene)
        assert text.item() == pytest.approx(case["losses"]["lm"], abs=1e-5)
        assert said.item() == pytest.approx(case["losses"]["step_loss"], rel=1e-5)
        total = text + said
        assert total.item() == pytest.approx(case["losses"]["total"], rel=1e-5)
        if "grad_norms" not in case:
            return
        total.backward()  # type: ignore[no-untyped-call]
        assert objective.decoder is not None
        assert norms(("", model), ("decoder.", objective.decoder)) == pytest.approx(flowing(case), rel=1e-4)


class TestSimCotOverCodi:
    """One vector a step, the one behind the last thought among them."""

    def batch(self, family: str, case: dict[str, Any]) -> ThoughtBatch:
        found = content("simcot_codi")
        sequences, ids = found[family]["sequences"], found["ids"]
        slots, made = case["options"]["num_latent"], []
        for row in case["rows"]:
            texts = found[family]["step_texts"][str(slots)][row]
            # A text is [200] where there is none, and ends with eos.
            hidden = steps([text[:-1] for text in texts if text != [ids["pad"]]])
            rest = sequences["decoder_input_ids"][row]
            made.append(
                layout(sequences["encoder_input_ids"][row], slots, ids["pad"], rest[:1], rest[1:], steps=hidden)
            )
        return collate(made, ids["pad"])

    @pytest.mark.parametrize(("family", "case"), cases("simcot_codi"))
    def test_losses_of_the_groups(self, family: str, case: dict[str, Any]) -> None:
        """By the definition: the release cuts texts, and its thoughts attend to padding."""
        model, batch = model_of("codi", family, attention=case["attn"]), self.batch(family, case)
        feed: Projection | None = None
        if case["options"].get("use_prj", True):
            feed = Projection(24)
            feed.build(model)
            assert feed.layers is not None
            found = load_file(ORACLE / "codi" / family / "projection.safetensors")
            feed.layers.load_state_dict({name.replace("ln.", "4."): tensor for name, tensor in found.items()})
        objective = StepDecoder(mean="groups", beyond=True)
        decoder_of(objective, "simcot_codi", family, model, special_of(content("codi")["ids"], "bot", "eot"))
        scene = Scene(model, batch, think(model, batch, feed=feed), feed=feed)
        sums, counts = objective(scene), objective.count(batch)
        expected = defined("simcot_codi", case)["losses"]
        assert (sums / counts)[counts > 0].tolist() == pytest.approx(expected["step_loss_per_group"], abs=1e-5)
        assert mean(Text(), scene).item() == pytest.approx(expected["student_ce"], abs=1e-5)

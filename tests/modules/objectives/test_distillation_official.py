"""Distillation against what the released code of CODI (4fd88d4) and PCCoT (2e32e3e) computed, gradients included."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import PreTrainedModel

from lcot.errors import UserError
from lcot.modules.objectives.base import Objective, Scene, TeacherText, Text
from lcot.modules.objectives.distillation import Distillation, before_answer
from lcot.modules.objectives.learning import Objectives
from lcot.modules.objectives.steps import PlaceText
from lcot.reasoning.batch import ThoughtBatch, collate
from lcot.reasoning.decode import decode
from lcot.reasoning.feeds import Add, Feed, Identity, Projection
from lcot.reasoning.layout import IGNORE, Layout
from lcot.reasoning.parallel import Jacobi, Looped, Rounds
from lcot.reasoning.think import output_head, think
from lcot.reasoning.unmasked import Pads, Unmasked
from tests.modules.objectives.official import (
    FAMILIES,
    ORACLE,
    cases,
    content,
    defined,
    layout,
    model_of,
    needs_oracle,
    steps,
    teacher,
)
from tests.modules.objectives.test_steps_official import flowing, mean, norms

pytestmark = needs_oracle


def weighted(objectives: dict[str, Objective], scene: Scene) -> dict[str, torch.Tensor]:
    return {name: objective.weight * mean(objective, scene) for name, objective in objectives.items()}


def taught(model: PreTrainedModel, batch: ThoughtBatch) -> Any:
    view = batch.views["teacher"]
    return think(model, view, layers_at=before_answer(view))


KD = Distillation(deviation="batch")


def padded(name: str) -> list[Any]:
    """Cases whose rows have padding. GPT-2's eager attention of old versions is a fourth rule, which is not offered."""
    return [
        one
        for one in cases(name, "emptychain")
        if "padded" in one.id and not (one.id.startswith("gpt2") and one.id.endswith("_eager"))
    ]


def rule(case: dict[str, Any]) -> Pads:
    """What a column of padding holds in a case."""
    return next((rule for word, rule in RULES.items() if word in case["name"]), "uniform")


RULES: dict[str, Pads] = {"cudamask": "ordinary", "flashrule": "zero"}


def check_near(mine: torch.Tensor, theirs: torch.Tensor) -> None:
    """Thoughts to 5e-6 of their length."""
    assert ((mine.detach() - theirs).norm() / theirs.norm()).item() < 5e-6


@contextmanager
def kept_out(model: PreTrainedModel, token: int) -> Iterator[None]:
    """Let a token and all behind it never be chosen, as in CODI's decoding loop."""
    hook = output_head(model).register_forward_hook(
        lambda head, given, logits: torch.cat(
            [logits[..., :token], torch.full_like(logits[..., token:], float("-inf"))], dim=-1
        )
    )
    try:
        yield
    finally:
        hook.remove()


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
        assert self.norms(model, feed) == pytest.approx(flowing(expected), rel=1e-4)

    @staticmethod
    def norms(model: PreTrainedModel, feed: Feed) -> dict[str, float]:
        mine = norms(("codi.", model))
        if isinstance(feed, Projection) and feed.layers is not None:
            mine |= {name.replace("prj.4.", "prj.ln."): norm for name, norm in norms(("prj.", feed.layers)).items()}
        return mine

    @pytest.mark.parametrize(("family", "case"), padded("codi"))
    def test_the_published_way(self, family: str, case: dict[str, Any]) -> None:
        """Padding is looked at: the release's own losses, gradients and thoughts, in batches with padding."""
        model, batch = model_of("codi", family, attention=case["attn"]), self.batch(family, case)
        options, feed = case["options"], self.feed(case, family, model)
        at, open_ = before_answer(batch), Unmasked(rule(case), text=False if options.get("fix") else None)
        thinking = open_.think(partial(think, model, feed=feed, layers_at=at), model, batch, rounds=False)
        objectives = {"student_ce": Text(), "teacher_ce_weighted": TeacherText(), "kd_weighted": KD}
        found = weighted(objectives, Scene(model, batch, thinking, teacher=taught(model, batch), feed=feed))
        for name, value in found.items():
            assert value.item() == pytest.approx(case["losses"][name], abs=1e-5), name
        theirs = load_file(ORACLE / "codi" / "latents.safetensors").get(case["name"])
        assert thinking.fed is not None
        if theirs is not None:
            check_near(thinking.fed, theirs[:, : thinking.fed.shape[1]])
        torch.stack(list(found.values())).sum().backward()  # type: ignore[no-untyped-call]
        assert self.norms(model, feed) == pytest.approx(flowing(case), rel=1e-4)

    @pytest.mark.parametrize("family", FAMILIES)
    def test_texts(self, family: str) -> None:
        """Greedy tokens: rows by themselves and without padding as ever, batches with padding in the published way."""
        found, ids, tried = content("codi"), content("codi")["ids"], 0
        for entry in found[family]["generated"]:
            options = {"num_latent": entry["n"], "use_prj": entry.get("projection", True)}
            model = model_of("codi", family)
            feed = self.feed({"options": options}, family, model)
            before = [found[family]["sequences"]["encoder_input_ids"][row] for row in entry["rows"]]
            rows = [layout(ids_, entry["n"], ids["pad"], [ids["eot"]], []) for ids_ in before]
            batch, thinks = collate(rows, ids["pad"]), partial(think, model, feed=feed, keep_cache=True)
            with torch.no_grad(), kept_out(model, ids["eot"]):
                if "left pads" in entry["how"]:
                    open_ = Unmasked("ordinary" if "cuda" in entry["how"] else "uniform")
                    thinking = open_.think(thinks, model, batch, rounds=False)
                else:
                    thinking = thinks(batch)
                texts = decode(model, thinking, max_new_tokens=10, eos=ids["eos"])
            assert texts == entry["tokens"][: len(texts)], entry["how"]
            tried += len(texts)
        assert tried >= 40


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

    @pytest.mark.parametrize(("family", "case"), padded("pccot"))
    def test_the_published_way(self, family: str, case: dict[str, Any]) -> None:
        """Padding is looked at by thoughts, and not by the text: losses, gradients and all thoughts of the release."""
        model, batch, rounds = model_of("pccot", family, attention=case["attn"]), self.batch(family, case), Rounds()
        thinks = partial(
            Jacobi(case["iterations"]), model, feed=Identity(), rounds=rounds, layers_at=before_answer(batch)
        )
        thinking = Unmasked(rule(case)).think(thinks, model, batch, rounds=True)
        kd = Distillation(deviation="batch", embeddings=False)
        objectives = {"teacher_ce": TeacherText(), "student_ce": Text(), "kd": kd}
        found = weighted(objectives, Scene(model, batch, thinking, teacher=taught(model, batch)))
        for name, value in found.items():
            assert value.item() == pytest.approx(case["losses"][name], abs=1e-5), name
        tensors = load_file(ORACLE / "pccot" / "latents.safetensors")
        if case["iterations"]:
            check_near(torch.stack(rounds.fed, dim=1), tensors[f"{case['name']}/fed"])
            check_near(rounds.states[-1][:, 1:], tensors[f"{case['name']}/last_states"])
        torch.stack(list(found.values())).sum().backward()  # type: ignore[no-untyped-call]
        assert norms(("", model)) == pytest.approx(flowing(case), rel=1e-4)

    @pytest.mark.parametrize("family", FAMILIES)
    def test_texts_of_batches_with_padding(self, family: str) -> None:
        """Greedy tokens; those of rows without padding are in tests/reasoning/test_parallel_official.py."""
        found, ids, tried = content("pccot"), content("pccot")["ids"], 0
        for entry in found[family]["generated"]:
            if "left pads" not in entry["how"]:
                continue
            model, slots = model_of("pccot", family), entry["num_latent"]
            after, rows = [ids["eot"], *ids["answer_prompt"]], []
            for row in entry["rows"]:
                before = [*found[family]["sequences"][str(slots)]["question"][row], ids["bot"]]
                rows.append(layout(before, slots, ids["latent"], after, []))
            thinks = partial(Jacobi(entry["iterations"]), model, feed=Identity(), keep_cache=True)
            with torch.no_grad():
                thinking = Unmasked("uniform").think(thinks, model, collate(rows, ids["pad"]), rounds=True)
                texts = decode(model, thinking, max_new_tokens=8, eos=ids["eos"])
            assert [text + [ids["pad"]] * (8 - len(text)) for text in texts] == entry["tokens"], entry
            tried += len(texts)
        assert tried >= 16


class TestLotus:
    """A frozen teacher, at the first token behind the thoughts. Padded cases follow the definition, as above."""

    def batch(self, family: str, case: dict[str, Any]) -> ThoughtBatch:
        found = content("lotus")
        key = f"stage{case['stage']}_c{case['c']}_max{case['max_latent_stage']}"
        sequences, ids, made = found[family]["sequences"][key], found["ids"], []
        for row in case["rows"]:
            entry = sequences[str(row)]
            whole, labels = entry["input_ids"], entry["labels"]
            head, slots = whole.index(ids["start"]) + 1, whole.count(ids["latent"])
            first = next(place for place, label in enumerate(labels) if label != IGNORE)
            hidden = [token for step in entry["replaced_cot_steps"] for token in step]
            question, text = whole[: head - 1], whole[first:]
            start = len(question) + len(hidden)
            told = Layout(
                [*question, *hidden, *text],
                [IGNORE] * len(question) + hidden + text,
                head=len(question),
                thoughts=0,
                prompt=len(question),
                places={"chain": (len(question), start, start)},
            )
            after = whole[head + slots : first]
            hints = steps(entry["replaced_cot_steps"])
            made.append(layout(whole[:head], slots, ids["latent"], after, text, teacher=told, steps=hints))
        return collate(made, ids["pad"])

    @pytest.mark.parametrize(("family", "case"), [one for one in cases("lotus") if "codi" in str(one.id)])
    def test_losses_and_gradients(self, family: str, case: dict[str, Any]) -> None:
        model, batch, rounds = model_of("lotus", family, attention=case["attn"]), self.batch(family, case), Rounds()
        options = case["options"]
        kind = {"mse": "l2"}.get(options.get("codi_loss_type", "smooth_l1"), options.get("codi_loss_type", "smooth_l1"))
        kd = Distillation(options["codi_loss_weight"], kind, "none", at="first")
        places = PlaceText(options["intermediate_loss_weight"], case["c"], "spill")
        thinking = Looped(case["loops"])(model, batch, Add(), rounds=rounds, layers_at=kd.columns(batch))
        view = batch.views["teacher"]
        with torch.no_grad():
            told = think(model_of("lotus", family, "teacher", case["attn"]), view, layers_at=kd.columns(view))
        scene = Scene(model, batch, thinking, rounds, teacher=told)
        expected = defined("lotus", case) if "padded" in case["name"] else case
        assert kd.count(batch).item() == len(case["rows"])
        assert mean(kd, scene).item() == pytest.approx(expected["losses"]["codi"], abs=1e-5)
        total = mean(Text(), scene) + kd.weight * mean(kd, scene) + places.weight * mean(places, scene)
        assert total.item() == pytest.approx(expected["losses"]["total"], abs=2e-5)
        if "grad_norms" in expected:
            total.backward()  # type: ignore[no-untyped-call]
            assert norms(("", model)) == pytest.approx(flowing(expected), rel=1e-4)


def test_states_of_all_layers_are_of_one_token() -> None:
    pair = {"one": Distillation(at="first"), "other": Distillation(at="before")}
    with pytest.raises(UserError, match="at is 'first' and 'before'"):
        Objectives(pair)

"""What the released code of PCCoT (2e32e3e) and LOTUS (eb77e2f) computed on tiny models, computed again.

The files are not part of the project; see the data's own README for how they were made. Cases with padding that the
release attends to are left out here: what it computes then depends on the batch.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import PreTrainedModel

from lcot.reasoning.batch import ThoughtBatch, collate
from lcot.reasoning.decode import decode
from lcot.reasoning.feeds import Add, Feed, Identity, Projection
from lcot.reasoning.parallel import Jacobi, Looped, Rounds
from lcot.reasoning.think import supervised_loss
from tests.modules.objectives.official import (
    FAMILIES,
    ORACLE,
    cases,
    content,
    layout,
    lotus_batch,
    model_of,
    needs_oracle,
)

PCCOT, LOTUS = ORACLE / "pccot", ORACLE / "lotus"

pytestmark = needs_oracle


class TestPCCoT:
    """Jacobi rounds, with the released projection and without."""

    def batch(self, family: str, rows: list[int], slots: int, prompt: int) -> ThoughtBatch:
        """Training rows; ``prompt`` tokens of the answer's text are given, none in training."""
        found = content("pccot")
        sequences, ids = found[family]["sequences"][str(slots)], found["ids"]
        made = []
        for row in rows:
            before, rest = [*sequences["question"][row], ids["bot"]], sequences["ccot_ids_woq"][row][1 + slots :]
            after, text = rest[: 1 + prompt], rest[1 + prompt :]
            made.append(layout(before, slots, ids["latent"], after, text))
        return collate(made, ids["pad"])

    def feed(self, case: dict[str, Any], family: str, model: PreTrainedModel) -> Feed:
        if not case["options"].get("prj"):
            return Identity()
        made = Projection()
        made.build(model)
        assert made.layers is not None
        weights = load_file(PCCOT / family / "projection.safetensors")
        # Their Sequential has no dropout in front.
        made.layers.load_state_dict({f"{int(n[0]) + 1}{n[1:]}": tensor for n, tensor in weights.items()})
        return made

    @pytest.mark.parametrize(("family", "case"), cases("pccot", "padded", "flashrule"))
    def test_states_and_the_students_loss(self, family: str, case: dict[str, Any]) -> None:
        model = model_of("pccot", family, attention=case["attn"])
        batch, rounds = self.batch(family, case["rows"], case["num_latent"], 0), Rounds()
        thinker, feed = Jacobi(case["iterations"]), self.feed(case, family, model)
        thinking = thinker(model, batch, feed, rounds=rounds)
        summed, count = supervised_loss(model, batch, thinking)
        assert (summed / count).item() == pytest.approx(case["losses"]["student_ce"], abs=1e-5)
        tensors = load_file(PCCOT / "latents.safetensors")
        if f"{case['name']}/last_states" not in tensors:
            return
        turns = min(case["iterations"], case["num_latent"])
        torch.testing.assert_close(
            rounds.states[-1][:, 1:], tensors[f"{case['name']}/last_states"], rtol=1e-4, atol=1e-4
        )
        for turn in range(turns):
            theirs = tensors[f"{case['name']}/fed"][:, turn]
            torch.testing.assert_close(rounds.fed[turn], theirs, rtol=1e-4, atol=1e-4)

    @pytest.mark.parametrize("family", FAMILIES)
    def test_texts(self, family: str) -> None:
        """Any rows share a batch here; the release's own results are those of one row at a time."""
        found = content("pccot")
        model, ids, tried = model_of("pccot", family), found["ids"], 0
        entries = [e for e in found[family]["generated"] if e["how"] == "batch 1" and e["prefix_ids"] is None]
        for settings in sorted({(e["num_latent"], e["iterations"]) for e in entries}):
            chosen = [e for e in entries if (e["num_latent"], e["iterations"]) == settings]
            batch = self.batch(family, [e["rows"][0] for e in chosen], settings[0], 4)
            with torch.no_grad():
                thinking = Jacobi(settings[1])(model, batch, Identity(), keep_cache=True)
                texts = decode(model, thinking, max_new_tokens=8, eos=ids["eos"])
            theirs = [e["tokens"][0] for e in chosen]
            assert [text + [ids["pad"]] * (8 - len(text)) for text in texts] == theirs
            tried += len(chosen)
        assert tried >= 18


class TestLotus:
    """Looped rounds; its batches may hold rows of any length, for the release masks them."""

    @pytest.mark.parametrize(("family", "case"), cases("lotus", "freeze", "ia_"))
    def test_states_and_the_texts_loss(self, family: str, case: dict[str, Any]) -> None:
        model, batch, rounds = model_of("lotus", family, attention=case["attn"]), lotus_batch(family, case), Rounds()
        feed = Identity() if case["options"].get("latent_injection_mode") == "replace" else Add()
        thinking = Looped(case["loops"])(model, batch, feed, rounds=rounds)
        summed, count = supervised_loss(model, batch, thinking)
        assert count == case["losses"]["text_tokens"]
        assert summed.item() == pytest.approx(case["losses"]["text_sum"], rel=1e-5)
        tensors = load_file(LOTUS / "latents.safetensors")
        theirs: Tensor | None = tensors.get(f"{case['name']}/region_states")
        if theirs is not None:
            torch.testing.assert_close(torch.stack(rounds.states, dim=1), theirs, rtol=1e-4, atol=1e-4)

    @pytest.mark.parametrize("family", FAMILIES)
    def test_texts(self, family: str) -> None:
        found = content("lotus")
        model, ids, tried = model_of("lotus", family), found["ids"], 0
        entries = found[family]["generated"]
        for settings in sorted({(e["K"], e["loops"], e["c"]) for e in entries}):
            chosen = [e for e in entries if (e["K"], e["loops"], e["c"]) == settings]
            slots, rows = settings[0] * settings[2], []
            for entry in chosen:
                before = [*found[family]["examples"][entry["row"]]["question"], ids["start"]]
                rows.append(layout(before, slots, ids["latent"], [ids["end"]], []))
            with torch.no_grad():
                thinking = Looped(settings[1])(model, collate(rows, ids["pad"]), Add(), keep_cache=True)
                texts = decode(model, thinking, max_new_tokens=10, eos=ids["eos"])
            # The release keeps an eos that comes first, and ends before a later one.
            closed = [text[:-1] if len(text) > 1 and text[-1] == ids["eos"] else text for text in texts]
            assert closed == [e["tokens"] for e in chosen]
            tried += len(chosen)
        assert tried >= 50

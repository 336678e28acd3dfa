"""What the released code of C-MTP (7bceb72) computed on tiny models, computed again.

The files are not part of the project; see the data's own README for how they were made. Cases whose rows the release
pads on the left and reads amiss there are compared with the independent definition instead.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import PreTrainedModel

from lcot.modules.objectives.base import Scene, TeacherText
from lcot.modules.objectives.distillation import Distillation, before_answer
from lcot.modules.objectives.spans import SpanTokens
from lcot.reasoning.batch import ThoughtBatch, collate, heads
from lcot.reasoning.curriculum import Stage
from lcot.reasoning.decode import decode
from lcot.reasoning.given import Given
from lcot.reasoning.heads import SpanHead
from lcot.reasoning.layout import EncodedExample
from lcot.reasoning.spans import SpanBuilder
from lcot.reasoning.spanwise import SpanForm
from lcot.reasoning.think import Thinking, supervised_loss, think
from lcot.reasoning.tokens import SpecialTokens
from tests.models import word_tokenizer
from tests.modules.objectives.official import FAMILIES, ORACLE, cases, content, defined, model_of, needs_oracle

CMTP = ORACLE / "cmtp"

pytestmark = needs_oracle


def special() -> SpecialTokens:
    ids = content("cmtp")["ids"]
    # The id at the places of thoughts is never read; the release has none for them.
    return SpecialTokens(ids["bot"], ids["eot"], ids["mot"], ids["mot"], ids["eos"], ids["pad"])


def cmtp_builder() -> SpanBuilder:
    return SpanBuilder(word_tokenizer(["<unk>", "<s>", "</s>", "<pad>"]), special(), form=SpanForm(fill=True))


def examples(family: str, rows: list[int]) -> list[EncodedExample]:
    found = content("cmtp")
    ids, made = found["ids"], []
    for row in rows:
        own = found[family]["examples"][row]
        mark = [*ids["answer_prompt"], ids["space"]]
        question, answer = [ids["bos"], *own["question"]], [*mark, *own["answer"], ids["eos"]]
        made.append(EncodedExample(question, [own["chain"]] if own["chain"] else [], answer, mark=len(mark)))
    return made


def cmtp_batch(family: str, rows: list[int], span: int) -> ThoughtBatch:
    """A case's rows, with the spans and the teacher's rows as views."""
    build, made = cmtp_builder(), []
    for one in examples(family, rows):
        stage = Stage(len(one.steps), 0, span=span)
        row = build.train(one, stage)
        made.append(row.with_views(build.views(one, stage, ("teacher", "spans"))))
    return collate(made, special().pad)


def head_of(family: str, model: PreTrainedModel, span: int) -> SpanHead:
    made = SpanHead(span)
    made.build(model)
    assert made.layers is not None
    made.layers.load_state_dict(load_file(CMTP / family / f"mtp_head_span{span}.safetensors"))
    return made


def looked_at(family: str, case: dict[str, Any], model: PreTrainedModel) -> tuple[Scene, SpanHead]:
    """A case as the model thinks about it, and its teacher: a frozen model, or in ``multi`` the model itself."""
    batch, head = cmtp_batch(family, case["rows"], case["span"]), head_of(family, model, case["span"])
    thinking = Given()(model, batch, head, layers_at=before_answer(batch))
    thinking.spoken = head.spoken
    view = batch.views["teacher"]
    teacher = model if case["options"].get("multi") else model_of("cmtp", family, "teacher", case["attn"])
    read = think(teacher, view, layers_at=before_answer(view))
    return Scene(model, batch, thinking, teacher=read, feed=head), head


def terms(scene: Scene, case: dict[str, Any]) -> dict[str, Tensor]:
    """The means of all terms, with the weights of the case."""
    options = case["options"]
    deviation: Any = "batch" if options.get("div", True) else "none"
    spans, distilled = SpanTokens(), Distillation(distance=options.get("ltype", "smooth_l1"), deviation=deviation)
    spans.build(scene.model, special())
    summed, count = supervised_loss(scene.model, scene.batch, scene.thinking)
    found = {"text": summed / count, "span": spans(scene)[0] / spans.count(scene.batch).clamp(min=1)[0]}
    found["kd_weighted"] = options.get("factor", 1.0) * distilled(scene)[0] / distilled.count(scene.batch)[0]
    found["teacher_ce_weighted"] = torch.zeros(())
    if options.get("multi"):
        text = TeacherText()
        found["teacher_ce_weighted"] = 0.5 * text(scene)[0] / text.count(scene.batch)[0]
    return found


def expected(case: dict[str, Any]) -> dict[str, Any]:
    family, _, name = case["name"].partition("/")
    right = not name.startswith("mixed") or (family == "llama" and name.endswith("corrected"))
    return case if right else defined("cmtp", case)


@pytest.mark.parametrize(("family", "case"), cases("cmtp"))
def test_losses(family: str, case: dict[str, Any]) -> None:
    model = model_of("cmtp", family, attention=case["attn"])
    with torch.no_grad():
        scene, _ = looked_at(family, case, model)
        found = {name: value.item() for name, value in terms(scene, case).items()}
    theirs = expected(case)["losses"]
    assert found == {name: pytest.approx(theirs[name], abs=1e-5) for name in found}
    assert sum(found.values()) == pytest.approx(theirs["total"], abs=2e-5)


@pytest.mark.parametrize(("family", "case"), cases("cmtp", "row"))
def test_gradients(family: str, case: dict[str, Any]) -> None:
    """As it is its own teacher, the release lets a gradient through the deviation that it divides by; here none is."""
    model = model_of("cmtp", family, attention=case["attn"])
    scene, head = looked_at(family, case, model)
    total = torch.stack(list(terms(scene, case).values())).sum()
    total.backward()  # type: ignore[no-untyped-call]
    gradients = {f"student.{name}": weight.grad for name, weight in model.named_parameters()}
    gradients |= {f"mtp_projection.{n.partition('.')[2]}": weight.grad for n, weight in head.named_parameters()}
    theirs, apart = expected(case)["grad_norms"], 1e-2 if case["options"].get("multi") else 1e-4
    found = {name: gradient.norm().item() for name, gradient in gradients.items() if gradient is not None}
    assert found == {name: pytest.approx(norm, rel=apart) for name, norm in theirs.items()}


@pytest.mark.parametrize("family", FAMILIES)
def test_rows(family: str) -> None:
    """The teacher's rows are the release's own; the student's have a thought in the place of each span."""
    found = content("cmtp")[family]["sequences"]
    for span in (1, 2, 3, 4):
        theirs, build = found[str(span)], cmtp_builder()
        for row, one in enumerate(examples(family, list(range(7)))):
            stage = Stage(len(one.steps), 0, span=span)
            teacher, own = build.views(one, stage, ("teacher",))["teacher"], build.train(one, stage)
            assert teacher.ids == theirs["ref_input_ids"][row]
            assert [int(label >= 0) for label in teacher.labels] == theirs["loss_masks"][row]
            assert teacher.places["answer"] == (theirs["ref_answer_position"][row] + 1,)
            assert own.thoughts == max(theirs["span_segment_ids"][row])
            starts = own.views["spans"].places["spans"]
            spans = [own.views["spans"].ids[at:end] for at, end in pairwise(starts)]
            segments = theirs["span_segment_ids"][row]
            assert spans == [
                [token for token, part in zip(teacher.ids, segments, strict=True) if part == number]
                for number in range(1, own.thoughts + 1)
            ]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("span", [1, 2, 3])
def test_texts(family: str, span: int) -> None:
    """All rows share a batch here; the release's own results are those of one row at a time."""
    found = content("cmtp")
    model, ids = model_of("cmtp", family), found["ids"]
    head = head_of(family, model, span)
    entries = [e for e in found[family]["generated"] if e["how"] == "batch 1" and e["span"] == span]
    build = cmtp_builder()
    prompts = collate([build.prompt(one, 0) for one in examples(family, [e["rows"][0] for e in entries])], ids["pad"])
    thought: list[Tensor] = []
    made = head.tokens

    def noted(states: Tensor, model: PreTrainedModel) -> Tensor:
        tokens = made(states, model)
        if states.ndim == 3:
            thought.append(tokens[:, 0])
        return tokens

    head.tokens = noted  # type: ignore[method-assign]
    with torch.no_grad():
        thinking = Given(16).freely(model, heads(prompts, ids["pad"]), head, ids["eot"])
        thinking.spoken = head.spoken
        texts = decode(model, thinking, max_new_tokens=16, eos=ids["eos"])
    ended = 0
    for row, entry in enumerate(entries):
        count = int(thinking.thoughts[row])
        assert count == len(entry["think_spans"])
        assert [tokens[row].tolist() for tokens in thought[:count]] == entry["think_spans"]
        # Theirs may read so many inputs in all: thoughts, eot and text.
        room = max(0, entry["max_new"] - count - 1)
        assert texts[row][:room] == entry["answer_tokens"][0]
        ended += room > 0
    assert ended >= (0 if (family, span) == ("gpt2", 1) else 3)


def test_a_thought_has_no_gradient() -> None:
    """The embeddings of the chain's tokens are reached as targets and by text alone."""
    model = model_of("cmtp", "llama")
    batch, head = cmtp_batch("llama", [0], 2), head_of("llama", model, 2)
    thinking: Thinking = Given()(model, batch, head)
    thinking.states.sum().backward()  # type: ignore[no-untyped-call]
    table = model.get_input_embeddings().weight.grad
    assert isinstance(table, Tensor)
    read = set(table.abs().sum(dim=1).nonzero()[:, 0].tolist())
    ids = content("cmtp")["ids"]
    own = content("cmtp")["llama"]["examples"][0]
    text = {ids["bos"], *own["question"], ids["bot"], ids["eot"], *ids["answer_prompt"], ids["space"], *own["answer"]}
    assert read == text | {ids["eos"]}

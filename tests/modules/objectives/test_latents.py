"""What a head is to expect, by its definition: one row at a time, state by state."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal
from transformers import PreTrainedModel

from lcot.errors import UserError
from lcot.modules.objectives.base import Scene
from lcot.modules.objectives.latents import LatentLoss
from lcot.reasoning.batch import ThoughtBatch, collate
from lcot.reasoning.curriculum import Stage
from lcot.reasoning.given import Given
from lcot.reasoning.heads import LatentHead
from lcot.reasoning.keyed import normal
from lcot.reasoning.layout import EncodedExample, Layout
from tests.family_oracle import last_states
from tests.models import SPECIAL, random_examples, tiny_model
from tests.oracle import embedded
from tests.reasoning.support import assert_same_gradients
from tests.reasoning.test_given import gradients, spans
from tests.reasoning.test_spans import span_builder


def latent_head(model: PreTrainedModel) -> LatentHead:
    made = LatentHead(width=24)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        made.build(model)
    return made


def rows() -> list[Layout]:
    """Spans of 1 to 3 tokens, drawn for each row; one has no chain."""
    build, made = span_builder(labels="drawn"), random_examples(6, seed=2)
    made[3] = EncodedExample(made[3].question, [], made[3].answer)
    return [build.train(one, Stage(len(one.steps), 0, span=1 + row % 3, draw=50 + row)) for row, one in enumerate(made)]


def slow_losses(model: PreTrainedModel, head: LatentHead, row: Layout, objective: LatentLoss) -> list[Tensor]:
    """The losses of a row's states, each a mean over its values."""
    table = model.get_input_embeddings()
    thoughts = []
    for span in spans(row):
        scale = math.sqrt(len(span)) + 1e-5 if len(span) > 1 else 1.0
        thoughts.append(table(torch.tensor(span)).sum(dim=0) / scale)
    given = torch.stack(thoughts)[None] if thoughts else embedded(model, [])
    after = embedded(model, row.ids[row.head + row.thoughts :])
    states = last_states(model, torch.cat([embedded(model, row.ids[: row.head]), given, after], dim=1))[0]
    noise = normal((len(thoughts) + 1) * 32, "latents", row.draw).view(-1, 32)
    found = []
    for number, target in enumerate([*thoughts, table(torch.tensor(SPECIAL.eot))]):
        mean, log_std = head.expected(states[row.head - 1 + number])
        wanted, own = target.detach() / head.std, Normal(mean, log_std.exp())
        far = (mean + log_std.exp() * noise[number] - wanted) ** 2
        loss = far if objective.loss == "mse" else -own.log_prob(wanted)  # type: ignore[no-untyped-call]
        found.append((loss + objective.entropy * own.entropy()).mean())  # type: ignore[no-untyped-call]
    return found


def fast(model: PreTrainedModel, head: LatentHead, objective: LatentLoss, batch: ThoughtBatch) -> Tensor:
    objective.build(model, SPECIAL)
    summed: Tensor = objective(Scene(model, batch, Given()(model, batch, head), feed=head))
    return summed[0]


@pytest.mark.parametrize("name", ["gpt2", "llama"])
@pytest.mark.parametrize("loss", ["mse", "nll"])
@pytest.mark.parametrize("entropy", [0.0, -0.3])
def test_the_definition(name: str, loss: Any, entropy: float) -> None:
    model, made = tiny_model(name), rows()
    head, objective = latent_head(model), LatentLoss(loss=loss, entropy=entropy)
    batch = collate(made, SPECIAL.pad)
    summed = fast(model, head, objective, batch)
    slow = [one for row in made for one in slow_losses(model, head, row, objective)]
    assert objective.count(batch).tolist() == [len(slow)]
    assert summed.item() == pytest.approx(torch.stack(slow).sum().item(), rel=1e-5)
    assert_same_gradients(gradients(model, head, summed), gradients(model, head, torch.stack(slow).sum()))


def test_a_row_does_not_depend_on_its_mates() -> None:
    """Not even its noise; a batch without any thought has its heads where they are."""
    model, made = tiny_model(), rows()
    head, objective = latent_head(model), LatentLoss()
    with torch.no_grad():
        alone = [fast(model, head, objective, collate([row], SPECIAL.pad)).item() for row in made]
        together = fast(model, head, objective, collate(made[::-1], SPECIAL.pad)).item()
        long = span_builder(labels="drawn").train(EncodedExample([7] * 9, [], [8, 1]), Stage(0, 0, span=2, draw=4))
        empty = collate([made[3], long], SPECIAL.pad)
        assert not empty.max_thoughts
        apart = [fast(model, head, objective, collate([row], SPECIAL.pad)).item() for row in (made[3], long)]
        assert fast(model, head, objective, empty).item() == pytest.approx(sum(apart), rel=1e-5)
    assert together == pytest.approx(sum(alone), rel=1e-5)


def test_the_noise_is_the_rows_own() -> None:
    made = rows()
    one, other = collate(made, SPECIAL.pad), collate(made[2:4], SPECIAL.pad)
    noise, again = LatentLoss().noise(one, 8), LatentLoss().noise(other, 8)
    assert torch.equal(noise[2, : made[2].thoughts + 1], again[0, : made[2].thoughts + 1])
    assert not torch.equal(noise[0, 0], noise[1, 0])


def test_an_unknown_loss() -> None:
    with pytest.raises(UserError, match="mae"):
        LatentLoss(loss="mae")  # type: ignore[arg-type]

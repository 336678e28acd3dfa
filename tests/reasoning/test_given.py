"""Thoughts that are made of the text in training, and of the head's own spans when answering, by their definitions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import PreTrainedModel

from lcot.errors import UserError
from lcot.modules.objectives.base import Scene
from lcot.modules.objectives.spans import SpanTokens
from lcot.reasoning.batch import ThoughtBatch, collate, heads
from lcot.reasoning.curriculum import Stage
from lcot.reasoning.decode import Sampling, decode
from lcot.reasoning.feeds import Feed
from lcot.reasoning.given import Given
from lcot.reasoning.heads import Head, LatentHead, SpanHead
from lcot.reasoning.keyed import keyed_seed, normal
from lcot.reasoning.layout import IGNORE, EncodedExample, Layout
from lcot.reasoning.think import supervised_loss
from lcot.reasoning.until import think_until
from tests.family_oracle import last_states
from tests.models import ARCHITECTURES, SPECIAL, random_examples, tiny_model
from tests.oracle import embedded
from tests.reasoning.support import assert_same_gradients
from tests.reasoning.test_spans import span_builder

SIZE = 2


def span_head(model: PreTrainedModel, size: int = SIZE) -> SpanHead:
    made = SpanHead(size, width=24)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        made.build(model)
    return made


def examples() -> list[EncodedExample]:
    """Chains of many lengths, one of them empty."""
    made = random_examples(6, seed=2)
    return [*made[:3], EncodedExample(made[3].question, [], made[3].answer), *made[4:]]


def rows(size: int = SIZE) -> list[Layout]:
    build = span_builder(fill=True)
    return [build.train(one, Stage(len(one.steps), 0, span=size, draw=row)) for row, one in enumerate(examples())]


def spans(row: Layout) -> list[list[int]]:
    starts = row.views["spans"].places["spans"]
    return [row.views["spans"].ids[at:end] for at, end in pairwise(starts)]


def slow_losses(model: PreTrainedModel, head: SpanHead, row: Layout) -> tuple[list[Tensor], list[Tensor]]:
    """The losses of a row's text and of its spans, token by token."""
    table = model.get_input_embeddings()
    means = [table(torch.tensor(span)).mean(dim=0).detach() for span in spans(row)]
    given = torch.stack(means)[None] if means else embedded(model, [])
    after = row.ids[row.head + row.thoughts :]
    inputs = torch.cat([embedded(model, row.ids[: row.head]), given, embedded(model, after)], dim=1)
    states = last_states(model, inputs)[0]
    assert head.layers is not None
    slots = head.layers(states).reshape(len(states), head.span, -1)
    said = model.get_output_embeddings()(slots)  # type: ignore[no-untyped-call]

    def loss(place: int, slot: int, token: int) -> Tensor:
        return F.cross_entropy(said[place, slot][None], torch.tensor([token]))

    text = [loss(place - 1, 0, label) for place, label in enumerate(row.labels) if label != IGNORE]
    own = [loss(row.head - 1 + i, j, token) for i, span in enumerate(spans(row)) for j, token in enumerate(span)]
    if spans(row) and head.span > 1:
        own.append(loss(row.head - 1 + row.thoughts, 0, SPECIAL.eot))
    return text, own


def looked_at(
    model: PreTrainedModel, head: SpanHead, batch: ThoughtBatch, checkpointing: bool = False
) -> tuple[Tensor, Tensor]:
    """Sums of the two losses."""
    thinking = Given()(model, batch, head, checkpointing=checkpointing)
    thinking.spoken = head.spoken
    objective = SpanTokens()
    objective.build(model, SPECIAL)
    summed, count = supervised_loss(model, batch, thinking)
    assert count == int((batch.labels != IGNORE).sum())
    return summed, objective(Scene(model, batch, thinking, feed=head))[0]


def gradients(model: PreTrainedModel, head: Feed, loss: Tensor) -> dict[str, Tensor]:
    model.zero_grad()
    head.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    both = [*model.named_parameters(), *head.named_parameters()]
    return {name: weight.grad.clone() for name, weight in both if weight.grad is not None}


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("size", [1, 2, 3])
def test_training(name: str, size: int) -> None:
    """Losses and gradients of a batch of all lengths are those of its rows, one by one."""
    model = tiny_model(name)
    head, made = span_head(model, size), rows(size)
    batch = collate(made, SPECIAL.pad)
    text, own = looked_at(model, head, batch)
    slow = [slow_losses(model, head, row) for row in made]
    slow_text, slow_own = (torch.stack([one for row in slow for one in row[term]]) for term in (0, 1))
    assert text.item() == pytest.approx(slow_text.sum().item(), rel=1e-5)
    assert own.item() == pytest.approx(slow_own.sum().item(), rel=1e-5)
    objective = SpanTokens()
    assert objective.count(batch).tolist() == [len(slow_own)]
    got = gradients(model, head, text + 0.5 * own)
    assert_same_gradients(got, gradients(model, head, slow_text.sum() + 0.5 * slow_own.sum()))


def test_a_row_does_not_depend_on_its_mates() -> None:
    model, made = tiny_model(), rows()
    head = span_head(model)
    with torch.no_grad():
        alone = [looked_at(model, head, collate([row], SPECIAL.pad)) for row in made]
        text, own = looked_at(model, head, collate(made[::-1], SPECIAL.pad))
    assert text.item() == pytest.approx(sum(one.item() for one, _ in alone), rel=1e-5)
    assert own.item() == pytest.approx(sum(one.item() for _, one in alone), rel=1e-5)


def test_checkpointing_changes_nothing() -> None:
    model, batch = tiny_model(), collate(rows(), SPECIAL.pad)
    head = span_head(model)
    expected = gradients(model, head, sum(looked_at(model, head, batch), torch.zeros(())))
    found = gradients(model, head, sum(looked_at(model, head, batch, checkpointing=True), torch.zeros(())))
    assert_same_gradients(found, expected)


def slow_thoughts(
    model: PreTrainedModel, head: Head, question: list[int], most: int, eot: int | None
) -> tuple[Tensor, int]:
    """Inputs of a question and the thoughts that the head makes of its own, up to a bound or an eot; how many."""
    inputs, count = embedded(model, question), 0
    while count < most:
        state = last_states(model, inputs)[:, -1:]
        if eot is not None and bool(head.stops(state[:, 0], model, eot)[0]):
            break
        inputs, count = torch.cat([inputs, head(state, state, model)], dim=1), count + 1
    return inputs, count


def slow_text(model: PreTrainedModel, head: Head, inputs: Tensor, room: int, eot: int) -> list[int]:
    """What is written behind thoughts and eot, greedily."""
    inputs, written = torch.cat([inputs, embedded(model, [eot])], dim=1), list[int]()
    while len(written) < room and SPECIAL.eos not in written:
        said = model.get_output_embeddings()(head.spoken(last_states(model, inputs)[0, -1]))  # type: ignore[no-untyped-call]
        written.append(int(said.argmax()))
        inputs = torch.cat([inputs, embedded(model, written[-1:])], dim=1)
    return written


@pytest.mark.parametrize("name", ["gpt2", "llama"])
@pytest.mark.parametrize("most", [1, 3, 6])
def test_answering(name: str, most: int) -> None:
    """Each row thinks until it says so, whatever its batch mates do."""
    model = tiny_model(name)
    model.eval()  # type: ignore[no-untyped-call]
    head, build = span_head(model), span_builder()
    made = random_examples(24, seed=8)
    prompts = heads(collate([build.prompt(one, 0) for one in made], SPECIAL.pad), SPECIAL.pad)
    with torch.no_grad():
        # A model that is not trained hardly ever says eot: a token that it says often stands in.
        states = Given()(model, prompts, head).states[:, 0]
        eot = Counter(head.tokens(states, model).flatten().tolist()).most_common(2)[-1][0]
        slow = [slow_thoughts(model, head, [*one.question, SPECIAL.bot], most, eot) for one in made]
        thinking = Given(most).freely(model, prompts, head, eot)
        thinking.spoken = head.spoken
        texts = decode(model, thinking, max_new_tokens=5, eos=SPECIAL.eos)
        assert texts == [slow_text(model, head, inputs, 5, eot) for inputs, _ in slow]
    assert thinking.thoughts.tolist() == [count for _, count in slow]
    assert len(set(thinking.thoughts.tolist())) > 1


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_a_number_that_is_asked_for(name: str) -> None:
    """Rows without spans beside them think as many thoughts as they have places."""
    model = tiny_model(name)
    model.eval()  # type: ignore[no-untyped-call]
    head, build = span_head(model), span_builder()
    made = random_examples(5, seed=4)
    batch = collate([build.prompt(one, number) for number, one in enumerate(made)], SPECIAL.pad)
    with torch.no_grad():
        thinking = Given()(model, batch, head, keep_cache=True)
        thinking.spoken = head.spoken
        assert thinking.fed is not None and thinking.thoughts.tolist() == [0, 1, 2, 3, 4]
        texts = decode(model, thinking, max_new_tokens=4, eos=SPECIAL.eos)
        for number, one in enumerate(made):
            inputs, _ = slow_thoughts(model, head, [*one.question, SPECIAL.bot], number, None)
            torch.testing.assert_close(thinking.fed[number, :number], inputs[0, len(inputs[0]) - number :])
            assert texts[number] == slow_text(model, head, inputs, 4, SPECIAL.eot)


def slowly_drawn(
    model: PreTrainedModel, head: LatentHead, question: list[int], most: int, sampling: Sampling
) -> Tensor:
    """Inputs of a question and the thoughts that are drawn for it, up to a bound or an eot."""
    inputs, key = embedded(model, question), keyed_seed("thoughts", sampling.seed, *question)
    for number in range(most):
        state = last_states(model, inputs)[:, -1:]
        if bool(head.stops(state[:, 0], model, SPECIAL.eot)[0]):
            break
        mean, log_std = head.expected(state)
        drawn = mean + log_std.exp() * sampling.thoughts * normal(32, key, number)
        inputs = torch.cat([inputs, drawn * head.std], dim=1)
    return inputs


@pytest.mark.parametrize("name", ["gpt2", "llama"])
@pytest.mark.parametrize("factor", [0.0, 1.5])
def test_thoughts_of_a_latent_head(name: str, factor: float) -> None:
    """What is drawn depends on question and seed alone, not on the batch; without a factor the means are thought."""
    model = tiny_model(name)
    model.eval()  # type: ignore[no-untyped-call]
    head, build = LatentHead(), span_builder(lead="fast 2")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        head.build(model)
    made = random_examples(12, seed=8)
    prompts = heads(collate([build.prompt(one, 0) for one in made], SPECIAL.pad), SPECIAL.pad)
    found = []
    with torch.no_grad():
        for seed in (0, 1):
            sampling = Sampling(seed=seed, thoughts=factor)
            thinking = Given(4).freely(model, prompts, head, SPECIAL.eot, sampling)
            found.append(thinking.state_at(thinking.prompt_ends - 1))
            for row, one in enumerate(made):
                inputs = slowly_drawn(model, head, build.prompt(one, 0).ids[:-1], 4, sampling)
                end = last_states(model, torch.cat([inputs, embedded(model, [SPECIAL.eot])], dim=1))[0, -1]
                torch.testing.assert_close(found[-1][row], end, rtol=1e-3, atol=1e-3)
    assert torch.equal(*found) == (factor == 0)


def test_what_is_made_before_a_thought(model: PreTrainedModel) -> None:
    """A feed may stand between a state and the next thought of rows that stop by themselves."""
    prompts = collate([span_builder().prompt(one, 0) for one in random_examples(3)], SPECIAL.pad)
    seen: list[int] = []

    def made(state: Tensor, number: int) -> Tensor:
        seen.append(number)
        return torch.zeros_like(state)

    stop: Callable[[Tensor, int], Tensor] = lambda states, number: torch.zeros(len(states), dtype=torch.bool)  # noqa: E731
    with torch.no_grad():
        think_until(model, heads(prompts, SPECIAL.pad), stop, 3, SPECIAL.eot, made=made)
    assert seen == [0, 1, 2]


def test_a_bound_below_one() -> None:
    with pytest.raises(UserError, match="max_thoughts is 0"):
        Given(0)

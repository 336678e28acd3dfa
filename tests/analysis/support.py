"""What the tests of the measurements share: problems, models, the definition of a concept's value, a count of rows."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from lcot.datamodules.graphs.generator import GraphSpec
from lcot.datamodules.graphs.splits import generate
from lcot.datamodules.graphs.text import Style, draw_names, render, surface_texts
from lcot.reasoning.example import ReasoningExample
from lcot.reasoning.feeds import Feed
from lcot.reasoning.keyed import keyed_random
from lcot.reasoning.layout import Layout, LayoutBuilder
from lcot.reasoning.text import TextFormat
from lcot.reasoning.tokens import token_ids
from tests.analysis.machine import tokenizer_of
from tests.models import tiny_model
from tests.oracle import cut, embedded, naive_thoughts

SPEC = GraphSpec(nodes=(6, 9), hops=(2, 3), symbols=16)
PROSE = TextFormat()
SPELLED = ("fompus", "lempus", "gorpus", "brimpus")
"""Names that the tokenizer of :func:`random_setting` has no tokens for."""


def problems(style: Style, count: int, split: str = "val") -> list[ReasoningExample]:
    """Generated problems of different lengths."""
    made = []
    for number, problem in enumerate(generate(SPEC, 0, split, count)):  # type: ignore[arg-type]
        names = draw_names(SPEC, problem, keyed_random("names", number))
        made.append(render(problem, names, keyed_random("facts", number), style, example_id=f"p{number}"))
    return made


def random_setting(
    style: Style, architecture: str = "llama", **changes: object
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A random model with further settings, and a tokenizer that spells some names in bytes."""
    texts = " ".join(surface_texts(SPEC, style))
    for name in SPELLED:
        texts = texts.replace(name, "")
    tokenizer = tokenizer_of([texts, "Every is a", "or. ? ", "? ", "| ", ": ", "### "])
    ids = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    fields = {"vocab_size": len(tokenizer), "max_position_embeddings": 192, **ids, **changes}
    return tiny_model(architecture, **fields), tokenizer


@torch.no_grad()
def naive_chances(
    model: PreTrainedModel, builder: LayoutBuilder, example: ReasoningExample, k: int, lead: str, name: str
) -> list[float]:
    """The probability of each token of a name behind k thoughts, by its definition.

    Everything is run anew for the thoughts and the name, alone, without a cache.
    """
    problem = cut(builder.prompt(builder.encode([example])[0], k))
    forced = token_ids(builder.tokenizer, [lead], bos=False)[0]
    ids = token_ids(builder.tokenizer, [lead + name], bos=False)[0][len(forced) :]
    after = torch.tensor([problem.after + forced + ids], dtype=torch.long)
    inputs = torch.cat([naive_thoughts(model, problem), model.get_input_embeddings()(after)], dim=1)
    chances = model(inputs_embeds=inputs, use_cache=False).logits[0].double().softmax(dim=-1)
    return [float(chances[place - len(ids) - 1, token]) for place, token in enumerate(ids)]


@torch.no_grad()
def naive_logits(
    model: PreTrainedModel, row: Layout, vectors: Tensor, text: Sequence[int], hidden: Sequence[int] = ()
) -> Tensor:
    """Logits ``(L, V)`` of a row with given thoughts and a text behind it, by its definition.

    Everything is run in one pass, alone, without a cache.

    Args:
        model: The language model.
        row: A prompt with k thoughts.
        vectors: ``(k, D)`` what stands in their places.
        text: Ids behind the prompt.
        hidden: Which thoughts, from 0, are not seen from the last place of the prompt on.
    """
    before, after = row.ids[: row.head], [*row.ids[row.head + len(vectors) :], *text]
    inputs = torch.cat([embedded(model, before), vectors[None], embedded(model, after)], dim=1)
    length = inputs.shape[1]
    seen = torch.ones(length, length, dtype=torch.bool).tril()
    for thought in hidden:
        seen[min(row.prompt - 1, row.head + len(vectors)) :, row.head + thought] = False
    mask = torch.zeros(1, 1, length, length).masked_fill(~seen, torch.finfo(torch.float32).min)
    logits: Tensor = model(inputs_embeds=inputs, attention_mask=mask, use_cache=False).logits[0]
    return logits


def naive_text(
    model: PreTrainedModel, row: Layout, vectors: Tensor, most: int, eos: int, hidden: Sequence[int] = ()
) -> list[int]:
    """The most likely token, again and again, until eos (which is kept) or the limit."""
    written: list[int] = []
    while len(written) < most and written[-1:] != [eos]:
        written.append(int(naive_logits(model, row, vectors, written, hidden)[-1].argmax()))
    return written


def naive_log_probability(
    model: PreTrainedModel, row: Layout, vectors: Tensor, text: Sequence[int], start: int, hidden: Sequence[int] = ()
) -> float:
    """Log-probability of the ids of a text from a place on."""
    said = naive_logits(model, row, vectors, text, hidden).double().log_softmax(dim=-1)
    return sum(float(said[row.prompt - 1 + place, text[place]]) for place in range(start, len(text)))


def naive_rethought(
    model: PreTrainedModel, row: Layout, feed: Feed | None, changed: int, vector: Tensor, k: int
) -> Tensor:
    """``(k, D)`` thoughts, of which one is another vector; all is run anew for each."""
    inputs = embedded(model, row.ids[: row.head])
    for number in range(k):
        states = model.base_model(inputs_embeds=inputs, use_cache=False).last_hidden_state[:, -1:]
        made = states if feed is None else feed(states, states, model)
        inputs = torch.cat([inputs, vector[None, None] if number == changed else made], dim=1)
    return inputs[0, row.head :]


def naive_value(chances: Sequence[float]) -> float:
    """The product."""
    return math.prod(chances)


def contrast(one: str, other: str) -> float:
    """The contrast of two colours such as ``#0072b2`` by the definition of WCAG 2, from 1 to 21."""
    lights = []
    for colour in (one, other):
        parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        red, green, blue = (part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
        lights.append(0.2126 * red + 0.7152 * green + 0.0722 * blue)
    return (max(lights) + 0.05) / (min(lights) + 0.05)


@contextmanager
def counted_rows(model: PreTrainedModel) -> Iterator[list[int]]:
    """The number of rows of each pass of the backbone."""
    rows: list[int] = []

    def note(module: object, args: object, kwargs: dict[str, Tensor]) -> None:
        rows.append(kwargs["inputs_embeds"].shape[0])

    backbone = model.base_model
    assert isinstance(backbone, torch.nn.Module)
    handle = backbone.register_forward_pre_hook(note, with_kwargs=True)
    try:
        yield rows
    finally:
        handle.remove()


class Watched:
    """Examples without end, which count how many were taken."""

    def __init__(self, examples: Sequence[ReasoningExample]) -> None:
        self.examples = examples
        self.taken = 0

    def __iter__(self) -> Iterator[ReasoningExample]:
        while True:
            self.taken += 1
            yield self.examples[self.taken % len(self.examples)]

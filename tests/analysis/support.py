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
from lcot.reasoning.keyed import keyed_random
from lcot.reasoning.layout import LayoutBuilder
from lcot.reasoning.text import TextFormat
from lcot.reasoning.tokens import token_ids
from tests.analysis.machine import tokenizer_of
from tests.models import tiny_model
from tests.oracle import cut, naive_thoughts

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


def random_setting(style: Style, architecture: str = "llama") -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A random model, with a tokenizer that spells some names in bytes."""
    texts = " ".join(surface_texts(SPEC, style))
    for name in SPELLED:
        texts = texts.replace(name, "")
    tokenizer = tokenizer_of([texts, "Every is a", "or. ? ", "? ", "| ", ": ", "### "])
    ids = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    return tiny_model(architecture, vocab_size=len(tokenizer), max_position_embeddings=192, **ids), tokenizer


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

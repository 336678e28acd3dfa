"""What a thought says if it is read as if it were to be spoken: the logit lens, and the words next to it.

A continuous thought is a state behind the final norm, so the output head applies to it directly (arXiv 2412.06769 reads
the first thought of a GSM8K problem this way and finds its intermediate results).

Letters in shapes: B rows, k thoughts, M = B * k vectors, D hidden width, V vocabulary.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from lcot.analysis.thinker import Thinker, Thoughts, encoded_chunks, measuring
from lcot.analysis.vocabulary import Vocabulary, token_text
from lcot.reasoning.example import ReasoningExample
from lcot.reasoning.tokens import token_ids

ResultKind = Literal["equation", "partial_product", "running_sum"]

_EQUATION = re.compile(r"=\s*[$€£]?\s?(-?(?:\d[\d,]*)?\.?\d+)")
_DIGITS = re.compile(r"\d(?: \d)*")


@dataclass(frozen=True, slots=True)
class Result:
    """An intermediate result of a problem in arithmetic.

    Attributes:
        kind: What it is the result of.
        step: Number of the step that computes it, from 1.
        text: As the step writes it.
    """

    kind: ResultKind
    step: int
    text: str


@dataclass(frozen=True, slots=True)
class ShownResult:
    """An intermediate result under the lens.

    Attributes:
        kind: As in :class:`Result`.
        step: As in :class:`Result`.
        text: As in :class:`Result`.
        whole: Whether it is a single token; otherwise what is looked for is the first of its tokens, which other
            results may share, as all products share their first digit with others.
        probability: Of that token, with or without a space before it, whichever is more probable.
        rank: Number of tokens that are at least as probable, itself included: 1 for the first choice.
    """

    kind: ResultKind
    step: int
    text: str
    whole: bool
    probability: float
    rank: int


@dataclass(frozen=True, slots=True)
class LensToken:
    """A token with its probability under the lens.

    Attributes:
        token: Its text.
        id: Its number.
        probability: From 0 to 1, over the whole vocabulary.
    """

    token: str
    id: int
    probability: float


@dataclass(frozen=True, slots=True)
class NearToken:
    """A token with the cosine between its input embedding and the thought.

    Attributes:
        token: Its text.
        id: Its number.
        cosine: From -1 to 1.
    """

    token: str
    id: int
    cosine: float


@dataclass(frozen=True, slots=True)
class ThoughtLens:
    """One thought under the lens.

    Attributes:
        id: The question's.
        thoughts: k, the number of thoughts of the question.
        thought: Which of them this is, from 1.
        top: The most probable tokens, the first one first.
        nearest: The words whose input embeddings are nearest, the nearest one first.
        results: The question's intermediate results; none where it has none.
    """

    id: str
    thoughts: int
    thought: int
    top: tuple[LensToken, ...]
    nearest: tuple[NearToken, ...]
    results: tuple[ShownResult, ...]


def thought_lenses(
    thinker: Thinker,
    examples: Iterable[ReasoningExample],
    k: int,
    *,
    top: int = 5,
    nearest: int = 5,
) -> Iterator[ThoughtLens]:
    """Look at each of k thoughts.

    Args:
        thinker: The model.
        examples: Questions; read as they are needed.
        k: Number of thoughts; with 0 there is nothing to look at.
        top: How many tokens are given.
        nearest: How many words are given.

    Yields:
        One record a thought, question by question. Logits exist for at most ``thinker.max_rows`` thoughts at once.

    Raises:
        UserError: If k cannot be.
    """
    vocabulary = Vocabulary.of(thinker)
    for chunk, encoded in encoded_chunks(thinker, examples):
        rows = thinker.rows(encoded, k)
        if not k:
            continue
        with measuring(thinker.model):
            thoughts = thinker.think(rows)
            wanted = [_wanted(thinker, example) for example in chunk for _ in range(k)]
            found: list[tuple[tuple[LensToken, ...], tuple[ShownResult, ...], tuple[NearToken, ...]]] = []
            states, vectors = thoughts.states.flatten(0, 1), thoughts.vectors.flatten(0, 1)
            for start in range(0, len(states), thinker.max_rows):
                piece = slice(start, start + thinker.max_rows)
                spoken = _spoken(thinker, thoughts, states[piece], wanted[piece], top)
                near = _near(vocabulary, vectors[piece], nearest)
                found += [(*one, words) for one, words in zip(spoken, near, strict=True)]
        for number, (tokens, results, words) in enumerate(found):
            yield ThoughtLens(chunk[number // k].id, k, number % k + 1, tokens, words, results)


def intermediate_results(example: ReasoningExample) -> tuple[Result, ...]:
    """The intermediate results that a problem's written steps have.

    Of a product these are the partial products and running sums, spelled as they are there; of other problems the
    number behind the last equality sign of a step, as in ``<<16-3-4=9>>``. The last one may be the answer.
    """
    results = []
    for step, text in enumerate(example.steps, start=1):
        if "partial_products" in example.facts:
            kinds: tuple[ResultKind, ...] = ("partial_product", "running_sum")
            results += [Result(kind, step, found) for kind, found in zip(kinds, _DIGITS.findall(text), strict=False)]
        elif equations := _EQUATION.findall(text):
            results.append(Result("equation", step, equations[-1]))
    return tuple(results)


def _wanted(thinker: Thinker, example: ReasoningExample) -> list[tuple[Result, list[int], bool]]:
    """Each intermediate result with the tokens that it may begin with, and whether one is all of it."""
    found, tokenizer = [], thinker.builder.tokenizer
    for result in intermediate_results(example):
        begun: dict[int, bool] = {}
        for ids in token_ids(tokenizer, [result.text, f" {result.text}"], bos=False):
            piece = str(tokenizer.decode(ids[:1])).strip()
            if piece and result.text.startswith(piece):  # not a lone space before it
                begun[ids[0]] = len(ids) == 1
        if begun:
            found.append((result, list(begun), any(begun.values())))
    return found


def _spoken(
    thinker: Thinker,
    thoughts: Thoughts,
    states: Tensor,
    wanted: Sequence[list[tuple[Result, list[int], bool]]],
    top: int,
) -> list[tuple[tuple[LensToken, ...], tuple[ShownResult, ...]]]:
    """The best tokens of states ``(M, D)``, and the wanted results of each."""
    chances = thoughts.thinking.logits(thinker.model, states).float().softmax(dim=-1)
    best = chances.topk(min(top, chances.shape[-1]), dim=-1)
    tokenizer = thinker.builder.tokenizer
    found = []
    for row, asked, values, ids in zip(chances, wanted, best.values.tolist(), best.indices.tolist(), strict=True):
        tokens = tuple(LensToken(token_text(tokenizer, i), i, value) for i, value in zip(ids, values, strict=True))
        shown = []
        for result, begun, whole in asked:
            chance = row[begun].max()
            rank = int((row >= chance).sum())
            shown.append(ShownResult(result.kind, result.step, result.text, whole, float(chance), rank))
        found.append((tokens, tuple(shown)))
    return found


def _near(vocabulary: Vocabulary, vectors: Tensor, count: int) -> list[tuple[NearToken, ...]]:
    """The nearest words of vectors ``(M, D)``."""
    best = vocabulary.cosines(vectors).topk(min(count, len(vocabulary.ids)), dim=-1)
    ids = vocabulary.ids[best.indices]
    return [
        tuple(NearToken(vocabulary.tokens[place], i, cosine) for place, i, cosine in zip(*row, strict=True))
        for row in zip(best.indices.tolist(), ids.tolist(), torch.as_tensor(best.values).tolist(), strict=True)
    ]

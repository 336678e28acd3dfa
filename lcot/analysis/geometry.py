"""Where thoughts lie: how long they are, how far from one another and from words. Collapse shows here.

A model whose thoughts carry nothing gives the same ones to every question, or k times the same one to each.

Letters in shapes: B rows, k thoughts, D hidden width.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from lcot.analysis.thinker import Thinker, encoded_chunks, measuring
from lcot.analysis.vocabulary import Vocabulary
from lcot.reasoning.example import ReasoningExample


@dataclass(frozen=True, slots=True)
class ThoughtGeometry:
    """The thoughts of one question.

    Attributes:
        id: The question's.
        thoughts: k.
        norms: L2 norm of each.
        cosines: k rows of k cosines between them.
        distances: k rows of k Euclidean distances between them.
        vocabulary_distances: Euclidean distance of each to the nearest word's input embedding.
        vocabulary_cosines: Largest cosine of each with a word's input embedding.
    """

    id: str
    thoughts: int
    norms: tuple[float, ...]
    cosines: tuple[tuple[float, ...], ...]
    distances: tuple[tuple[float, ...], ...]
    vocabulary_distances: tuple[float, ...]
    vocabulary_cosines: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Collapse:
    """One of k thoughts, over all questions.

    Attributes:
        thoughts: k.
        thought: Which of them this is, from 1.
        questions: Number of questions.
        norm: Mean L2 norm.
        word_norm: Mean L2 norm of the words' input embeddings, to compare with.
        vocabulary_distance: Mean distance to the nearest word.
        vocabulary_cosine: Mean of the largest cosine with a word.
        previous: Mean cosine with the thought before it; ``None`` for the first one. Near 1 the thoughts of a question
            are all the same.
        across: Mean cosine between this thought of different questions; ``None`` for a single question. Near 1 it does
            not depend on the question.
    """

    thoughts: int
    thought: int
    questions: int
    norm: float
    word_norm: float
    vocabulary_distance: float
    vocabulary_cosine: float
    previous: float | None
    across: float | None


def thought_geometry(thinker: Thinker, examples: Iterable[ReasoningExample], k: int) -> Iterator[ThoughtGeometry]:
    """Measure the thoughts of each question.

    Args:
        thinker: The model.
        examples: Questions; read as they are needed.
        k: Number of thoughts.

    Yields:
        One record a question, in their order.

    Raises:
        UserError: If k cannot be.
    """
    vocabulary = Vocabulary.of(thinker)
    for chunk, vectors in _thoughts(thinker, examples, k):
        far, alike = _to_words(vocabulary, vectors, thinker.max_rows)
        unit = F.normalize(vectors, dim=-1)
        apart = torch.cdist(vectors, vectors, compute_mode="donot_use_mm_for_euclid_dist")
        columns = zip(vectors.norm(dim=-1), unit @ unit.transpose(1, 2), apart, far, alike, strict=True)
        for example, (norms, cosines, distances, own_far, own_alike) in zip(chunk, columns, strict=True):
            yield ThoughtGeometry(
                example.id,
                k,
                tuple(norms.tolist()),
                tuple(map(tuple, cosines.tolist())),
                tuple(map(tuple, distances.tolist())),
                tuple(own_far.tolist()),
                tuple(own_alike.tolist()),
            )


def collapse(thinker: Thinker, examples: Iterable[ReasoningExample], k: int) -> list[Collapse]:
    """Measure each of k thoughts over all questions; only sums are kept.

    Args:
        thinker: The model.
        examples: Questions; read as they are needed.
        k: Number of thoughts.

    Returns:
        One record a thought; none without questions.

    Raises:
        UserError: If k cannot be.
    """
    vocabulary = Vocabulary.of(thinker)
    questions = 0
    norms, fars, alikes, before = (torch.zeros(k, dtype=torch.float64) for _ in range(4))
    units: Tensor | None = None
    for chunk, vectors in _thoughts(thinker, examples, k):
        far, alike = _to_words(vocabulary, vectors, thinker.max_rows)
        unit = F.normalize(vectors, dim=-1).cpu().double()
        questions += len(chunk)
        norms += vectors.norm(dim=-1).cpu().double().sum(dim=0)
        fars += far.cpu().double().sum(dim=0)
        alikes += alike.cpu().double().sum(dim=0)
        before[1:] += (unit[:, 1:] * unit[:, :-1]).sum(dim=(0, 2))
        units = unit.sum(dim=0) + (units if units is not None else 0)
    if units is None:
        return []
    # |sum of n unit vectors|² is n plus the cosines of all ordered pairs.
    pairs = questions * (questions - 1)
    across = [(float(total) - questions) / pairs if pairs else None for total in units.square().sum(dim=-1)]
    return [
        Collapse(
            thoughts=k,
            thought=place + 1,
            questions=questions,
            norm=float(norms[place]) / questions,
            word_norm=vocabulary.mean_norm,
            vocabulary_distance=float(fars[place]) / questions,
            vocabulary_cosine=float(alikes[place]) / questions,
            previous=float(before[place]) / questions if place else None,
            across=across[place],
        )
        for place in range(k)
    ]


def _thoughts(
    thinker: Thinker, examples: Iterable[ReasoningExample], k: int
) -> Iterator[tuple[list[ReasoningExample], Tensor]]:
    """Questions with their thoughts ``(B, k, D)`` in float32."""
    for chunk, encoded in encoded_chunks(thinker, examples):
        rows = thinker.rows(encoded, k)
        with measuring(thinker.model):
            vectors = thinker.think(rows).vectors.float()
        yield chunk, vectors


def _to_words(vocabulary: Vocabulary, vectors: Tensor, at_once: int) -> tuple[Tensor, Tensor]:
    """Distance to the nearest word, and the largest cosine with one, ``(B, k)`` each."""
    flat = vectors.flatten(0, 1)
    if not len(flat):
        return vectors.new_zeros(vectors.shape[:2]), vectors.new_zeros(vectors.shape[:2])
    pieces = torch.split(flat, at_once)
    far = torch.cat([vocabulary.distances(piece).min(dim=-1).values for piece in pieces])
    alike = torch.cat([vocabulary.cosines(piece).max(dim=-1).values for piece in pieces])
    return far.view(vectors.shape[:2]), alike.view(vectors.shape[:2])

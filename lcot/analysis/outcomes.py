"""What a model writes after k thoughts, and which way that took: the sweep over k of arXiv 2412.06769, section 5."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from lcot.analysis.concepts import hidden_steps
from lcot.analysis.thinker import Thinker, encoded_chunks, measuring
from lcot.errors import UserError
from lcot.metrics.extractors import extractor
from lcot.metrics.paths import Category, Prefix, judge
from lcot.metrics.problem_graph import has_graph
from lcot.metrics.surfaces import Surface
from lcot.reasoning.decode import decode
from lcot.reasoning.example import ReasoningExample


@dataclass(frozen=True, slots=True)
class Outcome:
    """One question's output after k thoughts.

    Attributes:
        id: The question's.
        thoughts: k.
        steps: Number of its written steps.
        text: All that the model wrote.
        tokens: Number of written tokens, without eos.
        answer: What the extractor reads; ``None`` if there is no answer.
        correct: Whether that is the gold answer.
        category: Which way the text took; ``None`` if the question carries no graph.
        pair: The name of its pair; ``None`` if it is not one of two questions about one problem.
    """

    id: str
    thoughts: int
    steps: int
    text: str
    tokens: int
    answer: str | None
    correct: bool
    category: Category | None
    pair: str | None = None


def outcomes(
    thinker: Thinker,
    examples: Iterable[ReasoningExample],
    k: int,
    *,
    max_new_tokens: int = 128,
    reader: str = "string",
    prefix: Prefix = "exact",
    thoughts_per_step: int = 1,
    hidden: int | None = None,
    surface: Surface | None = None,
) -> Iterator[Outcome]:
    """Let a model answer after k thoughts, greedily.

    Args:
        thinker: The model.
        examples: Questions; read as they are needed.
        k: Number of thoughts.
        max_new_tokens: Longest text.
        reader: Name of the extractor that reads answers.
        prefix: As in :func:`lcot.metrics.paths.judge`.
        thoughts_per_step: Number of thoughts that stand for one step: a path is judged as the rest behind k // this.
        hidden: Number of steps that a path is judged as the rest behind, where it is another one.
        surface: How the problems are put into words; recognised from each question if not given.

    Yields:
        One record a question, in their order.

    Raises:
        UserError: If k cannot be, ``max_new_tokens`` is below 1, or there is no such extractor.
    """
    if max_new_tokens < 1:
        raise UserError(f"max_new_tokens is {max_new_tokens}", fix="use 1 or more")
    behind = hidden_steps(k, thoughts_per_step) if hidden is None else hidden
    builder, found = thinker.builder, extractor(reader)
    marker, eos = builder.text.before_answer, builder.special.eos
    for chunk, encoded in encoded_chunks(thinker, examples):
        rows = thinker.rows(encoded, k, room=max_new_tokens)
        with measuring(thinker.model):
            thinking = thinker.think(rows, keep_cache=True).thinking
            written = decode(thinker.model, thinking, max_new_tokens=max_new_tokens, eos=eos)
        for example, ids in zip(chunk, written, strict=True):
            tokens = [token for token in ids if token != eos]
            text = str(builder.tokenizer.decode(tokens))
            answer = found.extract(text, marker)
            category = (
                judge(text, example, behind, marker=marker, surface=surface, prefix=prefix)
                if has_graph(example)
                else None
            )
            yield Outcome(
                id=example.id,
                thoughts=k,
                steps=len(example.steps),
                text=text,
                tokens=len(tokens),
                answer=answer,
                correct=found.equal(answer, example.answer),
                category=category,
                pair=example.pair or None,
            )

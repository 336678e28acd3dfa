"""Rows whose thoughts stand for spans of the written chain.

    question ⊕ bot ⊕ thought × n ⊕ eot ⊕ answer ⊕ eos        and as the view ``spans``, the n spans one behind another

Letters in shapes: B rows, N thoughts, S tokens of the longest span, D hidden width.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from lcot.reasoning.batch import ThoughtBatch
from lcot.reasoning.curriculum import Curriculum, Stage
from lcot.reasoning.keyed import keyed_random
from lcot.reasoning.layout import IGNORE, EncodedExample, Layout, LayoutBuilder
from lcot.reasoning.spanwise import SpanForm, Spanwise
from lcot.reasoning.text import TextFormat
from lcot.reasoning.tokens import SpecialTokens

SPANS = "spans"
"""The name of the view, and of its places: where each span begins and the last one ends."""


class SpanBuilder(LayoutBuilder):
    """Lays out examples whose chain stands behind thoughts span by span.

    Args:
        tokenizer: A tokenizer that already has the thought tokens.
        special: Their ids.
        text: How pieces become text.
        max_length: Longest row that the model can take, in tokens; ``None`` for no limit.
        form: How spans become a row; by its defaults if not given.
        lead: Text behind a question when it is asked.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        special: SpecialTokens,
        text: TextFormat | None = None,
        max_length: int | None = None,
        form: SpanForm | None = None,
        lead: str = "",
    ) -> None:
        super().__init__(tokenizer, special, "continuous", text, max_length)
        self.form = form or SpanForm()
        self.lead = lead
        self._said: dict[str, list[int]] = {}

    def prompt(self, encoded: EncodedExample, thoughts: int) -> Layout:
        """The row that inference starts from, with what is said behind the question."""
        return super().prompt(self._with(encoded, self.lead), thoughts)

    def train(self, encoded: EncodedExample, stage: Stage) -> Layout:
        """The question, a thought for each span, eot, the answer and eos, with the spans as a view.

        The text is supervised, with bot before and, where nobody else asks for it, eot: behind spans of one token,
        behind no span, and where spans have labels themselves.
        """
        if not stage.span:
            return super().train(encoded, stage)
        chain = [token for step in encoded.steps[: stage.hidden] for token in step]
        spans = spans_of(chain, stage.span, self.special.pause if self.form.fill else None)
        asked = self._with(encoded, self.form.behind_question(stage.span))
        prompt = super().prompt(asked, len(spans))
        text = [token for step in encoded.steps[stage.hidden :] for token in step] + encoded.answer
        ids, labels = prompt.ids + text, prompt.labels + text
        places = {} if encoded.mark is None else {"answer": (len(ids) - len(encoded.answer) + encoded.mark,)}
        drawn = self.form.labels == "drawn"
        if self.form.opening:
            labels[prompt.head - 1] = self.special.bot
        if drawn:
            draw = keyed_random("label", stage.draw)
            labels[prompt.head : prompt.head + len(spans)] = [draw.choice(span) for span in spans]
        if drawn or stage.span == 1 or not spans:
            labels[prompt.head + len(spans)] = self.special.eot
        views = {SPANS: _in_line(spans)}
        return replace(prompt, ids=ids, labels=labels, places=places, draw=stage.draw, views=views)

    def views(self, encoded: EncodedExample, stage: Stage, names: Iterable[str]) -> dict[str, Layout]:
        """Further rows of an example; the spans stand beside each row that has some."""
        return super().views(encoded, stage, [name for name in names if name != SPANS])

    def longest(self, encoded: EncodedExample, stages: Iterable[Stage]) -> tuple[int, int]:
        """Tokens of the longest row and of the longest prompt of an example."""
        chain, rows, prompts = sum(map(len, encoded.steps)), [], []
        for stage in stages:
            prompts.append(len(encoded.question) + len(self._ids_of(self.lead)) + 2)
            asked = len(encoded.question) + len(self._ids_of(self.form.behind_question(stage.span))) + 2
            rows.append(asked + (-(-chain // stage.span) if stage.span else 0) + len(encoded.answer))
            if "teacher" in self.further:
                filled = -(-chain // stage.span) * stage.span if self.form.fill and stage.span else chain
                rows.append(asked + filled + len(encoded.answer))
        return max(rows), max(prompts)

    def _teacher(self, encoded: EncodedExample, stage: Stage) -> Layout:
        if self.form.teacher == "plain" or not stage.span:
            return super()._teacher(encoded, stage)
        chain = [token for step in encoded.steps for token in step]
        spans = spans_of(chain, stage.span, self.special.pause if self.form.fill else None)
        asked = self._with(encoded, self.form.behind_question(stage.span))
        written = [self.special.bot, *(token for span in spans for token in span), self.special.eot]
        whole = replace(asked, steps=[written])
        row = super()._teacher(whole, stage)
        labels = row.labels if self.form.opening else [*row.labels[: row.head], IGNORE, *row.labels[row.head + 1 :]]
        inner = (row.head + 1, row.head + len(written) - 1, row.head + len(written))  # between bot and eot
        return replace(row, labels=labels, places={**row.places, "chain": inner})

    def _with(self, encoded: EncodedExample, said: str) -> EncodedExample:
        return replace(encoded, question=[*encoded.question, *self._ids_of(said)]) if said else encoded

    def _ids_of(self, said: str) -> list[int]:
        if said not in self._said:
            self._special_around(said, bos=False)  # refuses what marks thoughts
            self._said[said] = self._ids([said], bos=False)[0] if said else []
        return self._said[said]


def builder_for(
    schedule: Curriculum,
    tokenizer: PreTrainedTokenizerBase,
    special: SpecialTokens,
    text: TextFormat | None,
    max_length: int | None,
) -> LayoutBuilder:
    """What lays out the rows of a curriculum where no prompt file says how models are asked.

    Args:
        schedule: The curriculum.
        tokenizer: A tokenizer that already has the thought tokens.
        special: Their ids.
        text: How pieces become text.
        max_length: Longest row that the model can take, in tokens; ``None`` for no limit.
    """
    if isinstance(schedule, Spanwise):
        return SpanBuilder(tokenizer, special, text, max_length, schedule.form, schedule.lead)
    markers, stepwise = schedule.markers, schedule.stepwise_passes
    return LayoutBuilder(tokenizer, special, schedule.kind, text, max_length, markers, stepwise)


def spans_of(chain: Sequence[int], size: int, fill: int | None = None) -> list[list[int]]:
    """A chain's tokens in spans of ``size``; the last one may be shorter, unless it is filled up with a token."""
    spans = [list(chain[at : at + size]) for at in range(0, len(chain), size)]
    if spans and fill is not None:
        spans[-1] += [fill] * (size - len(spans[-1]))
    return spans


def _in_line(spans: Sequence[Sequence[int]]) -> Layout:
    ids: list[int] = []
    starts = [0]
    for span in spans:
        ids += span
        starts.append(len(ids))
    return Layout(ids, [IGNORE] * len(ids), head=0, thoughts=0, prompt=0, places={SPANS: tuple(starts)})


def span_tokens(batch: ThoughtBatch) -> tuple[Tensor, Tensor]:
    """The tokens behind each thought.

    Args:
        batch: B rows with the view of their spans.

    Returns:
        Ids ``(B, N, S)``, and ``(B, N, S)`` bool: which of them there are.
    """
    view, most = batch.views[SPANS], batch.max_thoughts
    if not most:
        nothing = view.input_ids.new_zeros(len(view), 0, 0)
        return nothing, nothing.bool()
    places = view.places[SPANS][:, : most + 1]
    begin, end = places[:, :-1], places[:, 1:]
    length = (end - begin).clamp(min=0)
    offsets = torch.arange(int(length.max()), device=places.device)
    there = (offsets < length[..., None]) & (end >= 0)[..., None]
    columns = torch.where(there, begin[..., None] + offsets, 0)
    ids = view.input_ids.gather(1, columns.flatten(1)).view(columns.shape)
    return ids, there
